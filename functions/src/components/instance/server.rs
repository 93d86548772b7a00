//! The instance itself.

use aws_sdk_ec2::types::{
    Address, AttributeValue, BlockDeviceMapping, EbsBlockDevice, HttpTokensState,
    IamInstanceProfileAssociationState, IamInstanceProfileSpecification, Instance,
    InstanceMetadataEndpointState, InstanceMetadataOptionsRequest, InstanceMetadataOptionsResponse,
    InstanceNetworkInterface, InstanceNetworkInterfaceSpecification, InstanceStateName, InstanceType,
    ResourceType, Volume, VolumeType,
};
use stackdrop_specs::Instance as Spec;

use super::NAME;
use super::observed::{Observed, find_instances, state};
use super::{offers, profile};
use crate::aws::error::{Answer, AwsError, Refusal, StepError};
use crate::contract::component::Work;
use crate::contract::roles;
use crate::contract::tagging::{self, filter};
use crate::deployment::deletion::Deletion;
use crate::deployment::names::TAG_DEPLOYMENT;
use crate::deployment::plan::{Plan, Verb};

/// The logical ID of the instance.
pub(super) const LOGICAL_ID: &str = "instance";

/// The root disk of Amazon Linux 2023.
const ROOT_DEVICE: &str = "/dev/xvda";

/// How far an answer of the instance's metadata may travel: no farther than the instance itself.
const METADATA_HOPS: i32 = 1;

pub(super) async fn plan(
    work: &Work<'_>,
    spec: &Spec,
    observed: &Observed,
    plan: &mut Plan,
) -> Result<(), StepError> {
    let Some(instance) = observed.instances.first() else {
        plan.change(Verb::Create, LOGICAL_ID);
        return offers::plan_new(work, spec, plan).await;
    };
    for difference in differences(work, spec, instance) {
        plan.update(LOGICAL_ID, difference.field, difference.from, difference.to);
    }
    plan.tags(&work.stack, NAME, LOGICAL_ID, &tagging::read(instance.tags()));
    if let Some(Disk { gib: from, .. }) = other_disk(work, spec, instance).await? {
        if spec.disk > from {
            plan.update(LOGICAL_ID, "disk", from, spec.disk);
        } else {
            plan.problem(
                LOGICAL_ID,
                format!("instance.disk can't shrink from {from} GiB to {} GiB", spec.disk),
                format!("set instance.disk to {from} or more"),
            );
        }
    }
    if spec.instance_type != type_of(instance) {
        offers::plan_change(work, spec, instance, plan).await?;
    }
    match state(instance) {
        Some(InstanceStateName::Running) => {}
        Some(InstanceStateName::Stopped | InstanceStateName::Stopping) => {
            plan.update(LOGICAL_ID, "state", "stopped", "running");
        }
        _ => plan.change(Verb::Wait, LOGICAL_ID),
    }
    Ok(())
}

struct Difference {
    field: &'static str,
    from: String,
    to: String,
}

pub(super) fn type_of(instance: &Instance) -> &str {
    instance.instance_type().map_or("", InstanceType::as_str)
}

/// The zone that an instance is in.
pub(super) fn zone_of(instance: &Instance) -> &str {
    instance.placement().and_then(|placement| placement.availability_zone()).unwrap_or_default()
}

/// What differs between the instance and the spec, and can be changed in place.
fn differences(work: &Work<'_>, spec: &Spec, instance: &Instance) -> Vec<Difference> {
    let mut differences = Vec::new();
    let mut compare = |field, from: String, to: String| {
        if from != to {
            differences.push(Difference { field, from, to });
        }
    };
    compare("type", type_of(instance).into(), spec.instance_type.clone());
    let metadata = instance.metadata_options();
    let tokens = metadata.and_then(|options| options.http_tokens());
    compare("metadata.httpTokens", tokens.map_or("", HttpTokensState::as_str).into(), "required".into());
    let endpoint = metadata.and_then(|options| options.http_endpoint());
    let endpoint = endpoint.map_or("", InstanceMetadataEndpointState::as_str);
    compare("metadata.httpEndpoint", endpoint.into(), "enabled".into());
    let hops = metadata.and_then(InstanceMetadataOptionsResponse::http_put_response_hop_limit);
    let hops = hops.unwrap_or(METADATA_HOPS);
    compare("metadata.hopLimit", hops.to_string(), METADATA_HOPS.to_string());
    compare("publicAddress", instance.public_ip_address().unwrap_or("(none)").into(), "(none)".into());
    let profile = instance.iam_instance_profile().and_then(|profile| profile.arn()?.rsplit('/').next());
    compare("profile", profile.unwrap_or("(none)").into(), roles::name(work, profile::LOGICAL_ID));
    if let Some(desired) = desired_groups(work) {
        let mut groups: Vec<&str> =
            instance.security_groups().iter().filter_map(|group| group.group_id()).collect();
        groups.sort_unstable();
        compare("securityGroups", groups.join(","), desired);
    }
    differences
}

/// The group that the instance shall have, where it is known: while planning, from the baseline.
fn desired_groups(work: &Work<'_>) -> Option<String> {
    work.outputs.security_groups.as_ref().and_then(|groups| groups.instance.clone())
}

/// A disk as it stands.
struct Disk {
    volume: String,
    gib: u32,
}

/// The root disk, if it has another size than the spec asks for. EC2 does not tell it with the instance, and nobody can
/// make a disk smaller: so it is looked at only when the spec asks for another size than the baseline's, or when there
/// is no baseline to go by.
async fn other_disk(work: &Work<'_>, spec: &Spec, instance: &Instance) -> Result<Option<Disk>, StepError> {
    let before = work.deployment.baseline.as_ref().and_then(|baseline| baseline.spec.instance.as_ref());
    if before.is_some_and(|before| before.disk == spec.disk) {
        return Ok(None);
    }
    let Some(volume) = root_volume(instance) else { return Ok(None) };
    let call = work.aws.ec2().describe_volumes().volume_ids(volume).send().await;
    let answer = call.pending_on(
        &["InvalidVolume.NotFound"],
        "the disk to be visible",
        format!("asking for the size of the disk {volume}"),
    )?;
    let gib = answer.volumes().first().and_then(Volume::size).and_then(|gib| u32::try_from(gib).ok());
    let gib = gib.ok_or_else(|| StepError::lacking("the disk's size"))?;
    Ok((gib != spec.disk).then(|| Disk { volume: volume.to_owned(), gib }))
}

fn root_volume(instance: &Instance) -> Option<&str> {
    let mut disks = instance.block_device_mappings().iter();
    disks.find(|disk| disk.device_name() == Some(ROOT_DEVICE))?.ebs()?.volume_id()
}

/// Creates or changes the instance, and returns its id.
pub(super) async fn apply(work: &Work<'_>, spec: &Spec, observed: &Observed) -> Result<String, StepError> {
    let Some(instance) = observed.instances.first() else { return create(work, spec, observed).await };
    let id = instance.instance_id().unwrap_or_default();
    if state(instance) == Some(&InstanceStateName::ShuttingDown) {
        return Err(StepError::pending(format!("the former instance {id} to be terminated")));
    }
    if let Some(disk) = other_disk(work, spec, instance).await? {
        grow(work, &disk, spec.disk).await?;
    }
    keep_tags(work, instance).await?;
    for difference in differences(work, spec, instance) {
        change(work, spec, instance, &difference).await?;
    }
    match state(instance) {
        Some(InstanceStateName::Stopped) => {
            work.aws.ec2().start_instances().instance_ids(id).send().await.doing(format!("starting {id}"))?;
            tracing::info!(id, "Instance started.");
        }
        Some(InstanceStateName::Stopping) => {
            return Err(StepError::pending(format!("the instance {id} to be stopped")));
        }
        _ => {}
    }
    Ok(id.to_owned())
}

async fn create(work: &Work<'_>, spec: &Spec, observed: &Observed) -> Result<String, StepError> {
    let mine = |instance: &&Instance| {
        tagging::read(instance.tags()).get(TAG_DEPLOYMENT) == Some(&work.deployment.id)
    };
    if let Some(dead) = observed.dead.iter().find(mine).filter(|_| !work.deployment.rolling_back) {
        return Err(ended(dead));
    }
    let (image, subnet) = offers::image_and_subnet(work, spec).await?;
    let interface = InstanceNetworkInterfaceSpecification::builder()
        .device_index(0)
        .subnet_id(subnet)
        .set_groups(work.groups()?.instance.clone().map(|group| vec![group]))
        .associate_public_ip_address(false)
        .delete_on_termination(true)
        .build();
    let tags = work.stack.tags(NAME, LOGICAL_ID);
    let specification = |kind| tagging::specification(kind, tags.clone());
    let dead: Vec<&str> = observed.dead.iter().filter_map(Instance::instance_id).collect();
    let call = work
        .aws
        .ec2()
        .run_instances()
        .image_id(image)
        .instance_type(spec.instance_type.as_str().into())
        .min_count(1)
        .max_count(1)
        .client_token(work.stack.token(LOGICAL_ID, &dead))
        .network_interfaces(interface)
        .iam_instance_profile(
            IamInstanceProfileSpecification::builder().name(roles::name(work, profile::LOGICAL_ID)).build(),
        )
        .metadata_options(
            InstanceMetadataOptionsRequest::builder()
                .http_tokens(HttpTokensState::Required)
                .http_endpoint(InstanceMetadataEndpointState::Enabled)
                .http_put_response_hop_limit(METADATA_HOPS)
                .build(),
        )
        .block_device_mappings(root_disk(spec.disk))
        .tag_specifications(specification(ResourceType::Instance))
        .tag_specifications(specification(ResourceType::Volume))
        .tag_specifications(specification(ResourceType::NetworkInterface));
    let answer = profile_may_be_late(call.send().await.doing("creating the instance"))?;
    let instance = answer.instances().first().ok_or_else(|| StepError::lacking("the instance"))?;
    if state(instance) == Some(&InstanceStateName::Terminated) {
        return Err(ended(instance));
    }
    let id = instance.instance_id().unwrap_or_default();
    tracing::info!(id, "Instance created.");
    Ok(id.to_owned())
}

fn root_disk(gib: u32) -> BlockDeviceMapping {
    let disk = EbsBlockDevice::builder()
        .volume_size(i32::try_from(gib).unwrap_or(i32::MAX))
        .volume_type(VolumeType::Gp3)
        .encrypted(true)
        .delete_on_termination(true)
        .build();
    BlockDeviceMapping::builder().device_name(ROOT_DEVICE).ebs(disk).build()
}

/// A fresh profile reaches EC2 after some seconds. The code is a general one, so the message decides.
fn profile_may_be_late<T>(result: Result<T, StepError>) -> Result<T, StepError> {
    result.map_err(|error| match &error {
        StepError::Refused { source, .. }
            if source.code == "InvalidParameterValue"
                && ["Invalid IAM Instance Profile", "has no associated IAM Roles"]
                    .iter()
                    .any(|late| source.message.contains(late)) =>
        {
            StepError::pending("the instance profile to reach EC2")
        }
        _ => error,
    })
}

/// Brings one field about.
async fn change(
    work: &Work<'_>,
    spec: &Spec,
    instance: &Instance,
    difference: &Difference,
) -> Result<(), StepError> {
    let id = instance.instance_id().unwrap_or_default();
    let ec2 = work.aws.ec2();
    let doing =
        format!("changing {} of {id} from {} to {}", difference.field, difference.from, difference.to);
    match difference.field {
        "type" => change_type(work, instance, &spec.instance_type, &doing).await?,
        "metadata.httpTokens" => {
            let call = ec2.modify_instance_metadata_options().instance_id(id);
            call.http_tokens(HttpTokensState::Required).send().await.doing(&doing)?;
        }
        "metadata.httpEndpoint" => {
            let call = ec2.modify_instance_metadata_options().instance_id(id);
            call.http_endpoint(InstanceMetadataEndpointState::Enabled).send().await.doing(&doing)?;
        }
        "metadata.hopLimit" => {
            let call = ec2.modify_instance_metadata_options().instance_id(id);
            call.http_put_response_hop_limit(METADATA_HOPS).send().await.doing(&doing)?;
        }
        "publicAddress" => take_public_address(work, instance, &doing).await?,
        "profile" => associate(work, instance, &doing).await?,
        "securityGroups" => {
            let call = ec2.modify_instance_attribute().instance_id(id).groups(&difference.to);
            call.send().await.doing(&doing)?;
        }
        other => return Err(StepError::Defect(format!("nothing is known of changing {other} of {id}"))),
    }
    tracing::info!(id, field = difference.field, "Instance changed.");
    Ok(())
}

/// Takes the public address off: an elastic one, which stays its owner's, or one of AWS's own.
async fn take_public_address(work: &Work<'_>, instance: &Instance, doing: &str) -> Result<(), StepError> {
    let ec2 = work.aws.ec2();
    let public = instance.public_ip_address().unwrap_or_default();
    let call = ec2.describe_addresses().filters(filter("public-ip", public));
    let elastic = call.send().await.doing(format!("asking whose address {public} is"))?;
    if let Some(association) = elastic.addresses().first().and_then(Address::association_id) {
        let call = ec2.disassociate_address().association_id(association).send().await;
        return call.unless(&["InvalidAssociationID.NotFound"]).doing(doing).map(drop);
    }
    let interfaces = instance.network_interfaces().iter();
    let with_address = interfaces.filter(|interface| {
        interface.association().is_some_and(|association| association.public_ip() == Some(public))
    });
    for id in with_address.filter_map(InstanceNetworkInterface::network_interface_id) {
        let call = ec2.modify_network_interface_attribute().network_interface_id(id);
        call.associate_public_ip_address(false).send().await.doing(doing)?;
    }
    Ok(())
}

/// The disk and the interface have the tags of their instance, from the call that made all three.
async fn keep_tags(work: &Work<'_>, instance: &Instance) -> Result<(), StepError> {
    let interface =
        instance.network_interfaces().iter().find_map(|interface| interface.network_interface_id());
    let all: Vec<&str> =
        instance.instance_id().into_iter().chain(root_volume(instance)).chain(interface).collect();
    let observed = tagging::read(instance.tags());
    tagging::add(work, &all, work.stack.tags_to_put(NAME, LOGICAL_ID, &observed)).await?;
    tagging::take(work, &all, &work.stack.stale_tags(&observed)).await
}

/// The type changes while the instance is stopped; `apply` starts it again afterwards.
async fn change_type(work: &Work<'_>, instance: &Instance, to: &str, doing: &str) -> Result<(), StepError> {
    let id = instance.instance_id().unwrap_or_default();
    match state(instance) {
        Some(InstanceStateName::Stopped) => {
            let to = AttributeValue::builder().value(to).build();
            work.aws
                .ec2()
                .modify_instance_attribute()
                .instance_id(id)
                .instance_type(to)
                .send()
                .await
                .doing(doing)?;
            Ok(())
        }
        Some(InstanceStateName::Running) => {
            let call = work.aws.ec2().stop_instances().instance_ids(id).send().await;
            call.doing(format!("stopping {id} to change its type"))?;
            Err(StepError::pending(format!("the instance {id} to be stopped")))
        }
        _ => Err(StepError::pending(format!("the instance {id} to be running or stopped"))),
    }
}

/// An instance may come up without its profile, and without an error: then it is associated here.
async fn associate(work: &Work<'_>, instance: &Instance, doing: &str) -> Result<(), StepError> {
    let id = instance.instance_id().unwrap_or_default();
    if !matches!(state(instance), Some(InstanceStateName::Running | InstanceStateName::Stopped)) {
        return Err(StepError::pending(format!("the instance {id} to run before it is given its profile")));
    }
    let profile =
        IamInstanceProfileSpecification::builder().name(roles::name(work, profile::LOGICAL_ID)).build();
    if let Some((association, _)) = association(work, id).await? {
        let call = work.aws.ec2().replace_iam_instance_profile_association().association_id(association);
        return profile_may_be_late(call.iam_instance_profile(profile).send().await.doing(doing)).map(drop);
    }
    let call = work.aws.ec2().associate_iam_instance_profile().instance_id(id);
    profile_may_be_late(call.iam_instance_profile(profile).send().await.doing(doing)).map(drop)
}

async fn association(
    work: &Work<'_>,
    id: &str,
) -> Result<Option<(String, IamInstanceProfileAssociationState)>, StepError> {
    let call = work.aws.ec2().describe_iam_instance_profile_associations().filters(filter("instance-id", id));
    let answer = call.send().await.doing(format!("asking for the profile of {id}"))?;
    let observed = answer.iam_instance_profile_associations.unwrap_or_default().into_iter();
    Ok(observed.filter_map(|association| Some((association.association_id?, association.state?))).find(
        |(_, state)| {
            use IamInstanceProfileAssociationState::{Associated, Associating};
            matches!(state, Associated | Associating)
        },
    ))
}

async fn grow(work: &Work<'_>, disk: &Disk, to: u32) -> Result<(), StepError> {
    let Disk { volume, gib: from } = disk;
    if *from > to {
        // A failed update has made it larger, and it can't be made smaller again; else the plan has refused it.
        tracing::warn!(volume, from, to, "The disk stays as large as it is.");
        return Ok(());
    }
    let doing = format!("growing the disk {volume} from {from} to {to} GiB");
    let call = work.aws.ec2().modify_volume().volume_id(volume).size(i32::try_from(to).unwrap_or(i32::MAX));
    let answer = call.send().await;
    let too_soon = |error: AwsError| error.code == "VolumeModificationRateExceeded";
    if answer.as_ref().is_err_and(|error| too_soon(error.aws())) && is_growing(work, volume, to).await? {
        return Err(StepError::pending(format!("the disk {volume} to have {to} GiB")));
    }
    answer.pending_on(&["IncorrectModificationState"], "an earlier change of the disk", doing)?;
    tracing::info!(volume, from, to, "Disk grown.");
    Ok(())
}

/// Whether the last change of a disk is to this size: one whose answer was lost. AWS refuses the next one for hours.
async fn is_growing(work: &Work<'_>, volume: &str, to: u32) -> Result<bool, StepError> {
    let call = work.aws.ec2().describe_volumes_modifications().volume_ids(volume).send().await;
    let never = ["InvalidVolumeModification.NotFound"];
    let answer = call.unless(&never).doing(format!("asking for the changes of the disk {volume}"))?;
    let changes = answer.and_then(|answer| answer.volumes_modifications).unwrap_or_default();
    Ok(changes.iter().any(|change| change.target_size().is_some_and(|size| u32::try_from(size) == Ok(to))))
}

fn ended(instance: &Instance) -> StepError {
    let reason = instance.state_reason();
    StepError::Unhealthy {
        what: format!("the instance {}", instance.instance_id().unwrap_or_default()),
        why: format!(
            "{}: {}",
            reason.and_then(|reason| reason.code()).unwrap_or("terminated"),
            reason.and_then(|reason| reason.message()).unwrap_or("no reason given")
        ),
    }
}

/// The instance's id once it runs, has its profile, and its agent has reported.
pub(super) async fn wait_until_stable(work: &Work<'_>) -> Result<String, StepError> {
    let instances = find_instances(work).await?;
    let mine = |instance: &&Instance| {
        tagging::read(instance.tags()).get(TAG_DEPLOYMENT) == Some(&work.deployment.id)
    };
    let standing = instances.iter().find(|instance| state(instance) != Some(&InstanceStateName::Terminated));
    let Some(instance) = standing else {
        return Err(match instances.iter().find(mine) {
            Some(dead) => ended(dead),
            None => StepError::pending("the instance to be visible"),
        });
    };
    let id = instance.instance_id().unwrap_or_default();
    match state(instance) {
        Some(InstanceStateName::Running) => {}
        Some(InstanceStateName::ShuttingDown) => return Err(ended(instance)),
        _ => return Err(StepError::pending(format!("the instance {id} to run"))),
    }
    let (association, online) = tokio::try_join!(association(work, id), is_online(work, id))?;
    if !matches!(association, Some((_, IamInstanceProfileAssociationState::Associated))) {
        return Err(StepError::pending(format!("the instance profile to be associated with {id}")));
    }
    if online {
        Ok(id.to_owned())
    } else {
        Err(StepError::pending(format!("the SSM agent of {id} to report")))
    }
}

async fn is_online(work: &Work<'_>, id: &str) -> Result<bool, StepError> {
    let filter = aws_sdk_ssm::types::InstanceInformationStringFilter::builder().key("InstanceIds").values(id);
    let filter = filter.build().map_err(|error| StepError::Defect(error.to_string()))?;
    let call = work.aws.ssm().describe_instance_information().filters(filter).send().await;
    // SSM refuses to filter by an instance that it has not heard of.
    let answer = call.unless(&["InvalidInstanceId"]).doing(format!("asking whether {id} is online"))?;
    Ok(answer.is_some_and(|answer| {
        let online = aws_sdk_ssm::types::PingStatus::Online;
        answer.instance_information_list().iter().any(|node| node.ping_status() == Some(&online))
    }))
}

pub(super) async fn delete(work: &Work<'_>, observed: &Observed) -> Result<Deletion, StepError> {
    let mut deletion = Deletion { found: observed.instances.len(), remaining: Vec::new() };
    for instance in &observed.instances {
        let id = instance.instance_id().unwrap_or_default();
        let mut why = "is being terminated";
        if state(instance) != Some(&InstanceStateName::ShuttingDown) {
            let call = work.aws.ec2().terminate_instances().instance_ids(id).send().await;
            let doing = format!("terminating {id}");
            if call.gone(&["InvalidInstanceID.NotFound"], &["OperationNotPermitted"], doing)? {
                tracing::info!(id, "Instance terminated.");
            } else {
                why = "termination protection was put on by hand: take it off";
            }
        }
        deletion.remains(LOGICAL_ID, id, why);
    }
    Ok(deletion)
}
