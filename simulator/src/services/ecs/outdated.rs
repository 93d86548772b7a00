//! Tasks with the previous value of a secret. ECS reads secrets only when a task starts.

use std::collections::BTreeSet;
use std::time::Duration;

use super::definitions::{self, Definition};
use super::tasks::Task;
use crate::services::{secrets, ssm};
use crate::world::World;

/// A task that had the previous value of a secret: with the previous password of a database, it cannot open connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutdatedTask {
    /// The task's ARN.
    pub task: String,
    /// The name of its service.
    pub service: String,
    /// The ARN of the secret.
    pub secret: String,
    /// When the secret changed or, if that was earlier, when the task began to run; since the account was opened.
    pub since: Duration,
    /// When its containers got the signal to stop; `None` if they run.
    pub until: Option<Duration>,
}

/// All such tasks, in the order of their start.
pub(crate) fn outdated_tasks(world: &World) -> Vec<OutdatedTask> {
    let mut outdated: Vec<OutdatedTask> =
        world.states.ecs.tasks.values().flat_map(|task| of_task(world, task)).collect();
    outdated.sort_by_key(|task| (task.since, task.task.clone()));
    outdated
}

fn of_task(world: &World, task: &Task) -> Vec<OutdatedTask> {
    let (Some(read_at), Some(running_at), Some(definition)) =
        (task.read_at, task.running_at, definitions::find(world, &task.definition))
    else {
        return Vec::new();
    };
    let until = task.stop.as_ref().map(|stop| stop.drained_at);
    let outdated = secrets_of(definition).into_iter().filter_map(|secret| {
        let changed = secrets::changed_after(world, &secret, read_at)
            .or_else(|| ssm::parameter_changed_after(world, &secret, read_at));
        let since = changed?.max(running_at);
        let service = task.service.rsplit('/').next().unwrap_or_default().to_owned();
        until.is_none_or(|until| since < until).then(|| OutdatedTask {
            task: task.arn.clone(),
            service,
            secret,
            since,
            until: until.filter(|until| *until <= world.now),
        })
    });
    outdated.filter(|outdated| outdated.since <= world.now).collect()
}

/// The ARNs of the secrets that a definition's containers read.
pub(super) fn secrets_of(definition: &Definition) -> BTreeSet<String> {
    let secrets = definition.containers.iter().flat_map(|container| container.secrets.iter().flatten());
    secrets.map(|secret| secret.value_from.splitn(8, ':').take(7).collect::<Vec<_>>().join(":")).collect()
}
