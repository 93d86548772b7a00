//! VPC endpoints.

use aws_sdk_ec2::types::{IpAddressType, VpcEndpointType};
use stackdrop_simulator::{Fault, FaultKind, When};

use crate::site::{Site, code, filter, group, refusal, subnet, table, vpc, wait};

pub(crate) const SSM: &str = "com.amazonaws.eu-central-1.ssm";
pub(crate) const S3: &str = "com.amazonaws.eu-central-1.s3";

impl Site {
    pub(crate) fn endpoint(
        &self,
        service: &str,
    ) -> aws_sdk_ec2::operation::create_vpc_endpoint::builders::CreateVpcEndpointFluentBuilder {
        self.ec2
            .create_vpc_endpoint()
            .vpc_id(&self.vpc)
            .service_name(service)
            .vpc_endpoint_type(VpcEndpointType::Interface)
    }

    async fn endpoint_state(&self, id: &str) -> String {
        let answer = self.ec2.describe_vpc_endpoints().vpc_endpoint_ids(id).send().await.unwrap();
        answer.vpc_endpoints()[0].state().unwrap().as_str().to_owned()
    }

    async fn delete_endpoint(&self, id: &str) -> Vec<String> {
        let answer = self.ec2.delete_vpc_endpoints().vpc_endpoint_ids(id).send().await.unwrap();
        answer.unsuccessful().iter().map(|one| one.error().unwrap().code().unwrap().to_owned()).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn an_interface_endpoint_keeps_its_subnets_and_groups_from_deletion() {
    let site = Site::open().await;
    site.with_dns().await;
    let own = group(&site.ec2, &site.vpc, "endpoints").await;
    let call = site.endpoint(SSM).set_subnet_ids(Some(site.private.to_vec())).security_group_ids(&own);
    let made = call.private_dns_enabled(true).send().await.unwrap().vpc_endpoint.unwrap();
    assert_eq!((made.network_interface_ids().len(), made.state().unwrap().as_str()), (2, "Pending"));
    let id = made.vpc_endpoint_id().unwrap();
    wait(1.0).await;
    assert_eq!(site.endpoint_state(id).await, "pending");
    wait(95.0).await;
    assert_eq!(site.endpoint_state(id).await, "available");
    assert_eq!(site.delete_endpoint(id).await, [""; 0]);
    assert_eq!(site.endpoint_state(id).await, "deleting");
    assert_eq!(
        code(site.ec2.delete_subnet().subnet_id(&site.private[0]).send().await),
        "DependencyViolation"
    );
    assert_eq!(code(site.ec2.delete_security_group().group_id(&own).send().await), "DependencyViolation");
    wait(90.0).await;
    assert_eq!(site.endpoint_state(id).await, "deleted");
    site.ec2.delete_security_group().group_id(&own).send().await.unwrap();
    site.ec2.delete_subnet().subnet_id(&site.private[0]).send().await.unwrap();
    wait(10.0).await;
    let gone = site.ec2.describe_vpc_endpoints().vpc_endpoint_ids(id).send().await;
    assert_eq!(code(gone), "InvalidVpcEndpointId.NotFound");
    assert_eq!(site.delete_endpoint(id).await, ["InvalidVpcEndpoint.NotFound"]);
    assert_eq!(code(site.ec2.delete_vpc_endpoints().send().await), "MissingParameter");
}

#[tokio::test(start_paused = true)]
async fn a_gateway_endpoint_routes_by_a_prefix_list() {
    let site = Site::open().await;
    let create = || {
        site.endpoint(S3)
            .vpc_endpoint_type(VpcEndpointType::Gateway)
            .route_table_ids(&site.private_table)
            .send()
    };
    let id = create().await.unwrap().vpc_endpoint.unwrap().vpc_endpoint_id.unwrap();
    wait(6.0).await;
    let routes = async || {
        let answer =
            site.ec2.describe_route_tables().route_table_ids(&site.private_table).send().await.unwrap();
        answer.route_tables()[0].routes().to_vec()
    };
    let route = routes().await.remove(1);
    assert_eq!(route.gateway_id(), Some(id.as_str()));
    assert!(route.destination_prefix_list_id().unwrap().starts_with("pl-"));
    assert_eq!(code(create().await), "RouteAlreadyExists");
    let add = table(&site.ec2, &site.vpc, &[]).await;
    let modify = || site.ec2.modify_vpc_endpoint().vpc_endpoint_id(&id);
    modify().add_route_table_ids(&add).remove_route_table_ids(&site.private_table).send().await.unwrap();
    assert_eq!(routes().await.len(), 1);
    assert_eq!(code(site.ec2.delete_route_table().route_table_id(&add).send().await), "DependencyViolation");
    assert_eq!(code(modify().add_subnet_ids(&site.private[0]).send().await), "InvalidParameter");
    site.delete_endpoint(&id).await;
    wait(7.0).await;
    site.ec2.delete_route_table().route_table_id(&add).send().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_private_name_belongs_to_one_endpoint_and_needs_the_vpcs_dns() {
    let site = Site::open().await;
    let create = || site.endpoint(SSM).subnet_ids(&site.private[0]).private_dns_enabled(true).send();
    let (refused, message) = refusal(create().await);
    assert_eq!(refused, "InvalidParameter");
    assert!(message.contains("enableDnsHostnames"), "{message}");
    site.with_dns().await;
    let first = create().await.unwrap().vpc_endpoint.unwrap().vpc_endpoint_id.unwrap();
    wait(4.0).await;
    let (refused, message) = refusal(create().await);
    assert_eq!(refused, "InvalidParameter");
    assert!(message.contains("conflicting DNS domain for ssm.eu-central-1.amazonaws.com"), "{message}");
    wait(95.0).await;
    site.delete_endpoint(&first).await;
    assert_eq!(code(create().await), "InvalidParameter");
    wait(90.0).await;
    create().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn invalid_endpoints_are_refused() {
    let site = Site::open().await;
    let other = vpc(&site.ec2, "10.1.0.0/16").await;
    let foreign = subnet(&site.ec2, &other, "10.1.0.0/24", "a").await;
    let same_zone = subnet(&site.ec2, &site.vpc, "10.0.4.0/24", "a").await;
    let foreign_table = table(&site.ec2, &other, &[]).await;
    let base = || site.endpoint(SSM).private_dns_enabled(false);
    let gateway = || site.endpoint(S3).vpc_endpoint_type(VpcEndpointType::Gateway);
    let calls = [
        (base().service_name("com.amazonaws.eu-central-1.pigeon"), "InvalidServiceName"),
        (base().service_name("com.amazonaws.us-east-1.ssm"), "InvalidServiceName"),
        (base().subnet_ids(&foreign), "InvalidParameter"),
        (base().subnet_ids("subnet-00000000000000000"), "InvalidSubnetID.NotFound"),
        (base().subnet_ids(&site.private[0]).subnet_ids(&same_zone), "DuplicateSubnetsInSameZone"),
        (base().security_group_ids("sg-00000000000000000"), "InvalidGroup.NotFound"),
        (base().route_table_ids(&site.private_table), "InvalidParameter"),
        (base().policy_document("{"), "InvalidPolicyDocument"),
        (
            base().vpc_endpoint_type(VpcEndpointType::Gateway).service_name(S3).subnet_ids(&foreign),
            "InvalidParameter",
        ),
        (base().vpc_id("vpc-00000000000000000"), "InvalidVpcID.NotFound"),
        (base().vpc_endpoint_type(VpcEndpointType::GatewayLoadBalancer), "InvalidParameterValue"),
        (base().ip_address_type(IpAddressType::Dualstack), "InvalidParameterValue"),
        (gateway().private_dns_enabled(true), "InvalidParameter"),
        (gateway().security_group_ids("sg-00000000000000000"), "InvalidParameter"),
        (gateway().route_table_ids(&foreign_table), "InvalidParameter"),
        (gateway().route_table_ids("rtb-00000000000000000"), "InvalidRouteTableID.NotFound"),
    ];
    for (call, expected) in calls {
        assert_eq!(code(call.send().await), expected);
        // CreateVpcEndpoint has a small bucket of its own.
        wait(4.0).await;
    }
    assert!(site.account.interfaces().is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_is_created_once_per_token() {
    let site = Site::open().await;
    let create = |subnet: &str| {
        site.endpoint(SSM).private_dns_enabled(false).subnet_ids(subnet).client_token("a").send()
    };
    let first = create(&site.private[0]).await.unwrap().vpc_endpoint.unwrap().vpc_endpoint_id;
    assert_eq!(create(&site.private[0]).await.unwrap().vpc_endpoint.unwrap().vpc_endpoint_id, first);
    assert_eq!(code(create(&site.private[1]).await), "IdempotentParameterMismatch");
    assert_eq!(site.account.interfaces().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_fails_gives_a_reason() {
    let site = Site::open().await;
    site.account.arm(Fault::at("ec2", "CreateVpcEndpoint", When::Only(1), FaultKind::ResourceFails));
    let call = site.endpoint(SSM).private_dns_enabled(false).subnet_ids(&site.private[0]);
    let id = call.send().await.unwrap().vpc_endpoint.unwrap().vpc_endpoint_id.unwrap();
    wait(96.0).await;
    let described = site.ec2.describe_vpc_endpoints().vpc_endpoint_ids(&id).send().await.unwrap();
    let failed = &described.vpc_endpoints()[0];
    assert_eq!(failed.state().unwrap().as_str(), "failed");
    assert_eq!(failed.last_error().unwrap().code(), Some("InternalError"));
    assert!(site.account.interfaces().is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_changes_its_subnets_and_groups_in_place() {
    let site = Site::open().await;
    let call = site.endpoint(SSM).private_dns_enabled(false).subnet_ids(&site.private[0]);
    let id = call.send().await.unwrap().vpc_endpoint.unwrap().vpc_endpoint_id.unwrap();
    wait(1.0).await;
    let modify = || site.ec2.modify_vpc_endpoint().vpc_endpoint_id(&id);
    assert_eq!(code(modify().add_subnet_ids(&site.private[1]).send().await), "IncorrectState");
    wait(95.0).await;
    let default = site.account.security_groups().remove(0).id;
    assert_eq!(code(modify().remove_security_group_ids(&default).send().await), "InvalidParameter");
    let own = group(&site.ec2, &site.vpc, "endpoints").await;
    modify().add_security_group_ids(&own).remove_security_group_ids(&default).send().await.unwrap();
    modify().add_subnet_ids(&site.private[1]).remove_subnet_ids(&site.private[0]).send().await.unwrap();
    assert_eq!(site.endpoint_state(&id).await, "pending");
    wait(95.0).await;
    assert_eq!(site.endpoint_state(&id).await, "available");
    let standing = site.account.interfaces();
    assert_eq!(standing.len(), 1);
    assert_eq!((&standing[0].subnet, &standing[0].groups[0].0), (&site.private[1], &own));
    let found = site.ec2.describe_vpc_endpoints().filters(filter("service-name", SSM)).send().await.unwrap();
    assert_eq!(found.vpc_endpoints()[0].subnet_ids(), [site.private[1].clone()]);
}

#[tokio::test(start_paused = true)]
async fn a_change_that_an_endpoint_does_not_take_changes_nothing() {
    let site = Site::open().await;
    let other = vpc(&site.ec2, "10.1.0.0/16").await;
    let foreign = subnet(&site.ec2, &other, "10.1.0.0/24", "b").await;
    let same_zone = subnet(&site.ec2, &site.vpc, "10.0.4.0/24", "a").await;
    let interface = site.endpoint(SSM).private_dns_enabled(false).subnet_ids(&site.private[0]);
    let interface = interface.send().await.unwrap().vpc_endpoint.unwrap().vpc_endpoint_id.unwrap();
    let routed = |table: &str| {
        site.endpoint(S3).vpc_endpoint_type(VpcEndpointType::Gateway).route_table_ids(table).send()
    };
    wait(4.0).await;
    routed(&site.public_table).await.unwrap();
    wait(4.0).await;
    let gateway = routed(&site.private_table).await.unwrap().vpc_endpoint.unwrap().vpc_endpoint_id.unwrap();
    wait(95.0).await;
    let modify = |id: &str| site.ec2.modify_vpc_endpoint().vpc_endpoint_id(id);
    for (call, expected) in [
        (modify(&interface).add_route_table_ids(&site.private_table), "InvalidParameter"),
        (modify(&interface).add_subnet_ids(&foreign), "InvalidParameter"),
        (modify(&interface).add_subnet_ids(&same_zone), "DuplicateSubnetsInSameZone"),
        (modify(&interface).private_dns_enabled(true), "InvalidParameter"),
        (modify(&interface).policy_document("{"), "InvalidPolicyDocument"),
        (modify(&interface).add_security_group_ids("sg-00000000000000000"), "InvalidGroup.NotFound"),
        (modify(&gateway).add_security_group_ids("sg-00000000000000000"), "InvalidParameter"),
        (modify(&gateway).private_dns_enabled(true), "InvalidParameter"),
        (modify(&gateway).add_route_table_ids(&site.public_table), "RouteAlreadyExists"),
        (modify("vpce-00000000000000000"), "InvalidVpcEndpointId.NotFound"),
    ] {
        let shown = format!("{call:?}");
        assert_eq!(code(call.send().await), expected, "{shown}");
        wait(1.0).await;
    }
    let policy = async || {
        let shown = site.ec2.describe_vpc_endpoints().vpc_endpoint_ids(&gateway).send().await.unwrap();
        shown.vpc_endpoints()[0].policy_document().unwrap().to_owned()
    };
    let all = policy().await;
    let nobody = r#"{"Statement":[]}"#;
    modify(&gateway).policy_document(nobody).send().await.unwrap();
    assert_eq!(policy().await, nobody);
    modify(&gateway).reset_policy(true).send().await.unwrap();
    assert_eq!(policy().await, all);
    site.delete_endpoint(&gateway).await;
    assert_eq!(code(modify(&gateway).reset_policy(true).send().await), "IncorrectState");
}
