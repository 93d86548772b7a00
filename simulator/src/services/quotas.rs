//! Service Quotas: the account's quotas, which the other services enforce.
//!
//! Quotas, codes and defaults: AWS General Reference, "Service endpoints and quotas", under each service.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{ErrorForm, Service, unknown};
use crate::authorization::AccessRequests;
use crate::params::{Params, Refusal};
use crate::protocol::Reply;
use crate::world::World;

/// VPCs in a region.
pub(crate) const VPCS: Key = ("vpc", "L-F678F1CE");
/// Internet gateways in a region.
pub(crate) const INTERNET_GATEWAYS: Key = ("vpc", "L-A4707A72");
/// Interface endpoints in a VPC.
pub(crate) const INTERFACE_ENDPOINTS: Key = ("vpc", "L-29B6F2EB");
/// Rules of a security group in one direction.
pub(crate) const RULES: Key = ("vpc", "L-0EA8095F");
/// NAT gateways in a zone.
pub(crate) const NAT_GATEWAYS: Key = ("vpc", "L-FE5A380F");
/// Elastic addresses in a region.
pub(crate) const ADDRESSES: Key = ("ec2", "L-0263D0A3");
/// vCPUs of running on-demand instances of the standard families.
pub(crate) const STANDARD_VCPUS: Key = ("ec2", "L-1216C47A");
/// vCPUs of all Fargate tasks and pods that are not Spot.
pub(crate) const FARGATE_VCPUS: Key = ("fargate", "L-3032A538");

/// A quota: the codes of the service and of the quota.
pub(crate) type Key = (&'static str, &'static str);

/// AWS's default value of a quota.
struct Quota {
    key: Key,
    service: &'static str,
    name: &'static str,
    default: f64,
}

const QUOTAS: [Quota; 8] = [
    quota(VPCS, "Amazon Virtual Private Cloud (Amazon VPC)", "VPCs per Region", 5.0),
    quota(
        INTERNET_GATEWAYS,
        "Amazon Virtual Private Cloud (Amazon VPC)",
        "Internet gateways per Region",
        5.0,
    ),
    quota(
        INTERFACE_ENDPOINTS,
        "Amazon Virtual Private Cloud (Amazon VPC)",
        "Interface VPC endpoints per VPC",
        50.0,
    ),
    quota(
        NAT_GATEWAYS,
        "Amazon Virtual Private Cloud (Amazon VPC)",
        "NAT gateways per Availability Zone",
        5.0,
    ),
    quota(
        RULES,
        "Amazon Virtual Private Cloud (Amazon VPC)",
        "Inbound or outbound rules per security group",
        60.0,
    ),
    quota(ADDRESSES, "Amazon Elastic Compute Cloud (Amazon EC2)", "EC2-VPC Elastic IPs", 5.0),
    // AWS's default is 5. Accounts that have run instances have more; this is the usual first value.
    quota(
        STANDARD_VCPUS,
        "Amazon Elastic Compute Cloud (Amazon EC2)",
        "Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances",
        32.0,
    ),
    quota(FARGATE_VCPUS, "AWS Fargate", "Fargate On-Demand vCPU resource count", 6.0),
];

const fn quota(key: Key, service: &'static str, name: &'static str, default: f64) -> Quota {
    Quota { key, service, name, default }
}

pub(crate) static SERVICE: Service = Service {
    throttling: ErrorForm::new("TooManyRequestsException", "Rate exceeded", 400),
    ..Service::json("servicequotas", "1.1", "ServiceQuotasV20190624", act, access)
};

/// The state of this service.
#[derive(Debug, Clone, Default)]
pub(crate) struct State {
    /// The values applied to this account, by service and code.
    applied: BTreeMap<(String, String), f64>,
}

/// The value of a quota in this account.
pub(crate) fn limit(world: &World, key: Key) -> f64 {
    let applied = world
        .states
        .quotas
        .applied
        .iter()
        .find(|((service, code), _)| (service.as_str(), code.as_str()) == key);
    let default = || QUOTAS.iter().find(|quota| quota.key == key).map(|quota| quota.default);
    applied.map(|(_, value)| *value).or_else(default).unwrap_or_default()
}

/// Whether the quota allows one more than `count`.
pub(crate) fn has_room(world: &World, key: Key, count: usize) -> bool {
    u32::try_from(count).is_ok_and(|count| f64::from(count) + 1.0 <= limit(world, key))
}

/// Sets the value of a quota.
pub(crate) fn seed(world: &mut World, service: &str, code: &str, value: u32) {
    world.states.quotas.applied.insert((service.to_owned(), code.to_owned()), value.into());
}

/// The permissions that a call needs.
fn access(world: &World, operation: &str, params: &Params, requests: &mut AccessRequests<'_>) {
    if operation == "GetServiceQuota" {
        let part = |name: &str| params.text(name).unwrap_or_default();
        let quota = format!("{}/{}", part("ServiceCode"), part("QuotaCode"));
        requests.resource("quota", world.arn("servicequotas", &quota), None);
    } else {
        requests.no_resource();
    }
}

fn act(world: &mut World, operation: &str, params: &Params) -> Result<Reply, Refusal> {
    match operation {
        "GetServiceQuota" => get(world, params, true),
        "GetAWSDefaultServiceQuota" => get(world, params, false),
        _ => Err(unknown("servicequotas", operation)),
    }
}

/// AWS has applied values for some quotas only, and does not document which; for the others it returns the default
/// only (user guide, "Viewing service quotas"). Here, those are the quotas that were not set.
fn get(world: &World, params: &Params, applied: bool) -> Result<Reply, Refusal> {
    let (service, code) = (params.required("ServiceCode")?, params.required("QuotaCode")?);
    params.done()?;
    let known = QUOTAS.iter().find(|quota| quota.key == (service.as_str(), code.as_str()));
    let value = if applied {
        world.states.quotas.applied.get(&(service.clone(), code.clone())).copied()
    } else {
        known.map(|quota| quota.default)
    };
    let (Some(quota), Some(value)) = (known, value) else {
        return Err(Refusal::new(
            "NoSuchResourceException",
            format!("The specified quota {service}/{code} does not exist."),
        ));
    };
    Ok(json!({ "Quota": document(world, quota, value) }).into())
}

fn document(world: &World, quota: &Quota, value: f64) -> Value {
    let (service, code) = quota.key;
    json!({
        "ServiceCode": service,
        "ServiceName": quota.service,
        "QuotaArn": world.arn("servicequotas", &format!("{service}/{code}")),
        "QuotaCode": code,
        "QuotaName": quota.name,
        "Value": value,
        "Unit": "None",
        "Adjustable": true,
        "GlobalQuota": false,
    })
}
