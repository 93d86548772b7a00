//! Executions that go on from a state that another execution has reached.

use std::time::Duration;

use serde_json::{Value, json};
use stackdrop_statemachine::{Arrival, Options, Outcome, Status};

use crate::support::{Answer, Script, definition, events, execution, failed, load, succeeded, task, with};

/// Two tasks, one after the other; an execution may take ten minutes.
fn two_tasks() -> Value {
    let states = json!({
        "One": task("one", json!({ "OutputPath": "$.Payload", "Next": "Two" })),
        "Two": task("two", json!({ "End": true })),
    });
    with(definition(states), json!({ "TimeoutSeconds": 600 }))
}

/// Goes on at a state, some seconds after the start of the execution.
async fn resumed(state: &str, seconds: u64, script: &Script) -> Outcome {
    let elapsed = Duration::from_secs(seconds);
    let from = Arrival { state: state.to_owned(), input: json!({ "from": "one" }), elapsed };
    let machine = load(&two_tasks()).unwrap();
    machine.resume(&execution(json!({ "from": "outside" })), &from, script, &(), &Options::default()).await
}

#[tokio::test(start_paused = true)]
async fn a_resumed_execution_begins_with_the_state_its_input_and_its_time() {
    let script = Script::new().slow_function("two", 5.0, &[Answer::Returns(json!("done"))]);
    let outcome = resumed("Two", 300, &script).await;
    let calls = script.calls();
    assert_eq!((calls.len(), &calls[0].payload), (1, &json!({ "from": "one" })));
    assert_eq!(events(&outcome)[..2], ["TaskStateEntered Two", "TaskScheduled Two"]);
    let step = &outcome.steps[0];
    assert!((step.start - 300.0).abs() < 0.05 && (step.end - 305.0).abs() < 0.05, "{step:?}");
    assert!((outcome.seconds - 305.0).abs() < 0.05, "{}", outcome.seconds);
    let output = succeeded(outcome);
    assert_eq!(output["Payload"], "done");
    assert_eq!(output["SdkHttpMetadata"]["HttpHeaders"]["Date"], "Thu, 01 Jan 2026 00:05:05 GMT");
}

#[tokio::test(start_paused = true)]
async fn the_time_before_the_resumption_counts_towards_the_limit() {
    let script = Script::new().function("two", &[Answer::Hangs]);
    let outcome = resumed("Two", 590, &script).await;
    assert_eq!(outcome.status, Status::TimedOut);
    assert!((outcome.seconds - 600.0).abs() < 0.05, "{}", outcome.seconds);
}

#[tokio::test(start_paused = true)]
async fn an_execution_cannot_resume_from_a_state_that_does_not_exist() {
    let failure = failed(resumed("Nowhere", 0, &Script::new()).await);
    assert_eq!(failure.to_string(), "States.Runtime: There is no state Nowhere to resume from.");
}
