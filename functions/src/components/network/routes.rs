//! Routes that somebody has added to the stack's route tables: shown, and taken off.

use aws_sdk_ec2::types::{Route, RouteOrigin, RouteTable};

use super::observed::Found;
use super::tables::{ANYWHERE, DATABASE, wanted};
use crate::contract::routes::target;
use crate::contract::component::Work;
use crate::deployment::plan::Plan;
use crate::aws::error::{Answer, StepError};
use crate::aws::join;

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
    join::all(added(work, found).into_iter().map(async |(role, table, route)| {
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
