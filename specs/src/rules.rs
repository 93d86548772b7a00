//! What must hold between the values of a spec, and for the keys of its maps.
//!
//! Each rule reports where the user would change something, and names the other values that it looked at: of what
//! could not be read nothing is concluded.

mod load_balancer;
mod service;

use std::collections::BTreeMap;

use garde::Validate;
use serde_json::Value as Json;

use crate::checks::{self, ecr_region};
use crate::findings::Findings;
use crate::path::{Path, Step, at};
use crate::subnets::{KEPT_BY_AWS, Tier, size};
use crate::{DatabaseClient, Drift, Nat, Redeploy, Spec};

/// As many services as ECS describes in one call (`DescribeServices`): the state of all is always read at one moment.
const MOST_SERVICES: usize = 10;
/// Half of the rules that an ALB has without asking AWS for more (100): an update may need old and new ones for a while.
const MOST_ROUTES: usize = 50;
/// AWS has 50 tags on a resource; ten are left for Stackdrop's and AWS's own.
const MOST_TAGS: usize = 40;
/// What `nat: none` puts into each private subnet: ssm, ssmmessages, ecr.api, ecr.dkr, logs, secretsmanager.
const ENDPOINTS: u32 = 6;

/// Reports everything that breaks a rule.
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
    room(spec, findings);
    length(spec, findings);
}

/// A redeploy that only reports starts no tasks anew.
fn redeploy(spec: &Spec, findings: &mut Findings<'_>) {
    let contradicts = |redeploy: &Redeploy| redeploy.refresh_image && redeploy.drift == Drift::Report;
    if spec.redeploy.as_ref().is_some_and(contradicts) {
        findings.value(
            &at!["redeploy", "refreshImage"],
            &[at!["redeploy", "drift"]],
            "a redeploy that only reports drift starts no tasks anew",
            "`refreshImage: false`, or `drift: repair`",
        );
    }
}

/// Every value by itself, by `garde`.
fn fields(spec: &Spec, findings: &mut Findings<'_>) {
    let Err(report) = spec.validate() else { return };
    for (place, error) in report.iter() {
        let (wrong, right) = error.message().split_once('\n').unwrap_or((error.message(), ""));
        findings.value(&path_of(place), &[], wrong, right);
    }
}

/// The path in the spec. `garde`'s paths give their parts by serialization only (pairs of a kind and a name), and name
/// fields as Rust does.
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
    if spec.tags.len() > MOST_TAGS {
        let message = format!("there are {} tags", spec.tags.len());
        findings.value(
            &at!["tags"],
            &[],
            message,
            format!("at most {MOST_TAGS}: AWS has 50, and Stackdrop needs some"),
        );
    }
    let mut seen: BTreeMap<String, &String> = BTreeMap::new();
    for (key, value) in &spec.tags {
        let here = at!["tags", key];
        let lower = key.to_lowercase();
        let allowed = |c: char| c.is_alphanumeric() || c == ' ' || "_.:/=+-@".contains(c);
        if lower.starts_with("aws:") || lower.starts_with("stackdrop:") || key == "Name" {
            findings.key(
                &here,
                "this tag is not yours to set",
                "a key other than `Name`, without `aws:` or `stackdrop:` in front",
            );
        } else if !(1..=128).contains(&key.chars().count()) || !key.chars().all(allowed) {
            findings.key(
                &here,
                "this can't be a tag's key",
                "1 to 128 letters, digits, spaces and `_.:/=+-@`",
            );
        } else if let Some(other) = seen.insert(lower, key) {
            // IAM takes keys that differ only in case for the same key.
            findings.key(
                &here,
                format!("`{key}` and `{other}` are the same to AWS"),
                "keys that differ in more than case",
            );
        }
        if value.chars().count() > 256 || !value.chars().all(allowed) {
            findings.value(
                &here,
                &[],
                "this can't be a tag's value",
                "at most 256 letters, digits, spaces and `_.:/=+-@`",
            );
        }
    }
}

fn services(spec: &Spec, findings: &mut Findings<'_>) {
    if spec.services.len() > MOST_SERVICES {
        let message = format!("there are {} services", spec.services.len());
        findings.value(
            &at!["services"],
            &[],
            message,
            format!("at most {MOST_SERVICES}: as many as ECS describes at once"),
        );
    }
    let routes: usize = spec.services.values().map(|service| service.routes.len()).sum();
    if routes > MOST_ROUTES {
        let message = format!("there are {routes} routes");
        let right = format!("at most {MOST_ROUTES} in all: half of the rules that a load balancer has");
        findings.value(&at!["services"], &[], message, right);
    }
}

fn database(spec: &Spec, findings: &mut Findings<'_>) {
    let Some(database) = &spec.database else { return };
    // RDS refuses a ceiling less than a tenth above what is there (`ModifyDBInstance`, `MaxAllocatedStorage`).
    let least = (u64::from(database.storage) * 11).div_ceil(10);
    if database.max_storage.is_some_and(|most| u64::from(most) < least) {
        findings.value(
            &at!["database", "maxStorage"],
            &[at!["database", "storage"]],
            format!("there is no room to grow from {} GiB", database.storage),
            format!("at least {least}: a tenth more than `storage`"),
        );
    }
    let here = at!["database", "allow"];
    if database.allow.is_empty() {
        findings.value(&here, &[], "nobody could connect", "`services`, `instance` or both");
    }
    for (index, client) in database.allow.iter().enumerate() {
        if database.allow[..index].contains(client) {
            findings.value(&here.child(index), &[], "this is there twice", "each once");
        }
        if *client == DatabaseClient::Instance && spec.instance.is_none() {
            findings.value(
                &here.child(index),
                &[at!["instance"]],
                "there is no instance to connect",
                "an `instance:` in the spec, or `services` alone",
            );
        }
    }
}

/// Whether the private subnets have an address for every task, also while an update runs old and new ones side by side.
fn room(spec: &Spec, findings: &mut Findings<'_>) {
    let subnets = spec.network.subnets();
    let Some(private) = subnets.iter().find(|subnet| subnet.tier == Tier::Private) else { return };
    let endpoints = if spec.network.nat == Nat::None { ENDPOINTS } else { 0 };
    let free = size(private.cidr.prefix_len()).saturating_sub(KEPT_BY_AWS + endpoints + 1);
    let room = free.saturating_mul(u32::from(spec.network.zones));
    let tasks: u32 = spec.services.values().map(crate::Service::most_tasks).fold(0, u32::saturating_add);
    if tasks.saturating_mul(2) > room {
        findings.value(
            &at!["network", "cidr"],
            &[at!["services"], at!["network", "zones"], at!["network", "nat"]],
            format!("the private subnets have {room} free addresses, and an update of {tasks} tasks needs twice as many"),
            format!("a larger range, or at most {} tasks in all", room / 2),
        );
    }
}

/// What travels with every step is the spec as JSON, with its aliases written out.
fn length(spec: &Spec, findings: &mut Findings<'_>) {
    let length = serde_json::to_vec(spec).map_or(usize::MAX, |json| json.len());
    if length > crate::LONGEST_SPEC {
        findings.value(
            &at![],
            &[],
            format!("with all defaults and aliases written out, the spec has {length} bytes"),
            format!("at most {}", crate::LONGEST_SPEC),
        );
    }
}

/// Whether a region and a partition belong together.
fn partition_of(region: &str) -> &'static str {
    if region.starts_with("cn-") {
        "aws-cn"
    } else if region.starts_with("us-gov-") {
        "aws-us-gov"
    } else {
        "aws"
    }
}

/// Reports an ARN of another region than the spec's, or of a partition that its region is not in.
fn same_region(spec: &Spec, place: &Path, text: &str, findings: &mut Findings<'_>) {
    let Some([partition, _, region, _, _]) = checks::arn(text) else { return };
    if let Some(here) = spec.region.as_deref().filter(|here| *here != region) {
        findings.value(
            place,
            &[at!["region"]],
            format!("this is in {region}, and the stack in {here}"),
            format!("one of {here}: AWS uses only what is in the same region"),
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

/// Whether an image can be pulled without a way into the internet: from a private ECR registry of this region.
fn reachable_without_nat(spec: &Spec, image: &str) -> bool {
    ecr_region(image).is_some_and(|region| spec.region.as_deref().is_none_or(|here| here == region))
}
