//! Approval of a plan: people reply with the token of the workflow's task.

use serde::Deserialize;
use serde_json::{Value, json};

use super::read_newest;
use crate::aws::Aws;
use crate::aws::error::{AwsResult, StepError, names};
use crate::deployment::announce::{Announcement, Event, announce};
use crate::deployment::bucket::{self, When};
use crate::deployment::outcome::Outcome;
use crate::deployment::record::{Approval, Lock, Record};
use crate::deployment::state::{Approved, Deployment, Trigger};
use crate::deployment::summary;

/// Writes the plan and the token to the bucket, and announces that the plan awaits approval. The task ends when somebody
/// replies.
///
/// # Errors
/// If the bucket cannot be written.
pub(super) async fn ask(
    deployment: &Deployment,
    token: Option<String>,
    aws: &Aws,
) -> Result<Value, StepError> {
    let token =
        token.ok_or_else(|| StepError::Defect("the workflow requested approval without a token".into()))?;
    let stack = deployment.stack.as_str();
    let changes = summary::changes(&deployment.plan);
    let approval = Approval {
        deployment: deployment.id.clone(),
        execution: deployment.execution.clone(),
        token,
        since: aws.now(),
        changes,
    };
    bucket::write(aws, &bucket::approval_key(stack), &approval, When::Always).await?;
    let mut record = Record::of(deployment, Outcome::AwaitingApproval);
    record.message = Some(summary::of_plan(deployment));
    record.next = Some(format!(
        "Approve with `stackdrop approve {stack}`, or reject with `stackdrop reject {stack}`. Without the command: the token \
         is in s3://{}/{}; `aws stepfunctions send-task-success --task-token TOKEN --task-output \
         '{{\"approved\":true}}'` approves, `aws stepfunctions send-task-failure --task-token TOKEN --error {} --cause 'REASON'` \
         rejects. A newer version of the spec replaces this one.",
        aws.settings.bucket,
        bucket::approval_key(stack),
        names::APPROVAL_REJECTED
    ));
    bucket::write(aws, &bucket::status_key(stack), &record, When::Always).await?;
    announce(aws, &Announcement::of(Event::AwaitingApproval, &record)).await;
    Ok(json!({}))
}

/// The reply that somebody sent with the token.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Reply {
    approved: bool,
    by: Option<String>,
    reason: Option<String>,
}

/// Reads the reply. The deployment continues if the reply approves the plan and no newer version of the spec exists. The
/// workflow then plans again, and compares the plan with the approved one.
///
/// # Errors
/// `ApprovalRejected`, `Superseded`.
pub(super) async fn read_reply(deployment: &Deployment, aws: &Aws) -> Result<Approved, StepError> {
    let stack = deployment.stack.as_str();
    let reply = deployment.reply.clone().unwrap_or_default();
    let reply: Reply = serde_json::from_value(reply).map_err(|error| {
        StepError::ApprovalRejected(format!(
            "the reply is not {{ \"approved\": true }} or {{ \"approved\": false }}, so it does not approve the plan: {error}"
        ))
    })?;
    let by = reply.by.map(|by| format!(" by {by}")).unwrap_or_default();
    if !reply.approved {
        let reason = reply.reason.map(|reason| format!(": {reason}")).unwrap_or_default();
        return Err(StepError::ApprovalRejected(format!("the plan was rejected{by}{reason}")));
    }
    if deployment.trigger == Trigger::Upload {
        let newest = read_newest(aws, &deployment.source.key, deployment.source.plan_only).await?;
        let newest = newest.map(|(source, _)| source.version);
        if newest.as_ref() != Some(&deployment.source.version) {
            return Err(StepError::Superseded(format!(
                "{} was changed while its plan awaited approval",
                deployment.source.key
            )));
        }
    }
    bucket::delete(aws, &bucket::approval_key(stack)).await?;
    let record = Record::of(deployment, Outcome::Running);
    bucket::write(aws, &bucket::status_key(stack), &record, When::Always).await?;
    tracing::info!(deployment = deployment.id, "The plan was approved{by}.");
    let review = deployment.review.as_ref();
    let review =
        review.ok_or_else(|| StepError::Defect("a plan was approved before it was reviewed".into()))?;
    Ok(Approved { fingerprint: review.fingerprint.clone() })
}

/// Ends a deployment that awaits approval, so that a newer one can take the lock; or, unless `replaces`, yields to it.
///
/// # Errors
/// `Superseded` if the newer deployment yields.
pub(super) async fn end_waiting(
    aws: &Aws,
    stack: &str,
    lock: &Lock,
    replaces: bool,
) -> Result<(), StepError> {
    let waiting = bucket::read::<Approval>(aws, &bucket::approval_key(stack)).await?;
    let waiting =
        waiting.map(|(approval, _)| approval).filter(|waiting| waiting.deployment == lock.deployment);
    let Some(waiting) = waiting else { return Ok(()) };
    if !replaces {
        return Err(StepError::Superseded(format!(
            "deployment {} has been awaiting approval since {}",
            waiting.deployment, waiting.since
        )));
    }
    let call = aws
        .sfn()
        .send_task_failure()
        .task_token(&waiting.token)
        .error(names::SUPERSEDED)
        .cause("another deployment of the stack was requested while this one awaited approval");
    // Somebody may have replied just now: then the deployment is running, and the newer one waits.
    let closed = ["TaskTimedOut", "TaskDoesNotExist", "InvalidToken"];
    call.send().await.unless(&closed).doing("ending the deployment that awaits approval").map(drop)
}
