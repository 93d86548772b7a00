//! How a step failed, as Step Functions hands it on.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

use crate::aws::error::names;

/// Failures by the name of the step that failed.
pub type Failures = BTreeMap<String, Failure>;

/// Step Functions' error output (Step Functions Developer Guide, "Handling errors in Step Functions workflows").
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Failure {
    /// The error's name. A person who rejects a plan with the task's token need not give one: then it is `null`.
    #[serde(default, deserialize_with = "text_or_null")]
    pub error: String,
    /// For people, or the JSON text that Lambda makes of a function's error. It may be `null` too.
    #[serde(default, deserialize_with = "text_or_null")]
    pub cause: String,
}

/// A text, or the empty text for `null`: Step Functions passes on `null` for an error or cause that was not given.
fn text_or_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// What Lambda makes of a function's error ("Understanding retry behavior in Lambda", "Function errors").
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct LambdaError {
    error_message: String,
}

/// The message in a cause: that of the function's error where Lambda wrote the cause, otherwise the cause itself.
#[must_use]
pub fn message_of(cause: &str) -> String {
    match serde_json::from_str::<LambdaError>(cause) {
        Ok(error) => error.error_message,
        // Not Lambda's: Step Functions' own causes, and those of people, are plain text.
        Err(_) => cause.to_owned(),
    }
}

impl Failure {
    /// What the failed step said, for people.
    #[must_use]
    pub fn message(&self) -> String {
        let message = message_of(&self.cause);
        if message.is_empty() {
            self.error.clone()
        } else if self.error == names::PENDING {
            format!("timed out {message}")
        } else {
            message
        }
    }

    /// The failure with the step it belongs to, for people.
    #[must_use]
    pub fn of_step(&self, step: &str) -> String {
        // An interruption is not the failure of a step.
        if self.error == names::INTERRUPTED {
            format!("Interrupted: {}.", self.message())
        } else {
            format!("{step} failed: {}", self.message())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_and_cause_may_be_null_or_missing() {
        let failure = |text: &str| serde_json::from_str::<Failure>(text).unwrap();
        let unnamed = Failure { error: String::new(), cause: String::new() };
        for text in [r#"{"Error":null,"Cause":null}"#, r#"{"Error":null}"#, "{}"] {
            assert_eq!(failure(text), unnamed, "{text}");
        }
        assert_eq!(failure(r#"{"Error":"No","Cause":null}"#), Failure { error: "No".into(), ..unnamed });
    }

    #[test]
    fn message_is_lambdas_error_message_or_else_the_cause_or_else_the_name() {
        let failure =
            |error: &str, cause: &str| Failure { error: error.into(), cause: cause.into() }.message();
        let lambda = r#"{"errorType":"Refused","errorMessage":"cannot create VPC","trace":[]}"#;
        assert_eq!(failure("Refused", lambda), "cannot create VPC");
        assert_eq!(failure("Refused", "stopped by an operator"), "stopped by an operator");
        assert_eq!(failure("States.Timeout", ""), "States.Timeout");
        let waiting = r#"{"errorType":"Pending","errorMessage":"waiting for NAT gateway nat/a"}"#;
        assert_eq!(failure("Pending", waiting), "timed out waiting for NAT gateway nat/a");
    }
}
