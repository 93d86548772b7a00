//! The DB parameter group, which makes PostgreSQL reject connections without TLS. Each major version has its own.

use aws_sdk_rds::types::{ApplyMethod, Parameter};
use stackdrop_specs::Database;

use super::observed::{Observed, ParameterGroup};
use super::settings::{self, Setting, View};
use super::version::major;
use super::{FORCE_TLS, NAME, instance, rds_tags, repair_tags};
use crate::aws::error::{AwsResult, StepError};
use crate::aws::join;
use crate::contract::component::Work;
use crate::deployment::deletion::Deletion;
use crate::deployment::plan::{Plan, Verb};

/// The parameter group's logical ID.
pub(super) const LOGICAL_ID: &str = "parameter-group";

/// The name of the parameter group for the spec's major version.
pub(super) fn name(work: &Work<'_>, spec: &Database) -> String {
    work.stack.resource(&format!("postgres{}", major(&spec.version)))
}

/// Whether the name is that of the stack's parameter group for some major version.
pub(super) fn is_our_name(work: &Work<'_>, name: &str) -> bool {
    let version = name.strip_prefix(&work.stack.resource("postgres"));
    version.is_some_and(|version| !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_digit()))
}

/// The groups of other major versions that the instance does not use, or will not use after its upgrade. A version that
/// cannot be downgraded keeps its group.
fn outdated<'f>(work: &Work<'_>, spec: &Database, observed: &'f Observed) -> Vec<&'f ParameterGroup> {
    let desired = name(work, spec);
    let leaves_group = observed.instance.as_ref().is_none_or(|db| {
        let differences = settings::differences(work, spec, db, View::Planned);
        differences.iter().any(|difference| matches!(difference.setting, Setting::ParameterGroup(_)))
    });
    let in_use = |name: &str| observed.instance.as_ref().is_some_and(|db| instance::uses(db, name));
    let others = observed.parameter_groups.iter().filter(|group| group.name != desired);
    others.filter(|group| leaves_group || !in_use(&group.name)).collect()
}

pub(super) fn plan(work: &Work<'_>, spec: &Database, observed: &Observed, plan: &mut Plan) {
    match observed.parameter_group(&name(work, spec)) {
        None => {
            plan.change(Verb::Create, LOGICAL_ID);
        }
        Some(group) => {
            plan.tags(&work.stack, NAME, LOGICAL_ID, &group.tags);
            if !group.forces_tls {
                plan.update(LOGICAL_ID, FORCE_TLS, "0", "1");
            }
        }
    }
    for group in outdated(work, spec, observed) {
        plan.change(Verb::Delete, format!("{LOGICAL_ID} ({})", group.name));
    }
}

pub(super) async fn apply(work: &Work<'_>, spec: &Database, observed: &Observed) -> Result<(), StepError> {
    let name = name(work, spec);
    match observed.parameter_group(&name) {
        None => {
            create(work, spec, &name).await?;
            force_tls(work, &name).await?;
        }
        Some(group) => {
            repair_tags(work, &group.arn, LOGICAL_ID, &group.tags).await?;
            if !group.forces_tls {
                force_tls(work, &name).await?;
            }
        }
    }
    Ok(())
}

async fn create(work: &Work<'_>, spec: &Database, name: &str) -> Result<(), StepError> {
    let call = work
        .aws
        .rds()
        .create_db_parameter_group()
        .db_parameter_group_name(name)
        .db_parameter_group_family(format!("postgres{}", major(&spec.version)))
        .description("PostgreSQL that refuses connections without TLS")
        .set_tags(Some(rds_tags(work.stack.tags(NAME, LOGICAL_ID))))
        .send()
        .await;
    // The group exists if an earlier response was lost. The next attempt reads whether this stack manages it.
    let retryable = ["DBParameterGroupAlreadyExists"];
    let doing = format!("creating DB parameter group {name}");
    call.stalled_on(&retryable, "the DB parameter group to become visible", doing)?;
    tracing::info!(name, "Parameter group created.");
    Ok(())
}

/// Sets `rds.force_ssl`, a dynamic parameter, which takes effect without a reboot.
async fn force_tls(work: &Work<'_>, name: &str) -> Result<(), StepError> {
    let parameter = Parameter::builder().parameter_name(FORCE_TLS).parameter_value("1");
    let parameter = parameter.apply_method(ApplyMethod::Immediate).build();
    let call = work.aws.rds().modify_db_parameter_group().db_parameter_group_name(name).parameters(parameter);
    let waiting_for = "the DB parameter group to become visible";
    let doing = format!("forcing TLS in DB parameter group {name}");
    let call = call.send().await.unless(&["DBParameterGroupNotFound"]);
    let call = match call {
        Ok(None) => return Err(StepError::stalled(waiting_for)),
        other => other,
    };
    // RDS rejects the call while an earlier change of the group is in progress.
    let in_progress = ["InvalidDBParameterGroupState"];
    call.unless(&in_progress)
        .doing(doing)?
        .ok_or_else(|| StepError::pending("RDS to apply the DB parameter group"))?;
    Ok(())
}

/// Deletes the groups of other major versions, after the instance's upgrade.
pub(super) async fn delete_outdated(
    work: &Work<'_>,
    spec: &Database,
    observed: &Observed,
) -> Result<Deletion, StepError> {
    delete_groups(work, outdated(work, spec, observed)).await
}

/// Deletes all groups, after the instance's deletion.
pub(super) async fn delete(work: &Work<'_>, observed: &Observed) -> Result<Deletion, StepError> {
    delete_groups(work, observed.parameter_groups.iter().collect()).await
}

async fn delete_groups(work: &Work<'_>, groups: Vec<&ParameterGroup>) -> Result<Deletion, StepError> {
    let mut deletion = Deletion::default();
    let deletions = groups.into_iter().map(async |group| {
        let deleted = delete_one(work, &group.name).await?;
        Ok::<_, StepError>((group, deleted))
    });
    for (group, _) in join::all(deletions).await?.into_iter().filter(|(_, deleted)| !deleted) {
        deletion.held(LOGICAL_ID, &group.name, "RDS reports that an RDS instance still uses it");
    }
    Ok(deletion)
}

/// Deletes a group. Returns whether it is deleted.
async fn delete_one(work: &Work<'_>, name: &str) -> Result<bool, StepError> {
    let call = work.aws.rds().delete_db_parameter_group().db_parameter_group_name(name).send().await;
    let doing = format!("deleting DB parameter group {name}");
    let deleted = call.deleted(&["DBParameterGroupNotFound"], &["InvalidDBParameterGroupState"], doing)?;
    if deleted {
        tracing::info!(name, "Parameter group deleted.");
    }
    Ok(deleted)
}
