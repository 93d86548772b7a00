//! Deletion of the database: protection and final snapshots.

use serde_json::{Value, json};
use stackdrop_functions::aws::error::StepError;
use stackdrop_simulator::Account;

use crate::common::{act, until_done};
use crate::{
    NAME, SPEC, deployed, existing, instance, later, next, prepared, wait_until_stable, writes_since,
};

#[tokio::test(start_paused = true)]
async fn a_database_without_a_baseline_is_deleted_without_a_snapshot() {
    let (account, aws, deployment) = prepared(SPEC).await;
    until_done(&aws, NAME, "apply", &deployment).await.unwrap();
    later(20).await;
    let deletion = act(&aws, NAME, "delete", &deployment).await.unwrap();
    assert_eq!(deletion["found"], 3);
    let remaining: Vec<&str> = deletion["remaining"]
        .as_array()
        .unwrap()
        .iter()
        .map(|remaining| remaining["resource"].as_str().unwrap())
        .collect();
    assert_eq!(remaining, ["instance", "subnet-group", "parameter-group"]);
    until_done(&aws, NAME, "await-deletion", &deployment).await.unwrap();
    assert_eq!(existing(&account), Vec::<String>::new());
    let snapshots = aws.rds().describe_db_snapshots().send().await;
    assert!(snapshots.map_or(0, |response| response.db_snapshots().len()) == 0);
    let deletion = act(&aws, NAME, "delete", &deployment).await.unwrap();
    assert_eq!(deletion, json!({ "found": 0, "remaining": [] }));
}

#[tokio::test(start_paused = true)]
async fn a_database_with_a_baseline_is_deleted_with_a_final_snapshot() {
    let (account, aws, mut deployment) = deployed(SPEC).await;
    next(&mut deployment);
    let before = account.calls();
    until_done(&aws, NAME, "await-deletion", &deployment).await.unwrap();
    let made = writes_since(&account, before).into_iter().filter(|call| call == "rds:DeleteDBInstance");
    assert_eq!(made.count(), 1, "it is requested once");
    let snapshots: Vec<_> =
        account.inventory().into_iter().filter(|item| item.kind == "AWS::RDS::DBSnapshot").collect();
    assert_eq!(snapshots.len(), 1, "{snapshots:?}");
    assert!(snapshots[0].id.contains("shop-database-final-"), "{snapshots:?}");
}

#[tokio::test(start_paused = true)]
async fn a_protected_database_is_not_deleted_when_the_spec_drops_it() {
    let (_account, aws, mut deployment) = deployed(SPEC).await;
    let call = aws.rds().modify_db_instance().db_instance_identifier("shop-database").apply_immediately(true);
    call.deletion_protection(true).send().await.unwrap();
    later(600).await;
    next(&mut deployment);
    let mut dropped = deployment.clone();
    dropped["spec"]["database"] = Value::Null;
    dropped["spec"]["services"] = json!({});
    dropped["baseline"] = deployment["baseline"].clone();
    let plan = act(&aws, NAME, "plan", &dropped).await.unwrap();
    assert!(plan["problems"][0]["fix"].as_str().unwrap().contains("deletionProtection: false"), "{plan}");
    let deleted = ["instance", "subnet-group", "parameter-group (shop-postgres16)"]
        .map(|resource| json!({ "verb": "delete", "resource": resource }));
    assert_eq!(plan["changes"], json!(deleted));
    // Somebody may turn it on after the step.
    for action in ["apply", "prune"] {
        let error = act(&aws, NAME, action, &dropped).await.unwrap_err();
        assert!(matches!(&error, StepError::InvalidSpec(_)), "{action}: {error}");
    }
    let deletion = act(&aws, NAME, "delete", &deployment).await.unwrap();
    assert_eq!(deletion["found"], 3);
    assert!(
        deletion["remaining"][0]["why"].as_str().unwrap().starts_with("deletion protection is on"),
        "{deletion}"
    );
    // The fix: one deployment turns the protection off, the next one drops the database.
    deployment["spec"]["database"]["deletionProtection"] = json!(false);
    until_done(&aws, NAME, "apply", &deployment).await.unwrap();
    wait_until_stable(&aws, &mut deployment).await;
    next(&mut deployment);
    dropped["baseline"] = deployment["baseline"].clone();
    assert_eq!(
        act(&aws, NAME, "apply", &dropped).await.unwrap(),
        json!({ "awaited": false, "restoring": false })
    );
    assert!(instance(&aws).await.is_some(), "services may use it until the deployment prunes");
    let waiting = act(&aws, NAME, "prune", &dropped).await.unwrap_err();
    assert!(
        matches!(&waiting, StepError::Pending(what) if what.contains("the deletion of instance shop-database")),
        "{waiting}"
    );
    until_done(&aws, NAME, "prune", &dropped).await.unwrap();
    assert!(instance(&aws).await.is_none());
}

/// The types of what RDS keeps of a deleted database.
fn kept(account: &Account) -> Vec<String> {
    let kinds = account.inventory().into_iter().map(|item| item.kind);
    kinds.filter(|kind| kind.contains("Snapshot") || kind.contains("Backup")).collect()
}

#[tokio::test(start_paused = true)]
async fn a_final_snapshot_is_taken_only_if_the_newest_spec_with_a_database_has_one() {
    for (baseline, spec, is_taken) in [
        (true, Some(true), true),
        (true, Some(false), false),
        (false, Some(true), true),
        (false, None, false),
        (true, None, true),
    ] {
        let (account, aws, mut deployment) = deployed(SPEC).await;
        deployment["spec"]["database"]["finalSnapshot"] = json!(baseline);
        next(&mut deployment);
        if let Some(spec) = spec {
            deployment["spec"]["database"]["finalSnapshot"] = json!(spec);
        } else {
            deployment["spec"]["database"] = Value::Null;
            deployment["spec"]["services"] = json!({});
        }
        until_done(&aws, NAME, "await-deletion", &deployment).await.unwrap();
        let expected = if is_taken { vec!["AWS::RDS::DBSnapshot"] } else { Vec::new() };
        assert_eq!(kept(&account), expected, "baseline {baseline}, spec {spec:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_database_that_is_still_being_created_is_deleted_without_a_snapshot() {
    let (account, aws, mut deployment) = prepared(SPEC).await;
    until_done(&aws, NAME, "apply", &deployment).await.unwrap();
    next(&mut deployment);
    later(20).await;
    assert_eq!(instance(&aws).await.unwrap().db_instance_status(), Some("creating"));
    // The spec has a final snapshot, so nothing has to be agreed to.
    deployment["consent"] = json!({});
    deployment["destroying"] = json!(true);
    let plan = act(&aws, NAME, "plan", &deployment).await.unwrap();
    assert_eq!(plan["problems"], json!([]));
    let effect = &plan["effects"][0];
    assert_eq!(effect["kind"], "cannot-be-undone");
    assert_eq!(effect["what"], "deletes RDS instance shop-database; its data stays in its automated backups");
    until_done(&aws, NAME, "await-deletion", &deployment).await.unwrap();
    assert_eq!(kept(&account), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn data_is_deleted_only_with_consent_even_if_the_plan_was_made_before() {
    let (account, aws, mut deployment) = deployed(SPEC).await;
    deployment["spec"]["database"]["finalSnapshot"] = json!(false);
    next(&mut deployment);
    deployment["destroying"] = json!(true);
    for names in [json!([]), json!(["database", "shop-instance"])] {
        deployment["consent"] = json!({ "deleteData": names });
        let plan = act(&aws, NAME, "plan", &deployment).await.unwrap();
        assert_eq!(
            (&plan["effects"][0]["kind"], &plan["effects"][0]["word"]),
            (&json!("deletes-data"), &json!("shop-database"))
        );
        let fix = plan["problems"][0]["fix"].as_str().unwrap();
        assert!(fix.contains("`stackdrop destroy shop --delete-data shop-database`"), "{fix}");
        assert!(fix.contains("database.finalSnapshot: true"), "{fix}");
        let before = account.calls();
        let deletion = act(&aws, NAME, "delete", &deployment).await.unwrap();
        let why = deletion["remaining"][0]["why"].as_str().unwrap();
        assert!(why.contains("--delete-data shop-database"), "{why}");
        assert_eq!(writes_since(&account, before), Vec::<String>::new());
    }
    deployment["consent"] = json!({ "deleteData": ["shop-database"] });
    assert_eq!(act(&aws, NAME, "plan", &deployment).await.unwrap()["problems"], json!([]));
    until_done(&aws, NAME, "await-deletion", &deployment).await.unwrap();
    assert_eq!(existing(&account), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_database_that_an_earlier_deployment_could_not_prune_is_deleted_with_its_final_snapshot() {
    let (account, aws, mut deployment) = deployed(SPEC).await;
    next(&mut deployment);
    let with_database = deployment["spec"].clone();
    deployment["spec"]["database"] = Value::Null;
    deployment["spec"]["services"] = json!({});
    deployment["baseline"]["spec"] = deployment["spec"].clone();
    deployment["baseline"]["unpruned"] = json!(true);
    deployment["baseline"]["unprunedSpec"] = with_database;
    deployment["consent"] = json!({});
    until_done(&aws, NAME, "prune", &deployment).await.unwrap();
    assert_eq!(kept(&account), ["AWS::RDS::DBSnapshot"]);
}

#[tokio::test(start_paused = true)]
async fn a_database_that_somebody_is_deleting_needs_no_consent_and_is_waited_for() {
    let (account, aws, mut deployment) = deployed(SPEC).await;
    deployment["spec"]["database"]["finalSnapshot"] = json!(false);
    next(&mut deployment);
    let delete = aws.rds().delete_db_instance().db_instance_identifier("shop-database");
    delete.skip_final_snapshot(true).send().await.unwrap();
    later(10).await;
    deployment["consent"] = json!({});
    deployment["destroying"] = json!(true);
    let plan = act(&aws, NAME, "plan", &deployment).await.unwrap();
    assert_eq!(plan["problems"], json!([]));
    assert!(plan["effects"].as_array().is_none_or(Vec::is_empty), "{plan}");
    let before = account.calls();
    until_done(&aws, NAME, "await-deletion", &deployment).await.unwrap();
    let made = writes_since(&account, before);
    assert!(!made.contains(&"rds:DeleteDBInstance".to_owned()), "{made:?}");
    assert_eq!(existing(&account), Vec::<String>::new());
}
