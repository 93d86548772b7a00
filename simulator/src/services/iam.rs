//! To be written.

use super::unknown;
use crate::inventory::Item;
use crate::params::{Params, Refusal};
use crate::protocol::Reply;
use crate::world::World;

/// What stands of this service.
#[derive(Debug, Default)]
pub(crate) struct State {}

pub(crate) fn act(_: &mut World, operation: &str, _: &Params) -> Result<Reply, Refusal> {
    Err(unknown("iam", operation))
}

pub(crate) fn advance(_: &mut World) {}

pub(crate) fn inventory(_: &World, _: &mut Vec<Item>) {}

/// How a role looks to a service that is to assume it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RoleView {
    /// It does not exist.
    Absent,
    /// It exists, but other services do not see it yet.
    Propagating,
    /// Its trust policy does not name the service.
    NotTrusting,
    /// The service can assume it.
    Ready,
}

/// How a role (its ARN or name) looks to a service principal such as `ecs-tasks.amazonaws.com`.
pub(crate) fn role_view(_: &World, _role: &str, _principal: &str) -> RoleView {
    RoleView::Absent
}

/// Whether a role's policies, inline or attached, allow an action on a resource. Managed policies count by what they
/// are known to allow.
pub(crate) fn role_allows(_: &World, _role: &str, _action: &str, _resource: &str) -> bool {
    false
}

/// How an instance profile looks to EC2.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ProfileView {
    /// It does not exist in IAM.
    Absent,
    /// EC2 does not see it yet.
    Propagating,
    /// EC2 sees it, without a role in it.
    NoRole,
    /// EC2 can use it.
    Ready {
        /// The profile's ARN.
        arn: String,
        /// The ARN of the role in it.
        role: String,
    },
}

/// How an instance profile (its ARN or name) looks to EC2.
pub(crate) fn profile_view(_: &World, _profile: &str) -> ProfileView {
    ProfileView::Absent
}
