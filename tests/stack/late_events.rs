//! The bucket's events: those of a new installation, which begin some minutes late, and those of objects that are no specs.

use std::time::Duration;

use serde_json::json;
use stackdrop::{Rehearsal, Setting};
use stackdrop_functions::deployment::outcome::Outcome;
use stackdrop_specs::Spec;

use crate::{MINIMAL, object, pause, rehearsal, resources, run};

#[tokio::test(start_paused = true)]
async fn uploads_to_a_new_bucket_start_nothing_for_five_minutes() {
    let setting = Setting { events_begin: Duration::from_mins(5), ..Setting::default() };
    let spec = Spec::read(MINIMAL.as_bytes()).unwrap();
    let rehearsal = Rehearsal::open(&setting, &[&spec]).unwrap();
    let key = format!("specs/{}.yaml", spec.stack);
    let event = rehearsal.upload(&key, MINIMAL.as_bytes()).await.unwrap();
    assert_eq!(rehearsal.starts(&event), 0);
    // A manual request deploys the uploaded version all the same, and the next upload has nothing to do.
    let version = event["detail"]["object"]["version-id"].as_str().unwrap();
    let request = json!({ "stack": spec.stack, "action": "deploy", "version": version });
    let by_hand = run(&rehearsal, request).await;
    assert!(by_hand.succeeded(), "{:?}", by_hand.error());
    pause(Duration::from_mins(5)).await;
    let event = rehearsal.upload(&key, MINIMAL.as_bytes()).await.unwrap();
    assert_eq!(rehearsal.starts(&event), 1);
    let again = run(&rehearsal, event).await;
    assert_eq!((again.result(), crate::changes(&again)), (Outcome::Succeeded, Vec::new()));
}

#[tokio::test(start_paused = true)]
async fn an_object_in_a_subfolder_is_no_spec_and_no_failure() {
    let rehearsal = rehearsal(MINIMAL);
    for key in ["specs/team/hello.yaml", "plans/a/b.json"] {
        let uploaded = rehearsal.upload(key, MINIMAL.as_bytes()).await.unwrap();
        let deleted = rehearsal.delete(key).await.unwrap();
        for event in [uploaded, deleted] {
            assert_eq!(rehearsal.starts(&event), 1, "{key}: the rule's wildcard matches subfolders too");
            let ended = run(&rehearsal, event).await;
            assert!(ended.succeeded(), "{key}: {:?}", ended.error());
            let output = format!("{:?}", ended.outcome.output_of("Admit"));
            assert!(output.contains("is in a subfolder"), "{output}");
        }
    }
    assert_eq!(resources(&rehearsal), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn an_event_without_a_version_is_refused_with_what_to_do() {
    let rehearsal = rehearsal(MINIMAL);
    let mut event = rehearsal.upload("specs/hello.yaml", MINIMAL.as_bytes()).await.unwrap();
    // A bucket whose versioning is suspended sends no version (localstack/localstack, recorded from AWS:
    // `test_s3_notifications_eventbridge`).
    event["detail"]["object"].as_object_mut().unwrap().remove("version-id");
    let error = run(&rehearsal, event).await.error().unwrap();
    assert!(error.contains("turn on versioning of the bucket"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn the_record_of_a_rejected_upload_says_that_an_upload_started_it() {
    let rehearsal = rehearsal(MINIMAL);
    let event = rehearsal.upload("specs/hello.yaml", b"stack: hello\nzones: nine\n").await.unwrap();
    let rejected = run(&rehearsal, event).await;
    assert_eq!(rejected.result(), Outcome::InvalidSpec, "{:?}", rejected.error());
    let record = object(&rehearsal, "stacks/hello/history/deployment-1.json").await.unwrap();
    assert_eq!(record["trigger"], "upload");
}
