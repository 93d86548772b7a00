//! Runs a machine.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::context::{Context, Execution, Item, Place, Scope};
use crate::definition::{Chain, Delay, Machine, Map, State, StateKind, Task, Text, Work};
use crate::execution::{Options, Outcome, Status, Tasks, Watch};
use crate::failure::{Failure, names};
use crate::history::{Ending, EventKind, History};
use crate::join::{self, Boxed};
use crate::retry::Retries;
use crate::template::Template;
use crate::visit::{IterationGuard, Visit};

/// The largest input, result or output of a state, task or execution: bytes of UTF-8 (Developer Guide, "quotas").
const PAYLOAD_BYTES_MAX: usize = 262_144;

/// How long a Standard execution may last (Developer Guide, "quotas"): a year.
const EXECUTION_SECONDS_MAX: u32 = 31_536_000;

/// The longest Wait (States Language specification), seconds.
const WAIT_SECONDS_MAX: u64 = 99_999_999;

impl Machine {
    /// Runs the machine once, on tokio's clock.
    pub async fn run(
        &self,
        execution: &Execution,
        tasks: &dyn Tasks,
        watch: &dyn Watch,
        options: &Options,
    ) -> Outcome {
        let run = Run {
            execution,
            tasks,
            watch,
            start: Instant::now(),
            history: Mutex::new(History::new()),
            jitter: Mutex::new(ChaCha8Rng::seed_from_u64(options.seed)),
        };
        let limit = Duration::from_secs(self.timeout_seconds.unwrap_or(EXECUTION_SECONDS_MAX).into());
        // The states that are cut short leave the history before the execution's last event enters it:
        // `select!` drops what it does not finish.
        let status = tokio::select! {
            biased;
            failure = options.abort.wait() => Status::Aborted(failure),
            result = run.whole(&self.chain) => result.map_or_else(Status::Failed, Status::Succeeded),
            () = pause(limit) => Status::TimedOut,
        };
        run.close(status)
    }
}

/// The one place where an execution waits.
#[allow(clippy::disallowed_methods, reason = "a workflow is what waits, so that no function has to")]
async fn pause(duration: Duration) {
    tokio::time::sleep(duration).await;
}

/// Refuses what is larger than Step Functions passes on.
fn fits(value: &Value, what: impl FnOnce() -> String) -> Result<(), Failure> {
    if value.to_string().len() > PAYLOAD_BYTES_MAX { Err(Failure::data_limit(&what())) } else { Ok(()) }
}

/// One execution under way.
pub(crate) struct Run<'a> {
    pub(crate) execution: &'a Execution,
    tasks: &'a dyn Tasks,
    pub(crate) watch: &'a dyn Watch,
    pub(crate) start: Instant,
    history: Mutex<History>,
    jitter: Mutex<ChaCha8Rng>,
}

impl Run<'_> {
    pub(crate) fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn record(&self, kind: EventKind, state: Option<&str>, detail: Value) -> Result<u64, Failure> {
        self.history().record(self.start.elapsed(), kind, state, detail)
    }

    async fn whole(&self, chain: &Chain) -> Result<Value, Failure> {
        let input = &self.execution.input;
        self.record(EventKind::ExecutionStarted, None, json!({ "input": input }))?;
        fits(input, || "The execution's input".to_owned())?;
        self.chain(chain, input.clone(), Place::default()).await
    }

    fn close(self, status: Status) -> Outcome {
        let elapsed = self.start.elapsed();
        let mut history = self.history.into_inner().unwrap_or_else(PoisonError::into_inner);
        let (kind, detail) = match &status {
            Status::Succeeded(output) => (EventKind::ExecutionSucceeded, json!({ "output": output })),
            Status::Failed(failure) => (EventKind::ExecutionFailed, detail_of(failure)),
            Status::TimedOut => (EventKind::ExecutionTimedOut, json!({})),
            Status::Aborted(failure) => (EventKind::ExecutionAborted, detail_of(failure)),
        };
        history.close(elapsed, kind, detail);
        let History { events, steps, transitions } = history;
        Outcome { status, seconds: elapsed.as_secs_f64(), steps, transitions, history: events }
    }

    /// Runs states, one after the other, until one of them ends the chain.
    fn chain<'r>(
        &'r self,
        chain: &'r Chain,
        input: Value,
        place: Place,
    ) -> Boxed<'r, Result<Value, Failure>> {
        Box::pin(async move {
            let (mut name, mut input) = (Some(chain.start_at.as_str()), input);
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
        input: Value,
        place: &Place,
    ) -> Result<(Option<&'s str>, Value), Failure> {
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
        let Some(catcher) = state.catch.iter().find(|catcher| catcher.catches(&failure.error)) else {
            return Err(visit.fail(failure));
        };
        let caught = catcher.result_path.put(input, failure.output()).and_then(|output| {
            fits(&output, || format!("The state '{}' returned an error output that", state.name))?;
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
        input: &Value,
    ) -> Result<(Option<&'s str>, Value), Failure> {
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
        input: &Value,
        retries: u32,
    ) -> Result<(Option<&'s str>, Value), Failure> {
        let state = visit.state;
        let context = visit.context(retries);
        let within = |failure: Failure| failure.within(&state.name, visit.entered_event);
        let effective = state.input.apply(&Scope { input, context: &context }).map_err(within)?;
        let scope = Scope { input: &effective, context: &context };
        let given = state.parameters.as_ref().map(|parameters| parameters.evaluate(scope)).transpose();
        let given = given.map_err(within)?;
        if let Some(given) = &given {
            fits(given, || format!("The state '{}' was given parameters that", state.name))?;
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
                pause(delay_of(delay, scope).map_err(within)?).await;
                (state.next.as_deref(), None)
            }
            Work::Succeed => (None, None),
            Work::Fail { error, cause } => {
                let (error, cause) = (text_of(error, scope), text_of(cause, scope));
                return Err(Failure::new(error.map_err(within)?, cause.map_err(within)?));
            }
            work => {
                let result = self.result(visit, work, scope, given.as_ref()).await?;
                (state.next.as_deref(), Some(result))
            }
        };
        let combined = match result {
            None => effective,
            Some(result) => {
                let select =
                    |selector: &Template| selector.evaluate(Scope { input: &result, context: &context });
                let selected = state.result_selector.as_ref().map(select).transpose().map_err(within)?;
                state.result_path.put(input.clone(), selected.unwrap_or(result)).map_err(within)?
            }
        };
        let output = state.output.apply(&Scope { input: &combined, context: &context }).map_err(within)?;
        fits(&output, || format!("The state '{}' returned a result that", state.name))?;
        Ok((next, output))
    }

    /// The result of the kinds that have one.
    async fn result(
        &self,
        visit: &Visit<'_, '_>,
        work: &Work,
        scope: Scope<'_>,
        given: Option<&Value>,
    ) -> Result<Value, Failure> {
        let given = given.unwrap_or(scope.input);
        match work {
            Work::Task(task) => self.task(visit, task, scope).await,
            Work::Parallel { branches } => self.parallel(visit, branches, given).await,
            Work::Map(map) => self.map(visit, map, scope).await,
            Work::Pass { result: Some(result) } => Ok(result.clone()),
            Work::Pass { result: None }
            | Work::Choice { .. }
            | Work::Wait(_)
            | Work::Succeed
            | Work::Fail { .. } => Ok(given.clone()),
        }
    }

    async fn task(&self, visit: &Visit<'_, '_>, task: &Task, scope: Scope<'_>) -> Result<Value, Failure> {
        let name = visit.state.name.as_str();
        let payload = task.payload.evaluate(scope);
        let payload = payload.map_err(|failure| failure.within(name, visit.entered_event))?;
        fits(&payload, || format!("The task of the state '{name}' was given an input that"))?;
        let scheduled = json!({
            "resourceType": "lambda",
            "resource": "invoke",
            "parameters": { "FunctionName": task.function, "Payload": payload },
            "timeoutInSeconds": task.timeout_seconds,
        });
        self.record(EventKind::TaskScheduled, Some(name), scheduled)?;
        self.record(EventKind::TaskStarted, Some(name), json!({}))?;
        let call = self.tasks.invoke(&task.function, payload);
        let answer = match task.timeout_seconds {
            None => call.await,
            Some(seconds) => match tokio::time::timeout(Duration::from_secs(seconds.into()), call).await {
                Ok(answer) => answer,
                Err(_elapsed) => {
                    // AWS gives no cause with a timeout.
                    let failure = Failure::new(names::TIMEOUT, "");
                    self.record(EventKind::TaskTimedOut, Some(name), detail_of(&failure))?;
                    return Err(failure);
                }
            },
        };
        let result = answer.map(|payload| invocation(&payload)).and_then(|result| {
            fits(&result, || format!("The task of the state '{name}' returned a result that"))?;
            Ok(result)
        });
        match &result {
            Ok(output) => self.record(EventKind::TaskSucceeded, Some(name), json!({ "output": output }))?,
            Err(failure) => self.record(EventKind::TaskFailed, Some(name), detail_of(failure))?,
        };
        result
    }

    async fn parallel(
        &self,
        visit: &Visit<'_, '_>,
        branches: &[Chain],
        input: &Value,
    ) -> Result<Value, Failure> {
        let name = visit.state.name.as_str();
        self.record(EventKind::StateStarted(StateKind::Parallel), Some(name), json!({}))?;
        let place = Place { parent: Some(name.to_owned()), item: visit.place.item.clone() };
        let branches: Vec<_> =
            branches.iter().map(|branch| self.chain(branch, input.clone(), place.clone())).collect();
        let at_once = branches.len();
        self.joined(visit, branches, at_once).await
    }

    async fn map(&self, visit: &Visit<'_, '_>, map: &Map, scope: Scope<'_>) -> Result<Value, Failure> {
        let name = visit.state.name.as_str();
        let within = |failure: Failure| failure.within(name, visit.entered_event);
        let Some(Value::Array(items)) = map.items.select(&scope) else {
            let cause = format!("'{}' does not select an array from '{}'", map.items.text(), scope.input);
            return Err(within(Failure::runtime(cause)));
        };
        self.record(EventKind::StateStarted(StateKind::Map), Some(name), json!({ "length": items.len() }))?;
        let mut iterations: Vec<Boxed<'_, _>> = Vec::with_capacity(items.len());
        for (index, value) in items.into_iter().enumerate() {
            let item = Item { index, value };
            let input = match &map.selector {
                None => item.value.clone(),
                Some(selector) => {
                    let context = Context { item: Some(&item), ..*scope.context };
                    selector.evaluate(Scope { input: scope.input, context: &context }).map_err(within)?
                }
            };
            fits(&input, || format!("The iteration {index} of the state '{name}' was given an input that"))?;
            iterations.push(Box::pin(self.iteration(name, &map.chain, input, item)));
        }
        self.joined(visit, iterations, map.at_once).await
    }

    async fn iteration(&self, name: &str, chain: &Chain, input: Value, item: Item) -> Result<Value, Failure> {
        let detail = json!({ "name": name, "index": item.index });
        self.record(EventKind::MapIterationStarted, Some(name), detail.clone())?;
        let mut guard = IterationGuard { run: self, name, detail: Some(detail.clone()) };
        let place = Place { parent: Some(name.to_owned()), item: Some(item) };
        let result = self.chain(chain, input, place).await;
        guard.detail = None;
        let kind =
            if result.is_ok() { EventKind::MapIterationSucceeded } else { EventKind::MapIterationFailed };
        self.record(kind, Some(name), detail)?;
        result
    }

    async fn joined(
        &self,
        visit: &Visit<'_, '_>,
        chains: Vec<Boxed<'_, Result<Value, Failure>>>,
        at_once: usize,
    ) -> Result<Value, Failure> {
        let (name, kind) = (visit.state.name.as_str(), visit.state.kind());
        match join::all(chains, at_once).await {
            Ok(outputs) => {
                self.record(EventKind::StateSucceeded(kind), Some(name), json!({}))?;
                Ok(Value::Array(outputs))
            }
            Err(failure) => {
                self.record(EventKind::StateFailed(kind), Some(name), detail_of(&failure))?;
                Err(failure)
            }
        }
    }
}

/// What `lambda:invoke` makes of a function's answer.
fn invocation(payload: &Value) -> Value {
    json!({
        "ExecutedVersion": "$LATEST",
        "Payload": payload,
        "SdkHttpMetadata": { "HttpStatusCode": 200 },
        "StatusCode": 200,
    })
}

fn detail_of(failure: &Failure) -> Value {
    json!({ "error": failure.error, "cause": failure.cause })
}

fn delay_of(delay: &Delay, scope: Scope<'_>) -> Result<Duration, Failure> {
    match delay {
        Delay::Fixed(duration) => Ok(*duration),
        Delay::Selected(path) => match path.select(&scope).as_ref().and_then(Value::as_u64) {
            Some(seconds) if seconds <= WAIT_SECONDS_MAX => Ok(Duration::from_secs(seconds)),
            _ => {
                let cause =
                    format!("'{}' does not select a number of seconds from '{}'", path.text(), scope.input);
                Err(Failure::runtime(cause))
            }
        },
    }
}

fn text_of(text: &Text, scope: Scope<'_>) -> Result<String, Failure> {
    match text {
        Text::Fixed(text) => Ok(text.clone()),
        Text::Selected(query) => match query.evaluate(scope)? {
            Value::String(text) => Ok(text),
            other => Err(Failure::runtime(format!("a Fail state's error or cause is a text, not '{other}'"))),
        },
    }
}
