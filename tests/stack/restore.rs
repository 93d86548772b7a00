//! Databases that are created from a snapshot.

use std::time::Duration;

use serde_json::json;
use stackdrop::Rehearsal;
use stackdrop_functions::deployment::outcome::Outcome;
use stackdrop_simulator::{Call, Fault, FaultKind, Seed, When};

use crate::database_gone::delete_with_snapshot;
use crate::database_incidents::{DATABASE, database};
use crate::{changes, deployed, redeploy, refused, rehearsal, resources_but_logs, run, with};

/// How long RDS needs to create a secret at least.
const SECRET: Duration = Duration::from_mins(1);

/// The spec whose tasks need the password.
fn spec() -> String {
    with(DATABASE, "DB_HOST: host", "DB_HOST: host, DB_PASSWORD: password")
}

fn restored_from(spec: &str, snapshot: &str) -> String {
    with(spec, "name: orders", &format!("name: orders, restoreFrom: '{snapshot}'"))
}

/// A stack that was destroyed, and the name of the final snapshot of its database.
async fn destroyed() -> (Rehearsal, String) {
    let rehearsal = rehearsal(&spec());
    deployed(&rehearsal, &spec()).await;
    let destroyed = run(&rehearsal, json!({ "stack": "shop", "action": "destroy" })).await;
    assert_eq!(destroyed.result(), Outcome::Destroyed, "{:?}", destroyed.error());
    let snapshots = rehearsal.aws().rds().describe_db_snapshots().send().await.unwrap();
    let name = snapshots.db_snapshots()[0].db_snapshot_identifier().unwrap().to_owned();
    (rehearsal, name)
}

/// The ARN of the database's secret, which is active.
async fn secret(rehearsal: &Rehearsal) -> String {
    let secret = database(rehearsal).await.master_user_secret.unwrap();
    assert_eq!(secret.secret_status(), Some("active"));
    secret.secret_arn.unwrap()
}

/// The secret from which the tasks of the service `web` have their password.
async fn read_by_tasks(rehearsal: &Rehearsal) -> String {
    let ecs = aws_sdk_ecs::Client::new(rehearsal.sdk());
    let service = ecs.describe_services().cluster("shop").services("web").send().await.unwrap();
    let revision = service.services()[0].task_definition().unwrap().to_owned();
    let definition = ecs.describe_task_definition().task_definition(revision).send().await.unwrap();
    let container = definition.task_definition.unwrap().container_definitions.unwrap().remove(0);
    container.secrets()[0].value_from().to_owned()
}

fn at(calls: &[Call], name: &str) -> Duration {
    calls.iter().find(|call| call.name() == name).unwrap_or_else(|| panic!("no {name}")).at
}

#[tokio::test(start_paused = true)]
async fn a_destroyed_stack_comes_back_with_its_data() {
    let (rehearsal, snapshot) = destroyed().await;
    assert!(snapshot.starts_with("shop-database-final-"), "{snapshot}");
    let back = deployed(&rehearsal, &restored_from(&spec(), &snapshot)).await;
    let made = changes(&back);
    assert!(made.contains(&"rds:RestoreDBInstanceFromDBSnapshot".to_owned()), "{made:?}");
    assert!(!made.contains(&"rds:CreateDBInstance".to_owned()), "{made:?}");
    let db = database(&rehearsal).await;
    assert_eq!((db.storage_encrypted(), db.publicly_accessible()), (Some(true), Some(false)));
    assert_eq!((db.backup_retention_period(), db.max_allocated_storage()), (Some(7), Some(100)));
    assert_eq!(db.db_parameter_groups()[0].db_parameter_group_name(), Some("shop-postgres17"));
    let secret = secret(&rehearsal).await;
    assert_eq!(read_by_tasks(&rehearsal).await, format!("{secret}:password::"));
    let next = redeploy(&rehearsal).await;
    assert_eq!((next.result(), changes(&next)), (Outcome::Succeeded, vec![]), "{:?}", next.error());
}

#[tokio::test(start_paused = true)]
async fn no_service_starts_before_the_new_secret_is_active() {
    let (rehearsal, snapshot) = destroyed().await;
    let back = deployed(&rehearsal, &restored_from(&spec(), &snapshot)).await;
    let managed = at(&back.calls, "rds:ModifyDBInstance");
    assert!(managed > at(&back.calls, "rds:RestoreDBInstanceFromDBSnapshot") + SECRET);
    let started = at(&back.calls, "ecs:CreateService");
    assert!(started > managed + SECRET, "{started:?} is not {SECRET:?} after {managed:?}");
    let steps: Vec<&str> = back.outcome.steps.iter().map(|step| step.name.as_str()).collect();
    assert!(steps.contains(&"FinishRestore"), "{steps:?}");
}

#[tokio::test(start_paused = true)]
async fn a_database_that_is_not_restored_skips_the_step_that_finishes_a_restore() {
    let rehearsal = rehearsal(&spec());
    let first = deployed(&rehearsal, &spec()).await;
    assert!(!first.outcome.steps.iter().any(|step| step.name == "FinishRestore"));
}

#[tokio::test(start_paused = true)]
async fn a_gone_database_is_restored_and_the_tasks_get_its_new_secret() {
    let rehearsal = rehearsal(&spec());
    deployed(&rehearsal, &spec()).await;
    let before = secret(&rehearsal).await;
    delete_with_snapshot(&rehearsal, "shop-database-last").await;
    deployed(&rehearsal, &restored_from(&spec(), "shop-database-last")).await;
    let after = secret(&rehearsal).await;
    assert_ne!(after, before);
    assert_eq!(read_by_tasks(&rehearsal).await, format!("{after}:password::"));
    // The spec keeps the key, and nothing is restored again: neither now nor when the database is gone once more.
    let next = redeploy(&rehearsal).await;
    assert_eq!((next.result(), changes(&next)), (Outcome::Succeeded, vec![]), "{:?}", next.error());
    delete_with_snapshot(&rehearsal, "shop-database-newer").await;
    let stopped = redeploy(&rehearsal).await;
    assert_eq!((stopped.result(), changes(&stopped)), (Outcome::Failed, vec![]));
    assert!(stopped.error().unwrap().contains("the newest snapshot is shop-database-newer"));
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_that_the_stack_may_not_or_cannot_use_is_refused_by_the_plan() {
    for (stack, key, expected) in [
        ("shop", None, "snapshot last (database.restoreFrom) is not encrypted"),
        ("shop-two", Some("key"), "stack shop may not restore snapshot last"),
    ] {
        let rehearsal = rehearsal(&spec());
        rehearsal.account().seed(&Seed::DatabaseSnapshot {
            name: "last".into(),
            version: "17".into(),
            kms_key: key.map(|key| format!("arn:aws:kms:eu-central-1:123456789012:key/{key}")),
            tags: [("stackdrop:stack".to_owned(), stack.to_owned())].into(),
        });
        let stopped = rehearsal.deploy(&restored_from(&spec(), "last"), &()).await.unwrap();
        assert_eq!((stopped.result(), changes(&stopped)), (Outcome::Failed, vec![]), "{stack}");
        let error = stopped.error().unwrap();
        assert!(error.contains("PreflightFailed") && error.contains(expected), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_restore_that_is_disturbed_at_any_call_ends_the_same() {
    let (undisturbed, snapshot) = destroyed().await;
    let spec = restored_from(&spec(), &snapshot);
    deployed(&undisturbed, &spec).await;
    let expected = resources_but_logs(&undisturbed);
    for operation in
        ["DescribeDBInstances", "DescribeDBSnapshots", "RestoreDBInstanceFromDBSnapshot", "ModifyDBInstance"]
    {
        for kind in [FaultKind::Killed, FaultKind::LostBefore, FaultKind::LostAfter, FaultKind::Throttled] {
            for number in [1, 4] {
                let (rehearsal, snapshot_again) = destroyed().await;
                assert_eq!(snapshot_again, snapshot, "the same history");
                rehearsal.account().arm(Fault::at("rds", operation, When::Only(number), kind.clone()));
                let back = deployed(&rehearsal, &spec).await;
                let restores = back.calls.iter().filter(|call| call.operation.starts_with("RestoreDB"));
                assert!(restores.count() <= 2, "{operation} {kind:?}");
                assert_eq!(resources_but_logs(&rehearsal), expected, "{operation} {kind:?}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_failed_first_deployment_deletes_the_restored_database_and_leaves_the_snapshot() {
    let (rehearsal, snapshot) = destroyed().await;
    rehearsal.account().arm(Fault::at("ecs", "RegisterTaskDefinition", When::Only(1), refused()));
    let failed = rehearsal.deploy(&restored_from(&spec(), &snapshot), &()).await.unwrap();
    assert_eq!(failed.result(), Outcome::Failed, "{:?}", failed.error());
    assert_eq!(resources_but_logs(&rehearsal), [format!("AWS::RDS::DBSnapshot {snapshot}")]);
}
