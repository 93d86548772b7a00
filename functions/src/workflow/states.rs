//! The states of the Amazon States Language, one function for each kind that the workflow uses.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::table::{INVOCATION, STALLED, STALLED_BACKOFF, STALLED_INTERVAL, Wait};
use crate::aws::error::names;

/// States by name, in the order in which people read them.
#[derive(Debug, Default)]
pub(super) struct States(Map<String, Value>);

impl States {
    pub(super) fn add(&mut self, name: impl Into<String>, state: Value) {
        self.0.insert(name.into(), state);
    }

    /// A branch of a parallel state, or the whole machine, which starts with its first state.
    pub(super) fn into_branch(self) -> Value {
        let first = self.0.keys().next().cloned();
        json!({ "StartAt": first, "States": self.0 })
    }

    pub(super) fn into_value(self) -> Value {
        Value::Object(self.0)
    }
}

/// Faults that pass by themselves: the function's own `Transient`, and Lambda's ("Handle transient Lambda service
/// exceptions" in the best practices of the Step Functions Developer Guide).
const TRANSIENT: [&str; 9] = [
    names::TRANSIENT,
    "Lambda.ServiceException",
    "Lambda.AWSLambdaException",
    "Lambda.SdkClientException",
    "Lambda.ClientExecutionTimeoutException",
    "Lambda.TooManyRequestsException",
    "Lambda.Unknown",
    "Runtime.ExitError",
    "Sandbox.Timedout",
];

/// A state that invokes a function.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) comment: String,
    /// The substitution that stands for the function.
    pub(super) function: String,
    pub(super) payload: Value,
    /// The wait while the function answers `Pending`; `None` for one that does not.
    pub(super) wait: Option<Wait>,
    pub(super) result: Result,
    /// Where the failure is written, and the next state then.
    pub(super) catch: Option<(String, String)>,
    /// The next state; `None` at the end of a branch.
    pub(super) next: Option<String>,
}

/// What becomes of a function's result.
#[derive(Debug)]
pub(super) enum Result {
    /// It is the new state of the deployment.
    State,
    /// It is the result of a branch.
    Branch,
    /// It is written to a path, wrapped as `{ "payload": … }`: a selector must be an object.
    Outputs(String),
    /// Some of its fields are written to a path.
    Fields(String, &'static [&'static str]),
    /// It is dropped.
    Dropped,
}

impl Task {
    pub(super) fn into_state(self) -> Value {
        let mut state = json!({
            "Comment": self.comment,
            "Type": "Task",
            "Resource": "arn:aws:states:::lambda:invoke",
            "Parameters": { "FunctionName": self.function, "Payload": self.payload },
            "TimeoutSeconds": INVOCATION.as_secs(),
        });
        match self.result {
            Result::State | Result::Branch => state["OutputPath"] = json!("$.Payload"),
            Result::Outputs(path) => {
                state["ResultSelector"] = json!({ "payload.$": "$.Payload" });
                state["ResultPath"] = json!(path);
            }
            Result::Fields(path, fields) => {
                let selected =
                    fields.iter().map(|field| (format!("{field}.$"), json!(format!("$.Payload.{field}"))));
                state["ResultSelector"] = Value::Object(selected.collect());
                state["ResultPath"] = json!(path);
            }
            Result::Dropped => state["ResultPath"] = Value::Null,
        }
        state["Retry"] = retry(self.wait, true);
        finish(&mut state, self.catch, self.next);
        state
    }
}

/// The retries of a task: at a fixed interval while it is `Pending`; for a much shorter time, and less and less often, while
/// it is `Stalled`; with backoff after a fault that passes. Each retrier counts its own attempts.
pub(super) fn retry(wait: Option<Wait>, after_timeout: bool) -> Value {
    let waits = wait.into_iter().flat_map(|wait| {
        let pending = json!({
            "ErrorEquals": [names::PENDING],
            "IntervalSeconds": wait.every.as_secs(),
            "BackoffRate": 1,
            "MaxAttempts": wait.at_most.as_secs() / wait.every.as_secs(),
        });
        [pending, stalled(wait.every)]
    });
    let timeout = after_timeout.then_some("States.Timeout");
    let transient = json!({
        "ErrorEquals": TRANSIENT.into_iter().chain(timeout).collect::<Vec<_>>(),
        "IntervalSeconds": 1,
        "BackoffRate": 2,
        "MaxAttempts": 30,
        "MaxDelaySeconds": 30,
        "JitterStrategy": "FULL",
    });
    waits.chain([transient]).collect()
}

/// The retries of a task that is `Stalled`. What AWS shows late, it mostly shows within seconds.
fn stalled(every: Duration) -> Value {
    let (first, longest) = (every.as_secs_f64(), STALLED_INTERVAL.as_secs_f64());
    let grows = first < longest;
    let delay = |retry: i32| if grows { (first * STALLED_BACKOFF.powi(retry)).min(longest) } else { first };
    let mut attempts = 0;
    let mut waited = delay(0);
    while waited <= STALLED.as_secs_f64() {
        attempts += 1;
        waited += delay(attempts);
    }
    let mut retrier = json!({
        "ErrorEquals": [names::STALLED],
        "IntervalSeconds": every.as_secs(),
        "BackoffRate": if grows { json!(STALLED_BACKOFF) } else { json!(1) },
        "MaxAttempts": attempts,
    });
    if grows {
        retrier["MaxDelaySeconds"] = seconds(STALLED_INTERVAL);
    }
    retrier
}

/// Several branches side by side.
pub(super) fn parallel(
    comment: &str,
    branches: &[Value],
    result: &Value,
    catch: (String, String),
    next: &str,
) -> Value {
    let mut state = json!({ "Comment": comment, "Type": "Parallel", "Branches": branches });
    let fields = result.as_object().into_iter().flatten();
    fields.for_each(|(key, value)| state[key] = value.clone());
    finish(&mut state, Some(catch), Some(next.to_owned()));
    state
}

/// A branching state.
pub(super) fn choice(comment: &str, choices: &[(Value, &str)], default: &str) -> Value {
    let choices: Vec<Value> = choices
        .iter()
        .map(|(rule, next)| {
            let mut rule = rule.clone();
            rule["Next"] = json!(next);
            rule
        })
        .collect();
    json!({ "Comment": comment, "Type": "Choice", "Choices": choices, "Default": default })
}

/// A state that ends the execution.
pub(super) fn succeed(comment: &str) -> Value {
    json!({ "Comment": comment, "Type": "Succeed" })
}

/// A state that ends the execution as failed, with the error and cause at these paths.
pub(super) fn fail(comment: &str, error: &str, cause: &str) -> Value {
    json!({ "Comment": comment, "Type": "Fail", "ErrorPath": error, "CausePath": cause })
}

/// Adds how a state ends.
pub(super) fn finish(state: &mut Value, catch: Option<(String, String)>, next: Option<String>) {
    if let Some((path, next)) = catch {
        state["Catch"] = json!([{ "ErrorEquals": ["States.ALL"], "ResultPath": path, "Next": next }]);
    }
    match next {
        Some(next) => state["Next"] = json!(next),
        None => state["End"] = json!(true),
    }
}

/// Rules of a branching state.
pub(super) mod rule {
    use serde_json::{Value, json};

    pub(crate) fn is(variable: &str, value: bool) -> Value {
        json!({ "Variable": variable, "BooleanEquals": value })
    }

    pub(crate) fn text(variable: &str, value: &str) -> Value {
        json!({ "Variable": variable, "StringEquals": value })
    }

    pub(crate) fn same(variable: &str, other: &str) -> Value {
        json!({ "Variable": variable, "StringEqualsPath": other })
    }

    /// `*` stands for any characters.
    pub(crate) fn matches(variable: &str, pattern: &str) -> Value {
        json!({ "Variable": variable, "StringMatches": pattern })
    }

    pub(crate) fn is_present(variable: &str, value: bool) -> Value {
        json!({ "Variable": variable, "IsPresent": value })
    }

    pub(crate) fn is_null(variable: &str, value: bool) -> Value {
        json!({ "Variable": variable, "IsNull": value })
    }

    pub(crate) fn any(rules: &[Value]) -> Value {
        json!({ "Or": rules })
    }

    pub(crate) fn all(rules: &[Value]) -> Value {
        json!({ "And": rules })
    }

    pub(crate) fn not(rule: &Value) -> Value {
        json!({ "Not": rule })
    }
}

/// A duration in whole seconds, as states have it.
pub(super) fn seconds(duration: Duration) -> Value {
    json!(duration.as_secs())
}
