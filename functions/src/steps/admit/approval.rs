//! Approval: somebody is asked about a plan, and answers with the token of the workflow's task.

use serde::Deserialize;
use serde_json::{Value, json};

use super::read_newest;
use crate::aws::Aws;
use crate::aws::error::{Answer, StepError, names};
use crate::deployment::announce::{Announcement, Event, announce};
use crate::deployment::bucket;
use crate::deployment::bucket::When;
use crate::deployment::outcome::Outcome;
use crate::deployment::record::Record;
use crate::deployment::record::{Approval, Lock};
use crate::deployment::state::Approved;
use crate::deployment::state::Deployment;
use crate::deployment::state::Trigger;
use crate::deployment::summary;

/// Writes the plan and the token into the bucket, and announces that the plan awaits approval. The task goes on when
/// somebody replies.
///
/// # Errors
/// When the bucket refuses.
pub(super) async fn ask(
    deployment: &Deployment,
    token: Option<String>,
    aws: &Aws,
) -> Result<Value, StepError> {
    let token =
        token.ok_or_else(|| StepError::Defect("the workflow asked for approval without a token".into()))?;
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

/// Reads the reply: goes on when it approves and no newer version of the spec exists. The plan is then made again, and
/// compared with the approved one.
///
/// # Errors
/// `ApprovalRejected`, `Superseded`.
pub(super) async fn read_reply(deployment: &Deployment, aws: &Aws) -> Result<Approved, StepError> {
    let stack = deployment.stack.as_str();
    let reply = deployment.reply.clone().unwrap_or_default();
    let reply: Reply = serde_json::from_value(reply).map_err(|error| {
        StepError::ApprovalRejected(format!(
            "the answer is not {{ \"approved\": true }} or false, so it was no approval: {error}"
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
                "{} was changed while its plan waited for approval",
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
