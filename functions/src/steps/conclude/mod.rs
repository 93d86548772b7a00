//! The last step: records how the deployment ended, updates the schedule, releases the lock, announces.

mod advice;
mod verdict;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::aws::Aws;
use crate::aws::error::StepError;
use crate::components::{database, load_balancer};
use crate::contract::component::Work;
use crate::contract::handler::{Function, request, respond};
use crate::deployment::announce::{Announcement, Event, announce};
use crate::deployment::approval::{Decision, Reply};
use crate::deployment::bucket::{self, When};
use crate::deployment::failure::Failure;
use crate::deployment::outcome::Outcome;
use crate::deployment::outputs::Outputs;
use crate::deployment::record::{self, Record};
use crate::deployment::state::{Baseline, Deployment};
use crate::deployment::{schedule, summary};
use verdict::Verdict;

/// The function's name.
pub const NAME: &str = "conclude";

/// The function.
pub const FUNCTION: Function = Function::new(NAME, |payload, aws| Box::pin(run(payload, aws)));

#[derive(Debug, Deserialize)]
struct Request {
    deployment: Deployment,
}

/// The result of the workflow: what the last states branch on, and what an execution's output shows.
#[derive(Debug, Serialize)]
struct Conclusion<'a> {
    result: Outcome,
    /// Whether the execution succeeds.
    succeeded: bool,
    error: Option<&'a str>,
    cause: Option<&'a str>,
    outputs: &'a Outputs,
    deleted: usize,
    remaining: &'a [String],
}

/// Concludes a deployment.
///
/// # Errors
/// When the bucket, the scheduler or RDS refuse a call.
pub(crate) async fn run(payload: Value, aws: &Aws) -> Result<Value, StepError> {
    let Request { deployment } = request(NAME, payload)?;
    let verdict = Verdict::of(&deployment, &aws.settings.version);
    let mut record = record(aws, &deployment, verdict);
    let plan_only = deployment.source.plan_only;
    if plan_only {
        record::save_plan(aws, &record).await?;
    } else if record::claim_conclusion(aws, &record).await? {
        conclude(aws, &deployment, &mut record).await?;
    }
    // A plan that could not be made is no failed deployment.
    if !plan_only || record.result == Outcome::Planned {
        announce_end(aws, &record).await;
    }
    respond(&Conclusion {
        result: record.result,
        succeeded: plan_only || record.result.is_success(),
        error: record.error.as_deref(),
        cause: record.message.as_deref(),
        outputs: &record.outputs,
        deleted: record.deleted,
        remaining: &record.remaining,
    })
}

/// Writes what the next deployment needs, the baseline, the schedule and the records, then releases the stack's lock.
async fn conclude(aws: &Aws, deployment: &Deployment, record: &mut Record) -> Result<(), StepError> {
    let stack = deployment.stack.as_str();
    if deployment.destroying && deployment.failed.is_empty() && !deployment.deletions.is_empty() {
        // Also when resources remain: the next scheduled redeploy must not create the stack again.
        schedule::delete(aws, stack).await?;
    }
    match record.result {
        // The stack's spec and its resources are the same as before.
        Outcome::Succeeded if deployment.is_rotation() => {}
        // Another spec without a difference was not deployed: nobody was asked whether it may become the deployed one.
        Outcome::Succeeded if deployment.report_only && !deployment.is_unchanged() => {}
        Outcome::Succeeded => {
            let warnings = succeed(aws, deployment, &record.outputs).await?;
            let message = record.message.take().into_iter().chain(warnings).collect::<Vec<_>>().join("\n");
            record.message = Some(message).filter(|message| !message.is_empty());
        }
        // A rollback that failed has not pruned; one that left something alone has not pruned everything; without a rollback, all
        // is kept.
        Outcome::RollbackFailed | Outcome::Kept | Outcome::Failed
            if record.result != Outcome::Failed || !deployment.left_alone().is_empty() =>
        {
            if let Some(baseline) = &deployment.baseline {
                let attempted = deployment.attempted.as_ref().unwrap_or(&deployment.spec);
                let baseline = baseline.clone().unpruned_of(Some(attempted));
                bucket::write(aws, &bucket::baseline_key(stack), &baseline, When::Always).await?;
            }
        }
        Outcome::Destroyed => bucket::delete(aws, &bucket::baseline_key(stack)).await?,
        _ => {}
    }
    record::save(aws, record).await?;
    if deployment.asked_for_approval() {
        bucket::delete(aws, &bucket::approval_key(stack)).await?;
    }
    record::unlock(aws, stack, &deployment.lock).await
}

/// Announces how the deployment ended, and any drift that it found.
async fn announce_end(aws: &Aws, record: &Record) {
    // Warnings alone are not announced as drift, or they would be announced every night: the record, the status and the plan list them.
    if !record.drift.is_empty() {
        announce(aws, &Announcement::of(Event::DriftFound, record)).await;
    }
    let event = match record.result {
        Outcome::Planned => Event::Planned,
        result if result.is_success() => Event::Succeeded,
        _ => Event::Failed,
    };
    announce(aws, &Announcement::of(event, record)).await;
}

/// The result, with an error as a warning: the stack is deployed whatever AWS refuses then, or does not do. What AWS works on,
/// and a transient error, stay errors.
fn unless_retried<T>(result: Result<T, StepError>) -> Result<Result<T, String>, StepError> {
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(error @ (StepError::Pending(_) | StepError::Transient { .. })) => Err(error),
        Err(error) => Ok(Err(format!("Deployment succeeded, with a warning: {}", error.chain()))),
    }
}

/// Makes the deployment the baseline, then does what follows a success. A call that AWS refuses
/// there becomes a warning, because the stack is deployed.
async fn succeed(aws: &Aws, deployment: &Deployment, outputs: &Outputs) -> Result<Vec<String>, StepError> {
    let mut warnings = Vec::new();
    let scheduled = unless_retried(schedule::apply(aws, deployment).await)?;
    let unscheduled = scheduled.is_err();
    match scheduled {
        Ok(false) => {}
        Ok(true) => warnings
            .push("Somebody had changed or deleted the stack's schedule: it is as in the spec again.".into()),
        Err(warning) => warnings.push(warning),
    }
    let baseline = Baseline {
        deployment: deployment.id.clone(),
        made_by: made_by(aws, deployment),
        key: deployment.source.key.clone(),
        version: deployment.source.version.clone(),
        spec: deployment.spec.clone(),
        outputs: outputs.clone(),
        unpruned: false,
        unpruned_spec: None,
        unscheduled,
    };
    let baseline = if deployment.prune_failed.is_empty() {
        baseline
    } else {
        let previous = deployment.baseline.as_ref();
        let unpruned_spec = previous.and_then(|previous| previous.unpruned_spec.clone());
        Baseline { unpruned_spec, ..baseline }.unpruned_of(previous.map(|previous| &previous.spec))
    };
    let key = bucket::baseline_key(deployment.stack.as_str());
    bucket::write(aws, &key, &baseline, When::Always).await?;
    if deployment.outputs.network.is_some() {
        let work = Work::new(aws, deployment);
        warnings.extend(unless_retried(database::protect(&work).await)?.err());
        warnings.extend(unless_retried(database::set_rotation_rules(&work).await)?.err());
        warnings.extend(unless_retried(load_balancer::protect(&work).await)?.err());
    }
    Ok(warnings)
}

/// The version whose work the stack is: the previous one while differences that a new version causes are only reported.
fn made_by(aws: &Aws, deployment: &Deployment) -> String {
    let differs = deployment.review.as_ref().is_some_and(|review| review.changes);
    let previous = deployment.made_by.clone().filter(|_| differs);
    previous.unwrap_or_else(|| aws.settings.version.clone())
}

/// Whether a difference that the deployment finds is drift: the spec has not changed since the last deployment. The plan of a
/// destroy has no differences.
fn looks_for_drift(deployment: &Deployment) -> bool {
    deployment.is_unchanged() && !deployment.source.plan_only && !deployment.destroying
}

fn record(aws: &Aws, deployment: &Deployment, verdict: Verdict) -> Record {
    let outputs = if verdict.outcome.keeps_its_resources() {
        outputs(deployment)
    } else {
        // A failed deployment's own resources are deleted; those of the baseline are still there.
        let baseline = deployment.baseline.as_ref().filter(|_| verdict.outcome != Outcome::Destroyed);
        baseline.map(|baseline| baseline.outputs.clone()).unwrap_or_default()
    };
    let drift = if looks_for_drift(deployment) { summary::drift(&deployment.plan) } else { Vec::new() };
    let next = advice::next_step(deployment, &verdict);
    let decision = deployment.decision();
    Record {
        decision: decision.or_else(|| rejection(aws, deployment, verdict.outcome)),
        ended: Some(aws.now()),
        step: verdict.step,
        error: verdict.error,
        message: verdict.message,
        next,
        drift,
        outputs,
        deleted: verdict.deleted,
        remaining: verdict.remaining,
        ..Record::of(deployment, verdict.outcome)
    }
}

/// Who rejected the plan: the reply says it, or nobody does if somebody let the task fail.
fn rejection(aws: &Aws, deployment: &Deployment, outcome: Outcome) -> Option<Decision> {
    let review = deployment.review.as_ref().filter(|_| outcome == Outcome::ApprovalRejected)?;
    let of_task = deployment.not_approved.get("AwaitApproval");
    let reply = deployment.reply.as_ref().filter(|_| of_task.is_none()).and_then(Reply::read);
    // The last of too many replies that meant another plan may be an approval.
    let reply = reply.filter(|reply| !reply.approved);
    let is_given = |reason: &String| !["", verdict::TASK_FAILED].contains(&reason.as_str());
    let reason = of_task.map(Failure::message).filter(is_given);
    Some(Decision {
        plan: review.id(),
        approved: false,
        at: aws.now(),
        claimed_by: reply.as_ref().and_then(|reply| reply.by.clone()),
        reason: reply.and_then(|reply| reply.reason).or(reason),
    })
}

/// The outputs of the stack: those that the components reported once stable, over those of the earlier steps, over the
/// baseline's where a deployment changed nothing.
fn outputs(deployment: &Deployment) -> Outputs {
    if deployment.outputs.network.is_none() && deployment.failed.is_empty() {
        return deployment.baseline.as_ref().map(|baseline| baseline.outputs.clone()).unwrap_or_default();
    }
    deployment.stable.clone().or(&deployment.outputs)
}
