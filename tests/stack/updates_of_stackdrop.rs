//! What an update of Stackdrop itself does to stacks: nothing at night.

use serde_json::{Value, json};
use stackdrop::{Rehearsal, Setting};
use stackdrop_functions::deployment::outcome::Outcome;
use stackdrop_specs::Spec;

use crate::{SHOP, changes, deployed, object, open_the_database, rehearsal, run};

/// What the stack's schedule requests.
fn at_night() -> Value {
    json!({ "stack": "shop", "action": "redeploy", "scheduled": true })
}

async fn made_by(rehearsal: &Rehearsal) -> Value {
    object(rehearsal, "stacks/shop/baseline.json").await.unwrap()["madeBy"].clone()
}

/// The example, deployed by another version than the one that runs now, with a difference.
async fn updated(setting: &Setting) -> Rehearsal {
    let mut rehearsal = Rehearsal::open(setting, &[&Spec::read(SHOP.as_bytes()).unwrap()]).unwrap();
    rehearsal.update_to("0.1.0");
    deployed(&rehearsal, SHOP).await;
    assert_eq!(made_by(&rehearsal).await, "0.1.0");
    rehearsal.update_to("0.2.0");
    open_the_database(&rehearsal).await;
    rehearsal
}

#[tokio::test(start_paused = true)]
async fn a_new_version_changes_nothing_at_night_and_says_why() {
    let rehearsal = updated(&Setting::default()).await;
    for night in ["the first night", "the second night"] {
        let scheduled = run(&rehearsal, at_night()).await;
        assert_eq!((scheduled.result(), changes(&scheduled)), (Outcome::Drifted, Vec::new()), "{night}");
        let status = object(&rehearsal, "stacks/shop/status.json").await.unwrap();
        let message = status["message"].as_str().unwrap();
        assert!(
            message.contains("may come from Stackdrop 0.2.0, because Stackdrop 0.1.0 made the stack"),
            "{message}"
        );
        assert!(message.contains("ChangesAfterUpdate: repair"), "{message}");
        assert_eq!(status["drift"].as_array().map(Vec::len), Some(1), "{status}");
        assert_eq!(made_by(&rehearsal).await, "0.1.0");
    }
}

#[tokio::test(start_paused = true)]
async fn the_next_upload_or_request_applies_the_differences() {
    let rehearsal = updated(&Setting::default()).await;
    let requested = run(&rehearsal, json!({ "stack": "shop", "action": "redeploy" })).await;
    assert_eq!(requested.result(), Outcome::Succeeded, "{:?}", requested.error());
    assert!(changes(&requested).contains(&"ec2:RevokeSecurityGroupIngress".to_owned()));
    assert_eq!(made_by(&rehearsal).await, "0.2.0");

    let rehearsal = updated(&Setting::default()).await;
    let uploaded = deployed(&rehearsal, SHOP).await;
    assert!(changes(&uploaded).contains(&"ec2:RevokeSecurityGroupIngress".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn drift_is_repaired_again_after_a_night_without_differences() {
    let mut rehearsal = rehearsal(SHOP);
    deployed(&rehearsal, SHOP).await;
    rehearsal.update_to("0.2.0");
    // A schedule that restarts the services is no difference.
    let mut request = at_night();
    request["refreshImage"] = json!(true);
    let quiet = run(&rehearsal, request).await;
    assert_eq!((quiet.result(), made_by(&rehearsal).await), (Outcome::Succeeded, json!("0.2.0")));
    assert_eq!(changes(&quiet), Vec::<String>::new());
    open_the_database(&rehearsal).await;
    let repaired = run(&rehearsal, at_night()).await;
    assert_eq!(repaired.result(), Outcome::Succeeded, "{:?}", repaired.error());
    assert!(changes(&repaired).contains(&"ec2:RevokeSecurityGroupIngress".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_parameter_lets_schedules_apply_what_a_new_version_does_differently() {
    let parameters = [("ChangesAfterUpdate".to_owned(), "repair".to_owned())].into();
    let rehearsal = updated(&Setting { parameters, ..Setting::default() }).await;
    let repaired = run(&rehearsal, at_night()).await;
    assert_eq!(repaired.result(), Outcome::Succeeded, "{:?}", repaired.error());
    assert!(changes(&repaired).contains(&"ec2:RevokeSecurityGroupIngress".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_schedule_deploys_no_baseline_that_is_wrong_or_of_another_stack() {
    for (pointer, value, why) in [
        ("/spec/stack", json!("other"), "it belongs to another stack or region"),
        ("/spec/region", json!("us-east-1"), "it belongs to another stack or region"),
        ("/key", json!("specs/other.yaml"), "it belongs to another stack or region"),
        ("/key", json!("plans/shop.yaml"), "it belongs to another stack or region"),
        ("/spec/network/zones", json!(9), "its spec is not valid"),
    ] {
        let rehearsal = rehearsal(SHOP);
        deployed(&rehearsal, SHOP).await;
        let mut baseline = object(&rehearsal, "stacks/shop/baseline.json").await.unwrap();
        *baseline.pointer_mut(pointer).unwrap() = value;
        let settings = &rehearsal.aws().settings;
        let put = rehearsal.aws().s3().put_object().bucket(&settings.bucket).key("stacks/shop/baseline.json");
        put.body(baseline.to_string().into_bytes().into()).send().await.unwrap();
        let scheduled = run(&rehearsal, at_night()).await;
        assert_eq!(scheduled.result(), Outcome::InvalidSpec, "{pointer}: {:?}", scheduled.error());
        let error = scheduled.error().unwrap();
        assert!(error.contains(why) && error.contains("Restore its previous version"), "{pointer}: {error}");
        assert_eq!(changes(&scheduled), Vec::<String>::new(), "{pointer}");
        assert!(object(&rehearsal, "stacks/shop/lock.json").await.is_none(), "{pointer}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_schedule_deploys_a_spec_with_characters_that_a_file_can_only_have_escaped() {
    let spec = "stack: shop\nservices:\n  a: { image: app, environment: { TEXT: \"\\x7f\\u0085\" } }\n";
    let rehearsal = rehearsal(spec);
    deployed(&rehearsal, spec).await;
    let quiet = run(&rehearsal, at_night()).await;
    assert_eq!(quiet.result(), Outcome::Succeeded, "{:?}", quiet.error());
}
