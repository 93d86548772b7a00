//! Parallel states.

use serde_json::{Value, json};
use stackdrop_statemachine::Ending;

use crate::support::{Answer, Script, definition, events, failed, output, run, succeeded, task, with};

fn parallel(branches: &[Value], more: Value) -> Value {
    let branches: Vec<_> = branches.iter().map(|states| definition(states.clone())).collect();
    with(json!({ "Type": "Parallel", "Branches": branches }), more)
}

fn returns(value: Value) -> Vec<Answer> {
    vec![Answer::Returns(value)]
}

#[tokio::test(start_paused = true)]
async fn branches_run_together_and_their_outputs_are_in_branch_order() {
    let branch =
        |name: &str, f: &str| json!({ name: task(f, json!({ "OutputPath": "$.Payload", "End": true })) });
    let states =
        json!({ "P": parallel(&[branch("A", "slow"), branch("B", "fast")], json!({ "End": true })) });
    let script = Script::new().slow_function("slow", 20.0, &returns(json!("slow"))).slow_function(
        "fast",
        5.0,
        &returns(json!("fast")),
    );
    let outcome = run(states, json!({ "x": 1 }), &script).await;
    assert!((outcome.seconds - 20.0).abs() < 0.05, "{}", outcome.seconds);
    assert!(script.calls().iter().all(|call| call.payload == json!({ "x": 1 })));
    let parents: Vec<_> =
        outcome.steps.iter().map(|step| (step.name.as_str(), step.parent.as_deref())).collect();
    assert_eq!(parents, [("P", None), ("A", Some("P")), ("B", Some("P"))]);
    assert_eq!(outcome.transitions, 3);
    assert_eq!(succeeded(outcome), json!(["slow", "fast"]));
}

#[tokio::test(start_paused = true)]
async fn a_parallel_records_awss_events() {
    let branch = json!({ "B": { "Type": "Pass", "End": true } });
    let outcome =
        run(json!({ "P": parallel(&[branch], json!({ "End": true })) }), json!({}), &Script::new()).await;
    assert_eq!(
        events(&outcome),
        [
            "ExecutionStarted",
            "ParallelStateEntered P",
            "ParallelStateStarted P",
            "PassStateEntered B",
            "PassStateExited B",
            "ParallelStateSucceeded P",
            "ParallelStateExited P",
            "ExecutionSucceeded"
        ]
    );
    let ids: Vec<u64> = outcome.history.iter().map(|event| event.id).collect();
    assert_eq!(ids, (1..=8).collect::<Vec<u64>>());
}

#[tokio::test(start_paused = true)]
async fn the_first_failed_branch_stops_the_others_and_fails_the_parallel_with_its_error() {
    let a = json!({ "A": task("slow", json!({ "Next": "Never" })), "Never": task("never", json!({ "End": true })) });
    let b = json!({ "B": task("bad", json!({ "End": true })) });
    let catch = json!([{ "ErrorEquals": ["Quota"], "ResultPath": "$.failed", "Next": "Caught" }]);
    let states = json!({
        "P": parallel(&[a, b], json!({ "Catch": catch, "End": true })),
        "Caught": { "Type": "Succeed" },
    });
    let script = Script::new()
        .slow_function("slow", 100.0, &returns(json!(1)))
        .slow_function("bad", 7.0, &[Answer::Fails("Quota")])
        .function("never", &returns(json!(1)));
    let outcome = run(states, json!({ "id": 1 }), &script).await;
    assert!((outcome.seconds - 7.0).abs() < 0.05, "{}", outcome.seconds);
    assert_eq!(script.calls().len(), 2);
    let slow = outcome.steps.iter().find(|step| step.name == "A").unwrap();
    assert_eq!(slow.ending, Ending::Aborted);
    assert!((slow.end - 7.0).abs() < 0.05, "{slow:?}");
    let names = events(&outcome);
    let from = names.iter().position(|name| name == "TaskFailed B").unwrap();
    assert_eq!(
        names[from + 1..from + 5],
        ["TaskStateAborted B", "TaskStateAborted A", "ParallelStateFailed P", "ParallelStateExited P"]
    );
    let output = succeeded(outcome);
    assert_eq!((&output["id"], &output["failed"]["Error"]), (&json!(1), &json!("Quota")));
}

#[tokio::test(start_paused = true)]
async fn a_fail_state_inside_a_branch_fails_the_parallel_not_the_execution() {
    let branch = json!({ "F": { "Type": "Fail", "Error": "Mine" } });
    let states = json!({
        "P": parallel(&[branch], json!({ "Catch": [{ "ErrorEquals": ["Mine"], "Next": "C" }], "End": true })),
        "C": { "Type": "Succeed" },
    });
    assert_eq!(output(states, json!({})).await, json!({ "Error": "Mine", "Cause": "" }));
}

#[tokio::test(start_paused = true)]
async fn a_parallel_is_retried_as_a_whole() {
    let a = json!({ "A": task("good", json!({ "End": true })) });
    let b = json!({ "B": task("bad", json!({ "End": true })) });
    let retry = json!([{ "ErrorEquals": ["E"], "IntervalSeconds": 10 }]);
    let select = json!({ "a.$": "$[0].Payload", "b.$": "$[1].Payload" });
    let states = json!({
        "P": parallel(&[a, b], json!({ "Retry": retry, "ResultSelector": select, "End": true })),
    });
    let script = Script::new()
        .function("good", &returns(json!("a")))
        .function("bad", &[Answer::Fails("E"), Answer::Returns(json!("b"))]);
    let outcome = run(states, json!({}), &script).await;
    assert_eq!(script.calls().len(), 4);
    assert_eq!(outcome.transitions, 6);
    let names = events(&outcome);
    assert_eq!(names.iter().filter(|name| *name == "ParallelStateStarted P").count(), 2);
    assert!(!names.contains(&"ParallelStateFailed P".to_owned()), "the retry succeeded: {names:?}");
    assert_eq!(succeeded(outcome), json!({ "a": "a", "b": "b" }));
}

#[tokio::test(start_paused = true)]
async fn a_failed_parallel_records_one_failure_with_the_error_of_the_branch() {
    let branch = json!({ "F": { "Type": "Fail", "Error": "Mine", "Cause": "why" } });
    let retry = json!([{ "ErrorEquals": ["States.TaskFailed"], "MaxAttempts": 2 }]);
    let states = json!({ "P": parallel(&[branch], json!({ "Retry": retry, "End": true })) });
    let outcome = run(states, json!({}), &Script::new()).await;
    let names = events(&outcome);
    assert_eq!(names.iter().filter(|name| *name == "ParallelStateStarted P").count(), 3);
    assert_eq!(names[names.len() - 2..], ["ParallelStateFailed P", "ExecutionFailed"]);
    assert_eq!(failed(outcome), stackdrop_statemachine::Failure::new("Mine", "why"));
}

#[tokio::test(start_paused = true)]
async fn a_runtime_error_in_a_branch_ends_the_whole_execution_immediately() {
    let slow = json!({ "A": task("slow", json!({ "End": true })) });
    let bad = json!({ "B": { "Type": "Pass", "OutputPath": "$.none", "End": true } });
    let catch = json!([{ "ErrorEquals": ["States.ALL"], "Next": "C" }]);
    let states = json!({
        "P": parallel(&[slow, bad], json!({ "Catch": catch, "End": true })),
        "C": { "Type": "Succeed" },
    });
    let script = Script::new().slow_function("slow", 60.0, &returns(json!(1)));
    let outcome = run(states, json!({}), &script).await;
    let names = events(&outcome);
    assert_eq!(
        names[3..],
        ["TaskStateEntered A", "TaskScheduled A", "TaskStarted A", "PassStateEntered B", "ExecutionFailed"]
    );
    let endings: Vec<_> = outcome.steps.iter().map(|step| (step.name.as_str(), &step.ending)).collect();
    assert!(matches!(
        endings[..],
        [("P", Ending::Failed(_)), ("A", Ending::Aborted), ("B", Ending::Failed(_))]
    ));
    assert_eq!(failed(outcome).error, "States.Runtime");
}

#[tokio::test(start_paused = true)]
async fn branch_outputs_that_are_too_large_together_fail_the_parallel() {
    let branch = |name: &str| json!({ name: { "Type": "Pass", "Parameters": { "x": "x".repeat(150_000) }, "End": true } });
    let more = json!({ "ResultPath": null, "End": true });
    let outcome =
        run(json!({ "P": parallel(&[branch("A"), branch("B")], more) }), json!({}), &Script::new()).await;
    let failure = failed(outcome);
    assert_eq!(failure.error, "States.DataLimitExceeded");
    assert_eq!(
        failure.cause,
        "The state/task 'P' returned a result with a size exceeding the maximum number of bytes service limit."
    );
}
