//! The review of all components' plans together, by which the workflow decides.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use stackdrop_specs::Approval;

use crate::aws::error::StepError;
use crate::aws::rules::Rules;
use crate::deployment::approval::ApprovalReason;
use crate::deployment::estimate::{Estimate, cost_reasons};
use crate::deployment::plan::{ComponentPlan, Verb};
use crate::deployment::plan_id::PlanId;
use crate::deployment::state::Deployment;

/// The review of all components' plans.
#[expect(clippy::struct_excessive_bools, reason = "each is a question that the workflow asks")]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PlanReview {
    /// Whether the deployment would change anything.
    pub changes: bool,
    /// Whether a problem would make the deployment fail.
    pub blocked: bool,
    /// Whether resources that the spec no longer has would be deleted.
    pub prunes: bool,
    /// Whether running tasks read a secret, such as the database's password, before it changed.
    pub outdated: bool,
    /// Whether somebody must approve the plan.
    #[serde(default)]
    pub needs_approval: bool,
    /// Why somebody must approve it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approval: Vec<ApprovalReason>,
    /// A hash of what is approved: the spec, what is done with it, and the changes, effects and problems of the plan. Warnings
    /// are not part of it: they do not affect the deployment.
    pub fingerprint: String,
}

impl PlanReview {
    /// Reviews a deployment's plans.
    ///
    /// # Errors
    /// `Defect` if a plan cannot be written as JSON.
    pub fn of(deployment: &Deployment, plans: &[ComponentPlan], rules: &Rules) -> Result<Self, StepError> {
        let changes = || plans.iter().flat_map(|component| &component.plan.changes);
        let approval = reasons(deployment, plans, rules);
        Ok(Self {
            changes: changes().next().is_some(),
            blocked: plans.iter().any(|component| !component.plan.problems.is_empty()),
            prunes: changes().any(|change| change.verb == Verb::Delete),
            outdated: plans.iter().any(|component| !component.plan.outdated.is_empty()),
            needs_approval: !approval.is_empty(),
            approval,
            fingerprint: fingerprint(deployment, plans)?,
        })
    }

    /// The plan's ID.
    #[must_use]
    pub fn id(&self) -> PlanId {
        PlanId::of(&self.fingerprint)
    }
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
fn reasons(deployment: &Deployment, plans: &[ComponentPlan], rules: &Rules) -> Vec<ApprovalReason> {
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
    if !deployment.destroying {
        let estimate = Estimate::of(plans, &deployment.spec, baseline, deployment.region());
        reasons.extend(cost_reasons(&estimate, baseline, &deployment.spec, rules));
    }
    reasons
}
