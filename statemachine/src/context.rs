//! What paths are read from: the state's input, and the context object `$$`.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::macros::format_description;

/// One execution, as its starter names it.
#[derive(Debug, Clone)]
pub struct Execution {
    /// `$$.Execution.Id`.
    pub arn: String,
    /// `$$.Execution.Name`.
    pub name: String,
    /// `$$.StateMachine.Id`; its last part is `$$.StateMachine.Name`.
    pub machine_arn: String,
    /// `$$.Execution.StartTime`; the times of states follow from it and tokio's clock.
    pub start_time: SystemTime,
    /// `$$.Execution.Input`, the input of the first state.
    pub input: Value,
}

impl Execution {
    /// An execution of the state machine called `machine`, with ARNs of an account that does not exist.
    #[must_use]
    pub fn new(machine: &str, name: &str, start_time: SystemTime, input: Value) -> Self {
        let arn = |kind: &str, rest: &str| format!("arn:aws:states:us-east-1:000000000000:{kind}:{rest}");
        Self {
            arn: arn("execution", &format!("{machine}:{name}")),
            name: name.to_owned(),
            machine_arn: arn("stateMachine", machine),
            start_time,
            input,
        }
    }
}

impl Execution {
    /// The time at so long after its start; `None` for what no date can hold.
    pub(crate) fn time_at(&self, elapsed: Duration) -> Option<OffsetDateTime> {
        self.start_time.checked_add(elapsed).map(OffsetDateTime::from)
    }

    /// RFC 3339 with milliseconds in UTC, as Step Functions writes times.
    fn date_at(&self, elapsed: Duration) -> String {
        let form = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
        // Only a year with five digits can not be written; nothing is better than a wrong time then.
        self.time_at(elapsed).and_then(|date| date.format(form).ok()).unwrap_or_default()
    }
}

/// Where in the machine a state is: inside which Parallel or Map, for which of the Map's items.
#[derive(Debug, Clone, Default)]
pub(crate) struct Place {
    /// The state that this chain is a branch of.
    pub(crate) parent: Option<String>,
    /// The nearest Map's item.
    pub(crate) item: Option<Item>,
}

/// One of a Map's items.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    pub(crate) index: usize,
    pub(crate) value: Value,
}

/// The context object of one attempt of one state. Made into JSON only when a path asks.
pub(crate) struct Context<'a> {
    pub(crate) execution: &'a Execution,
    pub(crate) state: &'a str,
    /// Since the execution's start.
    pub(crate) entered: Duration,
    pub(crate) retries: u32,
    pub(crate) item: Option<&'a Item>,
    /// `$$.Task.Token`, while a task that waits for one starts.
    pub(crate) token: Option<&'a str>,
}

impl Context<'_> {
    /// The object that `$$` is.
    pub(crate) fn value(&self) -> Value {
        let execution = self.execution;
        let machine_name = execution.machine_arn.rsplit(':').next().unwrap_or_default();
        let mut context = json!({
            "Execution": {
                "Id": execution.arn,
                "Input": execution.input,
                "Name": execution.name,
                "StartTime": execution.date_at(Duration::ZERO),
            },
            "State": {
                "EnteredTime": execution.date_at(self.entered),
                "Name": self.state,
                "RetryCount": self.retries,
            },
            "StateMachine": { "Id": execution.machine_arn, "Name": machine_name },
        });
        if let (Value::Object(members), Some(item)) = (&mut context, self.item) {
            members.insert("Map".to_owned(), json!({ "Item": { "Index": item.index, "Value": item.value } }));
        }
        if let (Value::Object(members), Some(token)) = (&mut context, self.token) {
            members.insert("Task".to_owned(), json!({ "Token": token }));
        }
        context
    }
}

/// What a path, template or condition is evaluated on.
#[derive(Clone, Copy)]
pub(crate) struct Scope<'a> {
    pub(crate) input: &'a Value,
    pub(crate) context: &'a Context<'a>,
}
