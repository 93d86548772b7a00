//! Routes that somebody added to the stack's route tables by hand: the plan shows them, and `apply` deletes them.

use aws_sdk_ec2::types::{Route, RouteOrigin, RouteTable};

use super::observed::Observed;
use super::tables::{ANYWHERE, DATABASE, desired};
use crate::aws::error::{AwsResult, StepError};
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

/// Whether a route was added by hand. Default routes are not: `tables` manages the public table's, and `egress` those of the
/// private tables. AWS manages the local route, those of gateway endpoints, and those that a virtual private gateway
/// propagates.
fn is_manual(logical_id: &str, route: &Route) -> bool {
    let local = route.gateway_id() == Some("local");
    let of_endpoint = route.gateway_id().is_some_and(|gateway| gateway.starts_with("vpce-"));
    let propagated = route.origin() == Some(&RouteOrigin::EnableVgwRoutePropagation);
    let is_default = route.destination_cidr_block() == Some(ANYWHERE) && logical_id != DATABASE;
    !(local || of_endpoint || propagated || is_default)
}

/// The routes that were added by hand, with their route tables.
fn manual_routes<'f>(work: &Work<'_>, observed: &'f Observed) -> Vec<(String, &'f RouteTable, &'f Route)> {
    let tables = desired(work)
        .into_iter()
        .filter_map(|logical_id| Some((observed.tables.get(&logical_id)?, logical_id)));
    tables
        .flat_map(|(table, logical_id)| {
            table.routes().iter().map(move |route| (logical_id.clone(), table, route))
        })
        .filter(|(logical_id, _, route)| is_manual(logical_id, route))
        .collect()
}

pub(super) fn plan(work: &Work<'_>, observed: &Observed, plan: &mut Plan) {
    for (logical_id, _, route) in manual_routes(work, observed) {
        plan.update(&logical_id, &format!("routes.{}", destination(route)), target(route), "(none)");
    }
}

/// Deletes the routes that were added by hand.
pub(super) async fn delete_manual_routes(work: &Work<'_>, observed: &Observed) -> Result<(), StepError> {
    join::all(manual_routes(work, observed).into_iter().map(async |(logical_id, table, route)| {
        let (id, destination) = (table.route_table_id().unwrap_or_default(), destination(route));
        let call = work.aws.ec2().delete_route().route_table_id(id);
        let call = call
            .set_destination_cidr_block(route.destination_cidr_block.clone())
            .set_destination_ipv6_cidr_block(route.destination_ipv6_cidr_block.clone())
            .set_destination_prefix_list_id(route.destination_prefix_list_id.clone());
        call.send()
            .await
            .unless(&["InvalidRoute.NotFound"])
            .doing(format!("deleting the route to {destination} from route table {id}"))?;
        tracing::info!(id, logical_id, destination, "Route that was added by hand deleted.");
        Ok::<_, StepError>(())
    }))
    .await
    .map(drop)
}
