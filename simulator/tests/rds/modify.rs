//! Changes of an instance.

use aws_sdk_rds::types::{CloudwatchLogsExportConfiguration, DbInstance};

use crate::site::{Site, code, make_group, make_vpc, wait};

/// The states of the instance, read every five seconds.
async fn states(site: &Site, seconds: u32) -> Vec<String> {
    let mut seen: Vec<String> = Vec::new();
    for _ in 0..seconds / 5 {
        let status = site.status().await;
        if seen.last() != Some(&status) {
            seen.push(status);
        }
        wait(5.0 - 0.2).await;
    }
    seen
}

fn pending_class(database: &DbInstance) -> Option<&str> {
    database.pending_modified_values()?.db_instance_class()
}

#[tokio::test(start_paused = true)]
async fn a_change_is_accepted_shows_late_and_then_takes_effect() {
    let site = Site::with_database().await;
    site.modify().db_instance_class("db.t4g.small").send().await.unwrap();
    let database = site.database().await;
    assert_eq!(database.db_instance_status(), Some("available"), "the status shows it some seconds later");
    assert_eq!(pending_class(&database), Some("db.t4g.small"));
    assert_eq!(database.db_instance_class(), Some("db.t4g.micro"));
    assert_eq!(code(site.modify().backup_retention_period(8).send().await), "InvalidDBInstanceState");
    assert_eq!(states(&site, 330).await, ["available", "modifying", "available"]);
    let database = site.database().await;
    assert_eq!((database.db_instance_class(), pending_class(&database)), (Some("db.t4g.small"), None));
}

#[tokio::test(start_paused = true)]
async fn a_change_that_need_not_be_immediate_waits_for_the_maintenance_window() {
    let site = Site::with_database().await;
    let change =
        site.rds.modify_db_instance().db_instance_identifier("shop").db_instance_class("db.t4g.small");
    change.send().await.unwrap();
    wait(3600.0).await;
    let database = site.database().await;
    assert_eq!(
        (database.db_instance_status(), pending_class(&database)),
        (Some("available"), Some("db.t4g.small"))
    );
    // Simulations begin on a Thursday; the window is on Sunday.
    wait(4.0 * 86_400.0).await;
    assert_eq!(site.database().await.db_instance_class(), Some("db.t4g.small"));
}

#[tokio::test(start_paused = true)]
async fn apply_immediately_applies_pending_changes_too() {
    let site = Site::with_database().await;
    let change =
        site.rds.modify_db_instance().db_instance_identifier("shop").db_instance_class("db.t4g.small");
    change.send().await.unwrap();
    site.modify().backup_retention_period(8).send().await.unwrap();
    wait(310.0).await;
    let database = site.database().await;
    assert_eq!(
        (database.db_instance_class(), database.backup_retention_period()),
        (Some("db.t4g.small"), Some(8))
    );
}

#[tokio::test(start_paused = true)]
async fn a_waiting_change_is_cancelled_by_the_present_value() {
    let site = Site::with_database().await;
    let queue = || site.rds.modify_db_instance().db_instance_identifier("shop");
    queue().db_instance_class("db.t4g.small").multi_az(true).send().await.unwrap();
    site.modify().db_instance_class("db.t4g.micro").send().await.unwrap();
    assert_eq!(pending_class(&site.database().await), None);
    wait(700.0).await;
    let database = site.database().await;
    assert_eq!((database.db_instance_class(), database.multi_az()), (Some("db.t4g.micro"), Some(true)));
}

#[tokio::test(start_paused = true)]
async fn striped_storage_grows_only_with_its_iops() {
    let site = Site::open().await;
    site.create().allocated_storage(400).send().await.unwrap();
    wait(400.0).await;
    let alone = site.modify().allocated_storage(500).send().await;
    assert_eq!(code(alone), "InvalidParameterCombination");
    site.modify().allocated_storage(500).iops(12_000).storage_throughput(500).send().await.unwrap();
    wait(100.0).await;
    assert_eq!(site.database().await.allocated_storage(), Some(500));
}

#[tokio::test(start_paused = true)]
async fn a_stopped_instance_takes_no_change_and_starts_again_after_a_week() {
    let site = Site::with_database().await;
    let id = || "shop".to_owned();
    assert_eq!(
        code(site.rds.start_db_instance().db_instance_identifier(id()).send().await),
        "InvalidDBInstanceState"
    );
    site.rds.stop_db_instance().db_instance_identifier(id()).send().await.unwrap();
    assert_eq!(states(&site, 200).await, ["stopping", "stopped"]);
    assert_eq!(code(site.modify().backup_retention_period(8).send().await), "InvalidDBInstanceState");
    let final_snapshot =
        site.rds.delete_db_instance().db_instance_identifier(id()).final_db_snapshot_identifier("last");
    assert_eq!(code(final_snapshot.send().await), "InvalidDBInstanceState");
    wait(7.0 * 86_400.0).await;
    assert_eq!(site.status().await, "starting");
    wait(300.0).await;
    // A rotation of the secret became due while the instance was stopped.
    assert_eq!(states(&site, 60).await, ["resetting-master-credentials", "available"]);
    site.rds.stop_db_instance().db_instance_identifier(id()).send().await.unwrap();
    wait(200.0).await;
    site.rds.start_db_instance().db_instance_identifier(id()).send().await.unwrap();
    assert_eq!(states(&site, 310).await, ["starting", "available"]);
}

#[tokio::test(start_paused = true)]
async fn a_single_instance_is_backed_up_each_night() {
    let site = Site::with_database().await;
    // The window begins at 02:00.
    wait(2.0 * 3600.0 - site.account.clock().elapsed().as_secs_f64() + 1.0).await;
    assert_eq!(site.status().await, "backing-up");
    assert_eq!(code(site.modify().backup_retention_period(8).send().await), "InvalidDBInstanceState");
    wait(180.0).await;
    site.modify().multi_az(true).send().await.unwrap();
    wait(86_400.0 - 180.0).await;
    assert_eq!(site.status().await, "available", "the standby makes the backup");
}

#[tokio::test(start_paused = true)]
async fn storage_grows_only_and_not_again_for_six_hours() {
    let site = Site::with_database().await;
    assert_eq!(code(site.modify().allocated_storage(19).send().await), "InvalidParameterCombination");
    site.modify().allocated_storage(21).send().await.unwrap();
    let pending = site.database().await.pending_modified_values.unwrap();
    assert_eq!(pending.allocated_storage(), Some(22), "less than a tenth more is rounded up");
    assert_eq!(states(&site, 100).await, ["available", "modifying", "storage-optimization"]);
    assert_eq!(site.database().await.allocated_storage(), Some(22));
    let locked = site.modify().allocated_storage(40).send().await;
    assert_eq!(code(locked), "InvalidParameterCombination", "the code of the lock");
    site.modify().backup_retention_period(8).send().await.unwrap();
    let seen = states(&site, 2000).await;
    assert_eq!(seen, ["storage-optimization", "modifying", "storage-optimization", "available"]);
    assert_eq!(code(site.modify().allocated_storage(40).send().await), "InvalidParameterCombination");
    wait(6.0 * 3600.0).await;
    site.modify().allocated_storage(40).send().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_maximum_storage_is_set_and_removed_at_once() {
    let site = Site::with_database().await;
    site.modify().max_allocated_storage(50).send().await.unwrap();
    let database = site.database().await;
    assert_eq!(
        (database.max_allocated_storage(), database.db_instance_status()),
        (Some(50), Some("available"))
    );
    assert_eq!(code(site.modify().max_allocated_storage(21).send().await), "InvalidParameterCombination");
    site.modify().max_allocated_storage(20).send().await.unwrap();
    assert_eq!(site.database().await.max_allocated_storage(), None);
}

#[tokio::test(start_paused = true)]
async fn enabling_backups_takes_one_at_once() {
    let site = Site::open().await;
    site.create().backup_retention_period(0).send().await.unwrap();
    wait(300.0).await;
    site.modify().backup_retention_period(7).send().await.unwrap();
    assert_eq!(states(&site, 150).await, ["available", "modifying", "backing-up", "available"]);
}

#[tokio::test(start_paused = true)]
async fn a_standby_is_created_and_deleted_with_its_interface() {
    let site = Site::with_database().await;
    site.modify().multi_az(true).send().await.unwrap();
    wait(610.0).await;
    let database = site.database().await;
    assert_eq!(
        (database.multi_az(), database.secondary_availability_zone()),
        (Some(true), Some("eu-central-1b"))
    );
    assert_eq!(site.interfaces().await, 2);
    let failover = site.rds.reboot_db_instance().db_instance_identifier("shop").force_failover(true);
    failover.send().await.unwrap();
    wait(61.0).await;
    assert_eq!(site.database().await.availability_zone(), Some("eu-central-1b"));
    site.modify().multi_az(false).send().await.unwrap();
    wait(130.0).await;
    assert_eq!(site.interfaces().await, 1);
}

#[tokio::test(start_paused = true)]
async fn security_groups_are_adding_and_removing_before_they_are_active() {
    let site = Site::with_database().await;
    let made = site.ec2.create_security_group().vpc_id(&site.vpc).group_name("new").description("new");
    let new = made.send().await.unwrap().group_id.unwrap();
    wait(1.0).await;
    site.modify().vpc_security_group_ids(&new).send().await.unwrap();
    let memberships = async || -> Vec<(String, String)> {
        let groups = site.database().await.vpc_security_groups.unwrap();
        groups.into_iter().map(|it| (it.vpc_security_group_id.unwrap(), it.status.unwrap())).collect()
    };
    assert_eq!(
        memberships().await,
        [(site.group.clone(), "removing".to_owned()), (new.clone(), "adding".to_owned())]
    );
    let held = site.ec2.delete_security_group().group_id(&site.group).send().await;
    assert!(held.is_err(), "the interface still has the old group");
    wait(40.0).await;
    assert_eq!(memberships().await, [(new, "active".to_owned())]);
    site.ec2.delete_security_group().group_id(&site.group).send().await.unwrap();
    let other = make_vpc(&site.ec2, "10.1.0.0/16").await;
    let foreign = make_group(&site.ec2, &other).await;
    let refused = site.modify().vpc_security_group_ids(foreign).send().await;
    assert_eq!(code(refused), "InvalidParameterCombination");
}

#[tokio::test(start_paused = true)]
async fn a_change_of_the_parameter_group_waits_for_a_reboot() {
    let site = Site::with_database().await;
    let made = site.rds.create_db_parameter_group().db_parameter_group_name("new").description("d");
    made.db_parameter_group_family("postgres16").send().await.unwrap();
    wait(1.0).await;
    site.modify().db_parameter_group_name("new").send().await.unwrap();
    let held = site.rds.delete_db_parameter_group().db_parameter_group_name("new").send().await;
    assert_eq!(code(held), "InvalidDBParameterGroupState", "a change that is under way holds it too");
    wait(40.0).await;
    let group = site.database().await.db_parameter_groups.unwrap().remove(0);
    assert_eq!(
        (group.db_parameter_group_name(), group.parameter_apply_status()),
        (Some("new"), Some("pending-reboot"))
    );
    site.rds.reboot_db_instance().db_instance_identifier("shop").send().await.unwrap();
    wait(61.0).await;
    let group = site.database().await.db_parameter_groups.unwrap().remove(0);
    assert_eq!(group.parameter_apply_status(), Some("in-sync"));
}

#[tokio::test(start_paused = true)]
async fn versions_only_go_up_and_major_ones_only_when_allowed() {
    let site = Site::with_database().await;
    for (version, allowed) in [("16.2", true), ("15.14", true), ("17.6", false), ("99", true)] {
        let call = site.modify().engine_version(version).allow_major_version_upgrade(allowed);
        assert_eq!(code(call.send().await), "InvalidParameterCombination", "{version}");
    }
    // The current major version is no change.
    site.modify().engine_version("16").send().await.unwrap();
    assert_eq!(states(&site, 30).await, ["available"]);
    site.modify().engine_version("16.10").send().await.unwrap();
    assert_eq!(states(&site, 450).await, ["available", "upgrading", "available"]);
    assert_eq!(site.database().await.engine_version(), Some("16.10"));
    site.modify().engine_version("17").allow_major_version_upgrade(true).send().await.unwrap();
    wait(1000.0).await;
    let database = site.database().await;
    assert_eq!(database.engine_version(), Some("17.7"));
    let group = &database.db_parameter_groups()[0];
    assert_eq!(group.db_parameter_group_name(), Some("default.postgres17"), "the default group goes along");
}

#[tokio::test(start_paused = true)]
async fn a_major_upgrade_needs_a_parameter_group_of_its_family() {
    let site = Site::open().await;
    for major in ["16", "17"] {
        let made = site.rds.create_db_parameter_group().db_parameter_group_name(format!("pg{major}"));
        made.db_parameter_group_family(format!("postgres{major}")).description("d").send().await.unwrap();
    }
    wait(1.0).await;
    site.create().db_parameter_group_name("pg16").send().await.unwrap();
    wait(300.0).await;
    let upgrade = || site.modify().engine_version("17").allow_major_version_upgrade(true);
    assert_eq!(code(upgrade().send().await), "InvalidParameterCombination");
    upgrade().db_parameter_group_name("pg17").send().await.unwrap();
    wait(1000.0).await;
    let group = site.database().await.db_parameter_groups.unwrap().remove(0);
    assert_eq!(
        (group.db_parameter_group_name(), group.parameter_apply_status()),
        (Some("pg17"), Some("in-sync"))
    );
}

#[tokio::test(start_paused = true)]
async fn the_master_password_moves_between_managed_and_given() {
    let site = Site::with_database().await;
    let by_hand = || site.modify().master_user_password("correct-horse");
    assert_eq!(code(by_hand().send().await), "InvalidParameterCombination", "RDS keeps it");
    let dropped = site.modify().manage_master_user_password(false).send().await;
    assert_eq!(code(dropped), "InvalidParameterCombination", "a password has to be set");
    by_hand().manage_master_user_password(false).send().await.unwrap();
    assert_eq!(states(&site, 80).await, ["available", "resetting-master-credentials", "available"]);
    assert!(site.database().await.master_user_secret().is_none());
    assert_eq!(site.kinds(), ["AWS::RDS::DBSubnetGroup", "AWS::RDS::DBInstance"]);
    site.modify().manage_master_user_password(true).send().await.unwrap();
    let status = async || site.database().await.master_user_secret.unwrap().secret_status.unwrap();
    assert_eq!(status().await, "creating");
    wait(70.0).await;
    assert_eq!(status().await, "active");
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_is_not_available_takes_no_change() {
    let site = Site::open().await;
    site.create().send().await.unwrap();
    wait(10.0).await;
    assert_eq!(code(site.modify().multi_az(true).send().await), "InvalidDBInstanceState");
    assert_eq!(code(site.modify().deletion_protection(true).send().await), "InvalidDBInstanceState");
    let reboot = site.rds.reboot_db_instance().db_instance_identifier("shop").send().await;
    assert_eq!(code(reboot), "InvalidDBInstanceState");
    let absent = site.rds.modify_db_instance().db_instance_identifier("none").send().await;
    assert_eq!(code(absent), "DBInstanceNotFound");
}

#[tokio::test(start_paused = true)]
async fn invalid_changes_are_refused() {
    let site = Site::with_database().await;
    let new = || site.modify();
    let logs = CloudwatchLogsExportConfiguration::builder().enable_log_types("slowquery").build();
    let cases = vec![
        ("a class", new().db_instance_class("db.x"), "InvalidParameterValue"),
        ("backups", new().backup_retention_period(36), "InvalidParameterValue"),
        ("a storage type", new().storage_type("sc1"), "StorageTypeNotSupported"),
        ("operations", new().iops(5000), "InvalidParameterCombination"),
        ("a port", new().db_port_number(22), "InvalidParameterValue"),
        ("a certificate", new().ca_certificate_identifier("none"), "CertificateNotFound"),
        ("a parameter group", new().db_parameter_group_name("none"), "DBParameterGroupNotFound"),
        ("a security group", new().vpc_security_group_ids("sg-00000000000000fff"), "InvalidParameterValue"),
        ("a window", new().preferred_maintenance_window("sometimes"), "InvalidParameterValue"),
        ("public access", new().publicly_accessible(true), "InvalidVPCNetworkStateFault"),
        (
            "a rotation that waits",
            new().apply_immediately(false).rotate_master_user_password(true),
            "InvalidParameterCombination",
        ),
        ("a log", new().cloudwatch_logs_export_configuration(logs), "InvalidParameterCombination"),
        (
            "insights that are off",
            new().performance_insights_retention_period(7),
            "InvalidParameterCombination",
        ),
        ("overlapping windows", new().preferred_backup_window("04:00-05:00"), "InvalidParameterCombination"),
        ("a large ceiling", new().max_allocated_storage(65_537), "InvalidParameterCombination"),
        ("throughput", new().storage_throughput(500), "InvalidParameterCombination"),
        (
            "a password",
            new().manage_master_user_password(false).master_user_password("short"),
            "InvalidParameterValue",
        ),
        ("what is not simulated", new().new_db_instance_identifier("other"), "UnknownParameter"),
    ];
    for (what, call, wanted) in cases {
        assert_eq!(code(call.send().await), wanted, "{what}");
    }
    assert_eq!(states(&site, 30).await, ["available"]);
}

#[tokio::test(start_paused = true)]
async fn a_password_that_rds_does_not_keep_is_not_rotated() {
    let site = Site::with_database().await;
    site.modify()
        .manage_master_user_password(false)
        .master_user_password("correct-horse")
        .send()
        .await
        .unwrap();
    wait(80.0).await;
    let refused = "InvalidParameterValue";
    assert_eq!(code(site.modify().rotate_master_user_password(true).send().await), refused);
    assert_eq!(code(site.modify().master_user_secret_kms_key_id("k").send().await), refused);
    site.modify().master_user_password("battery-staple").send().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_instance_in_the_middle_of_a_change_is_neither_stopped_nor_restarted() {
    let site = Site::with_database().await;
    site.modify().db_instance_class("db.t4g.small").send().await.unwrap();
    assert_eq!(site.status().await, "available", "the status shows the change some seconds later");
    let restart = || site.rds.reboot_db_instance().db_instance_identifier("shop").send();
    let stop = || site.rds.stop_db_instance().db_instance_identifier("shop").send();
    for _ in 0..2 {
        assert_eq!(code(restart().await), "InvalidDBInstanceState");
        assert_eq!(code(stop().await), "InvalidDBInstanceState");
        wait(60.0).await;
    }
    wait(310.0).await;
    restart().await.unwrap();
    let start = site.rds.start_db_instance().db_instance_identifier("shop").send().await;
    assert_eq!(code(start), "InvalidDBInstanceState");
}
