//! The simulated EC2 against an unmodified SDK.

#[path = "../common/mod.rs"]
mod common;

mod endpoints;
mod gateways;
mod groups;
mod instances;
mod limits;
mod network;
mod paths;
mod site;
