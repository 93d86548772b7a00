//! An instance that started without a way to Systems Manager, in the second attempt of a rollback.
//!
//! Its agent tries again less and less often, up to every half an hour, so the instance is stopped and started: the agent looks
//! again at once. Somebody may have deleted a NAT gateway or an endpoint after its step of the first attempt.

use aws_sdk_ec2::types::{Instance, InstanceStateName};
use aws_smithy_types::DateTime;

use super::observed::state;
use super::wait::is_online;
use crate::aws::error::{AwsResult, StepError};
use crate::contract::component::Work;

/// How long an instance may take from its launch until its agent is online, in seconds: a younger one is left alone.
const BOOT_SECONDS: i64 = 120;

/// Stops a running instance whose agent is offline; the next attempt of the step starts it again. `Pending` if it does.
pub(super) async fn stop(work: &Work<'_>, instance: &Instance) -> Result<(), StepError> {
    // Once in an attempt: when the instance is applied again, its agent is still starting.
    let is_first = work.deployment.rolling_back_again && work.outputs.instance.is_none();
    let launched = instance.launch_time().map_or(0, DateTime::secs);
    let is_old = work.aws.now_seconds() - launched > BOOT_SECONDS;
    if !is_first || !is_old || state(instance) != Some(&InstanceStateName::Running) {
        return Ok(());
    }
    let id = instance.instance_id().unwrap_or_default();
    if is_online(work, id).await? {
        return Ok(());
    }
    let call = work.aws.ec2().stop_instances().instance_ids(id).send().await;
    call.doing(format!("stopping EC2 instance {id}, whose SSM agent is offline"))?;
    tracing::warn!(id, "The instance's SSM agent is offline: the instance is stopped and started.");
    Err(StepError::pending(format!("EC2 instance {id} to stop")))
}
