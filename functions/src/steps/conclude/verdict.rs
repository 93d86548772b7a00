//! How a deployment ended, judged by what its steps left in the state.

use stackdrop_specs::OnFailure;

use crate::aws::error::names;
use crate::deployment::deletion::DeletionEnd;
use crate::deployment::failure::{Failure, Failures};
use crate::deployment::outcome::Outcome;
use crate::deployment::state::Deployment;
use crate::deployment::summary;

/// How a deployment ended.
#[derive(Debug)]
pub(super) struct Verdict {
    pub(super) outcome: Outcome,
    /// The step that failed first.
    pub(super) step: Option<String>,
    /// The error's name.
    pub(super) error: Option<String>,
    /// For people.
    pub(super) message: Option<String>,
    /// How many resources were deleted.
    pub(super) deleted: usize,
    /// What could not be deleted.
    pub(super) remaining: Vec<String>,
}

/// The first failed step and its failure: at it, a deployment ends or is rolled back.
type Failed<'a> = (&'a String, &'a Failure);

fn first(failures: &Failures) -> Option<Failed<'_>> {
    failures.first_key_value()
}

impl Verdict {
    fn new(outcome: Outcome) -> Self {
        Self { outcome, step: None, error: None, message: None, deleted: 0, remaining: Vec::new() }
    }

    fn saying(outcome: Outcome, message: impl Into<String>) -> Self {
        Self { message: Some(message.into()), ..Self::new(outcome) }
    }

    /// Judges a deployment whose steps have all ended.
    pub(super) fn of(deployment: &Deployment, version: &str) -> Self {
        let verdict = Self::of_steps(deployment, version);
        // A deployment that went on has restarted the services itself, or says why it could not.
        let went_on = deployment.outputs.network.is_some();
        match first(&deployment.rotation_failed).filter(|_| !went_on) {
            Some(failed) if deployment.is_rotation() => not_restarted(failed, None),
            Some(failed) => not_restarted(failed, Some(verdict)),
            None => verdict,
        }
    }

    fn of_steps(deployment: &Deployment, version: &str) -> Self {
        if let Some((_, failure)) = first(&deployment.rollback_failed) {
            return rollback_not_started(deployment, failure);
        }
        if let Some(failed) = first(&deployment.first_failure) {
            return rolled_back(deployment, failed);
        }
        if let Some((step, failure)) = first(&deployment.plan_failed) {
            return Self {
                step: Some(step.clone()),
                error: Some(failure.error.clone()),
                ..Self::saying(Outcome::Failed, format!("{}\nNothing was changed.", failure.of_step(step)))
            };
        }
        if let Some(failed) = first(&deployment.not_approved) {
            return not_approved(failed);
        }
        if let Some(failed) = first(&deployment.failed) {
            return self::failed(deployment, failed);
        }
        if deployment.is_rotation() {
            return restarted(deployment);
        }
        if let Some((_, failure)) = first(&deployment.prune_failed) {
            let message = format!(
                "The stack matches its spec, but resources that the spec no longer has could not be deleted: {}\nThe \
                 next deployment tries again.",
                failure.message()
            );
            return Self::saying(Outcome::Succeeded, message);
        }
        if deployment.destroying && deployment.review.as_ref().is_some_and(|review| !review.blocked) {
            return destroyed(deployment);
        }
        planned(deployment, version)
    }
}

/// A deployment that could not change the password or restart the services; `otherwise` is how it ended apart from that.
fn not_restarted((step, failure): Failed<'_>, otherwise: Option<Verdict>) -> Verdict {
    let consequence = if step == "RotatePassword" {
        "The services were not restarted, because their tasks still have the current password."
    } else {
        "Tasks that started before the database's password was changed cannot open new connections. The next deployment \
         restarts them."
    };
    let what = format!("{}\n{consequence}", failure.of_step(step));
    match otherwise {
        Some(verdict) if ![Outcome::Succeeded, Outcome::Drifted].contains(&verdict.outcome) => {
            Verdict { message: Some(lines(verdict.message, Some(what))), ..verdict }
        }
        otherwise => {
            let message = lines(Some(what), otherwise.and_then(|verdict| verdict.message));
            let (step, error) = (Some(step.clone()), Some(failure.error.clone()));
            Verdict { step, error, ..Verdict::saying(Outcome::Failed, message) }
        }
    }
}

/// A deployment that changed the password or only restarted the services.
fn restarted(deployment: &Deployment) -> Verdict {
    let message = match restarted_services(deployment).as_slice() {
        [] => "The database's password was changed; no service uses it.".to_owned(),
        [name] => format!("The database's password was changed, and service {name} runs with the new one."),
        names => format!(
            "The database's password was changed, and services {} run with the new one.",
            names.join(", ")
        ),
    };
    Verdict::saying(Outcome::Succeeded, message)
}

/// Two parts of a message, if there are any.
fn lines(first: Option<String>, second: Option<String>) -> String {
    first.into_iter().chain(second).collect::<Vec<_>>().join("\n")
}

/// The services that run with the new password.
fn restarted_services(deployment: &Deployment) -> Vec<&str> {
    let services = deployment.outputs.service.iter().flat_map(|service| service.services.keys());
    services.map(String::as_str).collect()
}

/// What a deployment restarted before it ended with its plan.
fn restarted_first(deployment: &Deployment) -> Option<String> {
    if deployment.outputs.network.is_some() {
        return None;
    }
    let services = deployment.outputs.service.iter().flat_map(|service| &service.services);
    let names = services.filter(|(_, running)| running.restarted).map(|(name, _)| format!("service/{name}"));
    let names: Vec<String> = names.collect();
    (!names.is_empty()).then(|| {
        format!(
            "Restarted, because a secret had changed after their tasks had started: {}.",
            names.join(", ")
        )
    })
}

/// Why a deployment of a requested plan would await approval.
fn would_need_approval(deployment: &Deployment) -> Option<String> {
    let review = deployment.review.as_ref().filter(|review| review.needs_approval && review.changes)?;
    let reasons: Vec<String> = review.approval.iter().map(ToString::to_string).collect();
    Some(format!("A deployment needs approval: {}. The plan's ID is {}.", reasons.join("; "), review.id()))
}

/// A deployment that ended with its plan, or had no failure.
fn planned(deployment: &Deployment, version: &str) -> Verdict {
    let problems = summary::problems(&deployment.plan);
    if deployment.source.plan_only {
        let plan = lines(Some(summary::of_plan(deployment)), would_need_approval(deployment));
        return Verdict::saying(Outcome::Planned, plan);
    }
    let restarted = restarted_first(deployment);
    let nothing = if restarted.is_some() { "nothing else was changed" } else { "nothing was changed" };
    if !problems.is_empty() {
        let stopped = format!("{}. {}", nothing.replacen('n', "N", 1), problems.join("\n"));
        return Verdict {
            step: Some("Plan".into()),
            error: Some(names::PREFLIGHT_FAILED.into()),
            ..Verdict::saying(Outcome::Failed, lines(restarted, Some(stopped)))
        };
    }
    let warnings = summary::in_words(&summary::warnings(&deployment.plan));
    if deployment.report_only && !summary::drift(&deployment.plan).is_empty() {
        let reported = match &deployment.made_by {
            None => format!("The drift was only reported (drift: report); {nothing}."),
            Some(made_by) => format!(
                "The differences may come from Stackdrop {version}, because Stackdrop {made_by} made the stack: they wait for an \
                 upload or a request; {nothing}. With the parameter `ChangesAfterUpdate: repair`, schedules apply them."
            ),
        };
        let reported = lines(Some(reported), warnings);
        return Verdict::saying(Outcome::Drifted, lines(restarted, Some(reported)));
    }
    let message = Some(lines(restarted, warnings)).filter(|message| !message.is_empty());
    Verdict { message, ..Verdict::new(Outcome::Succeeded) }
}

/// A deployment whose plan was not approved.
fn not_approved((step, failure): Failed<'_>) -> Verdict {
    let message = failure.message();
    let rejected = |why: String| Verdict {
        step: Some(step.clone()),
        error: Some(names::APPROVAL_REJECTED.into()),
        ..Verdict::saying(Outcome::ApprovalRejected, format!("Nothing was changed: {why}."))
    };
    match failure.error.as_str() {
        names::SUPERSEDED => Verdict::saying(Outcome::Superseded, format!("Nothing was changed: {message}.")),
        names::APPROVAL_REJECTED => rejected(message),
        "States.Timeout" => Verdict {
            step: Some(step.clone()),
            error: Some(failure.error.clone()),
            ..Verdict::saying(
                Outcome::Failed,
                "Nothing was changed: the plan was neither approved nor rejected within three days.",
            )
        },
        // A person who rejects with the task's token chooses the error's name, or gives none.
        other if step == "AwaitApproval" && is_of_person(other) => rejected(match message.as_str() {
            "" | TASK_FAILED => "the plan was rejected".into(),
            message => format!("the plan was rejected ({message})"),
        }),
        _ => Verdict {
            step: Some(step.clone()),
            error: Some(failure.error.clone()),
            ..Verdict::saying(Outcome::Failed, format!("{}\nNothing was changed.", failure.of_step(step)))
        },
    }
}

/// Step Functions' name for the failure of a task that has no name of its own.
const TASK_FAILED: &str = "States.TaskFailed";

/// Whether an error is named neither by a function nor by Step Functions or Lambda.
fn is_of_person(error: &str) -> bool {
    let aws = ["States.", "Lambda.", "Runtime.", "Sandbox."];
    error == TASK_FAILED
        || !(names::ALL.contains(&error) || aws.iter().any(|prefix| error.starts_with(prefix)))
}

/// A deployment that destroyed its stack, or tried to.
fn destroyed(deployment: &Deployment) -> Verdict {
    let (deleted, remaining) = (deleted(deployment), remaining(deployment));
    if remaining.is_empty() {
        let message = format!("The stack was destroyed ({deleted} resources).");
        return Verdict { deleted, ..Verdict::saying(Outcome::Destroyed, message) };
    }
    let message = format!(
        "Not everything could be deleted:\n{}\nFix the cause, then destroy the stack again: the next deployment continues from there.",
        remaining.join("\n")
    );
    Verdict {
        error: Some(names::DESTROY_FAILED.into()),
        deleted,
        remaining,
        ..Verdict::saying(Outcome::DestroyFailed, message)
    }
}

/// An update that failed, and whose rollback could not start.
fn rollback_not_started(deployment: &Deployment, rollback: &Failure) -> Verdict {
    let (why, first) = (rollback.message(), first(&deployment.failed));
    let what = first.map(|(step, failure)| failure.of_step(step)).unwrap_or_default();
    let message = format!(
        "{what}\nThe rollback could not start: {why}\nFix the cause, then deploy the stack again: it continues from there."
    );
    Verdict {
        step: first.map(|(step, _)| step.clone()),
        error: Some(names::ROLLBACK_FAILED.into()),
        remaining: vec![why],
        ..Verdict::saying(Outcome::RollbackFailed, message)
    }
}

/// An update that failed and was rolled back to the baseline.
fn rolled_back(deployment: &Deployment, (step, failure): Failed<'_>) -> Verdict {
    let what = failure.of_step(step);
    let rollback_failed = |message: String, remaining: String| Verdict {
        step: Some(step.clone()),
        error: Some(names::ROLLBACK_FAILED.into()),
        remaining: vec![remaining],
        ..Verdict::saying(Outcome::RollbackFailed, message)
    };
    if let Some((step, failure)) = first(&deployment.failed) {
        let why = failure.message();
        let left = left_alone(deployment)
            .map(|left| format!("\nThe rollback left as it is what has lost the stack's tag:{left}"));
        let message = format!(
            "{what}\nThe rollback to the baseline failed: {step} failed: {why}{}\n\
             Fix the cause, then deploy the stack again: the next deployment continues from there.",
            left.unwrap_or_default()
        );
        return rollback_failed(message, format!("{step}: {why}"));
    }
    if let Some((step, failure)) = first(&deployment.prune_failed) {
        let remaining = failure.of_step(step);
        let message = format!(
            "{what}\nThe stack was rolled back to the baseline, but resources of the update remain: {remaining}"
        );
        return rollback_failed(message, remaining);
    }
    let baseline = deployment.baseline.as_ref().map_or("(none)", |baseline| baseline.deployment.as_str());
    let except = left_alone(deployment).map_or_else(
        || ".".to_owned(),
        |left| format!(", except what has lost the stack's tag meanwhile and was left as it is:{left}"),
    );
    Verdict {
        step: Some(step.clone()),
        error: Some(failure.error.clone()),
        ..Verdict::saying(
            Outcome::Failed,
            format!("{what}\nThe stack was rolled back to deployment {baseline}{except}"),
        )
    }
}

/// What a rollback left alone, one line each, if there is anything.
fn left_alone(deployment: &Deployment) -> Option<String> {
    let lines: Vec<&str> = deployment.left_alone().into_values().collect();
    (!lines.is_empty()).then(|| format!("\n- {}", lines.join("\n- ")))
}

/// A deployment that failed and was not rolled back, or was rolled back by deleting its resources.
fn failed(deployment: &Deployment, (step, failure): Failed<'_>) -> Verdict {
    let what = failure.of_step(step);
    let failed = Verdict {
        step: Some(step.clone()),
        error: Some(failure.error.clone()),
        ..Verdict::new(Outcome::Failed)
    };
    if deployment.destroying {
        let message = format!(
            "{what}\nThe stack is not destroyed completely. Destroy it again: the next deployment continues from there."
        );
        return Verdict {
            outcome: Outcome::DestroyFailed,
            message: Some(message),
            remaining: remaining(deployment),
            ..failed
        };
    }
    if deployment.spec.on_failure == OnFailure::Keep {
        let message = format!(
            "{what}\nNothing was rolled back (onFailure: keep). The next deployment continues from there."
        );
        return Verdict { outcome: Outcome::Kept, message: Some(message), ..failed };
    }
    let (deleted, remaining) = (deleted(deployment), remaining(deployment));
    if remaining.is_empty() {
        let message = format!(
            "{what}\nEverything that the deployment had created was deleted ({deleted} resources), except logs."
        );
        return Verdict { message: Some(message), deleted, ..failed };
    }
    let message = format!(
        "{what}\nNot everything could be deleted:\n{}\nFix the cause, then deploy the stack again: the next \
         deployment continues from there.",
        remaining.join("\n")
    );
    Verdict {
        outcome: Outcome::RollbackFailed,
        error: Some(names::ROLLBACK_FAILED.into()),
        message: Some(message),
        deleted,
        remaining,
        ..failed
    }
}

fn deleted(deployment: &Deployment) -> usize {
    deployment.deletions.values().map(|deletion| deletion.found).sum()
}

/// What remains after the deletions. A deleting step that failed was tried again by the wait for its deletion, which has
/// the last word.
fn remaining(deployment: &Deployment) -> Vec<String> {
    let given_up = deployment.deletion_ends.iter().filter_map(|end| match end {
        DeletionEnd::GivenUp { failure } => Some(failure),
        DeletionEnd::Deleted(_) => None,
    });
    given_up.chain(deployment.deletions_given_up.values()).map(Failure::message).collect()
}
