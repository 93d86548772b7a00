//! The root disk of the EC2 instance.

use aws_sdk_ec2::types::{BlockDeviceMapping, EbsBlockDevice, Instance, Volume, VolumeType};
use stackdrop_specs::Instance as Spec;

use crate::aws::aws_error::AwsError;
use crate::aws::error::{AwsResult, Refusal, StepError};
use crate::contract::component::Work;

/// The device of Amazon Linux 2023's root disk.
const ROOT_DEVICE: &str = "/dev/xvda";

/// The observed state of a disk.
pub(super) struct Disk {
    pub(super) volume: String,
    pub(super) gib: u32,
}

/// The root disk, if its size differs from the spec. EC2 does not return the size with the instance, and a disk can
/// only grow: so it is read only if the spec's size differs from the baseline's, or there is no baseline.
pub(super) async fn to_resize(
    work: &Work<'_>,
    spec: &Spec,
    instance: &Instance,
) -> Result<Option<Disk>, StepError> {
    let baseline = work.deployment.baseline.as_ref().and_then(|baseline| baseline.spec.instance.as_ref());
    if baseline.is_some_and(|baseline| baseline.disk == spec.disk) {
        return Ok(None);
    }
    let Some(volume) = root_volume(instance) else { return Ok(None) };
    let call = work.aws.ec2().describe_volumes().volume_ids(volume).send().await;
    let response = call.stalled_on(
        &["InvalidVolume.NotFound"],
        &format!("EBS volume {volume} to become visible"),
        format!("reading the size of EBS volume {volume}"),
    )?;
    let gib = response.volumes().first().and_then(Volume::size).and_then(|gib| u32::try_from(gib).ok());
    let gib = gib.ok_or_else(|| StepError::incomplete("the disk's size"))?;
    Ok((gib != spec.disk).then(|| Disk { volume: volume.to_owned(), gib }))
}

pub(super) fn root_volume(instance: &Instance) -> Option<&str> {
    let mut disks = instance.block_device_mappings().iter();
    disks.find(|disk| disk.device_name() == Some(ROOT_DEVICE))?.ebs()?.volume_id()
}

pub(super) fn mapping(gib: u32) -> BlockDeviceMapping {
    let disk = EbsBlockDevice::builder()
        .volume_size(i32::try_from(gib).unwrap_or(i32::MAX))
        .volume_type(VolumeType::Gp3)
        .encrypted(true)
        .delete_on_termination(true)
        .build();
    BlockDeviceMapping::builder().device_name(ROOT_DEVICE).ebs(disk).build()
}

pub(super) async fn grow(work: &Work<'_>, disk: &Disk, to: u32) -> Result<(), StepError> {
    let Disk { volume, gib: from } = disk;
    if *from > to {
        // A failed update enlarged the disk, which cannot be reverted. In any other case the plan reported a problem.
        tracing::warn!(volume, from, to, "The EBS volume keeps its size.");
        return Ok(());
    }
    let doing = format!("growing EBS volume {volume} from {from} to {to} GiB");
    let call = work.aws.ec2().modify_volume().volume_id(volume).size(i32::try_from(to).unwrap_or(i32::MAX));
    let response = call.send().await;
    let too_soon = |error: AwsError| error.code == "VolumeModificationRateExceeded";
    if response.as_ref().is_err_and(|error| too_soon(error.aws())) && is_growing(work, volume, to).await? {
        return Err(StepError::pending(format!("EBS volume {volume} to grow to {to} GiB")));
    }
    response.pending_on(
        &["IncorrectModificationState"],
        "an earlier change of the EBS volume to complete",
        doing,
    )?;
    tracing::info!(volume, from, to, "EBS volume grown.");
    Ok(())
}

/// Whether the last change of a disk, whose response may have been lost, is to this size. AWS rejects another one for hours.
async fn is_growing(work: &Work<'_>, volume: &str, to: u32) -> Result<bool, StepError> {
    let call = work.aws.ec2().describe_volumes_modifications().volume_ids(volume).send().await;
    let absent = ["InvalidVolumeModification.NotFound"];
    let response = call.unless(&absent).doing(format!("reading the changes of EBS volume {volume}"))?;
    let changes = response.and_then(|response| response.volumes_modifications).unwrap_or_default();
    Ok(changes.iter().any(|change| change.target_size().is_some_and(|size| u32::try_from(size) == Ok(to))))
}

#[cfg(test)]
mod tests {
    use aws_sdk_ec2::types::{EbsInstanceBlockDevice, InstanceBlockDeviceMapping};

    use super::*;

    #[test]
    fn a_disk_that_somebody_attached_is_not_the_root_disk() {
        let disk = |device: &str, volume: &str| {
            let ebs = EbsInstanceBlockDevice::builder().volume_id(volume).build();
            InstanceBlockDeviceMapping::builder().device_name(device).ebs(ebs).build()
        };
        let theirs = Instance::builder().block_device_mappings(disk("/dev/sdf", "vol-theirs"));
        assert_eq!(root_volume(&theirs.clone().build()), None);
        let both = theirs.block_device_mappings(disk("/dev/xvda", "vol-root")).build();
        assert_eq!(root_volume(&both), Some("vol-root"));
    }
}
