//! What AWS and people do to services without the stack's functions. A stack's cluster has the name of the stack.

use std::collections::BTreeSet;
use std::time::Duration;

use super::outdated::secrets_of;
use super::services::{self, Status};
use super::tasks::{self, Behaviour};
use super::{Crash, clusters, definitions, lifecycle};
use crate::incident::Incident;
use crate::services::{ec2, secrets, ssm};
use crate::world::World;

/// All incidents of ECS.
pub(super) const ALL: [Incident; 11] = [
    Incident {
        name: "containers-crashed",
        what: "The containers of a service's tasks exit after they have run well",
        cause: crash_containers,
    },
    Incident { name: "tasks-stopped", what: "Somebody stops a service's tasks", cause: stop_tasks },
    Incident {
        name: "service-moved",
        what: "Somebody moves a service's tasks to public subnets and another security group",
        cause: move_service,
    },
    Incident {
        name: "service-scaled",
        what: "Somebody changes a service's number of tasks",
        cause: scale_service,
    },
    Incident { name: "service-deleted", what: "Somebody deletes a service", cause: delete_service },
    Incident {
        name: "task-definition-deregistered",
        what: "Somebody deregisters the task definition that a service uses",
        cause: deregister,
    },
    Incident {
        name: "service-tags-removed",
        what: "Somebody removes a service's tags, except the one of its stack",
        cause: remove_tags,
    },
    Incident {
        name: "empty-cluster-deleted",
        what: "Somebody deletes the cluster, which has no services and no tasks",
        cause: delete_cluster,
    },
    Incident {
        name: "own-secrets-rotated",
        what: "The owners of the secrets and parameters that a stack's tasks read change them",
        cause: rotate_secrets,
    },
    Incident {
        name: "no-fargate-capacity",
        what: "Fargate has no capacity for new tasks for four minutes",
        cause: no_capacity,
    },
    Incident {
        name: "guardduty-monitors-tasks",
        what: "GuardDuty's runtime monitoring adds a container to each new task",
        cause: monitor,
    },
];

/// How long Fargate has no capacity.
const FULL: Duration = Duration::from_mins(4);

/// The key of the stack's first active service.
fn first_service(world: &World, stack: &str) -> Option<String> {
    let services = world.states.ecs.services.iter();
    let mut active = services.filter(|(_, service)| service.cluster == stack && service.is_active());
    active.next().map(|(key, _)| key.clone())
}

fn arn_of(world: &World, key: &str) -> Vec<String> {
    world.states.ecs.services.get(key).map(|service| service.arn.clone()).into_iter().collect()
}

/// The ARNs of a service's running tasks.
fn running(world: &World, key: &str) -> Vec<String> {
    let tasks = world.states.ecs.tasks.values();
    let running = tasks.filter(|task| task.service == key && task.is_running(world.now));
    running.map(|task| task.arn.clone()).collect()
}

fn rotate_secrets(world: &mut World, stack: &str) -> Vec<String> {
    let tasks = world.states.ecs.tasks.values();
    let running = tasks.filter(|task| task.is_running(world.now) && task.cluster == stack);
    let read = running.filter_map(|task| definitions::find(world, &task.definition)).flat_map(secrets_of);
    let read: BTreeSet<String> = read.collect();
    let mut changes =
        |arn: &String| secrets::rotated_by_owner(world, arn) || ssm::rewritten_by_owner(world, arn);
    read.into_iter().filter(|arn| changes(arn)).collect()
}

fn crash_containers(world: &mut World, stack: &str) -> Vec<String> {
    let Some(key) = first_service(world, stack) else { return Vec::new() };
    let running = running(world, &key);
    for arn in &running {
        if let Some(mut task) = world.states.ecs.tasks.remove(arn) {
            task.behaviour = Behaviour::Crashes(Crash { code: 1, after_seconds: u32::MAX, line: None });
            lifecycle::stop(
                world,
                &mut task,
                "EssentialContainerExited",
                "Essential container in task exited",
            );
            world.states.ecs.tasks.insert(arn.clone(), task);
        }
    }
    if let Some(service) = world.states.ecs.services.get_mut(&key) {
        service.steady &= running.is_empty();
    }
    running
}

fn stop_tasks(world: &mut World, stack: &str) -> Vec<String> {
    let Some(key) = first_service(world, stack) else { return Vec::new() };
    let running = running(world, &key);
    for arn in &running {
        tasks::stop_by_user(world, arn, "Task stopped by user");
    }
    running
}

fn move_service(world: &mut World, stack: &str) -> Vec<String> {
    let Some(key) = first_service(world, stack) else { return Vec::new() };
    let subnets = world.states.ecs.services.get(&key).and_then(|service| service.deployments.first());
    let vpc = subnets
        .and_then(|primary| ec2::subnet(world, primary.network.subnets.first()?))
        .map(|subnet| subnet.vpc);
    let place = vpc.and_then(|vpc| {
        let public = ec2::public_subnets(world, &vpc);
        let group = ec2::default_group(world, &vpc)?;
        (!public.is_empty()).then_some((public, group))
    });
    let Some((public, group)) = place else { return Vec::new() };
    services::move_to(world, &key, public, vec![group]);
    arn_of(world, &key)
}

fn scale_service(world: &mut World, stack: &str) -> Vec<String> {
    let Some(key) = first_service(world, stack) else { return Vec::new() };
    if let Some(service) = world.states.ecs.services.get_mut(&key) {
        service.desired += 1;
        service.steady = false;
    }
    arn_of(world, &key)
}

fn delete_service(world: &mut World, stack: &str) -> Vec<String> {
    let Some(key) = first_service(world, stack) else { return Vec::new() };
    services::begin_deletion(world, &key);
    arn_of(world, &key)
}

fn deregister(world: &mut World, stack: &str) -> Vec<String> {
    let Some(key) = first_service(world, stack) else { return Vec::new() };
    let used = world.states.ecs.services.get(&key).and_then(|service| service.deployments.first());
    let Some(arn) = used.map(|primary| primary.definition.clone()) else { return Vec::new() };
    super::definitions::deregister_by_hand(world, &arn);
    vec![arn]
}

fn remove_tags(world: &mut World, stack: &str) -> Vec<String> {
    let Some(key) = first_service(world, stack) else { return Vec::new() };
    if let Some(service) = world.states.ecs.services.get_mut(&key) {
        service.tags.retain(|name, _| name == "stackdrop:stack");
    }
    arn_of(world, &key)
}

fn delete_cluster(world: &mut World, stack: &str) -> Vec<String> {
    let services = world.states.ecs.services.values();
    let mut services = services.filter(|service| service.cluster == stack);
    let mut tasks = world.states.ecs.tasks.values().filter(|task| task.cluster == stack);
    if services.any(|service| service.status != Status::Inactive) || tasks.any(|task| !task.ended) {
        return Vec::new();
    }
    clusters::begin_deletion(world, stack).into_iter().collect()
}

fn no_capacity(world: &mut World, stack: &str) -> Vec<String> {
    if !world.states.ecs.clusters.contains_key(stack) {
        return Vec::new();
    }
    world.states.ecs.full_until = world.now + FULL;
    vec![stack.to_owned()]
}

fn monitor(world: &mut World, stack: &str) -> Vec<String> {
    if !world.states.ecs.clusters.contains_key(stack) {
        return Vec::new();
    }
    world.states.ecs.monitored.insert(stack.to_owned());
    vec![stack.to_owned()]
}
