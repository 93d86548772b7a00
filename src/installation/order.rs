//! Circular dependencies between resources: CloudFormation rejects a template that has one.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail};
use serde_json::Value;

use super::Template;

/// Checks that no resources depend on each other in a circle.
///
/// # Errors
/// If there is a circle; the error names its resources.
pub(super) fn check(template: &Template) -> Result<()> {
    let resources: BTreeMap<&str, &Value> = template.section("Resources").collect();
    let dependencies: BTreeMap<&str, BTreeSet<&str>> =
        resources.iter().map(|(name, resource)| (*name, dependencies(resource, &resources))).collect();
    let mut waiting: BTreeSet<&str> = dependencies.keys().copied().collect();
    loop {
        let ready: Vec<&str> =
            waiting.iter().copied().filter(|name| dependencies[name].is_disjoint(&waiting)).collect();
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
fn dependencies<'r>(resource: &Value, all: &BTreeMap<&'r str, &Value>) -> BTreeSet<&'r str> {
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
                    ("Fn::Sub", Value::String(text)) => names.extend(placeholders(text)),
                    (_, value) => collect(value, names),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| collect(value, names)),
        _ => {}
    }
}

/// The names in the `${…}` of a text.
fn placeholders(text: &str) -> impl Iterator<Item = &str> {
    text.split("${").skip(1).filter_map(|rest| rest.split('}').next())
}
