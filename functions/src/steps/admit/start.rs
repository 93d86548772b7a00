//! What started the execution: an S3 event by EventBridge, a schedule, or somebody by hand.

use aws_lambda_events::eventbridge::EventBridgeEvent;
use serde::Deserialize;
use serde_json::Value;
use stackdrop_specs::{Drift, StackName};

use crate::aws::Settings;
use crate::aws::error::StepError;
use crate::deployment::event::stack_of;

/// What started the execution.
#[derive(Debug)]
pub(super) enum Start {
    /// A version of an object was uploaded.
    Uploaded { key: String, version: String },
    /// An object was deleted.
    Deleted { key: String },
    /// A schedule, or somebody by hand.
    Asked(Asked),
    /// An execution was stopped by hand, or timed out.
    Interrupted(Interruption),
}

/// An execution of this workflow in which no `Catch` ran.
#[derive(Debug)]
pub(super) struct Interruption {
    /// Its ARN.
    pub(super) execution: String,
    /// Its name, which is the deployment's id.
    pub(super) name: String,
    /// The stack that it worked on.
    pub(super) stack: StackName,
    /// `ABORTED` or `TIMED_OUT`.
    status: String,
    /// Why, as whoever stopped it said.
    cause: Option<String>,
    /// When it started (RFC 3339).
    pub(super) started: String,
    /// When it ended (RFC 3339).
    pub(super) stopped: String,
}

impl Interruption {
    /// What happened to it.
    pub(super) fn said(&self) -> String {
        let cause = self.cause.as_ref().filter(|cause| !cause.is_empty());
        match (self.status.as_str(), cause) {
            ("TIMED_OUT", _) => "ran longer than the workflow allows".into(),
            (_, None) => "was stopped by hand".into(),
            (_, Some(cause)) => format!("was stopped by hand ({cause})"),
        }
    }
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
    /// To deploy: this version of the spec instead of the newest.
    #[serde(default)]
    pub(super) version: Option<String>,
    /// Whether the services' tasks are to be started anew.
    #[serde(default)]
    pub(super) refresh_image: bool,
    /// What is done about drift.
    #[serde(default)]
    pub(super) drift: Drift,
}

/// What somebody wants done with a stack.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Wish {
    #[default]
    Deploy,
    /// To look after the stack as the last good deployment left it: what a schedule asks for.
    Redeploy,
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

/// Understands an execution's input.
pub(super) fn understand(event: &Value, settings: &Settings) -> Result<Start, StepError> {
    let bucket = &settings.bucket;
    match event.get("detail-type") {
        None => return asked(event).map(Start::Asked),
        Some(kind) if kind == STATUS_CHANGE => return interruption(event, settings).map(Start::Interrupted),
        Some(_) => {}
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
    if name != *bucket {
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

/// The detail type of Step Functions' events about executions (Step Functions Developer Guide, "Automating Step
/// Functions event delivery with EventBridge").
const STATUS_CHANGE: &str = "Step Functions Execution Status Change";

/// Its detail, as far as it is needed. Times are milliseconds since 1970.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StatusChange {
    execution_arn: String,
    state_machine_arn: String,
    name: String,
    status: String,
    start_date: i64,
    stop_date: Option<i64>,
    /// Left out when it is large.
    input: Option<String>,
    cause: Option<String>,
}

fn asked(event: &Value) -> Result<Asked, StepError> {
    let asked: Asked = serde_json::from_value(event.clone()).map_err(|error| {
        StepError::InvalidEvent(format!(
            "the execution's input is neither an S3 event nor {{ \"stack\": \"NAME\" }}: {error}"
        ))
    })?;
    if asked.version.is_some() && asked.action != Wish::Deploy {
        let error = "`version` goes with `\"action\": \"deploy\"` only";
        return Err(StepError::InvalidEvent(error.into()));
    }
    Ok(asked)
}

fn interruption(event: &Value, settings: &Settings) -> Result<Interruption, StepError> {
    let no_event =
        |what: String| StepError::InvalidEvent(format!("this is no event of a stopped deployment: {what}"));
    if event.get("source").and_then(Value::as_str) != Some("aws.states") {
        return Err(no_event("its source is not aws.states".into()));
    }
    let detail = event.get("detail").cloned().unwrap_or_default();
    let change: StatusChange = serde_json::from_value(detail).map_err(|error| no_event(error.to_string()))?;
    if change.state_machine_arn != settings.state_machine {
        return Err(no_event(format!("{} is another state machine", change.state_machine_arn)));
    }
    if !["ABORTED", "TIMED_OUT"].contains(&change.status.as_str()) {
        return Err(no_event(format!("it is {}; others end by themselves", change.status)));
    }
    let input = change.input.as_deref().ok_or_else(|| no_event("it lacks the execution's input".into()))?;
    let stack = serde_json::from_str(input).ok().and_then(|input| stack_of(&input));
    let stack = stack.and_then(|stack| StackName::try_from(stack).ok());
    let stack = stack.ok_or_else(|| no_event("the execution was not of a stack".into()))?;
    let at = |millis: i64| {
        let moment = time::OffsetDateTime::from_unix_timestamp(millis / 1000).ok();
        let text =
            moment.and_then(|moment| moment.format(&time::format_description::well_known::Rfc3339).ok());
        text.unwrap_or_default()
    };
    Ok(Interruption {
        execution: change.execution_arn,
        name: change.name,
        stack,
        status: change.status,
        cause: change.cause,
        started: at(change.start_date),
        stopped: at(change.stop_date.unwrap_or(change.start_date)),
    })
}
