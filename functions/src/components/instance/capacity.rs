//! AWS's answer that it has no capacity for an instance.

use crate::aws::aws_error::AwsError;
use crate::aws::error::StepError;

/// The codes of a lack of capacity. Some come with HTTP status 500, but another attempt helps only minutes or hours later.
/// Source: Amazon EC2 API reference, "Error codes", server error codes.
const CODES: [&str; 4] =
    ["InsufficientInstanceCapacity", "InsufficientCapacity", "InsufficientHostCapacity", "Unsupported"];

/// Whether AWS has no capacity for an instance. `Unsupported`: the type does not exist in the zone.
pub(super) fn is_lacking(error: &AwsError) -> bool {
    CODES.contains(&error.code.as_str())
}

/// The result of a call that starts an instance; a lack of capacity comes with advice.
pub(super) fn checked<T>(result: Result<T, StepError>, instance_type: &str) -> Result<T, StepError> {
    match result {
        Err(StepError::Transient { source, .. } | StepError::Refused { source, .. })
            if is_lacking(&source) =>
        {
            Err(error(instance_type, &source.message))
        }
        other => other,
    }
}

/// The error for an instance for which AWS has no capacity.
pub(super) fn error(instance_type: &str, message: &str) -> StepError {
    StepError::Unhealthy {
        what: "EC2 instance".into(),
        why: format!(
            "AWS has no capacity for {instance_type} in the stack's zones ({message}); set instance.type to another type, \
             or deploy again later"
        ),
    }
}
