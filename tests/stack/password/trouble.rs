//! Rotations and restarts that fail, or are stopped.

use std::time::Duration;

use serde_json::json;
use stackdrop_functions::deployment::outcome::Outcome;
use stackdrop_simulator::{Fault, FaultKind, Incident, When};
use stackdrop_statemachine::Abort;

use super::{rotate_by_hand, without_password};
use crate::{MINIMAL, SHOP, StopAt, changes, deployed, object, pause, rehearsal, run, with};

#[tokio::test(start_paused = true)]
async fn a_secret_that_cannot_be_rotated_is_a_warning_and_a_failed_rotation() {
    let rehearsal = rehearsal(SHOP);
    deployed(&rehearsal, SHOP).await;
    let changed = rehearsal.account().cause(Incident::named("database-secret-impaired").unwrap(), "shop");
    assert_eq!(changed.len(), 1);
    // The current password works: nothing has to change.
    let again = run(&rehearsal, json!({ "stack": "shop" })).await;
    assert_eq!(changes(&again), Vec::<String>::new());
    let status = object(&rehearsal, "stacks/shop/status.json").await.unwrap();
    assert!(status["message"].as_str().unwrap().contains("can no longer rotate the secret"), "{status}");
    let before = rehearsal.account().clock().elapsed();
    let failed = run(&rehearsal, json!({ "stack": "shop", "action": "rotate" })).await;
    let took = rehearsal.account().clock().elapsed().checked_sub(before).unwrap();
    assert_eq!(failed.result(), Outcome::Failed);
    let error = failed.error().unwrap();
    assert!(error.contains("impaired") && error.contains("turn the management"), "{error}");
    assert!(error.contains("still have the current password"), "{error}");
    assert!(took < Duration::from_mins(2), "{took:?}");
    assert_eq!(changes(&failed), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn the_password_of_a_stopped_database_does_not_change_and_a_person_is_told_at_once() {
    let rehearsal = rehearsal(SHOP);
    deployed(&rehearsal, SHOP).await;
    let changed = rehearsal.account().cause(Incident::named("database-stopped").unwrap(), "shop");
    assert_eq!(changed.len(), 1);
    pause(Duration::from_mins(10)).await;
    let before = rehearsal.account().clock().elapsed();
    let failed = run(&rehearsal, json!({ "stack": "shop", "action": "rotate" })).await;
    let took = rehearsal.account().clock().elapsed().checked_sub(before).unwrap();
    assert_eq!(failed.result(), Outcome::Failed);
    let error = failed.error().unwrap();
    assert!(error.contains("Somebody stopped it: deploy again, which starts it"), "{error}");
    assert!(took < Duration::from_mins(1), "{took:?}");
    assert_eq!(changes(&failed), Vec::<String>::new());
    run(&rehearsal, json!({ "stack": "shop" })).await;
    let rotated = run(&rehearsal, json!({ "stack": "shop", "action": "rotate" })).await;
    assert_eq!(rotated.result(), Outcome::Succeeded, "{:?}", rotated.error());
    assert_eq!(without_password(&rehearsal), []);
}

#[tokio::test(start_paused = true)]
async fn a_restart_that_fails_is_reported_and_tried_again_by_the_next_deployment() {
    let rehearsal = rehearsal(SHOP);
    deployed(&rehearsal, SHOP).await;
    rotate_by_hand(&rehearsal).await;
    rehearsal.account().arm(Fault::at("ecs", "UpdateService", When::Only(1), FaultKind::ResourceFails));
    let failed = run(&rehearsal, rehearsal.secret_events(0).remove(0)).await;
    assert_eq!(failed.result(), Outcome::Failed);
    let error = failed.error().unwrap();
    assert!(
        error.contains("ECS service web") && error.contains("The next deployment restarts them"),
        "{error}"
    );
    assert_eq!(without_password(&rehearsal).len(), 2, "ECS keeps the previous tasks");
    let next = run(&rehearsal, json!({ "stack": "shop", "action": "redeploy" })).await;
    assert_eq!(next.result(), Outcome::Succeeded, "{:?}", next.error());
    assert_eq!(without_password(&rehearsal), []);
}

#[tokio::test(start_paused = true)]
async fn a_deployment_whose_restart_fails_does_not_fail_again_in_its_rollback() {
    let rehearsal = rehearsal(SHOP);
    deployed(&rehearsal, SHOP).await;
    rotate_by_hand(&rehearsal).await;
    rehearsal.account().arm(Fault::at("ecs", "UpdateService", When::From(1), FaultKind::ResourceFails));
    let failed = run(&rehearsal, json!({ "stack": "shop", "action": "redeploy" })).await;
    assert_eq!(failed.result(), Outcome::Failed, "{:?}", failed.error());
}

#[tokio::test(start_paused = true)]
async fn an_update_that_repairs_a_service_is_deployed_although_its_restart_fails() {
    let rehearsal = rehearsal(SHOP);
    deployed(&rehearsal, SHOP).await;
    rotate_by_hand(&rehearsal).await;
    rehearsal.account().arm(Fault::at("ecs", "UpdateService", When::Only(1), FaultKind::ResourceFails));
    let updated = deployed(&rehearsal, &with(SHOP, "LOG_LEVEL: info", "LOG_LEVEL: debug")).await;
    assert_eq!(changes(&updated).iter().filter(|call| *call == "ecs:UpdateService").count(), 2);
    assert_eq!(without_password(&rehearsal), []);
}

#[tokio::test(start_paused = true)]
async fn a_redeploy_that_only_reports_drift_says_that_the_restart_failed() {
    let spec = with(SHOP, "drift: repair", "drift: report");
    let rehearsal = rehearsal(&spec);
    deployed(&rehearsal, &spec).await;
    crate::open_the_database(&rehearsal).await;
    rotate_by_hand(&rehearsal).await;
    rehearsal.account().arm(Fault::at("ecs", "UpdateService", When::Only(1), FaultKind::ResourceFails));
    let request = json!({ "stack": "shop", "action": "redeploy", "drift": "report" });
    let reported = run(&rehearsal, request).await;
    assert_eq!(reported.result(), Outcome::Failed);
    let error = reported.error().unwrap();
    assert!(
        error.contains("The next deployment restarts them") && error.contains("only reported"),
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_stopped_rotation_is_finished_with_a_restart() {
    let rehearsal = rehearsal(SHOP);
    deployed(&rehearsal, SHOP).await;
    let abort = Abort::default();
    let request = json!({ "stack": "shop", "action": "rotate" });
    let watch = StopAt("RotatePassword", abort.clone());
    let stopped = rehearsal.run(request.clone(), &watch, &abort).await;
    pause(Duration::from_mins(1)).await;
    assert_eq!(without_password(&rehearsal).len(), 2);
    let event = rehearsal.interruption(&stopped.id, &request).unwrap();
    let finished = run(&rehearsal, event).await;
    assert_eq!(finished.result(), Outcome::Succeeded, "{:?}", finished.error());
    assert_eq!(changes(&finished), ["ecs:UpdateService"]);
    assert_eq!(without_password(&rehearsal), []);
    assert!(object(&rehearsal, "stacks/shop/lock.json").await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_stopped_restart_is_repeated() {
    let rehearsal = rehearsal(SHOP);
    deployed(&rehearsal, SHOP).await;
    rotate_by_hand(&rehearsal).await;
    let event = rehearsal.secret_events(0).remove(0);
    let abort = Abort::default();
    let stopped = rehearsal.run(event.clone(), &StopAt("RestartServices", abort.clone()), &abort).await;
    let again = run(&rehearsal, rehearsal.interruption(&stopped.id, &event).unwrap()).await;
    assert_eq!(again.result(), Outcome::Succeeded, "{:?}", again.error());
    assert_eq!(without_password(&rehearsal), []);
}

#[tokio::test(start_paused = true)]
async fn a_database_without_a_deployed_stack_is_not_rotated() {
    let rehearsal = rehearsal(SHOP);
    let refused = run(&rehearsal, json!({ "stack": "shop", "action": "rotate" })).await;
    assert_eq!(changes(&refused), Vec::<String>::new());
    pause(Duration::from_secs(1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_stack_without_a_database_has_no_password_to_rotate() {
    let rehearsal = rehearsal(MINIMAL);
    deployed(&rehearsal, MINIMAL).await;
    let skipped = run(&rehearsal, json!({ "stack": "hello", "action": "rotate" })).await;
    assert_eq!((skipped.result(), changes(&skipped)), (Outcome::Superseded, Vec::new()));
    assert!(object(&rehearsal, "stacks/hello/lock.json").await.is_none());
}
