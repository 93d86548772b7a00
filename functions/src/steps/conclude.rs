//! The last step: records how the deployment ended, keeps the schedule in step, frees the lock, announces.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};
use stackdrop_specs::OnFailure;

use crate::deployment::announce::{Announcement, Event, announce};
use crate::aws::Aws;
use crate::contract::component::Work;
use crate::deployment::deletion::Removal;
use crate::deployment::outputs::Outputs;
use crate::aws::error::{StepError, names};
use crate::contract::handler::Function;
use crate::deployment::bucket;
use crate::deployment::record;
use crate::deployment::bucket::When;
use crate::deployment::outcome::Outcome;
use crate::deployment::record::Record;
use crate::deployment::state::{Baseline, Deployment, Failure};
use crate::components::database;
use crate::deployment::{schedule, summary};

/// The function's name.
pub const NAME: &str = "conclude";

/// The function.
pub const FUNCTION: Function = Function::new(NAME, |payload, aws| Box::pin(run(payload, aws)));

#[derive(Debug, Deserialize)]
struct Request {
    deployment: Deployment,
}

/// How a deployment ended, in the words that the workflow's last state and the record need.
#[derive(Debug)]
struct Verdict {
    result: Outcome,
    step: Option<String>,
    error: Option<String>,
    message: Option<String>,
    removed: usize,
    left: Vec<String>,
}

/// Concludes a deployment.
///
/// # Errors
/// When the bucket, the scheduler or RDS refuse what concludes it.
pub(crate) async fn run(payload: Value, aws: &Aws) -> Result<Value, StepError> {
    let Request { deployment } = serde_json::from_value(payload)
        .map_err(|error| StepError::Defect(format!("the workflow's input for `conclude`: {error}")))?;
    let verdict = judge(&deployment);
    let mut record = record(aws, &deployment, &verdict, outputs(&deployment));
    if record::claim_conclusion(aws, &record).await? {
        conclude(aws, &deployment, &mut record).await?;
    }
    tell(aws, &record).await;
    Ok(json!({
        "result": record.result,
        "error": record.error,
        "cause": record.message,
        "outputs": record.outputs,
        "removed": record.removed,
        "left": record.left,
    }))
}

/// What a deployment that has ended leaves to the next: baseline, schedule, records, and the stack's lock, free.
async fn conclude(aws: &Aws, deployment: &Deployment, record: &mut Record) -> Result<(), StepError> {
    if deployment.destroying && deployment.failed.is_empty() && !deployment.removed.is_empty() {
        // Also when something is left: nobody wants the night's redeploy to build it up again.
        schedule::remove(aws, deployment.stack.as_str()).await?;
    }
    match record.result {
        Outcome::Succeeded => {
            let faults = succeed(aws, deployment, &record.outputs).await?;
            let said = record.message.take().into_iter().chain(faults).collect::<Vec<_>>().join("\n");
            record.message = Some(said).filter(|said| !said.is_empty());
        }
        Outcome::UndoFailed if untidy(deployment) => {
            if let Some(before) = &deployment.baseline {
                let key = bucket::baseline_key(deployment.stack.as_str());
                let before = Baseline { untidy: true, ..before.clone() };
                bucket::write(aws, &key, &before, When::Always).await?;
            }
        }
        Outcome::Destroyed => bucket::delete(aws, &bucket::baseline_key(deployment.stack.as_str())).await?,
        _ => {}
    }
    record::keep(aws, record).await?;
    if deployment.asked.is_some() {
        bucket::delete(aws, &bucket::approval_key(deployment.stack.as_str())).await?;
    }
    record::unlock(aws, deployment.stack.as_str(), &deployment.lock).await
}

/// Tells how a deployment ended, and what had drifted.
async fn tell(aws: &Aws, record: &Record) {
    let good = [
        Outcome::Succeeded,
        Outcome::Planned,
        Outcome::Destroyed,
        Outcome::Retained,
        Outcome::Superseded,
        Outcome::Drifted,
    ];
    // What others have added and Stackdrop leaves alone is no news each night: it is in the record, the status and the plan.
    if !record.drift.is_empty() {
        announce(aws, &Announcement::of(Event::DriftFound, record)).await;
    }
    let event = if good.contains(&record.result) { Event::Succeeded } else { Event::Failed };
    announce(aws, &Announcement::of(event, record)).await;
}

/// The steps in which somebody is asked about the plan: nothing was changed yet.
const ASKING: [&str; 2] = ["AwaitApproval", "Answered"];

/// The steps that take away what the spec has no longer, when all that it has is healthy.
const TIDYING: [&str; 3] = ["Tidy", "TidySecurityGroups", "TidyNetwork"];

/// Whether something is left that a step in [`TIDYING`] was to take away.
fn untidy(deployment: &Deployment) -> bool {
    TIDYING.iter().any(|step| deployment.failed.contains_key(*step))
}

fn judge(deployment: &Deployment) -> Verdict {
    let verdict =
        |result| Verdict { result, step: None, error: None, message: None, removed: 0, left: Vec::new() };
    if let Some(failure) = first(&deployment.first_failure) {
        return restored(deployment, failure);
    }
    if let Some((step, failure)) = first(&deployment.failed) {
        if TIDYING.contains(&step.as_str()) {
            let message = format!(
                "The stack is as the spec says, but what the spec has no longer could not be removed: {}\nThe next \
                 deployment goes on with it.",
                said(failure)
            );
            return Verdict { message: Some(message), ..verdict(Outcome::Succeeded) };
        }
        if ASKING.contains(&step.as_str()) {
            return unanswered(step, failure);
        }
        return failed(deployment, (step, failure));
    }
    let problems = summary::problems(&deployment.plan);
    if !problems.is_empty() && !deployment.source.plan_only {
        return Verdict {
            step: Some("Plan".into()),
            error: Some(names::PREFLIGHT_FAILED.into()),
            message: Some(format!("Nothing was changed. {}", problems.join("\n"))),
            ..verdict(Outcome::Failed)
        };
    }
    if deployment.destroying {
        return destroyed(deployment);
    }
    if deployment.source.plan_only {
        return Verdict { message: Some(summary::of_plan(deployment)), ..verdict(Outcome::Planned) };
    }
    let warned = summary::in_words(&summary::warnings(&deployment.plan));
    if deployment.report_only && !summary::drift(&deployment.plan).is_empty() {
        let reported = "What differs was only reported (drift: report); nothing was changed.".to_owned();
        let said: Vec<String> = [reported].into_iter().chain(warned).collect();
        return Verdict { message: Some(said.join("\n")), ..verdict(Outcome::Drifted) };
    }
    Verdict { message: warned, ..verdict(Outcome::Succeeded) }
}

/// A deployment that was to be approved, and was not.
fn unanswered(step: &str, failure: &Failure) -> Verdict {
    let (said, what) = (said(failure), told(step, failure));
    let (result, error, message) = match failure.error.as_str() {
        names::SUPERSEDED => (Outcome::Superseded, None, format!("Nothing was changed: {said}.")),
        names::DECLINED => {
            (Outcome::Declined, Some(names::DECLINED.into()), format!("Nothing was changed: {said}."))
        }
        "States.Timeout" => (
            Outcome::Failed,
            Some(failure.error.clone()),
            "Nothing was changed: nobody agreed to the plan, or rejected it, in three days.".into(),
        ),
        // Whoever rejects may name the failure as they like.
        other if step == "AwaitApproval" && !names::ALL.contains(&other) => (
            Outcome::Declined,
            Some(names::DECLINED.into()),
            format!("Nothing was changed: the plan was rejected ({said})."),
        ),
        other => (Outcome::Failed, Some(other.to_owned()), format!("{what}\nNothing was changed.")),
    };
    let step = error.as_ref().map(|_| step.to_owned());
    Verdict { result, step, error, message: Some(message), removed: 0, left: Vec::new() }
}

/// A stack that was to be removed.
fn destroyed(deployment: &Deployment) -> Verdict {
    let removed = removals(deployment).map(|removal| removal.found).sum();
    let left = left(deployment);
    if left.is_empty() {
        let message = Some(format!("The stack was removed ({removed} resources)."));
        return Verdict { result: Outcome::Destroyed, step: None, error: None, message, removed, left };
    }
    let message = format!(
        "Not everything could be removed:\n{}\nStart the removal again once the cause is gone: it goes on from here.",
        left.join("\n")
    );
    let error = Some(names::UNDO_FAILED.into());
    Verdict { result: Outcome::UndoFailed, step: None, error, message: Some(message), removed, left }
}

/// A deployment whose undo was the baseline.
fn restored(deployment: &Deployment, (step, failure): (&String, &Failure)) -> Verdict {
    let what = told(step, failure);
    let (result, error, message, left) = match first(&deployment.failed) {
        Some((step, tidying)) if TIDYING.contains(&step.as_str()) => {
            let left = told(step, tidying);
            let message =
                format!("{what}\nThe baseline is restored, but something of the update is left: {left}");
            (Outcome::UndoFailed, names::UNDO_FAILED.into(), message, vec![left])
        }
        None => {
            let baseline =
                deployment.baseline.as_ref().map_or("(none)", |baseline| baseline.deployment.as_str());
            let message = format!("{what}\nThe stack is as the deployment {baseline} left it.");
            (Outcome::Failed, failure.error.clone(), message, Vec::new())
        }
        Some((second, undo)) => {
            let left = self::said(undo);
            let message = format!(
                "{what}\nThe baseline could not be restored: {second} failed: {left}\n\
                 Start the stack's deployment again once the cause is gone: it goes on from here."
            );
            (Outcome::UndoFailed, names::UNDO_FAILED.into(), message, vec![format!("{second}: {left}")])
        }
    };
    Verdict { result, step: Some(step.clone()), error: Some(error), message: Some(message), removed: 0, left }
}

/// A deployment that was left as it stood, or whose undo was the removal of the stack.
fn failed(deployment: &Deployment, (step, failure): (&String, &Failure)) -> Verdict {
    let mut verdict = Verdict {
        result: Outcome::Failed,
        step: Some(step.clone()),
        error: Some(failure.error.clone()),
        message: None,
        removed: 0,
        left: Vec::new(),
    };
    let what = told(step, failure);
    if deployment.destroying && step != "Plan" {
        verdict.result = Outcome::UndoFailed;
        verdict.left = left(deployment);
        verdict.message = Some(format!(
            "{what}\nThe removal of the stack is not finished: start it again, it goes on from here."
        ));
        return verdict;
    }
    if deployment.spec.on_failure == OnFailure::Keep && step != "Plan" {
        verdict.result = Outcome::Kept;
        verdict.message = Some(format!(
            "{what}\nEverything was left as it stood (onFailure: keep). The next deployment goes on from here."
        ));
        return verdict;
    }
    verdict.removed = removals(deployment).map(|removal| removal.found).sum();
    verdict.left = left(deployment);
    if deployment.removed.is_empty() && deployment.undo_failed.is_empty() {
        verdict.message = Some(format!("{what}\nNothing was changed."));
    } else if verdict.left.is_empty() {
        verdict.message = Some(format!(
            "{what}\nEverything that had been created was removed ({} resources).",
            verdict.removed
        ));
    } else {
        verdict.result = Outcome::UndoFailed;
        verdict.error = Some(names::UNDO_FAILED.into());
        verdict.message = Some(format!(
            "{what}\nNot everything could be removed:\n{}\nStart the stack's deployment again once \
             the cause is gone: it goes on from here.",
            verdict.left.join("\n")
        ));
    }
    verdict
}

/// The one step that failed: a deployment ends, or is undone, at its first.
fn first(failed: &BTreeMap<String, Failure>) -> Option<(&String, &Failure)> {
    failed.first_key_value()
}

/// Which step failed, and what it said.
fn told(step: &str, failure: &Failure) -> String {
    let said = said(failure);
    // An interruption is not a step's failure: it is told by itself.
    if failure.error == names::INTERRUPTED {
        format!("Interrupted: {said}.")
    } else {
        format!("{step} failed: {said}")
    }
}

/// What a failed step said, for people: the message inside the JSON text that Lambda makes of an error.
fn said(failure: &Failure) -> String {
    let inner = serde_json::from_str::<Value>(&failure.cause).ok();
    let message = inner.as_ref().and_then(|cause| cause.get("errorMessage")?.as_str());
    match message.unwrap_or(&failure.cause) {
        "" => failure.error.clone(),
        message if failure.error == names::PENDING => format!("it gave up {message}"),
        message => message.to_owned(),
    }
}

fn removals(deployment: &Deployment) -> impl Iterator<Item = Removal> {
    deployment.removed.values().filter_map(|value| serde_json::from_value(value.clone()).ok())
}

/// What is left after the removal chain: what the clearing branches and the removing steps gave up on.
fn left(deployment: &Deployment) -> Vec<String> {
    let cleared = deployment
        .cleared
        .iter()
        .filter_map(|branch| serde_json::from_value::<Failure>(branch.get("failure")?.clone()).ok());
    // A removing step that failed is asked again by its clearing branch: the branch has the last word.
    let chain = deployment
        .undo_failed
        .iter()
        .filter(|(step, _)| ["Clear", "RemoveSecurityGroups", "RemoveNetwork"].contains(&step.as_str()))
        .map(|(_, failure)| failure.clone());
    cleared.chain(chain).map(|failure| said(&failure)).collect()
}

/// What the stack has made: what Settle read last, over what the steps reported, over the baseline's where a
/// deployment had nothing to change.
fn outputs(deployment: &Deployment) -> Outputs {
    let (steps, settled) = (&deployment.outputs, &deployment.settled);
    if steps.network.is_none() && deployment.failed.is_empty() {
        return deployment.baseline.as_ref().map(|baseline| baseline.outputs.clone()).unwrap_or_default();
    }
    Outputs {
        network: steps.network.clone(),
        security_groups: steps.security_groups.clone(),
        database: settled.database.clone().or_else(|| steps.database.clone()),
        load_balancer: settled.load_balancer.clone().or_else(|| steps.load_balancer.clone()),
        egress: settled.egress.clone().or_else(|| steps.egress.clone()),
        instance: settled.instance.clone().or_else(|| steps.instance.clone()),
        service: settled.service.clone().or_else(|| steps.service.clone()),
    }
}

/// Makes the deployment the baseline; then what comes after success. A refusal of that is said, and takes nothing back:
/// the stack stands.
async fn succeed(aws: &Aws, deployment: &Deployment, outputs: &Outputs) -> Result<Vec<String>, StepError> {
    let mut faults = Vec::new();
    let mut note = |result: Result<(), StepError>| match result {
        Err(error @ (StepError::Pending(_) | StepError::Transient { .. })) => Err(error),
        Err(error) => {
            faults.push(format!("The stack stands, but: {}", error.chain()));
            Ok(false)
        }
        Ok(()) => Ok(true),
    };
    let mut spec = deployment.spec.clone();
    if !note(schedule::keep(aws, deployment).await)? {
        // The next deployment compares with what the schedule is, and tries again.
        spec.redeploy = deployment.baseline.as_ref().and_then(|before| before.spec.redeploy.clone());
    }
    let baseline = Baseline {
        deployment: deployment.id.clone(),
        key: deployment.source.key.clone(),
        version: deployment.source.version.clone(),
        spec,
        outputs: outputs.clone(),
        untidy: untidy(deployment),
    };
    let key = bucket::baseline_key(deployment.stack.as_str());
    bucket::write(aws, &key, &baseline, When::Always).await?;
    let changed = deployment.outputs.network.is_some();
    let work = Work::new(aws, deployment);
    if changed {
        note(database::protect(&work).await)?;
    }
    Ok(faults)
}

/// Whether what a deployment finds has come since the last one: by hand, or by others.
fn looks_for_drift(deployment: &Deployment) -> bool {
    deployment.is_unchanged() && !deployment.source.plan_only && !deployment.destroying
}

fn record(aws: &Aws, deployment: &Deployment, verdict: &Verdict, outputs: Outputs) -> Record {
    // What a failed deployment made is gone again, unless it was kept; what stood before stands.
    let stands = matches!(verdict.result, Outcome::Succeeded | Outcome::Kept | Outcome::UndoFailed);
    let before = deployment.baseline.as_ref().filter(|_| verdict.result != Outcome::Destroyed);
    let drifted = looks_for_drift(deployment);
    Record {
        ended: Some(aws.now()),
        step: verdict.step.clone(),
        error: verdict.error.clone(),
        message: verdict.message.clone(),
        next: next_step(deployment, verdict),
        drift: if drifted { summary::drift(&deployment.plan) } else { Vec::new() },
        outputs: if stands {
            outputs
        } else {
            before.map(|before| before.outputs.clone()).unwrap_or_default()
        },
        removed: verdict.removed,
        left: verdict.left.clone(),
        ..deployment.record(verdict.result)
    }
}

/// What a person should do now, by how the deployment ended.
fn next_step(deployment: &Deployment, verdict: &Verdict) -> Option<String> {
    let stack = &deployment.stack;
    let again = format!("start {{ \"stack\": \"{stack}\" }}, or upload the spec again");
    match (verdict.result, verdict.error.as_deref()) {
        (Outcome::UndoFailed, _) if deployment.destroying => Some(format!(
            "Free what holds each resource that is left, then start {{ \"stack\": \"{stack}\", \"action\": \"destroy\" }} again."
        )),
        (Outcome::UndoFailed, _) => {
            Some(format!("Free what holds each resource that is left, then {again}: it goes on from here."))
        }
        (Outcome::Drifted, _) => Some(format!(
            "To have it put right, start {{ \"stack\": \"{stack}\" }}; or change the spec to what is there."
        )),
        (Outcome::Failed | Outcome::Kept, Some(error)) => Some(match error {
            names::DENIED => format!(
                "Allow the call to the role that AWS names, or find the permissions boundary or service control policy \
                 that denies it; then {again}."
            ),
            names::PREFLIGHT_FAILED => "Put each of the problems right, then upload the spec again.".into(),
            names::UNHEALTHY => format!(
                "Put right what AWS names as the reason, then upload the spec again. `stackdrop logs {stack}` shows \
                 what containers wrote."
            ),
            names::FOREIGN => {
                "Rename or remove what stands in the way, or choose another name for the stack.".into()
            }
            names::PENDING => {
                format!("AWS took longer than the step waits. Look at what it waited for, then {again}.")
            }
            names::TRANSIENT => format!("AWS, or the network, failed again and again. Later, {again}."),
            names::DEFECT => "Report this with the execution's history: it is a defect of Stackdrop.".into(),
            _ => format!("Put right what AWS refused, then {again}."),
        }),
        _ => None,
    }
}
