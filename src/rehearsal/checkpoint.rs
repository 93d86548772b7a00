//! Going on from one place in many ways: a rehearsal as it stood between two deployments, or as one came to a step.
//!
//! What follows from a checkpoint is, call by call, what would have followed without it (`tests/matrix` compares). It
//! spares the fault matrix to repeat, for each fault, all that comes before it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;
use stackdrop_figures::LatencyModel;
use stackdrop_functions::Aws;
use stackdrop_simulator::{Account, Snapshot};
use stackdrop_statemachine::{Abort, Arrival, Machine, Options, StepEvent, Watch};

use super::driver::{Invocation, Invocations};
use super::{Deployed, Rehearsal, Underway, sdk};
use crate::installation::Installation;

/// A rehearsal as it stood at one moment.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    account: Snapshot,
    installation: Arc<Installation>,
    machine: Arc<Machine>,
    model: Arc<LatencyModel>,
    invocations: Vec<Invocation>,
    seed: u64,
    /// Where the generator of the SDK's jitter stood, a thread's own.
    jitter: u64,
    started: usize,
    calls: usize,
    midway: Option<(Underway, Arrival)>,
}

impl Checkpoint {
    /// The step that the deployment had come to; `None` between two deployments.
    #[must_use]
    pub fn step(&self) -> Option<&str> {
        self.midway.as_ref().map(|(_, arrival)| arrival.state.as_str())
    }

    /// How many calls had been made in the account.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.calls
    }
}

impl Rehearsal {
    /// The rehearsal as it stands, while no deployment is under way.
    #[must_use]
    pub fn checkpoint(&self) -> Checkpoint {
        Checkpoint {
            account: self.account.snapshot(),
            installation: Arc::clone(&self.installation),
            machine: Arc::clone(&self.machine),
            model: Arc::clone(&self.model),
            invocations: self.invocations(),
            seed: self.seed,
            jitter: fastrand::get_seed(),
            started: *self.started.lock().unwrap_or_else(PoisonError::into_inner),
            calls: self.account.calls(),
            midway: None,
        }
    }

    /// Runs one execution as [`Rehearsal::run`] does, and gives a checkpoint for each step that it came to.
    pub async fn run_with_checkpoints(&self, input: Value) -> (Deployed, Vec<Checkpoint>) {
        let underway = self.begin(self.next_id(), input);
        let began = self.account.clock().elapsed();
        let taken = Taken { rehearsal: self, checkpoints: Mutex::default() };
        let options = Options { seed: self.seed, abort: Abort::default() };
        let functions = self.functions(&underway.execution);
        let outcome = self.machine.run(&underway.execution, &functions, &taken, &options).await;
        let mut arrivals: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
        for event in outcome.history.iter().rev() {
            if let (Some(state), Some(input)) = (&event.state, event.detail.input()) {
                arrivals.entry(state).or_default().push(input);
            }
        }
        let mut checkpoints = Vec::new();
        for (state, elapsed, mut checkpoint) in taken.checkpoints.into_inner().unwrap_or_default() {
            if let Some(input) = arrivals.get_mut(state.as_str()).and_then(Vec::pop) {
                let arrival = Arrival { state, input: input.clone(), elapsed: elapsed.saturating_sub(began) };
                checkpoint.midway = Some((underway.clone(), arrival));
                checkpoints.push(checkpoint);
            }
        }
        (self.end(&underway, outcome), checkpoints)
    }

    /// A rehearsal that goes on from a checkpoint, on the clock of the runtime that this is called in.
    #[must_use]
    pub fn resume(from: &Checkpoint) -> Self {
        let account = Account::resume(&from.account);
        let settings = from.installation.settings.clone();
        let sdk = sdk(&account, &settings.region);
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
        }
    }

    /// Goes on with the deployment that was under way; `None` where none was.
    pub async fn go_on(&self, from: &Checkpoint) -> Option<Deployed> {
        let (underway, arrival) = from.midway.as_ref()?;
        let mine = format!("{}/", underway.execution.name);
        let invoked = from.invocations.iter().filter_map(|run| run.caller.strip_prefix(&mine));
        let warm = invoked.filter_map(|run| run.split('/').next()).map(str::to_owned);
        let functions = self.functions(&underway.execution).warmed(warm);
        let options = Options { seed: self.seed, abort: Abort::default() };
        let execution = &underway.execution;
        let outcome = self.machine.resume(execution, arrival, &functions, &(), &options).await;
        Some(self.end(underway, outcome))
    }
}

/// Takes a checkpoint at each step that no other is around.
struct Taken<'r> {
    rehearsal: &'r Rehearsal,
    checkpoints: Mutex<Vec<(String, std::time::Duration, Checkpoint)>>,
}

impl Watch for Taken<'_> {
    fn entered(&self, step: &StepEvent<'_>) {
        if step.parent.is_none() {
            let now = self.rehearsal.account.clock().elapsed();
            let checkpoint = (step.name.to_owned(), now, self.rehearsal.checkpoint());
            self.checkpoints.lock().unwrap_or_else(PoisonError::into_inner).push(checkpoint);
        }
    }
}
