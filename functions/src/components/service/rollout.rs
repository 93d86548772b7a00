//! Following a rollout: the one that `apply` began, and no other. A service that the circuit breaker has taken back
//! to its old tasks looks just as steady.

use std::collections::BTreeMap;

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
use crate::aws::error::{Answer, StepError};
use crate::contract::component::Work;
use crate::deployment::outputs::{Running, ServiceOutputs};

/// The outputs, once every service is as it was asked for, complete and healthy.
pub(super) async fn wait_until_stable(work: &Work<'_>) -> Result<ServiceOutputs, StepError> {
    let asked = work.outputs.service.clone().unwrap_or_default();
    let names = work.spec.services.keys().cloned().collect();
    let observed = find_services(work, &names).await?;
    let observed: BTreeMap<&str, &Service> =
        observed.iter().filter_map(|service| Some((service.service_name()?, service))).collect();
    let followed = work.spec.services.keys().map(async |name| {
        let service = observed.get(name.as_str()).copied();
        follow(work, name, service, asked.services.get(name)).await.map(|running| (name.clone(), running))
    });
    let (mut services, mut waits_for) = (BTreeMap::new(), Vec::new());
    for followed in join_all(followed).await {
        match followed {
            Ok((name, running)) => {
                services.insert(name, running);
            }
            // A service that never will be healthy is told at once, however late the others are.
            Err(StepError::Pending(text)) => waits_for.push(text),
            Err(error) => return Err(error),
        }
    }
    if !waits_for.is_empty() {
        return Err(StepError::pending(waits_for.join("; ")));
    }
    let cluster = observed.values().find_map(|service| service.cluster_arn().map(str::to_owned));
    Ok(ServiceOutputs { cluster: cluster.or(asked.cluster), services })
}

/// One service, once its rollout is through.
async fn follow(
    work: &Work<'_>,
    name: &str,
    service: Option<&Service>,
    asked: Option<&Running>,
) -> Result<Running, StepError> {
    // What was just made may be shown late.
    let service = service.ok_or_else(|| StepError::pending(format!("the service {name} to be visible")))?;
    let (what, arn) = (format!("the service {name}"), service.service_arn().unwrap_or_default().to_owned());
    if !is_active(service) {
        let why = format!("it is {}: somebody has deleted it", service.status().unwrap_or("gone"));
        return Err(StepError::Unhealthy { what, why });
    }
    let newest = primary(service).ok_or_else(|| StepError::lacking("a service's primary deployment"))?;
    let newest_id = newest.id().unwrap_or_default();
    let rollout = asked.map_or(newest_id, |asked| asked.rollout.as_str());
    let desired = asked.map_or(service.task_definition().unwrap_or_default(), |asked| &asked.task_definition);
    if rollout != newest_id && newest.task_definition() != Some(desired) {
        return Err(superseded(work, name, service, rollout).await?);
    }
    if rollout != newest_id
        && let Some(brief) = find_service_deployment(work, name, rollout).await?
    {
        // Fresh tasks of the same revision that were taken back look just like the old ones.
        judge(work, name, service, rollout, &brief).await?;
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
            "it runs {} and not {}",
            revision(service.task_definition().unwrap_or_default()),
            revision(desired)
        );
        return Err(StepError::Unhealthy { what, why });
    }
    if let Some(brief) = find_service_deployment(work, name, follows).await? {
        judge(work, name, service, follows, &brief).await?;
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
        1 => ", 1 has failed".into(),
        failed => format!(", {failed} have failed"),
    };
    format!(
        "the rollout of the service {name}: {} of {} new tasks running{failed}",
        newest.running_count(),
        service.desired_count(),
    )
}

/// The service deployment that leads to the revision which a rollout brings.
async fn find_service_deployment(
    work: &Work<'_>,
    name: &str,
    rollout: &str,
) -> Result<Option<ServiceDeploymentBrief>, StepError> {
    let call =
        work.aws.ecs().list_service_deployments().cluster(cluster_name(work)).service(name).send().await;
    let answer = call.doing(format!("listing the deployments of the service {name}"))?;
    // A deployment's id and its revision's ARN end with the same number.
    // Source: `internal/service/ecs/service.go` of terraform-provider-aws.
    let number = rollout.rsplit('/').next().unwrap_or(rollout);
    let mut observed = answer.service_deployments.unwrap_or_default().into_iter();
    Ok(observed.find(|brief| {
        let target = brief.target_service_revision_arn().and_then(|arn| arn.rsplit('/').next());
        target == Some(number)
    }))
}

/// What a service deployment's status means for the rollout.
async fn judge(
    work: &Work<'_>,
    name: &str,
    service: &Service,
    rollout: &str,
    brief: &ServiceDeploymentBrief,
) -> Result<(), StepError> {
    match brief.status() {
        None | Some(ServiceDeploymentStatus::Successful) => Ok(()),
        Some(ServiceDeploymentStatus::InProgress | ServiceDeploymentStatus::Pending) => {
            Err(StepError::pending(format!("ECS to conclude the rollout of the service {name}")))
        }
        Some(status) => {
            let reason = format!("{status}: {}", brief.status_reason().unwrap_or("no reason given"));
            let why = diagnosis::why(work, name, service, rollout, Some(&reason)).await;
            Err(StepError::Unhealthy { what: format!("the service {name}"), why })
        }
    }
}

/// What to say when another deployment stands in the place of the one that was asked for.
async fn superseded(
    work: &Work<'_>,
    name: &str,
    service: &Service,
    rollout: &str,
) -> Result<StepError, StepError> {
    let Some(brief) = find_service_deployment(work, name, rollout).await? else {
        return Ok(StepError::pending(format!("the rollout of the service {name} to be visible")));
    };
    if let Err(error) = judge(work, name, service, rollout, &brief).await {
        return Ok(error);
    }
    let now = revision(service.task_definition().unwrap_or_default());
    Ok(StepError::Unhealthy {
        what: format!("the service {name}"),
        why: format!("somebody has started another rollout since, to {now}"),
    })
}

/// Whether the load balancer sends requests to as many tasks as there shall be.
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
        let rest: Vec<String> = rest.map(|target| told(target, check)).collect();
        let desired = usize::try_from(service.desired_count()).unwrap_or(0);
        if healthy < desired || !rest.is_empty() {
            let rest = if rest.is_empty() { String::new() } else { format!(" ({})", rest.join(", ")) };
            return Err(StepError::pending(format!(
                "the targets of the service {name}: {healthy} of {desired} healthy{rest}"
            )));
        }
    }
    Ok(())
}

/// The health check of a service of the spec.
pub(super) fn health_check(work: &Work<'_>, name: &str) -> HealthCheck {
    work.spec.services.get(name).map(|service| service.health_check.clone()).unwrap_or_default()
}

/// The targets of a group, with their health.
pub(super) async fn find_targets(
    work: &Work<'_>,
    group: &str,
) -> Result<Vec<TargetHealthDescription>, StepError> {
    let call = work.aws.elb().describe_target_health().target_group_arn(group).send().await;
    let answer =
        call.unless(&["TargetGroupNotFound"]).doing(format!("reading the targets' health in {group}"))?;
    Ok(answer.and_then(|answer| answer.target_health_descriptions).unwrap_or_default())
}

/// A target that is not healthy, with AWS's reason in plain words.
pub(super) fn told(target: &TargetHealthDescription, check: &HealthCheck) -> String {
    let id = target.target().and_then(aws_sdk_elasticloadbalancingv2::types::TargetDescription::id);
    let health = target.target_health();
    let state = health.and_then(TargetHealth::state).map_or("unknown", TargetHealthStateEnum::as_str);
    let code = health.and_then(TargetHealth::reason).map(TargetHealthReasonEnum::as_str);
    let said = health.and_then(TargetHealth::description);
    let parts = [said.map(str::to_owned), code.and_then(|code| in_words(code, check))];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    let why = if parts.is_empty() { String::new() } else { format!(": {}", parts.join(" - ")) };
    format!("{} is {state}{why}", id.unwrap_or("a target"))
}

/// What a reason code means for the one who has to find the cause. Codes that pass by themselves mean nothing more.
/// Source: the documentation of `TargetHealth` in the API reference of Elastic Load Balancing.
fn in_words(code: &str, check: &HealthCheck) -> Option<String> {
    let HealthCheck { path, codes, timeout, .. } = check;
    Some(match code {
        "Target.ResponseCodeMismatch" => format!(
            "GET {path} is answered with another code than {codes}: look at the container's log, or set \
             healthCheck.path or healthCheck.codes"
        ),
        "Target.Timeout" => format!(
            "GET {path} is not answered within {timeout} s: see that the container listens on `port`, on all \
             addresses and not on localhost only, and in time"
        ),
        "Target.FailedHealthChecks" => format!(
            "GET {path} can't be asked, or is answered with something else than {codes}: see that the container \
             listens on `port` and that healthCheck.path exists"
        ),
        "Target.NotInUse" => "no listener or rule sends requests to its group, or its zone is not the load \
                              balancer's"
            .into(),
        "Target.IpUnusable" => "its address is used by a load balancer".into(),
        "Elb.InternalError" => "a fault inside the load balancer, which AWS repairs".into(),
        _ => return None,
    })
}
