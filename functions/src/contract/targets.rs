//! The targets of a target group, which the components `load-balancer` and `service` both read.

use aws_sdk_elasticloadbalancingv2::types::TargetHealthDescription;

use crate::aws::error::{AwsResult, StepError};
use crate::contract::component::Work;

/// The targets of a group, with their health. A group that does not exist has none.
pub(crate) async fn of_group(
    work: &Work<'_>,
    group: &str,
) -> Result<Vec<TargetHealthDescription>, StepError> {
    let call = work.aws.elb().describe_target_health().target_group_arn(group).send().await;
    let response = call
        .unless(&["TargetGroupNotFound"])
        .doing(format!("reading the health of the targets in target group {group}"))?;
    Ok(response.and_then(|response| response.target_health_descriptions).unwrap_or_default())
}
