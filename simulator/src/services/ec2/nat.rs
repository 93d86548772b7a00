//! NAT gateways.

use std::time::Duration;

use serde_json::{Value, json};

use super::address::{self, Address};
use super::interface::{self, Holder, Interface, Wanted};
use super::query::{Filter, one};
use super::resource::{
    DESCRIBED_AFTERWARDS, Entity, Kind, Resource, every, find, find_mut, invalid, stored_in, tag_set,
};
use super::{gateway, paths, subnet, tagging, token};
use crate::clock::Clock;
use crate::params::{Params, Refusal};
use crate::protocol::Reply;
use crate::services::quotas;
use crate::world::{Tags, World};

#[derive(Debug, Clone)]
pub(crate) struct NatGateway {
    pub(super) entity: Entity,
    pub(super) vpc: String,
    subnet: String,
    zone: String,
    public: bool,
    allocation: Option<String>,
    public_address: Option<String>,
    association: Option<String>,
    interface: String,
    private_address: String,
    /// When it becomes available or fails.
    ready: Duration,
    /// The code and message of its failure, if it will fail.
    failure: Option<(&'static str, String)>,
    /// When its deletion completes, if it was requested.
    deleted_at: Option<Duration>,
}

impl NatGateway {
    fn state(&self, now: Duration) -> &'static str {
        match (self.deleted_at, &self.failure) {
            (Some(gone), _) if now >= gone => "deleted",
            (Some(_), _) => "deleting",
            (None, _) if now < self.ready => "pending",
            (None, Some(_)) => "failed",
            (None, None) => "available",
        }
    }

    /// Whether it uses its subnet and its address: it neither failed nor was deleted.
    pub(super) fn is_present(&self, now: Duration) -> bool {
        !matches!(self.state(now), "deleted" | "failed")
    }

    pub(super) fn is_available(&self, now: Duration) -> bool {
        self.state(now) == "available"
    }

    pub(super) fn is_deleting(&self, now: Duration) -> bool {
        self.state(now) == "deleting"
    }

    /// Whether a route to it is active. AWS accepts routes to a pending gateway.
    pub(super) fn takes_routes(&self, now: Duration) -> bool {
        self.is_present(now)
    }

    pub(super) fn subnet(&self) -> &str {
        &self.subnet
    }

    /// When it failed or was deleted, if it did.
    fn ended(&self) -> Option<Duration> {
        match (self.deleted_at, &self.failure) {
            (Some(gone), _) => Some(gone),
            (None, Some(_)) => Some(self.ready),
            (None, None) => None,
        }
    }

    /// When its client token is forgotten.
    pub(super) fn forget_at(&self) -> Option<Duration> {
        self.ended().map(|ended| ended + token::OUTLIVES)
    }
}

impl Resource for NatGateway {
    const KIND: Kind = Kind {
        prefix: "nat",
        tag_type: "natgateway",
        not_found: ("NatGatewayNotFound", "NatGateway {id} was not found"),
        malformed: "NatGatewayMalformed",
    };
    const IDS: &'static str = "NatGatewayId";
    const SET: &'static str = "natGatewaySet";
    const FILTERS: &'static [Filter<Self>] = &[
        ("nat-gateway-id", |nat, _| one(nat.id())),
        ("state", |nat, world| one(nat.state(world.now))),
        ("subnet-id", |nat, _| one(&nat.subnet)),
        ("vpc-id", |nat, _| one(&nat.vpc)),
    ];

    stored_in!(nats);

    fn gone(&self) -> Option<Duration> {
        self.ended().map(|ended| ended + DESCRIBED_AFTERWARDS)
    }

    fn document(&self, world: &World) -> Value {
        let state = self.state(world.now);
        let failure = self.failure.as_ref().filter(|_| state == "failed");
        let deleted = self.deleted_at.filter(|gone| world.now >= *gone);
        json!({
            "natGatewayId": self.entity.id,
            "vpcId": self.vpc,
            "subnetId": self.subnet,
            "state": state,
            "connectivityType": if self.public { "public" } else { "private" },
            "createTime": Clock::date(self.entity.created),
            "deleteTime": deleted.map(Clock::date),
            "failureCode": failure.map(|(code, _)| code),
            "failureMessage": failure.map(|(_, message)| message),
            "natGatewayAddressSet": [{
                "allocationId": self.allocation,
                // AWS shows the address once the gateway is available.
                "publicIp": self.public_address.as_ref().filter(|_| state != "pending"),
                "associationId": self.association.as_ref().filter(|_| state != "pending"),
                "networkInterfaceId": self.interface,
                "privateIp": self.private_address,
                "isPrimary": true,
            }],
            "tagSet": tag_set(&self.entity.tags),
        })
    }
}

/// The parameters of `CreateNatGateway`.
#[derive(Debug, Clone)]
struct Request {
    subnet: String,
    allocation: Option<String>,
    public: bool,
    tags: Tags,
}

impl Request {
    fn read(params: &Params) -> Result<Self, Refusal> {
        let connectivity = params.text("ConnectivityType").unwrap_or_else(|| "public".into());
        let request = Self {
            subnet: params.required("SubnetId")?,
            allocation: params.text("AllocationId"),
            public: connectivity == "public",
            tags: tagging::for_new(params, NatGateway::KIND)?,
        };
        params.done()?;
        if !matches!(connectivity.as_str(), "public" | "private") {
            return Err(invalid(&connectivity, "connectivityType", "It is 'public' or 'private'."));
        }
        match (request.public, &request.allocation) {
            (true, None) => {
                Err(Refusal::new("MissingParameter", "The request must contain the parameter AllocationId"))
            }
            (false, Some(_)) => Err(Refusal::new(
                "InvalidParameterCombination",
                "AllocationId may not be used with the connectivity type private",
            )),
            _ => Ok(request),
        }
    }

    /// The reason for which the gateway will fail, if it will.
    fn failure(&self, world: &World) -> Option<(&'static str, String)> {
        let subnet = world.states.ec2.subnets.get(&self.subnet)?;
        if world.fail_creation {
            return Some((
                "InternalError",
                "Network interface could not be created for the NAT gateway; please try again.".into(),
            ));
        }
        if self.public && !gateway::is_attached_to(world, &subnet.vpc) {
            return Some((
                "Gateway.NotAttached",
                format!("Network {} has no Internet gateway attached", subnet.vpc),
            ));
        }
        // AWS accepts a public NAT gateway in a subnet without an internet route, but it never forwards anything.
        (self.public && !paths::is_public(world, &subnet.vpc, &self.subnet)).then(|| {
            ("Gateway.NotAttached", format!("Subnet {} has no route to an Internet gateway", self.subnet))
        })
    }
}

/// For how many seconds after the end of a NAT gateway EC2 refuses to release its address. It frees the address
/// asynchronously (hashicorp/terraform-provider-aws#49299; eformat/sno-for-100#9 saw `AuthFailure`).
const FREES_SECONDS: f64 = 4.0;

/// # Errors
/// `InvalidNetworkInterfaceID.NotFound` for a moment after the end of the NAT gateway that used an address, and
/// `AuthFailure` before that.
pub(super) fn check_freed(world: &World, allocation: &str) -> Result<(), Refusal> {
    let seconds = |part: f64| world.latency.seconds(FREES_SECONDS * part);
    for nat in world.states.ec2.nats.values().filter(|nat| nat.allocation.as_deref() == Some(allocation)) {
        let Some(ended) = nat.ended().filter(|ended| *ended <= world.now) else { continue };
        if world.now < ended + seconds(0.5) {
            let message = "You do not have permission to access the specified resource.";
            return Err(Refusal::new("AuthFailure", message));
        }
        if world.now < ended + seconds(1.0) {
            return Err(Interface::KIND.not_found(&nat.interface));
        }
    }
    Ok(())
}

pub(super) fn create(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let client_token = params.text("ClientToken");
    let request = Request::read(params)?;
    let token = client_token.as_deref();
    let before = token::used(world, "CreateNatGateway", token, &request)?;
    if let Some(nat) = before.and_then(|ids| world.states.ec2.nats.get(ids.first()?)) {
        return Ok(json!({ "natGateway": nat.document(world), "clientToken": client_token }).into());
    }
    check(world, &request)?;
    let id = world.id(NatGateway::KIND.prefix);
    let interface = interface::make(
        world,
        Wanted {
            subnet: request.subnet.clone(),
            groups: Vec::new(),
            description: format!("Interface for NAT Gateway {id}"),
            kind: "nat_gateway".into(),
            holder: Holder::Service { requester: "amazon-aws".into(), resource: Some(id.clone()) },
            address: None,
            tags: Tags::new(),
        },
    )?;
    if let Some(allocation) = &request.allocation {
        interface::map_public(world, &interface, Some(allocation));
    }
    let failure = request.failure(world);
    let ready = world.ready("nat_gateway");
    if failure.is_some() {
        interface::release(world, &interface, ready);
    }
    token::remember(world, "CreateNatGateway", token, &request, vec![id.clone()]);
    let attached = find_made(world, &interface)?;
    let public = attached.public(world.now);
    let nat = NatGateway {
        entity: Entity::new(id.clone(), request.tags, world.now),
        vpc: attached.vpc.clone(),
        zone: attached.zone.clone(),
        subnet: request.subnet,
        public: request.public,
        allocation: request.allocation,
        public_address: public.map(|public| public.address.to_string()),
        association: public.map(|public| public.association.clone()),
        private_address: attached.address.to_string(),
        interface,
        ready,
        failure,
        deleted_at: None,
    };
    let document = nat.document(world);
    world.states.ec2.nats.insert(id, nat);
    Ok(json!({ "natGateway": document, "clientToken": client_token }).into())
}

/// The interface that was just created, which calls do not know yet.
fn find_made<'w>(world: &'w World, id: &str) -> Result<&'w Interface, Refusal> {
    world.states.ec2.interfaces.get(id).ok_or_else(|| Interface::KIND.not_found(id))
}

fn check(world: &World, request: &Request) -> Result<(), Refusal> {
    let zone = &subnet::usable(world, &request.subnet)?.zone;
    if let Some(id) = &request.allocation {
        find::<Address>(world, id)?;
        if address::is_associated(world, id) {
            return Err(Refusal::new(
                "Resource.AlreadyAssociated",
                format!("Elastic IP address [{id}] is already associated"),
            ));
        }
    }
    let in_zone =
        every::<NatGateway>(world).filter(|nat| nat.zone == *zone && nat.is_present(world.now)).count();
    if !quotas::has_room(world, quotas::NAT_GATEWAYS, in_zone) {
        return Err(Refusal::new(
            "NatGatewayLimitExceeded",
            format!("The maximum number of NAT gateways has been reached in {zone}."),
        ));
    }
    Ok(())
}

/// Starts the deletion of a gateway.
pub(super) fn start_deletion(world: &mut World, id: &str) {
    let gone = world.gone("nat_gateway");
    let Some(nat) = world.states.ec2.nats.get_mut(id) else { return };
    nat.deleted_at = Some(gone);
    let interface = nat.interface.clone();
    interface::release(world, &interface, gone);
}

pub(super) fn delete(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let id = params.required("NatGatewayId")?;
    params.done()?;
    let now = world.now;
    let nat = find::<NatGateway>(world, &id)?;
    match nat.state(now) {
        "deleted" => return Err(NatGateway::KIND.not_found(&id)),
        "deleting" => {}
        // Deleting a failed gateway takes no time.
        "failed" => find_mut::<NatGateway>(world, &id)?.deleted_at = Some(now),
        _ => start_deletion(world, &id),
    }
    Ok(json!({ "natGatewayId": id }).into())
}
