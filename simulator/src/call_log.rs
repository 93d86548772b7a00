//! The call log: every call to the account, in order, with its result.

use std::time::Duration;

use serde::Serialize;

/// One call to AWS.
#[derive(Debug, Clone, Serialize)]
pub struct Call {
    /// Its position in the call log, from 0.
    pub number: usize,
    /// When it was made, since the account was opened.
    pub at: Duration,
    /// The caller's name, as given to [`as_caller`](crate::as_caller); empty for a caller outside this process.
    pub caller: String,
    /// The service's signing name, such as `ec2` or `elasticloadbalancing`.
    pub service: String,
    /// The operation, such as `CreateVpc`.
    pub operation: String,
    /// The number of calls of this operation so far, this one included.
    pub occurrence: usize,
    /// Whether the operation can change anything.
    pub writes: bool,
    /// The [watched](crate::Account::watch) ids among the call's parameters.
    #[serde(skip)]
    pub named: Vec<String>,
    /// How it ended.
    pub ending: Ending,
}

impl Call {
    /// The service and the operation: `ec2:CreateVpc`.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}:{}", self.service, self.operation)
    }
}

/// How a call ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Ending {
    /// It succeeded.
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

/// Whether an operation can change anything: AWS names reading operations with these verbs.
pub(crate) fn writes(operation: &str) -> bool {
    !["Describe", "List", "Get", "Head", "BatchGet"].iter().any(|verb| operation.starts_with(verb))
}
