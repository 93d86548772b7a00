//! The instance: PostgreSQL, encrypted, not public, with a master password that RDS keeps in Secrets Manager.

use aws_sdk_rds::types::DbInstance;
use stackdrop_specs::{DATABASE_PORT, Database};

use super::observed::{self, Observed};
use super::settings::{self, Difference, STORAGE_TYPE, size};
use super::{NAME, keep_tags, parameter_group, rds_tags, subnet_group};
use crate::aws::error::{Answer, StepError};
use crate::contract::component::Work;
use crate::deployment::deletion::Deletion;
use crate::deployment::outputs::DatabaseOutputs;
use crate::deployment::plan::{Plan, Verb};

/// The instance's logical ID.
pub(super) const LOGICAL_ID: &str = "instance";
/// The master user. RDS refuses names that the engine reserves, such as `rdsadmin`.
const MASTER_USER: &str = "stackdrop";
/// Why a protected instance stays, with the way out.
const PROTECTED: &str = "deletion protection is on: set database.deletionProtection: false and deploy first";
/// What RDS says about an instance that it is at work on.
pub(super) const BUSY: &str = "InvalidDBInstanceState";

/// The instance's identifier.
pub(super) fn identifier(work: &Work<'_>) -> String {
    work.stack.resource("database")
}

pub(super) fn status(there: &DbInstance) -> &str {
    there.db_instance_status().unwrap_or_default()
}

/// Whether RDS is done with it. While storage is optimised, all works.
pub(super) fn is_available(there: &DbInstance) -> bool {
    ["available", "storage-optimization"].contains(&status(there))
}

/// Whether it is on its way out.
pub(super) fn is_deleting(there: &DbInstance) -> bool {
    status(there) == "deleting"
}

/// Whether it will not become available by itself (RDS user guide, "Viewing DB instance status").
fn is_beyond_help(there: &DbInstance) -> bool {
    let growing =
        there.pending_modified_values().is_some_and(|pending| pending.allocated_storage().is_some());
    match status(there) {
        "storage-full" => !growing,
        "failed" | "insufficient-capacity" | "restore-error" | "stopped" => true,
        status => {
            status.starts_with("incompatible-") || status.starts_with("inaccessible-encryption-credentials")
        }
    }
}

/// Whether it uses a parameter group.
pub(super) fn uses(there: &DbInstance, parameter_group: &str) -> bool {
    let mut groups = there.db_parameter_groups().iter();
    groups.any(|group| group.db_parameter_group_name() == Some(parameter_group))
}

/// The changes that RDS is still to make, of those that a spec asks for.
fn pending(there: &DbInstance) -> Vec<&'static str> {
    let Some(pending) = there.pending_modified_values() else { return Vec::new() };
    let all = [
        ("class", pending.db_instance_class().is_some()),
        ("storage", pending.allocated_storage().is_some()),
        ("backup days", pending.backup_retention_period().is_some()),
        ("standby", pending.multi_az().is_some()),
        ("version", pending.engine_version().is_some()),
    ];
    all.into_iter().filter(|(_, is_pending)| *is_pending).map(|(name, _)| name).collect()
}

/// Whether RDS has made the secret.
fn secret(there: &DbInstance) -> Option<&str> {
    let secret = there.master_user_secret()?;
    secret.secret_arn().filter(|_| secret.secret_status() == Some("active"))
}

fn host(there: &DbInstance) -> Option<&str> {
    there.endpoint()?.address()
}

/// What an instance waits for before it is as the spec says; `None` when that is so.
fn awaits(there: &DbInstance) -> Option<String> {
    let pending = pending(there);
    if !is_available(there) {
        Some(format!("to be available: it is {}", status(there)))
    } else if !pending.is_empty() {
        Some(format!("to be changed: {} pending", pending.join(", ")))
    } else if host(there).is_none() {
        Some("to have an endpoint".into())
    } else if secret(there).is_none() {
        Some("to have its secret".into())
    } else {
        None
    }
}

/// What is known of it. Its endpoint and secret come late.
pub(super) fn outputs(work: &Work<'_>, there: Option<&DbInstance>) -> DatabaseOutputs {
    DatabaseOutputs {
        identifier: Some(identifier(work)),
        host: there.and_then(host).map(str::to_owned),
        secret: there.and_then(secret).map(str::to_owned),
        awaited: work.spec.services.values().any(stackdrop_specs::Service::uses_database),
    }
}

pub(super) fn plan(work: &Work<'_>, spec: &Database, observed: &Observed, plan: &mut Plan) {
    let Some(there) = observed.instance.as_ref().filter(|there| !is_deleting(there)) else {
        plan.change(Verb::Create, LOGICAL_ID);
        return;
    };
    for (why, fix) in settings::refusals(work, spec, there) {
        plan.problem(LOGICAL_ID, why, fix);
    }
    plan.tags(&work.stack, NAME, LOGICAL_ID, &observed::tags_of(there));
    let mut differences = settings::differences(work, spec, there);
    if work.deployment.baseline.is_some() && lacks_protection(spec, there) {
        differences.push(settings::protection_difference(true));
    }
    for difference in &differences {
        plan.update(LOGICAL_ID, difference.field, &difference.from, &difference.to);
    }
    if differences.is_empty() && awaits(there).is_some() {
        plan.change(Verb::Wait, LOGICAL_ID);
    }
}

/// Notes that it goes, or why it can't.
pub(super) fn plan_deletion(there: &DbInstance, plan: &mut Plan) {
    plan.change(Verb::Delete, LOGICAL_ID);
    if there.deletion_protection() == Some(true) {
        plan.problem(
            LOGICAL_ID,
            "the database can't be removed while its deletion protection is on",
            "set database.deletionProtection: false and deploy, then remove the database from the spec",
        );
    }
}

/// Refuses to go on with the removal of a protected instance: waiting would not help.
pub(super) fn refuse_protected(observed: &Observed) -> Result<(), StepError> {
    match &observed.instance {
        Some(there) if there.deletion_protection() == Some(true) => {
            let id = there.db_instance_identifier().unwrap_or_default();
            Err(StepError::InvalidSpec(format!("the database {id} can't be removed: {PROTECTED}")))
        }
        _ => Ok(()),
    }
}

pub(super) async fn apply(
    work: &Work<'_>,
    spec: &Database,
    observed: &Observed,
) -> Result<DatabaseOutputs, StepError> {
    let Some(there) = &observed.instance else {
        create(work, spec).await?;
        return Ok(outputs(work, None));
    };
    let id = identifier(work);
    if is_deleting(there) {
        return Err(StepError::pending(format!("the deletion of the earlier database {id}")));
    }
    let refusals = settings::refusals(work, spec, there);
    if !refusals.is_empty() {
        let text: Vec<String> = refusals.iter().map(|(why, fix)| format!("{why}; {fix}")).collect();
        return Err(StepError::InvalidSpec(text.join("; ")));
    }
    let arn = there.db_instance_arn().unwrap_or_default();
    keep_tags(work, arn, LOGICAL_ID, &observed::tags_of(there)).await?;
    modify(work, &settings::differences(work, spec, there)).await?;
    Ok(outputs(work, Some(there)))
}

async fn create(work: &Work<'_>, spec: &Database) -> Result<(), StepError> {
    let group = work.groups()?.database.clone();
    let group =
        group.ok_or_else(|| StepError::Defect("there is no security group for the database".into()))?;
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
        // Encryption can't be switched on later.
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
        // Only a stack that stands is protected: this one may yet have to be undone.
        .deletion_protection(false)
        .set_tags(Some(rds_tags(work.stack.tags(NAME, LOGICAL_ID))));
    // The groups are fresh, or a lost answer has made the instance: all of it shows in a moment.
    let late = [
        "DBInstanceAlreadyExists",
        "DBParameterGroupNotFound",
        "DBSubnetGroupNotFoundFault",
        "InvalidDBParameterGroupState",
    ];
    let doing = format!("creating the database {id}");
    call.send().await.pending_on(&late, "the database's groups, or itself, to be visible", doing)?;
    tracing::info!(id, "Database created.");
    Ok(())
}

async fn modify(work: &Work<'_>, differences: &[Difference]) -> Result<(), StepError> {
    if differences.is_empty() {
        return Ok(());
    }
    let id = identifier(work);
    // Otherwise changes wait for the maintenance window, and look like drift until then.
    let call = work.aws.rds().modify_db_instance().db_instance_identifier(&id).apply_immediately(true);
    let call = differences.iter().fold(call, |call, difference| difference.setting.put(call));
    let fields: Vec<&str> = differences.iter().map(|difference| difference.field).collect();
    let doing = format!("changing {} of the database {id}", fields.join(", "));
    let waits_for = format!("the database {id} to take the change of {}", fields.join(", "));
    let late = [BUSY, "DBParameterGroupNotFound"];
    call.send().await.pending_on(&late, &waits_for, doing)?;
    tracing::info!(id, ?fields, "Database changed.");
    Ok(())
}

fn lacks_protection(spec: &Database, there: &DbInstance) -> bool {
    spec.deletion_protection && there.deletion_protection() != Some(true)
}

/// Puts deletion protection on, where the spec asks for it and it is off.
pub(super) async fn protect(work: &Work<'_>, spec: &Database) -> Result<(), StepError> {
    let observed = observed::find_instance(work).await?;
    let ours = observed.filter(|there| work.stack.owns(&observed::tags_of(there)) && !is_deleting(there));
    match ours {
        Some(there) if lacks_protection(spec, &there) => {
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
    let Some(there) = observed.filter(|there| work.stack.owns(&observed::tags_of(there))) else {
        return Err(StepError::pending(format!("the database {id} to be visible")));
    };
    if is_beyond_help(&there) || is_deleting(&there) {
        let events = observed::find_events(work, &id).await;
        // The state alone says enough to fail; what is missing of the reason must not hide it.
        let events = events.unwrap_or_else(|error| vec![error.chain()]);
        let events = if events.is_empty() { vec!["nothing more.".into()] } else { events };
        let why =
            format!("it is {}. RDS says: {}{}", status(&there), events.join(" "), advice(status(&there)));
        return Err(StepError::Unhealthy { what: format!("the database {id}"), why });
    }
    if let Some(what) = awaits(&there) {
        return Err(StepError::pending(format!("the database {id} {what}")));
    }
    // A change that RDS has accepted may take a moment to show, even as pending.
    let differences = settings::differences(work, spec, &there);
    if !differences.is_empty() {
        let fields: Vec<&str> = differences.iter().map(|difference| difference.field).collect();
        return Err(StepError::pending(format!("the database {id} to show its new {}", fields.join(", "))));
    }
    Ok(outputs(work, Some(&there)))
}

/// What to do about a state that does not pass.
/// Source: "Viewing Amazon RDS DB instance status" in the RDS user guide.
fn advice(status: &str) -> &'static str {
    match status {
        "storage-full" => " Set a larger database.storage, or a database.maxStorage.",
        "insufficient-capacity" => " AWS is short of this class here: wait, or set another database.class.",
        "incompatible-network" => " See that the database subnets have free addresses.",
        "incompatible-parameters" => {
            " Somebody has set a parameter that this class can't have: reset it in the parameter group, and reboot."
        }
        "stopped" => " Somebody has stopped it: start it (`aws rds start-db-instance`), and deploy again.",
        status if status.starts_with("inaccessible-encryption-credentials") => {
            " The key that encrypts it can't be used: enable it in KMS, and start the database."
        }
        _ => "",
    }
}

/// Starts the deletion, unless it has begun.
pub(super) async fn delete(work: &Work<'_>, there: &DbInstance) -> Result<Deletion, StepError> {
    let id = identifier(work);
    let mut deletion = Deletion::default();
    if is_deleting(there) {
        deletion.remains(LOGICAL_ID, id, "deleting");
        return Ok(deletion);
    }
    if there.deletion_protection() == Some(true) {
        // Whoever set it wants to be asked: no removal switches it off.
        deletion.remains(LOGICAL_ID, id, PROTECTED);
        return Ok(deletion);
    }
    let (snapshot, keeps_backups) = farewell(work, there);
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
            tracing::info!(id, snapshot, "Database is being deleted.");
            deletion.remains(LOGICAL_ID, id, "deleting");
        }
        Ok(None) => {}
        Err(refusal) if holds(&refusal.aws().code) => {
            deletion.remains(LOGICAL_ID, id, refusal.aws().to_string());
        }
        Err(refusal) => return Err(refusal).doing(format!("deleting the database {id}")),
    }
    Ok(deletion)
}

/// Refusals of a deletion after which it is there still, and may be asked again: RDS is at work on it, or a final
/// snapshot with this name exists, of an attempt that went wrong later.
fn holds(code: &str) -> bool {
    [BUSY, "DBSnapshotAlreadyExists"].contains(&code)
}

/// The final snapshot's name, if one is taken, and whether automated backups outlive the instance.
///
/// A database that never served has nothing to keep. In some states RDS refuses a final snapshot (API reference of
/// `DeleteDBInstance`); if one was wanted, the automated backups are kept in its place.
fn farewell(work: &Work<'_>, there: &DbInstance) -> (Option<String>, bool) {
    let baseline = work.deployment.baseline.as_ref().and_then(|baseline| baseline.spec.database.as_ref());
    let desired = baseline.is_some_and(|served| {
        work.spec.database.as_ref().map_or(served.final_snapshot, |spec| spec.final_snapshot)
    });
    let refused = ["creating", "failed", "incompatible-network", "incompatible-restore"];
    if !desired || refused.contains(&status(there)) {
        return (None, desired);
    }
    // The same name again would be refused, so it is made of this deployment and this instance.
    let generation = work.stack.token("final-snapshot", &[there.dbi_resource_id().unwrap_or_default()]);
    let generation: String = generation.chars().take(12).collect();
    (Some(format!("{}-final-{generation}", identifier(work))), false)
}
