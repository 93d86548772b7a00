//! The stack's schedule in EventBridge Scheduler, kept in step with the spec's `redeploy`.

use aws_sdk_scheduler::types::{FlexibleTimeWindow, FlexibleTimeWindowMode, ScheduleState, Target};
use serde_json::{Value, json};
use stackdrop_specs::Redeploy;

use crate::aws::Aws;
use crate::aws::error::{Answer, StepError};
use crate::deployment::state::Deployment;
use crate::deployment::state::Trigger;

/// Creates, changes or removes the schedule, if the spec's differs from the baseline's, or if somebody has changed or
/// deleted it by hand.
///
/// It is read only where one more call does not matter: when something has been changed anyway, or when the deployment
/// was started to look after the stack. An upload that changes nothing does not look.
pub(crate) async fn keep(aws: &Aws, deployment: &Deployment) -> Result<(), StepError> {
    let before = deployment.baseline.as_ref().and_then(|baseline| baseline.spec.redeploy.as_ref());
    let name = deployment.stack.as_str();
    let Some(redeploy) = &deployment.spec.redeploy else {
        return if before.is_some() { delete(aws, name).await } else { Ok(()) };
    };
    let changed = deployment.outputs.network.is_some();
    let looks = changed || matches!(deployment.trigger, Trigger::Manual | Trigger::Schedule);
    let looks = looks && !deployment.report_only;
    if before != Some(redeploy) {
        return put(aws, name, redeploy).await;
    }
    if looks && !stands(aws, name, redeploy).await? {
        tracing::info!(name, "The schedule was changed by hand, and is put right.");
        return put(aws, name, redeploy).await;
    }
    Ok(())
}

/// What the schedule starts an execution with.
fn input(stack: &str, redeploy: &Redeploy) -> Value {
    json!({
        "stack": stack, "action": "redeploy", "refreshImage": redeploy.refresh_image, "drift": redeploy.drift,
    })
}

/// Whether the schedule is there and says what the spec says.
async fn stands(aws: &Aws, stack: &str, redeploy: &Redeploy) -> Result<bool, StepError> {
    let call =
        aws.scheduler().get_schedule().name(stack).group_name(&aws.settings.schedule_group).send().await;
    let observed =
        call.unless(&["ResourceNotFoundException"]).doing(format!("reading the schedule of {stack}"))?;
    let Some(observed) = observed else { return Ok(false) };
    let target = observed.target().is_some_and(|target| {
        let asked = target.input().and_then(|text| serde_json::from_str::<Value>(text).ok());
        target.arn() == aws.settings.state_machine
            && target.role_arn() == aws.settings.schedule_role
            && asked == Some(input(stack, redeploy))
    });
    let window = observed.flexible_time_window().map(FlexibleTimeWindow::mode);
    Ok(target
        && observed.schedule_expression() == Some(&redeploy.schedule)
        && observed.schedule_expression_timezone() == Some(&redeploy.timezone)
        && observed.state() == Some(&ScheduleState::Enabled)
        && window == Some(&FlexibleTimeWindowMode::Off))
}

async fn put(aws: &Aws, stack: &str, redeploy: &Redeploy) -> Result<(), StepError> {
    let doing = format!("scheduling redeploys of {stack}");
    let defect = |error: aws_sdk_scheduler::error::BuildError| StepError::Defect(error.to_string());
    let target = Target::builder()
        .arn(&aws.settings.state_machine)
        .role_arn(&aws.settings.schedule_role)
        .input(input(stack, redeploy).to_string())
        .build()
        .map_err(defect)?;
    // Exactly at the time: nothing else is gained by a window.
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
    let gone = call.send().await.unless(&["ResourceNotFoundException"]);
    gone.doing(format!("removing the schedule of {stack}")).map(drop)
}
