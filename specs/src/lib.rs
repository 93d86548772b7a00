//! The spec that a user writes: its model, its validation and its JSON Schema.
//!
//! [`Spec::read`] turns bytes into a valid spec, or into the list of all its problems: `tree` keeps the values with their
//! places in the file, `shape` compares them with the schema of `model`, `rules` (with `checks` for single values) check
//! everything else, and `findings` collects the problems.

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "garde passes a value and its (empty) context by reference"
)]
mod checks;
mod fargate;
mod findings;
mod forms;
mod model;
mod name;
mod nearest;
mod path;
mod problem;
mod read;
mod routes;
mod rules;
mod schema;
mod secret;
mod shape;
mod subnets;
mod tree;

pub use model::{
    AccessLogs, Approval, Database, DatabaseClient, DatabaseValue, Drift, FlowLogs, HealthCheck, Instance,
    LoadBalancer, Managed, Nat, Network, OnDelete, OnFailure, Redeploy, Rotation, Route, Scaling, Service,
    Spec, Traffic,
};
pub use name::StackName;
pub use problem::{Problem, SpecErrors};
pub use read::LONGEST_SPEC;
pub use routes::{RoutePlan, is_dns_name};
pub use schema::schema;
pub use secret::is_parameter;
pub use subnets::{SubnetPlan, Tier};

/// The port that the stack's PostgreSQL database listens on.
pub const DATABASE_PORT: u16 = 5432;
