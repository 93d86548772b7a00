//! Stub.
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::component::{Component, Plan, Removal, Work};
use crate::error::StepError;

/// The component's name.
pub const NAME: &str = "load-balancer";

/// The load balancer of a stack.
#[derive(Debug)]
pub struct LoadBalancer;

/// What others need of the load balancer. All empty when the spec has none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Outputs {
    /// Its ARN.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arn: Option<String>,
    /// Its DNS name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dns_name: Option<String>,
    /// Where people find the stack: `https://` and the domain, or else the DNS name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The ARNs of the target groups by service.
    pub target_groups: BTreeMap<String, String>,
}

impl Component for LoadBalancer {
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
