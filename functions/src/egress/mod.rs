//! The way out of the private subnets: NAT gateways with their addresses and routes, or interface endpoints.

pub(crate) mod endpoints;
mod found;
mod nat;
mod routes;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::component::{Component, Plan, Removal, Work};
use crate::error::StepError;
use crate::together;
pub(crate) use endpoints::{delete as delete_endpoints, gives_full_access};
use found::Found;

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

impl Component for Egress {
    type Outputs = Outputs;

    async fn plan(&self, work: &Work<'_>) -> Result<Plan, StepError> {
        let found = Found::read(work).await?;
        let mut plan = Plan::default();
        nat::plan(work, &found, &mut plan);
        routes::plan(work, &found, &mut plan);
        endpoints::plan(work, &found, &mut plan);
        nat::check_quota(work, &found, &mut plan).await?;
        Ok(plan)
    }

    async fn ensure(&self, work: &Work<'_>) -> Result<Outputs, StepError> {
        let mut found = Found::read(work).await?;
        nat::ensure_addresses(work, &mut found).await?;
        nat::ensure(work, &mut found).await?;
        endpoints::ensure(work, &mut found).await?;
        routes::ensure(work, &found).await?;
        let removal = remove_superfluous(work, &found).await?;
        crate::lambda::cleared(removal)?;
        found.outputs(work)
    }

    async fn settle(&self, work: &Work<'_>) -> Result<Outputs, StepError> {
        let found = Found::read_wanted(work).await?;
        nat::settle(work, &found)?;
        endpoints::settle(work, &found)?;
        // `ensure` has reported all of it.
        Ok(work.outputs.egress.clone().unwrap_or_default())
    }

    async fn remove(&self, work: &Work<'_>) -> Result<Removal, StepError> {
        let found = Found::read(work).await?;
        let mut removal = Removal::default();
        // Routes may lead nowhere until their tables go with the network.
        let (gateways, endpoints) =
            together::both(nat::remove(work, &found, |_| true), endpoints::remove(work, &found, |_| true))
                .await?;
        removal.join(gateways);
        removal.join(endpoints);
        Ok(removal)
    }
}

/// Takes away what the spec no longer asks for, once what it asks for instead works: no gap in between.
async fn remove_superfluous(work: &Work<'_>, found: &Found) -> Result<Removal, StepError> {
    if !nat::has_superfluous(work, found) && !endpoints::has_superfluous(work, found) {
        return Ok(Removal::default());
    }
    nat::settle(work, found)?;
    endpoints::settle(work, found)?;
    let (mut removal, endpoints) = together::both(
        nat::remove(work, found, |role| !nat::is_wanted(work, role)),
        endpoints::remove(work, found, |role| !endpoints::is_wanted(work, role)),
    )
    .await?;
    removal.join(endpoints);
    Ok(removal)
}
