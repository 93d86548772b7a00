//! Executions that Step Functions itself ends as FAILED (`States.Runtime`, too much data, too many events, a Conclude that
//! fails): no Catch runs, so the event of their end starts another deployment, which rolls back.

use std::time::Duration;

use serde_json::{Value, json};
use stackdrop::{Deployed, Rehearsal};
use stackdrop_functions::deployment::outcome::Outcome;
use stackdrop_simulator::{Fault, FaultKind, When};
use stackdrop_statemachine::Abort;

use crate::{
    FailAt, SHOP, cause, changes, deployed, object, pause, rehearsal, resources, resources_but_logs, run,
};

/// Runs an execution with this input, which fails at a step, and returns the event of its end.
async fn failed_at(rehearsal: &Rehearsal, input: Value, step: &'static str) -> Value {
    let abort = Abort::default();
    let failed = rehearsal.run(input.clone(), &FailAt(step, abort.clone()), &abort).await;
    assert!(failed.error().unwrap().starts_with("States.Runtime: "), "the execution ended before {step}");
    event_of(rehearsal, &failed, &input)
}

/// The event that a rule matches at the end of an execution.
fn event_of(rehearsal: &Rehearsal, ended: &Deployed, input: &Value) -> Value {
    rehearsal.interruption(&ended.id, input).unwrap()
}

async fn upload(rehearsal: &Rehearsal, spec: &str) -> Value {
    rehearsal.upload("specs/shop.yaml", spec.as_bytes()).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_first_deployment_that_step_functions_fails_is_rolled_back_and_recorded() {
    for step in ["Plan", "Database", "WaitUntilStable", "AwaitDatabase"] {
        let rehearsal = rehearsal(SHOP);
        let input = upload(&rehearsal, SHOP).await;
        let event = failed_at(&rehearsal, input, step).await;
        let after = run(&rehearsal, event).await;
        assert_eq!(after.result(), Outcome::Failed, "{step}: {:?}", after.error());
        let error = after.error().unwrap();
        assert!(error.contains("was ended by Step Functions (States.Runtime: An error occurred"), "{error}");
        assert_eq!(resources_but_logs(&rehearsal), Vec::<String>::new(), "{step}");
        assert!(object(&rehearsal, "stacks/shop/lock.json").await.is_none(), "{step}");
        let record = object(&rehearsal, "stacks/shop/history/deployment-1.json").await.unwrap();
        assert_eq!(record["result"], "Interrupted", "{step}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_input_that_step_functions_quotes_in_its_error_is_left_out() {
    let rehearsal = rehearsal(SHOP);
    let input = upload(&rehearsal, SHOP).await;
    let mut event = failed_at(&rehearsal, input, "Plan").await;
    event["detail"]["cause"] = json!(
        "An error occurred while executing the state 'Plan'. The JSONPath '$.x' could not be found in the input '{\"spec\":{\"environment\":{\"KEY\":\"hunter2\"}}}'"
    );
    let after = run(&rehearsal, event).await;
    let error = after.error().unwrap();
    assert!(error.contains("The JSONPath '$.x' could not be found in the input)"), "{error}");
    let record = object(&rehearsal, "stacks/shop/history/deployment-1.json").await.unwrap();
    let told = format!("{error}{record}{:?}", rehearsal.account().messages());
    assert!(!told.contains("hunter2"), "{told}");
}

#[tokio::test(start_paused = true)]
async fn an_update_that_step_functions_fails_is_rolled_back_to_the_baseline() {
    let rehearsal = rehearsal(SHOP);
    deployed(&rehearsal, SHOP).await;
    let before = resources(&rehearsal);
    let input = upload(&rehearsal, &SHOP.replacen("zones: 2", "zones: 3", 1)).await;
    let event = failed_at(&rehearsal, input, "Service").await;
    assert_ne!(resources(&rehearsal), before);
    let after = run(&rehearsal, event).await;
    assert_eq!(after.result(), Outcome::Failed, "{:?}", after.error());
    assert_eq!(resources(&rehearsal), before);
}

#[tokio::test(start_paused = true)]
async fn a_deployment_whose_conclusion_fails_is_rolled_back() {
    let rehearsal = rehearsal(SHOP);
    let denied = Fault::at("s3", "PutObject", When::From(1), FaultKind::AccessDenied);
    rehearsal.account().arm(denied.during("/conclude/conclude"));
    let input = upload(&rehearsal, SHOP).await;
    let failed = run(&rehearsal, input.clone()).await;
    rehearsal.account().disarm();
    assert!(!failed.succeeded() && object(&rehearsal, "stacks/shop/lock.json").await.is_some());
    let after = run(&rehearsal, event_of(&rehearsal, &failed, &input)).await;
    assert!(after.error().unwrap().contains("was ended by Step Functions (Denied: "), "{:?}", after.error());
    assert_eq!(resources_but_logs(&rehearsal), Vec::<String>::new());
    assert!(object(&rehearsal, "stacks/shop/lock.json").await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_deployment_that_failed_by_itself_needs_no_cleanup() {
    let rehearsal = rehearsal(SHOP);
    let refused = Fault::at("ecs", "CreateService", When::From(1), crate::refused());
    rehearsal.account().arm(refused);
    let input = upload(&rehearsal, SHOP).await;
    let failed = run(&rehearsal, input.clone()).await;
    assert_eq!(failed.result(), Outcome::Failed);
    let record = object(&rehearsal, "stacks/shop/history/deployment-1.json").await;
    let status = object(&rehearsal, "stacks/shop/status.json").await;
    let after = run(&rehearsal, event_of(&rehearsal, &failed, &input)).await;
    assert_eq!((after.result(), after.succeeded()), (Outcome::Superseded, true));
    assert_eq!(changes(&after), Vec::<String>::new());
    assert!(after.outcome.seconds < 5.0, "the cleanup took {} s", after.outcome.seconds);
    assert_eq!(object(&rehearsal, "stacks/shop/history/deployment-1.json").await, record);
    assert_eq!(object(&rehearsal, "stacks/shop/status.json").await, status);
}

#[tokio::test(start_paused = true)]
async fn a_failed_cleanup_is_told_and_not_repeated_and_the_next_deployment_continues() {
    let rehearsal = rehearsal(SHOP);
    let input = upload(&rehearsal, SHOP).await;
    let event = failed_at(&rehearsal, input, "Service").await;
    let second = failed_at(&rehearsal, event, "DeleteNetwork").await;
    let third = run(&rehearsal, second).await;
    assert_eq!((third.result(), third.succeeded()), (Outcome::Superseded, true), "{:?}", third.error());
    assert_eq!(changes(&third), Vec::<String>::new());
    assert!(object(&rehearsal, "stacks/shop/lock.json").await.is_none());
    let status = object(&rehearsal, "stacks/shop/status.json").await.unwrap();
    assert_eq!(
        (&status["result"], &status["deployment"]),
        (&json!("RollbackFailed"), &json!("deployment-2"))
    );
    let message = status["message"].as_str().unwrap();
    assert!(message.contains("deployment-2") && message.contains("States.Runtime"), "{message}");
    assert!(status["next"].as_str().unwrap().contains("the next deployment continues from there"));
    assert_eq!((&status["error"], &status["trigger"]), (&json!("RollbackFailed"), &json!("interruption")));
    assert_eq!(status["source"]["key"], "specs/shop.yaml");
    assert!(status["ended"].as_str().unwrap() > status["started"].as_str().unwrap(), "{status}");
    assert_eq!(object(&rehearsal, "stacks/shop/history/deployment-2.json").await.unwrap(), status);
    let told = rehearsal.account().messages();
    assert!(told.iter().any(|message| format!("{message:?}").contains("RollbackFailed")), "nobody is told");
    deployed(&rehearsal, SHOP).await;
}

#[tokio::test(start_paused = true)]
async fn the_end_of_an_execution_with_an_invalid_input_starts_no_endless_chain() {
    let rehearsal = rehearsal(SHOP);
    for input in
        [json!({ "nonsense": true }), json!({ "stack": "shop", "version": "1", "action": "destroy" })]
    {
        let failed = run(&rehearsal, input.clone()).await;
        assert_eq!(failed.error().unwrap().split(':').next(), Some("InvalidEvent"));
        let after = run(&rehearsal, event_of(&rehearsal, &failed, &input)).await;
        assert!(after.succeeded(), "{input}: {:?}", after.error());
    }
}

#[tokio::test(start_paused = true)]
async fn status_events_that_aws_does_not_send_are_refused_with_the_cause() {
    let rehearsal = rehearsal(SHOP);
    let input = upload(&rehearsal, SHOP).await;
    let good = failed_at(&rehearsal, input, "Network").await;
    let other = json!("arn:aws:states:eu-central-1:123456789012:stateMachine:other");
    let with_slash = format!("{}:a/b", good["detail"]["executionArn"].as_str().unwrap());
    let cases = [
        (vec![("/source", json!("aws.s3"))], "its source is not aws.states"),
        (vec![("/detail", json!({}))], "missing field"),
        (vec![("/detail/stateMachineArn", other)], "is another state machine"),
        (
            vec![("/detail/status", json!("RUNNING"))],
            "its status is RUNNING, not ABORTED, FAILED or TIMED_OUT",
        ),
        (vec![("/detail/name", json!("../../../lock"))], "is not the name of"),
        (vec![("/detail/name", json!("another"))], "is not the name of"),
        (
            vec![("/detail/name", json!("a/b")), ("/detail/executionArn", json!(with_slash))],
            "\"a/b\" is not the name of",
        ),
        (vec![("/detail/input", json!(null))], "it lacks the execution's input"),
        (vec![("/detail/input", json!("{"))], "EOF while parsing"),
        (
            vec![("/detail/input", json!("{}")), ("/detail/status", json!("ABORTED"))],
            "its input names no stack",
        ),
        (
            vec![("/detail/input", json!("{}")), ("/detail/status", json!("TIMED_OUT"))],
            "its input names no stack",
        ),
    ];
    for (fields, expected) in cases {
        let mut event = good.clone();
        for (pointer, value) in fields {
            *event.pointer_mut(pointer).unwrap() = value;
        }
        let refused = run(&rehearsal, event).await;
        let error = refused.error().unwrap();
        assert!(error.starts_with("InvalidEvent: ") && error.contains(expected), "{expected}: {error}");
        assert_eq!(changes(&refused), Vec::<String>::new(), "{expected}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_record_of_an_interrupted_deployment_says_what_it_deployed_and_how_it_ended() {
    for (status, error, cause, expected) in [
        ("TIMED_OUT", json!(null), json!(null), "It ran longer than the workflow allows."),
        ("ABORTED", json!(null), json!(null), "It was stopped by hand."),
        ("ABORTED", json!("Stopped"), json!(""), "It was stopped by hand."),
        ("ABORTED", json!(null), json!("too slow"), "It was stopped by hand (too slow)."),
        ("FAILED", json!("States.Runtime"), json!(null), "It was ended by Step Functions (States.Runtime)."),
        ("FAILED", json!(null), json!("no"), "It was ended by Step Functions (no error: no)."),
    ] {
        let rehearsal = rehearsal(SHOP);
        let input = upload(&rehearsal, SHOP).await;
        let mut event = failed_at(&rehearsal, input, "Plan").await;
        for (field, value) in [("status", json!(status)), ("error", error), ("cause", cause)] {
            event["detail"][field] = value;
        }
        let after = run(&rehearsal, event).await;
        assert_eq!(after.result(), Outcome::Failed, "{expected}: {:?}", after.error());
        let record = object(&rehearsal, "stacks/shop/history/deployment-1.json").await.unwrap();
        assert_eq!(record["message"], expected);
        assert_eq!((&record["error"], &record["result"]), (&json!("Interrupted"), &json!("Interrupted")));
        assert_eq!(record["source"]["key"], "specs/shop.yaml");
        assert!(record["ended"].as_str().unwrap() >= record["started"].as_str().unwrap(), "{record}");
        assert_eq!(object(&rehearsal, "stacks/shop/status.json").await.unwrap()["trigger"], "interruption");
    }
}

#[tokio::test(start_paused = true)]
async fn a_restart_of_services_that_step_functions_fails_is_concluded_and_done_again() {
    for step in ["RestartServices", "AwaitRestart", "Conclude"] {
        let rehearsal = rehearsal(SHOP);
        deployed(&rehearsal, SHOP).await;
        cause(&rehearsal, "secret-rotated");
        pause(Duration::from_mins(1)).await;
        let event = rehearsal.secret_events(0).remove(0);
        let ended = failed_at(&rehearsal, event, step).await;
        assert!(object(&rehearsal, "stacks/shop/lock.json").await.is_some(), "{step}");
        let after = run(&rehearsal, ended).await;
        assert_eq!(after.result(), Outcome::Succeeded, "{step}: {:?}", after.error());
        assert!(object(&rehearsal, "stacks/shop/lock.json").await.is_none(), "{step}");
        let record = object(&rehearsal, "stacks/shop/history/deployment-2.json").await.unwrap();
        assert_eq!(record["result"], "Interrupted", "{step}");
        assert_eq!(object(&rehearsal, "stacks/shop/status.json").await.unwrap()["result"], "Succeeded");
        assert!(rehearsal.account().outdated_tasks().iter().all(|task| task.until.is_some()), "{step}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_restart_that_step_functions_fails_again_is_told_and_not_repeated() {
    let rehearsal = rehearsal(SHOP);
    deployed(&rehearsal, SHOP).await;
    cause(&rehearsal, "secret-rotated");
    pause(Duration::from_mins(1)).await;
    let event = rehearsal.secret_events(0).remove(0);
    let second = failed_at(&rehearsal, event, "AwaitRestart").await;
    let third = failed_at(&rehearsal, second, "AwaitRestart").await;
    let last = run(&rehearsal, third).await;
    assert_eq!((last.result(), changes(&last)), (Outcome::Superseded, Vec::new()), "{:?}", last.error());
    assert!(object(&rehearsal, "stacks/shop/lock.json").await.is_none());
    let status = object(&rehearsal, "stacks/shop/status.json").await.unwrap();
    assert_eq!(status["result"], "RollbackFailed");
    assert!(
        status["message"].as_str().unwrap().contains("cleaned up after an interrupted deployment"),
        "{status}"
    );
}
