//! Network interfaces of NAT gateways, endpoints, instances and other services, and those that callers create.

use std::net::Ipv4Addr;
use std::time::Duration;

use serde_json::{Value, json};

use super::group::{self, Group};
use super::query::{Filter, one, optional};
use super::resource::{Entity, Kind, Resource, done, every, find, find_mut, stored_in, tag_set};
use super::{Attached, Attachment, address, subnet, tagging, token};
use crate::clock::Clock;
use crate::params::{Params, Refusal};
use crate::protocol::Reply;
use crate::world::{Tags, World};

/// AWS's default quota of security groups for one interface.
const MOST_GROUPS: usize = 5;

#[derive(Debug, Clone)]
pub(crate) struct Interface {
    pub(super) entity: Entity,
    pub(super) vpc: String,
    pub(super) subnet: String,
    pub(super) zone: String,
    pub(super) groups: Vec<String>,
    pub(super) address: Ipv4Addr,
    pub(super) description: String,
    kind: String,
    pub(super) holder: Holder,
    public: Option<Public>,
}

/// A public address that the internet gateway maps to an interface.
#[derive(Debug, Clone)]
pub(super) struct Public {
    pub(super) address: Ipv4Addr,
    /// The allocation of the Elastic IP address; `None` for an automatic address.
    pub(super) allocation: Option<String>,
    pub(super) association: String,
    /// When it stops being mapped, if that is known.
    until: Option<Duration>,
}

/// The owner of an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Holder {
    /// None: a caller created it.
    Nobody,
    /// The instance with this ID.
    Instance(String),
    /// An AWS service, with its name as requester. `resource` is the ID of the NAT gateway or endpoint, if it belongs
    /// to one.
    Service { requester: String, resource: Option<String> },
}

/// The parameters of a new interface.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) subnet: String,
    pub(super) groups: Vec<String>,
    pub(super) description: String,
    pub(super) kind: String,
    pub(super) holder: Holder,
    /// A private address, or else a free one is used.
    pub(super) address: Option<String>,
    pub(super) tags: Tags,
}

impl Interface {
    fn requester(&self) -> Option<&str> {
        match &self.holder {
            Holder::Service { requester, .. } => Some(requester),
            _ => None,
        }
    }

    fn group_names(&self, world: &World) -> Vec<String> {
        let groups = &world.states.ec2.groups;
        self.groups.iter().filter_map(|id| groups.get(id).map(|group| group.name.clone())).collect()
    }

    /// Its public address at a time.
    pub(super) fn public(&self, now: Duration) -> Option<&Public> {
        self.public.as_ref().filter(|public| public.until.is_none_or(|until| now < until))
    }

    pub(super) fn has_public_address(&self, now: Duration) -> bool {
        self.public(now).is_some()
    }

    pub(super) fn is_managed(&self) -> bool {
        matches!(self.holder, Holder::Service { .. })
    }

    fn status(&self) -> &'static str {
        if self.holder == Holder::Nobody { "available" } else { "in-use" }
    }

    /// The owner that its attachment shows.
    fn attachment_owner<'w>(&'w self, world: &'w World) -> Option<&'w str> {
        match &self.holder {
            Holder::Nobody => None,
            Holder::Instance(_) => Some(&world.account),
            Holder::Service { requester, .. } => Some(requester),
        }
    }

    pub(super) fn instance(&self) -> Option<&str> {
        match &self.holder {
            Holder::Instance(id) => Some(id),
            _ => None,
        }
    }

    /// Its groups, in the form of `groupSet`.
    pub(super) fn group_set(&self, world: &World) -> Value {
        group::identifiers(world, &self.groups)
    }

    /// Its mapping, in the form of `association`.
    pub(super) fn association(&self, world: &World) -> Option<Value> {
        let public = self.public(world.now)?;
        Some(json!({
            "publicIp": public.address.to_string(),
            "ipOwnerId": if public.allocation.is_some() { &world.account } else { "amazon" },
            "allocationId": public.allocation,
            "associationId": public.allocation.as_ref().map(|_| &public.association),
        }))
    }
}

impl Resource for Interface {
    const KIND: Kind = Kind {
        prefix: "eni",
        tag_type: "network-interface",
        not_found: ("InvalidNetworkInterfaceID.NotFound", "The networkInterface ID '{id}' does not exist"),
        malformed: "InvalidNetworkInterfaceId.Malformed",
    };
    const IDS: &'static str = "NetworkInterfaceId";
    const SET: &'static str = "networkInterfaceSet";
    const FILTERS: &'static [Filter<Self>] = &[
        ("network-interface-id", |interface, _| one(interface.id())),
        ("description", |interface, _| one(&interface.description)),
        ("requester-id", |interface, _| optional(interface.requester())),
        ("requester-managed", |interface, _| one(interface.is_managed().to_string())),
        ("group-id", |interface, _| interface.groups.clone()),
        ("group-name", |interface, world| interface.group_names(world)),
        ("subnet-id", |interface, _| one(&interface.subnet)),
        ("vpc-id", |interface, _| one(&interface.vpc)),
        ("availability-zone", |interface, _| one(&interface.zone)),
        ("status", |interface, _| one(interface.status())),
        ("interface-type", |interface, _| one(&interface.kind)),
        ("owner-id", |_, world| one(&world.account)),
        ("private-ip-address", |interface, _| one(interface.address.to_string())),
        ("addresses.private-ip-address", |interface, _| one(interface.address.to_string())),
        ("attachment.instance-id", |interface, _| optional(interface.instance())),
        ("attachment.instance-owner-id", |interface, world| optional(interface.attachment_owner(world))),
        ("attachment.status", |interface, _| {
            optional((interface.holder != Holder::Nobody).then_some("attached"))
        }),
        ("association.public-ip", |interface, world| {
            optional(interface.public(world.now).map(|public| public.address.to_string()))
        }),
        ("association.allocation-id", |interface, world| {
            optional(interface.public(world.now).and_then(|public| public.allocation.as_deref()))
        }),
    ];

    stored_in!(interfaces);

    fn document(&self, world: &World) -> Value {
        let requester = match &self.holder {
            Holder::Service { requester, .. } => Some(requester),
            _ => None,
        };
        let attachment = self.attachment_owner(world).map(|owner| {
            json!({
                "attachmentId": self.entity.id.replace("eni-", "eni-attach-"),
                "instanceId": self.instance(),
                "instanceOwnerId": owner,
                "deviceIndex": i32::from(self.is_managed()),
                "status": "attached",
                "attachTime": Clock::date(self.entity.created),
                "deleteOnTermination": !self.is_managed(),
            })
        });
        json!({
            "networkInterfaceId": self.entity.id,
            "subnetId": self.subnet,
            "vpcId": self.vpc,
            "availabilityZone": self.zone,
            "description": self.description,
            "ownerId": world.account,
            "requesterId": requester,
            "requesterManaged": self.is_managed(),
            "status": self.status(),
            "interfaceType": self.kind,
            "privateIpAddress": self.address.to_string(),
            "sourceDestCheck": self.kind != "nat_gateway",
            "groupSet": self.group_set(world),
            "attachment": attachment,
            "association": self.association(world),
            "privateIpAddressesSet": [{
                "privateIpAddress": self.address.to_string(),
                "primary": true,
                "association": self.association(world),
            }],
            "tagSet": tag_set(&self.entity.tags),
        })
    }
}

/// Checks that an interface in a VPC can have these groups.
///
/// # Errors
/// `InvalidGroup.NotFound` (also for a group of another VPC) or `SecurityGroupsPerInterfaceLimitExceeded`.
pub(super) fn check_groups(world: &World, vpc: &str, groups: &[String]) -> Result<(), Refusal> {
    for id in groups {
        if find::<Group>(world, id)?.vpc != vpc {
            return Err(Refusal::new(
                "InvalidGroup.NotFound",
                format!(
                    "You have specified two resources that belong to different networks: security group {id} is not in {vpc}."
                ),
            ));
        }
    }
    if groups.len() > MOST_GROUPS {
        return Err(Refusal::new(
            "SecurityGroupsPerInterfaceLimitExceeded",
            "The maximum number of security groups per interface has been reached.",
        ));
    }
    Ok(())
}

/// Creates an interface.
///
/// # Errors
/// If the subnet, a group or the address is not available.
pub(super) fn make(world: &mut World, wanted: Wanted) -> Result<String, Refusal> {
    let subnet = subnet::usable(world, &wanted.subnet)?;
    check_groups(world, &subnet.vpc, &wanted.groups)?;
    let address = match &wanted.address {
        Some(wanted) => subnet.claim(world, wanted)?,
        None => subnet.free_address(world)?,
    };
    let (vpc, zone) = (subnet.vpc.clone(), subnet.zone.clone());
    let id = world.id(Interface::KIND.prefix);
    let interface = Interface {
        entity: Entity::new(id.clone(), wanted.tags, world.now),
        vpc,
        subnet: wanted.subnet,
        zone,
        groups: wanted.groups,
        address,
        description: wanted.description,
        kind: wanted.kind,
        holder: wanted.holder,
        public: None,
    };
    world.states.ec2.interfaces.insert(id.clone(), interface);
    Ok(id)
}

/// Maps a public address to an interface: an Elastic IP address or an automatic one.
pub(super) fn map_public(world: &mut World, id: &str, allocation: Option<&str>) {
    let elastic = allocation.and_then(|id| world.states.ec2.addresses.get(id)).map(|address| address.public);
    let address = elastic.unwrap_or_else(|| address::new_public(world));
    let association = world.id("eipassoc");
    if let Some(interface) = world.states.ec2.interfaces.get_mut(id) {
        let allocation = allocation.map(str::to_owned);
        interface.public = Some(Public { address, allocation, association, until: None });
    }
}

/// Removes the public address at a time. It still counts as mapped for a while after that: AWS refuses to detach the
/// internet gateway for the duration of a detachment in the latency model.
pub(super) fn unmap_public(world: &mut World, id: &str, at: Duration) {
    let now = world.now;
    let Some(interface) = world.states.ec2.interfaces.get_mut(id) else { return };
    if !interface.has_public_address(now) {
        return;
    }
    if let Some(public) = &mut interface.public {
        public.until = Some(public.until.map_or(at, |until| until.min(at)));
    }
    let vpc = interface.vpc.clone();
    let mapped_until = at + world.latency.delete("internet_gateway");
    if let Some(vpc) = world.states.ec2.vpcs.get_mut(&vpc) {
        vpc.mapped_until = vpc.mapped_until.max(mapped_until);
    }
}

/// Gives an instance's interface an automatic public address, or removes it.
pub(super) fn modify_attribute(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let id = params.required("NetworkInterfaceId")?;
    let public = params.flag("AssociatePublicIpAddress")?;
    params.done()?;
    let Some(public) = public else {
        return Err(Refusal::new(
            "MissingParameter",
            "The request must contain exactly one attribute of the network interface",
        ));
    };
    let interface = find::<Interface>(world, &id)?;
    let elastic = interface.public(world.now).is_some_and(|public| public.allocation.is_some());
    let has = interface.has_public_address(world.now);
    if elastic || interface.is_managed() {
        return Err(Refusal::new(
            "OperationNotPermitted",
            format!("The public address of the network interface '{id}' can't be changed."),
        ));
    }
    match (public, has) {
        (true, false) => map_public(world, &id, None),
        (false, true) => unmap_public(world, &id, world.now),
        _ => {}
    }
    Ok(done())
}

/// Deletes an interface at a time, unless its deletion is due earlier.
pub(super) fn release(world: &mut World, id: &str, at: Duration) {
    unmap_public(world, id, at);
    if let Some(interface) = world.states.ec2.interfaces.get_mut(id) {
        interface.entity.gone = Some(interface.entity.gone.map_or(at, |gone| gone.min(at)));
    }
}

/// Creates an interface for another service.
///
/// # Errors
/// Those of [`make`].
pub(super) fn attach(world: &mut World, attachment: &Attachment<'_>) -> Result<Attached, Refusal> {
    let id = make(
        world,
        Wanted {
            subnet: attachment.subnet.into(),
            groups: attachment.groups.to_vec(),
            description: attachment.description.into(),
            kind: attachment.kind.into(),
            holder: Holder::Service { requester: attachment.requester.into(), resource: None },
            address: None,
            tags: Tags::new(),
        },
    )?;
    if attachment.public {
        map_public(world, &id, None);
    }
    let address =
        world.states.ec2.interfaces.get(&id).map_or(Ipv4Addr::UNSPECIFIED, |interface| interface.address);
    Ok(Attached { interface: id, address })
}

pub(super) fn set_groups(world: &mut World, id: &str, groups: &[String]) {
    if let Some(interface) = world.states.ec2.interfaces.get_mut(id) {
        interface.groups = groups.to_vec();
    }
}

pub(super) fn create(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let subnet = params.required("SubnetId")?;
    let groups = params.list("SecurityGroupId");
    let description = params.text("Description").unwrap_or_default();
    let address = params.text("PrivateIpAddress");
    let client_token = params.text("ClientToken");
    let tags = tagging::for_new(params, Interface::KIND)?;
    params.done()?;
    let request = (&subnet, &groups, &description, &address, &tags);
    let token = client_token.as_deref();
    let before = token::used(world, "CreateNetworkInterface", token, &request)?;
    if let Some(interface) = before.and_then(|ids| world.states.ec2.interfaces.get(ids.first()?)) {
        return Ok(
            json!({ "networkInterface": interface.document(world), "clientToken": client_token }).into()
        );
    }
    let vpc = subnet::usable(world, &subnet)?.vpc.clone();
    let used = if groups.is_empty() { group::default_of(world, &vpc) } else { groups.clone() };
    let wanted = Wanted {
        subnet: subnet.clone(),
        groups: used,
        description: description.clone(),
        kind: "interface".into(),
        holder: Holder::Nobody,
        address: address.clone(),
        tags: tags.clone(),
    };
    let id = make(world, wanted)?;
    token::remember(world, "CreateNetworkInterface", token, &request, vec![id.clone()]);
    let document = world.states.ec2.interfaces.get(&id).map(|interface| interface.document(world));
    Ok(json!({ "networkInterface": document, "clientToken": client_token }).into())
}

pub(super) fn delete(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let id = params.required("NetworkInterfaceId")?;
    params.done()?;
    // Only its owner can delete an interface of a service or an instance.
    if find::<Interface>(world, &id)?.holder != Holder::Nobody {
        return Err(Refusal::new(
            "InvalidParameterValue",
            format!("Network interface '{id}' is currently in use."),
        ));
    }
    let now = world.now;
    find_mut::<Interface>(world, &id)?.entity.gone = Some(now);
    Ok(done())
}

/// The interfaces in a group.
pub(super) fn any_with_group(world: &World, group: &str) -> bool {
    every::<Interface>(world).any(|interface| interface.groups.iter().any(|each| each == group))
}

/// The subnet of an interface, if it exists.
pub(super) fn subnet_of(world: &World, id: &str) -> Option<String> {
    world.states.ec2.interfaces.get(id).map(|interface| interface.subnet.clone())
}
