//! Deployments that wait until a person approves or rejects the plan.

use stackdrop_functions::deployment::outcome::Outcome;
use std::time::Duration;

use serde_json::{Value, json};
use stackdrop::{Deployed, Rehearsal};
use stackdrop_simulator::{Fault, FaultKind, When};
use stackdrop_statemachine::Abort;

use crate::{SHOP, changes, deployed, object, open_the_database, pause, rehearsal, resources};

fn with_approval(spec: &str) -> String {
    let with_approval = spec.replacen("approval: none", "approval: required", 1);
    assert_ne!(with_approval, spec);
    with_approval
}

/// Waits for the approval request.
async fn approval_request(rehearsal: &Rehearsal) -> Value {
    for _ in 0..600 {
        if let Some(approval_request) = object(rehearsal, "stacks/shop/approval.json").await {
            return approval_request;
        }
        pause(Duration::from_secs(1)).await;
    }
    panic!("there is no approval request");
}

async fn reply(rehearsal: &Rehearsal, answer: Value) {
    let approval_request = approval_request(rehearsal).await;
    let token = approval_request["token"].as_str().unwrap();
    let call = rehearsal.aws().sfn().send_task_success().task_token(token).output(answer.to_string());
    call.send().await.unwrap();
}

async fn deploy(rehearsal: &Rehearsal, spec: &str) -> Deployed {
    rehearsal.deploy(spec, &()).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn nothing_is_changed_before_approval() {
    let spec = with_approval(SHOP);
    let rehearsal = rehearsal(&spec);
    let person = async {
        let approval_request = approval_request(&rehearsal).await;
        assert_eq!(resources(&rehearsal), Vec::<String>::new());
        let lines = approval_request["changes"].as_array().unwrap();
        assert!(lines.iter().any(|line| line == "network: create vpc"), "{lines:?}");
        let status = object(&rehearsal, "stacks/shop/status.json").await.unwrap();
        assert_eq!(status["result"], "AwaitingApproval");
        let (message, next) = (status["message"].as_str().unwrap(), status["next"].as_str().unwrap());
        assert!(message.contains("changes: about ") && message.contains("USD a month"), "{message}");
        let file = format!("s3://{}/stacks/shop/approval.json", rehearsal.aws().settings.bucket);
        for text in ["stackdrop approve shop", "stackdrop reject shop", "send-task-success", &file] {
            assert!(next.contains(text), "{text} is not in {next}");
        }
        // A person answers after a day.
        pause(Duration::from_hours(24)).await;
        reply(&rehearsal, json!({ "approved": true, "by": "anna" })).await;
        pause(Duration::from_mins(1)).await;
        assert_eq!(object(&rehearsal, "stacks/shop/status.json").await.unwrap()["result"], "Running");
    };
    let (deployed, ()) = tokio::join!(deploy(&rehearsal, &spec), person);
    assert_eq!(deployed.result(), Outcome::Succeeded, "{:?}", deployed.error());
    assert!(object(&rehearsal, "stacks/shop/approval.json").await.is_none());
    assert!(
        rehearsal.account().messages().iter().any(|message| message.message.contains("awaiting-approval"))
    );
    let waited = deployed.outcome.steps.iter().find(|step| step.name == "AwaitApproval").unwrap();
    assert_eq!(waited.attempts, 1, "the task is not retried while it waits");
}

#[tokio::test(start_paused = true)]
async fn an_up_to_date_stack_needs_no_approval() {
    let spec = with_approval(SHOP);
    let rehearsal = rehearsal(&spec);
    let (first, ()) = tokio::join!(deploy(&rehearsal, &spec), reply(&rehearsal, json!({ "approved": true })));
    assert_eq!(first.result(), Outcome::Succeeded, "{:?}", first.error());
    let second = deployed(&rehearsal, &spec).await;
    assert_eq!(changes(&second), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_rejected_plan_changes_nothing_and_names_who_rejected_it() {
    let spec = with_approval(SHOP);
    let rehearsal = rehearsal(&spec);
    let answer = json!({ "approved": false, "by": "anna", "reason": "not on a Friday" });
    let (rejected, ()) = tokio::join!(deploy(&rehearsal, &spec), reply(&rehearsal, answer));
    assert_eq!(rejected.result(), Outcome::ApprovalRejected);
    let error = rejected.error().unwrap();
    assert!(error.contains("rejected by anna: not on a Friday"), "{error}");
    assert_eq!(changes(&rejected), Vec::<String>::new());
    assert!(object(&rehearsal, "stacks/shop/approval.json").await.is_none());
    assert!(object(&rehearsal, "stacks/shop/lock.json").await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_task_failure_sent_with_the_token_rejects_the_plan() {
    let spec = with_approval(SHOP);
    let rehearsal = rehearsal(&spec);
    let person = async {
        let approval_request = approval_request(&rehearsal).await;
        let call =
            rehearsal.aws().sfn().send_task_failure().task_token(approval_request["token"].as_str().unwrap());
        call.error("No").cause("the budget is spent").send().await.unwrap();
    };
    let (rejected, ()) = tokio::join!(deploy(&rehearsal, &spec), person);
    assert_eq!(rejected.result(), Outcome::ApprovalRejected);
    assert!(rejected.error().unwrap().contains("the budget is spent"), "{:?}", rejected.error());
}

#[tokio::test(start_paused = true)]
async fn a_task_failure_without_a_name_rejects_the_plan() {
    let spec = with_approval(SHOP);
    let rehearsal = rehearsal(&spec);
    let person = async {
        let approval_request = approval_request(&rehearsal).await;
        let token = approval_request["token"].as_str().unwrap();
        rehearsal.aws().sfn().send_task_failure().task_token(token).send().await.unwrap();
    };
    let (rejected, ()) = tokio::join!(deploy(&rehearsal, &spec), person);
    assert_eq!(rejected.result(), Outcome::ApprovalRejected);
    let error = rejected.error().unwrap();
    assert!(error.ends_with("Nothing was changed: the plan was rejected."), "{error}");
}

#[tokio::test(start_paused = true)]
async fn an_approval_is_valid_only_for_the_plan_that_was_shown() {
    let rehearsal = rehearsal(SHOP);
    deployed(&rehearsal, SHOP).await;
    let spec = with_approval(&SHOP.replacen("LOG_LEVEL: info", "LOG_LEVEL: debug", 1));
    let person = async {
        let first = approval_request(&rehearsal).await;
        // A manual change in the meantime leads to another plan.
        open_the_database(&rehearsal).await;
        reply(&rehearsal, json!({ "approved": true })).await;
        loop {
            let second = approval_request(&rehearsal).await;
            if second["token"] != first["token"] {
                assert_ne!(second["changes"], first["changes"]);
                break;
            }
            pause(Duration::from_secs(1)).await;
        }
        reply(&rehearsal, json!({ "approved": true })).await;
    };
    let (deployed, ()) = tokio::join!(deploy(&rehearsal, &spec), person);
    assert_eq!(deployed.result(), Outcome::Succeeded, "{:?}", deployed.error());
    assert!(changes(&deployed).contains(&"ec2:RevokeSecurityGroupIngress".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_newer_version_supersedes_a_deployment_that_waits_for_approval() {
    let spec = with_approval(SHOP);
    let rehearsal = rehearsal(&spec);
    let newer = async {
        approval_request(&rehearsal).await;
        deploy(&rehearsal, SHOP).await
    };
    let (older, newer) = tokio::join!(deploy(&rehearsal, &spec), newer);
    assert_eq!((older.result(), newer.result()), (Outcome::Superseded, Outcome::Succeeded));
    assert_eq!(changes(&older), Vec::<String>::new());
    let cause = older.conclusion().unwrap()["cause"].as_str().unwrap().to_owned();
    assert!(cause.contains("another deployment of the stack was requested"), "{cause}");
}

#[tokio::test(start_paused = true)]
async fn a_newer_version_waits_for_a_deployment_whose_plan_was_answered_just_now() {
    for code in ["TaskTimedOut", "TaskDoesNotExist", "InvalidToken"] {
        let spec = with_approval(SHOP);
        let rehearsal = rehearsal(&spec);
        let closed = FaultKind::Refused { code: code.into(), message: "the task has ended".into() };
        rehearsal.account().arm(Fault::at("states", "SendTaskFailure", When::Only(1), closed));
        let newer = async {
            approval_request(&rehearsal).await;
            deploy(&rehearsal, SHOP).await
        };
        let (older, newer) = tokio::join!(deploy(&rehearsal, &spec), newer);
        assert_eq!((older.result(), newer.result()), (Outcome::Superseded, Outcome::Succeeded), "{code}");
        assert_eq!(rehearsal.account().strikes().len(), 1, "{code}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_approval_that_comes_after_a_newer_upload_deploys_nothing() {
    let spec = with_approval(SHOP);
    let rehearsal = rehearsal(&spec);
    let person = async {
        approval_request(&rehearsal).await;
        // Its event has not arrived yet.
        rehearsal.upload("specs/shop.yaml", SHOP.as_bytes()).await.unwrap();
        reply(&rehearsal, json!({ "approved": true })).await;
    };
    let (older, ()) = tokio::join!(deploy(&rehearsal, &spec), person);
    assert_eq!(older.result(), Outcome::Superseded, "{:?}", older.error());
    assert_eq!(changes(&older), Vec::<String>::new());
    let cause = older.conclusion().unwrap()["cause"].as_str().unwrap().to_owned();
    assert!(cause.contains("specs/shop.yaml was changed while its plan awaited approval"), "{cause}");
}

#[tokio::test(start_paused = true)]
async fn the_schedule_does_not_interrupt_a_deployment_that_waits_for_approval() {
    let rehearsal = rehearsal(SHOP);
    deployed(&rehearsal, SHOP).await;
    let spec = with_approval(&SHOP.replacen("LOG_LEVEL: info", "LOG_LEVEL: debug", 1));
    let (abort, nobody) = (Abort::default(), ());
    let night = async {
        approval_request(&rehearsal).await;
        let input = json!({ "stack": "shop", "action": "redeploy" });
        let scheduled = rehearsal.run(input, &nobody, &abort).await;
        reply(&rehearsal, json!({ "approved": true })).await;
        scheduled
    };
    let (deployed, scheduled) = tokio::join!(deploy(&rehearsal, &spec), night);
    assert_eq!((scheduled.result(), deployed.result()), (Outcome::Superseded, Outcome::Succeeded));
}

#[tokio::test(start_paused = true)]
async fn an_unanswered_plan_fails_after_three_days_and_changes_nothing() {
    let spec = with_approval(SHOP);
    let rehearsal = rehearsal(&spec);
    let forgotten = deploy(&rehearsal, &spec).await;
    assert_eq!(forgotten.result(), Outcome::Failed);
    assert!(forgotten.error().unwrap().contains("in three days"), "{:?}", forgotten.error());
    assert_eq!(resources(&rehearsal), Vec::<String>::new());
    assert!(object(&rehearsal, "stacks/shop/lock.json").await.is_none());
}
