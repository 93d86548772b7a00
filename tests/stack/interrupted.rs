//! Executions that were stopped by hand or timed out: no Catch of theirs ran, and another deployment looks after them.

use serde_json::{Value, json};
use stackdrop::Rehearsal;
use stackdrop_functions::deployment::outcome::Outcome;
use stackdrop_statemachine::Abort;

use crate::{SHOP, StopAt, asked, changes, deployed, object, rehearsal, standing, unprotected};

/// Runs an execution with this input and stops it at a step; gives the event of that.
async fn stopped(rehearsal: &Rehearsal, input: Value, step: &'static str) -> Value {
    let abort = Abort::default();
    let watch = StopAt(step, abort.clone());
    let stopped = rehearsal.run(input.clone(), &watch, &abort).await;
    assert_eq!(stopped.result(), Outcome::Interrupted, "it came to {step}");
    rehearsal.interruption(&stopped.id, &input).unwrap()
}

#[tokio::test(start_paused = true)]
async fn what_a_stopped_first_deployment_made_is_removed() {
    for step in ["Plan", "Network", "Database", "AwaitEgress", "WaitUntilStable"] {
        let rehearsal = rehearsal(SHOP);
        let upload = rehearsal.upload("specs/shop.yaml", SHOP.as_bytes()).await.unwrap();
        let event = stopped(&rehearsal, upload, step).await;
        let after = asked(&rehearsal, event).await;
        assert_eq!(after.result(), Outcome::Failed, "{step}: {:?}", after.error());
        let error = after.error().unwrap();
        assert!(error.contains("Interrupted") && error.contains("was stopped by hand"), "{error}");
        assert_eq!(standing(&rehearsal), Vec::<String>::new(), "{step}");
        assert!(object(&rehearsal, "stacks/shop/lock.json").await.is_none());
        let record = object(&rehearsal, "stacks/shop/history/deployment-1.json").await.unwrap();
        assert_eq!(record["result"], "Interrupted");
        let status = object(&rehearsal, "stacks/shop/status.json").await.unwrap();
        assert_eq!((&status["result"], &status["deployment"]), (&json!("Failed"), &json!(after.id)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_stopped_update_returns_to_the_baseline() {
    let rehearsal = rehearsal(SHOP);
    deployed(&rehearsal, SHOP).await;
    let before = standing(&rehearsal);
    let update = SHOP.replacen("zones: 2", "zones: 3", 1);
    let upload = rehearsal.upload("specs/shop.yaml", update.as_bytes()).await.unwrap();
    let event = stopped(&rehearsal, upload, "Instance").await;
    assert_ne!(standing(&rehearsal), before);
    let after = asked(&rehearsal, event).await;
    assert_eq!(after.result(), Outcome::Failed, "{:?}", after.error());
    assert_eq!(standing(&rehearsal), before);
}

#[tokio::test(start_paused = true)]
async fn a_stopped_deployment_that_is_to_be_kept_is_kept_and_lets_go_of_the_lock() {
    let spec = SHOP.replacen("onFailure: rollback", "onFailure: keep", 1);
    let rehearsal = rehearsal(&spec);
    let upload = rehearsal.upload("specs/shop.yaml", spec.as_bytes()).await.unwrap();
    let event = stopped(&rehearsal, upload, "LoadBalancer").await;
    let before = standing(&rehearsal);
    let after = asked(&rehearsal, event).await;
    assert_eq!(after.result(), Outcome::Kept, "{:?}", after.error());
    // The step's function was not stopped with its execution: it may have made more, but nothing is gone.
    let after = standing(&rehearsal);
    assert!(before.iter().all(|item| after.contains(item)), "{after:?}");
    assert!(object(&rehearsal, "stacks/shop/lock.json").await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_stopped_undo_is_brought_to_its_end() {
    use stackdrop_simulator::{Fault, FaultKind, When};
    for step in ["DeleteEgress", "AwaitDeletion", "DeleteNetwork"] {
        let rehearsal = rehearsal(SHOP);
        let refused = FaultKind::Refused { code: "RefusedByTest".into(), message: "the test says no".into() };
        rehearsal.account().arm(Fault::at("ecs", "CreateService", When::From(1), refused));
        let upload = rehearsal.upload("specs/shop.yaml", SHOP.as_bytes()).await.unwrap();
        let event = stopped(&rehearsal, upload, step).await;
        let after = asked(&rehearsal, event).await;
        assert_eq!(after.result(), Outcome::Failed, "{step}: {:?}", after.error());
        assert_eq!(standing(&rehearsal), Vec::<String>::new(), "{step}");
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_looks_after_a_stopped_deployment_may_be_stopped_too() {
    let rehearsal = rehearsal(SHOP);
    let upload = rehearsal.upload("specs/shop.yaml", SHOP.as_bytes()).await.unwrap();
    let event = stopped(&rehearsal, upload, "Service").await;
    let second = stopped(&rehearsal, event, "AwaitDeletion").await;
    let after = asked(&rehearsal, second).await;
    assert_eq!(after.result(), Outcome::Failed, "{:?}", after.error());
    assert_eq!(standing(&rehearsal), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_stopped_removal_says_that_it_is_not_finished_and_can_be_started_again() {
    let spec = unprotected();
    let rehearsal = rehearsal(&spec);
    deployed(&rehearsal, &spec).await;
    let destroy = json!({ "stack": "shop", "action": "destroy" });
    let event = stopped(&rehearsal, destroy.clone(), "DeleteDatabase").await;
    let after = asked(&rehearsal, event).await;
    assert_eq!(after.result(), Outcome::DestroyFailed);
    assert!(after.error().unwrap().contains("not destroyed completely"), "{:?}", after.error());
    let again = asked(&rehearsal, destroy).await;
    assert_eq!(again.result(), Outcome::Destroyed, "{:?}", again.error());
}

#[tokio::test(start_paused = true)]
async fn the_next_upload_may_come_first_and_then_nothing_is_undone() {
    let rehearsal = rehearsal(SHOP);
    let upload = rehearsal.upload("specs/shop.yaml", SHOP.as_bytes()).await.unwrap();
    let event = stopped(&rehearsal, upload, "LoadBalancer").await;
    deployed(&rehearsal, SHOP).await;
    let before = standing(&rehearsal);
    let after = asked(&rehearsal, event).await;
    assert_eq!(after.result(), Outcome::Superseded);
    assert_eq!(standing(&rehearsal), before);
    let record = object(&rehearsal, "stacks/shop/history/deployment-1.json").await.unwrap();
    assert_eq!(record["result"], "Interrupted");
    assert_eq!(changes(&after), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_deployment_that_was_stopped_while_it_waited_for_approval_is_forgotten() {
    let spec = SHOP.replacen("approval: none", "approval: required", 1);
    let rehearsal = rehearsal(&spec);
    let upload = rehearsal.upload("specs/shop.yaml", spec.as_bytes()).await.unwrap();
    let event = stopped(&rehearsal, upload, "AwaitApproval").await;
    let after = asked(&rehearsal, event).await;
    assert_eq!(after.result(), Outcome::Failed, "{:?}", after.error());
    assert!(object(&rehearsal, "stacks/shop/approval.json").await.is_none());
    assert_eq!(standing(&rehearsal), Vec::<String>::new());
}
