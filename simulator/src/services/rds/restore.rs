//! `RestoreDBInstanceFromDBSnapshot`.
//!
//! The new instance has the data, the version, the master user and the password of the snapshot. Source of what the call takes:
//! API reference; for a storage that is too small ministryofjustice/cloud-platform-user-guide#1911.

use super::create::{self, Wanted};
use super::instance::Settings;
use super::parameter_groups::default_name;
use super::query::identifier;
use super::snapshots::{self, Snapshot};
use super::subnet_groups::SubnetGroup;
use super::{catalogue, checks, contradiction, tagging, windows};
use crate::params::{Params, Refusal};
use crate::protocol::Reply;
use crate::services::ec2;
use crate::world::World;

pub(super) fn restore(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let id = identifier("DBInstanceIdentifier", &params.required("DBInstanceIdentifier")?, 63)?;
    let name = params.required("DBSnapshotIdentifier")?.to_ascii_lowercase();
    let snapshot = snapshots::find(world, &name)?.clone();
    let wanted = wanted(world, params, &snapshot)?;
    let tags = tagging::read(params)?;
    params.done()?;
    if snapshot.status(world.now) != "available" {
        return Err(Refusal::new(
            "InvalidDBSnapshotState",
            format!("Cannot restore the snapshot because it is not currently in the available state: {name}"),
        ));
    }
    create::begin(world, &id, wanted, tags)
}

/// The password cannot be given, nor managed: `ManageMasterUserPassword` "applies to RDS for Oracle only". `DBName` "doesn't
/// apply" to PostgreSQL. Unverified: a restored instance shows no `DBName`.
fn wanted(world: &World, params: &Params, snapshot: &Snapshot) -> Result<Wanted, Refusal> {
    let (subnet_group, group) = create::subnet_group(world, params)?;
    let settings = settings(world, params, group, snapshot)?;
    let zone = params.text("AvailabilityZone");
    Ok(Wanted {
        timing: "rds_postgres_restored",
        places: create::places(world, group, &settings, zone.as_deref())?,
        subnet_group,
        max_storage: None,
        master_username: snapshot.master_username.clone(),
        db_name: None,
        kms_key: snapshot.kms_key.clone(),
        password_kept_with: None,
        protected: params.flag("DeletionProtection")?.unwrap_or(false),
        copies_tags: params.flag("CopyTagsToSnapshot")?.unwrap_or(false),
        minor_upgrades: params.flag("AutoMinorVersionUpgrade")?.unwrap_or(true),
        lifecycle_support: create::lifecycle_support(params)?,
        backup_window: windows::BACKUP.into(),
        maintenance_window: windows::MAINTENANCE.into(),
        settings,
    })
}

fn settings(
    world: &World,
    params: &Params,
    group: &SubnetGroup,
    snapshot: &Snapshot,
) -> Result<Settings, Refusal> {
    let version = snapshot.engine_version;
    let class = params.required("DBInstanceClass")?;
    catalogue::wanted_class(&class)?;
    let storage_type = params.text("StorageType").unwrap_or_else(|| snapshot.storage_type.clone());
    let storage = checks::number(params, "AllocatedStorage")?.unwrap_or(snapshot.gibibytes);
    if storage < snapshot.gibibytes {
        return Err(contradiction(format!(
            "Invalid storage size for engine name postgres and storage type {storage_type}: {storage}"
        )));
    }
    let parameter_group = match params.text("DBParameterGroupName") {
        Some(name) => checks::parameter_group(world, &name, version)?,
        None => default_name(catalogue::major(version)),
    };
    let public = params.flag("PubliclyAccessible")?;
    if public == Some(true) {
        checks::public(world, group)?;
    }
    let port = checks::number(params, "Port")?.unwrap_or_else(|| snapshot.port.into());
    let backup_days = checks::number(params, "BackupRetentionPeriod")?.unwrap_or(snapshot.backup_days);
    let mut settings = Settings {
        class,
        version,
        storage,
        storage_type,
        iops: None,
        throughput: None,
        backup_days: checks::backup_days(backup_days)?,
        multi_az: params.flag("MultiAZ")?.unwrap_or(false),
        groups: checks::groups(world, &group.vpc, params.list("VpcSecurityGroupIds"))?,
        parameter_group,
        port: checks::port(port)?,
        public: public.unwrap_or_else(|| ec2::has_internet_gateway(world, &group.vpc)),
        iam_authentication: false,
        insights_days: None,
        log_exports: Vec::new(),
        certificate: checks::CERTIFICATES[0].to_owned(),
    };
    checks::storage(&settings)?;
    (settings.iops, settings.throughput) = checks::baseline(&settings);
    Ok(settings)
}
