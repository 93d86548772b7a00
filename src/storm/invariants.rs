//! What must hold after a storm, whatever its weather.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use stackdrop_functions::aws::error::names;
use stackdrop_simulator::{Call, Ending, Item};
use stackdrop_statemachine::Ending as StepEnding;

use super::weather::Ended;
use crate::rehearsal::{Deployed, FUNCTION_SECONDS_MAX, Rehearsal, announces};

/// The results that the documentation knows.
const RESULTS: [&str; 10] = [
    "Succeeded",
    "Planned",
    "Superseded",
    "InvalidSpec",
    "Destroyed",
    "Retained",
    "Failed",
    "Kept",
    "RollbackFailed",
    "Aborted",
];

/// The stack's deployments that were at work in AWS at the same time: the spans between the first and the last writing
/// call of two executions never overlap.
#[must_use]
pub fn together(ledger: &[Call], executions: &[String]) -> Vec<String> {
    let mut spans: BTreeMap<&str, (Duration, Duration)> = BTreeMap::new();
    for call in ledger.iter().filter(|call| changes_something(call)) {
        let mut parts = call.caller.split('/');
        let (Some(execution), Some(function)) = (parts.next(), parts.next()) else { continue };
        // Admit writes only the lock, the status once it has that, and its own record.
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
                "{first} was at work until {:.1} s, and {second} from {:.1} s on",
                end.as_secs_f64(),
                start.as_secs_f64()
            ));
        }
    }
    found
}

/// Whether a call may have changed anything. Announcements come when a deployment's work is done.
fn changes_something(call: &Call) -> bool {
    call.writes && !announces(call) && !matches!(call.ending, Ending::Refused(_))
}

/// What stands of a stack, without the ids that AWS gives: kind and role, or name where it has one by itself.
#[must_use]
pub fn standing(items: &[Item], stack: &str) -> Vec<String> {
    let ours = items.iter().filter(|item| item.tags.get("stackdrop:stack").is_some_and(|it| it == stack));
    // A final snapshot is meant to stay; a task definition's revision is a record, not a thing that runs.
    let things = ours.filter(|item| !item.kind.contains("Snapshot") && !item.kind.contains("TaskDefinition"));
    let role = |item: &Item| item.tags.get("stackdrop:logical-id").cloned();
    let mut lines: Vec<String> = things
        .map(|item| format!("{} {}", item.kind, role(item).unwrap_or_else(|| item.name.clone())))
        .collect();
    lines.sort();
    lines
}

/// An execution that ended in a way that nobody documented.
pub(super) fn undocumented(deployed: &Deployed) -> Option<String> {
    let (result, error) = (deployed.result(), deployed.error().unwrap_or_default());
    let defective = [names::DEFECT, "States.Runtime", "States.DataLimitExceeded", "Lambda.Unknown"];
    let known = RESULTS.contains(&result.as_str());
    (!known || defective.iter().any(|name| error.starts_with(name)) || error.contains("is a defect"))
        .then(|| format!("{} ended as {result}: {error}", deployed.id))
}

/// Stopped executions that somebody has looked after, and whose lock is there all the same, or of which no record is.
pub(super) async fn not_looked_after(rehearsal: &Rehearsal, ended: &[Ended]) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for Ended { stack, deployed, after } in ended {
        let Some(stopped) = after.as_ref().filter(|_| came_past_admit(deployed)) else { continue };
        if rehearsal.object(&format!("stacks/{stack}/history/{stopped}.json")).await?.is_none() {
            found.push(format!("{stack}: {} has left no record of {stopped}", deployed.id));
        }
        let lock = rehearsal.object(&format!("stacks/{stack}/lock.json")).await?.unwrap_or_default();
        if lock["execution"].as_str().is_some_and(|holder| holder.ends_with(&format!(":{stopped}"))) {
            found.push(format!("{stack}: {} has left the lock with {stopped}", deployed.id));
        }
    }
    Ok(found)
}

/// Whether an execution's first step has done its work.
fn came_past_admit(deployed: &Deployed) -> bool {
    deployed.outcome.steps.iter().any(|step| step.name == "Admit" && step.ending == StepEnding::Done)
}

/// The longest run of a function so far.
pub(super) fn longest(rehearsal: &Rehearsal) -> (Duration, String) {
    let runs = rehearsal.invocations().into_iter();
    let timed = runs.filter_map(|run| Some((run.ended?.checked_sub(run.started)?, run.caller)));
    // One that hung, and was ended by Lambda, says nothing of how long the work takes.
    let limit = Duration::from_secs(FUNCTION_SECONDS_MAX);
    timed.filter(|(took, _)| *took < limit).max().unwrap_or_default()
}
