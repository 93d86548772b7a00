//! Auto scaling: between which counts a service scales, and after which CPU use.

use aws_sdk_applicationautoscaling::types::{
    MetricType, PolicyType, PredefinedMetricSpecification, ScalableDimension, ScalableTarget, ScalingPolicy,
    ServiceNamespace, TargetTrackingScalingPolicyConfiguration,
};
use stackdrop_specs::{Scaling, Service};

use super::observed::Observed;
use super::{NAME, cluster_name, fargate, read_tags};
use crate::aws::error::{Answer, Refusal, StepError};
use crate::contract::component::Work;
use crate::deployment::deletion::Deletion;
use crate::deployment::names::Tags;
use crate::deployment::plan::{Plan, Verb};

/// The logical ID of a service's scalable target.
pub(super) fn target_role(name: &str) -> String {
    format!("scalable-target/{name}")
}

/// The logical ID of a service's scaling policy.
fn policy_role(name: &str) -> String {
    format!("scaling-policy/{name}")
}

/// What Application Auto Scaling calls a service.
pub(super) fn resource_id(work: &Work<'_>, name: &str) -> String {
    format!("service/{}/{name}", cluster_name(work))
}

/// The service's name in such an id.
pub(super) fn service_of(resource_id: &str) -> &str {
    resource_id.rsplit('/').next().unwrap_or(resource_id)
}

/// The name of a service's scaling policy.
pub(super) fn policy_name(work: &Work<'_>, name: &str) -> String {
    work.stack.resource(&format!("{name}/cpu"))
}

fn bounds(scaling: &Scaling) -> (i32, i32) {
    let number = |count: u32| i32::try_from(count).unwrap_or(i32::MAX);
    (number(scaling.min), number(scaling.max))
}

fn bounds_of(target: &ScalableTarget) -> (i32, i32) {
    (target.min_capacity(), target.max_capacity())
}

/// What a policy aims at, if it is one of ours.
fn aim(policy: &ScalingPolicy) -> Option<f64> {
    let tracking = policy.target_tracking_scaling_policy_configuration()?;
    let metric = tracking.predefined_metric_specification()?;
    let by_cpu = *metric.predefined_metric_type() == MetricType::EcsServiceAverageCpuUtilization;
    by_cpu.then(|| tracking.target_value())
}

/// Percents are whole numbers, so a difference of less than half of one is none.
fn aims_at(policy: &ScalingPolicy, scaling: &Scaling) -> bool {
    aim(policy).is_some_and(|aim| (aim - f64::from(scaling.cpu_percent)).abs() < 0.5)
}

pub(super) fn plan(work: &Work<'_>, observed: &Observed, name: &str, service: &Service, plan: &mut Plan) {
    let (target, policy) = (observed.targets.get(name), observed.policies.get(name));
    let Some(scaling) = &service.scaling else {
        if target.is_some() {
            plan.change(Verb::Delete, target_role(name));
        }
        return;
    };
    let (min, max) = bounds(scaling);
    match target.map(bounds_of) {
        None => {
            plan.change(Verb::Create, target_role(name));
        }
        Some((least, most)) => {
            if least != min {
                plan.update(&target_role(name), "min", least, min);
            }
            if most != max {
                plan.update(&target_role(name), "max", most, max);
            }
        }
    }
    match policy {
        None => {
            plan.change(Verb::Create, policy_role(name));
        }
        Some(policy) if !aims_at(policy, scaling) => {
            let now = aim(policy).map_or("another metric".into(), |aim| aim.to_string());
            plan.update(&policy_role(name), "cpuPercent", now, scaling.cpu_percent);
        }
        Some(_) => {}
    }
    // The tags of a target are not read: they follow those of its service.
    let (missing, stale) = differing_tags(work, observed, name);
    if target.is_some() && !(missing.is_empty() && stale.is_empty()) {
        plan.update(&target_role(name), "tags", "those of before", "those of the service");
    }
}

/// The tags that a target lacks, and the keys of those that it has no longer to have.
fn differing_tags(work: &Work<'_>, observed: &Observed, name: &str) -> (Tags, Vec<String>) {
    let standing = observed.standing(work, name);
    standing.map_or_else(Default::default, |service| {
        let tags = read_tags(service.tags());
        let missing = work.stack.missing_tags(NAME, &fargate::logical_id(name), &tags);
        let desired = work.stack.lasting_tags(NAME, &target_role(name));
        let missing = desired.into_iter().filter(|(key, _)| missing.contains_key(key)).collect();
        (work.stack.with_own(missing), work.stack.stale_tags(&tags))
    })
}

/// Registers the service for scaling, or ends it. The service exists.
pub(super) async fn apply(
    work: &Work<'_>,
    observed: &Observed,
    name: &str,
    service: &Service,
) -> Result<(), StepError> {
    let target = observed.targets.get(name);
    let Some(scaling) = &service.scaling else {
        if target.is_some() {
            deregister(work, name).await?;
        }
        return Ok(());
    };
    if target.map(bounds_of) != Some(bounds(scaling)) {
        register(work, name, scaling, target.is_none()).await?;
    }
    if observed.policies.get(name).is_some_and(|policy| target.is_some() && aims_at(policy, scaling)) {
        return Ok(());
    }
    put_policy(work, name, scaling).await
}

/// Gives a target the tags that its service is about to get.
pub(super) async fn keep_tags(work: &Work<'_>, observed: &Observed, name: &str) -> Result<(), StepError> {
    let (missing, stale) = differing_tags(work, observed, name);
    let arn = observed.targets.get(name).and_then(|target| target.scalable_target_arn());
    let Some(arn) = arn else { return Ok(()) };
    if !missing.is_empty() {
        let tags = missing.into_iter().collect();
        let call = work.aws.autoscaling().tag_resource().resource_arn(arn).set_tags(Some(tags)).send().await;
        call.doing(format!("tagging {arn}"))?;
    }
    if !stale.is_empty() {
        let call = work.aws.autoscaling().untag_resource().resource_arn(arn).set_tag_keys(Some(stale));
        call.send().await.doing(format!("taking tags off {arn}"))?;
    }
    Ok(())
}

/// A repeated call changes the target that is there; only the first may bring tags.
async fn register(work: &Work<'_>, name: &str, scaling: &Scaling, first: bool) -> Result<(), StepError> {
    let (min, max) = bounds(scaling);
    let tags = first.then(|| work.stack.tags(NAME, &target_role(name)).into_iter().collect());
    let call = work
        .aws
        .autoscaling()
        .register_scalable_target()
        .service_namespace(ServiceNamespace::Ecs)
        .scalable_dimension(ScalableDimension::EcsServiceDesiredCount)
        .resource_id(resource_id(work, name))
        .min_capacity(min)
        .max_capacity(max)
        .set_tags(tags);
    let answer = call.send().await;
    if let Err(error) = &answer {
        let said = error.aws();
        // One code for all: what is for now is told by the words alone.
        if said.code == "ValidationException" && said.message.contains("ECS service doesn't exist") {
            return Err(StepError::pending(format!("the service {name} to be visible to auto scaling")));
        }
        if first && said.code == "ValidationException" && said.message.to_lowercase().contains("tag") {
            return Err(StepError::pending(format!("the scalable target of {name} to be visible")));
        }
    }
    answer.doing(format!("registering the service {name} for scaling"))?;
    tracing::info!(service = name, min, max, "Scalable target registered.");
    Ok(())
}

async fn put_policy(work: &Work<'_>, name: &str, scaling: &Scaling) -> Result<(), StepError> {
    let wrong = |error| StepError::Defect(format!("writing a scaling policy: {error}"));
    let metric = PredefinedMetricSpecification::builder()
        .predefined_metric_type(MetricType::EcsServiceAverageCpuUtilization)
        .build()
        .map_err(wrong)?;
    let tracking = TargetTrackingScalingPolicyConfiguration::builder()
        .target_value(f64::from(scaling.cpu_percent))
        .predefined_metric_specification(metric)
        .build()
        .map_err(wrong)?;
    let call = work
        .aws
        .autoscaling()
        .put_scaling_policy()
        .policy_name(policy_name(work, name))
        .policy_type(PolicyType::TargetTrackingScaling)
        .service_namespace(ServiceNamespace::Ecs)
        .scalable_dimension(ScalableDimension::EcsServiceDesiredCount)
        .resource_id(resource_id(work, name))
        .target_tracking_scaling_policy_configuration(tracking);
    call.send().await.pending_on(
        &["ObjectNotFoundException"],
        "the scalable target to be visible",
        format!("putting the scaling policy of the service {name}"),
    )?;
    tracing::info!(service = name, percent = scaling.cpu_percent, "Scaling policy put.");
    Ok(())
}

/// Ends the scaling of a service. Its policies go with the target.
/// Source: the documentation of `DeregisterScalableTarget`.
async fn deregister(work: &Work<'_>, name: &str) -> Result<(), StepError> {
    let call = work
        .aws
        .autoscaling()
        .deregister_scalable_target()
        .service_namespace(ServiceNamespace::Ecs)
        .scalable_dimension(ScalableDimension::EcsServiceDesiredCount)
        .resource_id(resource_id(work, name));
    let answer = call.send().await.unless(&["ObjectNotFoundException"]);
    answer.doing(format!("deregistering the service {name} from scaling"))?;
    tracing::info!(service = name, "Scalable target deregistered.");
    Ok(())
}

/// Ends the scaling of a service that goes, or has gone: a target outlives its service.
pub(super) async fn delete(work: &Work<'_>, observed: &Observed, name: &str) -> Result<Deletion, StepError> {
    if observed.targets.contains_key(name) {
        deregister(work, name).await?;
    }
    Ok(Deletion::default())
}
