//! What the simulator knows about a service: its protocol, its entry points, and the facts that differ between services.

use crate::authorization::{Access, Denial};
use crate::call_log::writes;
use crate::incident::Incident;
use crate::inventory::Item;
use crate::latency::Timing;
use crate::params::{Params, Refusal};
use crate::protocol::{Protocol, Reply, Request};
use crate::rates::Rate;
use crate::world::World;

/// Carries out an operation. Reads all parameters, calls `Params::done`, and only then changes anything.
type Act = fn(&mut World, &str, &Params) -> Result<Reply, Refusal>;
/// Finds the operation and the parameters of a REST request.
type Route = fn(&Request) -> Result<(String, Params), Refusal>;

/// One service. Each service's file has its own as `SERVICE`; [`super::SERVICES`] lists them.
#[derive(Debug, Clone)]
pub(crate) struct Service {
    /// The name in the signature's credential scope.
    pub(crate) name: &'static str,
    pub(crate) protocol: Protocol,
    /// For REST protocols only.
    pub(crate) route: Option<Route>,
    pub(crate) act: Act,
    /// Lists the permissions that a call needs.
    pub(crate) access: Access,
    /// Brings the service's state up to `world.now`: what AWS does without a call.
    pub(crate) advance: fn(&mut World),
    /// Adds the service's existing resources.
    pub(crate) inventory: fn(&World, &mut Vec<Item>),
    /// The error of a throttled call.
    pub(crate) throttling: ErrorForm,
    /// The error of a denied call.
    pub(crate) denial: ErrorForm,
    /// The error of a call for which another service denied access, if it differs from `denial`.
    pub(crate) denied_by_dependency: fn(&Denial) -> Option<Refusal>,
    /// The rate limit of an operation.
    pub(crate) rate: fn(&str) -> Rate,
    /// Operations that take longer than an ordinary call.
    pub(crate) timings: &'static [(&'static str, Timing)],
    /// Operations whose resource has a `failed` state.
    pub(crate) can_fail: &'static [&'static str],
    /// The largest request body in bytes.
    pub(crate) largest_body: usize,
    /// Whether IAM evaluates the service's calls in `us-east-1`, whatever the caller's region.
    pub(crate) is_global: bool,
    /// Whether a writing call can cause an [event](crate::AccountEvent) or move the next schedule.
    pub(crate) causes_events: bool,
    /// Operations that answer a task waiting for its token.
    pub(crate) answers_tasks: &'static [&'static str],
    /// What AWS or a person does to the service's resources without the stack's functions.
    pub(crate) incidents: &'static [Incident],
    /// Like `incidents`, but only for between deployments: a running deployment may fail, or only a person can repair it.
    pub(crate) severe_incidents: &'static [Incident],
}

/// How a service words one kind of error.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ErrorForm {
    pub(crate) code: &'static str,
    /// The message, or the start of one.
    pub(crate) message: &'static str,
    pub(crate) status: u16,
}

impl ErrorForm {
    pub(crate) const fn new(code: &'static str, message: &'static str, status: u16) -> Self {
        Self { code, message, status }
    }
}

impl Service {
    /// A service that uses AWS JSON: its version, and the prefix of `X-Amz-Target`.
    pub(crate) const fn json(
        name: &'static str,
        version: &'static str,
        target: &'static str,
        act: Act,
        access: Access,
    ) -> Self {
        Self {
            throttling: ErrorForm::new("ThrottlingException", "Rate exceeded", 400),
            denial: ErrorForm::new("AccessDeniedException", "", 400),
            ..Self::new(name, Protocol::Json(version, target), None, act, access)
        }
    }

    /// A service that uses AWS Query.
    pub(crate) const fn query(name: &'static str, namespace: &'static str, act: Act, access: Access) -> Self {
        Self::new(name, Protocol::Query(namespace), None, act, access)
    }

    /// A service that uses EC2's form of AWS Query.
    pub(crate) const fn ec2(name: &'static str, namespace: &'static str, act: Act, access: Access) -> Self {
        Self::new(name, Protocol::Ec2(namespace), None, act, access)
    }

    /// A service that uses REST with XML bodies.
    pub(crate) const fn rest_xml(
        name: &'static str,
        namespace: &'static str,
        route: Route,
        act: Act,
        access: Access,
    ) -> Self {
        Self::new(name, Protocol::RestXml(namespace), Some(route), act, access)
    }

    /// A service that uses REST with JSON bodies.
    pub(crate) const fn rest_json(name: &'static str, route: Route, act: Act, access: Access) -> Self {
        Self {
            throttling: ErrorForm::new("ThrottlingException", "Rate exceeded", 400),
            denial: ErrorForm::new("AccessDeniedException", "", 403),
            ..Self::new(name, Protocol::RestJson, Some(route), act, access)
        }
    }

    const fn new(
        name: &'static str,
        protocol: Protocol,
        route: Option<Route>,
        act: Act,
        access: Access,
    ) -> Self {
        Self {
            name,
            protocol,
            route,
            act,
            access,
            advance: |_| {},
            inventory: |_, _| {},
            throttling: ErrorForm::new("Throttling", "Rate exceeded", 400),
            denial: ErrorForm::new("AccessDenied", "", 403),
            denied_by_dependency: |_| None,
            rate: usual_rate,
            timings: &[],
            can_fail: &[],
            largest_body: 1 << 20,
            is_global: false,
            causes_events: false,
            answers_tasks: &[],
            incidents: &[],
            severe_incidents: &[],
        }
    }

    /// The error of a throttled call.
    pub(crate) fn throttled(&self) -> Refusal {
        let ErrorForm { code, message, status } = self.throttling;
        Refusal::new(code, message).status(status)
    }

    /// The error of a call that IAM denies, with IAM's message.
    pub(crate) fn denied(&self, reason: &str) -> Refusal {
        let ErrorForm { code, message, status } = self.denial;
        Refusal::new(code, format!("{message}{reason}")).status(status)
    }

    /// The error of a call to which IAM denies a permission.
    pub(crate) fn refusal(&self, denial: &Denial) -> Refusal {
        (self.denied_by_dependency)(denial).unwrap_or_else(|| self.denied(&denial.to_string()))
    }

    /// How long an operation takes, if it differs from an ordinary call.
    pub(crate) fn timing(&self, operation: &str) -> Option<Timing> {
        self.timings.iter().find(|(name, _)| *name == operation).map(|(_, timing)| *timing)
    }
}

/// For services that publish no rates: what their SDK users report as safe.
fn usual_rate(operation: &str) -> Rate {
    if writes(operation) { Rate::new("write", 40.0, 10.0) } else { Rate::new("read", 40.0, 20.0) }
}
