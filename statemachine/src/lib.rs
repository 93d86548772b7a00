//! An interpreter of the Amazon States Language. It runs, in process, the workflow file that AWS runs.
//!
//! It supports only the features that `deploy.asl.json` uses:
//!
//! - the states Task (`lambda:invoke`, `lambda:invoke.waitForTaskToken`), Parallel, Choice, Pass, Succeed and Fail,
//! - `Parameters`, `ResultSelector`, `ResultPath`, `OutputPath`, `TimeoutSeconds`, `Retry` and `Catch`,
//! - the operators `And`, `Or`, `Not`, `IsPresent`, `IsNull`, `StringEquals`, `StringEqualsPath`, `StringMatches`,
//!   `BooleanEquals`,
//! - paths of names and indexes, also in `$$.Execution.Input`; and `$$.Execution.Id`, `$$.Execution.Name` and
//!   `$$.Task.Token`.
//!
//! [`Machine::load`] refuses everything else with an error that names the place; nothing is ignored.
//!
//! Time is tokio's: under a paused clock, an execution of hours takes milliseconds. The same seed gives the same
//! history.
//!
//! ```
//! use std::collections::BTreeMap;
//!
//! use serde_json::{Value, json};
//! use stackdrop_statemachine::{
//!     Execution, Failure, Machine, Options, Status, StepEvent, TaskFuture, Tasks, Watch,
//! };
//!
//! /// A function that reports `Pending` for one minute.
//! struct Functions(tokio::time::Instant);
//!
//! impl Tasks for Functions {
//!     fn invoke<'a>(&'a self, function: &'a str, payload: Value) -> TaskFuture<'a> {
//!         Box::pin(async move {
//!             if self.0.elapsed().as_secs() < 60 {
//!                 return Err(Failure::of_lambda("Pending", "the NAT gateway is pending"));
//!             }
//!             Ok(json!({ "by": function, "stack": payload["stack"] }))
//!         })
//!     }
//! }
//!
//! struct Print;
//!
//! impl Watch for Print {
//!     fn retrying(&self, step: &StepEvent<'_>, failure: &Failure, after_seconds: f64) {
//!         println!("{:4} s  {}: {}, again in {after_seconds} s", step.at_seconds, step.name, failure.cause);
//!     }
//! }
//!
//! # tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(async {
//! let text = r#"{ "StartAt": "Network", "States": { "Network": {
//!     "Type": "Task",
//!     "Resource": "arn:aws:states:::lambda:invoke",
//!     "Parameters": { "FunctionName": "${NetworkFunction}", "Payload": { "stack.$": "$.stack" } },
//!     "ResultSelector": { "made.$": "$.Payload" },
//!     "Retry": [{ "ErrorEquals": ["Pending"], "IntervalSeconds": 20, "BackoffRate": 1, "MaxAttempts": 90 }],
//!     "End": true
//! } } }"#;
//! let names = BTreeMap::from([("NetworkFunction".to_owned(), "network".to_owned())]);
//! let machine = Machine::load(text, &names).unwrap();
//!
//! let execution = Execution::new("deploy", "first", std::time::UNIX_EPOCH, json!({ "stack": "shop" }));
//! let functions = Functions(tokio::time::Instant::now());
//! let outcome = machine.run(&execution, &functions, &Print, &Options::default()).await;
//!
//! assert_eq!(outcome.status, Status::Succeeded(json!({ "made": { "by": "network", "stack": "shop" } })));
//! assert_eq!(outcome.steps[0].attempts, 4);
//! # });
//! ```
//!
//! Start reading at `definition`, which describes a loaded workflow. `load` reads and checks a file; `path`, `template`,
//! `choice` and `retry` are the languages inside it. `engine` runs a workflow: `run` is the state of one execution,
//! `visit` one visit to a state, `task` one call of a function.
//!
//! Facts about AWS come from the Step Functions Developer Guide ("error handling", "input and output processing",
//! "context object", "quotas") and the Amazon States Language specification. The order of events and AWS's messages come
//! from recorded histories (the snapshots of `LocalStack`'s tests).

mod choice;
mod context;
mod definition;
mod engine;
mod execution;
mod failure;
mod history;
mod info;
mod join;
mod load;
mod path;
mod problem;
mod retry;
mod run;
mod task;
mod template;
mod visit;

pub use context::Execution;
pub use definition::{Machine, StateKind};
pub use execution::{Abort, Arrival, Options, Outcome, Status, StepEvent, TaskFuture, Tasks, Watch};
pub use failure::{Failure, names};
pub use history::{Detail, Ending, Event, EventKind, HISTORY_EVENTS_MAX, Step};
pub use info::StateInfo;
pub use problem::{LoadError, Problem};
pub use retry::{Catcher, Retrier};
