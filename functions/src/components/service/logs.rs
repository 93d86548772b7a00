//! The log groups, one a service.

use stackdrop_specs::Service;

use super::observed::{Group, Observed};
use super::{NAME, not_owned, plan_not_owned};
use crate::aws::error::{Answer, StepError};
use crate::contract::component::Work;
use crate::deployment::deletion::Deletion;
use crate::deployment::plan::{Plan, Verb};

/// The logical ID of a service's log group.
pub(super) fn logical_id(name: &str) -> String {
    format!("log-group/{name}")
}

/// What the names of all log groups of the stack start with.
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
        return plan_not_owned(&logical_id, "log group", &group_name(work, name), plan);
    }
    if group.retention != Some(days(service)) {
        let now = group.retention.map_or("for ever".into(), |days| days.to_string());
        plan.update(&logical_id, "logDays", now, service.log_days);
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
        Some(group) if !group.is_ours(work) => return Err(not_owned("log group", &full)),
        Some(group) => keep_tags(work, name, group).await?,
    }
    if observed.groups.get(name).is_some_and(|group| group.retention == Some(days(service))) {
        return Ok(());
    }
    let call = work.aws.logs().put_retention_policy().log_group_name(&full).retention_in_days(days(service));
    call.send().await.pending_on(
        &["ResourceNotFoundException", "OperationAbortedException"],
        "the log group to be visible",
        format!("setting how long {full} is kept"),
    )?;
    Ok(())
}

async fn create(work: &Work<'_>, name: &str, full: &str) -> Result<(), StepError> {
    let tags = work.stack.tags(NAME, &logical_id(name)).into_iter().collect();
    let call = work.aws.logs().create_log_group().log_group_name(full).set_tags(Some(tags)).send().await;
    // One that exists all the same: a lost answer has made it, and the next attempt sees whose it is.
    call.pending_on(
        &["ResourceAlreadyExistsException", "OperationAbortedException"],
        "the log group to be visible",
        format!("creating {full}"),
    )?;
    tracing::info!(name = full, "Log group created.");
    Ok(())
}

async fn keep_tags(work: &Work<'_>, name: &str, group: &Group) -> Result<(), StepError> {
    let Some(tags) = &group.tags else { return Ok(()) };
    let (missing, stale) =
        (work.stack.tags_to_put(NAME, &logical_id(name), tags), work.stack.stale_tags(tags));
    if !missing.is_empty() {
        let tags = missing.into_iter().collect();
        let call = work.aws.logs().tag_resource().resource_arn(&group.arn).set_tags(Some(tags)).send().await;
        call.doing(format!("tagging {}", group.arn))?;
    }
    if !stale.is_empty() {
        let call = work.aws.logs().untag_resource().resource_arn(&group.arn).set_tag_keys(Some(stale)).send();
        call.await.doing(format!("taking tags off {}", group.arn))?;
    }
    Ok(())
}

/// Deletes a log group of ours.
pub(super) async fn delete(work: &Work<'_>, observed: &Observed, name: &str) -> Result<Deletion, StepError> {
    if observed.groups.get(name).is_some_and(|group| group.is_ours(work)) {
        let full = group_name(work, name);
        let call = work.aws.logs().delete_log_group().log_group_name(&full).send().await;
        call.unless(&["ResourceNotFoundException"]).doing(format!("deleting {full}"))?;
        tracing::info!(name = full, "Log group deleted.");
    }
    Ok(Deletion::default())
}
