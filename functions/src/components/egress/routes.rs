//! The private route tables' way to the NAT gateways.

use aws_sdk_ec2::types::{NatGateway, NatGatewayState, Route, RouteState, RouteTable};

use super::nat;
use super::observed::Observed;
use crate::aws::error::{Answer, StepError};
use crate::aws::join;
use crate::contract::component::Work;
use crate::contract::routes::target;
use crate::deployment::plan::{Plan, Verb};

/// Everything outside the VPC.
const ANYWHERE: &str = "0.0.0.0/0";

fn default_route(table: &RouteTable) -> Option<&Route> {
    table.routes().iter().find(|route| route.destination_cidr_block() == Some(ANYWHERE))
}

/// The NAT gateway that a zone's private subnets go out by: the zone's own, or the only one.
fn way_out<'f>(work: &Work<'_>, observed: &'f Observed, zone: &str) -> Option<&'f NatGateway> {
    let zones = nat::zones(work);
    let by = zones.iter().find(|own| *own == zone).or(zones.first())?;
    observed.gateways.get(&nat::logical_id(by))
}

/// Whether a table leads to a NAT gateway. A route whose gateway was deleted stays, as a black hole.
fn leads_to(table: &RouteTable, gateway: Option<&str>) -> bool {
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
        let desired = way_out(work, observed, &zone).and_then(NatGateway::nat_gateway_id);
        match observed.tables.get(&zone) {
            Some(table) if desired.is_none() && nat::zones(work).is_empty() => {
                if !leads_to(table, None) {
                    plan.change(Verb::Delete, logical_id(&zone));
                }
            }
            Some(table) if desired.is_some() && leads_to(table, desired) => {}
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

/// Leads every private table to its NAT gateway. A new route is accepted while the gateway is pending; one that is in
/// use is changed only when the gateway works.
pub(super) async fn apply(work: &Work<'_>, observed: &Observed) -> Result<(), StepError> {
    let zones: Vec<String> = work.spec.network.zone_letters().into_iter().map(String::from).collect();
    join::all(zones.iter().map(|zone| apply_one(work, observed, zone))).await.map(drop)
}

async fn apply_one(work: &Work<'_>, observed: &Observed, zone: &str) -> Result<(), StepError> {
    let missing = || StepError::pending(format!("the private route table of zone {zone} to be visible"));
    let table = observed.tables.get(zone).ok_or_else(missing)?;
    let id = table.route_table_id().unwrap_or_default();
    let gateway = way_out(work, observed, zone);
    let Some(gateway_id) = gateway.and_then(NatGateway::nat_gateway_id) else {
        return take_off(work, observed, table).await;
    };
    if leads_to(table, Some(gateway_id)) {
        return Ok(());
    }
    let doing = format!("leading {id} to {gateway_id}");
    let late = ["InvalidGatewayID.NotFound", "InvalidNatGatewayID.NotFound", "NatGatewayNotFound"];
    let waits_for = "the NAT gateway to be visible";
    match default_route(table) {
        None => {
            let call = work.aws.ec2().create_route().route_table_id(id);
            let call = call.destination_cidr_block(ANYWHERE).nat_gateway_id(gateway_id).send().await;
            call.unless(&["RouteAlreadyExists"]).pending_on(&late, waits_for, doing).map(drop)
        }
        // Nothing goes by a black hole, so there is nothing to keep up.
        Some(route)
            if route.state() != Some(&RouteState::Blackhole)
                && gateway.and_then(NatGateway::state) != Some(&NatGatewayState::Available) =>
        {
            Err(StepError::pending(format!("{gateway_id} to be available before {id} is led to it")))
        }
        Some(_) => {
            let call = work.aws.ec2().replace_route().route_table_id(id);
            let call = call.destination_cidr_block(ANYWHERE).nat_gateway_id(gateway_id).send().await;
            call.pending_on(&late, waits_for, doing).map(drop)
        }
    }
}

/// Takes the way out off a table, once the interface endpoints that replace it work.
async fn take_off(work: &Work<'_>, observed: &Observed, table: &RouteTable) -> Result<(), StepError> {
    if leads_to(table, None) {
        return Ok(());
    }
    super::endpoints::wait_until_stable(work, observed)?;
    let id = table.route_table_id().unwrap_or_default();
    let call = work.aws.ec2().delete_route().route_table_id(id).destination_cidr_block(ANYWHERE).send().await;
    call.unless(&["InvalidRoute.NotFound"]).doing(format!("taking the way out off {id}")).map(drop)
}
