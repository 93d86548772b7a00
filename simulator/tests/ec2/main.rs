//! The simulated EC2 against an unmodified SDK.

#![expect(clippy::unwrap_used, reason = "what a helper cannot do is a failure of the test that asked for it")]

#[path = "../common/mod.rs"]
mod common;

mod access;
mod changes;
mod endpoints;
mod flow_logs;
mod gateways;
mod groups;
mod instances;
mod limits;
mod manual_changes;
mod network;
mod paths;
mod site;
