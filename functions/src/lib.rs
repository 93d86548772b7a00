//! The Lambda functions: one a component, and `admit` and `conclude` before and after them.
//!
//! How a step goes: the workflow invokes a function with `{ action, deployment }`; [`handle`] finds the component by the
//! function's name and runs the action; the result goes back into the workflow's state, an error goes back under one of
//! the names in [`error::names`], and the workflow file alone says what follows.

pub mod admit;
pub mod announce;
pub mod aws;
pub mod component;
pub mod conclude;
pub mod database;
mod denied;
pub mod egress;
pub mod error;
pub mod estimate;
mod holders;
pub mod instance;
pub mod lambda;
pub mod load_balancer;
pub mod network;
pub mod program;
mod quotas;
pub mod records;
mod roles;
mod schedule;
pub mod security_groups;
pub mod service;
pub mod stack;
pub mod summary;
mod tagging;
mod together;

pub use aws::{Aws, Settings};
pub use lambda::{Function, handle};

/// Every component, in the order in which they are built.
pub static COMPONENTS: [Function; 7] = [
    network::FUNCTION,
    security_groups::FUNCTION,
    database::FUNCTION,
    load_balancer::FUNCTION,
    egress::FUNCTION,
    instance::FUNCTION,
    service::FUNCTION,
];

/// Every function: the components', Admit and Conclude.
pub fn functions() -> impl Iterator<Item = Function> {
    COMPONENTS.into_iter().chain([admit::FUNCTION, conclude::FUNCTION])
}
