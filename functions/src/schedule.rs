//! The stack's schedule in EventBridge Scheduler, kept in step with the spec's `redeploy`.

use aws_sdk_scheduler::types::{FlexibleTimeWindow, FlexibleTimeWindowMode, Target};
use serde_json::json;
use stackdrop_specs::Redeploy;

use crate::aws::Aws;
use crate::error::{Answer, StepError};
use crate::stack::Deployment;

/// Creates, changes or removes the schedule, if the spec's differs from the baseline's.
pub(crate) async fn keep(aws: &Aws, deployment: &Deployment) -> Result<(), StepError> {
    let before = deployment.baseline.as_ref().and_then(|baseline| baseline.spec.redeploy.as_ref());
    let wanted = deployment.spec.redeploy.as_ref();
    if before == wanted {
        return Ok(());
    }
    let name = deployment.stack.as_str();
    match wanted {
        Some(redeploy) => put(aws, name, redeploy).await,
        None => remove(aws, name).await,
    }
}

async fn put(aws: &Aws, stack: &str, redeploy: &Redeploy) -> Result<(), StepError> {
    let doing = format!("scheduling redeploys of {stack}");
    let defect = |error: aws_sdk_scheduler::error::BuildError| StepError::Defect(error.to_string());
    let target = Target::builder()
        .arn(&aws.settings.state_machine)
        .role_arn(&aws.settings.schedule_role)
        .input(json!({
            "stack": stack, "action": "redeploy", "refreshImage": redeploy.refresh_image, "drift": redeploy.drift,
        }).to_string())
        .build()
        .map_err(defect)?;
    // Exactly at the time: nothing else is gained by a window.
    let window = FlexibleTimeWindow::builder().mode(FlexibleTimeWindowMode::Off).build().map_err(defect)?;
    let create = aws
        .scheduler
        .create_schedule()
        .name(stack)
        .group_name(&aws.settings.schedule_group)
        .schedule_expression(&redeploy.schedule)
        .schedule_expression_timezone(&redeploy.timezone)
        .flexible_time_window(window.clone())
        .target(target.clone());
    if create.send().await.unless(&["ConflictException"]).doing(&doing)?.is_some() {
        return Ok(());
    }
    let update = aws
        .scheduler
        .update_schedule()
        .name(stack)
        .group_name(&aws.settings.schedule_group)
        .schedule_expression(&redeploy.schedule)
        .schedule_expression_timezone(&redeploy.timezone)
        .flexible_time_window(window)
        .target(target);
    update.send().await.doing(&doing).map(drop)
}

pub(crate) async fn remove(aws: &Aws, stack: &str) -> Result<(), StepError> {
    let call = aws.scheduler.delete_schedule().name(stack).group_name(&aws.settings.schedule_group);
    let gone = call.send().await.unless(&["ResourceNotFoundException"]);
    gone.doing(format!("removing the schedule of {stack}")).map(drop)
}
