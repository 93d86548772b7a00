//! Subnet groups and parameter groups.

use aws_sdk_rds::types::{ApplyMethod, Parameter, Tag};

use crate::site::{Site, code, make_subnet, make_vpc, refusal, wait};

fn parameter(name: &str, value: &str, method: ApplyMethod) -> Parameter {
    Parameter::builder().parameter_name(name).parameter_value(value).apply_method(method).build()
}

fn tag(key: &str, value: &str) -> Tag {
    Tag::builder().key(key).value(value).build()
}

#[tokio::test(start_paused = true)]
async fn a_subnet_group_is_visible_a_moment_after_its_creation() {
    let site = Site::bare().await;
    let made =
        site.rds.create_db_subnet_group().db_subnet_group_name("Shop").db_subnet_group_description("d");
    let made = made.set_subnet_ids(Some(site.subnets.clone())).tags(tag("stackdrop:stack", "shop"));
    let made = made.send().await.unwrap().db_subnet_group.unwrap();
    assert_eq!(made.db_subnet_group_name(), Some("shop"), "RDS keeps names in lower case");
    let read = || site.rds.describe_db_subnet_groups().db_subnet_group_name("shop").send();
    assert!(read().await.unwrap_err().into_service_error().is_db_subnet_group_not_found_fault());
    let early = site.create().send().await.unwrap_err();
    assert!(early.into_service_error().is_db_subnet_group_not_found_fault());
    wait(0.5).await;
    let group = read().await.unwrap().db_subnet_groups.unwrap().remove(0);
    assert_eq!((group.vpc_id(), group.subnet_group_status()), (Some(site.vpc.as_str()), Some("Complete")));
    let zones: Vec<_> =
        group.subnets().iter().filter_map(|it| it.subnet_availability_zone()?.name()).collect();
    assert_eq!(zones, ["eu-central-1a", "eu-central-1b", "eu-central-1c"]);
    let arn = group.db_subnet_group_arn().unwrap();
    let tags = site.rds.list_tags_for_resource().resource_name(arn).send().await.unwrap();
    assert_eq!(tags.tag_list(), [tag("stackdrop:stack", "shop")]);
}

#[tokio::test(start_paused = true)]
async fn invalid_subnet_groups_are_refused() {
    let site = Site::open().await;
    let other_vpc = make_vpc(&site.ec2, "10.1.0.0/16").await;
    let foreign = make_subnet(&site.ec2, &other_vpc, "10.1.0.0/24", "b").await;
    wait(5.0).await;
    let [a, b] = [&site.subnets[0], &site.subnets[1]].map(String::clone);
    let new = |name: &str, subnets: &[&String]| {
        let call =
            site.rds.create_db_subnet_group().db_subnet_group_name(name).db_subnet_group_description("d");
        call.set_subnet_ids(Some(subnets.iter().map(|id| (*id).clone()).collect())).send()
    };
    assert_eq!(code(new("shop", &[&a, &b]).await), "DBSubnetGroupAlreadyExists");
    assert_eq!(code(new("one", &[&a]).await), "DBSubnetGroupDoesNotCoverEnoughAZs");
    assert_eq!(code(new("twice", &[&a, &a]).await), "DBSubnetGroupDoesNotCoverEnoughAZs");
    assert_eq!(code(new("none", &[&a, &"subnet-00000000000000fff".to_owned()]).await), "InvalidSubnet");
    assert_eq!(code(new("mixed", &[&a, &foreign]).await), "InvalidSubnet");
    assert_eq!(code(new("default", &[&a, &b]).await), "InvalidParameterValue");
    assert_eq!(code(new("a/b", &[&a, &b]).await), "InvalidParameterValue");
    assert_eq!(code(new("many", &[&a; 21]).await), "DBSubnetQuotaExceededFault");
    for number in 1..50 {
        new(&format!("group-{number}"), &[&a, &b]).await.unwrap();
    }
    assert_eq!(code(new("last", &[&a, &b]).await), "DBSubnetGroupQuotaExceeded");
}

#[tokio::test(start_paused = true)]
async fn a_subnet_group_changes_in_place_but_keeps_subnets_in_use() {
    let site = Site::with_database().await;
    let database = site.database().await;
    assert_eq!(database.availability_zone(), Some("eu-central-1a"));
    assert!(database.db_subnet_group().unwrap().db_subnet_group_arn().is_none());
    let modify = |subnets: &[String]| {
        let call = site.rds.modify_db_subnet_group().db_subnet_group_name("shop");
        call.set_subnet_ids(Some(subnets.to_vec())).send()
    };
    let (used_code, message) = refusal(modify(&site.subnets[1..]).await);
    assert_eq!(used_code, "SubnetAlreadyInUse");
    assert!(message.contains(&site.subnets[0]), "{message}");
    let changed = modify(&site.subnets[..2]).await.unwrap().db_subnet_group.unwrap();
    assert_eq!(changed.subnets().len(), 2);
    assert_eq!(code(modify(&site.subnets[..1]).await), "DBSubnetGroupDoesNotCoverEnoughAZs");
    let absent = site.rds.modify_db_subnet_group().db_subnet_group_name("none");
    assert_eq!(code(absent.subnet_ids(&site.subnets[0]).send().await), "DBSubnetGroupNotFoundFault");
}

#[tokio::test(start_paused = true)]
async fn groups_in_use_are_not_deleted() {
    let site = Site::open().await;
    make_parameter_group(&site, "shop-postgres16", "postgres16").await;
    wait(1.0).await;
    site.create().db_parameter_group_name("shop-postgres16").send().await.unwrap();
    let subnets = || site.rds.delete_db_subnet_group().db_subnet_group_name("shop").send();
    let parameters =
        || site.rds.delete_db_parameter_group().db_parameter_group_name("shop-postgres16").send();
    let (used, message) = refusal(subnets().await);
    assert_eq!(used, "InvalidDBSubnetGroupStateFault");
    assert!(message.contains("shop is still using it"), "{message}");
    assert_eq!(code(parameters().await), "InvalidDBParameterGroupState");
    site.rds
        .delete_db_instance()
        .db_instance_identifier("shop")
        .skip_final_snapshot(true)
        .send()
        .await
        .unwrap();
    assert_eq!(code(subnets().await), "InvalidDBSubnetGroupStateFault", "it is still being deleted");
    wait(120.0).await;
    subnets().await.unwrap();
    parameters().await.unwrap();
    assert_eq!(code(subnets().await), "DBSubnetGroupNotFoundFault");
    assert_eq!(code(parameters().await), "DBParameterGroupNotFound");
    assert_eq!(site.kinds(), [""; 0]);
}

async fn make_parameter_group(site: &Site, name: &str, family: &str) {
    let made = site.rds.create_db_parameter_group().db_parameter_group_name(name);
    made.db_parameter_group_family(family).description("d").send().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_parameter_group_tells_set_values_from_defaults() {
    let site = Site::bare().await;
    make_parameter_group(&site, "shop", "postgres14").await;
    let modify = |parameter: Parameter| {
        site.rds.modify_db_parameter_group().db_parameter_group_name("shop").parameters(parameter).send()
    };
    let early = modify(parameter("rds.force_ssl", "1", ApplyMethod::Immediate)).await;
    assert_eq!(code(early), "DBParameterGroupNotFound", "it shows a moment later");
    wait(0.5).await;
    modify(parameter("rds.force_ssl", "1", ApplyMethod::Immediate)).await.unwrap();
    let read = async |source: &str| {
        let call = site.rds.describe_db_parameters().db_parameter_group_name("shop").source(source);
        let all: Vec<_> = call.into_paginator().items().send().try_collect().await.unwrap();
        all
    };
    let set = read("user").await;
    assert_eq!((set.len(), set[0].parameter_name()), (1, Some("rds.force_ssl")));
    assert_eq!((set[0].parameter_value(), set[0].apply_type()), (Some("1"), Some("dynamic")));
    assert!(read("system").await.iter().any(|it| it.parameter_name() == Some("shared_buffers")));
    assert!(read("engine-default").await.iter().all(|it| it.parameter_value().is_none()));
    let newer = || site.rds.modify_db_parameter_group().db_parameter_group_name("newer");
    make_parameter_group(&site, "newer", "postgres17").await;
    wait(0.5).await;
    newer().parameters(parameter("rds.force_ssl", "1", ApplyMethod::Immediate)).send().await.unwrap();
    let call = site.rds.describe_db_parameters().db_parameter_group_name("newer").source("user");
    assert_eq!(call.send().await.unwrap().parameters(), [], "the default of PostgreSQL 17 is not the user's");
    let reset = site.rds.reset_db_parameter_group().db_parameter_group_name("shop");
    reset.reset_all_parameters(true).send().await.unwrap();
    assert_eq!(read("user").await, []);
    let own = site.rds.describe_db_parameters().db_parameter_group_name("default.postgres17");
    let own: Vec<_> = own.into_paginator().items().send().try_collect().await.unwrap();
    let forced = own.iter().find(|it| it.parameter_name() == Some("rds.force_ssl")).unwrap();
    assert_eq!(forced.parameter_value(), Some("1"), "TLS is forced by default since PostgreSQL 15");
}

#[tokio::test(start_paused = true)]
async fn invalid_parameters_are_refused() {
    let site = Site::bare().await;
    make_parameter_group(&site, "shop", "postgres17").await;
    wait(1.0).await;
    let modify = |name: &str, value: &str, method: ApplyMethod| {
        let call = site.rds.modify_db_parameter_group().db_parameter_group_name("shop");
        call.parameters(parameter(name, value, method)).send()
    };
    let immediate = ApplyMethod::Immediate;
    let cases = [
        ("unknown", "1", "InvalidParameterValue"),
        ("rds.force_ssl", "yes", "InvalidParameterValue"),
        ("work_mem", "63", "InvalidParameterValue"),
        ("ssl", "0", "InvalidParameterValue"),
        ("max_connections", "100", "InvalidParameterCombination"),
    ];
    for (name, value, wanted) in cases {
        assert_eq!(code(modify(name, value, immediate.clone()).await), wanted, "{name}");
    }
    let default = site.rds.modify_db_parameter_group().db_parameter_group_name("default.postgres17");
    let default = default.parameters(parameter("work_mem", "128", immediate.clone())).send().await;
    assert_eq!(code(default), "InvalidParameterValue");
    let many = site.rds.modify_db_parameter_group().db_parameter_group_name("shop");
    let many = many.set_parameters(Some(vec![parameter("work_mem", "128", immediate); 21])).send().await;
    assert_eq!(code(many), "InvalidParameterValue");
    let default =
        site.rds.delete_db_parameter_group().db_parameter_group_name("default.postgres17").send().await;
    assert_eq!(code(default), "InvalidDBParameterGroupState");
    let new = |name: &str, family: &str| {
        let call = site.rds.create_db_parameter_group().db_parameter_group_name(name).description("d");
        call.db_parameter_group_family(family).send()
    };
    assert_eq!(code(new("shop", "postgres17").await), "DBParameterGroupAlreadyExists");
    assert_eq!(code(new("other", "postgres12").await), "InvalidParameterValue");
    assert_eq!(code(new("other", "mysql8.0").await), "InvalidParameterValue");
    assert_eq!(code(new("a--b", "postgres17").await), "InvalidParameterValue");
    for number in 1..50 {
        new(&format!("group-{number}"), "postgres17").await.unwrap();
    }
    assert_eq!(code(new("last", "postgres17").await), "DBParameterGroupQuotaExceeded");
}

#[tokio::test(start_paused = true)]
async fn a_static_parameter_waits_for_a_reboot() {
    let site = Site::open().await;
    make_parameter_group(&site, "shop", "postgres16").await;
    wait(1.0).await;
    site.create().db_parameter_group_name("shop").send().await.unwrap();
    wait(300.0).await;
    let apply = async || {
        let group = site.database().await.db_parameter_groups.unwrap().remove(0);
        group.parameter_apply_status.unwrap()
    };
    let modify = |parameter: Parameter| {
        site.rds.modify_db_parameter_group().db_parameter_group_name("shop").parameters(parameter).send()
    };
    modify(parameter("work_mem", "128", ApplyMethod::Immediate)).await.unwrap();
    assert_eq!(apply().await, "in-sync");
    modify(parameter("max_connections", "100", ApplyMethod::PendingReboot)).await.unwrap();
    assert_eq!(apply().await, "pending-reboot");
    site.rds.reboot_db_instance().db_instance_identifier("shop").send().await.unwrap();
    assert_eq!(site.status().await, "rebooting");
    assert_eq!(code(site.modify().multi_az(true).send().await), "InvalidDBInstanceState");
    wait(60.0).await;
    assert_eq!((site.status().await.as_str(), apply().await.as_str()), ("available", "in-sync"));
    let failover =
        site.rds.reboot_db_instance().db_instance_identifier("shop").force_failover(true).send().await;
    assert_eq!(code(failover), "InvalidParameterCombination");
}

#[tokio::test(start_paused = true)]
async fn tags_are_added_and_removed_by_arn() {
    let site = Site::open().await;
    let arn = "arn:aws:rds:eu-central-1:123456789012:subgrp:shop";
    let add = |arn: &str, tag: Tag| site.rds.add_tags_to_resource().resource_name(arn).tags(tag).send();
    add(arn, tag("a", "1")).await.unwrap();
    add(arn, tag("a", "2")).await.unwrap();
    add(arn, tag("b", "3")).await.unwrap();
    site.rds.remove_tags_from_resource().resource_name(arn).tag_keys("b").send().await.unwrap();
    let tags = site.rds.list_tags_for_resource().resource_name(arn).send().await.unwrap();
    assert_eq!(tags.tag_list(), [tag("a", "2")]);
    let base = "arn:aws:rds:eu-central-1:123456789012";
    for (arn, wanted) in [
        (format!("{base}:subgrp:none"), "DBSubnetGroupNotFoundFault"),
        (format!("{base}:pg:none"), "DBParameterGroupNotFound"),
        (format!("{base}:db:none"), "DBInstanceNotFound"),
        (format!("{base}:snapshot:none"), "DBSnapshotNotFound"),
        (format!("{base}:thing:none"), "InvalidParameterValue"),
        ("shop".to_owned(), "InvalidParameterValue"),
    ] {
        assert_eq!(code(add(&arn, tag("a", "1")).await), wanted, "{arn}");
    }
    assert_eq!(code(add(arn, tag("aws:a", "1")).await), "InvalidParameterValue");
    assert_eq!(code(add(arn, tag("a", &"v".repeat(257))).await), "InvalidParameterValue");
    let twice = site.rds.add_tags_to_resource().resource_name(arn).tags(tag("a", "1")).tags(tag("a", "2"));
    assert_eq!(code(twice.send().await), "InvalidParameterValue");
    let many = (0..50).map(|number| tag(&format!("t{number}"), "")).collect();
    let many = site.rds.add_tags_to_resource().resource_name(arn).set_tags(Some(many)).send().await;
    assert_eq!(code(many), "InvalidParameterValue");
}
