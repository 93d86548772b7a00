//! The differences between an RDS instance and the spec: those that RDS can change in place, and those that it cannot.

use std::collections::BTreeSet;

use aws_sdk_rds::operation::modify_db_instance::builders::ModifyDBInstanceFluentBuilder;
use aws_sdk_rds::types::{DbInstance, PendingModifiedValues};
use stackdrop_specs::Database;

use super::version::{self, major, minor};
use super::{status, storage};
use crate::contract::component::Work;
use crate::deployment::plan::FieldChange;

/// A setting of the instance, with its desired value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Setting {
    Class(String),
    /// A larger storage, or another type of storage.
    Storage(storage::Wanted),
    /// The maximum for storage autoscaling; the actual size turns autoscaling off.
    MaxStorage(i32),
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
    /// Cancels a major upgrade that waits for the maintenance window.
    KeepVersion {
        version: String,
        group: String,
    },
}

/// A field that differs, and the setting that repairs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Difference {
    pub(super) change: FieldChange,
    pub(super) setting: Setting,
}

impl Difference {
    pub(super) fn new(field: &str, from: impl ToString, to: impl ToString, setting: Setting) -> Self {
        Self { change: FieldChange::new(field, from, to), setting }
    }
}

impl Setting {
    /// Adds the setting to the call that changes the instance.
    pub(super) fn add_to(&self, call: ModifyDBInstanceFluentBuilder) -> ModifyDBInstanceFluentBuilder {
        match self {
            Self::Class(class) => call.db_instance_class(class),
            Self::Storage(wanted) => wanted.add_to(call),
            Self::MaxStorage(size) => call.max_allocated_storage(*size),
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
            Self::KeepVersion { version, group } => {
                call.engine_version(version).db_parameter_group_name(group)
            }
        }
    }

    /// Whether the database is away for a time while RDS applies the setting. Source: "Settings for DB instances" in the RDS
    /// user guide, column "Downtime notes".
    pub(super) fn interrupts(&self, db: &DbInstance) -> bool {
        match self {
            Self::Class(desired) => db.db_instance_class() != Some(desired),
            Self::Version { .. } | Self::ParameterGroup(_) => true,
            Self::BackupDays(days) => {
                db.backup_retention_period().is_some_and(|now| (now == 0) != (*days == 0))
            }
            _ => false,
        }
    }
}

/// Which of two values of an instance is compared with the spec.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum View {
    /// The value that it will have: one that RDS is changing to, or that waits for the maintenance window. A plan shows it,
    /// and `apply` changes it.
    Planned,
    /// The value that it has. A wait looks at it: a change that somebody else queued is no reason to wait.
    Actual,
}

/// After a value that RDS will set in the maintenance window.
pub(super) const WAITS: &str = "(waits for the maintenance window)";

/// What a field is, if it differs from the desired value. A desired value that RDS is changing to is no difference. One that
/// waits for the maintenance window is: the spec requires it now.
fn differing<T: PartialEq + ToString>(
    db: &DbInstance,
    view: View,
    actual: Option<T>,
    pending: Option<T>,
    desired: &T,
) -> Option<String> {
    let is_available = status::is_available(db);
    match pending.filter(|_| view == View::Planned) {
        Some(pending) if pending != *desired && is_available => {
            Some(format!("{} {WAITS}", pending.to_string()))
        }
        Some(pending) if pending != *desired => Some(pending.to_string()),
        Some(_) if !is_available => None,
        _ => (actual.as_ref() != Some(desired)).then(|| shown(actual)),
    }
}

/// All differences that `apply` repairs in place.
pub(super) fn differences(work: &Work<'_>, spec: &Database, db: &DbInstance, view: View) -> Vec<Difference> {
    let mut all: Vec<Difference> = Vec::new();
    let pending = db.pending_modified_values();
    let class = pending.and_then(PendingModifiedValues::db_instance_class).map(str::to_owned);
    if let Some(from) = differing(db, view, db.db_instance_class().map(str::to_owned), class, &spec.class) {
        all.push(Difference::new("class", from, &spec.class, Setting::Class(spec.class.clone())));
    }
    // Storage never shrinks, so a rollback leaves it alone.
    if !work.deployment.rolling_back {
        all.extend(storage::differences(spec, db, view));
    }
    all.extend(storage::ceiling(work, spec, db));
    let days = pending.and_then(PendingModifiedValues::backup_retention_period);
    let desired = i32::from(spec.backup_days);
    if let Some(from) = differing(db, view, db.backup_retention_period(), days, &desired) {
        all.push(Difference::new("backupDays", from, desired, Setting::BackupDays(desired)));
    }
    let standby = pending.and_then(PendingModifiedValues::multi_az);
    if let Some(from) = differing(db, view, db.multi_az(), standby, &spec.multi_az) {
        all.push(Difference::new("multiAz", from, spec.multi_az, Setting::MultiAz(spec.multi_az)));
    }
    all.extend(fixed(db));
    all.extend(access(work, db));
    all.extend(version::differences(work, spec, db, view));
    all.extend(protection(work, spec, db));
    all
}

/// The settings that are the same for every instance, and repaired if somebody changed them.
fn fixed(db: &DbInstance) -> impl Iterator<Item = Difference> {
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
    switches.into_iter().flatten()
}

/// The changes that wait for the maintenance window and that the deployment leaves alone: those of fields that the spec does
/// not have, a larger storage, a newer minor version. RDS applies them together with the deployment's own changes.
pub(super) fn left_alone(spec: &Database, db: &DbInstance) -> Vec<String> {
    let Some(pending) = db.pending_modified_values().filter(|_| status::is_available(db)) else {
        return Vec::new();
    };
    let grows_now = Some(size(spec.storage)) > db.allocated_storage();
    // Storage never shrinks, so what waits is larger than the spec's unless the deployment itself grows it.
    let larger = pending.allocated_storage().filter(|_| !grows_now);
    let newer =
        pending.engine_version().filter(|newer| version::major(newer) == version::major(&spec.version));
    let named = [
        ("storage", larger.map(|size| size.to_string())),
        ("version", newer.map(str::to_owned)),
        ("port", pending.port().map(|port| port.to_string())),
        ("iops", pending.iops().map(|iops| iops.to_string())),
        ("storage throughput", pending.storage_throughput().map(|throughput| throughput.to_string())),
        ("CA certificate", pending.ca_certificate_identifier().map(str::to_owned)),
        ("IAM authentication", pending.iam_database_authentication_enabled().map(|on| on.to_string())),
    ];
    named.into_iter().filter_map(|(name, value)| Some(format!("{name} {}", value?))).collect()
}

/// Whether RDS manages the master password; unknown while it is changing the instance.
fn has_secret(db: &DbInstance) -> Option<bool> {
    status::is_available(db).then(|| db.master_user_secret().is_some())
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
    // Unverified: RDS shows no name for a restored instance. An unknown one is no difference.
    if let Some(name) = db.db_name().filter(|name| *name != spec.name) {
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
    all.extend(storage::refusals(work, spec, baseline, db));
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

/// Converts a size to RDS's type. The spec's checks keep it far below the limit.
pub(super) fn size(gib: u32) -> i32 {
    i32::try_from(gib).unwrap_or(i32::MAX)
}

pub(super) fn shown(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "(none)".into(), |value| value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(storage: u32) -> Database {
        let text = format!(
            "stack: shop\ndatabase: {{ version: '16', class: db.t4g.small, storage: {storage}, name: a }}"
        );
        stackdrop_specs::Spec::read(text.as_bytes()).unwrap().database.unwrap()
    }

    #[test]
    fn every_change_that_waits_and_that_no_spec_has_is_named() {
        let pending = PendingModifiedValues::builder()
            .allocated_storage(40)
            .engine_version("16.12")
            .port(5433)
            .iops(13_000)
            .storage_throughput(600)
            .ca_certificate_identifier("rds-ca-ecc384-g1")
            .iam_database_authentication_enabled(true)
            .build();
        let db = |status: &str| {
            let db = DbInstance::builder().db_instance_status(status).allocated_storage(20);
            db.pending_modified_values(pending.clone()).build()
        };
        let all = [
            "storage 40",
            "version 16.12",
            "port 5433",
            "iops 13000",
            "storage throughput 600",
            "CA certificate rds-ca-ecc384-g1",
            "IAM authentication true",
        ];
        assert_eq!(left_alone(&spec(20), &db("available")), all);
        // The deployment's own change replaces the size that waits.
        assert_eq!(left_alone(&spec(30), &db("available")), &all[1..]);
        // RDS is making these changes: they do not wait.
        assert_eq!(left_alone(&spec(20), &db("modifying")), Vec::<String>::new());
    }
}
