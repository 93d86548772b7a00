//! Descriptions of routes.

use aws_sdk_ec2::types::{Route, RouteState};

/// The ID of a route's target.
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
    let id = targets.into_iter().flatten().next().unwrap_or("(unknown target)");
    if route.state() == Some(&RouteState::Blackhole) {
        format!("{id}, which no longer exists")
    } else {
        id.to_owned()
    }
}
