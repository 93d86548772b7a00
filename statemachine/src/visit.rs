//! Visits to states. Each visit ends on record, even if it is cut short.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::context::Context;
use crate::definition::{State, StateKind};
use crate::execution::StepEvent;
use crate::failure::{Failure, names};
use crate::history::{Detail, Ending, EventKind, Step};
use crate::run::Run;

/// One visit to a state, open until [`Visit::leave`]; a visit that is dropped while open was aborted.
pub(crate) struct Visit<'r> {
    run: &'r Run<'r>,
    pub(crate) state: &'r State,
    /// The Parallel state that contains the state.
    parent: Option<&'r str>,
    entered_event: u64,
    /// The visit's index in the history's steps.
    step: usize,
    is_open: bool,
}

impl<'r> Visit<'r> {
    pub(crate) fn enter(
        run: &'r Run<'r>,
        state: &'r State,
        input: &Arc<Value>,
        parent: Option<&'r str>,
    ) -> Result<Self, Failure> {
        let start = run.elapsed().as_secs_f64();
        let kind = state.kind();
        let detail = Detail::Input(Arc::clone(input));
        let entered_event = run.record(EventKind::StateEntered(kind), Some(&state.name), detail)?;
        let step = {
            let mut history = run.history();
            history.transitions += 1;
            history.steps.push(Step {
                name: state.name.clone(),
                kind,
                parent: parent.map(str::to_owned),
                start,
                end: start,
                attempts: 1,
                ending: Ending::Aborted,
            });
            history.steps.len() - 1
        };
        let visit = Self { run, state, parent, entered_event, step, is_open: true };
        run.watch.entered(&visit.event(1));
        Ok(visit)
    }

    /// The context object; it has no token.
    pub(crate) fn context(&self) -> Context<'r> {
        Context { execution: self.run.execution, token: None }
    }

    /// Adds the state to a failure that occurred in the workflow itself.
    pub(crate) fn within(&self, failure: Failure) -> Failure {
        failure.within(&self.state.name, self.entered_event)
    }

    pub(crate) fn record(&self, kind: EventKind, detail: Detail) -> Result<u64, Failure> {
        self.run.record(kind, Some(&self.state.name), detail)
    }

    fn event(&self, attempt: u32) -> StepEvent<'_> {
        StepEvent {
            name: &self.state.name,
            kind: self.state.kind(),
            parent: self.parent,
            at_seconds: self.run.elapsed().as_secs_f64(),
            attempt,
        }
    }

    /// An attempt failed, and the next one follows after `delay`.
    pub(crate) fn retry(&self, failure: &Failure, delay: Duration) {
        let failed_attempt = {
            let mut history = self.run.history();
            history.transitions += 1;
            let step = &mut history.steps[self.step];
            step.attempts += 1;
            step.attempts - 1
        };
        self.run.watch.retrying(&self.event(failed_attempt), failure, delay.as_secs_f64());
    }

    pub(crate) fn exit(&self, output: &Arc<Value>) -> Result<(), Failure> {
        let kind = EventKind::StateExited(self.state.kind());
        self.record(kind, Detail::Output(Arc::clone(output))).map(|_| ())
    }

    /// All attempts have failed. AWS records `ParallelStateFailed` once, not with each attempt.
    pub(crate) fn attempts_failed(&mut self, failure: &Failure) -> Result<(), Failure> {
        let kind = self.state.kind();
        if failure.error != names::RUNTIME && kind == StateKind::Parallel {
            let recorded = self.record(EventKind::StateFailed(kind), Detail::failure(failure));
            recorded.map_err(|full| self.fail(full))?;
        }
        Ok(())
    }

    /// The state failed and no Catch matched. Inside a branch, AWS ends it with `…StateAborted`, like the states of the
    /// other branches; a runtime error ends the whole execution immediately.
    pub(crate) fn fail(&mut self, failure: Failure) -> Failure {
        if failure.error == names::RUNTIME {
            self.run.history().seal();
        } else if self.parent.is_some() {
            self.record_abort();
        }
        self.leave(Ending::Failed(failure.clone()));
        failure
    }

    /// Only the kinds that take time have such an event. The history refuses it if it is full or sealed; then the
    /// execution is already ending.
    fn record_abort(&self) {
        let kind = self.state.kind();
        if matches!(kind, StateKind::Task | StateKind::Parallel) {
            drop(self.record(EventKind::StateAborted(kind), Detail::empty()));
        }
    }

    pub(crate) fn leave(&mut self, ending: Ending) {
        self.is_open = false;
        let step = {
            let mut history = self.run.history();
            let step = &mut history.steps[self.step];
            step.end = self.run.elapsed().as_secs_f64();
            step.ending = ending;
            step.clone()
        };
        self.run.watch.left(&step);
    }
}

impl Drop for Visit<'_> {
    fn drop(&mut self) {
        if self.is_open {
            self.record_abort();
            self.leave(Ending::Aborted);
        }
    }
}
