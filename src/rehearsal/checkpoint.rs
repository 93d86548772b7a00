//! Checkpoints: the state of a rehearsal between two deployments, or when a deployment reached a step.
//!
//! A rehearsal that resumes from a checkpoint makes the same calls as one without checkpoints (`tests/matrix` compares
//! them). The fault matrix resumes from checkpoints, so it does not repeat what comes before each fault.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_config::retry::RetryConfig;
use serde_json::Value;
use stackdrop_figures::LatencyModel;
use stackdrop_functions::Aws;
use stackdrop_simulator::{Account, Snapshot};
use stackdrop_statemachine::{Abort, Arrival, Machine, Options, StepEvent, Watch};

use super::driver::{Invocation, Invocations};
use super::{Deployed, Rehearsal, Running};
use crate::installation::Installation;

/// The state of a rehearsal at one moment.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    account: Snapshot,
    installation: Arc<Installation>,
    machine: Arc<Machine>,
    model: Arc<LatencyModel>,
    invocations: Vec<Invocation>,
    seed: u64,
    reports_unplanned: bool,
    events_begin: Duration,
    /// The state of the generator of the SDK's jitter, which belongs to the thread.
    jitter: u64,
    started: usize,
    calls: usize,
    running: Option<(Running, Arrival)>,
}

impl Checkpoint {
    /// The step that the deployment had reached; `None` between two deployments.
    #[must_use]
    pub fn step(&self) -> Option<&str> {
        self.running.as_ref().map(|(_, arrival)| arrival.state.as_str())
    }

    /// The number of calls in the account so far.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.calls
    }
}

impl Rehearsal {
    /// The state of the rehearsal. No deployment may run at the same time.
    #[must_use]
    pub fn checkpoint(&self) -> Checkpoint {
        Checkpoint {
            account: self.account.snapshot(),
            installation: Arc::clone(&self.installation),
            machine: Arc::clone(&self.machine),
            model: Arc::clone(&self.model),
            invocations: self.invocations(),
            seed: self.seed,
            reports_unplanned: self.reports_unplanned,
            events_begin: self.events_begin,
            jitter: fastrand::get_seed(),
            started: *self.started.lock().unwrap_or_else(PoisonError::into_inner),
            calls: self.account.calls(),
            running: None,
        }
    }

    /// Runs one execution like [`Rehearsal::run`], and returns a checkpoint for each step that it reached.
    pub async fn run_with_checkpoints(&self, input: Value) -> (Deployed, Vec<Checkpoint>) {
        let running = self.begin(self.next_id(), input);
        let started_at = self.account.clock().elapsed();
        let watch = Recorder { rehearsal: self, checkpoints: Mutex::default() };
        let options = Options { seed: self.seed, abort: Abort::default() };
        let functions = self.functions(&running.execution);
        let outcome = self.machine.run(&running.execution, &functions, &watch, &options).await;
        let mut arrivals: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
        for event in outcome.history.iter().rev() {
            if let (Some(state), Some(input)) = (&event.state, event.detail.input()) {
                arrivals.entry(state).or_default().push(input);
            }
        }
        let mut checkpoints = Vec::new();
        for (state, elapsed, mut checkpoint) in watch.checkpoints.into_inner().unwrap_or_default() {
            if let Some(input) = arrivals.get_mut(state.as_str()).and_then(Vec::pop) {
                let arrival =
                    Arrival { state, input: input.clone(), elapsed: elapsed.saturating_sub(started_at) };
                checkpoint.running = Some((running.clone(), arrival));
                checkpoints.push(checkpoint);
            }
        }
        (self.end(&running, outcome), checkpoints)
    }

    /// A rehearsal that resumes from a checkpoint, on the clock of the current runtime.
    #[must_use]
    pub fn resume(from: &Checkpoint) -> Self {
        let account = Account::resume(&from.account);
        let settings = from.installation.settings.clone();
        let sdk = account.sdk_config(&settings.region, RetryConfig::standard());
        fastrand::seed(from.jitter);
        Self {
            aws: Arc::new(Aws::new(sdk.clone(), settings)),
            installation: Arc::clone(&from.installation),
            lost: Arc::default(),
            account,
            sdk,
            invocations: Invocations::resume(from.invocations.clone()),
            machine: Arc::clone(&from.machine),
            model: Arc::clone(&from.model),
            seed: from.seed,
            started: Mutex::new(from.started),
            reports_unplanned: from.reports_unplanned,
            events_begin: from.events_begin,
        }
    }

    /// Resumes the deployment that was running; `None` if none was.
    pub async fn go_on(&self, from: &Checkpoint) -> Option<Deployed> {
        let (running, arrival) = from.running.as_ref()?;
        let mine = format!("{}/", running.execution.name);
        let invoked = from.invocations.iter().filter_map(|run| run.caller.strip_prefix(&mine));
        let warm = invoked.filter_map(|run| run.split('/').next()).map(str::to_owned);
        let functions = self.functions(&running.execution).warmed(warm);
        let options = Options { seed: self.seed, abort: Abort::default() };
        let execution = &running.execution;
        let outcome = self.machine.resume(execution, arrival, &functions, &(), &options).await;
        Some(self.end(running, outcome))
    }
}

/// Takes a checkpoint at each step that is not inside another one.
struct Recorder<'r> {
    rehearsal: &'r Rehearsal,
    checkpoints: Mutex<Vec<(String, std::time::Duration, Checkpoint)>>,
}

impl Watch for Recorder<'_> {
    fn entered(&self, step: &StepEvent<'_>) {
        if step.parent.is_none() {
            let now = self.rehearsal.account.clock().elapsed();
            let checkpoint = (step.name.to_owned(), now, self.rehearsal.checkpoint());
            self.checkpoints.lock().unwrap_or_else(PoisonError::into_inner).push(checkpoint);
        }
    }
}
