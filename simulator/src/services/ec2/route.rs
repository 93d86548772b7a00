//! Routes.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use serde_json::{Value, json};

use super::endpoint::{self, Endpoint};
use super::gateway::InternetGateway;
use super::nat::NatGateway;
use super::resource::{Resource, done, every, find, find_mut, invalid};
use super::route_table::RouteTable;
use crate::params::{Params, Refusal};
use crate::protocol::Reply;
use crate::world::World;

/// AWS's default quota of routes in a table, without propagated ones.
const MOST_ROUTES: usize = 50;

/// A route that a call created; the local route is implied.
#[derive(Debug, Clone)]
pub(super) struct Route {
    destination: Ipv4Net,
    target: Target,
}

#[derive(Debug, Clone)]
pub(super) enum Target {
    InternetGateway(String),
    NatGateway(String),
    /// A peering connection, by its ID: the other network is not simulated.
    Peering(String),
}

impl Target {
    /// Whether the route is active. A route to a deleted target remains as a black hole.
    fn is_there(&self, world: &World, vpc: &str) -> bool {
        match self {
            Self::InternetGateway(id) => {
                world.states.ec2.gateways.get(id).is_some_and(|gateway| gateway.vpc.as_deref() == Some(vpc))
            }
            Self::NatGateway(id) => {
                world.states.ec2.nats.get(id).is_some_and(|nat| nat.takes_routes(world.now))
            }
            Self::Peering(_) => true,
        }
    }
}

/// The target of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way<'w> {
    Local,
    InternetGateway,
    NatGateway(&'w str),
    Nowhere,
}

/// The target for an address in a table: its most specific route applies, even if that is a black hole.
pub(super) fn way<'w>(world: &'w World, table: &'w RouteTable, to: Ipv4Addr) -> Way<'w> {
    if world.states.ec2.vpcs.get(&table.vpc).is_some_and(|vpc| vpc.cidr.contains(&to)) {
        return Way::Local;
    }
    let best = table
        .routes
        .iter()
        .filter(|route| route.destination.contains(&to))
        .max_by_key(|route| route.destination.prefix_len());
    match best.map(|route| &route.target) {
        Some(target) if !target.is_there(world, &table.vpc) => Way::Nowhere,
        Some(Target::InternetGateway(_)) => Way::InternetGateway,
        Some(Target::NatGateway(id)) => Way::NatGateway(id),
        Some(Target::Peering(_)) | None => Way::Nowhere,
    }
}

/// Adds a route to a peered network, as its owner does.
pub(super) fn add_peering(world: &mut World, table: &str, destination: Ipv4Net, peering: &str) {
    if let Some(table) = world.states.ec2.tables.get_mut(table) {
        table.routes.push(Route { destination, target: Target::Peering(peering.to_owned()) });
    }
}

/// Gives the local route of a table another target: an interface, such as a firewall's.
pub(super) fn divert_local(world: &mut World, table: &str, interface: &str) {
    if let Some(table) = world.states.ec2.tables.get_mut(table) {
        table.diverted = Some(interface.to_owned());
    }
}

/// A table's routes as AWS shows them: the local one, created ones, and those of gateway endpoints.
pub(super) fn documents(world: &World, table: &RouteTable) -> Vec<Value> {
    let local = world.states.ec2.vpcs.get(&table.vpc).map(|vpc| {
        json!({
            "destinationCidrBlock": vpc.cidr.to_string(),
            "gatewayId": table.diverted.is_none().then_some("local"),
            "networkInterfaceId": table.diverted,
            "origin": "CreateRouteTable",
            "state": "active",
        })
    });
    let made = table.routes.iter().map(|route| {
        let (gateway, nat, peering) = match &route.target {
            Target::InternetGateway(id) => (Some(id), None, None),
            Target::NatGateway(id) => (None, Some(id), None),
            Target::Peering(id) => (None, None, Some(id)),
        };
        let is_there = route.target.is_there(world, &table.vpc);
        json!({
            "destinationCidrBlock": route.destination.to_string(),
            "gatewayId": gateway,
            "natGatewayId": nat,
            "vpcPeeringConnectionId": peering,
            "origin": "CreateRoute",
            "state": if is_there { "active" } else { "blackhole" },
        })
    });
    let of_endpoints = every::<Endpoint>(world)
        .filter(|endpoint| endpoint.is_available(world.now) && endpoint.routes_in(table.id()))
        .map(|endpoint| {
            json!({
                "destinationPrefixListId": endpoint::prefix_list(&endpoint.service),
                "gatewayId": endpoint.id(),
                "origin": "CreateRoute",
                "state": "active",
            })
        });
    local.into_iter().chain(made).chain(of_endpoints).collect()
}

/// The parameters of `CreateRoute` and `ReplaceRoute`.
fn asked(world: &World, params: &Params) -> Result<(String, Route), Refusal> {
    let table_id = params.required("RouteTableId")?;
    let destination = params.required("DestinationCidrBlock")?;
    let gateway = params.text("GatewayId");
    let nat = params.text("NatGatewayId");
    params.done()?;
    let table = find::<RouteTable>(world, &table_id)?;
    let destination = block(&destination)?;
    if world.states.ec2.vpcs.get(&table.vpc).is_some_and(|vpc| vpc.cidr.contains(&destination)) {
        return Err(Refusal::new(
            "InvalidParameterValue",
            format!(
                "The destination CIDR block {destination} is equal to or more specific than one of this VPC's CIDR blocks. This route can target only an interface or an instance."
            ),
        ));
    }
    let target = match (gateway, nat) {
        (Some(id), None) => {
            check_gateway(world, table, &id)?;
            Target::InternetGateway(id)
        }
        (None, Some(id)) => {
            check_nat(world, table, &id)?;
            Target::NatGateway(id)
        }
        (None, None) => {
            return Err(Refusal::new(
                "MissingParameter",
                "The request must contain exactly one of gatewayId, natGatewayId",
            ));
        }
        (Some(_), Some(_)) => {
            return Err(Refusal::new(
                "InvalidParameterCombination",
                "The parameters gatewayId and natGatewayId may not be used together",
            ));
        }
    };
    Ok((table_id, Route { destination, target }))
}

fn block(text: &str) -> Result<Ipv4Net, Refusal> {
    let block: Ipv4Net =
        text.parse().map_err(|_| invalid(text, "destinationCidrBlock", "This is not a valid CIDR block."))?;
    Ok(block.trunc())
}

fn check_gateway(world: &World, table: &RouteTable, id: &str) -> Result<(), Refusal> {
    let gateway = find::<InternetGateway>(world, id).map_err(|refusal| {
        // The code here differs from that of the gateway's own calls.
        if refusal.code == "InvalidInternetGatewayID.NotFound" {
            Refusal::new("InvalidGatewayID.NotFound", format!("The gateway ID '{id}' does not exist"))
        } else {
            refusal
        }
    })?;
    if gateway.vpc.as_ref() == Some(&table.vpc) {
        return Ok(());
    }
    Err(different_networks(table.id(), id))
}

/// AWS accepts routes to a pending NAT gateway, but not to one that failed or is being deleted.
fn check_nat(world: &World, table: &RouteTable, id: &str) -> Result<(), Refusal> {
    let not_found =
        || Refusal::new("InvalidNatGatewayID.NotFound", format!("The natGateway ID '{id}' does not exist"));
    let nat = find::<NatGateway>(world, id).map_err(|_| not_found())?;
    if !nat.takes_routes(world.now) || nat.is_deleting(world.now) {
        return Err(not_found());
    }
    if nat.vpc == table.vpc { Ok(()) } else { Err(different_networks(table.id(), id)) }
}

fn different_networks(table: &str, gateway: &str) -> Refusal {
    Refusal::new(
        "InvalidParameterValue",
        format!("route table {table} and network gateway {gateway} belong to different networks"),
    )
}

pub(super) fn create(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let (table_id, route) = asked(world, params)?;
    let table = find_mut::<RouteTable>(world, &table_id)?;
    if table.routes.iter().any(|other| other.destination == route.destination) {
        return Err(Refusal::new(
            "RouteAlreadyExists",
            format!("The route identified by {} already exists.", route.destination),
        ));
    }
    if table.routes.len() >= MOST_ROUTES {
        return Err(Refusal::new(
            "RouteLimitExceeded",
            format!("The maximum number of routes has been reached for route table {table_id}"),
        ));
    }
    table.routes.push(route);
    Ok(done())
}

pub(super) fn replace(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    if params.flag("LocalTarget")? == Some(true) {
        return restore_local(world, params);
    }
    let (table_id, route) = asked(world, params)?;
    let table = find_mut::<RouteTable>(world, &table_id)?;
    match table.routes.iter_mut().find(|other| other.destination == route.destination) {
        Some(other) => {
            *other = route;
            Ok(done())
        }
        None => Err(Refusal::new(
            "InvalidParameterValue",
            format!(
                "There is no route defined for '{}' in the route table. Use CreateRoute instead.",
                route.destination
            ),
        )),
    }
}

/// Gives the local route its target back.
fn restore_local(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let table_id = params.required("RouteTableId")?;
    let destination = block(&params.required("DestinationCidrBlock")?)?;
    params.done()?;
    let vpc = find::<RouteTable>(world, &table_id)?.vpc.clone();
    if world.states.ec2.vpcs.get(&vpc).is_none_or(|vpc| vpc.cidr != destination) {
        return Err(invalid(&destination.to_string(), "destinationCidrBlock", "It has no local route."));
    }
    find_mut::<RouteTable>(world, &table_id)?.diverted = None;
    Ok(done())
}

pub(super) fn delete(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let table_id = params.required("RouteTableId")?;
    let destination = params.required("DestinationCidrBlock")?;
    params.done()?;
    let destination = block(&destination)?;
    let vpc = find::<RouteTable>(world, &table_id)?.vpc.clone();
    if world.states.ec2.vpcs.get(&vpc).is_some_and(|vpc| vpc.cidr == destination) {
        return Err(Refusal::new(
            "InvalidParameterValue",
            format!("cannot remove local route {destination} in route table {table_id}"),
        ));
    }
    let table = find_mut::<RouteTable>(world, &table_id)?;
    let before = table.routes.len();
    table.routes.retain(|route| route.destination != destination);
    if table.routes.len() == before {
        return Err(Refusal::new(
            "InvalidRoute.NotFound",
            format!("no route with destination-cidr-block {destination} in route table {table_id}"),
        ));
    }
    Ok(done())
}
