//! The targets of a service: whether the load balancer sends requests to all of its tasks.

use std::collections::BTreeSet;

use aws_sdk_ecs::types::{LoadBalancer, Service, Task};
use aws_sdk_elasticloadbalancingv2::types::{
    LoadBalancerStateEnum, TargetDescription, TargetHealth, TargetHealthDescription, TargetHealthReasonEnum,
    TargetHealthStateEnum,
};
use stackdrop_specs::HealthCheck;

use super::tasks;
use crate::aws::error::{AwsResult, StepError};
use crate::contract::component::Work;
use crate::contract::targets;

/// Checks that the load balancer sends requests to all desired tasks. Targets that somebody registered by hand do not count.
pub(super) async fn are_healthy(
    work: &Work<'_>,
    name: &str,
    service: &Service,
    running: &[Task],
) -> Result<(), StepError> {
    let check = &health_check(work, name);
    let own: BTreeSet<&str> = running.iter().filter_map(tasks::address).collect();
    for group in service.load_balancers().iter().filter_map(LoadBalancer::target_group_arn) {
        let mut targets = targets::of_group(work, group).await?;
        let is = |target: &&TargetHealthDescription, state: &TargetHealthStateEnum| {
            target.target_health().and_then(TargetHealth::state) == Some(state)
        };
        let is_own = |target: &TargetHealthDescription| id(target).is_some_and(|id| own.contains(id));
        targets.retain(|target| is_own(target) || is(&target, &TargetHealthStateEnum::Healthy));
        let healthy = targets.iter().filter(|target| is(target, &TargetHealthStateEnum::Healthy)).count();
        let rest = targets
            .iter()
            .filter(|target| !is(target, &TargetHealthStateEnum::Healthy))
            .filter(|target| !is(target, &TargetHealthStateEnum::Draining));
        let starting = targets.iter().any(|target| is(&target, &TargetHealthStateEnum::Initial))
            || (targets.iter().any(is_unused) && load_balancer_starts(work).await?);
        let rest: Vec<String> = rest.map(|target| describe_target(target, check)).collect();
        let desired = usize::try_from(service.desired_count()).unwrap_or(0);
        if healthy < desired || !rest.is_empty() {
            let waiting_for =
                format!("the targets of ECS service {name} to become healthy: {healthy} of {desired} are");
            if starting {
                return Err(StepError::pending(format!("{waiting_for} ({})", rest.join(", "))));
            }
            let why =
                if rest.is_empty() { NOT_REGISTERED.to_owned() } else { format!("{}.", rest.join("; ")) };
            return Err(StepError::stalled_because(waiting_for, why));
        }
    }
    Ok(())
}

/// Checks that the load balancer uses a service's target groups: ECS waits for ever for the health of targets that no listener
/// or rule uses, or that somebody's deletion of a target group has removed.
pub(super) async fn are_used(work: &Work<'_>, name: &str, service: &Service) -> Result<(), StepError> {
    for group in service.load_balancers().iter().filter_map(LoadBalancer::target_group_arn) {
        let targets = targets::of_group(work, group).await?;
        let is_leaving = |target: &TargetHealthDescription| {
            target.target_health().and_then(TargetHealth::state) == Some(&TargetHealthStateEnum::Draining)
        };
        if !targets.iter().all(|target| is_unused(target) || is_leaving(target))
            || load_balancer_starts(work).await?
        {
            continue;
        }
        let check = &health_check(work, name);
        let unused: Vec<String> = targets
            .iter()
            .filter(|target| is_unused(target))
            .map(|target| describe_target(target, check))
            .collect();
        let why =
            if unused.is_empty() { NOT_REGISTERED.to_owned() } else { format!("{}.", unused.join("; ")) };
        return Err(StepError::stalled_because(
            format!("the load balancer to use the target group of ECS service {name}"),
            format!(
                "{why} If somebody deleted a part of the load balancer, deploy again: Stackdrop creates it again."
            ),
        ));
    }
    Ok(())
}

/// Why a target group has no targets.
const NOT_REGISTERED: &str = "The tasks are not registered in the target group.";

fn is_unused(target: &TargetHealthDescription) -> bool {
    target.target_health().and_then(TargetHealth::reason) == Some(&TargetHealthReasonEnum::NotInUse)
}

/// Whether AWS still creates the load balancer: until it is active, it uses no target.
async fn load_balancer_starts(work: &Work<'_>) -> Result<bool, StepError> {
    let call = work.aws.elb().describe_load_balancers().names(work.stack.name.as_str()).send().await;
    let observed = call.unless(&["LoadBalancerNotFound"]).doing("reading the state of the load balancer")?;
    let balancers = observed.and_then(|observed| observed.load_balancers).unwrap_or_default();
    let states = balancers.iter().filter_map(|balancer| balancer.state()?.code());
    Ok(states.into_iter().any(|state| *state == LoadBalancerStateEnum::Provisioning))
}

/// A target's IP address.
fn id(target: &TargetHealthDescription) -> Option<&str> {
    target.target().and_then(TargetDescription::id)
}

/// The health check of a service in the spec.
pub(super) fn health_check(work: &Work<'_>, name: &str) -> HealthCheck {
    work.spec.services.get(name).map(|service| service.health_check.clone()).unwrap_or_default()
}

/// Describes an unhealthy target, with AWS's reason and an explanation.
pub(super) fn describe_target(target: &TargetHealthDescription, check: &HealthCheck) -> String {
    let health = target.target_health();
    let state = health.and_then(TargetHealth::state).map_or("unknown", TargetHealthStateEnum::as_str);
    let code = health.and_then(TargetHealth::reason).map(TargetHealthReasonEnum::as_str);
    let parts = health.and_then(TargetHealth::description);
    let parts = [parts.map(str::to_owned), code.and_then(|code| explanation(code, check))];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    let why = if parts.is_empty() { String::new() } else { format!(": {}", parts.join(" - ")) };
    format!("{} is {state}{why}", id(target).unwrap_or("a target"))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_described_with_awss_reason_and_what_to_check() {
        let check = HealthCheck {
            path: "/ready".into(),
            codes: "200-299".into(),
            timeout: 4,
            ..HealthCheck::default()
        };
        let target = |state: TargetHealthStateEnum, reason: Option<TargetHealthReasonEnum>| {
            let health = TargetHealth::builder().state(state).set_reason(reason).description("AWS's reason");
            let target = TargetDescription::builder().id("10.0.0.7").build();
            let target = TargetHealthDescription::builder().target(target).target_health(health.build());
            describe_target(&target.build(), &check)
        };
        for (reason, expected) in [
            (TargetHealthReasonEnum::ResponseCodeMismatch, "GET /ready returns a code other than 200-299:"),
            (TargetHealthReasonEnum::Timeout, "GET /ready has no response within 4 s:"),
            (
                TargetHealthReasonEnum::FailedHealthChecks,
                "GET /ready fails, or returns a code other than 200-299:",
            ),
            (TargetHealthReasonEnum::NotInUse, "no listener or rule sends requests to its target group"),
            (TargetHealthReasonEnum::IpUnusable, "a load balancer uses its IP address"),
            (TargetHealthReasonEnum::InternalError, "an internal error of the load balancer"),
        ] {
            let described = target(TargetHealthStateEnum::Unhealthy, Some(reason));
            let expected = format!("10.0.0.7 is unhealthy: AWS's reason - {expected}");
            assert!(described.starts_with(&expected), "{described}");
        }
        let initial = Some(TargetHealthReasonEnum::RegistrationInProgress);
        assert_eq!(target(TargetHealthStateEnum::Initial, initial), "10.0.0.7 is initial: AWS's reason");
        let unknown = TargetHealthDescription::builder().build();
        assert_eq!(describe_target(&unknown, &check), "a target is unknown");
    }
}
