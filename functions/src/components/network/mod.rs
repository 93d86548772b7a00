//! The network: VPC, subnets, internet gateway, route tables, S3 gateway endpoint and flow log.

mod endpoint;
mod flow_logs;
mod gateway;
mod guard_duty;
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
use crate::contract::identity;
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
        identity::plan(work, &observed.lost, &mut plan);
        if !plan.problems.is_empty() {
            // What is missing because of it would only look like a change.
            return Ok(plan);
        }
        vpc::plan(work, &observed, &mut plan);
        subnets::plan(work, &observed, &mut plan);
        gateway::plan(work, &observed, &mut plan).await?;
        tables::plan(work, &observed, &mut plan).await?;
        endpoint::plan(work, &observed, &mut plan).await?;
        flow_logs::plan(work, &observed, &mut plan).await?;
        preflight::plan(work, &observed, &mut plan).await?;
        Ok(plan)
    }

    async fn plan_destroy(&self, work: &Work<'_>) -> Result<Plan, StepError> {
        let mut plan = Plan::default();
        identity::plan(work, &Observed::read(work).await?.lost, &mut plan);
        Ok(plan)
    }

    async fn apply(&self, work: &Work<'_>) -> Result<NetworkOutputs, StepError> {
        let observed = Observed::read(work).await?;
        identity::refuse(work, &observed.lost)?;
        let vpc = vpc::apply(work, &observed).await?;
        // These resources need only the VPC. The next ones need them to be visible.
        let first: [BoxFuture<'_, Result<bool, StepError>>; 5] = [
            Box::pin(async { vpc::apply_dns(work, &observed, &vpc).await.map(|()| false) }),
            Box::pin(async { vpc::revoke_default_group_rules(work, &observed).await.map(|()| false) }),
            Box::pin(subnets::apply(work, &observed, &vpc)),
            Box::pin(gateway::apply(work, &observed, &vpc)),
            Box::pin(tables::apply(work, &observed, &vpc)),
        ];
        let created = join::all(first).await?.contains(&true);
        if created {
            return Err(StepError::stalled(
                "the subnets, route tables and internet gateway to become visible",
            ));
        }
        if !subnets::available(&observed) {
            return Err(StepError::pending("the subnets to become available"));
        }
        let second: [BoxFuture<'_, Result<(), StepError>>; 5] = [
            Box::pin(tables::associate(work, &observed)),
            Box::pin(tables::apply_default_route(work, &observed)),
            Box::pin(routes::delete_manual_routes(work, &observed)),
            Box::pin(endpoint::apply(work, &observed, &vpc)),
            Box::pin(flow_logs::apply(work, &observed, &vpc)),
        ];
        join::all(second).await?;
        observed.outputs(work)
    }

    async fn prune(&self, work: &Work<'_>) -> Result<Deletion, StepError> {
        let observed = Observed::read(work).await?;
        let mut deletion = Deletion::default();
        let undesired = |logical_id: &str| !subnets::is_desired(work, logical_id);
        let subnets = observed.subnets.iter().filter(|(logical_id, _)| undesired(logical_id));
        let leaving = guard_duty::leave(work, &subnets.map(|(_, subnet)| subnet).collect::<Vec<_>>()).await?;
        flow_logs::delete_undesired(work, &observed, &mut deletion).await?;
        subnets::delete(work, &observed, &mut deletion, &leaving, undesired).await?;
        if deletion.remaining.is_empty() {
            endpoint::detach_undesired_tables(work, &observed).await?;
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
        identity::keep(work, &observed.lost, &mut deletion);
        guard_duty::delete(work, &observed, &mut deletion).await?;
        endpoint::delete(work, &observed, &mut deletion).await?;
        gateway::delete(work, &observed, &mut deletion).await?;
        if !deletion.remaining.is_empty() {
            // An internet gateway that cannot be deleted yet shows that public addresses still exist, and with them
            // network interfaces in the subnets. An endpoint uses its route tables until it is deleted.
            observed.leave_rest(&mut deletion);
            return Ok(deletion);
        }
        subnets::delete(work, &observed, &mut deletion, &[], |_| true).await?;
        tables::delete(work, &observed, &mut deletion, |_| true).await?;
        flow_logs::delete(work, &observed, &mut deletion).await?;
        vpc::delete(work, &observed, &mut deletion).await?;
        Ok(deletion)
    }
}

/// A subnet's logical ID.
fn subnet_logical_id(tier: Tier, zone: char) -> String {
    format!("subnet/{tier}/{zone}")
}

/// Plans the creation of a missing resource.
fn plan_missing(logical_id: &str, plan: &mut Plan) {
    plan.change(Verb::Create, logical_id);
}
