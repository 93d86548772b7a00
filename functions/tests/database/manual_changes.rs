//! What people do to a database by hand: it is put right, left alone, or named.

use aws_sdk_rds::types::{DbInstance, Subnet};
use serde_json::{Value, json};
use stackdrop_functions::aws::error::StepError;
use stackdrop_functions::{Aws, handle};
use stackdrop_simulator::{Account, Fault, FaultKind, Incident, When};

use crate::common::{act, apply, until_done};
use crate::{
    NAME, SPEC, create_other, deployed, instance, later, next, prepared, untag, wait_until_stable,
    writes_since,
};

/// A deployed database that is the baseline of the next deployment, without deletion protection.
async fn unprotected(spec: &str) -> (Account, Aws, Value) {
    let (account, aws, mut deployment) = deployed(spec).await;
    deployment["spec"]["database"]["deletionProtection"] = json!(false);
    next(&mut deployment);
    (account, aws, deployment)
}

/// The changes, problems and warnings of a plan.
async fn planned(aws: &Aws, deployment: &Value) -> (Value, Value, Value) {
    let mut plan = act(aws, NAME, "plan", deployment).await.unwrap();
    (plan["changes"].take(), plan["problems"].take(), plan["warnings"].take())
}

/// Fails unless the next plan is empty.
async fn assert_nothing_to_do(aws: &Aws, deployment: &Value) {
    let (changes, problems, _) = planned(aws, deployment).await;
    assert_eq!((changes, problems), (json!([]), json!([])));
}

fn groups(db: &DbInstance) -> Vec<&str> {
    db.vpc_security_groups().iter().filter_map(|group| group.vpc_security_group_id()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_security_group_that_somebody_gives_the_database_is_taken_away() {
    let (_account, aws, mut deployment) = unprotected(SPEC).await;
    let group = |name: &str| deployment["outputs"]["securityGroups"][name].as_str().unwrap().to_owned();
    let (ours, theirs) = (group("database"), group("service"));
    let call = aws.rds().modify_db_instance().db_instance_identifier("shop-database").apply_immediately(true);
    call.vpc_security_group_ids(&ours).vpc_security_group_ids(&theirs).send().await.unwrap();
    later(600).await;
    let (changes, ..) = planned(&aws, &deployment).await;
    assert_eq!(changes[0]["fields"][0]["field"], "securityGroups", "{changes}");
    assert_eq!(changes[0]["fields"][0]["to"], json!(ours), "{changes}");
    assert!(changes[0]["fields"][0]["from"].as_str().unwrap().contains(&theirs), "{changes}");
    until_done(&aws, NAME, "apply", &deployment).await.unwrap();
    // RDS shows a group that it is removing for a while.
    later(20).await;
    assert_eq!(groups(&instance(&aws).await.unwrap()).len(), 2);
    let (changes, ..) = planned(&aws, &deployment).await;
    assert_eq!(changes, json!([{ "verb": "wait", "resource": "instance" }]));
    wait_until_stable(&aws, &mut deployment).await;
    later(600).await;
    assert_eq!(groups(&instance(&aws).await.unwrap()), [ours.as_str()]);
    assert_nothing_to_do(&aws, &deployment).await;
}

#[tokio::test(start_paused = true)]
async fn a_subnet_that_somebody_puts_into_the_subnet_group_is_taken_out() {
    let (account, aws, mut deployment) = unprotected(SPEC).await;
    let db = instance(&aws).await.unwrap();
    let subnets = db.db_subnet_group().unwrap().subnets();
    let zone =
        |subnet: &Subnet| subnet.subnet_availability_zone().and_then(|zone| zone.name().map(str::to_owned));
    let used = subnets.iter().find(|subnet| zone(subnet).as_deref() == db.availability_zone()).unwrap();
    let used = used.subnet_identifier().unwrap();
    let network = &deployment["outputs"]["network"];
    let mut of_database = network["databaseSubnets"].as_object().unwrap().iter();
    let (other, _) = of_database.find(|(_, id)| id.as_str() != Some(used)).unwrap();
    let private = network["privateSubnets"][other.as_str()].as_str().unwrap();
    let call = aws.rds().modify_db_subnet_group().db_subnet_group_name("shop-database");
    call.subnet_ids(used).subnet_ids(private).send().await.unwrap();
    later(10).await;
    let (changes, ..) = planned(&aws, &deployment).await;
    assert_eq!((&changes[0]["verb"], &changes[0]["resource"]), (&json!("update"), &json!("subnet-group")));
    let before = account.calls();
    let kind = FaultKind::Refused { code: "InvalidSubnet".into(), message: "not now".into() };
    account.arm(Fault::at("rds", "ModifyDBSubnetGroup", When::Only(1), kind));
    until_done(&aws, NAME, "apply", &deployment).await.unwrap();
    assert_eq!(writes_since(&account, before), ["rds:ModifyDBSubnetGroup"; 2]);
    wait_until_stable(&aws, &mut deployment).await;
    assert_nothing_to_do(&aws, &deployment).await;
}

#[tokio::test(start_paused = true)]
async fn a_parameter_group_that_waits_for_a_reboot_gets_one_and_the_plan_says_so() {
    let (account, aws, mut deployment) = unprotected(SPEC).await;
    for group in ["default.postgres16", "shop-postgres16"] {
        let call =
            aws.rds().modify_db_instance().db_instance_identifier("shop-database").apply_immediately(true);
        call.db_parameter_group_name(group).send().await.unwrap();
        later(1200).await;
    }
    let (changes, ..) = planned(&aws, &deployment).await;
    let fields = json!([{ "field": "parameters", "from": "pending-reboot", "to": "in-sync" }]);
    assert_eq!(changes, json!([{ "verb": "update", "resource": "instance", "fields": fields }]));
    let plan = act(&aws, NAME, "plan", &deployment).await.unwrap();
    let effect = &plan["effects"][0];
    assert_eq!(effect["kind"], "interrupts");
    assert!(effect["what"].as_str().unwrap().contains("the change of parameters interrupts the database"));
    let before = account.calls();
    until_done(&aws, NAME, "apply", &deployment).await.unwrap();
    assert_eq!(writes_since(&account, before), ["rds:RebootDBInstance"]);
    wait_until_stable(&aws, &mut deployment).await;
    let db = instance(&aws).await.unwrap();
    assert_eq!(db.db_parameter_groups()[0].parameter_apply_status(), Some("in-sync"));
    assert_nothing_to_do(&aws, &deployment).await;
}

#[tokio::test(start_paused = true)]
async fn queued_changes_that_no_spec_has_are_named_and_left_alone() {
    let (account, aws, deployment) = unprotected(SPEC).await;
    let call = aws.rds().modify_db_instance().db_instance_identifier("shop-database");
    let call = call.engine_version("16.12").ca_certificate_identifier("rds-ca-ecc384-g1");
    call.enable_iam_database_authentication(true).send().await.unwrap();
    later(60).await;
    let (changes, problems, warnings) = planned(&aws, &deployment).await;
    assert_eq!((changes, problems), (json!([]), json!([])));
    let named = "(version 16.12, CA certificate rds-ca-ecc384-g1, IAM authentication true)";
    assert!(warnings[0]["why"].as_str().unwrap().contains(named), "{warnings}");
    let before = account.calls();
    until_done(&aws, NAME, "apply", &deployment).await.unwrap();
    assert_eq!(writes_since(&account, before), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn iops_that_somebody_bought_are_kept_when_the_storage_grows() {
    let large = SPEC.replace("storage: 20, maxStorage: 100", "storage: 400, maxStorage: 2000");
    let (_account, aws, mut deployment) = unprotected(&large).await;
    let call = aws.rds().modify_db_instance().db_instance_identifier("shop-database").apply_immediately(true);
    call.iops(14_000).storage_throughput(600).send().await.unwrap();
    // RDS's lock after a change of the storage.
    later(13 * 3600).await;
    assert_nothing_to_do(&aws, &deployment).await;
    deployment["spec"]["database"]["storage"] = json!(500);
    until_done(&aws, NAME, "apply", &deployment).await.unwrap();
    wait_until_stable(&aws, &mut deployment).await;
    let db = instance(&aws).await.unwrap();
    assert_eq!(
        (db.allocated_storage(), db.iops(), db.storage_throughput()),
        (Some(500), Some(14_000), Some(600))
    );
}

#[tokio::test(start_paused = true)]
async fn a_change_that_rds_is_making_is_awaited_and_not_made_again() {
    let (account, aws, mut deployment) = unprotected(SPEC).await;
    for (field, value) in
        [("class", json!("db.t4g.medium")), ("multiAz", json!(true)), ("storage", json!(40))]
    {
        deployment["spec"]["database"][field] = value;
        until_done(&aws, NAME, "apply", &deployment).await.unwrap();
        later(20).await;
        assert_ne!(instance(&aws).await.unwrap().db_instance_status(), Some("available"), "{field}");
        let (changes, problems, _) = planned(&aws, &deployment).await;
        assert_eq!(changes, json!([{ "verb": "wait", "resource": "instance" }]), "{field}");
        assert_eq!(problems, json!([]), "{field}");
        let before = account.calls();
        // Only the step that needs the database waits for it.
        act(&aws, NAME, "apply", &deployment).await.unwrap();
        assert_eq!(writes_since(&account, before), Vec::<String>::new(), "{field}");
        wait_until_stable(&aws, &mut deployment).await;
    }
}

#[tokio::test(start_paused = true)]
async fn parameter_groups_of_others_with_a_similar_name_are_left_alone() {
    let (_account, aws, deployment) = unprotected(SPEC).await;
    for name in ["shop-postgres", "shop-postgres-custom", "shop-postgres16-old"] {
        let call = aws.rds().create_db_parameter_group().db_parameter_group_name(name);
        call.db_parameter_group_family("postgres16").description("by hand").send().await.unwrap();
    }
    later(10).await;
    assert_nothing_to_do(&aws, &deployment).await;
}

#[tokio::test(start_paused = true)]
async fn conclude_changes_no_database_without_the_stacks_tag() {
    let (account, aws, mut deployment) = prepared(SPEC).await;
    apply(&aws, &[NAME], &mut deployment).await;
    wait_until_stable(&aws, &mut deployment).await;
    let db = instance(&aws).await.unwrap();
    untag(&aws, db.db_instance_arn().unwrap()).await;
    let before = account.calls();
    handle("conclude", json!({ "deployment": deployment }), &aws).await.unwrap();
    // Nor does a rotation.
    deployment["started"] = json!("2026-06-01T00:00:00Z");
    let refused = act(&aws, NAME, "rotate", &deployment).await.unwrap_err();
    assert!(refused.to_string().contains("RDS instance shop-database does not exist"), "{refused}");
    let writes = writes_since(&account, before);
    assert!(
        !writes.iter().any(|call| call.starts_with("rds:") || call.starts_with("secretsmanager:")),
        "{writes:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_explained_with_the_events_of_this_database_of_a_whole_day() {
    let (account, aws, deployment) = unprotected(SPEC).await;
    // More events than RDS lists at once, the oldest first.
    let mut rebooted = 0;
    while rebooted < 110 {
        rebooted += account.cause(Incident::named("database-rebooted").unwrap(), "shop").len();
        later(240).await;
    }
    assert_eq!(account.cause(Incident::named("database-stopped").unwrap(), "shop"), ["shop-database"]);
    later(3 * 3600).await;
    // Another database, with newer events.
    create_other(&aws).await;
    for _ in 0..4 {
        aws.rds().reboot_db_instance().db_instance_identifier("other").send().await.unwrap();
        later(900).await;
    }
    let error = act(&aws, NAME, "wait-until-stable", &deployment).await.unwrap_err();
    let StepError::Unhealthy { why, .. } = &error else { panic!("{error}") };
    assert!(why.starts_with("it is stopped.") && why.contains("DB instance stopped"), "{why}");
}

#[tokio::test(start_paused = true)]
async fn rotation_rules_that_somebody_writes_as_a_schedule_are_put_right() {
    let (account, aws, deployment) = unprotected(SPEC).await;
    let db = instance(&aws).await.unwrap();
    let arn = db.master_user_secret().unwrap().secret_arn().unwrap();
    let rules =
        aws_sdk_secretsmanager::types::RotationRulesType::builder().schedule_expression("rate(10 days)");
    let call = aws.secrets().rotate_secret().secret_id(arn).rotation_rules(rules.build());
    call.rotate_immediately(false).client_request_token("1".repeat(32)).send().await.unwrap();
    let (changes, ..) = planned(&aws, &deployment).await;
    let fields = json!([{ "field": "rotationByAws", "from": "rate(10 days)", "to": "every 1000 days" }]);
    assert_eq!(changes, json!([{ "verb": "update", "resource": "secret", "fields": fields }]));
    let before = account.calls();
    handle("conclude", json!({ "deployment": deployment }), &aws).await.unwrap();
    assert!(writes_since(&account, before).contains(&"secretsmanager:RotateSecret".to_owned()));
    assert_nothing_to_do(&aws, &deployment).await;
}

#[tokio::test(start_paused = true)]
async fn a_rotation_that_secrets_manager_refuses_for_a_while_is_requested_again() {
    for (code, is_retried) in [("InvalidRequestException", true), ("InvalidParameterException", false)] {
        let (account, aws, mut deployment) = unprotected(SPEC).await;
        // Later than every rotation so far.
        deployment["started"] = json!("2026-06-01T00:00:00Z");
        let kind = FaultKind::Refused { code: code.into(), message: "not now".into() };
        account.arm(Fault::at("secretsmanager", "RotateSecret", When::Only(1), kind));
        let first = act(&aws, NAME, "rotate", &deployment).await.unwrap_err();
        assert_eq!(first.is_retried(), is_retried, "{first}");
        if is_retried {
            assert!(first.to_string().contains("Secrets Manager reports: not now"), "{first}");
            let outputs = until_done(&aws, NAME, "rotate", &deployment).await.unwrap();
            assert_eq!(outputs, deployment["outputs"][NAME]);
            let before = account.calls();
            until_done(&aws, NAME, "rotate", &deployment).await.unwrap();
            assert_eq!(writes_since(&account, before), Vec::<String>::new(), "one deployment rotates once");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_database_that_rds_is_changing_stays_unprotected_and_the_deployment_says_so() {
    let (_account, aws, deployment) = deployed(SPEC).await;
    let call = aws.rds().modify_db_instance().db_instance_identifier("shop-database").apply_immediately(true);
    call.db_instance_class("db.t4g.medium").send().await.unwrap();
    later(20).await;
    let concluded = handle("conclude", json!({ "deployment": deployment }), &aws).await.unwrap();
    assert_eq!(concluded["succeeded"], json!(true), "{concluded}");
    let why = "it is modifying, so its deletion protection stays off until the next deployment";
    assert!(concluded["cause"].as_str().unwrap_or_default().contains(why), "{concluded}");
    assert_eq!(instance(&aws).await.unwrap().deletion_protection(), Some(false));
}

#[tokio::test(start_paused = true)]
async fn the_limit_of_the_storage_is_removed_while_the_storage_grows() {
    let (account, aws, mut deployment) = unprotected(SPEC).await;
    deployment["spec"]["database"]["storage"] = json!(40);
    deployment["spec"]["database"]["maxStorage"] = Value::Null;
    let before = account.calls();
    until_done(&aws, NAME, "apply", &deployment).await.unwrap();
    assert_eq!(writes_since(&account, before), ["rds:ModifyDBInstance"]);
    wait_until_stable(&aws, &mut deployment).await;
    assert_eq!(instance(&aws).await.unwrap().allocated_storage(), Some(40));
    assert_nothing_to_do(&aws, &deployment).await;
}

#[tokio::test(start_paused = true)]
async fn a_wait_names_the_field_that_does_not_change_and_the_log_of_an_upgrade() {
    let (_account, aws, deployment) = unprotected(SPEC).await;
    for (field, value, is_upgrade) in [("backupDays", json!(9), false), ("version", json!("17"), true)] {
        let mut deployment = deployment.clone();
        deployment["spec"]["database"][field] = value;
        let waiting = act(&aws, NAME, "wait-until-stable", &deployment).await.unwrap_err();
        assert_eq!(waiting.name(), "Stalled", "{waiting}");
        let text = waiting.to_string();
        assert!(text.contains(&format!("RDS instance shop-database to show its new {field}")), "{text}");
        assert_eq!(text.contains("pg_upgrade_precheck.log"), is_upgrade, "{text}");
    }
}
