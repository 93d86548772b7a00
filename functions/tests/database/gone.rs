//! A database that was there and is gone, and databases that are created from a snapshot.

use serde_json::{Value, json};
use stackdrop_functions::Aws;
use stackdrop_functions::aws::error::StepError;
use stackdrop_simulator::{Account, Seed};

use super::{
    NAME, SPEC, create_other, deployed, existing, instance, later, next, prepared, untag, wait_until_stable,
    writes_since,
};
use crate::common::{act, apply, until_done};

const KEY: &str = "arn:aws:kms:eu-central-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab";

/// The next deployment of a stack whose database somebody deleted with a snapshot.
async fn gone() -> (Account, Aws, Value) {
    let (account, aws, mut deployment) = deployed(SPEC).await;
    next(&mut deployment);
    let delete = aws.rds().delete_db_instance().db_instance_identifier("shop-database");
    delete.final_db_snapshot_identifier("shop-database-last").send().await.unwrap();
    later(1800).await;
    deployment["outputs"][NAME] = Value::Null;
    (account, aws, deployment)
}

/// The problems of a plan, as texts.
async fn problems(aws: &Aws, deployment: &Value) -> Vec<String> {
    let plan = act(aws, NAME, "plan", deployment).await.unwrap();
    let problems = plan["problems"].as_array().unwrap().iter();
    problems.map(|it| format!("{}; {}", it["why"].as_str().unwrap(), it["fix"].as_str().unwrap())).collect()
}

#[tokio::test(start_paused = true)]
async fn a_gone_database_is_a_problem_that_names_its_snapshot_and_how_to_continue() {
    let (account, aws, mut deployment) = gone().await;
    let found = problems(&aws, &deployment).await;
    let [problem] = &found[..] else { panic!("one problem: {found:?}") };
    for text in [
        "the database shop-database is gone: somebody deleted it; the newest snapshot is shop-database-last (2026-01-01T",
        "set database.restoreFrom: shop-database-last, or begin with an empty database",
        "`stackdrop deploy shop.yaml --empty-database shop-database`",
    ] {
        assert!(problem.contains(text), "{text} is not in {problem}");
    }
    let before = account.calls();
    let error = until_done(&aws, NAME, "apply", &deployment).await.unwrap_err();
    assert!(matches!(&error, StepError::Gone(_)), "{error:?}");
    assert_eq!(writes_since(&account, before), Vec::<String>::new());
    // A rollback leaves it as it is.
    deployment["rollingBack"] = json!(true);
    let left = until_done(&aws, NAME, "apply", &deployment).await.unwrap();
    assert!(left["leftAlone"].as_str().unwrap().contains("shop-database is gone"), "{left}");
    assert_eq!(writes_since(&account, before), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_database_without_backups_says_so() {
    let (_account, aws, mut deployment) = deployed(SPEC).await;
    next(&mut deployment);
    let delete = aws.rds().delete_db_instance().db_instance_identifier("shop-database");
    delete.skip_final_snapshot(true).send().await.unwrap();
    later(10).await;
    let deleting = problems(&aws, &deployment).await;
    assert!(deleting[0].starts_with("the database shop-database is being deleted; "), "{deleting:?}");
    later(1800).await;
    let gone = problems(&aws, &deployment).await;
    assert!(gone[0].contains("RDS has no snapshot and no automated backup of it; begin with"), "{gone:?}");
}

#[tokio::test(start_paused = true)]
async fn retained_automated_backups_are_named_with_the_snapshots_in_them() {
    let (_account, aws, mut deployment) = deployed(SPEC).await;
    next(&mut deployment);
    later(2 * 86_400).await;
    let delete = aws.rds().delete_db_instance().db_instance_identifier("shop-database");
    delete.skip_final_snapshot(true).delete_automated_backups(false).send().await.unwrap();
    later(1800).await;
    let gone = problems(&aws, &deployment).await;
    assert!(gone[0].contains("the newest snapshot is rds:shop-database-2026-01-0"), "{gone:?}");
    assert!(gone[0].contains("the automated backups end at 2026-01-03T"), "{gone:?}");
}

#[tokio::test(start_paused = true)]
async fn only_the_name_of_the_database_allows_an_empty_one() {
    let (_account, aws, mut deployment) = gone().await;
    deployment["consent"] = json!({ "emptyDatabase": "shop" });
    assert_eq!(problems(&aws, &deployment).await.len(), 1);
    deployment["consent"] = json!({ "deleteData": ["shop-database"] });
    assert_eq!(problems(&aws, &deployment).await.len(), 1);
    deployment["consent"] = json!({ "emptyDatabase": "shop-database" });
    let plan = act(&aws, NAME, "plan", &deployment).await.unwrap();
    assert_eq!(plan["problems"], json!([]));
    let why = plan["warnings"][0]["why"].as_str().unwrap();
    assert!(why.contains("somebody deleted RDS instance shop-database: the new one is empty"), "{plan}");
    apply(&aws, &[NAME], &mut deployment).await;
    later(20).await;
    assert!(instance(&aws).await.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_stack_that_had_no_database_gets_one() {
    let (_account, aws, mut deployment) = prepared(SPEC).await;
    next(&mut deployment);
    deployment["baseline"]["spec"]["database"] = Value::Null;
    deployment["baseline"]["spec"]["services"] = json!({});
    let plan = act(&aws, NAME, "plan", &deployment).await.unwrap();
    assert_eq!((&plan["problems"], &plan["warnings"]), (&json!([]), &json!([])));
}

#[tokio::test(start_paused = true)]
async fn a_gone_database_is_restored_from_the_snapshot_that_the_spec_names() {
    let (account, aws, mut deployment) = gone().await;
    deployment["spec"]["database"]["restoreFrom"] = json!("shop-database-last");
    let plan = act(&aws, NAME, "plan", &deployment).await.unwrap();
    assert_eq!(plan["problems"], json!([]));
    let fields = json!([{ "field": "restoreFrom", "from": "(none)", "to": "shop-database-last" }]);
    let created = json!({ "verb": "create", "resource": "instance", "fields": fields });
    assert!(plan["changes"].as_array().unwrap().contains(&created), "{plan}");
    apply(&aws, &[NAME], &mut deployment).await;
    assert_eq!(deployment["outputs"][NAME]["restoring"], json!(true));
    // The step runs again, waits for the restore, and lets RDS manage the password.
    later(60).await;
    let waiting = act(&aws, NAME, "apply", &deployment).await.unwrap_err();
    assert!(matches!(&waiting, StepError::Pending(what) if what.contains("to be restored")), "{waiting}");
    apply(&aws, &[NAME], &mut deployment).await;
    wait_until_stable(&aws, &mut deployment).await;
    let outputs = &deployment["outputs"][NAME];
    assert_eq!(outputs["restoring"], json!(false));
    assert!(outputs["secret"].as_str().unwrap().starts_with("arn:aws:secretsmanager:"), "{outputs}");
    let db = instance(&aws).await.unwrap();
    assert_eq!((db.max_allocated_storage(), db.backup_retention_period()), (Some(100), Some(7)));
    assert_eq!(db.publicly_accessible(), Some(false));
    // Nothing else is to do, and the next deployment does not restore it again.
    crate::set_rotation_rules(&aws).await;
    next(&mut deployment);
    deployment["spec"]["database"]["deletionProtection"] = json!(false);
    let before = account.calls();
    let plan = act(&aws, NAME, "plan", &deployment).await.unwrap();
    assert_eq!((&plan["changes"], &plan["warnings"]), (&json!([]), &json!([])), "{plan}");
    until_done(&aws, NAME, "apply", &deployment).await.unwrap();
    assert_eq!(writes_since(&account, before), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn the_snapshot_of_the_last_good_spec_is_not_restored_again_in_silence() {
    let (_account, aws, mut deployment) = gone().await;
    deployment["spec"]["database"]["restoreFrom"] = json!("shop-database-last");
    deployment["baseline"]["spec"]["database"]["restoreFrom"] = json!("shop-database-last");
    let found = problems(&aws, &deployment).await;
    assert!(found[0].contains("restore shop-database-last again (`stackdrop deploy"), "{found:?}");
    deployment["consent"] = json!({ "emptyDatabase": "shop-database" });
    assert_eq!(problems(&aws, &deployment).await, Vec::<String>::new());
    apply(&aws, &[NAME], &mut deployment).await;
    assert_eq!(deployment["outputs"][NAME]["restoring"], json!(true));
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_for_a_database_that_exists_is_a_warning() {
    let (_account, aws, mut deployment) = deployed(SPEC).await;
    next(&mut deployment);
    deployment["spec"]["database"]["restoreFrom"] = json!("shop-database-last");
    deployment["spec"]["database"]["deletionProtection"] = json!(false);
    let plan = act(&aws, NAME, "plan", &deployment).await.unwrap();
    assert_eq!((&plan["changes"], &plan["problems"]), (&json!([]), &json!([])), "{plan}");
    let why = plan["warnings"][0]["why"].as_str().unwrap();
    assert!(why.contains("so shop-database-last (database.restoreFrom) is not restored"), "{plan}");
}

#[tokio::test(start_paused = true)]
async fn each_reason_against_a_snapshot_is_a_problem_of_the_plan_and_stops_the_step() {
    let own = ("stackdrop:stack", "shop");
    for (tag, version, key, expected) in [
        (own, "16", Some(KEY), None),
        (("stackdrop-access", "*"), "16", Some(KEY), None),
        (("stackdrop-access", "shop-two"), "16", Some(KEY), Some("stack shop may not restore snapshot last")),
        (("stackdrop:stack", "shop-two"), "16", None, Some("Key=stackdrop-access,Value=shop")),
        (own, "16", None, Some("aws rds copy-db-snapshot --source-db-snapshot-identifier last")),
        (own, "17", Some(KEY), Some("set database.version to 17; change it once")),
    ] {
        let (account, aws, mut deployment) = prepared(SPEC).await;
        account.seed(&Seed::DatabaseSnapshot {
            name: "last".into(),
            version: version.into(),
            kms_key: key.map(str::to_owned),
            tags: [(tag.0.to_owned(), tag.1.to_owned())].into(),
        });
        deployment["spec"]["database"]["restoreFrom"] = json!("last");
        let found = problems(&aws, &deployment).await;
        assert_eq!(found.len(), usize::from(expected.is_some()), "{tag:?} {version}: {found:?}");
        let is_found = expected.is_none_or(|expected| found[0].contains(expected));
        assert!(is_found, "{expected:?} is not in {found:?}");
        let applied = until_done(&aws, NAME, "apply", &deployment).await;
        match applied {
            Err(error) => assert!(matches!(&error, StepError::InvalidSpec(_)), "{error:?}"),
            Ok(outputs) => assert_eq!(outputs["restoring"], json!(true)),
        }
        assert_eq!(existing(&account).contains(&"AWS::RDS::DBInstance".to_owned()), expected.is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_that_is_absent_too_large_or_being_taken_is_a_problem() {
    let (_account, aws, mut deployment) = prepared(SPEC).await;
    deployment["spec"]["database"]["restoreFrom"] = json!("rds:shop-database-2026-01-02-02-00");
    let found = problems(&aws, &deployment).await;
    assert!(found[0].starts_with("RDS has no snapshot rds:shop-database-2026-01-02-02-00"), "{found:?}");

    let (_account, aws, mut deployment) = deployed(&SPEC.replace("storage: 20", "storage: 40")).await;
    next(&mut deployment);
    let delete = aws.rds().delete_db_instance().db_instance_identifier("shop-database");
    delete.final_db_snapshot_identifier("last").send().await.unwrap();
    later(10).await;
    deployment["spec"]["database"]["restoreFrom"] = json!("last");
    let taken = problems(&aws, &deployment).await;
    assert!(taken[0].contains("cannot be restored: it is creating; deploy again"), "{taken:?}");
    later(1800).await;
    deployment["spec"]["database"]["storage"] = json!(20);
    let large = problems(&aws, &deployment).await;
    assert!(large[0].contains("needs 40 GiB") && large[0].contains("to 40 or more"), "{large:?}");
}

#[tokio::test(start_paused = true)]
async fn a_spec_that_no_longer_names_a_snapshot_does_not_ask_for_an_empty_database() {
    let (account, aws, mut deployment) = gone().await;
    deployment["baseline"]["spec"]["database"]["restoreFrom"] = json!("an-older-one");
    let found = problems(&aws, &deployment).await;
    assert!(found.len() == 1 && found[0].contains("shop-database is gone"), "{found:?}");
    let before = account.calls();
    let error = until_done(&aws, NAME, "apply", &deployment).await.unwrap_err();
    assert!(matches!(&error, StepError::Gone(_)), "{error:?}");
    assert_eq!(writes_since(&account, before), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn snapshots_and_backups_of_other_databases_are_no_data_of_this_one() {
    let (account, aws, deployment) = gone().await;
    create_other(&aws).await;
    account.seed(&Seed::DatabaseSnapshot {
        name: "theirs".into(),
        version: "16".into(),
        kms_key: Some(KEY.into()),
        tags: [].into(),
    });
    let found = problems(&aws, &deployment).await;
    assert!(found[0].contains("the newest snapshot is shop-database-last ("), "{found:?}");
    assert!(!found[0].contains("automated backups"), "{found:?}");
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_that_the_spec_names_already_is_not_proposed() {
    let (_account, aws, mut deployment) = gone().await;
    deployment["spec"]["database"]["restoreFrom"] = json!("shop-database-last");
    deployment["baseline"]["spec"] = deployment["spec"].clone();
    let found = problems(&aws, &deployment).await;
    assert!(!found[0].contains("set database.restoreFrom"), "{found:?}");
    assert!(found[0].contains("; restore shop-database-last again (`stackdrop deploy"), "{found:?}");
}

#[tokio::test(start_paused = true)]
async fn a_resource_that_lost_its_tag_is_named_beside_a_database_that_is_gone() {
    let (_account, aws, mut deployment) = deployed(SPEC).await;
    next(&mut deployment);
    untag(&aws, instance(&aws).await.unwrap().db_instance_arn().unwrap()).await;
    let found = problems(&aws, &deployment).await;
    let is_named = found.len() == 1 && found[0].contains("RDS instance shop-database exists but is not");
    assert!(is_named, "it is not gone: {found:?}");

    let (_account, aws, deployment) = gone().await;
    let groups = aws.rds().describe_db_subnet_groups().db_subnet_group_name("shop-database").send().await;
    untag(&aws, groups.unwrap().db_subnet_groups()[0].db_subnet_group_arn().unwrap()).await;
    let found = problems(&aws, &deployment).await;
    let [gone, group] = &found[..] else { panic!("two problems: {found:?}") };
    assert!(gone.contains("shop-database is gone") && group.contains("DB subnet group"), "{found:?}");
}

#[tokio::test(start_paused = true)]
async fn a_database_that_somebody_still_deletes_is_replaced_once_it_is_gone() {
    let (_account, aws, mut deployment) = deployed(SPEC).await;
    next(&mut deployment);
    let delete = aws.rds().delete_db_instance().db_instance_identifier("shop-database");
    delete.skip_final_snapshot(true).send().await.unwrap();
    later(10).await;
    deployment["consent"] = json!({ "emptyDatabase": "shop-database" });
    let waiting = act(&aws, NAME, "apply", &deployment).await.unwrap_err();
    let awaits = |what: &str| what.contains("the deletion of the previous RDS instance shop-database");
    assert!(matches!(&waiting, StepError::Pending(what) if awaits(what)), "{waiting}");
    apply(&aws, &[NAME], &mut deployment).await;
    later(20).await;
    assert_eq!(instance(&aws).await.unwrap().db_instance_status(), Some("creating"));
}

#[tokio::test(start_paused = true)]
async fn a_restored_database_is_from_its_creation_on_as_the_spec_has_it() {
    let (_account, aws, mut deployment) = gone().await;
    let database = &mut deployment["spec"]["database"];
    database["restoreFrom"] = json!("shop-database-last");
    database["class"] = json!("db.t4g.medium");
    database["backupDays"] = json!(9);
    database["multiAz"] = json!(true);
    apply(&aws, &[NAME], &mut deployment).await;
    later(20).await;
    let db = instance(&aws).await.unwrap();
    assert_eq!(db.db_instance_status(), Some("creating"));
    assert_eq!((db.db_instance_class(), db.multi_az()), (Some("db.t4g.medium"), Some(true)));
    assert_eq!(db.backup_retention_period(), Some(9));
    assert_eq!((db.publicly_accessible(), db.deletion_protection()), (Some(false), Some(false)));
    assert_eq!((db.copy_tags_to_snapshot(), db.auto_minor_version_upgrade()), (Some(true), Some(true)));
    // Otherwise, RDS would charge for Extended Support one day.
    assert_eq!(db.engine_lifecycle_support(), Some("open-source-rds-extended-support-disabled"));
    assert_eq!(db.db_parameter_groups()[0].db_parameter_group_name(), Some("shop-postgres16"));
    let group = deployment["outputs"]["securityGroups"]["database"].as_str();
    assert_eq!(db.vpc_security_groups().len(), 1);
    assert_eq!(db.vpc_security_groups()[0].vpc_security_group_id(), group);
}

#[tokio::test(start_paused = true)]
async fn the_snapshot_of_a_night_can_be_restored() {
    let (_account, aws, mut deployment) = deployed(SPEC).await;
    next(&mut deployment);
    later(2 * 86_400).await;
    let delete = aws.rds().delete_db_instance().db_instance_identifier("shop-database");
    delete.skip_final_snapshot(true).delete_automated_backups(false).send().await.unwrap();
    later(1800).await;
    let snapshots = aws.rds().describe_db_snapshots().snapshot_type("automated").send().await.unwrap();
    let name = snapshots.db_snapshots()[0].db_snapshot_identifier().unwrap();
    assert!(name.starts_with("rds:shop-database-2026-01-0"), "{name}");
    deployment["spec"]["database"]["restoreFrom"] = json!(name);
    assert_eq!(problems(&aws, &deployment).await, Vec::<String>::new());
    apply(&aws, &[NAME], &mut deployment).await;
    assert_eq!(deployment["outputs"][NAME]["restoring"], json!(true));
}
