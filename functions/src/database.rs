//! Stub.
use serde::{Deserialize, Serialize};

use crate::component::{Component, Plan, Removal, Work};
use crate::error::StepError;

/// The component's name.
pub const NAME: &str = "database";
/// The port that PostgreSQL listens on.
pub(crate) const PORT: u16 = 5432;

/// The PostgreSQL database of a stack.
#[derive(Debug)]
pub struct Database;

/// What others need of the database. All empty when the spec has none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Outputs {
    /// The instance's identifier.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identifier: Option<String>,
    /// The endpoint's host name. RDS tells it some minutes after the creation: `settle` has it, `ensure` may not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The ARN of the secret that RDS manages, with the keys `username` and `password`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// Whether a service is given values of the database, so that it has to wait for it.
    pub awaited: bool,
}

impl Component for Database {
    type Outputs = Outputs;

    async fn plan(&self, _: &Work<'_>) -> Result<Plan, StepError> {
        Ok(Plan::default())
    }

    async fn ensure(&self, _: &Work<'_>) -> Result<Outputs, StepError> {
        Ok(Outputs::default())
    }

    async fn settle(&self, _: &Work<'_>) -> Result<Outputs, StepError> {
        Ok(Outputs::default())
    }

    async fn remove(&self, _: &Work<'_>) -> Result<Removal, StepError> {
        Ok(Removal::default())
    }
}

/// Puts deletion protection on, if the spec asks for it: only once the stack stands, so that an undo is never in its way.
pub(crate) async fn protect(_: &Work<'_>) -> Result<(), StepError> {
    Ok(())
}
