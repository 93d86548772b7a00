//! The steps of a rehearsal, as the interpreter reports them.

use std::sync::{Mutex, PoisonError};

use stackdrop_functions::deployment::failure::Failure;
use stackdrop_statemachine::{self as statemachine, Ending, StateKind, StepEvent, Watch};

use super::{OpenSteps, Printer, Progress};

/// Shows the steps of a rehearsal.
#[derive(Debug)]
pub(in crate::commands) struct RehearsalWatch(Mutex<State>);

#[derive(Debug)]
struct State {
    steps: OpenSteps,
    printer: Printer,
}

impl RehearsalWatch {
    pub(in crate::commands) fn new(printer: Printer) -> Self {
        Self(Mutex::new(State { steps: OpenSteps::default(), printer }))
    }

    fn update(&self, change: impl FnOnce(&mut OpenSteps) -> Option<Progress>) {
        let State { steps, printer } = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(progress) = change(steps) {
            printer.show(&progress);
        }
    }
}

impl Watch for RehearsalWatch {
    fn entered(&self, step: &StepEvent<'_>) {
        // Choices and final states run nothing.
        if matches!(step.kind, StateKind::Task | StateKind::Parallel) {
            self.update(|steps| Some(steps.start(step.name, step.parent.is_some(), step.at_seconds)));
        }
    }

    fn retrying(&self, step: &StepEvent<'_>, failure: &statemachine::Failure, _after_seconds: f64) {
        self.update(|steps| steps.fail(step.name, step.at_seconds, &of_step(failure)));
    }

    fn left(&self, step: &statemachine::Step) {
        let (name, at) = (&step.name, step.end);
        self.update(|steps| match &step.ending {
            Ending::Done => {
                steps.succeed(name);
                steps.end(name, at)
            }
            Ending::Caught { failure, .. } | Ending::Failed(failure) => {
                steps.fail(name, at, &of_step(failure));
                steps.end(name, at)
            }
            Ending::Aborted => steps.stop(name, at),
        });
    }
}

/// The interpreter's failure as the functions know it.
fn of_step(failure: &statemachine::Failure) -> Failure {
    Failure { error: failure.error.clone(), cause: failure.cause.clone() }
}
