//! Every EC2 operation that is simulated.

use Operation::{Read, Write};

use super::query::describe;
use super::{
    address, catalogue, endpoint, endpoint_change, flow_log, gateway, group, instance, instance_change,
    interface, launch, nat, offers, profile, route, route_table, rule, rule_change, subnet, tagging, volume,
    vpc, zone,
};
use crate::params::{Params, Refusal};
use crate::protocol::Reply;
use crate::services::unknown;
use crate::world::World;

enum Operation {
    Read(fn(&World, &Params) -> Result<Reply, Refusal>),
    Write(fn(&mut World, &Params) -> Result<Reply, Refusal>),
}

static OPERATIONS: &[(&str, Operation)] = &[
    // VPCs and subnets.
    ("DescribeAvailabilityZones", Read(zone::describe)),
    ("CreateVpc", Write(vpc::create)),
    ("DescribeVpcs", Read(describe::<vpc::Vpc>)),
    ("DeleteVpc", Write(vpc::delete)),
    ("ModifyVpcAttribute", Write(vpc::modify_attribute)),
    ("DescribeVpcAttribute", Read(vpc::describe_attribute)),
    ("CreateSubnet", Write(subnet::create)),
    ("DescribeSubnets", Read(describe::<subnet::Subnet>)),
    ("DeleteSubnet", Write(subnet::delete)),
    ("ModifySubnetAttribute", Write(subnet::modify_attribute)),
    ("CreateFlowLogs", Write(flow_log::create)),
    ("DescribeFlowLogs", Read(describe::<flow_log::FlowLog>)),
    ("DeleteFlowLogs", Write(flow_log::delete)),
    // Internet gateways and route tables.
    ("CreateInternetGateway", Write(gateway::create)),
    ("AttachInternetGateway", Write(gateway::attach)),
    ("DetachInternetGateway", Write(gateway::detach)),
    ("DeleteInternetGateway", Write(gateway::delete)),
    ("DescribeInternetGateways", Read(describe::<gateway::InternetGateway>)),
    ("CreateRouteTable", Write(route_table::create)),
    ("DescribeRouteTables", Read(describe::<route_table::RouteTable>)),
    ("DeleteRouteTable", Write(route_table::delete)),
    ("AssociateRouteTable", Write(route_table::associate)),
    ("ReplaceRouteTableAssociation", Write(route_table::replace_association)),
    ("DisassociateRouteTable", Write(route_table::disassociate)),
    ("CreateRoute", Write(route::create)),
    ("ReplaceRoute", Write(route::replace)),
    ("DeleteRoute", Write(route::delete)),
    // Addresses, NAT gateways and VPC endpoints.
    ("AllocateAddress", Write(address::allocate)),
    ("DescribeAddresses", Read(address::describe)),
    ("AssociateAddress", Write(address::associate)),
    ("DisassociateAddress", Write(address::disassociate)),
    ("ReleaseAddress", Write(address::release)),
    ("CreateNatGateway", Write(nat::create)),
    ("DescribeNatGateways", Read(describe::<nat::NatGateway>)),
    ("DeleteNatGateway", Write(nat::delete)),
    ("CreateVpcEndpoint", Write(endpoint::create)),
    ("DescribeVpcEndpoints", Read(describe::<endpoint::Endpoint>)),
    ("DescribeVpcEndpointServices", Read(offers::describe_services)),
    ("ModifyVpcEndpoint", Write(endpoint_change::modify)),
    ("DeleteVpcEndpoints", Write(endpoint::delete)),
    // Security groups and network interfaces.
    ("CreateSecurityGroup", Write(group::create)),
    ("DescribeSecurityGroups", Read(describe::<group::Group>)),
    ("DeleteSecurityGroup", Write(group::delete)),
    ("DescribeSecurityGroupRules", Read(describe::<rule::Rule>)),
    ("AuthorizeSecurityGroupIngress", Write(|world, params| rule_change::authorize(world, params, false))),
    ("AuthorizeSecurityGroupEgress", Write(|world, params| rule_change::authorize(world, params, true))),
    ("RevokeSecurityGroupIngress", Write(|world, params| rule_change::revoke(world, params, false))),
    ("RevokeSecurityGroupEgress", Write(|world, params| rule_change::revoke(world, params, true))),
    ("ModifySecurityGroupRules", Write(rule_change::modify)),
    ("CreateNetworkInterface", Write(interface::create)),
    ("DescribeNetworkInterfaces", Read(describe::<interface::Interface>)),
    ("ModifyNetworkInterfaceAttribute", Write(interface::modify_attribute)),
    ("DeleteNetworkInterface", Write(interface::delete)),
    // Instances and their images.
    ("DescribeInstanceTypeOfferings", Read(catalogue::describe_offerings)),
    ("DescribeInstanceTypes", Read(catalogue::describe_types)),
    ("DescribeImages", Read(catalogue::describe_images)),
    ("RunInstances", Write(launch::run)),
    ("DescribeInstances", Read(instance::describe)),
    ("DescribeInstanceStatus", Read(instance::describe_status)),
    ("TerminateInstances", Write(instance_change::terminate)),
    ("StopInstances", Write(instance_change::stop)),
    ("StartInstances", Write(instance_change::start)),
    ("ModifyInstanceAttribute", Write(instance_change::modify_attribute)),
    ("DescribeInstanceAttribute", Read(instance_change::describe_attribute)),
    ("ModifyInstanceMetadataOptions", Write(instance_change::modify_metadata)),
    // Volumes and instance profiles.
    ("DescribeVolumes", Read(describe::<volume::Volume>)),
    ("ModifyVolume", Write(volume::modify)),
    ("DescribeVolumesModifications", Read(volume::describe_modifications)),
    ("DescribeIamInstanceProfileAssociations", Read(profile::describe)),
    ("AssociateIamInstanceProfile", Write(profile::associate)),
    ("DisassociateIamInstanceProfile", Write(profile::disassociate)),
    ("ReplaceIamInstanceProfileAssociation", Write(profile::replace)),
    // Tags.
    ("CreateTags", Write(tagging::create)),
    ("DeleteTags", Write(tagging::delete)),
    ("DescribeTags", Read(tagging::describe)),
];

pub(super) fn act(world: &mut World, operation: &str, params: &Params) -> Result<Reply, Refusal> {
    match OPERATIONS.iter().find(|(name, _)| *name == operation) {
        Some((_, Read(read))) => read(world, params),
        Some((_, Write(write))) => write(world, params),
        None => Err(unknown("ec2", operation)),
    }
}

#[cfg(test)]
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    OPERATIONS.iter().map(|(name, _)| *name)
}
