//! Deleting instances.

use super::backups::{DAY, Retained};
use super::instance::{self, Deletion, Instance, wrong_state};
use super::query::identifier;
use super::snapshots::{SNAPSHOTS, Snapshot};
use super::{contradiction, document, events};
use crate::params::{Params, Refusal};
use crate::protocol::Reply;
use crate::services::{ec2, secrets};
use crate::world::World;

/// The duration of a final snapshot: minutes with data in the database, a minute without.
const SNAPSHOT_SECONDS: f64 = 60.0;
/// Source: API reference, `DeleteDBInstance`: no final snapshot in these states; and none while it is being created. Nor of
/// a stopped one: `CreateDBSnapshot` requires `available` or `storage-optimization`.
const NO_SNAPSHOT_STATES: [&str; 5] =
    ["creating", "failed", "incompatible-restore", "incompatible-network", "stopped"];

pub(super) fn delete(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let id = params.required("DBInstanceIdentifier")?.to_ascii_lowercase();
    let skip = params.flag("SkipFinalSnapshot")?.unwrap_or(false);
    let snapshot = params.text("FinalDBSnapshotIdentifier");
    let delete_backups = params.flag("DeleteAutomatedBackups")?.unwrap_or(true);
    params.done()?;
    let instance = instance::find(world, &id)?;
    let snapshot = check(world, &id, instance, skip, snapshot)?;
    let keeps_backups =
        !delete_backups && instance.settings.backup_days > 0 && instance.has_served(world.now);
    begin(world, &id, snapshot, keeps_backups);
    document::reply(world, &id)
}

/// Starts a deletion.
pub(super) fn begin(world: &mut World, id: &str, snapshot: Option<String>, keeps_backups: bool) {
    let Some(instance) = world.states.rds.instances.get(id) else { return };
    let vpc = world.states.rds.subnet_groups.get(&instance.subnet_group).map(|group| group.vpc.clone());
    let nodes: Vec<String> = instance.nodes.iter().map(|node| node.interface.clone()).collect();
    let mut until = world.gone("rds_postgres_single_az");
    if snapshot.is_some() {
        until += world.latency.seconds(SNAPSHOT_SECONDS);
    }
    let now = world.now;
    if let (Some(name), Some(instance)) = (snapshot, world.states.rds.instances.get(id)) {
        let snapshot = Snapshot::of(id, instance, &vpc.unwrap_or_default(), now, until);
        world.states.rds.snapshots.insert(name, snapshot);
    }
    if let Some(instance) = world.states.rds.instances.get_mut(id) {
        instance.deletion = Some(Deletion { until, keeps_backups });
        instance.work = None;
        instance.waiting = None;
    }
    for interface in nodes {
        ec2::detach_interface_at(world, &interface, until);
    }
    events::forget_future(world, id);
    events::add(world, id, until, "deletion", "DB instance deleted");
}

/// Checks whether the deletion is allowed; returns the final snapshot's name.
fn check(
    world: &World,
    id: &str,
    instance: &Instance,
    skip: bool,
    snapshot: Option<String>,
) -> Result<Option<String>, Refusal> {
    if instance.deletion.is_some() {
        return Err(wrong_state(format!("Instance {id} is already being deleted.")));
    }
    if instance.protected {
        return Err(contradiction(
            "Cannot delete protected DB Instance, please disable deletion protection and try again.",
        ));
    }
    let Some(snapshot) = snapshot else {
        return if skip {
            Ok(None)
        } else {
            Err(contradiction("FinalDBSnapshotIdentifier is required unless SkipFinalSnapshot is specified."))
        };
    };
    if skip {
        return Err(contradiction(
            "FinalDBSnapshotIdentifier can not be specified when deleting a DB instance with SkipFinalSnapshot",
        ));
    }
    let snapshot = identifier("FinalDBSnapshotIdentifier", &snapshot, 255)?;
    let status = instance.status(world.now);
    if NO_SNAPSHOT_STATES.contains(&status) {
        return Err(wrong_state(format!(
            "Cannot create a snapshot because the database instance {id} is not currently in the available state: \
             {status}."
        )));
    }
    if world.states.rds.snapshots.contains_key(&snapshot) {
        return Err(Refusal::new(
            "DBSnapshotAlreadyExists",
            format!(
                "Cannot create the snapshot because a snapshot with the identifier {snapshot} already exists."
            ),
        ));
    }
    let manual = world.states.rds.snapshots.values().filter(|snapshot| !snapshot.automated);
    if manual.count() >= SNAPSHOTS {
        return Err(Refusal::new(
            "SnapshotQuotaExceeded",
            format!("Cannot create more than {SNAPSHOTS} manual snapshots"),
        ));
    }
    Ok(Some(snapshot))
}

/// Removes an instance whose deletion is complete, with its secret; its interfaces are deleted by themselves.
pub(super) fn advance(world: &mut World, id: &str) {
    let now = world.now;
    let ended =
        |instance: &Instance| instance.deletion.as_ref().is_some_and(|deletion| deletion.until <= now);
    if !world.states.rds.instances.get(id).is_some_and(ended) {
        return;
    }
    let Some(instance) = world.states.rds.instances.remove(id) else { return };
    if let Some(secret) = &instance.secret {
        secrets::delete_managed(world, &secret.arn);
    }
    if let Some(until) = instance.deletion.as_ref().filter(|it| it.keeps_backups).map(|it| it.until) {
        let expires = until + DAY * instance.settings.backup_days;
        let retained = Retained { id: id.to_owned(), instance, latest: until, expires };
        world.states.rds.retained.push(retained);
    }
}
