//! What somebody has done by hand to the network, its way out, its groups and the instance: reported, and put right.

use aws_sdk_ec2::types::{AttributeBooleanValue, Filter, HttpTokensState, IpPermission, IpRange};
use stackdrop::Rehearsal;
use stackdrop::rehearsal::outputs_of;
use stackdrop_functions::deployment::outputs::Outputs;

use crate::updates_network::{INSTANCE_ONLY, assert_planned, planned, redeploy};
use crate::{changes, deployed, rehearsal};

/// Something that was done by hand.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Hand {
    OpensTheInstance,
    GivesTheDefaultGroupRules,
    TurnsHostNamesOff,
    AddsARouteToTheDatabase,
    TakesTheWayOut,
    LeadsPrivateSubnetsOut,
    MovesASubnetToAnotherTable,
    MovesASubnetToAForeignTable,
    GivesTheEndpointAForeignTable,
    TakesASubnetOffItsTable,
    LetsAForeignSubnetUseATable,
    MakesASubnetGivePublicAddresses,
    DetachesTheInternetGateway,
    DeletesTheNatGateway,
    NarrowsTheEndpoint,
    StopsTheInstance,
    AllowsOldMetadata,
    GivesTheInstanceAnotherGroup,
    TakesTheProfile,
    GivesTheInstanceAnElasticAddress,
    GivesTheInstanceAPublicAddress,
    LetsAnotherServiceActAsTheRole,
}

const DRIFTS: [(Hand, &str); 22] = [
    (Hand::OpensTheInstance, "instance in tcp 22 from 0.0.0.0/0 allowed -> (none)"),
    (Hand::GivesTheDefaultGroupRules, "default-security-group rules 1 -> 0"),
    (Hand::TurnsHostNamesOff, "vpc enableDnsHostnames false -> true"),
    (Hand::AddsARouteToTheDatabase, "route-table/database routes.0.0.0.0/0 igw-"),
    (Hand::TakesTheWayOut, "route-table/public routes.0.0.0.0/0 (none) -> igw-"),
    (Hand::LeadsPrivateSubnetsOut, "route/private/b natGateway igw-"),
    (Hand::MovesASubnetToAnotherTable, "subnet/private/a routeTable rtb-"),
    (Hand::MovesASubnetToAForeignTable, "subnet/private/a routeTable rtb-"),
    (Hand::GivesTheEndpointAForeignTable, "endpoint/s3 routeTables"),
    (Hand::TakesASubnetOffItsTable, "subnet/private/a routeTable (the main one) -> route-table/private/a"),
    (Hand::LetsAForeignSubnetUseATable, "route-table/private/a associations subnet-"),
    (Hand::MakesASubnetGivePublicAddresses, "subnet/private/a mapPublicIpOnLaunch true -> false"),
    (Hand::DetachesTheInternetGateway, "internet-gateway attachment (none) -> the VPC"),
    (Hand::DeletesTheNatGateway, "nat/a create"),
    (Hand::NarrowsTheEndpoint, "endpoint/s3 policy"),
    (Hand::StopsTheInstance, "instance state stopped -> running"),
    (Hand::AllowsOldMetadata, "instance metadata.httpTokens optional -> required"),
    (Hand::GivesTheInstanceAnotherGroup, "instance securityGroups sg-"),
    (Hand::TakesTheProfile, "instance profile (none) -> stackdrop-shop"),
    (Hand::GivesTheInstanceAnElasticAddress, "instance publicAddress 198.18."),
    (Hand::GivesTheInstanceAPublicAddress, "instance publicAddress 198.18."),
    (Hand::LetsAnotherServiceActAsTheRole, "role/instance trust {"),
];

/// The spec of these tests.
pub(crate) const SPEC: &str = INSTANCE_ONLY;

/// What can be done by hand to one stack at once.
pub(crate) const AT_ONCE: [&[Hand]; 2] = [
    &[
        Hand::OpensTheInstance,
        Hand::GivesTheDefaultGroupRules,
        Hand::TurnsHostNamesOff,
        Hand::AddsARouteToTheDatabase,
        Hand::TakesTheWayOut,
        Hand::LeadsPrivateSubnetsOut,
        Hand::LetsAForeignSubnetUseATable,
        Hand::MovesASubnetToAnotherTable,
        Hand::MakesASubnetGivePublicAddresses,
        Hand::NarrowsTheEndpoint,
        Hand::AllowsOldMetadata,
        Hand::TakesTheProfile,
        Hand::GivesTheInstanceAnElasticAddress,
        Hand::LetsAnotherServiceActAsTheRole,
    ],
    &[
        Hand::MovesASubnetToAForeignTable,
        Hand::GivesTheEndpointAForeignTable,
        Hand::DeletesTheNatGateway,
        Hand::StopsTheInstance,
        Hand::GivesTheInstanceAnotherGroup,
        Hand::GivesTheInstanceAPublicAddress,
    ],
];

/// Deploys, does all of this by hand, and deploys again.
pub(crate) async fn repaired_at_once(rehearsal: &Rehearsal, hands: &[Hand]) {
    let first = deployed(rehearsal, INSTANCE_ONLY).await;
    for hand in hands {
        hand.acts(rehearsal, &outputs_of(&first).unwrap()).await;
    }
    let repaired = redeploy(rehearsal).await;
    assert!(repaired.succeeded(), "{hands:?}: {:?}", repaired.error());
}

impl Hand {
    async fn acts(self, rehearsal: &Rehearsal, outputs: &Outputs) {
        if !self.acts_on_network(rehearsal, outputs).await {
            self.acts_on_instance(rehearsal, outputs).await;
        }
        // What was done takes a moment to show.
        tokio::time::advance(std::time::Duration::from_mins(3)).await;
    }

    /// Whether it was something of the network.
    async fn acts_on_network(self, rehearsal: &Rehearsal, outputs: &Outputs) -> bool {
        let ec2 = aws_sdk_ec2::Client::new(rehearsal.sdk());
        let network = outputs.network.as_ref().unwrap();
        let gateway = ec2.describe_internet_gateways().send().await.unwrap().internet_gateways()[0].clone();
        let gateway = gateway.internet_gateway_id.unwrap();
        let table = async |role: &str| {
            let by_role = Filter::builder().name("tag:stackdrop:logical-id").values(role).build();
            let found = ec2.describe_route_tables().filters(by_role).send().await.unwrap();
            found.route_tables()[0].clone()
        };
        let (private, foreign_range) = (&network.private_subnets["a"], "10.20.255.0/28");
        match self {
            Self::GivesTheDefaultGroupRules => {
                let groups = ec2.describe_security_groups().send().await.unwrap().security_groups.unwrap();
                let default = groups.into_iter().find(|group| group.group_name() == Some("default")).unwrap();
                open(&ec2, &default.group_id.unwrap()).await;
            }
            Self::TurnsHostNamesOff => {
                let off = AttributeBooleanValue::builder().value(false).build();
                let call = ec2.modify_vpc_attribute().vpc_id(&network.vpc).enable_dns_hostnames(off);
                call.send().await.unwrap();
            }
            Self::AddsARouteToTheDatabase => {
                let id = table("route-table/database").await.route_table_id.unwrap();
                let call = ec2.create_route().route_table_id(id).destination_cidr_block("0.0.0.0/0");
                call.gateway_id(gateway).send().await.unwrap();
            }
            Self::TakesTheWayOut => {
                let id = table("route-table/public").await.route_table_id.unwrap();
                let call = ec2.delete_route().route_table_id(id).destination_cidr_block("0.0.0.0/0");
                call.send().await.unwrap();
            }
            Self::LeadsPrivateSubnetsOut => {
                let call = ec2.replace_route().route_table_id(&network.private_tables["b"]);
                let call = call.destination_cidr_block("0.0.0.0/0").gateway_id(gateway);
                call.send().await.unwrap();
            }
            Self::MovesASubnetToAnotherTable | Self::TakesASubnetOffItsTable => {
                let associations = table("route-table/private/a").await.associations.unwrap();
                let id = associations[0].route_table_association_id.clone().unwrap();
                ec2.disassociate_route_table().association_id(id).send().await.unwrap();
                if matches!(self, Self::MovesASubnetToAnotherTable) {
                    let other = table("route-table/public").await.route_table_id.unwrap();
                    let call = ec2.associate_route_table().route_table_id(other).subnet_id(private);
                    call.send().await.unwrap();
                }
            }
            Self::MovesASubnetToAForeignTable | Self::GivesTheEndpointAForeignTable => {
                let made = ec2.create_route_table().vpc_id(&network.vpc).send().await.unwrap();
                let foreign = made.route_table.unwrap().route_table_id.unwrap();
                tokio::time::advance(std::time::Duration::from_secs(10)).await;
                if matches!(self, Self::GivesTheEndpointAForeignTable) {
                    let endpoints = ec2.describe_vpc_endpoints().send().await.unwrap();
                    let id = endpoints.vpc_endpoints()[0].vpc_endpoint_id().unwrap();
                    let call = ec2.modify_vpc_endpoint().vpc_endpoint_id(id).add_route_table_ids(foreign);
                    call.send().await.unwrap();
                } else {
                    let associations = table("route-table/private/a").await.associations.unwrap();
                    let call = ec2.replace_route_table_association().route_table_id(foreign);
                    let id = associations[0].route_table_association_id.clone().unwrap();
                    call.association_id(id).send().await.unwrap();
                }
            }
            Self::LetsAForeignSubnetUseATable => {
                let call = ec2.create_subnet().vpc_id(&network.vpc).cidr_block(foreign_range);
                let subnet = call.send().await.unwrap().subnet.unwrap().subnet_id.unwrap();
                tokio::time::advance(std::time::Duration::from_secs(10)).await;
                let call = ec2.associate_route_table().route_table_id(&network.private_tables["a"]);
                call.subnet_id(subnet).send().await.unwrap();
            }
            Self::MakesASubnetGivePublicAddresses => {
                let on = AttributeBooleanValue::builder().value(true).build();
                let call = ec2.modify_subnet_attribute().subnet_id(private).map_public_ip_on_launch(on);
                call.send().await.unwrap();
            }
            Self::DetachesTheInternetGateway => {
                // EC2 lets it go only while nothing in the VPC has a public address.
                Box::pin(Self::DeletesTheNatGateway.acts_on_network(rehearsal, outputs)).await;
                tokio::time::advance(std::time::Duration::from_mins(15)).await;
                let call = ec2.detach_internet_gateway().internet_gateway_id(gateway).vpc_id(&network.vpc);
                call.send().await.unwrap();
            }
            Self::DeletesTheNatGateway => {
                let id = &outputs.egress.as_ref().unwrap().nat_gateways["a"];
                ec2.delete_nat_gateway().nat_gateway_id(id).send().await.unwrap();
            }
            Self::NarrowsTheEndpoint => {
                let endpoints = ec2.describe_vpc_endpoints().send().await.unwrap().vpc_endpoints.unwrap();
                let policy = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"*"}]}"#;
                let call = ec2.modify_vpc_endpoint().policy_document(policy);
                call.vpc_endpoint_id(endpoints[0].vpc_endpoint_id().unwrap()).send().await.unwrap();
            }
            _ => return false,
        }
        true
    }

    async fn acts_on_instance(self, rehearsal: &Rehearsal, outputs: &Outputs) {
        let ec2 = aws_sdk_ec2::Client::new(rehearsal.sdk());
        let id = outputs.instance.as_ref().unwrap().id.clone().unwrap();
        let groups = outputs.security_groups.as_ref().unwrap();
        match self {
            Self::OpensTheInstance => open(&ec2, groups.instance.as_ref().unwrap()).await,
            Self::StopsTheInstance => {
                ec2.stop_instances().instance_ids(id).send().await.unwrap();
            }
            Self::AllowsOldMetadata => {
                let call = ec2.modify_instance_metadata_options().instance_id(id);
                call.http_tokens(HttpTokensState::Optional).send().await.unwrap();
            }
            Self::GivesTheInstanceAnotherGroup => {
                let vpc = &outputs.network.as_ref().unwrap().vpc;
                let call =
                    ec2.create_security_group().vpc_id(vpc).group_name("by-hand").description("by hand");
                let group = call.send().await.unwrap().group_id.unwrap();
                tokio::time::advance(std::time::Duration::from_secs(10)).await;
                ec2.modify_instance_attribute().instance_id(id).groups(group).send().await.unwrap();
            }
            Self::TakesTheProfile => {
                let found = ec2.describe_iam_instance_profile_associations().send().await.unwrap();
                let association = found.iam_instance_profile_associations()[0].association_id().unwrap();
                ec2.disassociate_iam_instance_profile().association_id(association).send().await.unwrap();
            }
            Self::GivesTheInstanceAnElasticAddress => {
                let address = ec2.allocate_address().send().await.unwrap().allocation_id.unwrap();
                tokio::time::advance(std::time::Duration::from_secs(10)).await;
                ec2.associate_address().allocation_id(address).instance_id(id).send().await.unwrap();
            }
            Self::GivesTheInstanceAPublicAddress => {
                let found = ec2.describe_instances().instance_ids(id).send().await.unwrap();
                let interfaces = found.reservations()[0].instances()[0].network_interfaces();
                let call = ec2.modify_network_interface_attribute().associate_public_ip_address(true);
                let call = call.network_interface_id(interfaces[0].network_interface_id().unwrap());
                call.send().await.unwrap();
            }
            Self::LetsAnotherServiceActAsTheRole => {
                crate::roles::trust_another_service(rehearsal, crate::roles::INSTANCE).await;
            }
            other => unreachable!("{other:?} is of the network"),
        }
    }
}

/// Lets anybody in on the port of SSH.
async fn open(ec2: &aws_sdk_ec2::Client, group: &str) {
    let anyone = IpRange::builder().cidr_ip("0.0.0.0/0").build();
    let rule = IpPermission::builder().ip_protocol("tcp").from_port(22).to_port(22).ip_ranges(anyone).build();
    ec2.authorize_security_group_ingress().group_id(group).ip_permissions(rule).send().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn manual_changes_are_reported_and_repaired() {
    for (hand, difference) in DRIFTS {
        let rehearsal = rehearsal(INSTANCE_ONLY);
        let first = deployed(&rehearsal, INSTANCE_ONLY).await;
        hand.acts(&rehearsal, &outputs_of(&first).unwrap()).await;
        let repaired = redeploy(&rehearsal).await;
        assert!(repaired.succeeded(), "{hand:?}: {:?}", repaired.error());
        assert_planned(&planned(&rehearsal, &repaired).await, &[difference]);
        assert_ne!(changes(&repaired), Vec::<String>::new(), "{hand:?}");
        let next = redeploy(&rehearsal).await;
        assert_eq!(planned(&rehearsal, &next).await, Vec::<String>::new(), "{hand:?}");
        assert_eq!(changes(&next), Vec::<String>::new(), "{hand:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_subnet_returns_to_its_route_table_in_one_call() {
    let rehearsal = rehearsal(INSTANCE_ONLY);
    let first = deployed(&rehearsal, INSTANCE_ONLY).await;
    Hand::MovesASubnetToAnotherTable.acts(&rehearsal, &outputs_of(&first).unwrap()).await;
    let repaired = redeploy(&rehearsal).await;
    let done: Vec<String> = repaired
        .calls
        .iter()
        .filter(|call| call.writes && call.service == "ec2")
        .filter(|call| call.ending == stackdrop_simulator::Ending::Done)
        .map(stackdrop_simulator::Call::name)
        .collect();
    assert_eq!(done, ["ec2:ReplaceRouteTableAssociation"]);
}
