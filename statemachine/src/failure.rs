//! What went wrong, in the two words that Step Functions has for it: `Error` and `Cause`.

use serde::Serialize;
use serde_json::{Value, json};

use crate::history::Detail;

/// The error names that Step Functions itself gives.
pub mod names {
    /// Wildcard: any error but [`DATA_LIMIT_EXCEEDED`] and [`RUNTIME`].
    pub const ALL: &str = "States.ALL";
    /// Wildcard: as [`ALL`], but not [`TIMEOUT`] either.
    pub const TASK_FAILED: &str = "States.TaskFailed";
    /// A task ran longer than its `TimeoutSeconds`.
    pub const TIMEOUT: &str = "States.Timeout";
    /// An input, a result or an output was larger than 262,144 bytes.
    pub const DATA_LIMIT_EXCEEDED: &str = "States.DataLimitExceeded";
    /// Something that the workflow can not handle (a path that selects nothing, a full history): never
    /// retried, never caught.
    pub const RUNTIME: &str = "States.Runtime";
    /// A result could not be put where `ResultPath` says.
    pub const RESULT_PATH_MATCH_FAILURE: &str = "States.ResultPathMatchFailure";
    /// An intrinsic function was given what it can not work on.
    pub const INTRINSIC_FAILURE: &str = "States.IntrinsicFailure";
}

/// A failed task, state or execution: Step Functions' "error output".
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Failure {
    /// The name that `ErrorEquals` is compared with.
    pub error: String,
    /// For people, or the JSON text that a Lambda function's error becomes.
    pub cause: String,
}

impl Failure {
    /// A failure with this name and cause, as they are.
    pub fn new(error: impl Into<String>, cause: impl Into<String>) -> Self {
        Self { error: error.into(), cause: cause.into() }
    }

    /// The failure that a Lambda function's returned error becomes: its type is the name, and the cause is
    /// the error's JSON text.
    #[must_use]
    pub fn of_lambda(error_type: &str, error_message: &str) -> Self {
        let cause = json!({ "errorType": error_type, "errorMessage": error_message });
        Self::new(error_type, cause.to_string())
    }

    /// What went wrong, in words for people: the message of a Lambda function's error, or the cause itself.
    #[must_use]
    pub fn message(&self) -> String {
        let error: Option<Value> = serde_json::from_str(&self.cause).ok();
        let message = error.as_ref().and_then(|error| error.get("errorMessage")?.as_str());
        message.unwrap_or(&self.cause).to_owned()
    }

    /// As the details of an event have it: without a cause when there is none.
    pub(crate) fn detail(&self) -> Detail {
        Detail::Other(if self.cause.is_empty() {
            json!({ "error": self.error })
        } else {
            json!({ "error": self.error, "cause": self.cause })
        })
    }

    /// The error output that a `Catch` hands on.
    pub(crate) fn output(&self) -> Value {
        json!({ "Error": self.error, "Cause": self.cause })
    }

    pub(crate) fn runtime(cause: impl Into<String>) -> Self {
        Self::new(names::RUNTIME, cause)
    }

    /// In AWS's words; `name` is the state's, or `lambda`.
    pub(crate) fn data_limit(name: &str) -> Self {
        let cause = format!(
            "The state/task '{name}' returned a result with a size exceeding the maximum number of bytes \
             service limit."
        );
        Self::new(names::DATA_LIMIT_EXCEEDED, cause)
    }

    /// Says in which state a fault of the workflow itself arose, in AWS's words. What a task, a `Fail` state
    /// or a branch reported stays as it is.
    pub(crate) fn within(self, state: &str, entered: u64) -> Self {
        let prefix = format!(
            "An error occurred while executing the state '{state}' (entered at the event id #{entered})."
        );
        Self { cause: format!("{prefix} {}", self.cause), ..self }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.error, self.cause)
    }
}

impl std::error::Error for Failure {}
