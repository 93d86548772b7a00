//! What must be created before what: CloudFormation refuses a template in which two resources wait for one another.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail};
use serde_json::Value;

use super::Template;

/// Looks for a circle of resources that refer to one another.
///
/// # Errors
/// When there is one: it names them.
pub(super) fn check(template: &Template) -> Result<()> {
    let resources: BTreeMap<&str, &Value> = template.section("Resources").collect();
    let needs: BTreeMap<&str, BTreeSet<&str>> =
        resources.iter().map(|(name, resource)| (*name, needed(resource, &resources))).collect();
    let mut waiting: BTreeSet<&str> = needs.keys().copied().collect();
    loop {
        let ready: Vec<&str> =
            waiting.iter().copied().filter(|name| needs[name].is_disjoint(&waiting)).collect();
        if ready.is_empty() {
            break;
        }
        waiting.retain(|name| !ready.contains(name));
    }
    if waiting.is_empty() {
        return Ok(());
    }
    bail!("circular dependency between resources: {}", waiting.into_iter().collect::<Vec<_>>().join(", "))
}

/// The resources that a resource refers to.
fn needed<'r>(resource: &Value, all: &BTreeMap<&'r str, &Value>) -> BTreeSet<&'r str> {
    let mut names = Vec::new();
    collect(resource, &mut names);
    let known = names.into_iter().filter_map(|name| {
        let id = name.split('.').next().unwrap_or_default();
        all.get_key_value(id).map(|(id, _)| *id)
    });
    known.collect()
}

fn collect<'v>(value: &'v Value, names: &mut Vec<&'v str>) {
    match value {
        Value::Object(entries) => {
            for (key, value) in entries {
                match (key.as_str(), value) {
                    ("Ref" | "DependsOn", Value::String(name)) => names.push(name),
                    ("Fn::GetAtt" | "DependsOn", Value::Array(parts)) => {
                        names.extend(parts.iter().filter_map(Value::as_str));
                    }
                    ("Fn::Sub", Value::String(text)) => names.extend(filled_in(text)),
                    (_, value) => collect(value, names),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| collect(value, names)),
        _ => {}
    }
}

/// What stands in the `${…}` of a text.
fn filled_in(text: &str) -> impl Iterator<Item = &str> {
    text.split("${").skip(1).filter_map(|rest| rest.split('}').next())
}
