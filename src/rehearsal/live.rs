//! Stackdrop running in the account: the installation's EventBridge rules, schedules and state machine.
//!
//! Executions are started by uploads and deletions of specs, by schedules and by `StartExecution`, and stopped by
//! `StopExecution`. The interpreter runs each execution with the real functions.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aws_smithy_async::time::TimeSource;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use serde_json::{Value, json};
use stackdrop_simulator::{AccountEvent, Clock, HistoryEvent};
use stackdrop_statemachine::{Abort, Event, EventKind, Status, Watch};

use super::{Deployed, Rehearsal, event};

/// How long EventBridge takes to start an execution after an upload: about a second, as users observe.
const DELIVERY_SECONDS: f64 = 1.0;

type RunningExecution<'r> = Pin<Box<dyn Future<Output = Deployed> + 'r>>;

/// The executions that run.
#[derive(Default)]
struct Executions<'r> {
    running: FuturesUnordered<RunningExecution<'r>>,
    /// The handles that stop them, by ARN.
    aborts: BTreeMap<String, Abort>,
    /// Their inputs, by name.
    inputs: BTreeMap<String, Value>,
}

impl Rehearsal {
    /// Runs Stackdrop in the account: it reacts to all events from now on. This never ends; drop the future to stop it.
    pub async fn live(&self) -> Infallible {
        let mut executions = Executions::default();
        let mut seen = self.account.account_events(0).len();
        loop {
            // Subscribes before the events are read, so that none is missed in between.
            let notified = self.account.notified();
            tokio::pin!(notified);
            notified.as_mut().enable();
            let news = self.account.account_events(seen);
            seen += news.len();
            for account_event in news {
                self.react(account_event, &mut executions);
            }
            let due = self.account.next_schedule();
            tokio::select! {
                () = notified => {}
                () = until(self.account.clock(), due) => {}
                Some(ended) = executions.running.next() => self.ended(&ended, &mut executions),
            }
        }
    }

    fn react<'r>(&'r self, account_event: AccountEvent, executions: &mut Executions<'r>) {
        let settings = &self.aws.settings;
        let now = self.account.clock().now();
        match account_event {
            AccountEvent::ObjectCreated { bucket, key, version, size, etag }
                if bucket == self.installation.bucket.name =>
            {
                let event = event::created(settings, &key, &version, size, Some(&etag), now);
                self.deliver(&event, executions);
            }
            AccountEvent::ObjectDeleted { bucket, key, marker }
                if bucket == self.installation.bucket.name =>
            {
                self.deliver(&event::deleted(settings, &key, &marker, now), executions);
            }
            AccountEvent::ScheduleFired { group, target, role, input, .. }
                if target == self.installation.workflow.arn =>
            {
                // The input is valid JSON: otherwise the schedule could not have been created.
                let input = serde_json::from_str(&input).unwrap_or_default();
                if self.schedule_starts(&group, &role, &input) {
                    self.start(self.next_id(), input, executions);
                }
            }
            AccountEvent::ExecutionStarted { arn, input } => {
                if let Some(name) = arn.strip_prefix(&self.execution_arn("")) {
                    self.start(name.to_owned(), serde_json::from_str(&input).unwrap_or_default(), executions);
                }
            }
            AccountEvent::ExecutionStopped { arn, error, cause } => {
                if let Some(abort) = executions.aborts.get(&arn) {
                    abort.stop(&error, &cause);
                }
            }
            AccountEvent::ObjectCreated { .. }
            | AccountEvent::ObjectDeleted { .. }
            | AccountEvent::ScheduleFired { .. } => {}
        }
    }

    /// Starts the executions that the installation starts for an event.
    fn deliver<'r>(&'r self, event: &Value, executions: &mut Executions<'r>) {
        for _ in 0..self.starts(event) {
            self.start(self.next_id(), event.clone(), executions);
        }
    }

    fn start<'r>(&'r self, name: String, input: Value, executions: &mut Executions<'r>) {
        let arn = self.execution_arn(&name);
        let abort = Abort::default();
        executions.aborts.insert(arn.clone(), abort.clone());
        executions.inputs.insert(name.clone(), input.clone());
        executions.running.push(Box::pin(async move {
            if input.get("detail-type").is_some() {
                until(self.account.clock(), Some(self.account.clock().elapsed() + delivery())).await;
            }
            self.account.execution_started_with(&arn, &input.to_string());
            let feed = Feed::new(self, arn);
            self.run_as(name, input, &feed, &abort).await
        }));
    }

    /// An execution ended. If it failed, was stopped or timed out, a rule starts another one, which cleans up if no
    /// `Catch` of it ran.
    fn ended<'r>(&'r self, ended: &Deployed, executions: &mut Executions<'r>) {
        executions.aborts.remove(&self.execution_arn(&ended.id));
        let input = executions.inputs.remove(&ended.id).unwrap_or_default();
        if !matches!(ended.outcome.status, Status::Succeeded(_))
            && let Some(event) = self.interruption(&ended.id, &input)
        {
            self.start(self.next_id(), event, executions);
        }
    }
}

fn delivery() -> Duration {
    Duration::from_secs_f64(DELIVERY_SECONDS)
}

/// Waits until a moment of the account's clock; forever if there is none.
#[expect(clippy::disallowed_methods, reason = "this plays EventBridge, which waits; no function does")]
async fn until(clock: Clock, moment: Option<Duration>) {
    match moment {
        Some(moment) => tokio::time::sleep(moment.saturating_sub(clock.elapsed())).await,
        None => std::future::pending().await,
    }
}

/// Records the events of an execution in the account, for `GetExecutionHistory`.
struct Feed<'r> {
    rehearsal: &'r Rehearsal,
    arn: String,
    /// The newest event, and the newest event of each state.
    newest: Mutex<(u64, BTreeMap<String, u64>)>,
}

impl<'r> Feed<'r> {
    fn new(rehearsal: &'r Rehearsal, arn: String) -> Self {
        Self { rehearsal, arn, newest: Mutex::default() }
    }

    /// The previous event: the one before in the same state, or for a state's first event, the one before in the
    /// execution. (In AWS, the first event of a branch follows the start of its Parallel state.)
    fn previous(&self, event: &Event) -> u64 {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        let (last, of_states) = &mut *newest;
        let state = event.state.as_ref();
        let before = state.and_then(|state| of_states.insert(state.clone(), event.id));
        let last = std::mem::replace(last, event.id);
        before.filter(|_| !is_entry(event.kind)).unwrap_or(last)
    }
}

fn is_entry(kind: EventKind) -> bool {
    matches!(kind, EventKind::StateEntered(_))
}

impl Watch for Feed<'_> {
    fn recorded(&self, event: &Event) {
        let recorded = HistoryEvent {
            id: event.id,
            previous: self.previous(event),
            kind: event.kind.to_string(),
            details: details(event, &self.rehearsal.aws.settings.region),
        };
        self.rehearsal.account.execution_event(&self.arn, recorded);
    }
}

/// An event's details as AWS returns them: inputs and outputs are JSON texts, and tasks name their resource.
fn details(event: &Event, region: &str) -> Option<(String, Value)> {
    let kind = event.kind.to_string();
    let member = match event.kind {
        EventKind::StateEntered(_) => "stateEnteredEventDetails".to_owned(),
        EventKind::StateExited(_) => "stateExitedEventDetails".to_owned(),
        EventKind::StateStarted(_)
        | EventKind::StateSucceeded(_)
        | EventKind::StateFailed(_)
        | EventKind::StateAborted(_) => return None,
        _ => {
            let mut letters = kind.chars();
            let first = letters.next()?.to_ascii_lowercase();
            format!("{first}{}EventDetails", letters.as_str())
        }
    };
    let mut details = event.detail.to_json();
    let fields = details.as_object_mut()?;
    for name in ["input", "output", "parameters"] {
        if let Some(value) = fields.get_mut(name).filter(|value| !value.is_string()) {
            *value = Value::String(value.to_string());
        }
    }
    if let (true, Some(state)) = (member.starts_with("state"), &event.state) {
        fields.insert("name".into(), json!(state));
    }
    if member.starts_with("task") {
        fields.entry("resourceType").or_insert_with(|| json!("lambda"));
        fields.entry("resource").or_insert_with(|| json!("invoke"));
        if kind == "TaskScheduled" {
            fields.insert("region".into(), json!(region));
        }
    }
    Some((member, details))
}
