//! Auto scaling: a service's minimum and maximum number of tasks, and its target CPU utilization.

use aws_sdk_applicationautoscaling::types::{
    MetricType, PolicyType, PredefinedMetricSpecification, ScalableDimension, ScalableTarget, ScalingPolicy,
    ServiceNamespace, TargetTrackingScalingPolicyConfiguration,
};
use stackdrop_specs::{Scaling, Service};

use super::observed::Observed;
use super::{NAME, cluster_name, fargate, read_tags};
use crate::aws::error::{AwsResult, Refusal, StepError};
use crate::contract::component::Work;
use crate::deployment::deletion::Deletion;
use crate::deployment::names::Tags;
use crate::deployment::plan::{Plan, Verb};

/// The logical ID of a service's scalable target.
pub(super) fn target_logical_id(name: &str) -> String {
    format!("scalable-target/{name}")
}

/// The logical ID of a service's scaling policy.
fn policy_logical_id(name: &str) -> String {
    format!("scaling-policy/{name}")
}

/// The ID of a service in Application Auto Scaling.
pub(super) fn resource_id(work: &Work<'_>, name: &str) -> String {
    format!("service/{}/{name}", cluster_name(work))
}

/// The service's name in such an ID.
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

/// A policy's target CPU utilization, if it has one.
fn cpu_target(policy: &ScalingPolicy) -> Option<f64> {
    let tracking = policy.target_tracking_scaling_policy_configuration()?;
    let metric = tracking.predefined_metric_specification()?;
    let by_cpu = *metric.predefined_metric_type() == MetricType::EcsServiceAverageCpuUtilization;
    by_cpu.then(|| tracking.target_value())
}

/// Whether the policy has the desired target: percentages are integers, so a difference below 0.5 is rounding.
fn has_cpu_target(policy: &ScalingPolicy, scaling: &Scaling) -> bool {
    cpu_target(policy).is_some_and(|target| (target - f64::from(scaling.cpu_percent)).abs() < 0.5)
}

pub(super) fn plan(work: &Work<'_>, observed: &Observed, name: &str, service: &Service, plan: &mut Plan) {
    let (target, policy) = (observed.targets.get(name), observed.policies.get(name));
    let Some(scaling) = &service.scaling else {
        if target.is_some() {
            plan.change(Verb::Delete, target_logical_id(name));
        }
        return;
    };
    let (min, max) = bounds(scaling);
    match target.map(bounds_of) {
        None => {
            plan.change(Verb::Create, target_logical_id(name));
        }
        Some((least, most)) => {
            if least != min {
                plan.update(&target_logical_id(name), "min", least, min);
            }
            if most != max {
                plan.update(&target_logical_id(name), "max", most, max);
            }
        }
    }
    match policy {
        None => {
            plan.change(Verb::Create, policy_logical_id(name));
        }
        Some(policy) if !has_cpu_target(policy, scaling) => {
            let actual = cpu_target(policy).map_or("another metric".into(), |target| target.to_string());
            plan.update(&policy_logical_id(name), "cpuPercent", actual, scaling.cpu_percent);
        }
        Some(_) => {}
    }
    // A target's tags are not read: Stackdrop changes them together with the service's tags.
    let (missing, stale) = differing_tags(work, observed, name);
    if target.is_some() && !(missing.is_empty() && stale.is_empty()) {
        plan.update(&target_logical_id(name), "tags", "previous", "those of the service");
    }
}

/// The tags that a target lacks, and the keys of tags to remove.
fn differing_tags(work: &Work<'_>, observed: &Observed, name: &str) -> (Tags, Vec<String>) {
    let active_service = observed.active_service(work, name);
    active_service.map_or_else(Default::default, |service| {
        let tags = read_tags(service.tags());
        let missing = work.stack.missing_tags(NAME, &fargate::logical_id(name), &tags);
        let desired = work.stack.lasting_tags(NAME, &target_logical_id(name));
        let missing = desired.into_iter().filter(|(key, _)| missing.contains_key(key)).collect();
        (work.stack.with_stack_tag(missing), work.stack.stale_tags(&tags))
    })
}

/// Registers the existing service for scaling, or deregisters it.
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
    if observed.policies.get(name).is_some_and(|policy| target.is_some() && has_cpu_target(policy, scaling)) {
        return Ok(());
    }
    put_policy(work, name, scaling).await
}

/// Repairs a target's tags, before those of its service.
pub(super) async fn repair_tags(work: &Work<'_>, observed: &Observed, name: &str) -> Result<(), StepError> {
    let (missing, stale) = differing_tags(work, observed, name);
    let arn = observed.targets.get(name).and_then(|target| target.scalable_target_arn());
    let Some(arn) = arn else { return Ok(()) };
    if !missing.is_empty() {
        let tags = missing.into_iter().collect();
        let call = work.aws.autoscaling().tag_resource().resource_arn(arn).set_tags(Some(tags)).send().await;
        call.doing(format!("tagging scalable target {arn}"))?;
    }
    if !stale.is_empty() {
        let call = work.aws.autoscaling().untag_resource().resource_arn(arn).set_tag_keys(Some(stale));
        call.send().await.doing(format!("removing tags from scalable target {arn}"))?;
    }
    Ok(())
}

/// Registers a target. A repeated call updates the target; only the first call may have tags.
async fn register(work: &Work<'_>, name: &str, scaling: &Scaling, first: bool) -> Result<(), StepError> {
    let (min, max) = bounds(scaling);
    let tags = first.then(|| work.stack.tags(NAME, &target_logical_id(name)).into_iter().collect());
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
    let response = call.send().await;
    if let Err(error) = &response {
        let error = error.aws();
        // The code is a general one, so the message decides.
        if error.code == "ValidationException" && error.message.contains("ECS service doesn't exist") {
            return Err(StepError::stalled(format!(
                "ECS service {name} to become visible to Application Auto Scaling"
            )));
        }
        if first && error.code == "ValidationException" && error.message.to_lowercase().contains("tag") {
            return Err(StepError::stalled(format!(
                "scalable target {} to become visible",
                target_logical_id(name)
            )));
        }
    }
    response.doing(format!("registering scalable target {}", target_logical_id(name)))?;
    tracing::info!(service = name, min, max, "Scalable target registered.");
    Ok(())
}

async fn put_policy(work: &Work<'_>, name: &str, scaling: &Scaling) -> Result<(), StepError> {
    let defect = |error| StepError::Defect(format!("writing a scaling policy: {error}"));
    let metric = PredefinedMetricSpecification::builder()
        .predefined_metric_type(MetricType::EcsServiceAverageCpuUtilization)
        .build()
        .map_err(defect)?;
    let tracking = TargetTrackingScalingPolicyConfiguration::builder()
        .target_value(f64::from(scaling.cpu_percent))
        .predefined_metric_specification(metric)
        .build()
        .map_err(defect)?;
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
    call.send().await.stalled_on(
        &["ObjectNotFoundException"],
        "the scalable target to become visible",
        format!("writing scaling policy {}", policy_logical_id(name)),
    )?;
    tracing::info!(service = name, percent = scaling.cpu_percent, "Scaling policy written.");
    Ok(())
}

/// Deregisters a target; AWS deletes its policies with it.
/// Source: the documentation of `DeregisterScalableTarget`.
async fn deregister(work: &Work<'_>, name: &str) -> Result<(), StepError> {
    let call = work
        .aws
        .autoscaling()
        .deregister_scalable_target()
        .service_namespace(ServiceNamespace::Ecs)
        .scalable_dimension(ScalableDimension::EcsServiceDesiredCount)
        .resource_id(resource_id(work, name));
    let response = call.send().await.unless(&["ObjectNotFoundException"]);
    response.doing(format!("deregistering scalable target {}", target_logical_id(name)))?;
    tracing::info!(service = name, "Scalable target deregistered.");
    Ok(())
}

/// Deregisters the target of a deleted service: AWS does not delete it with the service.
pub(super) async fn delete(work: &Work<'_>, observed: &Observed, name: &str) -> Result<Deletion, StepError> {
    if observed.targets.contains_key(name) {
        deregister(work, name).await?;
    }
    Ok(Deletion::default())
}
