//! The access requests of calls and IAM's decisions, with an unmodified SDK.

#![expect(clippy::unwrap_used, reason = "what a test's helper does not expect fails the test")]

#[path = "../common/mod.rs"]
mod common;
#[path = "../ecs_shop/mod.rs"]
mod ecs_shop;

mod containers;
mod data;
mod identity;
mod names;
mod rules;
mod stage;
