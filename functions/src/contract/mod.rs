//! The contract that every component fulfils, and the code that components share.

pub mod component;
pub(crate) mod dependents;
pub(crate) mod effects;
pub(crate) mod endpoints;
pub mod handler;
pub(crate) mod identity;
pub(crate) mod ports;
pub(crate) mod quotas;
pub(crate) mod roles;
pub(crate) mod routes;
pub mod shared_secrets;
pub(crate) mod tagging;
pub(crate) mod targets;
pub(crate) mod zones;
