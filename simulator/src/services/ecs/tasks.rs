//! Tasks. The status of a task follows from times.

use std::net::Ipv4Addr;
use std::time::Duration;

use serde_json::{Value, json};

use super::containers::Container;
use super::definitions::{self, Definition};
use super::requests::LoadBalancer;
use super::{
    Crash, clusters, deployments, includes_tags, invalid, lifecycle, missing, needed, one_of, page, services,
    tag_list,
};
use crate::clock::Clock;
use crate::params::{Params, Refusal};
use crate::protocol::Reply;
use crate::world::{Tags, World};

#[derive(Debug, Clone)]
pub(super) struct Task {
    pub(super) id: String,
    pub(super) arn: String,
    pub(super) cluster: String,
    /// The service's key.
    pub(super) service: String,
    /// The number of the deployment that started it.
    pub(super) deployment: u64,
    pub(super) definition: String,
    pub(super) cpu: u32,
    pub(super) memory: u32,
    pub(super) attachment: String,
    pub(super) interface: String,
    pub(super) address: Ipv4Addr,
    pub(super) subnet: String,
    pub(super) zone: String,
    pub(super) groups: Vec<String>,
    pub(super) exec: bool,
    /// The name of the container that GuardDuty adds.
    pub(super) monitor: Option<String>,
    pub(super) tags: Tags,
    pub(super) created: Duration,
    /// When it first needs its image, its logs and its secrets.
    pub(super) prepares_at: Duration,
    /// When it gives up.
    pub(super) gives_up_at: Duration,
    /// The time from having everything to running.
    pub(super) runs_after: Duration,
    pub(super) running_at: Option<Duration>,
    /// When it read its secrets.
    pub(super) read_at: Option<Duration>,
    pub(super) behaviour: Behaviour,
    /// Whether its start has been reported to the target groups and the logs.
    pub(super) announced: bool,
    /// The targets that it is registered as.
    pub(super) registered: Vec<LoadBalancer>,
    pub(super) stop: Option<Stop>,
    /// Whether it is stopped and its interface deleted.
    pub(super) ended: bool,
}

/// The behaviour of a running task's containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Behaviour {
    /// They pass health checks.
    Well,
    /// They never pass a health check.
    Unhealthy,
    /// An essential container exits by itself.
    Crashes(Crash),
}

/// The end of a task.
#[derive(Debug, Clone)]
pub(super) struct Stop {
    pub(super) since: Duration,
    /// When its targets are drained and its containers get the signal to stop.
    pub(super) drained_at: Duration,
    pub(super) stopped_at: Duration,
    pub(super) code: &'static str,
    pub(super) reason: String,
    /// The reason of the container, if it differs.
    pub(super) container_reason: Option<String>,
}

/// How long a stopped task is described. Source: `DescribeTasks` in the ECS API reference: "at least one hour".
const DESCRIBED_AFTERWARDS: Duration = Duration::from_hours(1);

impl Task {
    pub(super) fn is_of(&self, service: &str, deployment: u64) -> bool {
        self.service == service && self.deployment == deployment
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stop.is_some()
    }

    pub(super) fn is_running(&self, now: Duration) -> bool {
        !self.is_stopping() && self.running_at.is_some_and(|at| at <= now)
    }

    pub(super) fn status(&self, now: Duration) -> &'static str {
        match &self.stop {
            Some(stop) if now >= stop.stopped_at => "STOPPED",
            Some(stop) if now < stop.drained_at => "DEACTIVATING",
            Some(stop) if now < (stop.drained_at + stop.stopped_at) / 2 => "STOPPING",
            Some(_) => "DEPROVISIONING",
            None if self.is_running(now) => "RUNNING",
            None if now >= self.prepares_at => "PENDING",
            None => "PROVISIONING",
        }
    }

    /// The result of the container's own health check; `None` for a container without one.
    pub(super) fn container_health(&self, definition: &Definition, world: &World) -> Option<&'static str> {
        let checks = definition.containers.iter().filter(|container| container.essential);
        let checks: Vec<_> = checks.filter_map(|container| container.health_check.as_ref()).collect();
        let running_at = self.running_at.filter(|at| *at <= world.now);
        if checks.is_empty() {
            return None;
        }
        let Some(running_at) = running_at else { return Some("UNKNOWN") };
        let after = |seconds: u32| running_at + world.latency.seconds(f64::from(seconds));
        // A check passes the first time, or fails after its start period and its retries.
        let passed = checks.iter().all(|check| world.now >= after(check.interval));
        let failed = checks.iter().any(|check| {
            world.now >= after(check.start_period.unwrap_or(0) + check.interval * check.retries)
        });
        Some(match (self.behaviour == Behaviour::Well, passed, failed) {
            (true, true, _) => "HEALTHY",
            (false, _, true) => "UNHEALTHY",
            _ => "UNKNOWN",
        })
    }
}

pub(super) fn list(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let cluster = clusters::known(world, params.text("cluster").as_deref())?;
    let family = params.text("family");
    let started_by = params.text("startedBy");
    let status = one_of(params, "desiredStatus", &["RUNNING", "PENDING", "STOPPED"])?;
    let launch_type = one_of(params, "launchType", &["EC2", "FARGATE", "EXTERNAL"])?;
    let service = match params.text("serviceName") {
        Some(name) => Some(services::find(world, &cluster, &name)?.0),
        None => None,
    };
    let stopped = status.as_deref() == Some("STOPPED");
    // The desired status of a task is never PENDING: such a list is always empty.
    let none = status.as_deref() == Some("PENDING")
        || launch_type.is_some_and(|launch_type| launch_type != "FARGATE");
    let tasks = world.states.ecs.tasks.values().filter(|task| {
        !none
            && task.cluster == cluster
            && task.is_stopping() == stopped
            && is_described(task, world.now)
            && service.as_ref().is_none_or(|key| task.service == *key)
            && started_by.as_ref().is_none_or(|by| deployments::id(task.deployment) == *by)
            && family.as_ref().is_none_or(|family| family_of(&task.definition) == family)
    });
    let arns = tasks.map(|task| json!(task.arn)).collect();
    page(params, "taskArns", arns, 100)
}

pub(super) fn describe(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let cluster = params.text("cluster");
    let named = params.list("tasks");
    let with_tags = includes_tags(params, &[])?;
    params.done()?;
    if named.is_empty() || named.len() > 100 {
        return Err(invalid("Tasks cannot be empty, and no more than 100 can be described at a time."));
    }
    let cluster = clusters::known(world, cluster.as_deref())?;
    let (mut tasks, mut failures) = (Vec::new(), Vec::new());
    for name in named {
        let id = name.rsplit('/').next().unwrap_or(&name);
        let arn = world.arn("ecs", &format!("task/{cluster}/{id}"));
        let task = world.states.ecs.tasks.get(&arn).filter(|task| is_described(task, world.now));
        match task.filter(|task| !name.starts_with("arn:") || task.arn == name) {
            Some(task) => tasks.push(document(world, task, with_tags)),
            None => failures.push(missing(&arn)),
        }
    }
    Ok(json!({ "tasks": tasks, "failures": failures }).into())
}

/// Stops a task; its service starts another one.
pub(super) fn stop(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let cluster = params.text("cluster");
    let named = needed(params, "task", "Task cannot be blank.")?;
    let reason = params.text("reason").unwrap_or_else(|| "Task stopped by user".into());
    params.done()?;
    let cluster = clusters::known(world, cluster.as_deref())?;
    let id = named.rsplit('/').next().unwrap_or(&named);
    let arn = world.arn("ecs", &format!("task/{cluster}/{id}"));
    if !stop_by_user(world, &arn, &reason) {
        return Err(invalid("The referenced task was not found."));
    }
    let task = world.states.ecs.tasks.get(&arn).map(|task| document(world, task, true));
    Ok(json!({ "task": task }).into())
}

/// Stops a task as a person does. Returns whether the task exists.
pub(super) fn stop_by_user(world: &mut World, arn: &str, reason: &str) -> bool {
    let Some(mut task) = world.states.ecs.tasks.remove(arn) else { return false };
    if !task.is_stopping() {
        lifecycle::stop(world, &mut task, "UserInitiated", reason);
        if let Some(service) = world.states.ecs.services.get_mut(&task.service) {
            service.steady = false;
        }
    }
    world.states.ecs.tasks.insert(arn.to_owned(), task);
    true
}

fn is_described(task: &Task, now: Duration) -> bool {
    task.stop.as_ref().is_none_or(|stop| now < stop.stopped_at + DESCRIBED_AFTERWARDS)
}

fn family_of(definition: &str) -> &str {
    let name = definition.rsplit('/').next().unwrap_or(definition);
    name.split(':').next().unwrap_or(name)
}

fn document(world: &World, task: &Task, with_tags: bool) -> Value {
    let definition = definitions::find(world, &task.definition);
    let containers = definition.map(|definition| definition.containers.as_slice()).unwrap_or_default();
    let health =
        definition.and_then(|definition| task.container_health(definition, world)).unwrap_or("UNKNOWN");
    let times = [
        ("startedAt", task.running_at.filter(|at| *at <= world.now)),
        ("pullStartedAt", Some(task.prepares_at).filter(|at| *at <= world.now)),
        ("pullStoppedAt", task.running_at.filter(|at| *at <= world.now)),
        ("stoppingAt", task.stop.as_ref().map(|stop| stop.since)),
        ("stoppedAt", task.stop.as_ref().map(|stop| stop.stopped_at).filter(|at| *at <= world.now)),
    ];
    let monitor = task.monitor.as_ref().map(|name| monitor_document(world, task, name));
    let containers = containers.iter().map(|container| container_document(world, task, container, health));
    let mut document = json!({
        "attachments": [attachment(world, task)],
        "attributes": [],
        "availabilityZone": task.zone,
        "clusterArn": world.arn("ecs", &format!("cluster/{}", task.cluster)),
        "connectivity": "CONNECTED",
        "containers": monitor.into_iter().chain(containers).collect::<Vec<_>>(),
        "cpu": task.cpu.to_string(),
        "memory": task.memory.to_string(),
        "createdAt": Clock::epoch_seconds(task.created),
        "desiredStatus": if task.is_stopping() { "STOPPED" } else { "RUNNING" },
        "enableExecuteCommand": task.exec,
        "group": format!("service:{}", task.service.rsplit('/').next().unwrap_or_default()),
        "healthStatus": health,
        "lastStatus": task.status(world.now),
        "launchType": "FARGATE",
        "overrides": { "containerOverrides": [] },
        "platformVersion": "1.4.0",
        "platformFamily": "Linux",
        "startedBy": deployments::id(task.deployment),
        "tags": if with_tags { tag_list(&task.tags) } else { json!([]) },
        "taskArn": task.arn,
        "taskDefinitionArn": task.definition,
        "version": 1,
    });
    for (name, at) in times {
        if let Some(at) = at {
            document[name] = json!(Clock::epoch_seconds(at));
        }
    }
    if let Some(stop) = &task.stop {
        document["stopCode"] = json!(stop.code);
        document["stoppedReason"] = json!(stop.reason);
    }
    document
}

fn attachment(world: &World, task: &Task) -> Value {
    let status = match task.status(world.now) {
        "PROVISIONING" => "ATTACHING",
        "STOPPED" => "DELETED",
        _ => "ATTACHED",
    };
    json!({
        "id": task.attachment,
        "type": "ElasticNetworkInterface",
        "status": status,
        "details": [
            { "name": "subnetId", "value": task.subnet },
            { "name": "networkInterfaceId", "value": task.interface },
            { "name": "privateIPv4Address", "value": task.address.to_string() },
        ],
    })
}

/// The container that GuardDuty's runtime monitoring adds to a task. It is not part of the task definition.
/// Source: "How Runtime Monitoring works with Fargate" in the GuardDuty user guide.
fn monitor_document(world: &World, task: &Task, name: &str) -> Value {
    let stopped = task.status(world.now) == "STOPPED";
    let mut document = json!({
        "containerArn": world.arn("ecs", &format!("container/{}/{}/{name}", task.cluster, task.id)),
        "taskArn": task.arn,
        "name": name,
        "lastStatus": if stopped { "STOPPED" } else { "RUNNING" },
        "healthStatus": "UNKNOWN",
    });
    if stopped {
        document["exitCode"] = json!(137);
    }
    document
}

fn container_document(world: &World, task: &Task, container: &Container, health: &str) -> Value {
    let status = match task.status(world.now) {
        "PROVISIONING" => "PENDING",
        "DEACTIVATING" | "STOPPING" => "RUNNING",
        "DEPROVISIONING" => "STOPPED",
        status => status,
    };
    let mut document = json!({
        "containerArn": world.arn("ecs", &format!("container/{}/{}/{}", task.cluster, task.id, container.name)),
        "taskArn": task.arn,
        "name": container.name,
        "image": container.image,
        "lastStatus": status,
        "networkBindings": [],
        "networkInterfaces":
            [{ "attachmentId": task.attachment, "privateIpv4Address": task.address.to_string() }],
        "healthStatus": if container.health_check.is_some() { health } else { "UNKNOWN" },
    });
    if let Some(stop) = task.stop.as_ref().filter(|_| status == "STOPPED") {
        if task.announced {
            document["exitCode"] = match task.behaviour {
                Behaviour::Crashes(crash) => json!(crash.code),
                // The exit code of a container that does not handle SIGTERM.
                Behaviour::Well | Behaviour::Unhealthy => json!(143),
            };
        }
        if let Some(reason) = &stop.container_reason {
            document["reason"] = json!(reason);
        }
    }
    document
}
