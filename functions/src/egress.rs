//! Stub.
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::component::{Component, Plan, Removal, Work};
use crate::error::StepError;

/// The component's name.
pub const NAME: &str = "egress";

/// The way out of a stack's private subnets.
#[derive(Debug)]
pub struct Egress;

/// What others need of the way out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Outputs {
    /// The NAT gateways by zone.
    pub nat_gateways: BTreeMap<String, String>,
    /// The public addresses that requests come from, as others see them.
    pub addresses: Vec<String>,
    /// The interface endpoints by service, such as `ecr.api`.
    pub endpoints: BTreeMap<String, String>,
}

/// Deletes VPC endpoints and returns those that would not go, with AWS's reason.
pub(crate) async fn delete_endpoints(
    work: &Work<'_>,
    ids: &[String],
) -> Result<Vec<(String, String)>, StepError> {
    let call = work.aws.ec2.delete_vpc_endpoints().set_vpc_endpoint_ids(Some(ids.to_vec()));
    let answer = crate::error::Answer::doing(call.send().await, "deleting VPC endpoints")?;
    // Refusals come inside a successful answer.
    let left = answer.unsuccessful().iter().filter_map(|item| {
        let error = item.error()?;
        let code = error.code().unwrap_or_default();
        let absent = code.starts_with("InvalidVpcEndpoint") && code.ends_with("NotFound");
        (!absent).then(|| {
            let id = item.resource_id().unwrap_or_default().to_owned();
            (id, format!("{code}: {}", error.message().unwrap_or_default()))
        })
    });
    Ok(left.collect())
}

impl Component for Egress {
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
