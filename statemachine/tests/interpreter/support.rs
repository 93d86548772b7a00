//! Scripted functions, and helpers that build and run machines.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, UNIX_EPOCH};

use serde_json::{Value, json};
use stackdrop_statemachine::{
    Execution, Failure, LoadError, Machine, Options, Outcome, Status, TaskFuture, Tasks,
};
use tokio::time::Instant;

/// The behavior of a function in one call.
#[derive(Clone)]
pub(crate) enum Answer {
    Returns(Value),
    Fails(&'static str),
    /// Never returns.
    Hangs,
}

/// One call of a function.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Call {
    pub(crate) at_seconds: f64,
    pub(crate) function: String,
    pub(crate) payload: Value,
}

/// Functions by name. Each call takes the function's next answer; the last answer is repeated. A function takes its
/// seconds to answer.
pub(crate) struct Script {
    start: Instant,
    answers: BTreeMap<&'static str, (f64, Vec<Answer>)>,
    calls: Mutex<Vec<Call>>,
}

impl Script {
    pub(crate) fn new() -> Self {
        Self { start: Instant::now(), answers: BTreeMap::new(), calls: Mutex::new(Vec::new()) }
    }

    pub(crate) fn function(self, name: &'static str, answers: &[Answer]) -> Self {
        self.slow_function(name, 0.0, answers)
    }

    pub(crate) fn slow_function(mut self, name: &'static str, seconds: f64, answers: &[Answer]) -> Self {
        self.answers.insert(name, (seconds, answers.to_vec()));
        self
    }

    pub(crate) fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }

    pub(crate) fn times(&self) -> Vec<f64> {
        self.calls().iter().map(|call| call.at_seconds).collect()
    }
}

impl Tasks for Script {
    fn invoke<'a>(&'a self, function: &'a str, payload: Value) -> TaskFuture<'a> {
        let (seconds, answers) = self.answers.get(function).unwrap();
        let mut calls = self.calls.lock().unwrap();
        let before = calls.iter().filter(|call| call.function == function).count();
        let at_seconds = self.start.elapsed().as_secs_f64();
        calls.push(Call { at_seconds, function: function.to_owned(), payload });
        let answer = answers[before.min(answers.len() - 1)].clone();
        Box::pin(async move {
            pause(*seconds).await;
            match answer {
                Answer::Returns(value) => Ok(value),
                Answer::Fails(error) => Err(Failure::of_lambda(error, "as scripted")),
                Answer::Hangs => std::future::pending().await,
            }
        })
    }
}

#[expect(clippy::disallowed_methods, reason = "scripted functions take time")]
pub(crate) async fn pause(seconds: f64) {
    tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
}

/// A Task that sends its whole input to a function. The members of `more` are added, or replace those of the Task.
pub(crate) fn task(function: &str, more: Value) -> Value {
    let state = json!({
        "Type": "Task",
        "Resource": "arn:aws:states:::lambda:invoke",
        "Parameters": { "FunctionName": function, "Payload.$": "$" },
    });
    with(state, more)
}

/// The object with the members of another one added.
pub(crate) fn with(mut object: Value, more: Value) -> Value {
    let (Value::Object(members), Value::Object(more)) = (&mut object, more) else { unreachable!() };
    members.extend(more);
    object
}

/// A machine with these states; it starts at the first one.
pub(crate) fn definition(states: Value) -> Value {
    let start = states.as_object().unwrap().keys().next().unwrap().clone();
    let mut definition = json!({ "StartAt": start });
    definition["States"] = states;
    definition
}

pub(crate) fn load(definition: &Value) -> Result<Machine, LoadError> {
    Machine::load(&definition.to_string(), &BTreeMap::new())
}

pub(crate) fn machine(states: Value) -> Machine {
    load(&definition(states)).unwrap()
}

pub(crate) fn execution(input: Value) -> Execution {
    let new_year_2026 = UNIX_EPOCH + Duration::from_hours(24 * 365 * 56 + 24 * 14);
    Execution::new("deploy", "first", new_year_2026, input)
}

pub(crate) async fn run(states: Value, input: Value, script: &Script) -> Outcome {
    machine(states).run(&execution(input), script, &(), &Options::default()).await
}

/// Runs states that call no function, and returns the output.
pub(crate) async fn output(states: Value, input: Value) -> Value {
    succeeded(run(states, input, &Script::new()).await)
}

pub(crate) fn succeeded(outcome: Outcome) -> Value {
    match outcome.status {
        Status::Succeeded(output) => output,
        other => panic!("the execution ended as {other:?}"),
    }
}

pub(crate) fn failed(outcome: Outcome) -> Failure {
    match outcome.status {
        Status::Failed(failure) => failure,
        other => panic!("the execution ended as {other:?}"),
    }
}

/// The history as `kind state`.
pub(crate) fn events(outcome: &Outcome) -> Vec<String> {
    let event = |kind: String, state: Option<&str>| match state {
        Some(state) => format!("{kind} {state}"),
        None => kind,
    };
    outcome.history.iter().map(|e| event(e.kind.to_string(), e.state.as_deref())).collect()
}
