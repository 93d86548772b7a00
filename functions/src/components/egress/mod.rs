//! Outbound connections of the private subnets: NAT gateways with their Elastic IP addresses and routes, or interface
//! endpoints.

mod endpoints;
mod nat;
mod observed;
mod offers;
mod routes;

use crate::aws::error::StepError;
use crate::aws::join;
use crate::contract::component::{Component, Work};
use crate::contract::handler::{Function, act, completed};
use crate::contract::identity;
use crate::deployment::component_names;
use crate::deployment::deletion::Deletion;
use crate::deployment::outputs::EgressOutputs;
use crate::deployment::plan::Plan;
use observed::Observed;

/// The component's name.
pub const NAME: &str = component_names::EGRESS;

/// The function.
pub const FUNCTION: Function = Function::new(NAME, |payload, aws| Box::pin(act(&Egress, NAME, payload, aws)));

/// The outbound connections of a stack's private subnets.
#[derive(Debug)]
pub struct Egress;

impl Component for Egress {
    type Outputs = EgressOutputs;

    async fn plan(&self, work: &Work<'_>) -> Result<Plan, StepError> {
        let observed = Observed::read(work).await?;
        let mut plan = Plan::default();
        identity::plan(work, &observed.lost, &mut plan);
        if !plan.problems.is_empty() {
            return Ok(plan);
        }
        nat::plan(work, &observed, &mut plan);
        routes::plan(work, &observed, &mut plan);
        endpoints::plan(work, &observed, &mut plan);
        nat::check_quota(work, &observed, &mut plan).await?;
        offers::plan(work, &observed, &mut plan).await?;
        Ok(plan)
    }

    async fn plan_destroy(&self, work: &Work<'_>) -> Result<Plan, StepError> {
        let mut plan = Plan::default();
        identity::plan(work, &Observed::read(work).await?.lost, &mut plan);
        Ok(plan)
    }

    async fn apply(&self, work: &Work<'_>) -> Result<EgressOutputs, StepError> {
        let mut observed = Observed::read(work).await?;
        identity::refuse(work, &observed.lost)?;
        nat::apply_addresses(work, &mut observed).await?;
        nat::apply(work, &mut observed).await?;
        endpoints::apply(work, &mut observed).await?;
        routes::apply(work, &observed).await?;
        completed(nat::release_duplicates(work, &observed).await?)?;
        observed.outputs(work)
    }

    async fn wait_until_stable(&self, work: &Work<'_>) -> Result<EgressOutputs, StepError> {
        let observed = Observed::read_desired(work).await?;
        nat::wait_until_stable(work, &observed)?;
        endpoints::wait_until_stable(work, &observed)?;
        // `apply` has reported the complete outputs.
        Ok(work.outputs.egress.clone().unwrap_or_default())
    }

    // A released Elastic IP address cannot be allocated again, and others may allow only this address. The old gateways stay
    // until everything is healthy with the new ones.
    async fn prune(&self, work: &Work<'_>) -> Result<Deletion, StepError> {
        let observed = Observed::read(work).await?;
        delete(
            work,
            &observed,
            |logical_id| !nat::is_desired(work, logical_id),
            |logical_id| !endpoints::is_desired(work, logical_id),
        )
        .await
    }

    async fn delete(&self, work: &Work<'_>) -> Result<Deletion, StepError> {
        let observed = Observed::read(work).await?;
        // Routes may have no target until `network` deletes their tables.
        delete(work, &observed, |_| true, |_| true).await
    }
}

/// Deletes the NAT gateways, with their Elastic IP addresses, and the interface endpoints that the filters select.
async fn delete(
    work: &Work<'_>,
    observed: &Observed,
    gateways: impl Fn(&str) -> bool,
    endpoints: impl Fn(&str) -> bool,
) -> Result<Deletion, StepError> {
    let (mut deletion, endpoints) =
        join::both(nat::delete(work, observed, gateways), endpoints::delete(work, observed, endpoints))
            .await?;
    deletion.join(endpoints);
    identity::keep(work, &observed.lost, &mut deletion);
    Ok(deletion)
}
