//! VPCs and the ways in and out of them.

use super::Call;
use crate::services::ec2::thing::{Kind, Thing};
use crate::services::ec2::{address, route_table};

/// Whether it is a call of these.
pub(super) fn access(call: &mut Call<'_, '_>) -> bool {
    match call.operation {
        "CreateVpc" => call.creates(Kind::Vpc),
        "DeleteVpc" | "ModifyVpcAttribute" | "DescribeVpcAttribute" => call.names(Kind::Vpc, "VpcId"),
        "CreateSubnet" => {
            call.names(Kind::Vpc, "VpcId");
            call.creates(Kind::Subnet);
        }
        "DeleteSubnet" | "ModifySubnetAttribute" => call.names(Kind::Subnet, "SubnetId"),
        "CreateInternetGateway" => call.creates(Kind::InternetGateway),
        "AttachInternetGateway" | "DetachInternetGateway" => {
            call.names(Kind::InternetGateway, "InternetGatewayId");
            call.names(Kind::Vpc, "VpcId");
        }
        "DeleteInternetGateway" => call.names(Kind::InternetGateway, "InternetGatewayId"),
        "CreateNatGateway" => {
            call.names(Kind::Subnet, "SubnetId");
            call.may_name(Kind::Address, "AllocationId");
            call.creates(Kind::NatGateway);
        }
        "DeleteNatGateway" => call.names(Kind::NatGateway, "NatGatewayId"),
        _ => return route_tables(call) || addresses(call) || endpoints(call),
    }
    true
}

fn route_tables(call: &mut Call<'_, '_>) -> bool {
    match call.operation {
        "CreateRouteTable" => {
            call.names(Kind::Vpc, "VpcId");
            call.creates(Kind::RouteTable);
        }
        "DeleteRouteTable" | "CreateRoute" | "ReplaceRoute" | "DeleteRoute" => {
            call.names(Kind::RouteTable, "RouteTableId");
        }
        "AssociateRouteTable" => {
            call.names(Kind::RouteTable, "RouteTableId");
            call.names(Kind::Subnet, "SubnetId");
        }
        "ReplaceRouteTableAssociation" => {
            call.names(Kind::RouteTable, "RouteTableId");
            associated_with_table(call);
        }
        "DisassociateRouteTable" => associated_with_table(call),
        _ => return false,
    }
    true
}

/// The table and the subnet of the association that a call names.
fn associated_with_table(call: &mut Call<'_, '_>) {
    let association = call.params.text("AssociationId").unwrap_or_default();
    let (table, subnet) = route_table::of_association(call.asks.world, &association).unwrap_or(("*", None));
    call.on(Kind::RouteTable, table);
    if let Some(subnet) = subnet {
        call.on(Kind::Subnet, subnet);
    }
}

fn addresses(call: &mut Call<'_, '_>) -> bool {
    match call.operation {
        "AllocateAddress" => call.creates(Kind::Address),
        "AssociateAddress" => {
            call.names(Kind::Address, "AllocationId");
            call.names(Kind::Instance, "InstanceId");
            interface_of_instance(call);
        }
        "DisassociateAddress" => associated_with_address(call),
        "ReleaseAddress" => call.names(Kind::Address, "AllocationId"),
        _ => return false,
    }
    true
}

/// The interface that gets the address. The reference does not say whether AWS asks for it where a call names the
/// instance: here it does.
fn interface_of_instance(call: &mut Call<'_, '_>) {
    let id = call.params.text("InstanceId").unwrap_or_default();
    if let Some(instance) = call.asks.world.ec2.instances.get(&id) {
        call.on(Kind::Interface, &instance.interface);
    }
}

/// The address and the interface of the association that a call names.
fn associated_with_address(call: &mut Call<'_, '_>) {
    let world = call.asks.world;
    let association = call.params.text("AssociationId").unwrap_or_default();
    let Some((interface, public)) = address::of_association(world, &association) else {
        call.on(Kind::Address, "*");
        return;
    };
    if let Some(allocation) = &public.allocation {
        call.on(Kind::Address, allocation);
    }
    call.on(Kind::Interface, interface.id());
}

fn endpoints(call: &mut Call<'_, '_>) -> bool {
    match call.operation {
        "CreateVpcEndpoint" => create_endpoint(call),
        "ModifyVpcEndpoint" => {
            call.names(Kind::Endpoint, "VpcEndpointId");
            for (kind, noun) in [
                (Kind::RouteTable, "RouteTableId"),
                (Kind::Subnet, "SubnetId"),
                (Kind::Group, "SecurityGroupId"),
            ] {
                call.may_name(kind, &format!("Add{noun}"));
                call.may_name(kind, &format!("Remove{noun}"));
            }
        }
        "DeleteVpcEndpoints" => call.names(Kind::Endpoint, "VpcEndpointId"),
        _ => return false,
    }
    true
}

/// Source of the actions of other names: the dependent actions of `CreateVpcEndpoint` in the reference.
fn create_endpoint(call: &mut Call<'_, '_>) {
    let is_interface = call.params.text("VpcEndpointType").as_deref() == Some("Interface");
    call.names(Kind::Vpc, "VpcId");
    call.may_name(Kind::RouteTable, "RouteTableId");
    call.may_name(Kind::Subnet, "SubnetId");
    if is_interface {
        let vpc = call.params.text("VpcId");
        call.groups_or_default(call.params.list("SecurityGroupId"), vpc.as_deref());
    } else {
        call.may_name(Kind::Group, "SecurityGroupId");
    }
    call.creates(Kind::Endpoint);
    for action in ["ec2:DescribeSecurityGroups", "ec2:DescribeSubnets", "ec2:DescribeVpcs"] {
        call.asks.also(action, "", "*", None);
    }
    // The default of interface endpoints is true.
    if is_interface && call.params.text("PrivateDnsEnabled").as_deref() != Some("false") {
        let zones = "arn:aws:route53:::hostedzone/*";
        call.asks.also("route53:AssociateVPCWithHostedZone", "hostedzone", zones, None);
    }
}
