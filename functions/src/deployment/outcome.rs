//! How a deployment ended.

use serde::{Deserialize, Serialize};

/// How a deployment ended, or that it is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// It is under way.
    Running,
    /// The stack is as the spec says.
    Succeeded,
    /// The plan was asked for, and is in the record; nothing was changed.
    Planned,
    /// A newer version of the spec, or another deployment of the same one, took its place; nothing was changed.
    Superseded,
    /// The spec or the event was refused; nothing was changed.
    Rejected,
    /// The stack was removed.
    Destroyed,
    /// The spec was deleted, and the stack stays (`onDelete: retain`).
    Retained,
    /// It failed and everything that it made was removed, or the baseline was restored.
    Failed,
    /// It failed, and was left as it stood (`onFailure: keep`).
    Kept,
    /// It failed, and so did the undo: the record names what is left.
    UndoFailed,
    /// Its plan waits until somebody agrees to it; nothing was changed.
    Waiting,
    /// Somebody rejected its plan; nothing was changed.
    Declined,
    /// The account is not as the last deployment left it, which was only to be reported (`drift: report`).
    Drifted,
    /// Its execution was stopped by hand or timed out; another deployment looks after what it left.
    Interrupted,
}

impl Outcome {
    /// What a person would say of a deployment.
    #[must_use]
    pub fn in_words(self) -> &'static str {
        match self {
            Self::Running => "is under way",
            Self::Succeeded => "the stack is as its spec says",
            Self::Planned => "the plan is made, nothing was changed",
            Self::Superseded => "was superseded",
            Self::Rejected => "was refused",
            Self::Destroyed => "the stack was removed",
            Self::Retained => "the stack stays, though its spec was deleted",
            Self::Failed => "failed",
            Self::Kept => "failed, and was left as it stood",
            Self::UndoFailed => "failed, and could not be undone",
            Self::Waiting => "waits for approval",
            Self::Declined => "was rejected, nothing was changed",
            Self::Drifted => "the account is not as the last deployment left it",
            Self::Interrupted => "was stopped",
        }
    }
}
