//! How a call goes through the account: decoding, latency, rate limits, IAM, the service, the response.

use std::time::Duration;

use bytes::Bytes;
use http::Response;

use super::{Account, Inner};
use crate::authorization::{AccessRequests, Principal};
use crate::call_log::{Call, Ending, writes};
use crate::caller::Caller;
use crate::faults::{FaultKind, Strike};
use crate::params::{Params, Refusal, lock};
use crate::protocol::{Protocol, Reply, Request, decode, encode, encode_refusal};
use crate::services::{self, LARGEST_OBJECT, Service};

/// The largest body of any request in bytes.
pub(crate) const LARGEST_BODY: usize = LARGEST_OBJECT;

/// The result of a call, as its caller sees it.
#[derive(Debug)]
pub(crate) enum Delivery {
    Answered(Response<Bytes>),
    /// The connection was lost: the caller cannot know whether the call took effect.
    Lost,
    /// No response ever arrives.
    Never,
}

/// A decoded call.
struct Decoded<'a> {
    service: &'static Service,
    operation: &'a str,
    params: &'a Params,
    request: &'a Request,
    caller: &'a Caller,
    made_at: Duration,
}

impl Account {
    /// Carries out one call: see the crate's documentation for the steps.
    pub(crate) async fn call(&self, caller: &Caller, request: Request) -> Delivery {
        let delivery = self.answer(caller, &request).await;
        match delivery {
            // HTTP: a response to HEAD has no body, so the caller does not see an error's code either.
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
            Err(refusal) => {
                return Delivery::Answered(encode_refusal(Protocol::RestJson, "unrouted", &refusal));
            }
        };
        let (operation, params) = match read(service, request) {
            Ok(decoded) => decoded,
            Err(refusal) => {
                return Delivery::Answered(encode_refusal(service.protocol, "undecoded", &refusal));
            }
        };
        let latency = lock(&self.inner).world.latency.call(service.timing(&operation));
        pause(latency).await;
        let call = Decoded { service, operation: &operation, params: &params, request, caller, made_at };
        let delivery = lock(&self.inner).take(&call, self.clock.elapsed());
        self.notify(service, &operation);
        if matches!(delivery, Delivery::Never) {
            std::future::pending::<()>().await;
        }
        delivery
    }

    fn notify(&self, service: &Service, operation: &str) {
        if service.answers_tasks.contains(&operation) {
            self.task_answered.notify_waiters();
        }
        if service.causes_events && writes(operation) {
            self.event_occurred.notify_waiters();
        }
    }
}

/// Reads the operation and the parameters of a request.
fn read(service: &Service, request: &Request) -> Result<(String, Params), Refusal> {
    match service.route {
        _ if request.body.len() > service.largest_body => Err(too_large(service)),
        Some(route) => route(request),
        None => decode(service.protocol, request),
    }
}

#[expect(clippy::disallowed_methods, reason = "the simulator makes time pass; nothing else waits")]
async fn pause(latency: Duration) {
    tokio::time::sleep(latency).await;
}

/// The refusal of a request whose body is too large.
fn too_large(service: &Service) -> Refusal {
    match service.protocol {
        Protocol::RestXml(_) => {
            Refusal::new("EntityTooLarge", "Your proposed upload exceeds the maximum allowed size")
        }
        _ => Refusal::new("RequestEntityTooLarge", "The request body is too large").status(413),
    }
}

impl Inner {
    /// The moment at which a call takes effect, unless a fault prevents it.
    fn take(&mut self, call: &Decoded<'_>, now: Duration) -> Delivery {
        self.world.advance(now);
        let Decoded { service, operation, params, caller, made_at, .. } = *call;
        let number = self.call_log.len();
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
            None => Some(self.act(call, fault.as_ref(), now)),
        };
        let (ending, delivery) = outcome(service, operation, number, fault.as_ref(), answer);
        if let (Delivery::Answered(response), None | Some(FaultKind::Throttled | FaultKind::AccessDenied)) =
            (&delivery, &fault)
        {
            self.exchanges.take(service.name, operation, call.request, response);
        }
        if fault == Some(FaultKind::Killed) {
            caller.kill();
        }
        self.call_log.push(Call {
            number,
            at: made_at,
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
        call: &Decoded<'_>,
        fault: Option<&FaultKind>,
        now: Duration,
    ) -> Result<Reply, Refusal> {
        let Decoded { service, operation, params, .. } = *call;
        if !self.rates.take(service.name, (service.rate)(operation), now) {
            return Err(service.throttled());
        }
        self.authorize(call)?;
        self.world.fail_creation = fault == Some(&FaultKind::ResourceFails);
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

    /// Has IAM decide on every permission that a call needs.
    fn authorize(&mut self, call: &Decoded<'_>) -> Result<(), Refusal> {
        let Decoded { service, operation, params, caller, .. } = *call;
        let Self { world, decisions, .. } = self;
        if *caller.principal() == Principal::Owner {
            return Ok(());
        }
        let mut requests = AccessRequests::new(world, service.name, operation);
        (service.access)(world, operation, &params.peek(), &mut requests);
        for request in requests.finish(caller.principal())? {
            decisions
                .take(world, caller.name(), caller.principal(), request)?
                .map_err(|denial| service.refusal(&denial))?;
        }
        Ok(())
    }
}

/// The refusal that a fault causes, if it is one that refuses calls.
fn refused_by(kind: &FaultKind, service: &Service, operation: &str) -> Option<Refusal> {
    match kind {
        FaultKind::Throttled => Some(service.throttled()),
        FaultKind::ServerError => {
            Some(Refusal::new("InternalFailure", "An internal error has occurred").status(500))
        }
        FaultKind::AccessDenied => Some(service.denied(&format!(
            "User is not authorized to perform: {}:{operation} because no identity-based policy allows the action",
            service.name
        ))),
        FaultKind::Refused { code, message } => Some(Refusal::new(code, message.clone())),
        FaultKind::ResourceFails if !service.can_fail.contains(&operation) => {
            Some(Refusal::new("InternalFailure", "An internal error has occurred").status(400))
        }
        FaultKind::LostBefore
        | FaultKind::LostAfter
        | FaultKind::Killed
        | FaultKind::Hangs
        | FaultKind::ResourceFails => None,
    }
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
