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
    Err(unknown("elb", operation))
}

pub(crate) fn advance(_: &mut World) {}

pub(crate) fn inventory(_: &World, _: &mut Vec<Item>) {}

/// What ECS asks of a target group.
#[derive(Debug, Clone)]
pub(crate) struct TargetGroupFacts {
    pub(crate) vpc: String,
    pub(crate) port: u16,
    /// Whether a listener or a rule of some load balancer sends requests to it.
    pub(crate) attached: bool,
    /// Whether that load balancer is `active`.
    pub(crate) active: bool,
    pub(crate) deregistration_delay: std::time::Duration,
}

/// A target group, if it exists.
pub(crate) fn target_group(_: &World, _arn: &str) -> Option<TargetGroupFacts> {
    None
}

/// Registers a target (an ECS task's address): `initial`, then healthy or not by checks. A group that no active
/// load balancer uses has its targets `unused`.
pub(crate) fn register_target(
    _: &mut World,
    _arn: &str,
    _address: std::net::Ipv4Addr,
    _port: u16,
    _groups: &[String],
    _zone: &str,
) {
}

/// Deregisters a target: `draining` for the group's deregistration delay, then gone.
pub(crate) fn deregister_target(_: &mut World, _arn: &str, _address: std::net::Ipv4Addr, _port: u16) {}

/// A target's state as AWS names it (`initial`, `healthy`, `unhealthy`, `unused`, `draining`), if it is there.
pub(crate) fn target_state(
    _: &World,
    _arn: &str,
    _address: std::net::Ipv4Addr,
    _port: u16,
) -> Option<&'static str> {
    None
}

/// Whether a load balancer has this DNS name (for an alias record).
pub(crate) fn is_load_balancer_name(_: &World, _dns: &str) -> bool {
    false
}
