//! A database that somebody deleted is not replaced by an empty one, whatever starts the deployment.

use std::time::Duration;

use serde_json::json;
use stackdrop::Rehearsal;
use stackdrop_functions::deployment::consent::EMPTY_DATABASE;
use stackdrop_functions::deployment::outcome::Outcome;

use crate::database_incidents::{DATABASE, cause, planned};
use crate::{changes, deployed, object, pause, redeploy, rehearsal, run, with};

/// Deletes the database as a person does, and waits until it is gone.
pub(crate) async fn delete_with_snapshot(rehearsal: &Rehearsal, snapshot: &str) {
    let delete = rehearsal.aws().rds().delete_db_instance().db_instance_identifier("shop-database");
    delete.final_db_snapshot_identifier(snapshot).send().await.unwrap();
    pause(Duration::from_mins(30)).await;
}

/// The number of databases.
fn databases(rehearsal: &Rehearsal) -> usize {
    let inventory = rehearsal.account().inventory();
    inventory.iter().filter(|item| item.kind == "AWS::RDS::DBInstance").count()
}

#[tokio::test(start_paused = true)]
async fn a_gone_database_stops_the_schedule_the_request_and_the_upload() {
    let rehearsal = rehearsal(DATABASE);
    deployed(&rehearsal, DATABASE).await;
    delete_with_snapshot(&rehearsal, "shop-database-last").await;
    let update = with(DATABASE, "LOG: info", "LOG: debug");
    let upload = rehearsal.upload("specs/shop.yaml", update.as_bytes()).await.unwrap();
    for input in [
        json!({ "stack": "shop", "action": "redeploy", "scheduled": true }),
        json!({ "stack": "shop" }),
        json!({ "stack": "shop", "action": "redeploy", "drift": "report" }),
        upload,
    ] {
        let stopped = run(&rehearsal, input.clone()).await;
        assert_eq!(stopped.result(), Outcome::Failed, "{input}: {:?}", stopped.error());
        assert_eq!(changes(&stopped), Vec::<String>::new(), "{input}");
        let error = stopped.error().unwrap();
        for text in ["PreflightFailed", "shop-database is gone", "the newest snapshot is shop-database-last"]
        {
            assert!(error.contains(text), "{input}: {text} is not in {error}");
        }
        assert!(error.contains("--empty-database shop-database"), "{error}");
    }
    assert_eq!(databases(&rehearsal), 0);
    let planned = run(&rehearsal, json!({ "stack": "shop", "action": "plan" })).await;
    assert!(planned.error().is_none_or(|error| error.contains("shop-database is gone")));
    let plan = object(&rehearsal, "stacks/shop/plan.json").await.unwrap().to_string();
    assert!(plan.contains("shop-database is gone"), "{plan}");
}

#[tokio::test(start_paused = true)]
async fn an_empty_database_needs_its_name_and_only_once() {
    let rehearsal = rehearsal(DATABASE);
    deployed(&rehearsal, DATABASE).await;
    delete_with_snapshot(&rehearsal, "shop-database-last").await;
    for other in [json!({ "emptyDatabase": "shop" }), json!({ "deleteData": ["shop-database"] })] {
        let mut request = other;
        request["stack"] = json!("shop");
        let stopped = run(&rehearsal, request).await;
        assert_eq!((stopped.result(), changes(&stopped)), (Outcome::Failed, vec![]));
    }
    let agreed = run(&rehearsal, json!({ "stack": "shop", "emptyDatabase": "shop-database" })).await;
    assert_eq!(agreed.result(), Outcome::Succeeded, "{:?}", agreed.error());
    assert_eq!(databases(&rehearsal), 1);
    let plan = planned(&rehearsal).await;
    assert!(plan.iter().any(|line| line.contains("the new one is empty, as requested")), "{plan:?}");
    // The next one, which is deleted too, needs the word again: of a request, or of an upload.
    delete_with_snapshot(&rehearsal, "shop-database-second").await;
    assert_eq!(redeploy(&rehearsal).await.result(), Outcome::Failed);
    let agreed = vec![(EMPTY_DATABASE.to_owned(), "shop-database".to_owned())];
    let upload = rehearsal.upload_with("specs/shop.yaml", DATABASE.as_bytes(), agreed).await.unwrap();
    let uploaded = run(&rehearsal, upload).await;
    assert_eq!(uploaded.result(), Outcome::Succeeded, "{:?}", uploaded.error());
    assert_eq!(databases(&rehearsal), 1);
    delete_with_snapshot(&rehearsal, "shop-database-third").await;
    assert_eq!(redeploy(&rehearsal).await.result(), Outcome::Failed, "the word was of that upload");
}

#[tokio::test(start_paused = true)]
async fn a_database_without_backups_says_so() {
    let rehearsal = rehearsal(DATABASE);
    deployed(&rehearsal, DATABASE).await;
    cause(&rehearsal, "database-deleted");
    pause(Duration::from_mins(30)).await;
    let stopped = redeploy(&rehearsal).await;
    let error = stopped.error().unwrap();
    assert!(error.contains("RDS has no snapshot and no automated backup of it"), "{error}");
    assert_eq!(databases(&rehearsal), 0);
}

#[tokio::test(start_paused = true)]
async fn a_stack_whose_database_is_gone_can_be_destroyed() {
    let rehearsal = rehearsal(DATABASE);
    deployed(&rehearsal, DATABASE).await;
    delete_with_snapshot(&rehearsal, "shop-database-last").await;
    let destroyed = run(&rehearsal, json!({ "stack": "shop", "action": "destroy" })).await;
    assert_eq!(destroyed.result(), Outcome::Destroyed, "{:?}", destroyed.error());
}

#[tokio::test(start_paused = true)]
async fn a_spec_without_the_gone_database_is_deployed() {
    let rehearsal = rehearsal(DATABASE);
    deployed(&rehearsal, DATABASE).await;
    delete_with_snapshot(&rehearsal, "shop-database-last").await;
    let line = DATABASE.lines().find(|line| line.starts_with("database:")).unwrap();
    let without = with(&with(DATABASE, line, ""), " database: { DB_HOST: host },", "");
    deployed(&rehearsal, &without).await;
    // The next one with a database begins anew: nobody expects the data of a database that the spec gave up.
    deployed(&rehearsal, DATABASE).await;
    assert_eq!(databases(&rehearsal), 1);
}
