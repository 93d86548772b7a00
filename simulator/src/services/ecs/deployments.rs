//! Deployments of a service, in both of ECS's forms: the service's own list, and service deployments with their
//! revisions.

use std::time::Duration;

use serde_json::{Value, json};

use super::requests::{LoadBalancer, Network};
use super::services::{self, Service};
use super::{clusters, invalid, missing, page};
use crate::clock::Clock;
use crate::params::{Params, Refusal};
use crate::protocol::Reply;
use crate::world::World;

/// One entry of a service's `deployments`; the first of them is the `PRIMARY` one.
#[derive(Debug, Clone)]
pub(super) struct Deployment {
    /// The number in `ecs-svc/NUMBER` and in the service revision's ARN.
    pub(super) number: u64,
    pub(super) definition: String,
    pub(super) network: Network,
    pub(super) load_balancers: Vec<LoadBalancer>,
    pub(super) platform: String,
    pub(super) created: Duration,
    pub(super) updated: Duration,
    pub(super) rollout: Rollout,
    pub(super) reason: String,
    /// Failed tasks since the last success.
    pub(super) failed: usize,
    /// No task starts before this time.
    pub(super) next_launch: Duration,
    /// How long a task takes from its start to `RUNNING`.
    pub(super) starts_within: Duration,
    /// Whether its tasks crash because of a fault.
    pub(super) fails: bool,
    /// Whether it ever completed: a rollback needs such a deployment.
    pub(super) proven: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rollout {
    InProgress,
    Completed,
    Failed,
}

impl Deployment {
    pub(super) fn id(&self) -> String {
        id(self.number)
    }
}

/// A service deployment: one change, with its rollback.
#[derive(Debug, Clone)]
pub(super) struct Story {
    number: u64,
    pub(super) target: u64,
    sources: Vec<u64>,
    created: Duration,
    pub(super) rolls_back: bool,
    /// When its end becomes visible, and its status and reason.
    ending: Option<(Duration, &'static str, String)>,
}

impl Story {
    pub(super) fn begin(world: &mut World, target: u64, sources: Vec<u64>) -> Self {
        Self { number: world.number(), target, sources, created: world.now, rolls_back: false, ending: None }
    }

    /// Ends the service deployment, unless it has ended.
    pub(super) fn end(&mut self, at: Duration, status: &'static str, reason: impl Into<String>) {
        if self.ending.is_none() {
            self.ending = Some((at, status, reason.into()));
        }
    }

    fn status(&self, world: &World) -> (&'static str, Option<&str>) {
        match &self.ending {
            Some((at, status, reason)) if *at <= world.now => {
                (*status, Some(reason.as_str()).filter(|reason| !reason.is_empty()))
            }
            _ if self.rolls_back => ("ROLLBACK_IN_PROGRESS", None),
            _ if world.now < self.created + world.latency.seconds(1.0) => ("PENDING", None),
            _ => ("IN_PROGRESS", None),
        }
    }

    fn finished(&self, now: Duration) -> Option<Duration> {
        self.ending.as_ref().map(|(at, _, _)| *at).filter(|at| *at <= now)
    }
}

pub(super) fn id(number: u64) -> String {
    format!("ecs-svc/{}", digits(number))
}

/// Numbers with the length of ECS's.
fn digits(number: u64) -> u64 {
    1_000_000_000_000_000_000 + number
}

/// The entries of `deployments` in `DescribeServices`.
pub(super) fn documents(world: &World, key: &str, service: &Service) -> Vec<Value> {
    let entries = service.deployments.iter().enumerate();
    entries
        .map(|(place, deployment)| {
            let tasks = || world.states.ecs.tasks.values().filter(|task| task.is_of(key, deployment.number));
            let is =
                |wanted: &[&str]| tasks().filter(|task| wanted.contains(&task.status(world.now))).count();
            let mut document = json!({
                "id": deployment.id(),
                "status": if place == 0 { "PRIMARY" } else { "ACTIVE" },
                "taskDefinition": deployment.definition,
                "desiredCount": if place == 0 { service.desired } else { 0 },
                "pendingCount": is(&["PROVISIONING", "PENDING"]),
                "runningCount": is(&["RUNNING"]),
                "failedTasks": deployment.failed,
                "createdAt": Clock::epoch_seconds(deployment.created),
                "updatedAt": Clock::epoch_seconds(deployment.updated),
                "launchType": "FARGATE",
                "platformVersion": "1.4.0",
                "platformFamily": "Linux",
                "networkConfiguration": { "awsvpcConfiguration": deployment.network },
                "rolloutState": match deployment.rollout {
                    Rollout::InProgress => "IN_PROGRESS",
                    Rollout::Completed => "COMPLETED",
                    Rollout::Failed => "FAILED",
                },
                "rolloutStateReason": deployment.reason,
            });
            if place > 0 {
                document["desiredCount"] = json!(tasks().filter(|task| !task.is_stopping()).count());
            }
            document
        })
        .collect()
}

pub(super) fn list(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let cluster = clusters::known(world, params.text("cluster").as_deref())?;
    let named = super::needed(params, "service", "Service cannot be blank.")?;
    let wanted = params.list("status");
    let created = params.section("createdAt");
    let after = created.as_ref().map(|created| created.float("after")).transpose()?.flatten();
    let before = created.as_ref().map(|created| created.float("before")).transpose()?.flatten();
    let (key, service) = services::find(world, &cluster, &named)?;
    // The API reference promises no order: the newest come last, so that a caller must read all pages.
    let stories = service.stories.iter().filter(|story| {
        let at = Clock::epoch_seconds(story.created);
        (wanted.is_empty() || wanted.iter().any(|status| status == story.status(world).0))
            && after.is_none_or(|after| at >= after)
            && before.is_none_or(|before| at <= before)
    });
    let briefs = stories
        .map(|story| {
            let (status, reason) = story.status(world);
            let mut brief = json!({
                "serviceDeploymentArn": story_arn(world, &key, story),
                "serviceArn": service.arn,
                "clusterArn": world.arn("ecs", &format!("cluster/{cluster}")),
                "startedAt": Clock::epoch_seconds(story.created),
                "createdAt": Clock::epoch_seconds(story.created),
                "targetServiceRevisionArn": revision_arn(world, &key, story.target),
                "status": status,
            });
            if let Some(reason) = reason {
                brief["statusReason"] = json!(reason);
            }
            if let Some(at) = story.finished(world.now) {
                brief["finishedAt"] = json!(Clock::epoch_seconds(at));
            }
            brief
        })
        .collect();
    page(params, "serviceDeployments", briefs, 20)
}

/// Stops a service deployment that is in progress, and rolls back to the last one that completed.
/// Source: `StopServiceDeployment` in the ECS API reference.
pub(super) fn stop(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let arn = super::needed(params, "serviceDeploymentArn", "serviceDeploymentArn cannot be blank.")?;
    let kind =
        super::one_of(params, "stopType", &["ABORT", "ROLLBACK"])?.unwrap_or_else(|| "ROLLBACK".into());
    params.done()?;
    if kind == "ABORT" {
        return Err(invalid("the simulator stops service deployments with a rollback only"));
    }
    let services = &world.states.ecs.services;
    let key = services.iter().find_map(|(key, service)| {
        let newest = service.stories.last()?;
        let stops = service.is_active() && newest.ending.is_none() && !newest.rolls_back;
        (stops && story_arn(world, key, newest) == arn).then(|| key.clone())
    });
    let Some(key) = key else {
        let known = services
            .iter()
            .any(|(key, service)| service.stories.iter().any(|story| story_arn(world, key, story) == arn));
        return Err(if known {
            Refusal::new("ConflictException", "The service deployment is not in progress.")
        } else {
            Refusal::new("ServiceDeploymentNotFoundException", "The service deployment was not found.")
        });
    };
    let Some(mut service) = world.states.ecs.services.remove(&key) else { return Err(missing_deployment()) };
    let stopped = super::scheduler::stop_and_roll_back(world, &mut service);
    world.states.ecs.services.insert(key, service);
    if !stopped {
        return Err(Refusal::new(
            "ConflictException",
            "There is no completed service revision to roll back to.",
        ));
    }
    Ok(json!({ "serviceDeploymentArn": arn }).into())
}

fn missing_deployment() -> Refusal {
    Refusal::new("ServiceDeploymentNotFoundException", "The service deployment was not found.")
}

pub(super) fn describe(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let arns = params.list("serviceDeploymentArns");
    params.done()?;
    if arns.is_empty() || arns.len() > 20 {
        return Err(invalid("Between 1 and 20 service deployments can be described at a time."));
    }
    let (mut found, mut failures) = (Vec::new(), Vec::new());
    for arn in arns {
        let story = world.states.ecs.services.iter().find_map(|(key, service)| {
            let story = service.stories.iter().find(|story| story_arn(world, key, story) == arn)?;
            Some(full_document(world, key, service, story))
        });
        match story {
            Some(document) => found.push(document),
            None => failures.push(missing(&arn)),
        }
    }
    Ok(json!({ "serviceDeployments": found, "failures": failures }).into())
}

pub(super) fn describe_revisions(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let arns = params.list("serviceRevisionArns");
    params.done()?;
    if arns.is_empty() || arns.len() > 20 {
        return Err(invalid("Between 1 and 20 service revisions can be described at a time."));
    }
    let (mut found, mut failures) = (Vec::new(), Vec::new());
    for arn in arns {
        let revision = world.states.ecs.services.iter().find_map(|(key, service)| {
            let revision =
                service.revisions.iter().find(|one| revision_arn(world, key, one.number) == arn)?;
            Some(json!({
                "serviceRevisionArn": arn,
                "serviceArn": service.arn,
                "clusterArn": world.arn("ecs", &format!("cluster/{}", service.cluster)),
                "taskDefinition": revision.definition,
                "launchType": "FARGATE",
                "platformVersion": "1.4.0",
                "platformFamily": "Linux",
                "loadBalancers": revision.load_balancers,
                "networkConfiguration": { "awsvpcConfiguration": revision.network },
                "guardDutyEnabled": false,
                "createdAt": Clock::epoch_seconds(revision.created),
            }))
        });
        match revision {
            Some(document) => found.push(document),
            None => failures.push(missing(&arn)),
        }
    }
    Ok(json!({ "serviceRevisions": found, "failures": failures }).into())
}

fn full_document(world: &World, key: &str, service: &Service, story: &Story) -> Value {
    let (status, reason) = story.status(world);
    let failures = service.deployments.iter().find(|one| one.number == story.target);
    let failures = failures.map_or(0, |deployment| deployment.failed);
    let breaker = service.rolling.deployment_circuit_breaker;
    let breaker_status = match status {
        _ if !breaker.enable => "DISABLED",
        "SUCCESSFUL" => "MONITORING_COMPLETE",
        "STOPPED" | "ROLLBACK_IN_PROGRESS" | "ROLLBACK_SUCCESSFUL" | "ROLLBACK_FAILED" => "TRIGGERED",
        _ => "MONITORING",
    };
    let mut document = json!({
        "serviceDeploymentArn": story_arn(world, key, story),
        "serviceArn": service.arn,
        "clusterArn": world.arn("ecs", &format!("cluster/{}", service.cluster)),
        "createdAt": Clock::epoch_seconds(story.created),
        "startedAt": Clock::epoch_seconds(story.created),
        "sourceServiceRevisions":
            story.sources.iter().map(|number| revision_summary(world, key, *number, 0)).collect::<Vec<_>>(),
        "targetServiceRevision": revision_summary(world, key, story.target, service.desired),
        "status": status,
        "deploymentConfiguration": service.rolling,
        "deploymentCircuitBreaker": {
            "status": breaker_status,
            "failureCount": failures,
            "threshold": super::scheduler::breaker_threshold(service.desired),
        },
    });
    if let Some(reason) = reason {
        document["statusReason"] = json!(reason);
    }
    if let Some(at) = story.finished(world.now) {
        document["finishedAt"] = json!(Clock::epoch_seconds(at));
    }
    if story.rolls_back
        && let Some(to) = service.deployments.first()
    {
        document["rollback"] = json!({
            "reason": "Service deployment rolled back because the circuit breaker threshold was exceeded.",
            "startedAt": Clock::epoch_seconds(to.updated),
            "serviceRevisionArn": revision_arn(world, key, to.number),
        });
    }
    document
}

fn revision_summary(world: &World, key: &str, number: u64, requested: usize) -> Value {
    let tasks = || world.states.ecs.tasks.values().filter(|task| task.is_of(key, number));
    let is = |wanted: &[&str]| tasks().filter(|task| wanted.contains(&task.status(world.now))).count();
    json!({
        "arn": revision_arn(world, key, number),
        "requestedTaskCount": requested,
        "runningTaskCount": is(&["RUNNING"]),
        "pendingTaskCount": is(&["PROVISIONING", "PENDING"]),
    })
}

/// The ARN of the newest service deployment.
pub(super) fn newest_arn(world: &World, key: &str, service: &Service) -> Option<String> {
    service.stories.last().map(|story| story_arn(world, key, story))
}

fn story_arn(world: &World, key: &str, story: &Story) -> String {
    world.arn("ecs", &format!("service-deployment/{key}/{:021}", story.number))
}

/// A service revision has the number of the deployment that created it.
pub(super) fn revision_arn(world: &World, key: &str, number: u64) -> String {
    world.arn("ecs", &format!("service-revision/{key}/{}", digits(number)))
}
