//! What the bucket remembers: locks, baselines, status and history.

use serde::{Deserialize, Serialize};

use crate::aws::Aws;
use crate::aws::error::{Answer, StepError};
use crate::deployment::bucket::{When, history_key, lock_key, plan_key, read, status_key, write};
use crate::deployment::estimate::Estimate;
use crate::deployment::outcome::Outcome;
use crate::deployment::outputs::Outputs;
use crate::deployment::plan::ComponentPlan;
use crate::deployment::state::Deployment;
use crate::deployment::state::Source;
use crate::deployment::state::Trigger;
use crate::deployment::summary;

/// Which execution is at work on a stack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Lock {
    /// Its ARN.
    pub(crate) execution: String,
    /// The deployment's id.
    pub(crate) deployment: String,
    /// When it was taken (RFC 3339).
    pub(crate) since: String,
    /// What it goes by: whoever looks after it when it was stopped needs that.
    pub(crate) source: Source,
    /// Whether it removes the stack.
    #[serde(default)]
    pub(crate) destroying: bool,
}

/// A plan that waits for approval: `stacks/NAME/approval.json`, there only as long as somebody is asked.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Approval {
    /// The deployment that waits.
    pub deployment: String,
    /// Its execution's ARN.
    pub execution: String,
    /// The task's token: whoever sends a success with it agrees, whoever sends a failure rejects.
    pub token: String,
    /// Since when it waits (RFC 3339).
    pub since: String,
    /// What would be changed, one line a resource.
    pub changes: Vec<String>,
}

/// One deployment, for people and programs: `stacks/NAME/history/DEPLOYMENT.json`, and as `status.json` the last one.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// The stack.
    pub stack: String,
    /// The deployment's id.
    pub deployment: String,
    /// The execution's ARN.
    pub execution: String,
    /// How it ended.
    pub result: Outcome,
    /// The object that it went by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// What started it.
    #[serde(default)]
    pub trigger: Trigger,
    /// When it was admitted (RFC 3339).
    pub started: String,
    /// When it ended (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
    /// The step that failed first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// The error's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What went wrong and what to do about it, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// What to do now, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// What differed in the account from what the last deployment had left, one line a resource.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drift: Vec<String>,
    /// What the plan comes to: USD a month and seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimate: Option<Estimate>,
    /// What was planned, by component.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub plan: Vec<ComponentPlan>,
    /// What it made.
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
    /// The record of a deployment as far as it has come.
    pub(crate) fn of(deployment: &Deployment, result: Outcome) -> Self {
        let Deployment { stack, id, execution, started, .. } = deployment;
        Self {
            source: Some(deployment.source.clone()),
            trigger: deployment.trigger,
            estimate: Estimate::of_deployment(deployment),
            plan: deployment.plan.clone(),
            ..Self::begin(stack.as_str(), id, execution, started.clone(), result)
        }
    }

    /// The record of a deployment of which nothing else is known yet. `started` is RFC 3339.
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
            started,
            ended: None,
            step: None,
            error: None,
            message: None,
            next: None,
            drift: Vec::new(),
            estimate: None,
            plan: Vec::new(),
            outputs: Outputs::default(),
            deleted: 0,
            remaining: Vec::new(),
        }
    }

    /// What was planned, one line a resource.
    #[must_use]
    pub fn changes(&self) -> Vec<String> {
        summary::changes(&self.plan)
    }

    /// What somebody should know of, one line each.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        summary::warnings(&self.plan)
    }
}

/// Begins to conclude the deployment of this record. `false` when that was done before, up to the freeing of the lock (a
/// function that was killed just then is invoked again): the stack may be in the hands of another deployment by now.
pub(crate) async fn claim_conclusion(aws: &Aws, record: &Record) -> Result<bool, StepError> {
    let key = history_key(&record.stack, &record.deployment);
    if write(aws, &key, record, When::Absent).await?.is_some() {
        return Ok(true);
    }
    let lock = read::<Lock>(aws, &lock_key(&record.stack)).await?;
    Ok(lock.is_some_and(|(lock, _)| lock.execution == record.execution))
}

/// Writes a deployment's record, as history and as the stack's status; of a plan, as the stack's newest plan.
pub(crate) async fn keep(aws: &Aws, record: &Record) -> Result<(), StepError> {
    write(aws, &history_key(&record.stack, &record.deployment), record, When::Always).await?;
    let planned = record.result == Outcome::Planned;
    let newest = if planned { plan_key(&record.stack) } else { status_key(&record.stack) };
    write(aws, &newest, record, When::Always).await.map(drop)
}

/// Frees the stack's lock, if it is still the one with this `ETag`: if another execution has taken it over, it stays.
pub(crate) async fn unlock(aws: &Aws, stack: &str, etag: &str) -> Result<(), StepError> {
    let key = lock_key(stack);
    let call = aws.s3().delete_object().bucket(&aws.settings.bucket).key(&key).if_match(etag).send().await;
    call.unless(&["PreconditionFailed", "NoSuchKey"]).doing("freeing the lock").map(drop)
}
