//! What tests and the command observe in an account without AWS calls.

use std::time::Duration;

use super::Account;
use crate::authorization::{self, Principal, Request};
use crate::decisions::Decision;
use crate::events::AccountEvent;
use crate::exchange::Exchange;
use crate::params::lock;
use crate::services::ecs::OutdatedTask;
use crate::services::{ec2, ecs, events, scheduler, secrets, sns, ssm};
use crate::view::{GroupView, InterfaceView, Origin};

impl Account {
    /// The events so far, without the first `after`.
    #[must_use]
    pub fn account_events(&self, after: usize) -> Vec<AccountEvent> {
        self.with(|world| world.events.get(after..).unwrap_or_default().to_vec())
    }

    /// Completes when there may be more [`account_events`](Account::account_events), or another next schedule, after
    /// this future was enabled or first polled.
    pub fn notified(&self) -> tokio::sync::futures::Notified<'_> {
        self.event_occurred.notified()
    }

    /// When the next schedule, or the next rotation of a secret, is due, since the account was opened.
    #[must_use]
    pub fn next_schedule(&self) -> Option<Duration> {
        self.with(|world| scheduler::next_due(world).into_iter().chain(secrets::next_due(world)).min())
    }

    /// The tasks, running and stopped, that had the previous value of a secret for a time.
    #[must_use]
    pub fn outdated_tasks(&self) -> Vec<OutdatedTask> {
        self.with(|world| ecs::outdated_tasks(world))
    }

    /// Whether a role (an ARN) can read the value of a secret of Secrets Manager or a parameter of Systems Manager (an ARN).
    #[must_use]
    pub fn can_read(&self, role: &str, arn: &str) -> bool {
        self.with(|world| {
            let denied = if arn.contains(":parameter/") {
                ssm::denied_parameter(world, role, "test", arn)
            } else {
                secrets::denied_value(world, role, "test", arn)
            };
            denied.is_none()
        })
    }

    /// Every event that was put on the default event bus, in order.
    #[must_use]
    pub fn events(&self) -> Vec<events::EventView> {
        self.with(|world| events::put_so_far(world))
    }

    /// Every message that was published to a topic, in order.
    #[must_use]
    pub fn messages(&self) -> Vec<sns::MessageView> {
        self.with(|world| sns::published(world))
    }

    /// Every network interface.
    #[must_use]
    pub fn interfaces(&self) -> Vec<InterfaceView> {
        self.with(|world| ec2::interfaces(world))
    }

    /// Whether a TCP connection from `from` to a port of an interface succeeds. From the internet, the interface needs
    /// a public address, its subnet a route to an attached internet gateway, and its groups a matching ingress rule.
    /// Inside a VPC, the source's egress rules and the target's ingress rules must match.
    #[must_use]
    pub fn connects(&self, from: Origin, to_interface_id: &str, port: u16) -> bool {
        self.with(|world| ec2::connects(world, from, to_interface_id, port))
    }

    /// Every security group, default groups included.
    #[must_use]
    pub fn security_groups(&self) -> Vec<GroupView> {
        self.with(|world| ec2::security_groups(world))
    }

    /// Keeps every IAM decision from now on for [`decisions`](Account::decisions).
    pub fn keep_decisions(&self) {
        lock(&self.inner).decisions.keep();
    }

    /// IAM's decisions since [`keep_decisions`](Account::keep_decisions).
    #[must_use]
    pub fn decisions(&self) -> Vec<Decision> {
        lock(&self.inner).decisions.kept()
    }

    /// Every request that IAM has denied so far.
    #[must_use]
    pub fn denials(&self) -> Vec<Decision> {
        lock(&self.inner).decisions.denied()
    }

    /// Keeps the wire form of every call from now on for [`exchanges`](Account::exchanges).
    pub fn keep_exchanges(&self) {
        lock(&self.inner).exchanges.keep();
    }

    /// The calls since [`keep_exchanges`](Account::keep_exchanges), each form once, without those that a fault answered
    /// with an error of the test's own.
    #[must_use]
    pub fn exchanges(&self) -> Vec<Exchange> {
        lock(&self.inner).exchanges.kept()
    }

    /// Has IAM decide on a request that no SDK call makes, such as one service's access to another.
    ///
    /// # Errors
    /// The denial, as AWS words it; or what the simulator lacks to decide.
    pub fn decide(&self, caller: &str, principal: &Principal, mut request: Request) -> Result<(), String> {
        let inner = &mut *lock(&self.inner);
        authorization::check(&request).map_err(|refusal| refusal.message)?;
        request.complete(&inner.world, principal);
        match inner.decisions.take(&inner.world, caller, principal, request) {
            Ok(verdict) => verdict.map_err(|denial| denial.to_string()),
            Err(refusal) => Err(refusal.message),
        }
    }
}
