//! Nothing in a policy is there for nothing: whatever is taken out of the template, a rehearsed call is denied, or a
//! forbidden one is allowed.

use std::sync::Arc;

use serde_json::{Value, json};
use stackdrop_simulator::{AccessRequest, Policy, Principal};

use super::evidence::{EVIDENCE, Held};
use super::forbidden;
use super::lists::{UNREHEARSED, is_about};
use crate::template::many;

/// What was tried.
#[derive(Default)]
struct Tried {
    statements: usize,
    actions: usize,
    resources: usize,
    conditions: usize,
    denies: usize,
    /// What could be taken out without a difference.
    unneeded: Vec<String>,
}

#[test]
fn whatever_is_taken_out_of_a_policy_is_missed() {
    let mut tried = Tried::default();
    for held in EVIDENCE.policies() {
        let forbidden = forbidden::variants(&held);
        for (index, statement) in held.statements.iter().enumerate() {
            tried.statements += 1;
            let others: Vec<&Value> = without(&held.statements, index);
            if statement["Effect"] == "Deny" {
                tried.denies += 1;
                let open = |(principal, request): &&(Principal, AccessRequest)| {
                    held.allows(&others, principal, request)
                };
                if forbidden.iter().find(open).is_none() {
                    tried.unneeded.push(format!("{}: the Deny of {}", held.label, statement["Action"]));
                }
                continue;
            }
            allowing(&held, index, &others, &mut tried);
            conditions(&held, index, &others, &forbidden, &mut tried);
        }
    }
    let Tried { statements, actions, resources, conditions, denies, unneeded } = tried;
    println!(
        "tried for teeth: {statements} statements, {actions} actions, {resources} resources, {conditions} conditions, \
         {denies} denials; unneeded: {}",
        unneeded.len()
    );
    assert!(unneeded.is_empty(), "nothing would miss these:\n{}", unneeded.join("\n"));
}

fn without<'v>(statements: &[&'v Value], index: usize) -> Vec<&'v Value> {
    statements.iter().enumerate().filter(|(at, _)| *at != index).map(|(_, statement)| *statement).collect()
}

/// The requests that are allowed only by this statement.
fn depending<'e>(
    held: &Held<'e>,
    statement: &Value,
    others: &[&Value],
) -> Vec<&'e (Principal, AccessRequest)> {
    let alone = read(statement);
    let rest = (!others.is_empty()).then(|| Arc::new(Policy::read(&json!({ "Statement": others })).unwrap()));
    let depends = |(principal, request): &(Principal, AccessRequest)| {
        held.allows_by(&alone, principal, request)
            && match &rest {
                Some(rest) => !held.allows_by(rest, principal, request),
                None => !held.allows(&[], principal, request),
            }
    };
    held.requests.iter().copied().filter(|asked| depends(asked)).collect()
}

fn read(statement: &Value) -> Arc<Policy> {
    Arc::new(Policy::read(&json!({ "Statement": [statement] })).unwrap())
}

/// Takes out each action and each resource of an allowing statement.
fn allowing(held: &Held<'_>, index: usize, others: &[&Value], tried: &mut Tried) {
    let statement = held.statements[index];
    let depending = depending(held, statement, others);
    for element in ["Action", "Resource"] {
        for entry in many(&statement[element]) {
            if element == "Action" {
                tried.actions += 1;
            } else {
                tried.resources += 1;
            }
            let narrowed = narrowed(statement, element, entry);
            let is_missed = |(principal, request): &&(Principal, AccessRequest)| match &narrowed {
                Some(policy) => !held.allows_by(policy, principal, request),
                None => true,
            };
            let missed = depending.iter().copied().find(|asked| is_missed(asked));
            let listed = || many(&statement["Action"]).iter().all(|action| is_listed(&held.label, action));
            let excused = if element == "Action" { is_listed(&held.label, entry) } else { listed() };
            if missed.is_none() && !excused {
                let actions = many(&statement["Action"]).join(", ");
                tried.unneeded.push(format!("{}: {element} {entry} ({actions})", held.label));
            }
        }
    }
}

/// The statement without one entry of an element; nothing where that is the only one.
fn narrowed(statement: &Value, element: &str, entry: &str) -> Option<Arc<Policy>> {
    let left: Vec<&str> = many(&statement[element]).into_iter().filter(|other| *other != entry).collect();
    if left.is_empty() {
        return None;
    }
    let mut narrowed = statement.clone();
    narrowed[element] = json!(left);
    Some(read(&narrowed))
}

/// Whether no rehearsal reaches an action, for a reason that is listed.
fn is_listed(label: &str, action: &str) -> bool {
    UNREHEARSED.iter().any(|entry| is_about(entry, label, action))
}

/// Takes out each condition of an allowing statement.
fn conditions(
    held: &Held<'_>,
    index: usize,
    others: &[&Value],
    forbidden: &[(Principal, AccessRequest)],
    tried: &mut Tried,
) {
    let statement = held.statements[index];
    let operators = statement["Condition"].as_object().into_iter().flatten();
    for (operator, keys) in operators {
        for key in keys.as_object().unwrap().keys() {
            tried.conditions += 1;
            let mut wider = statement.clone();
            wider["Condition"][operator].as_object_mut().unwrap().remove(key);
            let mut all = others.to_vec();
            all.push(&wider);
            let policy = Arc::new(Policy::read(&json!({ "Statement": all })).unwrap());
            let opens =
                forbidden.iter().any(|(principal, request)| held.allows_by(&policy, principal, request));
            if !opens {
                let actions = many(&statement["Action"]).join(", ");
                tried.unneeded.push(format!("{}: {operator} {key} ({actions})", held.label));
            }
        }
    }
}
