//! What RDS offers.

use aws_sdk_rds::primitives::DateTime;
use aws_sdk_rds::types::{ApplyMethod, Filter, Parameter};

use crate::site::{Site, code, wait};

#[tokio::test(start_paused = true)]
async fn versions_are_found_by_major_version_family_and_default() {
    let site = Site::bare().await;
    let ask = || site.rds.describe_db_engine_versions().engine("postgres");
    let versions = async |call: aws_sdk_rds::operation::describe_db_engine_versions::builders::DescribeDBEngineVersionsFluentBuilder| {
        let found = call.send().await.unwrap().db_engine_versions.unwrap_or_default();
        found.into_iter().filter_map(|version| version.engine_version).collect::<Vec<_>>()
    };
    assert_eq!(versions(ask().engine_version("17.5")).await, ["17.5"]);
    assert_eq!(versions(ask().engine_version("18")).await, ["18.1", "18.2", "18.3"]);
    assert_eq!(versions(ask().default_only(true)).await, ["17.7"]);
    assert_eq!(versions(ask().engine_version("16").default_only(true)).await, ["16.11"]);
    assert_eq!(versions(ask().db_parameter_group_family("postgres14")).await.len(), 5);
    assert_eq!(versions(ask().engine_version("12")).await, [""; 0]);
    let found = ask().engine_version("16.13").send().await.unwrap();
    let targets: Vec<_> = found.db_engine_versions()[0].valid_upgrade_target().to_vec();
    assert!(targets.iter().all(|target| target.is_major_version_upgrade() == Some(true)));
    let targets: Vec<_> = targets.iter().filter_map(|target| target.engine_version()).collect();
    assert_eq!(targets, ["17.9", "18.3"], "none that is older than 16.13");
}

#[tokio::test(start_paused = true)]
async fn a_version_past_standard_support_is_created_only_with_extended_support() {
    let site = Site::open().await;
    let majors = site.rds.describe_db_major_engine_versions().engine("postgres").major_engine_version("13");
    let majors = majors.send().await.unwrap().db_major_engine_versions.unwrap();
    let end = majors[0].supported_engine_lifecycles()[0].lifecycle_support_end_date().unwrap();
    assert_eq!(end.to_string(), "2026-02-28T23:59:59Z");
    let create = || site.create().engine_version("13");
    wait(70.0 * 86_400.0).await;
    let disabled = create().engine_lifecycle_support("open-source-rds-extended-support-disabled");
    assert_eq!(code(disabled.send().await), "InvalidParameterCombination");
    create().send().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn classes_are_offered_by_version_and_zone() {
    let site = Site::bare().await;
    let ask = |class: &str| {
        site.rds
            .describe_orderable_db_instance_options()
            .engine("postgres")
            .engine_version("17.5")
            .db_instance_class(class)
    };
    let options = ask("db.m5.large").send().await.unwrap();
    let options = options.orderable_db_instance_options();
    let zones: Vec<_> = options[0].availability_zones().iter().filter_map(|zone| zone.name()).collect();
    assert_eq!(zones, ["eu-central-1a", "eu-central-1b"]);
    let storage: Vec<_> = options.iter().filter_map(|option| option.storage_type()).collect();
    assert_eq!(storage, ["gp2", "gp3", "io1", "io2", "standard"]);
    assert_eq!(options[1].min_storage_size(), Some(20));
    assert_eq!(ask("db.m5.nano").send().await.unwrap().orderable_db_instance_options(), []);
    let all = site.rds.describe_orderable_db_instance_options().engine("postgres").engine_version("17.5");
    let all: Vec<_> = all.into_paginator().items().send().try_collect().await.unwrap();
    assert!(all.len() > 100, "they come in pages");
    assert_eq!(code(ask("db.m5.large").max_records(500).send().await), "InvalidParameterValue");
}

#[tokio::test(start_paused = true)]
async fn questions_that_rds_does_not_answer_are_refused() {
    let site = Site::bare().await;
    let (value, combination) = ("InvalidParameterValue", "InvalidParameterCombination");
    let events = || site.rds.describe_events();
    for (call, expected) in [
        (events().source_type("database".into()), value),
        (events().duration(0), value),
        (events().start_time(DateTime::from_secs(2_000_000_000)), combination),
        (events().marker("x"), value),
    ] {
        let shown = format!("{call:?}");
        assert_eq!(code(call.send().await), expected, "{shown}");
    }
    let versions = || site.rds.describe_db_engine_versions();
    let filter = |name: &str, values: &[&str]| {
        let values = values.iter().map(|value| (*value).to_owned()).collect();
        Filter::builder().name(name).set_values(Some(values)).build()
    };
    assert_eq!(code(versions().filters(filter("colour", &["red"])).send().await), value);
    assert_eq!(code(versions().filters(filter("status", &[])).send().await), combination);
    assert_eq!(code(versions().max_records(19).send().await), value);
    assert_eq!(code(versions().max_records(101).send().await), value);
    let snapshot = site.rds.delete_db_snapshot().db_snapshot_identifier("rds:shop").send().await;
    assert_eq!(code(snapshot), value, "an automated snapshot");
}

#[tokio::test(start_paused = true)]
async fn changes_of_parameters_that_rds_does_not_take_are_refused() {
    let site = Site::bare().await;
    let group = site.rds.create_db_parameter_group().db_parameter_group_name("shop").description("d");
    group.db_parameter_group_family("postgres17").send().await.unwrap();
    wait(1.0).await;
    let memory = |method: ApplyMethod| {
        Parameter::builder().parameter_name("work_mem").parameter_value("128").apply_method(method).build()
    };
    let modify = || site.rds.modify_db_parameter_group().db_parameter_group_name("shop");
    assert_eq!(code(modify().parameters(memory("later".into())).send().await), "InvalidParameterValue");
    modify().parameters(memory(ApplyMethod::Immediate)).send().await.unwrap();
    let reset = || site.rds.reset_db_parameter_group().db_parameter_group_name("shop");
    let combination = "InvalidParameterCombination";
    assert_eq!(code(reset().send().await), combination, "nothing is named");
    let both = reset().reset_all_parameters(true).parameters(memory(ApplyMethod::Immediate));
    assert_eq!(code(both.send().await), combination);
    let user = async || {
        let call = site.rds.describe_db_parameters().db_parameter_group_name("shop").source("user");
        call.send().await.unwrap().parameters.unwrap_or_default().len()
    };
    assert_eq!(user().await, 1);
    reset().parameters(memory(ApplyMethod::Immediate)).send().await.unwrap();
    assert_eq!(user().await, 0);
    let source = site.rds.describe_db_parameters().db_parameter_group_name("shop").source("nobody");
    assert_eq!(code(source.send().await), "InvalidParameterValue");
}
