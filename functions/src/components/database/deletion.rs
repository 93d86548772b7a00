//! The deletion of the RDS instance: protection, and the final snapshot.

use aws_sdk_rds::types::DbInstance;

use super::instance::{self, BUSY, LOGICAL_ID, identifier};
use super::observed::Observed;
use super::status::{self, State, status};
use crate::aws::error::{AwsResult, StepError};
use crate::contract::component::Work;
use crate::contract::effects::Loss;
use crate::deployment::deletion::Deletion;
use crate::deployment::effect::EffectKind;
use crate::deployment::plan::{Plan, Verb};

/// Why a protected instance is not deleted, and how to fix it.
const PROTECTED: &str = "deletion protection is on: set database.deletionProtection: false and deploy first";

/// Plans the instance's deletion, or a problem if it is protected, or if its data would be lost and nobody agreed to that.
pub(super) fn plan(work: &Work<'_>, db: &DbInstance, plan: &mut Plan) {
    plan.change(Verb::Delete, LOGICAL_ID);
    let name = identifier(work);
    match final_backup(work, db) {
        _ if status::is_deleting(db) => {}
        (Some(_), _) => {
            let what = format!("deletes RDS instance {name}; its data stays in a final snapshot");
            plan.effect(EffectKind::CannotBeUndone, LOGICAL_ID, what);
        }
        (None, true) => {
            let what = format!("deletes RDS instance {name}; its data stays in its automated backups");
            plan.effect(EffectKind::CannotBeUndone, LOGICAL_ID, what);
        }
        (None, false) => loss(&name).plan(work, plan),
    }
    if db.deletion_protection() == Some(true) {
        plan.problem(
            LOGICAL_ID,
            "the RDS instance cannot be deleted while its deletion protection is on",
            "set database.deletionProtection: false and deploy, then remove the database from the spec",
        );
    }
}

/// The deletion of an instance without a final snapshot.
fn loss(name: &str) -> Loss<'_> {
    Loss {
        logical_id: LOGICAL_ID,
        name,
        what: format!("deletes RDS instance {name} without a final snapshot, and its automated backups"),
        instead: Some("set database.finalSnapshot: true and deploy that first"),
        is_in: |spec| spec.database.is_some(),
    }
}

/// Fails if the instance to delete is protected: waiting would not help.
pub(super) fn refuse_protected(observed: &Observed) -> Result<(), StepError> {
    match &observed.instance {
        Some(db) if db.deletion_protection() == Some(true) => {
            let id = db.db_instance_identifier().unwrap_or_default();
            Err(StepError::InvalidSpec(format!("RDS instance {id} cannot be deleted: {PROTECTED}")))
        }
        _ => Ok(()),
    }
}

/// Starts the deletion, unless it has started already.
pub(super) async fn delete(work: &Work<'_>, db: &DbInstance) -> Result<Deletion, StepError> {
    let id = identifier(work);
    let mut deletion = Deletion::default();
    if status::is_deleting(db) {
        deletion.leaving(LOGICAL_ID, id, "is being deleted");
        return Ok(deletion);
    }
    if db.deletion_protection() == Some(true) {
        // Somebody turned protection on deliberately: a deletion never turns it off.
        deletion.held(LOGICAL_ID, id, PROTECTED);
        return Ok(deletion);
    }
    let (snapshot, keeps_backups) = final_backup(work, db);
    let loss = loss(&id);
    if snapshot.is_none() && !keeps_backups && !loss.is_agreed(work) {
        deletion.held(LOGICAL_ID, &id, loss.refusal(work));
        return Ok(deletion);
    }
    let call = work
        .aws
        .rds()
        .delete_db_instance()
        .db_instance_identifier(&id)
        .skip_final_snapshot(snapshot.is_none())
        .set_final_db_snapshot_identifier(snapshot.clone())
        .delete_automated_backups(!keeps_backups)
        .send()
        .await;
    match call.unless(&["DBInstanceNotFound"]) {
        Ok(Some(_)) => {
            tracing::info!(id, snapshot, "RDS instance is being deleted.");
            deletion.leaving(LOGICAL_ID, id, "is being deleted");
        }
        Ok(None) => {}
        Err(refusal) if refusal.aws().code == BUSY => retry_later(work, db, &id, &mut deletion).await?,
        // An attempt that failed later created the snapshot.
        Err(refusal) if refusal.aws().code == "DBSnapshotAlreadyExists" => {
            deletion.held(LOGICAL_ID, id, format!("{}; delete that snapshot", refusal.aws()));
        }
        Err(refusal) => return Err(refusal).doing(format!("deleting RDS instance {id}")),
    }
    Ok(deletion)
}

/// Reports why RDS refuses the deletion in the instance's state. RDS takes no snapshot of a stopped instance, so that one is
/// started.
async fn retry_later(
    work: &Work<'_>,
    db: &DbInstance,
    id: &str,
    deletion: &mut Deletion,
) -> Result<(), StepError> {
    match status::of(db) {
        State::Stopped => {
            instance::start(work, id).await?;
            deletion.leaving(
                LOGICAL_ID,
                id,
                "is being started: RDS takes no final snapshot of a stopped instance",
            );
        }
        State::Working | State::Stopping | State::Deleting => {
            deletion.leaving(LOGICAL_ID, id, format!("cannot be deleted while it is {}", status(db)));
        }
        State::Available | State::Stuck => {
            let why = format!(
                "RDS refuses to delete it: {}{}",
                status::reports(work, id, db).await,
                status::advice(db)
            );
            deletion.held(LOGICAL_ID, id, why);
        }
    }
    Ok(())
}

/// The final snapshot's name, if RDS takes one, and whether automated backups are kept.
///
/// An instance without a baseline has no data to keep. One that an earlier deployment should have pruned has the settings of
/// that deployment's baseline. In some states RDS rejects a final snapshot (API reference of
/// `DeleteDBInstance`); if the spec has one, the automated backups are kept instead.
fn final_backup(work: &Work<'_>, db: &DbInstance) -> (Option<String>, bool) {
    let baseline = work.deployment.baseline.as_ref().and_then(|baseline| {
        let unpruned = baseline.unpruned_spec.as_ref().and_then(|spec| spec.database.as_ref());
        baseline.spec.database.as_ref().or(unpruned)
    });
    let desired = baseline.is_some_and(|baseline| {
        work.spec.database.as_ref().map_or(baseline.final_snapshot, |spec| spec.final_snapshot)
    });
    let refused = ["creating", "failed", "incompatible-network", "incompatible-restore"];
    if !desired || refused.contains(&status(db)) {
        return (None, desired && db.backup_retention_period().is_some_and(|days| days > 0));
    }
    // Snapshot names are unique, so the name contains a hash of this deployment and this instance.
    let suffix = work.stack.token("final-snapshot", &[db.dbi_resource_id().unwrap_or_default()]);
    let suffix: String = suffix.chars().take(12).collect();
    (Some(format!("{}-final-{suffix}", identifier(work))), false)
}
