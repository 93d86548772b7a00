//! The history of an execution: events as Step Functions counts them, and steps as people read them.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use crate::definition::StateKind;
use crate::failure::Failure;

/// The largest number of events of an execution, including its last one (Developer Guide, "quotas").
pub const HISTORY_EVENTS_MAX: usize = 25_000;

/// One event of an execution's history.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Event {
    /// Starts at 1, without gaps.
    pub id: u64,
    /// Seconds since the execution's start.
    pub at_seconds: f64,
    /// What happened.
    pub kind: EventKind,
    /// The state of the event; `None` for the execution's own events.
    pub state: Option<String>,
    /// The event's details.
    pub detail: Detail,
}

/// The details of an event: inputs, outputs and errors. The values are shared with the states, and are converted into
/// AWS's event details only on demand.
#[derive(Debug, Clone, PartialEq)]
pub enum Detail {
    /// The input of a state or of the execution.
    Input(Arc<Value>),
    /// The output of a state, a task or the execution.
    Output(Arc<Value>),
    /// The call of a task's function.
    Scheduled {
        /// The function's name.
        function: String,
        /// Its payload.
        payload: Arc<Value>,
        /// Whether the task waits for its token.
        waits_for_token: bool,
        /// The task's `TimeoutSeconds`.
        timeout_seconds: Option<u32>,
    },
    /// Other details, such as an error.
    Other(Value),
}

impl Detail {
    /// The details of an event that has none.
    pub(crate) fn empty() -> Self {
        Self::Other(json!({}))
    }

    /// The details of a failure. As in AWS, an empty error or cause is left out.
    pub(crate) fn failure(failure: &Failure) -> Self {
        let fields = [("error", &failure.error), ("cause", &failure.cause)];
        let given = fields.into_iter().filter(|(_, text)| !text.is_empty());
        Self::Other(Value::Object(given.map(|(name, text)| (name.to_owned(), json!(text))).collect()))
    }

    /// The input, if the event has one.
    #[must_use]
    pub fn input(&self) -> Option<&Value> {
        match self {
            Self::Input(input) => Some(input),
            Self::Output(_) | Self::Scheduled { .. } | Self::Other(_) => None,
        }
    }

    /// The output, if the event has one.
    #[must_use]
    pub fn output(&self) -> Option<&Value> {
        match self {
            Self::Output(output) => Some(output),
            Self::Input(_) | Self::Scheduled { .. } | Self::Other(_) => None,
        }
    }

    /// The details as AWS writes them.
    #[must_use]
    pub fn to_json(&self) -> Value {
        match self {
            Self::Input(input) => json!({ "input": **input }),
            Self::Output(output) => json!({ "output": **output }),
            Self::Scheduled { function, payload, waits_for_token, timeout_seconds } => {
                let mut details = json!({
                    "resourceType": "lambda",
                    "resource": if *waits_for_token { "invoke.waitForTaskToken" } else { "invoke" },
                    "parameters": { "FunctionName": function, "Payload": **payload },
                });
                if let Some(seconds) = timeout_seconds {
                    details["timeoutInSeconds"] = (*seconds).into();
                }
                details
            }
            Self::Other(details) => details.clone(),
        }
    }
}

impl Serialize for Detail {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_json().serialize(serializer)
    }
}

/// The kinds of events. They are displayed with AWS's names, such as `TaskStateEntered`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "AWS's own names")]
pub enum EventKind {
    ExecutionStarted,
    ExecutionSucceeded,
    ExecutionFailed,
    ExecutionTimedOut,
    ExecutionAborted,
    StateEntered(StateKind),
    StateExited(StateKind),
    /// A Parallel state.
    StateStarted(StateKind),
    /// A Parallel state.
    StateSucceeded(StateKind),
    /// A Parallel state.
    StateFailed(StateKind),
    StateAborted(StateKind),
    TaskScheduled,
    TaskStarted,
    /// The function of a task that waits for its token has returned.
    TaskSubmitted,
    TaskSucceeded,
    TaskFailed,
    TaskTimedOut,
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StateEntered(kind) => write!(f, "{kind}StateEntered"),
            Self::StateExited(kind) => write!(f, "{kind}StateExited"),
            Self::StateStarted(kind) => write!(f, "{kind}StateStarted"),
            Self::StateSucceeded(kind) => write!(f, "{kind}StateSucceeded"),
            Self::StateFailed(kind) => write!(f, "{kind}StateFailed"),
            Self::StateAborted(kind) => write!(f, "{kind}StateAborted"),
            other => fmt::Debug::fmt(other, f),
        }
    }
}

impl Serialize for EventKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// One visit to a state, with all its attempts.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Step {
    /// The state's name.
    pub name: String,
    /// The state's kind.
    pub kind: StateKind,
    /// The Parallel state that contains it.
    pub parent: Option<String>,
    /// When it was entered, in seconds since the execution's start.
    pub start: f64,
    /// When it was left, in seconds since the execution's start.
    pub end: f64,
    /// 1, plus the number of retries.
    pub attempts: u32,
    /// How it ended.
    pub ending: Ending,
}

/// How a visit to a state ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Ending {
    /// The state succeeded.
    Done,
    /// The state failed, and its `Catch` continued with another state.
    Caught {
        /// The last attempt's failure.
        failure: Failure,
        /// The state that the `Catch` names.
        next: String,
    },
    /// The state failed, and so did its branch or the execution.
    Failed(Failure),
    /// The state was stopped: another branch failed, or the execution timed out or was stopped.
    Aborted,
}

/// The record of one execution while it runs.
pub(crate) struct History {
    pub(crate) events: Vec<Event>,
    pub(crate) steps: Vec<Step>,
    /// The state transitions that AWS bills: each state entered, and each retry.
    pub(crate) transitions: u64,
    /// Whether only the execution's last event can be added.
    is_sealed: bool,
}

impl History {
    pub(crate) fn new() -> Self {
        Self { events: Vec::new(), steps: Vec::new(), transitions: 0, is_sealed: false }
    }

    /// Refuses all further events but the execution's last: in AWS, the states of a stopped, timed out or
    /// runtime-failed execution have no `…StateAborted`.
    pub(crate) fn seal(&mut self) {
        self.is_sealed = true;
    }

    /// Adds an event and returns its ID. The last place is reserved for the execution's end.
    pub(crate) fn record(
        &mut self,
        at: Duration,
        kind: EventKind,
        state: Option<&str>,
        detail: Detail,
    ) -> Result<u64, Failure> {
        if self.is_sealed {
            return Err(Failure::runtime("The execution has ended."));
        }
        if self.events.len() + 1 >= HISTORY_EVENTS_MAX {
            let cause =
                format!("The execution reached the maximum number of history events ({HISTORY_EVENTS_MAX}).");
            return Err(Failure::runtime(cause));
        }
        Ok(self.push(at, kind, state, detail))
    }

    /// Adds the execution's last event.
    pub(crate) fn close(&mut self, at: Duration, kind: EventKind, detail: Detail) {
        self.push(at, kind, None, detail);
    }

    fn push(&mut self, at: Duration, kind: EventKind, state: Option<&str>, detail: Detail) -> u64 {
        let id = self.events.len() as u64 + 1;
        let at_seconds = at.as_secs_f64();
        self.events.push(Event { id, at_seconds, kind, state: state.map(str::to_owned), detail });
        id
    }
}
