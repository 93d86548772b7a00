//! The limits of Step Functions for data and history.

use serde_json::{Value, json};
use stackdrop_statemachine::{Ending, Failure, HISTORY_EVENTS_MAX};

use crate::support::{Answer, Script, failed, run, succeeded, task};

/// JSON of exactly this size.
fn json_of(bytes: usize) -> Value {
    Value::String("x".repeat(bytes - 2))
}

fn large_result(function: &str) -> Value {
    let catch = json!([{ "ErrorEquals": ["States.ALL"], "Next": "Caught", "ResultPath": null }]);
    json!({
        "T": task(function, json!({ "OutputPath": "$.Payload", "Catch": catch, "Next": "After" })),
        "After": { "Type": "Succeed" },
        "Caught": { "Type": "Fail", "Error": "Caught" },
    })
}

#[tokio::test(start_paused = true)]
async fn an_input_of_262144_bytes_is_allowed_and_one_byte_more_is_not() {
    let states = json!({ "P": { "Type": "Succeed" } });
    succeeded(run(states.clone(), json_of(262_144), &Script::new()).await);
    let failure = failed(run(states, json_of(262_145), &Script::new()).await);
    assert_eq!(failure.error, "States.DataLimitExceeded");
}

#[tokio::test(start_paused = true)]
async fn the_limit_counts_bytes_not_characters() {
    let states = json!({ "P": { "Type": "Succeed" } });
    let outcome = run(states, Value::String("é".repeat(131_072)), &Script::new()).await;
    assert_eq!(failed(outcome).error, "States.DataLimitExceeded");
}

#[tokio::test(start_paused = true)]
async fn the_limit_counts_escapes_and_commas_of_json() {
    let states = json!({ "P": { "Type": "Succeed" } });
    let control = "\u{1f}".repeat(50_000);
    let many = vec![""; 100_000];
    for input in [json!(control), json!({ control.as_str(): 1 }), json!([[control.as_str()]]), json!(many)] {
        let outcome = run(states.clone(), input, &Script::new()).await;
        assert_eq!(failed(outcome).error, "States.DataLimitExceeded");
    }
}

#[tokio::test(start_paused = true)]
async fn a_result_that_is_too_large_fails_the_task_and_states_all_catches_it() {
    let script = Script::new().function("f", &[Answer::Returns(json_of(262_144))]);
    let outcome = run(large_result("f"), json!({}), &script).await;
    let Ending::Caught { failure, .. } = &outcome.steps[0].ending else { panic!("{:?}", outcome.steps) };
    let message = "The state/task 'lambda' returned a result with a size exceeding the maximum number of bytes service limit.";
    assert_eq!(*failure, Failure::new("States.DataLimitExceeded", message));
    assert_eq!(failed(outcome).error, "Caught");

    let script = Script::new().function("f", &[Answer::Returns(json_of(260_000))]);
    succeeded(run(large_result("f"), json!({}), &script).await);
}

#[tokio::test(start_paused = true)]
async fn an_output_of_a_task_that_becomes_too_large_with_its_input_is_not_caught() {
    let catch = json!([{ "ErrorEquals": ["States.ALL"], "Next": "Caught" }]);
    let states = json!({
        "T": task("f", json!({ "ResultPath": "$.result", "Catch": catch, "End": true })),
        "Caught": { "Type": "Succeed" },
    });
    let script = Script::new().function("f", &[Answer::Returns(json_of(200_000))]);
    let outcome = run(states, json!({ "a": "x".repeat(100_000) }), &script).await;
    assert_eq!(failed(outcome).error, "States.DataLimitExceeded");
}

#[tokio::test(start_paused = true)]
async fn an_output_that_becomes_too_large_is_an_error() {
    let states = json!({ "P": { "Type": "Pass", "Parameters": { "x": "x".repeat(200_000) }, "ResultPath": "$.b", "End": true } });
    let outcome = run(states, json!({ "a": "x".repeat(100_000) }), &Script::new()).await;
    assert_eq!(failed(outcome).error, "States.DataLimitExceeded");
}

#[tokio::test(start_paused = true)]
async fn a_payload_that_is_too_large_does_not_reach_the_function() {
    let parameters = json!({ "FunctionName": "f", "Payload": { "a.$": "$", "b.$": "$" } });
    let states = json!({ "T": task("f", json!({ "Parameters": parameters, "End": true })) });
    let script = Script::new().function("f", &[Answer::Returns(json!(1))]);
    let outcome = run(states, json_of(200_000), &script).await;
    assert_eq!(failed(outcome).error, "States.DataLimitExceeded");
    assert_eq!(script.calls(), []);
}

#[tokio::test(start_paused = true)]
async fn a_full_history_ends_the_execution() {
    let states = json!({
        "Poll": task("f", json!({ "ResultPath": null, "Next": "Done?" })),
        "Done?": {
            "Type": "Choice",
            "Choices": [{ "Variable": "$.done", "BooleanEquals": true, "Next": "End" }],
            "Default": "Poll",
        },
        "End": { "Type": "Succeed" },
    });
    let script = Script::new().slow_function("f", 1.0, &[Answer::Returns(json!(1))]);
    let outcome = run(states, json!({ "done": false }), &script).await;
    assert_eq!(outcome.history.len(), HISTORY_EVENTS_MAX);
    assert_eq!(outcome.history.last().unwrap().kind.to_string(), "ExecutionFailed");
    // Seven events a second: the task has five, the Choice two.
    assert!((outcome.seconds - 25_000.0 / 7.0).abs() < 2.0, "{}", outcome.seconds);
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
async fn parameters_that_are_too_large_are_an_error_even_if_they_are_discarded() {
    let parameters = json!({ "a.$": "$", "b.$": "$" });
    let states =
        json!({ "P": { "Type": "Pass", "Parameters": parameters, "ResultPath": null, "End": true } });
    let outcome = run(states, json_of(200_000), &Script::new()).await;
    assert_eq!(failed(outcome).error, "States.DataLimitExceeded");
}

#[tokio::test(start_paused = true)]
async fn a_caught_error_and_the_input_must_fit_together() {
    let catch = json!([{ "ErrorEquals": ["E"], "ResultPath": "$.failed", "Next": "Caught" }]);
    let states = json!({
        "T": task("f", json!({ "Catch": catch, "End": true })),
        "Caught": { "Type": "Succeed" },
    });
    let script = Script::new().function("f", &[Answer::Fails("E")]);
    let outcome = run(states, json!({ "a": "x".repeat(262_136) }), &script).await;
    assert_eq!(script.calls().len(), 1);
    assert_eq!(failed(outcome).error, "States.DataLimitExceeded");
}
