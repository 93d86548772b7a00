//! An interpreter of the Amazon States Language: the same workflow file that AWS runs, run in process.
//!
//! It knows just what the workflow needs (`JSONPath`, Standard execution, `lambda:invoke`), and refuses
//! everything else when a file is loaded, with the JSON pointer of the place, rather than when it runs.
//! Time is tokio's: under a paused clock an execution of hours takes milliseconds, and the same seed gives
//! the same history.
//!
//! ```
//! use std::collections::BTreeMap;
//!
//! use serde_json::{Value, json};
//! use stackdrop_statemachine::{
//!     Execution, Failure, Machine, Options, Status, StepEvent, TaskFuture, Tasks, Watch,
//! };
//!
//! /// A function that is not done before a minute has passed.
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
//!         println!("{:4} s  {}: {}, again in {after_seconds} s", step.at_seconds, step.name, failure.message());
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
//! Where to look: `definition` is what a loaded file is, `load` and `kinds` read and `check` checks it; `path`,
//! `template` and `choice` are its little languages; `engine` runs it: `visit` is one
//! visit to a state, `work` what states do, `retry` and `history` what their names say.
//!
//! Facts about AWS come from the Step Functions Developer Guide ("error handling", "input and output
//! processing", "context object", "quotas") and the Amazon States Language specification; the order of events and
//! the wording of errors from histories that AWS itself recorded (the snapshots of `LocalStack`'s tests).

mod check;
mod choice;
mod context;
mod definition;
mod engine;
mod execution;
mod failure;
mod history;
mod info;
mod invocation;
mod join;
mod kinds;
mod load;
mod path;
mod raw;
mod retry;
mod template;
mod text;
mod value;
mod visit;
mod work;

pub use context::Execution;
pub use definition::{Machine, StateKind};
pub use execution::{Abort, Arrival, Options, Outcome, Status, StepEvent, TaskFuture, Tasks, Watch};
pub use failure::{Failure, names};
pub use history::{Detail, Ending, Event, EventKind, HISTORY_EVENTS_MAX, Step};
pub use info::StateInfo;
pub use load::{LoadError, Problem};
pub use retry::{Catcher, Retrier};
