//! Drives a chaos test: draws every event and its time from the seed.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result};
use futures::future::{LocalBoxFuture, join_all};
use serde_json::{Value, json};
use stackdrop_simulator::Incident;
use stackdrop_statemachine::{Abort, Status};
use tokio::task::JoinSet;

use super::specs::{Variant, with_data};
use super::{Goal, STACKS, faults, spec_key};
use crate::rehearsal::{Deployed, Rehearsal};

/// An execution that has ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) stack: &'static str,
    pub(super) deployed: Deployed,
    /// The stopped execution that it cleaned up after.
    pub(super) cleaned_up: Option<String>,
    /// When it ended, since the account was opened.
    pub(super) at: Duration,
}

impl Ended {
    /// Whether the execution was stopped, or failed by Step Functions: its `Catch` did not run.
    pub(super) fn is_interrupted(&self) -> bool {
        !matches!(self.deployed.outcome.status, Status::Succeeded(_))
    }
}

/// The driver of one chaos test.
#[derive(Debug)]
pub(super) struct Driver<'r> {
    rng: fastrand::Rng,
    rehearsal: &'r Rc<Rehearsal>,
    running: JoinSet<Vec<Ended>>,
    shared: Rc<Shared>,
    /// Whether calls fail: in a test without faults, no incident may lead to a failed rollback.
    with_faults: bool,
    /// The incidents that changed something, in order.
    incidents: Vec<Caused>,
}

/// An incident that changed something.
#[derive(Debug)]
pub(super) struct Caused {
    pub(super) name: &'static str,
    pub(super) stack: &'static str,
    /// The IDs of the resources that it changed.
    pub(super) changed: Vec<String>,
}

/// The state that the running executions share with the driver.
#[derive(Debug)]
struct Shared {
    rehearsal: Rc<Rehearsal>,
    /// The handle that stops each running execution, by the order of their starts.
    aborts: RefCell<BTreeMap<usize, Abort>>,
    started: RefCell<usize>,
    history: RefCell<Vec<String>>,
}

impl Shared {
    fn note(&self, what: &str) {
        let now = self.rehearsal.account().clock().elapsed().as_secs_f64();
        self.history.borrow_mut().push(format!("{now:>9.1} s  {what}"));
    }

    /// Runs an execution. If it is stopped, EventBridge delivers an event that starts another one to clean up: at least
    /// once, at any time. That one may be stopped too.
    fn run(self: Rc<Self>, start: Start) -> LocalBoxFuture<'static, Vec<Ended>> {
        Box::pin(async move {
            let Start { stack, input, delay, cleans_up, mut rng } = start;
            let abort = Abort::default();
            let number = self.started.replace_with(|started| *started + 1) + 1;
            self.aborts.borrow_mut().insert(number, abort.clone());
            pause(Duration::from_secs(delay)).await;
            let deployed = self.rehearsal.run(input.clone(), &(), &abort).await;
            self.aborts.borrow_mut().remove(&number);
            let event = self.stop_event(&deployed, &input);
            let at = self.rehearsal.account().clock().elapsed();
            let mut all = vec![Ended { stack, deployed, cleaned_up: cleans_up, at }];
            let Some((stopped, event)) = event else { return all };
            let deliveries = if rng.u8(..4) == 0 { 2 } else { 1 };
            let deliveries = (0..deliveries).map(|_| {
                let delay = if rng.u8(..3) == 0 { rng.u64(..900) } else { rng.u64(..3) };
                self.note(&format!("the event that {stopped} has ended arrives after {delay} s"));
                let rng = fastrand::Rng::with_seed(rng.u64(..));
                let start =
                    Start { stack, input: event.clone(), delay, cleans_up: Some(stopped.clone()), rng };
                Rc::clone(&self).run(start)
            });
            all.extend(join_all(deliveries.collect::<Vec<_>>()).await.into_iter().flatten());
            all
        })
    }

    /// The event that Step Functions sends if an execution failed, was stopped or timed out, and the execution's name.
    fn stop_event(&self, deployed: &Deployed, input: &Value) -> Option<(String, Value)> {
        let stopped = !matches!(deployed.outcome.status, Status::Succeeded(_));
        let event = self.rehearsal.interruption(&deployed.id, input).filter(|_| stopped)?;
        Some((deployed.id.clone(), event))
    }
}

/// The start of an execution.
#[derive(Debug)]
struct Start {
    stack: &'static str,
    input: Value,
    /// In seconds from now.
    delay: u64,
    /// The stopped execution that it cleans up after.
    cleans_up: Option<String>,
    /// Draws the events that follow from this execution.
    rng: fastrand::Rng,
}

impl<'r> Driver<'r> {
    pub(super) fn new(seed: u64, rehearsal: &'r Rc<Rehearsal>) -> Self {
        let rng = fastrand::Rng::with_seed(seed);
        let shared = Shared {
            rehearsal: Rc::clone(rehearsal),
            aborts: RefCell::default(),
            started: RefCell::default(),
            history: RefCell::default(),
        };
        Self {
            rng,
            rehearsal,
            running: JoinSet::new(),
            shared: Rc::new(shared),
            with_faults: !seed.is_multiple_of(5),
            incidents: Vec::new(),
        }
    }

    /// The incidents that changed something, in order.
    pub(super) fn incidents(&self) -> &[Caused] {
        &self.incidents
    }

    pub(super) fn note(&self, what: &str) {
        self.shared.note(what);
    }

    /// The events so far, in order.
    pub(super) fn history(&self) -> Vec<String> {
        self.shared.history.borrow().clone()
    }

    /// Draws the goal of a stack.
    pub(super) fn goal(&mut self) -> Goal {
        if self.rng.u8(..4) == 0 { Goal::Destroyed } else { Goal::Deployed(self.variant()) }
    }

    /// Runs the random part of the test, and waits until every execution has ended.
    pub(super) async fn run(&mut self) -> Result<Vec<Ended>> {
        for _ in 0..self.rng.usize(4..10) {
            self.act().await?;
            // Most things happen while a deployment runs, some long after it.
            let gap = if self.rng.u8(..3) == 0 { self.rng.u64(..2400) } else { self.rng.u64(..240) };
            let first = self.rng.u64(..=gap);
            pause(Duration::from_secs(first)).await;
            if self.rng.u8(..8) > 0 {
                self.cause_incident();
            }
            pause(Duration::from_secs(gap - first)).await;
        }
        self.rehearsal.account().disarm();
        self.note("no more faults");
        let mut ended = Vec::new();
        while let Some(ends) = self.running.join_next().await {
            for end in ends.context("an execution panicked")? {
                let error = end.deployed.error().unwrap_or_default();
                let error = error.lines().next().unwrap_or_default().to_owned();
                let cleaned_up =
                    end.cleaned_up.as_ref().map(|stopped| format!(", cleaning up after {stopped},"));
                self.note(&format!(
                    "{} of {}{} ended: {} {error}",
                    end.deployed.id,
                    end.stack,
                    cleaned_up.unwrap_or_default(),
                    end.deployed.result()
                ));
                ended.push(end);
            }
        }
        Ok(ended)
    }

    async fn act(&mut self) -> Result<()> {
        let stack = if self.rng.u8(..4) == 0 { STACKS[1] } else { STACKS[0] };
        match self.rng.u8(..25) {
            0..=7 => self.upload(stack).await?,
            8 => self.upload_invalid_spec(stack).await?,
            9 => {
                let refresh = self.rng.bool();
                let names = with_data(stack);
                self.request(stack, json!({ "stack": stack, "refreshImage": refresh, "deleteData": names }));
            }
            10 => self
                .request(stack, json!({ "stack": stack, "action": "plan", "deleteData": with_data(stack) })),
            11 => self.request(
                stack,
                json!({ "stack": stack, "action": "destroy", "deleteData": with_data(stack) }),
            ),
            12 => self.delete(stack).await?,
            13..=15 => self.stop(),
            16 => {
                self.rehearsal.account().disarm();
                self.note("no more faults until the next one");
            }
            _ if self.with_faults => self.inject_fault(),
            _ => self.cause_incident(),
        }
        Ok(())
    }

    fn variant(&mut self) -> Variant {
        Variant::ALL[self.rng.usize(..Variant::ALL.len())]
    }

    async fn upload(&mut self, stack: &'static str) -> Result<()> {
        let variant = self.variant();
        self.note(&format!("{stack}: upload of {variant:?}"));
        let (key, names) = (spec_key(stack), with_data(stack));
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let event = self.rehearsal.upload_agreeing(&key, variant.text(stack).as_bytes(), &names).await?;
        if self.rehearsal.starts(&event) == 0 {
            self.note("the bucket of the new installation does not send events yet");
            return Ok(());
        }
        if self.rng.u8(..6) == 0 {
            // EventBridge delivers at least once, at any time, in any order.
            let delay = self.rng.u64(..600);
            self.start(stack, event.clone(), delay);
        }
        let delay = if self.rng.u8(..4) == 0 { self.rng.u64(..180) } else { 0 };
        self.start(stack, event, delay);
        Ok(())
    }

    async fn upload_invalid_spec(&mut self, stack: &'static str) -> Result<()> {
        self.note(&format!("{stack}: upload of an invalid spec"));
        let text = Variant::Worker.text(stack).replace("zones: 2", "zones: 9");
        let event = self.rehearsal.upload(&spec_key(stack), text.as_bytes()).await?;
        self.start(stack, event, 0);
        Ok(())
    }

    async fn delete(&mut self, stack: &'static str) -> Result<()> {
        self.note(&format!("{stack}: deletion of the spec"));
        let event = self.rehearsal.delete(&spec_key(stack)).await?;
        self.start(stack, event, 0);
        Ok(())
    }

    fn request(&mut self, stack: &'static str, input: Value) {
        self.note(&format!("{stack}: manual request {input}"));
        self.start(stack, input, 0);
    }

    fn start(&mut self, stack: &'static str, input: Value, delay: u64) {
        let rng = fastrand::Rng::with_seed(self.rng.u64(..));
        let start = Start { stack, input, delay, cleans_up: None, rng };
        self.running.spawn_local(Rc::clone(&self.shared).run(start));
    }

    /// Stops one of the running executions, if there are any. The first one holds the lock.
    fn stop(&mut self) {
        let aborts = self.shared.aborts.borrow().clone();
        let place = if aborts.is_empty() { 0 } else { self.rng.usize(..aborts.len()) };
        if let Some((number, abort)) = aborts.iter().nth(place) {
            if self.rng.u8(..3) == 0 {
                self.note(&format!("Step Functions fails the execution that was started as number {number}"));
                abort.fail("States.Runtime", "by the chaos test");
            } else {
                self.note(&format!("stop of the execution that was started as number {number}"));
                abort.stop("Stopped", "by the chaos test");
            }
        }
    }

    /// Lets AWS or a person change one of the resources of a stack: the first drawn incident that applies.
    fn cause_incident(&mut self) {
        let mut all: Vec<(&'static Incident, &'static str)> =
            incidents().flat_map(|incident| STACKS.map(|stack| (incident, stack))).collect();
        self.rng.shuffle(&mut all);
        for (incident, stack) in all {
            let changed = self.rehearsal.account().cause(incident, stack);
            if !changed.is_empty() {
                self.note(&format!("{stack}: {}: {}", incident.what, changed.join(", ")));
                self.incidents.push(Caused { name: incident.name, stack, changed });
                return;
            }
        }
    }

    fn inject_fault(&mut self) {
        let fault = faults::draw(&mut self.rng);
        self.note(&format!("fault: {fault:?}"));
        self.rehearsal.account().arm(fault);
    }
}

/// The incidents that a test draws from. After some of them, only a person can continue.
pub fn incidents() -> impl Iterator<Item = &'static Incident> {
    Incident::all().chain(Incident::severe())
}

#[expect(clippy::disallowed_methods, reason = "the chaos test waits; no function does")]
pub(super) async fn pause(duration: Duration) {
    tokio::time::sleep(duration).await;
}
