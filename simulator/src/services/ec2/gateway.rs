//! Internet gateways.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::interface::Interface;
use super::thing::{Kind, Thing, done, every, find, find_mut, has_dependencies, tag_set};
use super::vpc::Vpc;
use super::{State, tagging, vpc};
use crate::params::{Params, Refusal};
use crate::protocol::Reply;
use crate::services::quotas;
use crate::world::{Tags, World};

#[derive(Debug, Clone)]
pub(crate) struct InternetGateway {
    id: String,
    /// The VPC that it is attached to.
    pub(super) vpc: Option<String>,
    born: Duration,
    tags: Tags,
}

impl Thing for InternetGateway {
    const KIND: Kind = Kind::InternetGateway;
    const IDS: &'static str = "InternetGatewayId";
    const SET: &'static str = "internetGatewaySet";
    const FILTERS: &'static [&'static str] =
        &["internet-gateway-id", "attachment.vpc-id", "attachment.state", "owner-id"];

    fn all(state: &State) -> &BTreeMap<String, Self> {
        &state.gateways
    }
    fn all_mut(state: &mut State) -> &mut BTreeMap<String, Self> {
        &mut state.gateways
    }
    fn id(&self) -> &str {
        &self.id
    }
    fn tags(&self) -> &Tags {
        &self.tags
    }
    fn tags_mut(&mut self) -> &mut Tags {
        &mut self.tags
    }
    fn born(&self) -> Duration {
        self.born
    }

    fn values(&self, world: &World, filter: &str) -> Vec<String> {
        match filter {
            "internet-gateway-id" => vec![self.id.clone()],
            "attachment.vpc-id" => self.vpc.iter().cloned().collect(),
            "attachment.state" => self.vpc.iter().map(|_| "available".into()).collect(),
            _ => vec![world.account.clone()],
        }
    }

    fn document(&self, world: &World) -> Value {
        let attachments: Vec<Value> =
            self.vpc.iter().map(|vpc| json!({ "vpcId": vpc, "state": "available" })).collect();
        json!({
            "internetGatewayId": self.id,
            "ownerId": world.account,
            "attachmentSet": attachments,
            "tagSet": tag_set(&self.tags),
        })
    }
}

/// Whether an internet gateway is attached to a VPC.
pub(super) fn is_attached_to(world: &World, vpc: &str) -> bool {
    every::<InternetGateway>(world).any(|gateway| gateway.vpc.as_deref() == Some(vpc))
}

pub(super) fn create(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let tags = tagging::for_new(params, Kind::InternetGateway)?;
    params.done()?;
    if !quotas::has_room(world, quotas::INTERNET_GATEWAYS, every::<InternetGateway>(world).count()) {
        return Err(Refusal::new(
            "InternetGatewayLimitExceeded",
            "The maximum number of internet gateways has been reached.",
        ));
    }
    let gateway = InternetGateway { id: world.id("igw"), vpc: None, born: world.now, tags };
    let document = gateway.document(world);
    world.ec2.gateways.insert(gateway.id.clone(), gateway);
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
    // A public address that went a moment ago is still mapped: see `interface::release`.
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
    world.ec2.gateways.remove(&id);
    Ok(done())
}
