//! Target groups: the settings for their targets and health checks.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::attributes::{self, Attribute, Values};
use super::targets::{Key, Target};
use super::{
    Page, check_name, invalid, is_known, load_balancers, misconfigured, port, ranged, tags, targets,
};
use crate::inventory::Item;
use crate::params::{Params, Refusal};
use crate::protocol::Reply;
use crate::services::ec2;
use crate::world::{Tags, World};

/// The most target groups of an account in a region (AWS's default quota).
const QUOTA: usize = 3000;

#[derive(Debug, Clone)]
pub(super) struct TargetGroup {
    pub(super) arn: String,
    pub(super) name: String,
    protocol: String,
    protocol_version: String,
    pub(super) port: u16,
    pub(super) vpc: String,
    pub(super) target_type: String,
    pub(super) check: HealthCheck,
    pub(super) attributes: BTreeMap<String, String>,
    pub(super) tags: Tags,
    pub(super) targets: BTreeMap<Key, Target>,
    created: Duration,
}

/// The health check of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HealthCheck {
    protocol: String,
    /// `traffic-port` or a number.
    port: String,
    path: String,
    matcher: String,
    interval: u32,
    timeout: u32,
    healthy: u32,
    unhealthy: u32,
}

impl HealthCheck {
    /// AWS's defaults for a new group. Source: the SDK's documentation of `CreateTargetGroup`; the timeout is AWS's
    /// value for HTTP.
    fn default_for(protocol: &str) -> Self {
        Self {
            protocol: protocol.into(),
            port: "traffic-port".into(),
            path: "/".into(),
            matcher: "200".into(),
            interval: 30,
            timeout: 5,
            healthy: 5,
            unhealthy: 2,
        }
    }

    /// How long a target must pass checks to become `healthy`.
    pub(super) fn until_healthy(&self) -> Duration {
        Duration::from_secs(u64::from(self.healthy * self.interval))
    }

    /// How long a target must fail checks to become `unhealthy`.
    pub(super) fn until_unhealthy(&self) -> Duration {
        Duration::from_secs(u64::from(self.unhealthy * self.interval))
    }

    /// The port on which a target is checked.
    pub(super) fn port_of(&self, target: u16) -> u16 {
        self.port.parse().unwrap_or(target)
    }

    /// The health check, changed by a request.
    fn changed_by(&self, params: &Params) -> Result<Self, Refusal> {
        let number = |key, now: u32, low, high| -> Result<u32, Refusal> {
            Ok(ranged(params, key, low, high)?.and_then(|number| u32::try_from(number).ok()).unwrap_or(now))
        };
        if params.flag("HealthCheckEnabled")? == Some(false) {
            return Err(misconfigured(
                "Health check enabled must be true for target groups of this target type",
            ));
        }
        let text = |key, now: &String| params.text(key).unwrap_or_else(|| now.clone());
        let changed = Self {
            protocol: text("HealthCheckProtocol", &self.protocol),
            port: text("HealthCheckPort", &self.port),
            path: text("HealthCheckPath", &self.path),
            matcher: params
                .section("Matcher")
                .and_then(|matcher| matcher.text("HttpCode"))
                .unwrap_or_else(|| self.matcher.clone()),
            interval: number("HealthCheckIntervalSeconds", self.interval, 5, 300)?,
            timeout: number("HealthCheckTimeoutSeconds", self.timeout, 2, 120)?,
            healthy: number("HealthyThresholdCount", self.healthy, 2, 10)?,
            unhealthy: number("UnhealthyThresholdCount", self.unhealthy, 2, 10)?,
        };
        changed.check()?;
        Ok(changed)
    }

    fn check(&self) -> Result<(), Refusal> {
        if !["HTTP", "HTTPS"].contains(&self.protocol.as_str()) {
            return Err(invalid(format!(
                "Health check protocol '{}' must be one of 'HTTPS, HTTP'",
                self.protocol
            )));
        }
        let is_port = self.port.parse::<u16>().is_ok_and(|port| port > 0);
        if self.port != "traffic-port" && !is_port {
            return Err(invalid(format!("Health check port '{}' is not valid", self.port)));
        }
        if !self.path.starts_with('/') || self.path.len() > 1024 || self.path.contains(char::is_whitespace) {
            return Err(invalid(format!(
                "Health check path '{}' must begin with a '/' character and have at most 1024 characters",
                self.path
            )));
        }
        if !is_matcher(&self.matcher) {
            return Err(invalid(format!(
                "Health check matcher HTTP code '{}' must be within '200-499'",
                self.matcher
            )));
        }
        if self.timeout >= self.interval {
            return Err(misconfigured("Health check interval must be greater than the timeout."));
        }
        Ok(())
    }
}

/// Whether a text is a list of HTTP codes that AWS accepts: `200`, `200,302` or `200-299`, within 200-499.
fn is_matcher(text: &str) -> bool {
    let code = |code: &str| code.len() == 3 && code.parse().is_ok_and(|code| (200..=499).contains(&code));
    text.split(',').all(|part| match part.split_once('-') {
        Some((low, high)) => code(low) && code(high) && low <= high,
        None => code(part),
    })
}

impl TargetGroup {
    pub(super) fn deregistration_delay(&self) -> Duration {
        let seconds = self.attributes.get("deregistration_delay.timeout_seconds");
        Duration::from_secs(seconds.and_then(|seconds| seconds.parse().ok()).unwrap_or(300))
    }

    fn document(&self, world: &World) -> Value {
        let user = load_balancers::using(world, &self.arn);
        json!({
            "TargetGroupArn": self.arn,
            "TargetGroupName": self.name,
            "Protocol": self.protocol,
            "ProtocolVersion": self.protocol_version,
            "Port": self.port,
            "VpcId": self.vpc,
            "HealthCheckProtocol": self.check.protocol,
            "HealthCheckPort": self.check.port,
            "HealthCheckEnabled": true,
            "HealthCheckPath": self.check.path,
            "HealthCheckIntervalSeconds": self.check.interval,
            "HealthCheckTimeoutSeconds": self.check.timeout,
            "HealthyThresholdCount": self.check.healthy,
            "UnhealthyThresholdCount": self.check.unhealthy,
            "Matcher": { "HttpCode": self.check.matcher },
            "LoadBalancerArns": user.iter().map(|user| &user.arn).collect::<Vec<_>>(),
            "TargetType": self.target_type,
            "IpAddressType": "ipv4",
        })
    }

    fn is_like(&self, other: &Self) -> bool {
        self.protocol == other.protocol
            && self.protocol_version == other.protocol_version
            && self.port == other.port
            && self.vpc == other.vpc
            && self.target_type == other.target_type
            && self.check == other.check
            && self.tags == other.tags
    }
}

/// A target group by its ARN.
pub(super) fn find<'a>(world: &'a World, arn: &str) -> Result<&'a TargetGroup, Refusal> {
    world
        .states
        .elb
        .target_groups
        .get(arn)
        .filter(|group| is_known(world, group.created))
        .ok_or_else(|| Refusal::new("TargetGroupNotFound", format!("Target groups '{arn}' not found")))
}

fn read(world: &mut World, params: &Params) -> Result<TargetGroup, Refusal> {
    let name = params.required("Name")?;
    let protocol = params.required("Protocol")?;
    let target_type = params.text("TargetType").unwrap_or_else(|| "instance".into());
    let wanted = TargetGroup {
        arn: String::new(),
        protocol_version: params.text("ProtocolVersion").unwrap_or_else(|| "HTTP1".into()),
        port: port(params)?.ok_or_else(|| invalid("A port must be specified"))?,
        vpc: params.required("VpcId")?,
        check: HealthCheck::default_for("HTTP").changed_by(params)?,
        attributes: attributes::defaults(ATTRIBUTES),
        tags: tags::read(params)?,
        targets: BTreeMap::new(),
        created: world.now,
        name,
        protocol,
        target_type,
    };
    let addresses = params.text("IpAddressType").unwrap_or_else(|| "ipv4".into());
    params.done()?;
    check_name("target group", &wanted.name)?;
    if !["HTTP", "HTTPS"].contains(&wanted.protocol.as_str()) {
        return Err(invalid(format!("Protocol '{}' must be one of 'HTTPS, HTTP'", wanted.protocol)));
    }
    if !["HTTP1", "HTTP2"].contains(&wanted.protocol_version.as_str()) {
        return Err(invalid(format!(
            "Protocol version '{}' must be one of 'HTTP1, HTTP2'",
            wanted.protocol_version
        )));
    }
    if !["ip", "instance"].contains(&wanted.target_type.as_str()) || addresses != "ipv4" {
        return Err(invalid(format!(
            "The simulator has no target groups of type '{}' with addresses of type '{addresses}'",
            wanted.target_type
        )));
    }
    if !ec2::vpc_exists(world, &wanted.vpc) {
        return Err(invalid(format!("The VPC ID '{}' is not found", wanted.vpc)));
    }
    Ok(wanted)
}

pub(super) fn create(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let mut wanted = read(world, params)?;
    if let Some(existing) = world.states.elb.target_groups.values().find(|each| each.name == wanted.name) {
        // "This operation is idempotent": the same settings again return the existing group (SDK text).
        if existing.is_like(&wanted) {
            return Ok(json!({ "TargetGroups": [existing.document(world)] }).into());
        }
        return Err(Refusal::new(
            "DuplicateTargetGroupName",
            format!(
                "A target group with the same name '{}' exists, but with different settings",
                wanted.name
            ),
        ));
    }
    if world.states.elb.target_groups.len() >= QUOTA {
        return Err(Refusal::new("TooManyTargetGroups", "The quota for target groups has been reached"));
    }
    let path = format!("targetgroup/{}/{:016x}", wanted.name, world.number());
    wanted.arn = world.arn("elasticloadbalancing", &path);
    let reply = json!({ "TargetGroups": [wanted.document(world)] }).into();
    world.states.elb.target_groups.insert(wanted.arn.clone(), wanted);
    Ok(reply)
}

pub(super) fn describe(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let names = params.list("Names");
    let arns = params.list("TargetGroupArns");
    let load_balancer = params.text("LoadBalancerArn");
    let page = Page::read(params)?;
    params.done()?;
    let ways = [!names.is_empty(), !arns.is_empty(), load_balancer.is_some()];
    if ways.into_iter().filter(|way| *way).count() > 1 {
        return Err(invalid("Only one of names, target group ARNs and a load balancer ARN can be specified"));
    }
    let all = || world.states.elb.target_groups.values().filter(|each| is_known(world, each.created));
    let mut found = Vec::new();
    for arn in &arns {
        found.push(find(world, arn)?);
    }
    for name in &names {
        found.push(
            all()
                .find(|each| each.name == *name)
                .ok_or_else(|| Refusal::new("TargetGroupNotFound", "One or more target groups not found"))?,
        );
    }
    if let Some(arn) = &load_balancer {
        load_balancers::find(world, arn)?;
        let used = |each: &&TargetGroup| {
            load_balancers::using(world, &each.arn).is_some_and(|user| user.arn == *arn)
        };
        found = all().filter(used).collect();
    } else if names.is_empty() && arns.is_empty() {
        found = all().collect();
    }
    Ok(page.of("TargetGroups", found.into_iter().map(|each| each.document(world)).collect()))
}

pub(super) fn modify(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let arn = params.required("TargetGroupArn")?;
    let check = find(world, &arn)?.check.changed_by(params)?;
    params.done()?;
    // The results of the old health check stay valid.
    targets::settle(world, &arn);
    if let Some(group) = world.states.elb.target_groups.get_mut(&arn) {
        group.check = check;
    }
    Ok(json!({ "TargetGroups": [find(world, &arn)?.document(world)] }).into())
}

/// AWS's attributes of a target group of an application load balancer, with their defaults. Source: the SDK's
/// documentation of `TargetGroupAttribute`.
const ATTRIBUTES: &[Attribute] = &[
    Attribute("deregistration_delay.timeout_seconds", "300", Values::Range(0, 3600)),
    Attribute("stickiness.enabled", "false", Values::Flag),
    Attribute("stickiness.type", "lb_cookie", Values::OneOf(&["lb_cookie", "app_cookie"])),
    Attribute("stickiness.lb_cookie.duration_seconds", "86400", Values::Range(1, 604_800)),
    Attribute("stickiness.app_cookie.cookie_name", "", Values::Text),
    Attribute("stickiness.app_cookie.duration_seconds", "86400", Values::Range(1, 604_800)),
    Attribute(
        "load_balancing.algorithm.type",
        "round_robin",
        Values::OneOf(&["round_robin", "least_outstanding_requests", "weighted_random"]),
    ),
    Attribute("load_balancing.algorithm.anomaly_mitigation", "off", Values::OneOf(&["on", "off"])),
    Attribute(
        "load_balancing.cross_zone.enabled",
        "use_load_balancer_configuration",
        Values::OneOf(&["true", "false", "use_load_balancer_configuration"]),
    ),
    Attribute("slow_start.duration_seconds", "0", Values::WordOrRange("0", 30, 900)),
    Attribute(
        "target_group_health.dns_failover.minimum_healthy_targets.count",
        "1",
        Values::WordOrRange("off", 1, 1000),
    ),
    Attribute(
        "target_group_health.dns_failover.minimum_healthy_targets.percentage",
        "off",
        Values::WordOrRange("off", 1, 100),
    ),
    Attribute(
        "target_group_health.unhealthy_state_routing.minimum_healthy_targets.count",
        "1",
        Values::Range(1, 1000),
    ),
    Attribute(
        "target_group_health.unhealthy_state_routing.minimum_healthy_targets.percentage",
        "off",
        Values::WordOrRange("off", 1, 100),
    ),
];

pub(super) fn describe_attributes(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let arn = params.required("TargetGroupArn")?;
    params.done()?;
    Ok(attributes::document(ATTRIBUTES, &find(world, &arn)?.attributes))
}

pub(super) fn modify_attributes(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let arn = params.required("TargetGroupArn")?;
    let sent = attributes::read(params)?;
    params.done()?;
    let mut changed = find(world, &arn)?.attributes.clone();
    attributes::change("Target group", ATTRIBUTES, &mut changed, &sent)?;
    check_together(&changed)?;
    let reply = attributes::document(ATTRIBUTES, &changed);
    if let Some(group) = world.states.elb.target_groups.get_mut(&arn) {
        group.attributes = changed;
    }
    Ok(reply)
}

fn check_together(attributes: &BTreeMap<String, String>) -> Result<(), Refusal> {
    let value = |key: &str| attributes.get(key).map_or("", String::as_str);
    let algorithm = value("load_balancing.algorithm.type");
    if value("stickiness.enabled") == "true"
        && value("stickiness.type") == "app_cookie"
        && value("stickiness.app_cookie.cookie_name").is_empty()
    {
        return Err(misconfigured("The cookie name must be specified for stickiness of type 'app_cookie'"));
    }
    if value("stickiness.app_cookie.cookie_name").starts_with("AWSALB") {
        return Err(misconfigured("The cookie name cannot begin with 'AWSALB'"));
    }
    if value("load_balancing.algorithm.anomaly_mitigation") == "on" && algorithm != "weighted_random" {
        return Err(misconfigured("Anomaly mitigation requires the algorithm 'weighted_random'"));
    }
    if value("slow_start.duration_seconds") != "0" && algorithm != "round_robin" {
        return Err(misconfigured(format!("Slow start cannot be used with the algorithm '{algorithm}'")));
    }
    Ok(())
}

pub(super) fn delete(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let arn = params.required("TargetGroupArn")?;
    params.done()?;
    if !arn.contains(":targetgroup/") {
        return Err(invalid(format!("'{arn}' is not a valid target group ARN")));
    }
    if load_balancers::using(world, &arn).is_some() {
        return Err(Refusal::new(
            "ResourceInUse",
            format!("Target group '{arn}' is currently in use by a listener or a rule"),
        ));
    }
    // A missing group is not an error: AWS declares `ResourceInUse` as the only error of this call.
    world.states.elb.target_groups.remove(&arn);
    Ok(Reply::empty())
}

pub(super) fn inventory(world: &World, items: &mut Vec<Item>) {
    for each in world.states.elb.target_groups.values() {
        items.push(
            Item::new("AWS::ElasticLoadBalancingV2::TargetGroup", &each.arn, &each.tags).named(&each.name),
        );
    }
}
