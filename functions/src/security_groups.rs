//! Stub.
use serde::{Deserialize, Serialize};

use crate::component::{Component, Plan, Removal, Work};
use crate::error::StepError;

/// The component's name.
pub const NAME: &str = "security-groups";

/// The security groups of a stack.
#[derive(Debug)]
pub struct SecurityGroups;

/// The ids of the security groups. A group whose user the spec does not have is not there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Outputs {
    /// Of the load balancer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load_balancer: Option<String>,
    /// Of the ECS tasks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Of the EC2 instance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// Of the interface endpoints.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoints: Option<String>,
    /// Of the database.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database: Option<String>,
}

impl Component for SecurityGroups {
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
