//! The way out of the private subnets: NAT gateways with their addresses and routes, or interface endpoints.

pub(crate) mod endpoints;
mod found;
mod nat;
mod routes;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::component::{Component, Plan, Removal, Work};
use crate::error::StepError;
use crate::lambda::{Function, act};
use crate::together;
pub(crate) use endpoints::{delete as delete_endpoints, gives_full_access};
use found::Found;

/// The component's name.
pub const NAME: &str = "egress";

/// The function.
pub const FUNCTION: Function = Function::new(NAME, |payload, aws| Box::pin(act(&Egress, NAME, payload, aws)));

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
        crate::lambda::cleared(nat::release_doubles(work, &found).await?)?;
        found.outputs(work)
    }

    async fn settle(&self, work: &Work<'_>) -> Result<Outputs, StepError> {
        let found = Found::read_wanted(work).await?;
        nat::settle(work, &found)?;
        endpoints::settle(work, &found)?;
        // `ensure` has reported all of it.
        Ok(work.outputs.egress.clone().unwrap_or_default())
    }

    // A released address never comes back, and others may have let it in: the way out of before is there until the
    // new one has proved itself.
    async fn tidy(&self, work: &Work<'_>) -> Result<Removal, StepError> {
        let found = Found::read(work).await?;
        remove(work, &found, |role| !nat::is_wanted(work, role), |role| !endpoints::is_wanted(work, role))
            .await
    }

    async fn remove(&self, work: &Work<'_>) -> Result<Removal, StepError> {
        let found = Found::read(work).await?;
        // Routes may lead nowhere until their tables go with the network.
        remove(work, &found, |_| true, |_| true).await
    }
}

/// Deletes the NAT gateways, with their addresses, and the interface endpoints whose roles these are.
async fn remove(
    work: &Work<'_>,
    found: &Found,
    gateways: impl Fn(&str) -> bool,
    endpoints: impl Fn(&str) -> bool,
) -> Result<Removal, StepError> {
    let (mut removal, endpoints) =
        together::both(nat::remove(work, found, gateways), endpoints::remove(work, found, endpoints)).await?;
    removal.join(endpoints);
    Ok(removal)
}
