//! The log groups, one for each service.

use stackdrop_specs::Service;

use super::deletion::Logs;
use super::observed::{Group, Observed};
use super::{NAME, not_owned, plan_not_owned};
use crate::aws::error::{AwsResult, StepError};
use crate::contract::component::Work;
use crate::deployment::deletion::Deletion;
use crate::deployment::plan::{Plan, Verb};

/// The logical ID of a service's log group.
pub(super) fn logical_id(name: &str) -> String {
    format!("log-group/{name}")
}

/// The prefix of the stack's log groups.
pub(super) fn prefix(work: &Work<'_>) -> String {
    format!("/stackdrop/{}/", work.stack.name)
}

/// The name of a service's log group.
pub(super) fn group_name(work: &Work<'_>, name: &str) -> String {
    format!("{}{name}", prefix(work))
}

fn days(service: &Service) -> i32 {
    i32::try_from(service.log_days).unwrap_or(i32::MAX)
}

pub(super) fn plan(work: &Work<'_>, observed: &Observed, name: &str, service: &Service, plan: &mut Plan) {
    let logical_id = logical_id(name);
    let Some(group) = observed.groups.get(name) else {
        plan.change(Verb::Create, logical_id);
        return;
    };
    if !group.is_ours(work) {
        return plan_not_owned(work, &logical_id, "log group", &group_name(work, name), plan);
    }
    if group.retention != Some(days(service)) {
        let actual = group.retention.map_or("forever".into(), |days| days.to_string());
        plan.update(&logical_id, "logDays", actual, service.log_days);
    }
    if let Some(tags) = &group.tags {
        plan.tags(&work.stack, NAME, &logical_id, tags);
    }
}

pub(super) async fn apply(
    work: &Work<'_>,
    observed: &Observed,
    name: &str,
    service: &Service,
) -> Result<(), StepError> {
    let full = group_name(work, name);
    match observed.groups.get(name) {
        None => create(work, name, &full).await?,
        Some(group) if !group.is_ours(work) => return Err(not_owned(work, "log group", &full)),
        Some(group) => repair_tags(work, name, group).await?,
    }
    if observed.groups.get(name).is_some_and(|group| group.retention == Some(days(service))) {
        return Ok(());
    }
    let call = work.aws.logs().put_retention_policy().log_group_name(&full).retention_in_days(days(service));
    call.send().await.stalled_on(
        &["ResourceNotFoundException"],
        "the log group to become visible",
        format!("setting the retention of log group {full}"),
    )?;
    Ok(())
}

async fn create(work: &Work<'_>, name: &str, full: &str) -> Result<(), StepError> {
    let tags = work.stack.tags(NAME, &logical_id(name)).into_iter().collect();
    let call = work.aws.logs().create_log_group().log_group_name(full).set_tags(Some(tags)).send().await;
    // The log group exists if an earlier response was lost. The next attempt reads whether this stack manages it.
    call.stalled_on(
        &["ResourceAlreadyExistsException"],
        "the log group to become visible",
        format!("creating log group {full}"),
    )?;
    tracing::info!(name = full, "Log group created.");
    Ok(())
}

async fn repair_tags(work: &Work<'_>, name: &str, group: &Group) -> Result<(), StepError> {
    let Some(tags) = &group.tags else { return Ok(()) };
    let (missing, stale) =
        (work.stack.tags_to_put(NAME, &logical_id(name), tags), work.stack.stale_tags(tags));
    if !missing.is_empty() {
        let tags = missing.into_iter().collect();
        let call = work.aws.logs().tag_resource().resource_arn(&group.arn).set_tags(Some(tags)).send().await;
        call.doing(format!("tagging log group {}", group.arn))?;
    }
    if !stale.is_empty() {
        let call = work.aws.logs().untag_resource().resource_arn(&group.arn).set_tag_keys(Some(stale)).send();
        call.await.doing(format!("removing tags from log group {}", group.arn))?;
    }
    Ok(())
}

/// Deletes a service's log group if this stack manages it, unless it is kept.
pub(super) async fn delete(
    work: &Work<'_>,
    observed: &Observed,
    name: &str,
    logs: Logs,
) -> Result<Deletion, StepError> {
    let full = group_name(work, name);
    let is_ours = observed.groups.get(name).is_some_and(|group| group.is_ours(work));
    let deletes = match logs {
        Logs::Keep => false,
        Logs::DeleteEmpty => is_ours && !has_lines(work, &full).await?,
        Logs::Delete => is_ours,
    };
    if deletes {
        let call = work.aws.logs().delete_log_group().log_group_name(&full).send().await;
        call.unless(&["ResourceNotFoundException"]).doing(format!("deleting log group {full}"))?;
        tracing::info!(name = full, "Log group deleted.");
    }
    Ok(Deletion::default())
}

/// Whether a task has written to a log group.
async fn has_lines(work: &Work<'_>, full: &str) -> Result<bool, StepError> {
    let call = work.aws.logs().describe_log_streams().log_group_name(full).limit(1).send().await;
    let response = call.unless(&["ResourceNotFoundException"]);
    let response = response.doing(format!("listing the streams of log group {full}"))?;
    Ok(response.is_some_and(|response| !response.log_streams().is_empty()))
}
