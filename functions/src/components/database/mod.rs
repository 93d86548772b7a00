//! The PostgreSQL database: DB subnet group, DB parameter group and RDS instance.

mod creation;
mod deletion;
mod gone;
mod instance;
mod linked_role;
mod observed;
mod parameter_group;
mod preflight;
mod restore;
mod rotation;
mod settings;
mod status;
mod storage;
mod subnet_group;
mod values;
mod version;

use aws_sdk_rds::types::Tag;

use crate::aws::error::{AwsResult, StepError};
use crate::aws::join;
use crate::contract::component::{Component, Work};
use crate::contract::handler::{Function, act};
use crate::contract::identity::or_tag;
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
            plan_deletion(work, &observed, &mut plan);
            return Ok(plan);
        };
        linked_role::plan(work, &observed, &mut plan).await?;
        subnet_group::plan(work, &observed, &mut plan);
        parameter_group::plan(work, spec, &observed, &mut plan);
        if let Some(gone) = gone::find(work, spec, &observed).await? {
            plan.problem(instance::LOGICAL_ID, gone.why, gone.fix);
        } else {
            instance::plan(work, spec, &observed, &mut plan).await?;
            rotation::plan(work, &observed, &mut plan).await?;
            preflight::plan(work, spec, &observed, &mut plan).await?;
        }
        for (logical_id, what) in &observed.not_owned {
            plan.problem(
                *logical_id,
                format!("{what} exists but is not managed by this stack"),
                how_to_own(work),
            );
        }
        Ok(plan)
    }

    async fn plan_destroy(&self, work: &Work<'_>) -> Result<Plan, StepError> {
        let observed = Observed::read(work).await?;
        let mut plan = Plan::default();
        plan_deletion(work, &observed, &mut plan);
        Ok(plan)
    }

    async fn apply(&self, work: &Work<'_>) -> Result<DatabaseOutputs, StepError> {
        let observed = Observed::read(work).await?;
        let Some(spec) = &work.spec.database else {
            deletion::refuse_protected(&observed)?;
            return Ok(DatabaseOutputs::default());
        };
        if let Some((_, what)) = observed.not_owned.first() {
            return Err(StepError::NotOwned { what: what.clone(), fix: how_to_own(work) });
        }
        if let Some(gone) = gone::find(work, spec, &observed).await? {
            return Err(gone.into());
        }
        // Both run to their end: an error of one must not cancel a creation of the other.
        join::both(subnet_group::apply(work, &observed), parameter_group::apply(work, spec, &observed))
            .await?;
        instance::apply(work, spec, &observed).await
    }

    async fn wait_until_stable(&self, work: &Work<'_>) -> Result<DatabaseOutputs, StepError> {
        match &work.spec.database {
            Some(spec) => instance::wait_until_stable(work, spec).await,
            None => Ok(DatabaseOutputs::default()),
        }
    }

    async fn rotate(&self, work: &Work<'_>) -> Result<DatabaseOutputs, StepError> {
        rotation::rotate(work).await
    }

    async fn prune(&self, work: &Work<'_>) -> Result<Deletion, StepError> {
        let observed = Observed::read(work).await?;
        if let Some(spec) = &work.spec.database {
            return parameter_group::delete_outdated(work, spec, &observed).await;
        }
        deletion::refuse_protected(&observed)?;
        delete(work, &observed).await
    }

    async fn delete(&self, work: &Work<'_>) -> Result<Deletion, StepError> {
        delete(work, &Observed::read(work).await?).await
    }
}

/// How to fix a name conflict with a resource that this stack does not manage, or that lost its tag.
fn how_to_own(work: &Work<'_>) -> String {
    or_tag(work, "delete it, or deploy a stack with another name")
}

/// Turns on deletion protection if the spec has it. Runs after the deployment has succeeded, because protection would
/// prevent a rollback.
pub(crate) async fn protect(work: &Work<'_>) -> Result<(), StepError> {
    match &work.spec.database {
        Some(spec) if spec.deletion_protection => instance::protect(work, spec).await,
        _ => Ok(()),
    }
}

/// Lets Stackdrop, not AWS, decide when the password changes. Runs after the deployment has succeeded.
pub(crate) async fn set_rotation_rules(work: &Work<'_>) -> Result<(), StepError> {
    match &work.spec.database {
        Some(_) => rotation::set_rules(work).await,
        None => Ok(()),
    }
}

/// Deletes the instance and then the groups, which RDS does not delete while an instance uses them.
async fn delete(work: &Work<'_>, observed: &Observed) -> Result<Deletion, StepError> {
    let mut deletion = Deletion { found: observed.count(), remaining: Vec::new() };
    if let Some(db) = &observed.instance {
        deletion.join(deletion::delete(work, db).await?);
    }
    if !deletion.remaining.is_empty() {
        let subnets =
            observed.subnet_group.iter().map(|_| (subnet_group::LOGICAL_ID, subnet_group::name(work)));
        let parameters =
            observed.parameter_groups.iter().map(|group| (parameter_group::LOGICAL_ID, group.name.clone()));
        for (logical_id, name) in subnets.chain(parameters) {
            deletion.waits(logical_id, name, "waits for the deletion of the RDS instance");
        }
        return Ok(deletion);
    }
    let (subnets, parameters) =
        tokio::try_join!(subnet_group::delete(work, observed), parameter_group::delete(work, observed))?;
    deletion.join(subnets);
    deletion.join(parameters);
    Ok(deletion)
}

/// Plans the deletion of everything.
fn plan_deletion(work: &Work<'_>, observed: &Observed, plan: &mut Plan) {
    if let Some(db) = &observed.instance {
        deletion::plan(work, db, plan);
    }
    if observed.subnet_group.is_some() {
        plan.change(Verb::Delete, subnet_group::LOGICAL_ID);
    }
    for group in &observed.parameter_groups {
        plan.change(Verb::Delete, format!("{} ({})", parameter_group::LOGICAL_ID, group.name));
    }
}

/// Converts tags to RDS's type.
fn rds_tags(tags: Tags) -> Vec<Tag> {
    tags.into_iter().map(|(key, value)| Tag::builder().key(key).value(value).build()).collect()
}

/// Adds missing tags to one of the stack's resources, and removes tags that the spec no longer has.
async fn repair_tags(work: &Work<'_>, arn: &str, logical_id: &str, observed: &Tags) -> Result<(), StepError> {
    const WAITS_FOR: &str = "the RDS instance to accept tags";
    let (missing, stale) =
        (work.stack.tags_to_put(NAME, logical_id, observed), work.stack.stale_tags(observed));
    if !missing.is_empty() {
        let call = work.aws.rds().add_tags_to_resource().resource_name(arn).set_tags(Some(rds_tags(missing)));
        call.send().await.stalled_on(&[instance::BUSY], WAITS_FOR, format!("tagging {arn}"))?;
        tracing::info!(arn, "Tags added.");
    }
    if !stale.is_empty() {
        let call = work.aws.rds().remove_tags_from_resource().resource_name(arn).set_tag_keys(Some(stale));
        call.send().await.stalled_on(&[instance::BUSY], WAITS_FOR, format!("removing tags from {arn}"))?;
        tracing::info!(arn, "Tags removed.");
    }
    Ok(())
}
