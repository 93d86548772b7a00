//! The limits of Step Functions on data and history.

use serde_json::{Value, json};
use stackdrop_statemachine::{Ending, Failure, HISTORY_EVENTS_MAX};

use crate::support::{Answer, Script, failed, run, succeeded, task};

/// JSON of exactly so many bytes.
fn json_of(bytes: usize) -> Value {
    Value::String("x".repeat(bytes - 2))
}

fn endless(function: &str) -> Value {
    let catch = json!([{ "ErrorEquals": ["States.ALL"], "Next": "Caught", "ResultPath": null }]);
    json!({
        "T": task(function, json!({ "OutputPath": "$.Payload", "Catch": catch, "Next": "After" })),
        "After": { "Type": "Succeed", "OutputPath": null },
        "Caught": { "Type": "Fail", "Error": "Caught" },
    })
}

#[tokio::test(start_paused = true)]
async fn an_input_of_262144_bytes_passes_and_one_byte_more_does_not() {
    let states = json!({ "P": { "Type": "Succeed" } });
    succeeded(run(states.clone(), json_of(262_144), &Script::new()).await);
    let failure = failed(run(states, json_of(262_145), &Script::new()).await);
    assert_eq!(failure.error, "States.DataLimitExceeded");
}

#[tokio::test(start_paused = true)]
async fn bytes_are_counted_not_characters() {
    let states = json!({ "P": { "Type": "Succeed" } });
    let outcome = run(states, Value::String("é".repeat(131_072)), &Script::new()).await;
    assert_eq!(failed(outcome).error, "States.DataLimitExceeded");
}

#[tokio::test(start_paused = true)]
async fn a_result_that_is_too_large_fails_the_task_and_no_wildcard_catches_it() {
    let script = Script::new().function("f", &[Answer::Returns(json_of(262_144))]);
    let outcome = run(endless("f"), json!({}), &script).await;
    assert!(matches!(&outcome.steps[0].ending, Ending::Failed(f) if f.error == "States.DataLimitExceeded"));
    let message = "The state/task 'lambda' returned a result with a size exceeding the maximum number of bytes service limit.";
    assert_eq!(failed(outcome), Failure::new("States.DataLimitExceeded", message));

    let script = Script::new().function("f", &[Answer::Returns(json_of(260_000))]);
    succeeded(run(endless("f"), json!({}), &script).await);
}

#[tokio::test(start_paused = true)]
async fn an_output_that_grows_too_large_is_an_error() {
    let states =
        json!({ "P": { "Type": "Pass", "Result": "x".repeat(200_000), "ResultPath": "$.b", "End": true } });
    let outcome = run(states, json!({ "a": "x".repeat(100_000) }), &Script::new()).await;
    assert_eq!(failed(outcome).error, "States.DataLimitExceeded");
}

#[tokio::test(start_paused = true)]
async fn a_payload_that_grows_too_large_does_not_reach_the_function() {
    let parameters = json!({ "FunctionName": "f", "Payload": { "a.$": "$", "b.$": "$" } });
    let states = json!({ "T": task("f", json!({ "Parameters": parameters, "End": true })) });
    let script = Script::new().function("f", &[Answer::Returns(json!(1))]);
    let outcome = run(states, json_of(200_000), &script).await;
    assert_eq!(failed(outcome).error, "States.DataLimitExceeded");
    assert_eq!(script.calls(), []);
}

#[tokio::test(start_paused = true)]
async fn a_history_of_25000_events_ends_the_execution() {
    let states = json!({
        "Poll": { "Type": "Wait", "Seconds": 1, "Next": "Done?" },
        "Done?": {
            "Type": "Choice",
            "Choices": [{ "Variable": "$.done", "BooleanEquals": true, "Next": "End" }],
            "Default": "Poll",
        },
        "End": { "Type": "Succeed" },
    });
    let outcome = run(states, json!({ "done": false }), &Script::new()).await;
    assert_eq!(outcome.history.len(), HISTORY_EVENTS_MAX);
    assert_eq!(outcome.history.last().unwrap().kind.to_string(), "ExecutionFailed");
    // Four events a round: two states, entered and exited.
    assert!((outcome.seconds - 6250.0).abs() < 2.0, "{}", outcome.seconds);
    let failure = failed(outcome);
    assert_eq!(failure.error, "States.Runtime");
    assert!(failure.cause.contains("maximum number of history events (25000)"), "{failure}");
}

#[tokio::test(start_paused = true)]
async fn a_full_history_is_not_caught() {
    let retry = json!([{ "ErrorEquals": ["Pending"], "BackoffRate": 1, "MaxAttempts": 99_999 }]);
    let catch = json!([{ "ErrorEquals": ["States.ALL"], "Next": "Caught" }]);
    let states = json!({
        "T": task("f", json!({ "Retry": retry, "Catch": catch, "End": true })),
        "Caught": { "Type": "Succeed" },
    });
    let script = Script::new().function("f", &[Answer::Fails("Pending")]);
    let outcome = run(states, json!({}), &script).await;
    assert_eq!(outcome.history.len(), HISTORY_EVENTS_MAX);
    assert_eq!(failed(outcome).error, "States.Runtime");
}

#[tokio::test(start_paused = true)]
async fn parameters_that_grow_too_large_are_an_error_even_if_nothing_of_them_is_kept() {
    let parameters = json!({ "a.$": "$", "b.$": "$" });
    let states =
        json!({ "P": { "Type": "Pass", "Parameters": parameters, "ResultPath": null, "End": true } });
    let outcome = run(states, json_of(200_000), &Script::new()).await;
    assert_eq!(failed(outcome).error, "States.DataLimitExceeded");
}

#[tokio::test(start_paused = true)]
async fn an_iteration_is_not_given_more_than_the_limit() {
    let each = json!({ "StartAt": "E", "States": { "E": { "Type": "Succeed", "OutputPath": null } } });
    let selector = json!({ "a.$": "$", "b.$": "$" });
    let states =
        json!({ "M": { "Type": "Map", "ItemProcessor": each, "ItemSelector": selector, "End": true } });
    let outcome = run(states, json!([json_of(200_000)]), &Script::new()).await;
    assert_eq!(failed(outcome).error, "States.DataLimitExceeded");
}

#[tokio::test(start_paused = true)]
async fn a_caught_error_must_fit_beside_the_input() {
    let catch = json!([{ "ErrorEquals": ["E"], "ResultPath": "$.failed", "Next": "Caught" }]);
    let states = json!({
        "T": task("f", json!({ "Catch": catch, "End": true })),
        "Caught": { "Type": "Succeed", "OutputPath": null },
    });
    let script = Script::new().function("f", &[Answer::Fails("E")]);
    let outcome = run(states, json!({ "a": "x".repeat(262_136) }), &script).await;
    assert_eq!(script.calls().len(), 1);
    assert_eq!(failed(outcome).error, "States.DataLimitExceeded");
}
