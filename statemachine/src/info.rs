//! A loaded workflow as others read it: the tests that keep names in step, a drawing, a report.

use crate::definition::{Chain, Machine, State, StateKind, Work};
use crate::retry::{Catcher, Retrier};
use serde_json::Value;

/// One state of a workflow.
#[derive(Debug, Clone, PartialEq)]
pub struct StateInfo<'m> {
    /// Unique in the workflow.
    pub name: &'m str,
    /// Its kind.
    pub kind: StateKind,
    /// The Parallel or Map that it is inside of.
    pub parent: Option<&'m str>,
    /// The function that a Task invokes.
    pub function: Option<&'m str>,
    /// What a Task sends to the function, as it is written: paths are not evaluated, their names end in `.$`.
    pub payload: Option<&'m Value>,
    /// `TimeoutSeconds` of a Task.
    pub timeout_seconds: Option<u32>,
    /// `Retry`, in order.
    pub retries: &'m [Retrier],
    /// `Catch`, in order.
    pub catches: &'m [Catcher],
    /// `Next`; `None` where it ends, and for a Choice.
    pub next: Option<&'m str>,
    /// Where a Choice may lead, in order, its default last.
    pub choices: Vec<&'m str>,
    /// The first state of each branch of a Parallel, or of a Map's processor.
    pub branches: Vec<&'m str>,
}

impl Machine {
    /// Every state, in the order of the file; those inside a Parallel or Map come right after it.
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
        for inner in state.chains() {
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
        payload: task.map(|task| &task.payload_text),
        timeout_seconds: task.and_then(|task| task.timeout_seconds),
        retries: &state.retry,
        catches: &state.catch,
        next: state.next.as_deref(),
        choices,
        branches: state.chains().into_iter().map(|chain| chain.start_at.as_str()).collect(),
    }
}
