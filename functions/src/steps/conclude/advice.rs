//! What a person should do next.

use super::verdict::Verdict;
use crate::aws::error::names;
use crate::deployment::outcome::Outcome;
use crate::deployment::state::Deployment;

/// What a person should do next, by how the deployment ended.
pub(super) fn next_step(deployment: &Deployment, verdict: &Verdict) -> Option<String> {
    let stack = &deployment.stack;
    match (verdict.outcome, verdict.error.as_deref()) {
        (Outcome::DestroyFailed, _) => Some(format!(
            "Delete what depends on each remaining resource, then start {{ \"stack\": \"{stack}\", \"action\": \"destroy\" }} again."
        )),
        (Outcome::RollbackFailed, _) => Some(format!(
            "Delete what depends on each remaining resource, then {}: the next deployment continues from there.",
            again(deployment)
        )),
        (Outcome::Drifted, _) => Some(format!(
            "To repair the drift, start {{ \"stack\": \"{stack}\" }}; to keep it, change the spec accordingly."
        )),
        (Outcome::Failed | Outcome::Kept, Some(error)) => Some(after(deployment, error)),
        _ => None,
    }
}

fn again(deployment: &Deployment) -> String {
    format!("start {{ \"stack\": \"{}\" }}, or upload the spec again", deployment.stack)
}

fn after(deployment: &Deployment, error: &str) -> String {
    let (stack, again) = (&deployment.stack, again(deployment));
    match error {
        names::DENIED => format!(
            "Allow the call to the role in AWS's message, or find the permissions boundary or service control policy \
             that denies it; then {again}."
        ),
        names::PREFLIGHT_FAILED => "Fix each of the problems, then upload the spec again.".into(),
        names::UNHEALTHY => format!(
            "Fix the reason that AWS gives, then upload the spec again. `stackdrop logs {stack}` shows the containers' \
             logs."
        ),
        names::NOT_OWNED => {
            "Rename or delete the blocking resource, or choose another name for the stack.".into()
        }
        names::PENDING => {
            format!("AWS still reports progress after the step's time limit. When it has finished, {again}.")
        }
        names::STALLED => format!("Fix what keeps AWS from finishing, then {again}."),
        names::TRANSIENT => format!("AWS, or the network, failed repeatedly. Later, {again}."),
        names::DEFECT => "Report this bug in Stackdrop with the execution's history.".into(),
        names::INTERRUPTED => format!("Check why the execution was stopped or timed out, then {again}."),
        names::REFUSED => format!("Fix the rejected request, then {again}."),
        "States.Timeout" if !deployment.not_approved.is_empty() => {
            format!("To request approval again, {again}.")
        }
        _ => format!("Fix the cause, then {again}."),
    }
}
