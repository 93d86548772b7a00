//! The volumes of a task definition: the folders that a container with a read-only root file system can write to.
//!
//! Each is a bind mount on the task's own storage. Fargate creates it for each task and deletes it with the task (ECS
//! developer guide, "Use bind mounts with Amazon ECS").

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_ecs::types::{ContainerDefinition, MountPoint, TaskDefinition, Volume};

/// The volumes for these folders.
pub(super) fn of(paths: &BTreeSet<String>) -> Vec<Volume> {
    (1..=paths.len()).map(|number| Volume::builder().name(name(number)).build()).collect()
}

/// Where a container mounts the volumes.
pub(super) fn mounts(paths: &BTreeSet<String>) -> Vec<MountPoint> {
    let numbered = paths.iter().zip(1..);
    numbered
        .map(|(path, number)| MountPoint::builder().source_volume(name(number)).container_path(path).build())
        .collect()
}

/// The name of a volume. A path can have characters that such a name cannot.
fn name(number: usize) -> String {
    format!("writable-{number}")
}

/// The folders that a revision makes writable; `None` if one of its volumes or mounts is anything else.
pub(super) fn writable(
    definition: &TaskDefinition,
    container: &ContainerDefinition,
) -> Option<BTreeSet<String>> {
    let volumes: Option<BTreeSet<&str>> = definition.volumes().iter().map(plain_name).collect();
    let mut mounted = BTreeMap::new();
    for mount in container.mount_points() {
        let is_first = mounted.insert(mount.source_volume()?, mount.container_path()?.to_owned()).is_none();
        (is_first && mount.read_only() != Some(true)).then_some(())?;
    }
    (mounted.keys().copied().collect::<BTreeSet<&str>>() == volumes?).then(|| mounted.into_values().collect())
}

/// The name of a volume on the task's own storage.
fn plain_name(volume: &Volume) -> Option<&str> {
    let is_plain = volume.host().is_none_or(|host| host.source_path().is_none())
        && volume.docker_volume_configuration().is_none()
        && volume.efs_volume_configuration().is_none()
        && volume.s3files_volume_configuration().is_none()
        && volume.fsx_windows_file_server_volume_configuration().is_none()
        && volume.configured_at_launch() != Some(true);
    volume.name().filter(|_| is_plain)
}

#[cfg(test)]
mod tests {
    use aws_sdk_ecs::types::{DockerVolumeConfiguration, EfsVolumeConfiguration, HostVolumeProperties};

    use super::*;

    fn paths(paths: &[&str]) -> BTreeSet<String> {
        paths.iter().map(|path| (*path).to_owned()).collect()
    }

    /// The folders that a revision with these volumes and mounts makes writable.
    fn read(volumes: Vec<Volume>, mounts: Vec<MountPoint>) -> Option<BTreeSet<String>> {
        let container = ContainerDefinition::builder().set_mount_points(Some(mounts)).build();
        writable(&TaskDefinition::builder().set_volumes(Some(volumes)).build(), &container)
    }

    #[test]
    fn the_folders_of_a_revision_are_those_that_it_was_registered_with() {
        for registered in [paths(&[]), paths(&["/tmp"]), paths(&["/var/run", "/tmp", "/a"])] {
            assert_eq!(read(of(&registered), mounts(&registered)), Some(registered));
        }
        let returned = Volume::builder().name("cache").host(HostVolumeProperties::builder().build()).build();
        let mount = MountPoint::builder().source_volume("cache").container_path("/cache").read_only(false);
        assert_eq!(read(vec![returned], vec![mount.build()]), Some(paths(&["/cache"])));
    }

    #[test]
    fn other_volumes_and_mounts_are_something_that_stackdrop_never_writes() {
        let tmp = paths(&["/tmp"]);
        let mount = |of: &str| MountPoint::builder().source_volume(of).container_path("/tmp");
        let host = HostVolumeProperties::builder().source_path("/data").build();
        let volume = || Volume::builder().name("writable-1");
        let later = volume().configured_at_launch(true).build();
        let docker = DockerVolumeConfiguration::builder().build();
        let shared = EfsVolumeConfiguration::builder().file_system_id("fs-1").build().unwrap();
        for (volumes, mounts) in [
            (of(&tmp), Vec::new()),
            (of(&tmp), vec![mount("writable-1").read_only(true).build()]),
            (of(&tmp), vec![mount("other").build()]),
            (of(&tmp), vec![mount("writable-1").build(), mount("writable-1").build()]),
            (vec![volume().host(host).build()], mounts(&tmp)),
            (vec![volume().docker_volume_configuration(docker).build()], mounts(&tmp)),
            (vec![volume().efs_volume_configuration(shared).build()], mounts(&tmp)),
            (vec![later], mounts(&tmp)),
        ] {
            assert_eq!(read(volumes.clone(), mounts.clone()), None, "{volumes:?} {mounts:?}");
        }
    }
}
