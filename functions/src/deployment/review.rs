//! The review of all components' plans together, by which the workflow decides.

use serde::{Deserialize, Serialize};

use crate::deployment::approval::ApprovalReason;
use crate::deployment::plan_id::PlanId;

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
    /// The plan's ID.
    #[must_use]
    pub fn id(&self) -> PlanId {
        PlanId::of(&self.fingerprint)
    }
}
