//! What AWS and people do to a database between deployments: the plan names it, and a deployment repairs it, leaves it
//! alone, or stops with what to do.

use std::time::Duration;

use aws_sdk_rds::types::DbInstance;
use serde_json::{Value, json};
use stackdrop::Rehearsal;
use stackdrop_functions::deployment::outcome::Outcome;

use crate::{changes, deployed, object, pause, redeploy, rehearsal, run, with};

/// A worker with a database.
pub(crate) const DATABASE: &str = "
stack: shop
region: eu-central-1
network: { cidr: 10.20.0.0/16, zones: 2, nat: single }
database: { version: '17', class: db.t4g.micro, storage: 20, maxStorage: 100, name: orders, deletionProtection: false }
services:
  web: { image: 'public.ecr.aws/docker/library/nginx:1.29', database: { DB_HOST: host }, environment: { LOG: info } }
";

/// Causes an incident, which must apply.
pub(crate) fn cause(rehearsal: &Rehearsal, name: &str) {
    assert_eq!(crate::cause(rehearsal, name), ["shop-database"], "{name}");
}

/// The database as RDS reports it.
pub(crate) async fn database(rehearsal: &Rehearsal) -> DbInstance {
    let call = rehearsal.aws().rds().describe_db_instances().db_instance_identifier("shop-database");
    call.send().await.unwrap().db_instances.unwrap().remove(0)
}

/// The plan of the last deployment's record: a line for each change, problem and warning of the database.
pub(crate) async fn planned(rehearsal: &Rehearsal) -> Vec<String> {
    let record = object(rehearsal, "stacks/shop/status.json").await.unwrap();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let parts = record["plan"].as_array().unwrap();
    let plan = parts.iter().find(|part| part["component"] == "database").unwrap();
    let mut lines = Vec::new();
    for change in plan["changes"].as_array().unwrap() {
        let resource = text(&change["resource"]);
        match change["fields"].as_array() {
            Some(fields) => lines.extend(fields.iter().map(|field| {
                format!(
                    "{resource} {}: {} -> {}",
                    text(&field["field"]),
                    text(&field["from"]),
                    text(&field["to"])
                )
            })),
            None => lines.push(format!("{} {resource}", text(&change["verb"]))),
        }
    }
    for (kind, noun) in [("problems", "problem"), ("warnings", "warning")] {
        let found = plan[kind].as_array().unwrap().iter();
        lines.extend(found.map(|found| format!("{noun}: {}; {}", text(&found["why"]), text(&found["fix"]))));
    }
    let effects = plan["effects"].as_array().into_iter().flatten();
    lines.extend(effects.map(|effect| format!("effect: {}", text(&effect["what"]))));
    lines
}

/// Fails unless the next deployment has an empty plan, no warning for the database, and changes nothing.
async fn assert_nothing_to_do(rehearsal: &Rehearsal, after: &str) {
    let next = redeploy(rehearsal).await;
    assert_eq!(
        (next.result(), changes(&next)),
        (Outcome::Succeeded, Vec::new()),
        "after {after}: {:?}",
        next.error()
    );
    assert_eq!(planned(rehearsal).await, Vec::<String>::new(), "after {after}");
}

#[tokio::test(start_paused = true)]
async fn a_stopped_database_is_started() {
    let rehearsal = rehearsal(DATABASE);
    deployed(&rehearsal, DATABASE).await;
    for seconds in [30, 3600] {
        cause(&rehearsal, "database-stopped");
        pause(Duration::from_secs(seconds)).await;
        let started = redeploy(&rehearsal).await;
        assert_eq!(started.result(), Outcome::Succeeded, "{:?}", started.error());
        assert_eq!(changes(&started), ["rds:StartDBInstance"]);
        let plan = planned(&rehearsal).await;
        assert!(
            plan[0].starts_with("instance status: stop") && plan[0].ends_with("-> available"),
            "{plan:?}"
        );
        assert_nothing_to_do(&rehearsal, "the start").await;
    }
    // A change of a stopped database waits for its start.
    cause(&rehearsal, "database-stopped");
    pause(Duration::from_mins(10)).await;
    let update = deployed(&rehearsal, &with(DATABASE, "db.t4g.micro", "db.t4g.small")).await;
    let of_rds: Vec<String> = changes(&update).into_iter().filter(|call| call.starts_with("rds:")).collect();
    assert_eq!(of_rds.first().map(String::as_str), Some("rds:StartDBInstance"));
    assert_eq!(database(&rehearsal).await.db_instance_class(), Some("db.t4g.small"));
}

#[tokio::test(start_paused = true)]
async fn what_only_a_person_can_repair_is_told_in_seconds_and_changes_nothing() {
    for (incident, wanted) in [
        (
            "database-storage-full",
            ["it is storage-full", "Allocated storage has been exhausted", "Set a larger database.storage"],
        ),
        (
            "database-parameters-incompatible",
            ["it is incompatible-parameters", "max_connections", "reset the parameter"],
        ),
    ] {
        let rehearsal = rehearsal(DATABASE);
        deployed(&rehearsal, DATABASE).await;
        cause(&rehearsal, incident);
        pause(Duration::from_mins(2)).await;
        let update = with(DATABASE, "LOG: info", "LOG: debug");
        let refused = rehearsal.deploy(&update, &()).await.unwrap();
        let error = refused.error().unwrap();
        assert!(wanted.iter().all(|text| error.contains(text)), "{incident}: {error}");
        assert!(error.starts_with("PreflightFailed"), "{error}");
        assert_eq!(changes(&refused), Vec::<String>::new());
        println!("{incident}: {:.0} s: {error}", refused.outcome.seconds);
        assert!(refused.outcome.seconds < 20.0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_storage_is_repaired_by_a_larger_one_with_the_other_changes() {
    let rehearsal = rehearsal(DATABASE);
    deployed(&rehearsal, DATABASE).await;
    cause(&rehearsal, "database-storage-full");
    let larger = with(&with(DATABASE, "storage: 20", "storage: 40"), "db.t4g.micro", "db.t4g.small");
    deployed(&rehearsal, &larger).await;
    let db = database(&rehearsal).await;
    assert_eq!((db.allocated_storage(), db.db_instance_class()), (Some(40), Some("db.t4g.small")));
}

#[tokio::test(start_paused = true)]
async fn incompatible_parameters_are_forgotten_once_they_are_reset() {
    let rehearsal = rehearsal(DATABASE);
    deployed(&rehearsal, DATABASE).await;
    cause(&rehearsal, "database-parameters-incompatible");
    pause(Duration::from_mins(2)).await;
    let rds = rehearsal.aws().rds();
    let reset = rds.reset_db_parameter_group().db_parameter_group_name("shop-postgres17");
    reset.reset_all_parameters(true).send().await.unwrap();
    rds.reboot_db_instance().db_instance_identifier("shop-database").send().await.unwrap();
    pause(Duration::from_mins(2)).await;
    assert_nothing_to_do(&rehearsal, "the reset").await;
}

#[tokio::test(start_paused = true)]
async fn thirty_nights_find_no_drift_that_nobody_made() {
    let rehearsal = rehearsal(DATABASE);
    deployed(&rehearsal, DATABASE).await;
    let mut kinds = std::collections::BTreeSet::new();
    for night in 0..30 {
        // Within the backup of each night, which begins at 02:00.
        let elapsed = rehearsal.account().clock().elapsed().as_secs();
        pause(Duration::from_secs(86_400 - elapsed % 86_400 + 2 * 3600 + 30 + night)).await;
        kinds.insert(database(&rehearsal).await.db_instance_status().unwrap().to_owned());
        assert_nothing_to_do(&rehearsal, &format!("night {night}")).await;
        pause(Duration::from_mins(30)).await;
        if let Some(incident) =
            ["database-minor-upgraded", "database-storage-grew", "database-in-maintenance"]
                .get(usize::try_from(night).unwrap())
        {
            cause(&rehearsal, incident);
        }
    }
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), ["backing-up"]);
    let db = database(&rehearsal).await;
    assert_eq!((db.engine_version(), db.allocated_storage()), (Some("17.8"), Some(30)));
}

#[tokio::test(start_paused = true)]
async fn maintenance_is_waited_for() {
    let rehearsal = rehearsal(DATABASE);
    deployed(&rehearsal, DATABASE).await;
    for incident in ["database-in-maintenance", "database-rebooted", "database-minor-upgraded"] {
        cause(&rehearsal, incident);
        pause(Duration::from_secs(10)).await;
        let update = if incident == "database-rebooted" { "LOG: info" } else { "LOG: debug" };
        let update = deployed(&rehearsal, &DATABASE.replacen("LOG: info", update, 1)).await;
        assert!(!changes(&update).iter().any(|call| call.starts_with("rds:")), "{incident}");
        assert_eq!(database(&rehearsal).await.db_instance_status(), Some("available"), "{incident}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_impaired_secret_is_a_warning_and_no_reason_to_wait() {
    let rehearsal = rehearsal(DATABASE);
    deployed(&rehearsal, DATABASE).await;
    cause(&rehearsal, "database-secret-impaired");
    let update = deployed(&rehearsal, &with(DATABASE, "LOG: info", "LOG: debug")).await;
    let plan = planned(&rehearsal).await;
    assert!(plan.len() == 1 && plan[0].contains("can no longer rotate the secret"), "{plan:?}");
    assert!(!changes(&update).iter().any(|call| call.starts_with("rds:")));
}

#[tokio::test(start_paused = true)]
async fn a_stopped_database_is_destroyed_with_its_final_snapshot() {
    let rehearsal = rehearsal(DATABASE);
    deployed(&rehearsal, DATABASE).await;
    cause(&rehearsal, "database-stopped");
    pause(Duration::from_mins(10)).await;
    let destroyed =
        run(&rehearsal, json!({ "stack": "shop", "action": "destroy", "deleteData": ["shop-instance"] }))
            .await;
    assert_eq!(destroyed.result(), Outcome::Destroyed, "{:?}", destroyed.error());
    let left = crate::resources(&rehearsal);
    assert!(left.len() == 1 && left[0].starts_with("AWS::RDS::DBSnapshot"), "{left:?}");
}
