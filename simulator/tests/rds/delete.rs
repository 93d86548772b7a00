//! The deletion of an instance.

use aws_sdk_rds::types::CloudwatchLogsExportConfiguration;

use crate::site::{AVAILABLE_SECONDS, GONE_SECONDS, Site, code, refusal, wait};

#[tokio::test(start_paused = true)]
async fn an_instance_is_deleted_with_its_secret_and_its_interface() {
    let site = Site::with_database().await;
    let delete =
        || site.rds.delete_db_instance().db_instance_identifier("shop").skip_final_snapshot(true).send();
    let answer = delete().await.unwrap().db_instance.unwrap();
    assert_eq!(answer.db_instance_status(), Some("deleting"));
    let (again, message) = refusal(delete().await);
    assert_eq!(again, "InvalidDBInstanceState");
    assert!(message.contains("is already being deleted"), "{message}");
    assert_eq!(code(site.modify().multi_az(true).send().await), "InvalidDBInstanceState");
    let arn = answer.db_instance_arn().unwrap();
    let tag = aws_sdk_rds::types::Tag::builder().key("a").value("b").build();
    let tagged = site.rds.add_tags_to_resource().resource_name(arn).tags(tag).send().await;
    assert_eq!(code(tagged), "InvalidDBInstanceState");
    wait(GONE_SECONDS - 2.0).await;
    assert_eq!(site.interfaces().await, 1);
    assert_eq!(site.kinds().len(), 2);
    wait(2.0).await;
    let gone = site.rds.describe_db_instances().db_instance_identifier("shop").send().await.unwrap_err();
    assert!(gone.into_service_error().is_db_instance_not_found_fault());
    assert_eq!(code(delete().await), "DBInstanceNotFound");
    assert_eq!(site.interfaces().await, 0);
    assert_eq!(site.kinds(), ["AWS::RDS::DBSubnetGroup"]);
}

#[tokio::test(start_paused = true)]
async fn deletion_protection_blocks_deletion_until_disabled() {
    let site = Site::with_database().await;
    let protect = |on: bool| {
        site.rds.modify_db_instance().db_instance_identifier("shop").deletion_protection(on).send()
    };
    protect(true).await.unwrap();
    assert_eq!(site.status().await, "available", "protection is put on at once");
    let delete =
        || site.rds.delete_db_instance().db_instance_identifier("shop").skip_final_snapshot(true).send();
    let (protected, message) = refusal(delete().await);
    assert_eq!(protected, "InvalidParameterCombination");
    assert_eq!(
        message,
        "Cannot delete protected DB Instance, please disable deletion protection and try again."
    );
    protect(false).await.unwrap();
    delete().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_is_being_created_can_be_deleted_but_not_kept() {
    let site = Site::open().await;
    site.create().send().await.unwrap();
    wait(10.0).await;
    let delete = || site.rds.delete_db_instance().db_instance_identifier("shop");
    let kept = delete().final_db_snapshot_identifier("last").send().await;
    assert_eq!(code(kept), "InvalidDBInstanceState");
    delete().skip_final_snapshot(true).send().await.unwrap();
    assert_eq!(site.status().await, "deleting");
    wait(GONE_SECONDS).await;
    assert_eq!(site.kinds(), ["AWS::RDS::DBSubnetGroup"]);
    let events = site.rds.describe_events().send().await.unwrap();
    let messages: Vec<_> = events.events().iter().filter_map(|event| event.message()).collect();
    assert_eq!(messages, ["DB instance deleted"], "what was to come has not happened");
}

#[tokio::test(start_paused = true)]
async fn a_final_snapshot_takes_longer_and_stays() {
    let site = Site::open().await;
    let tag = aws_sdk_rds::types::Tag::builder().key("stackdrop:component").value("database").build();
    site.create().copy_tags_to_snapshot(true).tags(tag.clone()).send().await.unwrap();
    wait(300.0).await;
    let delete = |name: &str| {
        site.rds.delete_db_instance().db_instance_identifier("shop").final_db_snapshot_identifier(name).send()
    };
    delete("Shop-Final").await.unwrap();
    let read = || site.rds.describe_db_snapshots().db_snapshot_identifier("shop-final").send();
    let snapshot = read().await.unwrap().db_snapshots.unwrap().remove(0);
    assert_eq!((snapshot.status(), snapshot.percent_progress()), (Some("creating"), Some(0)));
    let remove = || site.rds.delete_db_snapshot().db_snapshot_identifier("shop-final").send();
    assert_eq!(code(remove().await), "InvalidDBSnapshotState");
    wait(GONE_SECONDS + 30.0).await;
    assert_eq!(site.status().await, "deleting");
    wait(30.0).await;
    let snapshot = read().await.unwrap().db_snapshots.unwrap().remove(0);
    assert_eq!((snapshot.status(), snapshot.db_instance_identifier()), (Some("available"), Some("shop")));
    assert_eq!(snapshot.tag_list(), [tag]);
    assert!(snapshot.snapshot_create_time().is_some());
    assert_eq!(site.kinds(), ["AWS::RDS::DBSubnetGroup", "AWS::RDS::DBSnapshot"]);
    let item = site.account.inventory().into_iter().find(|item| item.kind == "AWS::RDS::DBSnapshot").unwrap();
    assert_eq!((item.component.as_str(), item.monthly_usd), ("database", 20.0 * 0.095));

    // A second instance cannot create a snapshot with the same name.
    site.create().send().await.unwrap();
    wait(300.0).await;
    assert_eq!(code(delete("shop-final").await), "DBSnapshotAlreadyExists");
    let of_instance = site.rds.describe_db_snapshots().db_instance_identifier("shop").snapshot_type("manual");
    assert_eq!(of_instance.send().await.unwrap().db_snapshots().len(), 1);
    remove().await.unwrap();
    assert_eq!(code(remove().await), "DBSnapshotNotFound");
    assert_eq!(code(read().await), "DBSnapshotNotFound");
    delete("shop-final").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_deletion_must_say_what_happens_to_the_data() {
    let site = Site::with_database().await;
    let delete = || site.rds.delete_db_instance().db_instance_identifier("shop");
    assert_eq!(code(delete().send().await), "InvalidParameterCombination");
    let both = delete().skip_final_snapshot(true).final_db_snapshot_identifier("last").send().await;
    assert_eq!(code(both), "InvalidParameterCombination");
    let odd = delete().final_db_snapshot_identifier("a_b").send().await;
    assert_eq!(code(odd), "InvalidParameterValue");
}

#[tokio::test(start_paused = true)]
async fn retained_backups_cost_until_they_expire() {
    let site = Site::with_database().await;
    let delete = site.rds.delete_db_instance().db_instance_identifier("shop").skip_final_snapshot(true);
    delete.delete_automated_backups(false).send().await.unwrap();
    wait(GONE_SECONDS).await;
    assert_eq!(site.kinds(), ["AWS::RDS::DBSubnetGroup", "AWS::RDS::DBInstanceAutomatedBackup"]);
    wait(7.0 * 86_400.0).await;
    assert_eq!(site.kinds(), ["AWS::RDS::DBSubnetGroup"]);
}

#[tokio::test(start_paused = true)]
async fn exported_logs_outlive_their_instance() {
    let site = Site::open().await;
    site.create().enable_cloudwatch_logs_exports("postgresql").send().await.unwrap();
    let groups = || -> Vec<String> {
        let items = site.account.inventory().into_iter();
        items.filter(|item| item.kind == "AWS::Logs::LogGroup").map(|item| item.id).collect()
    };
    wait(60.0).await;
    assert!(groups().is_empty(), "nothing is written before it runs");
    wait(AVAILABLE_SECONDS - 60.0).await;
    assert_eq!(groups(), ["/aws/rds/instance/shop/postgresql"]);
    let upgrades = CloudwatchLogsExportConfiguration::builder().enable_log_types("upgrade").build();
    site.modify().cloudwatch_logs_export_configuration(upgrades).send().await.unwrap();
    wait(120.0).await;
    assert_eq!(groups().len(), 2);
    let delete = site.rds.delete_db_instance().db_instance_identifier("shop").skip_final_snapshot(true);
    delete.send().await.unwrap();
    wait(GONE_SECONDS).await;
    assert_eq!(site.kinds(), ["AWS::RDS::DBSubnetGroup"]);
    assert_eq!(groups().len(), 2);
}
