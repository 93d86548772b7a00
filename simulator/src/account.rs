//! One simulated AWS account in one region: the one way in for every call.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use stackdrop_figures::LatencyModel;

use crate::authorization::{Asks, Principal};
use crate::clock::Clock;
use crate::decisions::{Decisions, denied, refusal};
use crate::faults::{Fault, FaultKind, Faults, Strike};
use crate::inventory::Item;
use crate::latency::Latency;
use crate::ledger::{Call, Ending, writes};
use crate::params::{Params, Refusal, lock};
use crate::protocol::{Protocol, Reply, Request, decode, encode, encode_refusal};
use crate::rates::{Rates, throttled};
use crate::seam::Caller;
use crate::services::{self, Service};
use crate::world::World;

/// How an account is opened.
#[derive(Debug, Clone)]
pub struct Options {
    /// The account's number.
    pub account: String,
    /// The region.
    pub region: String,
    /// Draws AWS's durations between p10 and p90 from this seed; `None` takes the medians.
    pub seed: Option<u64>,
    /// Multiplies every duration: 1.0 is AWS's pace, 0.01 a hundred times faster (for tests in real time).
    pub scale: f64,
    /// Whether calls are counted against AWS's request rates.
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

/// Options that no account can be opened with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadOptions(String);

/// A simulated AWS account. Clones are the same account.
#[derive(Debug, Clone)]
pub struct Account {
    clock: Clock,
    pub(crate) inner: Arc<Mutex<Inner>>,
    /// Wakes tasks that wait for an answer by token: one was sent.
    answered: Arc<tokio::sync::Notify>,
    /// Wakes who plays the installation: something happened that it reacts to, or a schedule is another.
    stirred: Arc<tokio::sync::Notify>,
}

#[derive(Debug, Clone)]
pub(crate) struct Inner {
    pub(crate) world: World,
    rates: Rates,
    faults: Faults,
    ledger: Vec<Call>,
    watched: BTreeSet<String>,
    occurrences: BTreeMap<String, usize>,
    pub(crate) decisions: Decisions,
}

/// An account as it stood at one moment: whatever is opened from it goes on from there, apart from all others.
#[derive(Debug, Clone)]
pub struct Snapshot {
    inner: Inner,
    elapsed: Duration,
}

/// What becomes of a call, as its caller sees it.
#[derive(Debug)]
pub(crate) enum Delivery {
    Answered(Response<Bytes>),
    /// The connection was lost: the caller cannot know whether the call took effect.
    Lost,
    /// No answer ever comes.
    Never,
}

impl Account {
    /// Opens an empty account, as AWS hands it out, on tokio's clock.
    ///
    /// # Errors
    /// When the scale is no factor, or the account's number none of AWS's.
    pub fn open(options: &Options) -> Result<Self, BadOptions> {
        if !(options.scale.is_finite() && options.scale > 0.0) {
            return Err(BadOptions(format!("durations can't be multiplied by {}", options.scale)));
        }
        if options.account.len() != 12 || !options.account.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(BadOptions(format!(
                "an account's number has twelve digits, not {:?}",
                options.account
            )));
        }
        let latency = Latency::new(LatencyModel::built_in(), options.seed, options.scale);
        let inner = Inner {
            world: World::new(&options.account, &options.region, latency),
            rates: if options.rates { Rates::default() } else { Rates::off() },
            faults: Faults::default(),
            ledger: Vec::new(),
            watched: BTreeSet::new(),
            occurrences: BTreeMap::new(),
            decisions: Decisions::default(),
        };
        Ok(Self {
            clock: Clock::start(),
            inner: Arc::new(Mutex::new(inner)),
            answered: Arc::default(),
            stirred: Arc::default(),
        })
    }

    /// The account as it stands now. What was called and has not taken effect yet is not in it.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot { inner: lock(&self.inner).clone(), elapsed: self.clock.elapsed() }
    }

    /// Opens an account that goes on from a snapshot, on the clock of the runtime that this is called in.
    #[must_use]
    pub fn resume(snapshot: &Snapshot) -> Self {
        let inner = Arc::new(Mutex::new(snapshot.inner.clone()));
        Self {
            clock: Clock::resume(snapshot.elapsed),
            inner,
            answered: Arc::default(),
            stirred: Arc::default(),
        }
    }

    /// The account's clock.
    #[must_use]
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// Every call so far, in the order in which they took effect.
    #[must_use]
    pub fn ledger(&self) -> Vec<Call> {
        lock(&self.inner).ledger.clone()
    }

    /// The calls from this number on.
    #[must_use]
    pub fn ledger_from(&self, number: usize) -> Vec<Call> {
        lock(&self.inner).ledger.get(number..).unwrap_or_default().to_vec()
    }

    /// How many calls there were so far: the next one's number.
    #[must_use]
    pub fn calls(&self) -> usize {
        lock(&self.inner).ledger.len()
    }

    /// From now on, the ledger tells of each call which of the things with these ids it names.
    pub fn watch(&self, ids: impl IntoIterator<Item = String>) {
        lock(&self.inner).watched = ids.into_iter().collect();
    }

    /// What exists now, nothing that is deleted, terminated or inactive.
    #[must_use]
    pub fn inventory(&self) -> Vec<Item> {
        self.with(|world| world.inventory())
    }

    /// Arms a fault.
    pub fn arm(&self, fault: Fault) {
        lock(&self.inner).faults.arm(fault);
    }

    /// Takes all armed faults away.
    pub fn disarm(&self) {
        lock(&self.inner).faults.disarm();
    }

    /// The faults that struck so far.
    #[must_use]
    pub fn strikes(&self) -> Vec<Strike> {
        lock(&self.inner).faults.strikes.clone()
    }

    /// Works on the world as it is now: how an installation is seeded, and how a test looks at what stands.
    pub(crate) fn with<T>(&self, work: impl FnOnce(&mut World) -> T) -> T {
        let mut inner = lock(&self.inner);
        let now = self.clock.elapsed();
        inner.world.advance(now);
        work(&mut inner.world)
    }

    /// Wakes at the next answer that is sent to a task, counted from now.
    pub(crate) fn answer_sent(&self) -> impl Future<Output = ()> + '_ {
        self.answered.notified()
    }

    /// Wakes when there may be more [`happenings`](Account::happenings), or another next schedule, counted from when
    /// this is enabled or first polled.
    pub fn stirred(&self) -> tokio::sync::futures::Notified<'_> {
        self.stirred.notified()
    }

    /// Answers one call: see the crate's documentation for the way it goes.
    pub(crate) async fn call(&self, caller: &Caller, request: Request) -> Delivery {
        let delivery = self.answer(caller, &request).await;
        match delivery {
            // HTTP: an answer to HEAD has no body, so that an error's code is not seen either.
            Delivery::Answered(response) if request.method == http::Method::HEAD => {
                Delivery::Answered(response.map(|_| Bytes::new()))
            }
            delivery => delivery,
        }
    }

    async fn answer(&self, caller: &Caller, request: &Request) -> Delivery {
        let made_at = self.clock.elapsed();
        let service = match services::find(request) {
            Ok(service) => service,
            Err(refusal) => return Delivery::Answered(unroutable(&refusal)),
        };
        let decoded = match service.route {
            _ if request.body.len() > largest_body(service) => Err(too_large(service)),
            Some(route) => route(request),
            None => decode(service.protocol, request),
        };
        let (operation, params) = match decoded {
            Ok(decoded) => decoded,
            Err(refusal) => {
                return Delivery::Answered(encode_refusal(service.protocol, "undecoded", &refusal));
            }
        };
        let latency = lock(&self.inner).world.latency.call(service.name, &operation);
        pause(latency).await;
        let delivery =
            lock(&self.inner).take(service, &operation, &params, caller, made_at, self.clock.elapsed());
        if operation.starts_with("SendTask") {
            self.answered.notify_waiters();
        }
        if matches!(service.name, "s3" | "scheduler" | "states") && writes(&operation) {
            self.stirred.notify_waiters();
        }
        if matches!(delivery, Delivery::Never) {
            std::future::pending::<()>().await;
        }
        delivery
    }
}

#[expect(clippy::disallowed_methods, reason = "the simulator is what makes time pass; nothing else waits")]
async fn pause(latency: Duration) {
    tokio::time::sleep(latency).await;
}

/// The most bytes that a service takes in one request.
fn largest_body(service: &Service) -> usize {
    if service.name == "s3" { LARGEST_BODY } else { 1 << 20 }
}

/// The most bytes that any request may have: what S3 would still take (5 GB) has no place in memory.
pub(crate) const LARGEST_BODY: usize = 64 << 20;

/// The refusal of a request whose body is too large.
fn too_large(service: &Service) -> Refusal {
    match service.protocol {
        Protocol::RestXml(_) => {
            Refusal::new("EntityTooLarge", "Your proposed upload exceeds the maximum allowed size")
        }
        _ => Refusal::new("RequestEntityTooLarge", "The request body is too large").status(413),
    }
}

fn unroutable(refusal: &Refusal) -> Response<Bytes> {
    encode_refusal(Protocol::RestJson, "unrouted", refusal)
}

impl Inner {
    /// The moment in which a call takes effect, or does not.
    fn take(
        &mut self,
        service: &'static Service,
        operation: &str,
        params: &Params,
        caller: &Caller,
        at: Duration,
        now: Duration,
    ) -> Delivery {
        self.world.advance(now);
        let number = self.ledger.len();
        let occurrence = self.occurrences.entry(format!("{}:{operation}", service.name)).or_default();
        *occurrence += 1;
        let occurrence = *occurrence;
        let fault = self.faults.strike(service.name, operation, caller.name());
        if let Some(kind) = &fault {
            self.faults.strikes.push(Strike { call: number, at: now, kind: kind.clone() });
        }
        let answer = match fault.as_ref().and_then(|kind| refused_by(kind, service, operation)) {
            _ if fault == Some(FaultKind::LostBefore) => None,
            Some(refusal) => Some(Err(refusal)),
            None => Some(self.act(service, operation, params, caller, fault.as_ref(), now)),
        };
        let (ending, delivery) = outcome(service, operation, number, fault.as_ref(), answer);
        if fault == Some(FaultKind::Killed) {
            caller.kill();
        }
        self.ledger.push(Call {
            number,
            at,
            caller: caller.name().into(),
            service: service.name.into(),
            operation: operation.into(),
            occurrence,
            writes: writes(operation),
            named: self.watched.iter().filter(|id| params.holds(id)).cloned().collect(),
            ending,
        });
        delivery
    }

    fn act(
        &mut self,
        service: &Service,
        operation: &str,
        params: &Params,
        caller: &Caller,
        fault: Option<&FaultKind>,
        now: Duration,
    ) -> Result<Reply, Refusal> {
        self.rates.take(service.name, operation, now)?;
        self.authorize(service, operation, params, caller)?;
        self.world.doomed = fault == Some(&FaultKind::ResourceFails);
        let reply = (service.act)(&mut self.world, operation, params)?;
        if params.was_checked() {
            Ok(reply)
        } else {
            Err(Refusal::new(
                "InternalFailure",
                format!("the simulator's {}:{operation} does not check its parameters", service.name),
            ))
        }
    }
}

impl Inner {
    /// Has IAM decide on everything that a call asks for.
    fn authorize(
        &mut self,
        service: &Service,
        operation: &str,
        params: &Params,
        caller: &Caller,
    ) -> Result<(), Refusal> {
        let Self { world, decisions, .. } = self;
        if *caller.principal() == Principal::Owner {
            return Ok(());
        }
        let mut asks = Asks::new(world, service.name, operation);
        (service.access)(world, operation, &params.peek(), &mut asks);
        for request in asks.finish(caller.principal())? {
            decisions
                .take(world, caller.name(), caller.principal(), request)?
                .map_err(|denial| refusal(service.name, &denial))?;
        }
        Ok(())
    }
}

/// The refusal that a fault makes of a call, for the faults that do.
fn refused_by(kind: &FaultKind, service: &Service, operation: &str) -> Option<Refusal> {
    match kind {
        FaultKind::Throttled => Some(throttled(service.name)),
        FaultKind::ServerError => {
            Some(Refusal::new("InternalFailure", "An internal error has occurred").status(500))
        }
        FaultKind::AccessDenied => Some(denied(
            service.name,
            &format!(
                "User is not authorized to perform: {}:{operation} because no identity-based policy allows the action",
                service.name
            ),
        )),
        FaultKind::Refused { code, message } => Some(Refusal::new(code, message.clone())),
        FaultKind::ResourceFails if !can_fail(service.name, operation) => {
            Some(Refusal::new("InternalFailure", "An internal error has occurred").status(400))
        }
        FaultKind::LostBefore
        | FaultKind::LostAfter
        | FaultKind::Killed
        | FaultKind::Hangs
        | FaultKind::ResourceFails => None,
    }
}

/// Whether what an operation makes has a `failed` state of its own.
fn can_fail(service: &str, operation: &str) -> bool {
    matches!(
        (service, operation),
        ("ec2", "CreateNatGateway" | "CreateVpcEndpoint" | "RunInstances")
            | ("elasticloadbalancing", "CreateLoadBalancer")
            | ("rds", "CreateDBInstance")
            | ("ecs", "CreateService" | "UpdateService")
            | ("acm", "RequestCertificate")
    )
}

fn outcome(
    service: &Service,
    operation: &str,
    number: usize,
    fault: Option<&FaultKind>,
    answer: Option<Result<Reply, Refusal>>,
) -> (Ending, Delivery) {
    let request_id = format!("00000000-0000-4000-8000-{number:012x}");
    match (fault, answer) {
        (_, None) => (Ending::LostBefore, Delivery::Lost),
        (Some(FaultKind::LostAfter), Some(_)) => (Ending::LostAfter, Delivery::Lost),
        (Some(FaultKind::Killed | FaultKind::Hangs), Some(_)) => (Ending::NeverHeard, Delivery::Never),
        (_, Some(Ok(reply))) => {
            (Ending::Done, Delivery::Answered(encode(service.protocol, operation, &request_id, reply)))
        }
        (_, Some(Err(refusal))) => (
            Ending::Refused(refusal.code.clone()),
            Delivery::Answered(encode_refusal(service.protocol, &request_id, &refusal)),
        ),
    }
}
