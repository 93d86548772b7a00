//! Reachability: routes, security groups and endpoints combined.

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

/// An address on the internet outside every simulated network (RFC 5737), for looking up routes.
const SOMEWHERE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

/// One end of a connection: its address and its groups.
#[derive(Debug, Clone, Copy)]
pub(super) struct End<'a> {
    /// Its address as a /32, or the block of its possible addresses.
    pub(super) net: Ipv4Net,
    pub(super) groups: &'a [String],
}

/// Whether the rules of these groups allow a TCP connection to a port, to (`egress`) or from the other end.
pub(super) fn permits(world: &World, groups: &[String], egress: bool, other: End<'_>, port: u16) -> bool {
    every::<Rule>(world)
        .filter(|rule| rule.egress == egress && groups.contains(&rule.group) && rule.permits_tcp(port))
        .any(|rule| match &rule.peer {
            Peer::Cidr(cidr) => cidr.contains(&other.net),
            Peer::Group(id) => other.groups.contains(id),
            Peer::Cidr6(_) | Peer::PrefixList(_) => false,
        })
}

/// Whether the egress rules of one end and the ingress rules of the other allow a connection.
pub(super) fn passes(world: &World, from: End<'_>, to: End<'_>, port: u16) -> bool {
    permits(world, from.groups, true, to, port) && permits(world, to.groups, false, from, port)
}

/// The target of a subnet's route to an address.
fn way_from<'w>(world: &'w World, vpc: &str, subnet: &str, to: Ipv4Addr) -> Way<'w> {
    of_subnet(world, vpc, subnet).map_or(Way::Nowhere, |table| way(world, table, to))
}

/// Whether a subnet's table has a route to an attached internet gateway.
pub(super) fn is_public(world: &World, vpc: &str, subnet: &str) -> bool {
    way_from(world, vpc, subnet, SOMEWHERE) == Way::InternetGateway
}

/// Whether an address on the internet can connect to an interface: the interface needs a public address, its subnet a
/// route to the internet gateway, and its groups a matching rule.
pub(super) fn connects_from_internet(world: &World, from: Ipv4Addr, to: &Interface, port: u16) -> bool {
    to.has_public_address(world.now)
        && gateway::is_attached_to(world, &to.vpc)
        && way_from(world, &to.vpc, &to.subnet, from) == Way::InternetGateway
        && permits(world, &to.groups, false, End { net: from.into(), groups: &[] }, port)
}

/// Whether an interface can connect to another one in the same VPC.
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
            // The private name resolves to the endpoint in the whole VPC, so there is no other path, even if the
            // endpoint's groups refuse the connection.
            return endpoint_admits(world, endpoint, subnet, groups);
        }
        if gateway_endpoint_serves(world, subnet, service) {
            return permits_service(world, groups, service);
        }
    }
    // For any host, only a rule for all addresses is certain to match.
    let anywhere = End { net: Ipv4Net::default(), groups: &[] };
    permits(world, groups, true, anywhere, 443) && leads_out(world, subnet, public)
}

/// The available interface endpoint with a service's private name.
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

/// Whether groups allow egress to the service of a gateway endpoint: by its prefix list, or to all addresses.
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
