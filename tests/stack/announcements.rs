//! Notifications for people and programs, drift reports, and deploying an earlier version again.

use std::time::Duration;

use serde_json::{Value, json};
use stackdrop::Rehearsal;
use stackdrop_functions::deployment::outcome::Outcome;
use stackdrop_simulator::{Fault, Incident, When};

use crate::{SHOP, changes, deployed, object, open_the_database, pause, refused, rehearsal, run};

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
async fn subscribers_can_filter_by_event_and_stack() {
    let rehearsal = rehearsal(SHOP);
    rehearsal.account().keep_exchanges();
    deployed(&rehearsal, SHOP).await;
    let subjects: Vec<Option<String>> =
        rehearsal.account().messages().into_iter().map(|message| message.subject).collect();
    let expected = ["a deployment has started", "the stack matches its spec"];
    assert_eq!(subjects, expected.map(|title| Some(format!("Stackdrop: shop: {title}"))));
    let exchanges = rehearsal.account().exchanges().into_iter();
    let published: Vec<String> =
        exchanges.filter(|it| it.operation == "Publish").map(|exchange| exchange.body).collect();
    for event in ["started", "succeeded"] {
        let has = |body: &String, name: &str, value: &str| {
            let attribute = |number: usize| format!("&MessageAttributes.entry.{number}");
            (1..=2).map(attribute).any(|attribute| {
                [("Name", name), ("Value.DataType", "String"), ("Value.StringValue", value)].iter().all(
                    |(field, text)| format!("&{body}&").contains(&format!("{attribute}.{field}={text}&")),
                )
            })
        };
        let found = published.iter().any(|body| has(body, "event", event) && has(body, "stack", "shop"));
        assert!(found, "{event}: {published:#?}");
    }
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
    let deleted = rehearsal.delete("specs/shop.yaml").await.unwrap();
    let marker = deleted["detail"]["object"]["version-id"].as_str().unwrap();
    for version in ["nonsense", "00000000000000000000000000000000", "", marker] {
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

/// What the stack's schedule does, and when.
async fn schedule(rehearsal: &Rehearsal) -> String {
    let aws = rehearsal.aws();
    let get = aws.scheduler().get_schedule().name("shop").group_name(&aws.settings.schedule_group);
    let found = get.send().await.unwrap();
    format!(
        "{:?} {:?} {:?} {:?} {:?}",
        found.schedule_expression,
        found.schedule_expression_timezone,
        found.flexible_time_window,
        found.target,
        found.state
    )
}

/// Changes one part of the stack's schedule by hand. `role` is another role that EventBridge Scheduler may assume.
async fn change_schedule(rehearsal: &Rehearsal, part: &str, role: &str) {
    let aws = rehearsal.aws();
    let group = &aws.settings.schedule_group;
    let found = aws.scheduler().get_schedule().name("shop").group_name(group).send().await.unwrap();
    let (mut target, mut window) = (found.target.unwrap(), found.flexible_time_window.unwrap());
    let mut expression = found.schedule_expression.unwrap();
    let mut timezone = found.schedule_expression_timezone.unwrap();
    match part {
        "expression" => expression = "rate(1 hour)".into(),
        "timezone" => timezone = "UTC".into(),
        "window" => {
            window.mode = "FLEXIBLE".into();
            window.maximum_window_in_minutes = Some(15);
        }
        "input" => target.input = Some(json!({ "stack": "shop", "action": "destroy" }).to_string()),
        "target" => target.arn = format!("{}-other", target.arn),
        "role" => target.role_arn = role.into(),
        other => panic!("a schedule has no {other}"),
    }
    let update = aws.scheduler().update_schedule().name("shop").group_name(group);
    let update = update.schedule_expression(expression).schedule_expression_timezone(timezone);
    update.flexible_time_window(window).target(target).send().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn every_part_of_a_schedule_is_put_right_by_a_deployment_and_left_alone_by_a_report() {
    let rehearsal = rehearsal(SHOP);
    deployed(&rehearsal, SHOP).await;
    let trust = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"scheduler.amazonaws.com"},"Action":"sts:AssumeRole"}]}"#;
    let create = rehearsal.aws().iam().create_role().role_name("another").assume_role_policy_document(trust);
    let role = create.send().await.unwrap().role.unwrap().arn;
    pause(Duration::from_mins(1)).await;
    let right = schedule(&rehearsal).await;
    for part in ["expression", "timezone", "window", "input", "target", "role"] {
        change_schedule(&rehearsal, part, &role).await;
        assert_ne!(schedule(&rehearsal).await, right, "{part}");
        let report = json!({ "stack": "shop", "action": "redeploy", "drift": "report" });
        assert_eq!(changes(&run(&rehearsal, report).await), [""; 0], "{part}");
        let repaired = run(&rehearsal, json!({ "stack": "shop" })).await;
        assert_eq!(changes(&repaired), ["scheduler:CreateSchedule", "scheduler:UpdateSchedule"], "{part}");
        assert_eq!(schedule(&rehearsal).await, right, "{part}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_schedule_that_aws_refuses_is_a_warning_and_the_next_deployment_tries_again() {
    let rehearsal = rehearsal(SHOP);
    let unscheduled = SHOP.split("\nredeploy:\n").next().unwrap();
    for (operation, spec, next) in [
        ("CreateSchedule", SHOP, &["scheduler:CreateSchedule"; 2][..]),
        (
            "DeleteSchedule",
            unscheduled,
            &["scheduler:DeleteSchedule", "scheduler:CreateSchedule", "scheduler:UpdateSchedule"],
        ),
    ] {
        rehearsal.account().arm(Fault::at("scheduler", operation, When::From(1), refused()));
        deployed(&rehearsal, spec).await;
        rehearsal.account().disarm();
        let status = object(&rehearsal, "stacks/shop/status.json").await.unwrap();
        let message = status["message"].as_str().unwrap();
        assert!(message.contains("with a warning: ") && message.contains("the test says no"), "{message}");
        assert_eq!(changes(&deployed(&rehearsal, spec).await), next, "{operation}");
        assert_eq!(changes(&deployed(&rehearsal, spec).await), [""; 0], "{operation}");
    }
    let scheduler = rehearsal.aws().scheduler();
    let group = &rehearsal.aws().settings.schedule_group;
    let left = scheduler.list_schedules().group_name(group).send().await.unwrap();
    assert_eq!(left.schedules().iter().map(|it| it.name().unwrap()).collect::<Vec<_>>(), ["shop.rotation"]);
}
