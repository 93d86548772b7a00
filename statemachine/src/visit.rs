//! Visits to states and iterations of Maps: each ends on record, also when it is cut short.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::context::{Context, Place};
use crate::definition::{State, StateKind};
use crate::engine::Run;
use crate::execution::StepEvent;
use crate::failure::{Failure, names};
use crate::history::{Detail, Ending, EventKind, Step};

/// One visit to a state, open until it is left; when it is dropped before, it was aborted.
pub(crate) struct Visit<'r, 's> {
    run: &'r Run<'r>,
    pub(crate) state: &'s State,
    pub(crate) place: &'r Place,
    entered: Duration,
    pub(crate) entered_event: u64,
    /// Its place in the history's steps.
    step: usize,
    is_open: bool,
}

impl<'r, 's> Visit<'r, 's> {
    pub(crate) fn enter(
        run: &'r Run<'r>,
        state: &'s State,
        input: &Arc<Value>,
        place: &'r Place,
    ) -> Result<Self, Failure> {
        let entered = run.elapsed();
        let kind = state.kind();
        let given = Detail::Input(Arc::clone(input));
        let entered_event = run.record(EventKind::StateEntered(kind), Some(&state.name), given)?;
        let step = {
            let mut history = run.history();
            history.transitions += 1;
            let start = entered.as_secs_f64();
            let (name, parent) = (state.name.clone(), place.parent.clone());
            history.steps.push(Step {
                name,
                kind,
                parent,
                start,
                end: start,
                attempts: 1,
                ending: Ending::Aborted,
            });
            history.steps.len() - 1
        };
        let visit = Self { run, state, place, entered, entered_event, step, is_open: true };
        run.watch.entered(&visit.event(1));
        Ok(visit)
    }

    pub(crate) fn context(&self, retries: u32) -> Context<'_> {
        Context {
            execution: self.run.execution,
            state: &self.state.name,
            entered: self.entered,
            retries,
            item: self.place.item.as_ref(),
            token: None,
        }
    }

    fn event(&self, attempt: u32) -> StepEvent<'_> {
        StepEvent {
            name: &self.state.name,
            kind: self.state.kind(),
            parent: self.place.parent.as_deref(),
            at_seconds: self.run.elapsed().as_secs_f64(),
            attempt,
        }
    }

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
        self.run.record(kind, Some(&self.state.name), Detail::Output(Arc::clone(output))).map(|_| ())
    }

    /// Its attempts are used up. AWS records that of a Parallel or Map once, not with each attempt.
    pub(crate) fn gave_up(&mut self, failure: &Failure) -> Result<(), Failure> {
        let kind = self.state.kind();
        if failure.error != names::RUNTIME && matches!(kind, StateKind::Parallel | StateKind::Map) {
            let failed = EventKind::StateFailed(kind);
            let recorded = self.run.record(failed, Some(&self.state.name), failure.detail());
            recorded.map_err(|full| self.fail(full))?;
        }
        Ok(())
    }

    /// It failed and nothing caught it. Inside a branch AWS ends it with `…StateAborted`, like the states beside
    /// it; a runtime error ends the whole execution on the spot.
    pub(crate) fn fail(&mut self, failure: Failure) -> Failure {
        if failure.error == names::RUNTIME {
            self.run.history().seal();
        } else if self.place.parent.is_some() {
            self.record_abort();
        }
        self.leave(Ending::Failed(failure.clone()));
        failure
    }

    /// Only the kinds that take time have such an event.
    fn record_abort(&self) {
        let kind = self.state.kind();
        if matches!(kind, StateKind::Task | StateKind::Parallel | StateKind::Map | StateKind::Wait) {
            record_if_room(self.run, EventKind::StateAborted(kind), &self.state.name, Detail::nothing());
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

impl Drop for Visit<'_, '_> {
    fn drop(&mut self) {
        if self.is_open {
            self.record_abort();
            self.leave(Ending::Aborted);
        }
    }
}

/// Records that a Map's iteration was cut short.
pub(crate) struct IterationGuard<'r> {
    pub(crate) run: &'r Run<'r>,
    pub(crate) name: &'r str,
    /// Taken away when the iteration has ended by itself.
    pub(crate) detail: Option<Detail>,
}

impl Drop for IterationGuard<'_> {
    fn drop(&mut self) {
        if let Some(detail) = self.detail.take() {
            record_if_room(self.run, EventKind::MapIterationAborted, self.name, detail);
        }
    }
}

/// An abort is recorded unless the history is full or sealed: then that is what ends the execution already.
fn record_if_room(run: &Run<'_>, kind: EventKind, state: &str, detail: Detail) {
    drop(run.record(kind, Some(state), detail));
}
