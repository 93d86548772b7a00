//! The steps of an execution in an account, from its history.

use std::collections::BTreeMap;

use aws_sdk_sfn::types::HistoryEvent;
use stackdrop_functions::deployment::failure::Failure;

use super::{OpenSteps, Printer, Progress};

/// Shows the steps of an execution.
#[derive(Debug)]
pub(in crate::commands) struct ExecutionHistory {
    /// The ID of the newest event.
    newest: i64,
    started: f64,
    /// The state that each event belongs to.
    states: BTreeMap<i64, String>,
    steps: OpenSteps,
    /// The parallel states that have not ended.
    parallel: Vec<String>,
    /// How often approval was requested.
    approval_requests: usize,
    /// How many of these requests were answered.
    answers: usize,
    printer: Printer,
}

impl ExecutionHistory {
    pub(in crate::commands) fn new(printer: Printer) -> Self {
        Self {
            newest: 0,
            started: 0.0,
            states: BTreeMap::new(),
            steps: OpenSteps::default(),
            parallel: Vec::new(),
            approval_requests: 0,
            answers: 0,
            printer,
        }
    }

    /// The ID of the newest event.
    pub(in crate::commands) fn newest(&self) -> i64 {
        self.newest
    }

    /// How often approval was requested so far.
    pub(in crate::commands) fn approval_requests(&self) -> usize {
        self.approval_requests
    }

    /// Whether the execution awaits approval now.
    pub(in crate::commands) fn awaits_approval(&self) -> bool {
        self.approval_requests > self.answers
    }

    /// Takes the next event.
    pub(in crate::commands) fn take(&mut self, event: &HistoryEvent) {
        if let Some(progress) = self.progress(event) {
            self.printer.show(&progress);
        }
    }

    /// Clears what is still shown.
    pub(in crate::commands) fn close(self) {
        self.printer.close();
    }

    fn progress(&mut self, event: &HistoryEvent) -> Option<Progress> {
        self.newest = event.id;
        let now = event.timestamp.as_secs_f64();
        if event.id == 1 {
            self.started = now;
        }
        let at = now - self.started;
        let state = self.state_of(event)?;
        match event.r#type.as_str() {
            "TaskStateEntered" => Some(self.steps.start(&state, !self.parallel.is_empty(), at)),
            "ParallelStateEntered" => {
                let started = self.steps.start(&state, !self.parallel.is_empty(), at);
                self.parallel.push(state);
                Some(started)
            }
            "TaskStateExited" => self.steps.end(&state, at),
            "ParallelStateExited" => {
                self.parallel.retain(|open| *open != state);
                self.steps.end(&state, at)
            }
            "TaskStateAborted" => self.steps.stop(&state, at),
            "ParallelStateAborted" => {
                self.parallel.retain(|open| *open != state);
                self.steps.stop(&state, at)
            }
            "TaskSubmitted" => {
                self.approval_requests += 1;
                self.steps.wait(&state, at, "waiting for approval")
            }
            "ParallelStateFailed" => self.steps.fail(&state, at, &caused_by("one of its steps failed")),
            "TaskFailed" => {
                self.answers = self.approval_requests;
                self.steps.fail(&state, at, &failure(event))
            }
            "TaskTimedOut" => {
                self.answers = self.approval_requests;
                self.steps.fail(&state, at, &caused_by("timed out"))
            }
            "TaskSucceeded" => {
                self.answers = self.approval_requests;
                self.steps.succeed(&state);
                None
            }
            _ => None,
        }
    }

    /// The state that an event belongs to: the one it names, otherwise that of the event before it.
    fn state_of(&mut self, event: &HistoryEvent) -> Option<String> {
        let entered = event.state_entered_event_details().map(|details| details.name().to_owned());
        let exited = event.state_exited_event_details().map(|details| details.name().to_owned());
        let state = entered.or(exited).or_else(|| self.states.get(&event.previous_event_id).cloned())?;
        self.states.insert(event.id, state.clone());
        Some(state)
    }
}

fn failure(event: &HistoryEvent) -> Failure {
    let details = event.task_failed_event_details();
    let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
    Failure {
        error: text(details.and_then(|details| details.error())),
        cause: text(details.and_then(|details| details.cause())),
    }
}

fn caused_by(cause: &str) -> Failure {
    Failure { error: String::new(), cause: cause.to_owned() }
}

#[cfg(test)]
mod tests {
    use aws_sdk_sfn::primitives::DateTime;
    use aws_sdk_sfn::types::{HistoryEventType, StateEnteredEventDetails, TaskFailedEventDetails};

    use super::*;

    fn event(id: i64, previous: i64, kind: &str) -> aws_sdk_sfn::types::builders::HistoryEventBuilder {
        HistoryEvent::builder()
            .id(id)
            .previous_event_id(previous)
            .timestamp(DateTime::from_secs(100 + id))
            .r#type(HistoryEventType::from(kind))
    }

    fn failed(id: i64, error: &str, message: &str) -> HistoryEvent {
        let cause = serde_json::json!({ "errorType": error, "errorMessage": message }).to_string();
        let details = TaskFailedEventDetails::builder().resource_type("lambda").resource("invoke");
        let details = details.error(error).cause(cause).build().unwrap();
        event(id, id - 1, "TaskFailed").task_failed_event_details(details).build().unwrap()
    }

    /// The last change of a step `Network` whose history ends with these events.
    fn last(events: &[HistoryEvent]) -> Progress {
        let mut history = ExecutionHistory::new(Printer::Quiet);
        let entered = StateEnteredEventDetails::builder().name("Network").build().unwrap();
        let entered = event(2, 1, "TaskStateEntered").state_entered_event_details(entered).build().unwrap();
        let started = event(1, 0, "ExecutionStarted").build().unwrap();
        let all = [started, entered].into_iter().chain(events.iter().cloned());
        all.filter_map(|event| history.progress(&event)).last().unwrap()
    }

    #[test]
    fn a_step_shows_what_it_waits_for_and_ends_without_a_failure() {
        let waiting = failed(3, "Pending", "waiting for the subnets");
        let Progress::Waiting(step) = last(std::slice::from_ref(&waiting)) else { panic!("it waits") };
        assert_eq!((step.note.as_str(), step.seconds), ("waiting for the subnets", 1.0));
        let succeeded = event(4, 3, "TaskSucceeded").build().unwrap();
        let exited = event(5, 4, "TaskStateExited").build().unwrap();
        let Progress::Ended(step) = last(&[waiting, succeeded, exited]) else { panic!("it ended") };
        assert_eq!((step.note.as_str(), step.failure), ("waiting for the subnets", None));
    }

    #[test]
    fn a_step_whose_last_attempt_failed_ends_as_failed() {
        let exited = event(4, 3, "TaskStateExited").build().unwrap();
        for (error, message, expected) in [
            ("Refused", "cannot create VPC vpc: no", "cannot create VPC vpc: no"),
            ("Pending", "waiting for the subnets", "timed out waiting for the subnets"),
        ] {
            let Progress::Ended(step) = last(&[failed(3, error, message), exited.clone()]) else {
                panic!("it ended")
            };
            assert_eq!(step.failure.as_deref(), Some(expected));
        }
    }
}
