//! RDS against an unmodified SDK.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "what a test's helper does not expect fails the test"
)]

#[path = "../common/mod.rs"]
mod common;

mod backups;
mod catalogue;
mod create;
mod delete;
mod groups;
mod modify;
mod restore;
mod rotation;
mod site;
