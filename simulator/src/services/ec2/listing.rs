//! The inventory of EC2, with prices.

use stackdrop_figures::prices::PUBLIC_ADDRESS_HOURLY;

use super::address::Address;
use super::endpoint::Endpoint;
use super::flow_log::FlowLog;
use super::gateway::InternetGateway;
use super::group::Group;
use super::instance::{Instance, InstanceState};
use super::interface::{Holder, Interface};
use super::nat::NatGateway;
use super::resource::{Resource, every};
use super::route_table::RouteTable;
use super::subnet::Subnet;
use super::volume::Volume;
use super::vpc::Vpc;
use crate::inventory::Item;
use crate::world::World;

fn item<T: Resource>(kind: &str, resource: &T) -> Item {
    Item::new(kind, resource.id(), resource.tags())
}

/// Lists existing resources, without those that AWS creates and deletes with other ones: main route tables, default
/// security groups, the interfaces of services and instances.
pub(crate) fn inventory(world: &World, items: &mut Vec<Item>) {
    let (now, prices) = (world.now, world.prices());
    items.extend(every::<Vpc>(world).filter(|vpc| !vpc.is_shared()).map(|vpc| item("AWS::EC2::VPC", vpc)));
    items.extend(every::<Subnet>(world).map(|subnet| item("AWS::EC2::Subnet", subnet)));
    items.extend(every::<InternetGateway>(world).map(|gateway| item("AWS::EC2::InternetGateway", gateway)));
    items.extend(
        every::<RouteTable>(world)
            .filter(|table| !table.main)
            .map(|table| item("AWS::EC2::RouteTable", table)),
    );
    items.extend(
        every::<Address>(world).map(|address| item("AWS::EC2::EIP", address).hourly(PUBLIC_ADDRESS_HOURLY)),
    );
    items.extend(
        every::<NatGateway>(world)
            .filter(|nat| nat.is_present(now))
            .map(|nat| item("AWS::EC2::NatGateway", nat).hourly(prices.nat_gateway_hourly())),
    );
    items.extend(every::<Endpoint>(world).filter(|endpoint| endpoint.is_present(now)).map(|endpoint| {
        let zones = u32::try_from(endpoint.interfaces.len()).unwrap_or_default();
        item("AWS::EC2::VPCEndpoint", endpoint).hourly(prices.endpoint_hourly() * f64::from(zones))
    }));
    items.extend(every::<FlowLog>(world).map(|log| item("AWS::EC2::FlowLog", log)));
    items.extend(
        every::<Group>(world)
            .filter(|group| !group.is_default())
            .map(|group| item("AWS::EC2::SecurityGroup", group).named(&group.name)),
    );
    items.extend(
        every::<Interface>(world)
            .filter(|interface| interface.holder == Holder::Nobody)
            .map(|interface| item("AWS::EC2::NetworkInterface", interface)),
    );
    items.extend(
        every::<Instance>(world)
            .filter(|instance| !instance.is_terminated(now))
            .map(|instance| instance_item(world, instance)),
    );
    items.extend(every::<Volume>(world).map(|volume| {
        let gib = i32::try_from(volume.disk.gib).map_or(0.0, f64::from);
        item("AWS::EC2::Volume", volume).monthly(prices.volume_monthly(&volume.disk.kind) * gib)
    }));
}

fn instance_item(world: &World, instance: &Instance) -> Item {
    let mut item = item("AWS::EC2::Instance", instance);
    let stopped = matches!(
        instance.state(world.now),
        InstanceState::STOPPING | InstanceState::STOPPED | InstanceState::SHUTTING_DOWN
    );
    if !stopped {
        item = item.hourly(world.prices().instance_hourly(&instance.kind).map_or(0.0, |price| price.usd));
    }
    if instance.attached(world).is_some_and(|interface| interface.has_public_address(world.now)) {
        item = item.hourly(PUBLIC_ADDRESS_HOURLY);
    }
    item
}
