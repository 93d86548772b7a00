//! What a user writes: the spec's model, its validation and its JSON Schema.

mod model;
mod name;

pub use model::{
    AccessLogs, Database, DatabaseClient, DatabaseValue, HealthCheck, Instance, LoadBalancer, Nat, Network,
    OnDelete, OnFailure, Redeploy, Route, Scaling, Service, Spec,
};
pub use name::StackName;
