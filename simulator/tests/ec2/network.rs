//! VPCs, subnets, tags and Describe calls.

use aws_sdk_ec2::types::{AttributeBooleanValue, ResourceType, SubnetState, Tag, VpcAttributeName, VpcState};

use crate::site::{Site, code, empty, filter, group, interface, refusal, subnet, tags, vpc, wait};

fn on(value: bool) -> AttributeBooleanValue {
    AttributeBooleanValue::builder().value(value).build()
}

#[tokio::test(start_paused = true)]
async fn a_vpc_is_unknown_for_a_moment_then_pending_then_available() {
    let (_, ec2) = empty();
    let made = ec2.create_vpc().cidr_block("10.0.3.7/16").send().await.unwrap().vpc.unwrap();
    assert_eq!((made.cidr_block(), made.state()), (Some("10.0.0.0/16"), Some(&VpcState::Pending)));
    let id = made.vpc_id().unwrap();
    let describe = || ec2.describe_vpcs().vpc_ids(id).send();
    assert_eq!(code(describe().await), "InvalidVpcID.NotFound");
    assert!(ec2.describe_vpcs().send().await.unwrap().vpcs().is_empty());
    wait(0.5).await;
    assert_eq!(describe().await.unwrap().vpcs()[0].state(), Some(&VpcState::Pending));
    wait(11.0).await;
    assert_eq!(describe().await.unwrap().vpcs()[0].state(), Some(&VpcState::Available));
}

#[tokio::test(start_paused = true)]
async fn a_vpc_has_a_main_table_and_a_default_group_that_are_deleted_with_it() {
    let (account, ec2) = empty();
    let id = vpc(&ec2, "10.0.0.0/16").await;
    let tables =
        ec2.describe_route_tables().filters(filter("association.main", "true")).send().await.unwrap();
    let route = &tables.route_tables()[0].routes()[0];
    assert_eq!((route.destination_cidr_block(), route.gateway_id()), (Some("10.0.0.0/16"), Some("local")));
    let groups = ec2.describe_security_groups().send().await.unwrap();
    let default = &groups.security_groups()[0];
    assert_eq!(default.group_name(), Some("default"));
    let itself = &default.ip_permissions()[0].user_id_group_pairs()[0];
    assert_eq!(itself.group_id(), default.group_id());
    assert_eq!(account.inventory().len(), 1);
    ec2.delete_vpc().vpc_id(&id).send().await.unwrap();
    assert!(account.inventory().is_empty());
    assert!(ec2.describe_route_tables().send().await.unwrap().route_tables().is_empty());
    assert!(account.security_groups().is_empty());
    assert_eq!(code(ec2.delete_vpc().vpc_id(&id).send().await), "InvalidVpcID.NotFound");
}

#[tokio::test(start_paused = true)]
async fn a_vpc_attribute_shows_its_change_late() {
    let (_, ec2) = empty();
    let id = vpc(&ec2, "10.0.0.0/16").await;
    let read = async || {
        let call = ec2.describe_vpc_attribute().vpc_id(&id).attribute(VpcAttributeName::EnableDnsHostnames);
        call.send().await.unwrap().enable_dns_hostnames.unwrap().value.unwrap()
    };
    assert!(!read().await);
    ec2.modify_vpc_attribute().vpc_id(&id).enable_dns_hostnames(on(true)).send().await.unwrap();
    assert!(!read().await);
    wait(1.0).await;
    assert!(read().await);
}

#[tokio::test(start_paused = true)]
async fn invalid_vpcs_are_refused() {
    let (_, ec2) = empty();
    for (cidr, expected) in [
        ("10.0.0.0/8", "InvalidVpc.Range"),
        ("10.0.0.0/29", "InvalidVpc.Range"),
        ("10.0.0/16", "InvalidParameterValue"),
    ] {
        assert_eq!(code(ec2.create_vpc().cidr_block(cidr).send().await), expected, "{cidr}");
    }
    let six = ec2.create_vpc().cidr_block("10.0.0.0/16").amazon_provided_ipv6_cidr_block(true);
    assert_eq!(code(six.send().await), "UnsupportedOperation");
    assert_eq!(
        code(ec2.create_vpc().cidr_block("10.0.0.0/16").dry_run(true).send().await),
        "UnknownParameter"
    );
    assert_eq!(code(ec2.create_vpc().send().await), "MissingParameter");
    for number in 0..5 {
        ec2.create_vpc().cidr_block(format!("10.{number}.0.0/16")).send().await.unwrap();
    }
    assert_eq!(code(ec2.create_vpc().cidr_block("10.5.0.0/16").send().await), "VpcLimitExceeded");
}

#[tokio::test(start_paused = true)]
async fn vpc_attributes_change_one_a_call() {
    let (_, ec2) = empty();
    let id = vpc(&ec2, "10.0.0.0/16").await;
    let modify = || ec2.modify_vpc_attribute().vpc_id(&id);
    assert_eq!(code(modify().send().await), "MissingParameter");
    let both = modify().enable_dns_support(on(true)).enable_dns_hostnames(on(true));
    assert_eq!(code(both.send().await), "InvalidParameterCombination");
    modify().enable_dns_support(on(false)).send().await.unwrap();
    wait(2.0).await;
    assert_eq!(code(modify().enable_dns_hostnames(on(true)).send().await), "InvalidParameterCombination");
}

#[tokio::test(start_paused = true)]
async fn a_pending_vpc_or_subnet_accepts_no_resources() {
    let (_, ec2) = empty();
    let gateway = ec2.create_internet_gateway().send().await.unwrap();
    let gateway = gateway.internet_gateway.unwrap().internet_gateway_id.unwrap();
    let made = ec2.create_vpc().cidr_block("10.0.0.0/16").send().await.unwrap();
    let id = made.vpc.unwrap().vpc_id.unwrap();
    wait(1.0).await;
    let subnet = ec2.create_subnet().vpc_id(&id).cidr_block("10.0.0.0/24").send().await;
    assert_eq!(code(subnet), "IncorrectState");
    let group = ec2.create_security_group().vpc_id(&id).group_name("a").description("a").send().await;
    assert_eq!(code(group), "IncorrectState");
    assert_eq!(code(ec2.create_route_table().vpc_id(&id).send().await), "IncorrectState");
    let attach = ec2.attach_internet_gateway().internet_gateway_id(&gateway).vpc_id(&id).send().await;
    assert_eq!(code(attach), "IncorrectState");
    wait(12.0).await;
    let made = ec2.create_subnet().vpc_id(&id).cidr_block("10.0.0.0/24").send().await.unwrap();
    let subnet = made.subnet.unwrap();
    assert_eq!(subnet.state(), Some(&SubnetState::Pending));
    wait(1.0).await;
    let interface = ec2.create_network_interface().subnet_id(subnet.subnet_id().unwrap()).send().await;
    assert_eq!(code(interface), "IncorrectState");
}

#[tokio::test(start_paused = true)]
async fn subnets_that_do_not_fit_are_refused() {
    let (_, ec2) = empty();
    let id = vpc(&ec2, "10.0.0.0/16").await;
    subnet(&ec2, &id, "10.0.0.0/24", "a").await;
    let create = |cidr: &str| ec2.create_subnet().vpc_id(&id).cidr_block(cidr);
    for (cidr, expected) in [
        ("10.1.0.0/24", "InvalidSubnet.Range"),
        ("10.0.0.0/15", "InvalidSubnet.Range"),
        ("10.0.1.0/29", "InvalidSubnet.Range"),
        ("10.0.0.0/24", "InvalidSubnet.Conflict"),
        ("10.0.0.128/25", "InvalidSubnet.Conflict"),
        ("10.0.0.0/20", "InvalidSubnet.Conflict"),
        ("ten", "InvalidParameterValue"),
    ] {
        assert_eq!(code(create(cidr).send().await), expected, "{cidr}");
    }
    let elsewhere = create("10.0.1.0/24").availability_zone("eu-west-1a").send().await;
    let (refused, message) = refusal(elsewhere);
    assert_eq!(refused, "InvalidParameterValue");
    assert!(message.contains("eu-central-1a, eu-central-1b, eu-central-1c"), "{message}");
    let both = create("10.0.1.0/24").availability_zone("eu-central-1a").availability_zone_id("euc1-az1");
    assert_eq!(code(both.send().await), "InvalidParameterCombination");
    let by_id = create("10.0.1.0/24").availability_zone_id("euc1-az2").send().await.unwrap();
    assert_eq!(by_id.subnet.unwrap().availability_zone(), Some("eu-central-1b"));
}

#[tokio::test(start_paused = true)]
async fn a_subnet_maps_public_addresses_a_moment_after_the_change() {
    let site = Site::open().await;
    let read = async || {
        let answer = site.ec2.describe_subnets().subnet_ids(&site.public[0]).send().await.unwrap();
        answer.subnets()[0].map_public_ip_on_launch().unwrap()
    };
    let modify = || site.ec2.modify_subnet_attribute().subnet_id(&site.public[0]);
    assert_eq!(code(modify().send().await), "MissingParameter");
    modify().map_public_ip_on_launch(on(true)).send().await.unwrap();
    assert!(!read().await);
    wait(1.0).await;
    assert!(read().await);
}

#[tokio::test(start_paused = true)]
async fn a_subnet_with_an_interface_in_it_cannot_be_deleted() {
    let site = Site::open().await;
    let held = interface(&site.ec2, &site.private[0], &[]).await;
    let delete = || site.ec2.delete_subnet().subnet_id(&site.private[0]).send();
    let (refused, message) = refusal(delete().await);
    assert_eq!(refused, "DependencyViolation");
    assert_eq!(message, format!("The subnet '{}' has dependencies and cannot be deleted.", site.private[0]));
    site.ec2.delete_network_interface().network_interface_id(held).send().await.unwrap();
    delete().await.unwrap();
    assert_eq!(code(delete().await), "InvalidSubnetID.NotFound");
    let table = site.ec2.describe_route_tables().route_table_ids(&site.private_table).send().await.unwrap();
    assert_eq!(table.route_tables()[0].associations().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_subnet_runs_out_of_addresses() {
    let (_, ec2) = empty();
    let id = vpc(&ec2, "10.0.0.0/16").await;
    let small = subnet(&ec2, &id, "10.0.0.0/28", "a").await;
    for number in 0..11 {
        let made = ec2.create_network_interface().subnet_id(&small).send().await.unwrap();
        let address = made.network_interface.unwrap().private_ip_address.unwrap();
        assert_eq!(address, format!("10.0.0.{}", number + 4));
    }
    let described = ec2.describe_subnets().subnet_ids(&small).send().await.unwrap();
    assert_eq!(described.subnets()[0].available_ip_address_count(), Some(0));
    let more = ec2.create_network_interface().subnet_id(&small).send().await;
    assert_eq!(code(more), "InsufficientFreeAddressesInSubnet");
}

#[tokio::test(start_paused = true)]
async fn a_vpc_with_resources_cannot_be_deleted() {
    let (_, ec2) = empty();
    let id = vpc(&ec2, "10.0.0.0/16").await;
    let delete = || ec2.delete_vpc().vpc_id(&id).send();
    let held = subnet(&ec2, &id, "10.0.0.0/24", "a").await;
    let (refused, message) = refusal(delete().await);
    assert_eq!(refused, "DependencyViolation");
    assert_eq!(message, format!("The vpc '{id}' has dependencies and cannot be deleted."));
    ec2.delete_subnet().subnet_id(held).send().await.unwrap();
    let held = group(&ec2, &id, "a").await;
    assert_eq!(code(delete().await), "DependencyViolation");
    ec2.delete_security_group().group_id(held).send().await.unwrap();
    let held = ec2.create_route_table().vpc_id(&id).send().await.unwrap().route_table.unwrap();
    assert_eq!(code(delete().await), "DependencyViolation");
    wait(1.0).await;
    ec2.delete_route_table().route_table_id(held.route_table_id.unwrap()).send().await.unwrap();
    let gateway = ec2.create_internet_gateway().send().await.unwrap().internet_gateway.unwrap();
    let gateway = gateway.internet_gateway_id.unwrap();
    wait(1.0).await;
    ec2.attach_internet_gateway().internet_gateway_id(&gateway).vpc_id(&id).send().await.unwrap();
    assert_eq!(code(delete().await), "DependencyViolation");
    ec2.detach_internet_gateway().internet_gateway_id(&gateway).vpc_id(&id).send().await.unwrap();
    delete().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn tags_are_set_by_the_create_call_and_can_be_filtered() {
    let (account, ec2) = empty();
    let specification = tags(ResourceType::Vpc, &[("Name", "shop"), ("stackdrop:component", "network")]);
    let call = ec2.create_vpc().cidr_block("10.0.0.0/16").tag_specifications(specification);
    let id = call.send().await.unwrap().vpc.unwrap().vpc_id.unwrap();
    wait(1.0).await;
    for (name, value, found) in [
        ("tag:Name", "shop", 1),
        ("tag:Name", "sh*", 1),
        ("tag:Name", "Shop", 0),
        ("tag:Other", "shop", 0),
        ("tag-key", "Name", 1),
        ("state", "pending", 1),
        ("cidr", "10.0.0.0/16", 1),
    ] {
        let answer = ec2.describe_vpcs().filters(filter(name, value)).send().await.unwrap();
        assert_eq!(answer.vpcs().len(), found, "{name}={value}");
    }
    let tag = Tag::builder().key("owner").value("me").build();
    ec2.create_tags().resources(&id).tags(tag).send().await.unwrap();
    let other = Tag::builder().key("owner").value("you").build();
    ec2.delete_tags().resources(&id).tags(other).send().await.unwrap();
    ec2.delete_tags().resources(&id).tags(Tag::builder().key("Name").build()).send().await.unwrap();
    let listed = ec2.describe_tags().filters(filter("resource-id", &id)).send().await.unwrap();
    let keys: Vec<_> = listed.tags().iter().map(|tag| tag.key().unwrap()).collect();
    assert_eq!(keys, ["owner", "stackdrop:component"]);
    assert_eq!(listed.tags()[0].resource_type(), Some(&ResourceType::Vpc));
    assert_eq!(account.inventory()[0].component, "network");
}

#[tokio::test(start_paused = true)]
async fn invalid_tags_are_refused() {
    let (_, ec2) = empty();
    let create = || ec2.create_vpc().cidr_block("10.0.0.0/16");
    let other = create().tag_specifications(tags(ResourceType::Subnet, &[("a", "b")]));
    assert_eq!(code(other.send().await), "InvalidParameterValue");
    let reserved = create().tag_specifications(tags(ResourceType::Vpc, &[("aws:a", "b")]));
    assert_eq!(code(reserved.send().await), "InvalidParameterValue");
    let twice = create()
        .tag_specifications(tags(ResourceType::Vpc, &[("a", "b")]))
        .tag_specifications(tags(ResourceType::Vpc, &[("c", "d")]));
    assert_eq!(code(twice.send().await), "InvalidParameterValue");
    let same = create().tag_specifications(tags(ResourceType::Vpc, &[("a", "b"), ("a", "c")]));
    assert_eq!(
        refusal(same.send().await),
        ("InvalidParameterValue".into(), "Duplicate tag key 'a' specified.".into())
    );
    let names: Vec<String> = (0..51).map(|number| format!("key{number}")).collect();
    let many: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "")).collect();
    let too_many = create().tag_specifications(tags(ResourceType::Vpc, &many));
    assert_eq!(code(too_many.send().await), "TagLimitExceeded");
    let fifty = create().tag_specifications(tags(ResourceType::Vpc, &many[..50])).send().await.unwrap();
    let id = fifty.vpc.unwrap().vpc_id.unwrap();
    wait(1.0).await;
    let tag = || Tag::builder().key("one more").value("").build();
    assert_eq!(code(ec2.create_tags().resources(&id).tags(tag()).send().await), "TagLimitExceeded");
    let missing = ec2.create_tags().resources("vpc-00000000000000000").tags(tag()).send().await;
    assert_eq!(code(missing), "InvalidVpcID.NotFound");
    assert_eq!(code(ec2.create_tags().resources("thing").tags(tag()).send().await), "InvalidID");
    assert_eq!(code(ec2.create_tags().resources(&id).send().await), "MissingParameter");
}

#[tokio::test(start_paused = true)]
async fn a_describe_call_refuses_unknown_ids_and_filters() {
    let (_, ec2) = empty();
    let unknown = ec2.describe_vpcs().filters(filter("colour", "red")).send().await;
    assert_eq!(refusal(unknown), ("InvalidParameterValue".into(), "The filter 'colour' is invalid".into()));
    for size in [4, 1001] {
        assert_eq!(code(ec2.describe_vpcs().max_results(size).send().await), "InvalidParameterValue");
    }
    let zone = ec2.describe_availability_zones().zone_ids("euc1-az4").send().await;
    assert_eq!(code(zone), "InvalidParameterValue");
    let location = ec2.describe_instance_type_offerings().location_type("outpost".into()).send().await;
    assert_eq!(code(location), "InvalidParameterValue");
    assert_eq!(code(ec2.describe_images().owners("me!").send().await), "InvalidUserID.Malformed");
    let profile =
        ec2.describe_iam_instance_profile_associations().association_ids("iip-assoc-0").send().await;
    assert_eq!(code(profile), "InvalidAssociationID.NotFound");
    assert_eq!(code(ec2.describe_vpcs().next_token("x").send().await), "InvalidNextToken");
    assert_eq!(code(ec2.describe_vpcs().vpc_ids("vpc").send().await), "InvalidVpcID.Malformed");
    let missing = |id: &str| ec2.describe_vpcs().vpc_ids(id).send();
    assert_eq!(
        refusal(missing("vpc-12345678").await),
        ("InvalidVpcID.NotFound".into(), "The vpc ID 'vpc-12345678' does not exist".into())
    );
}

#[tokio::test(start_paused = true)]
async fn long_lists_are_paginated() {
    let (_, ec2) = empty();
    let id = vpc(&ec2, "10.0.0.0/16").await;
    for number in 0..7 {
        subnet(&ec2, &id, &format!("10.0.{number}.0/24"), "a").await;
    }
    let first = ec2.describe_subnets().max_results(5).send().await.unwrap();
    assert_eq!(first.subnets().len(), 5);
    let second =
        ec2.describe_subnets().max_results(5).next_token(first.next_token().unwrap()).send().await.unwrap();
    assert_eq!((second.subnets().len(), second.next_token()), (2, None));
}

#[tokio::test(start_paused = true)]
async fn a_region_has_three_zones() {
    let (_, ec2) = empty();
    let all = ec2.describe_availability_zones().filters(filter("state", "available")).send().await.unwrap();
    let zones: Vec<_> = all
        .availability_zones()
        .iter()
        .map(|zone| (zone.zone_name().unwrap(), zone.zone_id().unwrap()))
        .collect();
    assert_eq!(
        zones,
        [("eu-central-1a", "euc1-az1"), ("eu-central-1b", "euc1-az2"), ("eu-central-1c", "euc1-az3")]
    );
    let unknown = ec2.describe_availability_zones().zone_names("eu-central-1d").send().await;
    assert_eq!(code(unknown), "InvalidParameterValue");
}
