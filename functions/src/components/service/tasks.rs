//! The tasks of a rollout: which have failed, and for how long the others have been running.

use aws_sdk_ecs::types::{Attachment, DesiredStatus, Service, Task, TaskStopCode};
use aws_smithy_types::DateTime;
use futures::future::try_join_all;

use super::cluster_name;
use crate::aws::error::{AwsResult, StepError};
use crate::contract::component::Work;

/// The most ARNs that `DescribeTasks` accepts.
const DESCRIBED_AT_ONCE: usize = 100;

/// For how long all tasks must have been running before a rollout counts as stable.
const RUNS_SECONDS: i64 = 30;

/// The same for a service without any health check: nothing else shows that its containers work.
const RUNS_UNCHECKED_SECONDS: i64 = 60;

/// The stopped tasks of a rollout, the latest first. ECS returns them for about an hour.
pub(super) async fn stopped(work: &Work<'_>, name: &str, rollout: &str) -> Result<Vec<Task>, StepError> {
    let mut tasks = find(work, name, DesiredStatus::Stopped).await?;
    tasks.retain(|task| task.started_by() == Some(rollout));
    tasks.sort_by_key(|task| std::cmp::Reverse(stop_seconds(task)));
    Ok(tasks)
}

/// The tasks that run, or start.
pub(super) async fn running(work: &Work<'_>, name: &str) -> Result<Vec<Task>, StepError> {
    find(work, name, DesiredStatus::Running).await
}

/// A task's private IP address, by which it is a target.
pub(super) fn address(task: &Task) -> Option<&str> {
    let mut details = task.attachments().iter().flat_map(Attachment::details);
    details.find(|detail| detail.name() == Some("privateIPv4Address")).and_then(|detail| detail.value())
}

async fn find(work: &Work<'_>, name: &str, status: DesiredStatus) -> Result<Vec<Task>, StepError> {
    let list = work.aws.ecs().list_tasks().cluster(cluster_name(work)).service_name(name);
    let pages = list.desired_status(status).into_paginator().items();
    let doing = format!("listing the tasks of ECS service {name}");
    let arns: Vec<String> = pages.send().try_collect().await.doing(&doing)?;
    let calls = arns.chunks(DESCRIBED_AT_ONCE).map(async |arns| {
        let call = work.aws.ecs().describe_tasks().cluster(cluster_name(work));
        let response = call.set_tasks(Some(arns.to_vec())).send().await.doing(&doing)?;
        Ok::<_, StepError>(response.tasks.unwrap_or_default())
    });
    Ok(try_join_all(calls).await?.into_iter().flatten().collect())
}

fn stop_seconds(task: &Task) -> i64 {
    task.stopping_at().or(task.stopped_at()).map_or(0, DateTime::secs)
}

/// The tasks that have failed since this deployment began: not those that ECS, or a person, stopped.
pub(super) fn failed<'t>(work: &Work<'_>, stopped: &'t [Task]) -> Vec<&'t Task> {
    let since = work.deployment.admitted_at();
    stopped.iter().filter(|task| stop_seconds(task) >= since && has_failed(task)).collect()
}

fn has_failed(task: &Task) -> bool {
    match task.stop_code() {
        Some(TaskStopCode::EssentialContainerExited | TaskStopCode::TaskFailedToStart) => true,
        // Source: "Amazon ECS stopped tasks error messages" in the ECS developer guide.
        Some(TaskStopCode::ServiceSchedulerInitiated) => {
            task.stopped_reason().is_some_and(|reason| reason.contains("health checks"))
        }
        _ => false,
    }
}

/// How many failed tasks show that a rollout will not succeed. ECS's circuit breaker does not count a container that exits
/// after it has run. The number is the breaker's smallest, but more than one failure of each task: all tasks may fail once for a
/// reason of AWS.
pub(super) fn failures_max(service: &Service) -> usize {
    let desired = usize::try_from(service.desired_count()).unwrap_or_default();
    (desired + 1).max(3)
}

/// `Pending` until all tasks have been running for long enough. A container may exit some seconds after its start, and ECS
/// counts a task without a health check as healthy once it runs.
pub(super) fn have_run_long_enough(
    work: &Work<'_>,
    name: &str,
    service: &Service,
    tasks: &[Task],
) -> Result<(), StepError> {
    let started = tasks.iter().filter_map(|task| task.started_at().map(DateTime::secs)).max();
    let Some(started) = started else { return Ok(()) };
    let runs = work.aws.now_seconds() - started;
    let needed = if is_checked(work, name, service) { RUNS_SECONDS } else { RUNS_UNCHECKED_SECONDS };
    if runs >= needed {
        return Ok(());
    }
    Err(StepError::pending(format!(
        "the tasks of ECS service {name} to have run for {needed} s: the newest has run for {runs} s"
    )))
}

/// Whether a health check watches the service's tasks.
fn is_checked(work: &Work<'_>, name: &str, service: &Service) -> bool {
    let spec = work.spec.services.get(name);
    !service.load_balancers().is_empty() || spec.is_some_and(|spec| !spec.health_check.command.is_empty())
}

#[cfg(test)]
mod tests {
    use aws_sdk_ecs::types::KeyValuePair;

    use super::*;

    #[test]
    fn a_task_that_ecs_or_a_person_stopped_has_not_failed() {
        for (code, reason, expected) in [
            (TaskStopCode::EssentialContainerExited, "Essential container in task exited", true),
            (TaskStopCode::TaskFailedToStart, "CannotPullContainerError: not found", true),
            (
                TaskStopCode::ServiceSchedulerInitiated,
                "Task failed ELB health checks in (target-group a)",
                true,
            ),
            (TaskStopCode::ServiceSchedulerInitiated, "Task failed container health checks", true),
            (TaskStopCode::ServiceSchedulerInitiated, "Scaling activity initiated by (deployment a)", false),
            (TaskStopCode::UserInitiated, "Task stopped by user", false),
            (TaskStopCode::SpotInterruption, "Your Spot Task was interrupted.", false),
        ] {
            let task = Task::builder().stop_code(code).stopped_reason(reason).build();
            assert_eq!(has_failed(&task), expected, "{reason}");
        }
        assert!(!has_failed(&Task::builder().build()));
    }

    #[test]
    fn a_rollout_is_given_up_after_three_failures_and_more_than_one_of_each_task() {
        for (tasks, expected) in [(0, 3), (1, 3), (2, 3), (3, 4), (10, 11)] {
            assert_eq!(failures_max(&Service::builder().desired_count(tasks).build()), expected, "{tasks}");
        }
    }

    #[test]
    fn a_task_is_a_target_by_its_private_address() {
        let detail = |name: &str, value: &str| KeyValuePair::builder().name(name).value(value).build();
        let interface = Attachment::builder().details(detail("subnetId", "subnet-1"));
        let interface = interface.details(detail("privateIPv4Address", "10.0.0.7"));
        let interface = interface.details(detail("macAddress", "0a:00"));
        let task = Task::builder().attachments(interface.build()).build();
        assert_eq!(address(&task), Some("10.0.0.7"));
        assert_eq!(address(&Task::builder().build()), None);
    }
}
