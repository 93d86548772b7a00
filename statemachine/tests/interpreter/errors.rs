//! Retries, catches and timeouts.

use serde_json::{Value, json};
use stackdrop_statemachine::{Ending, Failure, Options, StepEvent, Watch};

use crate::support::{Answer, Script, events, execution, failed, machine, run, succeeded, task};

fn retried(retry: Value) -> Value {
    let mut state = task("f", json!({ "End": true }));
    state["Retry"] = retry;
    json!({ "T": state })
}

fn assert_times(actual: &[f64], expected: &[f64]) {
    assert_eq!(actual.len(), expected.len(), "{actual:?}");
    let near = |(actual, expected): (&f64, &f64)| (actual - expected).abs() < 0.05;
    assert!(actual.iter().zip(expected).all(near), "{actual:?} is not {expected:?}");
}

#[tokio::test(start_paused = true)]
async fn an_error_without_retry_or_catch_ends_the_execution_with_lambdas_error() {
    let script = Script::new().function("f", &[Answer::Fails("Quota")]);
    let outcome = run(json!({ "T": task("f", json!({ "End": true })) }), json!({}), &script).await;
    assert_eq!(
        events(&outcome),
        [
            "ExecutionStarted",
            "TaskStateEntered T",
            "TaskScheduled T",
            "TaskStarted T",
            "TaskFailed T",
            "ExecutionFailed"
        ]
    );
    assert_eq!(
        failed(outcome),
        Failure::new("Quota", r#"{"errorType":"Quota","errorMessage":"as scripted"}"#)
    );
}

#[tokio::test(start_paused = true)]
async fn a_pending_task_is_retried_at_a_fixed_interval_until_it_succeeds() {
    let retry =
        json!([{ "ErrorEquals": ["Pending"], "IntervalSeconds": 15, "BackoffRate": 1, "MaxAttempts": 100 }]);
    let pending = Answer::Fails("Pending");
    let script = Script::new().function("f", &[pending.clone(), pending, Answer::Returns(json!("done"))]);
    let outcome = run(retried(retry), json!({}), &script).await;
    assert_times(&script.times(), &[0.0, 15.0, 30.0]);
    assert_eq!((outcome.steps[0].attempts, outcome.transitions), (3, 3));
    let entered = events(&outcome).iter().filter(|event| event.starts_with("TaskStateEntered")).count();
    let scheduled = events(&outcome).iter().filter(|event| event.starts_with("TaskScheduled")).count();
    assert_eq!((entered, scheduled), (1, 3));
    assert_eq!(succeeded(outcome)["Payload"], "done");
}

#[tokio::test(start_paused = true)]
async fn by_default_three_retries_double_a_delay_of_one_second() {
    let script = Script::new().function("f", &[Answer::Fails("E")]);
    run(retried(json!([{ "ErrorEquals": ["E"] }])), json!({}), &script).await;
    assert_times(&script.times(), &[0.0, 1.0, 3.0, 7.0]);
}

#[tokio::test(start_paused = true)]
async fn delays_grow_by_the_backoff_rate_up_to_the_maximum() {
    let retry = json!([{
        "ErrorEquals": ["E"], "IntervalSeconds": 2, "BackoffRate": 3, "MaxAttempts": 4, "MaxDelaySeconds": 10,
    }]);
    let script = Script::new().function("f", &[Answer::Fails("E")]);
    run(retried(retry), json!({}), &script).await;
    assert_times(&script.times(), &[0.0, 2.0, 8.0, 18.0, 28.0]);
}

#[tokio::test(start_paused = true)]
async fn full_jitter_stays_below_the_delay_and_depends_on_the_seed() {
    let retry = json!([{
        "ErrorEquals": ["E"], "IntervalSeconds": 100, "BackoffRate": 1, "MaxAttempts": 20, "JitterStrategy": "FULL",
    }]);
    let mut runs = Vec::new();
    for seed in [1, 1, 2] {
        let script = Script::new().function("f", &[Answer::Fails("E")]);
        let options = Options { seed, ..Options::default() };
        machine(retried(retry.clone())).run(&execution(json!({})), &script, &(), &options).await;
        runs.push(script.times());
    }
    assert_eq!(runs[0], runs[1]);
    assert_ne!(runs[0], runs[2]);
    let delays: Vec<f64> = runs[0].windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(delays.iter().all(|delay| (0.0..=100.01).contains(delay)), "{delays:?}");
    assert!(
        delays.iter().any(|delay| *delay < 50.0) && delays.iter().any(|delay| *delay > 50.0),
        "{delays:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn each_retrier_counts_its_own_attempts_and_a_used_up_one_is_final() {
    // The example of the Developer Guide ("Complex retry scenarios"), with a wildcard after it.
    let retry = json!([
        { "ErrorEquals": ["ErrorA", "ErrorB"], "IntervalSeconds": 1, "BackoffRate": 2, "MaxAttempts": 2 },
        { "ErrorEquals": ["ErrorC"], "IntervalSeconds": 5 },
        { "ErrorEquals": ["States.ALL"], "IntervalSeconds": 60 },
    ]);
    let answers = ["ErrorA", "ErrorB", "ErrorC", "ErrorB"].map(Answer::Fails);
    let script = Script::new().function("f", &answers);
    let outcome = run(retried(retry), json!({}), &script).await;
    assert_times(&script.times(), &[0.0, 1.0, 3.0, 8.0]);
    assert_eq!(failed(outcome).error, "ErrorB");
}

#[tokio::test(start_paused = true)]
async fn zero_attempts_means_no_retry() {
    let retry = json!([{ "ErrorEquals": ["E"], "MaxAttempts": 0 }, { "ErrorEquals": ["States.ALL"] }]);
    let script = Script::new().function("f", &[Answer::Fails("E")]);
    run(retried(retry), json!({}), &script).await;
    assert_eq!(script.calls().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn retries_are_counted_for_each_visit() {
    let retry = json!([{ "ErrorEquals": ["E"], "MaxAttempts": 1 }]);
    let catch = json!([{ "ErrorEquals": ["E"], "Next": "Again", "ResultPath": null }]);
    let states = json!({
        "T": task("f", json!({ "Retry": retry, "Catch": catch, "End": true })),
        "Again": task("g", json!({ "Next": "T" })),
    });
    let error = Answer::Fails("E");
    let script = Script::new()
        .function("f", &[error.clone(), error.clone(), error, Answer::Returns(json!(1))])
        .function("g", &[Answer::Returns(json!(2))]);
    let outcome = run(states, json!({}), &script).await;
    let visits: Vec<_> = outcome.steps.iter().map(|step| (step.name.as_str(), step.attempts)).collect();
    assert_eq!(visits, [("T", 2), ("Again", 1), ("T", 2)]);
    assert_eq!(outcome.transitions, 5);
}

/// Runs a Task whose function fails with `error`, and returns the output of its Catch.
async fn caught(error: &'static str, catch: Value, input: Value) -> Result<Value, Failure> {
    let states = json!({
        "T": task("f", json!({ "Catch": catch, "Next": "Missed" })),
        "Missed": { "Type": "Fail", "Error": "NotCaught" },
        "Caught": { "Type": "Pass", "End": true },
    });
    let catch_first = states["T"]["Catch"][0]["Next"] == "Caught";
    assert!(catch_first);
    let script = Script::new().function("f", &[Answer::Fails(error)]);
    match run(states, input, &script).await.status {
        stackdrop_statemachine::Status::Succeeded(output) => Ok(output),
        stackdrop_statemachine::Status::Failed(failure) => Err(failure),
        other => panic!("{other:?}"),
    }
}

fn catch_of(names: &Value) -> Value {
    json!([{ "ErrorEquals": names, "Next": "Caught" }])
}

#[tokio::test(start_paused = true)]
async fn a_catch_without_result_path_replaces_the_whole_input() {
    let output = caught("Quota", catch_of(&json!(["Quota"])), json!({ "ids": [1] })).await.unwrap();
    let cause = r#"{"errorType":"Quota","errorMessage":"as scripted"}"#;
    assert_eq!(output, json!({ "Error": "Quota", "Cause": cause }));
}

#[tokio::test(start_paused = true)]
async fn a_catch_inserts_the_error_at_its_result_path() {
    let catch = json!([{ "ErrorEquals": ["States.ALL"], "ResultPath": "$.failed", "Next": "Caught" }]);
    let output = caught("Quota", catch, json!({ "ids": [1] })).await.unwrap();
    assert_eq!(output["ids"], json!([1]));
    assert_eq!(output["failed"]["Error"], "Quota");
}

#[tokio::test(start_paused = true)]
async fn a_catch_inserts_the_error_into_the_states_input_whatever_the_states_own_paths_are() {
    let parameters = json!({ "FunctionName": "f", "Payload": { "only.$": "$.in.a" } });
    let states = json!({
        "T": task("f", json!({
            "Parameters": parameters,
            "ResultSelector": { "x.$": "$.Payload" },
            "ResultPath": "$.result",
            "OutputPath": "$.in",
            "Catch": [{ "ErrorEquals": ["E"], "ResultPath": "$.failed", "Next": "RollBack" }],
            "Next": "RollBack",
        })),
        "RollBack": { "Type": "Succeed" },
    });
    let script = Script::new().function("f", &[Answer::Fails("E")]);
    let output = succeeded(run(states, json!({ "in": { "a": 1 }, "ids": [7] }), &script).await);
    assert_eq!(output["in"], json!({ "a": 1 }));
    assert_eq!(output["ids"], json!([7]));
    assert_eq!(output["failed"]["Error"], "E");
    assert!(output.get("result").is_none(), "{output}");
}

#[tokio::test(start_paused = true)]
async fn the_first_catch_that_matches_decides() {
    let catch = |name: &str, next: &str| json!({ "ErrorEquals": [name], "Next": next });
    let end = |by: &str| json!({ "Type": "Pass", "Parameters": { "by": by }, "End": true });
    let states = json!({
        "T": task("f", json!({
            "Catch": [catch("A", "First"), catch("States.TaskFailed", "Second"), catch("States.ALL", "Third")],
            "Next": "First",
        })),
        "First": end("first"), "Second": end("second"), "Third": end("third"),
    });
    for (error, expected) in [("A", "first"), ("B", "second"), ("States.Timeout", "third")] {
        let script = Script::new().function("f", &[Answer::Fails(error)]);
        let output = succeeded(run(states.clone(), json!({}), &script).await);
        assert_eq!(output, json!({ "by": expected }), "{error}");
    }
}

#[test]
fn a_lambda_error_becomes_a_failure_with_its_type_as_name_and_its_json_as_cause() {
    let failure = Failure::of_lambda("Pending", "the NAT gateway is pending");
    assert_eq!(failure.error, "Pending");
    assert_eq!(failure.cause, r#"{"errorType":"Pending","errorMessage":"the NAT gateway is pending"}"#);
}

#[tokio::test(start_paused = true)]
async fn a_catch_with_result_path_null_passes_the_input() {
    let catch = json!([{ "ErrorEquals": ["States.ALL"], "ResultPath": null, "Next": "Caught" }]);
    assert_eq!(caught("Quota", catch, json!({ "ids": [1] })).await.unwrap(), json!({ "ids": [1] }));
}

#[tokio::test(start_paused = true)]
async fn wildcards_match_as_the_developer_guide_says() {
    for (error, names, expected) in [
        ("Quota", json!(["Other"]), false),
        ("Quota", json!(["Other", "Quota"]), true),
        ("Quota", json!(["States.TaskFailed"]), true),
        ("States.Timeout", json!(["States.TaskFailed"]), false),
        ("States.Timeout", json!(["States.Timeout"]), true),
        ("States.Timeout", json!(["States.ALL"]), true),
        ("States.DataLimitExceeded", json!(["States.ALL"]), false),
        ("States.DataLimitExceeded", json!(["States.TaskFailed"]), false),
        ("States.DataLimitExceeded", json!(["States.DataLimitExceeded"]), true),
        ("States.Runtime", json!(["States.ALL"]), false),
        ("States.Runtime", json!(["States.TaskFailed"]), false),
    ] {
        let result = caught(error, catch_of(&names), json!({})).await;
        assert_eq!(result.is_ok(), expected, "{error} by {names}: {result:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn retries_come_before_the_catch_and_the_step_contains_both() {
    let states = json!({
        "T": task("f", json!({
            "Retry": [{ "ErrorEquals": ["E"], "MaxAttempts": 1 }],
            "Catch": [{ "ErrorEquals": ["E"], "Next": "RollBack" }],
            "End": true,
        })),
        "RollBack": { "Type": "Succeed" },
    });
    let script = Script::new().slow_function("f", 2.0, &[Answer::Fails("E")]);
    let outcome = run(states, json!({}), &script).await;
    let step = &outcome.steps[0];
    assert_eq!(step.attempts, 2);
    assert!((step.end - step.start - 5.0).abs() < 0.05, "{step:?}");
    let Ending::Caught { failure, next } = &step.ending else { panic!("{step:?}") };
    assert_eq!((failure.error.as_str(), next.as_str()), ("E", "RollBack"));
    let names = events(&outcome);
    assert!(names.contains(&"TaskStateExited T".to_owned()), "{names:?}");
    assert_eq!(names.last().unwrap(), "ExecutionSucceeded");
}

#[tokio::test(start_paused = true)]
async fn each_attempt_of_a_task_has_the_full_timeout() {
    let more = json!({
        "TimeoutSeconds": 30,
        "Retry": [{ "ErrorEquals": ["States.Timeout"], "MaxAttempts": 1, "IntervalSeconds": 5 }],
        "End": true,
    });
    let script = Script::new().function("f", &[Answer::Hangs]);
    let outcome = run(json!({ "T": task("f", more) }), json!({}), &script).await;
    assert!((outcome.seconds - 65.0).abs() < 0.05, "{}", outcome.seconds);
    assert_eq!(script.calls().len(), 2);
    assert!(events(&outcome).contains(&"TaskTimedOut T".to_owned()));
    assert_eq!(failed(outcome), Failure::new("States.Timeout", ""));
}

#[tokio::test(start_paused = true)]
async fn a_runtime_error_is_not_caught_by_the_parallel() {
    let states = json!({
        "P": {
            "Type": "Parallel",
            "Branches": [{ "StartAt": "B", "States": { "B": { "Type": "Pass", "OutputPath": "$.none", "End": true } } }],
            "Catch": [{ "ErrorEquals": ["States.ALL"], "Next": "Caught" }],
            "End": true,
        },
        "Caught": { "Type": "Succeed" },
    });
    assert_eq!(failed(run(states, json!({}), &Script::new()).await).error, "States.Runtime");
}

#[derive(Default)]
struct Lines(std::sync::Mutex<Vec<String>>);

impl Watch for Lines {
    fn entered(&self, step: &StepEvent<'_>) {
        self.0.lock().unwrap().push(format!("{:.0} > {} {}", step.at_seconds, step.kind, step.name));
    }

    fn retrying(&self, step: &StepEvent<'_>, failure: &Failure, after_seconds: f64) {
        let line = format!(
            "{:.0} {} attempt {}: {}, {after_seconds:.0} s",
            step.at_seconds, step.name, step.attempt, failure.error
        );
        self.0.lock().unwrap().push(line);
    }

    fn left(&self, step: &stackdrop_statemachine::Step) {
        self.0.lock().unwrap().push(format!(
            "{:.0}-{:.0} < {} of {:?} after {}: {}",
            step.start,
            step.end,
            step.name,
            step.parent,
            step.attempts,
            step.ending == Ending::Done
        ));
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_observes_attempts_and_ends() {
    let script =
        Script::new().slow_function("f", 3.0, &[Answer::Fails("Pending"), Answer::Returns(json!(1))]);
    let lines = Lines::default();
    let machine = machine(retried(json!([{ "ErrorEquals": ["Pending"], "IntervalSeconds": 10 }])));
    machine.run(&execution(json!({})), &script, &lines, &Options::default()).await;
    assert_eq!(
        *lines.0.lock().unwrap(),
        ["0 > Task T", "3 T attempt 1: Pending, 10 s", "0-16 < T of None after 2: true"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_watch_observes_every_branch_and_every_abort() {
    let script = Script::new().slow_function("slow", 60.0, &[Answer::Returns(json!(1))]).slow_function(
        "bad",
        4.0,
        &[Answer::Fails("E")],
    );
    let branch = |name: &str, function: &str| json!({ "StartAt": name, "States": { name: task(function, json!({ "End": true })) } });
    let branches = json!([branch("A", "slow"), branch("B", "bad")]);
    let states = json!({ "P": { "Type": "Parallel", "Branches": branches, "End": true } });
    let lines = Lines::default();
    machine(states).run(&execution(json!({})), &script, &lines, &Options::default()).await;
    assert_eq!(
        *lines.0.lock().unwrap(),
        [
            "0 > Parallel P",
            "0 > Task A",
            "0 > Task B",
            "0-4 < B of Some(\"P\") after 1: false",
            "0-4 < A of Some(\"P\") after 1: false",
            "0-4 < P of None after 1: false"
        ]
    );
}
