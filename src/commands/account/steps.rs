//! An execution's history as people read it: steps that begin, wait and end.

use std::collections::BTreeMap;

use aws_sdk_sfn::types::HistoryEvent;
use serde_json::Value;

/// What an event of the history tells a person.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Told {
    /// A step has begun.
    Began(Step),
    /// It waits for something, or is tried again.
    Waits(Step),
    /// It is done, or was given up.
    Ended(Step),
}

/// One visit to a state that runs a function, or several beside each other.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Step {
    pub(super) name: String,
    /// Whether it is one of several beside each other.
    pub(super) nested: bool,
    /// Seconds since the execution's start.
    pub(super) start: f64,
    /// How long it has taken so far.
    pub(super) seconds: f64,
    /// What it waits for, or waited for last.
    pub(super) note: String,
    /// How it failed.
    pub(super) failure: Option<String>,
}

/// What is known from the events so far.
#[derive(Debug, Default)]
pub(super) struct Steps {
    /// The newest event.
    pub(super) seen: i64,
    began: f64,
    /// The state that each event belongs to.
    owners: BTreeMap<i64, String>,
    open: BTreeMap<String, Step>,
    /// The parallel states that are open.
    parallel: Vec<String>,
    /// How many questions were asked of people so far, and how many were answered.
    pub(super) asked: usize,
    answered: usize,
}

impl Steps {
    /// Whether somebody is being asked.
    pub(super) fn waits_for_somebody(&self) -> bool {
        self.asked > self.answered
    }

    /// Takes the next event.
    pub(super) fn take(&mut self, event: &HistoryEvent) -> Option<Told> {
        self.seen = event.id;
        let now = event.timestamp.as_secs_f64();
        if event.id == 1 {
            self.began = now;
        }
        let at = now - self.began;
        let kind = event.r#type.as_str();
        let owner = match event.state_entered_event_details() {
            Some(entered) => Some(entered.name().to_owned()),
            None => self.owners.get(&event.previous_event_id).cloned(),
        };
        let exited = event.state_exited_event_details().map(|exited| exited.name().to_owned());
        let owner = exited.or(owner)?;
        self.owners.insert(event.id, owner.clone());
        match kind {
            "TaskStateEntered" | "ParallelStateEntered" => Some(self.begin(owner, kind, at)),
            "TaskStateExited" | "ParallelStateExited" => self.end(&owner, at, None),
            "TaskStateAborted" | "ParallelStateAborted" => self.end(&owner, at, Some("stopped")),
            "TaskSubmitted" => {
                self.asked += 1;
                self.note(&owner, at, "waiting for approval".into(), None)
            }
            "ParallelStateFailed" => {
                self.note(&owner, at, String::new(), Some("one of its steps failed".into()))
            }
            "TaskFailed" => {
                self.answer_if_asked();
                let (error, cause) = failure(event);
                let said = message(&cause);
                let failure = (error != "Pending").then(|| format!("{error}: {said}"));
                self.note(&owner, at, said, failure)
            }
            "TaskTimedOut" => {
                self.answer_if_asked();
                self.note(&owner, at, String::new(), Some("it took too long".into()))
            }
            "TaskSucceeded" => {
                self.answer_if_asked();
                if let Some(step) = self.open.get_mut(&owner) {
                    step.failure = None;
                }
                None
            }
            _ => None,
        }
    }

    fn answer_if_asked(&mut self) {
        self.answered = self.asked;
    }

    fn begin(&mut self, name: String, kind: &str, at: f64) -> Told {
        let nested = !self.parallel.is_empty();
        let step =
            Step { name: name.clone(), nested, start: at, seconds: 0.0, note: String::new(), failure: None };
        if kind == "ParallelStateEntered" {
            self.parallel.push(name.clone());
        }
        self.open.insert(name, step.clone());
        Told::Began(step)
    }

    fn note(&mut self, name: &str, at: f64, note: String, failure: Option<String>) -> Option<Told> {
        let step = self.open.get_mut(name)?;
        step.seconds = at - step.start;
        step.note = note;
        step.failure = failure;
        Some(Told::Waits(step.clone()))
    }

    fn end(&mut self, name: &str, at: f64, failure: Option<&str>) -> Option<Told> {
        self.parallel.retain(|open| open != name);
        let mut step = self.open.remove(name)?;
        step.seconds = at - step.start;
        step.failure = step.failure.or_else(|| failure.map(str::to_owned));
        Some(Told::Ended(step))
    }
}

fn failure(event: &HistoryEvent) -> (String, String) {
    let details = event.task_failed_event_details();
    let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
    details.map(|details| (text(details.error()), text(details.cause()))).unwrap_or_default()
}

/// The message inside the JSON text that Lambda makes of a function's error.
pub(super) fn message(cause: &str) -> String {
    let inner: Option<Value> = serde_json::from_str(cause).ok();
    let message = inner.as_ref().and_then(|inner| inner.get("errorMessage")?.as_str());
    message.unwrap_or(cause).to_owned()
}
