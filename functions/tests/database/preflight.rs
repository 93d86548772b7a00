//! Preflight checks of the database.

use serde_json::{Value, json};

use crate::common::{self, act, aws, deployment};
use crate::{NAME, SPEC, deployed, next, prepared, writes_since};

/// The problems of a plan, each as `why; fix`.
fn problems(plan: &Value) -> Vec<String> {
    let problems = plan["problems"].as_array().unwrap().iter();
    problems
        .map(|problem| format!("{}; {}", problem["why"].as_str().unwrap(), problem["fix"].as_str().unwrap()))
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_plan_names_what_rds_does_not_offer_and_what_it_does() {
    let spec = |database: &str| format!("stack: shop\ndatabase: {{ name: orders, {database} }}");
    for (database, expected) in [
        (
            "version: '18.9', class: db.t4g.small",
            "RDS has no PostgreSQL 18.9 (database.version); set database.version to one that it has: 18.1, 18.2, 18.3",
        ),
        ("version: '17.3', class: db.t4g.small", "it has: 17.5, 17.6, 17.7, 17.8, 17.9"),
        (
            "version: '17', class: db.t4g.4xlarge",
            "RDS does not offer database.class db.t4g.4xlarge for PostgreSQL 17.7",
        ),
    ] {
        let account = common::account();
        let plan = act(&aws(&account), NAME, "plan", &deployment(&spec(database))).await.unwrap();
        let problems_found = problems(&plan);
        assert!(
            problems_found.len() == 1 && problems_found[0].contains(expected),
            "{database}: {problems_found:?}"
        );
        assert_eq!(common::writes(&account), Vec::<String>::new());
    }
    let account = common::account();
    let two_zones = spec("version: '17', class: db.m5.large, multiAz: true");
    let plan = act(&aws(&account), NAME, "plan", &deployment(&two_zones)).await.unwrap();
    assert_eq!(problems(&plan), Vec::<String>::new(), "two zones offer it");
}

#[tokio::test(start_paused = true)]
async fn a_plan_rejects_an_upgrade_to_a_version_that_rds_does_not_have() {
    let (account, aws, mut deployment) = deployed(SPEC).await;
    next(&mut deployment);
    deployment["spec"]["database"]["class"] = json!("db.m5.large");
    assert_eq!(problems(&act(&aws, NAME, "plan", &deployment).await.unwrap()), Vec::<String>::new());
    let before = account.calls();
    deployment["spec"]["database"]["version"] = json!("17.1");
    let plan = act(&aws, NAME, "plan", &deployment).await.unwrap();
    assert!(problems(&plan)[0].contains("RDS has no PostgreSQL 17.1"), "{plan}");
    assert_eq!(writes_since(&account, before), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_standby_needs_a_class_that_the_zones_of_the_database_subnets_have() {
    let spec = format!("{SPEC}network: {{ excludeZones: [eu-central-1a] }}\n");
    let old_class = |deployment: &Value| {
        let mut deployment = deployment.clone();
        deployment["spec"]["database"]["class"] = json!("db.m5.large");
        deployment["spec"]["database"]["multiAz"] = json!(true);
        deployment
    };
    // Before the network exists, before the database exists, and for an existing one.
    let account = common::account();
    let nothing = deployment(&spec);
    let (_other, with_network, network) = prepared(&spec).await;
    let (_third, with_database, mut database) = deployed(&spec).await;
    next(&mut database);
    for (aws, before) in [(aws(&account), nothing), (with_network, network), (with_database, database)] {
        let problems = problems(&act(&aws, NAME, "plan", &old_class(&before)).await.unwrap());
        let expected = "2 of the zones of the database subnets (eu-central-1b, eu-central-1c) must have it";
        assert!(problems.len() == 1 && problems[0].contains(expected), "{problems:?}");
    }
}
