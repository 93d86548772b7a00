//! Changes of a database as RDS really makes them: queued ones, storage and its lock, upgrades that fail, parameters.

use std::time::Duration;

use aws_sdk_rds::operation::modify_db_instance::builders::ModifyDBInstanceFluentBuilder;
use stackdrop::rehearsal::outputs_of;
use stackdrop::{Rehearsal, Setting};
use stackdrop_functions::deployment::outcome::Outcome;
use stackdrop_specs::Spec;

use crate::database_incidents::{DATABASE, cause, database, planned};
use crate::drift_network::ManualChange;
use crate::redeploy;
use crate::{changes, deployed, no_limits, pause, rehearsal, with};

#[tokio::test(start_paused = true)]
async fn a_change_that_waits_for_the_maintenance_window_and_contradicts_the_spec_is_cancelled() {
    let rehearsal = rehearsal(DATABASE);
    deployed(&rehearsal, DATABASE).await;
    for (incident, wanted) in [
        (
            "database-class-queued",
            "instance class: db.r6g.large (waits for the maintenance window) -> db.t4g.micro",
        ),
        ("database-backups-queued", "instance backupDays: 0 (waits for the maintenance window) -> 7"),
        ("database-standby-queued", "instance multiAz: true (waits for the maintenance window) -> false"),
        ("database-upgrade-queued", "instance version: 18.3 (waits for the maintenance window) -> 17.7"),
    ] {
        cause(&rehearsal, incident);
        let repaired = redeploy(&rehearsal).await;
        assert_eq!(repaired.result(), Outcome::Succeeded, "{incident}: {:?}", repaired.error());
        assert_eq!(changes(&repaired), ["rds:ModifyDBInstance"], "{incident}");
        assert_eq!(planned(&rehearsal).await, [wanted], "nothing interrupts the database");
        assert!(repaired.outcome.seconds < 60.0, "{incident}: {} s", repaired.outcome.seconds);
        let next = redeploy(&rehearsal).await;
        assert_eq!((changes(&next), planned(&rehearsal).await), (vec![], vec![]), "after {incident}");
    }
    pause(Duration::from_hours(192)).await;
    let db = database(&rehearsal).await;
    assert_eq!((db.db_instance_class(), db.engine_version()), (Some("db.t4g.micro"), Some("17.7")));
    assert_eq!((db.multi_az(), db.backup_retention_period()), (Some(false), Some(7)));
}

#[tokio::test(start_paused = true)]
async fn what_no_spec_can_set_is_put_right_if_somebody_changes_it() {
    type Change = fn(ModifyDBInstanceFluentBuilder) -> ModifyDBInstanceFluentBuilder;
    let changes_by_hand: [(Change, &str); 3] = [
        (|call| call.copy_tags_to_snapshot(false), "instance copyTagsToSnapshot: false -> true"),
        (|call| call.auto_minor_version_upgrade(false), "instance autoMinorVersionUpgrade: false -> true"),
        (
            |call| call.manage_master_user_password(false).master_user_password("set-by-hand"),
            "instance managedPassword: false -> true",
        ),
    ];
    let rehearsal = rehearsal(DATABASE);
    deployed(&rehearsal, DATABASE).await;
    for (change, wanted) in changes_by_hand {
        let modify = rehearsal.aws().rds().modify_db_instance().db_instance_identifier("shop-database");
        change(modify).apply_immediately(true).send().await.unwrap();
        pause(Duration::from_mins(5)).await;
        let repaired = redeploy(&rehearsal).await;
        assert_eq!(repaired.result(), Outcome::Succeeded, "{wanted}: {:?}", repaired.error());
        let plan = planned(&rehearsal).await;
        assert!(plan.iter().any(|line| line == wanted), "{wanted} is not in {plan:?}");
        let next = redeploy(&rehearsal).await;
        assert_eq!((changes(&next), planned(&rehearsal).await), (vec![], vec![]), "after {wanted}");
    }
    let db = database(&rehearsal).await;
    assert_eq!((db.auto_minor_version_upgrade(), db.copy_tags_to_snapshot()), (Some(true), Some(true)));
    assert!(db.master_user_secret().is_some(), "RDS manages the password");
}

#[tokio::test(start_paused = true)]
async fn a_database_that_somebody_opens_to_the_internet_is_closed_again() {
    let rehearsal = rehearsal(DATABASE);
    let first = deployed(&rehearsal, DATABASE).await;
    // RDS gives no public address without a route to the internet.
    ManualChange::AddDatabaseRoute.apply(&rehearsal, &outputs_of(&first).unwrap()).await;
    pause(Duration::from_mins(1)).await;
    let modify = rehearsal.aws().rds().modify_db_instance().db_instance_identifier("shop-database");
    modify.publicly_accessible(true).apply_immediately(true).send().await.unwrap();
    pause(Duration::from_mins(5)).await;
    let repaired = redeploy(&rehearsal).await;
    assert_eq!(repaired.result(), Outcome::Succeeded, "{:?}", repaired.error());
    let plan = planned(&rehearsal).await;
    assert!(plan.contains(&"instance publiclyAccessible: true -> false".to_owned()), "{plan:?}");
    assert_eq!(database(&rehearsal).await.publicly_accessible(), Some(false));
    assert_eq!(changes(&redeploy(&rehearsal).await), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn another_storage_type_is_changed_back_once_rds_allows_it() {
    let rehearsal = rehearsal(DATABASE);
    deployed(&rehearsal, DATABASE).await;
    let modify = rehearsal.aws().rds().modify_db_instance().db_instance_identifier("shop-database");
    modify.storage_type("gp2").apply_immediately(true).send().await.unwrap();
    // The lock of RDS after a change of the storage.
    pause(Duration::from_hours(13)).await;
    let repaired = redeploy(&rehearsal).await;
    assert_eq!(repaired.result(), Outcome::Succeeded, "{:?}", repaired.error());
    assert_eq!(planned(&rehearsal).await, ["instance storageType: gp2 -> gp3"]);
    assert_eq!(database(&rehearsal).await.storage_type(), Some("gp3"));
}

#[tokio::test(start_paused = true)]
async fn a_queued_change_that_the_spec_allows_is_left_alone_and_never_waited_for() {
    let rehearsal = rehearsal(DATABASE);
    deployed(&rehearsal, DATABASE).await;
    cause(&rehearsal, "database-storage-queued");
    let update = deployed(&rehearsal, &with(DATABASE, "LOG: info", "LOG: debug")).await;
    assert!(!changes(&update).iter().any(|call| call.starts_with("rds:")));
    let plan = planned(&rehearsal).await;
    assert!(plan.len() == 1 && plan[0].contains("waits for the maintenance window (storage 40)"), "{plan:?}");
    // The spec's own change applies it too, and the plan says so.
    let update = with(&with(DATABASE, "LOG: info", "LOG: debug"), "db.t4g.micro", "db.t4g.small");
    deployed(&rehearsal, &update).await;
    let plan = planned(&rehearsal).await;
    assert!(plan.iter().any(|line| line.contains("RDS applies it now")), "{plan:?}");
    assert_eq!(database(&rehearsal).await.allocated_storage(), Some(40));
    assert_eq!(changes(&redeploy(&rehearsal).await), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_change_that_the_spec_takes_over_is_made_at_once() {
    let rehearsal = rehearsal(DATABASE);
    deployed(&rehearsal, DATABASE).await;
    cause(&rehearsal, "database-class-queued");
    deployed(&rehearsal, &with(DATABASE, "db.t4g.micro", "db.r6g.large")).await;
    assert_eq!(database(&rehearsal).await.db_instance_class(), Some("db.r6g.large"));
}

#[tokio::test(start_paused = true)]
async fn a_plan_warns_of_changes_that_interrupt_the_database() {
    for (from, to, interrupts) in [
        ("db.t4g.micro", "db.t4g.small", true),
        ("'17'", "'18'", true),
        ("name: orders", "name: orders, backupDays: 0", true),
        ("name: orders", "name: orders, backupDays: 8", false),
        ("storage: 20", "storage: 30", false),
        ("name: orders", "name: orders, multiAz: true", false),
    ] {
        let rehearsal = rehearsal(DATABASE);
        deployed(&rehearsal, DATABASE).await;
        deployed(&rehearsal, &with(DATABASE, from, to)).await;
        let plan = planned(&rehearsal).await;
        let warned = plan.iter().any(|line| line.contains("interrupts the database"));
        assert_eq!(warned, interrupts, "{to}: {plan:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn storage_that_rds_still_optimizes_is_a_problem_of_the_plan() {
    let rehearsal = rehearsal(DATABASE);
    deployed(&rehearsal, DATABASE).await;
    cause(&rehearsal, "database-storage-grew");
    pause(Duration::from_mins(2)).await;
    let refused = rehearsal.deploy(&with(DATABASE, "storage: 20", "storage: 50"), &()).await.unwrap();
    let error = refused.error().unwrap();
    assert!(
        error.contains("RDS cannot change the storage yet: it still optimizes the storage of 30 GiB"),
        "{error}"
    );
    assert_eq!((changes(&refused), refused.outcome.seconds < 20.0), (vec![], true));
    // Other changes need not wait for it.
    deployed(&rehearsal, &with(DATABASE, "name: orders", "name: orders, backupDays: 8")).await;
    // Once RDS shows no optimization any more, its lock can still stand: AWS's own words tell.
    pause(Duration::from_hours(1)).await;
    let refused = rehearsal.deploy(&with(DATABASE, "storage: 20", "storage: 50"), &()).await.unwrap();
    let error = refused.error().unwrap();
    assert!(error.contains("the previous storage change is being optimized"), "{error}");
    assert_eq!(refused.result(), Outcome::Failed, "it is rolled back");
    pause(Duration::from_hours(6)).await;
    deployed(&rehearsal, &with(DATABASE, "storage: 20", "storage: 50")).await;
}

/// An account in which a database may be large.
fn without_limits(spec: &str) -> Rehearsal {
    let setting = Setting { parameters: no_limits(), ..Setting::default() };
    Rehearsal::open(&setting, &[&Spec::read(spec.as_bytes()).unwrap()]).unwrap()
}

#[tokio::test(start_paused = true)]
async fn storage_from_400_gib_on_grows_with_its_iops() {
    let large = with(&with(DATABASE, "storage: 20", "storage: 400"), "maxStorage: 100", "maxStorage: 2000");
    let rehearsal = without_limits(&large);
    deployed(&rehearsal, &large).await;
    deployed(&rehearsal, &with(&large, "storage: 400", "storage: 500")).await;
    let db = database(&rehearsal).await;
    assert_eq!(
        (db.allocated_storage(), db.iops(), db.storage_throughput()),
        (Some(500), Some(12_000), Some(500))
    );
    let small = with(DATABASE, "maxStorage: 100", "maxStorage: 2000");
    let other = without_limits(&small);
    deployed(&other, &small).await;
    deployed(&other, &with(&small, "storage: 20", "storage: 400")).await;
    assert_eq!(database(&other).await.iops(), Some(12_000), "beyond the threshold");
}

#[tokio::test(start_paused = true)]
async fn a_limit_below_what_is_allocated_is_a_problem_of_the_plan() {
    let rehearsal = rehearsal(DATABASE);
    deployed(&rehearsal, DATABASE).await;
    for _ in 0..4 {
        cause(&rehearsal, "database-storage-grew");
        pause(Duration::from_hours(8)).await;
    }
    assert_eq!(database(&rehearsal).await.allocated_storage(), Some(60));
    for limit in ["50", "60", "65"] {
        let lower = with(DATABASE, "maxStorage: 100", &format!("maxStorage: {limit}"));
        let refused = rehearsal.deploy(&lower, &()).await.unwrap();
        let error = refused.error().unwrap();
        assert!(
            error.contains("RDS has allocated 60 GiB") && error.contains("maxStorage to 66 or more"),
            "{error}"
        );
        assert_eq!(changes(&refused), Vec::<String>::new());
    }
    deployed(&rehearsal, &with(DATABASE, "maxStorage: 100", "maxStorage: 66")).await;
    // Storage that has reached its limit is as the spec says.
    pause(Duration::from_hours(6)).await;
    cause(&rehearsal, "database-storage-grew");
    pause(Duration::from_hours(1)).await;
    let next = redeploy(&rehearsal).await;
    assert_eq!((next.result(), changes(&next)), (Outcome::Succeeded, vec![]), "{:?}", next.error());
}

#[tokio::test(start_paused = true)]
async fn an_upgrade_leads_to_the_newest_version_that_rds_allows() {
    let old = with(DATABASE, "'17'", "'16'");
    let rehearsal = rehearsal(&old);
    deployed(&rehearsal, &old).await;
    // RDS has upgraded the minor version further than its default for new instances.
    for _ in 0..2 {
        cause(&rehearsal, "database-minor-upgraded");
        pause(Duration::from_mins(30)).await;
    }
    assert_eq!(database(&rehearsal).await.engine_version(), Some("16.13"));
    deployed(&rehearsal, DATABASE).await;
    let plan = planned(&rehearsal).await;
    assert!(plan.contains(&"instance version: 16.13 -> 17.9".to_owned()), "{plan:?}");
    assert_eq!(database(&rehearsal).await.engine_version(), Some("17.9"));
}

#[tokio::test(start_paused = true)]
async fn a_failed_upgrade_is_told_within_two_minutes_with_rds_s_reason_and_rolled_back() {
    let rehearsal = rehearsal(DATABASE);
    deployed(&rehearsal, DATABASE).await;
    cause(&rehearsal, "database-upgrade-blocked");
    let failed = rehearsal.deploy(&with(DATABASE, "'17'", "'18'"), &()).await.unwrap();
    let error = failed.error().unwrap();
    assert_eq!(failed.result(), Outcome::Failed, "{error}");
    let told = ["to show its new version", "transactions in prepared state", "pg_upgrade_precheck.log"];
    assert!(told.iter().all(|text| error.contains(text)), "{error}");
    let waited = failed.outcome.steps.iter().find(|step| step.name.starts_with("AwaitDatabase")).unwrap();
    let after_the_upgrade = waited.end - waited.start - 900.0;
    println!("database-upgrade-blocked: {after_the_upgrade:.0} s after the end of the upgrade: {error}");
    assert!(after_the_upgrade < 120.0, "{after_the_upgrade}");
    let db = database(&rehearsal).await;
    assert_eq!(db.engine_version(), Some("17.7"));
    assert_eq!(db.db_parameter_groups()[0].db_parameter_group_name(), Some("shop-postgres17"));
    // The rollback has deleted the parameter group of the other version.
    assert_eq!(changes(&deployed(&rehearsal, DATABASE).await), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn an_instance_of_a_retired_version_can_still_be_changed_and_upgraded() {
    let rehearsal = rehearsal(DATABASE);
    deployed(&rehearsal, DATABASE).await;
    cause(&rehearsal, "database-version-retired");
    assert_eq!(changes(&redeploy(&rehearsal).await), Vec::<String>::new());
    let other = with(DATABASE, "db.t4g.micro", "db.t4g.small");
    deployed(&rehearsal, &other).await;
    deployed(&rehearsal, &with(&other, "'17'", "'18'")).await;
    assert_eq!(database(&rehearsal).await.engine_version(), Some("18.3"));
}

#[tokio::test(start_paused = true)]
async fn a_parameter_group_that_was_replaced_is_put_back_and_takes_effect() {
    for version in ["'14'", "'17'"] {
        let spec = DATABASE.replacen("'17'", version, 1);
        let rehearsal = rehearsal(&spec);
        deployed(&rehearsal, &spec).await;
        assert_eq!(changes(&redeploy(&rehearsal).await), Vec::<String>::new());
        cause(&rehearsal, "database-parameter-group-replaced");
        pause(Duration::from_mins(2)).await;
        let repaired = redeploy(&rehearsal).await;
        assert_eq!(repaired.result(), Outcome::Succeeded, "{:?}", repaired.error());
        let plan = planned(&rehearsal).await;
        assert!(
            plan.iter().any(|line| line.starts_with("instance parameterGroup: default.postgres")),
            "{plan:?}"
        );
        assert!(plan.iter().any(|line| line.contains("interrupts the database")), "{plan:?}");
        let db = database(&rehearsal).await;
        assert_eq!(db.db_parameter_groups()[0].parameter_apply_status(), Some("in-sync"), "{version}");
        assert_eq!(changes(&redeploy(&rehearsal).await), Vec::<String>::new());
    }
}

#[tokio::test(start_paused = true)]
async fn parameters_of_others_are_left_to_them() {
    let rehearsal = rehearsal(DATABASE);
    deployed(&rehearsal, DATABASE).await;
    cause(&rehearsal, "database-parameter-set");
    assert_eq!(changes(&redeploy(&rehearsal).await), Vec::<String>::new());
    let plan = planned(&rehearsal).await;
    assert!(plan.len() == 1 && plan[0].contains("take effect only after a reboot"), "{plan:?}");
    // Without TLS by default, a reset group is repaired: the parameter takes effect without a reboot.
    let old = with(DATABASE, "'17'", "'14'");
    let other = crate::rehearsal(&old);
    deployed(&other, &old).await;
    cause(&other, "database-parameters-reset");
    assert_eq!(changes(&redeploy(&other).await), ["rds:ModifyDBParameterGroup"]);
    assert_eq!(planned(&other).await, ["parameter-group rds.force_ssl: 0 -> 1"]);
}

#[tokio::test(start_paused = true)]
async fn a_database_never_pays_for_extended_support() {
    let old = with(DATABASE, "'17'", "'14'");
    let rehearsal = rehearsal(&old);
    deployed(&rehearsal, &old).await;
    let support = database(&rehearsal).await.engine_lifecycle_support;
    assert_eq!(support.as_deref(), Some("open-source-rds-extended-support-disabled"));
    pause(Duration::from_hours(7200)).await;
    assert_eq!(changes(&redeploy(&rehearsal).await), Vec::<String>::new());
    let plan = planned(&rehearsal).await;
    let told = "RDS supports PostgreSQL 14 until 2027-02-28, and then upgrades the instance by itself";
    assert!(plan.len() == 1 && plan[0].contains(told), "{plan:?}");
    // Nobody can create such an instance after that day.
    pause(Duration::from_hours(4800)).await;
    let new = old.replacen("stack: shop", "stack: other", 1);
    let refused = rehearsal.deploy(&new, &()).await.unwrap();
    let error = refused.error().unwrap();
    assert!(error.contains("RDS ended its standard support of PostgreSQL 14 on 2027-02-28"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn the_first_database_of_an_account_waits_until_rds_sees_its_service_linked_role() {
    let rehearsal = rehearsal(DATABASE);
    let first = deployed(&rehearsal, DATABASE).await;
    let refused = first.calls.iter().filter(|call| call.service == "rds" && call.writes);
    assert!(planned(&rehearsal).await.contains(&"create service-linked-role".to_owned()));
    assert!(refused.filter(|call| call.operation == "CreateDBSubnetGroup").count() > 1);
    assert!(changes(&first).contains(&"iam:CreateServiceLinkedRole".to_owned()));
    let second = DATABASE.replacen("stack: shop", "stack: other", 1);
    let second = deployed(&rehearsal, &second).await;
    assert!(!changes(&second).contains(&"iam:CreateServiceLinkedRole".to_owned()));
}
