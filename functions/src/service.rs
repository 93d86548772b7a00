//! Stub.
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::component::{Component, Plan, Removal, Work};
use crate::error::StepError;

/// The component's name.
pub const NAME: &str = "service";

/// The ECS services of a stack.
#[derive(Debug)]
pub struct Service;

/// What others need of the services. Empty when the spec has none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Outputs {
    /// The cluster's ARN.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// Each service by the spec's name.
    pub services: BTreeMap<String, Running>,
}

/// One service as it was asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Running {
    /// Its ARN.
    pub arn: String,
    /// The ARN of the task definition's revision.
    pub task_definition: String,
    /// The id of the ECS deployment that brings it about (`ecs-svc/…`), which `settle` follows.
    pub rollout: String,
}

impl Component for Service {
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
