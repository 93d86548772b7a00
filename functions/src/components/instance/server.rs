//! The EC2 instance itself.

use aws_sdk_ec2::types::{
    Address, AttributeValue, HttpTokensState, IamInstanceProfileSpecification, Instance,
    InstanceMetadataEndpointState, InstanceMetadataOptionsRequest, InstanceMetadataOptionsResponse,
    InstanceNetworkInterface, InstanceNetworkInterfaceSpecification, InstanceStateName, InstanceType,
    ResourceType,
};
use stackdrop_specs::Instance as Spec;

use super::disk::{self, Disk};
use super::observed::{Observed, state};
use super::{NAME, association, capacity, offers, offline, profile};
use crate::aws::error::{AwsResult, StepError};
use crate::contract::component::Work;
use crate::contract::effects::Loss;
use crate::contract::roles;
use crate::contract::tagging::{self, filter};
use crate::deployment::deletion::Deletion;
use crate::deployment::effect::EffectKind;
use crate::deployment::names::TAG_DEPLOYMENT;
use crate::deployment::plan::{FieldChange, Plan, Verb};

/// The logical ID of the instance.
pub(super) const LOGICAL_ID: &str = "instance";

/// The fields whose change stops the instance, or ends the sessions of the people who use it: the agent of Session Manager starts
/// again with another profile.
const INTERRUPTING: [&str; 2] = ["type", "profile"];

/// The hop limit of metadata responses: they do not leave the instance.
const METADATA_HOPS: i32 = 1;

/// The instance's name.
pub(super) fn name(work: &Work<'_>) -> String {
    work.stack.resource(LOGICAL_ID)
}

/// The deletion of the instance.
pub(super) fn loss(name: &str) -> Loss<'_> {
    Loss {
        logical_id: LOGICAL_ID,
        name,
        what: format!("deletes EC2 instance {name} with its disk"),
        instead: None,
        is_in: |spec| spec.instance.is_some(),
    }
}

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
        if INTERRUPTING.contains(&difference.field.as_str()) {
            let what = format!("the change of {} interrupts the EC2 instance", difference.field);
            plan.effect(EffectKind::Interrupts, LOGICAL_ID, what);
        }
        plan.update_field(Verb::Update, LOGICAL_ID, difference);
    }
    plan.tags(&work.stack, NAME, LOGICAL_ID, &tagging::read(instance.tags()));
    if let Some(Disk { gib: from, .. }) = disk::to_resize(work, spec, instance).await? {
        if spec.disk > from {
            plan.update(LOGICAL_ID, "disk", from, spec.disk);
            let what = format!("grows the disk from {from} to {} GiB: EC2 cannot reduce it", spec.disk);
            plan.effect(EffectKind::CannotBeUndone, LOGICAL_ID, what);
        } else {
            plan.problem(
                LOGICAL_ID,
                format!("instance.disk cannot be reduced from {from} GiB to {} GiB", spec.disk),
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
        Some(InstanceStateName::ShuttingDown) => plan.change(Verb::Create, LOGICAL_ID),
        _ => plan.change(Verb::Wait, LOGICAL_ID),
    }
    Ok(())
}

pub(super) fn type_of(instance: &Instance) -> &str {
    instance.instance_type().map_or("", InstanceType::as_str)
}

/// The zone that an instance is in.
pub(super) fn zone_of(instance: &Instance) -> &str {
    instance.placement().and_then(|placement| placement.availability_zone()).unwrap_or_default()
}

/// The fields that differ from the spec and can be updated in place.
fn differences(work: &Work<'_>, spec: &Spec, instance: &Instance) -> Vec<FieldChange> {
    let mut differences = Vec::new();
    let mut compare = |field: &str, from: String, to: String| {
        if from != to {
            differences.push(FieldChange::new(field, from, to));
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

/// The ID of the instance's security group, if it is known: in a plan, from the baseline's outputs.
fn desired_groups(work: &Work<'_>) -> Option<String> {
    work.outputs.security_groups.as_ref().and_then(|groups| groups.instance.clone())
}

/// Creates or changes the instance, and returns its id.
pub(super) async fn apply(work: &Work<'_>, spec: &Spec, observed: &Observed) -> Result<String, StepError> {
    let Some(instance) = observed.instances.first() else { return create(work, spec, observed).await };
    let id = instance.instance_id().unwrap_or_default();
    if state(instance) == Some(&InstanceStateName::ShuttingDown) {
        return Err(StepError::pending(format!("the former instance {id} to be terminated")));
    }
    let copies = observed.instances.iter().skip(1).filter(|copy| is_from_this_deployment(work, copy));
    for copy in copies.filter(|copy| state(copy) != Some(&InstanceStateName::ShuttingDown)) {
        // The answer to its launch was lost, and the next attempt found capacity in another zone before EC2 showed this one.
        let copy = copy.instance_id().unwrap_or_default();
        let call = work.aws.ec2().terminate_instances().instance_ids(copy).send().await;
        call.doing(format!("terminating EC2 instance {copy}, a copy of {id}"))?;
        tracing::warn!(id, copy, "A second instance of this deployment is being terminated.");
    }
    if let Some(disk) = disk::to_resize(work, spec, instance).await? {
        disk::grow(work, &disk, spec.disk).await?;
    }
    repair_tags(work, instance).await?;
    for difference in differences(work, spec, instance) {
        change(work, spec, instance, &difference).await?;
    }
    offline::stop(work, instance).await?;
    match state(instance) {
        Some(InstanceStateName::Stopped) => {
            let call = work.aws.ec2().start_instances().instance_ids(id).send().await;
            capacity::checked(call.doing(format!("starting {id}")), type_of(instance))?;
            tracing::info!(id, "Instance started.");
        }
        Some(InstanceStateName::Stopping) => {
            return Err(StepError::pending(format!("EC2 instance {id} to stop")));
        }
        _ => {}
    }
    Ok(id.to_owned())
}

fn is_from_this_deployment(work: &Work<'_>, instance: &Instance) -> bool {
    tagging::read(instance.tags()).get(TAG_DEPLOYMENT) == Some(&work.deployment.id)
}

async fn create(work: &Work<'_>, spec: &Spec, observed: &Observed) -> Result<String, StepError> {
    let mut terminated = observed.terminated.iter();
    let terminated = terminated.find(|terminated| is_from_this_deployment(work, terminated));
    if let Some(terminated) = terminated.filter(|_| !work.deployment.rolling_back) {
        return Err(terminated_error(terminated));
    }
    let (image, subnets) = offers::image_and_subnets(work, spec).await?;
    let mut no_capacity = String::new();
    // A zone can be without capacity while another one has some.
    for subnet in &subnets {
        match launch(work, spec, observed, &image, subnet).await {
            Err(StepError::Transient { source, .. } | StepError::Refused { source, .. })
                if capacity::is_lacking(&source) =>
            {
                tracing::warn!(subnet, cause = %source, "AWS has no capacity for the instance in this subnet.");
                no_capacity = source.message;
            }
            launched => return launched,
        }
    }
    Err(capacity::error(&spec.instance_type, &no_capacity))
}

/// Starts the instance in a subnet.
async fn launch(
    work: &Work<'_>,
    spec: &Spec,
    observed: &Observed,
    image: &str,
    subnet: &str,
) -> Result<String, StepError> {
    let interface = InstanceNetworkInterfaceSpecification::builder()
        .device_index(0)
        .subnet_id(subnet)
        .set_groups(work.groups()?.instance.clone().map(|group| vec![group]))
        .associate_public_ip_address(false)
        .delete_on_termination(true)
        .build();
    let tags = work.stack.tags(NAME, LOGICAL_ID);
    let specification = |kind| tagging::specification(kind, tags.clone());
    let mut predecessors: Vec<&str> = observed.terminated.iter().filter_map(Instance::instance_id).collect();
    // EC2 refuses the same token with another subnet.
    predecessors.push(subnet);
    let call = work
        .aws
        .ec2()
        .run_instances()
        .image_id(image)
        .instance_type(spec.instance_type.as_str().into())
        .min_count(1)
        .max_count(1)
        .client_token(work.stack.token(LOGICAL_ID, &predecessors))
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
        .block_device_mappings(disk::mapping(spec.disk))
        .tag_specifications(specification(ResourceType::Instance))
        .tag_specifications(specification(ResourceType::Volume))
        .tag_specifications(specification(ResourceType::NetworkInterface));
    let response = association::stalled_if_not_visible(call.send().await.doing("creating the EC2 instance"))?;
    let instance = response.instances().first().ok_or_else(|| StepError::incomplete("the instance"))?;
    if state(instance) == Some(&InstanceStateName::Terminated) {
        return Err(terminated_error(instance));
    }
    let id = instance.instance_id().unwrap_or_default();
    tracing::info!(id, "EC2 instance created.");
    Ok(id.to_owned())
}

/// Updates one field.
async fn change(
    work: &Work<'_>,
    spec: &Spec,
    instance: &Instance,
    difference: &FieldChange,
) -> Result<(), StepError> {
    let id = instance.instance_id().unwrap_or_default();
    let ec2 = work.aws.ec2();
    let doing = format!(
        "updating {} of EC2 instance {id} from {} to {}",
        difference.field, difference.from, difference.to
    );
    match difference.field.as_str() {
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
        "publicAddress" => remove_public_address(work, instance, &doing).await?,
        "profile" => association::associate(work, instance, &doing).await?,
        "securityGroups" => {
            let call = ec2.modify_instance_attribute().instance_id(id).groups(&difference.to);
            call.send().await.doing(&doing)?;
        }
        other => {
            return Err(StepError::Defect(format!(
                "the field {other} of EC2 instance {id} cannot be updated"
            )));
        }
    }
    tracing::info!(id, field = difference.field, "EC2 instance updated.");
    Ok(())
}

/// Removes the public IP address: disassociates an Elastic one, which its owner keeps, or turns off AWS's own.
async fn remove_public_address(work: &Work<'_>, instance: &Instance, doing: &str) -> Result<(), StepError> {
    let ec2 = work.aws.ec2();
    let public = instance.public_ip_address().unwrap_or_default();
    let call = ec2.describe_addresses().filters(filter("public-ip", public));
    let elastic = call.send().await.doing(format!("looking for Elastic IP address {public}"))?;
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

/// Repairs the tags of the instance, its disk and its network interface. The create call gave all three the same tags.
async fn repair_tags(work: &Work<'_>, instance: &Instance) -> Result<(), StepError> {
    let interface =
        instance.network_interfaces().iter().find_map(|interface| interface.network_interface_id());
    let all: Vec<&str> =
        instance.instance_id().into_iter().chain(disk::root_volume(instance)).chain(interface).collect();
    let observed = tagging::read(instance.tags());
    tagging::add(work, &all, work.stack.tags_to_put(NAME, LOGICAL_ID, &observed)).await?;
    tagging::remove(work, &all, &work.stack.stale_tags(&observed)).await
}

/// Changes the type, for which the instance must be stopped. `apply` starts it again afterwards.
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
            call.doing(format!("stopping EC2 instance {id} to change its type"))?;
            Err(StepError::pending(format!("EC2 instance {id} to stop")))
        }
        _ => Err(StepError::pending(format!("EC2 instance {id} to be running or stopped"))),
    }
}

pub(super) fn terminated_error(instance: &Instance) -> StepError {
    unhealthy(instance, reason(instance, "terminated"))
}

/// The error for an instance that stopped after it was started.
pub(super) fn stopped_error(instance: &Instance) -> StepError {
    let why = format!("it is stopped. {}. Deploy again: Stackdrop starts it", reason(instance, "stopped"));
    unhealthy(instance, why)
}

fn unhealthy(instance: &Instance, why: String) -> StepError {
    StepError::Unhealthy { what: format!("EC2 instance {}", instance.instance_id().unwrap_or_default()), why }
}

/// Why the instance is in its state: EC2's code and message.
fn reason(instance: &Instance, state: &str) -> String {
    let reason = instance.state_reason();
    format!(
        "{}: {}",
        reason.and_then(|reason| reason.code()).unwrap_or(state),
        reason.and_then(|reason| reason.message()).unwrap_or("no reason given")
    )
}

pub(super) async fn delete(work: &Work<'_>, observed: &Observed) -> Result<Deletion, StepError> {
    let mut deletion = Deletion { found: observed.instances.len(), remaining: Vec::new() };
    let name = name(work);
    let loss = loss(&name);
    for instance in &observed.instances {
        let id = instance.instance_id().unwrap_or_default();
        let mut protected = false;
        if state(instance) != Some(&InstanceStateName::ShuttingDown) {
            if !loss.is_agreed(work) {
                deletion.held(LOGICAL_ID, id, loss.refusal(work));
                continue;
            }
            let call = work.aws.ec2().terminate_instances().instance_ids(id).send().await;
            let doing = format!("terminating EC2 instance {id}");
            if call.deleted(&["InvalidInstanceID.NotFound"], &["OperationNotPermitted"], doing)? {
                tracing::info!(id, "EC2 instance terminated.");
            } else {
                protected = true;
            }
        }
        if protected {
            deletion.held(LOGICAL_ID, id, "termination protection was turned on by hand: turn it off");
        } else {
            deletion.leaving(LOGICAL_ID, id, "is being terminated");
        }
    }
    Ok(deletion)
}
