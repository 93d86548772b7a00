//! Watching a deployment: its steps while they start, wait and end.
//!
//! Two sources report steps: a rehearsal ([`RehearsalWatch`]) and the history of an execution ([`ExecutionHistory`]).
//! One [`Printer`] shows them.

mod execution;
mod printer;
mod rehearsal;

use std::collections::BTreeMap;

use stackdrop_functions::deployment::failure::{Failure, message_of};

pub(super) use execution::ExecutionHistory;
pub(super) use printer::Printer;
pub(super) use rehearsal::RehearsalWatch;

/// A change of a step.
#[derive(Debug, Clone, PartialEq)]
enum Progress {
    /// The step started.
    Started(Step),
    /// The step waits, or will be retried.
    Waiting(Step),
    /// The step ended.
    Ended(Step),
}

/// One visit to a state that runs a function, or to a state that runs several in parallel.
#[derive(Debug, Clone, PartialEq)]
struct Step {
    name: String,
    /// Whether it runs in parallel with others, inside another step.
    nested: bool,
    /// Seconds since the start of the execution.
    start: f64,
    /// How long it has taken so far.
    seconds: f64,
    /// What it waits for, or waited for last.
    note: String,
    /// How its last attempt failed.
    failure: Option<String>,
}

/// The steps that have started and not ended.
#[derive(Debug, Default)]
struct OpenSteps(BTreeMap<String, Step>);

impl OpenSteps {
    fn start(&mut self, name: &str, nested: bool, at: f64) -> Progress {
        let name = name.to_owned();
        let step = Step { name, nested, start: at, seconds: 0.0, note: String::new(), failure: None };
        self.0.insert(step.name.clone(), step.clone());
        Progress::Started(step)
    }

    fn wait(&mut self, name: &str, at: f64, note: &str) -> Option<Progress> {
        let step = self.0.get_mut(name)?;
        step.seconds = at - step.start;
        note.clone_into(&mut step.note);
        Some(Progress::Waiting(step.clone()))
    }

    /// An attempt failed. Until a later one succeeds, the step ends as failed.
    fn fail(&mut self, name: &str, at: f64, failure: &Failure) -> Option<Progress> {
        self.0.get_mut(name)?.failure = Some(failure.message());
        self.wait(name, at, &message_of(&failure.cause))
    }

    fn succeed(&mut self, name: &str) {
        if let Some(step) = self.0.get_mut(name) {
            step.failure = None;
        }
    }

    /// The step was stopped: another one that ran in parallel failed, or the execution was stopped.
    fn stop(&mut self, name: &str, at: f64) -> Option<Progress> {
        self.succeed(name);
        self.wait(name, at, "stopped")?;
        self.end(name, at)
    }

    fn end(&mut self, name: &str, at: f64) -> Option<Progress> {
        let mut step = self.0.remove(name)?;
        step.seconds = at - step.start;
        Some(Progress::Ended(step))
    }
}
