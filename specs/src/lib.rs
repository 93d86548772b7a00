//! What a user writes: the spec's model, its validation and its JSON Schema.

mod model;
mod name;
mod problem;
mod read;
mod routes;
mod subnets;

pub use model::{
    AccessLogs, Database, DatabaseClient, DatabaseValue, HealthCheck, Instance, LoadBalancer, Nat, Network,
    OnDelete, OnFailure, Redeploy, Route, Scaling, Service, Spec,
};
pub use name::StackName;
pub use problem::{Problem, SpecErrors};
pub use read::LONGEST_SPEC;
pub use routes::RoutePlan;
pub use subnets::{SubnetPlan, Tier};

/// The port that the stack's PostgreSQL database listens on.
pub const DATABASE_PORT: u16 = 5432;
