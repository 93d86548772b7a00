//! Quotas, and refusals for exceeded limits.

use aws_sdk_ec2::types::{Filter, IpPermission, PrefixListId, VpcEndpointType};

use crate::site::{Site, code, empty, filter, group, tcp, vpc, wait};

#[tokio::test(start_paused = true)]
async fn a_vpc_has_at_most_200_subnets_and_200_route_tables() {
    let (_, ec2) = empty();
    let id = vpc(&ec2, "10.0.0.0/16").await;
    for number in 0..200 {
        ec2.create_subnet().vpc_id(&id).cidr_block(format!("10.0.{number}.0/24")).send().await.unwrap();
        // The main table counts.
        if number > 0 {
            ec2.create_route_table().vpc_id(&id).send().await.unwrap();
        }
    }
    let subnet = ec2.create_subnet().vpc_id(&id).cidr_block("10.0.200.0/24").send().await;
    assert_eq!(code(subnet), "SubnetLimitExceeded");
    assert_eq!(code(ec2.create_route_table().vpc_id(&id).send().await), "RouteTableLimitExceeded");
}

#[tokio::test(start_paused = true)]
async fn a_table_has_at_most_50_routes() {
    let site = Site::open().await;
    let create = |to: String| {
        let call = site.ec2.create_route().route_table_id(&site.public_table).gateway_id(&site.gateway);
        call.destination_cidr_block(to).send()
    };
    for number in 1..50 {
        create(format!("11.{number}.0.0/16")).await.unwrap();
    }
    assert_eq!(code(create("12.0.0.0/16".into()).await), "RouteLimitExceeded");
}

#[tokio::test(start_paused = true)]
async fn a_region_has_at_most_2500_groups() {
    let (_, ec2) = empty();
    let id = vpc(&ec2, "10.0.0.0/16").await;
    let create =
        |name: String| ec2.create_security_group().vpc_id(&id).group_name(name).description("d").send();
    for number in 1..2500 {
        create(number.to_string()).await.unwrap();
    }
    assert_eq!(code(create("one more".into()).await), "SecurityGroupLimitExceeded");
}

#[tokio::test(start_paused = true)]
async fn a_vpc_has_at_most_50_interface_endpoints() {
    let site = Site::open().await;
    let create = async || {
        wait(4.0).await;
        let call =
            site.ec2.create_vpc_endpoint().vpc_id(&site.vpc).service_name("com.amazonaws.eu-central-1.ssm");
        call.vpc_endpoint_type(VpcEndpointType::Interface).private_dns_enabled(false).send().await
    };
    for _ in 0..50 {
        create().await.unwrap();
    }
    assert_eq!(code(create().await), "VpcEndpointLimitExceeded");
}

#[tokio::test(start_paused = true)]
async fn a_region_has_at_most_20_gateway_endpoints() {
    let site = Site::open().await;
    let create = async || {
        wait(4.0).await;
        let call =
            site.ec2.create_vpc_endpoint().vpc_id(&site.vpc).service_name("com.amazonaws.eu-central-1.s3");
        call.vpc_endpoint_type(VpcEndpointType::Gateway).send().await
    };
    for _ in 0..20 {
        create().await.unwrap();
    }
    assert_eq!(code(create().await), "VpcEndpointLimitExceeded");
}

#[tokio::test(start_paused = true)]
async fn a_group_has_exactly_60_rules_in_each_direction() {
    let site = Site::open().await;
    let own = group(&site.ec2, &site.vpc, "a").await;
    let authorize = |ports: std::ops::Range<i32>| {
        let rules = ports.map(|port| tcp(port, "10.0.0.0/8")).collect();
        site.ec2.authorize_security_group_ingress().group_id(&own).set_ip_permissions(Some(rules)).send()
    };
    authorize(1..60).await.unwrap();
    assert_eq!(code(authorize(60..62).await), "RulesPerSecurityGroupLimitExceeded");
    authorize(60..61).await.unwrap();
    assert_eq!(code(authorize(61..62).await), "RulesPerSecurityGroupLimitExceeded");
}

#[tokio::test(start_paused = true)]
async fn calls_beyond_the_request_rate_are_refused_until_it_recovers() {
    let site = Site::open().await;
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..6 {
        calls.spawn(site.launch().send());
    }
    let (accepted, refused): (Vec<_>, Vec<_>) = calls.join_all().await.into_iter().partition(Result::is_ok);
    assert_eq!((accepted.len(), refused.len()), (5, 1), "the bucket of RunInstances has five tokens");
    for refused in refused {
        let error = refused.unwrap_err();
        assert_eq!(error.raw_response().unwrap().status().as_u16(), 503);
        assert_eq!(code::<(), _>(Err(error)), "RequestLimitExceeded");
    }
    wait(1.0).await;
    site.launch().send().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_describe_call_takes_at_most_200_filter_values() {
    let (_, ec2) = empty();
    let values = (0..201).map(|number| number.to_string()).collect();
    let many = Filter::builder().name("vpc-id").set_values(Some(values)).build();
    assert_eq!(code(ec2.describe_vpcs().filters(many).send().await), "FilterLimitExceeded");
    let none = Filter::builder().name("vpc-id").build();
    assert_eq!(code(ec2.describe_vpcs().filters(none).send().await), "InvalidParameterValue");
    let listed = ec2.describe_instances().instance_ids("i-00000000000000000").max_results(5).send().await;
    assert_eq!(code(listed), "InvalidParameterCombination");
}

#[tokio::test(start_paused = true)]
async fn a_rule_refers_to_existing_prefix_lists_only() {
    let site = Site::open().await;
    let own = group(&site.ec2, &site.vpc, "a").await;
    let list = PrefixListId::builder().prefix_list_id("pl-12345678").build();
    let rule =
        IpPermission::builder().ip_protocol("tcp").from_port(443).to_port(443).prefix_list_ids(list).build();
    let call = site.ec2.authorize_security_group_egress().group_id(&own).ip_permissions(rule);
    assert_eq!(code(call.send().await), "InvalidPrefixListID.NotFound");
}

#[tokio::test(start_paused = true)]
async fn ids_of_the_wrong_form_are_malformed() {
    let (_, ec2) = empty();
    assert_eq!(code(ec2.describe_subnets().subnet_ids("a").send().await), "InvalidSubnetID.Malformed");
    assert_eq!(code(ec2.describe_security_groups().group_ids("a").send().await), "InvalidGroupId.Malformed");
    assert_eq!(code(ec2.describe_instances().instance_ids("a").send().await), "InvalidInstanceID.Malformed");
    assert_eq!(code(ec2.describe_volumes().volume_ids("a").send().await), "InvalidVolumeID.Malformed");
    assert_eq!(code(ec2.describe_nat_gateways().nat_gateway_ids("a").send().await), "NatGatewayMalformed");
    assert_eq!(
        code(ec2.describe_security_group_rules().security_group_rule_ids("a").send().await),
        "InvalidSecurityGroupRuleId.Malformed"
    );
    assert_eq!(
        code(ec2.describe_network_interfaces().network_interface_ids("a").send().await),
        "InvalidNetworkInterfaceId.Malformed"
    );
    assert_eq!(
        code(ec2.describe_addresses().filters(filter("colour", "red")).send().await),
        "InvalidParameterValue"
    );
}
