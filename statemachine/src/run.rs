//! The state of one execution while it runs: its clock, its history and its random numbers.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde_json::Value;
use tokio::time::Instant;

use crate::context::Execution;
use crate::execution::{Arrival, Options, Outcome, Status, Tasks, Watch};
use crate::failure::Failure;
use crate::history::{Detail, EventKind, History};
use crate::retry::Retries;

/// The largest input, result or output of a state, task or execution: bytes of UTF-8 (Developer Guide, "quotas").
const PAYLOAD_BYTES_MAX: usize = 262_144;

/// One running execution.
pub(crate) struct Run<'a> {
    pub(crate) execution: &'a Execution,
    pub(crate) tasks: &'a dyn Tasks,
    pub(crate) watch: &'a dyn Watch,
    start: Instant,
    /// The time that the execution had run before `start`; zero unless it is resumed.
    before: Duration,
    history: Mutex<History>,
    jitter: Mutex<ChaCha8Rng>,
}

impl<'a> Run<'a> {
    pub(crate) fn new(
        execution: &'a Execution,
        from: Option<&Arrival>,
        tasks: &'a dyn Tasks,
        watch: &'a dyn Watch,
        options: &Options,
    ) -> Self {
        Self {
            execution,
            tasks,
            watch,
            start: Instant::now(),
            before: from.map_or(Duration::ZERO, |from| from.elapsed),
            history: Mutex::new(History::new()),
            jitter: Mutex::new(ChaCha8Rng::seed_from_u64(options.seed)),
        }
    }
}

impl Run<'_> {
    pub(crate) fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn record(
        &self,
        kind: EventKind,
        state: Option<&str>,
        detail: Detail,
    ) -> Result<u64, Failure> {
        let mut history = self.history();
        let id = history.record(self.elapsed(), kind, state, detail)?;
        if let Some(event) = history.events.last() {
            self.watch.recorded(event);
        }
        Ok(id)
    }

    /// How long the execution has run.
    pub(crate) fn elapsed(&self) -> Duration {
        self.before + self.start.elapsed()
    }

    /// How long the execution can still run if `limit` is its timeout.
    pub(crate) fn remaining(&self, limit: Duration) -> Duration {
        limit.saturating_sub(self.before)
    }

    /// The delay before the next attempt; `None` if there is no further attempt.
    pub(crate) fn retry_delay(&self, retries: &mut Retries<'_>, error: &str) -> Option<Duration> {
        let mut jitter = self.jitter.lock().unwrap_or_else(PoisonError::into_inner);
        retries.next(error, &mut jitter)
    }

    /// Records the execution's end.
    pub(crate) fn close(self, status: Status) -> Outcome {
        let elapsed = self.elapsed();
        let mut history = self.history.into_inner().unwrap_or_else(PoisonError::into_inner);
        let (kind, detail) = match &status {
            Status::Succeeded(output) => {
                (EventKind::ExecutionSucceeded, Detail::Output(Arc::new(output.clone())))
            }
            Status::Failed(failure) => (EventKind::ExecutionFailed, Detail::failure(failure)),
            Status::TimedOut => (EventKind::ExecutionTimedOut, Detail::empty()),
            Status::Aborted(failure) => (EventKind::ExecutionAborted, Detail::failure(failure)),
        };
        history.close(elapsed, kind, detail);
        if let Some(event) = history.events.last() {
            self.watch.recorded(event);
        }
        let History { events, steps, transitions, .. } = history;
        Outcome { status, seconds: elapsed.as_secs_f64(), steps, transitions, history: events }
    }
}

/// The only place where an execution waits.
#[expect(clippy::disallowed_methods, reason = "the workflow waits, so that no function has to")]
pub(crate) async fn pause(duration: Duration) {
    tokio::time::sleep(duration).await;
}

/// Refuses a value that is larger than Step Functions allows; `name` is the state's name, or AWS's name for the task.
pub(crate) fn check_size(value: &Value, name: &str) -> Result<(), Failure> {
    // Each state's input and output are checked several times: only values near the limit are serialized for it.
    if bytes_at_most(value) <= PAYLOAD_BYTES_MAX || value.to_string().len() <= PAYLOAD_BYTES_MAX {
        Ok(())
    } else {
        Err(Failure::data_limit(name))
    }
}

/// An upper bound of a value's size as JSON.
fn bytes_at_most(value: &Value) -> usize {
    /// JSON writes a byte as up to six: `\u001f`.
    const ESCAPED: usize = 6;
    let text = |text: &str| text.len() * ESCAPED + 2;
    match value {
        Value::Null | Value::Bool(_) => 5,
        // `-1.7976931348623157e308`, and no integer is longer.
        Value::Number(_) => 24,
        Value::String(string) => text(string),
        Value::Array(items) => 2 + items.iter().map(|item| bytes_at_most(item) + 1).sum::<usize>(),
        Value::Object(members) => {
            2 + members.iter().map(|(name, member)| text(name) + bytes_at_most(member) + 2).sum::<usize>()
        }
    }
}
