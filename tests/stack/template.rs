//! `template.yaml`, as far as tests read it.

use std::collections::BTreeMap;

use serde_json::Value;
use stackdrop::rehearsal::camel;

/// The template: `!Sub text`, `!Ref Name` and `!GetAtt Name.Attribute` read as their text.
pub(crate) fn template() -> Value {
    serde_saphyr::from_str(include_str!("../../template.yaml")).unwrap()
}

/// The properties of a resource.
pub(crate) fn properties<'t>(template: &'t Value, name: &str) -> &'t Value {
    let properties = &template["Resources"][name]["Properties"];
    assert!(properties.is_object(), "template.yaml has no resource {name}");
    properties
}

/// The names of the functions as the template has them, by that of their handlers.
pub(crate) fn functions() -> BTreeMap<String, String> {
    let names = stackdrop::rehearsal::substitutions().into_values();
    names.map(|name| (name.clone(), format!("{}Function", camel(&name)))).collect()
}

/// One or many, as CloudFormation and IAM have it.
pub(crate) fn many(value: &Value) -> Vec<&str> {
    match value {
        Value::Array(values) => values.iter().filter_map(Value::as_str).collect(),
        one => one.as_str().into_iter().collect(),
    }
}

/// The statements of a function's role.
pub(crate) fn statements<'t>(template: &'t Value, function: &str) -> &'t [Value] {
    let policies = properties(template, &format!("{}Role", camel(function)))["Policies"].as_array().unwrap();
    assert_eq!(policies.len(), 1, "{function}");
    policies[0]["PolicyDocument"]["Statement"].as_array().unwrap()
}
