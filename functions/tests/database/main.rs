//! The database: creation, updates in place, deletion protection and deletion.
#![expect(clippy::unwrap_used, reason = "what a helper cannot do is a failure of the test that asked for it")]

#[path = "../common/mod.rs"]
mod common;

mod deletion; // protection and final snapshots
mod gone; // a database that somebody deleted, and restores
mod manual_changes; // what people do to a database by hand
mod preflight; // preflight checks of a plan
mod refused_calls; // calls that RDS refuses for a while
mod rollbacks; // rollbacks to the baseline
mod versions; // versions of PostgreSQL

use std::time::Duration;

use aws_sdk_rds::types::{ApplyMethod, DbInstance, Parameter};
use common::{act, apply, aws, deployment, until_done};
use serde_json::{Value, json};
use stackdrop_functions::aws::error::StepError;
use stackdrop_functions::{Aws, handle};
use stackdrop_simulator::{Account, Call, Fault, FaultKind, When};

const NAME: &str = "database";

const SPEC: &str = "
stack: shop
services:
  web: { image: nginx, database: { DB_HOST: host } }
database: { version: '16', class: db.t4g.small, storage: 20, maxStorage: 100, name: orders }
";

/// An account with the components that the database needs.
async fn prepared(spec: &str) -> (Account, Aws, Value) {
    let account = common::account();
    let aws = aws(&account);
    let mut deployment = deployment(spec);
    apply(&aws, &["network", "security-groups"], &mut deployment).await;
    later(5).await;
    (account, aws, deployment)
}

/// What Conclude does after a deployment that has succeeded.
async fn set_rotation_rules(aws: &Aws) {
    let db = instance(aws).await.unwrap();
    let arn = db.master_user_secret().unwrap().secret_arn().unwrap();
    let rules = aws_sdk_secretsmanager::types::RotationRulesType::builder();
    let rules = rules.automatically_after_days(1000).build();
    let call = aws.secrets().rotate_secret().secret_id(arn).rotation_rules(rules).rotate_immediately(false);
    call.client_request_token("0".repeat(32)).send().await.unwrap();
}

/// The same with a stable database.
async fn deployed(spec: &str) -> (Account, Aws, Value) {
    let (account, aws, mut deployment) = prepared(spec).await;
    apply(&aws, &[NAME], &mut deployment).await;
    wait_until_stable(&aws, &mut deployment).await;
    set_rotation_rules(&aws).await;
    (account, aws, deployment)
}

async fn wait_until_stable(aws: &Aws, deployment: &mut Value) {
    deployment["outputs"][NAME] = until_done(aws, NAME, "wait-until-stable", deployment).await.unwrap();
}

/// Turns a successful deployment into the baseline of the next one with the same spec.
fn next(deployment: &mut Value) {
    deployment["baseline"] = json!({
        "deployment": deployment["id"], "version": "1",
        "spec": deployment["spec"], "outputs": deployment["outputs"],
    });
    deployment["id"] = "next".into();
}

async fn later(seconds: u64) {
    tokio::time::advance(Duration::from_secs(seconds)).await;
}

async fn instance(aws: &Aws) -> Option<DbInstance> {
    let call = aws.rds().describe_db_instances().db_instance_identifier("shop-database");
    call.send().await.ok().and_then(|response| response.db_instances().first().cloned())
}

/// Creates another database, `other`, in the stack's subnets, and waits until it is available.
async fn create_other(aws: &Aws) {
    let call = aws.rds().create_db_instance().db_instance_identifier("other").engine("postgres");
    let call = call.db_subnet_group_name("shop-database").db_instance_class("db.t4g.micro");
    let call = call.engine_version("16").storage_type("gp3").storage_encrypted(true).allocated_storage(20);
    call.manage_master_user_password(true).master_username("theirs").send().await.unwrap();
    later(1800).await;
}

/// Removes the stack's tag from a resource of RDS.
async fn untag(aws: &Aws, arn: &str) {
    let call = aws.rds().remove_tags_from_resource().resource_name(arn).tag_keys("stackdrop:stack");
    call.send().await.unwrap();
    later(5).await;
}

fn writes_since(account: &Account, before: usize) -> Vec<String> {
    account.call_log().iter().skip(before).filter(|call| call.writes).map(Call::name).collect()
}

/// The types of the component's existing resources.
fn existing(account: &Account) -> Vec<String> {
    let mut all: Vec<String> =
        account.inventory().into_iter().filter(|item| item.component == NAME).map(|item| item.kind).collect();
    all.sort();
    all
}

#[tokio::test(start_paused = true)]
async fn apply_returns_at_once_and_wait_until_stable_awaits_endpoint_and_secret() {
    let (_account, aws, mut deployment) = prepared(SPEC).await;
    let outputs = until_done(&aws, NAME, "apply", &deployment).await.unwrap();
    assert_eq!((&outputs["identifier"], &outputs["awaited"]), (&json!("shop-database"), &json!(true)));
    assert!(outputs.get("host").is_none(), "{outputs}");
    // RDS reports the secret's name before it creates the secret: the role of the tasks can be allowed to read it early.
    assert!(outputs["secret"].as_str().unwrap().starts_with("arn:aws:secretsmanager:"), "{outputs}");
    deployment["outputs"][NAME] = outputs;
    later(5).await;
    let waiting = act(&aws, NAME, "wait-until-stable", &deployment).await.unwrap_err();
    assert!(matches!(&waiting, StepError::Pending(what) if what.contains("it is creating")), "{waiting}");
    wait_until_stable(&aws, &mut deployment).await;
    let outputs = &deployment["outputs"][NAME];
    assert!(outputs["host"].as_str().unwrap().starts_with("shop-database."), "{outputs}");
    assert!(outputs["secret"].as_str().unwrap().starts_with("arn:aws:secretsmanager:"), "{outputs}");
}

#[tokio::test(start_paused = true)]
async fn the_database_is_encrypted_private_and_rejects_connections_without_tls() {
    let (_account, aws, deployment) = deployed(SPEC).await;
    let db = instance(&aws).await.unwrap();
    assert_eq!(db.storage_encrypted(), Some(true));
    assert_eq!(db.publicly_accessible(), Some(false));
    assert_eq!(db.storage_type(), Some("gp3"));
    assert_eq!((db.allocated_storage(), db.max_allocated_storage()), (Some(20), Some(100)));
    assert_eq!(db.db_name(), Some("orders"));
    assert_eq!(db.master_username(), Some("stackdrop"));
    assert_eq!(db.backup_retention_period(), Some(7));
    assert_eq!(db.copy_tags_to_snapshot(), Some(true));
    let groups: Vec<_> =
        db.vpc_security_groups().iter().filter_map(|group| group.vpc_security_group_id()).collect();
    assert_eq!(groups, [deployment["outputs"]["securityGroups"]["database"].as_str().unwrap()]);
    // Protection is turned on only after the deployment has succeeded: a later step may still fail.
    assert_eq!(db.deletion_protection(), Some(false));
    let only = aws_sdk_rds::types::Filter::builder().name("parameter-name").values("rds.force_ssl").build();
    let call = aws.rds().describe_db_parameters().db_parameter_group_name("shop-postgres16").filters(only);
    let parameters = call.send().await.unwrap();
    let set: Vec<_> = parameters
        .parameters()
        .iter()
        .map(|parameter| (parameter.parameter_name().unwrap(), parameter.parameter_value().unwrap()))
        .collect();
    assert_eq!(set, [("rds.force_ssl", "1")]);
}

#[tokio::test(start_paused = true)]
async fn a_second_apply_and_a_plan_find_nothing_to_do() {
    let (account, aws, mut deployment) = deployed(SPEC).await;
    deployment["spec"]["database"]["deletionProtection"] = json!(false);
    next(&mut deployment);
    // A plan knows only the baseline's outputs.
    let mut plan_only = deployment.clone();
    plan_only["outputs"] = json!({});
    let before = account.calls();
    let plan = act(&aws, NAME, "plan", &plan_only).await.unwrap();
    assert_eq!((&plan["changes"], &plan["problems"]), (&json!([]), &json!([])));
    assert_eq!(account.calls() - before, 7, "read calls");
    let outputs = act(&aws, NAME, "apply", &deployment).await.unwrap();
    assert_eq!(outputs, deployment["outputs"][NAME]);
    assert_eq!(writes_since(&account, before), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_plan_of_a_new_stack_creates_everything() {
    let account = common::account();
    let plan = act(&aws(&account), NAME, "plan", &deployment(SPEC)).await.unwrap();
    let expected = ["service-linked-role", "subnet-group", "parameter-group", "instance"]
        .map(|resource| json!({ "verb": "create", "resource": resource }));
    assert_eq!(plan["changes"], json!(expected));
}

#[tokio::test(start_paused = true)]
async fn a_stack_without_a_database_has_nothing_to_do() {
    let (account, aws, deployment) = prepared("stack: shop\n").await;
    let before = account.calls();
    let nothing = json!({ "awaited": false, "restoring": false });
    assert_eq!(act(&aws, NAME, "plan", &deployment).await.unwrap()["changes"], json!([]));
    assert_eq!(act(&aws, NAME, "apply", &deployment).await.unwrap(), nothing);
    assert_eq!(act(&aws, NAME, "wait-until-stable", &deployment).await.unwrap(), nothing);
    assert_eq!(writes_since(&account, before), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_database_that_no_service_uses_is_not_awaited() {
    let spec = SPEC.replace(", database: { DB_HOST: host }", "");
    let (_account, aws, deployment) = prepared(&spec).await;
    let outputs = until_done(&aws, NAME, "apply", &deployment).await.unwrap();
    assert_eq!(outputs["awaited"], json!(false));
}

#[tokio::test(start_paused = true)]
async fn a_lost_response_to_the_creation_creates_no_second_database() {
    let (account, aws, mut deployment) = prepared(SPEC).await;
    account.arm(Fault::at("rds", "CreateDBInstance", When::From(1), FaultKind::LostAfter));
    apply(&aws, &[NAME], &mut deployment).await;
    wait_until_stable(&aws, &mut deployment).await;
    let expected = ["AWS::RDS::DBInstance", "AWS::RDS::DBParameterGroup", "AWS::RDS::DBSubnetGroup"];
    assert_eq!(existing(&account), expected);
}

#[tokio::test(start_paused = true)]
async fn manual_changes_are_planned_and_repaired() {
    let (_account, aws, mut deployment) = deployed(SPEC).await;
    deployment["spec"]["database"]["deletionProtection"] = json!(false);
    let call = aws.rds().modify_db_instance().db_instance_identifier("shop-database").apply_immediately(true);
    call.backup_retention_period(0).send().await.unwrap();
    let off = Parameter::builder().parameter_name("rds.force_ssl").parameter_value("0");
    let off = off.apply_method(ApplyMethod::Immediate).build();
    let call =
        aws.rds().modify_db_parameter_group().db_parameter_group_name("shop-postgres16").parameters(off);
    call.send().await.unwrap();
    later(3600).await;
    let plan = act(&aws, NAME, "plan", &deployment).await.unwrap();
    let expected = json!([
        { "verb": "update", "resource": "parameter-group",
          "fields": [{ "field": "rds.force_ssl", "from": "0", "to": "1" }] },
        { "verb": "update", "resource": "instance",
          "fields": [{ "field": "backupDays", "from": "0", "to": "7" }] },
    ]);
    assert_eq!(plan["changes"], expected);
    until_done(&aws, NAME, "apply", &deployment).await.unwrap();
    wait_until_stable(&aws, &mut deployment).await;
    assert_eq!(act(&aws, NAME, "plan", &deployment).await.unwrap()["changes"], json!([]));
}

#[tokio::test(start_paused = true)]
async fn size_class_and_standby_are_updated_in_place() {
    let (account, aws, mut deployment) = deployed(SPEC).await;
    next(&mut deployment);
    let database = &mut deployment["spec"]["database"];
    database["class"] = json!("db.t4g.medium");
    database["storage"] = json!(40);
    database["maxStorage"] = json!(200);
    database["multiAz"] = json!(true);
    let before = account.calls();
    until_done(&aws, NAME, "apply", &deployment).await.unwrap();
    assert_eq!(writes_since(&account, before), ["rds:ModifyDBInstance"]);
    wait_until_stable(&aws, &mut deployment).await;
    let db = instance(&aws).await.unwrap();
    assert_eq!(db.db_instance_class(), Some("db.t4g.medium"));
    assert_eq!((db.allocated_storage(), db.max_allocated_storage()), (Some(40), Some(200)));
    assert_eq!(db.multi_az(), Some(true));
    // Without a maximum, storage autoscaling is off.
    deployment["spec"]["database"]["maxStorage"] = Value::Null;
    until_done(&aws, NAME, "apply", &deployment).await.unwrap();
    wait_until_stable(&aws, &mut deployment).await;
    let before = account.calls();
    until_done(&aws, NAME, "apply", &deployment).await.unwrap();
    assert_eq!(writes_since(&account, before), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn impossible_changes_are_rejected_with_a_fix() {
    let (account, aws, mut deployment) = deployed(SPEC).await;
    next(&mut deployment);
    let database = &mut deployment["spec"]["database"];
    database["name"] = json!("invoices");
    database["storage"] = json!(10);
    database["version"] = json!("15");
    let plan = act(&aws, NAME, "plan", &deployment).await.unwrap();
    let problems: Vec<String> = plan["problems"]
        .as_array()
        .unwrap()
        .iter()
        .map(|problem| format!("{} / {}", problem["why"].as_str().unwrap(), problem["fix"].as_str().unwrap()))
        .collect();
    assert_eq!(problems.len(), 3, "{problems:#?}");
    assert!(problems[0].contains("database.name") && problems[0].contains("back to orders"), "{problems:#?}");
    assert!(problems[1].contains("database.storage") && problems[1].contains("20 or more"), "{problems:#?}");
    assert!(problems[2].contains("database.version") && problems[2].contains("to 16"), "{problems:#?}");
    let before = account.calls();
    let error = until_done(&aws, NAME, "apply", &deployment).await.unwrap_err();
    assert!(matches!(&error, StepError::InvalidSpec(_)), "{error}");
    let changed = writes_since(&account, before);
    assert!(!changed.contains(&"rds:ModifyDBInstance".to_owned()), "{changed:?}");
}

#[tokio::test(start_paused = true)]
async fn a_major_upgrade_creates_a_parameter_group_and_prunes_the_old_one() {
    let (_account, aws, mut deployment) = deployed(SPEC).await;
    next(&mut deployment);
    deployment["spec"]["database"]["version"] = json!("17");
    deployment["spec"]["database"]["deletionProtection"] = json!(false);
    let plan = act(&aws, NAME, "plan", &deployment).await.unwrap();
    let dropped = json!({ "verb": "delete", "resource": "parameter-group (shop-postgres16)" });
    assert!(plan["changes"].as_array().unwrap().contains(&dropped), "{plan}");
    until_done(&aws, NAME, "apply", &deployment).await.unwrap();
    wait_until_stable(&aws, &mut deployment).await;
    let db = instance(&aws).await.unwrap();
    assert!(db.engine_version().unwrap().starts_with("17"), "{db:?}");
    assert_eq!(db.db_parameter_groups()[0].db_parameter_group_name(), Some("shop-postgres17"));
    until_done(&aws, NAME, "prune", &deployment).await.unwrap();
    next(&mut deployment);
    assert_eq!(act(&aws, NAME, "plan", &deployment).await.unwrap()["changes"], json!([]));
}

#[tokio::test(start_paused = true)]
async fn an_automatic_minor_upgrade_is_not_drift() {
    let (_account, aws, mut deployment) = deployed(SPEC).await;
    let now = instance(&aws).await.unwrap().engine_version().unwrap().to_owned();
    let (major, minor) = now.split_once('.').unwrap();
    let older = minor.parse::<u32>().unwrap().saturating_sub(1);
    deployment["spec"]["database"]["version"] = json!(format!("{major}.{older}"));
    deployment["spec"]["database"]["deletionProtection"] = json!(false);
    let plan = act(&aws, NAME, "plan", &deployment).await.unwrap();
    assert_eq!((&plan["changes"], &plan["problems"]), (&json!([]), &json!([])));
}

#[tokio::test(start_paused = true)]
async fn protection_that_is_off_is_planned_with_and_without_a_baseline() {
    let (account, aws, mut deployment) = deployed(SPEC).await;
    let fields = json!([{ "field": "deletionProtection", "from": "false", "to": "true" }]);
    let expected = json!([{ "verb": "update", "resource": "instance", "fields": fields }]);
    assert_eq!(act(&aws, NAME, "plan", &deployment).await.unwrap()["changes"], expected);
    next(&mut deployment);
    assert_eq!(act(&aws, NAME, "plan", &deployment).await.unwrap()["changes"], expected);
    // Conclude turns it on, not this step.
    let before = account.calls();
    until_done(&aws, NAME, "apply", &deployment).await.unwrap();
    assert_eq!(writes_since(&account, before), Vec::<String>::new());
    // A rollback to the baseline turns it on again.
    deployment["rollingBack"] = json!(true);
    until_done(&aws, NAME, "apply", &deployment).await.unwrap();
    wait_until_stable(&aws, &mut deployment).await;
    assert_eq!(instance(&aws).await.unwrap().deletion_protection(), Some(true));
}

#[tokio::test(start_paused = true)]
async fn conclude_turns_deletion_protection_on() {
    let (account, aws, deployment) = deployed(SPEC).await;
    handle("conclude", json!({ "deployment": deployment }), &aws).await.unwrap();
    later(5).await;
    assert_eq!(instance(&aws).await.unwrap().deletion_protection(), Some(true));
    // The second time there is nothing to do.
    let before = account.calls();
    handle("conclude", json!({ "deployment": deployment }), &aws).await.unwrap();
    let changed = writes_since(&account, before);
    assert!(!changed.contains(&"rds:ModifyDBInstance".to_owned()), "{changed:?}");
}

#[tokio::test(start_paused = true)]
async fn a_failed_database_reports_its_reason() {
    let (account, aws, deployment) = prepared(SPEC).await;
    account.arm(Fault::at("rds", "CreateDBInstance", When::From(1), FaultKind::ResourceFails));
    until_done(&aws, NAME, "apply", &deployment).await.unwrap();
    let error = until_done(&aws, NAME, "wait-until-stable", &deployment).await.unwrap_err();
    assert!(matches!(&error, StepError::Unhealthy { what, .. } if what.contains("shop-database")), "{error}");
    until_done(&aws, NAME, "await-deletion", &deployment).await.unwrap();
    assert_eq!(existing(&account), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_database_that_the_stack_does_not_manage_is_rejected() {
    let (_account, aws, deployment) = prepared(SPEC).await;
    let call = aws.rds().create_db_instance().db_instance_identifier("shop-database").engine("postgres");
    let subnets = deployment["outputs"]["network"]["databaseSubnets"].as_object().unwrap();
    let group = aws.rds().create_db_subnet_group().db_subnet_group_name("theirs");
    let group = group.db_subnet_group_description("by hand");
    let ids = subnets.values().map(|id| id.as_str().unwrap().to_owned()).collect();
    let linked = aws.iam().create_service_linked_role().aws_service_name("rds.amazonaws.com");
    linked.send().await.unwrap();
    later(5).await;
    group.set_subnet_ids(Some(ids)).send().await.unwrap();
    later(5).await;
    let call = call.db_subnet_group_name("theirs").db_instance_class("db.t4g.micro").allocated_storage(20);
    let call = call.engine_version("16").storage_type("gp3").storage_encrypted(true);
    call.manage_master_user_password(true).master_username("theirs").send().await.unwrap();
    later(5).await;
    let plan = act(&aws, NAME, "plan", &deployment).await.unwrap();
    assert!(plan["problems"][0]["why"].as_str().unwrap().contains("shop-database"), "{plan}");
    let error = until_done(&aws, NAME, "apply", &deployment).await.unwrap_err();
    assert!(matches!(&error, StepError::NotOwned { .. }), "{error}");
    assert_eq!(act(&aws, NAME, "delete", &deployment).await.unwrap(), json!({ "found": 0, "remaining": [] }));
    assert!(instance(&aws).await.is_some());
}
