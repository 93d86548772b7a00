//! Why a rollout has failed: ECS's reason, how the tasks ended, the health of the targets, and the last lines of a
//! container's log.

use std::collections::BTreeMap;

use aws_sdk_ecs::types::{Container, LoadBalancer, Service, ServiceEvent, Task};
use aws_sdk_elasticloadbalancingv2::types::{TargetHealth, TargetHealthStateEnum};
use stackdrop_specs::Service as Spec;

use super::targets::{describe_target, health_check};
use super::{logs, tasks};
use crate::aws::error::{AwsResult, StepError};
use crate::contract::component::Work;
use crate::contract::targets;

/// How many lines of a container's log are reported.
const LINES: i32 = 5;
/// The maximum length of a reported line, in characters.
const LINE_CHARACTERS_MAX: usize = 300;

/// Everything that can be read about a failed rollout. The failure itself is reported in any case: a call that fails here only
/// adds what could not be read.
pub(super) async fn why(
    work: &Work<'_>,
    name: &str,
    service: &Service,
    rollout: &str,
    reason: Option<&str>,
) -> String {
    let (tasks, targets) =
        futures::join!(tasks::stopped(work, name, rollout), unhealthy_targets(work, name, service));
    let mut parts: Vec<String> = reason.map(str::to_owned).into_iter().collect();
    let tasks = tasks.unwrap_or_else(|error| {
        parts.push(unreadable("its stopped tasks", &error));
        Vec::new()
    });
    parts.extend(task_endings(&tasks));
    parts.extend(targets);
    parts.extend(problem_event(service).map(str::to_owned));
    let exited = |task: &&Task| own_containers(task).any(|one| one.exit_code().is_some());
    if let Some(task) = tasks.iter().find(exited) {
        parts.extend(last_lines(work, name, task).await);
    }
    let mut text = parts.iter().map(|part| part.trim_end_matches('.')).collect::<Vec<_>>().join("; ");
    text.extend(advice(&text).into_iter().map(|advice| format!("; {advice}")));
    if text.is_empty() { "ECS gives no reason".into() } else { text }
}

/// What the explanation lacks, and why.
fn unreadable(what: &str, error: &StepError) -> String {
    format!("{what} could not be read ({})", error.chain())
}

/// What to do about a cause that AWS's texts, or the container's log, name.
fn advice(text: &str) -> Option<&'static str> {
    // Source of AWS's texts: "Amazon ECS stopped tasks error messages" and "Service event messages" in the ECS developer guide.
    const ADVICE: [(&str, &str); 9] = [
        (
            "exec format error",
            "the image is built for another CPU architecture: build it for linux/amd64 (docker build --platform linux/amd64)",
        ),
        (
            "does not contain descriptor matching platform",
            "the image is built for another CPU architecture: build it for linux/amd64 (docker build --platform linux/amd64)",
        ),
        (
            "Capacity is unavailable",
            "Fargate has no capacity for these tasks at the moment: deploy again later",
        ),
        (
            "reached the limit on the number of",
            "the account's quota is reached: request a higher quota, or lower `count` or `cpu`",
        ),
        (
            "failed to fetch secret",
            "check that the secret exists, that its name or its tag stackdrop-access lets the stack use it, and that its policy \
             and its KMS key allow the execution role to read it",
        ),
        (
            "unable to retrieve secrets from ssm",
            "check that the parameter exists, that its name or its tag stackdrop-access lets the stack use it, and that its KMS \
             key allows the execution role to decrypt it",
        ),
        (
            "CannotPullContainerError",
            "check that the image exists and that the tasks can pull it, or correct `image`",
        ),
        (
            "exit code 137",
            "exit code 137 means that the container was killed, usually because `memory` is too low",
        ),
        ("unable to assume the role", "deploy again: Stackdrop repairs the role"),
    ];
    ADVICE.iter().find(|(cause, _)| text.contains(cause)).map(|(_, advice)| *advice)
}

/// The containers of a task, without the one that GuardDuty's runtime monitoring adds.
fn own_containers(task: &Task) -> impl Iterator<Item = &Container> {
    let all = task.containers().iter();
    all.filter(|one| one.name().is_none_or(|name| !name.starts_with("aws-guardduty-agent")))
}

/// How the tasks ended, with the number of tasks for each way.
pub(super) fn task_endings<'t>(tasks: impl IntoIterator<Item = &'t Task>) -> Vec<String> {
    let mut endings: BTreeMap<String, usize> = BTreeMap::new();
    for task in tasks {
        *endings.entry(task_ending(task)).or_default() += 1;
    }
    let mut endings = joined(endings);
    endings.sort_by_key(|(_, tasks)| std::cmp::Reverse(*tasks));
    let most_frequent = endings.into_iter().take(3);
    most_frequent
        .map(|(ending, tasks)| format!("{tasks} task{} ended: {ending}", if tasks == 1 { "" } else { "s" }))
        .collect()
}

/// The endings, with those that have only a reason joined to a more detailed one with the same reason: a task that is still
/// stopping has no exit codes yet.
fn joined(endings: BTreeMap<String, usize>) -> Vec<(String, usize)> {
    let mut joined: Vec<(String, usize)> = Vec::new();
    // Backwards: the detailed ones are sorted after their reason.
    for (ending, tasks) in endings.into_iter().rev() {
        let details = format!("{ending} (");
        match joined.iter_mut().find(|(detailed, _)| detailed.starts_with(&details)) {
            Some((_, of_detailed)) => *of_detailed += tasks,
            None => joined.push((ending, tasks)),
        }
    }
    joined
}

fn task_ending(task: &Task) -> String {
    let reason = task.stopped_reason().unwrap_or("no reason given");
    let containers = own_containers(task).filter_map(|container| {
        let code = container.exit_code().map(|code| format!("exit code {code}"));
        let detail = container.reason().filter(|text| !reason.contains(text)).map(str::to_owned);
        let parts: Vec<String> = code.into_iter().chain(detail).collect();
        (!parts.is_empty())
            .then(|| format!("{}: {}", container.name().unwrap_or("container"), parts.join(", ")))
    });
    let containers: Vec<String> = containers.collect();
    if containers.is_empty() { reason.to_owned() } else { format!("{reason} ({})", containers.join("; ")) }
}

async fn unhealthy_targets(work: &Work<'_>, name: &str, service: &Service) -> Vec<String> {
    let check = health_check(work, name);
    let mut unhealthy = Vec::new();
    for group in service.load_balancers().iter().filter_map(LoadBalancer::target_group_arn) {
        let targets = match targets::of_group(work, group).await {
            Ok(targets) => targets,
            Err(error) => {
                unhealthy.push(unreadable("the health of its targets", &error));
                continue;
            }
        };
        let targets = targets.iter().filter(|target| {
            let state = target.target_health().and_then(TargetHealth::state);
            matches!(state, Some(TargetHealthStateEnum::Unhealthy | TargetHealthStateEnum::Unused))
        });
        unhealthy.extend(targets.map(|target| format!("target {}", describe_target(target, &check))));
    }
    unhealthy
}

/// The newest event about a problem. Tasks that could not be started appear only in events.
fn problem_event(service: &Service) -> Option<&str> {
    let messages = service.events().iter().filter_map(ServiceEvent::message);
    let mut problems = messages.filter(|message| {
        ["unable to", "failed to launch", "is unhealthy in"].iter().any(|text| message.contains(text))
    });
    problems.next()
}

/// The last lines of a task's log.
async fn last_lines(work: &Work<'_>, name: &str, task: &Task) -> Option<String> {
    let id = task.task_arn()?.rsplit('/').next()?;
    let container = own_containers(task).find_map(Container::name).unwrap_or(name);
    let group = logs::group_name(work, name);
    let call = work
        .aws
        .logs()
        .get_log_events()
        .log_group_name(&group)
        // The stream's name is the prefix, the container and the task.
        .log_stream_name(format!("{name}/{container}/{id}"))
        .start_from_head(false)
        .limit(LINES);
    let response = match call.send().await.doing(format!("reading the end of log group {group}")) {
        Ok(response) => response,
        // A task that could not start has no log.
        Err(StepError::Refused { source, .. }) if source.code == "ResourceNotFoundException" => return None,
        Err(error) => return Some(unreadable("the end of its log", &error)),
    };
    let messages = response.events().iter().filter_map(|event| event.message());
    let lines: Vec<String> = messages.map(|line| redacted(work.spec.services.get(name), line)).collect();
    (!lines.is_empty()).then(|| {
        format!("its log ends with: {} (the whole log is in the log group {group})", lines.join(" | "))
    })
}

/// A line of a log for a record: shortened, and without the values of variables that come from a secret.
fn redacted(service: Option<&Spec>, line: &str) -> String {
    let secrets = service.into_iter().flat_map(|service| {
        let of_database = service.database.iter().filter(|(_, value)| value.is_secret());
        service.secrets.keys().chain(of_database.map(|(variable, _)| variable))
    });
    let line = secrets.fold(line.trim().to_owned(), |line, variable| redact(&line, variable));
    match line.char_indices().nth(LINE_CHARACTERS_MAX) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

/// Replaces what follows `VARIABLE=`, `VARIABLE: ` or `"VARIABLE":"`, up to the next space, quote or comma.
fn redact(line: &str, variable: &str) -> String {
    let mut redacted = String::new();
    let mut rest = line;
    while let Some(at) = rest.find(variable) {
        let (before, after) = rest.split_at(at + variable.len());
        redacted.push_str(before);
        let value = after.trim_start_matches(['"', '\'']);
        let Some(value) = value.trim_start().strip_prefix(['=', ':']) else {
            rest = after;
            continue;
        };
        let value = value.trim_start_matches([' ', '"', '\'']);
        redacted.push_str(&after[..after.len() - value.len()]);
        redacted.push_str("***");
        rest = value.find([' ', '"', '\'', ',']).map_or("", |end| &value[end..]);
    }
    redacted + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cause_that_awss_texts_name_has_its_advice() {
        // Source: "Amazon ECS stopped tasks error messages" and "Service event messages" in the ECS developer guide.
        for (text, expected) in [
            ("its log ends with: exec /app: exec format error", "build it for linux/amd64"),
            (
                "CannotPullContainerError: image Manifest does not contain descriptor matching platform 'linux/amd64'",
                "build it for linux/amd64",
            ),
            ("Capacity is unavailable at this time. Please try again later", "deploy again later"),
            (
                "You've reached the limit on the number of vCPUs you can run concurrently",
                "request a higher quota",
            ),
            (
                "ResourceInitializationError: unable to retrieve secret from asm: failed to fetch secret arn:aws:x",
                "check that the secret exists",
            ),
            (
                "ResourceInitializationError: unable to retrieve secrets from ssm: AccessDeniedException",
                "check that the parameter exists",
            ),
            ("CannotPullContainerError: pull access denied for web", "check that the image exists"),
            ("Essential container in task exited (web: exit code 137)", "`memory` is too low"),
            ("ECS was unable to assume the role 'arn:aws:iam::1:role/a'", "Stackdrop repairs the role"),
        ] {
            let advice = advice(text).unwrap_or_default();
            assert!(advice.contains(expected), "{text}: {advice}");
        }
        assert_eq!(advice("Essential container in task exited (web: exit code 1)"), None);
    }

    #[test]
    fn the_three_most_frequent_endings_of_tasks_are_counted_without_repeating_a_reason() {
        let container = |name: &str| Container::builder().name(name);
        let task = |reason: &str| Task::builder().stopped_reason(reason);
        let exited = task("Essential container in task exited");
        let exited = exited.containers(container("aws-guardduty-agent-1").exit_code(0).build());
        let exited = exited.containers(container("web").exit_code(3).reason("out of memory").build()).build();
        let missing = task("CannotPullContainerError: not found");
        let missing = missing.containers(container("web").reason("CannotPullContainerError").build()).build();
        let without = Task::builder().build();
        let other = task("another").build();
        assert_eq!(
            task_endings([&other, &missing, &exited, &without, &exited, &missing, &exited]),
            [
                "3 tasks ended: Essential container in task exited (web: exit code 3, out of memory)",
                "2 tasks ended: CannotPullContainerError: not found",
                "1 task ended: no reason given",
            ]
        );
    }

    #[test]
    fn the_newest_event_about_a_problem_is_reported() {
        let events = |messages: &[&str]| {
            let events = messages.iter().map(|message| ServiceEvent::builder().message(*message).build());
            Service::builder().set_events(Some(events.collect())).build()
        };
        let steady = "(service web) has reached a steady state.";
        for problem in [
            "(service web) was unable to place a task. Reason: Capacity is unavailable at this time.",
            "(service web) failed to launch a task with (error ECS was unable to assume the role).",
            "(service web) (port 80) is unhealthy in (target-group a) due to (reason Request timed out)",
        ] {
            let service = events(&[steady, problem, "(service web) was unable to do something earlier."]);
            assert_eq!(problem_event(&service), Some(problem));
        }
        assert_eq!(problem_event(&events(&[steady])), None);
    }

    #[test]
    fn tasks_that_are_still_stopping_are_counted_with_those_that_have_stopped_for_the_same_reason() {
        let endings = [("exited", 2), ("exited (web: exit code 3)", 1), ("exited early", 1)];
        let endings = endings.map(|(ending, tasks)| (ending.to_owned(), tasks));
        let expected = [("exited early".to_owned(), 1), ("exited (web: exit code 3)".to_owned(), 3)];
        assert_eq!(joined(BTreeMap::from(endings)), expected);
    }

    #[test]
    fn redact_removes_the_value_of_a_secret_variable() {
        for (line, redacted) in [
            ("connecting with DB_PASSWORD=hunter2 to db", "connecting with DB_PASSWORD=*** to db"),
            (r#"{"DB_PASSWORD":"hunter2","PORT":1}"#, r#"{"DB_PASSWORD":"***","PORT":1}"#),
            ("DB_PASSWORD: hunter2", "DB_PASSWORD: ***"),
            ("DB_PASSWORD is not set", "DB_PASSWORD is not set"),
            ("nothing of it", "nothing of it"),
        ] {
            assert_eq!(redact(line, "DB_PASSWORD"), redacted);
        }
    }

    #[test]
    fn a_line_of_a_log_is_short_and_has_no_value_of_a_variable_that_comes_from_a_secret() {
        let spec = "
stack: shop
database: { version: '17', class: db.t4g.micro, storage: 20, name: shop }
services:
  web:
    image: web
    environment: { LEVEL: info }
    secrets: { TOKEN: 'arn:aws:secretsmanager:eu-central-1:123456789012:secret:shop/token-AbCdEf' }
    database: { PGHOST: host, PGUSER: username, PGPASSWORD: password }
";
        let spec = stackdrop_specs::Spec::read(spec.as_bytes()).unwrap();
        let line = |text: &str| redacted(spec.services.get("web"), text);
        assert_eq!(
            line(" LEVEL=info TOKEN=t0 PGHOST=db PGUSER=u0 PGPASSWORD=p0\n"),
            "LEVEL=info TOKEN=*** PGHOST=db PGUSER=*** PGPASSWORD=***"
        );
        assert_eq!(line(&"é".repeat(300)), "é".repeat(300));
        assert_eq!(line(&"é".repeat(301)), format!("{}…", "é".repeat(300)));
        assert_eq!(redacted(None, "TOKEN=t0"), "TOKEN=t0");
    }
}
