//! What states do: invoke a function, run branches, go through items.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::context::{Context, Item, Place, Scope};
use crate::definition::{Chain, Map, StateKind, Task, Work};
use crate::engine::{Run, fits};
use crate::failure::{Failure, names};
use crate::history::{Detail, EventKind};
use crate::invocation;
use crate::join::{self, Boxed};
use crate::visit::{IterationGuard, Visit};

impl Run<'_> {
    /// The result of the kinds that have one.
    pub(crate) async fn result(
        &self,
        visit: &Visit<'_, '_>,
        work: &Work,
        scope: Scope<'_>,
        given: Arc<Value>,
    ) -> Result<Arc<Value>, Failure> {
        match work {
            Work::Task(task) => self.task(visit, task, scope).await,
            Work::Parallel { branches } => self.parallel(visit, branches, &given).await,
            Work::Map(map) => self.map(visit, map, scope).await,
            Work::Pass { result: Some(result) } => Ok(Arc::new(result.clone())),
            Work::Pass { result: None }
            | Work::Choice { .. }
            | Work::Wait(_)
            | Work::Succeed
            | Work::Fail { .. } => Ok(given),
        }
    }

    async fn task(
        &self,
        visit: &Visit<'_, '_>,
        task: &Task,
        scope: Scope<'_>,
    ) -> Result<Arc<Value>, Failure> {
        let name = visit.state.name.as_str();
        // One for each attempt, as in AWS; not secret here.
        let token = format!("{}.{name}.{}", self.execution.arn, self.history().events.len());
        let token = task.waits_for_token.then_some(token.as_str());
        let context = Context { token, ..*scope.context };
        let payload = task.payload.evaluate(Scope { input: scope.input, context: &context });
        let payload = payload.map_err(|failure| failure.within(name, visit.entered_event))?;
        fits(&payload, name)?;
        let payload = Arc::new(payload);
        let scheduled = Detail::Scheduled {
            function: task.function.clone(),
            payload: Arc::clone(&payload),
            waits_for_token: task.waits_for_token,
            timeout_seconds: task.timeout_seconds,
        };
        self.record(EventKind::TaskScheduled, Some(name), scheduled)?;
        let invocation = self.record(EventKind::TaskStarted, Some(name), Detail::nothing())?;
        let call = self.called(name, task, payload, token);
        let answer = match task.timeout_seconds {
            None => call.await,
            Some(seconds) => match tokio::time::timeout(Duration::from_secs(seconds.into()), call).await {
                Ok(answer) => answer,
                Err(_elapsed) => {
                    // AWS gives no cause with a timeout.
                    let failure = Failure::new(names::TIMEOUT, "");
                    self.record(EventKind::TaskTimedOut, Some(name), failure.detail())?;
                    return Err(failure);
                }
            },
        };
        let now = self.execution.time_at(self.elapsed());
        let whole = |payload: Value| match token {
            None => invocation::result(payload, invocation, now),
            Some(_) => payload,
        };
        let result = answer.map(whole).and_then(|result| {
            // AWS names the service here, not the state.
            fits(&result, "lambda").map(|()| Arc::new(result))
        });
        match &result {
            Ok(output) => {
                self.record(EventKind::TaskSucceeded, Some(name), Detail::Output(Arc::clone(output)))?
            }
            Err(failure) => self.record(EventKind::TaskFailed, Some(name), failure.detail())?,
        };
        result
    }

    /// The function's answer or, where the task waits for its token, what somebody answers with that.
    async fn called(
        &self,
        name: &str,
        task: &Task,
        payload: Arc<Value>,
        token: Option<&str>,
    ) -> Result<Value, Failure> {
        let answer = self.tasks.invoke(&task.function, Arc::unwrap_or_clone(payload)).await?;
        let Some(token) = token else { return Ok(answer) };
        self.record(EventKind::TaskSubmitted, Some(name), Detail::nothing())?;
        self.tasks.answer(token).await
    }

    async fn parallel(
        &self,
        visit: &Visit<'_, '_>,
        branches: &[Chain],
        input: &Arc<Value>,
    ) -> Result<Arc<Value>, Failure> {
        let name = visit.state.name.as_str();
        self.record(EventKind::StateStarted(StateKind::Parallel), Some(name), Detail::nothing())?;
        let place = Place { parent: Some(name.to_owned()), item: visit.place.item.clone() };
        let branches: Vec<_> =
            branches.iter().map(|branch| self.chain(branch, Arc::clone(input), place.clone())).collect();
        let at_once = branches.len();
        self.joined(visit, branches, at_once).await
    }

    async fn map(&self, visit: &Visit<'_, '_>, map: &Map, scope: Scope<'_>) -> Result<Arc<Value>, Failure> {
        let name = visit.state.name.as_str();
        let within = |failure: Failure| failure.within(name, visit.entered_event);
        let items = match map.items.require(&scope).map_err(within)?.into_owned() {
            Value::Array(items) => items,
            other => {
                let cause = format!("Map state input must be an array but was: {other}");
                return Err(within(Failure::runtime(cause)));
            }
        };
        let length = Detail::Other(json!({ "length": items.len() }));
        self.record(EventKind::StateStarted(StateKind::Map), Some(name), length)?;
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
            fits(&input, name)?;
            iterations.push(Box::pin(self.iteration(name, &map.chain, input, item)));
        }
        self.joined(visit, iterations, map.at_once).await
    }

    async fn iteration(
        &self,
        name: &str,
        chain: &Chain,
        input: Value,
        item: Item,
    ) -> Result<Arc<Value>, Failure> {
        let detail = Detail::Other(json!({ "name": name, "index": item.index }));
        self.record(EventKind::MapIterationStarted, Some(name), detail.clone())?;
        let mut guard = IterationGuard { run: self, name, detail: Some(detail.clone()) };
        let place = Place { parent: Some(name.to_owned()), item: Some(item) };
        let result = self.chain(chain, Arc::new(input), place).await;
        guard.detail = None;
        let kind =
            if result.is_ok() { EventKind::MapIterationSucceeded } else { EventKind::MapIterationFailed };
        // Where nothing more can be recorded, the failure that is the reason must not be lost.
        match (self.record(kind, Some(name), detail), result) {
            (Err(full), Ok(_)) => Err(full),
            (_, result) => result,
        }
    }

    async fn joined(
        &self,
        visit: &Visit<'_, '_>,
        chains: Vec<Boxed<'_, Result<Arc<Value>, Failure>>>,
        at_once: usize,
    ) -> Result<Arc<Value>, Failure> {
        let outputs = join::all(chains, at_once).await?;
        let kind = EventKind::StateSucceeded(visit.state.kind());
        self.record(kind, Some(&visit.state.name), Detail::nothing())?;
        Ok(Arc::new(outputs.into_iter().map(Arc::unwrap_or_clone).collect()))
    }
}
