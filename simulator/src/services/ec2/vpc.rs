//! VPCs and their attributes.

use std::time::Duration;

use ipnet::Ipv4Net;
use serde_json::{Value, json};

use super::endpoint::Endpoint;
use super::gateway::InternetGateway;
use super::group::{self, Group};
use super::interface::Interface;
use super::nat::NatGateway;
use super::query::{Filter, one};
use super::resource::{
    Entity, Kind, Late, Resource, done, every, find, find_mut, has_dependencies, invalid, stored_in, tag_set,
};
use super::route_table::{self, RouteTable};
use super::rule::Rule;
use super::subnet::Subnet;
use super::tagging;
use crate::params::{Params, Refusal};
use crate::protocol::Reply;
use crate::services::quotas;
use crate::world::World;

/// After how many seconds a changed attribute is visible (Terraform waits for it for minutes).
pub(super) const ATTRIBUTE_SECONDS: f64 = 1.0;

#[derive(Debug, Clone)]
pub(crate) struct Vpc {
    pub(super) entity: Entity,
    pub(super) cidr: Ipv4Net,
    tenancy: String,
    ready: Duration,
    dns_support: Late<bool>,
    dns_hostnames: Late<bool>,
    /// Until when a removed public address still counts as mapped through the internet gateway.
    pub(super) mapped_until: Duration,
    /// The account that shares it, if it is another one.
    sharer: Option<String>,
}

impl Vpc {
    /// Whether both DNS attributes are enabled, as private DNS names of endpoints require.
    pub(super) fn resolves_private_names(&self, now: Duration) -> bool {
        self.dns_support.shown(now) && self.dns_hostnames.shown(now)
    }

    /// Whether another account shares it.
    pub(super) fn is_shared(&self) -> bool {
        self.sharer.is_some()
    }

    fn owner<'w>(&'w self, world: &'w World) -> &'w str {
        self.sharer.as_deref().unwrap_or(&world.account)
    }

    fn state(&self, now: Duration) -> &'static str {
        if now < self.ready { "pending" } else { "available" }
    }
}

impl Resource for Vpc {
    const KIND: Kind = Kind {
        prefix: "vpc",
        tag_type: "vpc",
        not_found: ("InvalidVpcID.NotFound", "The vpc ID '{id}' does not exist"),
        malformed: "InvalidVpcID.Malformed",
    };
    const IDS: &'static str = "VpcId";
    const SET: &'static str = "vpcSet";
    const FILTERS: &'static [Filter<Self>] = &[
        ("vpc-id", |vpc, _| one(vpc.id())),
        ("cidr", |vpc, _| one(vpc.cidr.to_string())),
        ("cidr-block-association.cidr-block", |vpc, _| one(vpc.cidr.to_string())),
        ("state", |vpc, world| one(vpc.state(world.now))),
        ("is-default", |_, _| one("false")),
        ("owner-id", |vpc, world| one(vpc.owner(world))),
        ("dhcp-options-id", |_, _| one("dopt-default")),
    ];

    stored_in!(vpcs);

    fn document(&self, world: &World) -> Value {
        json!({
            "vpcId": self.entity.id,
            "ownerId": self.owner(world),
            "state": self.state(world.now),
            "cidrBlock": self.cidr.to_string(),
            "cidrBlockAssociationSet": [{
                "associationId": format!("vpc-cidr-assoc-{}", self.entity.id.trim_start_matches("vpc-")),
                "cidrBlock": self.cidr.to_string(),
                "cidrBlockState": { "state": "associated" },
            }],
            "dhcpOptionsId": "dopt-default",
            "tagSet": tag_set(&self.entity.tags),
            "instanceTenancy": self.tenancy,
            "isDefault": false,
        })
    }
}

/// A VPC in which resources can be created.
///
/// AWS accepts some calls on a pending VPC. The simulator accepts none: AWS does not document which, and code that
/// relies on it has a race. The code is EC2's general one for a resource in the wrong state.
///
/// # Errors
/// `InvalidVpcID.NotFound`, or `IncorrectState` while it is pending.
pub(super) fn usable<'w>(world: &'w World, id: &str) -> Result<&'w Vpc, Refusal> {
    let vpc = find::<Vpc>(world, id)?;
    if world.now < vpc.ready {
        return Err(Refusal::new(
            "IncorrectState",
            format!("The vpc '{id}' is in the state 'pending'; it can be used once it is 'available'."),
        ));
    }
    Ok(vpc)
}

/// Adds a VPC of another account that shares it with this one.
pub(crate) fn seed_shared_vpc(world: &mut World) {
    let id = world.id(Vpc::KIND.prefix);
    let vpc = Vpc {
        entity: Entity::new(id.clone(), crate::world::Tags::new(), Duration::ZERO),
        cidr: Ipv4Net::new_assert([10, 200, 0, 0].into(), 16),
        tenancy: "default".into(),
        ready: Duration::ZERO,
        dns_support: Late::new(true),
        dns_hostnames: Late::new(true),
        mapped_until: Duration::ZERO,
        sharer: Some("210987654321".into()),
    };
    world.states.ec2.vpcs.insert(id, vpc);
}

/// A CIDR block: AWS accepts sizes from /16 to /28 and clears the host bits.
///
/// # Errors
/// `InvalidParameterValue` if it is not a CIDR block, `range` (an error code) if it has another size.
pub(super) fn block(text: &str, range: &str) -> Result<Ipv4Net, Refusal> {
    let block: Ipv4Net =
        text.parse().map_err(|_| invalid(text, "cidrBlock", "This is not a valid CIDR block."))?;
    if (16..=28).contains(&block.prefix_len()) {
        Ok(block.trunc())
    } else {
        Err(Refusal::new(range, format!("The CIDR '{text}' is invalid.")))
    }
}

pub(super) fn create(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let cidr = params.required("CidrBlock")?;
    let tenancy = params.text("InstanceTenancy").unwrap_or_else(|| "default".into());
    let ipv6 = params.flag("AmazonProvidedIpv6CidrBlock")?.unwrap_or_default();
    let tags = tagging::for_new(params, Vpc::KIND)?;
    params.done()?;
    let cidr = block(&cidr, "InvalidVpc.Range")?;
    if !matches!(tenancy.as_str(), "default" | "dedicated") {
        return Err(invalid(&tenancy, "instanceTenancy", "It is 'default' or 'dedicated'."));
    }
    if ipv6 {
        return Err(Refusal::new("UnsupportedOperation", "The simulated network has no IPv6."));
    }
    if !quotas::has_room(world, quotas::VPCS, every::<Vpc>(world).filter(|vpc| vpc.sharer.is_none()).count())
    {
        return Err(Refusal::new("VpcLimitExceeded", "The maximum number of VPCs has been reached."));
    }
    let id = world.id(Vpc::KIND.prefix);
    let vpc = Vpc {
        entity: Entity::new(id.clone(), tags, world.now),
        cidr,
        tenancy,
        ready: world.ready("vpc"),
        // AWS's defaults for a VPC that is not the default VPC.
        dns_support: Late::new(true),
        dns_hostnames: Late::new(false),
        mapped_until: Duration::ZERO,
        sharer: None,
    };
    let document = vpc.document(world);
    world.states.ec2.vpcs.insert(id.clone(), vpc);
    // AWS creates these with the VPC and deletes them with it.
    route_table::make_main(world, &id);
    group::make_default(world, &id);
    Ok(json!({ "vpc": document }).into())
}

pub(super) fn delete(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let id = params.required("VpcId")?;
    params.done()?;
    find::<Vpc>(world, &id)?;
    if is_depended_on(world, &id) {
        return Err(has_dependencies("vpc", &id));
    }
    world.states.ec2.tables.retain(|_, table| table.vpc != id);
    let gone: Vec<String> =
        every::<Group>(world).filter(|group| group.vpc == id).map(|group| group.id().into()).collect();
    world.states.ec2.rules.retain(|_, rule| !gone.contains(&rule.group));
    world.states.ec2.groups.retain(|_, group| group.vpc != id);
    world.states.ec2.vpcs.remove(&id);
    Ok(done())
}

fn is_depended_on(world: &World, id: &str) -> bool {
    every::<Subnet>(world).any(|subnet| subnet.vpc == id)
        || every::<InternetGateway>(world).any(|gateway| gateway.vpc.as_deref() == Some(id))
        || every::<RouteTable>(world).any(|table| table.vpc == id && !table.main)
        || every::<Group>(world).any(|group| group.vpc == id && !group.is_default())
        || every::<Interface>(world).any(|interface| interface.vpc == id)
        || every::<NatGateway>(world).any(|nat| nat.vpc == id && nat.is_present(world.now))
        || every::<Endpoint>(world).any(|endpoint| endpoint.vpc == id && endpoint.is_present(world.now))
        || refers_from_elsewhere(world, id)
}

/// Whether a rule of a group in another VPC refers to a group of this one.
fn refers_from_elsewhere(world: &World, id: &str) -> bool {
    let vpc_of = |group: &str| world.states.ec2.groups.get(group).map(|group| group.vpc.as_str());
    every::<Rule>(world)
        .any(|rule| vpc_of(&rule.group) != Some(id) && rule.peer_group().and_then(vpc_of) == Some(id))
}

pub(super) fn modify_attribute(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let id = params.required("VpcId")?;
    let attribute = |name| params.section(name).map(|section| section.flag("Value")).transpose();
    let support = attribute("EnableDnsSupport")?.flatten();
    let hostnames = attribute("EnableDnsHostnames")?.flatten();
    params.done()?;
    let (now, shows) = (world.now, world.now + world.latency.seconds(ATTRIBUTE_SECONDS));
    let vpc = find_mut::<Vpc>(world, &id)?;
    match (support, hostnames) {
        (Some(on), None) => vpc.dns_support.set(on, now, shows),
        (None, Some(on)) => {
            // AWS: DNS host names require DNS resolution.
            if on && !vpc.dns_support.shown(now) {
                return Err(Refusal::new(
                    "InvalidParameterCombination",
                    format!("DNS support must be enabled in VPC '{id}' for DNS hostnames to be enabled."),
                ));
            }
            vpc.dns_hostnames.set(on, now, shows);
        }
        (None, None) => {
            return Err(Refusal::new(
                "MissingParameter",
                "The request must contain exactly one attribute of the VPC",
            ));
        }
        (Some(_), Some(_)) => {
            return Err(Refusal::new(
                "InvalidParameterCombination",
                "Fields for multiple attribute types specified",
            ));
        }
    }
    Ok(done())
}

pub(super) fn describe_attribute(world: &World, params: &Params) -> Result<Reply, Refusal> {
    let id = params.required("VpcId")?;
    let attribute = params.required("Attribute")?;
    params.done()?;
    let vpc = find::<Vpc>(world, &id)?;
    let value = match attribute.as_str() {
        "enableDnsSupport" => vpc.dns_support.shown(world.now),
        "enableDnsHostnames" => vpc.dns_hostnames.shown(world.now),
        _ => return Err(invalid(&attribute, "attribute", "Unknown attribute.")),
    };
    Ok(json!({ "vpcId": id, attribute: { "value": value } }).into())
}
