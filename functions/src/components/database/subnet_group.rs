//! The DB subnet group: the database subnets of all zones. RDS requires two even for a single instance.

use std::collections::BTreeSet;

use super::observed::Observed;
use super::{NAME, linked_role, rds_tags, repair_tags};
use crate::aws::error::{AwsResult, StepError};
use crate::contract::component::Work;
use crate::deployment::deletion::Deletion;
use crate::deployment::plan::{Plan, Verb};

/// The subnet group's logical ID.
pub(super) const LOGICAL_ID: &str = "subnet-group";

/// The subnet group's name.
pub(super) fn name(work: &Work<'_>) -> String {
    work.stack.resource("database")
}

/// The IDs of the database subnets, if they are known: in a plan, those of the baseline.
fn known_subnets(work: &Work<'_>) -> Option<BTreeSet<String>> {
    let baseline = work.deployment.baseline.as_ref().and_then(|baseline| baseline.outputs.network.as_ref());
    let network = work.outputs.network.as_ref().or(baseline)?;
    Some(network.database_subnets.values().cloned().collect())
}

pub(super) fn plan(work: &Work<'_>, observed: &Observed, plan: &mut Plan) {
    let Some(group) = &observed.subnet_group else {
        plan.change(Verb::Create, LOGICAL_ID);
        return;
    };
    plan.tags(&work.stack, NAME, LOGICAL_ID, &group.tags);
    // The IDs of new subnets are not known yet, but their number is.
    let zones = usize::from(work.spec.network.zones);
    let differs = known_subnets(work).is_some_and(|subnets| subnets != group.subnets);
    if differs || group.subnets.len() != zones {
        let actual: Vec<&str> = group.subnets.iter().map(String::as_str).collect();
        plan.update(LOGICAL_ID, "subnets", actual.join(", "), format!("the {zones} database subnets"));
    }
}

pub(super) async fn apply(work: &Work<'_>, observed: &Observed) -> Result<(), StepError> {
    let (name, desired) = (name(work), &work.network()?.database_subnets);
    let desired: BTreeSet<String> = desired.values().cloned().collect();
    let subnets = || Some(desired.iter().cloned().collect());
    let not_visible = ["InvalidSubnet", "DBSubnetGroupNotFoundFault"];
    let Some(group) = &observed.subnet_group else {
        let call = work
            .aws
            .rds()
            .create_db_subnet_group()
            .db_subnet_group_name(&name)
            .db_subnet_group_description("The database subnets of the stack")
            .set_subnet_ids(subnets())
            .set_tags(Some(rds_tags(work.stack.tags(NAME, LOGICAL_ID))))
            .send()
            .await;
        // The group exists if an earlier response was lost. The next attempt reads whether this stack manages it.
        let retryable = ["DBSubnetGroupAlreadyExists", not_visible[0]];
        let created = match call.unless(&[]) {
            Ok(created) => Ok(created),
            Err(refusal) => {
                linked_role::check(work, &refusal.aws()).await?;
                Err(refusal)
            }
        };
        let doing = format!("creating DB subnet group {name}");
        created.stalled_on(&retryable, "the DB subnet group to become visible", doing)?;
        tracing::info!(name, "Subnet group created.");
        return Ok(());
    };
    repair_tags(work, &group.arn, LOGICAL_ID, &group.tags).await?;
    if group.subnets == desired {
        return Ok(());
    }
    let call = work.aws.rds().modify_db_subnet_group().db_subnet_group_name(&name);
    let call = call.set_subnet_ids(subnets()).send().await;
    call.stalled_on(
        &not_visible,
        "the subnets to become visible",
        format!("updating DB subnet group {name}"),
    )?;
    tracing::info!(name, "Subnet group updated.");
    Ok(())
}

/// Deletes the group, after the instance's deletion.
pub(super) async fn delete(work: &Work<'_>, observed: &Observed) -> Result<Deletion, StepError> {
    let mut deletion = Deletion::default();
    if observed.subnet_group.is_none() {
        return Ok(deletion);
    }
    let name = name(work);
    let call = work.aws.rds().delete_db_subnet_group().db_subnet_group_name(&name).send().await;
    let in_use = ["InvalidDBSubnetGroupStateFault", "InvalidDBSubnetStateFault"];
    if call.deleted(&["DBSubnetGroupNotFoundFault"], &in_use, format!("deleting DB subnet group {name}"))? {
        tracing::info!(name, "Subnet group deleted.");
    } else {
        deletion.held(LOGICAL_ID, name, "RDS reports that an RDS instance still uses it");
    }
    Ok(deletion)
}
