//! Changes of an instance that take time: their duration, their status, their effect.

use std::time::Duration;

use serde_json::{Value, json};
use stackdrop_figures::changes as times;

use super::condition::Condition;
use super::instance::{Instance, Settings};
use super::{catalogue, create, events, parameter_groups};
use crate::services::ec2;
use crate::world::World;

/// How long storage is optimised after it grows.
const OPTIMISED_SECONDS: u32 = 1800;
/// Source: API reference and user guide: storage cannot be modified again for six hours.
const LOCKED_SECONDS: u32 = 6 * 3600;
/// The first backup after backups are enabled.
const BACKUP_SECONDS: u32 = 45;

/// A change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    Class(String),
    Version(&'static str),
    Storage(u32),
    StorageType(String),
    Iops(Option<u32>),
    Throughput(Option<u32>),
    BackupDays(u32),
    MultiAz(bool),
    Groups(Vec<String>),
    ParameterGroup(String),
    Port(u16),
    Public(bool),
    IamAuthentication(bool),
    Insights(Option<u32>),
    LogExports(Vec<String>),
    Certificate(String),
    /// The master password, or its management.
    Password,
}

impl Change {
    /// The status during the change, and its duration in seconds.
    fn work(&self, settings: &Settings) -> (&'static str, u32) {
        match self {
            Self::Version(version) if catalogue::major(version) > catalogue::major(settings.version) => {
                ("upgrading", times::DATABASE_MAJOR_VERSION)
            }
            Self::Version(_) => ("upgrading", times::DATABASE_MINOR_VERSION),
            Self::MultiAz(true) => ("modifying", times::DATABASE_STANDBY_ADDED),
            Self::Class(_) => ("modifying", times::DATABASE_CLASS),
            Self::MultiAz(false) | Self::Port(_) => ("modifying", times::DATABASE_STANDBY_REMOVED),
            Self::Password => ("resetting-master-credentials", times::DATABASE_PASSWORD),
            Self::LogExports(_) => ("configuring-log-exports", 30),
            Self::IamAuthentication(_) => ("configuring-iam-database-auth", 60),
            Self::Storage(_)
            | Self::StorageType(_)
            | Self::Iops(_)
            | Self::Throughput(_)
            | Self::BackupDays(_)
            | Self::Public(_)
            | Self::Insights(_)
            | Self::Certificate(_) => ("modifying", times::DATABASE_SETTING),
            Self::Groups(_) | Self::ParameterGroup(_) => ("modifying", times::DATABASE_GROUPS),
        }
    }

    /// Whether it waits for the maintenance window unless applied immediately. Source: "Settings for DB instances",
    /// column "Apply immediately".
    pub(super) fn waits_for_window(&self, settings: &Settings) -> bool {
        match self {
            Self::BackupDays(days) => (*days == 0) != (settings.backup_days == 0),
            Self::Groups(_)
            | Self::Public(_)
            | Self::Insights(_)
            | Self::LogExports(_)
            | Self::ParameterGroup(_)
            | Self::Port(_) => false,
            _ => true,
        }
    }

    /// Whether it changes the storage.
    pub(super) fn is_of_storage(&self) -> bool {
        matches!(self, Self::Storage(_) | Self::StorageType(_) | Self::Iops(_) | Self::Throughput(_))
    }

    /// The parameter of `ModifyDBInstance` that requests it.
    pub(super) fn parameter(&self) -> &'static str {
        match self {
            Self::Class(_) => "DBInstanceClass",
            Self::Version(_) => "EngineVersion",
            Self::Storage(_) => "AllocatedStorage",
            Self::StorageType(_) => "StorageType",
            Self::Iops(_) => "Iops",
            Self::Throughput(_) => "StorageThroughput",
            Self::BackupDays(_) => "BackupRetentionPeriod",
            Self::MultiAz(_) => "MultiAZ",
            Self::Groups(_) => "VpcSecurityGroupIds",
            Self::ParameterGroup(_) => "DBParameterGroupName",
            Self::Port(_) => "DBPortNumber",
            Self::Public(_) => "PubliclyAccessible",
            Self::IamAuthentication(_) => "EnableIAMDatabaseAuthentication",
            Self::Insights(_) => "EnablePerformanceInsights",
            Self::LogExports(_) => "CloudwatchLogsExportConfiguration",
            Self::Certificate(_) => "CACertificateIdentifier",
            Self::Password => "MasterUserPassword",
        }
    }

    /// Whether the settings are as it would leave them.
    pub(super) fn is_in_effect(&self, settings: &Settings) -> bool {
        let mut changed = settings.clone();
        self.clone().apply(&mut changed);
        changed == *settings
    }

    /// Its entry in `PendingModifiedValues`, if any.
    pub(super) fn pending_value(&self) -> Option<(&'static str, Value)> {
        let value = match self {
            Self::Class(class) => ("DBInstanceClass", json!(class)),
            Self::Version(version) => ("EngineVersion", json!(version)),
            Self::Storage(size) => ("AllocatedStorage", json!(size)),
            Self::StorageType(name) => ("StorageType", json!(name)),
            Self::Iops(Some(iops)) => ("Iops", json!(iops)),
            Self::Throughput(Some(throughput)) => ("StorageThroughput", json!(throughput)),
            Self::BackupDays(days) => ("BackupRetentionPeriod", json!(days)),
            Self::MultiAz(on) => ("MultiAZ", json!(on)),
            Self::Port(port) => ("Port", json!(port)),
            Self::IamAuthentication(on) => ("IAMDatabaseAuthenticationEnabled", json!(on)),
            Self::Certificate(name) => ("CACertificateIdentifier", json!(name)),
            Self::Password => ("MasterUserPassword", json!("****")),
            Self::Iops(None)
            | Self::Throughput(None)
            | Self::Groups(_)
            | Self::ParameterGroup(_)
            | Self::Public(_)
            | Self::Insights(_)
            | Self::LogExports(_) => return None,
        };
        Some(value)
    }

    fn apply(self, settings: &mut Settings) {
        match self {
            Self::Class(class) => settings.class = class,
            Self::Version(version) => {
                // The default group changes with the major version.
                if settings.parameter_group
                    == parameter_groups::default_name(catalogue::major(settings.version))
                {
                    settings.parameter_group = parameter_groups::default_name(catalogue::major(version));
                }
                settings.version = version;
            }
            Self::Storage(size) => settings.storage = size,
            Self::StorageType(name) => settings.storage_type = name,
            Self::Iops(iops) => settings.iops = iops,
            Self::Throughput(throughput) => settings.throughput = throughput,
            Self::BackupDays(days) => settings.backup_days = days,
            Self::MultiAz(on) => settings.multi_az = on,
            Self::Groups(groups) => settings.groups = groups,
            Self::ParameterGroup(name) => settings.parameter_group = name,
            Self::Port(port) => settings.port = port,
            Self::Public(on) => settings.public = on,
            Self::IamAuthentication(on) => settings.iam_authentication = on,
            Self::Insights(days) => settings.insights_days = days,
            Self::LogExports(types) => settings.log_exports = types,
            Self::Certificate(name) => settings.certificate = name,
            Self::Password => {}
        }
    }
}

/// Merges changes: the later one of each kind applies.
pub(super) fn merge(into: &mut Vec<Change>, changes: Vec<Change>) {
    for change in changes {
        into.retain(|old| std::mem::discriminant(old) != std::mem::discriminant(&change));
        into.push(change);
    }
}

/// Starts changes: sets the states that the instance passes through.
pub(super) fn begin(instance: &mut Instance, changes: Vec<Change>, at: Duration, second: Duration) {
    let before = &instance.settings;
    let Some((status, seconds)) =
        changes.iter().map(|change| change.work(before)).max_by_key(|(_, seconds)| *seconds)
    else {
        return;
    };
    let optimised_until = instance.phases.last().map(|(_, until)| *until).filter(|until| *until > at);
    let accepted_until = at + second * times::DATABASE_ACCEPTED;
    let done_at = accepted_until + second * seconds;
    let shown = if optimised_until.is_some() { "storage-optimization" } else { "available" };
    let shown = instance.condition.as_ref().map_or(shown, Condition::status);
    instance.phases = vec![(shown, accepted_until), (status, done_at)];
    let starts_backups =
        before.backup_days == 0 && changes.iter().any(|change| matches!(change, Change::BackupDays(_)));
    let mut end = done_at;
    if starts_backups {
        end += second * BACKUP_SECONDS;
        instance.phases.push(("backing-up", end));
    }
    if changes.iter().any(Change::is_of_storage) {
        instance.storage_locked_until = done_at + second * LOCKED_SECONDS;
        instance.phases.push(("storage-optimization", end + second * OPTIMISED_SECONDS));
    } else if let Some(until) = optimised_until.filter(|until| *until > end) {
        instance.phases.push(("storage-optimization", until));
    }
    instance.work = Some((done_at, changes));
}

/// Applies an instance's changes that are complete, and starts those whose window has come.
pub(super) fn advance(world: &mut World, id: &str) {
    let (now, second) = (world.now, world.latency.seconds(1.0));
    loop {
        let Some(instance) = world.states.rds.instances.get_mut(id) else { return };
        if instance.deletion.is_some() {
            return;
        }
        if let Some((at, changes)) = instance.work.take_if(|(at, _)| *at <= now) {
            // A late call must see the same states as a timely one.
            world.now = at;
            take_effect(world, id, at, changes);
            world.now = now;
        } else if instance.work.is_none()
            && (instance.is_available(now) || instance.status(now) == "backing-up")
            && let Some((window, changes)) = instance.waiting.take_if(|(at, _)| *at <= now)
        {
            // A window that passes during another change is used as soon as that change is complete.
            let idle_since = instance.phases.iter().rfind(|(status, _)| *status != "storage-optimization");
            let at = idle_since.map_or(window, |(_, until)| window.max(*until));
            begin(instance, changes, at, second);
        } else {
            return;
        }
    }
}

/// Drops a major upgrade that fails at RDS's checks before it: the instance keeps its version and parameter group. Source:
/// RDS-EVENT-0188, and "Precheck procedure for major version upgrades" in the RDS user guide.
fn without_failing_upgrade(world: &mut World, id: &str, at: Duration, changes: &mut Vec<Change>) {
    let Some(instance) = world.states.rds.instances.get(id).filter(|instance| instance.blocks_upgrade) else {
        return;
    };
    let major = catalogue::major(instance.settings.version);
    let upgrades = |change: &Change| matches!(change, Change::Version(to) if catalogue::major(to) > major);
    if changes.iter().any(upgrades) {
        changes.retain(|change| !matches!(change, Change::Version(_) | Change::ParameterGroup(_)));
        let message = "The DB instance is in a state that can't be upgraded: one or more databases have transactions in \
                       prepared state. Commit or roll back all prepared transactions.";
        events::add(world, id, at, "notification", message);
    }
}

fn take_effect(world: &mut World, id: &str, at: Duration, mut changes: Vec<Change>) {
    without_failing_upgrade(world, id, at, &mut changes);
    let Some(instance) = world.states.rds.instances.get_mut(id) else { return };
    let major = catalogue::major(instance.settings.version);
    let mut leaving = Vec::new();
    let (mut joins, mut upgraded) = (false, false);
    for change in changes {
        match &change {
            Change::ParameterGroup(_) => instance.awaits_reboot = true,
            Change::Version(version) => upgraded = catalogue::major(version) > major,
            Change::Storage(_) => instance.condition = None,
            Change::BackupDays(_) if instance.settings.backup_days == 0 => instance.backups_since = at,
            Change::MultiAz(true) => joins = true,
            Change::MultiAz(false) => leaving = instance.nodes.split_off(1),
            _ => {}
        }
        change.apply(&mut instance.settings);
    }
    // An upgrade restarts the engine, so all parameters take effect.
    instance.awaits_reboot &= !upgraded;
    let groups = instance.settings.groups.clone();
    let staying: Vec<String> = instance.nodes.iter().map(|node| node.interface.clone()).collect();
    for interface in staying {
        ec2::set_interface_groups(world, &interface, &groups);
    }
    for node in leaving {
        ec2::detach_interface_at(world, &node.interface, at);
    }
    if joins {
        add_standby(world, id);
    }
    events::add(world, id, at, "configuration change", "Finished applying modifications to the DB instance");
}

/// Creates the standby of an instance. The modification checked that there is room; if the subnet has filled up
/// since, RDS would keep trying.
fn add_standby(world: &mut World, id: &str) {
    let Some(instance) = world.states.rds.instances.get(id) else { return };
    let Some(group) = world.states.rds.subnet_groups.get(&instance.subnet_group) else { return };
    let settings = instance.settings.clone();
    let primary = instance.nodes.first().map(|node| node.zone.clone());
    let places = create::standby_place(world, group, &settings).unwrap_or_default();
    let Some(place) = places.into_iter().find(|place| Some(&place.zone) != primary.as_ref()) else { return };
    if let Ok(node) = create::attach(world, &place, &settings)
        && let Some(instance) = world.states.rds.instances.get_mut(id)
    {
        instance.nodes.push(node);
    }
}
