//! The requirements of a task's start: roles, an image, a log group, secrets, and network access to each of them.

use super::ImageView;
use super::containers::Container;
use super::definitions::Definition;
use super::tasks::{Behaviour, Task};
use crate::services::{ec2, ecr, iam, logs, secrets, ssm};
use crate::world::World;

/// The result of an attempt to start a task.
#[derive(Debug, Clone)]
pub(super) enum Outcome {
    /// It will run.
    Runs(Behaviour),
    /// It cannot reach a service yet. It tries again until it gives up, for this reason.
    Unreachable(String),
    /// It has failed, for this reason.
    Fails(String),
}

/// Whether the roles of a definition can be assumed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Roles {
    Ready,
    /// A role that ECS does not see yet.
    Propagating(String),
    /// A role that does not exist or does not trust tasks.
    Unassumable(String),
}

pub(super) fn roles(world: &World, definition: &Definition) -> Roles {
    for role in definition.roles() {
        match view(world, role) {
            iam::RoleView::Ready => {}
            iam::RoleView::Propagating => return Roles::Propagating(role.clone()),
            iam::RoleView::Absent | iam::RoleView::NotTrusting => return Roles::Unassumable(role.clone()),
        }
    }
    Roles::Ready
}

/// Whether a role of a definition has been deleted: a draining service is then stuck.
pub(super) fn lacks_a_role(world: &World, definition: &Definition) -> bool {
    definition.roles().any(|role| view(world, role) == iam::RoleView::Absent)
}

/// The state of a role for ECS, with the account's ECS as the source. Source: "Amazon ECS task IAM role" in the ECS
/// developer guide, whose policies test for `arn:aws:ecs:REGION:ACCOUNT:*`.
fn view(world: &World, role: &str) -> iam::RoleView {
    iam::role_view(world, role, "ecs-tasks.amazonaws.com", &world.arn("ecs", "task"))
}

/// Tries to start a task: secrets first, then images, then logs, as on Fargate.
pub(super) fn outcome(world: &World, task: &Task, definition: &Definition) -> Outcome {
    let containers = &definition.containers;
    let problem = containers
        .iter()
        .find_map(|container| secret_problem(world, task, definition, container))
        .or_else(|| containers.iter().find_map(|container| image_problem(world, task, definition, container)))
        .or_else(|| containers.iter().find_map(|container| log_problem(world, task, definition, container)));
    problem.unwrap_or_else(|| {
        let essential = containers.iter().filter(|container| container.essential);
        let views = essential.filter_map(|container| world.states.ecs.images.get(&container.image));
        let behaviour = views.fold(Behaviour::Well, |worst, view| match (worst, view) {
            (crash @ Behaviour::Crashes(_), _) => crash,
            (_, ImageView::Crashes(crash)) => Behaviour::Crashes(*crash),
            (_, ImageView::Unhealthy) => Behaviour::Unhealthy,
            (other, ImageView::Missing) => other,
        });
        Outcome::Runs(behaviour)
    })
}

fn image_problem(
    world: &World,
    task: &Task,
    definition: &Definition,
    container: &Container,
) -> Option<Outcome> {
    let image = &container.image;
    let private = ecr::Reference::read(image);
    let services: &[&str] = match &private {
        Some(private) if private.region == world.region => &["ecr.api", "ecr.dkr", "s3"],
        _ => &["internet"],
    };
    if !services.iter().all(|service| ec2::reaches(world, &task.subnet, &task.groups, service)) {
        return Some(Outcome::Unreachable(format!(
            "CannotPullContainerError: The task cannot pull {image} from the registry. There is a connection issue between the task and the registry. Check your task network configuration. : failed to copy: httpReadSeeker: failed open: failed to do request: dial tcp: i/o timeout"
        )));
    }
    if let Some(private) = &private {
        let role = definition.execution_role.as_deref().unwrap_or_default();
        if let Some(denial) = ecr::denied_token(world, role, &task.id) {
            return Some(Outcome::Fails(format!(
                "ResourceInitializationError: unable to pull secrets or registry auth: execution resource retrieval failed: unable to retrieve ecr registry auth: service call has been retried 1 time(s): AccessDeniedException: {denial}"
            )));
        }
        if let Some(denial) = ecr::denied_pull(world, role, &task.id, private) {
            return Some(Outcome::Fails(format!(
                "CannotPullContainerError: pull image manifest has been retried 1 time(s): failed to resolve ref {image}: unexpected status from HEAD request: 403 Forbidden: {denial}"
            )));
        }
    }
    let missing = world.states.ecs.images.get(image) == Some(&ImageView::Missing)
        || private.is_some_and(|private| !ecr::has(world, &private));
    missing.then(|| {
        Outcome::Fails(format!(
            "CannotPullContainerError: pull image manifest has been retried 1 time(s): failed to resolve ref {image}: {image}: not found"
        ))
    })
}

fn secret_problem(
    world: &World,
    task: &Task,
    definition: &Definition,
    container: &Container,
) -> Option<Outcome> {
    const FETCHING: &str = "ResourceInitializationError: unable to pull secrets or registry auth: execution resource retrieval failed: unable to retrieve secret from asm: service call has been retried 1 time(s): failed to fetch secret";
    let role = definition.execution_role.as_deref().unwrap_or_default();
    for secret in container.secrets.iter().flatten() {
        let named = &secret.value_from;
        // The ARN itself, without `:key:stage:version`.
        let arn = named.splitn(8, ':').take(7).collect::<Vec<_>>().join(":");
        if !arn.starts_with(&world.arn("secretsmanager", "secret:")) {
            let problem = parameter_problem(world, task, role, &arn);
            if problem.is_some() {
                return problem;
            }
            continue;
        }
        if !ec2::reaches(world, &task.subnet, &task.groups, "secretsmanager") {
            return Some(Outcome::Unreachable(format!(
                "ResourceInitializationError: unable to pull secrets or registry auth: unable to retrieve secret from asm: There is a connection issue between the task and AWS Secrets Manager. Check your task network configuration. failed to fetch secret {arn} from secrets manager: operation error Secrets Manager: GetSecretValue, https response error StatusCode: 0, RequestID: , canceled, context deadline exceeded"
            )));
        }
        if let Some(denial) = secrets::denied_value(world, role, &task.id, &arn) {
            return Some(Outcome::Fails(format!(
                "{FETCHING} {arn} from secrets manager: AccessDeniedException: {denial}"
            )));
        }
        if !secrets::exists(world, &arn) {
            return Some(Outcome::Fails(format!(
                "{FETCHING} {arn} from secrets manager: ResourceNotFoundException: Secrets Manager can't find the specified secret."
            )));
        }
    }
    None
}

/// Why a task cannot read a parameter. The messages are those of public reports of tasks that failed.
fn parameter_problem(world: &World, task: &Task, role: &str, arn: &str) -> Option<Outcome> {
    const FETCHING: &str = "ResourceInitializationError: unable to pull secrets or registry auth: execution resource retrieval failed: unable to retrieve secrets from ssm: service call has been retried 1 time(s):";
    if !ec2::reaches(world, &task.subnet, &task.groups, "ssm") {
        return Some(Outcome::Unreachable(format!(
            "{FETCHING} RequestCanceled: request context canceled caused by: context deadline exceeded"
        )));
    }
    if let Some(denial) = ssm::denied_parameter(world, role, &task.id, arn) {
        return Some(Outcome::Fails(format!("{FETCHING} AccessDeniedException: {denial}")));
    }
    (!ssm::has_parameter(world, arn)).then(|| {
        let name = arn.split_once(":parameter").map_or(arn, |(_, name)| name);
        Outcome::Fails(format!("{FETCHING} invalid parameters: {name}"))
    })
}

fn log_problem(
    world: &World,
    task: &Task,
    definition: &Definition,
    container: &Container,
) -> Option<Outcome> {
    const VALIDATING: &str = "ResourceInitializationError: failed to validate logger args:";
    let (group, _) = container.log_target()?;
    if !ec2::reaches(world, &task.subnet, &task.groups, "logs") {
        return Some(Outcome::Unreachable(format!(
            "{VALIDATING} The task cannot find the Amazon CloudWatch log group defined in the task definition. There is a connection issue between the task and Amazon CloudWatch. Check your network configuration. : exit status 1"
        )));
    }
    let role = definition.execution_role.as_deref().unwrap_or_default();
    if let Some(denial) = logs::denied_writing(world, role, &task.id, group, &stream(task, container)) {
        return Some(Outcome::Fails(format!(
            "{VALIDATING} create stream has been retried 1 times: failed to create Cloudwatch log stream: AccessDeniedException: {denial} : exit status 1"
        )));
    }
    (!logs::exists(world, group)).then(|| {
        Outcome::Fails(format!(
            "{VALIDATING} create stream has been retried 1 times: failed to create Cloudwatch log stream: ResourceNotFoundException: The specified log group does not exist. : exit status 1"
        ))
    })
}

/// The name of a container's log stream: `prefix/container/task`.
pub(super) fn stream(task: &Task, container: &Container) -> String {
    container.log_target().map(|(_, start)| format!("{start}/{}", task.id)).unwrap_or_default()
}
