//! Faults on demand: which calls fail, and how.

use std::time::Duration;

use serde::Serialize;

/// What goes wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum FaultKind {
    /// The call is throttled, with the service's own error code.
    Throttled,
    /// The service answers 500.
    ServerError,
    /// The connection is lost before the call takes effect.
    LostBefore,
    /// The connection is lost after the call took effect.
    LostAfter,
    /// The function is killed right after the call took effect.
    Killed,
    /// The call takes effect, but its response never arrives, so the function times out.
    Hangs,
    /// IAM denies the call.
    AccessDenied,
    /// The call is refused with this error code and message, and changes nothing.
    Refused {
        /// AWS's error code.
        code: String,
        /// AWS's message.
        message: String,
    },
    /// The call succeeds, but the resource that it creates ends in its `failed` state instead of becoming available.
    /// For a resource without such a state, the call is refused with `InternalFailure`: see
    /// [`can_fail`](crate::can_fail).
    ResourceFails,
}

/// Which calls of an operation a fault strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum When {
    /// The n-th call only, from 1.
    Only(usize),
    /// From the n-th call on, from 1.
    From(usize),
    /// This many calls, from the n-th on (for throttling that lasts longer than the SDK's own retries).
    Span(usize, usize),
}

/// A fault: the calls that it strikes, and its effect on them.
#[derive(Debug, Clone, Serialize)]
pub struct Fault {
    /// The service's signing name.
    pub service: String,
    /// The operation; `*` for the first one that creates a resource.
    pub operation: String,
    /// Only calls by a caller whose name ends with this, such as `/network/apply`. Empty: any caller.
    pub caller: String,
    /// Which of the matching calls it strikes.
    pub when: When,
    /// The effect.
    pub kind: FaultKind,
}

impl Fault {
    /// A fault at calls of `service:operation`, by any caller.
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
    /// The number of the call in the call log.
    pub call: usize,
    /// When, since the account was opened.
    pub at: Duration,
    /// The effect.
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

/// Whether an operation creates a resource, by AWS's verbs for creation.
fn creates(operation: &str) -> bool {
    ["Create", "Run", "Allocate", "Register", "Request"].iter().any(|verb| operation.starts_with(verb))
}
