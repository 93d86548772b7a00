//! Routes that somebody added to the stack's route tables by hand: the plan shows them, and `apply` deletes them.

use aws_sdk_ec2::types::{Route, RouteOrigin, RouteTable};

use super::observed::Observed;
use super::tables::{ANYWHERE, DATABASE, desired};
use crate::aws::error::{AwsResult, StepError};
use crate::aws::join;
use crate::contract::component::Work;
use crate::contract::routes::target;
use crate::deployment::plan::Plan;

/// The target of the route inside the VPC.
const LOCAL: &str = "local";

fn destination(route: &Route) -> &str {
    let destinations = [
        route.destination_cidr_block(),
        route.destination_ipv6_cidr_block(),
        route.destination_prefix_list_id(),
    ];
    destinations.into_iter().flatten().next().unwrap_or_default()
}

/// Whether a route was added by hand. Default routes are not: `tables` manages the public table's, and `egress` those of the
/// private tables. AWS manages the local route, those of gateway endpoints, and those that a virtual private gateway or a
/// route server adds. The spec names the routes of other networks that stay.
fn is_manual(work: &Work<'_>, logical_id: &str, route: &Route) -> bool {
    let of_endpoint = route.gateway_id().is_some_and(|gateway| gateway.starts_with("vpce-"));
    let is_default = route.destination_cidr_block() == Some(ANYWHERE) && logical_id != DATABASE;
    !(is_local(work, route) || of_endpoint || is_added_by_aws(route) || is_default || is_kept(work, route))
}

/// Whether a virtual private gateway or a route server adds the route, and keeps it.
fn is_added_by_aws(route: &Route) -> bool {
    route.origin().is_some_and(|origin| {
        *origin == RouteOrigin::EnableVgwRoutePropagation || origin.as_str() == "Advertisement"
    })
}

/// Whether the route is the one inside the VPC, which exists in every table, whatever its target is.
fn is_local(work: &Work<'_>, route: &Route) -> bool {
    let own = work.spec.network.cidr.to_string();
    route.gateway_id() == Some(LOCAL) || route.destination_cidr_block() == Some(own.as_str())
}

/// Whether the spec says that the route stays. It must not lead to the internet through another gateway.
fn is_kept(work: &Work<'_>, route: &Route) -> bool {
    let to_internet = route.gateway_id().is_some_and(|gateway| gateway.starts_with("igw-"));
    let kept = work.spec.network.keep_routes.iter();
    !to_internet && kept.map(ToString::to_string).any(|kept| route.destination_cidr_block() == Some(&kept))
}

/// The local routes with another target, with their route tables: traffic inside the VPC takes another way.
fn changed_local_routes<'f>(
    work: &Work<'_>,
    observed: &'f Observed,
) -> Vec<(String, &'f RouteTable, &'f Route)> {
    let is_changed = |route: &Route| is_local(work, route) && route.gateway_id() != Some(LOCAL);
    let tables = desired(work).into_iter().filter_map(|id| Some((observed.tables.get(&id)?, id)));
    tables
        .flat_map(|(table, id)| table.routes().iter().map(move |route| (id.clone(), table, route)))
        .filter(|(_, _, route)| is_changed(route))
        .collect()
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
        .filter(|(logical_id, _, route)| is_manual(work, logical_id, route))
        .collect()
}

pub(super) fn plan(work: &Work<'_>, observed: &Observed, plan: &mut Plan) {
    for (logical_id, _, route) in manual_routes(work, observed) {
        plan.update(&logical_id, &format!("routes.{}", destination(route)), target(route), "(none)");
    }
    for (logical_id, _, route) in changed_local_routes(work, observed) {
        plan.update(&logical_id, &format!("routes.{}", destination(route)), target(route), LOCAL);
    }
}

/// Gives the local routes their target back.
async fn restore_local_routes(work: &Work<'_>, observed: &Observed) -> Result<(), StepError> {
    join::all(changed_local_routes(work, observed).into_iter().map(async |(logical_id, table, route)| {
        let (id, destination) = (table.route_table_id().unwrap_or_default(), destination(route));
        // A local route cannot be deleted (API reference, `DeleteRoute`).
        let call = work.aws.ec2().replace_route().route_table_id(id);
        let call = call.set_destination_cidr_block(route.destination_cidr_block.clone()).local_target(true);
        call.send().await.doing(format!("restoring the local route of route table {id}"))?;
        tracing::info!(id, logical_id, destination, "Local route restored.");
        Ok::<_, StepError>(())
    }))
    .await
    .map(drop)
}

/// Deletes the routes that were added by hand, and restores the local ones.
pub(super) async fn delete_manual_routes(work: &Work<'_>, observed: &Observed) -> Result<(), StepError> {
    restore_local_routes(work, observed).await?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_routes_of_private_gateways_and_route_servers_are_added_by_aws() {
        for (origin, expected) in [
            ("EnableVgwRoutePropagation", true),
            ("Advertisement", true),
            ("CreateRoute", false),
            ("CreateRouteTable", false),
        ] {
            let route = Route::builder().origin(RouteOrigin::from(origin)).build();
            assert_eq!(is_added_by_aws(&route), expected, "{origin}");
        }
        assert!(!is_added_by_aws(&Route::builder().build()));
    }

    #[test]
    fn a_route_is_named_by_whatever_destination_it_has() {
        let route = Route::builder;
        assert_eq!(destination(&route().destination_cidr_block("10.1.0.0/16").build()), "10.1.0.0/16");
        assert_eq!(destination(&route().destination_ipv6_cidr_block("::/0").build()), "::/0");
        assert_eq!(destination(&route().destination_prefix_list_id("pl-1").build()), "pl-1");
    }
}
