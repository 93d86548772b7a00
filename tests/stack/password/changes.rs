//! Rotations by hand, by AWS and by schedule.

use std::time::Duration;

use aws_sdk_secretsmanager::types::RotationRulesType;
use serde_json::json;
use stackdrop_functions::deployment::outcome::Outcome;
use stackdrop_simulator::{Fault, FaultKind, Incident, When};

use super::{message, planned, rotate_by_hand, secret, without_password};
use crate::{SHOP, changes, deployed, object, pause, rehearsal, run, with};

#[tokio::test(start_paused = true)]
async fn a_first_deployment_takes_the_rotation_from_aws_and_schedules_its_own() {
    let rehearsal = rehearsal(SHOP);
    let first = deployed(&rehearsal, SHOP).await;
    assert!(changes(&first).contains(&"secretsmanager:RotateSecret".to_owned()));
    let secret = secret(&rehearsal).await;
    assert_eq!(secret.rotation_rules().unwrap().automatically_after_days(), Some(1000));
    assert_eq!(secret.last_rotated_date(), None, "the password did not change");
    let scheduler = rehearsal.aws().scheduler();
    let schedule =
        scheduler.get_schedule().name("shop.rotation").group_name(&rehearsal.aws().settings.schedule_group);
    let schedule = schedule.send().await.unwrap();
    assert_eq!(schedule.schedule_expression(), Some("cron(0 4 1 * ? *)"));
    assert_eq!(schedule.schedule_expression_timezone(), Some("Europe/Berlin"));
    let again = deployed(&rehearsal, SHOP).await;
    assert_eq!(changes(&again), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_changed_rotation_changes_the_schedule_only() {
    let rehearsal = rehearsal(SHOP);
    deployed(&rehearsal, SHOP).await;
    let weekly = with(SHOP, "cron(0 4 1 * ? *)", "cron(0 5 ? * SUN *)");
    let updated = deployed(&rehearsal, &weekly).await;
    assert_eq!(changes(&updated), ["scheduler:CreateSchedule", "scheduler:UpdateSchedule"]);
}

#[tokio::test(start_paused = true)]
async fn rotation_rules_changed_by_hand_are_put_right() {
    let rehearsal = rehearsal(SHOP);
    deployed(&rehearsal, SHOP).await;
    let arn = secret(&rehearsal).await.arn.unwrap();
    let rules = RotationRulesType::builder().automatically_after_days(7).build();
    let call = rehearsal.aws().secrets().rotate_secret().secret_id(arn).rotation_rules(rules);
    call.rotate_immediately(false).client_request_token("a".repeat(32)).send().await.unwrap();
    run(&rehearsal, json!({ "stack": "shop", "action": "plan" })).await;
    assert_eq!(
        planned(&rehearsal).await,
        ["database: update secret (rotationByAws: every 7 days -> every 1000 days)"]
    );
    let repaired = run(&rehearsal, json!({ "stack": "shop" })).await;
    assert_eq!(changes(&repaired), ["secretsmanager:RotateSecret"]);
    let again = run(&rehearsal, json!({ "stack": "shop" })).await;
    assert_eq!(changes(&again), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_plan_names_the_services_whose_tasks_have_the_previous_password() {
    let rehearsal = rehearsal(SHOP);
    deployed(&rehearsal, SHOP).await;
    let modify = rehearsal.aws().rds().modify_db_instance().db_instance_identifier("shop-database");
    modify.rotate_master_user_password(true).apply_immediately(true).send().await.unwrap();
    pause(Duration::from_mins(1)).await;
    assert_eq!(without_password(&rehearsal).len(), 2, "both tasks have the previous password");
    run(&rehearsal, json!({ "stack": "shop", "action": "plan" })).await;
    assert_eq!(
        planned(&rehearsal).await,
        [
            "service: restart service/web (tasks: started before the database's password was changed -> new ones)"
        ]
    );
    let restarted = deployed(&rehearsal, SHOP).await;
    assert_eq!(changes(&restarted), ["ecs:UpdateService"]);
    assert_eq!(without_password(&rehearsal), []);
    let again = deployed(&rehearsal, SHOP).await;
    assert_eq!(changes(&again), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_restart_after_a_rotation_is_not_reported_as_drift() {
    let rehearsal = rehearsal(SHOP);
    deployed(&rehearsal, SHOP).await;
    rotate_by_hand(&rehearsal).await;
    let redeployed = run(&rehearsal, json!({ "stack": "shop", "action": "redeploy" })).await;
    assert_eq!(changes(&redeployed), ["ecs:UpdateService"]);
    let status = object(&rehearsal, "stacks/shop/status.json").await.unwrap();
    assert_eq!(status.get("drift"), None);
    assert_eq!(
        message(&rehearsal).await,
        "Restarted, because a secret had changed after their tasks had started: service/web."
    );
}

#[tokio::test(start_paused = true)]
async fn a_change_that_starts_no_tasks_does_not_hide_the_restart() {
    let fixed = with(SHOP, "    scaling:\n      min: 2\n      max: 6\n      cpuPercent: 70\n", "");
    let rehearsal = rehearsal(&fixed);
    deployed(&rehearsal, &fixed).await;
    rotate_by_hand(&rehearsal).await;
    deployed(&rehearsal, &with(&fixed, "count: 2", "count: 3")).await;
    assert_eq!(without_password(&rehearsal), []);
}

#[tokio::test(start_paused = true)]
async fn a_scheduled_rotation_changes_the_password_and_restarts_the_services() {
    let rehearsal = rehearsal(SHOP);
    deployed(&rehearsal, SHOP).await;
    let before = object(&rehearsal, "stacks/shop/baseline.json").await;
    let rotated = run(&rehearsal, json!({ "stack": "shop", "action": "rotate" })).await;
    assert_eq!(rotated.result(), Outcome::Succeeded, "{:?}", rotated.error());
    assert_eq!(changes(&rotated), ["secretsmanager:RotateSecret", "ecs:UpdateService"]);
    assert_eq!(
        message(&rehearsal).await,
        "The database's password was changed, and service web runs with the new one."
    );
    assert_eq!(without_password(&rehearsal), []);
    assert_eq!(object(&rehearsal, "stacks/shop/baseline.json").await, before);
    // The event of the rotation finds nothing to do, however often it is delivered.
    for event in rehearsal.secret_events(0).into_iter().cycle().take(2) {
        let notified = run(&rehearsal, event).await;
        assert_eq!(notified.result(), Outcome::Succeeded, "{:?}", notified.error());
        assert_eq!(changes(&notified), Vec::<String>::new());
    }
}

#[tokio::test(start_paused = true)]
async fn the_event_of_a_rotation_restarts_the_services_before_the_rotation_is_complete() {
    let rehearsal = rehearsal(SHOP);
    deployed(&rehearsal, SHOP).await;
    let seen = rehearsal.account().account_events(0).len();
    let changed = rehearsal.account().cause(Incident::named("secret-rotated").unwrap(), "shop");
    assert_eq!(changed.len(), 1);
    pause(Duration::from_secs(31)).await;
    let event = rehearsal.secret_events(seen).remove(0);
    assert_eq!(secret(&rehearsal).await.last_rotated_date(), None, "the rotation is not complete");
    let notified = run(&rehearsal, event).await;
    assert_eq!(changes(&notified), ["ecs:UpdateService"]);
    assert_eq!(without_password(&rehearsal), []);
}

#[tokio::test(start_paused = true)]
async fn a_password_of_another_database_changes_nothing() {
    let rehearsal = rehearsal(SHOP);
    deployed(&rehearsal, SHOP).await;
    rotate_by_hand(&rehearsal).await;
    let mut event = rehearsal.secret_events(0).remove(0);
    let other = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:rds!db-0a1b2c3d-AbCdEf";
    event["resources"][0] = json!(other);
    let ignored = run(&rehearsal, event).await;
    assert_eq!(changes(&ignored), Vec::<String>::new());
    assert!(ignored.calls.len() <= 2, "{:?}", ignored.calls);
}

#[tokio::test(start_paused = true)]
async fn a_rotation_during_a_deployment_restarts_the_services_afterwards() {
    let rehearsal = rehearsal(SHOP);
    deployed(&rehearsal, SHOP).await;
    let larger = with(SHOP, "cpu: 512", "cpu: 1024").replacen("memory: 1024", "memory: 2048", 1);
    let rotation = async {
        // The new tasks have read the password, and the deployment waits until they are stable.
        pause(Duration::from_secs(25)).await;
        let changed = rehearsal.account().cause(Incident::named("secret-rotated").unwrap(), "shop");
        assert_eq!(changed.len(), 1);
        pause(Duration::from_secs(31)).await;
        run(&rehearsal, rehearsal.secret_events(0).remove(0)).await
    };
    let (updated, notified) = tokio::join!(rehearsal.deploy(&larger, &()), rotation);
    assert_eq!(updated.unwrap().result(), Outcome::Succeeded);
    assert_eq!(notified.result(), Outcome::Succeeded, "{:?}", notified.error());
    assert_eq!(changes(&notified), ["ecs:UpdateService"]);
    assert_eq!(without_password(&rehearsal), []);
}

#[tokio::test(start_paused = true)]
async fn a_rotation_after_a_failed_update_restarts_the_services() {
    let rehearsal = rehearsal(SHOP);
    deployed(&rehearsal, SHOP).await;
    rehearsal.account().arm(Fault::at("ecs", "UpdateService", When::Only(1), FaultKind::ResourceFails));
    let failed = rehearsal.deploy(&with(SHOP, "LOG_LEVEL: info", "LOG_LEVEL: debug"), &()).await.unwrap();
    assert_eq!(failed.result(), Outcome::Failed);
    rotate_by_hand(&rehearsal).await;
    let notified = run(&rehearsal, rehearsal.secret_events(0).remove(0)).await;
    assert_eq!(changes(&notified), ["ecs:UpdateService"]);
    assert_eq!(without_password(&rehearsal), []);
}

#[tokio::test(start_paused = true)]
async fn a_redeploy_that_only_reports_drift_restarts_the_services_nevertheless() {
    let spec = with(SHOP, "drift: repair", "drift: report");
    let rehearsal = rehearsal(&spec);
    deployed(&rehearsal, &spec).await;
    crate::open_the_database(&rehearsal).await;
    rotate_by_hand(&rehearsal).await;
    let request = json!({ "stack": "shop", "action": "redeploy", "drift": "report" });
    let reported = run(&rehearsal, request).await;
    assert_eq!(reported.result(), Outcome::Drifted, "{:?}", reported.error());
    assert_eq!(changes(&reported), ["ecs:UpdateService"]);
    assert_eq!(without_password(&rehearsal), []);
}

#[tokio::test(start_paused = true)]
async fn a_plan_restarts_nothing() {
    let rehearsal = rehearsal(SHOP);
    deployed(&rehearsal, SHOP).await;
    rotate_by_hand(&rehearsal).await;
    let planned = run(&rehearsal, json!({ "stack": "shop", "action": "plan" })).await;
    assert_eq!(changes(&planned), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn only_the_services_that_were_restarted_are_named_not_those_that_were_only_awaited() {
    const TWO: &str = "
stack: shop
database: { version: '17', class: db.t4g.micro, storage: 20, name: shop, deletionProtection: false }
services:
  api: { image: 'public.ecr.aws/docker/library/nginx:1.29', database: { DB_PASSWORD: password } }
  web: { image: 'public.ecr.aws/docker/library/nginx:1.29', database: { DB_PASSWORD: password } }
";
    let rehearsal = rehearsal(TWO);
    deployed(&rehearsal, TWO).await;
    rotate_by_hand(&rehearsal).await;
    let ecs = aws_sdk_ecs::Client::new(rehearsal.sdk());
    ecs.update_service().cluster("shop").service("api").force_new_deployment(true).send().await.unwrap();
    pause(Duration::from_mins(10)).await;
    let redeployed = run(&rehearsal, json!({ "stack": "shop" })).await;
    assert_eq!(changes(&redeployed), ["ecs:UpdateService"]);
    assert_eq!(
        message(&rehearsal).await,
        "Restarted, because a secret had changed after their tasks had started: service/web."
    );
}

#[tokio::test(start_paused = true)]
async fn a_service_that_does_not_use_the_password_is_not_restarted() {
    const TWO: &str = "
stack: shop
database: { version: '17', class: db.t4g.micro, storage: 20, name: shop, deletionProtection: false }
services:
  api: { image: 'public.ecr.aws/docker/library/nginx:1.29', database: { DB_PASSWORD: password } }
  web: { image: 'public.ecr.aws/docker/library/nginx:1.29', database: { DB_HOST: host, DB_USER: username } }
";
    let rehearsal = rehearsal(TWO);
    deployed(&rehearsal, TWO).await;
    rotate_by_hand(&rehearsal).await;
    let redeployed = run(&rehearsal, json!({ "stack": "shop" })).await;
    assert_eq!(changes(&redeployed), ["ecs:UpdateService"]);
    assert_eq!(
        message(&rehearsal).await,
        "Restarted, because a secret had changed after their tasks had started: service/api."
    );
}

#[tokio::test(start_paused = true)]
async fn a_rotation_that_a_person_requests_is_not_recorded_as_that_of_the_schedule() {
    let rehearsal = rehearsal(SHOP);
    deployed(&rehearsal, SHOP).await;
    for (input, trigger) in [
        (json!({ "stack": "shop", "action": "rotate" }), "manual"),
        (json!({ "stack": "shop", "action": "rotate", "scheduled": true }), "schedule"),
    ] {
        let rotated = run(&rehearsal, input).await;
        assert_eq!(rotated.result(), Outcome::Succeeded, "{:?}", rotated.error());
        assert_eq!(object(&rehearsal, "stacks/shop/status.json").await.unwrap()["trigger"], trigger);
    }
}

#[tokio::test(start_paused = true)]
async fn records_from_before_the_rotation_existed_are_read_and_cause_no_rotation() {
    let rehearsal = rehearsal(SHOP);
    deployed(&rehearsal, SHOP).await;
    let s3 = rehearsal.aws().s3();
    for key in ["stacks/shop/baseline.json", "stacks/shop/status.json"] {
        let mut old = object(&rehearsal, key).await.unwrap();
        old.pointer_mut("/spec/database").and_then(|database| database.as_object_mut()?.remove("rotation"));
        for key in ["unscheduled", "unpruned", "drift"] {
            old.as_object_mut().unwrap().remove(key);
        }
        let body = serde_json::to_vec(&old).unwrap();
        let put = s3.put_object().bucket(&rehearsal.aws().settings.bucket).key(key).body(body.into());
        put.send().await.unwrap();
    }
    let rotated = secret(&rehearsal).await.last_rotated_date;
    for input in
        [json!({ "stack": "shop", "action": "redeploy", "scheduled": true }), json!({ "stack": "shop" })]
    {
        let next = run(&rehearsal, input).await;
        assert_eq!(next.result(), Outcome::Succeeded, "{:?}", next.error());
        let others: Vec<String> =
            changes(&next).into_iter().filter(|call| !call.starts_with("scheduler:")).collect();
        assert_eq!(others, Vec::<String>::new());
        assert_eq!(secret(&rehearsal).await.last_rotated_date, rotated);
    }
}
