//! The scheduler: it starts and stops tasks until services match their configuration.
//!
//! It works in ticks of one second. A late call first runs the missed ticks, each with the account's state at that
//! moment, so the result does not depend on the number of calls.

use std::time::Duration;

use super::definitions::{self, Definition};
use super::deployments::{Deployment, Rollout, id};
use super::lifecycle::{go_on, stop};
use super::services::{Service, Status};
use super::start::{self, Roles};
use super::tasks::{Behaviour, Task};
use crate::services::{ec2, elb};
use crate::world::{Tags, World};

const TICK_SECONDS: f64 = 1.0;

/// How long after its start a task first needs its image, logs and secrets (its interface is attached then), and how
/// long after its start it gives up.
const PREPARE_SECONDS: f64 = 10.0;
const GIVE_UP_SECONDS: f64 = 60.0;

/// How long the scheduler waits before it tries again to launch tasks. Source of the order of magnitude: the events in issue
/// 927 of pulumi/pulumi-awsx, where a role is not assumable at 16:33:43 and is at 16:34:12.
const LAUNCH_RETRY_SECONDS: f64 = 30.0;

/// The event of a task for which Fargate has no capacity. Source: "Service event messages" in the ECS developer guide.
const NO_CAPACITY: &str =
    "Capacity is unavailable at this time. Please try again later or in a different availability zone";

/// The time from the last healthy task to the end of the service deployment.
const CONCLUDE_SECONDS: f64 = 3.0;

pub(super) fn advance(world: &mut World) {
    let now = world.now;
    let tick = world.latency.seconds(TICK_SECONDS).max(Duration::from_millis(1));
    while is_busy(world) && world.states.ecs.scheduled_until + tick <= now {
        let at = world.states.ecs.scheduled_until + tick;
        look(world, at);
    }
    // Nothing changes without a call: one tick is enough to see the effects of calls, such as a changed rule.
    let missed = now.saturating_sub(world.states.ecs.scheduled_until).as_nanos() / tick.as_nanos();
    if let Ok(missed) = u32::try_from(missed)
        && missed > 0
    {
        let at = world.states.ecs.scheduled_until + tick * missed;
        look(world, at);
    }
    world.now = now;
}

/// Runs one tick, with the time of the tick.
fn look(world: &mut World, at: Duration) {
    world.now = at;
    world.states.ecs.scheduled_until = at;
    if world.states.ecs.services.values().all(Service::is_inactive)
        && world.states.ecs.tasks.values().all(|task| task.ended)
    {
        return;
    }
    elb::advance(world);
    ec2::advance(world);
    let tasks: Vec<String> =
        world.states.ecs.tasks.iter().filter(|(_, task)| !task.ended).map(|(arn, _)| arn.clone()).collect();
    for arn in tasks {
        if let Some(mut task) = world.states.ecs.tasks.remove(&arn) {
            go_on(world, &mut task);
            world.states.ecs.tasks.insert(arn, task);
        }
    }
    let services: Vec<String> = world.states.ecs.services.keys().cloned().collect();
    for key in services {
        if let Some(mut service) = world.states.ecs.services.remove(&key) {
            match service.status {
                Status::Active => keep(world, &key, &mut service),
                Status::Draining(until) => drain(world, &key, &mut service, until),
                Status::Inactive => {}
            }
            world.states.ecs.services.insert(key, service);
        }
    }
}

/// Whether anything will change without a call.
fn is_busy(world: &World) -> bool {
    let moving = |task: &Task| !task.ended && (task.is_stopping() || !task.announced);
    let unsettled = |service: &Service| match service.status {
        Status::Inactive => false,
        Status::Draining(until) => world.states.ecs.scheduled_until < until,
        Status::Active => {
            !service.steady
                && service.deployments.first().is_some_and(|primary| primary.rollout != Rollout::Failed)
        }
    };
    world.states.ecs.tasks.values().any(moving) || world.states.ecs.services.values().any(unsettled)
}

/// The number of failed tasks of a deployment that trips the circuit breaker: half of the desired count, between 3
/// and 200. Source: `DeploymentCircuitBreaker` in the ECS API reference.
pub(super) fn breaker_threshold(desired: usize) -> usize {
    desired.div_ceil(2).clamp(3, 200)
}

/// Starts and stops tasks of an active service as needed.
fn keep(world: &mut World, key: &str, service: &mut Service) {
    reset(world, key, service);
    trip(world, service);
    let Some(primary) = service.deployments.first().map(|primary| primary.number) else { return };
    if service.deployments.first().is_some_and(|primary| primary.rollout != Rollout::Failed) {
        let live = tasks_of(world, key, |task| !task.is_stopping());
        let wanted =
            service.desired.saturating_sub(live.iter().filter(|task| task.deployment == primary).count());
        let room = (service.desired * service.rolling.maximum_percent / 100).saturating_sub(live.len());
        launch(world, key, service, wanted.min(room));
        scale_in(world, key, service, primary);
    }
    conclude(world, key, service, primary);
}

/// The scheduler's view of a task.
struct View {
    arn: String,
    deployment: u64,
    running: bool,
    healthy: bool,
}

fn tasks_of(world: &World, key: &str, wanted: impl Fn(&Task) -> bool) -> Vec<View> {
    let tasks =
        world.states.ecs.tasks.values().filter(|task| task.service == key && !task.ended && wanted(task));
    tasks
        .map(|task| View {
            arn: task.arn.clone(),
            deployment: task.deployment,
            running: task.is_running(world.now),
            healthy: is_healthy(world, task),
        })
        .collect()
}

/// Whether a task counts as healthy: running, and healthy by its container's check and in every target group.
fn is_healthy(world: &World, task: &Task) -> bool {
    let definition = definitions::find(world, &task.definition);
    let by_container = definition.and_then(|definition| task.container_health(definition, world));
    task.is_running(world.now)
        && task.announced
        && !matches!(task.behaviour, Behaviour::Crashes(crash) if crash.is_at_once())
        && by_container.is_none_or(|health| health == "HEALTHY")
        && task.registered.iter().all(|at| {
            elb::target_state(world, &at.target_group_arn, task.address, at.container_port) == Some("healthy")
        })
}

/// Sets the number of failed tasks back while the deployment has a healthy task, unless the service's circuit breaker counts
/// on. Source: `failedTasks` of `Deployment` ("resets to zero and stops being evaluated") in the ECS API reference.
fn reset(world: &World, key: &str, service: &mut Service) {
    let resets = service.rolling.deployment_circuit_breaker.reset_on_healthy_task;
    let Some(primary) = service.deployments.first_mut().filter(|primary| resets && primary.failed > 0) else {
        return;
    };
    let number = primary.number;
    if tasks_of(world, key, |task| task.deployment == number && !task.is_stopping())
        .iter()
        .any(|task| task.healthy)
    {
        primary.failed = 0;
    }
}

/// Trips the circuit breaker when too many tasks of the current deployment have failed.
///
/// Without an earlier deployment to roll back to, the deployment stays the primary one, `FAILED`, and no more tasks
/// start. The service deployment is then `ROLLBACK_FAILED` if a rollback was requested, or else `STOPPED`. ECS has no
/// status "failed": its documentation names these two for a deployment that the breaker ended, but not which of them
/// a first deployment gets.
fn trip(world: &mut World, service: &mut Service) {
    let breaker = service.rolling.deployment_circuit_breaker;
    let threshold = breaker_threshold(service.desired);
    let now = world.now;
    let Some(primary) = service.deployments.first_mut() else { return };
    if !breaker.enable || primary.rollout != Rollout::InProgress || primary.failed < threshold {
        return;
    }
    primary.rollout = Rollout::Failed;
    primary.updated = now;
    primary.reason = "ECS deployment circuit breaker: tasks failed to start.".into();
    let failed = primary.id();
    service.tell(world, &format!("(deployment {failed}) deployment failed: tasks failed to start."));
    let proven = service.deployments.iter().skip(1).position(|older| older.proven);
    let rolled_back_before = service.stories.last().is_some_and(|story| story.rolls_back);
    if let Some(place) = proven.filter(|_| breaker.rollback && !rolled_back_before) {
        roll_back(world, service, place + 1);
        return;
    }
    let (status, reason) = if breaker.rollback {
        (
            "ROLLBACK_FAILED",
            "The deployment circuit breaker was triggered (tasks failed to start), and there is no completed deployment to roll back to.",
        )
    } else {
        ("STOPPED", "The deployment circuit breaker was triggered: tasks failed to start.")
    };
    if let Some(story) = service.stories.last_mut() {
        story.end(now, status, reason);
    }
}

/// Rolls the primary deployment back because somebody stops it. Returns whether there is one to roll back to.
pub(super) fn stop_and_roll_back(world: &mut World, service: &mut Service) -> bool {
    let Some(place) = service.deployments.iter().skip(1).position(|older| older.proven) else { return false };
    if let Some(primary) = service.deployments.first_mut() {
        primary.rollout = Rollout::Failed;
        primary.reason = "ECS deployment was stopped by a user.".into();
    }
    roll_back(world, service, place + 1);
    true
}

/// Makes the older deployment at `place` the primary one again.
fn roll_back(world: &mut World, service: &mut Service, place: usize) {
    let now = world.now;
    let mut back = service.deployments.remove(place);
    back.rollout = Rollout::InProgress;
    back.updated = now;
    back.failed = 0;
    back.next_launch = now;
    back.reason = format!("ECS deployment circuit breaker: rolling back to deploymentId {}.", back.id());
    service.tell(world, &format!("rolling back to (deployment {}).", back.id()));
    service.deployments.insert(0, back);
    if let Some(story) = service.stories.last_mut() {
        story.rolls_back = true;
    }
}

/// Starts up to `count` tasks of the primary deployment, if its roles can be assumed.
fn launch(world: &mut World, key: &str, service: &mut Service, count: usize) {
    let Some(deployment) = service.deployments.first().cloned() else { return };
    if count == 0 || world.now < deployment.next_launch {
        return;
    }
    let Some(definition) = definitions::find(world, &deployment.definition).cloned() else { return };
    let role = match start::roles(world, &definition) {
        Roles::Ready => {
            let started: Vec<String> =
                (0..count).map_while(|_| place(world, key, service, &deployment, &definition)).collect();
            if !started.is_empty() {
                let list: Vec<String> = started.iter().map(|task| format!("(task {task})")).collect();
                service.tell(world, &format!("has started {} tasks: {}.", list.len(), list.join(" ")));
            }
            return;
        }
        // ECS cannot tell a role that it does not see yet from one that it may not assume.
        Roles::Propagating(role) | Roles::Unassumable(role) => role,
    };
    service.tell(
        world,
        &format!(
            "failed to launch a task with (error ECS was unable to assume the role '{role}' that was provided for this task. Please verify that the role being passed has the proper trust relationship and permissions and that your IAM user has permissions to pass this role.)."
        ),
    );
    put_off(world, service, count);
}

/// Waits before the next launch. A task that cannot be launched counts as failed. Source: `failedTasks` in the ECS API
/// reference, which does not say how an attempt to launch several tasks counts: each counts here.
fn put_off(world: &World, service: &mut Service, failed: usize) {
    let until = world.now + world.latency.seconds(LAUNCH_RETRY_SECONDS);
    if let Some(primary) = service.deployments.first_mut() {
        primary.next_launch = until;
        primary.failed += failed;
    }
}

/// Starts one task in the subnet with the fewest tasks of the service; returns its ID.
fn place(
    world: &mut World,
    key: &str,
    service: &mut Service,
    deployment: &Deployment,
    definition: &Definition,
) -> Option<String> {
    if world.now < world.states.ecs.full_until {
        service.tell(world, &format!("was unable to place a task. Reason: {NO_CAPACITY}."));
        put_off(world, service, 1);
        return None;
    }
    let network = &deployment.network;
    let load = |subnet: &String| {
        let tasks = world.states.ecs.tasks.values();
        tasks.filter(|task| task.service == key && !task.is_stopping() && task.subnet == *subnet).count()
    };
    let subnet = network.subnets.iter().min_by_key(|subnet| load(subnet))?.clone();
    let number = world.number();
    let attachment_id = format!("00000000-0000-4000-8000-{number:012x}");
    let made = ec2::attach_interface(
        world,
        &ec2::Attachment {
            subnet: &subnet,
            groups: &network.security_groups,
            description: &world.arn("ecs", &format!("attachment/{attachment_id}")),
            requester: "amazon-ecs",
            kind: "interface",
            public: network.is_public(),
        },
    );
    let attached = match made {
        Ok(attached) => attached,
        Err(refusal) => {
            service.tell(world, &format!("was unable to place a task. Reason: {}.", refusal.message));
            put_off(world, service, 1);
            return None;
        }
    };
    let id = format!("{number:032x}");
    let now = world.now;
    let prepare = world.latency.seconds(PREPARE_SECONDS);
    let zone = ec2::subnet(world, &subnet).map(|subnet| subnet.zone).unwrap_or_default();
    let monitored = world.states.ecs.monitored.contains(&service.cluster);
    let task = Task {
        arn: world.arn("ecs", &format!("task/{}/{id}", service.cluster)),
        id: id.clone(),
        cluster: service.cluster.clone(),
        service: key.into(),
        deployment: deployment.number,
        definition: definition.arn.clone(),
        cpu: definition.cpu,
        memory: definition.memory,
        attachment: attachment_id,
        interface: attached.interface,
        address: attached.address,
        subnet,
        zone,
        groups: network.security_groups.clone(),
        exec: service.exec,
        monitor: monitored.then(|| format!("aws-guardduty-agent-{number:06x}")),
        tags: propagated(service, definition),
        created: now,
        prepares_at: now + prepare,
        gives_up_at: now + world.latency.seconds(GIVE_UP_SECONDS),
        runs_after: deployment.starts_within.saturating_sub(prepare),
        running_at: None,
        read_at: None,
        behaviour: Behaviour::Well,
        announced: false,
        registered: Vec::new(),
        stop: None,
        ended: false,
    };
    world.states.ecs.tasks.insert(task.arn.clone(), task);
    Some(id)
}

fn propagated(service: &Service, definition: &Definition) -> Tags {
    match service.propagate.as_deref() {
        Some("SERVICE") => service.tags.clone(),
        Some("TASK_DEFINITION") => definition.tags.clone(),
        _ => Tags::new(),
    }
}

/// Stops surplus tasks: of the primary deployment if it has too many, and of older ones as long as enough healthy
/// tasks remain.
fn scale_in(world: &mut World, key: &str, service: &mut Service, primary: u64) {
    let live = tasks_of(world, key, |task| !task.is_stopping());
    let (current, older): (Vec<&View>, Vec<&View>) = live.iter().partition(|task| task.deployment == primary);
    let mut unwanted: Vec<String> =
        current.iter().skip(service.desired).map(|task| task.arn.clone()).collect();
    let least = (service.desired * service.rolling.minimum_healthy_percent).div_ceil(100);
    let healthy = live.iter().filter(|task| task.healthy).count();
    let mut spare = healthy.saturating_sub(least);
    for task in older {
        if !task.healthy {
            unwanted.push(task.arn.clone());
        } else if spare > 0 {
            spare -= 1;
            unwanted.push(task.arn.clone());
        }
    }
    let by = service.deployments.first().map(Deployment::id).unwrap_or_default();
    end(world, service, &unwanted, &format!("Scaling activity initiated by (deployment {by})"));
}

fn end(world: &mut World, service: &mut Service, tasks: &[String], reason: &str) {
    let mut stopped = Vec::new();
    for arn in tasks {
        if let Some(mut task) = world.states.ecs.tasks.remove(arn) {
            for at in &task.registered {
                service.tell(
                    world,
                    &format!("deregistered 1 targets in (target-group {})", at.target_group_arn),
                );
            }
            stop(world, &mut task, "ServiceSchedulerInitiated", reason);
            stopped.push(format!("(task {})", task.id));
            world.states.ecs.tasks.insert(arn.clone(), task);
        }
    }
    if !stopped.is_empty() {
        service.tell(world, &format!("has stopped {} running tasks: {}.", stopped.len(), stopped.join(" ")));
    }
}

/// Reports that a service is steady once all its tasks are healthy, and that its deployment is complete once older
/// ones have no tasks.
fn conclude(world: &mut World, key: &str, service: &mut Service, primary: u64) {
    let tasks = tasks_of(world, key, |_| true);
    let good = tasks.iter().filter(|task| task.deployment == primary && task.running && task.healthy).count();
    let others = tasks.iter().any(|task| task.deployment != primary);
    let stopping =
        world.states.ecs.tasks.values().any(|task| task.service == key && !task.ended && task.is_stopping());
    let now = world.now;
    let settled_at = now + world.latency.seconds(CONCLUDE_SECONDS);
    let desired = service.desired;
    let Some(deployment) = service.deployments.first_mut() else { return };
    if deployment.rollout == Rollout::Failed || good != desired || others {
        // A task was lost or became unreachable: the service is no longer steady.
        service.steady = service.steady && good >= desired && !others;
        return;
    }
    if deployment.rollout == Rollout::InProgress {
        deployment.rollout = Rollout::Completed;
        deployment.updated = now;
        deployment.proven = true;
        deployment.failed = 0;
        let name = id(primary);
        deployment.reason = format!("ECS deployment {name} completed.");
        service.deployments.truncate(1);
        service.tell(world, &format!("(deployment {name}) deployment completed."));
        if let Some(story) = service.stories.last_mut() {
            if story.rolls_back {
                story.end(
                    settled_at,
                    "ROLLBACK_SUCCESSFUL",
                    "Service deployment rolled back because the circuit breaker threshold was exceeded.",
                );
            } else {
                story.end(settled_at, "SUCCESSFUL", "");
            }
        }
    }
    if !service.steady && !stopping {
        service.steady = true;
        service.tell(world, "has reached a steady state.");
    }
}

/// Stops all tasks of a service that is being deleted. It becomes `INACTIVE` while the last of them are stopping
/// (`DeleteService` in the ECS API reference), about 30 s after they are drained: measured deletions take 330 s with a delay
/// of 300 s. If one of its roles was deleted, ECS cannot clean up: the service stays `DRAINING` until the role exists again.
fn drain(world: &mut World, key: &str, service: &mut Service, until: Duration) {
    let live: Vec<String> =
        tasks_of(world, key, |task| !task.is_stopping()).into_iter().map(|task| task.arn).collect();
    end(world, service, &live, "Scaling activity initiated by service deletion");
    let now = world.now;
    let left = tasks_of(world, key, |task| !["DEPROVISIONING", "STOPPED"].contains(&task.status(now)));
    let stuck = service.deployments.iter().any(|deployment| {
        definitions::find(world, &deployment.definition)
            .is_some_and(|definition| start::lacks_a_role(world, definition))
    });
    if left.is_empty() && world.now >= until && !stuck {
        service.status = Status::Inactive;
    }
}
