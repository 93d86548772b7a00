//! ECS on Fargate: clusters, task definitions, services, and the scheduler of services.

mod access;
mod clusters;
mod containers;
mod definitions;
mod deployments;
mod incidents;
mod lifecycle;
mod outdated;
mod requests;
mod scheduler;
mod services;
mod start;
mod tagging;
mod tasks;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use self::clusters::Cluster;
use self::definitions::Definition;
pub use self::outdated::OutdatedTask;
pub(crate) use self::outdated::outdated_tasks;
use self::services::Service;
use self::tasks::Task;
use super::unknown;
use crate::authorization::AccessRequests;
use crate::call_log::writes;
use crate::inventory::Item;
use crate::latency::Timing;
use crate::params::{Params, Refusal};
use crate::protocol::Reply;
use crate::rates::Rate;
use crate::world::{self, Tags, World};

pub(crate) static SERVICE: super::Service = super::Service {
    advance: scheduler::advance,
    inventory,
    rate: |operation| {
        if writes(operation) { Rate::new("write", 50.0, 5.0) } else { Rate::new("read", 50.0, 20.0) }
    },
    timings: &[
        ("RegisterTaskDefinition", Timing::Create("ecs_task_definition_register")),
        ("DeregisterTaskDefinition", Timing::Delete("ecs_task_definition_register")),
        ("CreateService", Timing::Create("ecs_service_create_call")),
    ],
    can_fail: &["CreateService", "UpdateService"],
    incidents: &incidents::ALL,
    ..super::Service::json("ecs", "1.1", "AmazonEC2ContainerServiceV20141113", act, access::access)
};

/// The state of this service.
#[derive(Debug, Clone, Default)]
pub(crate) struct State {
    /// By name. A deleted cluster remains, `INACTIVE`, until its name is used again.
    clusters: BTreeMap<String, Cluster>,
    /// The revisions of each family, in order.
    definitions: BTreeMap<String, Vec<Definition>>,
    /// By `CLUSTER/SERVICE`. A deleted service remains, `INACTIVE`, until its name is used again.
    services: BTreeMap<String, Service>,
    /// By ARN; IDs are assigned in order.
    tasks: BTreeMap<String, Task>,
    images: BTreeMap<String, ImageView>,
    /// When ECS sees the service-linked role that its first call created.
    linked_at: Duration,
    /// Until when Fargate has no capacity for new tasks.
    full_until: Duration,
    /// The clusters whose new tasks GuardDuty monitors: each gets a container of GuardDuty's.
    monitored: BTreeSet<String>,
    /// The last tick of the scheduler.
    scheduled_until: Duration,
}

/// How long a new cluster or service is unknown to reads and to calls that need it. The order of magnitude is a
/// guess; that it happens is known (Terraform retries such reads for two minutes).
const UNSEEN_SECONDS: f64 = 0.5;

/// Requests the permissions that Application Auto Scaling checks before it scales a service.
pub(crate) fn scaling_access(world: &World, resource: &str, requests: &mut AccessRequests<'_>) {
    access::scaling(world, resource, requests);
}

fn act(world: &mut World, operation: &str, params: &Params) -> Result<Reply, Refusal> {
    match operation {
        "CreateCluster" => clusters::create(world, params),
        "DescribeClusters" => clusters::describe(world, params),
        "ListClusters" => clusters::list(world, params),
        "DeleteCluster" => clusters::delete(world, params),
        "RegisterTaskDefinition" => definitions::register(world, params),
        "DescribeTaskDefinition" => definitions::describe(world, params),
        "ListTaskDefinitions" => definitions::list(world, params),
        "ListTaskDefinitionFamilies" => definitions::list_families(world, params),
        "DeregisterTaskDefinition" => definitions::deregister(world, params),
        "DeleteTaskDefinitions" => definitions::delete(world, params),
        "CreateService" => services::create(world, params),
        "DescribeServices" => services::describe(world, params),
        "ListServices" => services::list(world, params),
        "UpdateService" => services::update(world, params),
        "DeleteService" => services::delete(world, params),
        "ListServiceDeployments" => deployments::list(world, params),
        "DescribeServiceDeployments" => deployments::describe(world, params),
        "DescribeServiceRevisions" => deployments::describe_revisions(world, params),
        "StopServiceDeployment" => deployments::stop(world, params),
        "ListTasks" => tasks::list(world, params),
        "DescribeTasks" => tasks::describe(world, params),
        "StopTask" => tasks::stop(world, params),
        "TagResource" => tagging::tag(world, params),
        "UntagResource" => tagging::untag(world, params),
        "ListTagsForResource" => tagging::list(world, params),
        _ => Err(unknown("ecs", operation)),
    }
}

fn inventory(world: &World, items: &mut Vec<Item>) {
    for cluster in world.states.ecs.clusters.values() {
        if !cluster.is_inactive(world.now) {
            items.push(Item::new("AWS::ECS::Cluster", &cluster.arn, &cluster.tags).named(&cluster.name));
        }
    }
    for definition in world.states.ecs.definitions.values().flatten() {
        if definition.is_active() {
            let name = format!("{}:{}", definition.family, definition.revision);
            items.push(Item::new("AWS::ECS::TaskDefinition", &definition.arn, &definition.tags).named(&name));
        }
    }
    for (key, service) in &world.states.ecs.services {
        if service.is_inactive() {
            continue;
        }
        let tasks = world.states.ecs.tasks.values().filter(|task| task.service == *key && !task.ended);
        let prices = world.prices();
        let hourly = tasks.map(|task| prices.fargate_hourly(task.cpu, task.memory));
        let item = Item::new("AWS::ECS::Service", &service.arn, &service.tags).named(&service.name);
        items.push(item.hourly(hourly.sum()));
    }
}

/// The behaviour of an image's containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ImageView {
    /// No registry has the image.
    Missing,
    /// The container exits by itself.
    Crashes(Crash),
    /// The container runs, and never passes a health check.
    Unhealthy,
}

/// How a container exits by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Crash {
    /// The exit code.
    pub(crate) code: i32,
    /// For how many seconds it runs before.
    pub(crate) after_seconds: u32,
    /// The last line of its log, if it is not about the exit code.
    pub(crate) line: Option<&'static str>,
}

impl Crash {
    /// At once, before ECS takes the task for a running one.
    pub(crate) fn at_once(code: i32) -> Self {
        Self { code, after_seconds: AT_ONCE_SECONDS, line: None }
    }

    /// An image for another CPU architecture. Fargate starts the container, and the container's runtime writes this line.
    /// Source: issue 1653 of aws/containers-roadmap, and many others.
    pub(crate) fn wrong_architecture() -> Self {
        let line = "exec /usr/local/bin/docker-entrypoint.sh: exec format error";
        Self { line: Some(line), ..Self::at_once(255) }
    }

    fn is_at_once(self) -> bool {
        self.after_seconds <= AT_ONCE_SECONDS
    }
}

/// How long a container runs that exits at once.
const AT_ONCE_SECONDS: u32 = 2;

/// Sets the behaviour of an image's containers; other images run well.
pub(crate) fn seed_image(world: &mut World, image: &str, view: ImageView) {
    world.states.ecs.images.insert(image.into(), view);
}

/// Whether a scalable target's resource ID, `service/CLUSTER/SERVICE`, names an active service.
pub(crate) fn is_active_service(world: &World, resource: &str) -> bool {
    let key = resource.strip_prefix("service/").unwrap_or(resource);
    world.states.ecs.services.get(key).is_some_and(Service::is_active)
}

/// Limits a service's desired count to the bounds of its scalable target.
pub(crate) fn keep_within(world: &mut World, resource: &str, least: i64, most: i64) {
    let key = resource.strip_prefix("service/").unwrap_or(resource);
    if let Some(service) = world.states.ecs.services.get_mut(key)
        && let (Ok(least), Ok(most)) = (usize::try_from(least), usize::try_from(most))
    {
        let desired = service.desired.clamp(least, most.max(least));
        service.steady = service.steady && desired == service.desired;
        service.desired = desired;
    }
}

fn invalid(message: impl Into<String>) -> Refusal {
    Refusal::new("InvalidParameterException", message)
}

fn client(message: impl Into<String>) -> Refusal {
    Refusal::new("ClientException", message)
}

/// A required text; without it, ECS returns `InvalidParameterException`.
fn needed(params: &Params, key: &str, message: &str) -> Result<String, Refusal> {
    params.text(key).filter(|text| !text.is_empty()).ok_or_else(|| invalid(message))
}

/// The part of a JSON request at `key`, as a type that has all supported fields. An unsupported field is an error, so
/// the whole part can be marked as read.
fn part<T: DeserializeOwned>(params: &Params, key: &str) -> Result<Option<T>, Refusal> {
    let body = body(params)?;
    params.ignore(key);
    match body.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(part) => serde_json::from_value(part.clone())
            .map(Some)
            .map_err(|error| Refusal::new("SerializationException", format!("{key}: {error}"))),
    }
}

fn body(params: &Params) -> Result<Value, Refusal> {
    let body = params.body();
    if body.is_empty() {
        return Ok(json!({}));
    }
    serde_json::from_slice(&body).map_err(|error| Refusal::new("SerializationException", error.to_string()))
}

/// Tags as ECS writes them.
fn tags_of(params: &Params) -> Result<Tags, Refusal> {
    let tags = world::tags(params, "tags", "key", "value").map_err(|refusal| invalid(refusal.message))?;
    within_limit(&tags)?;
    Ok(tags)
}

fn within_limit(tags: &Tags) -> Result<(), Refusal> {
    if tags.len() > 50 {
        return Err(invalid("Too many tags: a resource can have no more than 50."));
    }
    Ok(())
}

fn tag_list(tags: &Tags) -> Value {
    tags.iter().map(|(key, value)| json!({ "key": key, "value": value })).collect()
}

/// Whether `include` contains `TAGS`. A value that is neither that nor in `known` is refused.
fn includes_tags(params: &Params, known: &[&str]) -> Result<bool, Refusal> {
    let include = params.list("include");
    match include.iter().find(|word| *word != "TAGS" && !known.contains(&word.as_str())) {
        Some(word) => Err(invalid(format!("Unsupported include option: {word}"))),
        None => Ok(include.iter().any(|word| word == "TAGS")),
    }
}

/// A text with a limited set of values, if it was sent.
fn one_of(params: &Params, key: &str, allowed: &[&str]) -> Result<Option<String>, Refusal> {
    match params.text(key) {
        Some(text) if !allowed.contains(&text.as_str()) => {
            Err(invalid(format!("Invalid value {text} for {key}: it must be one of {}", allowed.join(", "))))
        }
        text => Ok(text),
    }
}

/// One page of a list of texts under `name`, by `nextToken` and `maxResults`.
fn page(params: &Params, name: &str, all: Vec<Value>, usual: usize) -> Result<Reply, Refusal> {
    let size = match params.int("maxResults")? {
        None => usual,
        Some(size) => usize::try_from(size)
            .ok()
            .filter(|size| (1..=100).contains(size))
            .ok_or_else(|| invalid("maxResults must be between 1 and 100."))?,
    };
    let start = match params.text("nextToken") {
        Some(token) => token.parse().map_err(|_| invalid("Invalid token"))?,
        None => 0,
    };
    params.done()?;
    let total = all.len();
    let items: Vec<Value> = all.into_iter().skip(start).take(size).collect();
    let end = start + items.len();
    let mut answer = json!({ name: items });
    if end < total {
        answer["nextToken"] = json!(end.to_string());
    }
    Ok(answer.into())
}

/// The failure to describe one item, which does not fail the whole call.
fn missing(arn: &str) -> Value {
    json!({ "arn": arn, "reason": "MISSING" })
}
