//! VPC endpoints.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Value, json};

use super::interface::{self, Holder, Wanted};
use super::query::{Filter, one};
use super::resource::{Entity, Kind, Resource, every, find, invalid, stored_in, tag_set};
use super::route_table::RouteTable;
use super::subnet::Subnet;
use super::{group, offers, subnet, tagging, token, vpc};
use crate::clock::Clock;
use crate::params::{Params, Refusal};
use crate::protocol::Reply;
use crate::services::quotas;
use crate::world::{Tags, World};

/// AWS's default quota of gateway endpoints in a region.
const MOST_GATEWAY_ENDPOINTS: usize = 20;
/// How long a deleted endpoint is still described as `deleted`, in seconds (terraform waits through that state too).
const DELETED_SECONDS: f64 = 10.0;

/// The services with interface endpoints, by the last part of their name.
pub(super) const INTERFACE_SERVICES: [&str; 23] = [
    "autoscaling",
    "ec2",
    "ec2messages",
    "ecr.api",
    "ecr.dkr",
    "ecs",
    "ecs-agent",
    "ecs-telemetry",
    "elasticloadbalancing",
    "events",
    "guardduty-data",
    "kms",
    "lambda",
    "logs",
    "monitoring",
    "rds",
    "s3",
    "secretsmanager",
    "sns",
    "sqs",
    "ssm",
    "ssmmessages",
    "sts",
];
pub(super) const GATEWAY_SERVICES: [&str; 2] = ["dynamodb", "s3"];

#[derive(Debug, Clone)]
pub(crate) struct Endpoint {
    pub(super) entity: Entity,
    pub(super) vpc: String,
    /// The service by the last part of its name, such as `ecr.api`.
    pub(super) service: String,
    pub(super) is_gateway: bool,
    pub(super) tables: BTreeSet<String>,
    /// The interface in each subnet.
    pub(super) interfaces: BTreeMap<String, String>,
    pub(super) groups: Vec<String>,
    pub(super) private_dns: bool,
    pub(super) policy: String,
    /// When it becomes available (again) or fails.
    pub(super) ready: Duration,
    fails: bool,
    /// When its deletion completes, and when it stops being described.
    deletion: Option<(Duration, Duration)>,
}

/// The default policy of an endpoint.
pub(super) const FULL_ACCESS: &str =
    r#"{"Statement":[{"Action":"*","Effect":"Allow","Principal":"*","Resource":"*"}]}"#;

impl Endpoint {
    pub(super) fn state(&self, now: Duration) -> &'static str {
        match self.deletion {
            Some((deleted, _)) if now >= deleted => "deleted",
            Some(_) => "deleting",
            None if now < self.ready => "pending",
            None if self.fails => "failed",
            None => "available",
        }
    }

    pub(super) fn is_available(&self, now: Duration) -> bool {
        self.state(now) == "available"
    }

    /// Whether it uses its resources and its service's private name: until it is deleted.
    pub(super) fn is_present(&self, now: Duration) -> bool {
        self.state(now) != "deleted"
    }

    pub(super) fn routes_in(&self, table: &str) -> bool {
        self.is_gateway && self.tables.contains(table)
    }

    pub(super) fn forget_at(&self) -> Option<Duration> {
        self.deletion.map(|(deleted, _)| deleted + token::OUTLIVES)
    }

    fn kind(&self) -> &'static str {
        if self.is_gateway { "Gateway" } else { "Interface" }
    }

    fn dns_entries(&self, world: &World) -> Value {
        if self.is_gateway || !self.is_available(world.now) {
            return json!([]);
        }
        let suffix = format!("{}.{}", self.service, world.region);
        let mut entries = vec![json!({
            "dnsName": format!("{}-{}.{suffix}.vpce.amazonaws.com", self.entity.id, &self.entity.id[self.entity.id.len() - 8..]),
            "hostedZoneId": "Z273ZU8SZ5RJPC",
        })];
        if self.private_dns {
            entries.push(json!({ "dnsName": private_name(&self.service, &world.region) }));
        }
        entries.into()
    }
}

/// The host name of a service: `api.ecr.eu-central-1.amazonaws.com` for `ecr.api`.
fn private_name(service: &str, region: &str) -> String {
    let host = match service {
        "ecr.api" => "api.ecr",
        "ecr.dkr" => "*.dkr.ecr",
        other => other,
    };
    format!("{host}.{region}.amazonaws.com")
}

/// The prefix list of a gateway endpoint's service.
pub(super) fn prefix_list(service: &str) -> &'static str {
    if service == "s3" { "pl-00000000000000003" } else { "pl-00000000000000004" }
}

impl Resource for Endpoint {
    const KIND: Kind = Kind {
        prefix: "vpce",
        tag_type: "vpc-endpoint",
        not_found: ("InvalidVpcEndpointId.NotFound", "The Vpc Endpoint Id '{id}' does not exist"),
        malformed: "InvalidVpcEndpointId.Malformed",
    };
    const IDS: &'static str = "VpcEndpointId";
    const SET: &'static str = "vpcEndpointSet";
    const FILTERS: &'static [Filter<Self>] = &[
        ("vpc-endpoint-id", |endpoint, _| one(endpoint.id())),
        ("vpc-id", |endpoint, _| one(&endpoint.vpc)),
        ("service-name", |endpoint, world| one(full_name(world, &endpoint.service))),
        ("vpc-endpoint-state", |endpoint, world| one(endpoint.state(world.now))),
        ("vpc-endpoint-type", |endpoint, _| one(endpoint.kind())),
    ];

    stored_in!(endpoints);

    fn gone(&self) -> Option<Duration> {
        self.deletion.map(|(_, gone)| gone)
    }

    fn document(&self, world: &World) -> Value {
        let state = self.state(world.now);
        let failure = (state == "failed").then(|| {
            json!({ "code": "InternalError", "message": "The endpoint's network interfaces could not be created." })
        });
        json!({
            "vpcEndpointId": self.entity.id,
            "vpcEndpointType": self.kind(),
            "vpcId": self.vpc,
            "serviceName": full_name(world, &self.service),
            "state": state,
            "policyDocument": self.policy,
            "routeTableIdSet": self.tables,
            "subnetIdSet": self.interfaces.keys().collect::<Vec<_>>(),
            "networkInterfaceIdSet": self.interfaces.values().collect::<Vec<_>>(),
            "groupSet": group::identifiers(world, &self.groups),
            "ipAddressType": "ipv4",
            "privateDnsEnabled": self.private_dns,
            "requesterManaged": false,
            "dnsEntrySet": self.dns_entries(world),
            "creationTimestamp": Clock::date(self.entity.created),
            "tagSet": tag_set(&self.entity.tags),
            "ownerId": world.account,
            "lastError": failure,
        })
    }
}

pub(super) fn full_name(world: &World, service: &str) -> String {
    format!("com.amazonaws.{}.{service}", world.region)
}

/// The parameters of `CreateVpcEndpoint`.
#[derive(Debug, Clone)]
struct Request {
    vpc: String,
    service: String,
    is_gateway: bool,
    tables: Vec<String>,
    subnets: Vec<String>,
    groups: Vec<String>,
    private_dns: bool,
    policy: String,
    tags: Tags,
}

impl Request {
    fn read(world: &World, params: &Params) -> Result<Self, Refusal> {
        let kind = params.text("VpcEndpointType").unwrap_or_else(|| "Gateway".into());
        let name = params.required("ServiceName")?;
        let is_gateway = kind == "Gateway";
        let address_type = params.text("IpAddressType").unwrap_or_else(|| "ipv4".into());
        let private_dns = params.flag("PrivateDnsEnabled")?;
        let request = Self {
            vpc: params.required("VpcId")?,
            service: service(world, &name, is_gateway)?,
            is_gateway,
            tables: params.list("RouteTableId"),
            subnets: params.list("SubnetId"),
            groups: params.list("SecurityGroupId"),
            // AWS's default for interface endpoints.
            private_dns: private_dns.unwrap_or(!is_gateway),
            policy: params.text("PolicyDocument").unwrap_or_else(|| FULL_ACCESS.into()),
            tags: tagging::for_new(params, Endpoint::KIND)?,
        };
        params.done()?;
        if !matches!(kind.as_str(), "Gateway" | "Interface") {
            return Err(invalid(
                &kind,
                "vpcEndpointType",
                "The simulator has gateway and interface endpoints.",
            ));
        }
        if address_type != "ipv4" {
            return Err(invalid(&address_type, "ipAddressType", "The simulated network has no IPv6."));
        }
        request.check_combination()?;
        Ok(request)
    }

    fn check_combination(&self) -> Result<(), Refusal> {
        let misplaced = if self.is_gateway {
            if self.private_dns {
                Some("private DNS")
            } else if self.subnets.is_empty() && self.groups.is_empty() {
                None
            } else {
                Some("subnets or security groups")
            }
        } else {
            (!self.tables.is_empty()).then_some("route tables")
        };
        if let Some(what) = misplaced {
            let kind = if self.is_gateway { "Gateway" } else { "Interface" };
            return Err(Refusal::new(
                "InvalidParameter",
                format!("Endpoint type ({kind}) does not support {what}."),
            ));
        }
        serde_json::from_str::<Value>(&self.policy)
            .map(|_| ())
            .map_err(|_| Refusal::new("InvalidPolicyDocument", "The policy document is no valid JSON."))
    }
}

fn service(world: &World, name: &str, is_gateway: bool) -> Result<String, Refusal> {
    let services: &[&str] = if is_gateway { &GATEWAY_SERVICES } else { &INTERFACE_SERVICES };
    name.strip_prefix(&format!("com.amazonaws.{}.", world.region))
        .filter(|service| services.contains(service))
        .map(str::to_owned)
        .ok_or_else(|| {
            Refusal::new("InvalidServiceName", format!("The Vpc Endpoint Service '{name}' does not exist"))
        })
}

pub(super) fn create(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let client_token = params.text("ClientToken");
    let request = Request::read(world, params)?;
    let token = client_token.as_deref();
    let before = token::used(world, "CreateVpcEndpoint", token, &request)?;
    if let Some(endpoint) = before.and_then(|ids| world.states.ec2.endpoints.get(ids.first()?)) {
        return Ok(answer(world, endpoint, token));
    }
    check(world, &request)?;
    let id = world.id(Endpoint::KIND.prefix);
    let groups = match &request {
        Request { is_gateway: true, .. } => Vec::new(),
        Request { groups, vpc, .. } if groups.is_empty() => group::default_of(world, vpc),
        Request { groups, .. } => groups.clone(),
    };
    let mut interfaces = BTreeMap::new();
    for subnet in &request.subnets {
        let interface = make_interface(world, &id, subnet, &groups)?;
        interfaces.insert(subnet.clone(), interface);
    }
    token::remember(world, "CreateVpcEndpoint", token, &request, vec![id.clone()]);
    let kind = if request.is_gateway { "vpc_endpoint_gateway_s3" } else { "vpc_endpoint_interface" };
    let endpoint = Endpoint {
        entity: Entity::new(id.clone(), request.tags, world.now),
        vpc: request.vpc,
        service: request.service,
        is_gateway: request.is_gateway,
        tables: request.tables.into_iter().collect(),
        interfaces,
        groups,
        private_dns: request.private_dns,
        policy: request.policy,
        ready: world.ready(kind),
        fails: world.fail_creation,
        deletion: None,
    };
    if endpoint.fails {
        for interface in endpoint.interfaces.values() {
            interface::release(world, interface, endpoint.ready);
        }
    }
    let answer = answer(world, &endpoint, token);
    world.states.ec2.endpoints.insert(id, endpoint);
    Ok(answer)
}

/// The response to a creation. The case of the state differs between AWS's calls, and here too.
fn answer(world: &World, endpoint: &Endpoint, client_token: Option<&str>) -> Reply {
    let mut document = endpoint.document(world);
    if endpoint.state(world.now) == "pending" {
        document["state"] = "Pending".into();
    }
    json!({ "vpcEndpoint": document, "clientToken": client_token }).into()
}

/// Creates the interface of an endpoint in a subnet.
///
/// # Errors
/// Those of [`interface::make`].
pub(super) fn make_interface(
    world: &mut World,
    endpoint: &str,
    subnet: &str,
    groups: &[String],
) -> Result<String, Refusal> {
    interface::make(
        world,
        Wanted {
            subnet: subnet.into(),
            groups: groups.to_vec(),
            description: format!("VPC Endpoint Interface {endpoint}"),
            kind: "vpc_endpoint".into(),
            holder: Holder::Service { requester: "amazon-aws".into(), resource: Some(endpoint.into()) },
            address: None,
            tags: Tags::new(),
        },
    )
}

/// Checks everything before anything is created: a refused call leaves no interface behind.
fn check(world: &World, request: &Request) -> Result<(), Refusal> {
    vpc::usable(world, &request.vpc)?;
    let vpc = &request.vpc;
    check_subnets(world, vpc, &request.subnets)?;
    for subnet in request.subnets.iter().filter_map(|id| world.states.ec2.subnets.get(id)) {
        offers::check_service(world, &request.service, &subnet.zone)?;
    }
    interface::check_groups(world, vpc, &request.groups)?;
    check_tables(world, vpc, &request.service, &request.tables)?;
    if request.private_dns {
        check_private_dns(world, vpc, &request.service, None)?;
    }
    let standing = |endpoint: &&Endpoint| {
        endpoint.is_present(world.now)
            && endpoint.is_gateway == request.is_gateway
            && (request.is_gateway || endpoint.vpc == *vpc)
    };
    let count = every::<Endpoint>(world).filter(standing).count();
    let has_room = if request.is_gateway {
        count < MOST_GATEWAY_ENDPOINTS
    } else {
        quotas::has_room(world, quotas::INTERFACE_ENDPOINTS, count)
    };
    if !has_room {
        return Err(Refusal::new(
            "VpcEndpointLimitExceeded",
            format!("The maximum number of VPC endpoints has been reached for {vpc}."),
        ));
    }
    Ok(())
}

/// # Errors
/// If a subnet does not exist, belongs to another VPC, is full, or shares its zone with another one.
pub(super) fn check_subnets(world: &World, vpc: &str, subnets: &[String]) -> Result<(), Refusal> {
    let mut zones = BTreeSet::new();
    for id in subnets {
        let subnet: &Subnet = subnet::usable(world, id)?;
        if subnet.vpc != vpc {
            return Err(Refusal::new(
                "InvalidParameter",
                format!("The subnet {id} does not belong to the VPC {vpc}."),
            ));
        }
        subnet.free_address(world)?;
        if !zones.insert(&subnet.zone) {
            return Err(Refusal::new(
                "DuplicateSubnetsInSameZone",
                format!("Found another VPC endpoint subnet in the availability zone of {id}"),
            ));
        }
    }
    Ok(())
}

/// # Errors
/// If a table does not exist, belongs to another VPC, or already has a route to the service.
pub(super) fn check_tables(
    world: &World,
    vpc: &str,
    service: &str,
    tables: &[String],
) -> Result<(), Refusal> {
    for id in tables {
        if find::<RouteTable>(world, id)?.vpc != vpc {
            return Err(Refusal::new(
                "InvalidParameter",
                format!("The route table {id} does not belong to the VPC {vpc}."),
            ));
        }
        let other =
            |other: &Endpoint| other.is_present(world.now) && other.service == service && other.routes_in(id);
        if every::<Endpoint>(world).any(other) {
            let list = prefix_list(service);
            return Err(Refusal::new(
                "RouteAlreadyExists",
                format!("route table {id} already has a route with destination-prefix-list-id {list}"),
            ));
        }
    }
    Ok(())
}

/// # Errors
/// If the VPC does not resolve private names, or another endpoint than `own` has the service's name.
pub(super) fn check_private_dns(
    world: &World,
    vpc: &str,
    service: &str,
    own: Option<&str>,
) -> Result<(), Refusal> {
    let resolves = world.states.ec2.vpcs.get(vpc).is_some_and(|vpc| vpc.resolves_private_names(world.now));
    if !resolves {
        return Err(Refusal::new(
            "InvalidParameter",
            format!(
                "Enabling private DNS requires both enableDnsSupport and enableDnsHostnames VPC attributes set to true for {vpc}"
            ),
        ));
    }
    let conflicts = |other: &Endpoint| {
        other.private_dns
            && !other.is_gateway
            && other.vpc == vpc
            && other.service == service
            && own != Some(&other.entity.id)
            && other.is_present(world.now)
    };
    if every::<Endpoint>(world).any(conflicts) {
        return Err(Refusal::new(
            "InvalidParameter",
            format!(
                "private-dns-enabled cannot be set because there is already a conflicting DNS domain for {} in the VPC {vpc}",
                private_name(service, &world.region)
            ),
        ));
    }
    Ok(())
}

/// Adds the endpoint that GuardDuty creates in a VPC with instances or tasks. Returns nothing if a subnet has no room.
/// Source: hashicorp/terraform-provider-aws#46747.
pub(super) fn add_guard_duty(
    world: &mut World,
    vpc: &str,
    subnets: &[String],
    group: &str,
) -> Option<String> {
    let id = world.id(Endpoint::KIND.prefix);
    let groups = vec![group.to_owned()];
    let mut interfaces: BTreeMap<String, String> = BTreeMap::new();
    for subnet in subnets {
        let Ok(interface) = make_interface(world, &id, subnet, &groups) else {
            for made in interfaces.values() {
                interface::release(world, made, world.now);
            }
            return None;
        };
        interfaces.insert(subnet.clone(), interface);
    }
    let endpoint = Endpoint {
        entity: Entity::new(id.clone(), Tags::from([("GuardDutyManaged".into(), "true".into())]), world.now),
        vpc: vpc.to_owned(),
        service: "guardduty-data".into(),
        is_gateway: false,
        tables: BTreeSet::new(),
        interfaces,
        groups,
        private_dns: true,
        policy: FULL_ACCESS.into(),
        ready: world.ready("vpc_endpoint_interface"),
        fails: false,
        deletion: None,
    };
    world.states.ec2.endpoints.insert(id.clone(), endpoint);
    Some(id)
}

/// Starts the deletion of an endpoint, unless it has started.
pub(super) fn start_deletion(world: &mut World, id: &str) {
    let Some(endpoint) = world.states.ec2.endpoints.get(id) else { return };
    if endpoint.deletion.is_some() {
        return;
    }
    let kind = if endpoint.is_gateway { "vpc_endpoint_gateway_s3" } else { "vpc_endpoint_interface" };
    let interfaces: Vec<String> = endpoint.interfaces.values().cloned().collect();
    let deleted = world.gone(kind);
    let gone = deleted + world.latency.seconds(DELETED_SECONDS);
    for interface in interfaces {
        interface::release(world, &interface, deleted);
    }
    if let Some(endpoint) = world.states.ec2.endpoints.get_mut(id) {
        endpoint.deletion = Some((deleted, gone));
    }
}

pub(super) fn delete(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let ids = params.list("VpcEndpointId");
    params.done()?;
    if ids.is_empty() {
        return Err(Refusal::new("MissingParameter", "The request must contain the parameter VpcEndpointId"));
    }
    let mut unsuccessful = Vec::new();
    for id in ids {
        match find::<Endpoint>(world, &id) {
            Ok(_) => start_deletion(world, &id),
            // The call succeeds even if single endpoints fail; each failure has its own code.
            Err(refusal) => unsuccessful.push(json!({
                "resourceId": id,
                "error": { "code": "InvalidVpcEndpoint.NotFound", "message": refusal.message },
            })),
        }
    }
    Ok(json!({ "unsuccessful": unsuccessful }).into())
}
