//! What was asked of the account: every call, in order, with how it ended.

use std::time::Duration;

use serde::Serialize;

/// One call to AWS.
#[derive(Debug, Clone, Serialize)]
pub struct Call {
    /// Its place in the ledger, from 0.
    pub number: usize,
    /// When it was made, since the account was opened.
    pub at: Duration,
    /// Who made it, as given to [`as_caller`](crate::as_caller); empty for a call from outside.
    pub caller: String,
    /// The service's signing name, such as `ec2` or `elasticloadbalancing`.
    pub service: String,
    /// The operation, such as `CreateVpc`.
    pub operation: String,
    /// Which call of this operation it is, from 1.
    pub occurrence: usize,
    /// Whether the operation can change anything.
    pub writes: bool,
    /// The ids of [watched](crate::Account::watch) things that a parameter of it is.
    #[serde(skip)]
    pub named: Vec<String>,
    /// How it ended.
    pub ending: Ending,
}

impl Call {
    /// The call's name as people write it: `ec2:CreateVpc`.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}:{}", self.service, self.operation)
    }
}

/// How a call ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Ending {
    /// It was answered.
    Done,
    /// It was refused with this error code.
    Refused(String),
    /// The connection was lost before the call took effect.
    LostBefore,
    /// The connection was lost after the call took effect.
    LostAfter,
    /// The caller was killed, or hung, right after the call took effect.
    NeverHeard,
}

/// Whether an operation can change anything: AWS names those that only read by these verbs.
pub(crate) fn writes(operation: &str) -> bool {
    !["Describe", "List", "Get", "Head", "BatchGet"].iter().any(|verb| operation.starts_with(verb))
}
