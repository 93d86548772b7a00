//! Automated backups: the snapshots of each night, and what is kept of a deleted instance.

use aws_sdk_rds::types::{DbInstanceAutomatedBackup, DbSnapshot, Filter};

use crate::site::{GONE_SECONDS, Site, code, wait};

const DAY: f64 = 86_400.0;

fn of_shop() -> Filter {
    Filter::builder().name("db-instance-id").values("shop").build()
}

/// The snapshots of the instance `shop`, whether it exists or not.
async fn snapshots(site: &Site) -> Vec<DbSnapshot> {
    let found = site.rds.describe_db_snapshots().filters(of_shop()).send().await;
    found.unwrap().db_snapshots.unwrap_or_default()
}

async fn backups(site: &Site) -> Vec<DbInstanceAutomatedBackup> {
    let found = site.rds.describe_db_instance_automated_backups().filters(of_shop()).send().await;
    found.unwrap().db_instance_automated_backups.unwrap_or_default()
}

async fn delete(site: &Site, backups_too: bool) {
    let delete = site.rds.delete_db_instance().db_instance_identifier("shop").skip_final_snapshot(true);
    delete.delete_automated_backups(backups_too).send().await.unwrap();
    wait(GONE_SECONDS).await;
}

#[tokio::test(start_paused = true)]
async fn an_instance_has_a_snapshot_of_each_night_for_as_long_as_it_keeps_backups() {
    let site = Site::with_database().await;
    wait(60.0).await;
    assert_eq!(snapshots(&site).await.len(), 1, "the one of its creation");
    wait(2.0 * DAY).await;
    let made = snapshots(&site).await;
    let names: Vec<&str> = made.iter().filter_map(DbSnapshot::db_snapshot_identifier).collect();
    assert_eq!(names.len(), 3, "{names:?}");
    assert!(names.contains(&"rds:shop-2026-01-02-02-00"), "{names:?}");
    assert!(
        made.iter().all(|it| (it.snapshot_type(), it.status()) == (Some("automated"), Some("available")))
    );
    wait(30.0 * DAY).await;
    assert_eq!(snapshots(&site).await.len(), 7, "for seven days");
    site.modify().backup_retention_period(0).send().await.unwrap();
    wait(DAY).await;
    assert_eq!(snapshots(&site).await.len(), 0, "RDS deletes them when backups end");
    assert_eq!(backups(&site).await.len(), 0);
    assert!(!site.kinds().iter().any(|kind| kind == "AWS::RDS::DBSnapshot"), "they are part of the instance");
}

#[tokio::test(start_paused = true)]
async fn an_automated_snapshot_is_found_by_its_name_and_type() {
    let site = Site::with_database().await;
    wait(2.0 * DAY).await;
    let by_name = || site.rds.describe_db_snapshots().db_snapshot_identifier("rds:shop-2026-01-02-02-00");
    assert_eq!(code(by_name().send().await), "DBSnapshotNotFound", "without its type");
    let found = by_name().snapshot_type("automated").send().await.unwrap();
    assert_eq!(found.db_snapshots()[0].encrypted(), Some(true));
}

#[tokio::test(start_paused = true)]
async fn backups_end_with_the_instance_unless_they_are_retained() {
    let site = Site::with_database().await;
    wait(2.0 * DAY).await;
    let active = backups(&site).await;
    assert_eq!(active[0].status(), Some("active"));
    delete(&site, true).await;
    assert_eq!((snapshots(&site).await.len(), backups(&site).await.len()), (0, 0));

    let site = Site::with_database().await;
    wait(2.0 * DAY).await;
    delete(&site, false).await;
    let retained = backups(&site).await;
    assert_eq!((retained.len(), retained[0].status()), (1, Some("retained")));
    assert!(retained[0].restore_window().unwrap().latest_time().is_some());
    assert!(retained[0].db_instance_automated_backups_arn().unwrap().contains(":auto-backup:ab-"));
    assert_eq!(snapshots(&site).await.len(), 3);
    let named = site.rds.describe_db_instance_automated_backups().db_instance_identifier("shop");
    assert_eq!(code(named.send().await), "DBInstanceAutomatedBackupNotFound", "the instance is gone");
    wait(7.0 * DAY).await;
    assert_eq!((snapshots(&site).await.len(), backups(&site).await.len()), (0, 0), "they expire");
}
