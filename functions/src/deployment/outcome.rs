//! How a deployment ended, and what that means for people and programs.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::aws::error::names;

/// How a deployment ended, or that it has not ended yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// It is running.
    Running,
    /// Its plan awaits approval; nothing was changed.
    AwaitingApproval,
    /// The stack matches its spec.
    Succeeded,
    /// Only a plan was requested, and is in the record; nothing was changed.
    Planned,
    /// The stack was destroyed.
    Destroyed,
    /// The spec was deleted, and the stack was kept (`onDelete: retain`).
    Retained,
    /// The account differs from the last deployment; the drift was only reported (`drift: report`).
    Drifted,
    /// A newer version of the spec, or another deployment of the same version, replaced it; nothing was changed.
    Superseded,
    /// The spec was invalid; nothing was changed.
    InvalidSpec,
    /// Its plan was rejected; nothing was changed.
    ApprovalRejected,
    /// It failed, and was rolled back; or its plan failed or found problems, and nothing was changed.
    Failed,
    /// It failed, and was not rolled back (`onFailure: keep`).
    Kept,
    /// Its execution was stopped or timed out; another deployment cleans up.
    Interrupted,
    /// It failed, and so did its rollback: the record names the remaining resources.
    RollbackFailed,
    /// The stack could not be destroyed completely: the record names the remaining resources.
    DestroyFailed,
}

impl Outcome {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::Running,
        Self::AwaitingApproval,
        Self::Succeeded,
        Self::Planned,
        Self::Destroyed,
        Self::Retained,
        Self::Drifted,
        Self::Superseded,
        Self::InvalidSpec,
        Self::ApprovalRejected,
        Self::Failed,
        Self::Kept,
        Self::Interrupted,
        Self::RollbackFailed,
        Self::DestroyFailed,
    ];

    /// Whether the deployment did what was requested, or had no need to.
    #[must_use]
    pub fn is_success(self) -> bool {
        matches!(
            self,
            Self::Succeeded
                | Self::Planned
                | Self::Destroyed
                | Self::Retained
                | Self::Drifted
                | Self::Superseded
        )
    }

    /// Whether what the deployment created is still there.
    #[must_use]
    pub fn keeps_its_resources(self) -> bool {
        matches!(self, Self::Succeeded | Self::Kept | Self::RollbackFailed | Self::DestroyFailed)
    }

    /// The exit code of a command that followed the deployment.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Succeeded | Self::Planned | Self::Destroyed | Self::Retained | Self::Drifted => {
                exit_code::DONE
            }
            Self::Failed | Self::Kept | Self::Interrupted => exit_code::FAILED,
            Self::RollbackFailed | Self::DestroyFailed => exit_code::ROLLBACK_FAILED,
            Self::InvalidSpec | Self::ApprovalRejected => exit_code::REJECTED,
            Self::Superseded | Self::AwaitingApproval | Self::Running => exit_code::INCOMPLETE,
        }
    }

    /// The outcome of an execution that failed with this error before it had a record.
    #[must_use]
    pub fn of_error(error: &str) -> Self {
        match error {
            names::INVALID_SPEC | names::INVALID_EVENT => Self::InvalidSpec,
            _ => Self::Failed,
        }
    }

    /// The first line of a report, without its end.
    #[must_use]
    pub fn headline(self) -> &'static str {
        match self {
            Self::Running => "Running",
            Self::AwaitingApproval => "Awaiting approval: nothing was changed yet",
            Self::Succeeded => "Succeeded: the stack matches its spec",
            Self::Planned => "Planned: nothing was changed",
            Self::Destroyed => "Destroyed",
            Self::Retained => "Retained: the spec was deleted, the stack was kept",
            Self::Drifted => "Drifted: the account differs from the last deployment",
            Self::Superseded => "Superseded: another deployment replaced this one",
            Self::InvalidSpec => "Invalid: nothing was changed",
            Self::ApprovalRejected => "Rejected: nothing was changed",
            Self::Failed => "Failed",
            Self::Kept => "Failed: nothing was rolled back",
            Self::Interrupted => "Interrupted: another deployment cleans up",
            Self::RollbackFailed => "Rollback failed: some resources remain",
            Self::DestroyFailed => "Destroy failed: some resources remain",
        }
    }

    /// The title of an announcement, after the name of the stack.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Running => "a deployment is running",
            Self::AwaitingApproval => "a plan awaits approval",
            Self::Succeeded => "the stack matches its spec",
            Self::Planned => "a plan was made, nothing was changed",
            Self::Destroyed => "the stack was destroyed",
            Self::Retained => "the spec was deleted, the stack was kept",
            Self::Drifted => "the account differs from the last deployment",
            Self::Superseded => "another deployment replaced this one",
            Self::InvalidSpec => "the spec is invalid, nothing was changed",
            Self::ApprovalRejected => "the plan was rejected, nothing was changed",
            Self::Failed => "the deployment failed",
            Self::Kept => "the deployment failed, and was not rolled back",
            Self::Interrupted => "the deployment was interrupted",
            Self::RollbackFailed => "the deployment failed, and so did its rollback",
            Self::DestroyFailed => "the stack could not be destroyed completely",
        }
    }
}

impl fmt::Display for Outcome {
    /// The name, as records have it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// The exit codes of the command, the same for every subcommand.
pub mod exit_code {
    /// Done.
    pub const DONE: u8 = 0;
    /// The deployment, or what was requested, failed; a deployment was rolled back or kept, as its spec says.
    pub const FAILED: u8 = 1;
    /// Wrong usage, no credentials, or no connection.
    pub const USAGE: u8 = 2;
    /// The deployment failed and so did its rollback, or the stack could not be destroyed completely.
    pub const ROLLBACK_FAILED: u8 = 3;
    /// The spec, the request or the plan was rejected; nothing was changed.
    pub const REJECTED: u8 = 4;
    /// Incomplete: superseded or awaiting approval.
    pub const INCOMPLETE: u8 = 5;
    /// The plan has changes: only if the command was asked to tell.
    pub const PLAN_HAS_CHANGES: u8 = 10;
}
