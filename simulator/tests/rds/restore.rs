//! The restore of a snapshot to a new instance.

use std::collections::BTreeMap;

use aws_sdk_rds::operation::restore_db_instance_from_db_snapshot::builders::RestoreDBInstanceFromDBSnapshotFluentBuilder;
use stackdrop_simulator::Seed;

use crate::site::{Site, code, refusal, wait};

/// Longer than a restore takes.
const RESTORED_SECONDS: f64 = 1200.0;

/// A restore of a snapshot to the instance `again`.
fn restore(site: &Site, snapshot: &str) -> RestoreDBInstanceFromDBSnapshotFluentBuilder {
    let call = site.rds.restore_db_instance_from_db_snapshot().db_instance_identifier("again");
    let call = call.db_snapshot_identifier(snapshot).db_instance_class("db.t4g.micro");
    call.db_subnet_group_name("shop").vpc_security_group_ids(&site.group)
}

/// A site with the snapshot `last` of an instance that is gone.
async fn with_snapshot() -> Site {
    let site = Site::with_database().await;
    let delete = site.rds.delete_db_instance().db_instance_identifier("shop");
    delete.final_db_snapshot_identifier("last").send().await.unwrap();
    wait(600.0).await;
    site
}

#[tokio::test(start_paused = true)]
async fn a_restored_instance_has_the_snapshots_data_and_no_managed_password() {
    let site = with_snapshot().await;
    let begun = restore(&site, "last").backup_retention_period(3).send().await.unwrap().db_instance.unwrap();
    assert_eq!(begun.db_instance_status(), Some("creating"));
    assert!(begun.master_user_secret().is_none());
    wait(RESTORED_SECONDS).await;
    let read = || site.rds.describe_db_instances().db_instance_identifier("again").send();
    let restored = read().await.unwrap().db_instances.unwrap().remove(0);
    assert_eq!(restored.db_instance_status(), Some("available"));
    assert_eq!((restored.engine_version(), restored.allocated_storage()), (Some("16.9"), Some(20)));
    assert_eq!((restored.master_username(), restored.storage_encrypted()), (Some("stackdrop"), Some(true)));
    let port = restored.endpoint().unwrap().port();
    assert_eq!((restored.backup_retention_period(), port), (Some(3), Some(5432)));
    assert!(restored.master_user_secret().is_none(), "the password is the snapshot's");
    let manage = site.rds.modify_db_instance().db_instance_identifier("again").apply_immediately(true);
    manage.manage_master_user_password(true).send().await.unwrap();
    wait(300.0).await;
    let managed = read().await.unwrap().db_instances.unwrap().remove(0);
    assert_eq!(managed.master_user_secret().unwrap().secret_status(), Some("active"));
}

#[tokio::test(start_paused = true)]
async fn a_restore_is_refused_for_each_wrong_value() {
    let site = with_snapshot().await;
    assert_eq!(code(restore(&site, "none").send().await), "DBSnapshotNotFound");
    let (small, message) = refusal(restore(&site, "last").allocated_storage(10).send().await);
    assert_eq!(small, "InvalidParameterCombination");
    assert_eq!(message, "Invalid storage size for engine name postgres and storage type gp3: 10");
    assert!(restore(&site, "last").manage_master_user_password(true).send().await.is_err());
    assert!(restore(&site, "last").db_name("app").send().await.is_err());
    restore(&site, "last").send().await.unwrap();
    assert_eq!(code(restore(&site, "last").send().await), "DBInstanceAlreadyExists");
    let elsewhere = Seed::DatabaseSnapshot {
        name: "elsewhere".into(),
        version: "17".into(),
        kms_key: None,
        tags: BTreeMap::new(),
    };
    site.account.seed(&elsewhere);
    let group = site.rds.create_db_parameter_group().db_parameter_group_name("pg16");
    let group = group.db_parameter_group_family("postgres16").description("databases");
    group.send().await.unwrap();
    wait(1.0).await;
    let other_major = restore(&site, "elsewhere").db_parameter_group_name("pg16").send().await;
    assert_eq!(code(other_major), "InvalidParameterCombination");
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_that_is_being_made_cannot_be_restored() {
    let site = Site::with_database().await;
    let delete = site.rds.delete_db_instance().db_instance_identifier("shop");
    delete.final_db_snapshot_identifier("last").send().await.unwrap();
    assert_eq!(code(restore(&site, "last").send().await), "InvalidDBSnapshotState");
}
