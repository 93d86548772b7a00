//! Who makes a call: its name, its permissions, and whether a fault has killed it.

use std::sync::Arc;

use tokio::sync::Notify;

use crate::authorization::Principal;

tokio::task_local! {
    static CALLER: Caller;
}

/// The caller of an AWS API: its name in the call log and the principal whose permissions apply. A fault can kill it.
#[derive(Debug, Clone)]
pub struct Caller {
    name: Arc<str>,
    principal: Arc<Principal>,
    killed: Arc<Notify>,
}

/// The account's owner, without a name.
impl Default for Caller {
    fn default() -> Self {
        Self::new("")
    }
}

impl Caller {
    /// A caller with a name such as `deployment-1/network/apply` and the owner's permissions.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self { name: name.into(), principal: Arc::new(Principal::Owner), killed: Arc::default() }
    }

    /// The same caller with the permissions of a role (an ARN), in a session with the given name.
    #[must_use]
    pub fn acting_as(self, role: &str, session: &str) -> Self {
        let principal = Principal::Role { arn: role.into(), session: session.into() };
        Self { principal: Arc::new(principal), ..self }
    }

    /// The caller in whose [`as_caller`] scope this runs, or the owner.
    pub(crate) fn current() -> Self {
        CALLER.try_with(Clone::clone).unwrap_or_default()
    }

    pub(crate) fn principal(&self) -> &Principal {
        &self.principal
    }

    /// The caller's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Waits until a fault kills this caller. The future that makes the calls must then be dropped, as Lambda would do.
    pub async fn killed(&self) {
        self.killed.notified().await;
    }

    pub(crate) fn kill(&self) {
        self.killed.notify_one();
    }
}

/// Runs `work`. Calls that it makes through an account's HTTP client are made by `caller`.
pub async fn as_caller<T>(caller: Caller, work: impl Future<Output = T>) -> T {
    CALLER.scope(caller, work).await
}
