//! Versions of PostgreSQL: a full version in the spec, and upgrades that RDS makes by itself.

use serde_json::{Value, json};
use stackdrop_functions::Aws;
use stackdrop_simulator::Incident;

use crate::common::{self, act, aws, deployment, until_done};
use crate::{NAME, SPEC, deployed, instance, later, next, wait_until_stable};

/// The plan of a deployment with this version: its changes, and the reasons of its problems.
async fn planned(aws: &Aws, deployment: &Value, version: &str) -> (Value, Vec<String>) {
    let mut deployment = deployment.clone();
    deployment["spec"]["database"]["version"] = json!(version);
    let mut plan = act(aws, NAME, "plan", &deployment).await.unwrap();
    let problems = plan["problems"].as_array().unwrap().iter();
    let problems = problems.map(|problem| problem["why"].as_str().unwrap().to_owned()).collect();
    (plan["changes"].take(), problems)
}

#[tokio::test(start_paused = true)]
async fn a_full_version_is_kept_upgraded_or_refused() {
    let (account, aws, mut deployment) = deployed(&SPEC.replace("'16'", "'17.6'")).await;
    assert_eq!(instance(&aws).await.unwrap().engine_version(), Some("17.6"));
    deployment["spec"]["database"]["deletionProtection"] = json!(false);
    next(&mut deployment);
    let nothing = (json!([]), Vec::<String>::new());
    assert_eq!(planned(&aws, &deployment, "17.6").await, nothing);
    // RDS upgrades the minor version by itself: the spec still has what it had.
    assert_eq!(account.cause(Incident::named("database-minor-upgraded").unwrap(), "shop"), ["shop-database"]);
    later(3600).await;
    assert_eq!(instance(&aws).await.unwrap().engine_version(), Some("17.7"));
    assert_eq!(planned(&aws, &deployment, "17.6").await, nothing);
    // A person lowers it.
    let (changes, problems) = planned(&aws, &deployment, "17.5").await;
    assert_eq!(changes, json!([]));
    assert!(problems.len() == 1 && problems[0].contains("from 17.7 back to 17.5"), "{problems:?}");
    // A person raises it.
    let (changes, problems) = planned(&aws, &deployment, "17.9").await;
    let fields = json!([{ "field": "version", "from": "17.7", "to": "17.9" }]);
    assert_eq!(changes, json!([{ "verb": "update", "resource": "instance", "fields": fields }]));
    assert_eq!(problems, Vec::<String>::new());
    deployment["spec"]["database"]["version"] = json!("17.9");
    until_done(&aws, NAME, "apply", &deployment).await.unwrap();
    later(30).await;
    let (changes, _) = planned(&aws, &deployment, "17.9").await;
    assert_eq!(changes, json!([{ "verb": "wait", "resource": "instance" }]), "RDS is upgrading it");
    wait_until_stable(&aws, &mut deployment).await;
    assert_eq!(instance(&aws).await.unwrap().engine_version(), Some("17.9"));
    assert_eq!(planned(&aws, &deployment, "17.9").await, nothing);
}

#[tokio::test(start_paused = true)]
async fn an_upgrade_that_rds_does_not_make_in_one_step_is_a_problem() {
    let (_account, aws, mut deployment) = deployed(&SPEC.replace("'16'", "'16.12'")).await;
    next(&mut deployment);
    let (_, problems) = planned(&aws, &deployment, "17.6").await;
    assert_eq!(problems, ["database.version cannot be changed from 16.12 to 17.6 in one step"]);
    let (_, problems) = planned(&aws, &deployment, "17.8").await;
    assert_eq!(problems, Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_new_database_of_a_version_that_rds_soon_gives_up_is_a_warning_until_the_last_day() {
    let account = common::account();
    let aws = aws(&account);
    // RDS ends the standard support of PostgreSQL 14 on 2027-02-28.
    for (day, warns, is_refused) in [
        ("2026-08-01", false, false),
        ("2026-10-01", true, false),
        ("2027-02-27", true, false),
        ("2027-03-02", false, true),
    ] {
        let mut deployment = deployment(&SPEC.replace("'16'", "'14'"));
        deployment["started"] = json!(format!("{day}T00:00:00Z"));
        let plan = act(&aws, NAME, "plan", &deployment).await.unwrap();
        let (warnings, problems) = (plan["warnings"].to_string(), plan["problems"].to_string());
        assert_eq!(warnings.contains("RDS supports PostgreSQL 14 until 2027-02-28"), warns, "{day}: {plan}");
        let refusal = "RDS ended its standard support of PostgreSQL 14 on 2027-02-28";
        assert_eq!(problems.contains(refusal), is_refused, "{day}: {plan}");
    }
}
