//! What an execution is given, and what comes of it.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use tokio::sync::watch;

use crate::definition::StateKind;
use crate::failure::Failure;
use crate::history::{Event, EventKind, Step};
use crate::join::Boxed;

/// What [`Tasks::invoke`] gives: the function's answer, or the error that it ended with.
pub type TaskFuture<'a> = Boxed<'a, Result<Value, Failure>>;

/// What runs a Task: the Lambda service in AWS, the functions in process in a rehearsal.
pub trait Tasks: Sync {
    /// Invokes a function with a payload and gives what it returned; how `lambda:invoke` wraps that is the
    /// interpreter's affair. When the state times out, a neighbouring branch fails or the execution ends,
    /// the future is dropped: the function is killed where it stands.
    ///
    /// # Errors
    /// Those of the function ([`Failure::of_lambda`]) and those of the service that runs it.
    fn invoke<'a>(&'a self, function: &'a str, payload: Value) -> TaskFuture<'a>;

    /// What somebody answers with a task's token, by `SendTaskSuccess` or `SendTaskFailure`. Nobody ever does, unless
    /// this says otherwise.
    ///
    /// # Errors
    /// The failure that was sent.
    fn answer<'a>(&'a self, _token: &'a str) -> TaskFuture<'a> {
        Box::pin(std::future::pending())
    }
}

/// What is told about an execution while it runs. All of it is optional; `&()` watches nothing.
pub trait Watch: Sync {
    /// A state was entered.
    fn entered(&self, _step: &StepEvent<'_>) {}
    /// An attempt failed; the next one follows after so many seconds.
    fn retrying(&self, _step: &StepEvent<'_>, _failure: &Failure, _after_seconds: f64) {}
    /// An event was added to the execution's history. The history waits until this returns.
    fn recorded(&self, _event: &Event) {}
    /// A state was left. The finished step tells how it ended, and when.
    fn left(&self, _step: &Step) {}
}

impl Watch for () {}

/// A state that is being visited.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepEvent<'a> {
    /// The state's name.
    pub name: &'a str,
    /// The state's kind.
    pub kind: StateKind,
    /// The Parallel or Map that it is inside of.
    pub parent: Option<&'a str>,
    /// Now, in seconds since the execution's start.
    pub at_seconds: f64,
    /// From 1.
    pub attempt: u32,
}

/// How to run.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// For the jitter of retries.
    pub seed: u64,
    /// Keep a clone to stop the execution.
    pub abort: Abort,
}

/// A state that an execution has come to: where another can go on from.
#[derive(Debug, Clone, PartialEq)]
pub struct Arrival {
    /// The state's name; one that no Parallel or Map is around.
    pub state: String,
    /// The state's input.
    pub input: Value,
    /// Since the execution's start.
    pub elapsed: Duration,
}

/// Stops executions, as `StopExecution` does: no Catch is run.
#[derive(Debug, Clone)]
pub struct Abort {
    asked: Arc<watch::Sender<Option<Failure>>>,
}

impl Default for Abort {
    fn default() -> Self {
        Self { asked: Arc::new(watch::Sender::new(None)) }
    }
}

impl Abort {
    /// Stops every execution that was given this handle, now or as soon as it starts.
    pub fn stop(&self, error: &str, cause: &str) {
        self.asked.send_replace(Some(Failure::new(error, cause)));
    }

    /// Waits until somebody asks; for ever, if nobody does.
    pub(crate) async fn wait(&self) -> Failure {
        let mut asked = self.asked.subscribe();
        // `self` holds the sender, so the channel is never closed while this waits.
        match asked.wait_for(Option::is_some).await.map(|asked| asked.clone()) {
            Ok(Some(failure)) => failure,
            Ok(None) | Err(_) => std::future::pending().await,
        }
    }
}

/// How an execution ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Status {
    /// With this output.
    Succeeded(Value),
    /// With this error.
    Failed(Failure),
    /// It ran longer than the machine's `TimeoutSeconds`.
    TimedOut,
    /// It was stopped, with the error and cause that were given.
    Aborted(Failure),
}

/// An execution that has ended.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Outcome {
    /// How it ended.
    pub status: Status,
    /// How long it took.
    pub seconds: f64,
    /// The visits to states, in the order in which they were entered.
    pub steps: Vec<Step>,
    /// What AWS would bill: one for each state entered and for each retry.
    pub transitions: u64,
    /// Every event, in order.
    pub history: Vec<Event>,
}

impl Outcome {
    /// What a state was given when it was last entered.
    #[must_use]
    pub fn input_of(&self, state: &str) -> Option<&Value> {
        let mut events = self.history.iter().rev().filter(|event| event.state.as_deref() == Some(state));
        events.find_map(|event| event.detail.input())
    }

    /// What a state gave when it was last left.
    #[must_use]
    pub fn output_of(&self, state: &str) -> Option<&Value> {
        let left = |event: &&Event| matches!(event.kind, EventKind::StateExited(_));
        let mut events = self.history.iter().rev().filter(left);
        events.find(|event| event.state.as_deref() == Some(state))?.detail.output()
    }
}
