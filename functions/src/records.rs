//! What the bucket remembers: locks, baselines, status and history.

use aws_sdk_s3::primitives::ByteStream;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::aws::Aws;
use crate::component::Outputs;
use crate::error::{Answer, StepError};
use crate::estimate::Estimate;
use crate::stack::Source;
use crate::summary;

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

/// How a deployment ended, or that it is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// It is under way.
    Running,
    /// The stack is as the spec says.
    Succeeded,
    /// The plan was asked for, and is in the record; nothing was changed.
    Planned,
    /// A newer version of the spec, or another deployment of the same one, took its place; nothing was changed.
    Superseded,
    /// The spec or the event was refused; nothing was changed.
    Rejected,
    /// The stack was removed.
    Destroyed,
    /// The spec was deleted, and the stack stays (`onDelete: retain`).
    Retained,
    /// It failed and everything that it made was removed, or the baseline was restored.
    Failed,
    /// It failed, and was left as it stood (`onFailure: keep`).
    Kept,
    /// It failed, and so did the undo: the record names what is left.
    UndoFailed,
    /// Its plan waits until somebody agrees to it; nothing was changed.
    Waiting,
    /// Somebody rejected its plan; nothing was changed.
    Declined,
    /// The account is not as the last deployment left it, which was only to be reported (`drift: report`).
    Drifted,
    /// Its execution was stopped by hand or timed out; another deployment looks after what it left.
    Interrupted,
}

impl Outcome {
    /// What a person would say of a deployment.
    #[must_use]
    pub fn in_words(self) -> &'static str {
        match self {
            Self::Running => "is under way",
            Self::Succeeded => "the stack is as its spec says",
            Self::Planned => "the plan is made, nothing was changed",
            Self::Superseded => "was superseded",
            Self::Rejected => "was refused",
            Self::Destroyed => "the stack was removed",
            Self::Retained => "the stack stays, though its spec was deleted",
            Self::Failed => "failed",
            Self::Kept => "failed, and was left as it stood",
            Self::UndoFailed => "failed, and could not be undone",
            Self::Waiting => "waits for approval",
            Self::Declined => "was rejected, nothing was changed",
            Self::Drifted => "the account is not as the last deployment left it",
            Self::Interrupted => "was stopped",
        }
    }
}

/// What started a deployment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trigger {
    /// A version of a spec was uploaded.
    Upload,
    /// A spec was deleted.
    Deletion,
    /// Somebody started the execution.
    #[default]
    Hand,
    /// The stack's schedule.
    Schedule,
    /// An execution that was stopped or timed out.
    Interruption,
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
    pub plan: Vec<Value>,
    /// What it made.
    #[serde(default)]
    pub outputs: Outputs,
    /// How many resources the undo removed.
    #[serde(default)]
    pub removed: usize,
    /// What the undo could not remove.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left: Vec<String>,
}

impl Record {
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
            removed: 0,
            left: Vec::new(),
        }
    }

    /// What was planned, one line a resource.
    #[must_use]
    pub fn changes(&self) -> Vec<String> {
        summary::lines(&self.plan)
    }

    /// What somebody should know of, one line each.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        summary::warnings(&self.plan)
    }
}

/// When a write to the bucket is to happen.
#[derive(Debug, Clone, Copy)]
pub(crate) enum When<'a> {
    /// In any case.
    Always,
    /// If there is no such object.
    Absent,
    /// If the object is still the one with this `ETag`.
    Unchanged(&'a str),
}

pub(crate) fn lock_key(stack: &str) -> String {
    format!("stacks/{stack}/lock.json")
}

pub(crate) fn baseline_key(stack: &str) -> String {
    format!("stacks/{stack}/baseline.json")
}

pub(crate) fn status_key(stack: &str) -> String {
    format!("stacks/{stack}/status.json")
}

pub(crate) fn approval_key(stack: &str) -> String {
    format!("stacks/{stack}/approval.json")
}

/// The claim on a version of a spec. S3's version ids are "URL-ready, opaque strings" of up to 1,024 bytes (S3 User
/// Guide, "How S3 Versioning works"), so the key has a hash of one.
pub(crate) fn claim_key(stack: &str, version: &str) -> String {
    format!("stacks/{stack}/versions/{}.json", hex::encode(&Sha256::digest(version.as_bytes())[..16]))
}

fn plan_key(stack: &str) -> String {
    format!("stacks/{stack}/plan.json")
}

pub(crate) fn history_key(stack: &str, deployment: &str) -> String {
    format!("stacks/{stack}/history/{deployment}.json")
}

/// An object of the bucket with its `ETag`, if it is there.
pub(crate) async fn read<T: DeserializeOwned>(
    aws: &Aws,
    key: &str,
) -> Result<Option<(T, String)>, StepError> {
    let call = aws.s3().get_object().bucket(&aws.settings.bucket).key(key).send().await;
    let Some(answer) = call.unless(&["NoSuchKey"]).doing(format!("reading {key}"))? else { return Ok(None) };
    let etag = answer.e_tag().unwrap_or_default().to_owned();
    let bytes = body(answer.body, key).await?;
    let value = serde_json::from_slice(&bytes).map_err(|error| {
        StepError::InvalidEvent(format!(
            "the record {key} in the bucket {} can't be read ({error}): restore its previous version",
            aws.settings.bucket
        ))
    })?;
    Ok(Some((value, etag)))
}

/// The bytes of an object that is being read.
pub(crate) async fn body(body: ByteStream, key: &str) -> Result<Vec<u8>, StepError> {
    let bytes = body.collect().await.map_err(|error| StepError::Transient {
        doing: format!("reading {key}"),
        source: crate::error::AwsError { code: String::new(), message: error.to_string() },
    })?;
    Ok(bytes.to_vec())
}

/// Writes an object, and returns its `ETag`; `None` when the condition does not hold, so that it was not written.
pub(crate) async fn write(
    aws: &Aws,
    key: &str,
    value: &impl Serialize,
    when: When<'_>,
) -> Result<Option<String>, StepError> {
    let text = serde_json::to_vec_pretty(value)
        .map_err(|error| StepError::Defect(format!("writing {key}: {error}")))?;
    let call = aws.s3().put_object().bucket(&aws.settings.bucket).key(key);
    let call = call.content_type("application/json").body(ByteStream::from(text));
    let call = match when {
        When::Always => call,
        When::Absent => call.if_none_match("*"),
        When::Unchanged(etag) => call.if_match(etag),
    };
    // A conditional write that races with another is refused with 409, one that comes late with 412.
    let refused = ["PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey"];
    let answer = match when {
        When::Always => Some(call.send().await.doing(format!("writing {key}"))?),
        When::Absent | When::Unchanged(_) => {
            call.send().await.unless(&refused).doing(format!("writing {key}"))?
        }
    };
    Ok(answer.map(|answer| answer.e_tag.unwrap_or_default()))
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

/// Deletes an object; one that is not there is no error.
pub(crate) async fn delete(aws: &Aws, key: &str) -> Result<(), StepError> {
    let call = aws.s3().delete_object().bucket(&aws.settings.bucket).key(key);
    call.send().await.doing(format!("deleting {key}")).map(drop)
}

/// Frees the stack's lock, if it is still the one with this `ETag`: if another execution has taken it over, it stays.
pub(crate) async fn unlock(aws: &Aws, stack: &str, etag: &str) -> Result<(), StepError> {
    let key = lock_key(stack);
    let call = aws.s3().delete_object().bucket(&aws.settings.bucket).key(&key).if_match(etag).send().await;
    call.unless(&["PreconditionFailed", "NoSuchKey"]).doing("freeing the lock").map(drop)
}
