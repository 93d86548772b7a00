//! What IAM decided, call by call, and what a denied call is answered.

use serde::Serialize;

use crate::account::Account;
use crate::authorization::{self, Denial, Principal, Request, judge};
use crate::params::{Refusal, lock};
use crate::world::World;

/// One request that IAM decided on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Decision {
    /// Who made the call, as in the ledger.
    pub caller: String,
    /// Whose permissions counted.
    pub principal: Principal,
    /// What was asked for.
    pub request: Request,
    /// Whether it was allowed.
    pub allowed: bool,
}

/// The decisions so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct Decisions {
    /// All of them, if somebody wants them.
    kept: Option<Vec<Decision>>,
    denied: Vec<Decision>,
}

impl Decisions {
    /// Decides on a request.
    pub(crate) fn take(
        &mut self,
        world: &World,
        caller: &str,
        principal: &Principal,
        request: Request,
    ) -> Result<Result<(), Denial>, Refusal> {
        let verdict = judge(world, principal, &request)?;
        let allowed = verdict.is_ok();
        if self.kept.is_some() || !allowed {
            let (caller, principal) = (caller.to_owned(), principal.clone());
            let decision = Decision { caller, principal, request, allowed };
            self.denied.extend((!allowed).then(|| decision.clone()));
            if let Some(kept) = &mut self.kept {
                kept.push(decision);
            }
        }
        Ok(verdict)
    }
}

impl Account {
    /// From now on, every decision of IAM is kept for [`decisions`](Account::decisions).
    pub fn keep_decisions(&self) {
        lock(&self.inner).decisions.kept.get_or_insert_default();
    }

    /// What IAM decided since [`keep_decisions`](Account::keep_decisions).
    #[must_use]
    pub fn decisions(&self) -> Vec<Decision> {
        lock(&self.inner).decisions.kept.clone().unwrap_or_default()
    }

    /// What IAM has denied so far.
    #[must_use]
    pub fn denials(&self) -> Vec<Decision> {
        lock(&self.inner).decisions.denied.clone()
    }

    /// Has IAM decide on a request that no call of an SDK makes: what one service asks of another.
    ///
    /// # Errors
    /// The denial, in AWS's words; or what the simulator lacks to decide.
    pub fn decide(&self, caller: &str, principal: &Principal, mut request: Request) -> Result<(), String> {
        let inner = &mut *lock(&self.inner);
        authorization::check(&request).map_err(|refusal| refusal.message)?;
        request.complete(&inner.world, principal);
        match inner.decisions.take(&inner.world, caller, principal, request) {
            Ok(verdict) => verdict.map_err(|denial| denial.to_string()),
            Err(refusal) => Err(refusal.message),
        }
    }
}

/// The refusal of a call, in the called service's form, for something that was denied to the caller.
pub(crate) fn refusal(service: &str, denial: &Denial) -> Refusal {
    // Source: "Permissions validation for API calls on target resources" in the Application Auto Scaling user guide.
    if service == "application-autoscaling" && (denial.is_of("ecs") || denial.is_of("cloudwatch")) {
        return Refusal::new("ValidationException", denial.to_string());
    }
    denied(service, &denial.to_string())
}

/// The refusal of a denied call, in the called service's form.
pub(crate) fn denied(service: &str, message: &str) -> Refusal {
    match service {
        "ec2" => Refusal::new(
            "UnauthorizedOperation",
            format!("You are not authorized to perform this operation. {message}"),
        )
        .status(403),
        "elasticloadbalancing" | "rds" | "iam" | "sts" | "route53" | "s3" => {
            Refusal::new("AccessDenied", message).status(403)
        }
        "scheduler" => Refusal::new("AccessDeniedException", message).status(403),
        "sns" => Refusal::new("AuthorizationError", message).status(403),
        _ => Refusal::new("AccessDeniedException", message),
    }
}

impl std::fmt::Display for Decision {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { caller, request, allowed, .. } = self;
        let verdict = if *allowed { "may" } else { "must not" };
        write!(formatter, "{caller} {verdict} {} on {}", request.action, request.resource)
    }
}
