//! The VPC and what lies in it: subnets, internet gateway, route tables, S3 gateway endpoint.

mod endpoint;
mod gateway;
mod observed;
mod preflight;
mod routes;
mod subnets;
mod tables;
mod vpc;

use futures::future::BoxFuture;
use stackdrop_specs::Tier;

use crate::aws::error::StepError;
use crate::aws::join;
use crate::contract::component::{Component, Work};
use crate::contract::handler::{Function, act};
use crate::deployment::component_names;
use crate::deployment::deletion::Deletion;
use crate::deployment::outputs::NetworkOutputs;
use crate::deployment::plan::{Plan, Verb};
use observed::Observed;

/// The component's name.
pub const NAME: &str = component_names::NETWORK;

/// The function.
pub const FUNCTION: Function =
    Function::new(NAME, |payload, aws| Box::pin(act(&Network, NAME, payload, aws)));

/// The network of a stack.
#[derive(Debug)]
pub struct Network;

impl Component for Network {
    type Outputs = NetworkOutputs;

    async fn plan(&self, work: &Work<'_>) -> Result<Plan, StepError> {
        let observed = Observed::read(work).await?;
        let mut plan = Plan::default();
        vpc::plan(work, &observed, &mut plan);
        subnets::plan(work, &observed, &mut plan);
        gateway::plan(work, &observed, &mut plan);
        tables::plan(work, &observed, &mut plan).await?;
        endpoint::plan(work, &observed, &mut plan);
        preflight::plan(work, &observed, &mut plan).await?;
        Ok(plan)
    }

    async fn apply(&self, work: &Work<'_>) -> Result<NetworkOutputs, StepError> {
        let observed = Observed::read(work).await?;
        let vpc = vpc::apply(work, &observed).await?;
        // What needs nothing but the VPC is made at once; the rest needs these to be visible.
        let making: [BoxFuture<'_, Result<bool, StepError>>; 5] = [
            Box::pin(async { vpc::apply_dns(work, &observed, &vpc).await.map(|()| false) }),
            Box::pin(async { vpc::strip_default_group(work, &observed).await.map(|()| false) }),
            Box::pin(subnets::apply(work, &observed, &vpc)),
            Box::pin(gateway::apply(work, &observed, &vpc)),
            Box::pin(tables::apply(work, &observed, &vpc)),
        ];
        let made = join::all(making).await?.contains(&true);
        if made || !subnets::available(&observed) {
            return Err(StepError::pending("the subnets, route tables and internet gateway to be available"));
        }
        let making: [BoxFuture<'_, Result<(), StepError>>; 4] = [
            Box::pin(tables::associate(work, &observed)),
            Box::pin(tables::lead_out(work, &observed)),
            Box::pin(routes::take_off(work, &observed)),
            Box::pin(endpoint::apply(work, &observed, &vpc)),
        ];
        join::all(making).await?;
        observed.outputs(work)
    }

    async fn wait_until_stable(&self, work: &Work<'_>) -> Result<NetworkOutputs, StepError> {
        work.network().cloned()
    }

    async fn prune(&self, work: &Work<'_>) -> Result<Deletion, StepError> {
        let observed = Observed::read(work).await?;
        let mut deletion = Deletion::default();
        subnets::delete(work, &observed, &mut deletion, |logical_id| !subnets::is_desired(work, logical_id))
            .await?;
        if deletion.remaining.is_empty() {
            endpoint::let_go(work, &observed).await?;
            tables::delete(work, &observed, &mut deletion, |logical_id| {
                !tables::is_desired(work, logical_id)
            })
            .await?;
        }
        Ok(deletion)
    }

    async fn delete(&self, work: &Work<'_>) -> Result<Deletion, StepError> {
        let observed = Observed::read(work).await?;
        let mut deletion = Deletion { found: observed.count(), remaining: Vec::new() };
        endpoint::delete(work, &observed, &mut deletion).await?;
        gateway::delete(work, &observed, &mut deletion).await?;
        if !deletion.remaining.is_empty() {
            // An internet gateway that cannot go yet tells that public addresses are still there, and so are the
            // interfaces that would hold the subnets; an endpoint holds its route tables until it is gone.
            observed.leave_the_rest(&mut deletion);
            return Ok(deletion);
        }
        subnets::delete(work, &observed, &mut deletion, |_| true).await?;
        tables::delete(work, &observed, &mut deletion, |_| true).await?;
        vpc::delete(work, &observed, &mut deletion).await?;
        Ok(deletion)
    }
}

/// The names of the zones that the stack's subnets are in, or will be in.
pub(crate) async fn zone_names(work: &Work<'_>) -> Result<Vec<String>, StepError> {
    let zones = subnets::zones(work, &observed::find_subnets(work).await?).await?;
    Ok(zones.into_iter().take(work.spec.network.zone_letters().len()).collect())
}

/// The logical ID of a subnet.
fn subnet_logical_id(tier: Tier, zone: char) -> String {
    format!("subnet/{tier}/{zone}")
}

/// Notes that a resource is missing.
fn plan_missing(logical_id: &str, plan: &mut Plan) {
    plan.change(Verb::Create, logical_id);
}
