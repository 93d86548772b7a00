//! In what an instance differs from the spec, what of it RDS can change in place, and what nobody can.

use std::collections::BTreeSet;

use aws_sdk_rds::operation::modify_db_instance::builders::ModifyDBInstanceFluentBuilder;
use aws_sdk_rds::types::{DbInstance, PendingModifiedValues};
use stackdrop_specs::Database;

use super::{instance, parameter_group};
use crate::contract::component::Work;

/// The storage type of every instance.
pub(super) const STORAGE_TYPE: &str = "gp3";

/// A setting of the instance that differs, with its value by the spec.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Setting {
    Class(String),
    Storage(i32),
    /// The ceiling of storage that grows by itself; at the present size, it does not grow.
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

/// A difference: the field as the plan names it, what it is now, and what it shall be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Difference {
    pub(super) field: &'static str,
    pub(super) from: String,
    pub(super) to: String,
    pub(super) setting: Setting,
}

impl Setting {
    /// Adds the setting to the call that changes the instance.
    pub(super) fn put(&self, call: ModifyDBInstanceFluentBuilder) -> ModifyDBInstanceFluentBuilder {
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

/// The minor version, where one is given. RDS writes more behind it now and then, such as `16.3-R2`.
fn minor(version: &str) -> Option<u32> {
    version.split_once('.').map(|(_, minor)| number(Some(minor)))
}

fn number(text: Option<&str>) -> u32 {
    let digits: String = text.unwrap_or_default().chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap_or_default()
}

/// A value of the instance: while RDS is at work on it, the one that it is on its way to. An available instance may
/// have changes that wait for its maintenance window, which is not what the spec asks for.
fn effective<T>(instance: &DbInstance, now: Option<T>, pending: Option<T>) -> Option<T> {
    if instance::is_available(instance) { now } else { pending.or(now) }
}

/// All that `apply` changes in place.
pub(super) fn differences(work: &Work<'_>, spec: &Database, there: &DbInstance) -> Vec<Difference> {
    let mut all: Vec<Difference> = Vec::new();
    let mut note = |field, from: String, to: String, setting| {
        all.push(Difference { field, from, to, setting });
    };
    let pending = there.pending_modified_values();

    let class = effective(
        there,
        there.db_instance_class(),
        pending.and_then(PendingModifiedValues::db_instance_class),
    );
    if class != Some(&spec.class) {
        note("class", shown(class), spec.class.clone(), Setting::Class(spec.class.clone()));
    }
    let storage = storage(there);
    if size(spec.storage) > storage {
        note("storage", storage.to_string(), spec.storage.to_string(), Setting::Storage(size(spec.storage)));
    }
    let ceiling = there.max_allocated_storage();
    match spec.max_storage {
        Some(desired) if ceiling != Some(size(desired)) => {
            note("maxStorage", shown(ceiling), desired.to_string(), Setting::MaxStorage(size(desired)));
        }
        // RDS: a ceiling at the present size turns the growing off.
        None if ceiling.is_some_and(|ceiling| ceiling > storage) => {
            let off = storage.max(size(spec.storage));
            note("maxStorage", shown(ceiling), "(none)".into(), Setting::MaxStorage(off));
        }
        _ => {}
    }
    let days = effective(
        there,
        there.backup_retention_period(),
        pending.and_then(PendingModifiedValues::backup_retention_period),
    );
    let desired_days = i32::from(spec.backup_days);
    if days != Some(desired_days) {
        note("backupDays", shown(days), desired_days.to_string(), Setting::BackupDays(desired_days));
    }
    let multi_az = effective(there, there.multi_az(), pending.and_then(PendingModifiedValues::multi_az));
    if multi_az != Some(spec.multi_az) {
        note("multiAz", shown(multi_az), spec.multi_az.to_string(), Setting::MultiAz(spec.multi_az));
    }
    all.extend(fixed(there));
    all.extend(access(work, there));
    all.extend(version(work, spec, there));
    all.extend(protection(work, spec, there));
    all
}

/// What is the same for every instance, and put right when somebody has changed it.
fn fixed(there: &DbInstance) -> impl Iterator<Item = Difference> {
    let storage_type = there.storage_type().filter(|now| *now != STORAGE_TYPE);
    let storage_type = storage_type.map(|now| Difference {
        field: "storageType",
        from: now.to_owned(),
        to: STORAGE_TYPE.into(),
        setting: Setting::StorageType,
    });
    let switch = |field, now: Option<bool>, desired: bool, setting| {
        (now == Some(!desired)).then(|| Difference {
            field,
            from: (!desired).to_string(),
            to: desired.to_string(),
            setting,
        })
    };
    let switches = [
        switch("publiclyAccessible", there.publicly_accessible(), false, Setting::NotPublic),
        // Whoever sets the password by hand takes it out of RDS's care, and the secret away from the services.
        switch("managedPassword", has_secret(there), true, Setting::ManagedPassword),
        switch("copyTagsToSnapshot", there.copy_tags_to_snapshot(), true, Setting::CopyTags),
        switch("autoMinorVersionUpgrade", there.auto_minor_version_upgrade(), true, Setting::MinorUpgrades),
    ];
    storage_type.into_iter().chain(switches.into_iter().flatten())
}

/// Whether RDS keeps the master password; unknown while it is at work.
fn has_secret(there: &DbInstance) -> Option<bool> {
    instance::is_available(there).then(|| there.master_user_secret().is_some())
}

/// The security groups. While planning, only the baseline tells the id of ours.
fn access(work: &Work<'_>, there: &DbInstance) -> Option<Difference> {
    let baseline = work.deployment.baseline.as_ref();
    let known = work.outputs.security_groups.as_ref();
    let known = known.or_else(|| baseline.and_then(|baseline| baseline.outputs.security_groups.as_ref()));
    let desired = known.and_then(|groups| groups.database.clone())?;
    let groups = there.vpc_security_groups().iter();
    // RDS shows what it is taking off for a while.
    let groups = groups.filter(|group| group.status() != Some("removing"));
    let now: BTreeSet<&str> = groups.filter_map(|group| group.vpc_security_group_id()).collect();
    if now == BTreeSet::from([desired.as_str()]) {
        return None;
    }
    let from = now.into_iter().collect::<Vec<_>>().join(", ");
    Some(Difference {
        field: "securityGroups",
        from,
        to: desired.clone(),
        setting: Setting::Groups(vec![desired]),
    })
}

/// An upgrade, and the parameter group that goes with the major version. RDS upgrades minor versions by itself, so a
/// newer one than the spec's is no difference.
fn version(work: &Work<'_>, spec: &Database, there: &DbInstance) -> Vec<Difference> {
    let pending = there.pending_modified_values().and_then(PendingModifiedValues::engine_version);
    let now = effective(there, there.engine_version(), pending).unwrap_or_default();
    let upgrades_major = major(&spec.version) > major(now);
    let upgrades_minor =
        major(&spec.version) == major(now) && minor(&spec.version) > minor(now).or(Some(u32::MAX));
    let mut all = Vec::new();
    if upgrades_major || upgrades_minor {
        let setting = Setting::Version { version: spec.version.clone(), major: upgrades_major };
        all.push(Difference { field: "version", from: now.into(), to: spec.version.clone(), setting });
    }
    let group = parameter_group::name(work, spec);
    // An upgrade under way brings its group, and a version that can't go back keeps its own.
    let is_upgrading = pending.is_some() && !instance::is_available(there);
    if major(&spec.version) >= major(now) && !is_upgrading && !instance::uses(there, &group) {
        let from = there.db_parameter_groups().iter().filter_map(|group| group.db_parameter_group_name());
        let from = from.collect::<Vec<_>>().join(", ");
        let setting = Setting::ParameterGroup(group.clone());
        all.push(Difference { field: "parameterGroup", from, to: group, setting });
    }
    all
}

/// Deletion protection comes off here, but goes on only once a deployment has succeeded (`protect`): what was made by
/// one that fails has to be removed. On the way back to a baseline it is put back at once, since nothing follows.
fn protection(work: &Work<'_>, spec: &Database, there: &DbInstance) -> Option<Difference> {
    let now = there.deletion_protection().unwrap_or_default();
    let acts = now || work.deployment.rolling_back;
    (now != spec.deletion_protection && acts).then(|| protection_difference(spec.deletion_protection))
}

/// Deletion protection as a difference.
pub(super) fn protection_difference(on: bool) -> Difference {
    Difference {
        field: "deletionProtection",
        from: (!on).to_string(),
        to: on.to_string(),
        setting: Setting::Protection(on),
    }
}

/// What can't be changed in place: why, and the way out. Empty on the way back to a baseline as far as size and
/// version go: what has grown stays grown.
pub(super) fn refusals(work: &Work<'_>, spec: &Database, there: &DbInstance) -> Vec<(String, String)> {
    let mut all = Vec::new();
    let name = there.db_name().unwrap_or_default();
    if name != spec.name {
        all.push((
            format!(
                "database.name can't be changed from {name} to {}: RDS creates the database once",
                spec.name
            ),
            format!("set database.name back to {name}, or deploy a stack with another name"),
        ));
    }
    if work.deployment.rolling_back {
        return all;
    }
    let baseline = work.deployment.baseline.as_ref().and_then(|baseline| baseline.spec.database.as_ref());
    let now = storage(there);
    if size(spec.storage) < now {
        // Storage that has grown by itself, or that RDS has rounded up (by at most a tenth), is no wish to shrink it.
        let may_have_grown_to = spec.max_storage.unwrap_or(spec.storage + spec.storage.div_ceil(10));
        let shrinks = match baseline {
            Some(baseline) => spec.storage < baseline.storage,
            None => size(may_have_grown_to) < now,
        };
        if shrinks {
            all.push((
                format!(
                    "database.storage can't shrink from {now} to {} GiB: RDS has no way to do it",
                    spec.storage
                ),
                format!("set database.storage to {now} or more"),
            ));
        }
    }
    let version = there.engine_version().unwrap_or_default();
    let lowered = baseline.is_some_and(|baseline| {
        major(&baseline.version) == major(&spec.version) && minor(&spec.version) < minor(&baseline.version)
    });
    let below = minor(&spec.version).is_some_and(|desired| Some(desired) < minor(version));
    if major(&spec.version) < major(version) || (lowered && below) {
        all.push((
            format!("database.version can't go back from {version} to {}: RDS only upgrades", spec.version),
            format!("set database.version to {}, or deploy a stack with another name", major(version)),
        ));
    }
    all
}

/// The size of the storage in GiB: while it grows, the one that it grows to.
fn storage(there: &DbInstance) -> i32 {
    let pending = there.pending_modified_values().and_then(PendingModifiedValues::allocated_storage);
    effective(there, there.allocated_storage(), pending).unwrap_or_default()
}

/// A size as RDS takes it. The spec's checks keep it far below the limit.
pub(super) fn size(gib: u32) -> i32 {
    i32::try_from(gib).unwrap_or(i32::MAX)
}

fn shown(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "(none)".into(), |value| value.to_string())
}
