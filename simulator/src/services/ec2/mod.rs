//! EC2: networks, addresses, interfaces, instances.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::unknown;
use crate::inventory::Item;
use crate::params::{Params, Refusal};
use crate::protocol::Reply;
use crate::world::World;

/// What stands of this service.
#[derive(Debug, Default)]
pub(crate) struct State {}

/// A network interface that another service asks for.
#[derive(Debug, Clone)]
pub(crate) struct Attachment<'a> {
    pub(crate) subnet: &'a str,
    pub(crate) groups: &'a [String],
    /// Such as `ELB app/shop/50dc6c495c0c9188` or `RDSNetworkInterface`.
    pub(crate) description: &'a str,
    /// The account name that AWS shows as requester, such as `amazon-elb`.
    pub(crate) requester: &'a str,
    /// AWS's `interfaceType`.
    pub(crate) kind: &'a str,
    /// Whether it gets a public address (one that maps through the internet gateway).
    pub(crate) public: bool,
}

/// A network interface that was made.
#[derive(Debug, Clone)]
pub(crate) struct Attached {
    pub(crate) interface: String,
    pub(crate) address: Ipv4Addr,
}

/// What other services ask of a subnet.
#[derive(Debug, Clone)]
pub(crate) struct SubnetFacts {
    pub(crate) vpc: String,
    pub(crate) zone: String,
    pub(crate) available: bool,
    /// Whether its route table leads to an attached internet gateway.
    pub(crate) public: bool,
}

/// What Systems Manager asks of an instance.
#[derive(Debug, Clone)]
pub(crate) struct InstanceFacts {
    pub(crate) id: String,
    pub(crate) subnet: String,
    pub(crate) groups: Vec<String>,
    pub(crate) address: Ipv4Addr,
    /// Since when it runs; `None` unless it is `running`.
    pub(crate) running_since: Option<Duration>,
    /// The instance profile's ARN, once really associated.
    pub(crate) profile: Option<String>,
}

/// Makes an interface for another service: it holds its groups and its subnet until it is detached.
pub(crate) fn attach_interface(_: &mut World, _: &Attachment<'_>) -> Result<Attached, Refusal> {
    Err(unknown("ec2", "attach"))
}

/// Takes an interface away at once; one that is not there is no error.
pub(crate) fn detach_interface(_: &mut World, _id: &str) {}

/// Takes an interface away at that time (an ENI that lingers).
pub(crate) fn detach_interface_at(_: &mut World, _id: &str, _at: Duration) {}

/// Gives an interface other groups.
pub(crate) fn set_interface_groups(_: &mut World, _id: &str, _groups: &[String]) {}

/// A subnet, if it exists.
pub(crate) fn subnet(_: &World, _id: &str) -> Option<SubnetFacts> {
    None
}

/// The VPC of a security group, if the group exists.
pub(crate) fn group_vpc(_: &World, _id: &str) -> Option<String> {
    None
}

/// Whether a connection from an interface with `from` groups and address to one with `to` groups on a TCP port
/// passes both the egress rules of the one and the ingress rules of the other.
pub(crate) fn may_connect(
    _: &World,
    _from: &[String],
    _from_address: Ipv4Addr,
    _to: &[String],
    _to_address: Ipv4Addr,
    _port: u16,
) -> bool {
    false
}

/// Whether an interface in a subnet with these groups reaches an AWS service (`ssm`, `ecr.api`, `logs`, …, or
/// `internet` for any other host) now: by an available NAT gateway, by an available interface endpoint that lets
/// it in (`s3`: a gateway endpoint), or, with a public address, by the internet gateway.
pub(crate) fn reaches(_: &World, _subnet: &str, _groups: &[String], _service: &str) -> bool {
    false
}

/// Every instance that is not terminated.
pub(crate) fn instances(_: &World) -> Vec<InstanceFacts> {
    Vec::new()
}

pub(crate) fn act(_: &mut World, operation: &str, _: &Params) -> Result<Reply, Refusal> {
    Err(unknown("ec2", operation))
}

pub(crate) fn advance(_: &mut World) {}

pub(crate) fn inventory(_: &World, _: &mut Vec<Item>) {}
