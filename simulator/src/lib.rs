//! A simulator of AWS: the calls that Stackdrop makes, with AWS's durations, refusals and faults.
//!
//! An [`Account`] is one simulated AWS account in one region. Clients use the real wire protocols: an unmodified SDK
//! in this process through [`Account::http_client`], or any SDK through the loopback server of [`serve`]. The account
//! runs on tokio's clock. Under a paused clock, a fifteen-minute deployment takes milliseconds and has the same
//! result each time.
//!
//! A call takes these steps: [`Account::call`] finds the service by the signing name, decodes the request by that
//! service's protocol into [`Params`](params::Params), waits for the call's latency, applies faults, rate limits and
//! IAM, brings all services up to the current time, has the service's own file carry out the operation, writes the
//! call log, and encodes the response.

mod account;
mod authorization;
mod call_log;
mod caller;
mod clock;
mod connector;
mod decisions;
mod events;
mod exchange;
mod faults;
mod incident;
mod inventory;
mod latency;
mod params;
mod protocol;
mod rates;
mod sdk;
mod seed;
mod serve;
mod services;
mod view;
mod world;

pub use account::{Account, InvalidOptions, Options, Snapshot};
pub use authorization::{
    Denial, Grants, InvalidPolicy, Keys, Policy, Principal, Reason, Request as AccessRequest,
};
pub use call_log::{Call, Ending};
pub use caller::{Caller, as_caller};
pub use clock::Clock;
pub use decisions::Decision;
pub use events::AccountEvent;
pub use exchange::Exchange;
pub use faults::{Fault, FaultKind, Strike, When};
pub use incident::Incident;
pub use inventory::Item;
pub use latency::Latency;
pub use seed::{PolicySeed, Seed};
pub use serve::serve;
pub use services::can_fail;
pub use services::events::EventView;
pub use services::sfn::Answer;
pub use services::sfn::{ExecutionEnd, ExecutionView, HistoryEvent};
pub use services::sns::MessageView;
pub use view::{GroupView, InterfaceView, Origin, RuleView, Source};
