//! The description of an instance.

use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::instance::{self, Instance};
use super::query::{Filters, Page};
use super::{catalogue, subnet_groups, tagging, visible};
use crate::clock::Clock;
use crate::params::{Params, Refusal};
use crate::protocol::Reply;
use crate::services::rds::change::Change;
use crate::world::World;

pub(super) fn describe(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let wanted = params.text("DBInstanceIdentifier");
    let filters = Filters::read(params, &["db-instance-id", "dbi-resource-id", "engine"])?;
    let page = Page::read(params)?;
    params.done()?;
    if let Some(id) = &wanted {
        instance::find(world, id)?;
    }
    let found = world.states.rds.instances.iter().filter(|(id, instance)| {
        visible(world, instance.made_at)
            && wanted.as_ref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(id))
            && filters.pass(|name| match name {
                "db-instance-id" => Some(id),
                "dbi-resource-id" => Some(&instance.resource_id),
                _ => Some("postgres"),
            })
    });
    let (documents, marker) = page.cut(found.map(|(id, instance)| document(world, id, instance)).collect());
    Ok(json!({ "DBInstances/DBInstance": documents, "Marker": marker }).into())
}

/// The response of a call that changes an instance: its current state.
pub(super) fn reply(world: &World, id: &str) -> Result<Reply, Refusal> {
    let instance = world.states.rds.instances.get(id).ok_or_else(|| {
        Refusal::new("DBInstanceNotFound", format!("DBInstance {id} not found.")).status(404)
    })?;
    Ok(json!({ "DBInstance": document(world, id, instance) }).into())
}

pub(super) fn document(world: &World, id: &str, instance: &Instance) -> Value {
    let mut fields = engine(world, id, instance);
    fields.extend(network(world, id, instance));
    fields.extend(keeping(world, instance));
    Value::Object(fields)
}

fn fields(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

/// Its identity and engine.
fn engine(world: &World, id: &str, instance: &Instance) -> Map<String, Value> {
    let now = world.now;
    let settings = &instance.settings;
    let born = now >= instance.birth.creating_until;
    let awaits_reboot = if instance.awaits_reboot { "pending-reboot" } else { "in-sync" };
    let family = catalogue::major(settings.version);
    fields(json!({
        "DBInstanceIdentifier": id,
        "DBInstanceArn": world.arn("rds", &format!("db:{id}")),
        "DbiResourceId": instance.resource_id,
        "DBInstanceClass": settings.class,
        "DBInstanceStatus": instance.status(now),
        "Engine": "postgres",
        "EngineVersion": settings.version,
        "EngineLifecycleSupport": instance.lifecycle_support,
        "LicenseModel": "postgresql-license",
        "MasterUsername": instance.master_username,
        "DBName": instance.db_name,
        "InstanceCreateTime": born.then(|| Clock::date(instance.birth.creating_until)),
        "AutoMinorVersionUpgrade": instance.minor_upgrades,
        "PendingModifiedValues": pending(instance),
        "DBParameterGroups/DBParameterGroup": [{
            "DBParameterGroupName": settings.parameter_group,
            "ParameterApplyStatus": awaits_reboot,
        }],
        "OptionGroupMemberships/OptionGroupMembership": [{
            "OptionGroupName": format!("default:postgres-{family}"),
            "Status": "in-sync",
        }],
        "IAMDatabaseAuthenticationEnabled": settings.iam_authentication,
        "PerformanceInsightsEnabled": settings.insights_days.is_some(),
        "PerformanceInsightsRetentionPeriod": settings.insights_days,
        "DatabaseInsightsMode": "standard",
        "EnabledCloudwatchLogsExports":
            Some(&settings.log_exports).filter(|exports| !exports.is_empty()),
        "MonitoringInterval": 0,
        "TagList/Tag": tagging::document(&instance.tags),
    }))
}

/// Its network and its endpoint.
fn network(world: &World, id: &str, instance: &Instance) -> Map<String, Value> {
    let now = world.now;
    let settings = &instance.settings;
    let group = world.states.rds.subnet_groups.get(&instance.subnet_group);
    let reached = now >= instance.birth.endpoint_at && instance.birth.fails_at.is_none_or(|at| now < at);
    let endpoint = reached.then(|| {
        json!({
            "Address": host(world, id),
            "Port": settings.port,
            "HostedZoneId": "Z1RLNUO7B9Q6NB",
        })
    });
    fields(json!({
        "Endpoint": endpoint,
        "DbInstancePort": 0,
        "DBSubnetGroup":
            group.map(|group| subnet_groups::document(world, &instance.subnet_group, group, false)),
        "VpcSecurityGroups/VpcSecurityGroupMembership": memberships(instance),
        "AvailabilityZone": instance.nodes.first().map(|node| &node.zone),
        "SecondaryAvailabilityZone": instance.nodes.get(1).map(|node| &node.zone).filter(|_| settings.multi_az),
        "MultiAZ": settings.multi_az,
        "PubliclyAccessible": settings.public,
        "NetworkType": "IPV4",
        "CACertificateIdentifier": settings.certificate,
    }))
}

/// Its storage, its backups and its secret.
fn keeping(world: &World, instance: &Instance) -> Map<String, Value> {
    let settings = &instance.settings;
    let secret = instance.secret.as_ref().map(|secret| {
        json!({
            "SecretArn": secret.arn,
            "SecretStatus": secret.status(world.now),
            "KmsKeyId": secret.kms_key,
        })
    });
    fields(json!({
        "AllocatedStorage": settings.storage,
        "MaxAllocatedStorage": instance.max_storage,
        "StorageType": settings.storage_type,
        "Iops": settings.iops,
        "StorageThroughput": settings.throughput.unwrap_or(0),
        "StorageEncrypted": instance.kms_key.is_some(),
        "KmsKeyId": instance.kms_key,
        "BackupRetentionPeriod": settings.backup_days,
        "PreferredBackupWindow": instance.backup_window,
        "PreferredMaintenanceWindow": instance.maintenance_window,
        "BackupTarget": "region",
        "CopyTagsToSnapshot": instance.copies_tags,
        "DeletionProtection": instance.protected,
        "MasterUserSecret": secret,
        "DedicatedLogVolume": false,
    }))
}

/// The security groups: during a change, new ones are `adding` and old ones `removing`.
fn memberships(instance: &Instance) -> Vec<Value> {
    let member = |id: &String, status: &str| json!({ "VpcSecurityGroupId": id, "Status": status });
    let now = &instance.settings.groups;
    let coming = instance.pending().find_map(|change| match change {
        Change::Groups(groups) => Some(groups),
        _ => None,
    });
    let Some(coming) = coming else {
        return now.iter().map(|id| member(id, "active")).collect();
    };
    let stay = now.iter().map(|id| member(id, if coming.contains(id) { "active" } else { "removing" }));
    stay.chain(coming.iter().filter(|id| !now.contains(id)).map(|id| member(id, "adding"))).collect()
}

fn pending(instance: &Instance) -> Value {
    instance
        .pending()
        .filter_map(Change::pending_value)
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

/// The endpoint's name. Its middle part is the same for all instances of an account in a region.
fn host(world: &World, id: &str) -> String {
    let account = hex::encode(Sha256::digest(format!("{}/{}", world.account, world.region)));
    format!("{id}.c{}.{}.rds.amazonaws.com", &account[..11], world.region)
}
