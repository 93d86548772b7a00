//! Deployments that wait for approval: a restart after a rotation does not.

use std::time::Duration;

use serde_json::{Value, json};
use stackdrop::Rehearsal;
use stackdrop_functions::deployment::outcome::Outcome;
use stackdrop_simulator::{Fault, FaultKind, When};

use super::{rotate_by_hand, without_password};
use crate::{SHOP, changes, deployed, object, open_the_database, pause, rehearsal, run, with};

/// The example, deployed; from now on, deployments require approval.
async fn with_approval() -> (Rehearsal, String) {
    let spec = with(SHOP, "approval: none", "approval: required");
    let rehearsal = rehearsal(&spec);
    let (first, ()) = tokio::join!(rehearsal.deploy(&spec, &()), approve(&rehearsal, ""));
    assert_eq!(first.unwrap().result(), Outcome::Succeeded);
    (rehearsal, spec)
}

/// Waits for an approval request with another token than this one.
async fn requested(rehearsal: &Rehearsal, before: &str) -> Value {
    for _ in 0..600 {
        pause(Duration::from_secs(1)).await;
        let request = object(rehearsal, "stacks/shop/approval.json").await;
        if let Some(request) = request.filter(|request| request["token"] != before) {
            // The simulator takes a token once the function that wrote it has ended.
            pause(Duration::from_secs(5)).await;
            return request;
        }
    }
    panic!("nobody was asked for approval");
}

async fn approve(rehearsal: &Rehearsal, before: &str) {
    let request = requested(rehearsal, before).await;
    let call = rehearsal.aws().sfn().send_task_success().task_token(request["token"].as_str().unwrap());
    let reply = json!({ "approved": true, "plan": request["plan"] });
    call.output(reply.to_string()).send().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_restart_after_a_rotation_needs_no_approval() {
    let (rehearsal, spec) = with_approval().await;
    rotate_by_hand(&rehearsal).await;
    let restarted = deployed(&rehearsal, &spec).await;
    assert_eq!(changes(&restarted), ["ecs:UpdateService"]);
    assert_eq!(without_password(&rehearsal), []);
}

#[tokio::test(start_paused = true)]
async fn other_changes_wait_for_approval_but_the_restart_does_not() {
    let (rehearsal, spec) = with_approval().await;
    open_the_database(&rehearsal).await;
    rotate_by_hand(&rehearsal).await;
    let person = async {
        let request = requested(&rehearsal, "").await;
        assert_eq!(without_password(&rehearsal), [], "the services were restarted before");
        assert_eq!(request["changes"].as_array().unwrap().len(), 1, "{request}");
        approve(&rehearsal, "").await;
    };
    let (repaired, ()) = tokio::join!(deployed(&rehearsal, &spec), person);
    assert_eq!(changes(&repaired), ["ecs:UpdateService", "ec2:RevokeSecurityGroupIngress"]);
}

#[tokio::test(start_paused = true)]
async fn a_rotation_while_a_plan_awaits_approval_restarts_the_services_and_asks_again() {
    let (rehearsal, spec) = with_approval().await;
    let debug = with(&spec, "LOG_LEVEL: info", "LOG_LEVEL: debug");
    let person = async {
        let request = requested(&rehearsal, "").await;
        rotate_by_hand(&rehearsal).await;
        let notified = run(&rehearsal, rehearsal.secret_events(0).remove(0)).await;
        assert_eq!(changes(&notified), ["states:SendTaskSuccess"]);
        let token = request["token"].as_str().unwrap();
        let again = requested(&rehearsal, token).await;
        assert_eq!(without_password(&rehearsal), [], "the services were restarted first");
        assert_eq!(again["changes"], request["changes"], "the plan is the same as before");
        approve(&rehearsal, token).await;
    };
    let (updated, ()) = tokio::join!(deployed(&rehearsal, &debug), person);
    assert_eq!(updated.result(), Outcome::Succeeded);
    assert_eq!(changes(&updated).iter().filter(|call| *call == "ecs:UpdateService").count(), 2);
}

#[tokio::test(start_paused = true)]
async fn approval_is_requested_although_the_restart_fails() {
    let (rehearsal, spec) = with_approval().await;
    rotate_by_hand(&rehearsal).await;
    rehearsal.account().arm(Fault::at("ecs", "UpdateService", When::Only(1), FaultKind::ResourceFails));
    let debug = with(&spec, "LOG_LEVEL: info", "LOG_LEVEL: debug");
    let (updated, ()) = tokio::join!(deployed(&rehearsal, &debug), approve(&rehearsal, ""));
    assert_eq!(updated.result(), Outcome::Succeeded);
    assert_eq!(without_password(&rehearsal), []);
}

#[tokio::test(start_paused = true)]
async fn a_scheduled_rotation_leaves_a_plan_that_awaits_approval_alone() {
    let (rehearsal, spec) = with_approval().await;
    let debug = with(&spec, "LOG_LEVEL: info", "LOG_LEVEL: debug");
    let person = async {
        requested(&rehearsal, "").await;
        let skipped = run(&rehearsal, json!({ "stack": "shop", "action": "rotate" })).await;
        assert_eq!(changes(&skipped), Vec::<String>::new());
        approve(&rehearsal, "").await;
    };
    let (updated, ()) = tokio::join!(deployed(&rehearsal, &debug), person);
    assert_eq!(updated.result(), Outcome::Succeeded);
}
