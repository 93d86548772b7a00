//! New tasks although the task definition stays the same: an image that is pulled again, a rollout that had failed.

use std::time::Duration;

use aws_sdk_ecs::types::Service;
use serde_json::json;

use crate::common::apply;
use crate::{
    NAME, WORKER, account, changed, changes, deployed, described, next, prepared, wait_until_stable,
};

/// The ID of a service's newest rollout.
fn newest(service: &Service) -> String {
    let newest = service.deployments().iter().find(|rollout| rollout.status() == Some("PRIMARY")).unwrap();
    newest.id().unwrap().to_owned()
}

#[tokio::test(start_paused = true)]
async fn a_change_that_starts_no_tasks_does_not_hide_that_an_image_must_be_pulled_again() {
    let (_account, aws, deployment) = deployed(WORKER).await;
    let before = newest(&described(&aws, "mail").await);
    let mut refresh = changed(&deployment, "second", &WORKER.replace("count: 1", "count: 2"));
    refresh["refreshImage"] = json!(true);
    assert_eq!(
        changes(&aws, &refresh).await,
        ["update service/mail count", "restart service/mail image"],
        "the plan names both"
    );
    apply(&aws, &[NAME], &mut refresh).await;
    wait_until_stable(&aws, &refresh).await.unwrap();
    let service = described(&aws, "mail").await;
    assert_eq!(service.desired_count(), 2);
    assert_ne!(newest(&service), before, "the image is pulled by new tasks only");
}

#[tokio::test(start_paused = true)]
async fn a_change_that_starts_new_tasks_needs_no_restart_beside_it() {
    let (_account, aws, deployment) = deployed(WORKER).await;
    let mut refresh = changed(&deployment, "second", &WORKER.replace("image: mail", "image: 'mail:2'"));
    refresh["refreshImage"] = json!(true);
    let planned = changes(&aws, &refresh).await;
    assert!(planned.contains(&"update service/mail taskDefinition".to_owned()), "{planned:?}");
    assert!(!planned.iter().any(|line| line.starts_with("restart ")), "{planned:?}");
}

#[tokio::test(start_paused = true)]
async fn a_failed_rollout_is_started_again_also_with_another_number_of_tasks() {
    let crashing = WORKER.replace("image: mail", "image: crashing");
    let account = account();
    let (aws, mut deployment) = prepared(&account, &crashing).await;
    apply(&aws, &[NAME], &mut deployment).await;
    wait_until_stable(&aws, &deployment).await.unwrap_err();
    let before = newest(&described(&aws, "mail").await);
    let more = crashing.replace("count: 1", "count: 2");
    assert_eq!(
        changes(&aws, &changed(&deployment, "second", &more)).await,
        ["update service/mail count", "update service/mail rollout"]
    );
    next(&aws, &deployment, "second", &more).await;
    tokio::time::advance(Duration::from_secs(30)).await;
    assert_ne!(newest(&described(&aws, "mail").await), before);
}
