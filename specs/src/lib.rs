//! What a user writes: the spec's model, its validation and its JSON Schema.
//!
//! [`Spec::read`] goes from bytes to a spec that nothing is wrong with, or to everything that is wrong with it:
//! `tree` keeps what was written and where, `shape` compares it with the schema that `model` makes, `rules` (with
//! `checks` for single values) say what else must hold, and `findings` turn it all into problems with their places.

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
mod shape;
mod subnets;
mod tree;

pub use model::{
    AccessLogs, Approval, Database, DatabaseClient, DatabaseValue, Drift, HealthCheck, Instance,
    LoadBalancer, Managed, Nat, Network, OnDelete, OnFailure, Redeploy, Route, Scaling, Service, Spec,
};
pub use name::StackName;
pub use problem::{Problem, SpecErrors};
pub use read::LONGEST_SPEC;
pub use routes::RoutePlan;
pub use schema::schema;
pub use subnets::{SubnetPlan, Tier};

/// The port that the stack's PostgreSQL database listens on.
pub const DATABASE_PORT: u16 = 5432;
