//! How much of a thing the account may have: what a plan checks before anything is created.

use std::fmt;

use crate::aws::denied::unless_denied;
use crate::aws::error::{Answer, StepError};
use crate::contract::component::Work;
use crate::deployment::plan::Plan;

/// A quota of the account, as Service Quotas knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Quota {
    service: &'static str,
    code: &'static str,
    /// What it counts, in the plural.
    things: &'static str,
}

/// VPCs in a region.
pub(crate) const VPCS: Quota = Quota { service: "vpc", code: "L-F678F1CE", things: "VPCs" };
/// Internet gateways in a region. AWS raises this one together with that of VPCs.
pub(crate) const INTERNET_GATEWAYS: Quota =
    Quota { service: "vpc", code: "L-A4707A72", things: "internet gateways" };
/// Rules of a security group, each direction for itself.
pub(crate) const RULES: Quota =
    Quota { service: "vpc", code: "L-0EA8095F", things: "rules of a security group" };
/// Elastic addresses in a region.
pub(crate) const ELASTIC_ADDRESSES: Quota =
    Quota { service: "ec2", code: "L-0263D0A3", things: "elastic addresses" };
/// vCPUs of all Fargate tasks and pods in a region that are not Spot.
pub(crate) const FARGATE_VCPUS: Quota =
    Quota { service: "fargate", code: "L-3032A538", things: "vCPUs of Fargate tasks" };

impl fmt::Display for Quota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.service, self.code)
    }
}

/// What a plan wants of a quota.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Need<'a> {
    /// The resource that is to be created.
    pub(crate) resource: &'a str,
    /// How much of the quota is in use in the whole region.
    pub(crate) used: f64,
    /// How much more it takes.
    pub(crate) more: f64,
    /// What to do, apart from raising the quota.
    pub(crate) instead: &'a str,
}

/// How much the account may have.
async fn limit(work: &Work<'_>, quota: Quota) -> Result<f64, StepError> {
    let doing = || format!("reading the quota {quota} of {}", quota.things);
    let call = work.aws.quotas().get_service_quota().service_code(quota.service).quota_code(quota.code);
    let applied = call.send().await.unless(&["NoSuchResourceException"]).doing(doing())?;
    let observed = if let Some(answer) = applied {
        answer.quota
    } else {
        // Not every quota has a value of this account's own.
        let call = work.aws.quotas().get_aws_default_service_quota();
        let call = call.service_code(quota.service).quota_code(quota.code);
        call.send().await.doing(doing())?.quota
    };
    observed.and_then(|quota| quota.value()).ok_or_else(|| StepError::lacking("the quota's value"))
}

/// Notes a problem when the account may not have as much more as a plan wants.
pub(crate) async fn check(
    work: &Work<'_>,
    quota: Quota,
    need: Need<'_>,
    plan: &mut Plan,
) -> Result<(), StepError> {
    let Some(limit) = unless_denied(limit(work, quota).await)? else {
        plan.warn(
            need.resource,
            format!("whether the quota {quota} of {} suffices is not known: AWS denies reading it", quota.things),
            "allow servicequotas:GetServiceQuota and servicequotas:GetAWSDefaultServiceQuota, or see for yourself",
        );
        return Ok(());
    };
    if need.used + need.more > limit {
        let Quota { things, .. } = quota;
        plan.problem(
            need.resource,
            format!(
                "{} of the {limit} {things} that the account may have here are in use, and {} more would be needed",
                need.used, need.more
            ),
            format!("raise the quota {quota} (Service Quotas), or {}", need.instead),
        );
    }
    Ok(())
}

/// A count as quotas have it.
pub(crate) fn count(things: usize) -> f64 {
    u32::try_from(things).map_or(f64::INFINITY, f64::from)
}
