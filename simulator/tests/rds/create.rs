//! The creation of an instance.

use stackdrop_simulator::{Fault, FaultKind, When};

use crate::common::{account, sdk};
use crate::site::{AVAILABLE_SECONDS, Site, code, make_group, make_subnet, make_vpc, wait};

#[tokio::test(start_paused = true)]
async fn an_instance_is_created_backed_up_and_then_available() {
    let site = Site::open().await;
    let made = site.create().send().await.unwrap().db_instance.unwrap();
    assert_eq!(made.db_instance_status(), Some("creating"));
    assert!(made.endpoint().is_none());
    let secret = made.master_user_secret().unwrap();
    assert_eq!(secret.secret_status(), Some("creating"));
    assert!(secret.secret_arn().unwrap().contains(":secret:rds!db-"));
    let early = site.rds.describe_db_instances().db_instance_identifier("shop").send().await;
    assert!(
        early.unwrap_err().into_service_error().is_db_instance_not_found_fault(),
        "it shows a moment later"
    );
    assert_eq!(site.rds.describe_db_instances().send().await.unwrap().db_instances().len(), 0);
    wait(60.0).await;
    let database = site.database().await;
    assert_eq!(database.master_user_secret().unwrap().secret_status(), Some("active"));
    assert!(database.endpoint().is_none() && database.instance_create_time().is_none());
    assert_eq!(site.interfaces().await, 1);
    wait(150.0).await;
    let database = site.database().await;
    assert_eq!(database.db_instance_status(), Some("creating"));
    let endpoint = database.endpoint().expect("the endpoint comes late, and before the end");
    assert!(endpoint.address().unwrap().starts_with("shop."));
    assert_eq!(endpoint.port(), Some(5432));
    wait(30.0).await;
    assert_eq!(site.status().await, "backing-up");
    wait(35.0).await;
    let database = site.database().await;
    assert_eq!(database.db_instance_status(), Some("available"));
    assert!(database.instance_create_time().is_some());
    assert_eq!((database.engine_version(), database.db_name()), (Some("16.9"), Some("app")));
    assert_eq!((database.storage_encrypted(), database.publicly_accessible()), (Some(true), Some(false)));
    assert_eq!((database.iops(), database.storage_throughput()), (Some(3000), Some(125)));
    assert_eq!(database.vpc_security_groups()[0].status(), Some("active"));
    assert_eq!(database.db_parameter_groups()[0].db_parameter_group_name(), Some("default.postgres16"));
    assert_eq!(site.kinds(), ["AWS::RDS::DBSubnetGroup", "AWS::RDS::DBInstance"]);
    let cost: f64 = site.account.inventory().iter().map(|item| item.monthly_usd).sum();
    let wanted = 0.016 * 1.19 * 730.0 + 20.0 * 0.137 + 0.40;
    assert!((cost - wanted).abs() < 0.001, "{cost}");
}

#[tokio::test(start_paused = true)]
async fn an_instance_without_backups_skips_backing_up() {
    let site = Site::open().await;
    site.create().backup_retention_period(0).send().await.unwrap();
    let mut seen = Vec::new();
    wait(1.0).await;
    for _ in 0..60 {
        let status = site.status().await;
        if seen.last() != Some(&status) {
            seen.push(status);
        }
        wait(5.0).await;
    }
    assert_eq!(seen, ["creating", "available"]);
}

#[tokio::test(start_paused = true)]
async fn a_standby_takes_half_as_long_again_and_needs_a_second_interface() {
    let site = Site::open().await;
    site.create().multi_az(true).send().await.unwrap();
    wait(AVAILABLE_SECONDS + 5.0).await;
    assert_eq!(site.status().await, "creating");
    wait(AVAILABLE_SECONDS / 2.0).await;
    let database = site.database().await;
    assert_eq!((database.db_instance_status(), database.multi_az()), (Some("available"), Some(true)));
    assert_eq!(
        (database.availability_zone(), database.secondary_availability_zone()),
        (Some("eu-central-1a"), Some("eu-central-1b"))
    );
    assert_eq!(site.interfaces().await, 2);
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_fails_stays_failed_and_gives_a_reason() {
    let site = Site::open().await;
    site.account.arm(Fault::at("rds", "CreateDBInstance", When::Only(1), FaultKind::ResourceFails));
    site.create().send().await.unwrap();
    wait(100.0).await;
    assert_eq!(site.status().await, "creating");
    wait(AVAILABLE_SECONDS).await;
    let database = site.database().await;
    assert_eq!(database.db_instance_status(), Some("failed"));
    assert!(database.endpoint().is_none());
    assert_eq!(code(site.modify().multi_az(true).send().await), "InvalidDBInstanceState");
    let events = site.rds.describe_events().source_identifier("shop").source_type("db-instance".into());
    let events = events.send().await.unwrap();
    assert_eq!(events.events().len(), 1);
    assert_eq!(events.events()[0].event_categories(), ["failure"]);
    let delete = || site.rds.delete_db_instance().db_instance_identifier("shop");
    let kept = delete().final_db_snapshot_identifier("last").send().await;
    assert_eq!(code(kept), "InvalidDBInstanceState");
    delete().skip_final_snapshot(true).send().await.unwrap();
    wait(120.0).await;
    assert_eq!(site.kinds(), ["AWS::RDS::DBSubnetGroup"]);
}

#[tokio::test(start_paused = true)]
async fn events_report_the_creation_with_its_times() {
    let site = Site::with_database().await;
    let events = || site.rds.describe_events().source_type("db-instance".into()).source_identifier("shop");
    let all = events().send().await.unwrap();
    let messages: Vec<_> = all.events().iter().filter_map(|event| event.message()).collect();
    assert_eq!(messages, ["DB instance created", "Backing up DB instance", "Finished DB Instance backup"]);
    let dates: Vec<_> = all.events().iter().filter_map(|event| event.date()).collect();
    assert_eq!(dates[2].secs() - dates[1].secs(), 45);
    let of_one = events().event_categories("creation").send().await.unwrap();
    assert_eq!(of_one.events().len(), 1);
    wait(2.0 * 3600.0).await;
    assert_eq!(events().send().await.unwrap().events(), [], "an hour is the default");
    assert_eq!(events().duration(1440).send().await.unwrap().events().len(), 3);
    assert_eq!(events().start_time(*dates[0]).send().await.unwrap().events().len(), 3);
    assert_eq!(code(events().duration(20_161).send().await), "InvalidParameterValue");
    let kindless = site.rds.describe_events().source_identifier("shop").send().await;
    assert_eq!(code(kindless), "InvalidParameterCombination");
}

#[tokio::test(start_paused = true)]
async fn defaults_are_those_of_rds() {
    let site = Site::open().await;
    let call = site.rds.create_db_instance().db_instance_identifier("Shop").engine("postgres");
    let call = call.db_instance_class("db.m7g.large").allocated_storage(400).storage_type("gp3");
    let call =
        call.master_username("stackdrop").master_user_password("correct-horse").db_subnet_group_name("shop");
    let made = call.send().await.unwrap().db_instance.unwrap();
    assert_eq!(made.db_instance_identifier(), Some("shop"));
    assert_eq!(made.engine_version(), Some("17.7"), "the default minor version of the default major version");
    assert_eq!(
        (made.iops(), made.storage_throughput()),
        (Some(12_000), Some(500)),
        "large gp3 storage is striped"
    );
    assert_eq!((made.backup_retention_period(), made.auto_minor_version_upgrade()), (Some(1), Some(true)));
    assert_eq!((made.storage_encrypted(), made.deletion_protection()), (Some(false), Some(false)));
    assert!(made.master_user_secret().is_none());
    let groups = site
        .ec2
        .describe_security_groups()
        .group_ids(made.vpc_security_groups()[0].vpc_security_group_id().unwrap());
    let groups = groups.send().await.unwrap();
    assert_eq!(groups.security_groups()[0].group_name(), Some("default"));
}

#[tokio::test(start_paused = true)]
async fn a_database_is_public_by_default_where_the_vpc_has_an_internet_gateway() {
    let site = Site::open().await;
    let gateway = site.ec2.create_internet_gateway().send().await.unwrap().internet_gateway.unwrap();
    let gateway = gateway.internet_gateway_id.unwrap();
    wait(5.0).await;
    site.ec2.attach_internet_gateway().internet_gateway_id(&gateway).vpc_id(&site.vpc).send().await.unwrap();
    wait(5.0).await;
    for (name, asked, public) in [("open", None, true), ("closed", Some(false), false)] {
        let call = site.create().db_instance_identifier(name).set_publicly_accessible(asked);
        let made = call.send().await.unwrap().db_instance.unwrap();
        assert_eq!(made.publicly_accessible(), Some(public), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_identifier_is_taken_until_its_instance_is_gone() {
    let site = Site::open().await;
    site.create().send().await.unwrap();
    let taken = || async { code(site.create().send().await) };
    assert_eq!(taken().await, "DBInstanceAlreadyExists");
    site.rds
        .delete_db_instance()
        .db_instance_identifier("shop")
        .skip_final_snapshot(true)
        .send()
        .await
        .unwrap_err();
    wait(1.0).await;
    site.rds
        .delete_db_instance()
        .db_instance_identifier("shop")
        .skip_final_snapshot(true)
        .send()
        .await
        .unwrap();
    assert_eq!(taken().await, "DBInstanceAlreadyExists");
    wait(120.0).await;
    site.create().send().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn invalid_instances_are_refused() {
    let site = Site::open().await;
    let parameters = site.rds.create_db_parameter_group().db_parameter_group_name("pg17").description("d");
    parameters.db_parameter_group_family("postgres17").send().await.unwrap();
    wait(1.0).await;
    let new = || site.create();
    let with_password = || {
        site.rds
            .create_db_instance()
            .db_instance_identifier("shop")
            .engine("postgres")
            .db_instance_class("db.t4g.micro")
            .allocated_storage(20)
            .master_username("stackdrop")
            .db_subnet_group_name("shop")
    };
    let value = "InvalidParameterValue";
    let combination = "InvalidParameterCombination";
    let cases = vec![
        ("an identifier with an underscore", new().db_instance_identifier("a_b"), value),
        ("an identifier with two hyphens", new().db_instance_identifier("a--b"), value),
        ("an identifier that ends with a hyphen", new().db_instance_identifier("a-"), value),
        ("an identifier that begins with a digit", new().db_instance_identifier("1a"), value),
        ("a long identifier", new().db_instance_identifier("a".repeat(64)), value),
        ("another engine", new().engine("mysql"), value),
        ("an unknown version", new().engine_version("16.99"), combination),
        ("an unknown class", new().db_instance_class("db.t4g.nano"), value),
        ("a class without its prefix", new().db_instance_class("t4g.micro"), value),
        ("little storage", new().allocated_storage(19), combination),
        ("much storage", new().allocated_storage(65_537), combination),
        ("an unknown storage type", new().storage_type("sc1"), "StorageTypeNotSupported"),
        ("operations for little storage", new().iops(12_000), combination),
        ("throughput for little storage", new().storage_throughput(500), combination),
        ("too few operations", new().allocated_storage(400).iops(3000), combination),
        ("too much throughput", new().allocated_storage(400).storage_throughput(4001), value),
        ("operations for gp2", new().storage_type("gp2").iops(3000), combination),
        ("io1 without operations", new().storage_type("io1").allocated_storage(100), combination),
        ("a ceiling below the storage", new().max_allocated_storage(10), combination),
        ("a ceiling at the storage", new().max_allocated_storage(20), combination),
        ("a ceiling too close to the storage", new().max_allocated_storage(21), combination),
        ("long backups", new().backup_retention_period(36), value),
        ("negative backups", new().backup_retention_period(-1), value),
        ("a malformed window", new().preferred_backup_window("2-3"), value),
        (
            "overlapping windows",
            new().preferred_backup_window("04:00-05:00").preferred_maintenance_window("mon:04:30-mon:05:30"),
            combination,
        ),
        ("a reserved user", new().master_username("admin"), value),
        ("a user of RDS", new().master_username("rdsadmin"), value),
        ("a user of PostgreSQL", new().master_username("pg_shop"), value),
        ("a word of SQL as user", new().master_username("User"), value),
        ("a user that begins with a digit", new().master_username("1a"), value),
        ("no user", new().master_username(""), value),
        ("a database name with a hyphen", new().db_name("a-b"), value),
        ("a database name that begins with an underscore", new().db_name("_a"), value),
        ("a word of SQL as database name", new().db_name("select"), value),
        ("a long database name", new().db_name("a".repeat(64)), value),
        ("two passwords", new().master_user_password("correct-horse"), combination),
        ("no password", with_password(), value),
        ("a short password", with_password().master_user_password("1234567"), value),
        ("a password with a slash", with_password().master_user_password("correct/horse"), value),
        ("a secret's key without a secret", with_password().master_user_secret_kms_key_id("k"), combination),
        ("a key without encryption", new().storage_encrypted(false).kms_key_id("k"), combination),
        ("an absent subnet group", new().db_subnet_group_name("none"), "DBSubnetGroupNotFoundFault"),
        ("no subnet group", new().set_db_subnet_group_name(None), "InvalidSubnet"),
        ("an absent parameter group", new().db_parameter_group_name("none"), "DBParameterGroupNotFound"),
        ("another family's parameter group", new().db_parameter_group_name("pg17"), combination),
        ("an absent security group", new().vpc_security_group_ids("sg-00000000000000fff"), value),
        ("a low port", new().port(80), value),
        ("a zone beside the group", new().availability_zone("eu-central-1d"), "InvalidVPCNetworkStateFault"),
        ("a zone and a standby", new().multi_az(true).availability_zone("eu-central-1a"), combination),
        ("a public database in a closed VPC", new().publicly_accessible(true), "InvalidVPCNetworkStateFault"),
        ("an unknown certificate", new().ca_certificate_identifier("rds-ca-2019"), "CertificateNotFound"),
        ("an unknown log", new().enable_cloudwatch_logs_exports("slowquery"), combination),
        ("insights that are off", new().performance_insights_retention_period(7), combination),
        (
            "an odd retention of insights",
            new().enable_performance_insights(true).performance_insights_retention_period(8),
            value,
        ),
        ("an absent option group", new().option_group_name("mine"), "OptionGroupNotFoundFault"),
        ("another licence", new().license_model("general-public-license"), value),
        ("what is not simulated", new().promotion_tier(1), "UnknownParameter"),
    ];
    for (what, call, wanted) in cases {
        assert_eq!(code(call.send().await), wanted, "{what}");
    }
    assert_eq!(site.kinds(), ["AWS::RDS::DBSubnetGroup", "AWS::RDS::DBParameterGroup"], "nothing was made");
    assert_eq!(site.interfaces().await, 0);
}

#[tokio::test(start_paused = true)]
async fn an_instance_takes_security_groups_of_its_own_vpc_only() {
    let site = Site::open().await;
    let other = make_vpc(&site.ec2, "10.1.0.0/16").await;
    let foreign = make_group(&site.ec2, &other).await;
    let refused = site.create().set_vpc_security_group_ids(Some(vec![foreign])).send().await;
    assert_eq!(code(refused), "InvalidParameterCombination");
}

#[tokio::test(start_paused = true)]
async fn an_instance_class_is_not_offered_in_every_zone() {
    let site = Site::bare().await;
    let call =
        site.rds.create_db_subnet_group().db_subnet_group_name("shop").db_subnet_group_description("d");
    call.set_subnet_ids(Some(site.subnets[1..].to_vec())).send().await.unwrap();
    wait(1.0).await;
    let old = || site.create().db_instance_class("db.m5.large");
    assert_eq!(code(old().multi_az(true).send().await), "InsufficientDBInstanceCapacity");
    assert_eq!(code(old().availability_zone("eu-central-1c").send().await), "InsufficientDBInstanceCapacity");
    let made = old().send().await.unwrap().db_instance.unwrap();
    assert_eq!(made.availability_zone(), Some("eu-central-1b"));
}

#[tokio::test(start_paused = true)]
async fn settings_beyond_the_limits_of_rds_are_refused() {
    let site = Site::open().await;
    let new = || site.create();
    let with_password =
        |password: String| new().set_manage_master_user_password(None).master_user_password(password);
    let (value, combination) = ("InvalidParameterValue", "InvalidParameterCombination");
    let cases = vec![
        ("another network", new().network_type("DUAL"), value),
        ("enhanced monitoring", new().monitoring_interval(60), value),
        ("an unknown support", new().engine_lifecycle_support("forever"), value),
        ("no storage", new().set_allocated_storage(None), value),
        ("a short window", new().preferred_backup_window("02:00-02:29"), value),
        (
            "throughput for gp2",
            new().storage_type("gp2").allocated_storage(400).storage_throughput(500),
            combination,
        ),
        ("too many operations", new().storage_type("io1").allocated_storage(100).iops(256_001), combination),
        ("a high port", new().port(65_536), value),
        ("a database that always exists", new().db_name("template1"), value),
        ("a long user", new().master_username("a".repeat(64)), value),
        ("a long password", with_password("a".repeat(129)), value),
        ("a password with a blank", with_password("correct horse".into()), value),
    ];
    for (what, call, wanted) in cases {
        assert_eq!(code(call.send().await), wanted, "{what}");
    }
    with_password("a".repeat(128)).send().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_first_subnet_group_of_an_account_waits_for_the_service_linked_role() {
    let account = account();
    let (ec2, rds) = (aws_sdk_ec2::Client::new(&sdk(&account)), aws_sdk_rds::Client::new(&sdk(&account)));
    let vpc = make_vpc(&ec2, "10.0.0.0/16").await;
    let a = make_subnet(&ec2, &vpc, "10.0.0.0/24", "a").await;
    let b = make_subnet(&ec2, &vpc, "10.0.1.0/24", "b").await;
    wait(10.0).await;
    let create = || {
        let call = rds.create_db_subnet_group().db_subnet_group_name("shop").db_subnet_group_description("d");
        call.subnet_ids(&a).subnet_ids(&b).send()
    };
    for _ in 0..2 {
        assert_eq!(code(create().await), "InvalidParameterValue");
    }
    wait(2.0).await;
    create().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_account_has_at_most_100_tib_of_storage() {
    let site = Site::open().await;
    site.create().db_instance_identifier("large").allocated_storage(65_536).send().await.unwrap();
    let create = |size: i32| site.create().allocated_storage(size).send();
    assert_eq!(code(create(100_000 - 65_536 + 1).await), "StorageQuotaExceeded");
    create(100_000 - 65_536).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_account_has_at_most_forty_instances() {
    let site = Site::open().await;
    for number in 0..40 {
        let made = site.create().db_instance_identifier(format!("shop-{number}")).send().await;
        made.unwrap();
        wait(2.0).await;
    }
    assert_eq!(code(site.create().send().await), "InstanceQuotaExceeded");
    let pages = site.rds.describe_db_instances().max_records(20).into_paginator().items().send();
    let all: Vec<_> = pages.try_collect().await.unwrap();
    assert_eq!(all.len(), 40);
    assert_eq!(code(site.rds.describe_db_instances().max_records(5).send().await), "InvalidParameterValue");
    assert_eq!(
        code(site.rds.describe_db_instances().db_instance_identifier("none").send().await),
        "DBInstanceNotFound"
    );
}
