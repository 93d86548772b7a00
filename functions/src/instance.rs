//! Stub.
use serde::{Deserialize, Serialize};

use crate::component::{Component, Plan, Removal, Work};
use crate::error::StepError;

/// The component's name.
pub const NAME: &str = "instance";

/// The EC2 instance of a stack.
#[derive(Debug)]
pub struct Instance;

/// What others need of the instance. Empty when the spec has none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Outputs {
    /// Its id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// How to open a shell on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connect: Option<String>,
}

impl Component for Instance {
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
