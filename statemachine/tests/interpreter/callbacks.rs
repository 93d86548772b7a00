//! Tasks that are done when somebody answers with their token.

use std::sync::Mutex;

use serde_json::{Value, json};
use stackdrop_statemachine::{Failure, Options, Status, TaskFuture, Tasks};

use crate::support::{definition, events, execution, load, machine, pause, task, with};

const RESOURCE: &str = "arn:aws:states:::lambda:invoke.waitForTaskToken";

/// Keeps the token that it is given, and answers with it a minute later.
struct Asked {
    answer: Result<Value, Failure>,
    tokens: Mutex<Vec<String>>,
}

impl Asked {
    fn and_answered(answer: Result<Value, Failure>) -> Self {
        Self { answer, tokens: Mutex::default() }
    }
}

impl Tasks for Asked {
    fn invoke<'a>(&'a self, _: &'a str, payload: Value) -> TaskFuture<'a> {
        self.tokens.lock().unwrap().push(payload["token"].as_str().unwrap().to_owned());
        Box::pin(async { Ok(json!("of no interest")) })
    }

    fn answer<'a>(&'a self, token: &'a str) -> TaskFuture<'a> {
        assert_eq!(self.tokens.lock().unwrap().last().unwrap(), token);
        Box::pin(async {
            pause(60.0).await;
            self.answer.clone()
        })
    }
}

fn asking(more: Value) -> Value {
    let parameters = json!({ "FunctionName": "ask", "Payload": { "token.$": "$$.Task.Token" } });
    let state = json!({ "Resource": RESOURCE, "Parameters": parameters, "TimeoutSeconds": 600, "End": true });
    task("ask", with(state, more))
}

#[tokio::test(start_paused = true)]
async fn the_answer_is_the_result_and_not_what_the_function_returned() {
    let asked = Asked::and_answered(Ok(json!({ "approved": true })));
    let machine = machine(json!({ "Ask": asking(json!({ "ResultPath": "$.answer" })) }));
    let outcome = machine.run(&execution(json!({ "a": 1 })), &asked, &(), &Options::default()).await;
    assert_eq!(outcome.status, Status::Succeeded(json!({ "a": 1, "answer": { "approved": true } })));
    assert!((outcome.seconds - 60.0).abs() < 0.05, "{}", outcome.seconds);
    assert_eq!(
        events(&outcome)[2..6],
        ["TaskScheduled Ask", "TaskStarted Ask", "TaskSubmitted Ask", "TaskSucceeded Ask"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_sent_failure_is_the_tasks_failure_and_another_attempt_has_another_token() {
    let asked = Asked::and_answered(Err(Failure::new("Declined", "not on a Friday")));
    let retry = json!([{ "ErrorEquals": ["Declined"], "MaxAttempts": 1 }]);
    let machine = machine(json!({ "Ask": asking(json!({ "Retry": retry })) }));
    let outcome = machine.run(&execution(json!({})), &asked, &(), &Options::default()).await;
    assert_eq!(outcome.status, Status::Failed(Failure::new("Declined", "not on a Friday")));
    let tokens = asked.tokens.lock().unwrap();
    assert!(tokens.len() == 2 && tokens[0] != tokens[1], "{tokens:?}");
}

#[tokio::test(start_paused = true)]
async fn a_question_that_nobody_answers_times_out() {
    let asked = Asked::and_answered(Ok(json!(null)));
    let machine = machine(json!({ "Ask": asking(json!({ "TimeoutSeconds": 30 })) }));
    let outcome = machine.run(&execution(json!({})), &asked, &(), &Options::default()).await;
    assert_eq!(outcome.status, Status::Failed(Failure::new("States.Timeout", "")));
}

#[test]
fn a_token_goes_with_a_task_that_waits_for_it_and_the_wait_has_a_limit() {
    let told = |state: Value| load(&definition(json!({ "Ask": state }))).unwrap_err().to_string();
    let mut endless = asking(json!({}));
    endless.as_object_mut().unwrap().remove("TimeoutSeconds");
    assert!(told(endless).contains("would wait for ever"));
    let mute = asking(json!({ "Parameters": { "FunctionName": "ask", "Payload": {} } }));
    assert!(told(mute).contains("nobody could answer it"));
    let plain = asking(json!({ "Resource": "arn:aws:states:::lambda:invoke" }));
    assert!(told(plain).contains("only a task whose `Resource` waits for it has a token"));
}
