//! Instances, volumes and instance profiles.

use aws_sdk_ec2::operation::run_instances::builders::RunInstancesFluentBuilder;
use aws_sdk_ec2::types::{
    AttributeBooleanValue, AttributeValue, BlockDeviceMapping, CreditSpecificationRequest, EbsBlockDevice,
    HttpTokensState, IamInstanceProfileAssociationState, IamInstanceProfileSpecification, Instance,
    InstanceAttributeName, InstanceMetadataOptionsRequest, InstanceNetworkInterfaceSpecification,
    InstanceType, ResourceType, VolumeType,
};
use stackdrop_simulator::{Account, Fault, FaultKind, When};

use crate::common;
use crate::site::{Site, code, filter, group, refusal, tags, wait};

const X86: &str = "ami-0a120230000086064";
const ARM: &str = "ami-0a12023000000a064";

fn text(value: &str) -> AttributeValue {
    AttributeValue::builder().value(value).build()
}

fn flag(value: bool) -> AttributeBooleanValue {
    AttributeBooleanValue::builder().value(value).build()
}

impl Site {
    pub(crate) fn launch(&self) -> RunInstancesFluentBuilder {
        let call = self.ec2.run_instances().image_id(X86).instance_type(InstanceType::T3Micro);
        call.subnet_id(&self.private[0]).min_count(1).max_count(1)
    }

    pub(crate) async fn running(&self) -> String {
        let id = self.launch().send().await.unwrap().instances()[0].instance_id().unwrap().to_owned();
        wait(34.0).await;
        id
    }

    async fn instance(&self, id: &str) -> Instance {
        let answer = self.ec2.describe_instances().instance_ids(id).send().await.unwrap();
        answer.reservations()[0].instances()[0].clone()
    }

    async fn state(&self, id: &str) -> String {
        self.instance(id).await.state().unwrap().name().unwrap().as_str().to_owned()
    }
}

/// An instance profile with a role, just created.
pub(crate) async fn profile(account: &Account, name: &str) {
    let iam = aws_sdk_iam::Client::new(&common::sdk(account));
    let trust = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}"#;
    iam.create_role().role_name(name).assume_role_policy_document(trust).send().await.unwrap();
    iam.create_instance_profile().instance_profile_name(name).send().await.unwrap();
    wait(2.0).await;
    iam.add_role_to_instance_profile().instance_profile_name(name).role_name(name).send().await.unwrap();
}

pub(crate) fn named(name: &str) -> IamInstanceProfileSpecification {
    IamInstanceProfileSpecification::builder().name(name).build()
}

#[tokio::test(start_paused = true)]
async fn an_instance_runs_is_terminated_and_is_described_for_an_hour() {
    let site = Site::open().await;
    let started = site.launch().send().await.unwrap();
    let id = started.instances()[0].instance_id().unwrap();
    assert_eq!(started.instances()[0].state().unwrap().name().unwrap().as_str(), "pending");
    let early = site.ec2.describe_instances().instance_ids(id).send().await;
    assert_eq!(code(early), "InvalidInstanceID.NotFound");
    wait(34.0).await;
    let running = site.instance(id).await;
    assert_eq!(running.state().unwrap().code(), Some(16));
    assert_eq!((running.public_ip_address(), running.network_interfaces().len()), (None, 1));
    let ended = site.ec2.terminate_instances().instance_ids(id).send().await.unwrap();
    assert_eq!(ended.terminating_instances()[0].previous_state().unwrap().code(), Some(16));
    assert_eq!(site.state(id).await, "shutting-down");
    assert_eq!(
        code(site.ec2.delete_subnet().subnet_id(&site.private[0]).send().await),
        "DependencyViolation"
    );
    wait(38.0).await;
    let gone = site.instance(id).await;
    assert_eq!(
        (gone.state().unwrap().code(), gone.vpc_id(), gone.security_groups().len()),
        (Some(48), None, 0)
    );
    assert_eq!(gone.state_reason().unwrap().code(), Some("Client.UserInitiatedShutdown"));
    assert!(site.ec2.describe_volumes().send().await.unwrap().volumes().is_empty());
    assert!(site.account.interfaces().is_empty());
    site.ec2.delete_subnet().subnet_id(&site.private[0]).send().await.unwrap();
    site.ec2.terminate_instances().instance_ids(id).send().await.unwrap();
    wait(3600.0).await;
    let forgotten = site.ec2.describe_instances().instance_ids(id).send().await;
    assert_eq!(code(forgotten), "InvalidInstanceID.NotFound");
}

#[tokio::test(start_paused = true)]
async fn a_token_outlives_its_instance_and_returns_the_terminated_one() {
    let site = Site::open().await;
    let launch = || site.launch().client_token("a");
    let first = launch().send().await.unwrap().instances()[0].instance_id().unwrap().to_owned();
    let again = launch().send().await.unwrap();
    assert_eq!(again.instances()[0].instance_id(), Some(first.as_str()));
    let other = launch().instance_type(InstanceType::T3Small).send().await;
    assert_eq!(code(other), "IdempotentParameterMismatch");
    wait(34.0).await;
    site.ec2.terminate_instances().instance_ids(&first).send().await.unwrap();
    wait(38.0).await;
    for later in [0.0, 2.0 * 3600.0] {
        wait(later).await;
        let dead = launch().send().await.unwrap();
        assert_eq!(dead.instances()[0].instance_id(), Some(first.as_str()));
        assert_eq!(dead.instances()[0].state().unwrap().code(), Some(48));
    }
    wait(22.0 * 3600.0).await;
    let new = launch().send().await.unwrap();
    assert_ne!(new.instances()[0].instance_id(), Some(first.as_str()));
}

#[tokio::test(start_paused = true)]
async fn invalid_launches_are_refused() {
    let site = Site::open().await;
    let interface = || InstanceNetworkInterfaceSpecification::builder().device_index(0);
    let root = |ebs: EbsBlockDevice| BlockDeviceMapping::builder().device_name("/dev/xvda").ebs(ebs).build();
    let disk = EbsBlockDevice::builder;
    let credits = |of: &str| CreditSpecificationRequest::builder().cpu_credits(of).build();
    let calls = vec![
        (site.launch().image_id("ami-00000000000000000"), "InvalidAMIID.NotFound"),
        (site.launch().image_id("linux"), "InvalidAMIID.Malformed"),
        (site.launch().instance_type(InstanceType::from("t3.mega")), "InvalidParameterValue"),
        (site.launch().image_id(ARM), "InvalidParameterValue"),
        (site.launch().set_subnet_id(None), "VPCIdNotSpecified"),
        (site.launch().subnet_id("subnet-00000000000000000"), "InvalidSubnetID.NotFound"),
        (site.launch().security_group_ids("sg-00000000000000000"), "InvalidGroup.NotFound"),
        (site.launch().key_name("mine"), "InvalidKeyPair.NotFound"),
        (site.launch().user_data("not base64!"), "InvalidUserData.Malformed"),
        (site.launch().min_count(2), "InvalidParameterValue"),
        (site.launch().max_count(17), "VcpuLimitExceeded"),
        (site.launch().network_interfaces(interface().build()), "InvalidParameterCombination"),
        (site.launch().iam_instance_profile(named("nobody")), "InvalidParameterValue"),
        (
            site.launch().block_device_mappings(root(disk().volume_size(4).build())),
            "InvalidBlockDeviceMapping",
        ),
        (
            site.launch().block_device_mappings(root(disk().kms_key_id("k").build())),
            "InvalidParameterDependency",
        ),
        (site.launch().block_device_mappings(root(disk().iops(10).build())), "InvalidParameterCombination"),
        (site.launch().credit_specification(credits("plenty")), "InvalidParameterValue"),
        (
            site.launch().instance_type(InstanceType::M5Large).credit_specification(credits("standard")),
            "InvalidParameterCombination",
        ),
        (site.launch().dry_run(true), "UnknownParameter"),
    ];
    for (call, expected) in calls {
        assert_eq!(code(call.send().await), expected);
        // RunInstances has a small bucket of its own.
        wait(1.0).await;
    }
    assert!(site.account.interfaces().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_launch_keeps_the_requested_settings() {
    let site = Site::open().await;
    let own = group(&site.ec2, &site.vpc, "instance").await;
    let interface = InstanceNetworkInterfaceSpecification::builder()
        .device_index(0)
        .subnet_id(&site.private[0])
        .groups(&own)
        .associate_public_ip_address(false)
        .delete_on_termination(true)
        .build();
    let disk = EbsBlockDevice::builder()
        .encrypted(true)
        .volume_size(20)
        .volume_type(VolumeType::Gp3)
        .delete_on_termination(true)
        .build();
    let options = InstanceMetadataOptionsRequest::builder()
        .http_tokens(HttpTokensState::Required)
        .http_put_response_hop_limit(2)
        .build();
    let answer = site
        .launch()
        .set_subnet_id(None)
        .network_interfaces(interface)
        .block_device_mappings(BlockDeviceMapping::builder().device_name("/dev/xvda").ebs(disk).build())
        .metadata_options(options)
        .tag_specifications(tags(ResourceType::Instance, &[("role", "instance")]))
        .tag_specifications(tags(ResourceType::Volume, &[("role", "disk")]))
        .tag_specifications(tags(ResourceType::NetworkInterface, &[("role", "interface")]))
        .send()
        .await
        .unwrap();
    let made = &answer.instances()[0];
    let metadata = made.metadata_options().unwrap();
    assert_eq!(metadata.http_tokens(), Some(&HttpTokensState::Required));
    assert_eq!(made.security_groups()[0].group_id(), Some(own.as_str()));
    wait(1.0).await;
    let volumes = site.ec2.describe_volumes().filters(filter("tag:role", "disk")).send().await.unwrap();
    let volume = &volumes.volumes()[0];
    assert_eq!((volume.size(), volume.encrypted(), volume.iops()), (Some(20), Some(true), Some(3000)));
    let found = site.ec2.describe_instances().filters(filter("tag:role", "instance")).send().await.unwrap();
    assert_eq!(found.reservations()[0].instances().len(), 1);
    assert_eq!(site.account.interfaces()[0].tags["role"], "instance");
}

#[tokio::test(start_paused = true)]
async fn a_launch_without_capacity_ends_terminated_with_its_reason() {
    let site = Site::open().await;
    site.account.arm(Fault::at("ec2", "RunInstances", When::Only(1), FaultKind::ResourceFails));
    let id = site.running().await;
    let ended = site.instance(&id).await;
    assert_eq!(ended.state().unwrap().name().unwrap().as_str(), "terminated");
    assert_eq!(ended.state_reason().unwrap().code(), Some("Server.InsufficientInstanceCapacity"));
    assert!(site.account.interfaces().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_protected_instance_is_not_terminated_until_the_change_shows() {
    let site = Site::open().await;
    let id = site.running().await;
    let protect = |on: bool| {
        site.ec2.modify_instance_attribute().instance_id(&id).disable_api_termination(flag(on)).send()
    };
    let terminate = || site.ec2.terminate_instances().instance_ids(&id).send();
    protect(true).await.unwrap();
    wait(1.0).await;
    assert_eq!(code(terminate().await), "OperationNotPermitted");
    protect(false).await.unwrap();
    assert_eq!(code(terminate().await), "OperationNotPermitted");
    wait(1.0).await;
    terminate().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_instance_changes_its_type_only_while_it_is_stopped() {
    let site = Site::open().await;
    let id = site.running().await;
    let change =
        |to: &str| site.ec2.modify_instance_attribute().instance_id(&id).instance_type(text(to)).send();
    assert_eq!(code(change("t3.small").await), "IncorrectInstanceState");
    assert_eq!(code(site.ec2.modify_instance_attribute().instance_id(&id).send().await), "MissingParameter");
    site.ec2.stop_instances().instance_ids(&id).send().await.unwrap();
    assert_eq!(site.state(&id).await, "stopping");
    assert_eq!(code(site.ec2.start_instances().instance_ids(&id).send().await), "IncorrectInstanceState");
    wait(30.0).await;
    assert_eq!(site.state(&id).await, "stopped");
    assert_eq!(code(change("t4g.small").await), "InvalidParameterValue");
    change("t3.small").await.unwrap();
    site.ec2.start_instances().instance_ids(&id).send().await.unwrap();
    assert_eq!(code(site.ec2.stop_instances().instance_ids(&id).send().await), "IncorrectInstanceState");
    wait(34.0).await;
    let read = site
        .ec2
        .describe_instance_attribute()
        .instance_id(&id)
        .attribute(InstanceAttributeName::InstanceType);
    assert_eq!(read.send().await.unwrap().instance_type.unwrap().value.as_deref(), Some("t3.small"));
    assert_eq!(site.state(&id).await, "running");
}

#[tokio::test(start_paused = true)]
async fn groups_and_metadata_options_change_on_a_running_instance() {
    let site = Site::open().await;
    let id = site.running().await;
    let own = group(&site.ec2, &site.vpc, "instance").await;
    site.ec2.modify_instance_attribute().instance_id(&id).groups(&own).send().await.unwrap();
    assert_eq!(site.instance(&id).await.security_groups()[0].group_id(), Some(own.as_str()));
    let modify = || site.ec2.modify_instance_metadata_options().instance_id(&id);
    modify().http_tokens(HttpTokensState::Required).send().await.unwrap();
    let options = site.instance(&id).await.metadata_options.unwrap();
    assert_eq!(options.http_tokens(), Some(&HttpTokensState::Required));
    assert_eq!(code(modify().http_put_response_hop_limit(65).send().await), "InvalidParameterValue");
    site.ec2.terminate_instances().instance_ids(&id).send().await.unwrap();
    assert_eq!(code(modify().http_tokens(HttpTokensState::Required).send().await), "IncorrectInstanceState");
    let late = site.ec2.modify_instance_attribute().instance_id(&id).groups(&own).send().await;
    assert_eq!(code(late), "IncorrectInstanceState");
}

#[tokio::test(start_paused = true)]
async fn a_public_address_goes_with_a_stop_and_comes_with_a_start() {
    let site = Site::open().await;
    let interface = InstanceNetworkInterfaceSpecification::builder()
        .device_index(0)
        .subnet_id(&site.public[0])
        .associate_public_ip_address(true)
        .build();
    let answer = site.launch().set_subnet_id(None).network_interfaces(interface).send().await.unwrap();
    let id = answer.instances()[0].instance_id().unwrap();
    wait(34.0).await;
    let first = site.instance(id).await.public_ip_address.unwrap();
    site.ec2.stop_instances().instance_ids(id).send().await.unwrap();
    wait(30.0).await;
    assert_eq!(site.instance(id).await.public_ip_address(), None);
    site.ec2.start_instances().instance_ids(id).send().await.unwrap();
    wait(34.0).await;
    assert_ne!(site.instance(id).await.public_ip_address.unwrap(), first);
}

#[tokio::test(start_paused = true)]
async fn a_disk_grows_and_then_rests_for_six_hours() {
    let site = Site::open().await;
    let id = site.running().await;
    let volumes =
        site.ec2.describe_volumes().filters(filter("attachment.instance-id", &id)).send().await.unwrap();
    let volume = volumes.volumes()[0].volume_id().unwrap();
    let resize = |size: i32| site.ec2.modify_volume().volume_id(volume).size(size).send();
    let last = || site.ec2.describe_volumes_modifications().volume_ids(volume).send();
    assert_eq!(code(last().await), "InvalidVolumeModification.NotFound");
    let all = site.ec2.describe_volumes_modifications().send().await.unwrap();
    assert_eq!(all.volumes_modifications().len(), 0);
    assert_eq!(code(resize(7).await), "InvalidParameterValue");
    resize(16).await.unwrap();
    assert_eq!(code(resize(32).await), "VolumeModificationRateExceeded");
    for changes in [last().await, site.ec2.describe_volumes_modifications().send().await] {
        let change = &changes.unwrap().volumes_modifications.unwrap()[0];
        assert_eq!((change.original_size(), change.target_size()), (Some(8), Some(16)));
    }
    wait(6.0 * 3600.0).await;
    resize(32).await.unwrap();
    let missing = site.ec2.modify_volume().volume_id("vol-00000000000000000").size(9).send().await;
    assert_eq!(code(missing), "InvalidVolume.NotFound");
}

#[tokio::test(start_paused = true)]
async fn a_disk_without_delete_on_termination_remains() {
    let site = Site::open().await;
    let disk = EbsBlockDevice::builder().delete_on_termination(false).build();
    let mapping = BlockDeviceMapping::builder().device_name("/dev/xvda").ebs(disk).build();
    let answer = site.launch().block_device_mappings(mapping).send().await.unwrap();
    let id = answer.instances()[0].instance_id().unwrap();
    wait(34.0).await;
    site.ec2.terminate_instances().instance_ids(id).send().await.unwrap();
    wait(38.0).await;
    let volumes = site.ec2.describe_volumes().send().await.unwrap();
    assert_eq!(volumes.volumes()[0].state().unwrap().as_str(), "available");
    assert!(site.account.inventory().iter().any(|item| item.kind == "AWS::EC2::Volume"));
}

#[tokio::test(start_paused = true)]
async fn a_profile_reaches_ec2_late_and_is_associated_after_the_start() {
    let site = Site::open().await;
    profile(&site.account, "shop").await;
    let launch = || site.launch().iam_instance_profile(named("shop")).send();
    let (refused, message) = refusal(launch().await);
    assert_eq!(refused, "InvalidParameterValue");
    assert!(message.contains("Invalid IAM Instance Profile name"), "{message}");
    wait(20.0).await;
    let id = launch().await.unwrap().instances()[0].instance_id().unwrap().to_owned();
    let association = async || {
        let call = site.ec2.describe_iam_instance_profile_associations().filters(filter("instance-id", &id));
        call.send().await.unwrap().iam_instance_profile_associations()[0].clone()
    };
    wait(1.0).await;
    let early = association().await;
    assert_eq!(early.state(), Some(&IamInstanceProfileAssociationState::Associating));
    let replace = |of: &str| {
        let call = site.ec2.replace_iam_instance_profile_association().association_id(of);
        call.iam_instance_profile(named("shop")).send()
    };
    let id_of =
        |one: &aws_sdk_ec2::types::IamInstanceProfileAssociation| one.association_id().unwrap().to_owned();
    assert_eq!(code(replace(&id_of(&early)).await), "IncorrectInstanceState");
    wait(35.0).await;
    let settled = association().await;
    assert_eq!(settled.state(), Some(&IamInstanceProfileAssociationState::Associated));
    let again =
        site.ec2.associate_iam_instance_profile().instance_id(&id).iam_instance_profile(named("shop"));
    assert_eq!(code(again.send().await), "IncorrectState");
    replace(&id_of(&settled)).await.unwrap();
    let replaced = association().await;
    assert_ne!(replaced.association_id(), settled.association_id());
    assert_eq!(code(replace(&id_of(&replaced)).await), "IncorrectState");
    wait(2.0).await;
    let off = |of: &str| site.ec2.disassociate_iam_instance_profile().association_id(of).send();
    off(&id_of(&replaced)).await.unwrap();
    assert_eq!(code(off(&id_of(&replaced)).await), "IncorrectState");
    wait(2.0).await;
    assert_eq!(code(off(&id_of(&replaced)).await), "InvalidAssociationID.NotFound");
    let again =
        site.ec2.associate_iam_instance_profile().instance_id(&id).iam_instance_profile(named("shop"));
    again.send().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_pending_instance_takes_no_profile() {
    let site = Site::open().await;
    profile(&site.account, "shop").await;
    wait(20.0).await;
    let id = site.launch().send().await.unwrap().instances()[0].instance_id().unwrap().to_owned();
    wait(1.0).await;
    let associate = || {
        site.ec2.associate_iam_instance_profile().instance_id(&id).iam_instance_profile(named("shop")).send()
    };
    assert_eq!(code(associate().await), "IncorrectInstanceState");
    wait(34.0).await;
    associate().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn instance_types_and_images_are_listed() {
    let site = Site::open().await;
    let types =
        |name: &str| site.ec2.describe_instance_types().instance_types(InstanceType::from(name)).send();
    let arm = types("t4g.micro").await.unwrap();
    let arm = &arm.instance_types()[0];
    assert_eq!(arm.processor_info().unwrap().supported_architectures()[0].as_str(), "arm64");
    assert_eq!(arm.memory_info().unwrap().size_in_mib(), Some(1024));
    assert_eq!(code(types("t3.mega").await), "InvalidInstanceType");
    let images = |id: &str| site.ec2.describe_images().image_ids(id).owners("amazon").send();
    let image = images(X86).await.unwrap();
    assert_eq!(image.images()[0].root_device_name(), Some("/dev/xvda"));
    assert_eq!(code(images("ami-00000000000000000").await), "InvalidAMIID.NotFound");
}

#[tokio::test(start_paused = true)]
async fn existing_resources_have_prices() {
    let site = Site::open().await;
    site.running().await;
    site.nat().await;
    let price = |kind: &str| {
        let items = site.account.inventory();
        let of_kind = items.into_iter().filter(|item| item.kind == kind);
        (of_kind.map(|item| item.monthly_usd).sum::<f64>() * 100.0).round() / 100.0
    };
    for (kind, usd) in [
        ("AWS::EC2::Instance", 8.76),
        ("AWS::EC2::Volume", 0.76),
        ("AWS::EC2::NatGateway", 37.96),
        ("AWS::EC2::EIP", 3.65),
        ("AWS::EC2::VPC", 0.0),
    ] {
        assert!((price(kind) - usd).abs() < 0.001, "{kind}: {}", price(kind));
    }
}
