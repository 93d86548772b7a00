//! The RDS instance: PostgreSQL, encrypted, not public, with a master password that RDS manages in Secrets Manager.

use aws_sdk_rds::types::DbInstance;
use stackdrop_specs::Database;

use super::observed::{self, Observed, Reboot};
use super::settings::{self, Difference, Setting, View};
use super::status::{self, State, is_available, is_deleting, status};
use super::values::{host, outputs, secret, values};
use super::{NAME, creation, repair_tags, restore, version};
use crate::aws::error::{AwsResult, StepError};
use crate::contract::component::Work;
use crate::deployment::effect::EffectKind;
use crate::deployment::outputs::DatabaseOutputs;
use crate::deployment::plan::{DatabaseValues, FieldChange, Plan, Verb};

/// The instance's logical ID.
pub(super) const LOGICAL_ID: &str = "instance";
/// The master user. RDS rejects names that the engine reserves, such as `rdsadmin`.
pub(super) const MASTER_USER: &str = "stackdrop";
/// RDS's error code while the instance does not accept a change.
pub(super) const BUSY: &str = "InvalidDBInstanceState";

/// The instance's identifier.
pub(super) fn identifier(work: &Work<'_>) -> String {
    work.stack.resource("database")
}

/// Whether the instance uses a parameter group.
pub(super) fn uses(db: &DbInstance, parameter_group: &str) -> bool {
    let mut groups = db.db_parameter_groups().iter();
    groups.any(|group| group.db_parameter_group_name() == Some(parameter_group))
}

pub(super) async fn plan(
    work: &Work<'_>,
    spec: &Database,
    observed: &Observed,
    plan: &mut Plan,
) -> Result<(), StepError> {
    let Some(db) = observed.instance.as_ref().filter(|db| !is_deleting(db)) else {
        plan.database = Some(DatabaseValues::default());
        if let Some(snapshot) = &spec.restore_from {
            restore::plan(work, spec, snapshot, plan).await?;
        } else {
            plan.change(Verb::Create, LOGICAL_ID);
            warn_of_lost_data(work, plan);
        }
        return version::plan_support(work, spec, None, plan).await;
    };
    for (why, fix) in settings::refusals(work, spec, db) {
        plan.problem(LOGICAL_ID, why, fix);
    }
    plan.tags(&work.stack, NAME, LOGICAL_ID, &observed::tags_of(db));
    let differences = settings::differences(work, spec, db, View::Planned);
    let mut differences = version::with_full_target(work, db, differences).await?;
    // The first deployment of an instance turns it on once it has succeeded, which this one does if that one was interrupted.
    let is_changed = !differences.is_empty();
    if lacks_protection(spec, db) {
        differences.push(settings::protection_difference(true));
    }
    plan.database = Some(values(db, &differences));
    let state = status::of(db);
    if [State::Stopped, State::Stopping].contains(&state) {
        plan.update(LOGICAL_ID, "status", status(db), "available");
    } else if state == State::Stuck && !frees_storage(db, &differences) {
        let why = format!(
            "the RDS instance cannot be used: {}",
            status::reports(work, &identifier(work), db).await
        );
        plan.problem(LOGICAL_ID, why, status::advice(db).trim().trim_end_matches('.'));
    }
    for difference in &differences {
        plan.update_field(Verb::Update, LOGICAL_ID, difference.change.clone());
    }
    if observed.reboot == Reboot::Needed {
        plan.update(LOGICAL_ID, "parameters", "pending-reboot", "in-sync");
    }
    // During the backup of each night, the database works as usual.
    let waits = state == State::Working && status(db) != "backing-up";
    if !is_changed && (waits || host(db).is_none() || secret(db).is_none()) {
        plan.change(Verb::Wait, LOGICAL_ID);
    }
    plan_irreversible(&differences, plan);
    warn(spec, db, observed, &differences, plan);
    warn_of_restore(work, spec, plan);
    version::plan_support(work, spec, Some(db), plan).await
}

/// Warns if the stack had a database, and somebody agreed to an empty one.
fn warn_of_lost_data(work: &Work<'_>, plan: &mut Plan) {
    if work.deployment.baseline.as_ref().is_some_and(|baseline| baseline.spec.database.is_some()) {
        plan.warn(
            LOGICAL_ID,
            format!("somebody deleted RDS instance {}: the new one is empty, as requested", identifier(work)),
            "set database.restoreFrom to a snapshot instead, if the data is needed",
        );
    }
}

/// Warns if the spec names another snapshot than before, and the database exists.
fn warn_of_restore(work: &Work<'_>, spec: &Database, plan: &mut Plan) {
    let baseline = work.deployment.baseline.as_ref().and_then(|baseline| baseline.spec.database.as_ref());
    let is_new = baseline.is_some_and(|baseline| baseline.restore_from != spec.restore_from);
    if let Some(snapshot) = spec.restore_from.as_ref().filter(|_| is_new) {
        plan.warn(
            LOGICAL_ID,
            format!("the database exists, so {snapshot} (database.restoreFrom) is not restored"),
            "destroy the stack, or remove the database from the spec, before a restore; or deploy a stack with another name",
        );
    }
}

/// Says what RDS does not take back: more storage, and another major version.
fn plan_irreversible(differences: &[Difference], plan: &mut Plan) {
    for Difference { change, setting } in differences {
        let what = match setting {
            Setting::Version { version, major: true } => {
                format!("upgrades PostgreSQL from {} to {version}: RDS cannot downgrade it", change.from)
            }
            Setting::Storage(_) if change.field == "storage" => {
                format!("grows the storage from {} to {} GiB: RDS cannot reduce it", change.from, change.to)
            }
            Setting::BackupDays(_) if fewer(change) => {
                let what = format!(
                    "keeps backups for {} days instead of {}: RDS deletes the older ones",
                    change.to, change.from
                );
                plan.effect(EffectKind::DeletesData, LOGICAL_ID, what);
                continue;
            }
            _ => continue,
        };
        plan.effect(EffectKind::CannotBeUndone, LOGICAL_ID, what);
    }
}

/// Whether a number is reduced.
fn fewer(change: &FieldChange) -> bool {
    let number = |text: &str| text.parse::<u32>().ok();
    number(&change.to) < number(&change.from)
}

/// Warns of what the deployment causes beside its changes, and of what it leaves alone.
fn warn(spec: &Database, db: &DbInstance, observed: &Observed, differences: &[Difference], plan: &mut Plan) {
    let names = |chosen: &dyn Fn(&Setting) -> bool| {
        let chosen = differences.iter().filter(|difference| chosen(&difference.setting));
        chosen.map(|difference| difference.change.field.as_str()).collect::<Vec<_>>().join(", ")
    };
    let mut interrupting = names(&|setting| setting.interrupts(db));
    if interrupting.is_empty() && observed.reboot == Reboot::Needed {
        interrupting = "parameters".into();
    }
    if !interrupting.is_empty() {
        let what = format!(
            "the change of {interrupting} interrupts the database, for some minutes without a standby"
        );
        plan.effect(EffectKind::Interrupts, LOGICAL_ID, what);
    }
    let left_alone = settings::left_alone(spec, db).join(", ");
    if !left_alone.is_empty() {
        let when =
            if differences.is_empty() { "then" } else { "now, together with the deployment's changes" };
        plan.warn(
            LOGICAL_ID,
            format!("a change waits for the maintenance window ({left_alone}): RDS applies it {when}"),
            "cancel it with `aws rds modify-db-instance` if it is not wanted",
        );
    }
    if observed.reboot == Reboot::LeftToOthers {
        plan.warn(
            LOGICAL_ID,
            "somebody set parameters that take effect only after a reboot",
            "reboot the instance (`aws rds reboot-db-instance`), or reset the parameters",
        );
    }
}

/// Whether the storage is full and the deployment adds storage.
fn frees_storage(db: &DbInstance, differences: &[Difference]) -> bool {
    status(db) == "storage-full" && differences.iter().any(|it| matches!(it.setting, Setting::Storage(_)))
}

pub(super) async fn apply(
    work: &Work<'_>,
    spec: &Database,
    observed: &Observed,
) -> Result<DatabaseOutputs, StepError> {
    let Some(db) = &observed.instance else {
        let created = creation::create(work, spec).await?;
        return Ok(outputs(work, created.as_ref()));
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
    if finishes_restore(work) && status::of(db) == State::Working {
        return Err(StepError::pending(format!("RDS instance {id} to be restored: it is {}", status(db))));
    }
    let arn = db.db_instance_arn().unwrap_or_default();
    repair_tags(work, arn, LOGICAL_ID, &observed::tags_of(db)).await?;
    let differences = settings::differences(work, spec, db, View::Planned);
    let differences = version::with_full_target(work, db, differences).await?;
    match status::of(db) {
        State::Stopping => {
            return Err(StepError::pending(format!("RDS instance {id} to stop, so that it can be started")));
        }
        State::Stopped => {
            start(work, &id).await?;
            if !differences.is_empty() {
                return Err(StepError::pending(format!(
                    "RDS instance {id} to start, so that it can be changed"
                )));
            }
        }
        State::Stuck if frees_storage(db, &differences) => {
            let (storage, rest): (Vec<Difference>, Vec<Difference>) =
                differences.into_iter().partition(|it| matches!(it.setting, Setting::Storage(_)));
            modify(work, db, &storage).await?;
            if !rest.is_empty() {
                return Err(StepError::pending(format!(
                    "RDS instance {id} to grow, so that it can be changed"
                )));
            }
        }
        // A rollback cannot repair it, and has nothing else to do here.
        State::Stuck if work.deployment.rolling_back => {
            tracing::warn!(id, status = status(db), "The RDS instance is left as it is.");
        }
        State::Stuck => return Err(status::unhealthy(work, &id, db).await),
        _ => change(work, &id, db, observed, &differences).await?,
    }
    Ok(outputs(work, Some(db)))
}

/// Whether this is the second time that the step runs, after a restore began: it sets what the restore cannot.
fn finishes_restore(work: &Work<'_>) -> bool {
    work.outputs.database.as_ref().is_some_and(|outputs| outputs.restoring)
}

/// Changes what differs, and reboots the instance if its parameters need it.
async fn change(
    work: &Work<'_>,
    id: &str,
    db: &DbInstance,
    observed: &Observed,
    differences: &[Difference],
) -> Result<(), StepError> {
    modify(work, db, differences).await?;
    let settings = || differences.iter().map(|difference| &difference.setting);
    let upgrades = settings().any(|setting| matches!(setting, Setting::Version { .. }));
    // An upgrade restarts PostgreSQL anyway.
    if !upgrades && settings().any(|setting| matches!(setting, Setting::ParameterGroup(_))) {
        return Err(StepError::pending(format!(
            "RDS instance {id} to take its parameter group, so that it can be rebooted"
        )));
    }
    if observed.reboot == Reboot::Needed {
        let call = work.aws.rds().reboot_db_instance().db_instance_identifier(id).send().await;
        let rebooted = call.unless(&[BUSY]).doing(format!("rebooting RDS instance {id}"))?;
        rebooted.ok_or_else(|| busy(db, format!("RDS instance {id} to accept a reboot")))?;
        tracing::info!(id, "RDS instance is being rebooted.");
    }
    Ok(())
}

/// Starts a stopped instance.
pub(super) async fn start(work: &Work<'_>, id: &str) -> Result<(), StepError> {
    let call = work.aws.rds().start_db_instance().db_instance_identifier(id).send().await;
    let waiting_for = format!("RDS instance {id} to accept its start");
    call.stalled_on(&[BUSY], &waiting_for, format!("starting RDS instance {id}"))?;
    tracing::info!(id, "RDS instance is being started.");
    Ok(())
}

/// What a step waits for after RDS refused a change because of the instance's state. An available instance refuses for some
/// seconds, until its status shows a change that RDS has accepted.
fn busy(db: &DbInstance, waiting_for: String) -> StepError {
    match status::of(db) {
        State::Available => StepError::stalled(waiting_for),
        _ => StepError::pending(format!("{waiting_for}: it is {}", status(db))),
    }
}

async fn modify(work: &Work<'_>, db: &DbInstance, differences: &[Difference]) -> Result<(), StepError> {
    if differences.is_empty() {
        return Ok(());
    }
    let id = identifier(work);
    // Otherwise changes wait for the maintenance window and look like drift until then.
    let call = work.aws.rds().modify_db_instance().db_instance_identifier(&id).apply_immediately(true);
    let call = differences.iter().fold(call, |call, difference| difference.setting.add_to(call));
    let fields: Vec<&str> = differences.iter().map(|difference| difference.change.field.as_str()).collect();
    let fields = fields.join(", ");
    let waiting_for = format!("RDS instance {id} to accept the change of {fields}");
    let mut doing = format!("updating {fields} of RDS instance {id}");
    if differences.iter().any(|difference| matches!(difference.setting, Setting::Storage(_))) {
        // The status does not show this lock ("Working with storage for Amazon RDS DB instances").
        doing.push_str(
            " (RDS accepts a change of the storage six hours after the last one, its own included: deploy again after that)",
        );
    }
    let call = call.send().await.unless(&["DBParameterGroupNotFound"]);
    let accepted = match call {
        Ok(None) => return Err(StepError::stalled(waiting_for)),
        other => other.unless(&[BUSY]).doing(doing)?,
    };
    accepted.ok_or_else(|| busy(db, waiting_for))?;
    tracing::info!(id, fields, "RDS instance updated.");
    Ok(())
}

fn lacks_protection(spec: &Database, db: &DbInstance) -> bool {
    spec.deletion_protection && db.deletion_protection() != Some(true)
}

/// Turns on deletion protection if the spec has it and it is off. While RDS works on the instance, protection is left to the
/// next deployment, which finds it as a difference.
pub(super) async fn protect(work: &Work<'_>, spec: &Database) -> Result<(), StepError> {
    let observed = observed::find_instance(work).await?;
    let ours = observed.filter(|db| work.stack.owns(&observed::tags_of(db)) && !is_deleting(db));
    let Some(db) = ours.filter(|db| lacks_protection(spec, db)) else { return Ok(()) };
    if !is_available(&db) {
        let why =
            format!("it is {}, so its deletion protection stays off until the next deployment", status(&db));
        return Err(StepError::Unhealthy { what: format!("RDS instance {}", identifier(work)), why });
    }
    modify(work, &db, &[settings::protection_difference(true)]).await
}

pub(super) async fn wait_until_stable(
    work: &Work<'_>,
    spec: &Database,
) -> Result<DatabaseOutputs, StepError> {
    let id = identifier(work);
    let observed = observed::find_instance(work).await?;
    let Some(db) = observed.filter(|db| work.stack.owns(&observed::tags_of(db))) else {
        return Err(StepError::stalled(format!("RDS instance {id} to become visible")));
    };
    match status::of(&db) {
        State::Available => wait_for_values(work, spec, &db, &id).await?,
        State::Working | State::Stopping => {
            let what = format!("RDS instance {id} to become available: it is {}", status(&db));
            return Err(StepError::pending(what));
        }
        // A rollback cannot repair it. The failure that led to the rollback names it, or the next plan does.
        State::Stuck if work.deployment.rolling_back => {
            tracing::warn!(id, status = status(&db), "The RDS instance is left as it is.");
        }
        State::Stuck | State::Stopped | State::Deleting => {
            return Err(status::unhealthy(work, &id, &db).await);
        }
    }
    Ok(outputs(work, Some(&db)))
}

/// Waits until an available instance has the values of the spec, its endpoint and its secret.
async fn wait_for_values(
    work: &Work<'_>,
    spec: &Database,
    db: &DbInstance,
    id: &str,
) -> Result<(), StepError> {
    let differences = settings::differences(work, spec, db, View::Actual);
    if !differences.is_empty() {
        // RDS shows an accepted change some seconds late. An upgrade that failed leaves the instance as it was.
        let fields: Vec<&str> =
            differences.iter().map(|difference| difference.change.field.as_str()).collect();
        let waiting_for = format!("RDS instance {id} to show its new {}", fields.join(", "));
        let mut why = status::newest_events(work, id).await;
        if differences.iter().any(|difference| matches!(difference.setting, Setting::Version { .. })) {
            why.push_str(" If the upgrade failed, read the log pg_upgrade_precheck.log of the RDS instance.");
        }
        return Err(StepError::stalled_because(waiting_for, why));
    }
    if host(db).is_none() {
        return Err(StepError::stalled(format!("RDS instance {id} to have an endpoint")));
    }
    match db.master_user_secret().and_then(|secret| secret.secret_status()) {
        Some("creating") => Err(StepError::pending(format!("RDS instance {id} to have a secret"))),
        _ if secret(db).is_none() => Err(StepError::stalled(format!("RDS instance {id} to have a secret"))),
        _ => Ok(()),
    }
}
