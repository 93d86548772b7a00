//! What AWS takes: how long a thing takes to create and to go, and what it costs by standing there.
//!
//! The simulator uses these figures for what exists, the functions for what is planned, so that a plan and its rehearsal
//! can't disagree. There is nothing else in this crate: it is part of every function's program.

pub mod changes;
mod latency;
mod price_table;
pub mod prices;
mod table;

pub use latency::{LatencyModel, MULTI_AZ_FACTOR, Spread};
