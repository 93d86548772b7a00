//! EC2 as other services see it, without the API.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;

use super::address::Address;
use super::endpoint::Endpoint;
use super::gateway::InternetGateway;
use super::group::Group;
use super::instance::Instance;
use super::interface::Interface;
use super::nat::NatGateway;
use super::operations::{self, act};
use super::resource::Resource;
use super::route_table::RouteTable;
use super::rule::Rule;
use super::subnet::Subnet;
use super::volume::Volume;
use super::vpc::Vpc;
use super::{Attachment, advance, attach_interface, detach_interface_at, may_connect, reaches, subnet};
use crate::latency::Latency;
use crate::params::{Params, Refusal, join};
use crate::protocol::Body;
use crate::world::World;

struct Account(World);

impl Account {
    /// A VPC with an attached gateway, a public and a private subnet, and a group that allows all egress.
    fn open() -> (Self, Ids) {
        let latency = Latency::new(stackdrop_figures::LatencyModel::built_in(), None, 1.0);
        let mut account = Self(World::new("123456789012", "eu-central-1", latency));
        let vpc = account.make("CreateVpc", &[("CidrBlock", "10.0.0.0/16")], "/vpc/vpcId");
        let gateway = account.make("CreateInternetGateway", &[], "/internetGateway/internetGatewayId");
        account.done("AttachInternetGateway", &[("VpcId", &vpc), ("InternetGatewayId", &gateway)]);
        account.done("ModifyVpcAttribute", &[("VpcId", &vpc), ("EnableDnsHostnames.Value", "true")]);
        let mut subnet = |cidr: &str| {
            account.make("CreateSubnet", &[("VpcId", &vpc), ("CidrBlock", cidr)], "/subnet/subnetId")
        };
        let (public, private) = (subnet("10.0.0.0/24"), subnet("10.0.1.0/24"));
        let mut table = |subnet: &str| {
            let id = account.make("CreateRouteTable", &[("VpcId", &vpc)], "/routeTable/routeTableId");
            account.done("AssociateRouteTable", &[("RouteTableId", &id), ("SubnetId", subnet)]);
            id
        };
        let (public_table, table) = (table(&public), table(&private));
        account.route(&public_table, "GatewayId", &gateway);
        let group = account.group(&vpc, "own");
        (account, Ids { vpc, public, private, table, group })
    }

    fn call(&mut self, operation: &str, params: &[(&str, &str)]) -> Result<Value, Refusal> {
        let leaves: BTreeMap<String, Value> = params
            .iter()
            .map(|(key, value)| (join(&key.split('.').collect::<Vec<_>>()), Value::from(*value)))
            .collect();
        let reply = act(&mut self.0, operation, &Params::new(leaves, Bytes::new()))?;
        // Long enough for a VPC or a subnet to be available.
        self.wait(12.0);
        match reply.body {
            Body::Document(document) => Ok(document),
            other => panic!("EC2 answers documents, not {other:?}"),
        }
    }

    fn done(&mut self, operation: &str, params: &[(&str, &str)]) {
        self.call(operation, params).unwrap();
    }

    fn make(&mut self, operation: &str, params: &[(&str, &str)], id: &str) -> String {
        self.call(operation, params).unwrap().pointer(id).and_then(Value::as_str).unwrap().to_owned()
    }

    fn group(&mut self, vpc: &str, name: &str) -> String {
        let params = [("VpcId", vpc), ("GroupName", name), ("GroupDescription", name)];
        self.make("CreateSecurityGroup", &params, "/groupId")
    }

    fn route(&mut self, table: &str, target: &str, id: &str) {
        let params = [("RouteTableId", table), ("DestinationCidrBlock", "0.0.0.0/0"), (target, id)];
        self.done("CreateRoute", &params);
    }

    fn wait(&mut self, seconds: f64) {
        self.0.now += Duration::from_secs_f64(seconds);
        advance(&mut self.0);
    }

    fn reaches(&self, ids: &Ids, service: &str) -> bool {
        reaches(&self.0, &ids.private, &ids.groups(), service)
    }

    fn endpoint(&mut self, ids: &Ids, service: &str, group: &str) -> String {
        let params = [
            ("VpcId", ids.vpc.as_str()),
            ("ServiceName", &format!("com.amazonaws.eu-central-1.{service}")),
            ("VpcEndpointType", "Interface"),
            ("SubnetId.1", &ids.private),
            ("SecurityGroupId.1", group),
        ];
        self.make("CreateVpcEndpoint", &params, "/vpcEndpoint/vpcEndpointId")
    }

    fn nat(&mut self, ids: &Ids) -> String {
        let address = self.make("AllocateAddress", &[], "/allocationId");
        let params = [("SubnetId", ids.public.as_str()), ("AllocationId", &address)];
        self.make("CreateNatGateway", &params, "/natGateway/natGatewayId")
    }

    fn let_in(&mut self, group: &str, port: &str, cidr: &str) {
        self.done(
            "AuthorizeSecurityGroupIngress",
            &[
                ("GroupId", group),
                ("IpPermissions.1.IpProtocol", "tcp"),
                ("IpPermissions.1.FromPort", port),
                ("IpPermissions.1.ToPort", port),
                ("IpPermissions.1.IpRanges.1.CidrIp", cidr),
            ],
        );
    }
}

struct Ids {
    vpc: String,
    public: String,
    private: String,
    table: String,
    group: String,
}

impl Ids {
    fn groups(&self) -> Vec<String> {
        vec![self.group.clone()]
    }

    fn attachment<'a>(&'a self, groups: &'a [String]) -> Attachment<'a> {
        Attachment {
            subnet: &self.private,
            groups,
            description: "RDSNetworkInterface",
            requester: "amazon-rds",
            kind: "interface",
            public: false,
        }
    }
}

#[test]
fn a_private_subnet_reaches_out_once_its_nat_gateway_is_available() {
    let (mut account, ids) = Account::open();
    assert!(!account.reaches(&ids, "internet"));
    let nat = account.nat(&ids);
    account.route(&ids.table, "NatGatewayId", &nat);
    assert!(!account.reaches(&ids, "internet"), "it is pending");
    account.wait(106.0);
    assert!(account.reaches(&ids, "internet") && account.reaches(&ids, "ssm"));
    account.done("DeleteNatGateway", &[("NatGatewayId", &nat)]);
    assert!(!account.reaches(&ids, "internet"));
}

#[test]
fn an_endpoint_serves_sources_that_its_groups_admit_only() {
    let (mut account, ids) = Account::open();
    let guard = account.group(&ids.vpc, "endpoints");
    account.endpoint(&ids, "ssm", &guard);
    account.wait(96.0);
    assert!(!account.reaches(&ids, "ssm"), "no rule lets it in");
    account.let_in(&guard, "443", "10.0.1.0/25");
    assert!(!account.reaches(&ids, "ssm"), "half of the subnet is not all of it");
    account.let_in(&guard, "443", "10.0.0.0/16");
    assert!(account.reaches(&ids, "ssm"));
    assert!(!account.reaches(&ids, "logs") && !account.reaches(&ids, "internet"));
}

#[test]
fn an_endpoint_that_refuses_is_not_bypassed_by_a_nat_gateway() {
    let (mut account, ids) = Account::open();
    let nat = account.nat(&ids);
    account.route(&ids.table, "NatGatewayId", &nat);
    account.wait(106.0);
    assert!(account.reaches(&ids, "ssm"));
    let guard = account.group(&ids.vpc, "endpoints");
    let endpoint = account.endpoint(&ids, "ssm", &guard);
    assert!(account.reaches(&ids, "ssm"), "the endpoint is pending: its name does not stand yet");
    account.wait(96.0);
    assert!(!account.reaches(&ids, "ssm"));
    account.done("DeleteVpcEndpoints", &[("VpcEndpointId.1", &endpoint)]);
    assert!(account.reaches(&ids, "ssm"));
}

#[test]
fn a_gateway_endpoint_reaches_its_service_only() {
    let (mut account, ids) = Account::open();
    let params = [
        ("VpcId", ids.vpc.as_str()),
        ("ServiceName", "com.amazonaws.eu-central-1.s3"),
        ("RouteTableId.1", &ids.table),
    ];
    account.done("CreateVpcEndpoint", &params);
    assert!(account.reaches(&ids, "s3"));
    assert!(!account.reaches(&ids, "internet"));
}

#[test]
fn egress_rules_apply_to_outgoing_connections() {
    let (mut account, ids) = Account::open();
    let nat = account.nat(&ids);
    account.route(&ids.table, "NatGatewayId", &nat);
    account.wait(106.0);
    account.done(
        "RevokeSecurityGroupEgress",
        &[
            ("GroupId", &ids.group),
            ("IpPermissions.1.IpProtocol", "-1"),
            ("IpPermissions.1.IpRanges.1.CidrIp", "0.0.0.0/0"),
        ],
    );
    assert!(!account.reaches(&ids, "internet"));
}

#[test]
fn a_public_subnet_reaches_out_with_a_public_address_only() {
    let (mut account, ids) = Account::open();
    let groups = ids.groups();
    assert!(!reaches(&account.0, &ids.public, &groups, "internet"));
    let attachment = Attachment { subnet: &ids.public, public: true, ..ids.attachment(&groups) };
    attach_interface(&mut account.0, &attachment).unwrap();
    assert!(reaches(&account.0, &ids.public, &groups, "internet"));
}

#[test]
fn a_service_interface_remains_for_a_while_and_keeps_its_group_and_subnet() {
    let (mut account, ids) = Account::open();
    let groups = ids.groups();
    let attached = attach_interface(&mut account.0, &ids.attachment(&groups)).unwrap();
    let gone = account.0.now + Duration::from_mins(1);
    detach_interface_at(&mut account.0, &attached.interface, gone);
    let refused = |account: &mut Account| {
        account.0.now += Duration::from_secs(29);
        let group = account.call("DeleteSecurityGroup", &[("GroupId", &ids.group)]).unwrap_err();
        let subnet = account.call("DeleteSubnet", &[("SubnetId", &ids.private)]).unwrap_err();
        (group.code, subnet.code)
    };
    for _ in 0..2 {
        assert_eq!(refused(&mut account), ("DependencyViolation".into(), "DependencyViolation".into()));
    }
    account.0.now += Duration::from_secs(2);
    account.done("DeleteSecurityGroup", &[("GroupId", &ids.group)]);
    account.done("DeleteSubnet", &[("SubnetId", &ids.private)]);
}

#[test]
fn an_interface_is_deleted_at_its_time_whenever_it_is_read() {
    let (mut account, ids) = Account::open();
    let nat = account.nat(&ids);
    account.wait(106.0);
    account.done("DeleteNatGateway", &[("NatGatewayId", &nat)]);
    // Its deletion takes 60.5 s, and its address counts as unmapped after 22 s.
    account.0.now += Duration::from_secs_f64(60.5 + 22.0 - 12.0);
    let detach = |account: &mut Account| {
        let gateway = account.0.states.ec2.gateways.keys().next().cloned().unwrap();
        account.call("DetachInternetGateway", &[("VpcId", &ids.vpc), ("InternetGatewayId", &gateway)])
    };
    detach(&mut account).unwrap();
}

#[test]
fn subnets_and_connections_are_known_to_other_services() {
    let (mut account, ids) = Account::open();
    let facts = |id: &str| subnet(&account.0, id).unwrap();
    assert!(facts(&ids.public).public && !facts(&ids.private).public && facts(&ids.private).available);
    let other = account.group(&ids.vpc, "other");
    account.let_in(&other, "5432", "10.0.1.0/24");
    let connects = |from: &str, port| {
        let to = [other.clone()];
        may_connect(&account.0, &ids.groups(), from.parse().unwrap(), &to, "10.0.1.9".parse().unwrap(), port)
    };
    assert!(connects("10.0.1.4", 5432));
    assert!(!connects("10.0.0.4", 5432) && !connects("10.0.1.4", 5433));
}

#[test]
fn every_filter_has_values_and_an_unknown_filter_is_refused() {
    fn check<T: Resource>(account: &mut Account, operation: &str) {
        for (name, _) in T::FILTERS {
            let repeats = T::FILTERS.iter().filter(|(other, _)| other == name).count();
            assert_eq!(repeats, 1, "{operation}: {name} is in the table more than once");
            let answer = account.call(operation, &[("Filter.1.Name", name), ("Filter.1.Value.1", "*")]);
            assert!(answer.is_ok(), "{operation}: {name}: {answer:?}");
        }
    }
    let (mut account, ids) = Account::open();
    account.nat(&ids);
    account.endpoint(&ids, "ssm", &ids.group);
    check::<Vpc>(&mut account, "DescribeVpcs");
    check::<Subnet>(&mut account, "DescribeSubnets");
    check::<InternetGateway>(&mut account, "DescribeInternetGateways");
    check::<RouteTable>(&mut account, "DescribeRouteTables");
    check::<Address>(&mut account, "DescribeAddresses");
    check::<NatGateway>(&mut account, "DescribeNatGateways");
    check::<Endpoint>(&mut account, "DescribeVpcEndpoints");
    check::<Group>(&mut account, "DescribeSecurityGroups");
    check::<Rule>(&mut account, "DescribeSecurityGroupRules");
    check::<Interface>(&mut account, "DescribeNetworkInterfaces");
    check::<Instance>(&mut account, "DescribeInstances");
    check::<Volume>(&mut account, "DescribeVolumes");
    let takes_no_filter =
        ["DescribeVpcAttribute", "DescribeInstanceAttribute", "DescribeVolumesModifications"];
    let reads = operations::names().filter(|name| name.starts_with("Describe"));
    for operation in reads.filter(|name| !takes_no_filter.contains(name)) {
        let unknown = [("Filter.1.Name", "no-such-filter"), ("Filter.1.Value.1", "*")];
        let refusal = account.call(operation, &unknown).unwrap_err();
        assert_eq!(refusal.message, "The filter 'no-such-filter' is invalid", "{operation}");
    }
}
