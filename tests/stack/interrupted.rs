//! Executions that were stopped or timed out. None of their `Catch` fields ran; another deployment rolls them back.

use std::time::Duration;

use serde_json::{Value, json};
use stackdrop::Rehearsal;
use stackdrop_functions::deployment::outcome::Outcome;
use stackdrop_statemachine::Abort;

use crate::{
    SHOP, StopAt, changes, deployed, object, open_the_database, pause, rehearsal, resources,
    resources_but_logs, run, with, without_instance,
};

/// Runs an execution with this input, stops it at a step, and returns the event of the interruption.
async fn stopped(rehearsal: &Rehearsal, input: Value, step: &'static str) -> Value {
    let abort = Abort::default();
    let watch = StopAt(step, abort.clone());
    let stopped = rehearsal.run(input.clone(), &watch, &abort).await;
    assert_eq!(stopped.result(), Outcome::Interrupted, "the execution ended before {step}");
    rehearsal.interruption(&stopped.id, &input).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_stopped_first_deployment_is_rolled_back() {
    for step in ["Plan", "Network", "Database", "AwaitEgress", "WaitUntilStable"] {
        let rehearsal = rehearsal(SHOP);
        let upload = rehearsal.upload("specs/shop.yaml", SHOP.as_bytes()).await.unwrap();
        let event = stopped(&rehearsal, upload, step).await;
        let after = run(&rehearsal, event).await;
        assert_eq!(after.result(), Outcome::Failed, "{step}: {:?}", after.error());
        let error = after.error().unwrap();
        assert!(error.contains("Interrupted") && error.contains("was stopped by hand"), "{error}");
        assert_eq!(resources_but_logs(&rehearsal), Vec::<String>::new(), "{step}");
        assert!(object(&rehearsal, "stacks/shop/lock.json").await.is_none());
        let record = object(&rehearsal, "stacks/shop/history/deployment-1.json").await.unwrap();
        assert_eq!(record["result"], "Interrupted");
        let status = object(&rehearsal, "stacks/shop/status.json").await.unwrap();
        assert_eq!((&status["result"], &status["deployment"]), (&json!("Failed"), &json!(after.id)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_stopped_update_is_rolled_back_to_the_baseline() {
    let rehearsal = rehearsal(SHOP);
    deployed(&rehearsal, SHOP).await;
    let before = resources(&rehearsal);
    let update = SHOP.replacen("zones: 2", "zones: 3", 1);
    let upload = rehearsal.upload("specs/shop.yaml", update.as_bytes()).await.unwrap();
    let event = stopped(&rehearsal, upload, "Instance").await;
    assert_ne!(resources(&rehearsal), before);
    let after = run(&rehearsal, event).await;
    assert_eq!(after.result(), Outcome::Failed, "{:?}", after.error());
    assert_eq!(resources(&rehearsal), before);
}

/// Deletes the newest version of the spec for good.
async fn delete_version(rehearsal: &Rehearsal) {
    let (s3, bucket) = (rehearsal.aws().s3(), &rehearsal.aws().settings.bucket);
    let newest = s3.get_object().bucket(bucket).key("specs/shop.yaml").send().await.unwrap();
    let version = newest.version_id().unwrap();
    s3.delete_object().bucket(bucket).key("specs/shop.yaml").version_id(version).send().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_stopped_deployment_whose_version_of_the_spec_was_deleted_is_rolled_back() {
    let rehearsal = rehearsal(SHOP);
    let upload = rehearsal.upload("specs/shop.yaml", SHOP.as_bytes()).await.unwrap();
    let event = stopped(&rehearsal, upload, "Database").await;
    delete_version(&rehearsal).await;
    let after = run(&rehearsal, event).await;
    assert_eq!(after.result(), Outcome::Failed, "{:?}", after.error());
    assert_eq!(resources_but_logs(&rehearsal), Vec::<String>::new());
    deployed(&rehearsal, SHOP).await;
    let before = resources(&rehearsal);
    let update = with(SHOP, "zones: 2", "zones: 3");
    let upload = rehearsal.upload("specs/shop.yaml", update.as_bytes()).await.unwrap();
    let event = stopped(&rehearsal, upload, "Instance").await;
    assert_ne!(resources(&rehearsal), before);
    delete_version(&rehearsal).await;
    let after = run(&rehearsal, event).await;
    assert_eq!(after.result(), Outcome::Failed, "{:?}", after.error());
    assert_eq!(resources(&rehearsal), before);
}

#[tokio::test(start_paused = true)]
async fn a_stopped_deployment_with_on_failure_keep_is_kept_and_releases_the_lock() {
    let spec = SHOP.replacen("onFailure: rollback", "onFailure: keep", 1);
    let rehearsal = rehearsal(&spec);
    let upload = rehearsal.upload("specs/shop.yaml", spec.as_bytes()).await.unwrap();
    let event = stopped(&rehearsal, upload, "LoadBalancer").await;
    let before = resources(&rehearsal);
    let after = run(&rehearsal, event).await;
    assert_eq!(after.result(), Outcome::Kept, "{:?}", after.error());
    // The step's function was not stopped with its execution, so it may have created more. Nothing was deleted.
    let after = resources(&rehearsal);
    assert!(before.iter().all(|item| after.contains(item)), "{after:?}");
    assert!(object(&rehearsal, "stacks/shop/lock.json").await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_stopped_rollback_is_completed() {
    use stackdrop_simulator::{Fault, FaultKind, When};
    for step in ["DeleteEgress", "AwaitDeletion", "DeleteNetwork"] {
        let rehearsal = rehearsal(SHOP);
        let refused = FaultKind::Refused { code: "RefusedByTest".into(), message: "the test says no".into() };
        rehearsal.account().arm(Fault::at("ecs", "CreateService", When::From(1), refused));
        let upload = rehearsal.upload("specs/shop.yaml", SHOP.as_bytes()).await.unwrap();
        let event = stopped(&rehearsal, upload, step).await;
        let after = run(&rehearsal, event).await;
        assert_eq!(after.result(), Outcome::Failed, "{step}: {:?}", after.error());
        assert_eq!(resources_but_logs(&rehearsal), Vec::<String>::new(), "{step}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stopped_rollback_of_a_stopped_deployment_is_completed() {
    let rehearsal = rehearsal(SHOP);
    let upload = rehearsal.upload("specs/shop.yaml", SHOP.as_bytes()).await.unwrap();
    let event = stopped(&rehearsal, upload, "Service").await;
    let second = stopped(&rehearsal, event, "AwaitDeletion").await;
    let after = run(&rehearsal, second).await;
    assert_eq!(after.result(), Outcome::Failed, "{:?}", after.error());
    assert_eq!(resources_but_logs(&rehearsal), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_stopped_destroy_is_reported_as_incomplete_and_can_be_repeated() {
    let spec = with(&without_instance(), "onDelete: retain", "onDelete: destroy");
    let destroy = json!({ "stack": "shop", "action": "destroy", "deleteData": ["shop-instance"] });
    for by_deletion in [false, true] {
        let rehearsal = rehearsal(&spec);
        deployed(&rehearsal, &spec).await;
        let input =
            if by_deletion { rehearsal.delete("specs/shop.yaml").await.unwrap() } else { destroy.clone() };
        let event = stopped(&rehearsal, input, "DeleteDatabase").await;
        let after = run(&rehearsal, event).await;
        assert_eq!(after.result(), Outcome::DestroyFailed, "{:?}", after.error());
        assert!(after.error().unwrap().contains("not destroyed completely"), "{:?}", after.error());
        assert_eq!(changes(&after), Vec::<String>::new(), "nothing is created again");
        let again = run(&rehearsal, destroy.clone()).await;
        assert_eq!(again.result(), Outcome::Destroyed, "{:?}", again.error());
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_rolled_back_when_the_next_upload_comes_first() {
    let rehearsal = rehearsal(SHOP);
    let upload = rehearsal.upload("specs/shop.yaml", SHOP.as_bytes()).await.unwrap();
    let event = stopped(&rehearsal, upload, "LoadBalancer").await;
    deployed(&rehearsal, SHOP).await;
    let before = resources(&rehearsal);
    let after = run(&rehearsal, event).await;
    assert_eq!(after.result(), Outcome::Superseded);
    assert_eq!(resources(&rehearsal), before);
    let record = object(&rehearsal, "stacks/shop/history/deployment-1.json").await.unwrap();
    assert_eq!(record["result"], "Interrupted");
    assert_eq!(changes(&after), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_deployment_stopped_while_waiting_for_approval_leaves_nothing() {
    let spec = SHOP.replacen("approval: none", "approval: required", 1);
    let rehearsal = rehearsal(&spec);
    let upload = rehearsal.upload("specs/shop.yaml", spec.as_bytes()).await.unwrap();
    let event = stopped(&rehearsal, upload, "AwaitApproval").await;
    let after = run(&rehearsal, event).await;
    assert_eq!(after.result(), Outcome::Superseded, "{:?}", after.error());
    let status = object(&rehearsal, "stacks/shop/status.json").await.unwrap();
    assert_eq!(status["result"], "Interrupted");
    assert!(object(&rehearsal, "stacks/shop/approval.json").await.is_none());
    assert_eq!(resources_but_logs(&rehearsal), Vec::<String>::new());
}

/// Runs the cleanup after an interrupted deployment, which must change nothing though the account differs from the baseline.
async fn cleans_up_without_a_change(rehearsal: &Rehearsal, event: Value, trigger: &str) {
    let before = resources(rehearsal);
    let cleanup = run(rehearsal, event).await;
    assert_eq!((cleanup.result(), changes(&cleanup)), (Outcome::Superseded, Vec::new()));
    assert_eq!(resources(rehearsal), before);
    let status = object(rehearsal, "stacks/shop/status.json").await.unwrap();
    assert_eq!((&status["result"], &status["trigger"]), (&json!("Interrupted"), &json!(trigger)));
    assert!(status["message"].as_str().unwrap().ends_with("Nothing was changed."), "{status}");
    for gone in ["approval", "lock"] {
        assert!(object(rehearsal, &format!("stacks/shop/{gone}.json")).await.is_none(), "{gone}");
    }
    // The stack can be deployed again.
    deployed(rehearsal, SHOP).await;
}

#[tokio::test(start_paused = true)]
async fn a_deployment_that_is_stopped_while_it_awaits_approval_is_not_rolled_back() {
    let rehearsal = rehearsal(SHOP);
    deployed(&rehearsal, SHOP).await;
    // A rollback would repair this, and nobody has agreed to that.
    open_the_database(&rehearsal).await;
    let required = with(SHOP, "approval: none", "approval: required");
    let event = rehearsal.upload("specs/shop.yaml", required.as_bytes()).await.unwrap();
    let abort = Abort::default();
    let person = async {
        while object(&rehearsal, "stacks/shop/approval.json").await.is_none() {
            pause(Duration::from_secs(1)).await;
        }
        pause(Duration::from_mins(5)).await;
        abort.stop("Stopped", "by the test");
    };
    let (stopped, ()) = tokio::join!(rehearsal.run(event.clone(), &(), &abort), person);
    assert_eq!(stopped.result(), Outcome::Interrupted);
    let interruption = rehearsal.interruption(&stopped.id, &event).unwrap();
    cleans_up_without_a_change(&rehearsal, interruption, "upload").await;
}

#[tokio::test(start_paused = true)]
async fn a_run_that_only_reports_is_not_rolled_back() {
    // The last one finds a stack that another version of Stackdrop made.
    for (request, trigger, made_by) in [
        (json!({ "action": "redeploy", "drift": "report", "scheduled": true }), "schedule", "0.2.0"),
        (json!({ "action": "redeploy", "drift": "report" }), "manual", "0.2.0"),
        (json!({ "action": "deploy", "drift": "report" }), "manual", "0.2.0"),
        (json!({ "action": "redeploy", "scheduled": true }), "schedule", "0.1.0"),
    ] {
        let mut rehearsal = rehearsal(SHOP);
        rehearsal.update_to(made_by);
        deployed(&rehearsal, SHOP).await;
        rehearsal.update_to("0.2.0");
        open_the_database(&rehearsal).await;
        let mut input = request;
        input["stack"] = json!("shop");
        let event = stopped(&rehearsal, input, "Review").await;
        cleans_up_without_a_change(&rehearsal, event, trigger).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_stopped_run_that_repairs_is_rolled_back() {
    let rehearsal = rehearsal(SHOP);
    deployed(&rehearsal, SHOP).await;
    open_the_database(&rehearsal).await;
    for request in [
        json!({ "stack": "shop", "action": "redeploy", "scheduled": true }),
        json!({ "stack": "shop", "action": "deploy" }),
    ] {
        let event = stopped(&rehearsal, request, "Review").await;
        let after = run(&rehearsal, event).await;
        assert_eq!(after.result(), Outcome::Failed, "{:?}", after.error());
        assert!(after.error().unwrap().contains("was stopped by hand"), "{:?}", after.error());
    }
}
