//! EBS volumes of instances.

use std::time::Duration;

use serde_json::{Value, json};

use super::catalogue::{IMAGE_GIB, ROOT_DEVICE};
use super::query::{Filter, one, optional};
use super::resource::{Entity, Kind, Resource, find, find_mut, invalid, stored_in, tag_set};
use super::zone;
use crate::clock::Clock;
use crate::params::{Params, Refusal};
use crate::protocol::Reply;
use crate::world::{Tags, World};

/// AWS: a modified volume can only be modified again after six hours.
const BETWEEN_MODIFICATIONS: Duration = Duration::from_hours(6);

#[derive(Debug, Clone)]
pub(crate) struct Volume {
    pub(super) entity: Entity,
    pub(super) zone: String,
    pub(super) disk: Disk,
    /// The instance to which it is attached, and until when.
    pub(super) instance: String,
    attached_until: Option<Duration>,
    /// Its last change.
    modified: Option<Modification>,
}

/// A change of a volume: its time, and the volume before it.
#[derive(Debug, Clone)]
struct Modification {
    at: Duration,
    before: Disk,
}

/// The volume of a launch request.
#[derive(Debug, Clone)]
pub(super) struct Disk {
    pub(super) device: String,
    pub(super) gib: i64,
    pub(super) kind: String,
    iops: Option<i64>,
    throughput: Option<i64>,
    encrypted: bool,
    key: Option<String>,
    pub(super) goes_with_instance: bool,
}

impl Disk {
    /// The default root volume of a launch.
    fn root() -> Self {
        Self {
            device: ROOT_DEVICE.into(),
            gib: IMAGE_GIB,
            kind: "gp3".into(),
            iops: None,
            throughput: None,
            encrypted: false,
            key: None,
            goes_with_instance: true,
        }
    }

    /// The volumes of `BlockDeviceMapping`, the root volume first.
    ///
    /// # Errors
    /// `InvalidBlockDeviceMapping` or a similar code.
    pub(super) fn read_all(params: &Params) -> Result<Vec<Self>, Refusal> {
        let mut disks = vec![Self::root()];
        for mapping in params.structs("BlockDeviceMapping") {
            let device = mapping.required("DeviceName")?;
            let ebs = mapping.section("Ebs").ok_or_else(|| {
                Refusal::new(
                    "InvalidBlockDeviceMapping",
                    format!("The mapping of {device} has no EBS volume; the simulator has no other disks."),
                )
            })?;
            let disk = Self::read(&device, &ebs)?;
            match disks.iter_mut().find(|other| other.device == device) {
                Some(root) if device == ROOT_DEVICE => *root = disk,
                Some(_) => {
                    return Err(Refusal::new(
                        "InvalidBlockDeviceMapping",
                        format!("The device '{device}' is used in more than one block-device mapping"),
                    ));
                }
                None => disks.push(disk),
            }
        }
        Ok(disks)
    }

    fn read(device: &str, ebs: &Params) -> Result<Self, Refusal> {
        let is_root = device == ROOT_DEVICE;
        let size = ebs.int("VolumeSize")?;
        let disk = Self {
            device: device.into(),
            gib: size.unwrap_or(if is_root { IMAGE_GIB } else { 0 }),
            kind: ebs.text("VolumeType").unwrap_or_else(|| if is_root { "gp3" } else { "gp2" }.into()),
            iops: ebs.int("Iops")?,
            throughput: ebs.int("Throughput")?,
            encrypted: ebs.flag("Encrypted")?.unwrap_or_default(),
            key: ebs.text("KmsKeyId"),
            goes_with_instance: ebs.flag("DeleteOnTermination")?.unwrap_or(true),
        };
        if size.is_none() && !is_root {
            return Err(Refusal::new(
                "MissingParameter",
                "The request must contain the parameter size or snapshotId",
            ));
        }
        if is_root && disk.gib < IMAGE_GIB {
            return Err(Refusal::new(
                "InvalidBlockDeviceMapping",
                format!(
                    "Volume of size {}GB is smaller than snapshot 'snap-0a120230000000001', expect size >= {IMAGE_GIB}GB",
                    disk.gib
                ),
            ));
        }
        if disk.key.is_some() && !disk.encrypted {
            return Err(Refusal::new(
                "InvalidParameterDependency",
                "The parameter KmsKeyId requires the parameter Encrypted to be set.",
            ));
        }
        disk.check()?;
        Ok(disk)
    }

    /// Checks size, speed and type against AWS's limits (EBS user guide, "EBS volume types").
    fn check(&self) -> Result<(), Refusal> {
        let (most_gib, iops, throughput) = match self.kind.as_str() {
            "gp3" => (65_536, Some(3000..=80_000), Some(125..=2000)),
            "io1" => (16_384, Some(100..=64_000), None),
            "io2" => (65_536, Some(100..=256_000), None),
            "gp2" | "st1" | "sc1" => (16_384, None, None),
            "standard" => (1024, None, None),
            other => return Err(invalid(other, "volumeType", "Unknown volume type.")),
        };
        if !(1..=most_gib).contains(&self.gib) {
            return Err(invalid(
                &self.gib.to_string(),
                "size",
                &format!("A {} volume has 1 to {most_gib} GiB.", self.kind),
            ));
        }
        for (what, value, range) in [("iops", self.iops, iops), ("throughput", self.throughput, throughput)] {
            let fits = value.is_none_or(|value| range.as_ref().is_some_and(|range| range.contains(&value)));
            if !fits {
                return Err(Refusal::new(
                    "InvalidParameterCombination",
                    format!("The parameter {what} does not fit the volume type {}", self.kind),
                ));
            }
        }
        if self.kind.starts_with("io") && self.iops.is_none() {
            return Err(Refusal::new("MissingParameter", "The request must contain the parameter iops"));
        }
        Ok(())
    }

    fn shown_iops(&self) -> Option<i64> {
        match self.kind.as_str() {
            "gp3" => Some(self.iops.unwrap_or(3000)),
            "gp2" => Some((self.gib * 3).clamp(100, 16_000)),
            _ => self.iops,
        }
    }

    fn shown_throughput(&self) -> Option<i64> {
        (self.kind == "gp3").then(|| self.throughput.unwrap_or(125))
    }
}

impl Volume {
    fn if_attached(&self, world: &World, value: String) -> Vec<String> {
        optional(self.is_attached(world.now).then_some(value))
    }

    fn is_attached(&self, now: Duration) -> bool {
        self.attached_until.is_none_or(|until| now < until)
    }

    fn state(&self, now: Duration) -> &'static str {
        if self.is_attached(now) { "in-use" } else { "available" }
    }
}

impl Resource for Volume {
    const KIND: Kind = Kind {
        prefix: "vol",
        tag_type: "volume",
        not_found: ("InvalidVolume.NotFound", "The volume '{id}' does not exist."),
        malformed: "InvalidVolumeID.Malformed",
    };
    const IDS: &'static str = "VolumeId";
    const SET: &'static str = "volumeSet";
    const FILTERS: &'static [Filter<Self>] = &[
        ("volume-id", |volume, _| one(volume.id())),
        ("attachment.instance-id", |volume, world| volume.if_attached(world, volume.instance.clone())),
        ("attachment.device", |volume, world| volume.if_attached(world, volume.disk.device.clone())),
        ("attachment.delete-on-termination", |volume, world| {
            volume.if_attached(world, volume.disk.goes_with_instance.to_string())
        }),
        ("availability-zone", |volume, _| one(&volume.zone)),
        ("encrypted", |volume, _| one(volume.disk.encrypted.to_string())),
        ("size", |volume, _| one(volume.disk.gib.to_string())),
        ("status", |volume, world| one(volume.state(world.now))),
        ("volume-type", |volume, _| one(&volume.disk.kind)),
    ];

    stored_in!(volumes);

    fn document(&self, world: &World) -> Value {
        let attachments: Vec<Value> = self
            .is_attached(world.now)
            .then(|| {
                json!({
                    "volumeId": self.entity.id,
                    "instanceId": self.instance,
                    "device": self.disk.device,
                    "status": "attached",
                    "attachTime": Clock::date(self.entity.created),
                    "deleteOnTermination": self.disk.goes_with_instance,
                })
            })
            .into_iter()
            .collect();
        json!({
            "volumeId": self.entity.id,
            "size": self.disk.gib,
            "volumeType": self.disk.kind,
            "iops": self.disk.shown_iops(),
            "throughput": self.disk.shown_throughput(),
            "encrypted": self.disk.encrypted,
            "kmsKeyId": self.disk.encrypted.then(|| self.key_arn(world)),
            "availabilityZone": self.zone,
            "availabilityZoneId": zone::id_of(world, &self.zone),
            "status": self.state(world.now),
            "createTime": Clock::date(self.entity.created),
            "multiAttachEnabled": false,
            "attachmentSet": attachments,
            "tagSet": tag_set(&self.entity.tags),
        })
    }
}

impl Volume {
    /// Its key: the one of the request, or the account's own for EBS.
    fn key_arn(&self, world: &World) -> String {
        self.disk.key.clone().unwrap_or_else(|| world.arn("kms", "key/00000000-0000-4000-8000-000000000eb5"))
    }
}

/// Creates a volume of an instance.
pub(super) fn make(world: &mut World, instance: &str, zone: &str, disk: Disk, tags: Tags) {
    let id = world.id(Volume::KIND.prefix);
    let volume = Volume {
        entity: Entity::new(id.clone(), tags, world.now),
        zone: zone.into(),
        disk,
        instance: instance.into(),
        attached_until: None,
        modified: None,
    };
    world.states.ec2.volumes.insert(id, volume);
}

/// The volumes of an instance, in the form of `blockDeviceMapping`.
pub(super) fn mappings(world: &World, instance: &str) -> Value {
    world
        .states
        .ec2
        .volumes
        .values()
        .filter(|volume| volume.instance == instance && volume.is_attached(world.now))
        .map(|volume| {
            json!({
                "deviceName": volume.disk.device,
                "ebs": {
                    "volumeId": volume.entity.id,
                    "status": "attached",
                    "attachTime": Clock::date(volume.entity.created),
                    "deleteOnTermination": volume.disk.goes_with_instance,
                },
            })
        })
        .collect()
}

/// Deletes or detaches an instance's volumes when it is terminated at a time.
pub(super) fn release_from(world: &mut World, instance: &str, at: Duration) {
    for volume in world.states.ec2.volumes.values_mut().filter(|volume| volume.instance == instance) {
        volume.attached_until = Some(volume.attached_until.map_or(at, |until| until.min(at)));
        volume.entity.gone = volume.attached_until.filter(|_| volume.disk.goes_with_instance);
    }
}

pub(super) fn modify(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let id = params.required("VolumeId")?;
    let size = params.int("Size")?;
    let kind = params.text("VolumeType");
    let (iops, throughput) = (params.int("Iops")?, params.int("Throughput")?);
    params.done()?;
    let now = world.now;
    let volume = find::<Volume>(world, &id)?;
    let before = volume.disk.clone();
    let mut disk = before.clone();
    disk.gib = size.unwrap_or(disk.gib);
    if disk.gib < before.gib {
        return Err(Refusal::new("InvalidParameterValue", "New size cannot be smaller than existing size"));
    }
    if let Some(kind) = kind.filter(|kind| *kind != disk.kind) {
        // Values for the old type do not apply to the new one.
        (disk.kind, disk.iops, disk.throughput) = (kind, None, None);
    }
    disk.iops = iops.or(disk.iops);
    disk.throughput = throughput.or(disk.throughput);
    disk.check()?;
    if volume.modified.as_ref().is_some_and(|last| now < last.at + BETWEEN_MODIFICATIONS) {
        return Err(Refusal::new(
            "VolumeModificationRateExceeded",
            "You've reached the maximum modification rate per volume limit. Wait at least 6 hours between modifications per EBS volume.",
        ));
    }
    let last = Modification { at: now, before };
    let answer = json!({ "volumeModification": last.shown(&id, &disk, "modifying") });
    let volume = find_mut::<Volume>(world, &id)?;
    (volume.disk, volume.modified) = (disk, Some(last));
    Ok(answer.into())
}

/// The last changes of the given volumes, or of all that were changed. A given volume without a change is an error
/// (issue 1346 of awslabs/aws-sdk-rust).
pub(super) fn describe_modifications(world: &World, params: &Params) -> Result<Reply, Refusal> {
    let mut ids = params.list("VolumeId");
    params.done()?;
    if ids.is_empty() {
        let all = world.states.ec2.volumes.values().filter(|volume| volume.modified.is_some());
        ids = all.map(|volume| volume.entity.id.clone()).collect();
    }
    let mut shown = Vec::new();
    for id in &ids {
        let volume = find::<Volume>(world, id)?;
        let Some(last) = &volume.modified else {
            return Err(Refusal::new(
                "InvalidVolumeModification.NotFound",
                format!("Modification for volume '{id}' does not exist."),
            ));
        };
        let is_new = world.now < last.at + BETWEEN_MODIFICATIONS;
        shown.push(last.shown(id, &volume.disk, if is_new { "optimizing" } else { "completed" }));
    }
    Ok(json!({ "volumeModificationSet": shown }).into())
}

impl Modification {
    fn shown(&self, id: &str, disk: &Disk, state: &str) -> Value {
        json!({
            "volumeId": id,
            "modificationState": state,
            "targetSize": disk.gib,
            "targetIops": disk.shown_iops(),
            "targetVolumeType": disk.kind,
            "targetThroughput": disk.shown_throughput(),
            "originalSize": self.before.gib,
            "originalIops": self.before.shown_iops(),
            "originalVolumeType": self.before.kind,
            "originalThroughput": self.before.shown_throughput(),
            "progress": if state == "completed" { 100 } else { 0 },
            "startTime": Clock::date(self.at),
        })
    }
}
