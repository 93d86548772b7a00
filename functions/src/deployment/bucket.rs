//! The objects in the bucket: their keys, reading and writing.

use aws_sdk_s3::primitives::ByteStream;
use serde::{Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};

use crate::aws::Aws;
use crate::aws::aws_error::AwsError;
use crate::aws::error::{AwsResult, StepError};

/// The condition of a write to the bucket.
#[derive(Debug, Clone, Copy)]
pub(crate) enum When<'a> {
    /// No condition.
    Always,
    /// If the object does not exist.
    Absent,
    /// If the object still has this `ETag`.
    Unchanged(&'a str),
}

/// The key of a stack's lock.
#[must_use]
pub fn lock_key(stack: &str) -> String {
    format!("stacks/{stack}/lock.json")
}

/// The key of a stack's baseline.
#[must_use]
pub fn baseline_key(stack: &str) -> String {
    format!("stacks/{stack}/baseline.json")
}

/// The key of a stack's status: the record of its last deployment.
#[must_use]
pub fn status_key(stack: &str) -> String {
    format!("stacks/{stack}/status.json")
}

/// The key of the plan that awaits approval.
#[must_use]
pub fn approval_key(stack: &str) -> String {
    format!("stacks/{stack}/approval.json")
}

/// The key of the claim on a spec's version. S3's version IDs are "URL-ready, opaque strings" of up to 1,024 bytes (S3
/// User Guide, "How S3 Versioning works"), so the key contains a hash of the version ID.
#[must_use]
pub fn claim_key(stack: &str, version: &str) -> String {
    format!("stacks/{stack}/versions/{}.json", hex::encode(&Sha256::digest(version.as_bytes())[..16]))
}

/// The key of a stack's newest plan.
#[must_use]
pub fn plan_key(stack: &str) -> String {
    format!("stacks/{stack}/plan.json")
}

/// The key of a deployment's record.
#[must_use]
pub fn history_key(stack: &str, deployment: &str) -> String {
    format!("{}{deployment}.json", history_prefix(stack))
}

/// What the keys of a stack's deployment records start with.
#[must_use]
pub fn history_prefix(stack: &str) -> String {
    format!("stacks/{stack}/history/")
}

/// Reads an object and its `ETag`; `None` if it does not exist.
pub(crate) async fn read<T: DeserializeOwned>(
    aws: &Aws,
    key: &str,
) -> Result<Option<(T, String)>, StepError> {
    let call = aws.s3().get_object().bucket(&aws.settings.bucket).key(key).send().await;
    let Some(response) = call.unless(&["NoSuchKey"]).doing(format!("reading {key}"))? else {
        return Ok(None);
    };
    let etag = response.e_tag().unwrap_or_default().to_owned();
    let bytes = body(response.body, key).await?;
    let value = serde_json::from_slice(&bytes).map_err(|error| {
        StepError::InvalidEvent(format!(
            "the record {key} in the bucket {} cannot be parsed ({error}): restore its previous version",
            aws.settings.bucket
        ))
    })?;
    Ok(Some((value, etag)))
}

/// Reads the body of an object.
pub(crate) async fn body(body: ByteStream, key: &str) -> Result<Vec<u8>, StepError> {
    let bytes = body.collect().await.map_err(|error| StepError::Transient {
        doing: format!("reading {key}"),
        source: AwsError { code: String::new(), message: error.to_string() },
    })?;
    Ok(bytes.to_vec())
}

/// Writes an object and returns its `ETag`; `None` if the condition does not hold and nothing was written.
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
    // S3 rejects a conditional write with 409 while another write is in progress, and with 412 after it.
    let refused = ["PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey"];
    let response = match when {
        When::Always => Some(call.send().await.doing(format!("writing {key}"))?),
        When::Absent | When::Unchanged(_) => {
            call.send().await.unless(&refused).doing(format!("writing {key}"))?
        }
    };
    Ok(response.map(|response| response.e_tag.unwrap_or_default()))
}

/// Deletes an object; a missing object is not an error.
pub(crate) async fn delete(aws: &Aws, key: &str) -> Result<(), StepError> {
    let call = aws.s3().delete_object().bucket(&aws.settings.bucket).key(key);
    call.send().await.doing(format!("deleting {key}")).map(drop)
}
