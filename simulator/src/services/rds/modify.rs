//! `ModifyDBInstance`.

use std::time::Duration;

use super::change::{self, Change};
use super::checks;
use super::condition::Condition;
use super::instance::{self, Instance, Secret, Settings, wrong_state};
use super::{catalogue, contradiction, create, document, invalid, windows};
use crate::params::{Params, Refusal};
use crate::protocol::Reply;
use crate::services::secrets;
use crate::world::World;

/// Changes without delay: the instance stays available.
#[derive(Default)]
struct AtOnce {
    protected: Option<bool>,
    copies_tags: Option<bool>,
    minor_upgrades: Option<bool>,
    growth: Option<Growth>,
    backup_window: Option<String>,
    maintenance_window: Option<String>,
    password: Option<Password>,
}

/// The limit of storage autoscaling.
#[derive(Clone, Copy)]
enum Growth {
    Off,
    UpTo(u32),
}

/// The change of the master password.
enum Password {
    /// A given password; RDS manages none.
    Given,
    /// RDS manages it from now on, with this key.
    Kept(String),
    /// RDS manages it already, and creates another one.
    Rotated,
}

pub(super) fn modify(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let id = params.required("DBInstanceIdentifier")?.to_ascii_lowercase();
    let immediately = params.flag("ApplyImmediately")?.unwrap_or(false);
    let instance = instance::find(world, &id)?;
    let named: Vec<bool> = queued(instance).map(|change| params.has(change.parameter())).collect();
    let (now, second) = (world.now, world.latency.seconds(1.0));
    let wanted = wanted_settings(world, params, instance)?;
    let at_once = at_once(world, params, instance, &wanted, immediately)?;
    params.done()?;
    check_state(&id, instance, now, &wanted, &at_once)?;
    let mut changes = changes(&instance.settings, wanted);
    if matches!(at_once.password, Some(Password::Given | Password::Kept(_))) {
        changes.push(Change::Password);
    }
    if changes.contains(&Change::MultiAz(true)) {
        let group = world.states.rds.subnet_groups.get(&instance.subnet_group);
        group.map(|group| create::standby_place(world, group, &instance.settings)).transpose()?;
    }
    let Some(instance) = world.states.rds.instances.get_mut(&id) else { return document::reply(world, &id) };
    apply_at_once(instance, &at_once);
    cancel_named(instance, &named);
    let (mut start, mut wait) = (Vec::new(), Vec::new());
    for change in changes {
        // A password is changed at once, whether or not the request says so.
        let waits = change.waits_for_window(&instance.settings) && change != Change::Password;
        if waits && !immediately { wait.push(change) } else { start.push(change) }
    }
    if immediately && let Some((_, mut waited)) = instance.waiting.take() {
        // "Apply immediately" also applies changes that wait for the window.
        change::merge(&mut waited, start);
        start = waited;
    }
    if !wait.is_empty() {
        let window = windows::next(&instance.maintenance_window, now);
        let waiting = instance.waiting.get_or_insert_with(|| (window, Vec::new()));
        change::merge(&mut waiting.1, wait);
    }
    change::begin(instance, start, now, second);
    if let Some(password) = at_once.password {
        keep_or_drop_secret(world, &id, password);
    }
    document::reply(world, &id)
}

/// The changes that wait for the maintenance window.
fn queued(instance: &Instance) -> impl Iterator<Item = &Change> {
    instance.waiting.iter().flat_map(|(_, changes)| changes)
}

/// Cancels the waiting changes that the request names: its values replace them. Source: "Using the schedule modifications
/// setting" in the RDS user guide: a pending change is cancelled by a modification that reverts it.
fn cancel_named(instance: &mut Instance, named: &[bool]) {
    if let Some((_, changes)) = &mut instance.waiting {
        let mut named = named.iter();
        changes.retain(|_| named.next() != Some(&true));
        if changes.is_empty() {
            instance.waiting = None;
        }
    }
}

/// The desired settings. Omitted ones stay as they are, pending changes included.
fn wanted_settings(world: &World, params: &Params, instance: &Instance) -> Result<Settings, Refusal> {
    let now = &instance.settings;
    let mut wanted = now.clone();
    if let Some(class) = params.text("DBInstanceClass") {
        catalogue::wanted_class(&class)?;
        wanted.class = class;
    }
    wanted.version = version(world, params, now)?;
    storage(params, now, &mut wanted)?;
    if let Some(days) = checks::number(params, "BackupRetentionPeriod")? {
        wanted.backup_days = checks::backup_days(days)?;
    }
    if let Some(on) = params.flag("MultiAZ")? {
        wanted.multi_az = on;
    }
    let group = world.states.rds.subnet_groups.get(&instance.subnet_group);
    let vpc = group.map(|group| group.vpc.clone()).unwrap_or_default();
    if params.has("VpcSecurityGroupIds") {
        wanted.groups = checks::groups(world, &vpc, params.list("VpcSecurityGroupIds"))?;
    }
    if let Some(name) = params.text("DBParameterGroupName") {
        wanted.parameter_group = checks::parameter_group(world, &name, wanted.version)?;
    } else if catalogue::major(wanted.version) != catalogue::major(now.version)
        && !now.parameter_group.starts_with("default.")
    {
        checks::parameter_group(world, &now.parameter_group, wanted.version)?;
    }
    if let Some(port) = checks::number(params, "DBPortNumber")? {
        wanted.port = checks::port(port)?;
    }
    if let Some(on) = params.flag("PubliclyAccessible")? {
        if let Some(group) = group.filter(|_| on && !now.public) {
            checks::public(world, group)?;
        }
        wanted.public = on;
    }
    if let Some(on) = params.flag("EnableIAMDatabaseAuthentication")? {
        wanted.iam_authentication = on;
    }
    wanted.insights_days = insights(params, now)?;
    if let Some(exports) = params.section("CloudwatchLogsExportConfiguration") {
        let disabled = exports.list("DisableLogTypes");
        wanted.log_exports.retain(|log| !disabled.contains(log));
        for log in checks::log_exports(exports.list("EnableLogTypes"))? {
            if !wanted.log_exports.contains(&log) {
                wanted.log_exports.push(log);
            }
        }
    }
    if let Some(name) = params.text("CACertificateIdentifier") {
        wanted.certificate = checks::certificate(name)?;
    }
    params.ignore("CertificateRotationRestart"); // supported versions rotate without one
    Ok(wanted)
}

fn version(world: &World, params: &Params, now: &Settings) -> Result<&'static str, Refusal> {
    let allows_major = params.flag("AllowMajorVersionUpgrade")?.unwrap_or(false);
    let Some(text) = params.text("EngineVersion") else { return Ok(now.version) };
    let same_major = text == catalogue::major(now.version).to_string();
    let wanted = if same_major { now.version } else { catalogue::resolve(world, Some(&text))? };
    if wanted == now.version {
        return Ok(wanted);
    }
    if !catalogue::can_upgrade(now.version, wanted) {
        return Err(contradiction(format!("Cannot upgrade postgres from {} to {wanted}", now.version)));
    }
    if catalogue::major(wanted) != catalogue::major(now.version) && !allows_major {
        return Err(contradiction(
            "The AllowMajorVersionUpgrade flag must be present when upgrading to a new major version.",
        ));
    }
    Ok(wanted)
}

fn storage(params: &Params, now: &Settings, wanted: &mut Settings) -> Result<(), Refusal> {
    let size = checks::number(params, "AllocatedStorage")?;
    let storage_type = params.text("StorageType");
    let iops = checks::number(params, "Iops")?;
    let throughput = checks::number(params, "StorageThroughput")?;
    if let Some(size) = size {
        if size < now.storage {
            return Err(contradiction(format!(
                "Invalid storage size for engine name postgres and storage type {}: {size}: storage can't shrink from \
                 {}",
                now.storage_type, now.storage
            )));
        }
        // "Values that aren't at least 10% greater are rounded up so that they're 10% greater".
        let least = (now.storage * 11).div_ceil(10);
        wanted.storage = if size > now.storage { size.max(least) } else { size };
    }
    if let Some(storage_type) = storage_type {
        wanted.storage_type = storage_type;
    }
    let asked = Settings { iops, throughput, ..wanted.clone() };
    if asked.storage != now.storage
        || asked.storage_type != now.storage_type
        || iops.is_some()
        || throughput.is_some()
    {
        let grows = asked.storage != now.storage;
        // Source: API reference, `AllocatedStorage`: "you must also specify the Iops parameter" for storage with IOPS of its
        // own, which gp3 has from 400 GiB on (alphagov/govuk-infrastructure#3164).
        if grows && asked.storage_type == "gp3" && asked.storage >= checks::STRIPED && iops.is_none() {
            return Err(contradiction(
                "You must specify both the storage size and iops when modifying the storage size or iops on a DB instance \
                 that has iops.",
            ));
        }
        let kept_iops = now.iops.filter(|_| asked.storage_type.starts_with("io"));
        let asked = Settings { iops: iops.or(kept_iops), ..asked };
        checks::storage(&asked)?;
        (wanted.iops, wanted.throughput) = checks::baseline(&asked);
    }
    Ok(())
}

fn insights(params: &Params, now: &Settings) -> Result<Option<u32>, Refusal> {
    let on = params.flag("EnablePerformanceInsights")?;
    let days = checks::number(params, "PerformanceInsightsRetentionPeriod")?;
    params.ignore("PerformanceInsightsKMSKeyId"); // it encrypts data that does not exist here
    match (on.unwrap_or(now.insights_days.is_some()), days) {
        (true, days) => checks::insights_days(days.or(now.insights_days).unwrap_or(7)).map(Some),
        (false, None) => Ok(None),
        (false, Some(_)) => Err(contradiction(
            "PerformanceInsightsRetentionPeriod cannot be specified when Performance Insights is disabled",
        )),
    }
}

fn at_once(
    world: &World,
    params: &Params,
    instance: &Instance,
    wanted: &Settings,
    immediately: bool,
) -> Result<AtOnce, Refusal> {
    let growth = checks::number(params, "MaxAllocatedStorage")?
        .map(|max| {
            // A maximum equal to the current size disables autoscaling.
            if max == wanted.storage {
                return Ok(Growth::Off);
            }
            checks::max_storage(max, wanted.storage, &wanted.storage_type).map(|()| Growth::UpTo(max))
        })
        .transpose()?;
    let backup_window = params.text("PreferredBackupWindow");
    let maintenance_window = params.text("PreferredMaintenanceWindow");
    windows::check(
        backup_window.as_ref().unwrap_or(&instance.backup_window),
        maintenance_window.as_ref().unwrap_or(&instance.maintenance_window),
    )?;
    Ok(AtOnce {
        protected: params.flag("DeletionProtection")?,
        copies_tags: params.flag("CopyTagsToSnapshot")?,
        minor_upgrades: params.flag("AutoMinorVersionUpgrade")?,
        growth,
        backup_window,
        maintenance_window,
        password: password(world, params, instance, immediately)?,
    })
}

fn password(
    world: &World,
    params: &Params,
    instance: &Instance,
    immediately: bool,
) -> Result<Option<Password>, Refusal> {
    let managed = params.flag("ManageMasterUserPassword")?;
    let rotate = params.flag("RotateMasterUserPassword")?.unwrap_or(false);
    let key = params.text("MasterUserSecretKmsKeyId");
    let given = params.text("MasterUserPassword");
    let is_kept = instance.secret.is_some();
    let will_be_kept = managed.unwrap_or(is_kept);
    if let Some(given) = &given {
        checks::password(given)?;
    }
    if rotate && !immediately {
        return Err(contradiction(
            "You must apply the change immediately when rotating the master user password.",
        ));
    }
    match (will_be_kept, given) {
        (true, Some(_)) => Err(contradiction(
            "You can't specify MasterUserPassword for an instance with ManageMasterUserPassword enabled.",
        )),
        (true, None) if is_kept => Ok(rotate.then_some(Password::Rotated)),
        (true, None) => {
            let key = key.unwrap_or_else(|| create::default_key(world, "aws/secretsmanager"));
            Ok(Some(Password::Kept(key)))
        }
        (false, None) if is_kept => {
            Err(contradiction("You must specify MasterUserPassword when disabling ManageMasterUserPassword."))
        }
        (false, _) if rotate || key.is_some() => {
            Err(invalid("The master user password is not managed by RDS"))
        }
        (false, given) => Ok(given.map(|_| Password::Given)),
    }
}

/// RDS accepts modifications of an available instance only, and during a modification no other that takes time.
fn check_state(
    id: &str,
    instance: &Instance,
    now: Duration,
    wanted: &Settings,
    at_once: &AtOnce,
) -> Result<(), Refusal> {
    let changed = changes(&instance.settings, wanted.clone());
    let takes_time = !changed.is_empty() || at_once.password.is_some();
    // More storage is what helps an instance whose storage is full.
    let frees = instance.condition == Some(Condition::StorageFull)
        && instance.work.is_none()
        && changed.iter().any(|change| matches!(change, Change::Storage(_)))
        && changed.iter().all(Change::is_of_storage);
    if !(instance.is_available(now) || frees) || (takes_time && instance.work.is_some()) {
        return Err(wrong_state(format!("Database instance {id} is not in available state.")));
    }
    // Source of the code: hashicorp/terraform-provider-aws#12493.
    if changed.iter().any(Change::is_of_storage) && now < instance.storage_locked_until {
        return Err(contradiction(
            "You can't currently modify the storage of this DB instance because the previous storage change is being \
             optimized.",
        ));
    }
    Ok(())
}

/// The differences between the settings.
fn changes(now: &Settings, wanted: Settings) -> Vec<Change> {
    let differences = [
        (now.class != wanted.class).then_some(Change::Class(wanted.class)),
        (now.version != wanted.version).then_some(Change::Version(wanted.version)),
        (now.storage != wanted.storage).then_some(Change::Storage(wanted.storage)),
        (now.storage_type != wanted.storage_type).then_some(Change::StorageType(wanted.storage_type)),
        (now.iops != wanted.iops).then_some(Change::Iops(wanted.iops)),
        (now.throughput != wanted.throughput).then_some(Change::Throughput(wanted.throughput)),
        (now.backup_days != wanted.backup_days).then_some(Change::BackupDays(wanted.backup_days)),
        (now.multi_az != wanted.multi_az).then_some(Change::MultiAz(wanted.multi_az)),
        (now.groups != wanted.groups).then_some(Change::Groups(wanted.groups)),
        (now.parameter_group != wanted.parameter_group)
            .then_some(Change::ParameterGroup(wanted.parameter_group)),
        (now.port != wanted.port).then_some(Change::Port(wanted.port)),
        (now.public != wanted.public).then_some(Change::Public(wanted.public)),
        (now.iam_authentication != wanted.iam_authentication)
            .then_some(Change::IamAuthentication(wanted.iam_authentication)),
        (now.insights_days != wanted.insights_days).then_some(Change::Insights(wanted.insights_days)),
        (now.log_exports != wanted.log_exports).then_some(Change::LogExports(wanted.log_exports)),
        (now.certificate != wanted.certificate).then_some(Change::Certificate(wanted.certificate)),
    ];
    differences.into_iter().flatten().collect()
}

fn apply_at_once(instance: &mut Instance, at_once: &AtOnce) {
    instance.protected = at_once.protected.unwrap_or(instance.protected);
    instance.copies_tags = at_once.copies_tags.unwrap_or(instance.copies_tags);
    instance.minor_upgrades = at_once.minor_upgrades.unwrap_or(instance.minor_upgrades);
    match at_once.growth {
        None => {}
        Some(Growth::Off) => instance.max_storage = None,
        Some(Growth::UpTo(max)) => instance.max_storage = Some(max),
    }
    if let Some(window) = &at_once.backup_window {
        instance.backup_window.clone_from(window);
    }
    if let Some(window) = &at_once.maintenance_window {
        instance.maintenance_window.clone_from(window);
    }
}

fn keep_or_drop_secret(world: &mut World, id: &str, password: Password) {
    let kept: Option<Secret> = match password {
        Password::Kept(key) => Some(create::keep_password(world, id, key)),
        Password::Rotated => {
            let secret = world.states.rds.instances.get(id).and_then(|instance| instance.secret.clone());
            if let Some(secret) = secret {
                // During a rotation, or with an impaired secret, RDS accepts the call, and nothing changes.
                secrets::rotate_now(world, &secret.arn);
            }
            return;
        }
        Password::Given => None,
    };
    let Some(instance) = world.states.rds.instances.get_mut(id) else { return };
    let before = std::mem::replace(&mut instance.secret, kept);
    if let Some(before) = before {
        secrets::delete_managed(world, &before.arn);
    }
}
