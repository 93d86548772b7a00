//! The Lambda functions: one for each component, and `admit` and `conclude` before and after them.
//!
//! The workflow invokes a function with `{ action, deployment }`. The function runs the action, and the workflow stores
//! the result in its state. An error is reported under one of the names in [`aws::error::names`]; only the workflow
//! decides what follows from it.
//!
//! The modules form floors. A floor uses only the floors below it: `bin`, [`program`] and [`workflow`] · [`steps`] ·
//! [`components`] · [`contract`] · [`deployment`] · [`aws`].

pub mod aws;
pub mod components;
pub mod contract;
pub mod deployment;
pub mod program;
pub mod steps;
pub mod workflow;

use serde_json::Value;

use aws::error::StepError;
pub use aws::{Aws, Settings};
pub use components::COMPONENTS;
pub use contract::handler::Function;

/// The version of the functions, which changes with their sources.
pub const VERSION: &str = env!("STACKDROP_VERSION");

/// Every function: those of the components, Admit and Conclude.
pub fn functions() -> impl Iterator<Item = Function> {
    COMPONENTS.into_iter().chain([steps::admit::FUNCTION, steps::conclude::FUNCTION])
}

/// Runs the function with this name and the payload that the workflow sends, as Lambda does.
///
/// # Errors
/// `Defect` if no function has this name; otherwise the function's own error.
pub async fn handle(function: &str, payload: Value, aws: &Aws) -> Result<Value, StepError> {
    let named = functions().find(|known| known.name == function);
    let named = named.ok_or_else(|| StepError::Defect(format!("there is no function `{function}`")))?;
    named.handle(payload, aws).await
}
