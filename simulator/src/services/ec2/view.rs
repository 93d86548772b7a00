//! The account's network, seen without the API: for tests and reports.

use std::collections::BTreeMap;

use super::endpoint::Endpoint;
use super::group::Group;
use super::instance::Instance;
use super::interface::{Holder, Interface};
use super::nat::NatGateway;
use super::paths;
use super::resource::{Resource, every};
use super::rule::{Peer, Rule};
use crate::view::{GroupView, InterfaceView, Origin, RuleView, Source};
use crate::world::{Tags, World};

/// The tags of an interface's owner, or else its own.
fn owner_tags(world: &World, interface: &Interface) -> Tags {
    fn tags<T: Resource>(all: &BTreeMap<String, T>, id: &str) -> Option<Tags> {
        all.get(id).map(|resource| resource.tags().clone())
    }
    let owner = match &interface.holder {
        Holder::Instance(id) => tags::<Instance>(&world.states.ec2.instances, id),
        Holder::Service { resource: Some(id), .. } => tags::<NatGateway>(&world.states.ec2.nats, id)
            .or_else(|| tags::<Endpoint>(&world.states.ec2.endpoints, id)),
        Holder::Service { resource: None, .. } | Holder::Nobody => None,
    };
    owner.filter(|tags| !tags.is_empty()).unwrap_or_else(|| interface.tags().clone())
}

/// Every network interface.
pub(crate) fn interfaces(world: &World) -> Vec<InterfaceView> {
    every::<Interface>(world)
        .map(|interface| {
            let tags = owner_tags(world, interface);
            let name_of = |id: &String| world.states.ec2.groups.get(id).map(|group| group.name.clone());
            InterfaceView {
                id: interface.id().into(),
                description: interface.description.clone(),
                requester: match &interface.holder {
                    Holder::Service { requester, .. } => requester.clone(),
                    Holder::Instance(_) | Holder::Nobody => String::new(),
                },
                subnet: interface.subnet.clone(),
                vpc: interface.vpc.clone(),
                zone: interface.zone.clone(),
                groups: interface
                    .groups
                    .iter()
                    .map(|id| (id.clone(), name_of(id).unwrap_or_default()))
                    .collect(),
                address: interface.address,
                public: interface.has_public_address(world.now),
                instance: match &interface.holder {
                    Holder::Instance(id) => Some(id.clone()),
                    _ => None,
                },
                component: tags.get("stackdrop:component").cloned().unwrap_or_default(),
                tags,
            }
        })
        .collect()
}

/// Whether a TCP connection succeeds.
pub(crate) fn connects(world: &World, from: Origin, to: &str, port: u16) -> bool {
    let find = |id: &str| every::<Interface>(world).find(|interface| interface.id() == id);
    let Some(to) = find(to) else { return false };
    match from {
        Origin::Internet(address) => paths::connects_from_internet(world, address, to, port),
        Origin::Interface(id) => find(&id).is_some_and(|from| paths::connects_inside(world, from, to, port)),
    }
}

/// Every security group, default groups included.
pub(crate) fn security_groups(world: &World) -> Vec<GroupView> {
    let rules = |group: &Group, egress: bool| {
        every::<Rule>(world)
            .filter(|rule| rule.group == group.id() && rule.egress == egress)
            .map(|rule| RuleView {
                id: rule.entity.id.clone(),
                protocol: rule.protocol.clone(),
                from_port: rule.from,
                to_port: rule.to,
                source: match &rule.peer {
                    Peer::Cidr(cidr) => Source::Cidr(cidr.to_string()),
                    Peer::Cidr6(cidr) => Source::Cidr(cidr.to_string()),
                    Peer::Group(id) => Source::Group(id.clone()),
                    Peer::PrefixList(id) => Source::PrefixList(id.clone()),
                },
                description: rule.description.clone().unwrap_or_default(),
            })
            .collect()
    };
    every::<Group>(world)
        .map(|group| GroupView {
            id: group.id().into(),
            name: group.name.clone(),
            vpc: group.vpc.clone(),
            ingress: rules(group, false),
            egress: rules(group, true),
            tags: group.tags().clone(),
        })
        .collect()
}
