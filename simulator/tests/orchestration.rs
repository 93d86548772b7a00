//! EventBridge Scheduler, SNS, Step Functions and STS against unmodified SDKs.

#![expect(clippy::unwrap_used, reason = "what a test's helper does not expect fails the test")]

mod common;

use std::time::Duration;

use aws_sdk_scheduler::error::ProvideErrorMetadata;
use aws_sdk_scheduler::primitives::DateTime;
use aws_sdk_scheduler::types::{
    FlexibleTimeWindow, FlexibleTimeWindowMode, RetryPolicy, ScheduleGroupState, ScheduleState, Target,
};
use aws_sdk_sfn::types::ExecutionStatus;
use common::{account, sdk};
use serde_json::json;
use stackdrop_simulator::{Account, PolicySeed, Seed};

const MACHINE: &str = "arn:aws:states:eu-central-1:123456789012:stateMachine:deploy";
const ROLE: &str = "arn:aws:iam::123456789012:role/stackdrop-schedule";

/// The code of an error of any service.
fn code<T: std::fmt::Debug, E: ProvideErrorMetadata + std::fmt::Debug>(result: Result<T, E>) -> String {
    result.unwrap_err().code().unwrap_or_default().to_owned()
}

fn window() -> FlexibleTimeWindow {
    FlexibleTimeWindow::builder().mode(FlexibleTimeWindowMode::Off).build().unwrap()
}

fn target() -> Target {
    Target::builder().arn(MACHINE).role_arn(ROLE).input(r#"{"stack":"shop"}"#).build().unwrap()
}

fn scheduler() -> (Account, aws_sdk_scheduler::Client) {
    let account = account();
    account.seed(&Seed::ScheduleGroup { name: "stackdrop".into() });
    let trust = json!({ "Statement": {
        "Effect": "Allow",
        "Principal": { "Service": "scheduler.amazonaws.com" },
        "Action": "sts:AssumeRole",
        "Condition": {
            "StringLike": { "aws:SourceArn": "arn:aws:scheduler:eu-central-1:123456789012:schedule-group/*" },
        },
    } });
    let role =
        PolicySeed::Role { arn: ROLE.into(), trust, policies: vec![], attached: vec![], boundary: None };
    account.seed_policy(&role).unwrap();
    let client = aws_sdk_scheduler::Client::new(&sdk(&account));
    (account, client)
}

/// A call that would create a schedule.
fn create(
    client: &aws_sdk_scheduler::Client,
    name: &str,
) -> aws_sdk_scheduler::operation::create_schedule::builders::CreateScheduleFluentBuilder {
    let call = client.create_schedule().name(name).group_name("stackdrop");
    let call =
        call.schedule_expression("cron(0 6 ? * MON-FRI *)").schedule_expression_timezone("Europe/Berlin");
    call.flexible_time_window(window()).target(target())
}

#[tokio::test(start_paused = true)]
async fn a_schedule_is_created_read_changed_and_deleted() {
    let (account, client) = scheduler();
    let made = create(&client, "shop").send().await.unwrap();
    assert_eq!(made.schedule_arn(), "arn:aws:scheduler:eu-central-1:123456789012:schedule/stackdrop/shop");
    let items = account.inventory();
    assert_eq!((items.len(), items[0].kind.as_str()), (1, "AWS::Scheduler::Schedule"));
    let read = || client.get_schedule().name("shop").group_name("stackdrop").send();
    let got = read().await.unwrap();
    assert_eq!(got.schedule_expression(), Some("cron(0 6 ? * MON-FRI *)"));
    assert_eq!(got.schedule_expression_timezone(), Some("Europe/Berlin"));
    assert_eq!(got.state(), Some(&ScheduleState::Enabled));
    let retries = got.target().unwrap().retry_policy().unwrap();
    assert_eq!(
        (retries.maximum_retry_attempts(), retries.maximum_event_age_in_seconds()),
        (Some(185), Some(86_400))
    );

    tokio::time::advance(Duration::from_mins(1)).await;
    let change = client.update_schedule().name("shop").group_name("stackdrop").state(ScheduleState::Disabled);
    let change = change.schedule_expression("rate(1 day)").flexible_time_window(window()).target(target());
    change.send().await.unwrap();
    let got = read().await.unwrap();
    assert_eq!(
        (got.schedule_expression(), got.state()),
        (Some("rate(1 day)"), Some(&ScheduleState::Disabled))
    );
    assert_eq!(got.schedule_expression_timezone(), Some("UTC"), "what is left out goes back to its default");
    assert!(got.last_modification_date() > got.creation_date());

    client.delete_schedule().name("shop").group_name("stackdrop").send().await.unwrap();
    assert!(read().await.unwrap_err().into_service_error().is_resource_not_found_exception());
    let again = client.delete_schedule().name("shop").group_name("stackdrop").send().await;
    assert!(again.unwrap_err().into_service_error().is_resource_not_found_exception());
    assert_eq!(account.inventory(), []);
}

#[tokio::test(start_paused = true)]
async fn a_client_token_makes_a_repeated_creation_harmless() {
    let (_, client) = scheduler();
    let first = create(&client, "shop").client_token("t1").send().await.unwrap();
    let repeated = create(&client, "shop").client_token("t1").send().await.unwrap();
    assert_eq!(first.schedule_arn(), repeated.schedule_arn());
    let other = create(&client, "shop").client_token("t1").description("other").send().await;
    assert!(other.unwrap_err().into_service_error().is_conflict_exception());
    let taken = create(&client, "shop").client_token("t2").send().await;
    assert!(taken.unwrap_err().into_service_error().is_conflict_exception());
}

#[tokio::test(start_paused = true)]
async fn invalid_schedules_are_refused() {
    let (_, client) = scheduler();
    let new = || create(&client, "shop");
    let bad = |target: aws_sdk_scheduler::types::builders::TargetBuilder| target.build().unwrap();
    let retries = RetryPolicy::builder().maximum_retry_attempts(186).build();
    let young = RetryPolicy::builder().maximum_event_age_in_seconds(59).build();
    let long_input = format!("\"{}\"", "i".repeat(262_143));
    let minutes = |mode: FlexibleTimeWindowMode, minutes: i32| {
        FlexibleTimeWindow::builder().mode(mode).maximum_window_in_minutes(minutes).build().unwrap()
    };
    let flexible = FlexibleTimeWindow::builder().mode(FlexibleTimeWindowMode::Flexible).build().unwrap();
    let cases = vec![
        ("an expression", new().schedule_expression("cron(0 6 * * * *)")),
        ("a rate of nothing", new().schedule_expression("rate(0 days)")),
        ("a time zone", new().schedule_expression_timezone("CEST")),
        ("a name", new().name("a b")),
        ("a long name", new().name("n".repeat(65))),
        ("a flexible window without a length", new().flexible_time_window(flexible)),
        ("a target", new().target(bad(Target::builder().arn("shop").role_arn(ROLE)))),
        ("a role", new().target(bad(Target::builder().arn(MACHINE).role_arn("shop")))),
        ("an input", new().target(bad(Target::builder().arn(MACHINE).role_arn(ROLE).input("{")))),
        (
            "a retry policy",
            new().target(bad(Target::builder().arn(MACHINE).role_arn(ROLE).retry_policy(retries))),
        ),
        ("a description", new().description("d".repeat(513))),
        ("a window of nothing", new().flexible_time_window(minutes(FlexibleTimeWindowMode::Flexible, 0))),
        (
            "a window of over a day",
            new().flexible_time_window(minutes(FlexibleTimeWindowMode::Flexible, 1441)),
        ),
        ("a window that is off", new().flexible_time_window(minutes(FlexibleTimeWindowMode::Off, 5))),
        (
            "an age of events",
            new().target(bad(Target::builder().arn(MACHINE).role_arn(ROLE).retry_policy(young))),
        ),
        ("a long input", new().target(bad(Target::builder().arn(MACHINE).role_arn(ROLE).input(long_input)))),
        ("an end at the start", new().start_date(DateTime::from_secs(9)).end_date(DateTime::from_secs(9))),
        ("a state", new().state("ASLEEP".into())),
        ("what follows its completion", new().action_after_completion("FORGET".into())),
    ];
    for (what, call) in cases {
        assert_eq!(code(call.send().await), "ValidationException", "{what}");
    }
    let absent = new().group_name("nowhere").send().await;
    assert_eq!(code(absent), "ResourceNotFoundException");
    let absent = client.update_schedule().name("shop").schedule_expression("rate(1 day)");
    let absent = absent.flexible_time_window(window()).target(target()).send().await;
    assert_eq!(code(absent), "ResourceNotFoundException");
}

#[tokio::test(start_paused = true)]
async fn a_role_that_does_not_trust_the_scheduler_is_refused() {
    let (account, client) = scheduler();
    let iam = aws_sdk_iam::Client::new(&sdk(&account));
    let trust = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ecs-tasks.amazonaws.com"},"Action":"sts:AssumeRole"}]}"#;
    iam.create_role().role_name("other").assume_role_policy_document(trust).send().await.unwrap();
    tokio::time::advance(Duration::from_mins(1)).await;
    let target =
        Target::builder().arn(MACHINE).role_arn("arn:aws:iam::123456789012:role/other").build().unwrap();
    let refused = create(&client, "shop").target(target).send().await;
    assert_eq!(code(refused), "ValidationException");
}

#[tokio::test(start_paused = true)]
async fn a_new_role_is_not_known_to_the_scheduler_at_once() {
    let (account, client) = scheduler();
    let iam = aws_sdk_iam::Client::new(&sdk(&account));
    let trust = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"scheduler.amazonaws.com"},"Action":"sts:AssumeRole"}]}"#;
    iam.create_role().role_name("new").assume_role_policy_document(trust).send().await.unwrap();
    let target =
        Target::builder().arn(MACHINE).role_arn("arn:aws:iam::123456789012:role/new").build().unwrap();
    let schedule = || create(&client, "shop").target(target.clone()).send();
    assert_eq!(code(schedule().await), "ValidationException");
    tokio::time::advance(Duration::from_secs(10)).await;
    schedule().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn schedules_and_groups_are_listed_in_pages() {
    let (_, client) = scheduler();
    for number in 0..3 {
        create(&client, &format!("shop-{number}")).send().await.unwrap();
    }
    let other = create(&client, "other").group_name("default").state(ScheduleState::Disabled);
    other.send().await.unwrap();
    let names =
        async |call: aws_sdk_scheduler::operation::list_schedules::builders::ListSchedulesFluentBuilder| {
            let all: Vec<_> = call.into_paginator().items().send().try_collect().await.unwrap();
            all.into_iter().filter_map(|schedule| schedule.name).collect::<Vec<_>>()
        };
    let list = || client.list_schedules();
    assert_eq!(names(list().max_results(2)).await, ["other", "shop-0", "shop-1", "shop-2"]);
    assert_eq!(names(list().group_name("stackdrop").name_prefix("shop-2")).await, ["shop-2"]);
    assert_eq!(names(list().state(ScheduleState::Disabled)).await, ["other"]);
    assert_eq!(code(list().group_name("nowhere").send().await), "ResourceNotFoundException");
    for (what, call) in [
        ("no size", list().max_results(0)),
        ("a large size", list().max_results(101)),
        ("a token", list().next_token("x")),
    ] {
        assert_eq!(code(call.send().await), "ValidationException", "{what}");
    }
    let groups = client.list_schedule_groups().send().await.unwrap();
    let groups: Vec<_> = groups.schedule_groups().iter().filter_map(|group| group.name()).collect();
    assert_eq!(groups, ["default", "stackdrop"]);
}

#[tokio::test(start_paused = true)]
async fn deleting_a_group_deletes_its_schedules() {
    let (account, client) = scheduler();
    client.create_schedule_group().name("mine").send().await.unwrap();
    let taken = client.create_schedule_group().name("mine").send().await;
    assert_eq!(code(taken), "ConflictException");
    create(&client, "shop").group_name("mine").send().await.unwrap();
    assert_eq!(account.inventory().len(), 2);
    client.delete_schedule_group().name("mine").send().await.unwrap();
    let read = || client.get_schedule_group().name("mine").send();
    assert_eq!(read().await.unwrap().state(), Some(&ScheduleGroupState::Deleting));
    assert_eq!(code(create(&client, "late").group_name("mine").send().await), "ConflictException");
    assert_eq!(code(client.delete_schedule_group().name("mine").send().await), "ConflictException");
    assert_eq!(code(client.create_schedule_group().name("default").send().await), "ConflictException");
    tokio::time::advance(Duration::from_secs(10)).await;
    assert_eq!(account.inventory(), []);
    assert_eq!(code(read().await), "ResourceNotFoundException");
    let gone = client.get_schedule().name("shop").group_name("mine").send().await;
    assert_eq!(code(gone), "ResourceNotFoundException");
    assert_eq!(code(client.delete_schedule_group().name("default").send().await), "ValidationException");
    assert_eq!(code(client.list_schedules().state("ASLEEP".into()).send().await), "ValidationException");
    let tag =
        |key: usize| aws_sdk_scheduler::types::Tag::builder().key(key.to_string()).value("").build().unwrap();
    for keys in [vec![1, 1], (0..51).collect()] {
        let tags = keys.into_iter().map(tag).collect();
        let call = client.create_schedule_group().name("tagged").set_tags(Some(tags));
        assert_eq!(code(call.send().await), "ValidationException");
    }
}

#[tokio::test(start_paused = true)]
async fn a_group_is_created_once_per_token_and_refusals_have_the_status_of_their_kind() {
    let (_, client) = scheduler();
    let make = |name: &str| client.create_schedule_group().name(name).client_token("t").send();
    let first = make("mine").await.unwrap();
    assert_eq!(make("mine").await.unwrap().schedule_group_arn(), first.schedule_group_arn());
    let other = make("yours").await.unwrap_err();
    assert_eq!(other.raw_response().unwrap().status().as_u16(), 409);
    let absent = client.get_schedule().name("shop").send().await.unwrap_err();
    assert_eq!(absent.raw_response().unwrap().status().as_u16(), 404);
}

const TOPIC: &str = "arn:aws:sns:eu-central-1:123456789012:stackdrop";

#[tokio::test(start_paused = true)]
async fn published_messages_can_be_read() {
    let account = account();
    account.seed(&Seed::Topic { arn: TOPIC.into(), key: None });
    let sns = aws_sdk_sns::Client::new(&sdk(&account));
    let sent = sns.publish().topic_arn(TOPIC).subject("Stackdrop: shop").message("a <b> & \"c\"\nü").send();
    assert!(sent.await.unwrap().message_id().is_some());
    sns.publish().topic_arn(TOPIC).message("second").send().await.unwrap();
    let messages = account.messages();
    assert_eq!(messages[0].subject.as_deref(), Some("Stackdrop: shop"));
    assert_eq!((messages[0].topic.as_str(), messages[0].message.as_str()), (TOPIC, "a <b> & \"c\"\nü"));
    assert_eq!((messages.len(), messages[1].subject.as_deref()), (2, None));
    let attributes = sns.get_topic_attributes().topic_arn(TOPIC).send().await.unwrap();
    assert_eq!(attributes.attributes().unwrap()["Owner"], "123456789012");
    let topics = sns.list_topics().send().await.unwrap();
    assert_eq!((topics.topics()[0].topic_arn(), topics.next_token()), (Some(TOPIC), None));
    assert_eq!(code(sns.list_topics().next_token("x").send().await), "InvalidParameter");
}

#[tokio::test(start_paused = true)]
async fn invalid_messages_are_refused() {
    let account = account();
    let sns = aws_sdk_sns::Client::new(&sdk(&account));
    let made = sns.create_topic().name("stackdrop").send().await.unwrap();
    assert_eq!(made.topic_arn(), Some(TOPIC));
    sns.create_topic().name("stackdrop").send().await.unwrap();
    let other = sns.create_topic().name("stackdrop").attributes("DisplayName", "other").send().await;
    assert_eq!(code(other), "InvalidParameter");
    assert_eq!(code(sns.create_topic().name("a b").send().await), "InvalidParameter");
    let tag = |key: usize| aws_sdk_sns::types::Tag::builder().key(key.to_string()).value("").build().unwrap();
    let tagged = |keys: Vec<usize>| {
        sns.create_topic().name("tagged").set_tags(Some(keys.into_iter().map(tag).collect())).send()
    };
    assert_eq!(code(tagged(vec![1, 1]).await), "InvalidParameter");
    assert_eq!(code(tagged((0..51).collect()).await), "TagLimitExceeded");
    let publish = || sns.publish().topic_arn(TOPIC).message("m");
    let cases = [
        ("an absent topic", publish().topic_arn(format!("{TOPIC}-2")), "NotFound"),
        ("no ARN", publish().topic_arn("stackdrop"), "InvalidParameter"),
        ("no message", publish().message(""), "InvalidParameter"),
        ("a long message", publish().message("m".repeat(262_145)), "InvalidParameter"),
        ("a long subject", publish().subject("s".repeat(101)), "InvalidParameter"),
        ("a subject with a line break", publish().subject("a\nb"), "InvalidParameter"),
        ("a subject that is not ASCII", publish().subject("ü"), "InvalidParameter"),
        ("JSON without a default", publish().message_structure("json").message("{}"), "InvalidParameter"),
        ("no JSON", publish().message_structure("json").message("{"), "InvalidParameter"),
        ("another structure", publish().message_structure("xml"), "InvalidParameter"),
        ("an empty subject", publish().subject(""), "InvalidParameter"),
        ("a subject that begins with a blank", publish().subject(" a"), "InvalidParameter"),
    ];
    for (what, call, wanted) in cases {
        assert_eq!(code(call.send().await), wanted, "{what}");
    }
    publish().message("m".repeat(262_144)).subject("s".repeat(100)).send().await.unwrap();
    assert_eq!(account.messages().len(), 1);
    let policy = sns.create_topic().name("other").attributes("Policy", "{}").send().await;
    assert_eq!(code(policy), "InvalidParameter");
    assert_eq!(code(sns.create_topic().name("n".repeat(257)).send().await), "InvalidParameter");
    let absent = sns.get_topic_attributes().topic_arn(format!("{TOPIC}-2")).send().await;
    assert!(absent.unwrap_err().into_service_error().is_not_found_exception());
}

fn sfn() -> (Account, aws_sdk_sfn::Client) {
    let account = account();
    let client = aws_sdk_sfn::Client::new(&sdk(&account));
    (account, client)
}

#[tokio::test(start_paused = true)]
async fn an_execution_is_started_seen_by_its_driver_and_ended() {
    let (account, client) = sfn();
    let start = |name: &str, input: &str| {
        client.start_execution().state_machine_arn(MACHINE).name(name).input(input).send()
    };
    let arn = start("d1", r#"{"stack":"shop"}"#).await.unwrap().execution_arn;
    assert_eq!(arn, "arn:aws:states:eu-central-1:123456789012:execution:deploy:d1");
    let seen = account.executions();
    assert_eq!((seen[0].name.as_str(), seen[0].input.as_str()), ("d1", r#"{"stack":"shop"}"#));
    assert_eq!((seen[0].state_machine.as_str(), seen[0].status), (MACHINE, "RUNNING"));

    // The same start of a running execution returns that execution; another input is refused.
    assert_eq!(start("d1", r#"{"stack":"shop"}"#).await.unwrap().execution_arn, arn);
    let other = start("d1", "{}").await.unwrap_err();
    assert!(other.into_service_error().is_execution_already_exists());

    let status = async || client.describe_execution().execution_arn(&arn).send().await.unwrap();
    assert_eq!(status().await.status(), &ExecutionStatus::Running);
    account.execution_ended(&arn, "FAILED");
    let ended = status().await;
    assert_eq!((ended.status(), ended.stop_date().is_some()), (&ExecutionStatus::Failed, true));
    let closed = start("d1", r#"{"stack":"shop"}"#).await.unwrap_err();
    assert!(closed.into_service_error().is_execution_already_exists());
    // After 90 days the name is free.
    tokio::time::advance(Duration::from_hours(90 * 24)).await;
    let gone = client.describe_execution().execution_arn(&arn).send().await.unwrap_err();
    assert!(gone.into_service_error().is_execution_does_not_exist());
    start("d1", "{}").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn executions_are_known_once_reported() {
    let (account, client) = sfn();
    let arn = "arn:aws:states:eu-central-1:123456789012:execution:deploy:by-rule";
    let describe = || client.describe_execution().execution_arn(arn).send();
    assert!(describe().await.unwrap_err().into_service_error().is_execution_does_not_exist());
    account.execution_started(arn);
    let running = describe().await.unwrap();
    assert_eq!((running.status(), running.state_machine_arn()), (&ExecutionStatus::Running, MACHINE));
    account.execution_ended(arn, "SUCCEEDED");
    assert_eq!(describe().await.unwrap().status(), &ExecutionStatus::Succeeded);
}

#[tokio::test(start_paused = true)]
async fn executions_are_listed_newest_first_and_can_be_stopped() {
    let (account, client) = sfn();
    for name in ["d1", "d2", "d3"] {
        client.start_execution().state_machine_arn(MACHINE).name(name).send().await.unwrap();
    }
    let arn = account.executions()[1].arn.clone();
    client.stop_execution().execution_arn(&arn).error("Stopped").cause("by hand").send().await.unwrap();
    let stopped = client.describe_execution().execution_arn(&arn).send().await.unwrap();
    assert_eq!((stopped.status(), stopped.cause()), (&ExecutionStatus::Aborted, Some("by hand")));
    let list = || client.list_executions().state_machine_arn(MACHINE);
    let pages = list().max_results(2).into_paginator().items().send();
    let names: Vec<_> = pages.try_collect().await.unwrap();
    assert_eq!(
        names.iter().map(aws_sdk_sfn::types::ExecutionListItem::name).collect::<Vec<_>>(),
        ["d3", "d2", "d1"]
    );
    let aborted = list().status_filter(ExecutionStatus::Aborted).send().await.unwrap();
    assert_eq!(aborted.executions().len(), 1);
    assert_eq!(code(list().next_token("x").send().await), "InvalidToken");
    assert_eq!(code(list().status_filter("ASLEEP".into()).send().await), "ValidationException");
    account.execution_ended(&account.executions()[0].arn, "SUCCEEDED");
    tokio::time::advance(Duration::from_hours(91 * 24)).await;
    assert_eq!(list().send().await.unwrap().executions().len(), 1, "what ended is kept for 90 days");
}

#[tokio::test(start_paused = true)]
async fn invalid_executions_are_refused() {
    let (_, client) = sfn();
    let start = || client.start_execution().state_machine_arn(MACHINE);
    let cases = [
        ("a name with a slash", start().name("specs/shop"), "InvalidName"),
        ("a name with a blank", start().name("a b"), "InvalidName"),
        ("a long name", start().name("n".repeat(81)), "InvalidName"),
        ("no JSON", start().input("{"), "InvalidExecutionInput"),
        ("a long input", start().input(format!("\"{}\"", "i".repeat(262_144))), "ValidationException"),
        ("no ARN", start().state_machine_arn("deploy"), "InvalidArn"),
        (
            "another account's",
            start().state_machine_arn("arn:aws:states:eu-central-1:999999999999:stateMachine:deploy"),
            "InvalidArn",
        ),
    ];
    for (what, call, wanted) in cases {
        assert_eq!(code(call.send().await), wanted, "{what}");
    }
    assert_eq!(code(client.describe_execution().execution_arn("d1").send().await), "InvalidArn");
    let foreign = "arn:aws:states:eu-central-1:999999999999:execution:deploy:d1";
    assert_eq!(code(client.describe_execution().execution_arn(foreign).send().await), "InvalidArn");
    let list = || client.list_executions().state_machine_arn(MACHINE);
    assert_eq!(code(list().max_results(1001).send().await), "ValidationException");
    assert_eq!(code(list().state_machine_arn("deploy").send().await), "InvalidArn");
    start().name("n".repeat(80)).send().await.unwrap();
    let absent = "arn:aws:states:eu-central-1:123456789012:execution:deploy:no";
    assert_eq!(code(client.stop_execution().execution_arn(absent).send().await), "ExecutionDoesNotExist");
}

#[tokio::test(start_paused = true)]
async fn an_execution_that_has_ended_cannot_be_stopped() {
    let (account, client) = sfn();
    let started = client.start_execution().state_machine_arn(MACHINE).name("d1").send().await.unwrap();
    account.execution_ended(started.execution_arn(), "SUCCEEDED");
    client.stop_execution().execution_arn(started.execution_arn()).cause("by hand").send().await.unwrap();
    let shown = client.describe_execution().execution_arn(started.execution_arn()).send().await.unwrap();
    assert_eq!((shown.status(), shown.cause()), (&ExecutionStatus::Succeeded, None));
}

#[tokio::test(start_paused = true)]
async fn a_task_is_answered_once_and_only_while_it_waits() {
    let (account, client) = sfn();
    let token = "arn:aws:states:eu-central-1:123456789012:task/1";
    let succeed =
        |token: &str, output: &str| client.send_task_success().task_token(token).output(output).send();
    let fail = || client.send_task_failure().task_token(token).error("Declined").cause("by hand");
    assert_eq!(code(succeed(token, "{}").await), "TaskTimedOut", "no task waits");
    let answers = async {
        assert_eq!(code(succeed("token", "{}").await), "InvalidToken");
        assert_eq!(code(succeed(token, "{").await), "InvalidOutput");
        let long = format!("\"{}\"", "o".repeat(262_143));
        assert_eq!(code(succeed(token, &long).await), "ValidationException");
        assert_eq!(code(fail().error("e".repeat(257)).send().await), "ValidationException");
        assert_eq!(code(fail().cause("c".repeat(32_769)).send().await), "ValidationException");
        fail().send().await.unwrap();
        assert_eq!(code(succeed(token, "{}").await), "TaskTimedOut", "it was answered");
    };
    let (answer, ()) = tokio::join!(account.task_answer(token), answers);
    assert_eq!(answer, Err(("Declined".into(), "by hand".into())));
}

#[tokio::test(start_paused = true)]
async fn get_caller_identity_names_the_caller() {
    let account = account();
    let identity = aws_sdk_sts::Client::new(&sdk(&account)).get_caller_identity().send().await.unwrap();
    assert_eq!(identity.account(), Some("123456789012"));
    assert!(identity.arn().is_some_and(|arn| arn.starts_with("arn:aws:sts::123456789012:assumed-role/")));
}
