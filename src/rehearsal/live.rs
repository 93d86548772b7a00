//! Stackdrop installed in the account and at work there: what an installation's EventBridge rules, schedules and state
//! machine do by themselves.
//!
//! A spec that is uploaded or deleted starts an execution, a schedule that is due starts one, `StartExecution` starts
//! one and `StopExecution` stops it. Each is run by the interpreter with the real functions.

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

/// From an upload until EventBridge has started the execution: about a second, as users see it.
const DELIVERY_SECONDS: f64 = 1.0;

type Running<'r> = Pin<Box<dyn Future<Output = Deployed> + 'r>>;

/// The executions that are at work.
#[derive(Default)]
struct AtWork<'r> {
    running: FuturesUnordered<Running<'r>>,
    /// What stops each, by ARN.
    aborts: BTreeMap<String, Abort>,
    /// What each was given, by name.
    inputs: BTreeMap<String, Value>,
}

impl Rehearsal {
    /// Lets Stackdrop live in the account: it reacts to what happens there from now on. This never ends by itself; drop
    /// it to stop.
    pub async fn live(&self) -> Infallible {
        let mut at_work = AtWork::default();
        let mut seen = self.account.account_events(0).len();
        loop {
            // Listening begins before looking, so that nothing is missed in between.
            let notified = self.account.notified();
            tokio::pin!(notified);
            notified.as_mut().enable();
            let news = self.account.account_events(seen);
            seen += news.len();
            for happening in news {
                self.react(happening, &mut at_work);
            }
            let due = self.account.next_schedule();
            tokio::select! {
                () = notified => {}
                () = until(self.account.clock(), due) => {}
                Some(ended) = at_work.running.next() => self.ended(&ended, &mut at_work),
            }
        }
    }

    fn react<'r>(&'r self, happening: AccountEvent, at_work: &mut AtWork<'r>) {
        let settings = &self.aws.settings;
        let now = self.account.clock().now();
        match happening {
            AccountEvent::ObjectCreated { bucket, key, version, size, etag }
                if bucket == self.installation.bucket.name =>
            {
                let event = event::created(settings, &key, &version, size, Some(&etag), now);
                self.deliver(&event, at_work);
            }
            AccountEvent::ObjectDeleted { bucket, key, marker }
                if bucket == self.installation.bucket.name =>
            {
                self.deliver(&event::deleted(settings, &key, &marker, now), at_work);
            }
            AccountEvent::ScheduleFired { group, target, role, input, .. }
                if target == self.installation.workflow.arn =>
            {
                // What is no JSON was refused when the schedule was made.
                let input = serde_json::from_str(&input).unwrap_or_default();
                if self.schedule_starts(&group, &role, &input) {
                    self.start(self.next_id(), input, at_work);
                }
            }
            AccountEvent::ExecutionStarted { arn, input } => {
                if let Some(name) = arn.strip_prefix(&self.execution_arn("")) {
                    self.start(name.to_owned(), serde_json::from_str(&input).unwrap_or_default(), at_work);
                }
            }
            AccountEvent::ExecutionStopped { arn, error, cause } => {
                if let Some(abort) = at_work.aborts.get(&arn) {
                    abort.stop(&error, &cause);
                }
            }
            AccountEvent::ObjectCreated { .. }
            | AccountEvent::ObjectDeleted { .. }
            | AccountEvent::ScheduleFired { .. } => {}
        }
    }

    /// Starts the executions that the installation starts by an event.
    fn deliver<'r>(&'r self, event: &Value, at_work: &mut AtWork<'r>) {
        for _ in 0..self.starts(event) {
            self.start(self.next_id(), event.clone(), at_work);
        }
    }

    fn start<'r>(&'r self, name: String, input: Value, at_work: &mut AtWork<'r>) {
        let arn = self.execution_arn(&name);
        let abort = Abort::default();
        at_work.aborts.insert(arn.clone(), abort.clone());
        at_work.inputs.insert(name.clone(), input.clone());
        at_work.running.push(Box::pin(async move {
            if input.get("detail-type").is_some() {
                until(self.account.clock(), Some(self.account.clock().elapsed() + delivery())).await;
            }
            self.account.execution_started_with(&arn, &input.to_string());
            let feed = Feed::new(self, arn);
            self.run_as(name, input, &feed, &abort).await
        }));
    }

    /// One has ended. One that was stopped, or timed out, ran no `Catch`: a rule starts another that looks after it.
    fn ended<'r>(&'r self, ended: &Deployed, at_work: &mut AtWork<'r>) {
        at_work.aborts.remove(&self.execution_arn(&ended.id));
        let input = at_work.inputs.remove(&ended.id).unwrap_or_default();
        if matches!(ended.outcome.status, Status::Aborted(_) | Status::TimedOut)
            && let Some(event) = self.interruption(&ended.id, &input)
        {
            self.start(self.next_id(), event, at_work);
        }
    }
}

fn delivery() -> Duration {
    Duration::from_secs_f64(DELIVERY_SECONDS)
}

/// Waits until a moment of the account's clock; for ever without one.
#[expect(
    clippy::disallowed_methods,
    reason = "this plays EventBridge, which is what waits; no function does"
)]
async fn until(clock: Clock, moment: Option<Duration>) {
    match moment {
        Some(moment) => tokio::time::sleep(moment.saturating_sub(clock.elapsed())).await,
        None => std::future::pending().await,
    }
}

/// Tells the account what an execution goes through, for `GetExecutionHistory`.
struct Feed<'r> {
    rehearsal: &'r Rehearsal,
    arn: String,
    /// The newest event, and the newest of each state.
    newest: Mutex<(u64, BTreeMap<String, u64>)>,
}

impl<'r> Feed<'r> {
    fn new(rehearsal: &'r Rehearsal, arn: String) -> Self {
        Self { rehearsal, arn, newest: Mutex::default() }
    }

    /// The event that this one follows from: the one before in the same state, or where it is the state's first, the
    /// one before at all. (In AWS the first event of a branch follows from its Parallel's start.)
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
        let told = HistoryEvent {
            id: event.id,
            previous: self.previous(event),
            kind: event.kind.to_string(),
            details: details(event, &self.rehearsal.aws.settings.region),
        };
        self.rehearsal.account.execution_event(&self.arn, told);
    }
}

/// An event's details as AWS shows them: inputs and outputs are JSON texts, and tasks name their resource.
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
