//! AWS in a box: the calls that Stackdrop makes, with AWS's durations, refusals and faults.
//!
//! An [`Account`] is one simulated AWS account in one region. It is spoken to over the real wire protocols: by an
//! unmodified SDK in this process through [`Account::http_client`], or by any SDK through the loopback server of
//! [`serve`]. It lives on tokio's clock, so that under a paused clock a fifteen-minute deployment takes
//! milliseconds and is the same each time.
//!
//! How a call goes through the house: [`Account::call`] finds the service by the signature's name, decodes the
//! request by that service's protocol into [`Params`](params::Params), waits the call's latency, applies rates and
//! faults, brings the world up to now, lets the service's own file act, writes the ledger, encodes the answer.

mod account;
mod authorization;
mod call_log;
mod caller;
mod clock;
mod connector;
mod decisions;
mod events;
mod faults;
mod inventory;
mod latency;
mod params;
mod protocol;
mod rates;
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
pub use faults::{Fault, FaultKind, Strike, When};
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
