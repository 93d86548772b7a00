//! The PostgreSQL database: subnet group, parameter group and instance.

mod observed;
mod instance;
mod parameter_group;
mod preflight;
mod settings;
mod subnet_group;

use aws_sdk_rds::types::Tag;

use crate::deployment::outputs::DatabaseOutputs;
use crate::deployment::component_names;
use crate::contract::component::{Component, Work};
use crate::deployment::deletion::Removal;
use crate::deployment::plan::{Plan, Verb};
use crate::aws::error::{Answer, StepError};
use crate::contract::handler::{Function, act};
use crate::deployment::names::Tags;
use observed::Found;

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
        let found = Found::read(work).await?;
        let mut plan = Plan::default();
        let Some(spec) = &work.spec.database else {
            plan_removal(&found, &mut plan);
            return Ok(plan);
        };
        subnet_group::plan(work, &found, &mut plan);
        parameter_group::plan(work, spec, &found, &mut plan);
        instance::plan(work, spec, &found, &mut plan);
        preflight::plan(work, spec, &found, &mut plan).await?;
        for (role, what) in &found.foreign {
            plan.problem(*role, format!("{what} is not of this stack"), FIX);
        }
        Ok(plan)
    }

    async fn plan_removal(&self, work: &Work<'_>) -> Result<Plan, StepError> {
        let found = Found::read(work).await?;
        let mut plan = Plan::default();
        plan_removal(&found, &mut plan);
        Ok(plan)
    }

    async fn ensure(&self, work: &Work<'_>) -> Result<DatabaseOutputs, StepError> {
        let found = Found::read(work).await?;
        let Some(spec) = &work.spec.database else {
            instance::refuse_protected(&found)?;
            return Ok(DatabaseOutputs::default());
        };
        if let Some((_, what)) = found.foreign.first() {
            return Err(StepError::Foreign { what: what.clone(), fix: FIX.into() });
        }
        // Both run to their end, whatever becomes of the other: neither is dropped in the middle of a creation.
        let (subnets, parameters) =
            tokio::join!(subnet_group::ensure(work, &found), parameter_group::ensure(work, spec, &found));
        subnets.and(parameters)?;
        instance::ensure(work, spec, &found).await
    }

    async fn settle(&self, work: &Work<'_>) -> Result<DatabaseOutputs, StepError> {
        match &work.spec.database {
            Some(spec) => instance::settle(work, spec).await,
            None => Ok(DatabaseOutputs::default()),
        }
    }

    async fn tidy(&self, work: &Work<'_>) -> Result<Removal, StepError> {
        let found = Found::read(work).await?;
        if let Some(spec) = &work.spec.database {
            return parameter_group::remove_outdated(work, spec, &found).await;
        }
        instance::refuse_protected(&found)?;
        remove(work, &found).await
    }

    async fn remove(&self, work: &Work<'_>) -> Result<Removal, StepError> {
        remove(work, &Found::read(work).await?).await
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
async fn remove(work: &Work<'_>, found: &Found) -> Result<Removal, StepError> {
    let mut removal = Removal { found: found.count(), left: Vec::new() };
    if let Some(there) = &found.instance {
        removal.join(instance::remove(work, there).await?);
    }
    if !removal.left.is_empty() {
        let why = "waits until the database is gone";
        if found.subnet_group.is_some() {
            removal.leave(subnet_group::ROLE, subnet_group::name(work), why);
        }
        for group in &found.parameter_groups {
            removal.leave(parameter_group::ROLE, &group.name, why);
        }
        return Ok(removal);
    }
    let (subnets, parameters) =
        tokio::try_join!(subnet_group::remove(work, found), parameter_group::remove(work, found))?;
    removal.join(subnets);
    removal.join(parameters);
    Ok(removal)
}

/// Notes that everything of a database that the spec has no longer goes.
fn plan_removal(found: &Found, plan: &mut Plan) {
    if let Some(there) = &found.instance {
        instance::plan_removal(there, plan);
    }
    if found.subnet_group.is_some() {
        plan.change(Verb::Remove, subnet_group::ROLE);
    }
    for group in &found.parameter_groups {
        plan.change(Verb::Remove, format!("{} ({})", parameter_group::ROLE, group.name));
    }
}

/// Tags in RDS's shape.
fn rds_tags(tags: Tags) -> Vec<Tag> {
    tags.into_iter().map(|(key, value)| Tag::builder().key(key).value(value).build()).collect()
}

/// Puts missing tags on a resource of ours, and takes off those that the spec has dropped.
async fn keep_tags(work: &Work<'_>, arn: &str, role: &str, found: &Tags) -> Result<(), StepError> {
    const WAITS_FOR: &str = "the database to take its tags";
    let (missing, stale) = (work.stack.tags_to_put(NAME, role, found), work.stack.stale_tags(found));
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
