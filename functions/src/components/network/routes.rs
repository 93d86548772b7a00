//! Routes that somebody has added to the stack's route tables: shown, and taken off.

use aws_sdk_ec2::types::{Route, RouteOrigin, RouteTable};

use super::observed::Observed;
use super::tables::{ANYWHERE, DATABASE, desired};
use crate::aws::error::{Answer, StepError};
use crate::aws::join;
use crate::contract::component::Work;
use crate::contract::routes::target;
use crate::deployment::plan::Plan;

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
fn is_added(logical_id: &str, route: &Route) -> bool {
    let local = route.gateway_id() == Some("local");
    let of_endpoint = route.gateway_id().is_some_and(|gateway| gateway.starts_with("vpce-"));
    let announced = route.origin() == Some(&RouteOrigin::EnableVgwRoutePropagation);
    let way_out = route.destination_cidr_block() == Some(ANYWHERE) && logical_id != DATABASE;
    !(local || of_endpoint || announced || way_out)
}

/// The routes that were added by hand, with their tables.
fn added<'f>(work: &Work<'_>, observed: &'f Observed) -> Vec<(String, &'f RouteTable, &'f Route)> {
    let tables = desired(work)
        .into_iter()
        .filter_map(|logical_id| Some((observed.tables.get(&logical_id)?, logical_id)));
    tables
        .flat_map(|(table, logical_id)| {
            table.routes().iter().map(move |route| (logical_id.clone(), table, route))
        })
        .filter(|(logical_id, _, route)| is_added(logical_id, route))
        .collect()
}

pub(super) fn plan(work: &Work<'_>, observed: &Observed, plan: &mut Plan) {
    for (logical_id, _, route) in added(work, observed) {
        plan.update(&logical_id, &format!("routes.{}", destination(route)), target(route), "(none)");
    }
}

/// Takes off what was added by hand.
pub(super) async fn take_off(work: &Work<'_>, observed: &Observed) -> Result<(), StepError> {
    join::all(added(work, observed).into_iter().map(async |(logical_id, table, route)| {
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
        tracing::info!(id, logical_id, to, "Route that was added by hand taken off.");
        Ok::<_, StepError>(())
    }))
    .await
    .map(drop)
}
