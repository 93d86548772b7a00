//! Automated backups: the snapshot of each night, and what is kept of an instance that was deleted.
//!
//! Source: "Introduction to backups" and "Retaining automated backups" in the RDS user guide.

use std::time::Duration;

use serde_json::{Value, json};

use super::instance::{BACKUP, Instance};
use super::query::{Filters, Page};
use super::snapshots::Snapshot;
use super::{State, tagging, windows};
use crate::clock::Clock;
use crate::params::{Params, Refusal};
use crate::protocol::Reply;
use crate::world::World;

pub(super) const DAY: Duration = Duration::from_hours(24);

/// Automated backups that were kept when their instance was deleted.
#[derive(Debug, Clone)]
pub(super) struct Retained {
    /// The instance's identifier.
    pub(super) id: String,
    /// The instance at its end.
    pub(super) instance: Instance,
    /// The latest time to which they can be restored.
    pub(super) latest: Duration,
    pub(super) expires: Duration,
}

/// Makes the snapshots of the nights that have passed.
pub(super) fn advance(world: &mut World, id: &str) {
    let rds = &world.states.rds;
    let Some(instance) = rds.instances.get(id) else { return };
    let vpc = rds.subnet_groups.get(&instance.subnet_group).map(|group| group.vpc.as_str());
    let starts = starts(instance, world.now).into_iter();
    let made: Vec<(String, Snapshot)> = starts
        .map(|start| {
            let snapshot = Snapshot::of(id, instance, vpc.unwrap_or_default(), start, start + BACKUP);
            (name(id, start), Snapshot { automated: true, ..snapshot })
        })
        .collect();
    for (name, snapshot) in made {
        world.states.rds.snapshots.entry(name).or_insert(snapshot);
    }
}

/// When the backups began that an instance keeps: the first one as soon as it has backups, then one each night. RDS makes none
/// of an instance that is not available.
fn starts(instance: &Instance, now: Duration) -> Vec<Duration> {
    let days = instance.settings.backup_days;
    let idle = instance.deletion.is_none() && instance.condition.is_none() && instance.has_served(now);
    let Some(since) = windows::since_backup(&instance.backup_window, now).filter(|_| idle && days > 0) else {
        return Vec::new();
    };
    let nights = (0..days).filter_map(|night| now.checked_sub(since)?.checked_sub(DAY * night));
    let mut starts: Vec<Duration> = nights.filter(|start| *start > instance.backups_since).collect();
    starts.push(instance.backups_since);
    starts.retain(|start| *start + DAY * days > now);
    starts
}

/// The name of an automated snapshot: `rds:shop-database-2026-01-02-02-00`.
fn name(id: &str, start: Duration) -> String {
    let minute: String = Clock::date(start).chars().take("2026-01-02T02:00".len()).collect();
    format!("rds:{id}-{}", minute.replace(['T', ':'], "-"))
}

/// Deletes the backups that have expired, and those of instances that were deleted with their backups.
pub(super) fn expire(world: &mut World) {
    let now = world.now;
    let State { instances, snapshots, retained, .. } = &mut world.states.rds;
    retained.retain(|retained| retained.expires > now);
    snapshots.retain(|_, snapshot| {
        let is_source = |instance: &Instance| instance.resource_id == snapshot.resource_id;
        let expires = |instance: &Instance| snapshot.made_at + DAY * instance.settings.backup_days;
        !snapshot.automated
            || instances.values().any(|instance| is_source(instance) && expires(instance) > now)
            || retained.iter().any(|retained| is_source(&retained.instance))
    });
}

pub(super) fn describe(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let named = params.text("DBInstanceIdentifier").map(|id| id.to_ascii_lowercase());
    let resource_id = params.text("DbiResourceId");
    let filters = Filters::read(params, &["status", "db-instance-id", "dbi-resource-id"])?;
    let page = Page::read(params)?;
    params.done()?;
    let rds = &world.states.rds;
    // Source: API reference, `DBInstanceIdentifier`: "it must match the identifier of an existing DB instance".
    if let Some(id) = named.as_ref().filter(|id| !rds.instances.contains_key(*id)) {
        let message = format!("DBInstanceAutomatedBackup for {id} not found.");
        return Err(Refusal::new("DBInstanceAutomatedBackupNotFound", message).status(404));
    }
    let active = rds.instances.iter().filter(|(_, instance)| instance.settings.backup_days > 0);
    let active = active.map(|(id, instance)| (id, instance, None));
    let retained = rds.retained.iter().map(|it| (&it.id, &it.instance, Some(it.latest)));
    let found = active.chain(retained).filter(|(id, instance, latest)| {
        named.as_ref().is_none_or(|named| named == *id)
            && resource_id.as_ref().is_none_or(|wanted| *wanted == instance.resource_id)
            && filters.pass(|filter| match filter {
                "db-instance-id" => Some(id.as_str()),
                "dbi-resource-id" => Some(&instance.resource_id),
                _ => Some(status(world, instance, *latest)),
            })
    });
    let documents = found.map(|(id, instance, latest)| document(world, id, instance, latest));
    let (documents, marker) = page.cut(documents.collect());
    Ok(json!({ "DBInstanceAutomatedBackups/DBInstanceAutomatedBackup": documents, "Marker": marker }).into())
}

fn status(world: &World, instance: &Instance, latest: Option<Duration>) -> &'static str {
    match latest {
        Some(_) => "retained",
        None if world.now < instance.backups_since + BACKUP => "creating",
        None => "active",
    }
}

/// The document of an instance's backups; `latest` is the end of those that are retained.
fn document(world: &World, id: &str, instance: &Instance, latest: Option<Duration>) -> Value {
    let settings = &instance.settings;
    // Source: user guide, "Restoring to a specified time": RDS uploads transaction logs every five minutes.
    let until = latest.unwrap_or_else(|| world.now.saturating_sub(Duration::from_mins(5)));
    let earliest = instance.backups_since.max(until.saturating_sub(DAY * settings.backup_days));
    let number = instance.resource_id.trim_start_matches("db-");
    json!({
        "DBInstanceArn": world.arn("rds", &format!("db:{id}")),
        "DbiResourceId": instance.resource_id,
        "Region": world.region,
        "DBInstanceIdentifier": id,
        "RestoreWindow": (status(world, instance, latest) != "creating").then(|| {
            json!({ "EarliestTime": Clock::date(earliest), "LatestTime": Clock::date(until) })
        }),
        "AllocatedStorage": settings.storage,
        "Status": status(world, instance, latest),
        "Port": settings.port,
        "AvailabilityZone": instance.nodes.first().map(|node| &node.zone),
        "InstanceCreateTime": Clock::date(instance.birth.creating_until),
        "MasterUsername": instance.master_username,
        "Engine": "postgres",
        "EngineVersion": settings.version,
        "LicenseModel": "postgresql-license",
        "Encrypted": instance.kms_key.is_some(),
        "KmsKeyId": instance.kms_key,
        "StorageType": settings.storage_type,
        "IAMDatabaseAuthenticationEnabled": settings.iam_authentication,
        "BackupRetentionPeriod": settings.backup_days,
        "DBInstanceAutomatedBackupsArn": world.arn("rds", &format!("auto-backup:ab-{number}")),
        "BackupTarget": "region",
        "TagList/Tag": tagging::document(&instance.tags),
    })
}
