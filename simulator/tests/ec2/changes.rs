//! Refused launches, and refused changes of instances, volumes, interfaces, addresses and routes.

use aws_sdk_ec2::types::{
    AttributeBooleanValue, AttributeValue, BlockDeviceMapping, ConnectivityType, DomainType, EbsBlockDevice,
    HttpTokensState, IamInstanceProfileSpecification, InstanceAttributeName, InstanceMetadataOptionsRequest,
    InstanceNetworkInterfaceSpecification, Placement, Tenancy, VolumeType,
};
use stackdrop_simulator::Seed;

use crate::common;
use crate::instances::{named, profile};
use crate::site::{Site, address, code, filter, group, refusal, subnet, table, vpc, wait};

fn flag(value: bool) -> AttributeBooleanValue {
    AttributeBooleanValue::builder().value(value).build()
}

fn disk(device: &str, ebs: EbsBlockDevice) -> BlockDeviceMapping {
    BlockDeviceMapping::builder().device_name(device).ebs(ebs).build()
}

#[tokio::test(start_paused = true)]
async fn a_launch_with_settings_that_ec2_does_not_take_is_refused() {
    let site = Site::open().await;
    let interface = |index: i32| InstanceNetworkInterfaceSpecification::builder().device_index(index);
    let alone = || site.launch().set_subnet_id(None);
    let placement = Placement::builder;
    let tokens = HttpTokensState::from("maybe");
    let metadata = InstanceMetadataOptionsRequest::builder().http_tokens(tokens).build();
    let both = IamInstanceProfileSpecification::builder().name("shop").arn("arn:aws:iam::1:shop").build();
    let value = "InvalidParameterValue";
    let combination = "InvalidParameterCombination";
    let cases = vec![
        ("a shutdown behaviour", site.launch().instance_initiated_shutdown_behavior("sleep".into()), value),
        ("a tenancy", site.launch().placement(placement().tenancy(Tenancy::Host).build()), value),
        (
            "a zone beside the subnet",
            site.launch().placement(placement().availability_zone("eu-central-1b").build()),
            value,
        ),
        ("no instance", site.launch().min_count(0), value),
        ("one address for two", site.launch().max_count(2).private_ip_address("10.0.2.9"), combination),
        ("an address beside the subnet", site.launch().private_ip_address("10.0.3.9"), value),
        ("more user data than 16 KiB", site.launch().user_data("AAAA".repeat(5462)), value),
        ("a second interface alone", alone().network_interfaces(interface(1).build()), value),
        (
            "two interfaces",
            alone().network_interfaces(interface(0).build()).network_interfaces(interface(0).build()),
            value,
        ),
        (
            "an interface that stays",
            alone().network_interfaces(interface(0).delete_on_termination(false).build()),
            value,
        ),
        ("metadata options", site.launch().metadata_options(metadata), value),
        ("two names of a profile", site.launch().iam_instance_profile(both), combination),
    ];
    for (what, call, expected) in cases {
        assert_eq!(code(call.send().await), expected, "{what}");
        wait(1.0).await;
    }
    assert!(site.account.interfaces().is_empty());
    // 16 KiB are the most.
    site.launch().user_data("AAAA".repeat(5461) + "AA==").send().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_launch_with_disks_that_ebs_does_not_have_is_refused() {
    let site = Site::open().await;
    let gib = |size: i32| EbsBlockDevice::builder().volume_size(size);
    let small = || disk("/dev/xvdb", gib(8).build());
    let bare = BlockDeviceMapping::builder().device_name("/dev/xvdb").build();
    let cases = vec![
        ("no disk of EBS", vec![bare], "InvalidBlockDeviceMapping"),
        (
            "no size",
            vec![disk("/dev/xvdb", EbsBlockDevice::builder().delete_on_termination(true).build())],
            "MissingParameter",
        ),
        ("the same device twice", vec![small(), small()], "InvalidBlockDeviceMapping"),
        (
            "a type",
            vec![disk("/dev/xvdb", gib(8).volume_type(VolumeType::from("fast")).build())],
            "InvalidParameterValue",
        ),
        (
            "a size",
            vec![disk("/dev/xvdb", gib(65_537).volume_type(VolumeType::Gp3).build())],
            "InvalidParameterValue",
        ),
        (
            "throughput of gp2",
            vec![disk("/dev/xvdb", gib(8).volume_type(VolumeType::Gp2).throughput(125).build())],
            "InvalidParameterCombination",
        ),
        (
            "io1 without operations",
            vec![disk("/dev/xvdb", gib(8).volume_type(VolumeType::Io1).build())],
            "MissingParameter",
        ),
    ];
    for (what, disks, expected) in cases {
        let call = site.launch().set_block_device_mappings(Some(disks));
        assert_eq!(code(call.send().await), expected, "{what}");
        wait(1.0).await;
    }
    assert!(site.ec2.describe_volumes().send().await.unwrap().volumes().is_empty());
    site.launch().block_device_mappings(small()).send().await.unwrap();
    wait(1.0).await;
    assert_eq!(site.ec2.describe_volumes().send().await.unwrap().volumes().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_instance_profile_without_a_role_is_of_no_use() {
    let site = Site::open().await;
    let iam = aws_sdk_iam::Client::new(&common::sdk(&site.account));
    iam.create_instance_profile().instance_profile_name("empty").send().await.unwrap();
    profile(&site.account, "shop").await;
    wait(30.0).await;
    let (refused, message) = refusal(site.launch().iam_instance_profile(named("empty")).send().await);
    assert_eq!(refused, "InvalidParameterValue");
    assert!(message.contains("has no associated IAM Roles"), "{message}");
    let id = site.running().await;
    let associate = || site.ec2.associate_iam_instance_profile().instance_id(&id);
    assert_eq!(code(associate().iam_instance_profile(named("empty")).send().await), "InvalidParameterValue");
    assert_eq!(code(associate().send().await), "MissingParameter");
    associate().iam_instance_profile(named("shop")).send().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_zone_without_capacity_refuses_a_launch_as_a_failure_of_its_own() {
    let site = Site::open().await;
    site.account.seed(&Seed::ZoneWithoutCapacity { zone: "eu-central-1a".into() });
    let refused = site.launch().send().await.unwrap_err();
    assert_eq!(refused.raw_response().unwrap().status().as_u16(), 500);
    assert_eq!(code::<(), _>(Err(refused)), "InsufficientInstanceCapacity");
    site.launch().subnet_id(&site.private[1]).send().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_attribute_of_an_instance_changes_alone() {
    let site = Site::open().await;
    let id = site.running().await;
    let modify = || site.ec2.modify_instance_attribute().instance_id(&id);
    let behaviour = |name: &str| {
        modify().instance_initiated_shutdown_behavior(AttributeValue::builder().value(name).build())
    };
    let foreign = vpc(&site.ec2, "10.1.0.0/16").await;
    let foreign = group(&site.ec2, &foreign, "foreign").await;
    for (call, expected) in [
        (behaviour("sleep"), "InvalidParameterValue"),
        (
            modify().disable_api_termination(flag(true)).source_dest_check(flag(false)),
            "InvalidParameterCombination",
        ),
        (modify().ebs_optimized(flag(true)), "IncorrectInstanceState"),
        (modify().groups(&foreign), "InvalidGroup.NotFound"),
    ] {
        let shown = format!("{call:?}");
        assert_eq!(code(call.send().await), expected, "{shown}");
    }
    behaviour("terminate").send().await.unwrap();
    modify().source_dest_check(flag(false)).send().await.unwrap();
    let read = |name: InstanceAttributeName| {
        site.ec2.describe_instance_attribute().instance_id(&id).attribute(name).send()
    };
    let shown = read(InstanceAttributeName::InstanceInitiatedShutdownBehavior).await.unwrap();
    assert_eq!(shown.instance_initiated_shutdown_behavior.unwrap().value.as_deref(), Some("terminate"));
    let shown = read(InstanceAttributeName::SourceDestCheck).await.unwrap();
    assert_eq!(shown.source_dest_check.unwrap().value, Some(false));
    assert_eq!(code(read(InstanceAttributeName::Kernel).await), "InvalidParameterValue");
}

#[tokio::test(start_paused = true)]
async fn a_change_of_state_is_for_all_named_instances_or_for_none() {
    let site = Site::open().await;
    let id = site.running().await;
    let both = || Some(vec![id.clone(), "i-00000000000000000".into()]);
    let unknown = "InvalidInstanceID.NotFound";
    assert_eq!(code(site.ec2.stop_instances().set_instance_ids(both()).send().await), unknown);
    assert_eq!(code(site.ec2.terminate_instances().set_instance_ids(both()).send().await), unknown);
    assert_eq!(code(site.ec2.terminate_instances().send().await), "MissingParameter");
    let found = site.ec2.describe_instances().filters(filter("instance-state-name", "running")).send().await;
    assert_eq!(found.unwrap().reservations().len(), 1);
    site.ec2.terminate_instances().instance_ids(&id).send().await.unwrap();
    let wrong = "IncorrectInstanceState";
    assert_eq!(code(site.ec2.stop_instances().instance_ids(&id).send().await), wrong);
    wait(38.0).await;
    assert_eq!(code(site.ec2.start_instances().instance_ids(&id).send().await), wrong);
}

#[tokio::test(start_paused = true)]
async fn a_disk_changes_only_to_what_its_type_has() {
    let site = Site::open().await;
    let id = site.running().await;
    let volumes = site.ec2.describe_volumes().filters(filter("attachment.instance-id", &id)).send().await;
    let volume = volumes.unwrap().volumes()[0].volume_id().unwrap().to_owned();
    let modify = || site.ec2.modify_volume().volume_id(&volume);
    for (call, expected) in [
        (modify().size(65_537), "InvalidParameterValue"),
        (modify().iops(2999), "InvalidParameterCombination"),
        (modify().throughput(2001), "InvalidParameterCombination"),
        (modify().volume_type(VolumeType::Gp2).throughput(125), "InvalidParameterCombination"),
        (modify().volume_type(VolumeType::Io2), "MissingParameter"),
    ] {
        let shown = format!("{call:?}");
        assert_eq!(code(call.send().await), expected, "{shown}");
    }
    // What was refused is no change.
    modify().iops(4000).throughput(200).send().await.unwrap();
    wait(6.0 * 3600.0).await;
    modify().volume_type(VolumeType::Gp2).send().await.unwrap();
    let shown = site.ec2.describe_volumes().volume_ids(&volume).send().await.unwrap();
    let shown = &shown.volumes()[0];
    assert_eq!((shown.iops(), shown.throughput()), (Some(100), None), "those of the new type");
}

#[tokio::test(start_paused = true)]
async fn the_public_address_of_an_interface_belongs_to_who_mapped_it() {
    let site = Site::open().await;
    let (nat, _) = site.nat().await;
    let (id, elastic) = (site.running().await, address(&site.ec2).await);
    let interface_of = async |filtered: aws_sdk_ec2::types::Filter| {
        let found = site.ec2.describe_network_interfaces().filters(filtered).send().await.unwrap();
        found.network_interfaces()[0].network_interface_id().unwrap().to_owned()
    };
    let of_nat = interface_of(filter("description", &format!("*{nat}"))).await;
    let own = interface_of(filter("attachment.instance-id", &id)).await;
    let modify =
        |interface: &str| site.ec2.modify_network_interface_attribute().network_interface_id(interface);
    assert_eq!(code(modify(&own).send().await), "MissingParameter");
    let public = |interface: &str, on: bool| modify(interface).associate_public_ip_address(on).send();
    assert_eq!(code(public(&of_nat, false).await), "OperationNotPermitted");
    public(&own, true).await.unwrap();
    public(&own, false).await.unwrap();
    wait(1.0).await;
    site.ec2.associate_address().allocation_id(&elastic).instance_id(&id).send().await.unwrap();
    assert_eq!(code(public(&own, false).await), "OperationNotPermitted");
    assert_eq!(
        code(site.ec2.release_address().allocation_id(&elastic).send().await),
        "InvalidIPAddress.InUse"
    );
}

#[tokio::test(start_paused = true)]
async fn invalid_addresses_are_refused() {
    let site = Site::open().await;
    let allocate = || site.ec2.allocate_address();
    assert_eq!(code(allocate().domain(DomainType::Standard).send().await), "InvalidParameterValue");
    let elsewhere = allocate().network_border_group("us-east-1").send().await;
    assert_eq!(code(elsewhere), "InvalidAddress.NetworkBorderGroup");
    allocate().domain(DomainType::Vpc).network_border_group("eu-central-1").send().await.unwrap();
    let (elastic, id) = (address(&site.ec2).await, site.running().await);
    let associate =
        |instance: &str| site.ec2.associate_address().allocation_id(&elastic).instance_id(instance).send();
    assert_eq!(code(associate("i-00000000000000000").await), "InvalidInstanceID.NotFound");
    site.ec2.terminate_instances().instance_ids(&id).send().await.unwrap();
    wait(38.0).await;
    assert_eq!(code(associate(&id).await), "InvalidInstanceID");
}

#[tokio::test(start_paused = true)]
async fn an_interface_is_created_once_per_token() {
    let site = Site::open().await;
    let create =
        |subnet: &str| site.ec2.create_network_interface().subnet_id(subnet).client_token("a").send();
    let first = create(&site.private[0]).await.unwrap().network_interface.unwrap();
    let again = create(&site.private[0]).await.unwrap().network_interface.unwrap();
    assert_eq!(again.network_interface_id(), first.network_interface_id());
    assert_eq!(code(create(&site.private[1]).await), "IdempotentParameterMismatch");
    assert_eq!(site.account.interfaces().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_route_leads_to_a_gateway_of_its_vpc_that_stays() {
    let site = Site::open().await;
    let other = vpc(&site.ec2, "10.1.0.0/16").await;
    let elsewhere = subnet(&site.ec2, &other, "10.1.0.0/24", "a").await;
    let private = |subnet: &str| {
        site.ec2.create_nat_gateway().subnet_id(subnet).connectivity_type(ConnectivityType::Private).send()
    };
    let foreign = private(&elsewhere).await.unwrap().nat_gateway.unwrap().nat_gateway_id.unwrap();
    let own = private(&site.private[0]).await.unwrap().nat_gateway.unwrap().nat_gateway_id.unwrap();
    wait(106.0).await;
    let create = |to: &str, nat: &str| {
        let call = site.ec2.create_route().route_table_id(&site.private_table).destination_cidr_block(to);
        call.nat_gateway_id(nat).send()
    };
    assert_eq!(code(create("0.0.0.0/0", &foreign).await), "InvalidParameterValue");
    assert_eq!(code(create("ten", &own).await), "InvalidParameterValue");
    create("0.0.0.0/0", &own).await.unwrap();
    let delete = || site.ec2.delete_nat_gateway().nat_gateway_id(&own).send();
    delete().await.unwrap();
    assert_eq!(code(create("1.0.0.0/8", &own).await), "InvalidNatGatewayID.NotFound");
    delete().await.unwrap();
    wait(61.0).await;
    assert_eq!(code(delete().await), "NatGatewayNotFound");
    let replace = || site.ec2.replace_route().route_table_id(&site.private_table).local_target(true);
    let beside = replace().destination_cidr_block("10.0.0.0/24").send().await;
    assert_eq!(code(beside), "InvalidParameterValue", "it has no local route");
    replace().destination_cidr_block("10.0.0.0/16").send().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_subnet_moves_to_a_table_of_its_vpc_only() {
    let site = Site::open().await;
    let other = vpc(&site.ec2, "10.1.0.0/16").await;
    let foreign = table(&site.ec2, &other, &[]).await;
    let by_subnet = filter("association.subnet-id", &site.private[0]);
    let tables = site.ec2.describe_route_tables().filters(by_subnet).send().await.unwrap();
    let associations = tables.route_tables()[0].associations();
    let own = associations.iter().find(|one| one.subnet_id() == Some(&site.private[0])).unwrap();
    let replace = |to: &str| {
        let call = site.ec2.replace_route_table_association().route_table_id(to);
        call.association_id(own.route_table_association_id().unwrap()).send()
    };
    assert_eq!(code(replace(&foreign).await), "InvalidParameterValue");
    assert_eq!(code(replace("rtb-00000000000000000").await), "InvalidRouteTableID.NotFound");
    replace(&site.public_table).await.unwrap();
}
