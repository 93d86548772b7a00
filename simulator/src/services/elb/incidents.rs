//! What people do to load balancers, listeners, rules and target groups, and what AWS does.

use std::net::Ipv4Addr;

use super::{listeners, load_balancers, targets};
use crate::incident::Incident;
use crate::world::{Tags, World};

/// The tag by which Stackdrop recognizes a stack's resources.
const STACK: &str = "stackdrop:stack";

pub(super) static INCIDENTS: [Incident; 6] = [
    Incident {
        name: "load-balancer-impaired",
        what: "The load balancer cannot scale, because its subnets have too few free addresses",
        cause: impair_load_balancer,
    },
    Incident {
        name: "load-balancer-unnamed",
        what: "Somebody changes the tag Name of the load balancer, its listeners, rules and target groups",
        cause: |world, stack| {
            each_tags(world, stack, &ALL_KINDS, |tags| tags.insert("Name".into(), "changed".into()))
        },
    },
    Incident {
        name: "tls-policy-weakened",
        what: "Somebody allows TLS 1.0 again",
        cause: |world, stack| set_policy(world, stack, "ELBSecurityPolicy-2016-08"),
    },
    Incident {
        name: "tls-policy-strengthened",
        what: "Somebody allows only TLS 1.3",
        cause: |world, stack| set_policy(world, stack, "ELBSecurityPolicy-TLS13-1-3-PQ-2025-09"),
    },
    Incident {
        name: "target-registered-by-hand",
        what: "Somebody registers a target in each target group",
        cause: register_targets,
    },
    Incident {
        name: "target-group-drains-longer",
        what: "Somebody lets the target groups drain for five minutes",
        cause: drain_longer,
    },
];

pub(super) static SEVERE_INCIDENTS: [Incident; 9] = [
    Incident {
        name: "load-balancer-deleted",
        what: "Somebody deletes the load balancer",
        cause: delete_load_balancer,
    },
    Incident {
        name: "load-balancer-protected",
        what: "Somebody turns on the deletion protection of the load balancer",
        cause: protect_load_balancer,
    },
    Incident {
        name: "load-balancer-untagged",
        what: "Somebody removes the stack's tag from the load balancer",
        cause: |world, stack| untag(world, stack, &[Kind::LoadBalancers]),
    },
    Incident {
        name: "target-groups-untagged",
        what: "Somebody removes the stack's tag from the target groups",
        cause: |world, stack| untag(world, stack, &[Kind::TargetGroups]),
    },
    Incident {
        name: "listeners-untagged",
        what: "Somebody removes the stack's tag from the listeners",
        cause: |world, stack| untag(world, stack, &[Kind::Listeners]),
    },
    Incident {
        name: "listener-rules-untagged",
        what: "Somebody removes the stack's tag from the listener rules",
        cause: |world, stack| untag(world, stack, &[Kind::Rules]),
    },
    Incident {
        name: "listener-deleted",
        what: "Somebody deletes the HTTPS listener",
        cause: delete_listener,
    },
    Incident {
        name: "listener-rules-deleted",
        what: "Somebody deletes the listener rules",
        cause: delete_rules,
    },
    Incident {
        name: "target-groups-deleted",
        what: "Somebody deletes the target groups, and before that the rules that refer to them",
        cause: delete_groups,
    },
];

/// A kind of resource.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    LoadBalancers,
    TargetGroups,
    Listeners,
    Rules,
}

const ALL_KINDS: [Kind; 4] = [Kind::LoadBalancers, Kind::TargetGroups, Kind::Listeners, Kind::Rules];

fn is_of(tags: &Tags, stack: &str) -> bool {
    tags.get(STACK).is_some_and(|value| value == stack)
}

/// Changes the tags of the stack's resources of these kinds. Returns their ARNs.
fn each_tags<T>(
    world: &mut World,
    stack: &str,
    kinds: &[Kind],
    change: impl Fn(&mut Tags) -> T,
) -> Vec<String> {
    let state = &mut world.states.elb;
    let load_balancers = state.load_balancers.iter_mut().filter(|_| kinds.contains(&Kind::LoadBalancers));
    let target_groups = state.target_groups.iter_mut().filter(|_| kinds.contains(&Kind::TargetGroups));
    let listeners = state.listeners.iter_mut().filter(|_| kinds.contains(&Kind::Listeners));
    let rules = state.rules.iter_mut().filter(|_| kinds.contains(&Kind::Rules));
    let all = load_balancers
        .map(|(arn, each)| (arn, &mut each.tags))
        .chain(target_groups.map(|(arn, each)| (arn, &mut each.tags)))
        .chain(listeners.map(|(arn, each)| (arn, &mut each.tags)))
        .chain(rules.map(|(arn, each)| (arn, &mut each.tags)));
    let of_stack = all.filter(|(_, tags)| is_of(tags, stack));
    of_stack
        .map(|(arn, tags)| {
            change(tags);
            arn.clone()
        })
        .collect()
}

fn untag(world: &mut World, stack: &str, kinds: &[Kind]) -> Vec<String> {
    each_tags(world, stack, kinds, |tags| tags.remove(STACK))
}

/// The stack's load balancer, if it has one.
fn load_balancer(world: &World, stack: &str) -> Option<load_balancers::LoadBalancer> {
    world.states.elb.load_balancers.values().find(|each| is_of(&each.tags, stack)).cloned()
}

fn change_load_balancer(
    world: &mut World,
    stack: &str,
    change: impl Fn(&mut load_balancers::LoadBalancer),
) -> Vec<String> {
    let all = world.states.elb.load_balancers.values_mut();
    all.filter(|each| is_of(&each.tags, stack))
        .map(|each| {
            change(each);
            each.arn.clone()
        })
        .collect()
}

fn delete_load_balancer(world: &mut World, stack: &str) -> Vec<String> {
    let is_protected = |each: &load_balancers::LoadBalancer| {
        each.attributes.get("deletion_protection.enabled").is_some_and(|value| value == "true")
    };
    let Some(found) = load_balancer(world, stack).filter(|each| !is_protected(each)) else {
        return Vec::new();
    };
    load_balancers::remove(world, &found);
    vec![found.arn]
}

fn protect_load_balancer(world: &mut World, stack: &str) -> Vec<String> {
    change_load_balancer(world, stack, |each| {
        each.attributes.insert("deletion_protection.enabled".into(), "true".into());
    })
}

fn impair_load_balancer(world: &mut World, stack: &str) -> Vec<String> {
    change_load_balancer(world, stack, |each| each.is_impaired = true)
}

/// The ARNs of the HTTPS listener of the stack's load balancer: the load balancer's and its own.
fn https(world: &World, stack: &str) -> Option<(String, String)> {
    let owner = load_balancer(world, stack)?;
    let mut listeners = world.states.elb.listeners.values();
    let found = listeners.find(|each| each.load_balancer == owner.arn && each.port == 443)?;
    Some((owner.arn, found.arn.clone()))
}

fn delete_listener(world: &mut World, stack: &str) -> Vec<String> {
    let Some((owner, arn)) = https(world, stack) else { return Vec::new() };
    listeners::remove(world, &owner, &arn);
    vec![arn]
}

fn delete_rules(world: &mut World, stack: &str) -> Vec<String> {
    let of_stack = world.states.elb.rules.values().filter(|rule| is_of(&rule.tags, stack));
    let arns: Vec<String> = of_stack.map(|rule| rule.arn.clone()).collect();
    world.states.elb.rules.retain(|arn, _| !arns.contains(arn));
    arns
}

fn set_policy(world: &mut World, stack: &str, policy: &str) -> Vec<String> {
    let Some((_, arn)) = https(world, stack) else { return Vec::new() };
    let listener = world.states.elb.listeners.get_mut(&arn).and_then(|listener| listener.tls.as_mut());
    let Some((actual, _)) = listener else { return Vec::new() };
    policy.clone_into(actual);
    vec![arn]
}

fn register_targets(world: &mut World, stack: &str) -> Vec<String> {
    let groups = world.states.elb.target_groups.values().filter(|group| is_of(&group.tags, stack));
    let groups: Vec<(String, u16)> = groups.map(|group| (group.arn.clone(), group.port)).collect();
    let now = world.now;
    for (arn, port) in &groups {
        targets::put(world, arn, targets::by_hand(Ipv4Addr::new(10, 20, 200, 7), *port, now));
    }
    groups.into_iter().map(|(arn, _)| arn).collect()
}

fn delete_groups(world: &mut World, stack: &str) -> Vec<String> {
    let groups = world.states.elb.target_groups.values().filter(|group| is_of(&group.tags, stack));
    let groups: Vec<String> = groups.map(|group| group.arn.clone()).collect();
    world.states.elb.rules.retain(|_, rule| !groups.iter().any(|group| rule.action.uses(group)));
    // AWS keeps a group to which a listener's default action refers.
    let mut deleted = groups;
    deleted.retain(|group| load_balancers::using(world, group).is_none());
    world.states.elb.target_groups.retain(|arn, _| !deleted.contains(arn));
    deleted
}

fn drain_longer(world: &mut World, stack: &str) -> Vec<String> {
    let groups = world.states.elb.target_groups.values_mut().filter(|group| is_of(&group.tags, stack));
    groups
        .map(|group| {
            group.attributes.insert("deregistration_delay.timeout_seconds".into(), "300".into());
            group.arn.clone()
        })
        .collect()
}
