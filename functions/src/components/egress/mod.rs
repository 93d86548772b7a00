//! The way out of the private subnets: NAT gateways with their addresses and routes, or interface endpoints.

mod endpoints;
mod observed;
mod nat;
mod routes;



use crate::deployment::outputs::EgressOutputs;
use crate::deployment::component_names;
use crate::contract::component::{Component, Work};
use crate::deployment::deletion::Removal;
use crate::deployment::plan::Plan;
use crate::aws::error::StepError;
use crate::contract::handler::{Function, act};
use crate::aws::join;
use observed::Found;

/// The component's name.
pub const NAME: &str = component_names::EGRESS;

/// The function.
pub const FUNCTION: Function = Function::new(NAME, |payload, aws| Box::pin(act(&Egress, NAME, payload, aws)));

/// The way out of a stack's private subnets.
#[derive(Debug)]
pub struct Egress;

impl Component for Egress {
    type Outputs = EgressOutputs;

    async fn plan(&self, work: &Work<'_>) -> Result<Plan, StepError> {
        let found = Found::read(work).await?;
        let mut plan = Plan::default();
        nat::plan(work, &found, &mut plan);
        routes::plan(work, &found, &mut plan);
        endpoints::plan(work, &found, &mut plan);
        nat::check_quota(work, &found, &mut plan).await?;
        Ok(plan)
    }

    async fn ensure(&self, work: &Work<'_>) -> Result<EgressOutputs, StepError> {
        let mut found = Found::read(work).await?;
        nat::ensure_addresses(work, &mut found).await?;
        nat::ensure(work, &mut found).await?;
        endpoints::ensure(work, &mut found).await?;
        routes::ensure(work, &found).await?;
        crate::contract::handler::cleared(nat::release_doubles(work, &found).await?)?;
        found.outputs(work)
    }

    async fn settle(&self, work: &Work<'_>) -> Result<EgressOutputs, StepError> {
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
        join::both(nat::remove(work, found, gateways), endpoints::remove(work, found, endpoints)).await?;
    removal.join(endpoints);
    Ok(removal)
}
