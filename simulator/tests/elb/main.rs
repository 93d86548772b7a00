//! The simulated Elastic Load Balancing against an unmodified SDK.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "what a test's helper does not expect fails the test"
)]

#[path = "../common/mod.rs"]
mod common;

mod access;
mod actions;
mod health;
mod limits;
mod listeners;
mod load_balancers;
mod rules;
mod site;
mod target_groups;
mod web_acls;
