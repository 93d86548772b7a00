//! Approval of a plan: why it is needed, what people reply, and what is recorded of the reply.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::deployment::plan_id::PlanId;

/// A reason why a deployment needs approval.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "because", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum ApprovalReason {
    /// The spec says so.
    Spec,
    /// The spec of the last good deployment says so.
    LastGoodSpec,
    /// The installation demands it for stacks with such names.
    Installation,
    /// The stack would cost more than the installation allows without approval (USD a month, at the upper end).
    Cost {
        /// What it would cost.
        usd: u32,
        /// What the installation allows.
        limit: u32,
    },
    /// The price of a part is not known.
    UnknownPrice {
        /// The parts, such as `database.class db.x9.large`.
        of: Vec<String>,
    },
}

impl fmt::Display for ApprovalReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Spec => write!(f, "the spec has `approval: required`"),
            Self::LastGoodSpec => {
                write!(f, "the deployed spec has `approval: required`, and this one does not")
            }
            Self::Installation => write!(f, "the installation demands it (parameter ApprovalFor)"),
            Self::Cost { usd, limit } => {
                write!(f, "it could cost {usd} USD a month, more than {limit} (parameter MaxMonthlyUsd)")
            }
            Self::UnknownPrice { of } => write!(f, "the price of {} is not known", of.join(", ")),
        }
    }
}

/// The reply to a request for approval. A person can send it by hand.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Reply {
    /// Whether the plan is approved.
    pub(crate) approved: bool,
    /// The ID of the plan that is meant.
    pub(crate) plan: Option<String>,
    /// The ARN of the person, as the person claims: a person who may reply can write any ARN.
    pub(crate) by: Option<String>,
    /// The reason, for the record.
    pub(crate) reason: Option<String>,
    /// Not a reply of a person: an execution reports that the database's password has changed.
    pub(crate) password_changed: bool,
}

impl Reply {
    /// Reads a reply; `None` if it is none.
    pub(crate) fn read(reply: &Value) -> Option<Self> {
        // Serde would read a list as well.
        reply.is_object().then(|| Self::deserialize(reply).ok()).flatten()
    }

    /// Whether the reply means the plan with this fingerprint. `Err` says which plan it means.
    pub(crate) fn means(&self, fingerprint: &str) -> Result<(), String> {
        let Some(plan) = &self.plan else { return Err("it names no plan".into()) };
        let plan = PlanId::try_from(plan.clone()).map_err(|error| format!("its plan is no ID: {error}"))?;
        match (plan.names(fingerprint), plan.is_whole()) {
            (true, true) => Ok(()),
            (true, false) => Err(format!("it has only a part of the plan's ID: {plan}")),
            (false, _) => Err(format!("it is for plan {plan}")),
        }
    }
}

/// What somebody decided about a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Decision {
    /// The plan's ID.
    pub plan: PlanId,
    /// Whether it was approved.
    pub approved: bool,
    /// The ARN that the reply names. It is not proved: a person who may reply can write any ARN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claimed_by: Option<String>,
    /// When the reply was read (RFC 3339).
    pub at: String,
    /// The reason in the reply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { plan, approved, claimed_by, at, reason } = self;
        let what = if *approved { "approved" } else { "rejected" };
        let by = claimed_by.as_ref().map(|by| format!(" by {by} (as the reply claims)")).unwrap_or_default();
        let reason = reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
        write!(f, "plan {plan} was {what}{by} at {at}{reason}")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_reply_means_only_the_plan_that_it_names() {
        let fingerprint = "3f9a12b4c5d60718293a4b5c6d7e8f90";
        let means = |reply: Value| Reply::read(&reply).unwrap().means(fingerprint);
        assert_eq!(means(json!({ "approved": true, "plan": fingerprint })), Ok(()));
        let part = means(json!({ "approved": true, "plan": &fingerprint[..12] }));
        assert_eq!(part, Err("it has only a part of the plan's ID: 3f9a12b4c5d6".into()));
        assert_eq!(means(json!({ "approved": true })), Err("it names no plan".into()));
        assert_eq!(means(json!({ "plan": "aaaaaaaaaaaa" })), Err("it is for plan aaaaaaaaaaaa".into()));
        assert!(means(json!({ "plan": "3f9a" })).unwrap_err().contains("at least 12 must be given"));
    }

    #[test]
    fn what_is_no_object_or_has_wrong_types_is_no_reply() {
        for reply in [json!("yes"), json!(true), json!([true]), json!({ "approved": "yes" })] {
            assert!(Reply::read(&reply).is_none(), "{reply}");
        }
    }
}
