//! What AWS offers: instance types and public images.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::query::{Filter, Filters, Page, one};
use super::{AMI_ARM64, AMI_X86_64, zone};
use crate::params::{Params, Refusal};
use crate::protocol::Reply;
use crate::world::World;

/// The account that owns Amazon Linux's images.
const AMAZON: &str = "137112412989";
/// The smallest root disk that the images fit on, in GiB.
pub(super) const IMAGE_GIB: i64 = 8;
/// The images' root device.
pub(super) const ROOT_DEVICE: &str = "/dev/xvda";

/// An instance type.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct InstanceType {
    pub(super) name: String,
    pub(super) architecture: &'static str,
    pub(super) vcpus: u32,
    mib: u64,
    pub(super) burstable: bool,
}

/// Burstable families: name and architecture.
const BURSTABLE: [(&str, &str); 4] =
    [("t2", "x86_64"), ("t3", "x86_64"), ("t3a", "x86_64"), ("t4g", "arm64")];
/// Their sizes: vCPUs (those of t2 differ) and MiB.
const BURSTABLE_SIZES: [(&str, u32, u32, u64); 7] = [
    ("nano", 2, 1, 512),
    ("micro", 2, 1, 1024),
    ("small", 2, 1, 2048),
    ("medium", 2, 2, 4096),
    ("large", 2, 2, 8192),
    ("xlarge", 4, 4, 16384),
    ("2xlarge", 8, 8, 32768),
];
/// The other families: name, architecture and GiB a vCPU.
const STEADY: [(&str, &str, u64); 18] = [
    ("c5", "x86_64", 2),
    ("c6a", "x86_64", 2),
    ("c6g", "arm64", 2),
    ("c6i", "x86_64", 2),
    ("c7g", "arm64", 2),
    ("c7i", "x86_64", 2),
    ("m5", "x86_64", 4),
    ("m5a", "x86_64", 4),
    ("m6a", "x86_64", 4),
    ("m6g", "arm64", 4),
    ("m6i", "x86_64", 4),
    ("m7g", "arm64", 4),
    ("m7i", "x86_64", 4),
    ("r5", "x86_64", 8),
    ("r6g", "arm64", 8),
    ("r6i", "x86_64", 8),
    ("r7g", "arm64", 8),
    ("r7i", "x86_64", 8),
];
const STEADY_SIZES: [(&str, u32); 4] = [("large", 2), ("xlarge", 4), ("2xlarge", 8), ("4xlarge", 16)];

/// Every instance type, by name.
fn instance_types() -> Vec<InstanceType> {
    let mut types = Vec::new();
    for (family, architecture) in BURSTABLE {
        for (size, vcpus, vcpus_of_t2, mib) in BURSTABLE_SIZES {
            types.push(InstanceType {
                name: format!("{family}.{size}"),
                architecture,
                vcpus: if family == "t2" { vcpus_of_t2 } else { vcpus },
                mib,
                burstable: true,
            });
        }
    }
    for (family, architecture, gib) in STEADY {
        for (size, vcpus) in STEADY_SIZES {
            types.push(InstanceType {
                name: format!("{family}.{size}"),
                architecture,
                vcpus,
                mib: u64::from(vcpus) * gib * 1024,
                burstable: false,
            });
        }
    }
    types.sort_by(|one, other| one.name.cmp(&other.name));
    types
}

/// The instance type with this name.
///
/// # Errors
/// `InvalidParameterValue` for an unknown type.
pub(super) fn instance_type(name: &str) -> Result<InstanceType, Refusal> {
    instance_types().into_iter().find(|each| each.name == name).ok_or_else(|| {
        Refusal::new("InvalidParameterValue", format!("Invalid value '{name}' for InstanceType."))
    })
}

/// An image's architecture.
///
/// # Errors
/// `InvalidAMIID.NotFound` or `InvalidAMIID.Malformed`.
pub(super) fn architecture_of(image: &str) -> Result<&'static str, Refusal> {
    match image {
        AMI_X86_64 => Ok("x86_64"),
        AMI_ARM64 => Ok("arm64"),
        _ if image.starts_with("ami-") => {
            Err(Refusal::new("InvalidAMIID.NotFound", format!("The image id '[{image}]' does not exist")))
        }
        _ => Err(Refusal::new(
            "InvalidAMIID.Malformed",
            format!("Invalid id: \"{image}\" (expecting \"ami-...\")"),
        )),
    }
}

/// Checks that an image and an instance type have the same architecture.
///
/// # Errors
/// `InvalidParameterValue` if they do not.
pub(super) fn check_architectures(image: &str, of_image: &str, kind: &InstanceType) -> Result<(), Refusal> {
    if kind.architecture == of_image {
        return Ok(());
    }
    Err(Refusal::new(
        "InvalidParameterValue",
        format!(
            "The architecture '{}' of the specified instance type does not match the architecture '{of_image}' of the specified AMI {image}. Specify an instance type and an AMI that have matching architectures, and try again.",
            kind.architecture
        ),
    ))
}

impl InstanceType {
    fn is_current(&self) -> bool {
        !self.name.starts_with("t2.")
    }

    fn hypervisor(&self) -> &'static str {
        if self.is_current() { "nitro" } else { "xen" }
    }

    fn document(&self) -> Value {
        json!({
            "instanceType": self.name,
            "currentGeneration": self.is_current(),
            "freeTierEligible": false,
            "supportedUsageClasses": ["on-demand", "spot"],
            "supportedRootDeviceTypes": ["ebs"],
            "supportedVirtualizationTypes": ["hvm"],
            "bareMetal": false,
            "hypervisor": self.hypervisor(),
            "processorInfo": { "supportedArchitectures": [self.architecture] },
            "vCpuInfo": { "defaultVCpus": self.vcpus },
            "memoryInfo": { "sizeInMiB": self.mib },
            "instanceStorageSupported": false,
            "burstablePerformanceSupported": self.burstable,
        })
    }
}

const TYPE_FILTERS: &[Filter<InstanceType>] = &[
    ("instance-type", |kind, _| one(&kind.name)),
    ("processor-info.supported-architecture", |kind, _| one(kind.architecture)),
    ("vcpu-info.default-vcpus", |kind, _| one(kind.vcpus.to_string())),
    ("memory-info.size-in-mib", |kind, _| one(kind.mib.to_string())),
    ("burstable-performance-supported", |kind, _| one(kind.burstable.to_string())),
    ("current-generation", |kind, _| one(kind.is_current().to_string())),
    ("hypervisor", |kind, _| one(kind.hypervisor())),
    ("supported-root-device-type", |_, _| one("ebs")),
    ("supported-virtualization-type", |_, _| one("hvm")),
];

pub(super) fn describe_types(world: &World, params: &Params) -> Result<Reply, Refusal> {
    let wanted = params.list("InstanceType");
    let filters = Filters::read(params, TYPE_FILTERS)?;
    let page = Page::read(params)?;
    params.done()?;
    let all = instance_types();
    let unknown: Vec<&str> =
        wanted.iter().filter(|name| all.iter().all(|each| each.name != **name)).map(String::as_str).collect();
    if !unknown.is_empty() {
        return Err(Refusal::new(
            "InvalidInstanceType",
            format!("The following supplied instance types do not exist: [{}]", unknown.join(", ")),
        ));
    }
    let found = all
        .iter()
        .filter(|each| wanted.is_empty() || wanted.contains(&each.name))
        .filter(|each| filters.match_untagged(*each, world))
        .map(InstanceType::document)
        .collect();
    Ok(page.answer("instanceTypeSet", found))
}

/// Removes an instance type from a zone.
pub(crate) fn seed_not_offered(world: &mut World, instance_type: &str, zone: &str) {
    world.states.ec2.not_offered.insert((instance_type.to_owned(), zone.to_owned()));
}

fn is_offered(world: &World, instance_type: &str, zone: &str) -> bool {
    !world.states.ec2.not_offered.contains(&(instance_type.to_owned(), zone.to_owned()))
}

/// Checks that a zone offers an instance type.
///
/// # Errors
/// `Unsupported`, as EC2 words it.
pub(super) fn check_offered(world: &World, instance_type: &str, in_zone: &str) -> Result<(), Refusal> {
    if is_offered(world, instance_type, in_zone) {
        return Ok(());
    }
    let others: Vec<String> =
        zone::names(world).into_iter().filter(|zone| is_offered(world, instance_type, zone)).collect();
    Err(Refusal::new(
        "Unsupported",
        format!(
            "Your requested instance type ({instance_type}) is not supported in your requested Availability Zone ({in_zone}). Please retry your request by not specifying an Availability Zone or choosing {}.",
            others.join(", ")
        ),
    ))
}

/// An instance type and a location that offers it.
type Offering = (String, String);

const OFFERING_FILTERS: &[Filter<Offering>] =
    &[("instance-type", |(name, _), _| one(name)), ("location", |(_, location), _| one(location))];

/// Lists the types that the region or each of its zones offers. An unknown type is not an error: no location offers
/// it.
pub(super) fn describe_offerings(world: &World, params: &Params) -> Result<Reply, Refusal> {
    let by = params.text("LocationType").unwrap_or_else(|| "region".into());
    let filters = Filters::read(params, OFFERING_FILTERS)?;
    let page = Page::read(params)?;
    params.done()?;
    let locations: Vec<(String, String)> = match by.as_str() {
        "region" => zone::names(world).map(|zone| (world.region.clone(), zone)).into(),
        "availability-zone" => zone::names(world).map(|zone| (zone.clone(), zone)).into(),
        "availability-zone-id" => zone::names(world).map(|zone| (zone::id_of(world, &zone), zone)).into(),
        other => {
            return Err(Refusal::new(
                "InvalidParameterValue",
                format!("Value ({other}) for parameter locationType is invalid."),
            ));
        }
    };
    let types = instance_types();
    let offered = |kind: &InstanceType, (location, zone): &(String, String)| {
        is_offered(world, &kind.name, zone).then(|| (kind.name.clone(), location.clone()))
    };
    let offerings: BTreeSet<Offering> = locations
        .iter()
        .flat_map(|location| types.iter().filter_map(move |kind| offered(kind, location)))
        .collect();
    let found = offerings
        .iter()
        .filter(|offering| filters.match_untagged(*offering, world))
        .map(|(name, location)| json!({ "instanceType": name, "location": location, "locationType": by }))
        .collect();
    Ok(page.answer("instanceTypeOfferingSet", found))
}

/// A public image.
struct Image {
    id: &'static str,
    architecture: &'static str,
}

const IMAGES: [Image; 2] =
    [Image { id: AMI_X86_64, architecture: "x86_64" }, Image { id: AMI_ARM64, architecture: "arm64" }];

impl Image {
    fn name(&self) -> String {
        format!("al2023-ami-2023.9.20251208.0-kernel-6.12-{}", self.architecture)
    }

    fn document(&self) -> Value {
        json!({
            "imageId": self.id,
            "imageLocation": format!("amazon/{}", self.name()),
            "imageState": "available",
            "imageOwnerId": AMAZON,
            "imageOwnerAlias": "amazon",
            "name": self.name(),
            "description": "Amazon Linux 2023 AMI",
            "creationDate": "2025-12-08T20:00:00.000Z",
            "isPublic": true,
            "architecture": self.architecture,
            "imageType": "machine",
            "enaSupport": true,
            "hypervisor": "xen",
            "platformDetails": "Linux/UNIX",
            "rootDeviceName": ROOT_DEVICE,
            "rootDeviceType": "ebs",
            "virtualizationType": "hvm",
            "imdsSupport": "v2.0",
            "blockDeviceMapping": [{
                "deviceName": ROOT_DEVICE,
                "ebs": {
                    "deleteOnTermination": true,
                    "snapshotId": "snap-0a120230000000001",
                    "volumeSize": IMAGE_GIB,
                    "volumeType": "gp3",
                    "encrypted": false,
                },
            }],
        })
    }
}

const IMAGE_FILTERS: &[Filter<Image>] = &[
    ("image-id", |image, _| one(image.id)),
    ("name", |image, _| one(image.name())),
    ("architecture", |image, _| one(image.architecture)),
    ("state", |_, _| one("available")),
    ("owner-alias", |_, _| one("amazon")),
    ("owner-id", |_, _| one(AMAZON)),
    ("root-device-name", |_, _| one(ROOT_DEVICE)),
    ("root-device-type", |_, _| one("ebs")),
    ("virtualization-type", |_, _| one("hvm")),
    ("image-type", |_, _| one("machine")),
    ("is-public", |_, _| one("true")),
];

pub(super) fn describe_images(world: &World, params: &Params) -> Result<Reply, Refusal> {
    let ids = params.list("ImageId");
    let owners = params.list("Owner");
    let filters = Filters::read(params, IMAGE_FILTERS)?;
    // Deprecated and disabled images are not simulated.
    params.ignore("IncludeDeprecated");
    params.ignore("IncludeDisabled");
    let page = Page::read(params)?;
    params.done()?;
    for id in &ids {
        architecture_of(id)?;
    }
    if let Some(unknown) = owners.iter().find(|owner| {
        !matches!(owner.as_str(), "self" | "amazon" | "aws-marketplace" | AMAZON) && **owner != world.account
    }) {
        return Err(Refusal::new("InvalidUserID.Malformed", format!("Invalid user id: \"{unknown}\"")));
    }
    let found = IMAGES
        .iter()
        .filter(|image| ids.is_empty() || ids.iter().any(|id| id == image.id))
        .filter(|_| owners.is_empty() || owners.iter().any(|owner| owner == "amazon" || owner == AMAZON))
        .filter(|image| filters.match_untagged(*image, world))
        .map(Image::document)
        .collect();
    Ok(page.answer("imagesSet", found))
}
