//! Targets and their health. No checks are counted: a target's state follows from times.

use std::net::Ipv4Addr;
use std::time::Duration;

use serde_json::{Value, json};

use super::load_balancers::{self, LoadBalancer};
use super::target_groups::{self, TargetGroup};
use super::{NewTarget, invalid, port};
use crate::params::{Params, Refusal};
use crate::protocol::Reply;
use crate::services::ec2;
use crate::world::World;

/// A target's address or instance ID, and its port.
pub(super) type Key = (String, u16);

/// The most targets of a target group (AWS's default quota for an application load balancer).
const QUOTA: usize = 1000;

/// For how many seconds a target is being registered before its checks count.
const REGISTRATION_SECONDS: f64 = 2.0;

#[derive(Debug, Clone)]
pub(super) struct Target {
    id: String,
    port: u16,
    /// Its zone; `None` if it gets requests from every zone.
    zone: Option<String>,
    address: Option<Ipv4Addr>,
    groups: Vec<String>,
    answers: bool,
    registered_at: Duration,
    /// When its deregistration ends, if it has started.
    draining_until: Option<Duration>,
    phase: Phase,
}

/// The condition of a target, unchanged since a moment.
#[derive(Debug, Clone, Copy)]
struct Phase {
    condition: Condition,
    since: Duration,
    /// The target's health before that moment.
    before: Health,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Condition {
    /// No load balancer that can become active sends requests to the group.
    NotInUse,
    /// The load balancer has no node in the target's zone.
    ZoneNotEnabled,
    /// Health checks pass.
    Passing,
    /// The security groups do not admit the load balancer.
    Unreachable,
    /// Health checks fail.
    AnsweringBadly,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Health {
    Initial,
    Healthy,
    Unhealthy,
    Unused,
}

impl Target {
    pub(super) fn of(new: &NewTarget<'_>, at: Duration) -> Self {
        Self {
            id: new.address.to_string(),
            port: new.port,
            zone: Some(new.zone.to_owned()),
            address: Some(new.address),
            groups: new.groups.to_vec(),
            answers: new.answers,
            registered_at: at,
            draining_until: None,
            phase: Phase { condition: Condition::NotInUse, since: at, before: Health::Initial },
        }
    }

    fn is_gone(&self, now: Duration) -> bool {
        self.draining_until.is_some_and(|until| until <= now)
    }
}

/// Adds a target to a group. A registered target stays as it is, unless it is being deregistered.
pub(super) fn put(world: &mut World, group: &str, mut target: Target) {
    let key = (target.id.clone(), target.port);
    let Some(found) = world.states.elb.target_groups.get(group) else { return };
    if found.targets.get(&key).is_some_and(|old| old.draining_until.is_none()) {
        return;
    }
    target.phase.condition = condition(world, found, &target);
    if let Some(found) = world.states.elb.target_groups.get_mut(group) {
        found.targets.insert(key, target);
    }
}

/// A target that somebody registered by hand: nothing answers at its address.
pub(super) fn by_hand(address: Ipv4Addr, port: u16, at: Duration) -> Target {
    Target {
        id: address.to_string(),
        port,
        zone: None,
        address: None,
        groups: Vec::new(),
        answers: false,
        registered_at: at,
        draining_until: None,
        phase: Phase { condition: Condition::NotInUse, since: at, before: Health::Initial },
    }
}

/// Starts to deregister a target. In a group that no load balancer uses, this takes no time.
pub(super) fn drain(world: &mut World, group: &str, key: &Key, at: Duration) {
    let Some(found) = world.states.elb.target_groups.get(group) else { return };
    let Some(target) = found.targets.get(key) else { return };
    let delay = match health(world, found, target, at) {
        Health::Unused => Duration::ZERO,
        _ => found.deregistration_delay(),
    };
    if let Some(target) =
        world.states.elb.target_groups.get_mut(group).and_then(|found| found.targets.get_mut(key))
    {
        target.draining_until.get_or_insert(at + delay);
    }
}

fn condition(world: &World, group: &TargetGroup, target: &Target) -> Condition {
    let Some(load_balancer) = load_balancers::using(world, &group.arn).filter(|user| !user.fails) else {
        return Condition::NotInUse;
    };
    let in_zone = |zone: &String| load_balancer.nodes.iter().any(|node| node.zone == *zone);
    if !target.zone.as_ref().is_none_or(in_zone) {
        return Condition::ZoneNotEnabled;
    }
    match (is_reachable(world, load_balancer, group, target), target.answers) {
        (false, _) => Condition::Unreachable,
        (true, false) => Condition::AnsweringBadly,
        (true, true) => Condition::Passing,
    }
}

/// Whether every node can connect: cross-zone balancing is always enabled, so each node checks every target.
fn is_reachable(world: &World, user: &LoadBalancer, group: &TargetGroup, target: &Target) -> bool {
    let port = group.check.port_of(target.port);
    target.address.is_some_and(|address| {
        user.nodes.iter().all(|node| {
            ec2::may_connect(world, &user.groups, node.address, &target.groups, address, port)
                && ec2::may_connect(world, &user.groups, node.address, &target.groups, address, target.port)
        })
    })
}

/// The current phase of a target: the stored one, or a new one since the last change of the account.
fn phase(world: &World, group: &TargetGroup, target: &Target) -> Phase {
    let condition = condition(world, group, target);
    if condition == target.phase.condition {
        return target.phase;
    }
    let since = world.states.elb.looked_at.max(target.registered_at);
    let before = match judge(world, group, target.phase, since) {
        Health::Unused => Health::Initial,
        health => health,
    };
    Phase { condition, since, before }
}

/// The state that a phase leads to at a time. Checks do not count before the load balancer is active.
fn judge(world: &World, group: &TargetGroup, phase: Phase, at: Duration) -> Health {
    let Some(active_at) = load_balancers::using(world, &group.arn).map(|user| user.ready_at) else {
        return Health::Unused;
    };
    let from = phase.since.max(active_at);
    match phase.condition {
        Condition::NotInUse | Condition::ZoneNotEnabled => Health::Unused,
        _ if at < active_at => Health::Unused,
        Condition::Passing if at >= from + group.check.until_healthy() => Health::Healthy,
        Condition::Unreachable | Condition::AnsweringBadly if at >= from + group.check.until_unhealthy() => {
            Health::Unhealthy
        }
        _ => phase.before,
    }
}

fn health(world: &World, group: &TargetGroup, target: &Target, at: Duration) -> Health {
    judge(world, group, phase(world, group, target), at)
}

/// Stores new phases since the last call, and removes targets whose deregistration has ended.
pub(super) fn notice_changes(world: &mut World) {
    let arns: Vec<String> = world.states.elb.target_groups.keys().cloned().collect();
    for arn in arns {
        let Some(group) = world.states.elb.target_groups.get(&arn) else { continue };
        if group.targets.is_empty() {
            continue;
        }
        let phases: Vec<Phase> = group.targets.values().map(|target| phase(world, group, target)).collect();
        let now = world.now;
        if let Some(group) = world.states.elb.target_groups.get_mut(&arn) {
            for (target, phase) in group.targets.values_mut().zip(phases) {
                target.phase = phase;
            }
            group.targets.retain(|_, target| !target.is_gone(now));
        }
    }
}

/// Stores the current health of a group's targets, before the health check changes.
pub(super) fn settle(world: &mut World, arn: &str) {
    let Some(group) = world.states.elb.target_groups.get(arn) else { return };
    let now = world.now;
    let known: Vec<Health> = group.targets.values().map(|target| health(world, group, target, now)).collect();
    if let Some(group) = world.states.elb.target_groups.get_mut(arn) {
        for (target, health) in group.targets.values_mut().zip(known) {
            if health != Health::Unused {
                target.phase.before = health;
            }
        }
    }
}

/// A target's state as AWS names it, if it is registered.
pub(super) fn state(world: &World, arn: &str, key: &Key) -> Option<&'static str> {
    let group = world.states.elb.target_groups.get(arn)?;
    let target = group.targets.get(key).filter(|target| !target.is_gone(world.now))?;
    Some(named(world, group, target).0)
}

/// A target's state, with AWS's reason and description. Source: the SDK's documentation of `TargetHealth`.
fn named(
    world: &World,
    group: &TargetGroup,
    target: &Target,
) -> (&'static str, Option<&'static str>, Option<&'static str>) {
    if target.draining_until.is_some() {
        let (reason, text) = ("Target.DeregistrationInProgress", "Target deregistration is in progress");
        return ("draining", Some(reason), Some(text));
    }
    let phase = phase(world, group, target);
    let registering = world.now < phase.since + world.latency.seconds(REGISTRATION_SECONDS)
        && phase.since == target.registered_at;
    match (judge(world, group, phase, world.now), phase.condition) {
        (Health::Healthy, _) => ("healthy", None, None),
        (Health::Initial, _) if registering => {
            ("initial", Some("Elb.RegistrationInProgress"), Some("Target registration is in progress"))
        }
        (Health::Initial, _) => {
            ("initial", Some("Elb.InitialHealthChecking"), Some("Initial health checks in progress"))
        }
        (Health::Unhealthy, Condition::AnsweringBadly) => {
            ("unhealthy", Some("Target.FailedHealthChecks"), Some("Health checks failed"))
        }
        (Health::Unhealthy, _) => ("unhealthy", Some("Target.Timeout"), Some("Request timed out")),
        (Health::Unused, Condition::ZoneNotEnabled) => (
            "unused",
            Some("Target.NotInUse"),
            Some("Target is in an Availability Zone that is not enabled for the load balancer"),
        ),
        (Health::Unused, _) => (
            "unused",
            Some("Target.NotInUse"),
            Some("Target group is not configured to receive traffic from the load balancer"),
        ),
    }
}

/// A target as a request names it.
struct Named {
    id: String,
    port: Option<u16>,
    zone: Option<String>,
}

fn read(params: &Params) -> Result<Vec<Named>, Refusal> {
    let mut targets = Vec::new();
    for target in params.structs("Targets") {
        targets.push(Named {
            id: target.required("Id")?,
            port: port(&target)?,
            zone: target.text("AvailabilityZone").filter(|zone| zone != "all"),
        });
    }
    Ok(targets)
}

pub(super) fn register(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let arn = params.required("TargetGroupArn")?;
    let sent = read(params)?;
    params.done()?;
    let group = target_groups::find(world, &arn)?;
    if sent.is_empty() {
        return Err(invalid("At least one target must be specified"));
    }
    let mut targets = Vec::new();
    for target in &sent {
        targets.push(resolve(world, group, target)?);
    }
    let new = targets.iter().filter(|target| !group.targets.contains_key(&(target.id.clone(), target.port)));
    if group.targets.len() + new.count() > QUOTA {
        return Err(Refusal::new(
            "TooManyTargets",
            format!("A target group can have at most {QUOTA} targets"),
        ));
    }
    for target in targets {
        put(world, &arn, target);
    }
    Ok(Reply::empty())
}

/// The target of a request: an instance, or the owner of an address. An address that belongs to no instance is
/// unknown to the simulator, so its checks fail.
fn resolve(world: &World, group: &TargetGroup, named: &Named) -> Result<Target, Refusal> {
    let refused = |why: &str| Refusal::new("InvalidTarget", format!("The target '{}' {why}", named.id));
    let port = named.port.unwrap_or(group.port);
    let instances = ec2::instances(world);
    let address: Option<Ipv4Addr> = named.id.parse().ok();
    let instance = instances.iter().find(|each| match group.target_type.as_str() {
        "ip" => Some(each.address) == address,
        _ => each.id == named.id,
    });
    if group.target_type == "ip" {
        let address = address.ok_or_else(|| refused("is not a valid IPv4 address"))?;
        let [first, second, ..] = address.octets();
        let is_shared = first == 100 && (64..128).contains(&second);
        if !(address.is_private() || is_shared) {
            return Err(refused("is not within the private address ranges"));
        }
    } else if instance.is_none_or(|instance| instance.running_since.is_none()) {
        return Err(refused("is not in a running state and cannot be registered"));
    }
    let subnet = instance.and_then(|instance| ec2::subnet(world, &instance.subnet));
    if group.target_type == "instance" && subnet.as_ref().is_none_or(|subnet| subnet.vpc != group.vpc) {
        return Err(refused("is not in the same VPC as the target group"));
    }
    Ok(Target {
        id: named.id.clone(),
        port,
        zone: named.zone.clone().or_else(|| subnet.map(|subnet| subnet.zone)),
        address: instance.map(|instance| instance.address),
        groups: instance.map(|instance| instance.groups.clone()).unwrap_or_default(),
        answers: true,
        registered_at: world.now,
        draining_until: None,
        phase: Phase { condition: Condition::NotInUse, since: world.now, before: Health::Initial },
    })
}

pub(super) fn deregister(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let arn = params.required("TargetGroupArn")?;
    let sent = read(params)?;
    params.done()?;
    let group = target_groups::find(world, &arn)?;
    if sent.is_empty() {
        return Err(invalid("At least one target must be specified"));
    }
    let mut keys = Vec::new();
    for target in &sent {
        // Without a port, the target is deregistered on all its ports (SDK text).
        let of_it: Vec<Key> = group
            .targets
            .keys()
            .filter(|(id, port)| *id == target.id && target.port.is_none_or(|wanted| wanted == *port))
            .cloned()
            .collect();
        if of_it.is_empty() {
            return Err(Refusal::new(
                "InvalidTarget",
                format!("The target '{}' is not registered with the target group", target.id),
            ));
        }
        keys.extend(of_it);
    }
    let now = world.now;
    for key in keys {
        drain(world, &arn, &key, now);
    }
    Ok(Reply::empty())
}

pub(super) fn describe_health(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let arn = params.required("TargetGroupArn")?;
    let wanted = read(params)?;
    params.done()?;
    let group = target_groups::find(world, &arn)?;
    let there = || group.targets.values().filter(|target| !target.is_gone(world.now));
    let documents: Vec<Value> = if wanted.is_empty() {
        there().map(|target| document(world, group, target)).collect()
    } else {
        wanted
            .iter()
            .map(|wanted| {
                let port = wanted.port.unwrap_or(group.port);
                let found = there().find(|target| target.id == wanted.id && target.port == port);
                found.map_or_else(|| not_registered(wanted, port), |target| document(world, group, target))
            })
            .collect()
    };
    Ok(json!({ "TargetHealthDescriptions": documents }).into())
}

fn document(world: &World, group: &TargetGroup, target: &Target) -> Value {
    let (state, reason, description) = named(world, group, target);
    json!({
        "Target": {
            "Id": target.id,
            "Port": target.port,
            "AvailabilityZone": target.zone.as_deref().unwrap_or("all"),
        },
        "HealthCheckPort": group.check.port_of(target.port).to_string(),
        "TargetHealth": { "State": state, "Reason": reason, "Description": description },
    })
}

fn not_registered(wanted: &Named, port: u16) -> Value {
    json!({
        "Target": { "Id": wanted.id, "Port": port },
        "TargetHealth": {
            "State": "unused",
            "Reason": "Target.NotRegistered",
            "Description": "Target is not registered to the target group",
        },
    })
}
