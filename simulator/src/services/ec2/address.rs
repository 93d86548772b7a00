//! Elastic IP addresses.

use std::net::Ipv4Addr;

use serde_json::{Value, json};

use super::instance::Instance;
use super::interface::{self, Interface, Public};
use super::query::{Filter, Filters, one, optional, select};
use super::resource::{Entity, Kind, Resource, done, every, find, invalid, known, stored_in, tag_set};
use super::{nat, tagging};
use crate::params::{Params, Refusal};
use crate::protocol::Reply;
use crate::services::quotas;
use crate::world::World;

/// The first simulated public address, in a range reserved for network tests (RFC 2544).
const FIRST_PUBLIC: u32 = u32::from_be_bytes([198, 18, 0, 1]);

#[derive(Debug, Clone)]
pub(crate) struct Address {
    pub(super) entity: Entity,
    pub(super) public: Ipv4Addr,
    /// Its pool; `amazon` for an ordinary address.
    pool: &'static str,
}

impl Address {
    /// A value of the address's mapping to an interface, if there is one.
    fn of_mapping(&self, world: &World, value: impl Fn(&Interface, &Public) -> String) -> Vec<String> {
        optional(self.interface(world).map(|(interface, public)| value(interface, public)))
    }

    /// The interface that it is mapped to.
    fn interface<'w>(&self, world: &'w World) -> Option<(&'w Interface, &'w Public)> {
        every::<Interface>(world).find_map(|interface| {
            let public = interface.public(world.now)?;
            (public.allocation.as_deref() == Some(&self.entity.id)).then_some((interface, public))
        })
    }
}

impl Resource for Address {
    const KIND: Kind = Kind {
        prefix: "eipalloc",
        tag_type: "elastic-ip",
        not_found: ("InvalidAllocationID.NotFound", "The allocation ID '{id}' does not exist"),
        malformed: "InvalidAllocationID.Malformed",
    };
    const IDS: &'static str = "AllocationId";
    const SET: &'static str = "addressesSet";
    const FILTERS: &'static [Filter<Self>] = &[
        ("allocation-id", |address, _| one(address.id())),
        ("public-ip", |address, _| one(address.public.to_string())),
        ("domain", |_, _| one("vpc")),
        ("association-id", |address, world| {
            address.of_mapping(world, |_, public| public.association.clone())
        }),
        ("network-interface-id", |address, world| {
            address.of_mapping(world, |interface, _| interface.id().into())
        }),
        ("network-interface-owner-id", |address, world| {
            address.of_mapping(world, |_, _| world.account.clone())
        }),
        ("private-ip-address", |address, world| {
            address.of_mapping(world, |interface, _| interface.address.to_string())
        }),
        // The simulator maps Elastic IP addresses to NAT gateways only.
        ("instance-id", |_, _| Vec::new()),
        ("network-border-group", |_, world| one(&world.region)),
    ];

    stored_in!(addresses);

    fn document(&self, world: &World) -> Value {
        let mapping = self.interface(world);
        json!({
            "allocationId": self.entity.id,
            "publicIp": self.public.to_string(),
            "domain": "vpc",
            "publicIpv4Pool": self.pool,
            "networkBorderGroup": world.region,
            "associationId": mapping.map(|(_, public)| &public.association),
            "networkInterfaceId": mapping.map(|(interface, _)| interface.id()),
            "instanceId": mapping.and_then(|(interface, _)| interface.instance()),
            "networkInterfaceOwnerId": mapping.map(|_| &world.account),
            "privateIpAddress": mapping.map(|(interface, _)| interface.address.to_string()),
            "tagSet": tag_set(&self.entity.tags),
        })
    }
}

/// The pool of the addresses that count against the quota.
const AMAZON: &str = "amazon";

/// Adds an address from a range that the account brought.
pub(crate) fn seed_uncounted_address(world: &mut World) {
    let address = Address {
        entity: Entity::new(
            world.id(Address::KIND.prefix),
            crate::world::Tags::new(),
            std::time::Duration::ZERO,
        ),
        public: new_public(world),
        pool: "ipv4pool-ec2-012345",
    };
    world.states.ec2.addresses.insert(address.entity.id.clone(), address);
}

/// A public address that was not used before.
pub(super) fn new_public(world: &mut World) -> Ipv4Addr {
    let number = u32::try_from(world.number()).unwrap_or_default();
    Ipv4Addr::from(FIRST_PUBLIC.saturating_add(number))
}

/// Whether an Elastic IP address is mapped to an interface.
pub(super) fn is_associated(world: &World, id: &str) -> bool {
    world.states.ec2.addresses.get(id).is_some_and(|address| address.interface(world).is_some())
}

pub(super) fn allocate(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let domain = params.text("Domain").unwrap_or_else(|| "vpc".into());
    let group = params.text("NetworkBorderGroup");
    let tags = tagging::for_new(params, Address::KIND)?;
    params.done()?;
    if domain != "vpc" {
        return Err(invalid(&domain, "domain", "It is 'vpc'."));
    }
    if let Some(group) = group.filter(|group| *group != world.region) {
        return Err(Refusal::new(
            "InvalidAddress.NetworkBorderGroup",
            format!("There is no network border group {group}"),
        ));
    }
    if !quotas::has_room(
        world,
        quotas::ADDRESSES,
        every::<Address>(world).filter(|address| address.pool == AMAZON).count(),
    ) {
        return Err(Refusal::new(
            "AddressLimitExceeded",
            "The maximum number of addresses has been reached.",
        ));
    }
    let address = Address {
        entity: Entity::new(world.id(Address::KIND.prefix), tags, world.now),
        public: new_public(world),
        pool: AMAZON,
    };
    let answer = json!({
        "allocationId": address.id(),
        "publicIp": address.public.to_string(),
        "domain": "vpc",
        "publicIpv4Pool": "amazon",
        "networkBorderGroup": world.region,
    });
    world.states.ec2.addresses.insert(address.entity.id.clone(), address);
    Ok(answer.into())
}

pub(super) fn describe(world: &World, params: &Params) -> Result<Reply, Refusal> {
    let ids = params.list(Address::IDS);
    let publics = params.list("PublicIp");
    let filters = Filters::read(params, Address::FILTERS)?;
    params.done()?;
    for wanted in &publics {
        let is_there = every::<Address>(world)
            .any(|address| known(world, address) && address.public.to_string() == *wanted);
        if !is_there {
            return Err(Refusal::new("InvalidAddress.NotFound", format!("Address '{wanted}' not found.")));
        }
    }
    let found: Vec<Value> = select::<Address>(world, &ids, &filters)?
        .into_iter()
        .filter(|address| publics.is_empty() || publics.contains(&address.public.to_string()))
        .map(|address| address.document(world))
        .collect();
    Ok(json!({ Address::SET: found }).into())
}

/// The interface of an association, and its public address.
pub(super) fn of_association<'w>(world: &'w World, id: &str) -> Option<(&'w Interface, &'w Public)> {
    every::<Interface>(world).find_map(|interface| {
        let public = interface.public(world.now)?;
        (public.association == id).then_some((interface, public))
    })
}

/// Maps an address to an instance. Source of the refusals: API reference, `AssociateAddress`. For an address that is
/// already mapped it needs `AllowReassociation`, which is not supported.
pub(super) fn associate(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let id = params.required("AllocationId")?;
    let instance = params.required("InstanceId")?;
    params.done()?;
    find::<Address>(world, &id)?;
    let interface =
        find::<Instance>(world, &instance)?.attached(world).map(|interface| interface.id().to_owned());
    let Some(interface) = interface else {
        return Err(Refusal::new(
            "InvalidInstanceID",
            format!("The instance '{instance}' has no interface."),
        ));
    };
    if is_associated(world, &id) {
        return Err(Refusal::new(
            "Resource.AlreadyAssociated",
            format!("resource {id} is already associated with another resource"),
        ));
    }
    interface::map_public(world, &interface, Some(&id));
    let association = every::<Interface>(world).find(|each| each.id() == interface);
    let association = association.and_then(|each| Some(each.public(world.now)?.association.clone()));
    Ok(json!({ "return": true, "associationId": association }).into())
}

pub(super) fn disassociate(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let id = params.required("AssociationId")?;
    params.done()?;
    let mapped =
        of_association(world, &id).map(|(interface, _)| (interface.id().to_owned(), interface.is_managed()));
    match mapped {
        None => Err(Refusal::new(
            "InvalidAssociationID.NotFound",
            format!("The association ID '{id}' does not exist"),
        )),
        // The address of a NAT gateway cannot be disassociated from it.
        Some((_, true)) => {
            Err(Refusal::new("AuthFailure", "You do not have permission to access the specified resource."))
        }
        Some((interface, false)) => {
            interface::unmap_public(world, &interface, world.now);
            Ok(done())
        }
    }
}

pub(super) fn release(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let id = params.required("AllocationId")?;
    params.done()?;
    let address = find::<Address>(world, &id)?;
    if is_associated(world, &id) {
        return Err(Refusal::new("InvalidIPAddress.InUse", format!("Address {} is in use.", address.public)));
    }
    nat::check_freed(world, &id)?;
    world.states.ec2.addresses.remove(&id);
    Ok(done())
}
