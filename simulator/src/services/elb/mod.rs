//! Elastic Load Balancing v2: application load balancers, their listeners and rules, target groups and targets.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use serde_json::Value;

use super::{Service, unknown};
use crate::call_log::writes;
use crate::inventory::Item;
use crate::latency::Timing;
use crate::params::{Params, Refusal};
use crate::protocol::Reply;
use crate::rates::Rate;
use crate::world::{Tags, World};

mod access;
mod actions;
mod attributes;
mod conditions;
mod incidents;
mod listeners;
mod load_balancers;
mod rules;
mod ssl_policies;
mod tags;
mod target_groups;
mod targets;

pub(crate) static SERVICE: Service = Service {
    advance,
    inventory,
    rate: |operation| {
        if writes(operation) { Rate::new("write", 40.0, 3.0) } else { Rate::new("read", 40.0, 10.0) }
    },
    timings: &[
        ("CreateTargetGroup", Timing::Create("target_group")),
        ("DeleteTargetGroup", Timing::Delete("target_group")),
    ],
    can_fail: &["CreateLoadBalancer"],
    incidents: &incidents::INCIDENTS,
    severe_incidents: &incidents::SEVERE_INCIDENTS,
    ..Service::query(
        "elasticloadbalancing",
        "http://elasticloadbalancing.amazonaws.com/doc/2015-12-01/",
        act,
        access::access,
    )
};

/// The state of this service, by ARN.
#[derive(Debug, Clone, Default)]
pub(crate) struct State {
    load_balancers: BTreeMap<String, load_balancers::LoadBalancer>,
    /// The names of deleted load balancers with remaining interfaces, and until when the names cannot be used.
    held_names: BTreeMap<String, Duration>,
    target_groups: BTreeMap<String, target_groups::TargetGroup>,
    listeners: BTreeMap<String, listeners::Listener>,
    rules: BTreeMap<String, rules::Rule>,
    /// When the state was last brought up to date. Calls change it only at such moments.
    looked_at: Duration,
}

/// For how many seconds after its creation a resource is unknown to other calls. A read right after a creation may
/// not find it. Terraform allows two minutes for that; less than a second is usual.
const UNKNOWN_SECONDS: f64 = 0.5;

/// The most items of one page (`PageSize`).
const PAGE: usize = 400;

fn act(world: &mut World, operation: &str, params: &Params) -> Result<Reply, Refusal> {
    match operation {
        "CreateLoadBalancer" => load_balancers::create(world, params),
        "DescribeLoadBalancers" => load_balancers::describe(world, params),
        "DescribeLoadBalancerAttributes" => load_balancers::describe_attributes(world, params),
        "ModifyLoadBalancerAttributes" => load_balancers::modify_attributes(world, params),
        "SetSecurityGroups" => load_balancers::set_security_groups(world, params),
        "SetSubnets" => load_balancers::set_subnets(world, params),
        "DeleteLoadBalancer" => load_balancers::delete(world, params),
        "CreateTargetGroup" => target_groups::create(world, params),
        "DescribeTargetGroups" => target_groups::describe(world, params),
        "ModifyTargetGroup" => target_groups::modify(world, params),
        "DescribeTargetGroupAttributes" => target_groups::describe_attributes(world, params),
        "ModifyTargetGroupAttributes" => target_groups::modify_attributes(world, params),
        "DeleteTargetGroup" => target_groups::delete(world, params),
        "RegisterTargets" => targets::register(world, params),
        "DeregisterTargets" => targets::deregister(world, params),
        "DescribeTargetHealth" => targets::describe_health(world, params),
        "CreateListener" => listeners::create(world, params),
        "DescribeListeners" => listeners::describe(world, params),
        "DescribeListenerCertificates" => listeners::describe_certificates(world, params),
        "ModifyListener" => listeners::modify(world, params),
        "DeleteListener" => listeners::delete(world, params),
        "CreateRule" => rules::create(world, params),
        "DescribeRules" => rules::describe(world, params),
        "ModifyRule" => rules::modify(world, params),
        "SetRulePriorities" => rules::set_priorities(world, params),
        "DeleteRule" => rules::delete(world, params),
        "DescribeTags" => tags::describe(world, params),
        "AddTags" => tags::add(world, params),
        "RemoveTags" => tags::remove(world, params),
        "DescribeSSLPolicies" => ssl_policies::describe(params),
        _ => Err(unknown("elasticloadbalancing", operation)),
    }
}

pub(crate) fn advance(world: &mut World) {
    let now = world.now;
    targets::notice_changes(world);
    world.states.elb.held_names.retain(|_, until| *until > now);
    world.states.elb.looked_at = now;
}

fn inventory(world: &World, items: &mut Vec<Item>) {
    load_balancers::inventory(world, items);
    target_groups::inventory(world, items);
    listeners::inventory(world, items);
    rules::inventory(world, items);
}

/// What ECS reads of a target group.
#[derive(Debug, Clone)]
pub(crate) struct TargetGroupFacts {
    pub(crate) vpc: String,
    /// `ip` or `instance`.
    pub(crate) target_type: String,
    /// Whether a listener or a rule of any load balancer sends requests to it.
    pub(crate) attached: bool,
    /// Whether that load balancer is `active`.
    pub(crate) active: bool,
    pub(crate) deregistration_delay: Duration,
}

/// A target group, if it exists.
pub(crate) fn target_group(world: &World, arn: &str) -> Option<TargetGroupFacts> {
    let group = target_groups::find(world, arn).ok()?;
    let load_balancer = load_balancers::using(world, arn);
    Some(TargetGroupFacts {
        vpc: group.vpc.clone(),
        target_type: group.target_type.clone(),
        attached: load_balancer.is_some(),
        active: load_balancer.is_some_and(|load_balancer| load_balancer.is_active(world.now)),
        deregistration_delay: group.deregistration_delay(),
    })
}

/// Whether a load balancer sends requests to a target group. Both are given by the ends of their ARNs, as in
/// Application Auto Scaling's label: `app/NAME/HASH/targetgroup/NAME/HASH`.
pub(crate) fn is_label(world: &World, label: &str) -> bool {
    world.states.elb.target_groups.values().any(|group| {
        let end = group.arn.rsplit(':').next().unwrap_or_default();
        load_balancers::using(world, &group.arn).is_some_and(|user| format!("{}/{end}", user.path()) == label)
    })
}

/// A target that ECS registers.
#[derive(Debug, Clone)]
pub(crate) struct NewTarget<'a> {
    pub(crate) address: Ipv4Addr,
    pub(crate) port: u16,
    /// The groups of the task's interface, which must admit the load balancer.
    pub(crate) groups: &'a [String],
    pub(crate) zone: &'a str,
    /// Whether it passes health checks (an `Unhealthy` image does not).
    pub(crate) answers: bool,
}

/// Registers a target (an ECS task's address) at a time, which can be slightly in the past. The target is `initial`,
/// then healthy or not by its checks; in a group that no active load balancer uses, it is `unused`.
pub(crate) fn register_target_at(world: &mut World, arn: &str, target: &NewTarget<'_>, at: Duration) {
    targets::put(world, arn, targets::Target::of(target, at));
}

/// Deregisters a target at a time: it is `draining` for the group's deregistration delay, then removed.
pub(crate) fn deregister_target_at(world: &mut World, arn: &str, address: Ipv4Addr, port: u16, at: Duration) {
    targets::drain(world, arn, &(address.to_string(), port), at);
}

/// A target's state as AWS names it (`initial`, `healthy`, `unhealthy`, `unused`, `draining`), if it is registered.
pub(crate) fn target_state(world: &World, arn: &str, address: Ipv4Addr, port: u16) -> Option<&'static str> {
    targets::state(world, arn, &(address.to_string(), port))
}

/// Whether a load balancer has this DNS name (for an alias record).
pub(crate) fn is_load_balancer_name(world: &World, dns: &str) -> bool {
    load_balancers::by_dns_name(world, dns).is_some()
}

/// The DNS name of a stack's load balancer, if it has one.
pub(crate) fn dns_name_of<'a>(world: &'a World, stack: &str) -> Option<&'a str> {
    let mut all = world.states.elb.load_balancers.values();
    let own = all.find(|each| each.tags.get("stackdrop:stack").is_some_and(|value| value == stack));
    own.map(|own| own.dns_name.as_str())
}

/// Whether a load balancer is active; `None` if it does not exist, or no call shows it yet.
pub(crate) fn is_active(world: &World, arn: &str) -> Option<bool> {
    load_balancers::find(world, arn).ok().map(|found| found.is_active(world.now))
}

/// The tags of a load balancer, if it exists.
pub(crate) fn load_balancer_tags<'a>(world: &'a World, arn: &str) -> Option<&'a Tags> {
    world.states.elb.load_balancers.get(arn).map(|found| &found.tags)
}

/// The hosted zone for aliases to load balancers of this region.
pub(crate) fn hosted_zone(world: &World) -> &'static str {
    load_balancers::hosted_zone(&world.region)
}

/// The refusal of an invalid value.
fn invalid(message: impl Into<String>) -> Refusal {
    Refusal::new("ValidationError", message)
}

/// The refusal of contradictory settings.
fn misconfigured(message: impl Into<String>) -> Refusal {
    Refusal::new("InvalidConfigurationRequest", message)
}

/// Whether a resource that was created at a time is known to other calls.
fn is_known(world: &World, created: Duration) -> bool {
    created + world.latency.seconds(UNKNOWN_SECONDS) <= world.now
}

/// Checks the name of a load balancer or a target group (`what`).
fn check_name(what: &str, name: &str) -> Result<(), Refusal> {
    if name.len() > 32 {
        return Err(invalid(format!("The {what} name '{name}' cannot be longer than '32' characters")));
    }
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        return Err(invalid(format!(
            "The {what} name '{name}' can only contain characters that are alphanumeric characters or hyphens(-)"
        )));
    }
    if name.starts_with('-') || name.ends_with('-') {
        return Err(invalid(format!("The {what} name '{name}' cannot begin or end with '-'")));
    }
    if what == "load balancer" && name.starts_with("internal-") {
        return Err(invalid(format!("The {what} name '{name}' cannot begin with 'internal-'")));
    }
    Ok(())
}

/// A whole number within AWS's limits, or its default.
fn ranged(params: &Params, key: &str, low: i64, high: i64) -> Result<Option<i64>, Refusal> {
    match params.int(key)? {
        Some(number) if !(low..=high).contains(&number) => {
            Err(invalid(format!("{key} must be between {low} and {high}, not {number}")))
        }
        number => Ok(number),
    }
}

/// A port, if one was sent.
fn port(params: &Params) -> Result<Option<u16>, Refusal> {
    let number = ranged(params, "Port", 1, 65535)?;
    Ok(number.and_then(|number| u16::try_from(number).ok()))
}

/// One page of a listing.
struct Page {
    size: usize,
    from: usize,
}

impl Page {
    fn read(params: &Params) -> Result<Self, Refusal> {
        let size = ranged(params, "PageSize", 1, 400)?.and_then(|size| usize::try_from(size).ok());
        let from = match params.text("Marker") {
            None => 0,
            Some(marker) => {
                marker.parse().map_err(|_| invalid(format!("The marker '{marker}' is not valid")))?
            }
        };
        Ok(Self { size: size.unwrap_or(PAGE), from })
    }

    /// The page's items under `name`, with the marker of the next page, if any.
    fn of(&self, name: &str, items: Vec<Value>) -> Reply {
        let total = items.len();
        let end = self.from.saturating_add(self.size);
        let items: Vec<Value> = items.into_iter().skip(self.from).take(self.size).collect();
        let mut document = serde_json::Map::new();
        document.insert(name.to_owned(), Value::Array(items));
        if end < total {
            document.insert("NextMarker".into(), Value::String(end.to_string()));
        }
        Value::Object(document).into()
    }
}
