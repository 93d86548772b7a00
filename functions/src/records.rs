//! What the bucket remembers: locks, baselines, status and history.

use aws_sdk_s3::primitives::ByteStream;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::aws::Aws;
use crate::component::Outputs;
use crate::error::{Answer, StepError};
use crate::stack::Source;

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

pub(crate) fn plan_key(stack: &str) -> String {
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
    let call = aws.s3.get_object().bucket(&aws.settings.bucket).key(key).send().await;
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
    let call = aws.s3.put_object().bucket(&aws.settings.bucket).key(key);
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

/// Writes a deployment's record, as history and, unless it was only a plan, as the stack's status.
pub(crate) async fn keep(aws: &Aws, record: &Record) -> Result<(), StepError> {
    write(aws, &history_key(&record.stack, &record.deployment), record, When::Always).await?;
    if record.result != Outcome::Planned {
        write(aws, &status_key(&record.stack), record, When::Always).await?;
    }
    Ok(())
}

/// Deletes an object; one that is not there is no error.
pub(crate) async fn delete(aws: &Aws, key: &str) -> Result<(), StepError> {
    let call = aws.s3.delete_object().bucket(&aws.settings.bucket).key(key);
    call.send().await.doing(format!("deleting {key}")).map(drop)
}

/// Frees the stack's lock, if it is still the one with this `ETag`: if another execution has taken it over, it stays.
pub(crate) async fn unlock(aws: &Aws, stack: &str, etag: &str) -> Result<(), StepError> {
    let key = lock_key(stack);
    let call = aws.s3.delete_object().bucket(&aws.settings.bucket).key(&key).if_match(etag).send().await;
    call.unless(&["PreconditionFailed", "NoSuchKey"]).doing("freeing the lock").map(drop)
}

/// Announces how a deployment ended. The record carries no secret: neither specs nor outputs have any.
pub(crate) async fn announce(aws: &Aws, record: &Record) -> Result<(), StepError> {
    let text = serde_json::to_string_pretty(record)
        .map_err(|error| StepError::Defect(format!("writing the announcement: {error}")))?;
    let subject = format!("Stackdrop: {} {:?}", record.stack, record.result);
    let call = aws.sns.publish().topic_arn(&aws.settings.topic).subject(subject).message(text);
    call.send().await.doing("announcing how the deployment ended").map(drop)
}
