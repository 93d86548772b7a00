//! Errors as Step Functions reports them: a name (`Error`) and a `Cause`.

use serde::Serialize;
use serde_json::{Value, json};

/// The error names that Step Functions itself reports.
pub mod names {
    /// Wildcard: any error but [`RUNTIME`], and [`DATA_LIMIT_EXCEEDED`] unless a task's result is too large.
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

/// AWS's name for the task in [`names::DATA_LIMIT_EXCEEDED`]: that of the service.
pub(crate) const TASK: &str = "lambda";

/// The failure of a task, a state or an execution: Step Functions' "error output".
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Failure {
    /// The name that `ErrorEquals` is compared with; empty if a person failed a task without giving one.
    pub error: String,
    /// A text for people, or the JSON text that Lambda makes of a function's error; empty if there is none.
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

    /// The error output that a `Catch` passes to the next state. After a `SendTaskFailure` without error and cause, both are
    /// `null` (localstack/localstack, recorded from AWS: `test_sqs_failure_in_wait_for_task_tok_no_error_field`).
    pub(crate) fn output(&self) -> Value {
        if self.error.is_empty() {
            return json!({ "Error": null, "Cause": Some(&self.cause).filter(|cause| !cause.is_empty()) });
        }
        json!({ "Error": self.error, "Cause": self.cause })
    }

    pub(crate) fn runtime(cause: impl Into<String>) -> Self {
        Self::new(names::RUNTIME, cause)
    }

    /// Whether a task returned too large a result. `States.ALL` catches this failure (localstack/localstack, recorded from
    /// AWS: `test_service_task_lambada_catch_state_all_data_limit_exceeded_on_large_utf8_response`), although the Developer
    /// Guide says that it cannot be caught; nothing catches an output of a state that is too large
    /// (cdklabs/construct-hub#1885).
    pub(crate) fn is_large_result(&self) -> bool {
        *self == Self::data_limit(TASK)
    }

    /// With AWS's message; `name` is the state's name, or [`TASK`].
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
