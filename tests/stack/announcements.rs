//! Notifications for people and programs, drift reports, and deploying an earlier version again.

use serde_json::{Value, json};
use stackdrop::Rehearsal;
use stackdrop_functions::deployment::outcome::Outcome;
use stackdrop_simulator::Incident;

use crate::{SHOP, changes, deployed, object, open_the_database, rehearsal, run};

/// The announced events, in order. Fails unless the event bus and the topic got the same ones.
fn announced(rehearsal: &Rehearsal) -> Vec<String> {
    let of = |document: &Value| document["event"].as_str().unwrap().to_owned();
    let events: Vec<String> = rehearsal.account().events().iter().map(|event| of(&event.detail)).collect();
    let messages = rehearsal.account().messages();
    let messages: Vec<Value> =
        messages.iter().map(|message| serde_json::from_str(&message.message).unwrap()).collect();
    assert_eq!(messages.iter().map(of).collect::<Vec<_>>(), events);
    events
}

#[tokio::test(start_paused = true)]
async fn a_deployment_is_announced_when_it_starts_and_when_it_ends() {
    let rehearsal = rehearsal(SHOP);
    deployed(&rehearsal, SHOP).await;
    assert_eq!(announced(&rehearsal), ["started", "succeeded"]);
    let event = rehearsal.account().events().pop().unwrap();
    assert_eq!((event.source.as_str(), event.detail_type.as_str()), ("stackdrop", "Stackdrop Deployment"));
    assert_eq!((&event.detail["stack"], &event.detail["result"]), (&json!("shop"), &json!("Succeeded")));
}

#[tokio::test(start_paused = true)]
async fn a_refused_spec_is_announced_with_the_places_of_all_its_errors() {
    let rehearsal = rehearsal(SHOP);
    let event =
        rehearsal.upload("specs/shop.yaml", b"stack: shop\nnetwork: { zones: 7 }\nnat: x\n").await.unwrap();
    let refused = run(&rehearsal, event).await;
    assert_eq!(refused.result(), Outcome::InvalidSpec);
    assert_eq!(announced(&rehearsal), ["failed"]);
    let message = rehearsal.account().messages().pop().unwrap().message;
    for place in ["specs/shop.yaml:2:19: network.zones", "specs/shop.yaml:3:1"] {
        assert!(message.contains(place), "{place} is not in {message}");
    }
    assert!(refused.outcome.seconds < 15.0, "{} s", refused.outcome.seconds);
}

#[tokio::test(start_paused = true)]
async fn a_failure_says_what_to_do_next() {
    use stackdrop_simulator::{Fault, FaultKind, When};
    let rehearsal = rehearsal(SHOP);
    rehearsal.account().arm(Fault::at("ec2", "CreateNatGateway", When::From(1), FaultKind::AccessDenied));
    let failed = rehearsal.deploy(SHOP, &()).await.unwrap();
    assert_eq!(failed.result(), Outcome::Failed);
    let status = object(&rehearsal, "stacks/shop/status.json").await.unwrap();
    let (step, next) = (status["step"].as_str().unwrap(), status["next"].as_str().unwrap());
    assert_eq!((step, &status["error"]), ("Egress", &json!("Denied")));
    assert!(next.contains("Allow the call to the role"), "{next}");
    assert_eq!(announced(&rehearsal), ["started", "failed"]);
}

#[tokio::test(start_paused = true)]
async fn the_schedule_repairs_drift_and_reports_each_difference() {
    let rehearsal = rehearsal(SHOP);
    deployed(&rehearsal, SHOP).await;
    open_the_database(&rehearsal).await;
    let night = run(&rehearsal, json!({ "stack": "shop", "action": "redeploy", "scheduled": true })).await;
    assert_eq!(night.result(), Outcome::Succeeded, "{:?}", night.error());
    assert_eq!(changes(&night), ["ec2:RevokeSecurityGroupIngress"]);
    assert_eq!(announced(&rehearsal)[2..], ["started", "drift-found", "succeeded"]);
    let record = object(&rehearsal, "stacks/shop/status.json").await.unwrap();
    assert_eq!(record["trigger"], "schedule");
    let drift = record["drift"].as_array().unwrap();
    assert!(drift.len() == 1 && drift[0].as_str().unwrap().contains("0.0.0.0/0"), "{drift:?}");
}

#[tokio::test(start_paused = true)]
async fn drift_report_reports_drift_without_repairing_it() {
    let rehearsal = rehearsal(SHOP);
    deployed(&rehearsal, SHOP).await;
    open_the_database(&rehearsal).await;
    let report = json!({ "stack": "shop", "action": "redeploy", "drift": "report" });
    let night = run(&rehearsal, report.clone()).await;
    assert_eq!(night.result(), Outcome::Drifted, "{:?}", night.error());
    assert!(night.succeeded(), "the deployment was only a report");
    assert_eq!(changes(&night), Vec::<String>::new());
    assert_eq!(announced(&rehearsal)[2..], ["started", "drift-found", "succeeded"]);
    let again = run(&rehearsal, json!({ "stack": "shop" })).await;
    assert_eq!(changes(&again), ["ec2:RevokeSecurityGroupIngress"], "a manual request repairs the drift");
    assert_eq!(run(&rehearsal, report).await.result(), Outcome::Succeeded, "there is no drift any more");
}

#[tokio::test(start_paused = true)]
async fn the_schedule_passes_on_the_drift_setting_of_the_spec() {
    let spec = SHOP.replacen("drift: repair", "drift: report", 1);
    let rehearsal = rehearsal(&spec);
    deployed(&rehearsal, &spec).await;
    let scheduler = &rehearsal.aws().scheduler();
    let schedule = scheduler.get_schedule().name("shop").group_name("stackdrop").send().await.unwrap();
    let input: Value = serde_json::from_str(schedule.target().unwrap().input().unwrap()).unwrap();
    let expected = json!({ "stack": "shop", "action": "redeploy", "refreshImage": false, "drift": "report", "scheduled": true });
    assert_eq!(input, expected);
}

#[tokio::test(start_paused = true)]
async fn an_earlier_version_can_be_deployed_again_and_the_schedule_keeps_it() {
    let rehearsal = rehearsal(SHOP);
    deployed(&rehearsal, SHOP).await;
    let good = object(&rehearsal, "stacks/shop/baseline.json").await.unwrap()["version"].clone();
    let worse = SHOP.replacen("LOG_LEVEL: info", "LOG_LEVEL: trace", 1);
    deployed(&rehearsal, &worse).await;
    let back = run(&rehearsal, json!({ "stack": "shop", "action": "deploy", "version": good })).await;
    assert_eq!(back.result(), Outcome::Succeeded, "{:?}", back.error());
    assert!(changes(&back).contains(&"ecs:UpdateService".to_owned()));
    let baseline = object(&rehearsal, "stacks/shop/baseline.json").await.unwrap();
    assert_eq!(baseline["version"], good);
    let night = run(&rehearsal, json!({ "stack": "shop", "action": "redeploy" })).await;
    assert_eq!(changes(&night), Vec::<String>::new(), "the schedule does not deploy the newer version again");
}

#[tokio::test(start_paused = true)]
async fn a_version_that_does_not_exist_changes_nothing() {
    let rehearsal = rehearsal(SHOP);
    deployed(&rehearsal, SHOP).await;
    for version in ["nonsense", "00000000000000000000000000000000", ""] {
        let input = json!({ "stack": "shop", "action": "deploy", "version": version });
        let refused = run(&rehearsal, input).await;
        assert_eq!(refused.result(), Outcome::InvalidSpec, "{version}");
        assert!(refused.error().unwrap().contains("has no version"), "{:?}", refused.error());
    }
    let mixed = run(&rehearsal, json!({ "stack": "shop", "action": "plan", "version": "x" })).await;
    assert_eq!(mixed.result(), Outcome::InvalidSpec);
}

#[tokio::test(start_paused = true)]
async fn a_late_duplicate_event_deploys_nothing_even_after_other_deployments() {
    let rehearsal = rehearsal(SHOP);
    deployed(&rehearsal, SHOP).await;
    let good = object(&rehearsal, "stacks/shop/baseline.json").await.unwrap()["version"].clone();
    let worse = SHOP.replacen("LOG_LEVEL: info", "LOG_LEVEL: trace", 1);
    let event = rehearsal.upload("specs/shop.yaml", worse.as_bytes()).await.unwrap();
    assert_eq!(run(&rehearsal, event.clone()).await.result(), Outcome::Succeeded);
    run(&rehearsal, json!({ "stack": "shop", "action": "deploy", "version": good })).await;
    let late = run(&rehearsal, event).await;
    assert_eq!(
        late.result(),
        Outcome::Superseded,
        "the version was already deployed, and replaced by the earlier one"
    );
}

#[tokio::test(start_paused = true)]
async fn a_schedule_that_somebody_changed_is_put_right_and_the_status_says_so() {
    for name in ["schedule-disabled", "schedule-deleted"] {
        let rehearsal = rehearsal(SHOP);
        deployed(&rehearsal, SHOP).await;
        assert!(!rehearsal.account().cause(Incident::named(name).unwrap(), "shop").is_empty());
        for said in [true, false] {
            assert!(run(&rehearsal, json!({ "stack": "shop" })).await.succeeded());
            let status = object(&rehearsal, "stacks/shop/status.json").await.unwrap();
            assert_eq!(
                status.to_string().contains("changed or deleted the stack's schedule"),
                said,
                "{name}: {status}"
            );
        }
    }
}
