//! What a deployment leaves behind: resources that could not be pruned, and the locks of others.

use serde_json::json;
use stackdrop_functions::handle;
use stackdrop_simulator::{Fault, When};
use stackdrop_specs::Spec;

use crate::{MINIMAL, admitted_state, deployed, object, refused, rehearsal, run, unprotected, with};

/// The task definitions in the account.
fn revisions(rehearsal: &stackdrop::Rehearsal) -> usize {
    let items = rehearsal.account().inventory();
    items.iter().filter(|item| item.kind.contains("TaskDefinition")).count()
}

#[tokio::test(start_paused = true)]
async fn what_could_not_be_pruned_is_pruned_by_the_next_deployment() {
    let spec = unprotected();
    let rehearsal = rehearsal(&spec);
    deployed(&rehearsal, &spec).await;
    let before = revisions(&rehearsal);
    rehearsal.account().arm(Fault::at("ecs", "DeregisterTaskDefinition", When::From(1), refused()));
    let update = with(&spec, "LOG_LEVEL: info", "LOG_LEVEL: debug");
    let updated = deployed(&rehearsal, &update).await;
    let message = updated.conclusion().unwrap()["cause"].to_string();
    assert!(message.contains("could not be deleted"), "{message}");
    let baseline = object(&rehearsal, "stacks/shop/baseline.json").await.unwrap();
    assert_eq!(baseline["unpruned"], true);
    assert!(revisions(&rehearsal) > before);
    rehearsal.account().disarm();
    let next = run(&rehearsal, json!({ "stack": "shop" })).await;
    assert!(next.succeeded(), "{:?}", next.error());
    assert_eq!(revisions(&rehearsal), before);
    let baseline = object(&rehearsal, "stacks/shop/baseline.json").await.unwrap();
    assert_eq!(baseline["unpruned"], false);
}

#[tokio::test(start_paused = true)]
async fn a_late_conclusion_leaves_the_lock_of_another_deployment() {
    let rehearsal = rehearsal(MINIMAL);
    let lock = json!({
        "execution": "arn:of-another", "deployment": "another", "since": "2026-01-01T00:00:00Z",
        "source": { "key": "specs/hello.yaml", "version": "2" },
    });
    let aws = rehearsal.aws();
    let put = aws.s3().put_object().bucket(&aws.settings.bucket).key("stacks/hello/lock.json");
    put.body(lock.to_string().into_bytes().into()).send().await.unwrap();
    let mut state = admitted_state(&Spec::read(MINIMAL.as_bytes()).unwrap());
    state["lock"] = json!("\"the ETag of its own lock\"");
    let payload = json!({ "action": "conclude", "deployment": state });
    handle("conclude", payload, aws).await.unwrap();
    assert_eq!(object(&rehearsal, "stacks/hello/lock.json").await, Some(lock));
}
