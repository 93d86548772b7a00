//! The execution's input: an event from S3 or Step Functions, or the request of a schedule or a person.

use std::collections::BTreeSet;

use aws_lambda_events::eventbridge::EventBridgeEvent;
use serde::Deserialize;
use serde_json::Value;
use stackdrop_specs::{Drift, StackName};

use crate::aws::Settings;
use crate::aws::error::StepError;
use crate::deployment::consent::Consent;
use crate::deployment::event::{self, stack_of};
use crate::deployment::failure::message_of;
use crate::deployment::state::{Trigger, Uploader};

/// The execution's input.
#[derive(Debug)]
pub(super) enum Input {
    /// A version of an object was uploaded.
    Uploaded { key: String, version: String, uploader: Option<Uploader> },
    /// An object was deleted.
    Deleted { key: String, uploader: Option<Uploader> },
    /// A schedule or a person requested an action.
    Manual(ManualRequest),
    /// An execution failed, was stopped by hand or timed out.
    Interrupted(Interruption),
    /// The password of an RDS instance has changed.
    PasswordChanged(PasswordChange),
    /// An execution that restarted services after such a change failed, or the cleanup after it was interrupted.
    RestartEnded { password: PasswordChange, ended: StatusChange, cleaned_up: bool },
    /// Nothing to do, and why.
    Harmless(String),
}

/// A change of the password of an RDS instance.
#[derive(Debug)]
pub(super) struct PasswordChange {
    /// The ARN of the secret.
    pub(super) secret: String,
    /// When it changed (seconds since 1970).
    pub(super) at: i64,
}

impl Input {
    /// Who uploaded or deleted the spec.
    pub(super) fn uploader(&self) -> Option<&Uploader> {
        match self {
            Self::Uploaded { uploader, .. } | Self::Deleted { uploader, .. } => uploader.as_ref(),
            _ => None,
        }
    }

    /// What started the execution.
    pub(super) fn trigger(&self) -> Trigger {
        match self {
            Self::Uploaded { .. } => Trigger::Upload,
            Self::Deleted { .. } => Trigger::Deletion,
            Self::Manual(request) if request.scheduled => Trigger::Schedule,
            Self::Manual(_) => Trigger::Manual,
            Self::PasswordChanged(_) => Trigger::Rotation,
            Self::Interrupted(_) | Self::RestartEnded { .. } | Self::Harmless(_) => Trigger::Interruption,
        }
    }
}

/// An execution of this workflow that was stopped or timed out, or that Step Functions ended, so that no `Catch` ran; or one
/// that failed by itself, which has released its lock.
#[derive(Debug)]
pub(super) struct Interruption {
    /// The execution's ARN.
    pub(super) execution: String,
    /// The execution's name, which is the deployment's ID.
    pub(super) name: String,
    /// The stack of its deployment.
    pub(super) stack: StackName,
    /// `ABORTED`, `FAILED` or `TIMED_OUT`.
    status: String,
    /// The name of the error, if it failed.
    error: Option<String>,
    /// The cause that was given when it was stopped, or that of the error.
    cause: Option<String>,
    /// Whether it cleaned up after another execution itself.
    cleaned_up: bool,
    /// When it started (RFC 3339).
    pub(super) started: String,
    /// When it ended (RFC 3339).
    pub(super) stopped: String,
    /// Whether it only changed the database's password, or only restarted the services after that.
    pub(super) rotates: bool,
}

impl Interruption {
    /// What happened to the execution, after its name.
    pub(super) fn description(&self) -> String {
        let cause = self.cause.as_ref().filter(|cause| !cause.is_empty());
        match (self.status.as_str(), cause) {
            ("TIMED_OUT", _) => "ran longer than the workflow allows".into(),
            ("FAILED", cause) => {
                let error = self.error.as_deref().unwrap_or("no error");
                let cause = cause.map(|cause| format!(": {}", without_input(&message_of(cause))));
                let cause = cause.unwrap_or_default();
                format!("was ended by Step Functions ({error}{cause})")
            }
            (_, None) => "was stopped by hand".into(),
            (_, Some(cause)) => format!("was stopped by hand ({cause})"),
        }
    }

    /// Whether it may have failed by itself: then it has recorded that and released its lock.
    pub(super) fn has_failed(&self) -> bool {
        self.status == "FAILED"
    }

    /// Whether it failed while it cleaned up after another execution: that is not tried again, because each attempt could fail
    /// in the same way.
    pub(super) fn is_failed_cleanup(&self) -> bool {
        self.has_failed() && self.cleaned_up
    }
}

/// A cause without the state's input, which has the whole spec: Step Functions quotes it in "… could not be found in the input '{…}'".
fn without_input(cause: &str) -> &str {
    cause.split(['{', '[']).next().unwrap_or_default().trim_end_matches([' ', '\''])
}

/// The input of a schedule's execution, or of one that was started by hand.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct ManualRequest {
    /// The stack's name.
    pub(super) stack: StackName,
    /// What to do with the stack.
    #[serde(default)]
    pub(super) action: RequestedAction,
    /// The spec's version to deploy, instead of the newest.
    #[serde(default)]
    pub(super) version: Option<String>,
    /// Whether to restart the services' tasks.
    #[serde(default)]
    pub(super) refresh_image: bool,
    /// What to do about drift.
    #[serde(default)]
    pub(super) drift: Drift,
    /// Whether a schedule requests it: a person can request the same.
    #[serde(default)]
    pub(super) scheduled: bool,
    /// The resources whose data may be deleted.
    #[serde(default)]
    delete_data: BTreeSet<String>,
    /// The database that is gone and may be replaced by an empty one.
    #[serde(default)]
    empty_database: Option<String>,
}

impl ManualRequest {
    /// What the person who made the request agrees to lose.
    pub(super) fn consent(&self) -> Consent {
        Consent { delete_data: self.delete_data.clone(), empty_database: self.empty_database.clone() }
    }
}

/// The requested action.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum RequestedAction {
    /// Deploy the newest version of the spec, or a given one.
    #[default]
    Deploy,
    /// Deploy the baseline's spec again: repairs drift. Schedules request it.
    Redeploy,
    /// Change the database's password, and restart the services that use it. Schedules request it.
    Rotate,
    /// Only plan the newest version of the spec.
    Plan,
    /// Destroy the stack.
    Destroy,
}

/// The detail of S3's EventBridge events (Amazon S3 User Guide, "EventBridge event message structure"). The key in it
/// is not URL-encoded.
#[derive(Debug, Deserialize)]
struct Detail {
    bucket: Bucket,
    object: Object,
    /// An account's ID, or the name of an AWS service.
    requester: Option<String>,
    #[serde(rename = "source-ip-address")]
    address: Option<String>,
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

/// Parses an execution's input.
pub(super) fn parse(event: &Value, settings: &Settings) -> Result<Input, StepError> {
    let bucket = &settings.bucket;
    match event.get("detail-type") {
        None => return manual_request(event).map(Input::Manual),
        Some(kind) if kind == STATUS_CHANGE => return interruption(event, settings),
        Some(kind) if kind == LABEL_UPDATED => return password_change(event).map(Input::PasswordChanged),
        Some(_) => {}
    }
    let no_event =
        |error: serde_json::Error| StepError::InvalidEvent(format!("the input is not an S3 event: {error}"));
    let event: EventBridgeEvent = serde_json::from_value(event.clone()).map_err(no_event)?;
    let deleted = event.detail_type == "Object Deleted";
    if event.source != "aws.s3" || !(deleted || event.detail_type == "Object Created") {
        return Err(StepError::InvalidEvent(format!(
            "a \"{}\" event of {} cannot start a deployment; only \"Object Created\" and \"Object Deleted\" events of aws.s3 can",
            event.detail_type, event.source
        )));
    }
    let detail: Detail = serde_json::from_value(event.detail).map_err(no_event)?;
    let Detail { bucket: Bucket { name }, object: Object { key, version }, requester, address } = detail;
    let uploader = requester.map(|account| Uploader { account, address: address.unwrap_or_default() });
    if name != *bucket {
        return Err(StepError::InvalidEvent(format!(
            "the event is from the bucket {name}, but specs are read from {bucket}"
        )));
    }
    // A rule's pattern cannot exclude the keys of subfolders: its `*` stands for any characters.
    let in_subfolder = |folder: &str| key.strip_prefix(folder).is_some_and(|file| file.contains('/'));
    if in_subfolder("specs/") || in_subfolder("plans/") {
        return Ok(Input::Harmless(format!(
            "the object {key} is in a subfolder: only specs/NAME.yaml and plans/NAME.yaml (or .yml, .json) are specs"
        )));
    }
    if deleted {
        return Ok(Input::Deleted { key, uploader });
    }
    // If versioning is suspended, every object has the version "null" (Amazon S3 User Guide, "Working with objects in a
    // versioning-suspended bucket"), so two uploads could not be distinguished.
    let version = version.filter(|version| version != "null").ok_or_else(|| {
        StepError::InvalidEvent(format!(
            "the event has no version: turn on versioning of the bucket {bucket}"
        ))
    })?;
    Ok(Input::Uploaded { key, version, uploader })
}

/// The detail type of Step Functions' events about executions (Step Functions Developer Guide, "Automating Step
/// Functions event delivery with EventBridge").
const STATUS_CHANGE: &str = "Step Functions Execution Status Change";

/// The needed fields of the event's detail. Times are milliseconds since 1970.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StatusChange {
    execution_arn: String,
    state_machine_arn: String,
    name: String,
    status: String,
    start_date: i64,
    stop_date: Option<i64>,
    /// Step Functions omits a large input.
    input: Option<String>,
    error: Option<String>,
    cause: Option<String>,
}

impl StatusChange {
    /// The interruption of a stack's execution.
    pub(super) fn interruption(self, stack: StackName, cleaned_up: bool, rotates: bool) -> Interruption {
        let at = |millis: i64| {
            let moment = time::OffsetDateTime::from_unix_timestamp(millis / 1000).ok();
            let text =
                moment.and_then(|moment| moment.format(&time::format_description::well_known::Rfc3339).ok());
            text.unwrap_or_default()
        };
        Interruption {
            execution: self.execution_arn,
            name: self.name,
            stack,
            status: self.status,
            error: self.error,
            cause: self.cause,
            cleaned_up,
            started: at(self.start_date),
            stopped: at(self.stop_date.unwrap_or(self.start_date)),
            rotates,
        }
    }
}

/// A key of a request, whether its value fits, and what it must be.
type Key = (&'static str, fn(&Value) -> bool, &'static str);

/// What is wrong with a request, without its text.
fn wrong_part_of(request: &Value) -> String {
    let Some(request) = request.as_object() else { return "it is not a JSON object".into() };
    let keys: [Key; 8] = [
        ("stack", |value| is::<StackName>(value), "the name of a stack"),
        ("action", |value| is::<RequestedAction>(value), "deploy, redeploy, rotate, plan or destroy"),
        ("version", |value| is::<Option<String>>(value), "text"),
        ("refreshImage", |value| is::<bool>(value), "true or false"),
        ("drift", |value| is::<Drift>(value), "repair or report"),
        ("scheduled", |value| is::<bool>(value), "true or false"),
        ("deleteData", |value| is::<BTreeSet<String>>(value), "a list of names"),
        ("emptyDatabase", |value| is::<Option<String>>(value), "a name"),
    ];
    if request.keys().any(|key| keys.iter().all(|(known, ..)| known != key)) {
        return format!("it has a key other than {}", keys.map(|(key, ..)| key).join(", "));
    }
    let wrong = keys.iter().find(|(key, fits, _)| request.get(*key).is_some_and(|value| !fits(value)));
    wrong.map_or("it lacks the stack's name".into(), |(key, _, expected)| {
        format!("its `{key}` is not {expected}")
    })
}

fn is<T: serde::de::DeserializeOwned>(value: &Value) -> bool {
    T::deserialize(value).is_ok()
}

fn manual_request(event: &Value) -> Result<ManualRequest, StepError> {
    // Without serde's message, which quotes the input.
    let wrong = || {
        let what = wrong_part_of(event);
        StepError::InvalidEvent(format!(
            "the execution's input is neither an S3 event nor a request, such as {{ \"stack\": \"NAME\" }}: {what}"
        ))
    };
    // Serde would read a list as well.
    if !event.is_object() {
        return Err(wrong());
    }
    let request: ManualRequest = serde_json::from_value(event.clone()).map_err(|_| wrong())?;
    if request.version.is_some() && request.action != RequestedAction::Deploy {
        let error = "`version` is supported only with `\"action\": \"deploy\"`";
        return Err(StepError::InvalidEvent(error.into()));
    }
    // A schedule would repeat it every night.
    let repeats = matches!(request.action, RequestedAction::Redeploy | RequestedAction::Rotate);
    if repeats && !request.consent().is_empty() {
        let error =
            "`deleteData` and `emptyDatabase` are supported only with the actions deploy, plan and destroy";
        return Err(StepError::InvalidEvent(error.into()));
    }
    Ok(request)
}

/// The detail type of Secrets Manager's events about versions of secrets (Secrets Manager user guide, "Secret Label Updated
/// event"). It is sent for each label that moves to another version.
const LABEL_UPDATED: &str = "Secret Label Updated";

fn password_change(event: &Value) -> Result<PasswordChange, StepError> {
    let no_event = |what: &str| {
        StepError::InvalidEvent(format!("the input is not an event of a database's changed password: {what}"))
    };
    let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str);
    if text("/source") != Some("aws.secretsmanager") {
        return Err(no_event("its source is not aws.secretsmanager"));
    }
    if text("/detail/labelUpdated") != Some("AWSCURRENT") {
        return Err(no_event("the label AWSCURRENT has not moved"));
    }
    let secret = text("/resources/0").ok_or_else(|| no_event("it lacks the secret's ARN"))?;
    let time = text("/time").and_then(|time| {
        time::OffsetDateTime::parse(time, &time::format_description::well_known::Rfc3339).ok()
    });
    let at = time.ok_or_else(|| no_event("it has no time"))?.unix_timestamp();
    Ok(PasswordChange { secret: secret.to_owned(), at })
}

/// The change of a password after which an execution with this input restarted services: its event, or that of the end of
/// another such execution.
fn restarted_after(input: &Value) -> Option<PasswordChange> {
    match input["detail-type"].as_str()? {
        LABEL_UPDATED => password_change(input).ok(),
        STATUS_CHANGE => {
            let input = input.pointer("/detail/input").and_then(Value::as_str)?;
            restarted_after(&serde_json::from_str(input).ok()?)
        }
        _ => None,
    }
}

fn interruption(event: &Value, settings: &Settings) -> Result<Input, StepError> {
    let no_event = |what: String| {
        StepError::InvalidEvent(format!("the input is not an event of a stopped deployment: {what}"))
    };
    if event.get("source").and_then(Value::as_str) != Some("aws.states") {
        return Err(no_event("its source is not aws.states".into()));
    }
    let detail = event.get("detail").cloned().unwrap_or_default();
    let change: StatusChange = serde_json::from_value(detail).map_err(|error| no_event(error.to_string()))?;
    if change.state_machine_arn != settings.state_machine {
        return Err(no_event(format!("{} is another state machine", change.state_machine_arn)));
    }
    if !["ABORTED", "FAILED", "TIMED_OUT"].contains(&change.status.as_str()) {
        return Err(no_event(format!("its status is {}, not ABORTED, FAILED or TIMED_OUT", change.status)));
    }
    // The name becomes a part of a record's key. Events of AWS always agree with the ARN.
    if change.name.contains('/') || !change.execution_arn.ends_with(&format!(":{}", change.name)) {
        return Err(no_event(format!("{:?} is not the name of {}", change.name, change.execution_arn)));
    }
    let input: Option<Value> = match change.input.as_deref() {
        Some(text) => serde_json::from_str(text).map_err(|error| no_event(error.to_string()))?,
        None => return Err(no_event("it lacks the execution's input".into())),
    };
    if input.as_ref().is_some_and(event::is_plan) {
        return Ok(Input::Harmless("the execution that ended only planned".into()));
    }
    let cleaned_up = input.as_ref().is_some_and(|input| input["detail-type"] == STATUS_CHANGE);
    if let Some(password) = input.as_ref().and_then(restarted_after) {
        // One that was stopped is repeated: the services need the new password, and nothing was left incomplete. One that failed
        // is not, because the repeated one would fail too, unless it left the lock: then no step has concluded it.
        return Ok(if change.status == "FAILED" || cleaned_up {
            Input::RestartEnded { password, ended: change, cleaned_up }
        } else {
            Input::PasswordChanged(password)
        });
    }
    let rotates = input.as_ref().is_some_and(|input| input["action"] == "rotate");
    let stack = input.as_ref().and_then(stack_of).and_then(|stack| StackName::try_from(stack).ok());
    let Some(stack) = stack else {
        // An execution with an invalid input fails in Admit; its event must not fail too, again and again.
        return if change.status == "FAILED" {
            Ok(Input::Harmless("the execution that failed had no stack, so it changed nothing".into()))
        } else {
            Err(no_event("its input names no stack".into()))
        };
    };
    Ok(Input::Interrupted(change.interruption(stack, cleaned_up, rotates)))
}
