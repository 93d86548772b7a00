//! What started the execution: an S3 event by EventBridge, a schedule, or somebody by hand.

use aws_lambda_events::eventbridge::EventBridgeEvent;
use serde::Deserialize;
use serde_json::Value;
use stackdrop_specs::StackName;

use crate::error::StepError;

/// What started the execution.
#[derive(Debug)]
pub(super) enum Start {
    /// A version of an object was uploaded.
    Uploaded { key: String, version: String },
    /// An object was deleted.
    Deleted { key: String },
    /// A schedule, or somebody by hand: whatever version of the spec there is.
    Asked(Asked),
}

/// The input of a schedule, or of an execution started by hand.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Asked {
    /// The stack's name.
    pub(super) stack: StackName,
    /// What to do with it.
    #[serde(default)]
    pub(super) action: Wish,
    /// Whether the services' tasks are to be started anew.
    #[serde(default)]
    pub(super) refresh_image: bool,
}

/// What somebody wants done with a stack.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Wish {
    #[default]
    Deploy,
    Plan,
    Destroy,
}

/// The detail of S3's EventBridge events (Amazon S3 User Guide, "EventBridge event message structure"). The key is
/// not URL-encoded there.
#[derive(Debug, Deserialize)]
struct Detail {
    bucket: Bucket,
    object: Object,
}

#[derive(Debug, Deserialize)]
struct Bucket {
    name: String,
}

#[derive(Debug, Deserialize)]
struct Object {
    key: String,
    #[serde(rename = "version-id")]
    version: Option<String>,
}

/// How a spec's key may end.
pub(super) const EXTENSIONS: [&str; 3] = ["yaml", "yml", "json"];

/// Understands an execution's input.
pub(super) fn understand(event: &Value, bucket: &str) -> Result<Start, StepError> {
    if event.get("detail-type").is_none() {
        let asked = serde_json::from_value(event.clone()).map_err(|error| {
            StepError::InvalidEvent(format!(
                "the execution's input is neither an S3 event nor {{ \"stack\": \"NAME\" }}: {error}"
            ))
        })?;
        return Ok(Start::Asked(asked));
    }
    let no_event =
        |error: serde_json::Error| StepError::InvalidEvent(format!("this is no S3 event: {error}"));
    let event: EventBridgeEvent = serde_json::from_value(event.clone()).map_err(no_event)?;
    let deleted = event.detail_type == "Object Deleted";
    if event.source != "aws.s3" || !(deleted || event.detail_type == "Object Created") {
        return Err(StepError::InvalidEvent(format!(
            "a \"{}\" event of {} starts nothing; only \"Object Created\" and \"Object Deleted\" of aws.s3 do",
            event.detail_type, event.source
        )));
    }
    let detail: Detail = serde_json::from_value(event.detail).map_err(no_event)?;
    let Detail { bucket: Bucket { name }, object: Object { key, version } } = detail;
    if name != bucket {
        return Err(StepError::InvalidEvent(format!(
            "the event is of the bucket {name}, but specs are read from {bucket}"
        )));
    }
    if deleted {
        return Ok(Start::Deleted { key });
    }
    // Where versioning is suspended every object has the version "null" (Amazon S3 User Guide, "Working with objects in a
    // versioning-suspended bucket"): two uploads could not be told apart.
    let version = version.filter(|version| version != "null").ok_or_else(|| {
        StepError::InvalidEvent(format!(
            "the event names no version: turn on versioning of the bucket {bucket}"
        ))
    })?;
    Ok(Start::Uploaded { key, version })
}

/// The stack's name and whether it is for planning only, from an object's key.
pub(super) fn parts_of(key: &str) -> Result<(StackName, bool), StepError> {
    let (plan_only, file) = match key.split_once('/') {
        Some(("specs", file)) => (false, file),
        Some(("plans", file)) => (true, file),
        _ => return Err(bad_key(key)),
    };
    let (name, extension) = file.rsplit_once('.').ok_or_else(|| bad_key(key))?;
    if !EXTENSIONS.contains(&extension) {
        return Err(bad_key(key));
    }
    let stack = StackName::try_from(name.to_owned()).map_err(StepError::InvalidEvent)?;
    Ok((stack, plan_only))
}

fn bad_key(key: &str) -> StepError {
    StepError::InvalidEvent(format!(
        "the object {key:?} is no spec: its key must be specs/NAME.yaml or plans/NAME.yaml (or .yml, .json)"
    ))
}
