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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_target_is_named_and_whether_it_still_exists() {
        let route = Route::builder;
        for (route, expected) in [
            (route().gateway_id("igw-1"), "igw-1"),
            (route().nat_gateway_id("nat-1"), "nat-1"),
            (route().network_interface_id("eni-1").instance_id("i-1"), "eni-1"),
            (route().transit_gateway_id("tgw-1"), "tgw-1"),
            (route().vpc_peering_connection_id("pcx-1"), "pcx-1"),
            (route().instance_id("i-1"), "i-1"),
            (route().egress_only_internet_gateway_id("eigw-1"), "eigw-1"),
            (route().carrier_gateway_id("cagw-1"), "cagw-1"),
            (route().local_gateway_id("lgw-1"), "lgw-1"),
            (route().core_network_arn("arn:core"), "arn:core"),
            (route().gateway_id("igw-1").state(RouteState::Active), "igw-1"),
            (route().nat_gateway_id("nat-1").state(RouteState::Blackhole), "nat-1, which no longer exists"),
            (route(), "(unknown target)"),
        ] {
            assert_eq!(target(&route.build()), expected);
        }
    }
}
