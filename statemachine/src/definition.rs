//! What a loaded workflow is.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::choice::Rule;
use crate::path::{Filter, Path, ResultPath};
use crate::retry::{Catcher, Retrier};
use crate::template::Template;
use crate::value::{Delay, Text};

/// A workflow, read and checked, ready to run any number of times.
#[derive(Debug, Clone)]
pub struct Machine {
    pub(crate) chain: Chain,
    pub(crate) timeout_seconds: Option<u32>,
}

/// States and where they start: the machine's own, a branch's, or what a Map does with each item.
#[derive(Debug, Clone)]
pub(crate) struct Chain {
    pub(crate) start_at: String,
    pub(crate) states: IndexMap<String, State>,
}

/// One state: what every kind may have, and its work. What a kind may not have is at its default.
#[derive(Debug, Clone)]
pub(crate) struct State {
    pub(crate) name: String,
    pub(crate) input: Filter,
    pub(crate) parameters: Option<Template>,
    pub(crate) work: Work,
    pub(crate) result_selector: Option<Template>,
    pub(crate) result_path: ResultPath,
    pub(crate) output: Filter,
    pub(crate) retry: Vec<Retrier>,
    pub(crate) catch: Vec<Catcher>,
    /// `None` for `End`, and for the kinds that have neither.
    pub(crate) next: Option<String>,
}

/// What is particular to a kind of state.
#[derive(Debug, Clone)]
pub(crate) enum Work {
    Task(Task),
    Choice { rules: Vec<Rule>, default: String },
    Pass { result: Option<Value> },
    Parallel { branches: Vec<Chain> },
    Map(Box<Map>),
    Wait(Delay),
    Succeed,
    Fail { error: Text, cause: Text },
}

/// A call of a Lambda function.
#[derive(Debug, Clone)]
pub(crate) struct Task {
    pub(crate) function: String,
    pub(crate) payload: Template,
    /// As it is written, for those who read the workflow.
    pub(crate) payload_text: Value,
    pub(crate) timeout_seconds: Option<u32>,
    /// Whether its result is what somebody answers with its token.
    pub(crate) waits_for_token: bool,
}

/// The same chain for each item of an array.
#[derive(Debug, Clone)]
pub(crate) struct Map {
    pub(crate) items: Path,
    pub(crate) selector: Option<Template>,
    /// Never 0.
    pub(crate) at_once: usize,
    pub(crate) chain: Chain,
}

/// The kinds of states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the States Language's own names")]
pub enum StateKind {
    Task,
    Choice,
    Pass,
    Parallel,
    Map,
    Wait,
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
            Work::Map(_) => StateKind::Map,
            Work::Wait(_) => StateKind::Wait,
            Work::Succeed => StateKind::Succeed,
            Work::Fail { .. } => StateKind::Fail,
        }
    }

    /// The chains inside it.
    pub(crate) fn chains(&self) -> Vec<&Chain> {
        match &self.work {
            Work::Parallel { branches } => branches.iter().collect(),
            Work::Map(map) => vec![&map.chain],
            _ => Vec::new(),
        }
    }

    /// The states that may come after it, in the order in which they are written, and the field that says so
    /// (a JSON pointer from the state).
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

    /// Whether a chain can end here.
    pub(crate) fn is_end(&self) -> bool {
        self.next.is_none() && !matches!(self.work, Work::Choice { .. })
    }

    /// Every path that is read in it, those of the chains inside it left out.
    pub(crate) fn paths(&self) -> Vec<&Path> {
        let mut paths: Vec<&Path> =
            [&self.input, &self.output].into_iter().filter_map(Filter::path).collect();
        let templates = [self.parameters.as_ref(), self.result_selector.as_ref()];
        paths.extend(templates.into_iter().flatten().flat_map(Template::paths));
        match &self.work {
            Work::Task(task) => paths.extend(task.payload.paths()),
            Work::Choice { rules, .. } => paths.extend(rules.iter().flat_map(|rule| rule.test.paths())),
            Work::Map(map) => paths.push(&map.items),
            Work::Wait(Delay::Selected(path)) => paths.push(path),
            Work::Fail { error, cause } => {
                paths.extend(error.paths());
                paths.extend(cause.paths());
            }
            Work::Pass { .. } | Work::Parallel { .. } | Work::Wait(Delay::Fixed(_)) | Work::Succeed => {}
        }
        paths
    }
}
