//! The default routes of the private route tables, to the NAT gateways.

use aws_sdk_ec2::types::{NatGateway, NatGatewayState, Route, RouteState, RouteTable};

use super::nat;
use super::observed::Observed;
use crate::aws::error::{AwsResult, StepError};
use crate::aws::join;
use crate::contract::component::Work;
use crate::contract::routes::target;
use crate::deployment::plan::{Plan, Verb};

/// The destination of a default route.
const ANYWHERE: &str = "0.0.0.0/0";

fn default_route(table: &RouteTable) -> Option<&Route> {
    table.routes().iter().find(|route| route.destination_cidr_block() == Some(ANYWHERE))
}

/// The NAT gateway of a zone's private subnets: the zone's own, or the only one.
fn gateway_of<'f>(work: &Work<'_>, observed: &'f Observed, zone: &str) -> Option<&'f NatGateway> {
    let zones = nat::zones(work);
    let gateway_zone = zones.iter().find(|own| *own == zone).or(zones.first())?;
    observed.gateways.get(&nat::logical_id(gateway_zone))
}

/// Whether a table's default route leads to a NAT gateway. A route whose gateway was deleted stays as a black hole.
fn is_default_route_to(table: &RouteTable, gateway: Option<&str>) -> bool {
    match (default_route(table), gateway) {
        (None, None) => true,
        (Some(route), Some(gateway)) => {
            route.nat_gateway_id() == Some(gateway) && route.state() != Some(&RouteState::Blackhole)
        }
        _ => false,
    }
}

fn logical_id(zone: &str) -> String {
    format!("route/private/{zone}")
}

pub(super) fn plan(work: &Work<'_>, observed: &Observed, plan: &mut Plan) {
    for zone in work.spec.network.zone_letters().into_iter().map(String::from) {
        let desired = gateway_of(work, observed, &zone).and_then(NatGateway::nat_gateway_id);
        match observed.tables.get(&zone) {
            Some(table) if desired.is_none() && nat::zones(work).is_empty() => {
                if !is_default_route_to(table, None) {
                    plan.change(Verb::Delete, logical_id(&zone));
                }
            }
            Some(table) if desired.is_some() && is_default_route_to(table, desired) => {}
            Some(table) => match default_route(table) {
                Some(route) => {
                    plan.update(&logical_id(&zone), "natGateway", target(route), desired.unwrap_or("(new)"));
                }
                None => plan.change(Verb::Create, logical_id(&zone)),
            },
            None if nat::zones(work).is_empty() => {}
            None => plan.change(Verb::Create, logical_id(&zone)),
        }
    }
}

/// Routes every private table to its NAT gateway. A new route may lead to a pending gateway; a route in use is replaced
/// only once the gateway is available.
pub(super) async fn apply(work: &Work<'_>, observed: &Observed) -> Result<(), StepError> {
    let zones: Vec<String> = work.spec.network.zone_letters().into_iter().map(String::from).collect();
    join::all(zones.iter().map(|zone| apply_one(work, observed, zone))).await.map(drop)
}

async fn apply_one(work: &Work<'_>, observed: &Observed, zone: &str) -> Result<(), StepError> {
    let missing = || StepError::stalled(format!("route table route-table/private/{zone} to become visible"));
    let table = observed.tables.get(zone).ok_or_else(missing)?;
    let id = table.route_table_id().unwrap_or_default();
    let gateway = gateway_of(work, observed, zone);
    let Some(gateway_id) = gateway.and_then(NatGateway::nat_gateway_id) else {
        return delete_default_route(work, observed, table).await;
    };
    if is_default_route_to(table, Some(gateway_id)) {
        return Ok(());
    }
    let doing = format!("routing route table {id} to NAT gateway {gateway_id}");
    let not_visible = ["InvalidGatewayID.NotFound", "InvalidNatGatewayID.NotFound", "NatGatewayNotFound"];
    let waiting_for = "the NAT gateway to become visible";
    match default_route(table) {
        None => {
            let call = work.aws.ec2().create_route().route_table_id(id);
            let call = call.destination_cidr_block(ANYWHERE).nat_gateway_id(gateway_id).send().await;
            call.unless(&["RouteAlreadyExists"]).stalled_on(&not_visible, waiting_for, doing).map(drop)
        }
        // A black hole carries no traffic, so it can be replaced at once.
        Some(route)
            if route.state() != Some(&RouteState::Blackhole)
                && gateway.and_then(NatGateway::state) != Some(&NatGatewayState::Available) =>
        {
            Err(StepError::pending(format!(
                "NAT gateway {gateway_id} to become available, before route table {id} uses it"
            )))
        }
        Some(_) => {
            let call = work.aws.ec2().replace_route().route_table_id(id);
            let call = call.destination_cidr_block(ANYWHERE).nat_gateway_id(gateway_id).send().await;
            call.stalled_on(&not_visible, waiting_for, doing).map(drop)
        }
    }
}

/// Deletes a table's default route, once the interface endpoints that replace it are available.
async fn delete_default_route(
    work: &Work<'_>,
    observed: &Observed,
    table: &RouteTable,
) -> Result<(), StepError> {
    if is_default_route_to(table, None) {
        return Ok(());
    }
    super::endpoints::wait_until_stable(work, observed)?;
    let id = table.route_table_id().unwrap_or_default();
    let call = work.aws.ec2().delete_route().route_table_id(id).destination_cidr_block(ANYWHERE).send().await;
    call.unless(&["InvalidRoute.NotFound"])
        .doing(format!("deleting the default route of route table {id}"))
        .map(drop)
}
