//! A network for tests.

use std::fmt::Debug;
use std::time::Duration;

use aws_sdk_ec2::Client;
use aws_sdk_ec2::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_ec2::types::{
    Filter, IpPermission, IpRange, ResourceType, Tag, TagSpecification, UserIdGroupPair,
};
use stackdrop_simulator::Account;

use crate::common;

/// A VPC 10.0.0.0/16 with an internet gateway, a public and a private subnet in zones a and b, and a table for each.
pub(crate) struct Site {
    pub(crate) account: Account,
    pub ec2: Client,
    pub(crate) vpc: String,
    pub(crate) gateway: String,
    pub(crate) public: [String; 2],
    pub(crate) private: [String; 2],
    pub(crate) public_table: String,
    pub(crate) private_table: String,
}

/// An account with an EC2 client.
pub(crate) fn empty() -> (Account, Client) {
    let account = common::account();
    let ec2 = Client::new(&common::sdk(&account));
    (account, ec2)
}

pub(crate) async fn wait(seconds: f64) {
    tokio::time::advance(Duration::from_secs_f64(seconds)).await;
}

pub(crate) async fn vpc(ec2: &Client, cidr: &str) -> String {
    let answer = ec2.create_vpc().cidr_block(cidr).send().await.unwrap();
    wait(12.0).await;
    answer.vpc.unwrap().vpc_id.unwrap()
}

pub(crate) async fn subnet(ec2: &Client, vpc: &str, cidr: &str, zone: &str) -> String {
    let call = ec2.create_subnet().vpc_id(vpc).cidr_block(cidr);
    let answer = call.availability_zone(format!("eu-central-1{zone}")).send().await.unwrap();
    wait(4.0).await;
    answer.subnet.unwrap().subnet_id.unwrap()
}

pub(crate) async fn table(ec2: &Client, vpc: &str, subnets: &[String]) -> String {
    let answer = ec2.create_route_table().vpc_id(vpc).send().await.unwrap();
    let id = answer.route_table.unwrap().route_table_id.unwrap();
    for subnet in subnets {
        ec2.associate_route_table().route_table_id(&id).subnet_id(subnet).send().await.unwrap();
    }
    wait(1.0).await;
    id
}

pub(crate) async fn group(ec2: &Client, vpc: &str, name: &str) -> String {
    let call = ec2.create_security_group().vpc_id(vpc).group_name(name).description(name);
    let id = call.send().await.unwrap().group_id.unwrap();
    wait(1.0).await;
    id
}

pub(crate) async fn address(ec2: &Client) -> String {
    let id = ec2.allocate_address().send().await.unwrap().allocation_id.unwrap();
    wait(1.0).await;
    id
}

/// An interface in a subnet, created by a call.
pub(crate) async fn interface(ec2: &Client, subnet: &str, groups: &[&str]) -> String {
    let mut call = ec2.create_network_interface().subnet_id(subnet);
    for group in groups {
        call = call.groups(*group);
    }
    let id = call.send().await.unwrap().network_interface.unwrap().network_interface_id.unwrap();
    wait(1.0).await;
    id
}

impl Site {
    pub(crate) async fn open() -> Self {
        let (account, ec2) = empty();
        let vpc = vpc(&ec2, "10.0.0.0/16").await;
        let answer = ec2.create_internet_gateway().send().await.unwrap();
        let gateway = answer.internet_gateway.unwrap().internet_gateway_id.unwrap();
        wait(1.0).await;
        ec2.attach_internet_gateway().internet_gateway_id(&gateway).vpc_id(&vpc).send().await.unwrap();
        let public =
            [subnet(&ec2, &vpc, "10.0.0.0/24", "a").await, subnet(&ec2, &vpc, "10.0.1.0/24", "b").await];
        let private =
            [subnet(&ec2, &vpc, "10.0.2.0/24", "a").await, subnet(&ec2, &vpc, "10.0.3.0/24", "b").await];
        let public_table = table(&ec2, &vpc, &public).await;
        let private_table = table(&ec2, &vpc, &private).await;
        ec2.create_route()
            .route_table_id(&public_table)
            .destination_cidr_block("0.0.0.0/0")
            .gateway_id(&gateway)
            .send()
            .await
            .unwrap();
        Self { account, ec2, vpc, gateway, public, private, public_table, private_table }
    }

    /// Creates a NAT gateway in the first public subnet; it is pending.
    pub(crate) async fn nat(&self) -> (String, String) {
        let address = address(&self.ec2).await;
        let call = self.ec2.create_nat_gateway().subnet_id(&self.public[0]).allocation_id(&address);
        let nat = call.send().await.unwrap().nat_gateway.unwrap().nat_gateway_id.unwrap();
        (nat, address)
    }

    pub(crate) async fn nat_state(&self, id: &str) -> String {
        let answer = self.ec2.describe_nat_gateways().nat_gateway_ids(id).send().await.unwrap();
        answer.nat_gateways()[0].state().unwrap().as_str().to_owned()
    }

    /// Enables the VPC attributes that private DNS names need.
    pub(crate) async fn with_dns(&self) {
        let on = aws_sdk_ec2::types::AttributeBooleanValue::builder().value(true).build();
        let call = self.ec2.modify_vpc_attribute().vpc_id(&self.vpc).enable_dns_hostnames(on);
        call.send().await.unwrap();
        wait(2.0).await;
    }
}

/// The code of a refusal.
pub(crate) fn code<T: Debug, E: ProvideErrorMetadata + Debug>(result: Result<T, SdkError<E>>) -> String {
    result.unwrap_err().code().unwrap_or_default().to_owned()
}

/// The code and the message of a refusal.
pub(crate) fn refusal<T: Debug, E: ProvideErrorMetadata + Debug>(
    result: Result<T, SdkError<E>>,
) -> (String, String) {
    let error = result.unwrap_err();
    (error.code().unwrap_or_default().to_owned(), error.message().unwrap_or_default().to_owned())
}

pub(crate) fn tags(kind: ResourceType, tags: &[(&str, &str)]) -> TagSpecification {
    let tags = tags.iter().map(|(key, value)| Tag::builder().key(*key).value(*value).build()).collect();
    TagSpecification::builder().resource_type(kind).set_tags(Some(tags)).build()
}

pub(crate) fn filter(name: &str, value: &str) -> Filter {
    Filter::builder().name(name).values(value).build()
}

/// TCP on a port from a CIDR block.
pub(crate) fn tcp(port: i32, cidr: &str) -> IpPermission {
    IpPermission::builder()
        .ip_protocol("tcp")
        .from_port(port)
        .to_port(port)
        .ip_ranges(IpRange::builder().cidr_ip(cidr).build())
        .build()
}

/// TCP on a port from a group.
pub(crate) fn tcp_of(port: i32, group: &str) -> IpPermission {
    IpPermission::builder()
        .ip_protocol("tcp")
        .from_port(port)
        .to_port(port)
        .user_id_group_pairs(UserIdGroupPair::builder().group_id(group).build())
        .build()
}
