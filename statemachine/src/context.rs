//! The data that paths read: the state's input, and the context object `$$`.

use std::time::{Duration, SystemTime};

use serde_json::Value;
use time::OffsetDateTime;

/// One execution, as its caller starts it.
#[derive(Debug, Clone)]
pub struct Execution {
    /// `$$.Execution.Id`.
    pub arn: String,
    /// `$$.Execution.Name`.
    pub name: String,
    /// When it starts; tokio's clock measures the time since then.
    pub start_time: SystemTime,
    /// The input of the first state.
    pub input: Value,
}

impl Execution {
    /// An execution of the state machine called `machine`, with an ARN of an account that does not exist.
    #[must_use]
    pub fn new(machine: &str, name: &str, start_time: SystemTime, input: Value) -> Self {
        let arn = format!("arn:aws:states:us-east-1:000000000000:execution:{machine}:{name}");
        Self { arn, name: name.to_owned(), start_time, input }
    }

    /// The time `elapsed` after the start; `None` beyond the last representable date.
    pub(crate) fn time_at(&self, elapsed: Duration) -> Option<OffsetDateTime> {
        self.start_time.checked_add(elapsed).map(OffsetDateTime::from)
    }
}

/// The context object of one attempt of one state.
#[derive(Clone, Copy)]
pub(crate) struct Context<'a> {
    pub(crate) execution: &'a Execution,
    /// `$$.Task.Token`, while the payload of a task that waits for its token is built.
    pub(crate) token: Option<&'a str>,
}

/// The data on which a path, a template or a condition is evaluated.
#[derive(Clone, Copy)]
pub(crate) struct Scope<'a> {
    pub(crate) input: &'a Value,
    pub(crate) context: Context<'a>,
}
