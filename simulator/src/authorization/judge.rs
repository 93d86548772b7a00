//! The decision on a request, from all policies that apply.

use std::sync::Arc;

use super::policy::{Opinion, Policy};
use super::reference;
use super::request::{AccessRequests, Principal, Request, account_of};
use crate::params::Refusal;
use crate::services::iam;
use crate::world::World;

/// The policies that apply to a request.
#[derive(Debug, Clone, Default)]
pub struct Grants {
    /// The caller's identity policies.
    pub identity: Vec<Arc<Policy>>,
    /// The caller's permissions boundary, which limits what the other policies allow.
    pub boundary: Option<Arc<Policy>>,
    /// The resource's policy; for a role to be assumed, its trust policy.
    pub resource: Option<Arc<Policy>>,
}

/// A request that is not allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// The action.
    pub action: String,
    /// The resource's ARN, or `*`.
    pub resource: String,
    /// Why it is denied.
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
    /// As AWS words it: "Troubleshoot access denied error messages" in the IAM user guide.
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
    /// Whether the denied action belongs to a service, such as `rds`.
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

    /// The decision of the allowing statements, if none denies.
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
        // A key's own policy must delegate to identity policies ("Key policies in AWS KMS").
        if request.action.starts_with("kms:") && !by_resource {
            return Err(Reason::NoResourcePolicy);
        }
        // The other account must allow the request too ("Cross-account policy evaluation logic").
        let owner = account_of(&request.resource).filter(|owner| !owner.is_empty());
        if owner.is_some_and(|owner| principal.account() != Some(owner)) && !by_resource {
            return Err(Reason::NoResourcePolicy);
        }
        // Neither a boundary nor a missing identity policy limits what a resource's policy allows a role's session by its
        // name ("Policy evaluation for requests within a single account").
        let by_session = by_resource
            && self.resource.as_ref().is_some_and(|policy| policy.names_session(principal, request));
        if by_session && owner.is_none_or(|owner| principal.account() == Some(owner)) {
            return Ok(());
        }
        // A boundary also limits what a resource's policy allows a role to do ("Permissions boundaries for IAM
        // entities").
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
/// `Ok(Err)` is the denial; `Err` if a policy tests a condition key that the simulator does not set.
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
            "which the simulator does not set"
        } else if condition.is_plain() && reference::is_list(action, key) {
            "which has many values, as if it had one: use ForAllValues or ForAnyValue"
        } else {
            continue;
        };
        return Err(Refusal::new("InternalFailure", format!("a policy tests {key} of {action}, {wrong}")));
    }
    Ok(grants.decide(principal, request))
}

/// AWS's message if a role lacks one of the permissions in `requests`, or else `None`. For calls that containers and
/// agents make with their own roles.
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
