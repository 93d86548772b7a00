//! Services.

use std::time::Duration;

use serde_json::{Value, json};

use super::clusters::{self, service_linked_role};
use super::definitions::{self, Definition};
use super::deployments::{self, Deployment, Rollout, Story};
use super::requests::{self, LoadBalancer, Network, Rolling};
use super::{
    UNSEEN_SECONDS, body, client, includes_tags, invalid, missing, needed, one_of, page, part, tag_list,
    tags_of,
};
use crate::clock::Clock;
use crate::params::{Params, Refusal};
use crate::protocol::Reply;
use crate::world::{Tags, World};

#[derive(Debug, Clone)]
pub(super) struct Service {
    pub(super) name: String,
    pub(super) cluster: String,
    pub(super) arn: String,
    pub(super) tags: Tags,
    pub(super) status: Status,
    pub(super) desired: usize,
    pub(super) rolling: Rolling,
    pub(super) grace: Option<u32>,
    pub(super) exec: bool,
    pub(super) propagate: Option<String>,
    managed_tags: bool,
    rebalancing: String,
    created: Duration,
    seen_at: Duration,
    token: Option<String>,
    /// The parameters of its creation, to recognize a repeated call.
    request: Value,
    /// The first is the `PRIMARY` one.
    pub(super) deployments: Vec<Deployment>,
    /// Every revision so far, for `DescribeServiceRevisions`.
    pub(super) revisions: Vec<Deployment>,
    pub(super) stories: Vec<Story>,
    /// The newest first.
    pub(super) events: Vec<Event>,
    /// Whether the newest event says that the service is steady.
    pub(super) steady: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    Active,
    /// Being deleted; complete at this time at the earliest.
    Draining(Duration),
    Inactive,
}

#[derive(Debug, Clone)]
pub(super) struct Event {
    number: u64,
    pub(super) at: Duration,
    pub(super) message: String,
}

/// The most events of a service. Source: "Viewing service event messages" in the ECS developer guide.
const EVENTS_MAX: usize = 100;

/// The share of health checks in the model's value for a service behind a load balancer (two at an interval of ten
/// seconds). The time from the last healthy target to the end of the deployment is as long.
const CHECKS_SECONDS: f64 = 20.0;
const SETTLING_SECONDS: f64 = 5.0;

/// The approximate time to delete a service without tasks.
const EMPTY_DRAIN_SECONDS: f64 = 5.0;

impl Service {
    pub(super) fn is_active(&self) -> bool {
        self.status == Status::Active
    }

    pub(super) fn is_inactive(&self) -> bool {
        self.status == Status::Inactive
    }

    /// Adds an event, unless it repeats the last one.
    pub(super) fn tell(&mut self, world: &mut World, text: &str) {
        let message = format!("(service {}) {text}", self.name);
        if self.events.first().is_none_or(|last| last.message != message) {
            self.events.insert(0, Event { number: world.number(), at: world.now, message });
            self.events.truncate(EVENTS_MAX);
        }
    }
}

pub(super) fn create(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let cluster = params.text("cluster");
    let name = needed(params, "serviceName", "Service name cannot be blank.")?;
    let definition = needed(params, "taskDefinition", "TaskDefinition cannot be blank.")?;
    let desired = requests::desired(params)?;
    let token = params.text("clientToken");
    let options = Options::read(params)?;
    let rolling = Rolling::default().changed_by(params)?;
    let load_balancers: Vec<LoadBalancer> = part(params, "loadBalancers")?.unwrap_or_default();
    let platform = requests::platform(params)?;
    let grace = requests::grace(params, !load_balancers.is_empty())?;
    let network = requests::network(world, params);
    let launch_type = params.text("launchType");
    let replicas = params.text("schedulingStrategy").is_none_or(|strategy| strategy == "REPLICA");
    let controller = params.section("deploymentController").and_then(|section| section.text("type"));
    let tags = tags_of(params)?;
    params.done()?;
    check_token(token.as_deref())?;
    service_linked_role(world)?;
    let cluster = clusters::usable(world, cluster.as_deref())?;
    let key = format!("{cluster}/{name}");
    let mut request = body(params)?;
    if let Some(fields) = request.as_object_mut() {
        fields.remove("clientToken");
    }
    if let Some(answer) = repeated(world, &key, token.as_deref(), &request)? {
        return Ok(answer);
    }
    let network = network?;
    let desired =
        desired.ok_or_else(|| invalid("The desired count of a service of replicas must be given."))?;
    if launch_type.as_deref() != Some("FARGATE") || !replicas || controller.is_some_and(|kind| kind != "ECS")
    {
        return Err(invalid("Task definition does not support launch_type EC2."));
    }
    check_name(&name)?;
    let definition = startable(world, &definition)?.clone();
    let network = network.ok_or_else(|| {
        invalid("Network Configuration must be provided when networkMode 'awsvpc' is specified.")
    })?;
    requests::check_load_balancers(world, &load_balancers, &definition, &network)?;
    requests::check_exec(options.exec.unwrap_or(false), &definition)?;
    let rebalancing = options.rebalancing(&rolling)?;
    let mut service = Service {
        arn: world.arn("ecs", &format!("service/{key}")),
        name,
        cluster,
        tags,
        status: Status::Active,
        desired,
        rolling,
        grace,
        exec: options.exec.unwrap_or(false),
        propagate: options.propagate,
        managed_tags: options.managed_tags.unwrap_or(false),
        rebalancing,
        created: world.now,
        seen_at: world.now + world.latency.seconds(UNSEEN_SECONDS),
        token,
        request,
        deployments: Vec::new(),
        revisions: Vec::new(),
        stories: Vec::new(),
        events: Vec::new(),
        steady: false,
    };
    let platform = platform.unwrap_or_else(|| "LATEST".into());
    deploy(world, &mut service, &definition.arn, network, load_balancers, platform);
    let answer = json!({ "service": document(world, &key, &service, true) });
    world.states.ecs.services.insert(key, service);
    Ok(answer.into())
}

/// The response to a creation whose name is in use: the existing service, if request and token are the same.
fn repeated(
    world: &World,
    key: &str,
    token: Option<&str>,
    request: &Value,
) -> Result<Option<Reply>, Refusal> {
    let Some(old) = world.states.ecs.services.get(key) else { return Ok(None) };
    match old.status {
        Status::Inactive => Ok(None),
        Status::Draining(_) => Err(invalid("Unable to Start a service that is still Draining.")),
        Status::Active if token.is_some() && old.token.as_deref() == token && old.request == *request => {
            Ok(Some(json!({ "service": document(world, key, old, true) }).into()))
        }
        Status::Active => Err(invalid("Creation of service was not idempotent.")),
    }
}

/// The common parameters of `CreateService` and `UpdateService`.
struct Options {
    exec: Option<bool>,
    managed_tags: Option<bool>,
    propagate: Option<String>,
    rebalancing: Option<String>,
}

impl Options {
    fn read(params: &Params) -> Result<Self, Refusal> {
        Ok(Self {
            exec: params.flag("enableExecuteCommand")?,
            managed_tags: params.flag("enableECSManagedTags")?,
            propagate: one_of(params, "propagateTags", &["TASK_DEFINITION", "SERVICE", "NONE"])?,
            rebalancing: one_of(params, "availabilityZoneRebalancing", &["ENABLED", "DISABLED"])?,
        })
    }

    /// Rebalancing needs room for one more task. It is enabled by default if there is room.
    fn rebalancing(&self, rolling: &Rolling) -> Result<String, Refusal> {
        match (self.rebalancing.as_deref(), rolling.maximum_percent > 100) {
            (Some("ENABLED"), false) => Err(invalid(
                "AvailabilityZoneRebalancing is not supported with a maximumPercent of 100 or less.",
            )),
            (Some("ENABLED") | None, true) => Ok("ENABLED".into()),
            _ => Ok("DISABLED".into()),
        }
    }
}

/// "Up to 36 ASCII characters in the range of 33-126 (inclusive) are allowed" (SDK text).
fn check_token(token: Option<&str>) -> Result<(), Refusal> {
    let fits =
        |token: &str| (1..=36).contains(&token.len()) && token.bytes().all(|byte| byte.is_ascii_graphic());
    if token.is_none_or(fits) { Ok(()) } else { Err(invalid("Invalid idempotency token.")) }
}

fn check_name(name: &str) -> Result<(), Refusal> {
    let legal = |character: char| character.is_ascii_alphanumeric() || "-_".contains(character);
    if name.len() > 255 || !name.chars().all(legal) {
        return Err(invalid(
            "Invalid service name: up to 255 letters, numbers, hyphens and underscores are allowed.",
        ));
    }
    Ok(())
}

/// A task definition for new tasks.
fn startable<'a>(world: &'a World, named: &str) -> Result<&'a Definition, Refusal> {
    let definition = definitions::find(world, named).ok_or_else(|| client("TaskDefinition not found."))?;
    if definition.is_active() { Ok(definition) } else { Err(client("TaskDefinition is inactive")) }
}

/// Makes a new deployment the primary one, and starts its service deployment. The deployment in progress is stopped.
fn deploy(
    world: &mut World,
    service: &mut Service,
    definition: &str,
    network: Network,
    load_balancers: Vec<LoadBalancer>,
    platform: String,
) {
    let number = world.number();
    let total = world.latency.create("ecs_service_steady_after_alb_active");
    let apart = world.latency.seconds(CHECKS_SECONDS + SETTLING_SECONDS);
    let deployment = Deployment {
        number,
        definition: definition.into(),
        network,
        load_balancers,
        platform,
        created: world.now,
        updated: world.now,
        rollout: Rollout::InProgress,
        reason: format!("ECS deployment {} in progress.", deployments::id(number)),
        failed: 0,
        next_launch: world.now,
        starts_within: total.saturating_sub(apart),
        fails: world.fail_creation,
        proven: false,
    };
    let now = world.now;
    if let Some(story) = service.stories.last_mut() {
        story.end(now, "STOPPED", "Service deployment stopped because a newer one was started.");
    }
    let sources = service.deployments.iter().map(|older| older.number).collect();
    service.stories.push(Story::begin(world, number, sources));
    service.revisions.push(deployment.clone());
    service.deployments.insert(0, deployment);
    service.steady = false;
}

pub(super) fn update(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let cluster = params.text("cluster");
    let named = needed(params, "service", "Service cannot be blank.")?;
    let definition = params.text("taskDefinition");
    let desired = requests::desired(params)?;
    let options = Options::read(params)?;
    let load_balancers: Option<Vec<LoadBalancer>> = part(params, "loadBalancers")?;
    let platform = requests::platform(params)?;
    let network = requests::network(world, params);
    let force = params.flag("forceNewDeployment")?.unwrap_or(false);
    let cluster = clusters::usable(world, cluster.as_deref())?;
    let (key, service) = find(world, &cluster, &named)?;
    let rolling = service.rolling.clone().changed_by(params)?;
    let primary = primary(service)?.clone();
    let balanced = !load_balancers.as_ref().unwrap_or(&primary.load_balancers).is_empty();
    let grace = requests::grace(params, balanced)?;
    params.done()?;
    if !service.is_active() {
        return Err(Refusal::new("ServiceNotActiveException", "Service was not ACTIVE."));
    }
    let chosen = match &definition {
        Some(definition) => startable(world, definition)?,
        None => definitions::find(world, &primary.definition)
            .ok_or_else(|| client("TaskDefinition not found."))?,
    }
    .clone();
    let network = network?.unwrap_or_else(|| primary.network.clone());
    let load_balancers = load_balancers.unwrap_or_else(|| primary.load_balancers.clone());
    let platform = platform.unwrap_or_else(|| primary.platform.clone());
    requests::check_load_balancers(world, &load_balancers, &chosen, &network)?;
    requests::check_exec(options.exec.unwrap_or(service.exec), &chosen)?;
    let rebalancing = match &options.rebalancing {
        Some(_) => options.rebalancing(&rolling)?,
        None => service.rebalancing.clone(),
    };
    // Only a change of the tasks starts a new deployment.
    let differs = chosen.arn != primary.definition
        || network != primary.network
        || load_balancers != primary.load_balancers
        || platform != primary.platform;
    let Some(mut service) = world.states.ecs.services.remove(&key) else { return Err(not_found()) };
    service.rolling = rolling;
    service.rebalancing = rebalancing;
    service.grace = grace.or(service.grace);
    service.exec = options.exec.unwrap_or(service.exec);
    service.managed_tags = options.managed_tags.unwrap_or(service.managed_tags);
    service.propagate = options.propagate.or(service.propagate);
    if desired.is_some_and(|desired| desired != service.desired) {
        service.steady = false;
    }
    service.desired = desired.unwrap_or(service.desired);
    if differs || force {
        deploy(world, &mut service, &chosen.arn, network, load_balancers, platform);
    }
    let answer = json!({ "service": document(world, &key, &service, true) });
    world.states.ecs.services.insert(key, service);
    Ok(answer.into())
}

pub(super) fn delete(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let cluster = params.text("cluster");
    let named = needed(params, "service", "Service cannot be blank.")?;
    let force = params.flag("force")?.unwrap_or(false);
    params.done()?;
    let cluster = clusters::known(world, cluster.as_deref())?;
    let (key, service) = find(world, &cluster, &named)?;
    match service.status {
        Status::Inactive => return Err(not_found()),
        Status::Draining(_) => return Ok(json!({ "service": document(world, &key, service, true) }).into()),
        Status::Active => {}
    }
    if !force && service.desired > 0 {
        return Err(invalid("The service cannot be stopped while it is scaled above 0."));
    }
    if !force && service.deployments.len() > 1 {
        return Err(invalid("The service cannot be stopped while deployments are active."));
    }
    begin_deletion(world, &key);
    let service = world.states.ecs.services.get(&key).ok_or_else(not_found)?;
    Ok(json!({ "service": document(world, &key, service, true) }).into())
}

/// Begins the deletion of a service with its tasks.
pub(super) fn begin_deletion(world: &mut World, key: &str) {
    let now = world.now;
    let until = now + world.latency.seconds(EMPTY_DRAIN_SECONDS);
    let Some(service) = world.states.ecs.services.get_mut(key) else { return };
    service.status = Status::Draining(until);
    service.desired = 0;
    if let Some(story) = service.stories.last_mut() {
        story.end(now, "STOPPED", "Service deployment stopped because the service was deleted.");
    }
}

/// Moves the tasks of a service to other subnets and security groups.
pub(super) fn move_to(world: &mut World, key: &str, subnets: Vec<String>, groups: Vec<String>) {
    let Some(mut service) = world.states.ecs.services.remove(key) else { return };
    if let Some(primary) = service.deployments.first().cloned() {
        let network = Network { subnets, security_groups: groups, ..primary.network };
        let (balancers, platform) = (primary.load_balancers, primary.platform);
        deploy(world, &mut service, &primary.definition, network, balancers, platform);
    }
    world.states.ecs.services.insert(key.to_owned(), service);
}

pub(super) fn describe(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let cluster = params.text("cluster");
    let names = params.list("services");
    let with_tags = includes_tags(params, &[])?;
    params.done()?;
    if names.is_empty() || names.len() > 10 {
        return Err(invalid("Services cannot be empty, and no more than 10 can be described at a time."));
    }
    let cluster = clusters::known(world, cluster.as_deref())?;
    let (mut services, mut failures) = (Vec::new(), Vec::new());
    for name in names {
        if let Ok((key, service)) = find(world, &cluster, &name) {
            services.push(document(world, &key, service, with_tags));
        } else {
            let arn = world.arn("ecs", &format!("service/{cluster}/{name}"));
            failures.push(missing(if name.starts_with("arn:") { &name } else { &arn }));
        }
    }
    Ok(json!({ "services": services, "failures": failures }).into())
}

pub(super) fn list(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let cluster = clusters::known(world, params.text("cluster").as_deref())?;
    let launch_type = one_of(params, "launchType", &["EC2", "FARGATE", "EXTERNAL"])?;
    let strategy = one_of(params, "schedulingStrategy", &["REPLICA", "DAEMON"])?;
    let none =
        launch_type.is_some_and(|kind| kind != "FARGATE") || strategy.is_some_and(|kind| kind != "REPLICA");
    // A draining service is not listed. Source: `DeleteService` in the ECS API reference.
    let services = world
        .states
        .ecs
        .services
        .values()
        .filter(|service| !none && service.cluster == cluster && service.is_active())
        .filter(|service| service.seen_at <= world.now)
        .map(|service| json!(service.arn))
        .collect();
    page(params, "serviceArns", services, 10)
}

/// A service of a cluster by its name or ARN, with its key.
///
/// # Errors
/// `ServiceNotFoundException`.
pub(super) fn find<'a>(
    world: &'a World,
    cluster: &str,
    named: &str,
) -> Result<(String, &'a Service), Refusal> {
    let key = format!("{cluster}/{}", named.rsplit('/').next().unwrap_or(named));
    let service = world.states.ecs.services.get(&key).filter(|service| service.seen_at <= world.now);
    let service = service.filter(|service| !named.starts_with("arn:") || service.arn == named);
    service.map(|service| (key, service)).ok_or_else(not_found)
}

fn not_found() -> Refusal {
    Refusal::new("ServiceNotFoundException", "Service not found.")
}

fn primary(service: &Service) -> Result<&Deployment, Refusal> {
    service.deployments.first().ok_or_else(not_found)
}

fn document(world: &World, key: &str, service: &Service, with_tags: bool) -> Value {
    let tasks = || world.states.ecs.tasks.values().filter(|task| task.service == *key);
    let is = |wanted: &[&str]| tasks().filter(|task| wanted.contains(&task.status(world.now))).count();
    let events: Vec<Value> = service
        .events
        .iter()
        .map(|event| {
            json!({
                "id": format!("00000000-0000-4000-8000-{:012x}", event.number),
                "createdAt": Clock::epoch_seconds(event.at),
                "message": event.message,
            })
        })
        .collect();
    let mut document = json!({
        "serviceArn": service.arn,
        "serviceName": service.name,
        "clusterArn": world.arn("ecs", &format!("cluster/{}", service.cluster)),
        "serviceRegistries": [],
        "status": match service.status {
            Status::Active => "ACTIVE",
            Status::Draining(_) => "DRAINING",
            Status::Inactive => "INACTIVE",
        },
        "desiredCount": service.desired,
        "runningCount": is(&["RUNNING"]),
        "pendingCount": is(&["PROVISIONING", "PENDING"]),
        "launchType": "FARGATE",
        "platformFamily": "Linux",
        "deploymentConfiguration": service.rolling,
        "deploymentController": { "type": "ECS" },
        "deployments": deployments::documents(world, key, service),
        "roleArn": format!(
            "arn:aws:iam::{}:role/aws-service-role/ecs.amazonaws.com/AWSServiceRoleForECS",
            world.account
        ),
        "events": events,
        "createdAt": Clock::epoch_seconds(service.created),
        "placementConstraints": [],
        "placementStrategy": [],
        "schedulingStrategy": "REPLICA",
        "enableECSManagedTags": service.managed_tags,
        "propagateTags": service.propagate.as_deref().unwrap_or("NONE"),
        "enableExecuteCommand": service.exec,
        "availabilityZoneRebalancing": service.rebalancing,
        "tags": if with_tags { tag_list(&service.tags) } else { json!([]) },
    });
    if let Some(primary) = service.deployments.first() {
        document["taskDefinition"] = json!(primary.definition);
        document["loadBalancers"] = json!(primary.load_balancers);
        document["platformVersion"] = json!(primary.platform);
        document["networkConfiguration"] = json!({ "awsvpcConfiguration": primary.network });
        document["currentServiceDeployment"] = json!(deployments::newest_arn(world, key, service));
        document["currentServiceRevisions"] =
            json!([{ "arn": deployments::revision_arn(world, key, primary.number) }]);
    }
    if let Some(seconds) = service.grace {
        document["healthCheckGracePeriodSeconds"] = json!(seconds);
    } else if service.deployments.first().is_some_and(|primary| !primary.load_balancers.is_empty()) {
        document["healthCheckGracePeriodSeconds"] = json!(0);
    }
    document
}
