//! Every part of every policy is needed: without it, a rehearsed call is denied, or a forbidden call is allowed.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Value, json};
use stackdrop_simulator::{AccessRequest, Policy, Principal};

use super::arn;
use super::evidence::EVIDENCE;
use super::exceptions::UNREHEARSED;
use super::policies::{AttachedTo, PolicyUnderTest, read};
use super::variants::{self, Variant};
use crate::template::many;

/// The mutations that were tried.
#[derive(Default)]
struct Tried {
    statements: usize,
    actions: usize,
    resources: usize,
    limits: usize,
    conditions: usize,
    values: usize,
    denies: usize,
    /// The parts without which all decisions are the same.
    unneeded: Vec<String>,
    /// The entries of [`UNREHEARSED`] that are needed.
    excused: BTreeSet<(&'static str, &'static str)>,
}

/// A statement of a policy.
struct Tested<'p, 'e> {
    policy: &'p PolicyUnderTest<'e>,
    statement: &'e Value,
    /// The policy's other statements.
    others: Vec<&'e Value>,
    /// The requests that the policy denies.
    forbidden: &'p [Variant],
}

#[test]
fn every_part_of_every_policy_is_needed() {
    let mut tried = Tried::default();
    for policy in EVIDENCE.policies() {
        let forbidden = variants::denied(&policy);
        for (index, statement) in policy.statements.iter().copied().enumerate() {
            let mut others = policy.statements.clone();
            others.remove(index);
            let tested = Tested { policy: &policy, statement, others, forbidden: &forbidden };
            tried.statements += 1;
            if statement["Effect"] == "Deny" {
                tested.denial(&mut tried);
                continue;
            }
            let depending = tested.depending();
            tested.actions(&depending, &mut tried);
            tested.resources(&depending, &mut tried);
            tested.limits(&mut tried);
            tested.conditions(&mut tried);
            tested.values(&depending, &mut tried);
        }
    }
    println!("{}", tried.summary());
    tried.check();
}

impl Tried {
    fn summary(&self) -> String {
        let Self { statements, actions, resources, limits, conditions, values, denies, unneeded, .. } = self;
        format!(
            "mutations: {statements} statements, {actions} actions, {resources} resources, {limits} limits in resources, \
             {conditions} conditions, {values} values of conditions, {denies} denials; unneeded: {}",
            unneeded.len()
        )
    }

    fn check(&self) {
        assert!(self.unneeded.is_empty(), "no test needs these:\n{}", self.unneeded.join("\n"));
        let unrehearsed = UNREHEARSED.iter().map(|(policy, action, _)| (*policy, *action));
        let superfluous: Vec<_> = unrehearsed.filter(|entry| !self.excused.contains(entry)).collect();
        assert!(superfluous.is_empty(), "these entries of exceptions.rs are not needed: {superfluous:?}");
    }
}

type Rehearsed = (Principal, AccessRequest);

impl<'e> Tested<'_, 'e> {
    /// The rehearsed requests that only this statement allows.
    fn depending(&self) -> Vec<&'e Rehearsed> {
        let alone = read(&[self.statement]);
        let depends = |(principal, request): &&Rehearsed| {
            self.policy.allows_by(&alone, principal, request)
                && !self.policy.allows(&self.others, principal, request)
        };
        self.policy.requests.iter().copied().filter(depends).collect()
    }

    fn denial(&self, tried: &mut Tried) {
        tried.denies += 1;
        if !self.opens(&self.others) {
            self.unneeded(tried, "the Deny");
        }
    }

    /// Removes each action.
    fn actions(&self, depending: &[&Rehearsed], tried: &mut Tried) {
        for action in many(&self.statement["Action"]) {
            tried.actions += 1;
            if self.is_missed(depending, "/Action", action) {
                continue;
            }
            match unrehearsed(&self.policy.label, action) {
                Some(entry) => _ = tried.excused.insert(entry),
                None => self.unneeded(tried, action),
            }
        }
    }

    /// Removes each resource.
    fn resources(&self, depending: &[&Rehearsed], tried: &mut Tried) {
        for resource in many(&self.statement["Resource"]) {
            tried.resources += 1;
            if !self.is_missed(depending, "/Resource", resource) {
                self.unneeded(tried, resource);
            }
        }
    }

    /// Widens each limit in the resources' patterns. A resource policy applies only to its own resource, so it is skipped.
    fn limits(&self, tried: &mut Tried) {
        if self.policy.attached_to == AttachedTo::Resource {
            return;
        }
        for resource in many(&self.statement["Resource"]) {
            for wider in arn::widened(resource) {
                tried.limits += 1;
                let mut statement = self.statement.clone();
                statement["Resource"] = json!(wider);
                if !self.opens(&[&statement]) {
                    self.unneeded(tried, &format!("{resource} instead of {wider}"));
                }
            }
        }
    }

    /// Removes each condition.
    fn conditions(&self, tried: &mut Tried) {
        for (operator, key, _) in conditions(self.statement) {
            tried.conditions += 1;
            let mut wider = self.statement.clone();
            wider["Condition"][operator].as_object_mut().unwrap().remove(key);
            let mut all = self.others.clone();
            all.push(&wider);
            if !self.opens(&all) {
                self.unneeded(tried, &format!("{operator} {key}"));
            }
        }
    }

    /// Removes each value of a condition with several values.
    fn values(&self, depending: &[&Rehearsed], tried: &mut Tried) {
        for (operator, key, values) in conditions(self.statement) {
            let several = values.as_array().filter(|values| values.len() > 1);
            for value in several.into_iter().flatten() {
                tried.values += 1;
                let path = format!("/Condition/{operator}/{}", key.replace('/', "~1"));
                let value = value.as_str().unwrap();
                if !self.is_missed(depending, &path, value) {
                    self.unneeded(tried, &format!("{operator} {key} {value}"));
                }
            }
        }
    }

    /// Whether a rehearsed request is denied when the element at `path` lacks an entry.
    fn is_missed(&self, depending: &[&Rehearsed], path: &str, entry: &str) -> bool {
        let narrowed = narrowed(self.statement, path, entry);
        depending.iter().any(|(principal, request)| {
            narrowed.as_ref().is_none_or(|policy| !self.policy.allows_by(policy, principal, request))
        })
    }

    /// Whether a policy of these statements allows a forbidden request.
    fn opens(&self, statements: &[&Value]) -> bool {
        if statements.is_empty() {
            let is_open = |variant: &Variant| self.policy.allows(&[], &variant.principal, &variant.request);
            return self.forbidden.iter().any(is_open);
        }
        let wider = read(statements);
        let is_open = |variant: &Variant| self.policy.allows_by(&wider, &variant.principal, &variant.request);
        self.forbidden.iter().any(is_open)
    }

    fn unneeded(&self, tried: &mut Tried, part: &str) {
        let actions = many(&self.statement["Action"]).join(", ");
        tried.unneeded.push(format!("{}: {part} ({actions})", self.policy.label));
    }
}

/// The conditions of a statement: operator, key, values.
fn conditions(statement: &Value) -> impl Iterator<Item = (&String, &String, &Value)> {
    let operators = statement["Condition"].as_object().into_iter().flatten();
    operators.flat_map(|(operator, keys)| {
        keys.as_object().unwrap().iter().map(move |(key, values)| (operator, key, values))
    })
}

/// The statement without one entry of the element at `path`; `None` if it is the only entry.
fn narrowed(statement: &Value, path: &str, entry: &str) -> Option<Arc<Policy>> {
    let mut narrowed = statement.clone();
    let element = narrowed.pointer_mut(path)?;
    let others: Vec<String> =
        many(element).into_iter().filter(|other| *other != entry).map(str::to_owned).collect();
    if others.is_empty() {
        return None;
    }
    *element = json!(others);
    Some(read(&[&narrowed]))
}

/// The entry for an action that no rehearsal reaches.
fn unrehearsed(label: &str, action: &str) -> Option<(&'static str, &'static str)> {
    let mut entries = UNREHEARSED.iter().map(|(policy, action, _)| (*policy, *action));
    entries.find(|entry| *entry == (label, action))
}
