//! Following the rollout that `apply` started, and no other: a service that the circuit breaker rolled back to its old tasks
//! also looks stable.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_ecs::types::{
    CreatedAt, Deployment, DeploymentRolloutState, Service, ServiceDeploymentBrief, ServiceDeploymentStatus,
    Task,
};
use aws_smithy_types::DateTime;
use futures::future::{join, join_all};

use super::definition::revision;
use super::fargate::{is_active, primary};
use super::observed::find_services;
use super::{cluster_name, diagnosis, targets, tasks};
use crate::aws::error::{AwsResult, StepError};
use crate::contract::component::Work;
use crate::deployment::outputs::{Running, ServiceOutputs};

/// The complete outputs, once these services run the desired revisions and are healthy.
pub(super) async fn wait_until_stable(
    work: &Work<'_>,
    names: &BTreeSet<String>,
) -> Result<ServiceOutputs, StepError> {
    let requested = work.outputs.service.clone().unwrap_or_default();
    let observed = find_services(work, names).await?;
    let observed: BTreeMap<&str, &Service> =
        observed.iter().filter_map(|service| Some((service.service_name()?, service))).collect();
    let followed = names.iter().map(async |name| {
        let service = observed.get(name.as_str()).copied();
        follow(work, name, service, requested.services.get(name)).await.map(|running| (name.clone(), running))
    });
    let (mut services, mut waiting_for, mut reasons) = (BTreeMap::new(), Vec::new(), Vec::new());
    let mut is_in_progress = false;
    for followed in join_all(followed).await {
        match followed {
            Ok((name, running)) => {
                services.insert(name, running);
            }
            // A permanently failed service is reported at once, even if others are still pending.
            Err(StepError::Pending(text)) => {
                is_in_progress = true;
                waiting_for.push(text);
            }
            Err(StepError::Stalled { waiting_for: text, why }) => {
                waiting_for.push(text);
                reasons.push(why);
            }
            Err(error) => return Err(error),
        }
    }
    if is_in_progress {
        return Err(StepError::pending(waiting_for.join("; ")));
    }
    if !waiting_for.is_empty() {
        reasons.retain(|why| !why.is_empty());
        return Err(StepError::stalled_because(waiting_for.join("; "), reasons.join(" ")));
    }
    let cluster = observed.values().find_map(|service| service.cluster_arn().map(str::to_owned));
    Ok(ServiceOutputs { cluster: cluster.or(requested.cluster), services })
}

/// Returns one service, once its rollout is complete.
async fn follow(
    work: &Work<'_>,
    name: &str,
    service: Option<&Service>,
    requested: Option<&Running>,
) -> Result<Running, StepError> {
    // A new service can become visible late.
    let service =
        service.ok_or_else(|| StepError::stalled(format!("ECS service {name} to become visible")))?;
    let (what, arn) = (format!("ECS service {name}"), service.service_arn().unwrap_or_default().to_owned());
    if !is_active(service) {
        let status = service.status().unwrap_or("deleted");
        let why = format!("it is {status}: somebody deleted it. Deploy again: Stackdrop creates it again");
        return Err(StepError::Unhealthy { what, why });
    }
    let newest = primary(service).ok_or_else(|| StepError::incomplete("a service's primary deployment"))?;
    let newest_id = newest.id().unwrap_or_default();
    let rollout = requested.map_or(newest_id, |requested| requested.rollout.as_str());
    let desired = requested
        .map_or(service.task_definition().unwrap_or_default(), |requested| &requested.task_definition);
    if rollout != newest_id && newest.task_definition() != Some(desired) {
        return Err(superseded(work, name, service, rollout).await?);
    }
    if rollout != newest_id
        && let Some(brief) = find_service_deployment(work, name, service, rollout).await?
    {
        // New tasks of the same revision that were rolled back look like the old ones.
        check_deployment(work, name, service, rollout, &brief).await?;
    }
    let follows = if rollout == newest_id { rollout } else { newest_id };
    match newest.rollout_state() {
        Some(DeploymentRolloutState::Failed) => {
            let why = diagnosis::why(work, name, service, follows, newest.rollout_state_reason()).await;
            return Err(StepError::Unhealthy { what, why });
        }
        Some(DeploymentRolloutState::Completed) => {}
        _ => return Err(unfinished(work, name, service, newest).await?),
    }
    if service.task_definition() != Some(desired) {
        let why = format!(
            "it runs {} instead of {}",
            revision(service.task_definition().unwrap_or_default()),
            revision(desired)
        );
        return Err(StepError::Unhealthy { what, why });
    }
    if let Some(brief) = find_service_deployment(work, name, service, follows).await? {
        check_deployment(work, name, service, follows, &brief).await?;
    }
    if service.running_count() != service.desired_count() || service.pending_count() > 0 {
        return Err(unfinished(work, name, service, newest).await?);
    }
    let running = tasks::running(work, name).await?;
    targets::are_healthy(work, name, service, &running).await?;
    tasks::have_run_long_enough(work, name, service, &running)?;
    let restarted = requested.is_some_and(|requested| requested.restarted);
    Ok(Running { arn, task_definition: desired.to_owned(), rollout: follows.to_owned(), restarted })
}

/// How long after a rollout began its targets are expected to be known, in seconds. A rollout whose tasks all run for longer
/// may wait for ever.
const REGISTERED_SECONDS: i64 = 60;

/// The state of a rollout that is not complete: `Unhealthy` if its tasks fail again and again, `Pending` while tasks start or
/// become healthy, and otherwise `Stalled`: ECS tries again at long intervals, or something is missing.
async fn unfinished(
    work: &Work<'_>,
    name: &str,
    service: &Service,
    newest: &Deployment,
) -> Result<StepError, StepError> {
    let rollout = newest.id().unwrap_or_default();
    let starts = newest.pending_count() > 0 || service.pending_count() > 0;
    let runs = newest.running_count() >= service.desired_count();
    let began = newest.created_at().map_or(i64::MAX, DateTime::secs);
    let should_be_used = work.aws.now_seconds().saturating_sub(began) > REGISTERED_SECONDS && runs && !starts;
    let used = async { if should_be_used { targets::are_used(work, name, service).await } else { Ok(()) } };
    let (stopped, used) = join(tasks::stopped(work, name, rollout), used).await;
    let stopped = stopped?;
    let failed = tasks::failed(work, &stopped);
    if failed.len() >= tasks::failures_max(service) {
        let reason = format!("{} of its new tasks have failed", failed.len());
        let why = diagnosis::why(work, name, service, rollout, Some(&reason)).await;
        return Ok(StepError::Unhealthy { what: format!("ECS service {name}"), why });
    }
    used?;
    if starts || runs {
        return Ok(StepError::pending(progress(name, service, newest, &failed)));
    }
    let waiting_for = format!(
        "ECS to start tasks of service {name}: {} of {} new tasks are running",
        newest.running_count(),
        service.desired_count()
    );
    let why = diagnosis::why(work, name, service, rollout, None).await;
    Ok(StepError::stalled_because(waiting_for, format!("{why}.")))
}

/// How far a rollout is, and how its failed tasks ended.
fn progress(name: &str, service: &Service, newest: &Deployment, failed: &[&Task]) -> String {
    let endings = diagnosis::task_endings(failed.iter().copied());
    let endings = if endings.is_empty() { String::new() } else { format!("; {}", endings.join("; ")) };
    format!(
        "the rollout of ECS service {name}: {} of {} new tasks are running{endings}",
        newest.running_count(),
        service.desired_count(),
    )
}

/// How much earlier than a rollout its service deployment may have been created, in seconds.
const CREATED_BEFORE_SECONDS: i64 = 60;

/// Finds the service deployment of a rollout. ECS returns at most 20 per call, and promises no order.
pub(super) async fn find_service_deployment(
    work: &Work<'_>,
    name: &str,
    service: &Service,
    rollout: &str,
) -> Result<Option<ServiceDeploymentBrief>, StepError> {
    let known = service.deployments().iter().find(|deployment| deployment.id() == Some(rollout));
    let created = |of: Option<&Deployment>| of.and_then(|of| of.created_at().map(DateTime::secs));
    // A rollout that the service no longer lists began in this deployment, or ECS has rolled it back to the newest one.
    let admitted = work.deployment.admitted_at();
    let began = created(known).unwrap_or_else(|| created(primary(service)).unwrap_or(admitted).min(admitted));
    let since = began - CREATED_BEFORE_SECONDS;
    let since = CreatedAt::builder().after(DateTime::from_secs(since)).build();
    // A deployment's id and its revision's ARN end with the same number.
    // Source: `internal/service/ecs/service.go` of terraform-provider-aws.
    let number = rollout.rsplit('/').next().unwrap_or(rollout);
    let mut next = None;
    loop {
        let call = work.aws.ecs().list_service_deployments().cluster(cluster_name(work)).service(name);
        let response = call.created_at(since.clone()).set_next_token(next).send().await;
        let response = response.doing(format!("listing the deployments of ECS service {name}"))?;
        let mut observed = response.service_deployments.unwrap_or_default().into_iter();
        let found = observed.find(|brief| {
            let target = brief.target_service_revision_arn().and_then(|arn| arn.rsplit('/').next());
            target == Some(number)
        });
        next = response.next_token;
        if found.is_some() || next.is_none() {
            return Ok(found);
        }
    }
}

/// Checks a service deployment's status.
async fn check_deployment(
    work: &Work<'_>,
    name: &str,
    service: &Service,
    rollout: &str,
    brief: &ServiceDeploymentBrief,
) -> Result<(), StepError> {
    match brief.status() {
        None | Some(ServiceDeploymentStatus::Successful) => Ok(()),
        Some(ServiceDeploymentStatus::InProgress | ServiceDeploymentStatus::Pending) => {
            Err(StepError::pending(format!("ECS to complete the rollout of service {name}")))
        }
        Some(status) => {
            let reason = format!("{status}: {}", brief.status_reason().unwrap_or("no reason given"));
            let why = diagnosis::why(work, name, service, rollout, Some(&reason)).await;
            Err(StepError::Unhealthy { what: format!("ECS service {name}"), why })
        }
    }
}

/// The error if another deployment has replaced the rollout.
async fn superseded(
    work: &Work<'_>,
    name: &str,
    service: &Service,
    rollout: &str,
) -> Result<StepError, StepError> {
    let Some(brief) = find_service_deployment(work, name, service, rollout).await? else {
        let waiting_for = format!("the rollout of ECS service {name} to become visible");
        let why = "If somebody started another rollout, deploy again: Stackdrop starts its own again.";
        return Ok(StepError::stalled_because(waiting_for, why));
    };
    if let Err(error) = check_deployment(work, name, service, rollout, &brief).await {
        return Ok(error);
    }
    let actual = revision(service.task_definition().unwrap_or_default());
    Ok(StepError::Unhealthy {
        what: format!("ECS service {name}"),
        why: format!("somebody started another rollout, to {actual}; deploy again to start this one again"),
    })
}
