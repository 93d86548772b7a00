//! The stack's schedule in EventBridge Scheduler, which implements the spec's `redeploy`.

use aws_sdk_scheduler::types::{FlexibleTimeWindow, FlexibleTimeWindowMode, ScheduleState, Target};
use serde_json::{Value, json};
use stackdrop_specs::Redeploy;

use crate::aws::Aws;
use crate::aws::error::{AwsResult, StepError};
use crate::deployment::state::{Deployment, Trigger};

/// Creates, updates or deletes the schedule if the spec differs from the baseline, or if somebody changed or deleted the
/// schedule by hand.
///
/// The schedule is read only when one more call does not matter: when the deployment changed something anyway, or when it
/// was started to repair drift. An upload that changes nothing does not read it.
///
/// Returns whether it put a change by hand right.
pub(crate) async fn apply(aws: &Aws, deployment: &Deployment) -> Result<bool, StepError> {
    let baseline = deployment.baseline.as_ref().and_then(|baseline| baseline.spec.redeploy.as_ref());
    let name = deployment.stack.as_str();
    let Some(redeploy) = &deployment.spec.redeploy else {
        if baseline.is_some() {
            delete(aws, name).await?;
        }
        return Ok(false);
    };
    let changed = deployment.outputs.network.is_some();
    let reads = changed || matches!(deployment.trigger, Trigger::Manual | Trigger::Schedule);
    let reads = reads && !deployment.report_only;
    if baseline != Some(redeploy) {
        put(aws, name, redeploy).await?;
        return Ok(false);
    }
    if reads && !is_current(aws, name, redeploy).await? {
        put(aws, name, redeploy).await?;
        return Ok(true);
    }
    Ok(false)
}

/// The input of the executions that the schedule starts.
fn input(stack: &str, redeploy: &Redeploy) -> Value {
    json!({
        "stack": stack, "action": "redeploy", "refreshImage": redeploy.refresh_image, "drift": redeploy.drift,
    })
}

/// Whether the schedule exists and matches the spec.
async fn is_current(aws: &Aws, stack: &str, redeploy: &Redeploy) -> Result<bool, StepError> {
    let call =
        aws.scheduler().get_schedule().name(stack).group_name(&aws.settings.schedule_group).send().await;
    let observed = call
        .unless(&["ResourceNotFoundException"])
        .doing(format!("reading the schedule of stack {stack}"))?;
    let Some(observed) = observed else { return Ok(false) };
    let target = observed.target().is_some_and(|target| {
        let input_text = target.input().and_then(|text| serde_json::from_str::<Value>(text).ok());
        target.arn() == aws.settings.state_machine
            && target.role_arn() == aws.settings.schedule_role
            && input_text == Some(input(stack, redeploy))
    });
    let window = observed.flexible_time_window().map(FlexibleTimeWindow::mode);
    Ok(target
        && observed.schedule_expression() == Some(&redeploy.schedule)
        && observed.schedule_expression_timezone() == Some(&redeploy.timezone)
        && observed.state() == Some(&ScheduleState::Enabled)
        && window == Some(&FlexibleTimeWindowMode::Off))
}

async fn put(aws: &Aws, stack: &str, redeploy: &Redeploy) -> Result<(), StepError> {
    let doing = format!("writing the schedule of stack {stack}");
    let defect = |error: aws_sdk_scheduler::error::BuildError| StepError::Defect(error.to_string());
    let target = Target::builder()
        .arn(&aws.settings.state_machine)
        .role_arn(&aws.settings.schedule_role)
        .input(input(stack, redeploy).to_string())
        .build()
        .map_err(defect)?;
    // A flexible window has no benefit here.
    let window = FlexibleTimeWindow::builder().mode(FlexibleTimeWindowMode::Off).build().map_err(defect)?;
    let create = aws
        .scheduler()
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
        .scheduler()
        .update_schedule()
        .name(stack)
        .group_name(&aws.settings.schedule_group)
        .schedule_expression(&redeploy.schedule)
        .schedule_expression_timezone(&redeploy.timezone)
        .flexible_time_window(window)
        .target(target);
    update.send().await.doing(&doing).map(drop)
}

pub(crate) async fn delete(aws: &Aws, stack: &str) -> Result<(), StepError> {
    let call = aws.scheduler().delete_schedule().name(stack).group_name(&aws.settings.schedule_group);
    let response = call.send().await.unless(&["ResourceNotFoundException"]);
    response.doing(format!("deleting the schedule of stack {stack}")).map(drop)
}
