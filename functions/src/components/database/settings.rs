//! The differences between an RDS instance and the spec: those that RDS can change in place, and those that it cannot.

use std::collections::BTreeSet;

use aws_sdk_rds::operation::modify_db_instance::builders::ModifyDBInstanceFluentBuilder;
use aws_sdk_rds::types::{DbInstance, PendingModifiedValues};
use stackdrop_specs::Database;

use super::{instance, parameter_group};
use crate::contract::component::Work;
use crate::deployment::plan::FieldChange;

/// The storage type of every instance.
pub(super) const STORAGE_TYPE: &str = "gp3";

/// A setting of the instance, with its desired value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Setting {
    Class(String),
    Storage(i32),
    /// The maximum for storage autoscaling; the actual size turns autoscaling off.
    MaxStorage(i32),
    StorageType,
    BackupDays(i32),
    MultiAz(bool),
    Protection(bool),
    NotPublic,
    ManagedPassword,
    CopyTags,
    MinorUpgrades,
    Groups(Vec<String>),
    ParameterGroup(String),
    Version {
        version: String,
        major: bool,
    },
}

/// A field that differs, and the setting that repairs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Difference {
    pub(super) change: FieldChange,
    pub(super) setting: Setting,
}

impl Difference {
    fn new(field: &str, from: impl ToString, to: impl ToString, setting: Setting) -> Self {
        Self { change: FieldChange::new(field, from, to), setting }
    }
}

impl Setting {
    /// Adds the setting to the call that changes the instance.
    pub(super) fn add_to(&self, call: ModifyDBInstanceFluentBuilder) -> ModifyDBInstanceFluentBuilder {
        match self {
            Self::Class(class) => call.db_instance_class(class),
            Self::Storage(size) => call.allocated_storage(*size),
            Self::MaxStorage(size) => call.max_allocated_storage(*size),
            Self::StorageType => call.storage_type(STORAGE_TYPE),
            Self::BackupDays(days) => call.backup_retention_period(*days),
            Self::MultiAz(on) => call.multi_az(*on),
            Self::Protection(on) => call.deletion_protection(*on),
            Self::NotPublic => call.publicly_accessible(false),
            Self::ManagedPassword => call.manage_master_user_password(true),
            Self::CopyTags => call.copy_tags_to_snapshot(true),
            Self::MinorUpgrades => call.auto_minor_version_upgrade(true),
            Self::Groups(groups) => call.set_vpc_security_group_ids(Some(groups.clone())),
            Self::ParameterGroup(name) => call.db_parameter_group_name(name),
            Self::Version { version, major } => {
                call.engine_version(version).allow_major_version_upgrade(*major)
            }
        }
    }
}

/// The major version: the number before the first dot.
pub(super) fn major(version: &str) -> u32 {
    number(version.split('.').next())
}

/// The minor version, if there is one. RDS sometimes appends a suffix, such as `16.3-R2`.
fn minor(version: &str) -> Option<u32> {
    version.split_once('.').map(|(_, minor)| number(Some(minor)))
}

fn number(text: Option<&str>) -> u32 {
    let digits: String = text.unwrap_or_default().chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap_or_default()
}

/// A value of the instance: while RDS is changing it, the pending value. Pending changes of an available instance do not
/// count: they wait for the maintenance window, but the spec requires them now.
fn effective<T>(instance: &DbInstance, actual: Option<T>, pending: Option<T>) -> Option<T> {
    if instance::is_available(instance) { actual } else { pending.or(actual) }
}

/// All differences that `apply` repairs in place.
pub(super) fn differences(work: &Work<'_>, spec: &Database, db: &DbInstance) -> Vec<Difference> {
    let mut all: Vec<Difference> = Vec::new();
    let mut add = |field: &str, from: String, to: String, setting| {
        all.push(Difference::new(field, from, to, setting));
    };
    let pending = db.pending_modified_values();

    let class =
        effective(db, db.db_instance_class(), pending.and_then(PendingModifiedValues::db_instance_class));
    if class != Some(&spec.class) {
        add("class", shown(class), spec.class.clone(), Setting::Class(spec.class.clone()));
    }
    let storage = storage(db);
    if size(spec.storage) > storage {
        add("storage", storage.to_string(), spec.storage.to_string(), Setting::Storage(size(spec.storage)));
    }
    let ceiling = db.max_allocated_storage();
    match spec.max_storage {
        Some(desired) if ceiling != Some(size(desired)) => {
            add("maxStorage", shown(ceiling), desired.to_string(), Setting::MaxStorage(size(desired)));
        }
        // A maximum equal to the actual size turns storage autoscaling off.
        None if ceiling.is_some_and(|ceiling| ceiling > storage) => {
            let off = storage.max(size(spec.storage));
            add("maxStorage", shown(ceiling), "(none)".into(), Setting::MaxStorage(off));
        }
        _ => {}
    }
    let days = effective(
        db,
        db.backup_retention_period(),
        pending.and_then(PendingModifiedValues::backup_retention_period),
    );
    let desired_days = i32::from(spec.backup_days);
    if days != Some(desired_days) {
        add("backupDays", shown(days), desired_days.to_string(), Setting::BackupDays(desired_days));
    }
    let multi_az = effective(db, db.multi_az(), pending.and_then(PendingModifiedValues::multi_az));
    if multi_az != Some(spec.multi_az) {
        add("multiAz", shown(multi_az), spec.multi_az.to_string(), Setting::MultiAz(spec.multi_az));
    }
    all.extend(fixed(db));
    all.extend(access(work, db));
    all.extend(version(work, spec, db));
    all.extend(protection(work, spec, db));
    all
}

/// The settings that are the same for every instance, and repaired if somebody changed them.
fn fixed(db: &DbInstance) -> impl Iterator<Item = Difference> {
    let storage_type = db.storage_type().filter(|actual| *actual != STORAGE_TYPE);
    let storage_type =
        storage_type.map(|actual| Difference::new("storageType", actual, STORAGE_TYPE, Setting::StorageType));
    let switch = |field, actual: Option<bool>, desired: bool, setting| {
        (actual == Some(!desired)).then(|| Difference::new(field, !desired, desired, setting))
    };
    let switches = [
        switch("publiclyAccessible", db.publicly_accessible(), false, Setting::NotPublic),
        // A password that is set by hand ends RDS's management of it, and deletes the secret that the services use.
        switch("managedPassword", has_secret(db), true, Setting::ManagedPassword),
        switch("copyTagsToSnapshot", db.copy_tags_to_snapshot(), true, Setting::CopyTags),
        switch("autoMinorVersionUpgrade", db.auto_minor_version_upgrade(), true, Setting::MinorUpgrades),
    ];
    storage_type.into_iter().chain(switches.into_iter().flatten())
}

/// Whether RDS manages the master password; unknown while it is changing the instance.
fn has_secret(db: &DbInstance) -> Option<bool> {
    instance::is_available(db).then(|| db.master_user_secret().is_some())
}

/// The difference in security groups. In a plan, the ID of the stack's group is known only from the baseline.
fn access(work: &Work<'_>, db: &DbInstance) -> Option<Difference> {
    let baseline = work.deployment.baseline.as_ref();
    let known = work.outputs.security_groups.as_ref();
    let known = known.or_else(|| baseline.and_then(|baseline| baseline.outputs.security_groups.as_ref()));
    let desired = known.and_then(|groups| groups.database.clone())?;
    let groups = db.vpc_security_groups().iter();
    // RDS shows groups that it is removing for a while.
    let groups = groups.filter(|group| group.status() != Some("removing"));
    let actual: BTreeSet<&str> = groups.filter_map(|group| group.vpc_security_group_id()).collect();
    if actual == BTreeSet::from([desired.as_str()]) {
        return None;
    }
    let from = actual.into_iter().collect::<Vec<_>>().join(", ");
    Some(Difference::new("securityGroups", from, &desired, Setting::Groups(vec![desired.clone()])))
}

/// The version, and the parameter group of the major version. RDS upgrades minor versions by itself, so a newer one than
/// the spec's is not a difference.
fn version(work: &Work<'_>, spec: &Database, db: &DbInstance) -> Vec<Difference> {
    let pending = db.pending_modified_values().and_then(PendingModifiedValues::engine_version);
    let actual = effective(db, db.engine_version(), pending).unwrap_or_default();
    let upgrades_major = major(&spec.version) > major(actual);
    let upgrades_minor =
        major(&spec.version) == major(actual) && minor(&spec.version) > minor(actual).or(Some(u32::MAX));
    let mut all = Vec::new();
    if upgrades_major || upgrades_minor {
        let setting = Setting::Version { version: spec.version.clone(), major: upgrades_major };
        all.push(Difference::new("version", actual, &spec.version, setting));
    }
    let group = parameter_group::name(work, spec);
    // An upgrade in progress also changes the group, and a version that cannot be downgraded keeps its group.
    let is_upgrading = pending.is_some() && !instance::is_available(db);
    if major(&spec.version) >= major(actual) && !is_upgrading && !instance::uses(db, &group) {
        let from = db.db_parameter_groups().iter().filter_map(|group| group.db_parameter_group_name());
        let from = from.collect::<Vec<_>>().join(", ");
        let setting = Setting::ParameterGroup(group.clone());
        all.push(Difference::new("parameterGroup", from, group, setting));
    }
    all
}

/// The difference in deletion protection. `apply` turns it off, but only `protect` turns it on, once a deployment has
/// succeeded: a failed deployment must be able to delete what it created. A rollback to a baseline turns it on at once.
fn protection(work: &Work<'_>, spec: &Database, db: &DbInstance) -> Option<Difference> {
    let actual = db.deletion_protection().unwrap_or_default();
    let changes = actual || work.deployment.rolling_back;
    (actual != spec.deletion_protection && changes).then(|| protection_difference(spec.deletion_protection))
}

/// Deletion protection as a difference.
pub(super) fn protection_difference(on: bool) -> Difference {
    Difference::new("deletionProtection", !on, on, Setting::Protection(on))
}

/// What cannot be changed in place: why, and how to fix it. During a rollback, size and version are not checked: they
/// cannot be reverted.
pub(super) fn refusals(work: &Work<'_>, spec: &Database, db: &DbInstance) -> Vec<(String, String)> {
    let mut all = Vec::new();
    let name = db.db_name().unwrap_or_default();
    if name != spec.name {
        all.push((
            format!(
                "database.name cannot be changed from {name} to {}: RDS creates the database only once",
                spec.name
            ),
            format!("set database.name back to {name}, or deploy a stack with another name"),
        ));
    }
    if work.deployment.rolling_back {
        return all;
    }
    let baseline = work.deployment.baseline.as_ref().and_then(|baseline| baseline.spec.database.as_ref());
    let actual = storage(db);
    if size(spec.storage) < actual {
        // The storage may have grown by itself, or RDS rounded it up (by at most a tenth): then the spec does not reduce it.
        let may_have_grown_to = spec.max_storage.unwrap_or(spec.storage + spec.storage.div_ceil(10));
        let shrinks = match baseline {
            Some(baseline) => spec.storage < baseline.storage,
            None => size(may_have_grown_to) < actual,
        };
        if shrinks {
            all.push((
                format!(
                    "database.storage cannot be reduced from {actual} to {} GiB: RDS does not support it",
                    spec.storage
                ),
                format!("set database.storage to {actual} or more"),
            ));
        }
    }
    let version = db.engine_version().unwrap_or_default();
    let lowered = baseline.is_some_and(|baseline| {
        major(&baseline.version) == major(&spec.version) && minor(&spec.version) < minor(&baseline.version)
    });
    let below = minor(&spec.version).is_some_and(|desired| Some(desired) < minor(version));
    if major(&spec.version) < major(version) || (lowered && below) {
        all.push((
            format!("database.version cannot be changed from {version} back to {}: RDS does not support downgrades", spec.version),
            format!("set database.version to {}, or deploy a stack with another name", major(version)),
        ));
    }
    all
}

/// The size of the storage in GiB, with pending changes.
fn storage(db: &DbInstance) -> i32 {
    let pending = db.pending_modified_values().and_then(PendingModifiedValues::allocated_storage);
    effective(db, db.allocated_storage(), pending).unwrap_or_default()
}

/// Converts a size to RDS's type. The spec's checks keep it far below the limit.
pub(super) fn size(gib: u32) -> i32 {
    i32::try_from(gib).unwrap_or(i32::MAX)
}

fn shown(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "(none)".into(), |value| value.to_string())
}
