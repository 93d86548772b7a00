//! Approval of a plan: people reply with the token of the workflow's task.

use serde_json::{Value, json};

use super::lock::Waiting;
use super::read_newest;
use crate::aws::Aws;
use crate::aws::error::{AwsResult, StepError, names};
use crate::deployment::announce::{Announcement, Event, announce};
use crate::deployment::approval::Reply;
use crate::deployment::bucket::{self, When};
use crate::deployment::failure::Failures;
use crate::deployment::outcome::Outcome;
use crate::deployment::outputs::Outputs;
use crate::deployment::plan_id::PlanId;
use crate::deployment::record::{Approval, Lock, Record};
use crate::deployment::review::PlanReview;
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
    let review = review_of(deployment)?;
    let mut record = Record::of(deployment, Outcome::AwaitingApproval);
    let approval = Approval {
        deployment: deployment.id.clone(),
        execution: deployment.execution.clone(),
        token,
        since: aws.now(),
        plan: review.id(),
        destroying: deployment.destroying,
        reasons: review.approval.clone(),
        trigger: deployment.trigger,
        uploader: deployment.uploader.clone(),
        effects: summary::effects(&deployment.plan),
        changes: summary::changes(&deployment.plan),
        facts: record.facts.clone(),
        estimate: record.estimate.clone(),
    };
    bucket::write(aws, &bucket::approval_key(stack), &approval, When::Always).await?;
    record.message = Some(request_text(deployment, review));
    record.next = Some(how_to_reply(aws, stack, &review.id()));
    bucket::write(aws, &bucket::status_key(stack), &record, When::Always).await?;
    announce(aws, &Announcement::of(Event::AwaitingApproval, &record)).await;
    Ok(json!({}))
}

/// The review of the plan that awaits approval.
fn review_of(deployment: &Deployment) -> Result<&PlanReview, StepError> {
    let review = deployment.review.as_ref();
    review.ok_or_else(|| StepError::Defect("approval was requested before the plan was reviewed".into()))
}

/// The message of the request: why it is needed, and what the plan is.
fn request_text(deployment: &Deployment, review: &PlanReview) -> String {
    let refused = deployment.refused.as_ref().map(|refused| format!("{refused}\n")).unwrap_or_default();
    let reasons: Vec<String> = review.approval.iter().map(ToString::to_string).collect();
    let (plan, reasons) = (review.id(), reasons.join("; "));
    let destroys = if deployment.destroying { "It DESTROYS the stack. " } else { "" };
    format!("{refused}Plan {plan} needs approval: {reasons}.\n{destroys}{}", summary::of_plan(deployment))
}

fn how_to_reply(aws: &Aws, stack: &str, plan: &PlanId) -> String {
    format!(
        "Approve with `stackdrop approve {stack} --plan {plan}`, or reject with `stackdrop reject {stack}`. Without the command: \
         the token is in s3://{}/{}; `aws stepfunctions send-task-success --task-token TOKEN --task-output \
         '{{\"approved\":true,\"plan\":\"{plan}\"}}'` approves, with `false` it rejects. A newer version of the spec replaces this \
         one.",
        aws.settings.bucket,
        bucket::approval_key(stack),
    )
}

/// How many replies may not decide before the deployment ends: each one makes the execution's history longer, which has
/// at most 25,000 events (Step Functions Developer Guide, "Service quotas").
const REPLIES_MAX: u32 = 50;

/// Reads the reply. The workflow then plans again. If that is the approved plan, the deployment continues; otherwise, and if the
/// reply meant another plan, approval is requested again.
///
/// # Errors
/// `ApprovalRejected`; `Superseded` if a newer version of the spec exists.
pub(super) async fn read_reply(deployment: Deployment, aws: &Aws) -> Result<Deployment, StepError> {
    let stack = deployment.stack.as_str();
    // Without serde's message, which quotes the reply.
    let reply = Reply::read(&deployment.reply.clone().unwrap_or_default()).ok_or_else(|| {
        StepError::ApprovalRejected(
            "the reply is not of the form {\"approved\": true, \"plan\": \"ID\"}, so it does not approve the plan".into(),
        )
    })?;
    // What the services restarted meanwhile is over.
    let again = Deployment { approved: None, outputs: Outputs::default(), ..deployment.clone() };
    if reply.password_changed {
        bucket::delete(aws, &bucket::approval_key(stack)).await?;
        let replies = deployment.replies + 1;
        if replies >= REPLIES_MAX {
            let what =
                format!("{replies} replies did not decide, the last one about the database's password");
            return Err(StepError::ApprovalRejected(what));
        }
        // A restart of services is possible again, see `Decide`; one that failed, only after the password has changed again.
        return Ok(Deployment { replies, rotation_failed: Failures::new(), ..again });
    }
    let review = review_of(&deployment)?;
    if (reply.approved || reply.plan.is_some())
        && let Err(why) = reply.means(&review.fingerprint)
    {
        return refuse(again, &review.id(), reply.approved, &why);
    }
    if !reply.approved {
        let by = reply.by.map(|by| format!(" by {by}")).unwrap_or_default();
        // The message has a full stop already.
        let reason = reply.reason.map(|reason| format!(": {}", reason.trim_end_matches('.')));
        let reason = reason.unwrap_or_default();
        return Err(StepError::ApprovalRejected(format!("the plan was rejected{by}{reason}")));
    }
    if deployment.trigger == Trigger::Upload {
        let newest = read_newest(aws, &deployment.source.key, deployment.source.plan_only).await?;
        let newest = newest.map(|upload| upload.source.version);
        if newest.as_ref() != Some(&deployment.source.version) {
            return Err(StepError::Superseded(format!(
                "{} was changed while its plan awaited approval",
                deployment.source.key
            )));
        }
    }
    bucket::delete(aws, &bucket::approval_key(stack)).await?;
    let approved = Approved { fingerprint: review.fingerprint.clone(), by: reply.by, at: aws.now() };
    let deployment = Deployment { approved: Some(approved), refused: None, ..again };
    let record = Record::of(&deployment, Outcome::Running);
    bucket::write(aws, &bucket::status_key(deployment.stack.as_str()), &record, When::Always).await?;
    tracing::info!(deployment = deployment.id, plan = %review.id(), by = record.decision.and_then(|decision| decision.claimed_by), "The plan was approved.");
    Ok(deployment)
}

/// Requests approval again, because a reply meant another plan: a person approves only what that person has seen.
fn refuse(deployment: Deployment, plan: &PlanId, approves: bool, why: &str) -> Result<Deployment, StepError> {
    let what = if approves { "An approval" } else { "A rejection" };
    let refused = format!("{what} was refused, because {why}; the plan that awaited approval was {plan}.");
    let replies = deployment.replies + 1;
    if replies >= REPLIES_MAX {
        return Err(StepError::ApprovalRejected(format!("{replies} replies did not decide. {refused}")));
    }
    Ok(Deployment { replies, refused: Some(refused), ..deployment })
}

/// Ends a deployment that awaits approval, so that a newer one can take the lock; or yields to it.
///
/// # Errors
/// `Superseded` if the newer deployment yields.
pub(super) async fn end_waiting(aws: &Aws, stack: &str, lock: &Lock, how: Waiting) -> Result<(), StepError> {
    let waiting = bucket::read::<Approval>(aws, &bucket::approval_key(stack)).await?;
    let waiting =
        waiting.map(|(approval, _)| approval).filter(|waiting| waiting.deployment == lock.deployment);
    let Some(waiting) = waiting else { return Ok(()) };
    // Somebody may have replied just now: then the deployment is running, and the newer one waits.
    let closed = ["TaskTimedOut", "TaskDoesNotExist", "InvalidToken"];
    let (deployment, since) = (&waiting.deployment, &waiting.since);
    if how == Waiting::Yield {
        let reason = format!("deployment {deployment} has been awaiting approval since {since}");
        return Err(StepError::Superseded(reason));
    }
    if how == Waiting::Notify {
        let call = aws.sfn().send_task_success().task_token(&waiting.token);
        let call = call.output(json!({ "passwordChanged": true }).to_string()).send().await;
        let doing = format!("notifying deployment {deployment}, which awaits approval");
        return match call.unless(&closed).doing(doing)? {
            Some(_) => Err(StepError::Superseded(format!(
                "deployment {deployment}, which awaits approval, restarts the services and then requests approval again"
            ))),
            None => Ok(()),
        };
    }
    let call = aws
        .sfn()
        .send_task_failure()
        .task_token(&waiting.token)
        .error(names::SUPERSEDED)
        .cause("another deployment of the stack was requested while this one awaited approval");
    call.send().await.unless(&closed).doing("ending the deployment that awaits approval").map(drop)
}
