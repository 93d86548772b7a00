//! Who reaches whom: routes, groups and endpoints taken together.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::endpoint::{self, Endpoint};
use super::interface::Interface;
use super::nat::NatGateway;
use super::resource::{Resource, every};
use super::route::{Way, way};
use super::route_table::of_subnet;
use super::rule::{Peer, Rule};
use super::{gateway, subnet::Subnet};
use crate::world::World;

/// Some address of the internet outside every network that is simulated here (RFC 5737), to ask where it is routed.
const SOMEWHERE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

/// The other end of a connection: where it is, and the groups it has.
#[derive(Debug, Clone, Copy)]
pub(super) struct End<'a> {
    /// Its address as a /32, or every address that it may have.
    pub(super) net: Ipv4Net,
    pub(super) groups: &'a [String],
}

/// Whether rules of these groups let a TCP connection to a port pass, to (`egress`) or from the other end.
pub(super) fn permits(world: &World, groups: &[String], egress: bool, other: End<'_>, port: u16) -> bool {
    every::<Rule>(world)
        .filter(|rule| rule.egress == egress && groups.contains(&rule.group) && rule.permits_tcp(port))
        .any(|rule| match &rule.peer {
            Peer::Cidr(cidr) => cidr.contains(&other.net),
            Peer::Group(id) => other.groups.contains(id),
            Peer::Cidr6(_) | Peer::PrefixList(_) => false,
        })
}

/// Whether a connection passes the egress rules of the one end and the ingress rules of the other.
pub(super) fn passes(world: &World, from: End<'_>, to: End<'_>, port: u16) -> bool {
    permits(world, from.groups, true, to, port) && permits(world, to.groups, false, from, port)
}

/// A subnet's way to an address.
fn way_from<'w>(world: &'w World, vpc: &str, subnet: &str, to: Ipv4Addr) -> Way<'w> {
    of_subnet(world, vpc, subnet).map_or(Way::Nowhere, |table| way(world, table, to))
}

/// Whether a subnet's table leads to an attached internet gateway.
pub(super) fn is_public(world: &World, vpc: &str, subnet: &str) -> bool {
    way_from(world, vpc, subnet, SOMEWHERE) == Way::InternetGateway
}

/// Whether an address of the internet opens a connection to an interface: only where a public address is mapped to
/// it, its subnet leads to the internet gateway, and the rules let it in.
pub(super) fn connects_from_internet(world: &World, from: Ipv4Addr, to: &Interface, port: u16) -> bool {
    to.has_public_address(world.now)
        && gateway::is_attached_to(world, &to.vpc)
        && way_from(world, &to.vpc, &to.subnet, from) == Way::InternetGateway
        && permits(world, &to.groups, false, End { net: from.into(), groups: &[] }, port)
}

/// Whether an interface opens a connection to another in the same VPC.
pub(super) fn connects_inside(world: &World, from: &Interface, to: &Interface, port: u16) -> bool {
    from.vpc == to.vpc
        && passes(
            world,
            End { net: from.address.into(), groups: &from.groups },
            End { net: to.address.into(), groups: &to.groups },
            port,
        )
}

/// See [`super::reaches`]; `public` says whether the interface has a public address.
pub(super) fn reaches(world: &World, subnet: &str, groups: &[String], public: bool, service: &str) -> bool {
    let Some(subnet) = world.states.ec2.subnets.get(subnet) else { return false };
    if service != "internet" {
        if let Some(endpoint) = named_endpoint(world, &subnet.vpc, service) {
            // Its private name stands for the endpoint in the whole VPC: there is no other way then, even past a
            // group that refuses.
            return endpoint_admits(world, endpoint, subnet, groups);
        }
        if gateway_endpoint_serves(world, subnet, service) {
            return permits_service(world, groups, service);
        }
    }
    // Any host: only a rule for all addresses is sure to let it pass.
    let anywhere = End { net: Ipv4Net::default(), groups: &[] };
    permits(world, groups, true, anywhere, 443) && leads_out(world, subnet, public)
}

/// The available interface endpoint that has a service's private name.
fn named_endpoint<'w>(world: &'w World, vpc: &str, service: &str) -> Option<&'w Endpoint> {
    let resolves = world.states.ec2.vpcs.get(vpc)?.resolves_private_names(world.now);
    every::<Endpoint>(world).find(|endpoint| {
        resolves
            && endpoint.vpc == vpc
            && endpoint.service == service
            && !endpoint.is_gateway
            && endpoint.private_dns
            && endpoint.is_available(world.now)
    })
}

fn endpoint_admits(world: &World, endpoint: &Endpoint, from: &Subnet, groups: &[String]) -> bool {
    endpoint.interfaces.values().filter_map(|id| world.states.ec2.interfaces.get(id)).any(|to| {
        passes(world, End { net: from.cidr, groups }, End { net: to.address.into(), groups: &to.groups }, 443)
    })
}

fn gateway_endpoint_serves(world: &World, subnet: &Subnet, service: &str) -> bool {
    of_subnet(world, &subnet.vpc, subnet.id()).is_some_and(|table| {
        every::<Endpoint>(world).any(|endpoint| {
            endpoint.service == service && endpoint.routes_in(table.id()) && endpoint.is_available(world.now)
        })
    })
}

/// Whether groups let traffic out to a service behind a gateway endpoint: by its prefix list, or to all addresses.
fn permits_service(world: &World, groups: &[String], service: &str) -> bool {
    let anywhere = End { net: Ipv4Net::default(), groups: &[] };
    let list = Peer::PrefixList(endpoint::prefix_list(service).to_owned());
    permits(world, groups, true, anywhere, 443)
        || every::<Rule>(world).any(|rule| {
            rule.egress && groups.contains(&rule.group) && rule.permits_tcp(443) && rule.peer == list
        })
}

fn leads_out(world: &World, subnet: &Subnet, public: bool) -> bool {
    match way_from(world, &subnet.vpc, subnet.id(), SOMEWHERE) {
        Way::InternetGateway => public,
        Way::NatGateway(id) => world.states.ec2.nats.get(id).is_some_and(|nat: &NatGateway| {
            nat.is_available(world.now) && is_public(world, &nat.vpc, nat.subnet())
        }),
        Way::Local | Way::Nowhere => false,
    }
}
