//! Executions that only plan change nothing: neither the stack nor what another deployment does, nor what people are told of it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use stackdrop::Rehearsal;
use stackdrop_functions::deployment::outcome::Outcome;
use stackdrop_simulator::{Fault, FaultKind, When};
use stackdrop_statemachine::Abort;

use crate::{
    MINIMAL, SHOP, StopAt, changes, deployed, object, pause, refused, rehearsal, resources, run, with,
};

/// The objects in the bucket except what a plan may write: its own spec, the newest plan, and its record.
async fn objects(rehearsal: &Rehearsal) -> BTreeMap<String, Value> {
    let aws = rehearsal.aws();
    let listed = aws.s3().list_objects_v2().bucket(&aws.settings.bucket).prefix("stacks/").send().await;
    let mut objects = BTreeMap::new();
    for listed in listed.unwrap().contents() {
        let key = listed.key().unwrap();
        if !key.ends_with("/plan.json") && !key.contains("/history/") {
            objects.insert(key.to_owned(), object(rehearsal, key).await.unwrap());
        }
    }
    objects
}

/// Uploads a spec that is only to plan, and runs its execution.
async fn plan(rehearsal: &Rehearsal, spec: &str) -> stackdrop::Deployed {
    let event = rehearsal.upload("plans/shop.yaml", spec.as_bytes()).await.unwrap();
    run(rehearsal, event).await
}

/// Waits for the approval request of a deployment.
async fn approval_request(rehearsal: &Rehearsal) -> Value {
    loop {
        if let Some(request) = object(rehearsal, "stacks/shop/approval.json").await {
            return request;
        }
        pause(Duration::from_secs(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_plan_leaves_a_deployment_that_awaits_approval_alone() {
    let spec = with(SHOP, "approval: none", "approval: required");
    let rehearsal = rehearsal(&spec);
    let person = async {
        let request = approval_request(&rehearsal).await;
        let before = objects(&rehearsal).await;
        let requested = run(&rehearsal, json!({ "stack": "shop", "action": "plan" })).await;
        for planned in [plan(&rehearsal, &spec).await, requested] {
            assert_eq!(planned.result(), Outcome::Planned, "{:?}", planned.error());
            let record = object(&rehearsal, "stacks/shop/plan.json").await.unwrap();
            let message = record["message"].as_str().unwrap();
            let warning = format!(
                "Warning: deployment {} of the stack was running",
                request["deployment"].as_str().unwrap()
            );
            assert!(message.contains(&warning), "{message}");
        }
        assert_eq!(objects(&rehearsal).await, before);
        let token = request["token"].as_str().unwrap();
        let approve = rehearsal.aws().sfn().send_task_success().task_token(token);
        let reply = json!({ "approved": true, "plan": request["plan"] });
        approve.output(reply.to_string()).send().await.unwrap();
    };
    let (deployed, ()) = tokio::join!(deployed(&rehearsal, &spec), person);
    assert_eq!(deployed.result(), Outcome::Succeeded);
}

#[tokio::test(start_paused = true)]
async fn a_plan_beside_a_running_deployment_neither_waits_nor_disturbs() {
    let rehearsal = rehearsal(SHOP);
    let person = async {
        pause(Duration::from_mins(4)).await;
        assert_eq!(object(&rehearsal, "stacks/shop/status.json").await.unwrap()["result"], "Running");
        let planned = plan(&rehearsal, SHOP).await;
        let first = &planned.outcome.steps[0];
        assert_eq!((first.name.as_str(), first.attempts), ("Admit", 1), "it does not wait for the lock");
        planned.result()
    };
    let (_, planned) = tokio::join!(deployed(&rehearsal, SHOP), person);
    assert_eq!(planned, Outcome::Planned);
}

#[tokio::test(start_paused = true)]
async fn a_plan_that_takes_long_does_not_replace_a_newer_one() {
    let rehearsal = rehearsal(SHOP);
    let hangs = Fault::at("ec2", "DescribeVpcs", When::Only(1), FaultKind::Hangs);
    rehearsal.account().arm(hangs.during("/network/plan"));
    let newer = async {
        pause(Duration::from_secs(10)).await;
        run(&rehearsal, json!({ "stack": "shop", "action": "plan" })).await
    };
    rehearsal.upload("specs/shop.yaml", SHOP.as_bytes()).await.unwrap();
    let (older, newer) = tokio::join!(plan(&rehearsal, SHOP), newer);
    assert_eq!((older.result(), newer.result()), (Outcome::Planned, Outcome::Planned));
    assert!(older.outcome.seconds > newer.outcome.seconds + 10.0, "the older one ends later");
    let newest = object(&rehearsal, "stacks/shop/plan.json").await.unwrap();
    assert_eq!(newest["deployment"], newer.id.as_str());
}

#[tokio::test(start_paused = true)]
async fn an_invalid_plan_leaves_the_status_and_announces_no_failure() {
    let rehearsal = rehearsal(SHOP);
    deployed(&rehearsal, SHOP).await;
    let (before, told) = (objects(&rehearsal).await, rehearsal.account().messages().len());
    let planned = plan(&rehearsal, &with(SHOP, "zones: 2", "zones: 9")).await;
    assert_eq!(planned.result(), Outcome::InvalidSpec);
    assert!(planned.succeeded(), "a failed execution would raise the alarm: {:?}", planned.error());
    assert_eq!(objects(&rehearsal).await, before);
    assert_eq!(rehearsal.account().messages().len(), told);
    for key in ["stacks/shop/plan.json", &format!("stacks/shop/history/{}.json", planned.id)] {
        let record = object(&rehearsal, key).await.unwrap();
        assert_eq!(record["result"], "InvalidSpec");
        assert!(record["message"].as_str().unwrap().contains("network.zones"), "{record}");
        assert_eq!(record["source"]["key"], "plans/shop.yaml");
    }
}

#[tokio::test(start_paused = true)]
async fn a_plan_that_aws_refuses_is_no_failed_deployment() {
    let rehearsal = rehearsal(SHOP);
    deployed(&rehearsal, SHOP).await;
    let (before, told) = (objects(&rehearsal).await, rehearsal.account().messages().len());
    let account = rehearsal.account();
    account.arm(Fault::at("ec2", "DescribeVpcs", When::From(1), refused()).during("/network/plan"));
    let planned = plan(&rehearsal, SHOP).await;
    assert_eq!(planned.result(), Outcome::Failed);
    assert!(planned.succeeded(), "a failed execution would raise the alarm: {:?}", planned.error());
    assert_eq!(objects(&rehearsal).await, before);
    assert_eq!(account.messages().len(), told);
    let record = object(&rehearsal, "stacks/shop/plan.json").await.unwrap();
    assert_eq!(record["result"], "Failed");
    let message = record["message"].as_str().unwrap();
    assert!(message.contains("the test says no") && message.ends_with("Nothing was changed."), "{message}");
}

#[tokio::test(start_paused = true)]
async fn a_plan_that_is_stopped_starts_no_cleanup() {
    let rehearsal = rehearsal(SHOP);
    deployed(&rehearsal, SHOP).await;
    let before = objects(&rehearsal).await;
    let upload = rehearsal.upload("plans/shop.yaml", SHOP.as_bytes()).await.unwrap();
    for input in [upload, json!({ "stack": "shop", "action": "plan" })] {
        let abort = Abort::default();
        let stopped = rehearsal.run(input.clone(), &StopAt("Plan", abort.clone()), &abort).await;
        assert_eq!(stopped.result(), Outcome::Interrupted);
        let event = rehearsal.interruption(&stopped.id, &input).unwrap();
        let after = run(&rehearsal, event).await;
        assert_eq!((after.result(), after.succeeded()), (Outcome::Superseded, true), "{:?}", after.error());
        assert_eq!(changes(&after), [""; 0]);
    }
    assert_eq!(objects(&rehearsal).await, before);
}

/// What somebody who may only upload to `plans/` can start: the object's key and its text.
fn uploads() -> Vec<(String, Vec<u8>)> {
    let text = |text: &str| text.as_bytes().to_vec();
    let with_key = |key: &str, bytes: Vec<u8>| (format!("plans/{key}"), bytes);
    vec![
        with_key("shop.yaml", text(SHOP)),
        with_key("shop.yaml", text(&with(SHOP, "approval: none", "approval: required"))),
        with_key("shop.yaml", text(&with(SHOP, "deletionProtection: true", "deletionProtection: false"))),
        with_key("shop.yaml", text(&with(SHOP, "zones: 2", "zones: 9"))),
        with_key("shop.yaml", text(MINIMAL)),
        with_key("shop.yaml", text("stack: shop\nregion: us-east-1\n")),
        with_key("shop.yaml", text("stack: [")),
        with_key("shop.yaml", text("")),
        with_key("shop.yaml", vec![0xff, 0xfe, 0]),
        with_key("shop.yaml", vec![b' '; stackdrop_specs::LONGEST_SPEC + 1]),
        with_key("shop.json", text("{\"stack\": \"shop\"}")),
        with_key("other.yaml", text("stack: other\n")),
        with_key("NO NAME.yaml", text(SHOP)),
        with_key("..yaml", text(SHOP)),
        with_key("team/shop.yaml", text(SHOP)),
        with_key("shop.txt", text(SHOP)),
    ]
}

/// Starts everything that somebody can who may only plan, and expects that each has no effect. Returns how many there were.
async fn try_everything(rehearsal: &Rehearsal) -> usize {
    let (before, existing) = (objects(rehearsal).await, resources(rehearsal));
    let told = rehearsal.account().messages().len();
    let mut inputs = vec![
        json!({ "stack": "shop", "action": "plan" }),
        json!({ "stack": "shop", "action": "plan", "refreshImage": true, "drift": "report" }),
        json!({ "stack": "unknown", "action": "plan" }),
    ];
    let mut tried = 0;
    for (key, bytes) in uploads() {
        let created = rehearsal.upload(&key, &bytes).await.unwrap();
        inputs.push(created);
        inputs.push(rehearsal.delete(&key).await.unwrap());
        // The first event is read before the deletion, and once more after it.
        let created = rehearsal.upload(&key, &bytes).await.unwrap();
        inputs.extend([created.clone(), created]);
        for input in inputs.drain(..) {
            let ended = run(rehearsal, input.clone()).await;
            assert!(ended.succeeded(), "it would raise the alarm: {input}: {:?}", ended.error());
            assert_eq!(changes(&ended), [""; 0], "{input}");
            tried += 1;
        }
    }
    assert_eq!(objects(rehearsal).await, before);
    assert_eq!(resources(rehearsal), existing);
    let messages = rehearsal.account().messages();
    let failures = messages[told..].iter().filter(|message| format!("{message:?}").contains("\"failed\""));
    assert_eq!(failures.map(|message| &message.message).collect::<Vec<_>>(), [""; 0]);
    tried
}

#[tokio::test(start_paused = true)]
async fn a_person_who_may_only_plan_has_no_effect_on_a_stack_or_on_a_waiting_deployment() {
    let rehearsal = rehearsal(SHOP);
    deployed(&rehearsal, SHOP).await;
    let on_a_stack = try_everything(&rehearsal).await;
    let update = with(SHOP, "approval: none", "approval: required");
    let person = async {
        let request = approval_request(&rehearsal).await;
        let on_a_request = try_everything(&rehearsal).await;
        assert_eq!(object(&rehearsal, "stacks/shop/approval.json").await.unwrap(), request);
        let approve =
            rehearsal.aws().sfn().send_task_success().task_token(request["token"].as_str().unwrap());
        let reply = json!({ "approved": true, "plan": request["plan"] });
        approve.output(reply.to_string()).send().await.unwrap();
        on_a_request
    };
    let update = with(&update, "LOG_LEVEL: info", "LOG_LEVEL: debug");
    let (_, on_a_request) = tokio::join!(deployed(&rehearsal, &update), person);
    println!("plans and attempts at plans: {}, effects: 0", on_a_stack + on_a_request);
}

#[tokio::test(start_paused = true)]
async fn a_plan_that_an_outage_ends_is_no_failed_execution() {
    for (operation, during) in [("GetObject", "/admit/run"), ("PutObject", "/conclude/run")] {
        for by_upload in [true, false] {
            let rehearsal = rehearsal(SHOP);
            rehearsal.upload("specs/shop.yaml", SHOP.as_bytes()).await.unwrap();
            let uploaded = rehearsal.upload("plans/shop.yaml", SHOP.as_bytes()).await.unwrap();
            let input = if by_upload { uploaded } else { json!({ "stack": "shop", "action": "plan" }) };
            rehearsal
                .account()
                .arm(Fault::at("s3", operation, When::From(1), FaultKind::ServerError).during(during));
            let planned = run(&rehearsal, input.clone()).await;
            assert!(planned.succeeded(), "{operation} {input}: {:?}", planned.error());
            assert_eq!(planned.result(), Outcome::Failed, "{operation}: it says that it has no plan");
            rehearsal.account().disarm();
            deployed(&rehearsal, SHOP).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_deployment_that_an_outage_ends_is_a_failed_execution() {
    for (operation, during) in [("GetObject", "/admit/run"), ("PutObject", "/conclude/run")] {
        let rehearsal = rehearsal(SHOP);
        let uploaded = rehearsal.upload("specs/shop.yaml", SHOP.as_bytes()).await.unwrap();
        rehearsal
            .account()
            .arm(Fault::at("s3", operation, When::From(1), FaultKind::ServerError).during(during));
        let ended = run(&rehearsal, uploaded).await;
        assert!(!ended.succeeded(), "{operation}");
        let error = ended.error().unwrap();
        assert!(error.starts_with("Transient: "), "{operation}: {error}");
    }
}
