//! Sixty days of an installation that runs by itself, with every kind of rotation.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_sdk_sfn::types::ExecutionStatus;
use stackdrop::Rehearsal;

use super::{ONE_ROLLOUT, rotate_by_hand, secret};
use crate::installation::{ended, upload, within};
use crate::{SHOP, pause, rehearsal, with};

/// The example, whose password changes in the middle of each month: the account is opened on the first.
fn spec() -> String {
    with(SHOP, "cron(0 4 1 * ? *)", "cron(0 4 15 * ? *)")
}

const DAY: Duration = Duration::from_hours(24);

/// Waits until this time after the account was opened.
async fn until(rehearsal: &Rehearsal, at: Duration) {
    pause(at.saturating_sub(rehearsal.account().clock().elapsed())).await;
}

/// For each change of the password, how long the last task with the previous one ran.
fn refused(rehearsal: &Rehearsal) -> BTreeMap<Duration, Duration> {
    let mut rotations = BTreeMap::new();
    for task in rehearsal.account().outdated_tasks() {
        let longest: &mut Duration = rotations.entry(task.since).or_default();
        *longest = (*longest).max(task.until.unwrap_or(Duration::MAX).saturating_sub(task.since));
    }
    rotations
}

#[expect(clippy::print_stdout, reason = "the measured times are worth reading")]
fn print(what: &str, rotations: &BTreeMap<Duration, Duration>) {
    for (at, length) in rotations {
        println!("{what}: day {:.2}: {:.1} s", at.as_secs_f64() / DAY.as_secs_f64(), length.as_secs_f64());
    }
}

#[tokio::test(start_paused = true)]
async fn in_sixty_days_no_rotation_refuses_connections_for_longer_than_a_rollout() {
    let spec = spec();
    let rehearsal = rehearsal(&spec);
    within(&rehearsal, async {
        upload(&rehearsal, "specs/shop.yaml", &spec).await;
        ended(&rehearsal, 1).await;
        // Once as AWS had planned at first, on day 7; by Stackdrop's schedule, on the 15th of each month; and by hand:
        until(&rehearsal, DAY * 12).await;
        let modify = rehearsal.aws().rds().modify_db_instance().db_instance_identifier("shop-database");
        modify.rotate_master_user_password(true).apply_immediately(true).send().await.unwrap();
        until(&rehearsal, DAY * 20).await;
        let arn = secret(&rehearsal).await.arn.unwrap();
        let call = rehearsal.aws().secrets().rotate_secret().secret_id(arn);
        call.client_request_token("b".repeat(32)).send().await.unwrap();
        until(&rehearsal, DAY * 25 + Duration::from_hours(5)).await;
        rotate_by_hand(&rehearsal).await;
        until(&rehearsal, DAY * 60).await;
        let executions = ended(&rehearsal, 60).await;
        assert!(executions.iter().all(|(_, status)| *status == ExecutionStatus::Succeeded));
    })
    .await;
    let rotations = refused(&rehearsal);
    print("refused", &rotations);
    assert_eq!(rotations.len(), 6, "one by AWS, three by hand, two by schedule: {rotations:?}");
    assert!(rotations.values().all(|refused| *refused <= ONE_ROLLOUT), "{rotations:?}");
    let calls = rehearsal.account().call_log();
    let restarts = calls.iter().filter(|call| call.name() == "ecs:UpdateService").count();
    assert_eq!(restarts, rotations.len(), "the only service restarts once after each rotation");
}

#[tokio::test(start_paused = true)]
async fn a_rotation_whose_event_is_lost_is_noticed_by_the_next_scheduled_redeploy() {
    let spec = spec();
    let rehearsal = rehearsal(&spec);
    within(&rehearsal, async {
        upload(&rehearsal, "specs/shop.yaml", &spec).await;
        ended(&rehearsal, 1).await;
        until(&rehearsal, DAY + Duration::from_hours(1)).await;
    })
    .await;
    // Nothing delivers the event of this rotation. The redeploy follows at 3:00 in Berlin, which is 2:00 UTC.
    rotate_by_hand(&rehearsal).await;
    within(&rehearsal, until(&rehearsal, DAY * 2)).await;
    let rotations = refused(&rehearsal);
    print("lost event", &rotations);
    assert_eq!(rotations.len(), 1);
    assert!(
        rotations.values().all(|refused| *refused <= Duration::from_hours(1) + ONE_ROLLOUT),
        "{rotations:?}"
    );
}
