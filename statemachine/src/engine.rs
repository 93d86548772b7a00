//! Runs a machine.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde_json::Value;
use tokio::time::Instant;

use crate::context::{Execution, Place, Scope};
use crate::definition::{Chain, Machine, State, Work};
use crate::execution::{Arrival, Options, Outcome, Status, Tasks, Watch};
use crate::failure::Failure;
use crate::history::{Detail, Ending, EventKind, History};
use crate::join::Boxed;
use crate::retry::Retries;
use crate::template::Template;
use crate::visit::Visit;

/// The largest input, result or output of a state, task or execution: bytes of UTF-8 (Developer Guide, "quotas").
const PAYLOAD_BYTES_MAX: usize = 262_144;

/// How long a Standard execution may last (Developer Guide, "quotas"): a year.
const EXECUTION_SECONDS_MAX: u32 = 31_536_000;

impl Machine {
    /// Runs the machine once, on tokio's clock.
    pub async fn run(
        &self,
        execution: &Execution,
        tasks: &dyn Tasks,
        watch: &dyn Watch,
        options: &Options,
    ) -> Outcome {
        self.go(execution, None, tasks, watch, options).await
    }

    /// Runs the machine from a state on, as if it had come there: for trying several ways on from one place. The
    /// history begins with that state.
    pub async fn resume(
        &self,
        execution: &Execution,
        from: &Arrival,
        tasks: &dyn Tasks,
        watch: &dyn Watch,
        options: &Options,
    ) -> Outcome {
        self.go(execution, Some(from), tasks, watch, options).await
    }

    async fn go(
        &self,
        execution: &Execution,
        from: Option<&Arrival>,
        tasks: &dyn Tasks,
        watch: &dyn Watch,
        options: &Options,
    ) -> Outcome {
        let run = Run {
            execution,
            tasks,
            watch,
            start: Instant::now(),
            before: from.map_or(Duration::ZERO, |from| from.elapsed),
            history: Mutex::new(History::new()),
            jitter: Mutex::new(ChaCha8Rng::seed_from_u64(options.seed)),
        };
        let limit = Duration::from_secs(self.timeout_seconds.unwrap_or(EXECUTION_SECONDS_MAX).into());
        // `select!` drops what it does not finish: every step has ended before the execution does.
        let status = tokio::select! {
            biased;
            status = async {
                let failure = options.abort.wait().await;
                run.history().seal();
                Status::Aborted(failure)
            } => status,
            result = run.whole(&self.chain, from) => result.map_or_else(Status::Failed, |output| Status::Succeeded(Arc::unwrap_or_clone(output))),
            status = async {
                pause(limit.saturating_sub(run.before)).await;
                run.history().seal();
                Status::TimedOut
            } => status,
        };
        run.close(status)
    }
}

/// The one place where an execution waits.
#[expect(clippy::disallowed_methods, reason = "a workflow is what waits, so that no function has to")]
pub(crate) async fn pause(duration: Duration) {
    tokio::time::sleep(duration).await;
}

/// Refuses what is larger than Step Functions passes on; `name` is the state's, or what AWS calls the task.
pub(crate) fn fits(value: &Value, name: &str) -> Result<(), Failure> {
    // Each state's input and output are looked at several times: only what comes near the limit is written out for it.
    if bytes_at_most(value) <= PAYLOAD_BYTES_MAX || value.to_string().len() <= PAYLOAD_BYTES_MAX {
        Ok(())
    } else {
        Err(Failure::data_limit(name))
    }
}

/// What a value takes at most when it is written as JSON.
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

/// One execution under way.
pub(crate) struct Run<'a> {
    pub(crate) execution: &'a Execution,
    pub(crate) tasks: &'a dyn Tasks,
    pub(crate) watch: &'a dyn Watch,
    start: Instant,
    /// How long the execution had run before that.
    before: Duration,
    history: Mutex<History>,
    jitter: Mutex<ChaCha8Rng>,
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

    async fn whole(&self, chain: &Chain, from: Option<&Arrival>) -> Result<Arc<Value>, Failure> {
        if let Some(Arrival { state, input, .. }) = from {
            if !chain.states.contains_key(state) {
                return Err(Failure::runtime(format!("There is no state {state} to go on from.")));
            }
            return self.from(chain, state, Arc::new(input.clone()), Place::default()).await;
        }
        let input = Arc::new(self.execution.input.clone());
        self.record(EventKind::ExecutionStarted, None, Detail::Input(Arc::clone(&input)))?;
        fits(&input, &self.execution.name)?;
        self.chain(chain, input, Place::default()).await
    }

    fn close(self, status: Status) -> Outcome {
        let elapsed = self.elapsed();
        let mut history = self.history.into_inner().unwrap_or_else(PoisonError::into_inner);
        let (kind, detail) = match &status {
            Status::Succeeded(output) => {
                (EventKind::ExecutionSucceeded, Detail::Output(Arc::new(output.clone())))
            }
            Status::Failed(failure) => (EventKind::ExecutionFailed, failure.detail()),
            Status::TimedOut => (EventKind::ExecutionTimedOut, Detail::nothing()),
            Status::Aborted(failure) => (EventKind::ExecutionAborted, failure.detail()),
        };
        history.close(elapsed, kind, detail);
        if let Some(event) = history.events.last() {
            self.watch.recorded(event);
        }
        let History { events, steps, transitions, .. } = history;
        Outcome { status, seconds: elapsed.as_secs_f64(), steps, transitions, history: events }
    }

    /// Runs states, one after the other, until one of them ends the chain.
    pub(crate) fn chain<'r>(
        &'r self,
        chain: &'r Chain,
        input: Arc<Value>,
        place: Place,
    ) -> Boxed<'r, Result<Arc<Value>, Failure>> {
        self.from(chain, &chain.start_at, input, place)
    }

    /// The same from one of its states on.
    fn from<'r>(
        &'r self,
        chain: &'r Chain,
        state: &'r str,
        input: Arc<Value>,
        place: Place,
    ) -> Boxed<'r, Result<Arc<Value>, Failure>> {
        Box::pin(async move {
            let (mut name, mut input) = (Some(state), input);
            // `check` has made sure that every name is a state's.
            while let Some(state) = name.and_then(|name| chain.states.get(name)) {
                (name, input) = self.state(state, input, &place).await?;
            }
            Ok(input)
        })
    }

    /// One visit to a state: its attempts, and its Catch when all have failed.
    async fn state<'s>(
        &self,
        state: &'s State,
        input: Arc<Value>,
        place: &Place,
    ) -> Result<(Option<&'s str>, Arc<Value>), Failure> {
        let mut visit = Visit::enter(self, state, &input, place)?;
        let failure = match self.attempts(&mut visit, &input).await {
            Ok((next, output)) => {
                return match visit.exit(&output) {
                    Ok(()) => {
                        visit.leave(Ending::Done);
                        Ok((next, output))
                    }
                    Err(failure) => Err(visit.fail(failure)),
                };
            }
            Err(failure) => failure,
        };
        visit.gave_up(&failure)?;
        let Some(catcher) = state.catch.iter().find(|catcher| catcher.catches(&failure.error)) else {
            return Err(visit.fail(failure));
        };
        let caught = catcher.result_path.put(&input, Arc::new(failure.output())).and_then(|output| {
            fits(&output, &state.name)?;
            visit.exit(&output)?;
            Ok(output)
        });
        match caught {
            Ok(output) => {
                visit.leave(Ending::Caught { failure, next: catcher.next.clone() });
                Ok((Some(&catcher.next), output))
            }
            Err(failure) => Err(visit.fail(failure)),
        }
    }

    async fn attempts<'s>(
        &self,
        visit: &mut Visit<'_, 's>,
        input: &Arc<Value>,
    ) -> Result<(Option<&'s str>, Arc<Value>), Failure> {
        let mut retries = Retries::new(&visit.state.retry);
        loop {
            let failure = match self.attempt(visit, input, retries.count()).await {
                Ok(done) => return Ok(done),
                Err(failure) => failure,
            };
            let delay = {
                let mut jitter = self.jitter.lock().unwrap_or_else(PoisonError::into_inner);
                retries.next(&failure.error, &mut jitter)
            };
            let Some(delay) = delay else { return Err(failure) };
            visit.retry(&failure, delay);
            pause(delay).await;
        }
    }

    /// One attempt: input, work, result and output, as the States Language orders them.
    async fn attempt<'s>(
        &self,
        visit: &Visit<'_, 's>,
        input: &Arc<Value>,
        retries: u32,
    ) -> Result<(Option<&'s str>, Arc<Value>), Failure> {
        let state = visit.state;
        let context = visit.context(retries);
        let within = |failure: Failure| failure.within(&state.name, visit.entered_event);
        let effective = state.input.apply(input, &context).map_err(within)?;
        let scope = Scope { input: &effective, context: &context };
        let given = state.parameters.as_ref().map(|parameters| parameters.evaluate(scope)).transpose();
        let given = given.map_err(within)?.map_or_else(|| Arc::clone(&effective), Arc::new);
        if state.parameters.is_some() {
            fits(&given, &state.name)?;
        }
        let (next, result) = match &state.work {
            Work::Choice { rules, default } => {
                let mut next = default.as_str();
                for rule in rules {
                    if rule.test.holds(scope).map_err(within)? {
                        next = &rule.next;
                        break;
                    }
                }
                (Some(next), None)
            }
            Work::Wait(delay) => {
                pause(delay.evaluate(&scope).map_err(within)?).await;
                (state.next.as_deref(), None)
            }
            Work::Succeed => (None, None),
            Work::Fail { error, cause } => {
                let (error, cause) = (error.evaluate(scope), cause.evaluate(scope));
                return Err(Failure::new(error.map_err(within)?, cause.map_err(within)?));
            }
            work => {
                let result = self.result(visit, work, scope, given).await?;
                fits(&result, &state.name)?;
                (state.next.as_deref(), Some(result))
            }
        };
        let combined = match result {
            None => effective,
            Some(result) => {
                let select =
                    |selector: &Template| selector.evaluate(Scope { input: &result, context: &context });
                let selected = state.result_selector.as_ref().map(select).transpose().map_err(within)?;
                let selected = selected.map_or_else(|| Arc::clone(&result), Arc::new);
                state.result_path.put(input, selected).map_err(within)?
            }
        };
        let output = state.output.apply(&combined, &context).map_err(within)?;
        fits(&output, &state.name)?;
        Ok((next, output))
    }
}
