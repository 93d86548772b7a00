//! Deployments that wait until a person approves or rejects the plan.

use stackdrop_functions::deployment::outcome::Outcome;
use std::time::Duration;

use serde_json::{Value, json};
use stackdrop::{Deployed, Rehearsal};
use stackdrop_simulator::{Fault, FaultKind, When};
use stackdrop_statemachine::Abort;

use crate::{SHOP, changes, deployed, object, open_the_database, pause, rehearsal, resources};

/// A person, as replies name one.
const ANNA: &str = "arn:aws:sts::123456789012:assumed-role/operators/anna";

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

/// Sends a reply for the plan that awaits approval.
async fn reply(rehearsal: &Rehearsal, answer: &Value) {
    let request = approval_request(rehearsal).await;
    let mut answer = answer.clone();
    answer["plan"] = request["plan"].clone();
    reply_to(rehearsal, &request, &answer).await;
}

/// Sends exactly this reply to a request.
async fn reply_to(rehearsal: &Rehearsal, request: &Value, answer: &Value) {
    let token = request["token"].as_str().unwrap();
    let call = rehearsal.aws().sfn().send_task_success().task_token(token).output(answer.to_string());
    call.send().await.unwrap();
}

async fn approve(rehearsal: &Rehearsal) {
    reply(rehearsal, &json!({ "approved": true })).await;
}

/// Waits for the request after this one.
async fn next_request(rehearsal: &Rehearsal, before: &Value) -> Value {
    for _ in 0..600 {
        let request = approval_request(rehearsal).await;
        if request["token"] != before["token"] {
            return request;
        }
        pause(Duration::from_secs(1)).await;
    }
    panic!("approval is not requested again");
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
        let plan = approval_request["plan"].as_str().unwrap();
        let approve = format!("stackdrop approve shop --plan {plan}");
        for text in [&approve, "stackdrop reject shop", "send-task-success", &file] {
            assert!(next.contains(text), "{text} is not in {next}");
        }
        // A person answers after a day.
        pause(Duration::from_hours(24)).await;
        reply(&rehearsal, &json!({ "approved": true, "by": ANNA })).await;
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
    let (first, ()) = tokio::join!(deploy(&rehearsal, &spec), approve(&rehearsal));
    assert_eq!(first.result(), Outcome::Succeeded, "{:?}", first.error());
    let second = deployed(&rehearsal, &spec).await;
    assert_eq!(changes(&second), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_rejected_plan_changes_nothing_and_names_who_rejected_it() {
    let spec = with_approval(SHOP);
    let rehearsal = rehearsal(&spec);
    let answer = json!({ "approved": false, "by": ANNA, "reason": "not on a Friday" });
    let (rejected, ()) = tokio::join!(deploy(&rehearsal, &spec), reply(&rehearsal, &answer));
    assert_eq!(rejected.result(), Outcome::ApprovalRejected);
    let error = rejected.error().unwrap();
    assert!(error.contains(&format!("rejected by {ANNA}: not on a Friday")), "{error}");
    let decision = &object(&rehearsal, "stacks/shop/status.json").await.unwrap()["decision"];
    assert_eq!((&decision["approved"], &decision["claimedBy"]), (&json!(false), &json!(ANNA)));
    assert_eq!(decision["reason"], "not on a Friday");
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
    let decision = &object(&rehearsal, "stacks/shop/status.json").await.unwrap()["decision"];
    assert_eq!((&decision["approved"], &decision["claimedBy"]), (&json!(false), &Value::Null));
    assert_eq!(decision["reason"], "the budget is spent");
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
    let decision = &object(&rehearsal, "stacks/shop/status.json").await.unwrap()["decision"];
    assert_eq!((&decision["approved"], &decision["reason"]), (&json!(false), &Value::Null));
}

#[tokio::test(start_paused = true)]
async fn an_approval_is_valid_only_for_the_plan_that_was_shown() {
    let rehearsal = rehearsal(SHOP);
    deployed(&rehearsal, SHOP).await;
    let spec = with_approval(&SHOP.replacen("LOG_LEVEL: info", "LOG_LEVEL: debug", 1));
    let person = async {
        let first = approval_request(&rehearsal).await;
        assert!(first["facts"].to_string().contains("service web: image "), "{first}");
        // A manual change in the meantime leads to another plan.
        open_the_database(&rehearsal).await;
        approve(&rehearsal).await;
        let second = next_request(&rehearsal, &first).await;
        assert_ne!(second["changes"], first["changes"]);
        approve(&rehearsal).await;
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
        approve(&rehearsal).await;
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
        approve(&rehearsal).await;
        scheduled
    };
    let (deployed, scheduled) = tokio::join!(deploy(&rehearsal, &spec), night);
    assert_eq!((scheduled.result(), deployed.result()), (Outcome::Superseded, Outcome::Succeeded));
}

#[tokio::test(start_paused = true)]
async fn the_schedule_waits_for_a_running_deployment_beside_the_request_of_an_earlier_one() {
    let rehearsal = rehearsal(SHOP);
    deployed(&rehearsal, SHOP).await;
    let left = json!({
        "deployment": "earlier", "execution": "arn", "token": "token", "since": "2026-01-01T00:00:00Z",
        "plan": "3f9a12b4c5d60718293a4b5c6d7e8f90", "changes": [],
    });
    let bucket = &rehearsal.aws().settings.bucket;
    let put = rehearsal.aws().s3().put_object().bucket(bucket).key("stacks/shop/approval.json");
    put.body(left.to_string().into_bytes().into()).send().await.unwrap();
    let night = async {
        pause(Duration::from_secs(10)).await;
        let request = json!({ "stack": "shop", "action": "redeploy", "scheduled": true });
        crate::run(&rehearsal, request).await
    };
    let update = SHOP.replacen("LOG_LEVEL: info", "LOG_LEVEL: debug", 1);
    let (deployed, scheduled) = tokio::join!(deploy(&rehearsal, &update), night);
    assert_eq!((deployed.result(), scheduled.result()), (Outcome::Succeeded, Outcome::Succeeded));
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

#[tokio::test(start_paused = true)]
async fn a_reply_for_another_plan_or_for_none_is_refused_and_approval_is_requested_again() {
    let spec = with_approval(SHOP);
    let rehearsal = rehearsal(&spec);
    let person = async {
        let mut request = approval_request(&rehearsal).await;
        let plan = request["plan"].as_str().unwrap().to_owned();
        for (answer, why) in [
            (json!({ "approved": true }), "An approval was refused, because it names no plan"),
            (json!({ "approved": true, "plan": "aaaaaaaaaaaa" }), "it is for plan aaaaaaaaaaaa"),
            (json!({ "approved": true, "plan": &plan[..4] }), "at least 12 must be given"),
            (json!({ "approved": true, "plan": &plan[..12] }), "it has only a part of the plan's ID"),
            (json!({ "approved": false, "plan": "aaaaaaaaaaaa" }), "A rejection was refused"),
        ] {
            reply_to(&rehearsal, &request, &answer).await;
            request = next_request(&rehearsal, &request).await;
            assert_eq!(request["plan"], plan, "the same plan awaits approval");
            let status = object(&rehearsal, "stacks/shop/status.json").await.unwrap();
            let message = status["message"].as_str().unwrap();
            assert!(message.contains(why) && message.contains(&plan), "{message}");
            assert_eq!(resources(&rehearsal), Vec::<String>::new());
        }
        approve(&rehearsal).await;
    };
    let (deployed, ()) = tokio::join!(deploy(&rehearsal, &spec), person);
    assert_eq!(deployed.result(), Outcome::Succeeded, "{:?}", deployed.error());
}

#[tokio::test(start_paused = true)]
async fn a_deployment_ends_after_fifty_replies_for_another_plan() {
    let spec = with_approval(SHOP);
    let rehearsal = rehearsal(&spec);
    let person = async {
        let mut request = approval_request(&rehearsal).await;
        for _ in 1..50 {
            reply_to(&rehearsal, &request, &json!({ "approved": true })).await;
            request = next_request(&rehearsal, &request).await;
        }
        reply_to(&rehearsal, &request, &json!({ "approved": true, "by": ANNA })).await;
    };
    let (rejected, ()) = tokio::join!(deploy(&rehearsal, &spec), person);
    assert_eq!(rejected.result(), Outcome::ApprovalRejected);
    assert!(rejected.error().unwrap().contains("50 replies did not decide"), "{:?}", rejected.error());
    let decision = &object(&rehearsal, "stacks/shop/status.json").await.unwrap()["decision"];
    assert_eq!(decision["claimedBy"], Value::Null, "who wanted to approve has not rejected the plan");
}

#[tokio::test(start_paused = true)]
async fn the_record_the_history_and_the_announcement_name_the_plan_and_the_claimed_person() {
    let spec = with_approval(SHOP);
    let rehearsal = rehearsal(&spec);
    let answer = json!({ "approved": true, "by": ANNA });
    let person = async {
        let plan = approval_request(&rehearsal).await["plan"].clone();
        reply(&rehearsal, &answer).await;
        plan
    };
    let (deployed, plan) = tokio::join!(deploy(&rehearsal, &spec), person);
    assert_eq!(deployed.result(), Outcome::Succeeded, "{:?}", deployed.error());
    let status = object(&rehearsal, "stacks/shop/status.json").await.unwrap();
    let id = status["deployment"].as_str().unwrap();
    let history = object(&rehearsal, &format!("stacks/shop/history/{id}.json")).await.unwrap();
    let announced = announcements(&rehearsal);
    let last = announced.last().unwrap();
    for (place, document) in [("status", &status), ("history", &history), ("announcement", last)] {
        let decision = &document["decision"];
        assert_eq!((&decision["plan"], &decision["claimedBy"]), (&plan, &json!(ANNA)), "{place}");
        assert_eq!(decision["approved"], true, "{place}");
        assert!(decision["at"].as_str().is_some_and(|at| at.ends_with('Z')), "{place}");
        assert_eq!(document["uploader"]["account"], "123456789012", "{place}");
        assert_eq!(document["uploader"]["address"], "192.0.2.1", "{place}");
        assert_eq!(document["trigger"], "upload", "{place}");
    }
    let request = announced.iter().find(|announced| announced["event"] == "awaiting-approval").unwrap();
    assert_eq!(request["planId"], plan);
    assert_eq!(request["approvalReasons"], json!(["the spec has `approval: required`"]));
}

fn announcements(rehearsal: &Rehearsal) -> Vec<Value> {
    let messages = rehearsal.account().messages();
    messages.iter().map(|message| serde_json::from_str(&message.message).unwrap()).collect()
}

#[tokio::test(start_paused = true)]
async fn the_approver_of_a_first_plan_sees_images_secrets_ranges_sizes_and_cost() {
    let spec = with_approval(SHOP);
    let rehearsal = rehearsal(&spec);
    let person = async {
        let request = approval_request(&rehearsal).await;
        let facts = request["facts"].as_array().unwrap().iter().map(|fact| fact.as_str().unwrap());
        let facts = facts.collect::<Vec<_>>().join("\n");
        for expected in
            ["image ", "secrets ", "open to the whole internet", "vCPU", "GiB", "permissions in AWS"]
        {
            assert!(facts.contains(expected), "{expected}: {facts}");
        }
        assert!(request["estimate"]["monthlyUsdAfter"].as_f64().unwrap() > 0.0, "{request}");
        reply(&rehearsal, &json!({ "approved": false })).await;
    };
    let (rejected, ()) = tokio::join!(deploy(&rehearsal, &spec), person);
    assert_eq!(rejected.result(), Outcome::ApprovalRejected);
}

#[tokio::test(start_paused = true)]
async fn two_specs_with_the_same_changes_are_two_plans() {
    let rehearsal = rehearsal(SHOP);
    let mut plans = Vec::new();
    for spec in [SHOP.to_owned(), SHOP.replacen("LOG_LEVEL: info", "LOG_LEVEL: debug", 1), SHOP.to_owned()] {
        let event = rehearsal.upload("plans/shop.yaml", spec.as_bytes()).await.unwrap();
        crate::run(&rehearsal, event).await;
        let record = object(&rehearsal, "stacks/shop/plan.json").await.unwrap();
        plans.push((record["planId"].clone(), record["plan"].clone()));
    }
    assert_eq!(plans[0].1, plans[1].1, "the same resources would be created");
    assert_ne!(plans[0].0, plans[1].0);
    assert_eq!(plans[0].0, plans[2].0, "the same spec is the same plan");
}
