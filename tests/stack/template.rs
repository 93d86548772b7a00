//! Properties of `template.yaml`, and helpers that read it.

use std::collections::BTreeMap;

use serde_json::Value;
use stackdrop::rehearsal::pascal_case;

/// The template. `!Sub text`, `!Ref Name` and `!GetAtt Name.Attribute` are read as their text.
pub(crate) fn template() -> Value {
    serde_saphyr::from_str(include_str!("../../template.yaml")).unwrap()
}

/// The properties of a resource.
pub(crate) fn properties<'t>(template: &'t Value, name: &str) -> &'t Value {
    let properties = &template["Resources"][name]["Properties"];
    assert!(properties.is_object(), "template.yaml has no resource {name}");
    properties
}

/// The resources of the functions in the template, by the functions' names.
pub(crate) fn functions() -> BTreeMap<String, String> {
    let names = stackdrop::rehearsal::substitutions().into_values();
    names.map(|name| (name.clone(), format!("{}Function", pascal_case(&name)))).collect()
}

/// One value or a list of values: CloudFormation and IAM accept both.
pub(crate) fn many(value: &Value) -> Vec<&str> {
    match value {
        Value::Array(values) => values.iter().filter_map(Value::as_str).collect(),
        one => one.as_str().into_iter().collect(),
    }
}

/// The resources of a type, by name.
fn resources<'t>(template: &'t Value, kind: &str) -> BTreeMap<&'t str, &'t Value> {
    let all = template["Resources"].as_object().unwrap();
    let wanted = all.iter().filter(|(_, resource)| resource["Type"] == kind);
    wanted.map(|(name, resource)| (name.as_str(), &resource["Properties"])).collect()
}

/// The names without a row in any table of the handbook.
fn missing_in_the_handbook<'n>(names: impl Iterator<Item = &'n str>) -> Vec<&'n str> {
    let handbook = include_str!("../../docs/operating.md");
    names.filter(|name| !handbook.contains(&format!("\n| `{name}` |"))).collect()
}

#[test]
fn the_bucket_is_versioned_encrypted_and_private() {
    let template = template();
    let bucket = properties(&template, "Bucket");
    assert_eq!(bucket["VersioningConfiguration"]["Status"], "Enabled");
    let encryption = &bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"][0];
    assert!(encryption["ServerSideEncryptionByDefault"]["SSEAlgorithm"].is_string());
    let closed = bucket["PublicAccessBlockConfiguration"].as_object().unwrap();
    assert!(closed.len() == 4 && closed.values().all(|closed| closed == true), "{closed:?}");
    assert_eq!(template["Resources"]["Bucket"]["DeletionPolicy"], "Retain");
}

#[test]
fn every_log_group_has_a_retention_period() {
    for (name, group) in resources(&template(), "AWS::Logs::LogGroup") {
        assert_eq!(group["RetentionInDays"], "LogDays", "{name}");
    }
}

#[test]
fn the_handbook_explains_every_alarm_and_every_parameter() {
    let template = template();
    let alarms = resources(&template, "AWS::CloudWatch::Alarm");
    assert_eq!(missing_in_the_handbook(alarms.into_keys()), Vec::<&str>::new());
    let parameters = template["Parameters"].as_object().unwrap();
    assert_eq!(missing_in_the_handbook(parameters.keys().map(String::as_str)), Vec::<&str>::new());
}
