//! Routes that somebody has added to the stack's route tables: shown, and taken off.

use aws_sdk_ec2::types::{Route, RouteOrigin, RouteState, RouteTable};

use super::found::Found;
use super::tables::{ANYWHERE, DATABASE, wanted};
use crate::component::{Plan, Work};
use crate::error::{Answer, StepError};
use crate::together;

/// Where a route's traffic goes, in words.
pub(crate) fn target(route: &Route) -> String {
    let targets = [
        route.gateway_id(),
        route.nat_gateway_id(),
        route.network_interface_id(),
        route.instance_id(),
        route.transit_gateway_id(),
        route.vpc_peering_connection_id(),
        route.egress_only_internet_gateway_id(),
        route.carrier_gateway_id(),
        route.local_gateway_id(),
        route.core_network_arn(),
    ];
    let to = targets.into_iter().flatten().next().unwrap_or("(something else)");
    if route.state() == Some(&RouteState::Blackhole) { format!("{to}, which is gone") } else { to.to_owned() }
}

fn destination(route: &Route) -> &str {
    let destinations = [
        route.destination_cidr_block(),
        route.destination_ipv6_cidr_block(),
        route.destination_prefix_list_id(),
    ];
    destinations.into_iter().flatten().next().unwrap_or_default()
}

/// Whether a route was made by hand. The way out is not judged here: the public table's is this component's, those of
/// the private ones are `egress`'s. The others are AWS's own: the local one, those of gateway endpoints, and those that a
/// virtual private gateway announces.
fn is_added(role: &str, route: &Route) -> bool {
    let local = route.gateway_id() == Some("local");
    let of_endpoint = route.gateway_id().is_some_and(|gateway| gateway.starts_with("vpce-"));
    let announced = route.origin() == Some(&RouteOrigin::EnableVgwRoutePropagation);
    let way_out = route.destination_cidr_block() == Some(ANYWHERE) && role != DATABASE;
    !(local || of_endpoint || announced || way_out)
}

/// The routes that were added by hand, with their tables.
fn added<'f>(work: &Work<'_>, found: &'f Found) -> Vec<(String, &'f RouteTable, &'f Route)> {
    let tables = wanted(work).into_iter().filter_map(|role| Some((found.tables.get(&role)?, role)));
    tables
        .flat_map(|(table, role)| table.routes().iter().map(move |route| (role.clone(), table, route)))
        .filter(|(role, _, route)| is_added(role, route))
        .collect()
}

pub(super) fn plan(work: &Work<'_>, found: &Found, plan: &mut Plan) {
    for (role, _, route) in added(work, found) {
        plan.update(&role, &format!("routes.{}", destination(route)), target(route), "(none)");
    }
}

/// Takes off what was added by hand.
pub(super) async fn take_off(work: &Work<'_>, found: &Found) -> Result<(), StepError> {
    together::all(added(work, found).into_iter().map(async |(role, table, route)| {
        let (id, to) = (table.route_table_id().unwrap_or_default(), destination(route));
        let call = work.aws.ec2().delete_route().route_table_id(id);
        let call = call
            .set_destination_cidr_block(route.destination_cidr_block.clone())
            .set_destination_ipv6_cidr_block(route.destination_ipv6_cidr_block.clone())
            .set_destination_prefix_list_id(route.destination_prefix_list_id.clone());
        call.send()
            .await
            .unless(&["InvalidRoute.NotFound"])
            .doing(format!("taking the route to {to} off {id}"))?;
        tracing::info!(id, role, to, "Route that was added by hand taken off.");
        Ok::<_, StepError>(())
    }))
    .await
    .map(drop)
}
