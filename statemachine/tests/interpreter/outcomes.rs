//! What an outcome tells about its states, and the history in AWS's words.

use serde_json::json;
use stackdrop_statemachine::EventKind;

use crate::support::{Answer, Script, run, task};

/// Two tasks, one after the other, of which the first one's result is the second one's input.
async fn two_tasks() -> stackdrop_statemachine::Outcome {
    let states = json!({
        "One": task("one", json!({ "OutputPath": "$.Payload", "TimeoutSeconds": 60, "Next": "Two" })),
        "Two": task("two", json!({ "OutputPath": "$.Payload", "End": true })),
    });
    let script = Script::new()
        .function("one", &[Answer::Returns(json!({ "from": "one" }))])
        .function("two", &[Answer::Returns(json!({ "from": "two" }))]);
    run(states, json!({ "from": "outside" }), &script).await
}

#[tokio::test(start_paused = true)]
async fn an_outcome_has_the_input_and_the_output_of_each_state() {
    let outcome = two_tasks().await;
    assert_eq!(outcome.input_of("One"), Some(&json!({ "from": "outside" })));
    assert_eq!(outcome.output_of("One"), Some(&json!({ "from": "one" })));
    assert_eq!(outcome.input_of("Two"), Some(&json!({ "from": "one" })));
    assert_eq!(outcome.output_of("Two"), Some(&json!({ "from": "two" })));
    assert_eq!((outcome.input_of("Three"), outcome.output_of("Three")), (None, None));
}

#[tokio::test(start_paused = true)]
async fn the_history_has_the_details_that_aws_writes() {
    let outcome = two_tasks().await;
    let detail = |kind: EventKind, state: &str| {
        let event =
            outcome.history.iter().find(|event| event.kind == kind && event.state.as_deref() == Some(state));
        serde_json::to_value(event.unwrap()).unwrap()["detail"].clone()
    };
    assert_eq!(
        detail(EventKind::TaskScheduled, "One"),
        json!({
            "resourceType": "lambda",
            "resource": "invoke",
            "parameters": { "FunctionName": "one", "Payload": { "from": "outside" } },
            "timeoutInSeconds": 60,
        })
    );
    assert_eq!(detail(EventKind::TaskScheduled, "Two")["timeoutInSeconds"], json!(null));
    let of = |kind: &str, state: &str| {
        let mut events = outcome.history.iter().filter(|event| event.state.as_deref() == Some(state));
        let event = events.find(|event| event.kind.to_string().ends_with(kind)).unwrap();
        serde_json::to_value(&event.detail).unwrap()
    };
    assert_eq!(of("StateEntered", "Two"), json!({ "input": { "from": "one" } }));
    assert_eq!(of("StateExited", "Two"), json!({ "output": { "from": "two" } }));
}
