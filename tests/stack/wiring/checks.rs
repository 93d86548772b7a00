//! What must be true of an installation.

use stackdrop_functions::deployment::event::EXTENSIONS;
use stackdrop_functions::deployment::outcome::Outcome;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use stackdrop::installation::{Alarm, Installation, TEMPLATE};
use stackdrop::rehearsal::{pascal_case, substitutions};
use stackdrop::{Rehearsal, Setting};
use stackdrop_simulator::{AccessRequest, Account, Grants, Policy, Principal};
use stackdrop_specs::Spec;
use stackdrop_statemachine::Abort;

use crate::{MINIMAL, pause, with};

/// A requirement.
#[derive(Debug, Clone, Copy)]
pub(super) enum Check {
    /// CloudFormation creates everything.
    Installs,
    /// Uploads and deletions of specs start deployments; other objects do not.
    UploadsStart,
    /// Only executions that were stopped or timed out are rolled back by another one.
    StoppedAreRecovered,
    /// Changed passwords of RDS instances start executions; other secrets do not.
    PasswordChangesStart,
    /// A stack's schedule starts deployments.
    SchedulesStart,
    /// Events that cannot start a deployment are kept for the longest time that SQS supports.
    EventsAreKept,
    /// The workflow invokes every function. Each function runs its own program and writes its own log.
    FunctionsRun,
    /// Executions are logged without their data.
    LogsOmitData,
    /// Earlier versions of records are deleted after a time, earlier versions of specs never.
    RecordsExpire,
    /// The bucket, the topic and the queue accept only TLS.
    OnlyOverTls,
    /// Only the functions that write records, and the administrator's role, may put objects among the records.
    OnlyFunctionsWriteRecords,
    /// All roles have the permissions boundary of the parameter.
    RolesAreBounded,
    /// Subscribers of the topic are notified of each failure.
    AlarmsFire,
}

impl Check {
    pub(super) const ALL: [Self; 13] = [
        Self::Installs,
        Self::UploadsStart,
        Self::StoppedAreRecovered,
        Self::PasswordChangesStart,
        Self::SchedulesStart,
        Self::EventsAreKept,
        Self::FunctionsRun,
        Self::LogsOmitData,
        Self::RecordsExpire,
        Self::OnlyOverTls,
        Self::OnlyFunctionsWriteRecords,
        Self::RolesAreBounded,
        Self::AlarmsFire,
    ];

    /// The violation of the requirement in an account with this template, if any.
    pub(super) async fn violation(self, template: &str) -> Option<String> {
        let rehearsal = match (self, installed(template, &[])) {
            (_, Ok(rehearsal)) => rehearsal,
            (Self::Installs, Err(error)) => return Some(error),
            (_, Err(error)) => panic!("{self:?}: {error}"),
        };
        let installation = rehearsal.installation();
        let found = match self {
            Self::Installs => Ok(()),
            Self::UploadsStart => uploads_start(&rehearsal).await,
            Self::StoppedAreRecovered => stopped_are_recovered(&rehearsal),
            Self::PasswordChangesStart => password_changes_start(&rehearsal),
            Self::SchedulesStart => schedules_start(&rehearsal).await,
            Self::EventsAreKept => events_are_kept(template).await,
            Self::FunctionsRun => functions_run(&rehearsal).await,
            Self::LogsOmitData => logs_omit_data(installation),
            Self::RecordsExpire => records_expire(installation),
            Self::OnlyOverTls => only_over_tls(installation),
            Self::OnlyFunctionsWriteRecords => only_functions_write_records(template),
            Self::RolesAreBounded => roles_are_bounded(template),
            Self::AlarmsFire => alarms_fire(&rehearsal),
        };
        found.err()
    }
}

type CheckResult = Result<(), String>;

fn expect(holds: bool, what: impl Into<String>) -> CheckResult {
    if holds { Ok(()) } else { Err(what.into()) }
}

/// The minimal spec with a schedule.
fn scheduled() -> String {
    format!("{MINIMAL}redeploy:\n  schedule: cron(0 3 * * ? *)\n  timezone: UTC\n")
}

fn installed(template: &str, parameters: &[(&str, &str)]) -> Result<Rehearsal, String> {
    let parameters = parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let setting = Setting {
        template: Some(template.to_owned()),
        parameters: parameters.collect(),
        keep_decisions: true,
        ..Setting::default()
    };
    let spec = Spec::read(scheduled().as_bytes()).unwrap();
    Rehearsal::open(&setting, &[&spec]).map_err(|error| format!("{error:#}"))
}

/// The number of executions that have started some simulated minutes after these uploads and deletions.
async fn started(rehearsal: &Rehearsal, objects: &[&str]) -> usize {
    let s3 = aws_sdk_s3::Client::new(rehearsal.sdk());
    let bucket = &rehearsal.installation().bucket.name;
    let scenario = async {
        for key in objects {
            s3.put_object().bucket(bucket).key(*key).body(b"none".to_vec().into()).send().await.unwrap();
            s3.delete_object().bucket(bucket).key(*key).send().await.unwrap();
        }
        pause(Duration::from_mins(5)).await;
    };
    tokio::select! {
        never = rehearsal.live() => match never {},
        () = scenario => {}
    }
    // The end of an execution that fails starts another one.
    let executions = rehearsal.account().executions();
    executions.iter().filter(|execution| execution.input.contains("\"aws.s3\"")).count()
}

async fn uploads_start(rehearsal: &Rehearsal) -> CheckResult {
    let mut before = 0;
    for folder in ["specs", "plans"] {
        for ending in EXTENSIONS {
            let after = started(rehearsal, &[&format!("{folder}/shop.{ending}")]).await;
            expect(after == before + 2, format!("{folder}/*.{ending} starts {}, not two", after - before))?;
            before = after;
        }
    }
    let others = ["stacks/shop/status.json", "specs/notes.txt", "shop.yaml"];
    let after = started(rehearsal, &others).await;
    expect(after == before, "an object that is not a spec starts a deployment")
}

fn stopped_are_recovered(rehearsal: &Rehearsal) -> CheckResult {
    let account = rehearsal.account();
    let own = &rehearsal.installation().workflow.arn;
    let other = "arn:aws:states:eu-central-1:123456789012:stateMachine:other";
    for (machine, status, expected) in [
        (own.as_str(), "ABORTED", true),
        (own, "TIMED_OUT", true),
        (own, "FAILED", true),
        (own, "SUCCEEDED", false),
        (other, "ABORTED", false),
    ] {
        let name = format!("{}-{status}", machine.rsplit(':').next().unwrap());
        let arn = format!("{}:{name}", machine.replacen(":stateMachine:", ":execution:", 1));
        account.execution_started(&arn);
        account.execution_ended(&arn, status);
        let recovered = rehearsal.interruption(&name, &json!({})).is_some();
        expect(
            recovered == expected,
            format!("an execution of {machine} with the status {status} is rolled back: {recovered}"),
        )?;
    }
    Ok(())
}

/// The names are those of secrets that RDS and a person create.
fn password_changes_start(rehearsal: &Rehearsal) -> CheckResult {
    let managed = rehearsal.secret_event("rds!db-0a1b2c3d-0000-4000-8000-000000000000");
    let event = managed.ok_or("the changed password of an RDS instance starts nothing")?;
    expect(rehearsal.secret_event("stackdrop/shop/payment").is_none(), "another secret starts an execution")?;
    for (field, other) in [("/detail-type", "Secret Rotated"), ("/detail/labelUpdated", "CUSTOM")] {
        let mut other_event = event.clone();
        *other_event.pointer_mut(field).unwrap() = json!(other);
        expect(rehearsal.starts(&other_event) == 0, format!("{field}: {other} starts an execution"))?;
    }
    Ok(())
}

async fn schedules_start(rehearsal: &Rehearsal) -> CheckResult {
    let deployed = rehearsal.deploy(&scheduled(), &()).await.map_err(|error| error.to_string())?;
    expect(deployed.succeeded(), format!("{:?}", deployed.error()))?;
    tokio::select! {
        never = rehearsal.live() => match never {},
        () = pause(Duration::from_hours(24)) => {}
    }
    let executions = rehearsal.account().executions();
    expect(executions.len() == 2, format!("{:?}", rehearsal.lost_events()))
}

/// An installation in operation: its schedule starts a deployment, and its alarms notify the topic.
pub(crate) async fn in_operation() -> Rehearsal {
    let rehearsal = installed(TEMPLATE, &[]).unwrap();
    schedules_start(&rehearsal).await.unwrap();
    alarms_fire(&rehearsal).unwrap();
    rehearsal
}

/// An installation whose events start nothing, because the role of the rules does not allow it.
pub(crate) async fn where_events_start_nothing() -> Rehearsal {
    without_permission_to_start(TEMPLATE).await.unwrap()
}

async fn without_permission_to_start(template: &str) -> Result<Rehearsal, String> {
    let template = with(
        template,
        "Action: states:StartExecution, Resource: !Ref Workflow",
        "Action: states:StopExecution, Resource: !Ref Workflow",
    );
    let rehearsal = installed(&template, &[])?;
    expect(rehearsal.deploy(MINIMAL, &()).await.is_err(), "it starts all the same")?;
    let execution = rehearsal.installation().workflow.arn.replacen(":stateMachine:", ":execution:", 1);
    rehearsal.account().execution_ended(&format!("{execution}:one"), "ABORTED");
    expect(rehearsal.interruption("one", &json!({})).is_none(), "it starts all the same")?;
    expect(rehearsal.secret_event("rds!db-1").is_none(), "it starts all the same")?;
    Ok(rehearsal)
}

async fn events_are_kept(template: &str) -> CheckResult {
    let rehearsal = without_permission_to_start(template).await?;
    let lost = rehearsal.lost_events();
    expect(lost.len() == 3, format!("{lost:?}"))?;
    for event in lost {
        let queue = event.kept_in.ok_or(format!("{} is lost", event.input))?;
        let days = rehearsal.installation().queues.get(&queue);
        expect(days == Some(&14), format!("it is kept for {days:?} days"))?;
    }
    Ok(())
}

async fn functions_run(rehearsal: &Rehearsal) -> CheckResult {
    for (name, program) in substitutions() {
        let found = rehearsal.installation().functions.get(&pascal_case(&program));
        let found = found.ok_or(format!("the workflow's {name} is not a function"))?;
        expect(found.program == program, format!("{name} runs {}", found.program))?;
    }
    // A plan invokes every component, and runs Admit and Conclude.
    let event = rehearsal.upload("plans/hello.yaml", MINIMAL.as_bytes()).await.unwrap();
    let planned = rehearsal.run(event, &(), &Abort::default()).await;
    expect(planned.result() == Outcome::Planned, format!("{}: {:?}", planned.result(), planned.error()))?;
    let silent = rehearsal.without_log();
    expect(silent.is_empty(), format!("{silent:?} cannot write their log"))?;
    let mut groups: Vec<&str> =
        rehearsal.installation().functions.values().map(|function| function.log_group.as_str()).collect();
    groups.sort_unstable();
    groups.dedup();
    expect(groups.len() == rehearsal.installation().functions.len(), "two functions share a log")
}

fn logs_omit_data(installation: &Installation) -> CheckResult {
    let workflow = &installation.workflow;
    expect(workflow.log_level == "ERROR", format!("{} is logged", workflow.log_level))?;
    expect(!workflow.logs_data, "the data of executions is logged")
}

fn records_expire(installation: &Installation) -> CheckResult {
    let expiries = &installation.bucket.expiries;
    let goes = |key: &str| expiries.iter().any(|it| key.starts_with(&it.prefix) && it.days <= 365);
    expect(goes("stacks/shop/status.json"), "earlier records are never deleted")?;
    expect(!goes("specs/shop.yaml"), "earlier specs are deleted")
}

/// What a principal with every permission may do with a resource that has a policy.
fn grants_with(installation: &Installation, resource: &str) -> Result<Grants, String> {
    let policy = installation.resource_policies.get(resource).ok_or(format!("{resource} has no policy"))?;
    let everything = json!({ "Statement": { "Effect": "Allow", "Action": "*", "Resource": "*" } });
    Ok(Grants {
        identity: vec![Arc::new(Policy::read(&everything).unwrap())],
        boundary: None,
        resource: Some(Arc::new(Policy::read(policy).unwrap())),
    })
}

fn role(arn: &str) -> Principal {
    Principal::Role { arn: arn.into(), session: "x".into() }
}

const ADMINISTRATOR: &str = "arn:aws:iam::123456789012:role/admin";

fn only_over_tls(installation: &Installation) -> CheckResult {
    let bucket = format!("arn:aws:s3:::{}", installation.bucket.name);
    let object = format!("{bucket}/specs/shop.yaml");
    let topic = &installation.settings.topic;
    let queue = installation.queues.keys().next().ok_or("there is no queue")?;
    for (action, resource, owner) in [
        ("s3:GetObject", &object, &bucket),
        ("s3:PutObject", &object, &bucket),
        ("s3:ListBucket", &bucket, &bucket),
        ("sns:Publish", topic, topic),
        ("sqs:SendMessage", queue, queue),
        ("sqs:ReceiveMessage", queue, queue),
    ] {
        let grants = grants_with(installation, owner)?;
        for (secure, expected) in [("true", true), ("false", false)] {
            let mut request = AccessRequest::new(action, "", resource);
            request.key("aws:SecureTransport", secure);
            let allowed = grants.decide(&role(ADMINISTRATOR), &request).is_ok();
            expect(allowed == expected, format!("{action} with TLS {secure}: {allowed}"))?;
        }
    }
    Ok(())
}

/// Whether others can put no object among the records, but read, copy and delete those that are there.
fn only_functions_write_records(template: &str) -> CheckResult {
    for administrator in ["", ADMINISTRATOR] {
        let rehearsal = installed(template, &[("RecordsAdministrator", administrator)])?;
        let installation = rehearsal.installation();
        let bucket = format!("arn:aws:s3:::{}", installation.bucket.name);
        let grants = grants_with(installation, &bucket)?;
        let writes = ["s3:PutObject", "s3:ReplicateObject", "s3:RestoreObject"];
        let others = ["s3:GetObject", "s3:DeleteObject", "s3:DeleteObjectVersion"];
        let functions = installation.roles.iter();
        let functions =
            functions.map(|(name, of)| (of.arn.as_str(), ["AdmitRole", "ConcludeRole"].contains(&&**name)));
        for (arn, may_write) in functions.chain([
            (ADMINISTRATOR, !administrator.is_empty()),
            ("arn:aws:iam::123456789012:role/developer", false),
        ]) {
            for (action, folder, expected) in writes
                .iter()
                .flat_map(|action| {
                    [(*action, "stacks/shop/baseline.json", may_write), (*action, "specs/shop.yaml", true)]
                })
                .chain(others.map(|action| (action, "stacks/shop/baseline.json", true)))
            {
                let mut request = AccessRequest::new(action, "", &format!("{bucket}/{folder}"));
                request.key("aws:SecureTransport", "true");
                request.key("aws:PrincipalArn", arn);
                let allowed = grants.decide(&role(arn), &request).is_ok();
                expect(allowed == expected, format!("{action} on {folder} by {arn}: {allowed}"))?;
            }
        }
    }
    Ok(())
}

fn roles_are_bounded(template: &str) -> CheckResult {
    let boundary = "arn:aws:iam::aws:policy/AdministratorAccess";
    let rehearsal = installed(template, &[("PermissionsBoundary", boundary)])?;
    for (name, role) in &rehearsal.installation().roles {
        expect(role.boundary.as_deref() == Some(boundary), format!("{name} has no boundary"))?;
    }
    Ok(())
}

/// Whether each alarm fires for its metric, after how many periods of five minutes, and notifies the topic.
fn alarms_fire(rehearsal: &Rehearsal) -> CheckResult {
    let installation = rehearsal.installation();
    let machine = ("StateMachineArn", installation.workflow.arn.as_str());
    let queue = installation.queues.keys().next().and_then(|arn| arn.rsplit(':').next()).unwrap();
    let mut functions: Vec<&str> =
        installation.functions.values().map(|function| function.name.as_str()).collect();
    functions.sort_unstable();
    for (namespace, metric, dimension, mut values, periods) in [
        ("AWS/States", "ExecutionsFailed", machine.0, vec![machine.1], 1),
        ("AWS/States", "ExecutionsTimedOut", machine.0, vec![machine.1], 1),
        ("AWS/States", "ExecutionThrottled", machine.0, vec![machine.1], 1),
        ("AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", vec![queue], 1),
        // A few throttled invocations are normal: other functions share the account's concurrency.
        ("AWS/Lambda", "Throttles", "FunctionName", functions, 3),
    ] {
        let is_on = |alarm: &&Alarm| {
            let mut metrics = alarm.metrics.iter();
            metrics.any(|of| of.namespace == namespace && of.name == metric)
        };
        let alarm = installation.alarms.iter().find(is_on).ok_or(format!("no alarm for {metric}"))?;
        let mut watched: Vec<(&str, &str)> = alarm
            .metrics
            .iter()
            .flat_map(|of| &of.dimensions)
            .filter_map(|it| Some((it.name.as_str(), it.value.as_str()?)))
            .collect();
        watched.sort_unstable();
        let expected: Vec<(&str, &str)> = values.drain(..).map(|value| (dimension, value)).collect();
        expect(watched == expected, format!("{} has other dimensions: {watched:?}", alarm.id))?;
        expect(
            alarm.metrics.len() == expected.len(),
            format!("{} has metrics without dimensions", alarm.id),
        )?;
        fires_after(alarm, periods)?;
        expect(
            alarm.alarm_actions == [installation.settings.topic.as_str()],
            format!("{} notifies nobody", alarm.id),
        )?;
        expect(alarm.ok_actions == alarm.alarm_actions, format!("{} does not say that it ended", alarm.id))?;
        can_publish(rehearsal.account(), installation, alarm)?;
    }
    Ok(())
}

fn fires_after(alarm: &Alarm, periods: usize) -> CheckResult {
    let id = &alarm.id;
    let quick = alarm.metrics.iter().all(|metric| metric.period <= 300);
    expect(alarm.actions_enabled && quick, format!("{id} is slow or notifies nobody"))?;
    expect(alarm.fires(&vec![Some(1.0); periods]), format!("{id} does not fire"))?;
    expect(!alarm.fires(&vec![Some(1.0); periods - 1]), format!("{id} fires too soon"))?;
    expect(!alarm.fires(&vec![Some(0.0); periods]), format!("{id} fires without a failure"))?;
    expect(!alarm.fires(&vec![None; periods]), format!("{id} fires without data"))
}

/// Whether CloudWatch may publish an alarm to the topic, and use the topic's key for it.
fn can_publish(account: &Account, installation: &Installation, alarm: &Alarm) -> CheckResult {
    let settings = &installation.settings;
    let key = installation.topic_keys.get(&settings.topic).ok_or("there is no such topic")?;
    let encrypts =
        key.iter().flat_map(|key| ["kms:Decrypt", "kms:GenerateDataKey"].map(|action| (action, "key", key)));
    for (action, kind, resource) in std::iter::once(("sns:Publish", "topic", &settings.topic)).chain(encrypts)
    {
        let mut request = AccessRequest::new(action, kind, resource);
        request.key("aws:SourceAccount", &settings.account).key("aws:SourceArn", &alarm.arn);
        let cloudwatch = Principal::Service { name: "cloudwatch.amazonaws.com".into() };
        account.decide("cloudwatch", &cloudwatch, request)?;
    }
    Ok(())
}
