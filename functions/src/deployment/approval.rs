//! Why a deployment needs approval.

use std::fmt;

use serde::{Deserialize, Serialize};

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
            Self::LastGoodSpec => write!(f, "the deployed spec has `approval: required`"),
            Self::Installation => write!(f, "the installation demands it (parameter ApprovalFor)"),
            Self::Cost { usd, limit } => {
                write!(f, "it could cost {usd} USD a month, above {limit} (parameter MaxMonthlyUsd)")
            }
            Self::UnknownPrice { of } => write!(f, "the price of {} is not known", of.join(", ")),
        }
    }
}
