//! A deployment: its state in the workflow, its plan, its records and its announcements.

pub mod announce;
pub mod approval;
pub mod bucket;
pub mod component_names;
pub mod consent;
pub mod deletion;
pub mod effect;
pub(crate) mod endpoint_services;
pub mod estimate;
pub mod event;
pub mod facts;
pub mod failure;
pub mod names;
pub mod outcome;
pub mod outputs;
pub mod plan;
pub mod plan_id;
pub mod record;
pub mod review;
pub(crate) mod schedule;
pub mod state;
pub mod summary;
