//! The PostgreSQL database: subnet group, parameter group and instance.

mod instance;
mod observed;
mod parameter_group;
mod preflight;
mod settings;
mod subnet_group;

use aws_sdk_rds::types::Tag;

use crate::aws::error::{Answer, StepError};
use crate::contract::component::{Component, Work};
use crate::contract::handler::{Function, act};
use crate::deployment::component_names;
use crate::deployment::deletion::Deletion;
use crate::deployment::names::Tags;
use crate::deployment::outputs::DatabaseOutputs;
use crate::deployment::plan::{Plan, Verb};
use observed::Observed;

/// The component's name.
pub const NAME: &str = component_names::DATABASE;

/// The function.
pub const FUNCTION: Function =
    Function::new(NAME, |payload, aws| Box::pin(act(&Database, NAME, payload, aws)));
/// The parameter that makes PostgreSQL refuse connections without TLS.
const FORCE_TLS: &str = "rds.force_ssl";

/// The PostgreSQL database of a stack.
#[derive(Debug)]
pub struct Database;

impl Component for Database {
    type Outputs = DatabaseOutputs;

    async fn plan(&self, work: &Work<'_>) -> Result<Plan, StepError> {
        let observed = Observed::read(work).await?;
        let mut plan = Plan::default();
        let Some(spec) = &work.spec.database else {
            plan_deletion(&observed, &mut plan);
            return Ok(plan);
        };
        subnet_group::plan(work, &observed, &mut plan);
        parameter_group::plan(work, spec, &observed, &mut plan);
        instance::plan(work, spec, &observed, &mut plan);
        preflight::plan(work, spec, &observed, &mut plan).await?;
        for (logical_id, what) in &observed.not_owned {
            plan.problem(*logical_id, format!("{what} is not of this stack"), FIX);
        }
        Ok(plan)
    }

    async fn plan_destroy(&self, work: &Work<'_>) -> Result<Plan, StepError> {
        let observed = Observed::read(work).await?;
        let mut plan = Plan::default();
        plan_deletion(&observed, &mut plan);
        Ok(plan)
    }

    async fn apply(&self, work: &Work<'_>) -> Result<DatabaseOutputs, StepError> {
        let observed = Observed::read(work).await?;
        let Some(spec) = &work.spec.database else {
            instance::refuse_protected(&observed)?;
            return Ok(DatabaseOutputs::default());
        };
        if let Some((_, what)) = observed.not_owned.first() {
            return Err(StepError::NotOwned { what: what.clone(), fix: FIX.into() });
        }
        // Both run to their end, whatever becomes of the other: neither is dropped in the middle of a creation.
        let (subnets, parameters) =
            tokio::join!(subnet_group::apply(work, &observed), parameter_group::apply(work, spec, &observed));
        subnets.and(parameters)?;
        instance::apply(work, spec, &observed).await
    }

    async fn wait_until_stable(&self, work: &Work<'_>) -> Result<DatabaseOutputs, StepError> {
        match &work.spec.database {
            Some(spec) => instance::wait_until_stable(work, spec).await,
            None => Ok(DatabaseOutputs::default()),
        }
    }

    async fn prune(&self, work: &Work<'_>) -> Result<Deletion, StepError> {
        let observed = Observed::read(work).await?;
        if let Some(spec) = &work.spec.database {
            return parameter_group::delete_outdated(work, spec, &observed).await;
        }
        instance::refuse_protected(&observed)?;
        delete(work, &observed).await
    }

    async fn delete(&self, work: &Work<'_>) -> Result<Deletion, StepError> {
        delete(work, &Observed::read(work).await?).await
    }
}

/// The way out where somebody else's resource has one of our names.
const FIX: &str = "delete it, or deploy a stack with another name";

/// Puts deletion protection on, if the spec asks for it: only once the stack stands, so that an undo is never in its way.
pub(crate) async fn protect(work: &Work<'_>) -> Result<(), StepError> {
    match &work.spec.database {
        Some(spec) if spec.deletion_protection => instance::protect(work, spec).await,
        _ => Ok(()),
    }
}

/// Deletes the instance and, once it is gone, the groups: RDS keeps what a database still uses.
async fn delete(work: &Work<'_>, observed: &Observed) -> Result<Deletion, StepError> {
    let mut deletion = Deletion { found: observed.count(), remaining: Vec::new() };
    if let Some(there) = &observed.instance {
        deletion.join(instance::delete(work, there).await?);
    }
    if !deletion.remaining.is_empty() {
        let why = "waits until the database is gone";
        if observed.subnet_group.is_some() {
            deletion.remains(subnet_group::LOGICAL_ID, subnet_group::name(work), why);
        }
        for group in &observed.parameter_groups {
            deletion.remains(parameter_group::LOGICAL_ID, &group.name, why);
        }
        return Ok(deletion);
    }
    let (subnets, parameters) =
        tokio::try_join!(subnet_group::delete(work, observed), parameter_group::delete(work, observed))?;
    deletion.join(subnets);
    deletion.join(parameters);
    Ok(deletion)
}

/// Notes that everything of a database that the spec has no longer goes.
fn plan_deletion(observed: &Observed, plan: &mut Plan) {
    if let Some(there) = &observed.instance {
        instance::plan_deletion(there, plan);
    }
    if observed.subnet_group.is_some() {
        plan.change(Verb::Delete, subnet_group::LOGICAL_ID);
    }
    for group in &observed.parameter_groups {
        plan.change(Verb::Delete, format!("{} ({})", parameter_group::LOGICAL_ID, group.name));
    }
}

/// Tags in RDS's shape.
fn rds_tags(tags: Tags) -> Vec<Tag> {
    tags.into_iter().map(|(key, value)| Tag::builder().key(key).value(value).build()).collect()
}

/// Puts missing tags on a resource of ours, and takes off those that the spec has dropped.
async fn keep_tags(work: &Work<'_>, arn: &str, logical_id: &str, observed: &Tags) -> Result<(), StepError> {
    const WAITS_FOR: &str = "the database to take its tags";
    let (missing, stale) =
        (work.stack.tags_to_put(NAME, logical_id, observed), work.stack.stale_tags(observed));
    if !missing.is_empty() {
        let call = work.aws.rds().add_tags_to_resource().resource_name(arn).set_tags(Some(rds_tags(missing)));
        call.send().await.pending_on(&[instance::BUSY], WAITS_FOR, format!("tagging {arn}"))?;
        tracing::info!(arn, "Tags added.");
    }
    if !stale.is_empty() {
        let call = work.aws.rds().remove_tags_from_resource().resource_name(arn).set_tag_keys(Some(stale));
        call.send().await.pending_on(&[instance::BUSY], WAITS_FOR, format!("taking tags off {arn}"))?;
        tracing::info!(arn, "Tags taken off.");
    }
    Ok(())
}
