//! Internet gateways.

use serde_json::{Value, json};

use super::interface::Interface;
use super::query::{Filter, one, optional};
use super::resource::{
    Entity, Kind, Resource, done, every, find, find_mut, has_dependencies, stored_in, tag_set,
};
use super::vpc::Vpc;
use super::{tagging, vpc};
use crate::params::{Params, Refusal};
use crate::protocol::Reply;
use crate::services::quotas;
use crate::world::World;

#[derive(Debug, Clone)]
pub(crate) struct InternetGateway {
    pub(super) entity: Entity,
    /// The ID of the attached VPC.
    pub(super) vpc: Option<String>,
}

impl Resource for InternetGateway {
    const KIND: Kind = Kind {
        prefix: "igw",
        tag_type: "internet-gateway",
        not_found: ("InvalidInternetGatewayID.NotFound", "The internetGateway ID '{id}' does not exist"),
        malformed: "InvalidInternetGatewayId.Malformed",
    };
    const IDS: &'static str = "InternetGatewayId";
    const SET: &'static str = "internetGatewaySet";
    const FILTERS: &'static [Filter<Self>] = &[
        ("internet-gateway-id", |gateway, _| one(gateway.id())),
        ("attachment.vpc-id", |gateway, _| optional(gateway.vpc.as_ref())),
        ("attachment.state", |gateway, _| optional(gateway.vpc.as_ref().map(|_| "available"))),
        ("owner-id", |_, world| one(&world.account)),
    ];

    stored_in!(gateways);

    fn document(&self, world: &World) -> Value {
        let attachments: Vec<Value> =
            self.vpc.iter().map(|vpc| json!({ "vpcId": vpc, "state": "available" })).collect();
        json!({
            "internetGatewayId": self.entity.id,
            "ownerId": world.account,
            "attachmentSet": attachments,
            "tagSet": tag_set(&self.entity.tags),
        })
    }
}

/// Whether an internet gateway is attached to a VPC.
pub(super) fn is_attached_to(world: &World, vpc: &str) -> bool {
    every::<InternetGateway>(world).any(|gateway| gateway.vpc.as_deref() == Some(vpc))
}

pub(super) fn create(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let tags = tagging::for_new(params, InternetGateway::KIND)?;
    params.done()?;
    if !quotas::has_room(world, quotas::INTERNET_GATEWAYS, every::<InternetGateway>(world).count()) {
        return Err(Refusal::new(
            "InternetGatewayLimitExceeded",
            "The maximum number of internet gateways has been reached.",
        ));
    }
    let gateway = InternetGateway {
        entity: Entity::new(world.id(InternetGateway::KIND.prefix), tags, world.now),
        vpc: None,
    };
    let document = gateway.document(world);
    world.states.ec2.gateways.insert(gateway.entity.id.clone(), gateway);
    Ok(json!({ "internetGateway": document }).into())
}

pub(super) fn attach(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let id = params.required("InternetGatewayId")?;
    let to = params.required("VpcId")?;
    params.done()?;
    let gateway = find::<InternetGateway>(world, &id)?;
    vpc::usable(world, &to)?;
    if let Some(vpc) = &gateway.vpc {
        return Err(Refusal::new(
            "Resource.AlreadyAssociated",
            format!("resource {id} is already attached to network {vpc}"),
        ));
    }
    if is_attached_to(world, &to) {
        return Err(Refusal::new(
            "InvalidParameterValue",
            format!("Network {to} already has an internet gateway attached"),
        ));
    }
    find_mut::<InternetGateway>(world, &id)?.vpc = Some(to);
    Ok(done())
}

pub(super) fn detach(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let id = params.required("InternetGatewayId")?;
    let from = params.required("VpcId")?;
    params.done()?;
    let gateway = find::<InternetGateway>(world, &id)?;
    let vpc = find::<Vpc>(world, &from)?;
    if gateway.vpc.as_ref() != Some(&from) {
        return Err(Refusal::new(
            "Gateway.NotAttached",
            format!("resource {id} is not attached to network {from}"),
        ));
    }
    let is_mapped = every::<Interface>(world)
        .any(|interface| interface.vpc == from && interface.has_public_address(world.now));
    // A public address that was just removed still counts as mapped: see `interface::release`.
    if is_mapped || world.now < vpc.mapped_until {
        return Err(Refusal::new(
            "DependencyViolation",
            format!(
                "Network {from} has some mapped public address(es). Please unmap those public address(es) before detaching the gateway."
            ),
        ));
    }
    find_mut::<InternetGateway>(world, &id)?.vpc = None;
    Ok(done())
}

pub(super) fn delete(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let id = params.required("InternetGatewayId")?;
    params.done()?;
    if find::<InternetGateway>(world, &id)?.vpc.is_some() {
        return Err(has_dependencies("internetGateway", &id));
    }
    world.states.ec2.gateways.remove(&id);
    Ok(done())
}
