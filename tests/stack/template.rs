//! Properties of `template.yaml`, and helpers that read it.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use stackdrop::installation::{Place, Template};
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

/// The properties of a resource in an installation with these parameters.
fn resolved(resource: &str, parameters: &[(&str, &str)]) -> Value {
    let parameters =
        parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let place = Place {
        stack: "stackdrop",
        account: "123456789012",
        region: "eu-central-1",
        partition: "aws",
        parameters: &parameters,
    };
    Template::built_in().unwrap().properties(place, resource).unwrap()
}

#[test]
fn a_key_of_the_customer_encrypts_everything_that_is_kept_and_the_writing_functions_may_use_it() {
    let key = "arn:aws:kms:eu-central-1:123456789012:key/1234abcd";
    let with_key = |resource: &str| resolved(resource, &[("KeyArn", key)]);
    assert_eq!(
        with_key("Bucket")["BucketEncryption"]["ServerSideEncryptionConfiguration"][0],
        json!({
            "BucketKeyEnabled": true,
            "ServerSideEncryptionByDefault": { "SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key },
        })
    );
    let queue = with_key("LostEvents");
    // SQS refuses a queue with both.
    assert_eq!((&queue["KmsMasterKeyId"], queue.get("SqsManagedSseEnabled")), (&json!(key), None));
    let groups =
        resources(&template(), "AWS::Logs::LogGroup").into_keys().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(groups.len(), 10);
    for group in groups {
        assert_eq!(with_key(&group)["KmsKeyId"], key, "{group}");
        assert_eq!(resolved(&group, &[]).get("KmsKeyId"), None, "{group}");
    }
    for role in ["AdmitRole", "ConcludeRole"] {
        let statements = |properties: Value| {
            properties["Policies"][0]["PolicyDocument"]["Statement"].as_array().unwrap().clone()
        };
        let on_key = |properties: Value| {
            statements(properties).into_iter().find(|statement| statement["Resource"] == key)
        };
        let statement = on_key(with_key(role)).unwrap();
        assert_eq!(statement["Action"], json!(["kms:Decrypt", "kms:GenerateDataKey"]), "{role}");
        let via = &statement["Condition"]["StringEquals"]["kms:ViaService"];
        assert_eq!(via, "s3.eu-central-1.amazonaws.com", "{role}");
        assert_eq!(on_key(resolved(role, &[])), None, "{role}");
    }
}

#[test]
fn access_logs_and_reserved_concurrency_are_optional() {
    let logged = resolved("Bucket", &[("LogBucket", "access-logs")]);
    let expected = json!({ "DestinationBucketName": "access-logs", "LogFilePrefix": "stackdrop/" });
    assert_eq!(logged["LoggingConfiguration"], expected);
    assert_eq!(resolved("Bucket", &[]).get("LoggingConfiguration"), None);
    for function in functions().into_values() {
        let reserved = resolved(&function, &[("ReservedConcurrency", "10")]);
        assert_eq!(reserved["ReservedConcurrentExecutions"], "10", "{function}");
        assert_eq!(resolved(&function, &[]).get("ReservedConcurrentExecutions"), None, "{function}");
    }
}

#[test]
fn the_bucket_is_versioned_encrypted_and_private() {
    let template = template();
    let bucket = properties(&template, "Bucket");
    assert_eq!(bucket["VersioningConfiguration"]["Status"], "Enabled");
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

#[test]
fn everything_that_is_kept_is_encrypted_and_belongs_to_the_account() {
    let template = template();
    let bucket = properties(&template, "Bucket");
    let encryption = &resolved("Bucket", &[])["BucketEncryption"]["ServerSideEncryptionConfiguration"][0];
    assert_eq!(*encryption, json!({ "ServerSideEncryptionByDefault": { "SSEAlgorithm": "AES256" } }));
    assert_eq!(bucket["OwnershipControls"]["Rules"][0]["ObjectOwnership"], "BucketOwnerEnforced");
    assert_eq!(resolved("LostEvents", &[])["SqsManagedSseEnabled"], true);
    let key = properties(&template, "TopicKey");
    // KMS keeps a deleted key for 7 to 30 days.
    assert_eq!((&key["EnableKeyRotation"], &key["PendingWindowInDays"]), (&json!(true), &json!(7)));
    // Without this statement, nobody could manage the key.
    let owner = &key["KeyPolicy"]["Statement"][0];
    assert_eq!(owner["Principal"]["AWS"], "arn:${AWS::Partition}:iam::${AWS::AccountId}:root");
    assert_eq!((&owner["Effect"], &owner["Action"]), (&json!("Allow"), &json!("kms:*")));
}

#[test]
fn uninstalling_keeps_the_bucket_and_deletes_the_key() {
    let resources = &template()["Resources"];
    for (name, policy) in [("Bucket", "Retain"), ("TopicKey", "Delete")] {
        for event in ["DeletionPolicy", "UpdateReplacePolicy"] {
            assert_eq!(resources[name][event], policy, "{name}");
        }
    }
}

#[test]
fn uploads_that_were_given_up_are_deleted_after_a_day() {
    let template = template();
    let rule = &properties(&template, "Bucket")["LifecycleConfiguration"]["Rules"][0];
    assert_eq!(rule["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"], 1);
}

#[test]
fn an_email_address_is_subscribed_to_the_topic_if_one_is_given() {
    let template = template();
    // Without the condition, the installation would fail without an address.
    assert_eq!(template["Resources"]["TopicMail"]["Condition"], "HasEmail");
    assert_eq!(
        *properties(&template, "TopicMail"),
        json!({ "TopicArn": "Topic", "Protocol": "email", "Endpoint": "Email" })
    );
}

#[test]
fn functions_run_the_built_program_as_the_parameters_say_and_log_json() {
    let template = template();
    let function = &template["Globals"]["Function"];
    for (field, expected) in [
        ("Runtime", json!("provided.al2023")),
        // What cargo-lambda calls the program in the package.
        ("Handler", json!("bootstrap")),
        ("CodeUri", json!(".")),
        ("Architectures", json!(["Architecture"])),
        ("MemorySize", json!("MemorySize")),
        // The dashboard searches for fields of the log.
        ("LoggingConfig", json!({ "LogFormat": "JSON" })),
    ] {
        assert_eq!(function[field], expected, "{field}");
    }
}

#[test]
fn the_workflow_is_traced_and_its_log_group_has_the_prefix_for_which_no_policy_grows() {
    let template = template();
    let workflow = properties(&template, "Workflow");
    assert_eq!(workflow["Tracing"]["Enabled"], true);
    assert_eq!(workflow["DefinitionUri"], "statemachine/deploy.asl.json");
    let group = properties(&template, "WorkflowLogs")["LogGroupName"].as_str().unwrap();
    assert!(group.starts_with("/aws/vendedlogs/states/"), "{group}");
}

#[test]
fn events_are_delivered_for_as_long_as_eventbridge_tries() {
    for (name, rule) in resources(&template(), "AWS::Events::Rule") {
        let expected = json!({ "MaximumEventAgeInSeconds": 24 * 60 * 60, "MaximumRetryAttempts": 185 });
        assert_eq!(rule["Targets"][0]["RetryPolicy"], expected, "{name}");
    }
}

#[test]
fn the_installations_roles_have_a_path_at_which_no_function_can_change_them() {
    let template = template();
    let roles = resources(&template, "AWS::IAM::Role");
    assert!(roles.len() > 11, "{roles:?}");
    for (name, role) in roles {
        assert_eq!(role["Path"], "/stackdrop/functions/", "{name}");
    }
}
