//! The RDS instance: PostgreSQL, encrypted, not public, with a master password that RDS manages in Secrets Manager.

use aws_sdk_rds::types::DbInstance;
use stackdrop_specs::{DATABASE_PORT, Database};

use super::observed::{self, Observed, Reboot};
use super::settings::{self, Difference, Setting, View, size};
use super::status::{self, State, is_available, is_deleting, status};
use super::storage::STORAGE_TYPE;
use super::values::{host, outputs, secret, values};
use super::version::{self, NO_EXTENDED_SUPPORT, POSTGRES};
use super::{NAME, linked_role, parameter_group, rds_tags, repair_tags, subnet_group};
use crate::aws::error::{AwsResult, StepError};
use crate::contract::component::Work;
use crate::deployment::effect::EffectKind;
use crate::deployment::outputs::DatabaseOutputs;
use crate::deployment::plan::{DatabaseValues, Plan, Verb};

/// The instance's logical ID.
pub(super) const LOGICAL_ID: &str = "instance";
/// The master user. RDS rejects names that the engine reserves, such as `rdsadmin`.
const MASTER_USER: &str = "stackdrop";
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
        plan.change(Verb::Create, LOGICAL_ID);
        plan.database = Some(DatabaseValues::default());
        warn_of_lost_data(work, plan);
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
    version::plan_support(work, spec, Some(db), plan).await
}

/// Warns if the stack had a database: the new one is empty.
fn warn_of_lost_data(work: &Work<'_>, plan: &mut Plan) {
    if work.deployment.baseline.as_ref().is_some_and(|baseline| baseline.spec.database.is_some()) {
        plan.warn(
            LOGICAL_ID,
            format!("somebody deleted RDS instance {}: the new one is empty", identifier(work)),
            "copy the data from a snapshot or an automated backup, if there is one",
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
            _ => continue,
        };
        plan.effect(EffectKind::CannotBeUndone, LOGICAL_ID, what);
    }
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
        let created = create(work, spec).await?;
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

async fn create(work: &Work<'_>, spec: &Database) -> Result<Option<DbInstance>, StepError> {
    let group = work.groups()?.database.clone();
    let group = group
        .ok_or_else(|| StepError::Defect("the security groups have no group for the database".into()))?;
    let id = identifier(work);
    let call = work
        .aws
        .rds()
        .create_db_instance()
        .db_instance_identifier(&id)
        .engine(POSTGRES)
        .engine_version(&spec.version)
        .db_instance_class(&spec.class)
        .allocated_storage(size(spec.storage))
        .set_max_allocated_storage(spec.max_storage.map(size))
        .storage_type(STORAGE_TYPE)
        // After the end of standard support, RDS would charge more for the support than for a small instance.
        .engine_lifecycle_support(NO_EXTENDED_SUPPORT)
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
    let doing = format!("creating RDS instance {id}");
    let refusal = match call.send().await.unless(&[]) {
        Ok(response) => {
            tracing::info!(id, "RDS instance created.");
            return Ok(response.and_then(|response| response.db_instance));
        }
        Err(refusal) => refusal,
    };
    linked_role::check(work, &refusal.aws()).await?;
    // The groups are new, or a lost response created the instance: both become visible soon. RDS has no code of its own for
    // a security group that it does not see yet.
    let not_visible = ["DBInstanceAlreadyExists", "DBParameterGroupNotFound", "DBSubnetGroupNotFoundFault"];
    let waiting_for = "the RDS instance and its groups to become visible";
    if refusal.aws().message.contains("Invalid security group") {
        return Err(StepError::stalled(waiting_for));
    }
    let refused: Result<(), _> = Err(refusal);
    let refused = refused.unless(&["InvalidDBParameterGroupState"]);
    match refused {
        Ok(_) => Err(StepError::pending("RDS to create the DB parameter group")),
        Err(refusal) => Err(refusal).stalled_on(&not_visible, waiting_for, doing),
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
