//! Errors as Step Functions reports them: a name (`Error`) and a `Cause`.

use serde::Serialize;
use serde_json::{Value, json};

/// The error names that Step Functions itself reports.
pub mod names {
    /// Wildcard: any error but [`DATA_LIMIT_EXCEEDED`] and [`RUNTIME`].
    pub const ALL: &str = "States.ALL";
    /// Wildcard: as [`ALL`], but not [`TIMEOUT`] either.
    pub const TASK_FAILED: &str = "States.TaskFailed";
    /// A task ran longer than its `TimeoutSeconds`.
    pub const TIMEOUT: &str = "States.Timeout";
    /// An input, a result or an output was larger than 262,144 bytes.
    pub const DATA_LIMIT_EXCEEDED: &str = "States.DataLimitExceeded";
    /// An error of the workflow itself (a path that selects nothing, a full history): never retried, never caught.
    pub const RUNTIME: &str = "States.Runtime";
    /// A result could not be written to the place that `ResultPath` names.
    pub const RESULT_PATH_MATCH_FAILURE: &str = "States.ResultPathMatchFailure";
}

/// The failure of a task, a state or an execution: Step Functions' "error output".
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Failure {
    /// The name that `ErrorEquals` is compared with.
    pub error: String,
    /// A text for people, or the JSON text that Lambda makes of a function's error.
    pub cause: String,
}

impl Failure {
    /// A failure with this name and cause.
    pub fn new(error: impl Into<String>, cause: impl Into<String>) -> Self {
        Self { error: error.into(), cause: cause.into() }
    }

    /// The failure of a task whose Lambda function returned an error: the error's type is the name, and its JSON text
    /// is the cause.
    #[must_use]
    pub fn of_lambda(error_type: &str, error_message: &str) -> Self {
        let cause = json!({ "errorType": error_type, "errorMessage": error_message });
        Self::new(error_type, cause.to_string())
    }

    /// The error output that a `Catch` passes to the next state.
    pub(crate) fn output(&self) -> Value {
        json!({ "Error": self.error, "Cause": self.cause })
    }

    pub(crate) fn runtime(cause: impl Into<String>) -> Self {
        Self::new(names::RUNTIME, cause)
    }

    /// With AWS's message; `name` is the state's name, or `lambda`.
    pub(crate) fn data_limit(name: &str) -> Self {
        let cause = format!(
            "The state/task '{name}' returned a result with a size exceeding the maximum number of bytes \
             service limit."
        );
        Self::new(names::DATA_LIMIT_EXCEEDED, cause)
    }

    /// Adds the state in which an error of the workflow itself occurred, with AWS's message. The failures that tasks,
    /// `Fail` states and branches report stay unchanged.
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
