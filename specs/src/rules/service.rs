//! Rules inside one service, and between a service and the rest of the stack.

use std::collections::BTreeMap;

use super::{reachable_without_nat, same_region};
use crate::checks::{self, is_label};
use crate::fargate::{CPUS, in_words, memories, memories_in_words};
use crate::findings::Findings;
use crate::forms::LOG_DAYS;
use crate::path::{Path, at};
use crate::{Nat, Service, Spec};

/// The longest `STACK-SERVICE`: the name of a target group has 32 characters, of which five are for the suffix of a
/// replacement.
const NAME_MAX: usize = 27;
/// A task definition has 64 KiB in total (ECS, "Service quotas"); this part is for the texts of the spec, which has 40 KiB.
const TEXT_BYTES_MAX: usize = 32 * 1024;
/// Each is a volume of the task definition.
const WRITABLE_PATHS_MAX: usize = 10;
/// Variables that ECS or Fargate sets.
const RESERVED_VARIABLES: [&str; 6] = [
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
                "a timeout of {} seconds is not shorter than the interval of {} seconds",
                service.health_check.timeout, service.health_check.interval
            ),
            "fewer seconds than `interval`",
        );
    }
    healthy_in_time(service, &here, findings);
    if !LOG_DAYS.contains(&service.log_days) {
        let message = format!("CloudWatch Logs does not offer a retention of {} days", service.log_days);
        findings.value(&here.child("logDays"), &[], message, in_words(&LOG_DAYS));
    }
    file_system(service, &here, findings);
    variables(spec, service, &here, findings);
    routes(spec, service, &here, findings);
}

/// A deployment waits 40 minutes for a rollout, which also has to start and to stop tasks.
const HEALTHY_SECONDS_MAX: u32 = 20 * 60;

fn healthy_in_time(service: &Service, here: &Path, findings: &mut Findings<'_>) {
    let (interval, healthy) = (service.health_check.interval, service.health_check.healthy);
    let seconds = u32::from(interval) * u32::from(healthy);
    if !service.routes.is_empty() && seconds > HEALTHY_SECONDS_MAX {
        findings.value(
            &here.child("healthCheck").child("interval"),
            &[here.child("healthCheck").child("healthy")],
            format!("{healthy} successes, one each {interval} seconds, take {seconds} seconds, in which a deployment would give up"),
            format!("`interval` times `healthy` of at most {HEALTHY_SECONDS_MAX} seconds"),
        );
    }
}

fn service_name(spec: &Spec, name: &str, here: &Path, findings: &mut Findings<'_>) {
    let room = NAME_MAX.saturating_sub(spec.stack.as_str().len() + 1);
    if !is_label(name) || !name.starts_with(|c: char| c.is_ascii_lowercase()) || name.contains("--") {
        findings.key(
            here,
            "invalid service name",
            "lowercase letters, digits and single hyphens, starting with a letter",
        );
    } else if name.len() > room && findings.trusts(&at!["stack"]) {
        findings.key(
            here,
            format!("`{}-{name}` is too long for the name of a target group", spec.stack),
            format!("at most {room} characters with this stack name"),
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
            "the image cannot be pulled: with `nat: none`, tasks have no internet access",
            format!(
                "an image in ECR, ACCOUNT.dkr.ecr.{region}.amazonaws.com/…, or a NAT gateway: `nat: single`"
            ),
        );
    }
}

fn size(service: &Service, here: &Path, findings: &mut Findings<'_>) {
    let sizes = memories(service.cpu);
    if sizes.is_empty() {
        let message = format!("Fargate does not offer {} CPU units", service.cpu);
        findings.value(&here.child("cpu"), &[], message, in_words(&CPUS));
    } else if !sizes.contains(&service.memory) {
        findings.value(
            &here.child("memory"),
            &[here.child("cpu")],
            format!("Fargate does not offer {} CPU units with {} MiB", service.cpu, service.memory),
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
            format!("{} is outside the range of `scaling`", service.count),
            format!("{} to {}", scaling.min, scaling.max),
        );
    }
}

fn file_system(service: &Service, here: &Path, findings: &mut Findings<'_>) {
    let [read_only, paths] = ["readOnlyRootFilesystem", "writablePaths"].map(|key| here.child(key));
    // ECS: "SSM agent requires that the container file system is able to be written to" (ECS developer guide, "Monitor
    // Amazon ECS containers with ECS Exec", considerations).
    if service.exec && service.read_only_root_filesystem {
        findings.value(
            &read_only,
            &[here.child("exec")],
            "`exec` does not work with a read-only file system: its agent writes to it",
            "`readOnlyRootFilesystem: false`, or `exec: false`",
        );
    }
    if !service.writable_paths.is_empty() && !service.read_only_root_filesystem {
        findings.value(
            &paths,
            std::slice::from_ref(&read_only),
            "without `readOnlyRootFilesystem`, every folder is writable",
            "`readOnlyRootFilesystem: true`, or no `writablePaths`",
        );
    }
    if service.writable_paths.len() > WRITABLE_PATHS_MAX {
        let message = format!("found {} paths", service.writable_paths.len());
        findings.value(&paths, &[], message, format!("at most {WRITABLE_PATHS_MAX}"));
    }
    for (index, path) in service.writable_paths.iter().enumerate() {
        for (other_index, other) in service.writable_paths.iter().enumerate() {
            let inside = path.strip_prefix(other.as_str()).is_some_and(|rest| rest.starts_with('/'));
            if inside || path == other && other_index < index {
                findings.value(
                    &paths.child(index),
                    &[paths.child(other_index)],
                    format!("`{other}` already contains this folder"),
                    "only the outer folder",
                );
            }
        }
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
                "invalid variable name",
                "letters, digits and underscores, not starting with a digit",
            );
        } else if RESERVED_VARIABLES.contains(&name.as_str()) {
            findings.key(&place, "reserved variable: ECS sets it", "another name");
        }
        if let Some(other) = homes.insert(name, home) {
            findings.key(
                &place,
                format!("duplicate variable: `{name}` is also in `{other}`"),
                "each variable once",
            );
        }
    }
    for (name, secret) in &service.secrets {
        let place = here.child("secrets").child(name);
        if let Err(error) = checks::secret(secret) {
            let (message, expected) = error.message().split_once('\n').unwrap_or((error.message(), ""));
            findings.value(&place, &[], message, expected);
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
            "a `database` in the spec",
        ),
        Some(database) if !database.allow.contains(&crate::DatabaseClient::Services) => findings.value(
            &place,
            &[at!["database"], at!["database", "allow"]],
            "services are not allowed to connect to the database",
            "`services` in `database.allow`",
        ),
        Some(_) => {}
    }
}

/// Checks that the texts fit into a task definition.
fn texts(service: &Service, here: &Path, findings: &mut Findings<'_>) {
    let length = serde_json::to_vec(&(&service.command, &service.environment, &service.secrets))
        .map_or(usize::MAX, |json| json.len());
    if length > TEXT_BYTES_MAX {
        let needs = [here.child("environment"), here.child("command"), here.child("secrets")];
        findings.value(
            here,
            &needs,
            format!("command, environment and secrets have {length} bytes"),
            format!("at most {TEXT_BYTES_MAX}: a task definition has at most 64 KiB"),
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
            "missing key `port`: the service has routes",
            "the port that the container listens on",
        );
    }
    if spec.load_balancer.is_none() {
        findings.value(
            &routes,
            &[at!["loadBalancer"]],
            "the stack has no load balancer",
            "a `loadBalancer` in the spec, or no `routes`",
        );
    }
}
