//! Puts together what the policies say.

use std::sync::Arc;

use super::policy::{Opinion, Policy};
use super::reference;
use super::request::{AccessRequests, Principal, Request, account_of};
use crate::params::Refusal;
use crate::services::iam;
use crate::world::World;

/// The policies that decide on a request.
#[derive(Debug, Clone, Default)]
pub struct Grants {
    /// Those of the caller.
    pub identity: Vec<Arc<Policy>>,
    /// The caller's permissions boundary: allowed is only what it allows too.
    pub boundary: Option<Arc<Policy>>,
    /// That of the resource; of a role that is to be assumed, its trust policy.
    pub resource: Option<Arc<Policy>>,
}

/// A request that is not allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// The action.
    pub action: String,
    /// The resource's ARN, or `*`.
    pub resource: String,
    /// Why.
    pub reason: Reason,
    principal: String,
}

/// Why a request is not allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// No policy of the caller allows it.
    NoIdentityPolicy,
    /// The caller's permissions boundary does not allow it.
    NoBoundary,
    /// The resource's policy does not allow it.
    NoResourcePolicy,
    /// A policy denies it.
    Denied,
}

impl std::fmt::Display for Denial {
    /// In AWS's words: "Troubleshoot access denied error messages" in the IAM user guide.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { action, resource, principal, reason } = self;
        write!(
            formatter,
            "User: {principal} is not authorized to perform: {action} on resource: {resource} "
        )?;
        match reason {
            Reason::NoIdentityPolicy => {
                write!(formatter, "because no identity-based policy allows the {action} action")
            }
            Reason::NoBoundary => {
                write!(formatter, "because no permissions boundary allows the {action} action")
            }
            Reason::NoResourcePolicy => {
                write!(formatter, "because no resource-based policy allows the {action} action")
            }
            Reason::Denied => write!(formatter, "with an explicit deny in a policy"),
        }
    }
}

impl Denial {
    /// Whether what is denied is an action of a service, such as `rds`.
    pub(crate) fn is_of(&self, service: &str) -> bool {
        self.action.split(':').next() == Some(service)
    }
}

impl Grants {
    /// Decides on a request.
    ///
    /// # Errors
    /// The denial.
    pub fn decide(&self, principal: &Principal, request: &Request) -> Result<(), Denial> {
        if *principal == Principal::Owner {
            return Ok(());
        }
        let opinion = |policy: &Arc<Policy>| policy.opinion(principal, request);
        let identity: Vec<Opinion> = self.identity.iter().map(opinion).collect();
        let boundary = self.boundary.as_ref().map(opinion);
        let resource = self.resource.as_ref().map(opinion);
        let denied =
            identity.iter().chain(&boundary).chain(&resource).any(|opinion| *opinion == Opinion::Deny);
        let verdict = if denied {
            Err(Reason::Denied)
        } else {
            self.weigh(principal, request, identity.contains(&Opinion::Allow), boundary, resource)
        };
        verdict.map_err(|reason| Denial {
            action: request.action.clone(),
            resource: request.resource.clone(),
            reason,
            principal: principal.shown(),
        })
    }

    /// What the allowing statements come to, where none denies.
    fn weigh(
        &self,
        principal: &Principal,
        request: &Request,
        by_identity: bool,
        boundary: Option<Opinion>,
        resource: Option<Opinion>,
    ) -> Result<(), Reason> {
        let by_resource = resource == Some(Opinion::Allow);
        let by_name =
            by_resource && self.resource.as_ref().is_some_and(|policy| policy.names(principal, request));
        let only_the_resource_decides =
            matches!(principal, Principal::Service { .. }) || request.action == "sts:AssumeRole";
        if only_the_resource_decides {
            return if by_name { Ok(()) } else { Err(Reason::NoResourcePolicy) };
        }
        // A key's own policy must let identity policies decide ("Key policies in AWS KMS").
        if request.action.starts_with("kms:") && !by_resource {
            return Err(Reason::NoResourcePolicy);
        }
        // Another account has to allow it too ("Cross-account policy evaluation logic").
        let owner = account_of(&request.resource).filter(|owner| !owner.is_empty());
        if owner.is_some_and(|owner| principal.account() != Some(owner)) && !by_resource {
            return Err(Reason::NoResourcePolicy);
        }
        // A boundary limits what a resource's policy allows to a role, too ("Permissions boundaries for IAM entities").
        match (by_identity || by_name, boundary) {
            (false, _) => Err(Reason::NoIdentityPolicy),
            (true, None | Some(Opinion::Allow)) => Ok(()),
            (true, Some(_)) => Err(Reason::NoBoundary),
        }
    }

    fn policies(&self) -> impl Iterator<Item = &Arc<Policy>> {
        self.identity.iter().chain(&self.boundary).chain(&self.resource)
    }
}

/// Decides on a request in the account.
///
/// # Errors
/// `Ok(Err)` is the denial; `Err` when a policy tests what the simulator does not tell.
pub(crate) fn judge(
    world: &World,
    principal: &Principal,
    request: &Request,
) -> Result<Result<(), Denial>, Refusal> {
    if *principal == Principal::Owner {
        return Ok(Ok(()));
    }
    let mut grants = match principal {
        Principal::Role { arn, .. } => iam::grants(world, arn),
        Principal::Owner | Principal::Service { .. } => Grants::default(),
    };
    grants.resource = if request.action == "sts:AssumeRole" {
        iam::trust(world, &request.resource)
    } else {
        world.authorization.resource_policy(&request.resource)
    };
    let action = &request.action;
    for condition in grants.policies().flat_map(|policy| policy.conditions(action)) {
        let key = condition.key();
        if !reference::counts(action, &request.kind, key) {
            continue;
        }
        let wrong = if !reference::models(key) {
            "which the simulator does not tell"
        } else if condition.is_plain() && reference::is_list(action, key) {
            "which has many values, as if it had one: use ForAllValues or ForAnyValue"
        } else {
            continue;
        };
        return Err(Refusal::new("InternalFailure", format!("a policy tests {key} of {action}, {wrong}")));
    }
    Ok(grants.decide(principal, request))
}

/// What keeps a role from what `asks` asks for: nothing, or the denial in AWS's words. For what containers and agents do
/// with their roles by themselves.
pub(crate) fn denied_to_role(role: &str, session: &str, requests: AccessRequests<'_>) -> Option<String> {
    let world = requests.world;
    // A role that does not exist allows nothing.
    let arn = iam::role_arn(world, role).unwrap_or_else(|| role.to_owned());
    let principal = Principal::Role { arn, session: session.into() };
    let requests = match requests.finish(&principal) {
        Ok(requests) => requests,
        Err(refusal) => return Some(refusal.message),
    };
    requests.iter().find_map(|request| match judge(world, &principal, request) {
        Ok(verdict) => verdict.err().map(|denial| denial.to_string()),
        Err(refusal) => Some(refusal.message),
    })
}

/// Whether a role's trust policy lets a service assume it on behalf of `source`, an ARN of this account.
pub(crate) fn trusts(world: &World, role: &str, service: &str, source: &str) -> bool {
    let Some(arn) = iam::role_arn(world, role) else { return false };
    let mut request = Request::new("sts:AssumeRole", "role", &arn);
    request.key("aws:SourceArn", source).key("aws:SourceAccount", world.account.clone());
    let service = Principal::Service { name: service.into() };
    request.complete(world, &service);
    matches!(judge(world, &service, &request), Ok(Ok(())))
}
