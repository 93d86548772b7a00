//! Rules between the values of a spec, and for the keys of its maps.
//!
//! Each rule reports the value that the user would change, and names the other values that it depends on: a rule is
//! skipped if one of them could not be read.

mod load_balancer;
mod service;

use std::collections::BTreeMap;

use garde::Validate;
use serde_json::Value as Json;

use crate::checks::{self, ecr_region};
use crate::findings::Findings;
use crate::path::{Path, Step, at};
use crate::subnets::{RESERVED_BY_AWS, Tier, size};
use crate::{DatabaseClient, Drift, Nat, Redeploy, Spec};

/// The number of services that ECS describes in one call (`DescribeServices`), so that all states are read together.
const SERVICES_MAX: usize = 10;
/// Half of an ALB's default quota of rules (100): during an update, old and new rules exist together.
const ROUTES_MAX: usize = 50;
/// AWS allows 50 tags on a resource; ten are reserved for Stackdrop's and AWS's own.
const TAGS_MAX: usize = 40;
/// The interface endpoints of `nat: none` in each private subnet: ssm, ssmmessages, ecr.api, ecr.dkr, logs, secretsmanager.
const ENDPOINTS: u32 = 6;

/// Reports every violation of a rule.
pub(crate) fn check(spec: &Spec, findings: &mut Findings<'_>) {
    fields(spec, findings);
    tags(spec, findings);
    services(spec, findings);
    for (name, service) in &spec.services {
        service::check(spec, name, service, findings);
    }
    load_balancer::check(spec, findings);
    database(spec, findings);
    redeploy(spec, findings);
    network(spec, findings);
    room(spec, findings);
    length(spec, findings);
}

/// A redeploy that only reports drift starts no new tasks.
fn redeploy(spec: &Spec, findings: &mut Findings<'_>) {
    let contradicts = |redeploy: &Redeploy| redeploy.refresh_image && redeploy.drift == Drift::Report;
    if spec.redeploy.as_ref().is_some_and(contradicts) {
        findings.value(
            &at!["redeploy", "refreshImage"],
            &[at!["redeploy", "drift"]],
            "`refreshImage` has no effect with `drift: report`",
            "`refreshImage: false`, or `drift: repair`",
        );
    }
}

/// Checks every single value, with `garde`.
fn fields(spec: &Spec, findings: &mut Findings<'_>) {
    let Err(report) = spec.validate() else { return };
    for (place, error) in report.iter() {
        let (message, expected) = error.message().split_once('\n').unwrap_or((error.message(), ""));
        findings.value(&path_of(place), &[], message, expected);
    }
}

/// Converts a path of `garde`. It exposes its parts only by serialization (pairs of a kind and a name), with the names of
/// Rust's fields.
fn path_of(place: &garde::Path) -> Path {
    let parts = serde_json::to_value(place).unwrap_or_default();
    let mut steps = Vec::new();
    for part in parts.as_array().into_iter().flatten() {
        let name = part.get(1).and_then(Json::as_str).unwrap_or_default();
        match part.get(0).and_then(Json::as_str) {
            // The names of services are the user's.
            Some("key") if steps == [Step::from("services")] => steps.push(name.into()),
            Some("key") => steps.push(field(name).as_str().into()),
            Some("index") => steps.extend(name.parse().ok().map(Step::Index)),
            _ => {}
        }
    }
    Path(steps)
}

/// A field's name in a spec.
fn field(name: &str) -> String {
    if name == "instance_type" {
        return "type".into();
    }
    let mut words = name.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |name, word| {
        let (head, tail) = word.split_at(word.len().min(1));
        name + &head.to_ascii_uppercase() + tail
    })
}

fn tags(spec: &Spec, findings: &mut Findings<'_>) {
    if spec.tags.len() > TAGS_MAX {
        let message = format!("found {} tags", spec.tags.len());
        findings.value(
            &at!["tags"],
            &[],
            message,
            format!("at most {TAGS_MAX}: AWS allows 50, and Stackdrop needs some"),
        );
    }
    let mut seen: BTreeMap<String, &String> = BTreeMap::new();
    for (key, value) in &spec.tags {
        let here = at!["tags", key];
        let lower = key.to_lowercase();
        let allowed = |c: char| c.is_alphanumeric() || c == ' ' || "_.:/=+-@".contains(c);
        // By the last two, owners share with stacks, and GuardDuty's resources are recognized.
        let is_others = lower == "stackdrop-access" || lower.starts_with("guardduty");
        if lower.starts_with("aws:") || lower.starts_with("stackdrop:") || key == "Name" || is_others {
            findings.key(
                &here,
                "reserved tag key",
                "a key other than `Name` and `stackdrop-access`, without the prefix `aws:`, `stackdrop:` or `GuardDuty`",
            );
        } else if !(1..=128).contains(&key.chars().count()) || !key.chars().all(allowed) {
            findings.key(&here, "invalid tag key", "1 to 128 letters, digits, spaces and `_.:/=+-@`");
        } else if let Some(other) = seen.insert(lower, key) {
            // IAM ignores the case of tag keys.
            findings.key(
                &here,
                format!("duplicate tag key: `{key}` and `{other}` differ only in case"),
                "keys that differ in more than case",
            );
        }
        if value.chars().count() > 256 || !value.chars().all(allowed) {
            findings.value(
                &here,
                &[],
                "invalid tag value",
                "at most 256 letters, digits, spaces and `_.:/=+-@`",
            );
        }
    }
}

fn services(spec: &Spec, findings: &mut Findings<'_>) {
    if spec.services.len() > SERVICES_MAX {
        let message = format!("found {} services", spec.services.len());
        findings.value(
            &at!["services"],
            &[],
            message,
            format!("at most {SERVICES_MAX}: as many as ECS describes in one call"),
        );
    }
    let routes: usize = spec.services.values().map(|service| service.routes.len()).sum();
    if routes > ROUTES_MAX {
        let message = format!("found {routes} routes");
        let expected = format!("at most {ROUTES_MAX} in total: half of the rules of a load balancer");
        findings.value(&at!["services"], &[], message, expected);
    }
}

fn database(spec: &Spec, findings: &mut Findings<'_>) {
    let Some(database) = &spec.database else { return };
    // RDS refuses a maximum less than 10% above the current storage (`ModifyDBInstance`, `MaxAllocatedStorage`).
    let least = (u64::from(database.storage) * 11).div_ceil(10);
    if database.max_storage.is_some_and(|most| u64::from(most) < least) {
        findings.value(
            &at!["database", "maxStorage"],
            &[at!["database", "storage"]],
            format!("too small for a growth from {} GiB", database.storage),
            format!("at least {least}: 10% more than `storage`"),
        );
    }
    let here = at!["database", "allow"];
    if database.allow.is_empty() {
        findings.value(&here, &[], "no client can connect", "`services`, `instance` or both");
    }
    for (index, client) in database.allow.iter().enumerate() {
        if database.allow[..index].contains(client) {
            findings.value(&here.child(index), &[], "duplicate client", "each client once");
        }
        if *client == DatabaseClient::Instance && spec.instance.is_none() {
            findings.value(
                &here.child(index),
                &[at!["instance"]],
                "the stack has no instance",
                "an `instance` in the spec, or only `services`",
            );
        }
    }
}

/// Checks that kept routes lead out of the VPC, and that excluded zones are in the stack's region.
fn network(spec: &Spec, findings: &mut Findings<'_>) {
    let network = &spec.network;
    let overlaps = |route: &ipnet::Ipv4Net| {
        let is_valid = checks::kept_route(route, &()).is_ok();
        is_valid && (route.contains(&network.cidr) || network.cidr.contains(route))
    };
    for (index, route) in network.keep_routes.iter().enumerate().filter(|(_, route)| overlaps(route)) {
        findings.value(
            &at!["network", "keepRoutes", index],
            &[at!["network", "cidr"]],
            format!("`{route}` overlaps the VPC's own range {}", network.cidr),
            "the range of another network",
        );
    }
    let Some(region) = &spec.region else { return };
    let elsewhere = |zone: &String| checks::zone(zone, &()).is_ok() && !zone.starts_with(region.as_str());
    for (index, zone) in network.exclude_zones.iter().enumerate().filter(|(_, zone)| elsewhere(zone)) {
        findings.value(
            &at!["network", "excludeZones", index],
            &[at!["region"]],
            format!("the zone {zone} is not in {region}"),
            format!("a zone of {region}, such as {region}a"),
        );
    }
}

/// Checks that the private subnets have an address for every task, also during an update, when old and new tasks run
/// together.
fn room(spec: &Spec, findings: &mut Findings<'_>) {
    let subnets = spec.network.subnets();
    let Some(private) = subnets.iter().find(|subnet| subnet.tier == Tier::Private) else { return };
    let endpoints = if spec.network.nat == Nat::None { ENDPOINTS } else { 0 };
    let free = size(private.cidr.prefix_len()).saturating_sub(RESERVED_BY_AWS + endpoints + 1);
    let room = free.saturating_mul(u32::from(spec.network.zones));
    let tasks: u32 = spec.services.values().map(crate::Service::most_tasks).fold(0, u32::saturating_add);
    if tasks.saturating_mul(2) > room {
        findings.value(
            &at!["network", "cidr"],
            &[at!["services"], at!["network", "zones"], at!["network", "nat"]],
            format!("the private subnets have {room} free addresses, but an update of {tasks} tasks needs two for each"),
            format!("a larger range, or at most {} tasks in total", room / 2),
        );
    }
}

/// The input of every step contains the spec as JSON, with its aliases expanded.
fn length(spec: &Spec, findings: &mut Findings<'_>) {
    let length = serde_json::to_vec(spec).map_or(usize::MAX, |json| json.len());
    if length > crate::LONGEST_SPEC {
        findings.value(
            &at![],
            &[],
            format!("with all defaults and aliases expanded, the spec has {length} bytes"),
            format!("at most {}", crate::LONGEST_SPEC),
        );
    }
}

/// The partition of a region.
fn partition_of(region: &str) -> &'static str {
    if region.starts_with("cn-") {
        "aws-cn"
    } else if region.starts_with("us-gov-") {
        "aws-us-gov"
    } else {
        "aws"
    }
}

/// Reports an ARN in another region than the spec's, or with a partition that does not have its region.
fn same_region(spec: &Spec, place: &Path, text: &str, findings: &mut Findings<'_>) {
    let Some([partition, _, region, _, _]) = checks::arn(text) else { return };
    if let Some(here) = spec.region.as_deref().filter(|here| *here != region) {
        findings.value(
            place,
            &[at!["region"]],
            format!("the ARN is in {region}, but the stack is in {here}"),
            format!("an ARN in {here}"),
        );
    } else if partition != partition_of(region) && !region.contains("-iso") {
        findings.value(
            place,
            &[],
            format!("the region {region} is not in the partition `{partition}`"),
            format!("`arn:{}:…`", partition_of(region)),
        );
    }
}

/// Whether an image can be pulled without internet access: from a private ECR registry in the stack's region.
fn reachable_without_nat(spec: &Spec, image: &str) -> bool {
    ecr_region(image).is_some_and(|region| spec.region.as_deref().is_none_or(|here| here == region))
}
