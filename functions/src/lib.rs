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

use std::future::Future;
use std::pin::Pin;

use serde_json::Value;

pub use aws::{Aws, Settings};
pub use lambda::handle;

use error::StepError;

type Running<'a> = Pin<Box<dyn Future<Output = Result<Value, StepError>> + Send + 'a>>;

/// A component, as the one list has it.
#[derive(Debug)]
pub struct Part {
    /// Its name, which is also its function's.
    pub name: &'static str,
    pub(crate) run: fn(Value, &Aws) -> Running<'_>,
}

/// Every component, in the order in which they are built.
pub static COMPONENTS: [Part; 7] = [
    Part {
        name: network::NAME,
        run: |payload, aws| Box::pin(lambda::act(&network::Network, network::NAME, payload, aws)),
    },
    Part {
        name: security_groups::NAME,
        run: |payload, aws| {
            Box::pin(lambda::act(&security_groups::SecurityGroups, security_groups::NAME, payload, aws))
        },
    },
    Part {
        name: database::NAME,
        run: |payload, aws| Box::pin(lambda::act(&database::Database, database::NAME, payload, aws)),
    },
    Part {
        name: load_balancer::NAME,
        run: |payload, aws| {
            Box::pin(lambda::act(&load_balancer::LoadBalancer, load_balancer::NAME, payload, aws))
        },
    },
    Part {
        name: egress::NAME,
        run: |payload, aws| Box::pin(lambda::act(&egress::Egress, egress::NAME, payload, aws)),
    },
    Part {
        name: instance::NAME,
        run: |payload, aws| Box::pin(lambda::act(&instance::Instance, instance::NAME, payload, aws)),
    },
    Part {
        name: service::NAME,
        run: |payload, aws| Box::pin(lambda::act(&service::Service, service::NAME, payload, aws)),
    },
];
