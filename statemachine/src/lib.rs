//! An interpreter of the Amazon States Language: the same workflow file that AWS runs, run in process.
//!
//! It knows just what the workflow needs (`JSONPath`, Standard execution, `lambda:invoke`), and refuses
//! everything else when a file is loaded, with the JSON pointer of the place, rather than when it runs.
//! Time is tokio's: under a paused clock an execution of hours takes milliseconds, and the same seed gives
//! the same history.
//!
//! ```no_run
//! # async fn rehearse(text: &str, tasks: &dyn stackdrop_statemachine::Tasks, start: std::time::SystemTime) {
//! use stackdrop_statemachine::{Execution, Machine, Options};
//! let machine = match Machine::load(text, &std::collections::BTreeMap::new()) {
//!     Ok(machine) => machine,
//!     Err(error) => return drop(error.problems),
//! };
//! let execution = Execution::new("deploy", "first", start, serde_json::json!({ "stack": "shop" }));
//! let outcome = machine.run(&execution, tasks, &(), &Options::default()).await;
//! # }
//! ```
//!
//! Where to look: `definition` is what a loaded file is, `load` reads and `check` checks it; `path`,
//! `template` and `choice` are its little languages; `engine` runs it, with `retry` and `history`.
//!
//! Facts about AWS come from the Step Functions Developer Guide ("error handling", "input and output
//! processing", "context object", "quotas") and the Amazon States Language specification.

mod check;
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
mod raw;
mod retry;
mod template;
mod text;
mod visit;

pub use context::Execution;
pub use definition::{Machine, StateKind};
pub use execution::{Abort, Options, Outcome, Status, StepEvent, TaskFuture, Tasks, Watch};
pub use failure::{Failure, names};
pub use history::{Ending, Event, EventKind, HISTORY_EVENTS_MAX, Step};
pub use info::StateInfo;
pub use load::{LoadError, Problem};
pub use retry::{Catcher, Retrier};
