//! Snapshots of instances: final and automated ones.

use std::time::Duration;

use serde_json::{Value, json};

use super::instance::Instance;
use super::query::{Filters, Page};
use super::{catalogue, invalid, tagging};
use crate::clock::Clock;
use crate::params::{Params, Refusal};
use crate::protocol::Reply;
use crate::world::{Tags, World};

/// RDS's default quota of manual snapshots.
pub(super) const SNAPSHOTS: usize = 100;

#[derive(Debug, Clone)]
pub(super) struct Snapshot {
    pub(super) instance: String,
    pub(super) resource_id: String,
    /// Whether it belongs to the automated backups.
    pub(super) automated: bool,
    pub(super) engine_version: &'static str,
    pub(super) gibibytes: u32,
    pub(super) storage_type: String,
    pub(super) master_username: String,
    pub(super) port: u16,
    pub(super) backup_days: u32,
    pub(super) zone: String,
    pub(super) vpc: String,
    /// The key that encrypts it; `None` for one that is not encrypted.
    pub(super) kms_key: Option<String>,
    pub(super) instance_made_at: Duration,
    pub(super) tags: Tags,
    pub(super) made_at: Duration,
    pub(super) available_at: Duration,
}

impl Snapshot {
    /// A snapshot of an instance that starts now.
    pub(super) fn of(
        id: &str,
        instance: &Instance,
        vpc: &str,
        now: Duration,
        available_at: Duration,
    ) -> Self {
        Self {
            instance: id.to_owned(),
            resource_id: instance.resource_id.clone(),
            automated: false,
            engine_version: instance.settings.version,
            gibibytes: instance.settings.storage,
            storage_type: instance.settings.storage_type.clone(),
            master_username: instance.master_username.clone(),
            port: instance.settings.port,
            backup_days: instance.settings.backup_days,
            zone: instance.nodes.first().map(|node| node.zone.clone()).unwrap_or_default(),
            vpc: vpc.to_owned(),
            kms_key: instance.kms_key.clone(),
            instance_made_at: instance.birth.creating_until,
            tags: if instance.copies_tags { instance.tags.clone() } else { Tags::new() },
            made_at: now,
            available_at,
        }
    }

    pub(super) fn status(&self, now: Duration) -> &'static str {
        if now < self.available_at { "creating" } else { "available" }
    }

    fn kind(&self) -> &'static str {
        if self.automated { "automated" } else { "manual" }
    }
}

/// A snapshot that exists from the start, of an instance that does not.
pub(crate) fn seed(world: &mut World, name: &str, version: &str, kms_key: Option<&str>, tags: &Tags) {
    let Ok(engine_version) = catalogue::resolve(world, Some(version)) else { return };
    let snapshot = Snapshot {
        instance: "elsewhere".into(),
        resource_id: "db-ELSEWHERE".into(),
        automated: false,
        engine_version,
        gibibytes: 20,
        storage_type: "gp3".into(),
        master_username: "postgres".into(),
        port: 5432,
        backup_days: 1,
        zone: format!("{}a", world.region),
        vpc: "vpc-elsewhere".into(),
        kms_key: kms_key.map(str::to_owned),
        instance_made_at: world.now,
        tags: tags.clone(),
        made_at: world.now,
        available_at: world.now,
    };
    world.states.rds.snapshots.insert(name.to_owned(), snapshot);
}

pub(super) fn find<'w>(world: &'w World, id: &str) -> Result<&'w Snapshot, Refusal> {
    world.states.rds.snapshots.get(id).ok_or_else(|| not_found(id))
}

fn not_found(id: &str) -> Refusal {
    Refusal::new("DBSnapshotNotFound", format!("DBSnapshot {id} not found.")).status(404)
}

pub(super) fn describe(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let instance = params.text("DBInstanceIdentifier").map(|id| id.to_ascii_lowercase());
    let id = params.text("DBSnapshotIdentifier").map(|id| id.to_ascii_lowercase());
    let kind = params.text("SnapshotType");
    let resource_id = params.text("DbiResourceId");
    // No account shares snapshots with this one.
    params.flag("IncludeShared")?;
    params.flag("IncludePublic")?;
    let filters = Filters::read(
        params,
        &["db-instance-id", "db-snapshot-id", "dbi-resource-id", "engine", "snapshot-type"],
    )?;
    let page = Page::read(params)?;
    params.done()?;
    if let Some(id) = &id {
        // Source: API reference, `DBSnapshotIdentifier`: "If this identifier is for an automated snapshot, the SnapshotType
        // parameter must also be specified".
        let found = world.states.rds.snapshots.get(id);
        if !found.is_some_and(|snapshot| !snapshot.automated || kind.is_some()) {
            return Err(not_found(id));
        }
    }
    let matches = |name: &String, snapshot: &Snapshot| {
        id.as_ref().is_none_or(|id| id == name)
            && instance.as_ref().is_none_or(|instance| *instance == snapshot.instance)
            && resource_id.as_ref().is_none_or(|id| *id == snapshot.resource_id)
            && kind.as_deref().is_none_or(|kind| kind == snapshot.kind())
            && filters.pass(|filter| match filter {
                "db-instance-id" => Some(&snapshot.instance),
                "db-snapshot-id" => Some(name),
                "dbi-resource-id" => Some(&snapshot.resource_id),
                "engine" => Some("postgres"),
                _ => Some(snapshot.kind()),
            })
    };
    let found = world.states.rds.snapshots.iter().filter(|(name, snapshot)| matches(name, snapshot));
    let (documents, marker) = page.cut(found.map(|(name, it)| document(world, name, it)).collect());
    Ok(json!({ "DBSnapshots/DBSnapshot": documents, "Marker": marker }).into())
}

fn document(world: &World, id: &str, snapshot: &Snapshot) -> Value {
    let available = world.now >= snapshot.available_at;
    json!({
        "DBSnapshotIdentifier": id,
        "DBInstanceIdentifier": snapshot.instance,
        "DbiResourceId": snapshot.resource_id,
        "SnapshotCreateTime": available.then(|| Clock::date(snapshot.available_at)),
        "Engine": "postgres",
        "EngineVersion": snapshot.engine_version,
        "AllocatedStorage": snapshot.gibibytes,
        "Status": snapshot.status(world.now),
        "Port": snapshot.port,
        "AvailabilityZone": snapshot.zone,
        "VpcId": snapshot.vpc,
        "InstanceCreateTime": Clock::date(snapshot.instance_made_at),
        "MasterUsername": snapshot.master_username,
        "LicenseModel": "postgresql-license",
        "SnapshotType": snapshot.kind(),
        "PercentProgress": if available { 100 } else { 0 },
        "StorageType": snapshot.storage_type,
        "Encrypted": snapshot.kms_key.is_some(),
        "KmsKeyId": snapshot.kms_key,
        "DBSnapshotArn": world.arn("rds", &format!("snapshot:{id}")),
        "SnapshotTarget": "region",
        "TagList/Tag": tagging::document(&snapshot.tags),
    })
}

pub(super) fn delete(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let id = params.required("DBSnapshotIdentifier")?.to_ascii_lowercase();
    params.done()?;
    if id.starts_with("rds:") {
        return Err(invalid(format!("Automated snapshots cannot be deleted: {id}")));
    }
    let snapshot = find(world, &id)?;
    if snapshot.status(world.now) != "available" {
        return Err(Refusal::new(
            "InvalidDBSnapshotState",
            format!("Cannot delete the snapshot because it is not currently in the available state: {id}"),
        ));
    }
    let mut document = document(world, &id, snapshot);
    document["Status"] = json!("deleted");
    world.states.rds.snapshots.remove(&id);
    Ok(json!({ "DBSnapshot": document }).into())
}
