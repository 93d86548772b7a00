//! What AWS lacks in single zones: new subnets, capacity, endpoint services.

use std::collections::BTreeMap;

use serde_json::json;

use super::endpoint::{GATEWAY_SERVICES, INTERFACE_SERVICES, full_name};
use super::query::{Filter, Filters, Page, one};
use super::zone;
use crate::params::{Params, Refusal};
use crate::protocol::Reply;
use crate::world::World;

/// What a zone lacks.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Lack {
    /// AWS lists the zone, but creates no subnets in it.
    Subnets { zone: String },
    /// AWS has no capacity for instances in the zone.
    Capacity { zone: String },
    /// The zone has no interface endpoints for a service.
    EndpointService { service: String, zone: String },
}

pub(crate) fn seed_lack(world: &mut World, lack: Lack) {
    world.states.ec2.lacks.insert(lack);
}

/// The zones in which AWS creates subnets.
pub(super) fn zones_for_subnets(world: &World) -> Vec<String> {
    let lacks = |zone: &String| world.states.ec2.lacks.contains(&Lack::Subnets { zone: zone.clone() });
    zone::names(world).into_iter().filter(|zone| !lacks(zone)).collect()
}

/// # Errors
/// `InsufficientInstanceCapacity`, which comes with HTTP status 500, if the zone has no capacity.
/// Source of the message: commonwarexyz/monorepo#2859.
pub(super) fn check_capacity(world: &World, kind: &str, zone: &str) -> Result<(), Refusal> {
    let lack = |zone: &str| Lack::Capacity { zone: zone.to_owned() };
    if !world.states.ec2.lacks.contains(&lack(zone)) {
        return Ok(());
    }
    let others = zone::names(world).into_iter().filter(|zone| !world.states.ec2.lacks.contains(&lack(zone)));
    let others = others.collect::<Vec<_>>().join(", ");
    let message = format!(
        "We currently do not have sufficient {kind} capacity in the Availability Zone you requested ({zone}). Our system will be working on provisioning additional capacity. You can currently get {kind} capacity by not specifying an Availability Zone in your request or choosing {others}."
    );
    Err(Refusal::new("InsufficientInstanceCapacity", message).status(500))
}

/// The zones of a service's interface endpoints.
fn zones_of(world: &World, service: &str) -> Vec<String> {
    let lack = |zone: &String| Lack::EndpointService { service: service.to_owned(), zone: zone.clone() };
    zone::names(world).into_iter().filter(|zone| !world.states.ec2.lacks.contains(&lack(zone))).collect()
}

/// # Errors
/// `InvalidParameter` if a service has no interface endpoints in a zone.
/// Source of the message: terraform-aws-modules/terraform-aws-vpc#462.
pub(super) fn check_service(world: &World, service: &str, zone: &str) -> Result<(), Refusal> {
    if zones_of(world, service).iter().any(|offered| offered == zone) {
        return Ok(());
    }
    Err(Refusal::new(
        "InvalidParameter",
        format!(
            "The VPC endpoint service {} does not support the availability zone of the subnet: {zone}.",
            full_name(world, service)
        ),
    ))
}

/// A service with one type of endpoint.
struct EndpointService {
    name: &'static str,
    kind: &'static str,
}

const FILTERS: &[Filter<EndpointService>] = &[
    ("service-name", |service, world| one(full_name(world, service.name))),
    ("service-type", |service, _| one(service.kind)),
    ("owner", |_, _| one("amazon")),
];

pub(super) fn describe_services(world: &World, params: &Params) -> Result<Reply, Refusal> {
    let filters = Filters::read(params, FILTERS)?;
    let page = Page::read(params)?;
    params.done()?;
    let interfaces = INTERFACE_SERVICES.map(|name| EndpointService { name, kind: "Interface" });
    let gateways = GATEWAY_SERVICES.map(|name| EndpointService { name, kind: "Gateway" });
    let all: BTreeMap<(&str, &str), EndpointService> = interfaces
        .into_iter()
        .chain(gateways)
        .map(|service| ((service.name, service.kind), service))
        .collect();
    let found = all
        .values()
        .filter(|service| filters.match_untagged(service, world))
        .map(|service| {
            json!({
                "serviceName": full_name(world, service.name),
                "serviceType": [{ "serviceType": service.kind }],
                "availabilityZoneSet": zones_of(world, service.name),
                "owner": "amazon",
                "acceptanceRequired": false,
                "managesVpcEndpoints": false,
            })
        })
        .collect();
    Ok(page.answer("serviceDetailSet", found))
}
