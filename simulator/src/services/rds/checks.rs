//! Checks of an instance's values, for creations and modifications.

use super::catalogue::{self, STORAGE_TYPES};
use super::instance::Settings;
use super::subnet_groups::SubnetGroup;
use super::{contradiction, invalid, parameter_groups};
use crate::params::{Params, Refusal};
use crate::services::ec2;
use crate::world::World;

/// From this size on, PostgreSQL's gp3 storage is striped and can have its own operations per second and throughput.
pub(super) const STRIPED: u32 = 400;

/// The certificate authorities.
pub(super) const CERTIFICATES: [&str; 3] = ["rds-ca-rsa2048-g1", "rds-ca-rsa4096-g1", "rds-ca-ecc384-g1"];
const LOG_TYPES: [&str; 3] = ["postgresql", "upgrade", "iam-db-auth-error"];

/// A whole number that must not be negative.
pub(super) fn number(params: &Params, key: &str) -> Result<Option<u32>, Refusal> {
    let check = |number: i64| {
        u32::try_from(number).map_err(|_| invalid(format!("Invalid value {number} for {key}: out of range")))
    };
    params.int(key)?.map(check).transpose()
}

/// The storage: type, size, operations, throughput.
pub(super) fn storage(settings: &Settings) -> Result<(), Refusal> {
    let Settings { storage, storage_type, iops, throughput, .. } = settings;
    let known = STORAGE_TYPES.iter().find(|known| known.name == storage_type).ok_or_else(|| {
        Refusal::new("StorageTypeNotSupported", format!("Invalid storage type: {storage_type}"))
    })?;
    if !(known.smallest..=known.largest).contains(storage) {
        return Err(contradiction(format!(
            "Invalid storage size for engine name postgres and storage type {storage_type}: {storage}"
        )));
    }
    if storage_type == "gp3" && *storage < STRIPED && (iops.is_some() || throughput.is_some()) {
        return Err(contradiction(format!(
            "You can't specify IOPS or storage throughput for engine postgres and a storage size less than {STRIPED}."
        )));
    }
    if throughput.is_some() && storage_type != "gp3" {
        return Err(contradiction("You can specify storage throughput only for the gp3 storage type."));
    }
    if throughput.is_some_and(|throughput| !(500..=4000).contains(&throughput)) {
        return Err(invalid("The storage throughput must be between 500 and 4000"));
    }
    match (known.iops, iops) {
        (None, Some(_)) => {
            Err(contradiction(format!("Iops is not a valid input for the storage type {storage_type}")))
        }
        (Some(_), None) if storage_type != "gp3" => {
            Err(contradiction(format!("You must specify Iops for the storage type {storage_type}")))
        }
        (Some((low, high)), Some(iops)) if !(low..=high).contains(iops) => Err(contradiction(format!(
            "Invalid iops for engine name postgres and storage type {storage_type}: {iops}"
        ))),
        _ => Ok(()),
    }
}

/// The default operations per second and throughput of storage.
pub(super) fn baseline(settings: &Settings) -> (Option<u32>, Option<u32>) {
    match settings.storage_type.as_str() {
        "gp3" if settings.storage < STRIPED => (Some(3000), Some(125)),
        "gp3" => (Some(settings.iops.unwrap_or(12_000)), Some(settings.throughput.unwrap_or(500))),
        _ => (settings.iops, None),
    }
}

/// The maximum for storage autoscaling. The user guide requires at least 10 % more than the current size.
pub(super) fn max_storage(max: u32, storage: u32, storage_type: &str) -> Result<(), Refusal> {
    let largest =
        STORAGE_TYPES.iter().find(|known| known.name == storage_type).map_or(0, |known| known.largest);
    if u64::from(max) * 10 < u64::from(storage) * 11 || max > largest {
        return Err(contradiction(format!(
            "Invalid max storage size for engine name postgres and storage type {storage_type}: {max}"
        )));
    }
    Ok(())
}

pub(super) fn backup_days(days: u32) -> Result<u32, Refusal> {
    if days > 35 {
        return Err(invalid(format!("Invalid backup retention period: {days}. Must be between 0 and 35.")));
    }
    Ok(days)
}

pub(super) fn log_exports(exports: Vec<String>) -> Result<Vec<String>, Refusal> {
    match exports.iter().find(|export| !LOG_TYPES.contains(&export.as_str())) {
        Some(unknown) => Err(contradiction(format!(
            "You cannot use the log types '{unknown}' with engine version postgres. For supported log types, see the \
             documentation."
        ))),
        None => Ok(exports),
    }
}

pub(super) fn certificate(name: String) -> Result<String, Refusal> {
    if CERTIFICATES.contains(&name.as_str()) {
        return Ok(name);
    }
    Err(Refusal::new("CertificateNotFound", format!("Certificate not found: {name}")).status(404))
}

/// Source: API reference, `PerformanceInsightsRetentionPeriod`: 7, months of 31 days up to 23, or 731.
pub(super) fn insights_days(days: u32) -> Result<u32, Refusal> {
    let legal = days == 7 || days == 731 || (days.is_multiple_of(31) && (1..=23).contains(&(days / 31)));
    if legal {
        Ok(days)
    } else {
        Err(invalid(format!("Invalid Performance Insights retention period: {days}")))
    }
}

pub(super) fn port(port: u32) -> Result<u16, Refusal> {
    u16::try_from(port).ok().filter(|port| *port >= 1150).ok_or_else(|| {
        invalid(format!("Invalid endpoint port {port}. The port must be between 1150 and 65535."))
    })
}

/// A master password. It is checked and not kept: nothing connects to the database here.
pub(super) fn password(password: &str) -> Result<(), Refusal> {
    if !(8..=128).contains(&password.len()) {
        return Err(invalid(
            "The parameter MasterUserPassword is not a valid password because it is shorter than 8 characters or \
             longer than 128.",
        ));
    }
    let legal = |byte: u8| byte.is_ascii_graphic() && !b"/@\"".contains(&byte);
    if password.bytes().all(legal) {
        Ok(())
    } else {
        Err(invalid(
            "The parameter MasterUserPassword is not a valid password. Only printable ASCII characters besides '/', \
             '@', '\"', ' ' may be used.",
        ))
    }
}

/// The security groups of the request, or the VPC's default group.
pub(super) fn groups(world: &World, vpc: &str, wanted: Vec<String>) -> Result<Vec<String>, Refusal> {
    if wanted.is_empty() {
        return Ok(ec2::default_group(world, vpc).into_iter().collect());
    }
    for id in &wanted {
        let theirs = ec2::group_vpc(world, id)
            .ok_or_else(|| invalid(format!("Invalid security group , groupId= {id}, groupName=.")))?;
        if theirs != vpc {
            return Err(contradiction(format!(
                "The DB instance and EC2 security group are in different VPCs. The DB instance is in {vpc} and the \
                 EC2 security group is in {theirs}"
            )));
        }
    }
    Ok(wanted)
}

/// A public instance needs an internet gateway, and routes to it from the group's subnets.
pub(super) fn public(world: &World, group: &SubnetGroup) -> Result<(), Refusal> {
    let leads_out = |id: &str| ec2::subnet(world, id).is_some_and(|subnet| subnet.public);
    if group.subnets.iter().any(|member| leads_out(&member.id)) {
        return Ok(());
    }
    Err(Refusal::new(
        "InvalidVPCNetworkStateFault",
        "Cannot create a publicly accessible DBInstance. The specified VPC has no internet gateway attached. Update \
         the VPC and then try again",
    ))
}

/// A parameter group belongs to one major version.
pub(super) fn parameter_group(world: &World, name: &str, version: &str) -> Result<String, Refusal> {
    let family = parameter_groups::major_of(world, name)?;
    let wanted = catalogue::major(version);
    if family != wanted {
        return Err(contradiction(format!(
            "The parameter group {name} with DBParameterGroupFamily postgres{family} can't be used for this instance. \
             Please use a parameter group with DBParameterGroupFamily postgres{wanted}"
        )));
    }
    Ok(name.to_ascii_lowercase())
}
