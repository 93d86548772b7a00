//! Manual changes of network, egress, security groups and instance.

use std::time::Duration;

use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{
    AttributeBooleanValue, Filter, HttpTokensState, InstanceMetadataEndpointState, IpPermission, IpRange,
    RouteTable,
};
use stackdrop::Rehearsal;
use stackdrop_functions::deployment::outputs::{NetworkOutputs, Outputs};

/// A manual change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ManualChange {
    OpenInstance,
    AddDefaultGroupRules,
    DisableHostNames,
    DisableDnsSupport,
    AddDatabaseRoute,
    DeletePublicRoute,
    RoutePrivateSubnetToInternetGateway,
    MoveSubnetToPublicTable,
    MoveSubnetToUnownedTable,
    AddUnownedTableToEndpoint,
    DisassociateSubnetFromTable,
    AssociateUnownedSubnetWithTable,
    MapPublicAddressesInSubnet,
    DetachInternetGateway,
    DeleteNatGateway,
    NarrowEndpointPolicy,
    StopInstance,
    AllowMetadataVersion1,
    LetMetadataLeaveInstance,
    TurnOffMetadata,
    ReplaceInstanceGroup,
    RemoveInstanceProfile,
    ReplaceRoleOfProfile,
    AssociateElasticAddress,
    AssignPublicAddress,
    TrustAnotherService,
}

impl ManualChange {
    pub(crate) async fn apply(self, rehearsal: &Rehearsal, outputs: &Outputs) {
        let ec2 = &Client::new(rehearsal.sdk());
        let network = outputs.network.as_ref().unwrap();
        match self {
            Self::AddDefaultGroupRules
            | Self::DisableHostNames
            | Self::DisableDnsSupport
            | Self::MapPublicAddressesInSubnet => self.change_vpc(ec2, network).await,
            Self::AddDatabaseRoute | Self::DeletePublicRoute | Self::RoutePrivateSubnetToInternetGateway => {
                self.change_routes(ec2, network).await;
            }
            Self::MoveSubnetToPublicTable
            | Self::MoveSubnetToUnownedTable
            | Self::DisassociateSubnetFromTable
            | Self::AssociateUnownedSubnetWithTable => self.change_associations(ec2, network).await,
            Self::AddUnownedTableToEndpoint
            | Self::NarrowEndpointPolicy
            | Self::DetachInternetGateway
            | Self::DeleteNatGateway => self.change_gateways(ec2, outputs).await,
            Self::TrustAnotherService => {
                crate::roles::trust_another_service(rehearsal, crate::roles::INSTANCE).await;
            }
            Self::ReplaceRoleOfProfile => {
                crate::roles::replace_role_of_profile(rehearsal, crate::roles::INSTANCE).await;
            }
            _ => self.change_instance(ec2, outputs).await,
        }
        // The change takes a moment to become visible.
        tokio::time::advance(Duration::from_mins(3)).await;
    }

    async fn change_vpc(self, ec2: &Client, network: &NetworkOutputs) {
        match self {
            Self::AddDefaultGroupRules => {
                let groups = ec2.describe_security_groups().send().await.unwrap().security_groups.unwrap();
                let default = groups.into_iter().find(|group| group.group_name() == Some("default")).unwrap();
                open_ssh(ec2, &default.group_id.unwrap()).await;
            }
            Self::DisableHostNames => {
                let off = AttributeBooleanValue::builder().value(false).build();
                let call = ec2.modify_vpc_attribute().vpc_id(&network.vpc).enable_dns_hostnames(off);
                call.send().await.unwrap();
            }
            Self::DisableDnsSupport => {
                let off = AttributeBooleanValue::builder().value(false).build();
                let call = ec2.modify_vpc_attribute().vpc_id(&network.vpc).enable_dns_support(off);
                call.send().await.unwrap();
            }
            Self::MapPublicAddressesInSubnet => {
                let on = AttributeBooleanValue::builder().value(true).build();
                let subnet = &network.private_subnets["a"];
                let call = ec2.modify_subnet_attribute().subnet_id(subnet).map_public_ip_on_launch(on);
                call.send().await.unwrap();
            }
            other => unreachable!("{other:?} does not change the VPC"),
        }
    }

    async fn change_routes(self, ec2: &Client, network: &NetworkOutputs) {
        match self {
            Self::AddDatabaseRoute => {
                let id = table(ec2, "route-table/database").await.route_table_id.unwrap();
                let call = ec2.create_route().route_table_id(id).destination_cidr_block("0.0.0.0/0");
                call.gateway_id(internet_gateway(ec2).await).send().await.unwrap();
            }
            Self::DeletePublicRoute => {
                let id = table(ec2, "route-table/public").await.route_table_id.unwrap();
                let call = ec2.delete_route().route_table_id(id).destination_cidr_block("0.0.0.0/0");
                call.send().await.unwrap();
            }
            Self::RoutePrivateSubnetToInternetGateway => {
                let call = ec2.replace_route().route_table_id(&network.private_tables["b"]);
                let call = call.destination_cidr_block("0.0.0.0/0");
                call.gateway_id(internet_gateway(ec2).await).send().await.unwrap();
            }
            other => unreachable!("{other:?} does not change routes"),
        }
    }

    async fn change_associations(self, ec2: &Client, network: &NetworkOutputs) {
        if matches!(self, Self::AssociateUnownedSubnetWithTable) {
            let call = ec2.create_subnet().vpc_id(&network.vpc).cidr_block("10.20.255.0/28");
            let subnet = call.send().await.unwrap().subnet.unwrap().subnet_id.unwrap();
            tokio::time::advance(Duration::from_secs(10)).await;
            let call = ec2.associate_route_table().route_table_id(&network.private_tables["a"]);
            call.subnet_id(subnet).send().await.unwrap();
            return;
        }
        let associations = table(ec2, "route-table/private/a").await.associations.unwrap();
        let id = associations[0].route_table_association_id.clone().unwrap();
        if matches!(self, Self::MoveSubnetToUnownedTable) {
            let unowned = create_table(ec2, network).await;
            let call = ec2.replace_route_table_association().route_table_id(unowned);
            call.association_id(id).send().await.unwrap();
            return;
        }
        ec2.disassociate_route_table().association_id(id).send().await.unwrap();
        if matches!(self, Self::MoveSubnetToPublicTable) {
            let public = table(ec2, "route-table/public").await.route_table_id.unwrap();
            let call = ec2.associate_route_table().route_table_id(public);
            call.subnet_id(&network.private_subnets["a"]).send().await.unwrap();
        }
    }

    async fn change_gateways(self, ec2: &Client, outputs: &Outputs) {
        let network = outputs.network.as_ref().unwrap();
        match self {
            Self::AddUnownedTableToEndpoint => {
                let unowned = create_table(ec2, network).await;
                let endpoints = ec2.describe_vpc_endpoints().send().await.unwrap();
                let id = endpoints.vpc_endpoints()[0].vpc_endpoint_id().unwrap();
                let call = ec2.modify_vpc_endpoint().vpc_endpoint_id(id).add_route_table_ids(unowned);
                call.send().await.unwrap();
            }
            Self::NarrowEndpointPolicy => {
                let endpoints = ec2.describe_vpc_endpoints().send().await.unwrap().vpc_endpoints.unwrap();
                let policy = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"*"}]}"#;
                let call = ec2.modify_vpc_endpoint().policy_document(policy);
                call.vpc_endpoint_id(endpoints[0].vpc_endpoint_id().unwrap()).send().await.unwrap();
            }
            Self::DetachInternetGateway => {
                // EC2 refuses this as long as something in the VPC has a public address.
                delete_nat_gateway(ec2, outputs).await;
                tokio::time::advance(Duration::from_mins(15)).await;
                let call = ec2.detach_internet_gateway().internet_gateway_id(internet_gateway(ec2).await);
                call.vpc_id(&network.vpc).send().await.unwrap();
            }
            Self::DeleteNatGateway => delete_nat_gateway(ec2, outputs).await,
            other => unreachable!("{other:?} does not change gateways or endpoints"),
        }
    }

    async fn change_instance(self, ec2: &Client, outputs: &Outputs) {
        let id = outputs.instance.as_ref().unwrap().id.clone().unwrap();
        let groups = outputs.security_groups.as_ref().unwrap();
        match self {
            Self::OpenInstance => open_ssh(ec2, groups.instance.as_ref().unwrap()).await,
            Self::StopInstance => {
                ec2.stop_instances().instance_ids(id).send().await.unwrap();
            }
            Self::AllowMetadataVersion1 => {
                let call = ec2.modify_instance_metadata_options().instance_id(id);
                call.http_tokens(HttpTokensState::Optional).send().await.unwrap();
            }
            Self::LetMetadataLeaveInstance => {
                let call = ec2.modify_instance_metadata_options().instance_id(id);
                call.http_put_response_hop_limit(2).send().await.unwrap();
            }
            Self::TurnOffMetadata => {
                let call = ec2.modify_instance_metadata_options().instance_id(id);
                call.http_endpoint(InstanceMetadataEndpointState::Disabled).send().await.unwrap();
            }
            Self::ReplaceInstanceGroup => {
                let vpc = &outputs.network.as_ref().unwrap().vpc;
                let call = ec2.create_security_group().vpc_id(vpc).group_name("manual").description("manual");
                let group = call.send().await.unwrap().group_id.unwrap();
                tokio::time::advance(Duration::from_secs(10)).await;
                ec2.modify_instance_attribute().instance_id(id).groups(group).send().await.unwrap();
            }
            Self::RemoveInstanceProfile => {
                let found = ec2.describe_iam_instance_profile_associations().send().await.unwrap();
                let association = found.iam_instance_profile_associations()[0].association_id().unwrap();
                ec2.disassociate_iam_instance_profile().association_id(association).send().await.unwrap();
            }
            Self::AssociateElasticAddress => {
                let address = ec2.allocate_address().send().await.unwrap().allocation_id.unwrap();
                tokio::time::advance(Duration::from_secs(10)).await;
                ec2.associate_address().allocation_id(address).instance_id(id).send().await.unwrap();
            }
            Self::AssignPublicAddress => {
                let found = ec2.describe_instances().instance_ids(id).send().await.unwrap();
                let interfaces = found.reservations()[0].instances()[0].network_interfaces();
                let call = ec2.modify_network_interface_attribute().associate_public_ip_address(true);
                let call = call.network_interface_id(interfaces[0].network_interface_id().unwrap());
                call.send().await.unwrap();
            }
            other => unreachable!("{other:?} does not change the instance"),
        }
    }
}

/// The stack's route table with this logical ID.
async fn table(ec2: &Client, logical_id: &str) -> RouteTable {
    let by_logical_id = Filter::builder().name("tag:stackdrop:logical-id").values(logical_id).build();
    let found = ec2.describe_route_tables().filters(by_logical_id).send().await.unwrap();
    found.route_tables()[0].clone()
}

async fn internet_gateway(ec2: &Client) -> String {
    let gateways = ec2.describe_internet_gateways().send().await.unwrap();
    gateways.internet_gateways()[0].internet_gateway_id.clone().unwrap()
}

/// Creates a route table without tags.
async fn create_table(ec2: &Client, network: &NetworkOutputs) -> String {
    let created = ec2.create_route_table().vpc_id(&network.vpc).send().await.unwrap();
    tokio::time::advance(Duration::from_secs(10)).await;
    created.route_table.unwrap().route_table_id.unwrap()
}

async fn delete_nat_gateway(ec2: &Client, outputs: &Outputs) {
    let id = &outputs.egress.as_ref().unwrap().nat_gateways["a"];
    ec2.delete_nat_gateway().nat_gateway_id(id).send().await.unwrap();
}

/// Allows SSH from every address.
async fn open_ssh(ec2: &Client, group: &str) {
    let anyone = IpRange::builder().cidr_ip("0.0.0.0/0").build();
    let rule = IpPermission::builder().ip_protocol("tcp").from_port(22).to_port(22).ip_ranges(anyone).build();
    ec2.authorize_security_group_ingress().group_id(group).ip_permissions(rule).send().await.unwrap();
}
