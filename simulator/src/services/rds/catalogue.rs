//! What RDS offers: PostgreSQL versions, instance classes, storage types.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::query::{Filters, Page};
use super::{contradiction, invalid};
use crate::params::{Params, Refusal};
use crate::protocol::Reply;
use crate::world::World;

/// The major versions.
pub(super) const MAJORS: [u32; 6] = [13, 14, 15, 16, 17, 18];
/// The default major version.
const DEFAULT_MAJOR: u32 = 17;

/// The offered versions, oldest first: for each major version the newest minor versions, each with the quarter in which
/// RDS released it, counted from 2025-05. Source: "Release calendars for Amazon RDS for PostgreSQL"; minor versions before
/// these cannot be created since 2026-05-01 (AWS's notice).
const VERSIONS: [(&str, u32); 26] = [
    ("13.21", 1),
    ("13.22", 2),
    ("13.23", 3),
    ("14.18", 1),
    ("14.19", 2),
    ("14.20", 3),
    ("14.21", 4),
    ("14.22", 5),
    ("15.13", 1),
    ("15.14", 2),
    ("15.15", 3),
    ("15.16", 4),
    ("15.17", 5),
    ("16.9", 1),
    ("16.10", 2),
    ("16.11", 3),
    ("16.12", 4),
    ("16.13", 5),
    ("17.5", 1),
    ("17.6", 2),
    ("17.7", 3),
    ("17.8", 4),
    ("17.9", 5),
    ("18.1", 3),
    ("18.2", 4),
    ("18.3", 5),
];
/// The release that a bare major version means: RDS's default is not the newest one. Source: API reference,
/// `EngineVersion` ("the default minor version"); terraform-aws-modules/terraform-aws-rds#627 (16.13 and 17.9 exist, `17` means 17.6).
const DEFAULT_RELEASE: u32 = 3;

/// RDS's support of one major version.
struct Support {
    major: u32,
    /// The day of PostgreSQL's release; RDS's support begins some months later.
    starts: &'static str,
    standard_ends: &'static str,
    extended_ends: &'static str,
}

const fn support(
    major: u32,
    starts: &'static str,
    standard_ends: &'static str,
    extended_ends: &'static str,
) -> Support {
    Support { major, starts, standard_ends, extended_ends }
}

/// RDS's support of the major versions. Source: the release calendar, and postgresql.org/support/versioning for the releases.
const SUPPORTS_OF_MAJORS: [Support; 6] = [
    support(13, "2020-09-24T00:00:00Z", "2026-02-28T23:59:59Z", "2029-02-28T23:59:59Z"),
    support(14, "2021-09-30T00:00:00Z", "2027-02-28T23:59:59Z", "2030-02-28T23:59:59Z"),
    support(15, "2022-10-13T00:00:00Z", "2028-02-29T23:59:59Z", "2031-02-28T23:59:59Z"),
    support(16, "2023-09-14T00:00:00Z", "2029-02-28T23:59:59Z", "2032-02-29T23:59:59Z"),
    support(17, "2024-09-26T00:00:00Z", "2030-02-28T23:59:59Z", "2033-02-28T23:59:59Z"),
    support(18, "2025-09-25T00:00:00Z", "2031-02-28T23:59:59Z", "2034-02-28T23:59:59Z"),
];

/// The classes of one family.
struct Family {
    name: &'static str,
    sizes: &'static [&'static str],
    /// The letters of its zones: older hardware is missing from newer zones.
    zones: &'static str,
}

const BURSTABLE: [&str; 6] = ["micro", "small", "medium", "large", "xlarge", "2xlarge"];
const UP_TO_16XLARGE: [&str; 7] =
    ["large", "xlarge", "2xlarge", "4xlarge", "8xlarge", "12xlarge", "16xlarge"];
const UP_TO_24XLARGE: [&str; 8] =
    ["large", "xlarge", "2xlarge", "4xlarge", "8xlarge", "12xlarge", "16xlarge", "24xlarge"];

const fn family(name: &'static str, sizes: &'static [&'static str], zones: &'static str) -> Family {
    Family { name, sizes, zones }
}

const FAMILIES: [Family; 10] = [
    family("t3", &BURSTABLE, "abc"),
    family("t4g", &BURSTABLE, "abc"),
    family("m5", &UP_TO_24XLARGE, "ab"),
    family("m6g", &UP_TO_16XLARGE, "abc"),
    family("m6i", &UP_TO_24XLARGE, "abc"),
    family("m7g", &UP_TO_16XLARGE, "abc"),
    family("r5", &UP_TO_24XLARGE, "ab"),
    family("r6g", &UP_TO_16XLARGE, "abc"),
    family("r6i", &UP_TO_24XLARGE, "abc"),
    family("r7g", &UP_TO_16XLARGE, "abc"),
];

/// An instance class.
pub(super) struct Class {
    family: &'static Family,
}

impl Class {
    /// Whether RDS offers it in a zone.
    pub(super) fn is_in(&self, zone: &str) -> bool {
        zone.chars().last().is_some_and(|letter| self.family.zones.contains(letter))
    }
}

/// An instance class by its name.
fn class(name: &str) -> Option<Class> {
    let (family, size) = name.strip_prefix("db.")?.split_once('.')?;
    let family = FAMILIES.iter().find(|known| known.name == family)?;
    family.sizes.contains(&size).then_some(Class { family })
}

/// The instance class of a request.
pub(super) fn wanted_class(name: &str) -> Result<Class, Refusal> {
    class(name).ok_or_else(|| invalid(format!("Invalid DB Instance class: {name}")))
}

/// The number before the first dot.
pub(super) fn major(version: &str) -> u32 {
    version.split('.').next().and_then(|major| major.parse().ok()).unwrap_or_default()
}

fn names() -> impl DoubleEndedIterator<Item = &'static str> {
    VERSIONS.iter().map(|(name, _)| *name)
}

/// The position of a version among the others, and its release.
fn rank(version: &str) -> Option<(usize, u32)> {
    let at = names().position(|known| known == version)?;
    Some((at, VERSIONS[at].1))
}

/// Whether RDS can upgrade one version to another: to a later minor version, or to a minor version of a later major version
/// that is not older than the present one. Source: "Choosing a major version for an upgrade".
pub(super) fn can_upgrade(from: &str, to: &str) -> bool {
    let (Some((at, released)), Some((target, target_released))) = (rank(from), rank(to)) else {
        return false;
    };
    target > at && (major(from) == major(to) || target_released >= released)
}

/// The next minor version, to which RDS upgrades by itself.
pub(super) fn newer_minor(version: &str) -> Option<&'static str> {
    names().find(|known| major(known) == major(version) && rank(known) > rank(version))
}

/// The newest version of the next major version that an instance can be upgraded to.
pub(super) fn next_major(version: &str) -> Option<&'static str> {
    names().rfind(|known| major(known) == major(version) + 1 && can_upgrade(version, known))
}

/// The default minor version of a major version: RDS creates no instances of a version that it has retired.
fn default_of(major: u32, retired: &BTreeSet<&'static str>) -> Option<&'static str> {
    let mut offered =
        VERSIONS.iter().filter(|(name, _)| self::major(name) == major && !retired.contains(name));
    let usual = offered.clone().rfind(|(_, release)| *release <= DEFAULT_RELEASE);
    usual.or_else(|| offered.next()).map(|(name, _)| *name)
}

/// The version of a request: a major version alone means its default minor version, none means the default.
pub(super) fn resolve(world: &World, version: Option<&str>) -> Result<&'static str, Refusal> {
    let retired = &world.states.rds.retired;
    let found = match version {
        None => default_of(DEFAULT_MAJOR, retired),
        Some(major) if !major.contains('.') => {
            major.parse().ok().and_then(|major| default_of(major, retired))
        }
        Some(version) => names().find(|known| *known == version),
    };
    found.ok_or_else(|| not_found(version.unwrap_or_default()))
}

fn not_found(version: &str) -> Refusal {
    contradiction(format!("Cannot find version {version} for postgres"))
}

/// Checks that an instance of a version can be created: not of one that RDS has retired, nor after the end of standard
/// support without Extended Support. Source: API reference, `EngineLifecycleSupport`.
pub(super) fn check_creation(world: &World, version: &'static str, lifecycle: &str) -> Result<(), Refusal> {
    if world.states.rds.retired.contains(version) {
        return Err(not_found(version));
    }
    let ended = standard_support_end(major(version)).is_some_and(|end| end < world.epoch());
    if ended && lifecycle.ends_with("-disabled") {
        return Err(contradiction(format!(
            "PostgreSQL major version {} has reached the end of standard support. Enable RDS Extended Support to create a \
             DB instance with it.",
            major(version)
        )));
    }
    Ok(())
}

fn standard_support_end(major: u32) -> Option<f64> {
    let support = SUPPORTS_OF_MAJORS.iter().find(|support| support.major == major)?;
    let end = OffsetDateTime::parse(support.standard_ends, &Rfc3339).ok()?;
    Some(Duration::from_secs(end.unix_timestamp().unsigned_abs()).as_secs_f64())
}

/// Whether the request is about PostgreSQL: other engines are not offered.
fn is_simulated(params: &Params) -> bool {
    params.text("Engine").is_none_or(|engine| engine == "postgres")
}

pub(super) fn describe_versions(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let simulated = is_simulated(params);
    let version = params.text("EngineVersion");
    let family = params.text("DBParameterGroupFamily");
    let default_only = params.flag("DefaultOnly")?.unwrap_or(false);
    let include_all = params.flag("IncludeAll")?.unwrap_or(false);
    // These would add nothing for PostgreSQL: character sets, time zones.
    for more in ["ListSupportedCharacterSets", "ListSupportedTimezones"] {
        params.flag(more)?;
    }
    let filters = Filters::read(params, &["engine-version", "db-parameter-group-family", "status"])?;
    let page = Page::read(params)?;
    params.done()?;
    let mut documents = Vec::new();
    let retired = &world.states.rds.retired;
    for known in names().filter(|known| simulated && (include_all || !retired.contains(known))) {
        let status = if retired.contains(known) { "deprecated" } else { "available" };
        let of_family = format!("postgres{}", major(known));
        let asked = version.as_deref().is_none_or(|version| {
            version == known || (!version.contains('.') && version == major(known).to_string())
        });
        let default = default_of(DEFAULT_MAJOR, retired) == Some(known);
        let wanted = asked
            && family.as_deref().is_none_or(|family| family == of_family)
            && (!default_only
                || default
                || (version.is_some() && default_of(major(known), retired) == Some(known)))
            && filters.pass(|name| match name {
                "engine-version" => Some(known),
                "status" => Some(status),
                _ => Some(&of_family),
            });
        if wanted {
            documents.push(version_document(known, &of_family, status));
        }
    }
    let (documents, marker) = page.cut(documents);
    Ok(json!({ "DBEngineVersions/DBEngineVersion": documents, "Marker": marker }).into())
}

fn version_document(version: &str, family: &str, status: &str) -> Value {
    let targets: Vec<Value> = names()
        .filter(|target| can_upgrade(version, target))
        .map(|target| {
            json!({
                "Engine": "postgres",
                "EngineVersion": target,
                "Description": format!("PostgreSQL {target}-R1"),
                "AutoUpgrade": major(target) == major(version) && newer_minor(version) == Some(target),
                "IsMajorVersionUpgrade": major(target) != major(version),
            })
        })
        .collect();
    json!({
        "Engine": "postgres",
        "MajorEngineVersion": major(version).to_string(),
        "EngineVersion": version,
        "DBParameterGroupFamily": family,
        "DBEngineDescription": "PostgreSQL",
        "DBEngineVersionDescription": format!("PostgreSQL {version}-R1"),
        "ValidUpgradeTarget/UpgradeTarget": targets,
        "ExportableLogTypes": ["postgresql", "upgrade", "iam-db-auth-error"],
        "SupportsLogExportsToCloudwatchLogs": true,
        "SupportsReadReplica": true,
        "Status": status,
        "SupportedCACertificateIdentifiers": super::checks::CERTIFICATES,
        "SupportsCertificateRotationWithoutRestart": true,
    })
}

/// `DescribeDBMajorEngineVersions`: until when RDS supports each major version.
pub(super) fn describe_majors(_: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let simulated = is_simulated(params);
    let wanted = params.text("MajorEngineVersion");
    let page = Page::read(params)?;
    params.done()?;
    let majors = SUPPORTS_OF_MAJORS.iter().filter(|support| {
        simulated && wanted.as_ref().is_none_or(|wanted| *wanted == support.major.to_string())
    });
    let documents = majors.map(|support| {
        let lifecycle = |name: &str, start: &str, end: &str| {
            json!({ "LifecycleSupportName": name, "LifecycleSupportStartDate": start, "LifecycleSupportEndDate": end })
        };
        json!({
            "Engine": "postgres",
            "MajorEngineVersion": support.major.to_string(),
            "SupportedEngineLifecycles/SupportedEngineLifecycle": [
                lifecycle("open-source-rds-standard-support", support.starts, support.standard_ends),
                lifecycle("open-source-rds-extended-support", support.standard_ends, support.extended_ends),
            ],
        })
    });
    let (documents, marker) = page.cut(documents.collect());
    Ok(json!({ "DBMajorEngineVersions/DBMajorEngineVersion": documents, "Marker": marker }).into())
}

pub(super) fn describe_orderable(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    params.required("Engine")?;
    let simulated = is_simulated(params);
    let version = params.text("EngineVersion");
    let class = params.text("DBInstanceClass");
    let license = params.text("LicenseModel").is_none_or(|license| license == "postgresql-license");
    let in_vpc = params.flag("Vpc")?.unwrap_or(true);
    let group = params.text("AvailabilityZoneGroup").is_none_or(|group| group == world.region);
    Filters::read(params, &[])?; // "This parameter isn't currently supported."
    let page = Page::read(params)?;
    params.done()?;
    let mut documents = Vec::new();
    let retired = world.states.rds.retired.clone();
    for known in names().filter(|_| simulated && license && in_vpc && group) {
        if retired.contains(known) {
            continue;
        }
        if version.as_deref().is_some_and(|version| version != known) {
            continue;
        }
        for family in &FAMILIES {
            for size in family.sizes {
                let name = format!("db.{}.{size}", family.name);
                if class.as_ref().is_none_or(|class| *class == name) {
                    documents.extend(orderable(&world.region, known, &name, family));
                }
            }
        }
    }
    let (documents, marker) = page.cut(documents);
    Ok(json!({ "OrderableDBInstanceOptions/OrderableDBInstanceOption": documents, "Marker": marker }).into())
}

/// One document for each type of storage.
fn orderable(region: &str, version: &str, class: &str, family: &Family) -> Vec<Value> {
    let zones: Vec<Value> =
        family.zones.chars().map(|letter| json!({ "Name": format!("{region}{letter}") })).collect();
    let documents = STORAGE_TYPES.iter().map(|storage| {
        json!({
            "Engine": "postgres",
            "EngineVersion": version,
            "DBInstanceClass": class,
            "LicenseModel": "postgresql-license",
            "AvailabilityZoneGroup": region,
            "AvailabilityZones/AvailabilityZone": zones,
            "MultiAZCapable": true,
            "ReadReplicaCapable": true,
            "Vpc": true,
            "SupportsStorageEncryption": true,
            "StorageType": storage.name,
            "SupportsIops": storage.iops.is_some(),
            "SupportsStorageThroughput": storage.name == "gp3",
            "SupportsEnhancedMonitoring": true,
            "SupportsIAMDatabaseAuthentication": true,
            "SupportsPerformanceInsights": true,
            "MinStorageSize": storage.smallest,
            "MaxStorageSize": storage.largest,
            "MinIopsPerDbInstance": storage.iops.map(|(low, _)| low),
            "MaxIopsPerDbInstance": storage.iops.map(|(_, high)| high),
            "OutpostCapable": false,
            "SupportsStorageAutoscaling": storage.name != "standard",
            "SupportedNetworkTypes": ["IPV4"],
        })
    });
    documents.collect()
}

/// A type of storage, with its limits in GiB and in operations per second.
pub(super) struct StorageType {
    pub(super) name: &'static str,
    pub(super) smallest: u32,
    pub(super) largest: u32,
    pub(super) iops: Option<(u32, u32)>,
}

/// Source: "Amazon RDS DB instance storage".
pub(super) const STORAGE_TYPES: [StorageType; 5] = [
    StorageType { name: "gp2", smallest: 20, largest: 65_536, iops: None },
    StorageType { name: "gp3", smallest: 20, largest: 65_536, iops: Some((12_000, 64_000)) },
    StorageType { name: "io1", smallest: 100, largest: 65_536, iops: Some((1000, 256_000)) },
    StorageType { name: "io2", smallest: 100, largest: 65_536, iops: Some((1000, 256_000)) },
    StorageType { name: "standard", smallest: 10, largest: 3072, iops: None },
];

#[cfg(test)]
mod tests {
    use stackdrop_figures::prices::Prices;

    use super::*;

    #[test]
    fn a_major_version_alone_means_its_default_minor_version() {
        let none = BTreeSet::new();
        assert_eq!(default_of(16, &none), Some("16.11"));
        assert_eq!(default_of(DEFAULT_MAJOR, &none), Some("17.7"));
        assert!(
            MAJORS.iter().all(|major| {
                default_of(*major, &none).is_some() && standard_support_end(*major).is_some()
            })
        );
    }

    #[test]
    fn a_retired_version_is_never_the_default() {
        let mut retired = BTreeSet::from(["17.7"]);
        let earlier = default_of(17, &retired);
        assert!(earlier.is_some_and(|version| version != "17.7" && major(version) == 17), "{earlier:?}");
        retired.extend(names().filter(|version| rank(version) <= rank("17.7")));
        let later = default_of(17, &retired);
        assert_eq!(later, newer_minor("17.7"));
    }

    #[test]
    fn an_upgrade_never_leads_to_an_older_release() {
        assert!(can_upgrade("16.9", "16.13") && can_upgrade("16.13", "17.9") && can_upgrade("16.9", "17.5"));
        assert!(
            !can_upgrade("16.13", "17.7") && !can_upgrade("16.9", "16.9") && !can_upgrade("17.5", "16.13")
        );
    }

    #[test]
    fn classes_have_sizes_prices_and_zones() {
        let prices = Prices::of("us-east-1");
        for family in &FAMILIES {
            for size in family.sizes {
                let name = format!("db.{}.{size}", family.name);
                assert!(class(&name).is_some() && prices.database_hourly(&name).is_some(), "{name}");
            }
        }
        assert!(class("db.m7g.micro").is_none() && class("t3.micro").is_none());
        let old = class("db.m5.large").unwrap();
        assert!(old.is_in("eu-central-1b") && !old.is_in("eu-central-1c"));
    }
}
