//! The records in the bucket: locks, approvals, status and history.

use serde::{Deserialize, Serialize};

use crate::aws::Aws;
use crate::aws::error::{AwsResult, StepError};
use crate::deployment::approval::{ApprovalReason, Decision};
use crate::deployment::bucket::{When, history_key, lock_key, plan_key, read, status_key, write};
use crate::deployment::effect::Effect;
use crate::deployment::estimate::Estimate;
use crate::deployment::facts;
use crate::deployment::outcome::Outcome;
use crate::deployment::outputs::Outputs;
use crate::deployment::plan::ComponentPlan;
use crate::deployment::plan_id::PlanId;
use crate::deployment::review::PlanReview;
use crate::deployment::state::{Deployment, Source, Trigger, Uploader};
use crate::deployment::summary;

/// A stack's lock: names the execution that holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Lock {
    /// The execution's ARN.
    pub(crate) execution: String,
    /// The deployment's ID.
    pub(crate) deployment: String,
    /// When the lock was taken (RFC 3339).
    pub(crate) since: String,
    /// The spec of the deployment: needed to clean up after the execution if it is stopped.
    pub(crate) source: Source,
    /// Whether the deployment destroys the stack.
    #[serde(default)]
    pub(crate) destroying: bool,
    /// Whether the deployment changes nothing that a rollback would have to repair: it only reports differences, or cleans up after
    /// one that still awaited approval.
    #[serde(default)]
    pub(crate) changes_nothing: bool,
}

/// A plan that awaits approval: `stacks/NAME/approval.json`, which exists only until the reply.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Approval {
    /// The deployment's ID.
    pub deployment: String,
    /// The execution's ARN.
    pub execution: String,
    /// The task token: a task success with it approves the plan, a task failure rejects it.
    pub token: String,
    /// When approval was requested (RFC 3339).
    pub since: String,
    /// The plan's ID, which the reply must name.
    pub plan: PlanId,
    /// Whether it destroys the stack.
    #[serde(default)]
    pub destroying: bool,
    /// Why it needs approval.
    #[serde(default)]
    pub reasons: Vec<ApprovalReason>,
    /// What started the deployment.
    #[serde(default)]
    pub trigger: Trigger,
    /// Who uploaded the spec.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uploader: Option<Uploader>,
    /// What the plan deletes for good, interrupts or opens.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub effects: Vec<Effect>,
    /// The changes, one line for each resource.
    pub changes: Vec<String>,
    /// What the spec asks for, one line each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub facts: Vec<String>,
    /// The plan's cost (USD a month) and duration (seconds).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimate: Option<Estimate>,
}

/// The record of a deployment, for people and programs: `stacks/NAME/history/DEPLOYMENT.json`. The record of the stack's
/// last deployment is also in `status.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// The stack.
    pub stack: String,
    /// The deployment's ID.
    pub deployment: String,
    /// The execution's ARN.
    pub execution: String,
    /// The outcome so far.
    pub result: Outcome,
    /// The spec.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// What started the deployment.
    #[serde(default)]
    pub trigger: Trigger,
    /// Who uploaded the spec, if an upload started the deployment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uploader: Option<Uploader>,
    /// When the deployment was admitted (RFC 3339).
    pub started: String,
    /// When the deployment ended (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
    /// The step that failed first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// The error's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What happened, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// What to do next, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// The differences between the account and the last deployment, one line for each resource.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drift: Vec<String>,
    /// The plan's cost (USD a month) and duration (seconds).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimate: Option<Estimate>,
    /// The plan's ID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan_id: Option<PlanId>,
    /// Why the plan needs approval.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approval_reasons: Vec<ApprovalReason>,
    /// Who approved or rejected the plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<Decision>,
    /// Whether it destroys the stack.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub destroying: bool,
    /// What the spec asks for, one line each: of a stack's first plan, and of one that needs approval.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub facts: Vec<String>,
    /// The plans of the components.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub plan: Vec<ComponentPlan>,
    /// The components' outputs.
    #[serde(default)]
    pub outputs: Outputs,
    /// How many resources the rollback, or the destruction of the stack, deleted.
    #[serde(default)]
    pub deleted: usize,
    /// What could not be deleted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remaining: Vec<String>,
}

impl Record {
    /// The record of a deployment in its current state.
    pub(crate) fn of(deployment: &Deployment, result: Outcome) -> Self {
        let Deployment { stack, id, execution, started, review, .. } = deployment;
        Self {
            uploader: deployment.uploader.clone(),
            plan_id: review.as_ref().map(PlanReview::id),
            approval_reasons: review.as_ref().map(|review| review.approval.clone()).unwrap_or_default(),
            decision: deployment.decision(),
            destroying: deployment.destroying,
            facts: facts::of(deployment),
            source: Some(deployment.source.clone()),
            trigger: deployment.trigger,
            estimate: Estimate::of_deployment(deployment),
            plan: deployment.plan.clone(),
            ..Self::begin(stack.as_str(), id, execution, started.clone(), result)
        }
    }

    /// The record of a deployment that has just begun. `started` is RFC 3339.
    pub(crate) fn begin(
        stack: &str,
        deployment: &str,
        execution: &str,
        started: String,
        result: Outcome,
    ) -> Self {
        Self {
            stack: stack.into(),
            deployment: deployment.into(),
            execution: execution.into(),
            result,
            source: None,
            trigger: Trigger::default(),
            uploader: None,
            started,
            ended: None,
            step: None,
            error: None,
            message: None,
            next: None,
            drift: Vec::new(),
            estimate: None,
            plan_id: None,
            approval_reasons: Vec::new(),
            decision: None,
            destroying: false,
            facts: Vec::new(),
            plan: Vec::new(),
            outputs: Outputs::default(),
            deleted: 0,
            remaining: Vec::new(),
        }
    }

    /// The planned changes, one line for each resource.
    #[must_use]
    pub fn changes(&self) -> Vec<String> {
        summary::changes(&self.plan)
    }

    /// The warnings, one line each.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        summary::warnings(&self.plan)
    }
}

/// Claims the right to conclude this record's deployment. `false` if an earlier invocation of Conclude, which may have been
/// killed, already released the lock: another deployment of the stack may be running by now.
pub(crate) async fn claim_conclusion(aws: &Aws, record: &Record) -> Result<bool, StepError> {
    let key = history_key(&record.stack, &record.deployment);
    if write(aws, &key, record, When::Absent).await?.is_some() {
        return Ok(true);
    }
    let lock = read::<Lock>(aws, &lock_key(&record.stack)).await?;
    Ok(lock.is_some_and(|(lock, _)| lock.execution == record.execution))
}

/// Writes a deployment's record as history and as the stack's status.
pub(crate) async fn save(aws: &Aws, record: &Record) -> Result<(), StepError> {
    write(aws, &history_key(&record.stack, &record.deployment), record, When::Always).await?;
    write(aws, &status_key(&record.stack), record, When::Always).await.map(drop)
}

/// Writes the record of an execution that only planned as history and, unless a newer one has ended before it, as the stack's
/// newest plan.
pub(crate) async fn save_plan(aws: &Aws, record: &Record) -> Result<(), StepError> {
    write(aws, &history_key(&record.stack, &record.deployment), record, When::Always).await?;
    let key = plan_key(&record.stack);
    let newest = read::<Record>(aws, &key).await?;
    // Plans take no lock. Times in the form of RFC 3339, with the same zone, have the order of their texts.
    if newest.is_some_and(|(newest, _)| newest.started > record.started) {
        return Ok(());
    }
    write(aws, &key, record, When::Always).await.map(drop)
}

/// Releases the stack's lock if it still has this `ETag`. If another execution has taken it over, the lock stays.
pub(crate) async fn unlock(aws: &Aws, stack: &str, etag: &str) -> Result<(), StepError> {
    let key = lock_key(stack);
    let call = aws.s3().delete_object().bucket(&aws.settings.bucket).key(&key).if_match(etag).send().await;
    call.unless(&["PreconditionFailed", "NoSuchKey"]).doing("releasing the lock").map(drop)
}
