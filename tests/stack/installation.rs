//! An installation that runs by itself: uploads, the schedule and the Step Functions API start its executions.

use std::time::Duration;

use aws_sdk_sfn::types::{ExecutionStatus, HistoryEventType, StateEnteredEventDetails};
use stackdrop::Rehearsal;

use crate::{SHOP, pause, rehearsal, resources};

/// Runs a scenario while the installation is live.
pub(crate) async fn within<T>(rehearsal: &Rehearsal, scenario: impl Future<Output = T>) -> T {
    tokio::select! {
        never = rehearsal.live() => match never {},
        done = scenario => done,
    }
}

fn s3(rehearsal: &Rehearsal) -> aws_sdk_s3::Client {
    aws_sdk_s3::Client::new(rehearsal.sdk())
}

fn sfn(rehearsal: &Rehearsal) -> aws_sdk_sfn::Client {
    aws_sdk_sfn::Client::new(rehearsal.sdk())
}

pub(crate) async fn upload(rehearsal: &Rehearsal, key: &str, text: &str) {
    let bucket = &rehearsal.aws().settings.bucket;
    s3(rehearsal)
        .put_object()
        .bucket(bucket)
        .key(key)
        .body(text.as_bytes().to_vec().into())
        .send()
        .await
        .unwrap();
}

/// Waits until this number of executions have ended, and returns all of them, the oldest first.
pub(crate) async fn ended(rehearsal: &Rehearsal, number: usize) -> Vec<(String, ExecutionStatus)> {
    let machine = &rehearsal.aws().settings.state_machine;
    loop {
        pause(Duration::from_secs(5)).await;
        let listed = sfn(rehearsal).list_executions().state_machine_arn(machine).send().await.unwrap();
        let mut all: Vec<_> = listed.executions.into_iter().map(|it| (it.execution_arn, it.status)).collect();
        all.reverse();
        if all.len() >= number && all.iter().all(|(_, status)| *status != ExecutionStatus::Running) {
            return all;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_upload_alone_deploys_a_stack() {
    let rehearsal = rehearsal(SHOP);
    within(&rehearsal, async {
        upload(&rehearsal, "specs/shop.yaml", SHOP).await;
        let executions = ended(&rehearsal, 1).await;
        assert_eq!(executions.len(), 1, "records under stacks/ start nothing");
        assert_eq!(executions[0].1, ExecutionStatus::Succeeded);
        assert!(resources(&rehearsal).contains(&"AWS::ECS::Service web".to_owned()));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_history_of_an_execution_can_be_read() {
    let rehearsal = rehearsal(SHOP);
    within(&rehearsal, async {
        upload(&rehearsal, "plans/shop.yaml", SHOP).await;
        let (arn, _) = ended(&rehearsal, 1).await.remove(0);
        let call = sfn(&rehearsal).get_execution_history().execution_arn(&arn).max_results(1000);
        let history = call.send().await.unwrap().events;
        assert!(history.iter().zip(1..).all(|(event, id)| event.id == id));
        assert!(history.iter().skip(1).all(|event| (1..event.id).contains(&event.previous_event_id)));
        assert_eq!(history.last().unwrap().r#type, HistoryEventType::ExecutionSucceeded);
        let entered = history.iter().filter_map(|event| event.state_entered_event_details());
        let names: Vec<&str> = entered.map(StateEnteredEventDetails::name).collect();
        assert!(names.starts_with(&["Admit", "Admitted", "Plan"]), "{names:?}");
        let last =
            sfn(&rehearsal).get_execution_history().execution_arn(&arn).reverse_order(true).max_results(2);
        let last = last.send().await.unwrap();
        assert_eq!(last.events[0].id, history.last().unwrap().id);
        assert!(last.next_token().is_some(), "there are earlier events");
        let described = sfn(&rehearsal).describe_execution().execution_arn(&arn).send().await.unwrap();
        assert!(described.output().unwrap().contains("Planned"));
        assert!(described.input().unwrap().contains("plans/shop.yaml"));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_nightly_schedule_repairs_manual_changes() {
    let rehearsal = rehearsal(SHOP);
    within(&rehearsal, async {
        upload(&rehearsal, "specs/shop.yaml", SHOP).await;
        ended(&rehearsal, 1).await;
        let before = resources(&rehearsal);
        let ec2 = aws_sdk_ec2::Client::new(rehearsal.sdk());
        let own =
            aws_sdk_ec2::types::Filter::builder().name("tag:stackdrop:logical-id").values("database").build();
        let groups =
            ec2.describe_security_groups().filters(own).send().await.unwrap().security_groups.unwrap();
        let group = groups[0].group_id().unwrap();
        let anyone = aws_sdk_ec2::types::IpRange::builder().cidr_ip("0.0.0.0/0").build();
        let permission = aws_sdk_ec2::types::IpPermission::builder()
            .ip_protocol("tcp")
            .from_port(5432)
            .to_port(5432)
            .ip_ranges(anyone)
            .build();
        ec2.authorize_security_group_ingress()
            .group_id(group)
            .ip_permissions(permission)
            .send()
            .await
            .unwrap();
        let rules = || {
            let views = rehearsal.account().security_groups();
            views.into_iter().find(|view| view.id == group).unwrap().ingress.len()
        };
        let opened = rules();
        // The account's clock started at midnight UTC; 3:00 in Berlin is two hours later.
        pause(Duration::from_hours(2)).await;
        let executions = ended(&rehearsal, 2).await;
        assert_eq!(executions[1].1, ExecutionStatus::Succeeded);
        assert_eq!(rules(), opened - 1, "the manually added rule is deleted");
        assert_eq!(resources(&rehearsal), before);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_execution_can_be_started_and_stopped_through_the_api() {
    let rehearsal = rehearsal(SHOP);
    within(&rehearsal, async {
        upload(&rehearsal, "specs/shop.yaml", SHOP).await;
        ended(&rehearsal, 1).await;
        let machine = &rehearsal.aws().settings.state_machine;
        let input = r#"{"stack":"shop","refreshImage":true}"#;
        let start = sfn(&rehearsal).start_execution().state_machine_arn(machine).name("manual").input(input);
        let arn = start.send().await.unwrap().execution_arn;
        pause(Duration::from_secs(30)).await;
        let stop = sfn(&rehearsal).stop_execution().execution_arn(&arn).error("Hand").cause("enough");
        stop.send().await.unwrap();
        let described = sfn(&rehearsal).describe_execution().execution_arn(&arn).send().await.unwrap();
        assert_eq!((described.status, described.error.as_deref()), (ExecutionStatus::Aborted, Some("Hand")));
        // A rule of the installation starts an execution that rolls back the stopped one. That one ends as failed, so the rule
        // starts one more, which finds nothing to do.
        let executions = ended(&rehearsal, 4).await;
        let statuses: Vec<_> = executions.iter().map(|(_, status)| status.as_str()).collect();
        assert_eq!(statuses, ["SUCCEEDED", "ABORTED", "FAILED", "SUCCEEDED"]);
        let history = sfn(&rehearsal).get_execution_history().execution_arn(&arn).reverse_order(true);
        let last = history.send().await.unwrap().events.remove(0);
        assert_eq!(last.r#type, HistoryEventType::ExecutionAborted);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn deleting_a_spec_with_on_delete_destroy_destroys_the_stack() {
    let rehearsal = rehearsal(SHOP);
    let spec = crate::without_instance().replacen("onDelete: retain", "onDelete: destroy", 1);
    within(&rehearsal, async {
        upload(&rehearsal, "specs/shop.yaml", &spec).await;
        ended(&rehearsal, 1).await;
        let bucket = &rehearsal.aws().settings.bucket;
        s3(&rehearsal).delete_object().bucket(bucket).key("specs/shop.yaml").send().await.unwrap();
        let executions = ended(&rehearsal, 2).await;
        assert_eq!(executions[1].1, ExecutionStatus::Succeeded);
        assert!(resources(&rehearsal).iter().all(|item| item.starts_with("AWS::RDS::DBSnapshot")));
    })
    .await;
}
