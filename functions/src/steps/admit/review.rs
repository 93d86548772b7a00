//! The review of all components' plans together: what follows in one from another, what people must know and agree to, and what the
//! installation allows.

use std::collections::BTreeSet;

use sha2::{Digest, Sha256};
use stackdrop_specs::Approval;

use crate::aws::error::StepError;
use crate::aws::rules::Rules;
use crate::components::{effects, follow_ups};
use crate::deployment::approval::ApprovalReason;
use crate::deployment::estimate::{Estimate, add_ceilings, cost_reasons};
use crate::deployment::plan::{ComponentPlan, Verb};
use crate::deployment::review::PlanReview;
use crate::deployment::state::Deployment;

/// Completes a deployment's plans and reviews them.
///
/// # Errors
/// `Defect` if a plan cannot be written as JSON.
pub(super) fn review(deployment: Deployment, rules: &Rules) -> Result<Deployment, StepError> {
    let mut plan = deployment.plan.clone();
    follow_ups::add(&mut plan, &deployment);
    effects::add(&mut plan, &deployment);
    add_ceilings(&mut plan, &deployment, rules);
    warn_of_idle_consent(&mut plan, &deployment);
    let review = Some(review_of(&deployment, &plan, rules)?);
    Ok(Deployment { plan, review, ..deployment })
}

/// Warns of names that somebody agreed to and that the plan does not need: a wrong name is easily taken for an agreement.
fn warn_of_idle_consent(plans: &mut [ComponentPlan], deployment: &Deployment) {
    let needed: BTreeSet<String> =
        plans.iter().flat_map(|of| &of.plan.effects).filter_map(|effect| effect.word.clone()).collect();
    let idle: Vec<&str> = deployment.consent.delete_data.difference(&needed).map(String::as_str).collect();
    if let (false, Some(first)) = (idle.is_empty(), plans.first_mut()) {
        let why = format!("the plan deletes no data of what `--delete-data` names: {}", idle.join(", "));
        first.plan.warn("consent", why, "check the names, if that is not what you expect");
    }
}

fn review_of(
    deployment: &Deployment,
    plans: &[ComponentPlan],
    rules: &Rules,
) -> Result<PlanReview, StepError> {
    let changes = || plans.iter().flat_map(|component| &component.plan.changes);
    let approval = reasons(deployment, plans, rules);
    Ok(PlanReview {
        changes: changes().next().is_some() || adopts_unapproved(deployment, &approval),
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

/// Whether another spec would become the deployed one without a change of the account, and needs approval. That alone is a change
/// to agree to: the next deployment compares its own spec with this one, and takes what this one allows for agreed.
fn adopts_unapproved(deployment: &Deployment, approval: &[ApprovalReason]) -> bool {
    let baseline = deployment.baseline.as_ref();
    !approval.is_empty() && baseline.is_some_and(|baseline| baseline.spec != deployment.spec)
}

/// Whether the spec no longer requires the approval that the deployed one requires.
fn drops_approval(deployment: &Deployment) -> bool {
    let baseline = deployment.baseline.as_ref();
    let required = baseline.is_some_and(|baseline| baseline.spec.approval == Approval::Required);
    required && deployment.spec.approval != Approval::Required
}

/// Why a deployment needs approval: leaving a line out of a spec must not be a way around it.
fn reasons(deployment: &Deployment, plans: &[ComponentPlan], rules: &Rules) -> Vec<ApprovalReason> {
    let baseline = deployment.baseline.as_ref().map(|baseline| &baseline.spec);
    let mut reasons = Vec::new();
    if deployment.spec.approval == Approval::Required {
        reasons.push(ApprovalReason::Spec);
    } else if drops_approval(deployment) {
        reasons.push(ApprovalReason::LastGoodSpec);
    }
    if rules.approval_for.iter().any(|pattern| pattern.matches(&deployment.stack)) {
        reasons.push(ApprovalReason::Installation);
    }
    if !deployment.destroying {
        let estimate = Estimate::of(plans, &deployment.spec, baseline, deployment.region());
        reasons.extend(cost_reasons(&estimate, baseline, &deployment.spec, rules));
    }
    reasons
}
