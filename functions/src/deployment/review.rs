//! The review of all components' plans together, by which the workflow decides.

use sha2::{Digest, Sha256};
use stackdrop_specs::Approval;

use crate::aws::error::StepError;
use crate::aws::rules::Rules;
use crate::deployment::approval::ApprovalReason;
use crate::deployment::plan::{ComponentPlan, PlanReview, Verb};
use crate::deployment::state::Deployment;

/// Reviews a deployment's plans.
///
/// # Errors
/// `Defect` if a plan cannot be written as JSON.
pub fn review(
    deployment: &Deployment,
    plans: &[ComponentPlan],
    rules: &Rules,
) -> Result<PlanReview, StepError> {
    let changes = || plans.iter().flat_map(|component| &component.plan.changes);
    let approval = reasons(deployment, rules);
    Ok(PlanReview {
        changes: changes().next().is_some(),
        blocked: plans.iter().any(|component| !component.plan.problems.is_empty()),
        prunes: changes().any(|change| change.verb == Verb::Delete),
        outdated: plans.iter().any(|component| !component.plan.outdated.is_empty()),
        needs_approval: !approval.is_empty(),
        approval,
        fingerprint: fingerprint(deployment, plans)?,
    })
}

/// Two specs whose changes look the same, such as two images of a first deployment, are two plans.
fn fingerprint(deployment: &Deployment, plans: &[ComponentPlan]) -> Result<String, StepError> {
    let plans: Vec<_> = plans
        .iter()
        .map(|of| (&of.component, &of.plan.changes, &of.plan.effects, &of.plan.problems))
        .collect();
    let Deployment { spec, destroying, refresh_image, consent, .. } = deployment;
    let text = serde_json::to_vec(&(spec, destroying, refresh_image, consent, plans))
        .map_err(|error| StepError::Defect(format!("writing a plan: {error}")))?;
    Ok(hex::encode(&Sha256::digest(text)[..16]))
}

/// Why a deployment needs approval: leaving a line out of a spec must not be a way around it.
fn reasons(deployment: &Deployment, rules: &Rules) -> Vec<ApprovalReason> {
    let baseline = deployment.baseline.as_ref().map(|baseline| &baseline.spec);
    let mut reasons = Vec::new();
    if deployment.spec.approval == Approval::Required {
        reasons.push(ApprovalReason::Spec);
    } else if baseline.is_some_and(|spec| spec.approval == Approval::Required) {
        reasons.push(ApprovalReason::LastGoodSpec);
    }
    if rules.approval_for.iter().any(|pattern| pattern.matches(&deployment.stack)) {
        reasons.push(ApprovalReason::Installation);
    }
    reasons
}
