//! What must hold inside one service, and between it and the rest of the stack.

use std::collections::BTreeMap;

use super::{reachable_without_nat, same_region};
use crate::checks::{self, is_label};
use crate::fargate::{CPUS, in_words, memories, memories_in_words};
use crate::findings::Findings;
use crate::forms::LOG_DAYS;
use crate::path::{Path, at};
use crate::{Nat, Service, Spec};

/// The longest `STACK-SERVICE`: an ALB's target groups have 32 characters, of which five are for the suffix of a
/// target group that replaces another.
const LONGEST_NAME: usize = 27;
/// A task definition has 64 KiB in all (ECS, "Service quotas"); this is left for what the spec says in it.
const LONGEST_TEXTS: usize = 48 * 1024;
/// Variables that ECS or Fargate sets itself.
const KEPT_VARIABLES: [&str; 6] = [
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_EXECUTION_ENV",
    "ECS_AGENT_URI",
    "ECS_CONTAINER_METADATA_URI",
    "ECS_CONTAINER_METADATA_URI_V4",
];

pub(super) fn check(spec: &Spec, name: &str, service: &Service, findings: &mut Findings<'_>) {
    let here = at!["services", name];
    service_name(spec, name, &here, findings);
    image(spec, service, &here, findings);
    size(service, &here, findings);
    count(service, &here, findings);
    if service.health_check.timeout >= service.health_check.interval {
        findings.value(
            &here.child("healthCheck").child("timeout"),
            &[here.child("healthCheck").child("interval")],
            format!(
                "a check would take {} seconds and start every {}",
                service.health_check.timeout, service.health_check.interval
            ),
            "fewer seconds than `interval`",
        );
    }
    if !LOG_DAYS.contains(&service.log_days) {
        let message = format!("CloudWatch Logs does not keep logs for {} days", service.log_days);
        findings.value(&here.child("logDays"), &[], message, in_words(&LOG_DAYS));
    }
    variables(spec, service, &here, findings);
    routes(spec, service, &here, findings);
}

fn service_name(spec: &Spec, name: &str, here: &Path, findings: &mut Findings<'_>) {
    let room = LONGEST_NAME.saturating_sub(spec.stack.as_str().len() + 1);
    if !is_label(name) || !name.starts_with(|c: char| c.is_ascii_lowercase()) || name.contains("--") {
        findings.key(
            here,
            "this can't be a service's name",
            "lower-case letters, digits and single hyphens, the first a letter",
        );
    } else if name.len() > room && findings.trusts(&at!["stack"]) {
        findings.key(
            here,
            format!("`{}-{name}` is too long: target groups are named by it", spec.stack),
            format!("at most {room} characters with this stack's name"),
        );
    }
}

fn image(spec: &Spec, service: &Service, here: &Path, findings: &mut Findings<'_>) {
    if spec.network.nat == Nat::None
        && checks::image(&service.image, &()).is_ok()
        && !reachable_without_nat(spec, &service.image)
    {
        let region = spec.region.as_deref().unwrap_or("REGION");
        findings.value(
            &here.child("image"),
            &[at!["network", "nat"], at!["region"]],
            "this image can't be pulled: with `nat: none` there is no way into the internet",
            format!(
                "an image in ECR, ACCOUNT.dkr.ecr.{region}.amazonaws.com/…, or a NAT gateway: `nat: single`"
            ),
        );
    }
}

fn size(service: &Service, here: &Path, findings: &mut Findings<'_>) {
    let sizes = memories(service.cpu);
    if sizes.is_empty() {
        let message = format!("Fargate has no tasks with {} CPU units", service.cpu);
        findings.value(&here.child("cpu"), &[], message, in_words(&CPUS));
    } else if !sizes.contains(&service.memory) {
        findings.value(
            &here.child("memory"),
            &[here.child("cpu")],
            format!("Fargate has no tasks with {} CPU units and {} MiB", service.cpu, service.memory),
            memories_in_words(service.cpu),
        );
    }
}

fn count(service: &Service, here: &Path, findings: &mut Findings<'_>) {
    let Some(scaling) = &service.scaling else { return };
    let (min, max) = (here.child("scaling").child("min"), here.child("scaling").child("max"));
    if scaling.min > scaling.max {
        findings.value(
            &max,
            &[min],
            format!("{} is less than `min`", scaling.max),
            format!("at least {}", scaling.min),
        );
    } else if !(scaling.min..=scaling.max).contains(&service.count) {
        findings.value(
            &here.child("count"),
            &[min, max],
            format!("a count of {} is not within `scaling`", service.count),
            format!("{} to {}", scaling.min, scaling.max),
        );
    }
}

fn variables(spec: &Spec, service: &Service, here: &Path, findings: &mut Findings<'_>) {
    let mut homes: BTreeMap<&String, &str> = BTreeMap::new();
    let names = (service.environment.keys().map(|name| (name, "environment")))
        .chain(service.secrets.keys().map(|name| (name, "secrets")))
        .chain(service.database.keys().map(|name| (name, "database")));
    for (name, home) in names {
        let place = here.child(home).child(name);
        let form = !name.is_empty()
            && name.len() <= 255
            && !name.starts_with(|c: char| c.is_ascii_digit())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !form {
            findings.key(
                &place,
                "this can't be a variable's name",
                "letters, digits and underscores, the first no digit",
            );
        } else if KEPT_VARIABLES.contains(&name.as_str()) {
            findings.key(&place, "ECS sets this variable itself", "another name");
        }
        if let Some(other) = homes.insert(name, home) {
            findings.key(&place, format!("`{name}` is also in `{other}`"), "each variable in one place");
        }
    }
    for (name, secret) in &service.secrets {
        let place = here.child("secrets").child(name);
        if let Err(error) = checks::secret(secret) {
            let (wrong, right) = error.message().split_once('\n').unwrap_or((error.message(), ""));
            findings.value(&place, &[], wrong, right);
        }
        same_region(spec, &place, secret, findings);
    }
    if !service.database.is_empty() {
        database(spec, here, findings);
    }
    texts(service, here, findings);
}

fn database(spec: &Spec, here: &Path, findings: &mut Findings<'_>) {
    let place = here.child("database");
    match &spec.database {
        None => findings.value(
            &place,
            &[at!["database"]],
            "the stack has no database",
            "a `database:` in the spec itself",
        ),
        Some(database) if !database.allow.contains(&crate::DatabaseClient::Services) => findings.value(
            &place,
            &[at!["database"], at!["database", "allow"]],
            "the database lets no service connect",
            "`services` among the spec's `database.allow`",
        ),
        Some(_) => {}
    }
}

/// Whether a task definition can hold what is written here.
fn texts(service: &Service, here: &Path, findings: &mut Findings<'_>) {
    let length = serde_json::to_vec(&(&service.command, &service.environment, &service.secrets))
        .map_or(usize::MAX, |json| json.len());
    if length > LONGEST_TEXTS {
        let needs = [here.child("environment"), here.child("command"), here.child("secrets")];
        findings.value(
            here,
            &needs,
            format!("command, environment and secrets have {length} bytes"),
            format!("at most {LONGEST_TEXTS}: a task definition has 64 KiB in all"),
        );
    }
}

fn routes(spec: &Spec, service: &Service, here: &Path, findings: &mut Findings<'_>) {
    let routes = here.child("routes");
    if service.is_worker() {
        return;
    }
    if service.port.is_none() {
        findings.value(
            &here.child("port"),
            std::slice::from_ref(&routes),
            "`port` is missing: requests come here",
            "the port that the container listens on",
        );
    }
    if spec.load_balancer.is_none() {
        findings.value(
            &routes,
            &[at!["loadBalancer"]],
            "there is no load balancer to send requests here",
            "a `loadBalancer:` in the spec, or no `routes`",
        );
    }
}
