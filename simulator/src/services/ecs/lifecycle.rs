//! The life of a task: its requirements, its registration, its health checks, its stop.

use std::time::Duration;

use stackdrop_figures::changes::TASK_STOP;

use super::Crash;
use super::definitions::{self, Definition};
use super::deployments::Deployment;
use super::start::{self, Outcome};
use super::tasks::{Behaviour, Stop, Task};
use crate::services::{ec2, elb, logs};
use crate::world::World;

/// A task whose containers have exited stops faster than one that must be stopped.
const CLEAN_UP_SECONDS: f64 = 5.0;

/// The first and the longest delay between failed starts. Source of the longest: "Service throttle logic" in the ECS
/// developer guide.
const BACKOFF_SECONDS: (f64, f64) = (5.0, 900.0);

/// Advances a task.
pub(super) fn go_on(world: &mut World, task: &mut Task) {
    if let Some(stop) = &task.stop {
        task.ended = stop.stopped_at <= world.now;
        return;
    }
    let Some(definition) = definitions::find(world, &task.definition).cloned() else { return };
    match task.running_at {
        None if task.prepares_at <= world.now => prepare(world, task, &definition),
        Some(at) if at <= world.now => {
            if !task.announced {
                announce(world, task, &definition, at);
            }
            judge(world, task, &definition, at);
        }
        _ => {}
    }
}

/// Decides whether a task can start.
fn prepare(world: &mut World, task: &mut Task, definition: &Definition) {
    match start::outcome(world, task, definition) {
        Outcome::Runs(behaviour) => {
            let fails = deployment_of(world, task).is_some_and(|deployment| deployment.fails);
            task.running_at = Some(world.now + task.runs_after);
            task.read_at = Some(world.now);
            task.behaviour = if fails { Behaviour::Crashes(Crash::at_once(1)) } else { behaviour };
        }
        Outcome::Unreachable(_) if world.now < task.gives_up_at => {}
        Outcome::Unreachable(reason) | Outcome::Fails(reason) => {
            stop(world, task, "TaskFailedToStart", &reason);
            count_failure(world, task);
        }
    }
}

/// Registers a running task with target groups, and writes its logs.
fn announce(world: &mut World, task: &mut Task, definition: &Definition, at: Duration) {
    task.announced = true;
    for container in &definition.containers {
        if let Some((group, _)) = container.log_target() {
            logs::write(world, group, &start::stream(task, container), at, "starting");
        }
    }
    let Some(deployment) = deployment_of(world, task) else { return };
    for load_balancer in deployment.load_balancers.clone() {
        let arn = &load_balancer.target_group_arn;
        let target = elb::NewTarget {
            address: task.address,
            port: load_balancer.container_port,
            groups: &task.groups,
            zone: &task.zone,
            answers: task.behaviour != Behaviour::Unhealthy,
        };
        elb::register_target_at(world, arn, &target, at);
        tell(world, &task.service, &format!("registered 1 targets in (target-group {arn})"));
        task.registered.push(load_balancer);
    }
}

/// Ends a running task that crashes or is unhealthy.
fn judge(world: &mut World, task: &mut Task, definition: &Definition, running_at: Duration) {
    if let Behaviour::Crashes(crash) = task.behaviour {
        if running_at + world.latency.seconds(f64::from(crash.after_seconds)) <= world.now {
            end_by_itself(world, task, definition, crash);
            return;
        }
        if crash.is_at_once() {
            return;
        }
    }
    let grace = world.states.ecs.services.get(&task.service).and_then(|service| service.grace).unwrap_or(0);
    if world.now < running_at + world.latency.seconds(f64::from(grace)) {
        return;
    }
    if task.container_health(definition, world) == Some("UNHEALTHY") {
        stop(world, task, "ServiceSchedulerInitiated", "Task failed container health checks");
        count_failure(world, task);
        return;
    }
    let sick = task.registered.iter().find(|at| {
        elb::target_state(world, &at.target_group_arn, task.address, at.container_port) == Some("unhealthy")
    });
    if let Some(sick) = sick.cloned() {
        let (port, arn) = (sick.container_port, &sick.target_group_arn);
        tell(
            world,
            &task.service,
            &format!(
                "(port {port}) is unhealthy in (target-group {arn}) due to (reason Health checks failed)."
            ),
        );
        let reason = format!("Task failed ELB health checks in (target-group {arn})");
        stop(world, task, "ServiceSchedulerInitiated", &reason);
        count_failure(world, task);
    }
}

/// Starts to stop a task: deregistration, then the signal, then its interface.
pub(super) fn stop(world: &mut World, task: &mut Task, code: &'static str, reason: &str) {
    let since = world.now;
    let mut drained_at = since;
    for at in std::mem::take(&mut task.registered) {
        let arn = &at.target_group_arn;
        // A group that no active load balancer uses has no connections to drain.
        if let Some(group) = elb::target_group(world, arn)
            && group.attached
            && group.active
            && code == "ServiceSchedulerInitiated"
        {
            drained_at = drained_at.max(since + group.deregistration_delay);
        }
        elb::deregister_target_at(world, arn, task.address, at.container_port, since);
    }
    let by_itself = code != "ServiceSchedulerInitiated";
    let takes = if by_itself { CLEAN_UP_SECONDS } else { TASK_STOP };
    let stopped_at = drained_at + world.latency.seconds(takes);
    ec2::detach_interface_at(world, &task.interface, stopped_at);
    task.stop = Some(Stop {
        since,
        drained_at,
        stopped_at,
        code,
        reason: reason.into(),
        container_reason: reason.starts_with("CannotPull").then(|| reason.into()),
    });
}

/// Ends a task whose container exits.
///
/// The circuit breaker counts it only if the task was never `RUNNING` for ECS, that is if the container exited at once: a
/// failure is a task that cannot be launched, does not become `RUNNING` or fails its health checks.
/// Sources: `failedTasks` in the ECS API reference, and issue 1206 of aws/containers-roadmap.
fn end_by_itself(world: &mut World, task: &mut Task, definition: &Definition, crash: Crash) {
    let now = world.now;
    for container in &definition.containers {
        if let Some((group, _)) = container.log_target() {
            let line =
                crash.line.map_or_else(|| format!("error: exiting with code {}", crash.code), str::to_owned);
            logs::write(world, group, &start::stream(task, container), now, &line);
        }
    }
    stop(world, task, "EssentialContainerExited", "Essential container in task exited");
    if crash.is_at_once() {
        count_failure(world, task);
    } else if let Some(service) = world.states.ecs.services.get_mut(&task.service) {
        service.steady = false;
    }
}

fn deployment_of<'a>(world: &'a World, task: &Task) -> Option<&'a Deployment> {
    let service = world.states.ecs.services.get(&task.service)?;
    service.deployments.iter().find(|deployment| deployment.number == task.deployment)
}

/// Counts a failed task of a deployment, and delays the next start.
fn count_failure(world: &mut World, task: &Task) {
    let now = world.now;
    let (first, most) = BACKOFF_SECONDS;
    let Some(service) = world.states.ecs.services.get_mut(&task.service) else { return };
    service.steady = false;
    let desired = service.desired.max(1);
    let Some(deployment) = service.deployments.iter_mut().find(|one| one.number == task.deployment) else {
        return;
    };
    deployment.failed += 1;
    deployment.updated = now;
    let rounds = u32::try_from(deployment.failed / desired).unwrap_or(u32::MAX).min(16);
    let wait = (first * f64::from(2_u32.pow(rounds))).min(most);
    deployment.next_launch = now + world.latency.seconds(wait);
}

fn tell(world: &mut World, key: &str, text: &str) {
    if let Some(mut service) = world.states.ecs.services.remove(key) {
        service.tell(world, text);
        world.states.ecs.services.insert(key.into(), service);
    }
}
