//! Describes the states of a loaded workflow, for tests that compare its names with the code.

use serde_json::Value;

use crate::definition::{Chain, Machine, State, StateKind, Work};
use crate::retry::{Catcher, Retrier};

/// One state of a workflow.
#[derive(Debug, Clone, PartialEq)]
pub struct StateInfo<'m> {
    /// Unique in the workflow.
    pub name: &'m str,
    /// Its kind.
    pub kind: StateKind,
    /// The Parallel state that contains it.
    pub parent: Option<&'m str>,
    /// The function that a Task invokes.
    pub function: Option<&'m str>,
    /// The payload of a Task as it is written: paths are not evaluated, and the names of their fields end in `.$`.
    pub payload: Option<&'m Value>,
    /// `TimeoutSeconds` of a Task.
    pub timeout_seconds: Option<u32>,
    /// `Retry`, in order.
    pub retries: &'m [Retrier],
    /// `Catch`, in order.
    pub catches: &'m [Catcher],
    /// `Next`; `None` for a state that ends its chain, and for a Choice.
    pub next: Option<&'m str>,
    /// The next states of a Choice, in order, its default last.
    pub choices: Vec<&'m str>,
    /// The first state of each branch of a Parallel.
    pub branches: Vec<&'m str>,
}

impl Machine {
    /// Every state, in the order of the file; the states of branches follow their Parallel.
    pub fn states(&self) -> impl Iterator<Item = StateInfo<'_>> {
        let mut infos = Vec::new();
        collect(&self.chain, None, &mut infos);
        infos.into_iter()
    }

    /// The name of the first state.
    #[must_use]
    pub fn start_at(&self) -> &str {
        &self.chain.start_at
    }

    /// `TimeoutSeconds` of the whole machine.
    #[must_use]
    pub fn timeout_seconds(&self) -> Option<u32> {
        self.timeout_seconds
    }
}

fn collect<'m>(chain: &'m Chain, parent: Option<&'m str>, infos: &mut Vec<StateInfo<'m>>) {
    for state in chain.states.values() {
        infos.push(info(state, parent));
        for inner in state.branches() {
            collect(inner, Some(&state.name), infos);
        }
    }
}

fn info<'m>(state: &'m State, parent: Option<&'m str>) -> StateInfo<'m> {
    let task = match &state.work {
        Work::Task(task) => Some(task),
        _ => None,
    };
    let choices = match &state.work {
        Work::Choice { rules, default } => {
            rules.iter().map(|rule| rule.next.as_str()).chain([default.as_str()]).collect()
        }
        _ => Vec::new(),
    };
    StateInfo {
        name: &state.name,
        kind: state.kind(),
        parent,
        function: task.map(|task| task.function.as_str()),
        payload: task.map(|task| &task.payload_source),
        timeout_seconds: task.and_then(|task| task.timeout_seconds),
        retries: &state.retry,
        catches: &state.catch,
        next: state.next.as_deref(),
        choices,
        branches: state.branches().iter().map(|chain| chain.start_at.as_str()).collect(),
    }
}
