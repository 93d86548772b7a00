//! Following the rollout that `apply` started, and no other: a service that the circuit breaker rolled back to its old tasks
//! also looks stable.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_ecs::types::{
    Deployment, DeploymentRolloutState, LoadBalancer, Service, ServiceDeploymentBrief,
    ServiceDeploymentStatus,
};
use aws_sdk_elasticloadbalancingv2::types::{
    TargetHealth, TargetHealthDescription, TargetHealthReasonEnum, TargetHealthStateEnum,
};
use futures::future::join_all;
use stackdrop_specs::HealthCheck;

use super::cluster_name;
use super::definition::revision;
use super::diagnosis;
use super::fargate::{is_active, primary};
use super::observed::find_services;
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
    let (mut services, mut waiting_for) = (BTreeMap::new(), Vec::new());
    for followed in join_all(followed).await {
        match followed {
            Ok((name, running)) => {
                services.insert(name, running);
            }
            // A permanently failed service is reported at once, even if others are still pending.
            Err(StepError::Pending(text)) => waiting_for.push(text),
            Err(error) => return Err(error),
        }
    }
    if !waiting_for.is_empty() {
        return Err(StepError::pending(waiting_for.join("; ")));
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
        service.ok_or_else(|| StepError::pending(format!("ECS service {name} to become visible")))?;
    let (what, arn) = (format!("ECS service {name}"), service.service_arn().unwrap_or_default().to_owned());
    if !is_active(service) {
        let why = format!("it is {}: somebody deleted it", service.status().unwrap_or("deleted"));
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
        && let Some(brief) = find_service_deployment(work, name, rollout).await?
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
        _ => return Err(StepError::pending(progress(name, service, newest))),
    }
    if service.task_definition() != Some(desired) {
        let why = format!(
            "it runs {} instead of {}",
            revision(service.task_definition().unwrap_or_default()),
            revision(desired)
        );
        return Err(StepError::Unhealthy { what, why });
    }
    if let Some(brief) = find_service_deployment(work, name, follows).await? {
        check_deployment(work, name, service, follows, &brief).await?;
    }
    if service.running_count() != service.desired_count() || service.pending_count() > 0 {
        return Err(StepError::pending(progress(name, service, newest)));
    }
    targets_healthy(work, name, service).await?;
    Ok(Running { arn, task_definition: desired.to_owned(), rollout: follows.to_owned() })
}

fn progress(name: &str, service: &Service, newest: &Deployment) -> String {
    let failed = match newest.failed_tasks() {
        0 => String::new(),
        1 => ", 1 failed".into(),
        failed => format!(", {failed} failed"),
    };
    format!(
        "the rollout of ECS service {name}: {} of {} new tasks are running{failed}",
        newest.running_count(),
        service.desired_count(),
    )
}

/// Finds the service deployment of a rollout.
async fn find_service_deployment(
    work: &Work<'_>,
    name: &str,
    rollout: &str,
) -> Result<Option<ServiceDeploymentBrief>, StepError> {
    let call =
        work.aws.ecs().list_service_deployments().cluster(cluster_name(work)).service(name).send().await;
    let response = call.doing(format!("listing the deployments of ECS service {name}"))?;
    // A deployment's id and its revision's ARN end with the same number.
    // Source: `internal/service/ecs/service.go` of terraform-provider-aws.
    let number = rollout.rsplit('/').next().unwrap_or(rollout);
    let mut observed = response.service_deployments.unwrap_or_default().into_iter();
    Ok(observed.find(|brief| {
        let target = brief.target_service_revision_arn().and_then(|arn| arn.rsplit('/').next());
        target == Some(number)
    }))
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
    let Some(brief) = find_service_deployment(work, name, rollout).await? else {
        return Ok(StepError::pending(format!("the rollout of ECS service {name} to become visible")));
    };
    if let Err(error) = check_deployment(work, name, service, rollout, &brief).await {
        return Ok(error);
    }
    let actual = revision(service.task_definition().unwrap_or_default());
    Ok(StepError::Unhealthy {
        what: format!("ECS service {name}"),
        why: format!("somebody started another rollout, to {actual}"),
    })
}

/// Checks that the load balancer sends requests to all desired tasks.
async fn targets_healthy(work: &Work<'_>, name: &str, service: &Service) -> Result<(), StepError> {
    let check = &health_check(work, name);
    for group in service.load_balancers().iter().filter_map(LoadBalancer::target_group_arn) {
        let targets = find_targets(work, group).await?;
        let is = |target: &&TargetHealthDescription, state: &TargetHealthStateEnum| {
            target.target_health().and_then(TargetHealth::state) == Some(state)
        };
        let healthy = targets.iter().filter(|target| is(target, &TargetHealthStateEnum::Healthy)).count();
        let rest = targets
            .iter()
            .filter(|target| !is(target, &TargetHealthStateEnum::Healthy))
            .filter(|target| !is(target, &TargetHealthStateEnum::Draining));
        let rest: Vec<String> = rest.map(|target| describe_target(target, check)).collect();
        let desired = usize::try_from(service.desired_count()).unwrap_or(0);
        if healthy < desired || !rest.is_empty() {
            let rest = if rest.is_empty() { String::new() } else { format!(" ({})", rest.join(", ")) };
            return Err(StepError::pending(format!(
                "the targets of ECS service {name} to become healthy: {healthy} of {desired} are{rest}"
            )));
        }
    }
    Ok(())
}

/// The health check of a service in the spec.
pub(super) fn health_check(work: &Work<'_>, name: &str) -> HealthCheck {
    work.spec.services.get(name).map(|service| service.health_check.clone()).unwrap_or_default()
}

/// The targets of a group, with their health.
pub(super) async fn find_targets(
    work: &Work<'_>,
    group: &str,
) -> Result<Vec<TargetHealthDescription>, StepError> {
    let call = work.aws.elb().describe_target_health().target_group_arn(group).send().await;
    let response = call
        .unless(&["TargetGroupNotFound"])
        .doing(format!("reading the health of the targets in target group {group}"))?;
    Ok(response.and_then(|response| response.target_health_descriptions).unwrap_or_default())
}

/// Describes an unhealthy target, with AWS's reason and an explanation.
pub(super) fn describe_target(target: &TargetHealthDescription, check: &HealthCheck) -> String {
    let id = target.target().and_then(aws_sdk_elasticloadbalancingv2::types::TargetDescription::id);
    let health = target.target_health();
    let state = health.and_then(TargetHealth::state).map_or("unknown", TargetHealthStateEnum::as_str);
    let code = health.and_then(TargetHealth::reason).map(TargetHealthReasonEnum::as_str);
    let parts = health.and_then(TargetHealth::description);
    let parts = [parts.map(str::to_owned), code.and_then(|code| explanation(code, check))];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    let why = if parts.is_empty() { String::new() } else { format!(": {}", parts.join(" - ")) };
    format!("{} is {state}{why}", id.unwrap_or("a target"))
}

/// Explains a reason code and how to find the cause; `None` for codes of transient states.
/// Source: the documentation of `TargetHealth` in the API reference of Elastic Load Balancing.
fn explanation(code: &str, check: &HealthCheck) -> Option<String> {
    let HealthCheck { path, codes, timeout, .. } = check;
    Some(match code {
        "Target.ResponseCodeMismatch" => format!(
            "GET {path} returns a code other than {codes}: check the container's log, or set \
             healthCheck.path or healthCheck.codes"
        ),
        "Target.Timeout" => format!(
            "GET {path} has no response within {timeout} s: check that the container listens on `port` in time, and on \
             all addresses, not only on localhost"
        ),
        "Target.FailedHealthChecks" => format!(
            "GET {path} fails, or returns a code other than {codes}: check that the container \
             listens on `port` and that healthCheck.path exists"
        ),
        "Target.NotInUse" => {
            "no listener or rule sends requests to its target group, or the load balancer does \
                              not use its zone"
                .into()
        }
        "Target.IpUnusable" => "a load balancer uses its IP address".into(),
        "Elb.InternalError" => "an internal error of the load balancer, which AWS repairs".into(),
        _ => return None,
    })
}
