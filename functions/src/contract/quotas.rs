//! The account's quotas: a plan checks them before anything is created.

use std::fmt;

use crate::aws::error::unless_denied;
use crate::aws::error::{AwsResult, StepError};
use crate::contract::component::Work;
use crate::deployment::plan::Plan;

/// A quota of the account, as Service Quotas knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Quota {
    service: &'static str,
    code: &'static str,
    /// The counted resource, in the plural.
    resources: &'static str,
}

/// VPCs in a region.
pub(crate) const VPCS: Quota = Quota { service: "vpc", code: "L-F678F1CE", resources: "VPCs" };
/// Internet gateways in a region. AWS raises this quota together with that of VPCs.
pub(crate) const INTERNET_GATEWAYS: Quota =
    Quota { service: "vpc", code: "L-A4707A72", resources: "internet gateways" };
/// Rules of a security group, counted separately for each direction.
pub(crate) const RULES: Quota =
    Quota { service: "vpc", code: "L-0EA8095F", resources: "rules of a security group" };
/// Elastic IP addresses in a region.
pub(crate) const ELASTIC_ADDRESSES: Quota =
    Quota { service: "ec2", code: "L-0263D0A3", resources: "Elastic IP addresses" };
/// vCPUs of all Fargate On-Demand tasks and pods in a region.
pub(crate) const FARGATE_VCPUS: Quota =
    Quota { service: "fargate", code: "L-3032A538", resources: "vCPUs of Fargate tasks" };

impl fmt::Display for Quota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.service, self.code)
    }
}

/// How much of a quota a plan needs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Need<'a> {
    /// The logical ID of the resource that the plan creates.
    pub(crate) resource: &'a str,
    /// How much of the quota the region already uses.
    pub(crate) used: f64,
    /// How much more the plan needs.
    pub(crate) more: f64,
    /// What to do instead of raising the quota, in the imperative.
    pub(crate) alternative: &'a str,
}

/// Reads the account's limit.
async fn limit(work: &Work<'_>, quota: Quota) -> Result<f64, StepError> {
    let doing = || format!("reading the quota {quota} of {}", quota.resources);
    let call = work.aws.quotas().get_service_quota().service_code(quota.service).quota_code(quota.code);
    let applied = call.send().await.unless(&["NoSuchResourceException"]).doing(doing())?;
    let quota_value = if let Some(response) = applied {
        response.quota
    } else {
        // AWS has no value for this account: the default applies.
        let call = work.aws.quotas().get_aws_default_service_quota();
        let call = call.service_code(quota.service).quota_code(quota.code);
        call.send().await.doing(doing())?.quota
    };
    quota_value.and_then(|quota| quota.value()).ok_or_else(|| StepError::incomplete("the quota's value"))
}

/// Adds a problem to the plan if the quota is too small for it.
pub(crate) async fn check(
    work: &Work<'_>,
    quota: Quota,
    need: Need<'_>,
    plan: &mut Plan,
) -> Result<(), StepError> {
    let Some(limit) = unless_denied(limit(work, quota).await)? else {
        plan.warn(
            need.resource,
            format!("AWS denies reading the quota {quota} of {}, so Stackdrop cannot check it", quota.resources),
            "allow servicequotas:GetServiceQuota and servicequotas:GetAWSDefaultServiceQuota, or check the quota yourself",
        );
        return Ok(());
    };
    if need.used + need.more > limit {
        let Quota { resources, .. } = quota;
        plan.problem(
            need.resource,
            format!(
                "{} of the {limit} {resources} that the account may have here are in use, and the stack needs {} more",
                need.used, need.more
            ),
            format!("raise the quota {quota} in Service Quotas, or {}", need.alternative),
        );
    }
    Ok(())
}

/// Converts a count to the type of quotas.
pub(crate) fn count(number: usize) -> f64 {
    u32::try_from(number).map_or(f64::INFINITY, f64::from)
}
