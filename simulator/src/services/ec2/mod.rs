//! EC2: networks, addresses, interfaces, instances.
//!
//! One file per resource. Each resource stores the times at which it becomes available and is deleted; its state
//! follows from `world.now`, so the number of calls does not matter.

mod access;
mod address;
mod catalogue;
mod endpoint;
mod endpoint_change;
mod flow_log;
mod gateway;
mod group;
mod incidents;
mod instance;
mod instance_change;
mod interface;
mod launch;
mod listing;
mod nat;
mod offers;
mod operations;
mod paths;
mod profile;
mod query;
mod resource;
mod route;
mod route_table;
mod rule;
mod rule_change;
mod subnet;
mod tagging;
mod token;
mod view;
mod volume;
mod vpc;
mod zone;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::Duration;

use super::{ErrorForm, Service};
use crate::call_log::writes;
use crate::latency::Timing;
use crate::params::Refusal;
use crate::rates::Rate;
use crate::world::World;
use resource::{Resource, every, known};

pub(crate) use address::seed_uncounted_address;
pub(crate) use catalogue::seed_not_offered;
pub(crate) use offers::{Lack, seed_lack};
pub(crate) use view::{connects, interfaces, security_groups};
pub(crate) use vpc::seed_shared_vpc;

/// The public image of Amazon Linux 2023 for x86-64 in Systems Manager's public parameters.
pub(crate) const AMI_X86_64: &str = "ami-0a120230000086064";
/// The public image of Amazon Linux 2023 for 64-bit ARM.
pub(crate) const AMI_ARM64: &str = "ami-0a12023000000a064";

/// The Amazon EC2 API.
pub(crate) static SERVICE: Service = Service {
    advance,
    inventory: listing::inventory,
    throttling: ErrorForm::new("RequestLimitExceeded", "Request limit exceeded.", 503),
    denial: ErrorForm::new(
        "UnauthorizedOperation",
        "You are not authorized to perform this operation. ",
        403,
    ),
    rate,
    timings: &[
        ("AttachInternetGateway", Timing::Create("internet_gateway")),
        ("AllocateAddress", Timing::Create("elastic_ip")),
        ("ReleaseAddress", Timing::Delete("elastic_ip")),
        ("CreateRouteTable", Timing::Create("route_table")),
        ("DeleteRouteTable", Timing::Delete("route_table")),
        ("CreateRoute", Timing::Create("route")),
        ("ReplaceRoute", Timing::Create("route")),
        ("DeleteRoute", Timing::Delete("route")),
        ("AssociateRouteTable", Timing::Create("route_table_association")),
        ("ReplaceRouteTableAssociation", Timing::Create("route_table_association")),
        ("DisassociateRouteTable", Timing::Delete("route_table_association")),
        ("CreateSecurityGroup", Timing::Create("security_group")),
        ("DeleteSecurityGroup", Timing::Delete("security_group")),
        ("DeleteSubnet", Timing::Delete("subnet")),
        ("DeleteVpc", Timing::Delete("vpc")),
    ],
    incidents: incidents::INCIDENTS,
    can_fail: &["CreateNatGateway", "CreateVpcEndpoint", "RunInstances"],
    ..Service::ec2("ec2", "http://ec2.amazonaws.com/doc/2016-11-15/", operations::act, access::access)
};

fn rate(operation: &str) -> Rate {
    match operation {
        "RunInstances" => Rate::new("run", 5.0, 2.0),
        "TerminateInstances" | "StartInstances" | "StopInstances" => Rate::new("power", 100.0, 5.0),
        "CreateVpcEndpoint" => Rate::new("endpoints", 4.0, 0.3),
        _ if writes(operation) => Rate::new("write", 50.0, 5.0),
        _ => Rate::new("read", 100.0, 20.0),
    }
}

/// The state of this service.
#[derive(Debug, Clone, Default)]
pub(crate) struct State {
    vpcs: BTreeMap<String, vpc::Vpc>,
    subnets: BTreeMap<String, subnet::Subnet>,
    gateways: BTreeMap<String, gateway::InternetGateway>,
    tables: BTreeMap<String, route_table::RouteTable>,
    addresses: BTreeMap<String, address::Address>,
    nats: BTreeMap<String, nat::NatGateway>,
    endpoints: BTreeMap<String, endpoint::Endpoint>,
    flow_logs: BTreeMap<String, flow_log::FlowLog>,
    groups: BTreeMap<String, group::Group>,
    rules: BTreeMap<String, rule::Rule>,
    interfaces: BTreeMap<String, interface::Interface>,
    instances: BTreeMap<String, instance::Instance>,
    volumes: BTreeMap<String, volume::Volume>,
    profiles: BTreeMap<String, profile::Association>,
    /// The zones that lack an instance type, as pairs of type and zone.
    not_offered: BTreeSet<(String, String)>,
    /// What AWS refuses in some zones.
    lacks: BTreeSet<offers::Lack>,
    /// The customer key that encrypts the account's volumes by default, if any.
    default_key: Option<String>,
    /// The first request of each client token, by operation and token.
    tokens: BTreeMap<(String, String), token::Used>,
}

/// A network interface for another service.
#[derive(Debug, Clone)]
pub(crate) struct Attachment<'a> {
    pub(crate) subnet: &'a str,
    pub(crate) groups: &'a [String],
    /// Such as `ELB app/shop/50dc6c495c0c9188` or `RDSNetworkInterface`.
    pub(crate) description: &'a str,
    /// The account name that AWS shows as the requester, such as `amazon-elb`.
    pub(crate) requester: &'a str,
    /// AWS's `interfaceType`.
    pub(crate) kind: &'a str,
    /// Whether it gets an automatic public address.
    pub(crate) public: bool,
}

/// A new network interface.
#[derive(Debug, Clone)]
pub(crate) struct Attached {
    pub(crate) interface: String,
    pub(crate) address: Ipv4Addr,
}

/// What other services read of a subnet.
#[derive(Debug, Clone)]
pub(crate) struct SubnetFacts {
    pub(crate) vpc: String,
    pub(crate) zone: String,
    pub(crate) available: bool,
    /// Whether its route table has a route to an attached internet gateway.
    pub(crate) public: bool,
    /// The length of its CIDR block's prefix, and the number of its free addresses.
    pub(crate) prefix: u8,
    pub(crate) free: usize,
}

/// What Systems Manager reads of an instance.
#[derive(Debug, Clone)]
pub(crate) struct InstanceFacts {
    pub(crate) id: String,
    pub(crate) subnet: String,
    pub(crate) groups: Vec<String>,
    pub(crate) address: Ipv4Addr,
    /// Since when it has been running; `None` unless it is `running`.
    pub(crate) running_since: Option<Duration>,
    /// The instance profile's ARN, once it is associated.
    pub(crate) profile: Option<String>,
}

/// Makes a customer key (an ARN) the account's default key for volumes.
pub(crate) fn seed_default_key(world: &mut World, arn: &str) {
    world.states.ec2.default_key = Some(arn.to_owned());
}

/// Creates an interface for another service. It uses its groups and its subnet until it is detached.
///
/// # Errors
/// If the subnet or a group is unknown, in another VPC or not available yet, or if the subnet is full.
pub(crate) fn attach_interface(world: &mut World, attachment: &Attachment<'_>) -> Result<Attached, Refusal> {
    interface::attach(world, attachment)
}

/// Deletes an interface at once, if it exists.
pub(crate) fn detach_interface(world: &mut World, id: &str) {
    interface::release(world, id, world.now);
}

/// Deletes an interface at a time (some remain for a while).
pub(crate) fn detach_interface_at(world: &mut World, id: &str, at: Duration) {
    interface::release(world, id, at);
}

/// Replaces the groups of an interface.
pub(crate) fn set_interface_groups(world: &mut World, id: &str, groups: &[String]) {
    interface::set_groups(world, id, groups);
}

/// Whether a VPC exists.
pub(crate) fn vpc_exists(world: &World, id: &str) -> bool {
    world.states.ec2.vpcs.get(id).is_some_and(|vpc| known(world, vpc))
}

/// Whether an internet gateway is attached to a VPC.
pub(crate) fn has_internet_gateway(world: &World, vpc: &str) -> bool {
    gateway::is_attached_to(world, vpc)
}

/// A subnet, if it exists.
pub(crate) fn subnet(world: &World, id: &str) -> Option<SubnetFacts> {
    let subnet = world.states.ec2.subnets.get(id).filter(|subnet| known(world, *subnet))?;
    Some(SubnetFacts {
        vpc: subnet.vpc.clone(),
        zone: subnet.zone.clone(),
        available: subnet.is_available(world.now),
        public: paths::is_public(world, &subnet.vpc, id),
        prefix: subnet.cidr.prefix_len(),
        free: subnet.free(world),
    })
}

/// The public subnets of a VPC.
pub(crate) fn public_subnets(world: &World, vpc: &str) -> Vec<String> {
    let subnets = every::<subnet::Subnet>(world).filter(|subnet| subnet.vpc == vpc);
    subnets.map(|subnet| subnet.id().to_owned()).filter(|id| paths::is_public(world, vpc, id)).collect()
}

/// The VPC of a security group, if the group exists.
pub(crate) fn group_vpc(world: &World, id: &str) -> Option<String> {
    world.states.ec2.groups.get(id).filter(|group| known(world, *group)).map(|group| group.vpc.clone())
}

/// The default security group of a VPC.
pub(crate) fn default_group(world: &World, vpc: &str) -> Option<String> {
    let group = every::<group::Group>(world).find(|group| group.vpc == vpc && group.is_default())?;
    Some(group.id().to_owned())
}

/// Whether the egress rules of the groups `from` and the ingress rules of the groups `to` allow a connection between
/// the addresses on a TCP port.
pub(crate) fn may_connect(
    world: &World,
    from: &[String],
    from_address: Ipv4Addr,
    to: &[String],
    to_address: Ipv4Addr,
    port: u16,
) -> bool {
    paths::passes(
        world,
        paths::End { net: from_address.into(), groups: from },
        paths::End { net: to_address.into(), groups: to },
        port,
    )
}

/// Whether an interface in a subnet with these groups now reaches an AWS service (`ssm`, `ecr.api`, `logs`, …, or
/// `internet` for any other host): through an available NAT gateway, an available interface endpoint that admits it
/// (for `s3` a gateway endpoint), or, with a public address, the internet gateway. It has a public address if any
/// interface in that subnet with these groups has one; [`reaches_from`] takes this as a parameter.
pub(crate) fn reaches(world: &World, subnet: &str, groups: &[String], service: &str) -> bool {
    let public = every::<interface::Interface>(world).any(|interface| {
        interface.subnet == subnet && interface.groups == groups && interface.has_public_address(world.now)
    });
    reaches_from(world, subnet, groups, public, service)
}

/// The same as [`reaches`], if it is known whether the interface has a public address.
pub(crate) fn reaches_from(
    world: &World,
    subnet: &str,
    groups: &[String],
    public: bool,
    service: &str,
) -> bool {
    paths::reaches(world, subnet, groups, public, service)
}

/// Every instance that is not terminated.
pub(crate) fn instances(world: &World) -> Vec<InstanceFacts> {
    every::<instance::Instance>(world)
        .filter_map(|instance| {
            let interface = instance.attached(world)?;
            Some(InstanceFacts {
                id: instance.entity.id.clone(),
                subnet: instance.subnet.clone(),
                groups: interface.groups.clone(),
                address: interface.address,
                running_since: instance.running_since(world.now),
                profile: profile::associated(world, instance.id()),
            })
        })
        .collect()
}

/// Removes resources that are no longer described. It does not matter when: states follow from the time.
pub(crate) fn advance(world: &mut World) {
    let now = world.now;
    let stays = |gone: Option<Duration>| gone.is_none_or(|gone| now < gone);
    let state = &mut world.states.ec2;
    state.interfaces.retain(|_, interface| stays(interface.gone()));
    state.volumes.retain(|_, volume| stays(volume.gone()));
    state.profiles.retain(|_, association| !association.is_gone(now));
    // These are kept for as long as their client tokens, though calls no longer see them.
    state.instances.retain(|_, instance| stays(instance.forget_at()));
    state.nats.retain(|_, nat| stays(nat.forget_at()));
    state.endpoints.retain(|_, endpoint| stays(endpoint.forget_at()));
}
