//! Rollouts that fail: told with everything that AWS knows.

use stackdrop_functions::aws::error::StepError;

use crate::common::{ensure, until_done, writes};
use crate::{NAME, WEB, WORKER, account, assert_at_rest, built, changed, changes, ground, next, settle};

#[tokio::test(start_paused = true)]
async fn a_first_rollout_that_fails_is_told_with_everything_that_aws_knows() {
    for (image, telling) in [
        ("crashing", vec!["Essential container in task exited", "exit code 3", "exiting with code 3"]),
        ("missing", vec!["CannotPullContainerError", "missing: not found"]),
    ] {
        let account = account();
        let (aws, mut deployment) =
            ground(&account, &WORKER.replace("image: mail", &format!("image: {image}"))).await;
        ensure(&aws, &[NAME], &mut deployment).await;
        let failed = settle(&aws, &deployment).await.unwrap_err();
        let StepError::Unhealthy { what, why } = &failed else { panic!("{failed:?}") };
        assert_eq!(what, "the service mail");
        for text in telling {
            assert!(why.contains(text), "{text} is not in {why}");
        }
        // The same again within the deployment starts nothing; the next deployment starts it again.
        let before = writes(&account).len();
        until_done(&aws, NAME, "apply", &deployment).await.unwrap();
        assert_eq!(writes(&account)[before..], [] as [String; 0]);
        assert_eq!(
            changes(
                &aws,
                &changed(&deployment, "second", &WORKER.replace("image: mail", &format!("image: {image}")))
            )
            .await,
            ["update service/mail rollout"]
        );
        let deployment = next(&aws, &deployment, "third", WORKER).await;
        settle(&aws, &deployment).await.unwrap();
        assert_at_rest(&account, &aws, &deployment).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_that_never_passes_its_health_checks_fails_with_the_targets_reason() {
    let account = account();
    let (aws, mut deployment) = ground(&account, &WEB.replace("image: web", "image: sick")).await;
    ensure(&aws, &[NAME], &mut deployment).await;
    let failed = settle(&aws, &deployment).await.unwrap_err();
    let StepError::Unhealthy { why, .. } = &failed else { panic!("{failed:?}") };
    assert!(why.contains("health checks"), "{why}");
}

#[tokio::test(start_paused = true)]
async fn a_rollout_that_ecs_rolls_back_is_a_failure_and_the_baseline_needs_no_write() {
    let (account, aws, first) = built(WORKER).await;
    let second = next(&aws, &first, "second", &WORKER.replace("image: mail", "image: crashing")).await;
    let failed = settle(&aws, &second).await.unwrap_err();
    let StepError::Unhealthy { why, .. } = &failed else { panic!("{failed:?}") };
    assert!(why.contains("ROLLBACK") && why.contains("exit code 3"), "{why}");
    // The workflow takes the stack back to the baseline while ECS does the same.
    let mut back = changed(&first, "second", WORKER);
    let before = writes(&account).len();
    ensure(&aws, &[NAME], &mut back).await;
    assert_eq!(writes(&account)[before..], [] as [String; 0]);
    settle(&aws, &back).await.unwrap();
    assert_at_rest(&account, &aws, &back).await;
    // Long after the rollback, what was asked for is still not there.
    let failed = settle(&aws, &second).await.unwrap_err();
    assert!(matches!(failed, StepError::Unhealthy { .. }), "{failed:?}");
}
