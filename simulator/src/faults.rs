//! Faults on demand: what goes wrong, at which call.

use std::time::Duration;

use serde::Serialize;

/// What goes wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum FaultKind {
    /// The call is refused for its rate, with the service's own throttling code.
    Throttled,
    /// The service answers 500.
    ServerError,
    /// The connection is lost before the call takes effect.
    LostBefore,
    /// The connection is lost after the call took effect.
    LostAfter,
    /// The function is killed right after the call took effect.
    Killed,
    /// The call takes effect and its answer never comes, so that the function times out there.
    Hangs,
    /// The role may not make this call.
    AccessDenied,
    /// The call is refused with this error code and message, and changes nothing.
    Refused {
        /// AWS's error code.
        code: String,
        /// AWS's message.
        message: String,
    },
    /// The call is accepted, but what it makes ends in its own `failed` state instead of an available one.
    /// For a resource that has no such state the call is refused with `InternalFailure`.
    ResourceFails,
}

/// At which calls of an operation a fault strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum When {
    /// The n-th call only, from 1.
    Only(usize),
    /// From the n-th call on, from 1.
    From(usize),
    /// This many calls, from the n-th on (for a throttle that outlives the SDK's own retries).
    Span(usize, usize),
}

/// A fault: which calls it strikes, and what it does to them.
#[derive(Debug, Clone, Serialize)]
pub struct Fault {
    /// The service's signing name.
    pub service: String,
    /// The operation; `*` for the first that creates anything.
    pub operation: String,
    /// Only calls made by a caller whose name ends with this, such as `/network/ensure`. Empty: any.
    pub caller: String,
    /// Which of its calls (counted among those that match).
    pub when: When,
    /// What happens.
    pub kind: FaultKind,
}

impl Fault {
    /// A fault at calls of `service:operation`, whoever makes them.
    #[must_use]
    pub fn at(service: &str, operation: &str, when: When, kind: FaultKind) -> Self {
        Self { service: service.into(), operation: operation.into(), caller: String::new(), when, kind }
    }

    /// The same fault, only for callers whose name ends with `caller`.
    #[must_use]
    pub fn during(mut self, caller: &str) -> Self {
        self.caller = caller.into();
        self
    }
}

/// A fault that struck.
#[derive(Debug, Clone, Serialize)]
pub struct Strike {
    /// The struck call's number in the ledger.
    pub call: usize,
    /// When, since the account was opened.
    pub at: Duration,
    /// What was done.
    pub kind: FaultKind,
}

/// The faults of one account.
#[derive(Debug, Clone, Default)]
pub(crate) struct Faults {
    armed: Vec<(Fault, usize)>,
    pub(crate) strikes: Vec<Strike>,
}

impl Faults {
    pub(crate) fn arm(&mut self, fault: Fault) {
        self.armed.push((fault, 0));
    }

    pub(crate) fn disarm(&mut self) {
        self.armed.clear();
    }

    /// The fault that strikes this call, if any. Counts the call for each fault that it matches.
    pub(crate) fn strike(&mut self, service: &str, operation: &str, caller: &str) -> Option<FaultKind> {
        let mut struck = None;
        for (fault, seen) in &mut self.armed {
            let service_matches = fault.service == "*" || fault.service == service;
            let operation_matches =
                fault.operation == operation || (fault.operation == "*" && creates(operation));
            if !(service_matches && operation_matches && caller.ends_with(&fault.caller)) {
                continue;
            }
            *seen += 1;
            let strikes = match fault.when {
                When::Only(n) => *seen == n,
                When::From(n) => *seen >= n,
                When::Span(n, count) => (n..n + count).contains(seen),
            };
            if strikes {
                struck = struck.or(Some(fault.kind.clone()));
            }
        }
        struck
    }
}

/// Whether an operation makes a resource, by AWS's verbs for it.
fn creates(operation: &str) -> bool {
    ["Create", "Run", "Allocate", "Register", "Request"].iter().any(|verb| operation.starts_with(verb))
}
