//! Tasks that wait for their token.

use std::sync::Mutex;

use serde_json::{Value, json};
use stackdrop_statemachine::{Failure, Options, Status, TaskFuture, Tasks};

use crate::support::{definition, events, execution, load, machine, pause, task, with};

const RESOURCE: &str = "arn:aws:states:::lambda:invoke.waitForTaskToken";

/// Records the token of each call, and answers it a minute later.
struct Approver {
    answer: Result<Value, Failure>,
    tokens: Mutex<Vec<String>>,
}

impl Approver {
    fn with(answer: Result<Value, Failure>) -> Self {
        Self { answer, tokens: Mutex::default() }
    }
}

impl Tasks for Approver {
    fn invoke<'a>(&'a self, _: &'a str, payload: Value) -> TaskFuture<'a> {
        self.tokens.lock().unwrap().push(payload["token"].as_str().unwrap().to_owned());
        Box::pin(async { Ok(json!("ignored")) })
    }

    fn answer<'a>(&'a self, token: &'a str) -> TaskFuture<'a> {
        assert_eq!(self.tokens.lock().unwrap().last().unwrap(), token);
        Box::pin(async {
            pause(60.0).await;
            self.answer.clone()
        })
    }
}

fn approval(more: Value) -> Value {
    let parameters = json!({ "FunctionName": "approve", "Payload": { "token.$": "$$.Task.Token" } });
    let state = json!({ "Resource": RESOURCE, "Parameters": parameters, "TimeoutSeconds": 600, "End": true });
    task("approve", with(state, more))
}

#[tokio::test(start_paused = true)]
async fn the_result_is_the_answer_and_not_the_functions_result() {
    let approver = Approver::with(Ok(json!({ "approved": true })));
    let machine = machine(json!({ "Approve": approval(json!({ "ResultPath": "$.answer" })) }));
    let outcome = machine.run(&execution(json!({ "a": 1 })), &approver, &(), &Options::default()).await;
    assert_eq!(outcome.status, Status::Succeeded(json!({ "a": 1, "answer": { "approved": true } })));
    assert!((outcome.seconds - 60.0).abs() < 0.05, "{}", outcome.seconds);
    assert_eq!(
        events(&outcome)[2..6],
        ["TaskScheduled Approve", "TaskStarted Approve", "TaskSubmitted Approve", "TaskSucceeded Approve"]
    );
    assert_eq!(outcome.history[2].detail.to_json()["resource"], "invoke.waitForTaskToken");
}

#[tokio::test(start_paused = true)]
async fn a_task_fails_with_the_failure_that_was_sent_and_each_attempt_has_a_new_token() {
    let approver = Approver::with(Err(Failure::new("ApprovalRejected", "not on a Friday")));
    let retry = json!([{ "ErrorEquals": ["ApprovalRejected"], "MaxAttempts": 1 }]);
    let machine = machine(json!({ "Approve": approval(json!({ "Retry": retry })) }));
    let outcome = machine.run(&execution(json!({})), &approver, &(), &Options::default()).await;
    assert_eq!(outcome.status, Status::Failed(Failure::new("ApprovalRejected", "not on a Friday")));
    let tokens = approver.tokens.lock().unwrap();
    assert!(tokens.len() == 2 && tokens[0] != tokens[1], "{tokens:?}");
}

#[tokio::test(start_paused = true)]
async fn a_failure_that_was_sent_without_error_and_cause_is_caught_as_nulls() {
    let approver = Approver::with(Err(Failure::new("", "")));
    let catch = json!([{ "ErrorEquals": ["States.ALL"], "Next": "Caught", "ResultPath": "$.failed" }]);
    let machine = machine(json!({
        "Approve": approval(json!({ "Catch": catch })),
        "Caught": { "Type": "Succeed" },
    }));
    let outcome = machine.run(&execution(json!({})), &approver, &(), &Options::default()).await;
    assert_eq!(outcome.status, Status::Succeeded(json!({ "failed": { "Error": null, "Cause": null } })));
    let failed = outcome.history.iter().find(|event| event.kind.to_string() == "TaskFailed").unwrap();
    assert_eq!(failed.detail.to_json(), json!({}));
}

#[tokio::test(start_paused = true)]
async fn a_token_that_nobody_answers_times_out() {
    let approver = Approver::with(Ok(json!(null)));
    let machine = machine(json!({ "Approve": approval(json!({ "TimeoutSeconds": 30 })) }));
    let outcome = machine.run(&execution(json!({})), &approver, &(), &Options::default()).await;
    assert_eq!(outcome.status, Status::Failed(Failure::new("States.Timeout", "")));
}

#[test]
fn a_task_that_waits_must_have_a_token_and_a_timeout() {
    let error = |state: Value| load(&definition(json!({ "Approve": state }))).unwrap_err().to_string();
    let mut endless = approval(json!({}));
    endless.as_object_mut().unwrap().remove("TimeoutSeconds");
    assert!(error(endless).contains("it could wait forever"));
    let mute = approval(json!({ "Parameters": { "FunctionName": "approve", "Payload": {} } }));
    assert!(error(mute).contains("nobody could answer it"));
    let plain = approval(json!({ "Resource": "arn:aws:states:::lambda:invoke" }));
    assert!(error(plain).contains("exists only in a Task state whose `Resource` is"));
}
