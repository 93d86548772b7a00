//! The records in the bucket, and which events and requests start a deployment.

use std::time::Duration;

use serde_json::json;
use stackdrop_functions::deployment::outcome::Outcome;
use stackdrop_statemachine::Abort;

use crate::{SHOP, StopAt, changes, deployed, object, pause, rehearsal, resources};

#[tokio::test(start_paused = true)]
async fn a_deployment_writes_a_baseline_a_status_and_a_record_and_releases_the_lock() {
    let rehearsal = rehearsal(SHOP);
    let deployed = deployed(&rehearsal, SHOP).await;
    let status = object(&rehearsal, "stacks/shop/status.json").await.unwrap();
    assert_eq!((&status["result"], &status["deployment"]), (&json!("Succeeded"), &json!(deployed.id)));
    let record = object(&rehearsal, &format!("stacks/shop/history/{}.json", deployed.id)).await.unwrap();
    assert_eq!(record, status);
    let baseline = object(&rehearsal, "stacks/shop/baseline.json").await.unwrap();
    assert_eq!(baseline["outputs"], deployed.outputs());
    assert!(object(&rehearsal, "stacks/shop/lock.json").await.is_none());
}

#[tokio::test(start_paused = true)]
async fn the_same_event_delivered_twice_deploys_once() {
    let rehearsal = rehearsal(SHOP);
    let event = rehearsal.upload("specs/shop.yaml", SHOP.as_bytes()).await.unwrap();
    let first = rehearsal.run(event.clone(), &(), &Abort::default()).await;
    let second = rehearsal.run(event, &(), &Abort::default()).await;
    assert_eq!((first.result(), second.result()), (Outcome::Succeeded, Outcome::Superseded));
    assert_eq!(changes(&second), Vec::<String>::new());
    let record = object(&rehearsal, &format!("stacks/shop/history/{}.json", second.id)).await.unwrap();
    assert_eq!(record["message"], format!("deployment {} has the same version", first.id));
}

#[tokio::test(start_paused = true)]
async fn an_old_version_delivered_after_a_newer_one_changes_nothing() {
    let rehearsal = rehearsal(SHOP);
    let old = rehearsal.upload("specs/shop.yaml", SHOP.as_bytes()).await.unwrap();
    let new = rehearsal.upload("specs/shop.yaml", SHOP.as_bytes()).await.unwrap();
    let late = rehearsal.run(old.clone(), &(), &Abort::default()).await;
    assert_eq!(late.result(), Outcome::Superseded);
    assert_eq!(resources(&rehearsal), Vec::<String>::new());
    let record = object(&rehearsal, &format!("stacks/shop/history/{}.json", late.id)).await.unwrap();
    assert_eq!((&record["result"], &record["trigger"]), (&json!("Superseded"), &json!("upload")));
    assert_eq!(record["source"]["version"], old["detail"]["object"]["version-id"]);
    assert!(record["ended"].is_string(), "{record}");
    let message = record["message"].as_str().unwrap();
    assert!(message.contains("a newer version of specs/shop.yaml exists"), "{message}");
    let newest = rehearsal.run(new, &(), &Abort::default()).await;
    assert_eq!(newest.result(), Outcome::Succeeded, "{:?}", newest.error());
}

#[tokio::test(start_paused = true)]
async fn an_upload_and_a_manual_request_at_once_deploy_one_after_the_other() {
    let rehearsal = rehearsal(SHOP);
    let event = rehearsal.upload("specs/shop.yaml", SHOP.as_bytes()).await.unwrap();
    let by_hand = json!({ "stack": "shop" });
    let (abort, no_watch) = (Abort::default(), ());
    let (first, second) =
        tokio::join!(rehearsal.run(event, &no_watch, &abort), rehearsal.run(by_hand, &no_watch, &abort));
    let results = [first.result(), second.result()];
    assert!(
        results.iter().all(|result| [Outcome::Succeeded, Outcome::Superseded].contains(result)),
        "{results:?}"
    );
    let created = |deployed: &stackdrop::Deployed| changes(deployed).contains(&"ec2:CreateVpc".to_owned());
    assert!(created(&first) != created(&second), "exactly one of them creates the stack");
    assert!(object(&rehearsal, "stacks/shop/lock.json").await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_stopped_deployment_does_not_block_the_next_one() {
    let rehearsal = rehearsal(SHOP);
    let event = rehearsal.upload("specs/shop.yaml", SHOP.as_bytes()).await.unwrap();
    let abort = Abort::default();
    let watch = StopAt("LoadBalancer", abort.clone());
    let stopped = rehearsal.run(event, &watch, &abort).await;
    assert_eq!(stopped.result(), Outcome::Interrupted);
    assert!(
        object(&rehearsal, "stacks/shop/lock.json").await.is_some(),
        "a stopped execution runs no Catch, so the lock is still held"
    );
    let next = deployed(&rehearsal, SHOP).await;
    assert!(
        !changes(&next).contains(&"ec2:CreateVpc".to_owned()),
        "it continues with the existing resources"
    );
    assert!(object(&rehearsal, "stacks/shop/lock.json").await.is_none());
}

#[tokio::test(start_paused = true)]
async fn an_invalid_spec_is_refused_with_its_errors_before_any_change() {
    let rehearsal = rehearsal(SHOP);
    let bad = SHOP.replacen("zones: 2", "zones: 7", 1).replacen("count: 2", "count: many", 1);
    assert_ne!(bad, SHOP);
    let event = rehearsal.upload("specs/shop.yaml", bad.as_bytes()).await.unwrap();
    let refused = rehearsal.run(event, &(), &Abort::default()).await;
    assert_eq!(refused.result(), Outcome::InvalidSpec);
    assert!(refused.error().unwrap().contains("zones"), "{:?}", refused.error());
    assert!(refused.outcome.seconds < 15.0);
    assert_eq!(changes(&refused), Vec::<String>::new());
    assert_eq!(object(&rehearsal, "stacks/shop/status.json").await.unwrap()["result"], "InvalidSpec");
}

#[tokio::test(start_paused = true)]
async fn events_and_inputs_that_start_nothing_report_the_cause() {
    let rehearsal = rehearsal(SHOP);
    let upload = rehearsal.upload("specs/shop.yaml", SHOP.as_bytes()).await.unwrap();
    let mut other_bucket = upload.clone();
    other_bucket["detail"]["bucket"]["name"] = json!("elsewhere");
    let mut other_key = upload.clone();
    other_key["detail"]["object"]["key"] = json!("stacks/shop/status.json");
    let mut restored = upload.clone();
    restored["detail-type"] = json!("Object Restore Completed");
    let cases = [
        (json!({ "stack": "nowhere" }), "stack nowhere has no spec"),
        (json!({ "stack": "Not A Name" }), "its `stack` is not the name of a stack"),
        (
            json!({ "stock": "shop" }),
            "neither an S3 event nor a request, such as { \"stack\": \"NAME\" }: it has a key other than stack",
        ),
        (json!([1, 2]), "neither an S3 event nor"),
        (other_bucket, "specs are read from"),
        (other_key, "is not a spec"),
        (restored, "cannot start a deployment"),
    ];
    for (input, expected) in cases {
        let refused = rehearsal.run(input, &(), &Abort::default()).await;
        assert_eq!(refused.result(), Outcome::InvalidSpec, "{expected}");
        assert!(refused.error().unwrap().contains(expected), "{:?}", refused.error());
        assert_eq!(changes(&refused), Vec::<String>::new());
    }
}

#[tokio::test(start_paused = true)]
async fn a_spec_deleted_before_it_is_read_starts_nothing() {
    let rehearsal = rehearsal(SHOP);
    let event = rehearsal.upload("specs/shop.yaml", SHOP.as_bytes()).await.unwrap();
    let s3 = aws_sdk_s3::Client::new(rehearsal.sdk());
    s3.delete_object().bucket(&rehearsal.aws().settings.bucket).key("specs/shop.yaml").send().await.unwrap();
    let refused = rehearsal.run(event, &(), &Abort::default()).await;
    assert_eq!(refused.result(), Outcome::InvalidSpec);
    assert!(
        refused.error().unwrap().contains("was deleted before it could be read"),
        "{:?}",
        refused.error()
    );
    assert_eq!(changes(&refused), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_plan_changes_nothing_and_lists_what_would_be_created() {
    let rehearsal = rehearsal(SHOP);
    let event = rehearsal.upload("plans/shop.yaml", SHOP.as_bytes()).await.unwrap();
    let planned = rehearsal.run(event, &(), &Abort::default()).await;
    assert_eq!(planned.result(), Outcome::Planned, "{:?}", planned.error());
    assert_eq!(changes(&planned), Vec::<String>::new());
    let plan = object(&rehearsal, "stacks/shop/plan.json").await.unwrap();
    let created =
        plan["plan"].as_array().unwrap().iter().flat_map(|part| part["changes"].as_array().unwrap());
    let created: Vec<&str> = created
        .filter(|change| change["verb"] == "create")
        .filter_map(|change| change["resource"].as_str())
        .collect();
    for resource in ["vpc", "subnet/private/a", "nat/a", "instance"] {
        assert!(created.contains(&resource), "{created:?}");
    }
    let message = plan["message"].as_str().unwrap();
    assert!(
        message.contains("minutes") && message.contains("USD a month in eu-central-1 (now 0.00;"),
        "{message}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_field_that_cannot_change_in_place_is_refused_before_any_change() {
    let rehearsal = rehearsal(SHOP);
    deployed(&rehearsal, SHOP).await;
    let changed = SHOP.replacen("10.20.0.0/16", "10.21.0.0/16", 1);
    assert_ne!(changed, SHOP);
    let refused = rehearsal.deploy(&changed, &()).await.unwrap();
    assert_eq!(refused.result(), Outcome::Failed);
    let error = refused.error().unwrap();
    assert!(error.contains("PreflightFailed") && error.contains("network.cidr"), "{error}");
    assert_eq!(changes(&refused), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn an_invalid_upload_during_a_deployment_leaves_the_status_to_that_deployment() {
    let rehearsal = rehearsal(SHOP);
    let person = async {
        pause(Duration::from_mins(4)).await;
        let event = rehearsal.upload("specs/shop.yaml", b"stack: shop\nnat: x\n").await.unwrap();
        let refused = rehearsal.run(event, &(), &Abort::default()).await;
        assert_eq!(object(&rehearsal, "stacks/shop/status.json").await.unwrap()["result"], "Running");
        object(&rehearsal, &format!("stacks/shop/history/{}.json", refused.id)).await.unwrap()
    };
    let (_, record) = tokio::join!(deployed(&rehearsal, SHOP), person);
    assert_eq!((&record["result"], &record["step"]), (&json!("InvalidSpec"), &json!("Admit")));
    assert_eq!(record["next"], "Correct the spec and upload it again. Nothing was changed.");
}
