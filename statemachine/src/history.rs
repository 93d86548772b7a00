//! What happened, and when: events as Step Functions counts them, and steps as people read them.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use crate::definition::StateKind;
use crate::failure::Failure;

/// How many events an execution may have, its last one included (Developer Guide, "quotas").
pub const HISTORY_EVENTS_MAX: usize = 25_000;

/// One event of an execution's history.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Event {
    /// From 1, without gaps.
    pub id: u64,
    /// Seconds since the execution's start.
    pub at_seconds: f64,
    /// What happened.
    pub kind: EventKind,
    /// To which state; `None` for the execution's own events.
    pub state: Option<String>,
    /// What there is to tell of it.
    pub detail: Detail,
}

/// What there is to tell of an event: inputs, outputs and errors. It shares them with the states that had them, and is
/// made into JSON, as AWS's event details, only when asked.
#[derive(Debug, Clone, PartialEq)]
pub enum Detail {
    /// What a state or the execution was given.
    Input(Arc<Value>),
    /// What a state, a task or the execution gave.
    Output(Arc<Value>),
    /// What a task's function is invoked with.
    Scheduled {
        /// The function's name.
        function: String,
        /// Its payload.
        payload: Arc<Value>,
        /// Whether its answer comes by a token.
        waits_for_token: bool,
        /// How long it may take.
        timeout_seconds: Option<u32>,
    },
    /// An error, or a few words more.
    Other(Value),
}

impl Detail {
    /// The detail of an event that tells of nothing but itself.
    pub(crate) fn nothing() -> Self {
        Self::Other(json!({}))
    }

    /// What was given, if that is what there is to tell.
    #[must_use]
    pub fn input(&self) -> Option<&Value> {
        match self {
            Self::Input(input) => Some(input),
            Self::Output(_) | Self::Scheduled { .. } | Self::Other(_) => None,
        }
    }

    /// What came of it, if that is what there is to tell.
    #[must_use]
    pub fn output(&self) -> Option<&Value> {
        match self {
            Self::Output(output) => Some(output),
            Self::Input(_) | Self::Scheduled { .. } | Self::Other(_) => None,
        }
    }

    /// As AWS's event details have it.
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

/// The kinds of events. Displayed under AWS's names, such as `TaskStateEntered`.
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
    /// A Parallel or Map state.
    StateStarted(StateKind),
    /// A Parallel or Map state.
    StateSucceeded(StateKind),
    /// A Parallel or Map state.
    StateFailed(StateKind),
    StateAborted(StateKind),
    TaskScheduled,
    TaskStarted,
    /// The function that was given a token has returned.
    TaskSubmitted,
    TaskSucceeded,
    TaskFailed,
    TaskTimedOut,
    MapIterationStarted,
    MapIterationSucceeded,
    MapIterationFailed,
    MapIterationAborted,
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
    /// The Parallel or Map that it is inside of.
    pub parent: Option<String>,
    /// Seconds since the execution's start.
    pub start: f64,
    /// Seconds since the execution's start.
    pub end: f64,
    /// 1, and one more for each retry.
    pub attempts: u32,
    /// How it ended.
    pub ending: Ending,
}

/// How a visit to a state ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Ending {
    /// It did its work.
    Done,
    /// It failed, and its `Catch` went on with this state.
    Caught {
        /// The last attempt's failure.
        failure: Failure,
        /// The state that the `Catch` names.
        next: String,
    },
    /// It failed, and took its branch or the execution with it.
    Failed(Failure),
    /// It was stopped: a neighbouring branch failed, or the execution timed out or was stopped.
    Aborted,
}

/// The record of one execution while it runs.
pub(crate) struct History {
    pub(crate) events: Vec<Event>,
    pub(crate) steps: Vec<Step>,
    /// What AWS bills: each state entered, and each retry.
    pub(crate) transitions: u64,
    /// What ends the execution from outside any state leaves no event but the execution's last.
    is_sealed: bool,
}

impl History {
    pub(crate) fn new() -> Self {
        Self { events: Vec::new(), steps: Vec::new(), transitions: 0, is_sealed: false }
    }

    /// Takes no more events but the execution's last: states that a stopped, timed out or runtime-failed
    /// execution cuts short have no `…StateAborted` in AWS.
    pub(crate) fn seal(&mut self) {
        self.is_sealed = true;
    }

    /// Adds an event and gives its id. The last place is kept for the execution's end.
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
