//! The components of a stack, one folder each. Only `observed.rs` reads the account for the plan and the actions; every
//! other file is one resource, with plan, apply, wait and delete from top to bottom. `follow_ups.rs` knows what follows in one
//! component from a change in another, and `effects.rs` what people must know of all changes.

pub mod database;
pub mod effects;
pub mod egress;
pub(crate) mod follow_ups;
pub mod instance;
pub mod load_balancer;
pub mod network;
pub mod security_groups;
pub mod service;

use crate::contract::handler::Function;

/// Every component, in the order of creation.
pub static COMPONENTS: [Function; 7] = [
    network::FUNCTION,
    security_groups::FUNCTION,
    database::FUNCTION,
    load_balancer::FUNCTION,
    egress::FUNCTION,
    instance::FUNCTION,
    service::FUNCTION,
];
