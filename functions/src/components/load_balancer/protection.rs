//! The load balancer's deletion protection.
//!
//! It is turned on once a deployment has succeeded: a failed deployment must be able to delete what it created. Stackdrop turns
//! off only what a spec turned on. A protection that somebody else turned on is stricter than the spec, and stays.

use std::collections::BTreeMap;

use aws_sdk_elasticloadbalancingv2::types::LoadBalancerAttribute;
use stackdrop_specs::Spec;

use super::balancer::LOGICAL_ID;
use super::observed::{Balancer, find_attributes};
use crate::aws::error::{AwsResult, StepError};
use crate::contract::component::Work;
use crate::deployment::plan::Plan;

/// The attribute of the load balancer.
pub(super) const ATTRIBUTE: &str = "deletion_protection.enabled";

/// Whether a spec has a protected load balancer.
fn is_in(spec: &Spec) -> bool {
    spec.load_balancer.as_ref().is_some_and(|desired| desired.deletion_protection)
}

fn is_in_baseline(work: &Work<'_>) -> bool {
    work.deployment.baseline.as_ref().is_some_and(|baseline| is_in(&baseline.spec))
}

fn is_on(attributes: &BTreeMap<String, String>) -> bool {
    attributes.get(ATTRIBUTE).is_some_and(|value| value == "true")
}

/// The desired value, if the actual one differs.
pub(super) fn difference(work: &Work<'_>, balancer: &Balancer) -> Option<bool> {
    match (is_on(&balancer.attributes), is_in(work.spec)) {
        (false, true) => Some(true),
        (true, false) if is_in_baseline(work) => Some(false),
        _ => None,
    }
}

/// The desired value, if `apply` sets it. It leaves it to `turn_on` to turn protection on, except in a rollback to the
/// baseline, after which nothing follows.
pub(super) fn applied(work: &Work<'_>, balancer: &Balancer) -> Option<bool> {
    difference(work, balancer).filter(|on| !on || work.deployment.rolling_back)
}

/// Turns protection on if the spec has it and it is off.
pub(super) async fn turn_on(work: &Work<'_>) -> Result<(), StepError> {
    let applied = work.outputs.load_balancer.as_ref();
    let Some(arn) = applied.and_then(|outputs| outputs.arn.as_deref()).filter(|_| is_in(work.spec)) else {
        return Ok(());
    };
    if is_on(&find_attributes(work, arn).await?) {
        return Ok(());
    }
    let on = LoadBalancerAttribute::builder().key(ATTRIBUTE).value("true").build();
    let call = work.aws.elb().modify_load_balancer_attributes().load_balancer_arn(arn).attributes(on);
    call.send().await.doing(format!("turning on the deletion protection of load balancer {arn}")).map(drop)
}

/// Plans the problem that a load balancer which the spec no longer has is protected.
pub(super) async fn plan_deletion(
    work: &Work<'_>,
    balancer: &Balancer,
    plan: &mut Plan,
) -> Result<(), StepError> {
    if is_on(&find_attributes(work, balancer.arn()).await?) {
        let (why, fix) = explanation(work);
        plan.problem(LOGICAL_ID, format!("{why} of load balancer {}", balancer.arn()), fix);
    }
    Ok(())
}

/// Why a load balancer is protected, up to its name, and how to fix it.
pub(super) fn explanation(work: &Work<'_>) -> (&'static str, &'static str) {
    if is_in(work.spec) || is_in_baseline(work) {
        (
            "the spec turned on the deletion protection",
            "set loadBalancer.deletionProtection: false and deploy first",
        )
    } else {
        ("somebody turned on the deletion protection", "turn it off in the attributes of the load balancer")
    }
}
