//! The stack's schedules in EventBridge Scheduler: one for the spec's `redeploy`, one for `database.rotation`.

use aws_sdk_scheduler::operation::get_schedule::GetScheduleOutput;
use aws_sdk_scheduler::types::{FlexibleTimeWindow, FlexibleTimeWindowMode, ScheduleState, Target};
use serde_json::{Value, json};
use stackdrop_specs::Spec;

use crate::aws::Aws;
use crate::aws::error::{AwsResult, StepError};
use crate::deployment::state::{Deployment, Trigger};

/// A schedule that starts executions.
#[derive(Debug, Clone, PartialEq)]
struct Schedule {
    expression: String,
    timezone: String,
    /// The input of the executions.
    input: Value,
}

/// What a stack's schedules are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Redeploy,
    Rotation,
}

impl Kind {
    const ALL: [Self; 2] = [Self::Redeploy, Self::Rotation];

    /// The schedule's name. The name of a stack has no full stop.
    fn name(self, stack: &str) -> String {
        match self {
            Self::Redeploy => stack.to_owned(),
            Self::Rotation => format!("{stack}.rotation"),
        }
    }

    /// The schedule that the spec has.
    fn of(self, spec: &Spec) -> Option<Schedule> {
        let stack = &spec.stack;
        let (expression, timezone, input) = match self {
            Self::Redeploy => {
                let redeploy = spec.redeploy.as_ref()?;
                let input = json!({
                    "stack": stack, "action": "redeploy", "refreshImage": redeploy.refresh_image, "drift": redeploy.drift,
                    "scheduled": true,
                });
                (&redeploy.schedule, &redeploy.timezone, input)
            }
            Self::Rotation => {
                let rotation = &spec.database.as_ref()?.rotation;
                let input = json!({ "stack": stack, "action": "rotate", "scheduled": true });
                (&rotation.schedule, &rotation.timezone, input)
            }
        };
        Some(Schedule { expression: expression.clone(), timezone: timezone.clone(), input })
    }
}

/// Creates, updates or deletes the schedules if the spec differs from the baseline, or if somebody changed or deleted a
/// schedule by hand.
///
/// The schedules are read only when more calls do not matter: when the deployment changed something anyway, or when it
/// was started to repair drift. An upload that changes nothing does not read them.
///
/// Returns whether it put a change by hand right.
pub(crate) async fn apply(aws: &Aws, deployment: &Deployment) -> Result<bool, StepError> {
    let [redeploy, rotation] = Kind::ALL.map(|kind| apply_one(aws, deployment, kind));
    // A failure of one must not keep the other from being written.
    let (redeploy, rotation) = (redeploy.await, rotation.await);
    Ok(redeploy? | rotation?)
}

async fn apply_one(aws: &Aws, deployment: &Deployment, kind: Kind) -> Result<bool, StepError> {
    let baseline = deployment.baseline.as_ref().and_then(|baseline| kind.of(&baseline.spec));
    let name = kind.name(deployment.stack.as_str());
    let unscheduled = deployment.baseline.as_ref().is_some_and(|baseline| baseline.unscheduled);
    let Some(schedule) = kind.of(&deployment.spec) else {
        if baseline.is_some() || unscheduled {
            delete_one(aws, &name).await?;
        }
        return Ok(false);
    };
    let changed = deployment.outputs.network.is_some();
    let reads = changed || matches!(deployment.trigger, Trigger::Manual | Trigger::Schedule);
    let reads = reads && !deployment.report_only;
    if baseline.as_ref() != Some(&schedule) || unscheduled {
        put(aws, &name, &schedule).await?;
        return Ok(false);
    }
    if reads && !is_current(aws, &name, &schedule).await? {
        put(aws, &name, &schedule).await?;
        return Ok(true);
    }
    Ok(false)
}

/// Whether the schedule exists and matches the spec.
async fn is_current(aws: &Aws, name: &str, schedule: &Schedule) -> Result<bool, StepError> {
    let call =
        aws.scheduler().get_schedule().name(name).group_name(&aws.settings.schedule_group).send().await;
    let observed = call.unless(&["ResourceNotFoundException"]).doing(format!("reading schedule {name}"))?;
    Ok(observed.is_some_and(|observed| matches(aws, &observed, schedule)))
}

fn matches(aws: &Aws, observed: &GetScheduleOutput, schedule: &Schedule) -> bool {
    let target = observed.target().is_some_and(|target| {
        let input = target.input().and_then(|text| serde_json::from_str::<Value>(text).ok());
        target.arn() == aws.settings.state_machine
            && target.role_arn() == aws.settings.schedule_role
            && input.as_ref() == Some(&schedule.input)
    });
    let window = observed.flexible_time_window().map(FlexibleTimeWindow::mode);
    target
        && observed.schedule_expression() == Some(&schedule.expression)
        && observed.schedule_expression_timezone() == Some(&schedule.timezone)
        && observed.state() == Some(&ScheduleState::Enabled)
        && window == Some(&FlexibleTimeWindowMode::Off)
}

async fn put(aws: &Aws, name: &str, schedule: &Schedule) -> Result<(), StepError> {
    let doing = format!("writing schedule {name}");
    let defect = |error: aws_sdk_scheduler::error::BuildError| StepError::Defect(error.to_string());
    let target = Target::builder()
        .arn(&aws.settings.state_machine)
        .role_arn(&aws.settings.schedule_role)
        .input(schedule.input.to_string())
        .build()
        .map_err(defect)?;
    // A flexible window has no benefit here.
    let window = FlexibleTimeWindow::builder().mode(FlexibleTimeWindowMode::Off).build().map_err(defect)?;
    let create = aws
        .scheduler()
        .create_schedule()
        .name(name)
        .group_name(&aws.settings.schedule_group)
        .schedule_expression(&schedule.expression)
        .schedule_expression_timezone(&schedule.timezone)
        .flexible_time_window(window.clone())
        .target(target.clone());
    if create.send().await.unless(&["ConflictException"]).doing(&doing)?.is_some() {
        return Ok(());
    }
    let update = aws
        .scheduler()
        .update_schedule()
        .name(name)
        .group_name(&aws.settings.schedule_group)
        .schedule_expression(&schedule.expression)
        .schedule_expression_timezone(&schedule.timezone)
        .flexible_time_window(window)
        .target(target);
    update.send().await.doing(&doing).map(drop)
}

/// Deletes the schedules of a stack.
pub(crate) async fn delete(aws: &Aws, stack: &str) -> Result<(), StepError> {
    for kind in Kind::ALL {
        delete_one(aws, &kind.name(stack)).await?;
    }
    Ok(())
}

async fn delete_one(aws: &Aws, name: &str) -> Result<(), StepError> {
    let call = aws.scheduler().delete_schedule().name(name).group_name(&aws.settings.schedule_group);
    let response = call.send().await.unless(&["ResourceNotFoundException"]);
    response.doing(format!("deleting schedule {name}")).map(drop)
}
