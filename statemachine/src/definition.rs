//! A loaded workflow.

use indexmap::IndexMap;
use serde::Serialize;
use serde_json::Value;

use crate::choice::Rule;
use crate::path::{Path, ResultPath};
use crate::retry::{Catcher, Retrier};
use crate::template::{Template, Text};

/// A workflow that was read and checked; it can be run any number of times.
#[derive(Debug, Clone)]
pub struct Machine {
    pub(crate) chain: Chain,
    pub(crate) timeout_seconds: Option<u32>,
}

/// States and the first of them: the machine's own, or those of a branch.
#[derive(Debug, Clone)]
pub(crate) struct Chain {
    pub(crate) start_at: String,
    pub(crate) states: IndexMap<String, State>,
}

/// One state: the fields of several kinds, and its work. Fields that its kind does not have are at their default.
#[derive(Debug, Clone)]
pub(crate) struct State {
    pub(crate) name: String,
    pub(crate) work: Work,
    pub(crate) result_selector: Option<Template>,
    pub(crate) result_path: ResultPath,
    pub(crate) output_path: Option<Path>,
    pub(crate) retry: Vec<Retrier>,
    pub(crate) catch: Vec<Catcher>,
    /// `None` for `End`, and for the kinds that have neither.
    pub(crate) next: Option<String>,
}

/// The fields of one kind of state.
#[derive(Debug, Clone)]
pub(crate) enum Work {
    Task(Task),
    Choice { rules: Vec<Rule>, default: String },
    Pass { parameters: Option<Template> },
    Parallel { branches: Vec<Chain> },
    Succeed,
    Fail { error: Text, cause: Text },
}

/// A call of a Lambda function.
#[derive(Debug, Clone)]
pub(crate) struct Task {
    pub(crate) function: String,
    pub(crate) payload: Template,
    /// The payload as it is written in the file.
    pub(crate) payload_source: Value,
    pub(crate) timeout_seconds: Option<u32>,
    /// Whether the result is the answer that is sent with the task's token.
    pub(crate) waits_for_token: bool,
}

/// The kinds of states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[expect(missing_docs, reason = "the States Language's own names")]
pub enum StateKind {
    Task,
    Choice,
    Pass,
    Parallel,
    Succeed,
    Fail,
}

impl std::fmt::Display for StateKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Debug::fmt(self, f)
    }
}

impl State {
    pub(crate) fn kind(&self) -> StateKind {
        match self.work {
            Work::Task(_) => StateKind::Task,
            Work::Choice { .. } => StateKind::Choice,
            Work::Pass { .. } => StateKind::Pass,
            Work::Parallel { .. } => StateKind::Parallel,
            Work::Succeed => StateKind::Succeed,
            Work::Fail { .. } => StateKind::Fail,
        }
    }

    /// The branches of a Parallel; none for other kinds.
    pub(crate) fn branches(&self) -> &[Chain] {
        match &self.work {
            Work::Parallel { branches } => branches,
            _ => &[],
        }
    }

    /// The states that can follow, in the order of the file, each with the JSON pointer, relative to the state, of the
    /// field that names it.
    pub(crate) fn targets(&self) -> Vec<(String, &str)> {
        let mut targets = Vec::new();
        if let Work::Choice { rules, default } = &self.work {
            let rules = rules.iter().enumerate();
            targets.extend(rules.map(|(index, rule)| (format!("Choices/{index}/Next"), rule.next.as_str())));
            targets.push(("Default".to_owned(), default.as_str()));
        }
        targets.extend(self.next.iter().map(|next| ("Next".to_owned(), next.as_str())));
        let catches = self.catch.iter().enumerate();
        targets.extend(catches.map(|(index, catch)| (format!("Catch/{index}/Next"), catch.next.as_str())));
        targets
    }

    /// Whether its chain can end with this state.
    pub(crate) fn is_end(&self) -> bool {
        self.next.is_none() && !matches!(self.work, Work::Choice { .. })
    }
}
