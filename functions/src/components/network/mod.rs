//! The VPC and what lies in it: subnets, internet gateway, route tables, S3 gateway endpoint.

mod endpoint;
mod observed;
mod gateway;
mod preflight;
mod routes;
mod subnets;
mod tables;
mod vpc;


use futures::future::BoxFuture;
use stackdrop_specs::Tier;

use crate::deployment::outputs::NetworkOutputs;
use crate::deployment::component_names;
use crate::contract::component::{Component, Work};
use crate::deployment::deletion::Removal;
use crate::deployment::plan::{Plan, Verb};
use crate::aws::error::StepError;
use crate::contract::handler::{Function, act};
use crate::aws::join;
use observed::Found;

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
        let found = Found::read(work).await?;
        let mut plan = Plan::default();
        vpc::plan(work, &found, &mut plan);
        subnets::plan(work, &found, &mut plan);
        gateway::plan(work, &found, &mut plan);
        tables::plan(work, &found, &mut plan).await?;
        endpoint::plan(work, &found, &mut plan);
        preflight::plan(work, &found, &mut plan).await?;
        Ok(plan)
    }

    async fn ensure(&self, work: &Work<'_>) -> Result<NetworkOutputs, StepError> {
        let found = Found::read(work).await?;
        let vpc = vpc::ensure(work, &found).await?;
        // What needs nothing but the VPC is made at once; the rest needs these to be visible.
        let making: [BoxFuture<'_, Result<bool, StepError>>; 5] = [
            Box::pin(async { vpc::ensure_dns(work, &found, &vpc).await.map(|()| false) }),
            Box::pin(async { vpc::strip_default_group(work, &found).await.map(|()| false) }),
            Box::pin(subnets::ensure(work, &found, &vpc)),
            Box::pin(gateway::ensure(work, &found, &vpc)),
            Box::pin(tables::ensure(work, &found, &vpc)),
        ];
        let made = join::all(making).await?.contains(&true);
        if made || !subnets::available(&found) {
            return Err(StepError::pending("the subnets, route tables and internet gateway to be available"));
        }
        let making: [BoxFuture<'_, Result<(), StepError>>; 4] = [
            Box::pin(tables::associate(work, &found)),
            Box::pin(tables::lead_out(work, &found)),
            Box::pin(routes::take_off(work, &found)),
            Box::pin(endpoint::ensure(work, &found, &vpc)),
        ];
        join::all(making).await?;
        found.outputs(work)
    }

    async fn settle(&self, work: &Work<'_>) -> Result<NetworkOutputs, StepError> {
        work.network().cloned()
    }

    async fn tidy(&self, work: &Work<'_>) -> Result<Removal, StepError> {
        let found = Found::read(work).await?;
        let mut removal = Removal::default();
        subnets::remove(work, &found, &mut removal, |role| !subnets::is_wanted(work, role)).await?;
        if removal.left.is_empty() {
            endpoint::let_go(work, &found).await?;
            tables::remove(work, &found, &mut removal, |role| !tables::is_wanted(work, role)).await?;
        }
        Ok(removal)
    }

    async fn remove(&self, work: &Work<'_>) -> Result<Removal, StepError> {
        let found = Found::read(work).await?;
        let mut removal = Removal { found: found.count(), left: Vec::new() };
        endpoint::remove(work, &found, &mut removal).await?;
        gateway::remove(work, &found, &mut removal).await?;
        if !removal.left.is_empty() {
            // An internet gateway that cannot go yet tells that public addresses are still there, and so are the
            // interfaces that would hold the subnets; an endpoint holds its route tables until it is gone.
            found.leave_the_rest(&mut removal);
            return Ok(removal);
        }
        subnets::remove(work, &found, &mut removal, |_| true).await?;
        tables::remove(work, &found, &mut removal, |_| true).await?;
        vpc::remove(work, &found, &mut removal).await?;
        Ok(removal)
    }
}

/// The names of the zones that the stack's subnets are in, or will be in.
pub(crate) async fn zone_names(work: &Work<'_>) -> Result<Vec<String>, StepError> {
    let zones = subnets::zones(work, &observed::find_subnets(work).await?).await?;
    Ok(zones.into_iter().take(work.spec.network.zone_letters().len()).collect())
}

/// The role of a subnet.
fn subnet_role(tier: Tier, zone: char) -> String {
    format!("subnet/{tier}/{zone}")
}

/// Notes that a resource is missing.
fn plan_missing(role: &str, plan: &mut Plan) {
    plan.change(Verb::Create, role);
}
