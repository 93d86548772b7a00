//! The invariants that must hold after every chaos test.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use serde_json::json;
use stackdrop_functions::aws::error::names;
use stackdrop_functions::deployment::bucket;
use stackdrop_functions::deployment::names::{TAG_LOGICAL_ID, TAG_STACK};
use stackdrop_functions::deployment::outcome::Outcome;
use stackdrop_simulator::{Call, Ending, Incident, Item};
use stackdrop_statemachine::{Ending as StepEnding, Failure, Status};

use super::driver::{Caused, Ended};
use super::person;
use crate::rehearsal::{Deployed, FUNCTION_SECONDS_MAX, Rehearsal, announces};

/// The pairs of a stack's executions that changed something at the same time: the spans between the first and the last
/// writing call of two executions must not overlap.
#[must_use]
pub fn overlaps(calls: &[Call], executions: &[String]) -> Vec<String> {
    let mut spans: BTreeMap<&str, (Duration, Duration)> = BTreeMap::new();
    for call in calls.iter().filter(|call| changes_something(call)) {
        let mut parts = call.caller.split('/');
        let (Some(execution), Some(function)) = (parts.next(), parts.next()) else { continue };
        // Admit writes only the lock, the status once it holds the lock, and its own record.
        if function != "admit" && executions.iter().any(|known| known == execution) {
            let span = spans.entry(execution).or_insert((call.at, call.at));
            span.1 = call.at;
        }
    }
    let mut spans: Vec<_> = spans.into_iter().collect();
    spans.sort_by_key(|(_, span)| *span);
    let mut found = Vec::new();
    for pair in spans.windows(2) {
        if let [(first, (_, end)), (second, (start, _))] = pair
            && start < end
        {
            found.push(format!(
                "{first} ran until {:.1} s, and {second} from {:.1} s on",
                end.as_secs_f64(),
                start.as_secs_f64()
            ));
        }
    }
    found
}

/// Whether a call may have changed anything. Notifications follow the changes.
fn changes_something(call: &Call) -> bool {
    call.writes && !announces(call) && !matches!(call.ending, Ending::Refused(_))
}

/// The resources of a stack, without AWS's IDs: the kind and the logical ID, or the name if there is no logical ID.
#[must_use]
pub fn resources_of(items: &[Item], stack: &str) -> Vec<String> {
    let ours = items.iter().filter(|item| item.tags.get(TAG_STACK).is_some_and(|it| it == stack));
    // Final snapshots are kept on purpose; a revision of a task definition is a record, not something that runs.
    let ours = ours.filter(|item| !item.kind.contains("Snapshot") && !item.kind.contains("TaskDefinition"));
    let id = |item: &Item| item.tags.get(TAG_LOGICAL_ID).unwrap_or(&item.name).clone();
    let mut lines: Vec<String> = ours.map(|item| format!("{} {}", item.kind, id(item))).collect();
    lines.sort();
    lines
}

/// The end of an execution that the test lets Step Functions fail.
pub(super) fn failed_by_the_test() -> Status {
    Status::Failed(Failure::new("States.Runtime", "by the chaos test"))
}

/// An execution that ended with a defect, or with an outcome that is not documented.
pub(super) fn defect(deployed: &Deployed) -> Option<String> {
    let (result, error) = (deployed.result(), deployed.error().unwrap_or_default());
    if deployed.outcome.status == failed_by_the_test() {
        return None;
    }
    let defective = [names::DEFECT, "States.Runtime", "States.DataLimitExceeded", "Lambda.Unknown"];
    let conclusion = deployed.conclusion();
    let known = conclusion.is_none_or(|conclusion| conclusion["result"] == json!(result));
    (!known
        || defective.iter().any(|name| error.starts_with(name))
        || error.contains("is a bug in Stackdrop"))
    .then(|| format!("{} ended as {result}: {error}", deployed.id))
}

/// The stopped executions that another one cleaned up after, and which still hold the lock or have no record.
pub(super) async fn incomplete_cleanups(rehearsal: &Rehearsal, ended: &[Ended]) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for Ended { stack, deployed, cleaned_up, .. } in ended {
        let Some(stopped) = cleaned_up.as_ref().filter(|_| was_admitted(deployed)) else { continue };
        // An execution that failed by itself needs no cleanup; if its input was invalid, it has no record.
        let failed = ended.iter().any(|end| end.deployed.id == *stopped && !is_interrupted(&end.deployed));
        if deployed.result() == Outcome::Superseded && failed {
            continue;
        }
        if rehearsal.object(&bucket::history_key(stack, stopped)).await?.is_none() {
            found.push(format!("{stack}: {} left no record of {stopped}", deployed.id));
        }
        let lock = rehearsal.object(&bucket::lock_key(stack)).await?.unwrap_or_default();
        if lock["execution"].as_str().is_some_and(|holder| holder.ends_with(&format!(":{stopped}"))) {
            found.push(format!("{stack}: {} did not release the lock of {stopped}", deployed.id));
        }
    }
    Ok(found)
}

fn is_interrupted(deployed: &Deployed) -> bool {
    matches!(deployed.outcome.status, Status::Aborted(_) | Status::TimedOut)
}

/// Whether the deployment was admitted.
fn was_admitted(deployed: &Deployed) -> bool {
    deployed.outcome.steps.iter().any(|step| step.name == "Admit" && step.ending == StepEnding::Done)
}

/// The longest run of a function so far, and its caller.
pub(super) fn longest_run(rehearsal: &Rehearsal) -> (Duration, String) {
    let runs = rehearsal.invocations().into_iter();
    let timed = runs.filter_map(|run| Some((run.ended?.checked_sub(run.started)?, run.caller)));
    // A run that hung until its timeout does not count.
    let limit = Duration::from_secs(FUNCTION_SECONDS_MAX);
    timed.filter(|(took, _)| *took < limit).max().unwrap_or_default()
}

/// The rollbacks that failed before any fault: an incident, an upload or a stopped execution alone must not lead to one, unless
/// only a person can repair what a severe incident changed, and knows how.
pub(super) fn failed_rollbacks(rehearsal: &Rehearsal, ended: &[Ended], incidents: &[Caused]) -> Vec<String> {
    let is_severe = |caused: &Caused| Incident::severe().any(|severe| severe.name == caused.name);
    let for_a_person = |end: &&Ended| {
        let severe = incidents.iter().any(|caused| caused.stack == end.stack && is_severe(caused));
        severe && person::is_asked(&end.deployed.error().unwrap_or_default())
    };
    let first_fault = rehearsal.account().strikes().first().map(|strike| strike.at);
    let before_faults = |end: &&Ended| first_fault.is_none_or(|fault| end.at < fault);
    let failed =
        ended.iter().filter(before_faults).filter(|end| end.deployed.result() == Outcome::RollbackFailed);
    failed
        .filter(|end| !for_a_person(end))
        .map(|end| {
            let error = end.deployed.error().unwrap_or_default();
            format!("{} of {}: a rollback failed without a fault: {error}", end.deployed.id, end.stack)
        })
        .collect()
}
