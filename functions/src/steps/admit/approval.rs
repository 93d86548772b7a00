//! Approval: somebody is asked about a plan, and answers with the token of the workflow's task.

use serde::Deserialize;
use serde_json::{Value, json};

use super::read_newest;
use crate::deployment::announce::{Announcement, Event, announce};
use crate::aws::Aws;
use crate::aws::error::{Answer, StepError, names};
use crate::deployment::bucket;
use crate::deployment::bucket::When;
use crate::deployment::outcome::Outcome;
use crate::deployment::record::{Approval, Lock};
use crate::deployment::state::Trigger;
use crate::deployment::state::Deployment;
use crate::deployment::summary;

/// What the workflow's task that waits for an answer sends.
#[derive(Debug, Deserialize)]
struct Question {
    deployment: Deployment,
    token: String,
}

/// Asks: writes the plan and the token into the bucket, and announces that somebody is to answer. The task goes on when
/// somebody does.
///
/// # Errors
/// When the bucket refuses.
pub(super) async fn ask(payload: Value, aws: &Aws) -> Result<Value, StepError> {
    let Question { deployment, token } = serde_json::from_value(payload).map_err(|error| misfit(&error))?;
    let stack = deployment.stack.as_str();
    let changes = summary::lines(&deployment.plan);
    let approval = Approval {
        deployment: deployment.id.clone(),
        execution: deployment.execution.clone(),
        token,
        since: aws.now(),
        changes,
    };
    bucket::write(aws, &bucket::approval_key(stack), &approval, When::Always).await?;
    let mut record = deployment.record(Outcome::Waiting);
    record.message = Some(summary::of_plan(&deployment));
    record.next = Some(format!(
        "Agree with `stackdrop approve {stack}`, or reject with `stackdrop reject {stack}`. By hand: the token is in \
         s3://{}/{}; `aws stepfunctions send-task-success --task-token TOKEN --task-output '{{\"approved\":true}}'` \
         agrees, `aws stepfunctions send-task-failure --task-token TOKEN` rejects. A newer version of the spec takes this \
         one's place.",
        aws.settings.bucket,
        bucket::approval_key(stack)
    ));
    bucket::write(aws, &bucket::status_key(stack), &record, When::Always).await?;
    announce(aws, &Announcement::of(Event::WaitingForApproval, &record)).await;
    Ok(json!({}))
}

/// What somebody sent with the token.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Reply {
    approved: bool,
    by: Option<String>,
    reason: Option<String>,
}

/// Somebody has answered: goes on when they agree and nothing newer has come; the plan is then made anew, and compared
/// with the one that they agreed to.
///
/// # Errors
/// `Declined`, `Superseded`.
pub(super) async fn answered(payload: Value, aws: &Aws) -> Result<Value, StepError> {
    #[derive(Deserialize)]
    struct Answered {
        deployment: Deployment,
    }
    let Answered { deployment } = serde_json::from_value(payload).map_err(|error| misfit(&error))?;
    let stack = deployment.stack.as_str();
    let reply = deployment.approval.clone().unwrap_or_default();
    let reply: Reply = serde_json::from_value(reply).map_err(|error| {
        StepError::Declined(format!(
            "the answer is not {{ \"approved\": true }} or false, so it was no approval: {error}"
        ))
    })?;
    let by = reply.by.map(|by| format!(" by {by}")).unwrap_or_default();
    if !reply.approved {
        let reason = reply.reason.map(|reason| format!(": {reason}")).unwrap_or_default();
        return Err(StepError::Declined(format!("the plan was rejected{by}{reason}")));
    }
    if deployment.trigger == Trigger::Upload {
        let newest = read_newest(aws, &deployment.source.key, deployment.source.plan_only).await?;
        let newest = newest.map(|(source, _)| source.version);
        if newest.as_ref() != Some(&deployment.source.version) {
            return Err(StepError::Superseded(format!(
                "{} was changed while its plan waited for approval",
                deployment.source.key
            )));
        }
    }
    bucket::delete(aws, &bucket::approval_key(stack)).await?;
    let record = deployment.record(Outcome::Running);
    bucket::write(aws, &bucket::status_key(stack), &record, When::Always).await?;
    tracing::info!(deployment = deployment.id, "The plan was approved{by}.");
    Ok(json!({}))
}

/// Makes a deployment that waits for approval end, so that a newer one can have the lock; or yields to it.
///
/// # Errors
/// `Superseded` when the newer one yields.
pub(super) async fn make_way(aws: &Aws, stack: &str, lock: &Lock, insists: bool) -> Result<(), StepError> {
    let waiting = bucket::read::<Approval>(aws, &bucket::approval_key(stack)).await?;
    let waiting =
        waiting.map(|(approval, _)| approval).filter(|waiting| waiting.deployment == lock.deployment);
    let Some(waiting) = waiting else { return Ok(()) };
    if !insists {
        return Err(StepError::Superseded(format!(
            "the deployment {} waits for approval since {}",
            waiting.deployment, waiting.since
        )));
    }
    let call = aws
        .sfn()
        .send_task_failure()
        .task_token(&waiting.token)
        .error(names::SUPERSEDED)
        .cause("another deployment of the stack was asked for while this one waited for approval");
    // Somebody may have answered just now: then it is at work, and is waited for.
    let gone = ["TaskTimedOut", "TaskDoesNotExist", "InvalidToken"];
    call.send().await.unless(&gone).doing("ending the deployment that waits for approval").map(drop)
}

fn misfit(error: &serde_json::Error) -> StepError {
    StepError::Defect(format!("the workflow's input for an approval: {error}"))
}
