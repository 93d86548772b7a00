//! VPCs, and their connections to other networks.

use super::Call;
use crate::services::ec2::address::Address;
use crate::services::ec2::endpoint::Endpoint;
use crate::services::ec2::flow_log::FlowLog;
use crate::services::ec2::gateway::InternetGateway;
use crate::services::ec2::group::Group;
use crate::services::ec2::instance::Instance;
use crate::services::ec2::interface::Interface;
use crate::services::ec2::nat::NatGateway;
use crate::services::ec2::resource::Resource;
use crate::services::ec2::route_table::RouteTable;
use crate::services::ec2::subnet::Subnet;
use crate::services::ec2::vpc::Vpc;
use crate::services::ec2::{address, route_table};

/// Returns whether the operation belongs to this file.
pub(super) fn access(call: &mut Call<'_, '_>) -> bool {
    match call.operation {
        "CreateVpc" => call.creates(Vpc::KIND),
        "DeleteVpc" | "ModifyVpcAttribute" | "DescribeVpcAttribute" => call.names(Vpc::KIND, "VpcId"),
        "CreateSubnet" => {
            call.names(Vpc::KIND, "VpcId");
            call.creates(Subnet::KIND);
        }
        "DeleteSubnet" | "ModifySubnetAttribute" => call.names(Subnet::KIND, "SubnetId"),
        "CreateInternetGateway" => call.creates(InternetGateway::KIND),
        "AttachInternetGateway" | "DetachInternetGateway" => {
            call.names(InternetGateway::KIND, "InternetGatewayId");
            call.names(Vpc::KIND, "VpcId");
        }
        "DeleteInternetGateway" => call.names(InternetGateway::KIND, "InternetGatewayId"),
        "CreateNatGateway" => {
            call.names(Subnet::KIND, "SubnetId");
            call.may_name(Address::KIND, "AllocationId");
            call.creates(NatGateway::KIND);
        }
        "DeleteNatGateway" => call.names(NatGateway::KIND, "NatGatewayId"),
        _ => return route_tables(call) || addresses(call) || endpoints(call) || flow_logs(call),
    }
    true
}

fn route_tables(call: &mut Call<'_, '_>) -> bool {
    match call.operation {
        "CreateRouteTable" => {
            call.names(Vpc::KIND, "VpcId");
            call.creates(RouteTable::KIND);
        }
        "DeleteRouteTable" | "CreateRoute" | "ReplaceRoute" | "DeleteRoute" => {
            call.names(RouteTable::KIND, "RouteTableId");
        }
        "AssociateRouteTable" => {
            call.names(RouteTable::KIND, "RouteTableId");
            call.names(Subnet::KIND, "SubnetId");
        }
        "ReplaceRouteTableAssociation" => {
            call.names(RouteTable::KIND, "RouteTableId");
            associated_with_table(call);
        }
        "DisassociateRouteTable" => associated_with_table(call),
        _ => return false,
    }
    true
}

/// The table and the subnet of the association in the request.
fn associated_with_table(call: &mut Call<'_, '_>) {
    let association = call.params.text("AssociationId").unwrap_or_default();
    let (table, subnet) =
        route_table::of_association(call.requests.world, &association).unwrap_or(("*", None));
    call.on(RouteTable::KIND, table);
    if let Some(subnet) = subnet {
        call.on(Subnet::KIND, subnet);
    }
}

fn addresses(call: &mut Call<'_, '_>) -> bool {
    match call.operation {
        "AllocateAddress" => call.creates(Address::KIND),
        "AssociateAddress" => {
            call.names(Address::KIND, "AllocationId");
            call.names(Instance::KIND, "InstanceId");
            interface_of_instance(call);
        }
        "DisassociateAddress" => associated_with_address(call),
        "ReleaseAddress" => call.names(Address::KIND, "AllocationId"),
        _ => return false,
    }
    true
}

/// The interface that gets the address. The reference does not say whether AWS requests it if a call names the
/// instance: the simulator does.
fn interface_of_instance(call: &mut Call<'_, '_>) {
    let id = call.params.text("InstanceId").unwrap_or_default();
    if let Some(instance) = call.requests.world.states.ec2.instances.get(&id) {
        call.on(Interface::KIND, &instance.interface);
    }
}

/// The address and the interface of the association in the request.
fn associated_with_address(call: &mut Call<'_, '_>) {
    let world = call.requests.world;
    let association = call.params.text("AssociationId").unwrap_or_default();
    let Some((interface, public)) = address::of_association(world, &association) else {
        call.on(Address::KIND, "*");
        return;
    };
    if let Some(allocation) = &public.allocation {
        call.on(Address::KIND, allocation);
    }
    call.on(Interface::KIND, interface.id());
}

fn endpoints(call: &mut Call<'_, '_>) -> bool {
    match call.operation {
        "CreateVpcEndpoint" => create_endpoint(call),
        "ModifyVpcEndpoint" => {
            call.names(Endpoint::KIND, "VpcEndpointId");
            for (kind, noun) in [
                (RouteTable::KIND, "RouteTableId"),
                (Subnet::KIND, "SubnetId"),
                (Group::KIND, "SecurityGroupId"),
            ] {
                call.may_name(kind, &format!("Add{noun}"));
                call.may_name(kind, &format!("Remove{noun}"));
            }
        }
        "DeleteVpcEndpoints" => call.names(Endpoint::KIND, "VpcEndpointId"),
        _ => return false,
    }
    true
}

/// Source of the other actions: the dependent actions of `CreateVpcEndpoint` in the reference.
fn create_endpoint(call: &mut Call<'_, '_>) {
    let is_interface = call.params.text("VpcEndpointType").as_deref() == Some("Interface");
    call.names(Vpc::KIND, "VpcId");
    call.may_name(RouteTable::KIND, "RouteTableId");
    call.may_name(Subnet::KIND, "SubnetId");
    if is_interface {
        let vpc = call.params.text("VpcId");
        call.groups_or_default(call.params.list("SecurityGroupId"), vpc.as_deref());
    } else {
        call.may_name(Group::KIND, "SecurityGroupId");
    }
    call.creates(Endpoint::KIND);
    for action in ["ec2:DescribeSecurityGroups", "ec2:DescribeSubnets", "ec2:DescribeVpcs"] {
        call.requests.other_action(action, "", "*", None);
    }
    // Interface endpoints have this enabled by default.
    if is_interface && call.params.text("PrivateDnsEnabled").as_deref() != Some("false") {
        let zones = "arn:aws:route53:::hostedzone/*";
        call.requests.other_action("route53:AssociateVPCWithHostedZone", "hostedzone", zones, None);
    }
}

/// A flow log to S3 also needs permission for the delivery: "Create a flow log that publishes to Amazon S3" in the Amazon VPC
/// User Guide. The page names both actions, whether a flow log is created or deleted.
fn flow_logs(call: &mut Call<'_, '_>) -> bool {
    match call.operation {
        "CreateFlowLogs" => {
            call.names(Vpc::KIND, "ResourceId");
            call.creates(FlowLog::KIND);
        }
        "DeleteFlowLogs" => call.names(FlowLog::KIND, "FlowLogId"),
        _ => return false,
    }
    for action in ["logs:CreateLogDelivery", "logs:DeleteLogDelivery"] {
        call.requests.other_action(action, "", "*", None);
    }
    true
}
