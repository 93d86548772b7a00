//! Subnets, and the addresses in them.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::Duration;

use ipnet::Ipv4Net;
use serde_json::{Value, json};

use super::interface::Interface;
use super::query::{Filter, one};
use super::resource::{
    Entity, Kind, Late, Resource, done, every, find, find_mut, has_dependencies, invalid, stored_in, tag_set,
};
use super::{offers, tagging, vpc, zone};
use crate::params::{Params, Refusal};
use crate::protocol::Reply;
use crate::world::World;

/// AWS's default quota of subnets in a VPC.
const MOST_SUBNETS: usize = 200;

#[derive(Debug, Clone)]
pub(crate) struct Subnet {
    pub(super) entity: Entity,
    pub(super) vpc: String,
    pub(super) zone: String,
    pub(super) cidr: Ipv4Net,
    ready: Duration,
    maps_public_addresses: Late<bool>,
}

impl Subnet {
    pub(super) fn is_available(&self, now: Duration) -> bool {
        self.ready <= now
    }

    /// Whether a new interface gets a public address by default.
    pub(super) fn maps_public_addresses(&self, now: Duration) -> bool {
        self.maps_public_addresses.shown(now)
    }

    fn state(&self, now: Duration) -> &'static str {
        if self.is_available(now) { "available" } else { "pending" }
    }

    fn taken(&self, world: &World) -> BTreeSet<Ipv4Addr> {
        every::<Interface>(world)
            .filter(|interface| interface.subnet == self.entity.id)
            .map(|interface| interface.address)
            .collect()
    }

    /// The number of free addresses: AWS reserves the first four and the last of each subnet.
    pub(super) fn free(&self, world: &World) -> usize {
        (1_usize << (32 - self.cidr.prefix_len())) - 5 - self.taken(world).len()
    }

    /// A free address.
    ///
    /// # Errors
    /// `InsufficientFreeAddressesInSubnet` if there is none.
    pub(super) fn free_address(&self, world: &World) -> Result<Ipv4Addr, Refusal> {
        let taken = self.taken(world);
        self.usable_addresses().find(|address| !taken.contains(address)).ok_or_else(|| {
            Refusal::new(
                "InsufficientFreeAddressesInSubnet",
                format!("The specified subnet {} does not have enough free addresses.", self.entity.id),
            )
        })
    }

    /// Checks the address of a request.
    ///
    /// # Errors
    /// `InvalidParameterValue` outside the subnet, `InvalidIPAddress.InUse` if it is used.
    pub(super) fn claim(&self, world: &World, wanted: &str) -> Result<Ipv4Addr, Refusal> {
        let address = wanted
            .parse()
            .ok()
            .filter(|address| self.usable_addresses().any(|usable| usable == *address))
            .ok_or_else(|| {
                invalid(wanted, "privateIpAddress", "Address does not fall within the subnet's address range")
            })?;
        if self.taken(world).contains(&address) {
            return Err(Refusal::new("InvalidIPAddress.InUse", format!("Address {address} is in use.")));
        }
        Ok(address)
    }

    fn usable_addresses(&self) -> impl Iterator<Item = Ipv4Addr> {
        let (first, last) = (u32::from(self.cidr.network()) + 4, u32::from(self.cidr.broadcast()));
        (first..last).map(Ipv4Addr::from)
    }
}

impl Resource for Subnet {
    const KIND: Kind = Kind {
        prefix: "subnet",
        tag_type: "subnet",
        not_found: ("InvalidSubnetID.NotFound", "The subnet ID '{id}' does not exist"),
        malformed: "InvalidSubnetID.Malformed",
    };
    const IDS: &'static str = "SubnetId";
    const SET: &'static str = "subnetSet";
    const FILTERS: &'static [Filter<Self>] = &[
        ("subnet-id", |subnet, _| one(subnet.id())),
        ("vpc-id", |subnet, _| one(&subnet.vpc)),
        ("cidr", |subnet, _| one(subnet.cidr.to_string())),
        ("cidr-block", |subnet, _| one(subnet.cidr.to_string())),
        ("cidrBlock", |subnet, _| one(subnet.cidr.to_string())),
        ("availability-zone", |subnet, _| one(&subnet.zone)),
        ("availabilityZone", |subnet, _| one(&subnet.zone)),
        ("availability-zone-id", |subnet, world| one(zone::id_of(world, &subnet.zone))),
        ("availabilityZoneId", |subnet, world| one(zone::id_of(world, &subnet.zone))),
        ("state", |subnet, world| one(subnet.state(world.now))),
        ("map-public-ip-on-launch", |subnet, world| one(subnet.maps_public_addresses(world.now).to_string())),
        ("default-for-az", |_, _| one("false")),
        ("owner-id", |_, world| one(&world.account)),
        ("available-ip-address-count", |subnet, world| one(subnet.free(world).to_string())),
    ];

    stored_in!(subnets);

    fn document(&self, world: &World) -> Value {
        json!({
            "subnetId": self.entity.id,
            "subnetArn": world.arn("ec2", &format!("subnet/{}", self.entity.id)),
            "ownerId": world.account,
            "state": self.state(world.now),
            "vpcId": self.vpc,
            "cidrBlock": self.cidr.to_string(),
            "ipv6CidrBlockAssociationSet": [],
            "availableIpAddressCount": self.free(world),
            "availabilityZone": self.zone,
            "availabilityZoneId": zone::id_of(world, &self.zone),
            "defaultForAz": false,
            "mapPublicIpOnLaunch": self.maps_public_addresses(world.now),
            "assignIpv6AddressOnCreation": false,
            "tagSet": tag_set(&self.entity.tags),
        })
    }
}

/// A subnet in which resources can be created. Stricter than AWS on purpose: see [`vpc::usable`].
///
/// # Errors
/// `InvalidSubnetID.NotFound`, or `IncorrectState` while it is pending.
pub(super) fn usable<'w>(world: &'w World, id: &str) -> Result<&'w Subnet, Refusal> {
    let subnet = find::<Subnet>(world, id)?;
    if subnet.is_available(world.now) {
        return Ok(subnet);
    }
    Err(Refusal::new(
        "IncorrectState",
        format!("The subnet '{id}' is in the state 'pending'; it can be used once it is 'available'."),
    ))
}

pub(super) fn create(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let vpc = params.required("VpcId")?;
    let cidr = params.required("CidrBlock")?;
    let zone_name = params.text("AvailabilityZone");
    let zone_id = params.text("AvailabilityZoneId");
    let tags = tagging::for_new(params, Subnet::KIND)?;
    params.done()?;
    let within = vpc::usable(world, &vpc)?.cidr;
    let zone = choose_zone(world, zone_name, zone_id)?;
    let block = vpc::block(&cidr, "InvalidSubnet.Range")?;
    if !within.contains(&block) {
        return Err(Refusal::new("InvalidSubnet.Range", format!("The CIDR '{cidr}' is invalid.")));
    }
    let overlaps =
        |other: &Subnet| other.vpc == vpc && (other.cidr.contains(&block) || block.contains(&other.cidr));
    if every::<Subnet>(world).any(overlaps) {
        return Err(Refusal::new(
            "InvalidSubnet.Conflict",
            format!("The CIDR '{cidr}' conflicts with another subnet"),
        ));
    }
    if every::<Subnet>(world).filter(|subnet| subnet.vpc == vpc).count() >= MOST_SUBNETS {
        return Err(Refusal::new("SubnetLimitExceeded", "The maximum number of subnets has been reached."));
    }
    let subnet = Subnet {
        entity: Entity::new(world.id(Subnet::KIND.prefix), tags, world.now),
        vpc,
        zone,
        cidr: block,
        ready: world.ready("subnet"),
        maps_public_addresses: Late::new(false),
    };
    let document = subnet.document(world);
    world.states.ec2.subnets.insert(subnet.entity.id.clone(), subnet);
    Ok(json!({ "subnet": document }).into())
}

fn choose_zone(world: &World, name: Option<String>, id: Option<String>) -> Result<String, Refusal> {
    let names = offers::zones_for_subnets(world);
    match (name, id) {
        (Some(_), Some(_)) => Err(Refusal::new(
            "InvalidParameterCombination",
            "The parameters availabilityZone and availabilityZoneId may not be used together",
        )),
        (Some(name), None) if !names.contains(&name) => Err(invalid(
            &name,
            "availabilityZone",
            &format!(
                "Subnets can currently only be created in the following availability zones: {}.",
                names.join(", ")
            ),
        )),
        (Some(name), None) => Ok(name),
        (None, Some(id)) => names
            .into_iter()
            .find(|name| zone::id_of(world, name) == id)
            .ok_or_else(|| invalid(&id, "availabilityZoneId", "There is no such zone.")),
        (None, None) => Ok(names.into_iter().next().unwrap_or_default()),
    }
}

pub(super) fn delete(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let id = params.required("SubnetId")?;
    params.done()?;
    find::<Subnet>(world, &id)?;
    if every::<Interface>(world).any(|interface| interface.subnet == id) {
        return Err(has_dependencies("subnet", &id));
    }
    for table in world.states.ec2.tables.values_mut() {
        table.forget_subnet(&id);
    }
    world.states.ec2.subnets.remove(&id);
    Ok(done())
}

pub(super) fn modify_attribute(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let id = params.required("SubnetId")?;
    let maps = params.section("MapPublicIpOnLaunch").map(|section| section.flag("Value")).transpose()?;
    params.done()?;
    let maps = maps.flatten().ok_or_else(|| {
        Refusal::new("MissingParameter", "The request must contain exactly one attribute of the subnet")
    })?;
    let (now, shows) = (world.now, world.now + world.latency.seconds(vpc::ATTRIBUTE_SECONDS));
    find_mut::<Subnet>(world, &id)?.maps_public_addresses.set(maps, now, shows);
    Ok(done())
}
