//! Application load balancers: their nodes, attributes and deletion.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::Duration;

use serde_json::{Value, json};

use super::attributes::{self, Attribute, Values};
use super::{Page, check_name, invalid, is_known, listeners, misconfigured, tags};
use crate::clock::Clock;
use crate::inventory::Item;
use crate::params::{Params, Refusal};
use crate::protocol::Reply;
use crate::services::{ec2, iam, s3, wafv2};
use crate::world::{Tags, World};

/// The most load balancers of an account in a region (AWS's default quota).
const QUOTA: usize = 50;
/// "Ensure that your subnets have a CIDR block with at least a /27 bitmask and at least eight free IP addresses" (user
/// guide, "Subnets for your load balancer").
const SMALLEST_PREFIX: u8 = 27;
const FREE_ADDRESSES: usize = 8;
/// The most security groups of an interface (AWS's default quota).
const GROUPS: usize = 5;

#[derive(Debug, Clone)]
pub(super) struct LoadBalancer {
    pub(super) arn: String,
    pub(super) name: String,
    /// The last part of its ARN, which is also part of its listeners' ARNs and its interfaces' descriptions.
    hash: String,
    pub(super) dns_name: String,
    scheme: String,
    pub(super) vpc: String,
    pub(super) nodes: Vec<Node>,
    pub(super) groups: Vec<String>,
    pub(super) tags: Tags,
    pub(super) attributes: BTreeMap<String, String>,
    created: Duration,
    /// Whether it serves requests, but cannot scale.
    pub(super) is_impaired: bool,
    /// When it leaves `provisioning`.
    pub(super) ready_at: Duration,
    /// Whether it then becomes `failed` instead of `active`.
    pub(super) fails: bool,
}

/// The load balancer's interface in one zone.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) zone: String,
    subnet: String,
    interface: String,
    pub(super) address: Ipv4Addr,
}

impl LoadBalancer {
    pub(super) fn is_active(&self, now: Duration) -> bool {
        !self.fails && now >= self.ready_at
    }

    /// Its name in ARNs: `app/NAME/HASH`.
    pub(super) fn path(&self) -> String {
        format!("app/{}/{}", self.name, self.hash)
    }

    fn state(&self, now: Duration) -> Value {
        if now < self.ready_at {
            json!({ "Code": "provisioning" })
        } else if self.fails {
            json!({ "Code": "failed", "Reason": "The load balancer could not be set up." })
        } else if self.is_impaired {
            let reason = "There are insufficient free IP addresses in the subnets to scale.";
            json!({ "Code": "active_impaired", "Reason": reason })
        } else {
            json!({ "Code": "active" })
        }
    }

    fn zones(&self) -> Value {
        self.nodes
            .iter()
            .map(
                |node| json!({ "ZoneName": node.zone, "SubnetId": node.subnet, "LoadBalancerAddresses": [] }),
            )
            .collect()
    }

    fn document(&self, world: &World) -> Value {
        json!({
            "LoadBalancerArn": self.arn,
            "DNSName": self.dns_name,
            "CanonicalHostedZoneId": hosted_zone(&world.region),
            "CreatedTime": Clock::date(self.created),
            "LoadBalancerName": self.name,
            "Scheme": self.scheme,
            "VpcId": self.vpc,
            "State": self.state(world.now),
            "Type": "application",
            "AvailabilityZones": self.zones(),
            "SecurityGroups": self.groups,
            "IpAddressType": "ipv4",
        })
    }

    fn subnets(&self) -> BTreeSet<&str> {
        self.nodes.iter().map(|node| node.subnet.as_str()).collect()
    }
}

/// A load balancer by its ARN.
pub(super) fn find<'a>(world: &'a World, arn: &str) -> Result<&'a LoadBalancer, Refusal> {
    world
        .states
        .elb
        .load_balancers
        .get(arn)
        .filter(|load_balancer| is_known(world, load_balancer.created))
        .ok_or_else(|| not_found(arn))
}

fn not_found(arn: &str) -> Refusal {
    Refusal::new("LoadBalancerNotFound", format!("Load balancer '{arn}' not found"))
}

/// The load balancer whose listeners or rules send requests to a target group.
pub(super) fn using<'a>(world: &'a World, target_group: &str) -> Option<&'a LoadBalancer> {
    let state = &world.states.elb;
    let by_listener = state.listeners.values().find(|listener| listener.action.uses(target_group));
    let by_rule = || {
        let rule = state.rules.values().find(|rule| rule.action.uses(target_group))?;
        state.listeners.get(&rule.listener)
    };
    let listener = by_listener.or_else(by_rule)?;
    state.load_balancers.get(&listener.load_balancer)
}

/// The load balancer with this DNS name, in any of the forms of an alias record.
pub(super) fn by_dns_name<'a>(world: &'a World, dns: &str) -> Option<&'a LoadBalancer> {
    let dns = dns.trim_end_matches('.').to_ascii_lowercase();
    let dns = dns.strip_prefix("dualstack.").unwrap_or(&dns);
    world.states.elb.load_balancers.values().find(|each| each.dns_name.to_ascii_lowercase() == dns)
}

/// Source: "Elastic Load Balancing endpoints and quotas", column Route 53 Hosted Zone ID (application).
pub(super) fn hosted_zone(region: &str) -> &'static str {
    match region {
        "us-east-1" => "Z35SXDOTRQ7X7K",
        "us-east-2" => "Z3AADJGX6KTTL2",
        "us-west-1" => "Z368ELLRRE2KJ0",
        "us-west-2" => "Z1H1FL5HABSF5",
        "ca-central-1" => "ZQSVJUPU6J1EY",
        "sa-east-1" => "Z2P70J7HTTTPLU",
        "eu-west-1" => "Z32O12XQLNTSW2",
        "eu-west-2" => "ZHURV8PSTC4K8",
        "eu-west-3" => "Z3Q77PNBQS71R4",
        "eu-north-1" => "Z23TAZ6LKFMNIO",
        "ap-south-1" => "ZP97RAFLXTNZK",
        "ap-northeast-1" => "Z14GRHDCWA56QT",
        "ap-northeast-2" => "ZWKZPGTI48KDX",
        "ap-southeast-1" => "Z1LMS91P8CMLE5",
        "ap-southeast-2" => "Z1GM3OXH4ZPM65",
        _ => "Z215JYRZR1TBD5", // eu-central-1
    }
}

struct Wanted {
    name: String,
    scheme: String,
    subnets: Vec<String>,
    groups: Vec<String>,
    tags: Tags,
}

impl Wanted {
    fn read(params: &Params) -> Result<Self, Refusal> {
        let wanted = Self {
            name: params.required("Name")?,
            scheme: params.text("Scheme").unwrap_or_else(|| "internet-facing".into()),
            subnets: params.list("Subnets"),
            groups: params.list("SecurityGroups"),
            tags: tags::read(params)?,
        };
        let kind = params.text("Type").unwrap_or_else(|| "application".into());
        let addresses = params.text("IpAddressType").unwrap_or_else(|| "ipv4".into());
        params.done()?;
        check_name("load balancer", &wanted.name)?;
        if !["internet-facing", "internal"].contains(&wanted.scheme.as_str()) {
            return Err(Refusal::new(
                "InvalidScheme",
                format!("The scheme '{}' is not valid", wanted.scheme),
            ));
        }
        if kind != "application" {
            return Err(invalid(format!("The simulator has no load balancers of type '{kind}'")));
        }
        if addresses != "ipv4" {
            return Err(misconfigured(format!(
                "You cannot set the load balancer IP address type to '{addresses}': the subnets have no IPv6 CIDR block"
            )));
        }
        Ok(wanted)
    }

    fn is(&self, other: &LoadBalancer) -> bool {
        let groups: BTreeSet<&String> = self.groups.iter().collect();
        self.scheme == other.scheme
            && self.subnets.iter().map(String::as_str).collect::<BTreeSet<_>>() == other.subnets()
            && groups == other.groups.iter().collect()
            && self.tags == other.tags
    }
}

pub(super) fn create(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let wanted = Wanted::read(params)?;
    let same_name = world.states.elb.load_balancers.values().find(|each| each.name == wanted.name);
    match same_name {
        // "This operation is idempotent": the same settings again return the existing load balancer (SDK text).
        Some(existing) if wanted.is(existing) => {
            return Ok(json!({ "LoadBalancers": [existing.document(world)] }).into());
        }
        None if !world.states.elb.held_names.contains_key(&wanted.name) => {}
        _ => {
            return Err(Refusal::new(
                "DuplicateLoadBalancerName",
                format!(
                    "A load balancer with the same name '{}' exists, but with different settings",
                    wanted.name
                ),
            ));
        }
    }
    if world.states.elb.load_balancers.len() >= QUOTA {
        return Err(Refusal::new("TooManyLoadBalancers", "The quota for load balancers has been reached"));
    }
    let (vpc, places) = places(world, &wanted.subnets, &wanted.scheme, &[])?;
    check_groups(world, &wanted.groups, &vpc)?;
    // The service creates its role with the first load balancer; here the role exists at once.
    iam::ensure_service_linked(world, "elasticloadbalancing.amazonaws.com");
    let load_balancer = build(world, wanted, vpc, &places)?;
    let reply = json!({ "LoadBalancers": [load_balancer.document(world)] }).into();
    world.states.elb.load_balancers.insert(load_balancer.arn.clone(), load_balancer);
    Ok(reply)
}

fn build(world: &mut World, wanted: Wanted, vpc: String, places: &[Place]) -> Result<LoadBalancer, Refusal> {
    let number = world.number();
    let hash = format!("{number:016x}");
    let path = format!("app/{}/{hash}", wanted.name);
    let internal = if wanted.scheme == "internal" { "internal-" } else { "" };
    let dns_name = format!("{internal}{}-{number}.{}.elb.amazonaws.com", wanted.name, world.region);
    let nodes = attach(world, places, &wanted.groups, &path, &wanted.scheme)?;
    let ready_at = world.ready("alb");
    Ok(LoadBalancer {
        arn: world.arn("elasticloadbalancing", &format!("loadbalancer/{path}")),
        name: wanted.name,
        hash,
        dns_name,
        scheme: wanted.scheme,
        vpc,
        nodes,
        groups: wanted.groups,
        tags: wanted.tags,
        attributes: attributes::defaults(ATTRIBUTES),
        created: world.now,
        is_impaired: false,
        ready_at,
        fails: world.fail_creation,
    })
}

/// A subnet for a node of the load balancer.
struct Place {
    subnet: String,
    zone: String,
}

/// The subnets of the nodes, by zone, and their VPC. `nodes` are the existing ones.
fn places(
    world: &World,
    subnets: &[String],
    scheme: &str,
    nodes: &[Node],
) -> Result<(String, Vec<Place>), Refusal> {
    let mut vpcs = BTreeSet::new();
    let mut zones = BTreeMap::new();
    for id in subnets {
        let facts = ec2::subnet(world, id)
            .ok_or_else(|| Refusal::new("SubnetNotFound", format!("The subnet ID '{id}' is not valid")))?;
        if !facts.available {
            return Err(Refusal::new("InvalidSubnet", format!("The subnet '{id}' is not available")));
        }
        // AWS requires this of the VPC only, and creates a load balancer that cannot be reached.
        if scheme == "internet-facing" && !facts.public {
            return Err(Refusal::new(
                "InvalidSubnet",
                format!("VPC {} has no internet gateway that subnet {id} has a route to", facts.vpc),
            ));
        }
        let is_new = nodes.iter().all(|node| node.subnet != *id);
        if is_new && (facts.prefix > SMALLEST_PREFIX || facts.free < FREE_ADDRESSES) {
            return Err(Refusal::new(
                "InvalidSubnet",
                format!(
                    "Not enough IP space available in {id}. ELB requires at least {FREE_ADDRESSES} free IP addresses in each subnet, and a /{SMALLEST_PREFIX} bitmask"
                ),
            ));
        }
        if zones.insert(facts.zone, id.clone()).is_some() {
            return Err(misconfigured(
                "A load balancer cannot be attached to multiple subnets in the same Availability Zone",
            ));
        }
        vpcs.insert(facts.vpc);
    }
    if zones.len() < 2 {
        return Err(invalid("At least two subnets in two different Availability Zones must be specified"));
    }
    match (vpcs.pop_first(), vpcs.is_empty()) {
        (Some(vpc), true) => {
            Ok((vpc, zones.into_iter().map(|(zone, subnet)| Place { subnet, zone }).collect()))
        }
        _ => Err(misconfigured("All subnets must belong to the same VPC")),
    }
}

fn check_groups(world: &World, groups: &[String], vpc: &str) -> Result<(), Refusal> {
    if groups.is_empty() {
        // AWS would use the VPC's default group, which has no rules in our networks.
        return Err(Refusal::new(
            "InvalidSecurityGroup",
            "The load balancer's security groups must be named",
        ));
    }
    if groups.len() > GROUPS {
        return Err(Refusal::new(
            "InvalidSecurityGroup",
            format!("At most {GROUPS} security groups are allowed"),
        ));
    }
    for group in groups {
        match ec2::group_vpc(world, group) {
            None => {
                return Err(Refusal::new(
                    "InvalidSecurityGroup",
                    format!("The security group '{group}' does not exist"),
                ));
            }
            Some(other) if other != vpc => {
                return Err(misconfigured(format!(
                    "The security group '{group}' does not belong to the VPC '{vpc}'"
                )));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

fn attach(
    world: &mut World,
    places: &[Place],
    groups: &[String],
    path: &str,
    scheme: &str,
) -> Result<Vec<Node>, Refusal> {
    let description = format!("ELB {path}");
    let mut nodes: Vec<Node> = Vec::new();
    for place in places {
        let attachment = ec2::Attachment {
            subnet: &place.subnet,
            groups,
            description: &description,
            requester: "amazon-elb",
            kind: "interface",
            public: scheme == "internet-facing",
        };
        match ec2::attach_interface(world, &attachment) {
            Ok(attached) => nodes.push(Node {
                zone: place.zone.clone(),
                subnet: place.subnet.clone(),
                interface: attached.interface,
                address: attached.address,
            }),
            Err(refusal) => {
                for node in &nodes {
                    ec2::detach_interface(world, &node.interface);
                }
                return Err(Refusal::new("InvalidSubnet", refusal.message));
            }
        }
    }
    Ok(nodes)
}

pub(super) fn describe(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let names = params.list("Names");
    let arns = params.list("LoadBalancerArns");
    let page = Page::read(params)?;
    params.done()?;
    if !names.is_empty() && !arns.is_empty() {
        return Err(invalid("Load balancer names and ARNs cannot be specified at the same time"));
    }
    if names.len() > 20 || arns.len() > 20 {
        return Err(invalid("Up to 20 load balancers can be described in one call"));
    }
    let known = |each: &&LoadBalancer| is_known(world, each.created);
    let all = || world.states.elb.load_balancers.values().filter(known);
    let mut found = Vec::new();
    for arn in &arns {
        found.push(find(world, arn)?);
    }
    for name in &names {
        let same_name = all().find(|each| each.name == *name);
        found.push(same_name.ok_or_else(|| {
            Refusal::new("LoadBalancerNotFound", format!("Load balancers '[{name}]' not found"))
        })?);
    }
    if names.is_empty() && arns.is_empty() {
        found = all().collect();
    }
    Ok(page.of("LoadBalancers", found.into_iter().map(|each| each.document(world)).collect()))
}

/// AWS's attributes of an application load balancer, with their defaults. Source: the SDK's documentation of
/// `LoadBalancerAttribute`.
const ATTRIBUTES: &[Attribute] = &[
    Attribute("deletion_protection.enabled", "false", Values::Flag),
    Attribute("access_logs.s3.enabled", "false", Values::Flag),
    Attribute("access_logs.s3.bucket", "", Values::Text),
    Attribute("access_logs.s3.prefix", "", Values::Text),
    Attribute("connection_logs.s3.enabled", "false", Values::Flag),
    Attribute("connection_logs.s3.bucket", "", Values::Text),
    Attribute("connection_logs.s3.prefix", "", Values::Text),
    Attribute("health_check_logs.s3.enabled", "false", Values::Flag),
    Attribute("health_check_logs.s3.bucket", "", Values::Text),
    Attribute("health_check_logs.s3.prefix", "", Values::Text),
    Attribute("idle_timeout.timeout_seconds", "60", Values::Range(1, 4000)),
    Attribute("client_keep_alive.seconds", "3600", Values::Range(60, 604_800)),
    Attribute("load_balancing.cross_zone.enabled", "true", Values::OneOf(&["true"])),
    Attribute("ipv6.deny_all_igw_traffic", "false", Values::Flag),
    Attribute("zonal_shift.config.enabled", "false", Values::Flag),
    Attribute(
        "routing.http.desync_mitigation_mode",
        "defensive",
        Values::OneOf(&["monitor", "defensive", "strictest"]),
    ),
    Attribute("routing.http.drop_invalid_header_fields.enabled", "false", Values::Flag),
    Attribute("routing.http.preserve_host_header.enabled", "false", Values::Flag),
    Attribute("routing.http.x_amzn_tls_version_and_cipher_suite.enabled", "false", Values::Flag),
    Attribute("routing.http.xff_client_port.enabled", "false", Values::Flag),
    Attribute(
        "routing.http.xff_header_processing.mode",
        "append",
        Values::OneOf(&["append", "preserve", "remove"]),
    ),
    Attribute("routing.http2.enabled", "true", Values::Flag),
    Attribute("waf.fail_open.enabled", "false", Values::Flag),
];

pub(super) fn describe_attributes(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let arn = params.required("LoadBalancerArn")?;
    params.done()?;
    let load_balancer = find(world, &arn)?;
    Ok(attributes::document(ATTRIBUTES, &load_balancer.attributes))
}

pub(super) fn modify_attributes(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let arn = params.required("LoadBalancerArn")?;
    let sent = attributes::read(params)?;
    params.done()?;
    let mut changed = find(world, &arn)?.attributes.clone();
    attributes::change("Load balancer", ATTRIBUTES, &mut changed, &sent)?;
    for logs in ["access_logs", "connection_logs", "health_check_logs"] {
        check_logs(world, logs, &changed)?;
    }
    let reply = attributes::document(ATTRIBUTES, &changed);
    if let Some(load_balancer) = world.states.elb.load_balancers.get_mut(&arn) {
        load_balancer.attributes = changed;
    }
    Ok(reply)
}

/// Logs need a bucket that exists, and whose policy allows Elastic Load Balancing to write. One refusal stands for both.
fn check_logs(world: &World, logs: &str, attributes: &BTreeMap<String, String>) -> Result<(), Refusal> {
    let value = |name: &str| attributes.get(&format!("{logs}.s3.{name}")).map_or("", String::as_str);
    if value("enabled") != "true" {
        return Ok(());
    }
    let (bucket, prefix) = (value("bucket"), value("prefix"));
    if bucket.is_empty() {
        return Err(misconfigured(format!("The value of '{logs}.s3.bucket' cannot be empty")));
    }
    if prefix.starts_with('/') || prefix.ends_with('/') || prefix.contains("AWSLogs") {
        return Err(misconfigured(format!(
            "The value of '{logs}.s3.prefix' cannot begin or end with '/' or contain 'AWSLogs'"
        )));
    }
    if !s3::admits_logs(world, bucket) {
        return Err(misconfigured(format!(
            "Access Denied for bucket: {bucket}. Please check S3bucket permission"
        )));
    }
    Ok(())
}

pub(super) fn set_security_groups(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let arn = params.required("LoadBalancerArn")?;
    let groups = params.list("SecurityGroups");
    params.done()?;
    let load_balancer = find(world, &arn)?;
    check_groups(world, &groups, &load_balancer.vpc)?;
    let interfaces: Vec<String> = load_balancer.nodes.iter().map(|node| node.interface.clone()).collect();
    for interface in interfaces {
        ec2::set_interface_groups(world, &interface, &groups);
    }
    let reply = json!({ "SecurityGroupIds": groups }).into();
    if let Some(load_balancer) = world.states.elb.load_balancers.get_mut(&arn) {
        load_balancer.groups = groups;
    }
    Ok(reply)
}

pub(super) fn set_subnets(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let arn = params.required("LoadBalancerArn")?;
    let subnets = params.list("Subnets");
    params.done()?;
    let load_balancer = find(world, &arn)?.clone();
    let (vpc, places) = places(world, &subnets, &load_balancer.scheme, &load_balancer.nodes)?;
    if vpc != load_balancer.vpc {
        return Err(misconfigured("The subnets must belong to the load balancer's VPC"));
    }
    let (kept, left): (Vec<Node>, Vec<Node>) =
        load_balancer.nodes.iter().cloned().partition(|node| subnets.contains(&node.subnet));
    let is_new = |place: &Place| !kept.iter().any(|node| node.subnet == place.subnet);
    let new: Vec<Place> = places.into_iter().filter(is_new).collect();
    let mut nodes = attach(world, &new, &load_balancer.groups, &load_balancer.path(), &load_balancer.scheme)?;
    nodes.extend(kept);
    nodes.sort_by(|one, other| one.zone.cmp(&other.zone));
    release(world, &left);
    let changed = LoadBalancer { nodes, ..load_balancer };
    let reply = json!({ "AvailabilityZones": changed.zones(), "IpAddressType": "ipv4" }).into();
    world.states.elb.load_balancers.insert(arn, changed);
    Ok(reply)
}

/// Releases interfaces: they remain for as long as those of a deleted load balancer. Returns until when.
fn release(world: &mut World, nodes: &[Node]) -> Duration {
    let gone = world.gone("alb");
    for node in nodes {
        ec2::detach_interface_at(world, &node.interface, gone);
    }
    gone
}

pub(super) fn delete(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let arn = params.required("LoadBalancerArn")?;
    params.done()?;
    if !arn.contains(":loadbalancer/app/") {
        return Err(invalid(format!("'{arn}' is not a valid load balancer ARN")));
    }
    // "If the load balancer does not exist or has already been deleted, the call succeeds" (SDK text).
    let Some(load_balancer) = world.states.elb.load_balancers.get(&arn).cloned() else {
        return Ok(Reply::empty());
    };
    if load_balancer.attributes.get("deletion_protection.enabled").is_some_and(|value| value == "true") {
        return Err(Refusal::new(
            "OperationNotPermitted",
            format!("Load balancer '{arn}' cannot be deleted because deletion protection is enabled"),
        ));
    }
    remove(world, &load_balancer);
    Ok(Reply::empty())
}

/// Deletes a load balancer with its listeners.
pub(super) fn remove(world: &mut World, load_balancer: &LoadBalancer) {
    listeners::delete_all(world, &load_balancer.arn);
    wafv2::forget(world, &load_balancer.arn);
    let gone = release(world, &load_balancer.nodes);
    world.states.elb.held_names.insert(load_balancer.name.clone(), gone);
    world.states.elb.load_balancers.remove(&load_balancer.arn);
}

/// A load balancer has a price, and so has the public address of each of its nodes.
pub(super) fn inventory(world: &World, items: &mut Vec<Item>) {
    for each in world.states.elb.load_balancers.values() {
        let public = if each.scheme == "internal" { 0 } else { each.nodes.len() };
        let addresses = u32::try_from(public).unwrap_or(u32::MAX);
        items.push(
            Item::new("AWS::ElasticLoadBalancingV2::LoadBalancer", &each.arn, &each.tags)
                .named(&each.name)
                .hourly(world.prices().load_balancer_hourly(addresses)),
        );
    }
}
