//! What RDS offers: PostgreSQL versions, instance classes, storage types.

use serde_json::{Value, json};

use super::query::{Filters, Page};
use super::{contradiction, invalid};
use crate::params::{Params, Refusal};
use crate::protocol::Reply;
use crate::world::World;

/// The major versions.
pub(super) const MAJORS: [u32; 6] = [13, 14, 15, 16, 17, 18];
/// The default major version.
const DEFAULT_MAJOR: u32 = 17;

/// The offered versions, oldest first: a few of each major version.
const VERSIONS: [&str; 25] = [
    "13.18", "13.20", "13.21", "13.22", "14.15", "14.17", "14.18", "14.19", "15.10", "15.12", "15.13",
    "15.14", "16.3", "16.6", "16.8", "16.9", "16.10", "16.11", "17.2", "17.4", "17.5", "17.6", "17.7",
    "18.1", "18.2",
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

/// The position of a version among the others.
fn rank(version: &str) -> Option<usize> {
    VERSIONS.iter().position(|known| *known == version)
}

/// Whether one version comes after another.
pub(super) fn is_newer(version: &str, than: &str) -> bool {
    rank(version) > rank(than)
}

fn newest_of(major: u32) -> Option<&'static str> {
    VERSIONS.iter().copied().rfind(|version| self::major(version) == major)
}

/// The version of a request: a major version alone means its newest minor version, none means the default.
pub(super) fn resolve(version: Option<&str>) -> Result<&'static str, Refusal> {
    let found = match version {
        None => newest_of(DEFAULT_MAJOR),
        Some(major) if !major.contains('.') => major.parse().ok().and_then(newest_of),
        Some(version) => VERSIONS.iter().copied().find(|known| *known == version),
    };
    found.ok_or_else(|| {
        contradiction(format!("Cannot find version {} for postgres", version.unwrap_or_default()))
    })
}

/// Whether the request is about PostgreSQL: other engines are not offered.
fn is_simulated(params: &Params) -> bool {
    params.text("Engine").is_none_or(|engine| engine == "postgres")
}

pub(super) fn describe_versions(_: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let simulated = is_simulated(params);
    let version = params.text("EngineVersion");
    let family = params.text("DBParameterGroupFamily");
    let default_only = params.flag("DefaultOnly")?.unwrap_or(false);
    // These would add nothing for PostgreSQL: character sets, time zones, retired versions.
    for more in ["ListSupportedCharacterSets", "ListSupportedTimezones", "IncludeAll"] {
        params.flag(more)?;
    }
    let filters = Filters::read(params, &["engine-version", "db-parameter-group-family", "status"])?;
    let page = Page::read(params)?;
    params.done()?;
    let mut documents = Vec::new();
    for known in VERSIONS.into_iter().filter(|_| simulated) {
        let of_family = format!("postgres{}", major(known));
        let asked = version.as_deref().is_none_or(|version| {
            version == known || (!version.contains('.') && version == major(known).to_string())
        });
        let default = major(known) == DEFAULT_MAJOR && newest_of(DEFAULT_MAJOR) == Some(known);
        let wanted = asked
            && family.as_deref().is_none_or(|family| family == of_family)
            && (!default_only || default || (version.is_some() && newest_of(major(known)) == Some(known)))
            && filters.pass(|name| match name {
                "engine-version" => Some(known),
                "status" => Some("available"),
                _ => Some(&of_family),
            });
        if wanted {
            documents.push(version_document(known, &of_family));
        }
    }
    let (documents, marker) = page.cut(documents);
    Ok(json!({ "DBEngineVersions/DBEngineVersion": documents, "Marker": marker }).into())
}

fn version_document(version: &str, family: &str) -> Value {
    let targets: Vec<Value> = VERSIONS
        .iter()
        .filter(|target| is_newer(target, version))
        .map(|target| {
            json!({
                "Engine": "postgres",
                "EngineVersion": target,
                "Description": format!("PostgreSQL {target}-R1"),
                "AutoUpgrade": major(target) == major(version) && newest_of(major(version)) == Some(target),
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
        "Status": "available",
        "SupportedCACertificateIdentifiers": super::checks::CERTIFICATES,
        "SupportsCertificateRotationWithoutRestart": true,
    })
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
    for known in VERSIONS.into_iter().filter(|_| simulated && license && in_vpc && group) {
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
    use stackdrop_figures::prices::database_hourly;

    use super::*;

    #[test]
    fn a_major_version_alone_means_its_newest_minor_version() {
        assert_eq!(resolve(Some("16")).unwrap(), "16.11");
        assert_eq!(resolve(Some("16.3")).unwrap(), "16.3");
        assert_eq!(resolve(None).unwrap(), "17.7");
        assert_eq!(resolve(Some("17.99")).unwrap_err().code, "InvalidParameterCombination");
        assert!(is_newer("16.10", "16.9") && is_newer("17.2", "16.11") && !is_newer("16.3", "16.3"));
        assert!(MAJORS.iter().all(|major| newest_of(*major).is_some()));
    }

    #[test]
    fn classes_have_sizes_prices_and_zones() {
        for family in &FAMILIES {
            for size in family.sizes {
                let name = format!("db.{}.{size}", family.name);
                assert!(class(&name).is_some() && database_hourly(&name).is_some(), "{name}");
            }
        }
        assert!(class("db.m7g.micro").is_none() && class("t3.micro").is_none());
        let old = class("db.m5.large").unwrap();
        assert!(old.is_in("eu-central-1b") && !old.is_in("eu-central-1c"));
    }
}
