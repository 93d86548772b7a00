//! The inputs and the outcome of an execution.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use tokio::sync::watch;

use crate::definition::StateKind;
use crate::failure::Failure;
use crate::history::{Event, EventKind, Step};
use crate::join::Boxed;

/// The future of [`Tasks::invoke`]: the function's result, or the error that it ended with.
pub type TaskFuture<'a> = Boxed<'a, Result<Value, Failure>>;

/// Runs tasks: the Lambda service in AWS, the functions in process in a rehearsal.
pub trait Tasks: Sync {
    /// Invokes a function with a payload and returns its result; the interpreter wraps it as `lambda:invoke` does. If
    /// the state times out, another branch fails or the execution ends, the future is dropped, which stops the function
    /// at its current await point.
    ///
    /// # Errors
    /// The errors of the function ([`Failure::of_lambda`]) and of the service that runs it.
    fn invoke<'a>(&'a self, function: &'a str, payload: Value) -> TaskFuture<'a>;

    /// Waits for the answer to a task's token (`SendTaskSuccess` or `SendTaskFailure`). By default, no answer ever
    /// arrives.
    ///
    /// # Errors
    /// The failure that was sent.
    fn answer<'a>(&'a self, _token: &'a str) -> TaskFuture<'a> {
        Box::pin(std::future::pending())
    }
}

/// Observes an execution while it runs. Every method is optional; `&()` observes nothing.
pub trait Watch: Sync {
    /// A state was entered.
    fn entered(&self, _step: &StepEvent<'_>) {}
    /// An attempt failed; the next one follows after `after_seconds`.
    fn retrying(&self, _step: &StepEvent<'_>, _failure: &Failure, _after_seconds: f64) {}
    /// An event was added to the execution's history. The history is locked until this returns.
    fn recorded(&self, _event: &Event) {}
    /// A state was left. The step contains how it ended, and when.
    fn left(&self, _step: &Step) {}
}

impl Watch for () {}

/// A state while it is visited.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepEvent<'a> {
    /// The state's name.
    pub name: &'a str,
    /// The state's kind.
    pub kind: StateKind,
    /// The Parallel state that contains it.
    pub parent: Option<&'a str>,
    /// The current time, in seconds since the execution's start.
    pub at_seconds: f64,
    /// From 1.
    pub attempt: u32,
}

/// Options of a run.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The seed for the jitter of retries.
    pub seed: u64,
    /// Stops the execution; keep a clone of it.
    pub abort: Abort,
}

/// A state that an execution has reached, from which another execution can resume.
#[derive(Debug, Clone, PartialEq)]
pub struct Arrival {
    /// The state's name; a state inside a Parallel cannot be resumed from.
    pub state: String,
    /// The state's input.
    pub input: Value,
    /// The time since the execution's start.
    pub elapsed: Duration,
}

/// Ends executions from outside: no Catch runs.
#[derive(Debug, Clone)]
pub struct Abort {
    request: Arc<watch::Sender<Option<Status>>>,
}

impl Default for Abort {
    fn default() -> Self {
        Self { request: Arc::new(watch::Sender::new(None)) }
    }
}

impl Abort {
    /// Stops every execution that has this handle, as `StopExecution` does, now or as soon as it starts.
    pub fn stop(&self, error: &str, cause: &str) {
        self.request.send_replace(Some(Status::Aborted(Failure::new(error, cause))));
    }

    /// Ends every execution that has this handle as failed, as Step Functions itself does after an error of the workflow
    /// that nothing can catch, such as `States.Runtime`.
    pub fn fail(&self, error: &str, cause: &str) {
        self.request.send_replace(Some(Status::Failed(Failure::new(error, cause))));
    }

    /// Waits until [`Abort::stop`] or [`Abort::fail`] is called.
    pub(crate) async fn wait(&self) -> Status {
        let mut requests = self.request.subscribe();
        // `self` holds the sender, so the channel is never closed while this waits.
        match requests.wait_for(Option::is_some).await.map(|request| request.clone()) {
            Ok(Some(status)) => status,
            Ok(None) | Err(_) => std::future::pending().await,
        }
    }
}

/// How an execution ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Status {
    /// The execution's output.
    Succeeded(Value),
    /// The execution's error.
    Failed(Failure),
    /// The execution ran longer than the machine's `TimeoutSeconds`.
    TimedOut,
    /// The error and cause that [`Abort::stop`] was called with.
    Aborted(Failure),
}

/// An execution that has ended.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Outcome {
    /// How it ended.
    pub status: Status,
    /// How long it took.
    pub seconds: f64,
    /// The visits to states, in the order of entering.
    pub steps: Vec<Step>,
    /// The state transitions that AWS would bill: one for each state entered and for each retry.
    pub transitions: u64,
    /// Every event, in order.
    pub history: Vec<Event>,
}

impl Outcome {
    /// The input of a state's last visit.
    #[must_use]
    pub fn input_of(&self, state: &str) -> Option<&Value> {
        let mut events = self.history.iter().rev().filter(|event| event.state.as_deref() == Some(state));
        events.find_map(|event| event.detail.input())
    }

    /// The output of a state's last visit.
    #[must_use]
    pub fn output_of(&self, state: &str) -> Option<&Value> {
        let left = |event: &&Event| matches!(event.kind, EventKind::StateExited(_));
        let mut events = self.history.iter().rev().filter(left);
        events.find(|event| event.state.as_deref() == Some(state))?.detail.output()
    }
}
