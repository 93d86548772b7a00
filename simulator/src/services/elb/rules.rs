//! The rules of a listener.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::actions::{self, Action};
use super::conditions::{self, Condition};
use super::listeners::Listener;
use super::{Page, invalid, is_known, listeners, load_balancers, ranged, tags};
use crate::inventory::Item;
use crate::params::{Params, Refusal};
use crate::protocol::Reply;
use crate::world::{Tags, World};

/// The most rules of a load balancer, without default rules (AWS's default quota).
const QUOTA: usize = 100;

/// A rule of a listener; the default rule is part of the listener.
#[derive(Debug, Clone)]
pub(super) struct Rule {
    pub(super) arn: String,
    pub(super) listener: String,
    pub(super) priority: i64,
    conditions: Vec<Condition>,
    pub(super) action: Action,
    pub(super) tags: Tags,
    created: Duration,
}

impl Rule {
    fn document(&self) -> Value {
        json!({
            "RuleArn": self.arn,
            "Priority": self.priority.to_string(),
            "Conditions": conditions::document(&self.conditions),
            "Actions": self.action.document(),
            "IsDefault": false,
        })
    }
}

fn default_document(listener: &Listener) -> Value {
    json!({
        "RuleArn": listener.default_rule,
        "Priority": "default",
        "Conditions": [],
        "Actions": listener.action.document(),
        "IsDefault": true,
    })
}

/// A rule by its ARN.
pub(super) fn find<'a>(world: &'a World, arn: &str) -> Result<&'a Rule, Refusal> {
    world
        .states
        .elb
        .rules
        .get(arn)
        .filter(|rule| is_known(world, rule.created))
        .ok_or_else(|| Refusal::new("RuleNotFound", format!("One or more rules not found: '{arn}'")))
}

/// A rule that a call changes, which must not be a default rule.
fn changeable<'a>(world: &'a World, arn: &str, what: &str) -> Result<&'a Rule, Refusal> {
    if of_default(world, arn).is_some() {
        return Err(Refusal::new("OperationNotPermitted", format!("Default rule '{arn}' cannot be {what}")));
    }
    find(world, arn)
}

/// The listener whose default rule has this ARN.
fn of_default<'a>(world: &'a World, arn: &str) -> Option<&'a Listener> {
    world.states.elb.listeners.values().find(|listener| listener.default_rule == arn)
}

fn in_use(priority: i64) -> Refusal {
    Refusal::new("PriorityInUse", format!("Priority '{priority}' is currently in use"))
}

pub(super) fn create(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let listener = params.required("ListenerArn")?;
    let priority =
        ranged(params, "Priority", 1, 50_000)?.ok_or_else(|| invalid("A priority must be specified"))?;
    let conditions = conditions::read(params)?.ok_or_else(|| invalid("A condition must be specified"))?;
    let action = actions::read(params, "Actions")?.ok_or_else(|| invalid("An action must be specified"))?;
    let tags = tags::read(params)?;
    params.done()?;
    check(world, &listener, &action)?;
    let mut of_listener = world.states.elb.rules.values().filter(|rule| rule.listener == listener);
    if of_listener.any(|rule| rule.priority == priority) {
        return Err(in_use(priority));
    }
    let owner = &listeners::find(world, &listener)?.load_balancer;
    let of_owner = world.states.elb.rules.values().filter(|rule| {
        world.states.elb.listeners.get(&rule.listener).is_some_and(|each| each.load_balancer == *owner)
    });
    if of_owner.count() >= QUOTA {
        return Err(Refusal::new("TooManyRules", format!("A load balancer can have at most {QUOTA} rules")));
    }
    let arn = listeners::rule_arn(world, &listener);
    let rule = Rule { arn, listener, priority, conditions, action, tags, created: world.now };
    let reply = json!({ "Rules": [rule.document()] }).into();
    world.states.elb.rules.insert(rule.arn.clone(), rule);
    Ok(reply)
}

fn check(world: &World, listener: &str, action: &Action) -> Result<(), Refusal> {
    let listener = listeners::find(world, listener)?;
    let load_balancer = load_balancers::find(world, &listener.load_balancer)?;
    action.check(world, load_balancer, (&listener.protocol, listener.port))
}

pub(super) fn describe(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let arns = params.list("RuleArns");
    let listener = params.text("ListenerArn");
    let page = Page::read(params)?;
    params.done()?;
    let mut documents = Vec::new();
    match (&listener, arns.is_empty()) {
        (Some(arn), true) => {
            let listener = listeners::find(world, arn)?;
            let rules = world.states.elb.rules.values();
            let mut rules: Vec<&Rule> =
                rules.filter(|rule| rule.listener == *arn && is_known(world, rule.created)).collect();
            rules.sort_by_key(|rule| rule.priority);
            documents.extend(rules.into_iter().map(Rule::document));
            documents.push(default_document(listener));
        }
        (None, false) => {
            for arn in &arns {
                documents.push(match of_default(world, arn).filter(|listener| listener.is_known(world)) {
                    Some(listener) => default_document(listener),
                    None => find(world, arn)?.document(),
                });
            }
        }
        _ => return Err(invalid("You must specify either rule ARNs or a listener ARN")),
    }
    Ok(page.of("Rules", documents))
}

pub(super) fn modify(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let arn = params.required("RuleArn")?;
    let conditions = conditions::read(params)?;
    let action = actions::read(params, "Actions")?;
    params.done()?;
    let mut rule = changeable(world, &arn, "modified")?.clone();
    if let Some(conditions) = conditions {
        rule.conditions = conditions;
    }
    if let Some(action) = action {
        check(world, &rule.listener, &action)?;
        rule.action = action;
    }
    let reply = json!({ "Rules": [rule.document()] }).into();
    world.states.elb.rules.insert(arn, rule);
    Ok(reply)
}

pub(super) fn set_priorities(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let mut wanted = BTreeMap::new();
    for pair in params.structs("RulePriorities") {
        let priority =
            ranged(&pair, "Priority", 1, 50_000)?.ok_or_else(|| invalid("A priority must be specified"))?;
        if wanted.insert(pair.required("RuleArn")?, priority).is_some() {
            return Err(invalid("A rule can be specified only once"));
        }
    }
    params.done()?;
    if wanted.is_empty() {
        return Err(invalid("At least one rule priority must be specified"));
    }
    let mut changed: Vec<Rule> = Vec::new();
    for (arn, priority) in &wanted {
        let rule = changeable(world, arn, "given a priority")?;
        let clashes = |other: &Rule| other.listener == rule.listener && other.priority == *priority;
        let others = world.states.elb.rules.values().filter(|other| !wanted.contains_key(&other.arn));
        if others.into_iter().any(clashes) || changed.iter().any(clashes) {
            return Err(in_use(*priority));
        }
        changed.push(Rule { priority: *priority, ..rule.clone() });
    }
    let documents: Vec<Value> = changed.iter().map(Rule::document).collect();
    for rule in changed {
        world.states.elb.rules.insert(rule.arn.clone(), rule);
    }
    Ok(json!({ "Rules": documents }).into())
}

pub(super) fn delete(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let arn = params.required("RuleArn")?;
    params.done()?;
    changeable(world, &arn, "deleted")?;
    world.states.elb.rules.remove(&arn);
    Ok(Reply::empty())
}

pub(super) fn inventory(world: &World, items: &mut Vec<Item>) {
    for each in world.states.elb.rules.values() {
        let listener = world.states.elb.listeners.get(&each.listener);
        let owner =
            listener.and_then(|listener| world.states.elb.load_balancers.get(&listener.load_balancer));
        let name = owner.map_or("", |owner| owner.name.as_str());
        let port = listener.map_or(0, |listener| listener.port);
        items.push(
            Item::new("AWS::ElasticLoadBalancingV2::ListenerRule", &each.arn, &each.tags)
                .named(&format!("{name}:{port} rule {}", each.priority)),
        );
    }
}
