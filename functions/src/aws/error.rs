//! What can go wrong, and what Step Functions does about each: the only home of error names.

use std::error::Error;
use std::fmt;

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use crate::aws::denied;

/// Every error name that a deployment can end with. The workflow's `Retry` and `Catch` compare them.
pub mod names {
    /// Not done yet: ask again at a fixed pace.
    pub const PENDING: &str = "Pending";
    /// A fault that passes: ask again, with backoff.
    pub const TRANSIENT: &str = "Transient";
    /// A role may not make a call.
    pub const DENIED: &str = "Denied";
    /// AWS refused a call for another reason.
    pub const REFUSED: &str = "Refused";
    /// Something was made, but will never be healthy.
    pub const UNHEALTHY: &str = "Unhealthy";
    /// Something that is not ours stands in the way.
    pub const NOT_OWNED: &str = "NotOwned";
    /// The spec can't be deployed as it is written.
    pub const INVALID_SPEC: &str = "InvalidSpec";
    /// What started the execution is not understood.
    pub const INVALID_EVENT: &str = "InvalidEvent";
    /// The plan found problems; nothing was touched.
    pub const PREFLIGHT_FAILED: &str = "PreflightFailed";
    /// The undo could not take everything away, or could not restore the baseline.
    pub const ROLLBACK_FAILED: &str = "RollbackFailed";
    /// The stack could not be destroyed completely.
    pub const DESTROY_FAILED: &str = "DestroyFailed";
    /// Somebody rejected the plan; nothing was touched.
    pub const APPROVAL_REJECTED: &str = "ApprovalRejected";
    /// Another deployment took this one's place while it waited for approval; nothing was touched.
    pub const SUPERSEDED: &str = "Superseded";
    /// The execution was stopped by hand, or timed out, so that no step of it could undo anything.
    pub const INTERRUPTED: &str = "Interrupted";
    /// A mistake in Stackdrop itself.
    pub const DEFECT: &str = "Defect";

    /// All of them.
    pub const ALL: [&str; 15] = [
        PENDING,
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

/// Why a function did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// Not done yet; the text says what is waited for.
    #[error("waiting for {0}")]
    Pending(String),
    /// A fault that passes: throttling, 5xx, a lost connection that outlived the SDK's own retries.
    #[error("{doing}")]
    Transient {
        /// What was being done.
        doing: String,
        /// What AWS, or the network, said.
        #[source]
        source: AwsError,
    },
    /// AWS refused a call for good.
    #[error("{doing}")]
    Refused {
        /// What was being done.
        doing: String,
        /// What AWS said.
        #[source]
        source: AwsError,
    },
    /// Something was made, but will never be healthy.
    #[error("{what} will not become healthy: {why}")]
    Unhealthy {
        /// What it is, with its id.
        what: String,
        /// AWS's own reason.
        why: String,
    },
    /// Something that is not ours stands in the way.
    #[error("{what} exists but is not managed by this stack: {fix}")]
    NotOwned {
        /// What it is, with its id.
        what: String,
        /// What to do about it.
        fix: String,
    },
    /// The spec can't be deployed as it is written. The text names every problem.
    #[error("{0}")]
    InvalidSpec(String),
    /// What started the execution is not understood.
    #[error("{0}")]
    InvalidEvent(String),
    /// Somebody rejected the plan.
    #[error("{0}")]
    ApprovalRejected(String),
    /// Another deployment took this one's place.
    #[error("{0}")]
    Superseded(String),
    /// A mistake in Stackdrop itself, or a workflow file that does not fit these functions.
    #[error("{0} (this is a defect of Stackdrop: please report it)")]
    Defect(String),
}

impl StepError {
    /// The name that the workflow's `Retry` and `Catch` compare.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Pending(_) => names::PENDING,
            Self::Transient { .. } => names::TRANSIENT,
            Self::Refused { source, .. } if denied::is(source) => names::DENIED,
            Self::Refused { .. } => names::REFUSED,
            Self::Unhealthy { .. } => names::UNHEALTHY,
            Self::NotOwned { .. } => names::NOT_OWNED,
            Self::InvalidSpec(_) => names::INVALID_SPEC,
            Self::InvalidEvent(_) => names::INVALID_EVENT,
            Self::ApprovalRejected(_) => names::APPROVAL_REJECTED,
            Self::Superseded(_) => names::SUPERSEDED,
            Self::Defect(_) => names::DEFECT,
        }
    }

    /// The message with all its causes, and what to do where AWS has denied a call; to be printed once, at the edge.
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

    /// Not done yet, because of what the text says.
    pub(crate) fn pending(waits_for: impl Into<String>) -> Self {
        Self::Pending(waits_for.into())
    }

    /// An answer of AWS that lacks what it always has.
    pub(crate) fn lacking(what: &str) -> Self {
        Self::Transient {
            doing: format!("reading AWS's answer, which lacks {what}"),
            source: AwsError { code: String::new(), message: "incomplete answer".into() },
        }
    }
}

/// What AWS, or the network on the way there, said: a code where there is one, and the words.
#[derive(Debug, Clone)]
pub struct AwsError {
    /// AWS's error code; empty when no answer came.
    pub code: String,
    /// AWS's words, or the connector's.
    pub message: String,
}

impl fmt::Display for AwsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.code.is_empty(), self.message.is_empty()) {
            (true, _) => f.write_str(&self.message),
            (false, true) => f.write_str(&self.code),
            (false, false) => write!(f, "{}: {}", self.code, self.message),
        }
    }
}

impl Error for AwsError {}

/// Codes of a refusal that passes by itself. Most come with HTTP status 400, so the status does not tell.
const PASSING: [&str; 23] = [
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

/// The result of an SDK call, on its way to a step's result.
pub(crate) trait Answer<T>: Sized {
    /// Says what was being done, and tells a fault that passes from a refusal.
    fn doing(self, what: impl fmt::Display) -> Result<T, StepError>;

    /// `None` when AWS refused with one of these codes.
    fn unless(self, codes: &[&str]) -> Result<Option<T>, Box<dyn Refusal>>;

    /// For a delete: whether the thing is gone, which it also is when AWS does not know it (`absent`); not when AWS
    /// says that something holds it (`held`).
    fn gone(self, absent: &[&str], held: &[&str], what: impl fmt::Display) -> Result<bool, StepError> {
        Ok(self.unless(absent).unless(held).doing(what)?.is_some())
    }

    /// `Pending` when AWS refused with one of these codes, else as [`Answer::doing`].
    fn pending_on(self, codes: &[&str], waits_for: &str, what: impl fmt::Display) -> Result<T, StepError> {
        self.unless(codes).doing(what)?.ok_or_else(|| StepError::pending(waits_for))
    }
}

/// A failed call, whatever the operation.
pub(crate) trait Refusal: fmt::Debug + Send {
    fn aws(&self) -> AwsError;
    fn passes(&self) -> bool;
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

    fn passes(&self) -> bool {
        match self {
            SdkError::ServiceError(context) => {
                context.raw().status().is_server_error()
                    || context.err().code().is_some_and(|code| PASSING.contains(&code))
            }
            SdkError::ConstructionFailure(_) => false,
            _ => true,
        }
    }
}

/// A connector's error says little by itself; its causes do.
fn chain_of(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

impl<T, E> Answer<T> for Result<T, SdkError<E, HttpResponse>>
where
    E: ProvideErrorMetadata + fmt::Debug + Error + Send + Sync + 'static,
{
    fn doing(self, what: impl fmt::Display) -> Result<T, StepError> {
        self.map_err(|error| step_error(&error, what))
    }

    fn unless(self, codes: &[&str]) -> Result<Option<T>, Box<dyn Refusal>> {
        match self {
            Ok(answer) => Ok(Some(answer)),
            Err(error) if codes.contains(&error.aws().code.as_str()) => Ok(None),
            Err(error) => Err(Box::new(error)),
        }
    }
}

impl<T> Answer<T> for Result<T, Box<dyn Refusal>> {
    fn doing(self, what: impl fmt::Display) -> Result<T, StepError> {
        self.map_err(|error| step_error(&*error, what))
    }

    fn unless(self, codes: &[&str]) -> Result<Option<T>, Box<dyn Refusal>> {
        match self {
            Ok(answer) => Ok(Some(answer)),
            Err(error) if codes.contains(&error.aws().code.as_str()) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn step_error(error: &dyn Refusal, what: impl fmt::Display) -> StepError {
    let (doing, source) = (what.to_string(), error.aws());
    if error.passes() { StepError::Transient { doing, source } } else { StepError::Refused { doing, source } }
}
