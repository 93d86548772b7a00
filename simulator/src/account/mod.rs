//! One simulated AWS account in one region.

mod call;
mod executions;
mod observe;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use stackdrop_figures::LatencyModel;
use tokio::sync::Notify;

use crate::call_log::Call;
use crate::clock::Clock;
use crate::decisions::Decisions;
use crate::exchange::Exchanges;
use crate::faults::{Fault, Faults, Strike};
use crate::incident::Incident;
use crate::inventory::Item;
use crate::latency::Latency;
use crate::params::lock;
use crate::rates::Rates;
use crate::services;
use crate::world::World;

pub(crate) use call::{Delivery, LARGEST_BODY};

/// How to open an account.
#[derive(Debug, Clone)]
pub struct Options {
    /// The account ID.
    pub account: String,
    /// The region.
    pub region: String,
    /// The seed for AWS's durations, drawn between p10 and p90; `None` takes the medians.
    pub seed: Option<u64>,
    /// The factor for every duration: 1.0 is AWS's pace, 0.01 is a hundred times faster (for tests in real time).
    pub scale: f64,
    /// Whether AWS's request rates apply.
    pub rates: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            account: "123456789012".into(),
            region: "eu-central-1".into(),
            seed: None,
            scale: 1.0,
            rates: true,
        }
    }
}

/// Options with which no account can be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidOptions(String);

/// A simulated AWS account. A clone is the same account.
#[derive(Debug, Clone)]
pub struct Account {
    clock: Clock,
    inner: Arc<Mutex<Inner>>,
    /// Notified when a task that waits for its token was answered.
    task_answered: Arc<Notify>,
    /// Notified when there may be a new event, or another next schedule.
    event_occurred: Arc<Notify>,
}

#[derive(Debug, Clone)]
struct Inner {
    world: World,
    rates: Rates,
    faults: Faults,
    call_log: Vec<Call>,
    watched: BTreeSet<String>,
    occurrences: BTreeMap<String, usize>,
    decisions: Decisions,
    exchanges: Exchanges,
    /// The number of incidents that changed something.
    incidents: usize,
}

/// The state of an account at one moment. Accounts that resume from it are independent of each other.
#[derive(Debug, Clone)]
pub struct Snapshot {
    inner: Inner,
    elapsed: Duration,
}

impl Account {
    /// Opens an empty account on tokio's clock.
    ///
    /// # Errors
    /// If the scale is not a positive number, or the account ID does not have twelve digits.
    pub fn open(options: &Options) -> Result<Self, InvalidOptions> {
        if !(options.scale.is_finite() && options.scale > 0.0) {
            return Err(InvalidOptions(format!(
                "invalid scale {}: expected a positive number",
                options.scale
            )));
        }
        if options.account.len() != 12 || !options.account.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(InvalidOptions(format!(
                "invalid account ID {:?}: expected twelve digits",
                options.account
            )));
        }
        let latency = Latency::new(LatencyModel::built_in(), options.seed, options.scale);
        let inner = Inner {
            world: World::new(&options.account, &options.region, latency),
            rates: if options.rates { Rates::default() } else { Rates::off() },
            faults: Faults::default(),
            call_log: Vec::new(),
            watched: BTreeSet::new(),
            occurrences: BTreeMap::new(),
            decisions: Decisions::default(),
            exchanges: Exchanges::default(),
            incidents: 0,
        };
        Ok(Self {
            clock: Clock::start(),
            inner: Arc::new(Mutex::new(inner)),
            task_answered: Arc::default(),
            event_occurred: Arc::default(),
        })
    }

    /// The account's current state. Calls that have not taken effect yet are not part of it.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot { inner: lock(&self.inner).clone(), elapsed: self.clock.elapsed() }
    }

    /// Opens an account that continues from a snapshot, on the clock of the current runtime.
    #[must_use]
    pub fn resume(snapshot: &Snapshot) -> Self {
        let inner = Arc::new(Mutex::new(snapshot.inner.clone()));
        Self {
            clock: Clock::resume(snapshot.elapsed),
            inner,
            task_answered: Arc::default(),
            event_occurred: Arc::default(),
        }
    }

    /// The account's clock.
    #[must_use]
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// Every call so far, in the order in which the calls took effect.
    #[must_use]
    pub fn call_log(&self) -> Vec<Call> {
        lock(&self.inner).call_log.clone()
    }

    /// The calls from the given number on.
    #[must_use]
    pub fn call_log_from(&self, number: usize) -> Vec<Call> {
        lock(&self.inner).call_log.get(number..).unwrap_or_default().to_vec()
    }

    /// The number of calls so far, which is the number of the next call.
    #[must_use]
    pub fn calls(&self) -> usize {
        lock(&self.inner).call_log.len()
    }

    /// Has [`Call::named`] list which of these ids a call has among its parameters, from now on.
    pub fn watch(&self, ids: impl IntoIterator<Item = String>) {
        lock(&self.inner).watched = ids.into_iter().collect();
    }

    /// The resources that exist now, without those that are deleted, terminated or inactive.
    #[must_use]
    pub fn inventory(&self) -> Vec<Item> {
        self.with(|world| services::inventory(world))
    }

    /// Arms a fault.
    pub fn arm(&self, fault: Fault) {
        lock(&self.inner).faults.arm(fault);
    }

    /// Lets an incident happen to a stack's resources now. Returns the IDs of the resources that it changed; none if the stack
    /// has no such resource.
    #[must_use = "an incident without a resource changes nothing"]
    pub fn cause(&self, incident: &Incident, stack: &str) -> Vec<String> {
        let changed = self.with(|world| (incident.cause)(world, stack));
        lock(&self.inner).incidents += usize::from(!changed.is_empty());
        self.event_occurred.notify_waiters();
        changed
    }

    /// The number of incidents so far that changed something.
    #[must_use]
    pub fn incidents(&self) -> usize {
        lock(&self.inner).incidents
    }

    /// Disarms all faults.
    pub fn disarm(&self) {
        lock(&self.inner).faults.disarm();
    }

    /// The faults that have struck so far.
    #[must_use]
    pub fn strikes(&self) -> Vec<Strike> {
        lock(&self.inner).faults.strikes.clone()
    }

    /// Runs `work` on the account's current state, without a call.
    pub(crate) fn with<T>(&self, work: impl FnOnce(&mut World) -> T) -> T {
        let mut inner = lock(&self.inner);
        let now = self.clock.elapsed();
        inner.world.advance(now);
        work(&mut inner.world)
    }
}
