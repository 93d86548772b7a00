//! IAM's decisions on the calls so far.

use serde::Serialize;

use crate::authorization::{Denial, Principal, Request, judge};
use crate::params::Refusal;
use crate::world::World;

/// One access request, and IAM's decision.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Decision {
    /// The caller's name, as in the call log.
    pub caller: String,
    /// Whose permissions applied.
    pub principal: Principal,
    /// The action, the resource and the condition keys.
    pub request: Request,
    /// Whether it was allowed.
    pub allowed: bool,
}

/// The decisions so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct Decisions {
    /// Every decision, once [`keep`](Decisions::keep) was called.
    kept: Option<Vec<Decision>>,
    denied: Vec<Decision>,
}

impl Decisions {
    /// Keeps every decision from now on, not only the denials.
    pub(crate) fn keep(&mut self) {
        self.kept.get_or_insert_default();
    }

    /// The kept decisions.
    pub(crate) fn kept(&self) -> Vec<Decision> {
        self.kept.clone().unwrap_or_default()
    }

    /// The denials.
    pub(crate) fn denied(&self) -> Vec<Decision> {
        self.denied.clone()
    }

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

impl std::fmt::Display for Decision {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { caller, request, allowed, .. } = self;
        let verdict = if *allowed { "may" } else { "must not" };
        write!(formatter, "{caller} {verdict} {} on {}", request.action, request.resource)
    }
}
