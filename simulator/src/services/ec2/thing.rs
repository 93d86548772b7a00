//! What all resources of EC2 have in common: an id of a kind, tags, and the times between which they are there.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::State;
use crate::params::Refusal;
use crate::world::{Tags, World};

/// How long after its creation a resource is still unknown to a Describe by id, to filters and to whatever refers to
/// it, in seconds. EC2 is eventually consistent: "it can take seconds" is all that AWS says; half a second is enough
/// to catch whoever reads or uses an id at once.
const LAG_SECONDS: f64 = 0.5;

/// How long what is deleted or terminated stays described ("about an hour" for instances and NAT gateways).
pub(super) const DESCRIBED_AFTERWARDS: Duration = Duration::from_hours(1);

/// A kind of resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Vpc,
    Subnet,
    InternetGateway,
    RouteTable,
    Address,
    NatGateway,
    Endpoint,
    Group,
    Rule,
    Interface,
    Instance,
    Volume,
}

impl Kind {
    pub(super) const ALL: [Self; 12] = [
        Self::Vpc,
        Self::Subnet,
        Self::InternetGateway,
        Self::RouteTable,
        Self::Address,
        Self::NatGateway,
        Self::Endpoint,
        Self::Group,
        Self::Rule,
        Self::Interface,
        Self::Instance,
        Self::Volume,
    ];

    /// What its ids begin with.
    pub(super) fn prefix(self) -> &'static str {
        match self {
            Self::Vpc => "vpc",
            Self::Subnet => "subnet",
            Self::InternetGateway => "igw",
            Self::RouteTable => "rtb",
            Self::Address => "eipalloc",
            Self::NatGateway => "nat",
            Self::Endpoint => "vpce",
            Self::Group => "sg",
            Self::Rule => "sgr",
            Self::Interface => "eni",
            Self::Instance => "i",
            Self::Volume => "vol",
        }
    }

    /// Its name in a tag specification and in `DescribeTags`.
    pub(super) fn tag_type(self) -> &'static str {
        match self {
            Self::Vpc => "vpc",
            Self::Subnet => "subnet",
            Self::InternetGateway => "internet-gateway",
            Self::RouteTable => "route-table",
            Self::Address => "elastic-ip",
            Self::NatGateway => "natgateway",
            Self::Endpoint => "vpc-endpoint",
            Self::Group => "security-group",
            Self::Rule => "security-group-rule",
            Self::Interface => "network-interface",
            Self::Instance => "instance",
            Self::Volume => "volume",
        }
    }

    /// The kind of an id, by what it begins with.
    pub(super) fn of(id: &str) -> Option<Self> {
        let prefix = id.split_once('-')?.0;
        Self::ALL.into_iter().find(|kind| kind.prefix() == prefix)
    }

    /// AWS's refusal of an id that is not there (codes: EC2 API reference, "Error codes").
    pub(super) fn not_found(self, id: &str) -> Refusal {
        let (code, message) = match self {
            Self::Vpc => ("InvalidVpcID.NotFound", format!("The vpc ID '{id}' does not exist")),
            Self::Subnet => ("InvalidSubnetID.NotFound", format!("The subnet ID '{id}' does not exist")),
            Self::InternetGateway => {
                ("InvalidInternetGatewayID.NotFound", format!("The internetGateway ID '{id}' does not exist"))
            }
            Self::RouteTable => {
                ("InvalidRouteTableID.NotFound", format!("The routeTable ID '{id}' does not exist"))
            }
            Self::Address => {
                ("InvalidAllocationID.NotFound", format!("The allocation ID '{id}' does not exist"))
            }
            Self::NatGateway => ("NatGatewayNotFound", format!("NatGateway {id} was not found")),
            Self::Endpoint => {
                ("InvalidVpcEndpointId.NotFound", format!("The Vpc Endpoint Id '{id}' does not exist"))
            }
            Self::Group => ("InvalidGroup.NotFound", format!("The security group '{id}' does not exist")),
            Self::Rule => (
                "InvalidSecurityGroupRuleId.NotFound",
                format!("The security group rule ID '{id}' does not exist"),
            ),
            Self::Interface => (
                "InvalidNetworkInterfaceID.NotFound",
                format!("The networkInterface ID '{id}' does not exist"),
            ),
            Self::Instance => {
                ("InvalidInstanceID.NotFound", format!("The instance ID '{id}' does not exist"))
            }
            Self::Volume => ("InvalidVolume.NotFound", format!("The volume '{id}' does not exist.")),
        };
        Refusal::new(code, message)
    }

    /// AWS's refusal of what is no id of this kind.
    pub(super) fn malformed(self, id: &str) -> Refusal {
        let code = match self {
            Self::Vpc => "InvalidVpcID.Malformed",
            Self::Subnet => "InvalidSubnetID.Malformed",
            Self::InternetGateway => "InvalidInternetGatewayId.Malformed",
            Self::RouteTable => "InvalidRouteTableId.Malformed",
            Self::Address => "InvalidAllocationID.Malformed",
            Self::NatGateway => "NatGatewayMalformed",
            Self::Endpoint => "InvalidVpcEndpointId.Malformed",
            Self::Group => "InvalidGroupId.Malformed",
            Self::Rule => "InvalidSecurityGroupRuleId.Malformed",
            Self::Interface => "InvalidNetworkInterfaceId.Malformed",
            Self::Instance => "InvalidInstanceID.Malformed",
            Self::Volume => "InvalidVolumeID.Malformed",
        };
        Refusal::new(code, format!("Invalid id: \"{id}\" (expecting \"{}-...\")", self.prefix()))
    }

    fn check(self, id: &str) -> Result<(), Refusal> {
        let hex =
            |text: &str| matches!(text.len(), 8 | 17) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        match id.split_once('-') {
            Some((prefix, rest)) if prefix == self.prefix() && hex(rest) => Ok(()),
            _ => Err(self.malformed(id)),
        }
    }
}

/// A resource: what finding, describing, filtering and tagging need of it.
pub(super) trait Thing: Sized + 'static {
    const KIND: Kind;
    /// The request's list of ids in the Describe call.
    const IDS: &'static str;
    /// The answer's list in the Describe call.
    const SET: &'static str;
    /// The filters of the Describe call, apart from those for tags.
    const FILTERS: &'static [&'static str];

    fn all(state: &State) -> &BTreeMap<String, Self>;
    fn all_mut(state: &mut State) -> &mut BTreeMap<String, Self>;
    fn id(&self) -> &str;
    fn tags(&self) -> &Tags;
    fn tags_mut(&mut self) -> &mut Tags;
    /// When it was made.
    fn born(&self) -> Duration;
    /// From when on it is not described any more, if that is settled.
    fn gone(&self) -> Option<Duration> {
        None
    }
    /// Its values for a filter of [`Thing::FILTERS`].
    fn values(&self, world: &World, filter: &str) -> Vec<String>;
    /// What Describe shows of it.
    fn document(&self, world: &World) -> Value;
}

/// How long what was changed is still read as it was, in this account.
pub(super) fn lag(world: &World) -> Duration {
    world.latency.seconds(LAG_SECONDS)
}

/// Whether a resource is there, seen or not: for what depends on it, and for what it holds back.
pub(super) fn exists<T: Thing>(world: &World, thing: &T) -> bool {
    thing.gone().is_none_or(|gone| world.now < gone)
}

/// Whether calls see a resource.
pub(super) fn known<T: Thing>(world: &World, thing: &T) -> bool {
    exists(world, thing) && thing.born() + lag(world) <= world.now
}

/// Every resource of a type that is there, seen or not.
pub(super) fn every<T: Thing>(world: &World) -> impl Iterator<Item = &T> {
    T::all(&world.ec2).values().filter(|thing| exists(world, *thing))
}

/// The resource behind an id that a caller sent.
///
/// # Errors
/// The kind's `Malformed` or `NotFound`.
pub(super) fn find<'w, T: Thing>(world: &'w World, id: &str) -> Result<&'w T, Refusal> {
    T::KIND.check(id)?;
    T::all(&world.ec2).get(id).filter(|thing| known(world, *thing)).ok_or_else(|| T::KIND.not_found(id))
}

/// [`find`], to change it.
///
/// # Errors
/// The kind's `Malformed` or `NotFound`.
pub(super) fn find_mut<'w, T: Thing>(world: &'w mut World, id: &str) -> Result<&'w mut T, Refusal> {
    find::<T>(world, id)?;
    T::all_mut(&mut world.ec2).get_mut(id).ok_or_else(|| T::KIND.not_found(id))
}

/// A value that is read back as it was for a moment after it was changed.
#[derive(Debug, Clone)]
pub(super) struct Late<T> {
    before: T,
    value: T,
    shows: Duration,
}

impl<T: Clone> Late<T> {
    pub(super) fn new(value: T) -> Self {
        Self { before: value.clone(), value, shows: Duration::ZERO }
    }

    /// What is read at that time.
    pub(super) fn shown(&self, now: Duration) -> T {
        if now < self.shows { self.before.clone() } else { self.value.clone() }
    }

    /// Changes it at `now`; the change shows from `shows` on.
    pub(super) fn set(&mut self, value: T, now: Duration, shows: Duration) {
        self.before = self.shown(now);
        self.value = value;
        self.shows = shows;
    }
}

/// Tags as EC2 shows them.
pub(super) fn tag_set(tags: &Tags) -> Value {
    tags.iter().map(|(key, value)| json!({ "key": key, "value": value })).collect()
}

/// `DependencyViolation` in the form that most deletions use.
pub(super) fn has_dependencies(noun: &str, id: &str) -> Refusal {
    Refusal::new("DependencyViolation", format!("The {noun} '{id}' has dependencies and cannot be deleted."))
}

/// `InvalidParameterValue` in EC2's form.
pub(super) fn invalid(value: &str, parameter: &str, why: &str) -> Refusal {
    Refusal::new(
        "InvalidParameterValue",
        format!("Value ({value}) for parameter {parameter} is invalid. {why}"),
    )
}

/// The answer of operations that only say that they did it.
pub(super) fn done() -> crate::protocol::Reply {
    json!({ "return": true }).into()
}
