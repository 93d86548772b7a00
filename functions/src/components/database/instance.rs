//! The RDS instance: PostgreSQL, encrypted, not public, with a master password that RDS manages in Secrets Manager.

use aws_sdk_rds::types::DbInstance;
use stackdrop_specs::{DATABASE_PORT, Database};

use super::observed::{self, Observed};
use super::settings::{self, Difference, STORAGE_TYPE, size};
use super::{NAME, parameter_group, rds_tags, repair_tags, subnet_group};
use crate::aws::error::{AwsResult, StepError};
use crate::contract::component::Work;
use crate::deployment::deletion::Deletion;
use crate::deployment::outputs::DatabaseOutputs;
use crate::deployment::plan::{Plan, Verb};

/// The instance's logical ID.
pub(super) const LOGICAL_ID: &str = "instance";
/// The master user. RDS rejects names that the engine reserves, such as `rdsadmin`.
const MASTER_USER: &str = "stackdrop";
/// Why a protected instance is not deleted, and how to fix it.
const PROTECTED: &str = "deletion protection is on: set database.deletionProtection: false and deploy first";
/// RDS's error code while it is changing an instance.
pub(super) const BUSY: &str = "InvalidDBInstanceState";

/// The instance's identifier.
pub(super) fn identifier(work: &Work<'_>) -> String {
    work.stack.resource("database")
}

pub(super) fn status(db: &DbInstance) -> &str {
    db.db_instance_status().unwrap_or_default()
}

/// Whether the instance is available. It also is during storage optimization.
pub(super) fn is_available(db: &DbInstance) -> bool {
    ["available", "storage-optimization"].contains(&status(db))
}

/// Whether the instance is being deleted.
pub(super) fn is_deleting(db: &DbInstance) -> bool {
    status(db) == "deleting"
}

/// Whether the instance will not become available by itself (RDS user guide, "Viewing DB instance status").
fn has_failed_permanently(db: &DbInstance) -> bool {
    let growing = db.pending_modified_values().is_some_and(|pending| pending.allocated_storage().is_some());
    match status(db) {
        "storage-full" => !growing,
        "failed" | "insufficient-capacity" | "restore-error" | "stopped" => true,
        status => {
            status.starts_with("incompatible-") || status.starts_with("inaccessible-encryption-credentials")
        }
    }
}

/// Whether the instance uses a parameter group.
pub(super) fn uses(db: &DbInstance, parameter_group: &str) -> bool {
    let mut groups = db.db_parameter_groups().iter();
    groups.any(|group| group.db_parameter_group_name() == Some(parameter_group))
}

/// The pending changes of fields that a spec has.
fn pending(db: &DbInstance) -> Vec<&'static str> {
    let Some(pending) = db.pending_modified_values() else { return Vec::new() };
    let all = [
        ("class", pending.db_instance_class().is_some()),
        ("storage", pending.allocated_storage().is_some()),
        ("backup days", pending.backup_retention_period().is_some()),
        ("standby", pending.multi_az().is_some()),
        ("version", pending.engine_version().is_some()),
    ];
    all.into_iter().filter(|(_, is_pending)| *is_pending).map(|(name, _)| name).collect()
}

/// The secret's ARN, once RDS has created the secret. Also while the secret is being rotated or cannot be rotated, it gives
/// access to the database (RDS API reference, `MasterUserSecret`).
fn secret(db: &DbInstance) -> Option<&str> {
    let secret = db.master_user_secret()?;
    secret.secret_arn().filter(|_| secret.secret_status() != Some("creating"))
}

fn host(db: &DbInstance) -> Option<&str> {
    db.endpoint()?.address()
}

/// Why an instance is not stable yet; `None` if it is.
fn pending_reason(db: &DbInstance) -> Option<String> {
    let pending = pending(db);
    if !is_available(db) {
        Some(format!("to become available: it is {}", status(db)))
    } else if !pending.is_empty() {
        Some(format!("to change its {}", pending.join(", ")))
    } else if host(db).is_none() {
        Some("to have an endpoint".into())
    } else if secret(db).is_none() {
        Some("to have a secret".into())
    } else {
        None
    }
}

/// The known outputs. The endpoint and the secret exist some minutes after the creation.
pub(super) fn outputs(work: &Work<'_>, db: Option<&DbInstance>) -> DatabaseOutputs {
    DatabaseOutputs {
        identifier: Some(identifier(work)),
        host: db.and_then(host).map(str::to_owned),
        secret: db.and_then(secret).map(str::to_owned),
        awaited: work.spec.services.values().any(stackdrop_specs::Service::uses_database),
    }
}

pub(super) fn plan(work: &Work<'_>, spec: &Database, observed: &Observed, plan: &mut Plan) {
    let Some(db) = observed.instance.as_ref().filter(|db| !is_deleting(db)) else {
        plan.change(Verb::Create, LOGICAL_ID);
        return;
    };
    for (why, fix) in settings::refusals(work, spec, db) {
        plan.problem(LOGICAL_ID, why, fix);
    }
    plan.tags(&work.stack, NAME, LOGICAL_ID, &observed::tags_of(db));
    let mut differences = settings::differences(work, spec, db);
    if work.deployment.baseline.is_some() && lacks_protection(spec, db) {
        differences.push(settings::protection_difference(true));
    }
    for difference in &differences {
        plan.update_field(Verb::Update, LOGICAL_ID, difference.change.clone());
    }
    if differences.is_empty() && pending_reason(db).is_some() {
        plan.change(Verb::Wait, LOGICAL_ID);
    }
}

/// Plans the instance's deletion, or a problem if it is protected.
pub(super) fn plan_deletion(db: &DbInstance, plan: &mut Plan) {
    plan.change(Verb::Delete, LOGICAL_ID);
    if db.deletion_protection() == Some(true) {
        plan.problem(
            LOGICAL_ID,
            "the RDS instance cannot be deleted while its deletion protection is on",
            "set database.deletionProtection: false and deploy, then remove the database from the spec",
        );
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

pub(super) async fn apply(
    work: &Work<'_>,
    spec: &Database,
    observed: &Observed,
) -> Result<DatabaseOutputs, StepError> {
    let Some(db) = &observed.instance else {
        create(work, spec).await?;
        return Ok(outputs(work, None));
    };
    let id = identifier(work);
    if is_deleting(db) {
        return Err(StepError::pending(format!("the deletion of the previous RDS instance {id}")));
    }
    let refusals = settings::refusals(work, spec, db);
    if !refusals.is_empty() {
        let text: Vec<String> = refusals.iter().map(|(why, fix)| format!("{why}; {fix}")).collect();
        return Err(StepError::InvalidSpec(text.join("; ")));
    }
    let arn = db.db_instance_arn().unwrap_or_default();
    repair_tags(work, arn, LOGICAL_ID, &observed::tags_of(db)).await?;
    modify(work, &settings::differences(work, spec, db)).await?;
    Ok(outputs(work, Some(db)))
}

async fn create(work: &Work<'_>, spec: &Database) -> Result<(), StepError> {
    let group = work.groups()?.database.clone();
    let group = group
        .ok_or_else(|| StepError::Defect("the security groups have no group for the database".into()))?;
    let id = identifier(work);
    let call = work
        .aws
        .rds()
        .create_db_instance()
        .db_instance_identifier(&id)
        .engine("postgres")
        .engine_version(&spec.version)
        .db_instance_class(&spec.class)
        .allocated_storage(size(spec.storage))
        .set_max_allocated_storage(spec.max_storage.map(size))
        .storage_type(STORAGE_TYPE)
        // Encryption cannot be turned on later.
        .storage_encrypted(true)
        .publicly_accessible(false)
        .manage_master_user_password(true)
        .master_username(MASTER_USER)
        .db_name(&spec.name)
        .port(DATABASE_PORT.into())
        .vpc_security_group_ids(group)
        .db_subnet_group_name(subnet_group::name(work))
        .db_parameter_group_name(parameter_group::name(work, spec))
        .backup_retention_period(spec.backup_days.into())
        .multi_az(spec.multi_az)
        .copy_tags_to_snapshot(true)
        .auto_minor_version_upgrade(true)
        // Protection is turned on after the deployment has succeeded: this one may have to roll back.
        .deletion_protection(false)
        .set_tags(Some(rds_tags(work.stack.tags(NAME, LOGICAL_ID))));
    // The groups are new, or a lost response created the instance: both become visible soon.
    let not_visible = [
        "DBInstanceAlreadyExists",
        "DBParameterGroupNotFound",
        "DBSubnetGroupNotFoundFault",
        "InvalidDBParameterGroupState",
    ];
    let doing = format!("creating RDS instance {id}");
    call.send().await.pending_on(&not_visible, "the RDS instance and its groups to become visible", doing)?;
    tracing::info!(id, "RDS instance created.");
    Ok(())
}

async fn modify(work: &Work<'_>, differences: &[Difference]) -> Result<(), StepError> {
    if differences.is_empty() {
        return Ok(());
    }
    let id = identifier(work);
    // Otherwise changes wait for the maintenance window and look like drift until then.
    let call = work.aws.rds().modify_db_instance().db_instance_identifier(&id).apply_immediately(true);
    let call = differences.iter().fold(call, |call, difference| difference.setting.add_to(call));
    let fields: Vec<&str> = differences.iter().map(|difference| difference.change.field.as_str()).collect();
    let doing = format!("updating {} of RDS instance {id}", fields.join(", "));
    let waiting_for = format!("RDS instance {id} to accept the change of {}", fields.join(", "));
    let not_visible = [BUSY, "DBParameterGroupNotFound"];
    call.send().await.pending_on(&not_visible, &waiting_for, doing)?;
    tracing::info!(id, ?fields, "RDS instance updated.");
    Ok(())
}

fn lacks_protection(spec: &Database, db: &DbInstance) -> bool {
    spec.deletion_protection && db.deletion_protection() != Some(true)
}

/// Turns on deletion protection if the spec has it and it is off.
pub(super) async fn protect(work: &Work<'_>, spec: &Database) -> Result<(), StepError> {
    let observed = observed::find_instance(work).await?;
    let ours = observed.filter(|db| work.stack.owns(&observed::tags_of(db)) && !is_deleting(db));
    match ours {
        Some(db) if lacks_protection(spec, &db) => {
            modify(work, &[settings::protection_difference(true)]).await
        }
        _ => Ok(()),
    }
}

pub(super) async fn wait_until_stable(
    work: &Work<'_>,
    spec: &Database,
) -> Result<DatabaseOutputs, StepError> {
    let id = identifier(work);
    let observed = observed::find_instance(work).await?;
    let Some(db) = observed.filter(|db| work.stack.owns(&observed::tags_of(db))) else {
        return Err(StepError::pending(format!("RDS instance {id} to become visible")));
    };
    if has_failed_permanently(&db) || is_deleting(&db) {
        let events = observed::find_events(work, &id).await;
        // The status alone is reason enough to fail: an error of this call must not hide it.
        let events = events.unwrap_or_else(|error| vec![error.chain()]);
        let events = if events.is_empty() { vec!["no events.".into()] } else { events };
        let why = format!("it is {}. RDS reports: {}{}", status(&db), events.join(" "), advice(status(&db)));
        return Err(StepError::Unhealthy { what: format!("RDS instance {id}"), why });
    }
    if let Some(what) = pending_reason(&db) {
        return Err(StepError::pending(format!("RDS instance {id} {what}")));
    }
    // It can take a moment until RDS shows an accepted change, even as pending.
    let differences = settings::differences(work, spec, &db);
    if !differences.is_empty() {
        let fields: Vec<&str> =
            differences.iter().map(|difference| difference.change.field.as_str()).collect();
        return Err(StepError::pending(format!("RDS instance {id} to show its new {}", fields.join(", "))));
    }
    Ok(outputs(work, Some(&db)))
}

/// How to fix a failed status.
/// Source: "Viewing Amazon RDS DB instance status" in the RDS user guide.
fn advice(status: &str) -> &'static str {
    match status {
        "storage-full" => " Set a larger database.storage, or a database.maxStorage.",
        "insufficient-capacity" => {
            " AWS has no capacity for this class here: wait, or set another database.class."
        }
        "incompatible-network" => " Check that the database subnets have free IP addresses.",
        "incompatible-parameters" => {
            " Somebody set a parameter that this class does not support: reset it in the parameter group, and reboot the instance."
        }
        "stopped" => " Somebody stopped it: start it (`aws rds start-db-instance`), and deploy again.",
        status if status.starts_with("inaccessible-encryption-credentials") => {
            " Its KMS key cannot be used: enable the key in KMS, and start the instance."
        }
        _ => "",
    }
}

/// Starts the deletion, unless it has started already.
pub(super) async fn delete(work: &Work<'_>, db: &DbInstance) -> Result<Deletion, StepError> {
    let id = identifier(work);
    let mut deletion = Deletion::default();
    if is_deleting(db) {
        deletion.remains(LOGICAL_ID, id, "is being deleted");
        return Ok(deletion);
    }
    if db.deletion_protection() == Some(true) {
        // Somebody turned protection on deliberately: a deletion never turns it off.
        deletion.held(LOGICAL_ID, id, PROTECTED);
        return Ok(deletion);
    }
    let (snapshot, keeps_backups) = final_backup(work, db);
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
            deletion.remains(LOGICAL_ID, id, "is being deleted");
        }
        Ok(None) => {}
        Err(refusal) if is_retryable(&refusal.aws().code) => {
            deletion.remains(LOGICAL_ID, id, refusal.aws().to_string());
        }
        Err(refusal) => return Err(refusal).doing(format!("deleting RDS instance {id}")),
    }
    Ok(deletion)
}

/// Whether a rejected deletion can be retried: RDS is changing the instance, or a final snapshot with this name exists from
/// an attempt that failed later.
fn is_retryable(code: &str) -> bool {
    [BUSY, "DBSnapshotAlreadyExists"].contains(&code)
}

/// The final snapshot's name, if RDS takes one, and whether automated backups are kept.
///
/// An instance without a baseline has no data to keep. In some states RDS rejects a final snapshot (API reference of
/// `DeleteDBInstance`); if the spec has one, the automated backups are kept instead.
fn final_backup(work: &Work<'_>, db: &DbInstance) -> (Option<String>, bool) {
    let baseline = work.deployment.baseline.as_ref().and_then(|baseline| baseline.spec.database.as_ref());
    let desired = baseline.is_some_and(|baseline| {
        work.spec.database.as_ref().map_or(baseline.final_snapshot, |spec| spec.final_snapshot)
    });
    let refused = ["creating", "failed", "incompatible-network", "incompatible-restore"];
    if !desired || refused.contains(&status(db)) {
        return (None, desired);
    }
    // Snapshot names are unique, so the name contains a hash of this deployment and this instance.
    let suffix = work.stack.token("final-snapshot", &[db.dbi_resource_id().unwrap_or_default()]);
    let suffix: String = suffix.chars().take(12).collect();
    (Some(format!("{}-final-{suffix}", identifier(work))), false)
}
