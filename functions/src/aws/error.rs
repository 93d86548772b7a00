//! The errors of a step and their names, which Step Functions compares. No other file defines error names.

use std::error::Error;
use std::fmt;

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use crate::aws::aws_error::AwsError;
use crate::aws::denied;

/// Every error name that a deployment can end with. The workflow's `Retry` and `Catch` compare them.
pub mod names {
    /// Not done yet: the workflow retries at a fixed interval, up to the step's limit.
    pub const PENDING: &str = "Pending";
    /// Not done yet, and AWS reports nothing in progress. AWS shows some changes late, so the workflow retries for a short
    /// time; then the step has failed.
    pub const STALLED: &str = "Stalled";
    /// A transient fault: the workflow retries with backoff.
    pub const TRANSIENT: &str = "Transient";
    /// A role lacks a permission.
    pub const DENIED: &str = "Denied";
    /// AWS rejected a call for another reason.
    pub const REFUSED: &str = "Refused";
    /// A resource was created, but has failed permanently.
    pub const UNHEALTHY: &str = "Unhealthy";
    /// A resource with the required name exists, but this stack does not manage it.
    pub const NOT_OWNED: &str = "NotOwned";
    /// The spec cannot be deployed as it is written.
    pub const INVALID_SPEC: &str = "InvalidSpec";
    /// The execution's input is invalid.
    pub const INVALID_EVENT: &str = "InvalidEvent";
    /// The plan found problems; nothing was changed.
    pub const PREFLIGHT_FAILED: &str = "PreflightFailed";
    /// The rollback could not delete everything, or could not apply the baseline.
    pub const ROLLBACK_FAILED: &str = "RollbackFailed";
    /// The stack could not be destroyed completely.
    pub const DESTROY_FAILED: &str = "DestroyFailed";
    /// Somebody rejected the plan; nothing was changed.
    pub const APPROVAL_REJECTED: &str = "ApprovalRejected";
    /// Another deployment replaced this one while it awaited approval; nothing was changed.
    pub const SUPERSEDED: &str = "Superseded";
    /// The execution was stopped by hand or timed out, so that it could not roll back.
    pub const INTERRUPTED: &str = "Interrupted";
    /// A bug in Stackdrop.
    pub const DEFECT: &str = "Defect";

    /// All of them.
    pub const ALL: [&str; 16] = [
        PENDING,
        STALLED,
        TRANSIENT,
        DENIED,
        REFUSED,
        UNHEALTHY,
        NOT_OWNED,
        INVALID_SPEC,
        INVALID_EVENT,
        PREFLIGHT_FAILED,
        ROLLBACK_FAILED,
        DESTROY_FAILED,
        APPROVAL_REJECTED,
        SUPERSEDED,
        INTERRUPTED,
        DEFECT,
    ];
}

/// Why a step failed, or is not done yet.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// Not done yet; the text says what the step waits for.
    #[error("waiting for {0}")]
    Pending(String),
    /// Not done yet, and AWS reports nothing in progress. It may still become visible within seconds; if it does not, this
    /// is the failure.
    #[error("waiting for {waiting_for}, but AWS reports nothing in progress{}", because(why))]
    Stalled {
        /// What the step waits for; completes "waiting for …".
        waiting_for: String,
        /// AWS's reason and what to do, as whole sentences; empty if AWS gives none.
        why: String,
    },
    /// A transient fault: throttling, 5xx or a lost connection, after the SDK's own retries.
    #[error("{doing}")]
    Transient {
        /// The attempted operation.
        doing: String,
        /// The error from AWS or the network.
        #[source]
        source: AwsError,
    },
    /// AWS rejected a call permanently.
    #[error("{doing}")]
    Refused {
        /// The attempted operation.
        doing: String,
        /// AWS's error.
        #[source]
        source: AwsError,
    },
    /// A resource was created, but has failed permanently.
    #[error("{what} will not become healthy: {why}")]
    Unhealthy {
        /// The resource: noun and ID.
        what: String,
        /// AWS's reason.
        why: String,
    },
    /// A resource with the required name exists, but this stack does not manage it.
    #[error("{what} exists but is not managed by this stack: {fix}")]
    NotOwned {
        /// The resource: noun and ID.
        what: String,
        /// How to resolve it, in the imperative.
        fix: String,
    },
    /// A resource with data is gone, and nobody agreed to an empty one in its place. The text says how to continue.
    #[error("{0}")]
    Gone(String),
    /// The spec cannot be deployed as it is written. The text names every problem.
    #[error("{0}")]
    InvalidSpec(String),
    /// The execution's input is invalid.
    #[error("{0}")]
    InvalidEvent(String),
    /// Somebody rejected the plan.
    #[error("{0}")]
    ApprovalRejected(String),
    /// Another deployment replaced this one.
    #[error("{0}")]
    Superseded(String),
    /// A bug in Stackdrop, or a workflow file of another version.
    #[error("{0} (this is a bug in Stackdrop: please report it)")]
    Defect(String),
}

impl StepError {
    /// The name that the workflow's `Retry` and `Catch` compare.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Pending(_) => names::PENDING,
            Self::Stalled { .. } => names::STALLED,
            Self::Transient { .. } => names::TRANSIENT,
            Self::Refused { source, .. } if denied::is(source) => names::DENIED,
            Self::Refused { .. } => names::REFUSED,
            Self::Unhealthy { .. } | Self::Gone(_) => names::UNHEALTHY,
            Self::NotOwned { .. } => names::NOT_OWNED,
            Self::InvalidSpec(_) => names::INVALID_SPEC,
            Self::InvalidEvent(_) => names::INVALID_EVENT,
            Self::ApprovalRejected(_) => names::APPROVAL_REJECTED,
            Self::Superseded(_) => names::SUPERSEDED,
            Self::Defect(_) => names::DEFECT,
        }
    }

    /// The message with all its causes and, for a denied call, advice. Print it once, where the error leaves the program.
    #[must_use]
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut source = self.source();
        while let Some(cause) = source {
            text.push_str(": ");
            text.push_str(&cause.to_string());
            source = cause.source();
        }
        if let Self::Refused { source, .. } = self
            && let Some(advice) = denied::advice(source)
        {
            text = format!("{}; {advice}", text.trim_end_matches('.'));
        }
        text
    }

    /// Not done yet; the text completes "waiting for …". Where AWS reports nothing in progress, [`StepError::stalled`] tells a
    /// person much sooner.
    pub(crate) fn pending(waiting_for: impl Into<String>) -> Self {
        Self::Pending(waiting_for.into())
    }

    /// Not done yet, and AWS reports nothing in progress: AWS may show it late. The text completes "waiting for …".
    pub(crate) fn stalled(waiting_for: impl Into<String>) -> Self {
        Self::stalled_because(waiting_for, "")
    }

    /// Like [`StepError::stalled`], with AWS's reason and what to do, as whole sentences.
    pub(crate) fn stalled_because(waiting_for: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Stalled { waiting_for: waiting_for.into(), why: why.into() }
    }

    /// Whether the workflow runs the step again after this error.
    #[must_use]
    pub fn is_retried(&self) -> bool {
        matches!(self, Self::Pending(_) | Self::Stalled { .. } | Self::Transient { .. })
    }

    /// AWS's response lacks a field that it always has.
    pub(crate) fn incomplete(what: &str) -> Self {
        Self::Transient {
            doing: format!("reading AWS's response, which lacks {what}"),
            source: AwsError { code: String::new(), message: "incomplete response".into() },
        }
    }
}

fn because(why: &str) -> String {
    if why.is_empty() { String::new() } else { format!(". {why}") }
}

/// The codes of transient errors. Most come with HTTP status 400, so the status does not identify them.
const TRANSIENT: [&str; 23] = [
    "ConcurrentModification",
    "ConcurrentUpdateException",
    "EC2ThrottledException",
    "EntityTemporarilyUnmodifiable",
    "InternalError",
    "InternalFailure",
    "InternalServerError",
    "LimitExceededException.Throttling",
    "OperationAborted",
    "OperationAbortedException",
    "PriorRequestNotComplete",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestThrottledException",
    "RequestTimeout",
    "ServerException",
    "ServiceUnavailable",
    "ServiceUnavailableException",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
    "Unavailable",
];

/// Converts the result of an SDK call into the result of a step.
pub(crate) trait AwsResult<T>: Sized {
    /// Adds the attempted operation, and classifies the error as `Transient` or `Refused`.
    fn doing(self, what: impl fmt::Display) -> Result<T, StepError>;

    /// `None` if AWS rejected the call with one of these codes.
    fn unless(self, codes: &[&str]) -> Result<Option<T>, Box<dyn Refusal>>;

    /// For a delete call: whether the resource is deleted. It is if AWS does not know it (`absent`), and is not if AWS
    /// rejects the call because the resource is in use (`in_use`).
    fn deleted(self, absent: &[&str], in_use: &[&str], what: impl fmt::Display) -> Result<bool, StepError> {
        Ok(self.unless(absent).unless(in_use).doing(what)?.is_some())
    }

    /// `Stalled` if AWS rejected the call with one of these codes, usually because it shows another resource late;
    /// otherwise like [`AwsResult::doing`].
    fn stalled_on(self, codes: &[&str], waiting_for: &str, what: impl fmt::Display) -> Result<T, StepError> {
        self.unless(codes).doing(what)?.ok_or_else(|| StepError::stalled(waiting_for))
    }

    /// `Pending` if AWS rejected the call with one of these codes; otherwise like [`AwsResult::doing`].
    fn pending_on(self, codes: &[&str], waiting_for: &str, what: impl fmt::Display) -> Result<T, StepError> {
        self.unless(codes).doing(what)?.ok_or_else(|| StepError::pending(waiting_for))
    }
}

/// A failed call, whatever the operation.
pub(crate) trait Refusal: fmt::Debug + Send {
    fn aws(&self) -> AwsError;
    fn is_transient(&self) -> bool;
}

impl<E> Refusal for SdkError<E, HttpResponse>
where
    E: ProvideErrorMetadata + fmt::Debug + Error + Send + Sync + 'static,
{
    fn aws(&self) -> AwsError {
        match self.as_service_error() {
            Some(error) => AwsError {
                code: error.code().unwrap_or_default().to_owned(),
                message: error.message().unwrap_or_default().to_owned(),
            },
            None => AwsError { code: String::new(), message: chain_of(self) },
        }
    }

    fn is_transient(&self) -> bool {
        match self {
            SdkError::ServiceError(context) => {
                context.raw().status().is_server_error()
                    || context.err().code().is_some_and(|code| TRANSIENT.contains(&code))
            }
            SdkError::ConstructionFailure(_) => false,
            _ => true,
        }
    }
}

/// A connector's own message says little; its causes say what happened.
fn chain_of(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

impl<T, E> AwsResult<T> for Result<T, SdkError<E, HttpResponse>>
where
    E: ProvideErrorMetadata + fmt::Debug + Error + Send + Sync + 'static,
{
    fn doing(self, what: impl fmt::Display) -> Result<T, StepError> {
        self.map_err(|error| step_error(&error, what))
    }

    fn unless(self, codes: &[&str]) -> Result<Option<T>, Box<dyn Refusal>> {
        match self {
            Ok(response) => Ok(Some(response)),
            Err(error) if codes.contains(&error.aws().code.as_str()) => Ok(None),
            Err(error) => Err(Box::new(error)),
        }
    }
}

impl<T> AwsResult<T> for Result<T, Box<dyn Refusal>> {
    fn doing(self, what: impl fmt::Display) -> Result<T, StepError> {
        self.map_err(|error| step_error(&*error, what))
    }

    fn unless(self, codes: &[&str]) -> Result<Option<T>, Box<dyn Refusal>> {
        match self {
            Ok(response) => Ok(Some(response)),
            Err(error) if codes.contains(&error.aws().code.as_str()) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn step_error(error: &dyn Refusal, what: impl fmt::Display) -> StepError {
    let (doing, source) = (what.to_string(), error.aws());
    if error.is_transient() {
        StepError::Transient { doing, source }
    } else {
        StepError::Refused { doing, source }
    }
}

/// `None` if AWS denied the call: for optional reads, which must not fail a step.
pub(crate) fn unless_denied<T>(result: Result<T, StepError>) -> Result<Option<T>, StepError> {
    match result {
        Ok(response) => Ok(Some(response)),
        Err(StepError::Refused { source, .. }) if denied::is(&source) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use aws_smithy_runtime_api::http::StatusCode;
    use aws_smithy_types::body::SdkBody;
    use aws_smithy_types::error::ErrorMetadata;

    use super::*;

    type Failed = SdkError<ErrorMetadata, HttpResponse>;

    fn answered(status: u16, code: &str) -> Failed {
        let raw = HttpResponse::new(StatusCode::try_from(status).unwrap(), SdkBody::empty());
        SdkError::service_error(ErrorMetadata::builder().code(code).message("no.").build(), raw)
    }

    fn error_of(failed: Failed) -> StepError {
        Err::<(), Failed>(failed).doing("creating VPC vpc").unwrap_err()
    }

    #[test]
    fn an_error_is_transient_by_its_code_or_as_a_fault_of_the_server_or_the_network() {
        for (failed, name) in [
            (answered(400, "Throttling"), names::TRANSIENT),
            (answered(400, "OperationAborted"), names::TRANSIENT),
            (answered(503, "SomethingNew"), names::TRANSIENT),
            (answered(500, ""), names::TRANSIENT),
            (answered(400, "InvalidParameter"), names::REFUSED),
            (answered(404, "NoSuchEntity"), names::REFUSED),
            (answered(403, "AccessDenied"), names::DENIED),
            (answered(403, "UnauthorizedOperation"), names::DENIED),
            (SdkError::timeout_error("slow"), names::TRANSIENT),
            (SdkError::construction_failure("no region"), names::REFUSED),
        ] {
            let error = error_of(failed);
            assert_eq!(error.name(), name, "{error:?}");
            assert_eq!(error.is_retried(), name == names::TRANSIENT, "{error:?}");
        }
    }

    #[test]
    fn the_chain_has_the_operation_the_code_the_message_and_for_a_denied_call_advice() {
        assert_eq!(error_of(answered(400, "VpcLimit")).chain(), "creating VPC vpc: VpcLimit: no.");
        assert_eq!(
            error_of(answered(403, "AccessDenied")).chain(),
            "creating VPC vpc: AccessDenied: no; allow this call in the policy of the function's role"
        );
        let slow = error_of(SdkError::timeout_error("slow")).chain();
        assert!(slow.starts_with("creating VPC vpc: ") && slow.ends_with(": slow"), "{slow}");
    }
}
