//! Somebody agrees to a plan before anything is changed, or does not.

use stackdrop_functions::deployment::outcome::Outcome;
use std::time::Duration;

use serde_json::{Value, json};
use stackdrop::{Deployed, Rehearsal};
use stackdrop_statemachine::Abort;

use crate::{SHOP, changes, deployed, object, open_the_database, pause, rehearsal, standing};

fn cautious(spec: &str) -> String {
    let cautious = spec.replacen("approval: none", "approval: required", 1);
    assert_ne!(cautious, spec);
    cautious
}

/// The question that waits, once it does.
async fn question(rehearsal: &Rehearsal) -> Value {
    for _ in 0..600 {
        if let Some(question) = object(rehearsal, "stacks/shop/approval.json").await {
            return question;
        }
        pause(Duration::from_secs(1)).await;
    }
    panic!("nobody was asked");
}

async fn agree(rehearsal: &Rehearsal, answer: Value) {
    let question = question(rehearsal).await;
    let token = question["token"].as_str().unwrap();
    let call = rehearsal.aws().sfn().send_task_success().task_token(token).output(answer.to_string());
    call.send().await.unwrap();
}

async fn deploy(rehearsal: &Rehearsal, spec: &str) -> Deployed {
    rehearsal.deploy(spec, &()).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn nothing_is_changed_before_somebody_agrees() {
    let spec = cautious(SHOP);
    let rehearsal = rehearsal(&spec);
    let person = async {
        let question = question(&rehearsal).await;
        assert_eq!(standing(&rehearsal), Vec::<String>::new());
        let lines = question["changes"].as_array().unwrap();
        assert!(lines.iter().any(|line| line == "network: create vpc"), "{lines:?}");
        let status = object(&rehearsal, "stacks/shop/status.json").await.unwrap();
        assert_eq!(status["result"], "AwaitingApproval");
        // It may take a day, which costs nothing.
        pause(Duration::from_hours(24)).await;
        agree(&rehearsal, json!({ "approved": true, "by": "anna" })).await;
        pause(Duration::from_mins(1)).await;
        assert_eq!(object(&rehearsal, "stacks/shop/status.json").await.unwrap()["result"], "Running");
    };
    let (deployed, ()) = tokio::join!(deploy(&rehearsal, &spec), person);
    assert_eq!(deployed.result(), Outcome::Succeeded, "{:?}", deployed.error());
    assert!(object(&rehearsal, "stacks/shop/approval.json").await.is_none());
    assert!(
        rehearsal.account().messages().iter().any(|message| message.message.contains("waiting-for-approval"))
    );
    let waited = deployed.outcome.steps.iter().find(|step| step.name == "AwaitApproval").unwrap();
    assert_eq!(waited.attempts, 1, "nothing was asked while it waited");
}

#[tokio::test(start_paused = true)]
async fn a_stack_that_is_right_needs_no_approval() {
    let spec = cautious(SHOP);
    let rehearsal = rehearsal(&spec);
    let (first, ()) = tokio::join!(deploy(&rehearsal, &spec), agree(&rehearsal, json!({ "approved": true })));
    assert_eq!(first.result(), Outcome::Succeeded, "{:?}", first.error());
    let second = deployed(&rehearsal, &spec).await;
    assert_eq!(changes(&second), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_plan_that_is_rejected_changes_nothing_and_says_by_whom() {
    let spec = cautious(SHOP);
    let rehearsal = rehearsal(&spec);
    let answer = json!({ "approved": false, "by": "anna", "reason": "not on a Friday" });
    let (declined, ()) = tokio::join!(deploy(&rehearsal, &spec), agree(&rehearsal, answer));
    assert_eq!(declined.result(), Outcome::ApprovalRejected);
    let error = declined.error().unwrap();
    assert!(error.contains("rejected by anna: not on a Friday"), "{error}");
    assert_eq!(changes(&declined), Vec::<String>::new());
    assert!(object(&rehearsal, "stacks/shop/approval.json").await.is_none());
    assert!(object(&rehearsal, "stacks/shop/lock.json").await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_failure_sent_with_the_token_rejects_too() {
    let spec = cautious(SHOP);
    let rehearsal = rehearsal(&spec);
    let person = async {
        let question = question(&rehearsal).await;
        let call = rehearsal.aws().sfn().send_task_failure().task_token(question["token"].as_str().unwrap());
        call.error("No").cause("the budget is spent").send().await.unwrap();
    };
    let (declined, ()) = tokio::join!(deploy(&rehearsal, &spec), person);
    assert_eq!(declined.result(), Outcome::ApprovalRejected);
    assert!(declined.error().unwrap().contains("the budget is spent"), "{:?}", declined.error());
}

#[tokio::test(start_paused = true)]
async fn an_approval_holds_for_the_plan_that_was_shown_and_no_other() {
    let rehearsal = rehearsal(SHOP);
    deployed(&rehearsal, SHOP).await;
    let spec = cautious(&SHOP.replacen("LOG_LEVEL: info", "LOG_LEVEL: debug", 1));
    let person = async {
        let first = question(&rehearsal).await;
        // Meanwhile somebody changes the account by hand, so that the plan is another.
        open_the_database(&rehearsal).await;
        agree(&rehearsal, json!({ "approved": true })).await;
        loop {
            let second = question(&rehearsal).await;
            if second["token"] != first["token"] {
                assert_ne!(second["changes"], first["changes"]);
                break;
            }
            pause(Duration::from_secs(1)).await;
        }
        agree(&rehearsal, json!({ "approved": true })).await;
    };
    let (deployed, ()) = tokio::join!(deploy(&rehearsal, &spec), person);
    assert_eq!(deployed.result(), Outcome::Succeeded, "{:?}", deployed.error());
    assert!(changes(&deployed).contains(&"ec2:RevokeSecurityGroupIngress".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_newer_version_takes_the_place_of_one_that_waits() {
    let spec = cautious(SHOP);
    let rehearsal = rehearsal(&spec);
    let newer = async {
        question(&rehearsal).await;
        deploy(&rehearsal, SHOP).await
    };
    let (older, newer) = tokio::join!(deploy(&rehearsal, &spec), newer);
    assert_eq!((older.result(), newer.result()), (Outcome::Superseded, Outcome::Succeeded));
    assert_eq!(changes(&older), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn the_schedule_leaves_a_deployment_that_waits_alone() {
    let rehearsal = rehearsal(SHOP);
    deployed(&rehearsal, SHOP).await;
    let spec = cautious(&SHOP.replacen("LOG_LEVEL: info", "LOG_LEVEL: debug", 1));
    let (abort, nobody) = (Abort::default(), ());
    let night = async {
        question(&rehearsal).await;
        let input = json!({ "stack": "shop", "action": "redeploy" });
        let scheduled = rehearsal.run(input, &nobody, &abort).await;
        agree(&rehearsal, json!({ "approved": true })).await;
        scheduled
    };
    let (deployed, scheduled) = tokio::join!(deploy(&rehearsal, &spec), night);
    assert_eq!((scheduled.result(), deployed.result()), (Outcome::Superseded, Outcome::Succeeded));
}

#[tokio::test(start_paused = true)]
async fn a_plan_that_nobody_answers_ends_after_three_days_and_changes_nothing() {
    let spec = cautious(SHOP);
    let rehearsal = rehearsal(&spec);
    let forgotten = deploy(&rehearsal, &spec).await;
    assert_eq!(forgotten.result(), Outcome::Failed);
    assert!(forgotten.error().unwrap().contains("in three days"), "{:?}", forgotten.error());
    assert_eq!(standing(&rehearsal), Vec::<String>::new());
    assert!(object(&rehearsal, "stacks/shop/lock.json").await.is_none());
}
