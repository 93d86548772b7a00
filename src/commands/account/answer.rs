//! `stackdrop approve STACK` and `stackdrop reject STACK`

use std::process::ExitCode;

use anyhow::Result;
use serde_json::json;
use stackdrop_functions::deployment::bucket;
use stackdrop_functions::deployment::outcome::exit_code;
use stackdrop_functions::deployment::record::Approval;
use stackdrop_specs::StackName;

use super::follow::{approval_requests, follow};
use super::installation::{Installation, Refusal};
use super::{Target, report, with_installation};
use crate::commands::{print, print_error, print_json};

/// AWS's error codes for a task that no longer waits.
const GONE: [&str; 3] = ["TaskTimedOut", "TaskDoesNotExist", "InvalidToken"];

/// Approve the plan that awaits approval, and follow the deployment to the end.
#[derive(Debug, clap::Args)]
#[command(after_help = super::CREDENTIALS)]
pub(in crate::commands) struct Approve {
    /// The stack's name.
    #[arg(value_parser = super::stack_name)]
    stack: StackName,
    /// Who approves, for the record.
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
    #[command(flatten)]
    target: Target,
}

/// Reject the plan that awaits approval: nothing is changed.
#[derive(Debug, clap::Args)]
#[command(after_help = super::CREDENTIALS)]
pub(in crate::commands) struct Reject {
    /// The stack's name.
    #[arg(value_parser = super::stack_name)]
    stack: StackName,
    /// The reason, for the record.
    #[arg(long, value_name = "TEXT", default_value = "no reason was given")]
    reason: String,
    #[command(flatten)]
    target: Target,
}

impl Approve {
    pub(in crate::commands) fn run(self) -> Result<ExitCode> {
        with_installation(&self.target, async |installation| self.approve(&installation).await)
    }

    async fn approve(&self, installation: &Installation) -> Result<u8> {
        let Some(approval) = pending(installation, &self.stack).await? else {
            return Ok(exit_code::INCOMPLETE);
        };
        if !self.target.json {
            let changes = if approval.changes.len() == 1 { "change" } else { "changes" };
            print(&format!("Approving {} {changes}:", approval.changes.len()));
            approval.changes.iter().for_each(|change| print(&format!("  {change}")));
        }
        // If the account has changed since the plan was made, the deployment plans again and requests approval once
        // more.
        let requests_before = approval_requests(installation, &approval.execution).await?;
        let mut reply = json!({ "approved": true });
        if let Some(by) = &self.by {
            reply["by"] = json!(by);
        }
        let send = installation.sfn.send_task_success().task_token(&approval.token).output(reply.to_string());
        if send.send().await.unless(&GONE, "approve the plan")?.is_none() {
            return Ok(too_late(&self.stack));
        }
        let followed = follow(installation, &self.target, &approval.execution, requests_before).await?;
        report::finish(installation, &self.target, self.stack.as_str(), &followed, false).await
    }
}

impl Reject {
    pub(in crate::commands) fn run(self) -> Result<ExitCode> {
        with_installation(&self.target, async |installation| self.reject(&installation).await)
    }

    async fn reject(&self, installation: &Installation) -> Result<u8> {
        let Some(approval) = pending(installation, &self.stack).await? else {
            return Ok(exit_code::INCOMPLETE);
        };
        let send = installation.sfn.send_task_failure().task_token(&approval.token);
        let send = send.error("Rejected").cause(&self.reason);
        if send.send().await.unless(&GONE, "reject the plan")?.is_none() {
            return Ok(too_late(&self.stack));
        }
        if self.target.json {
            print_json(&json!({ "stack": self.stack, "deployment": approval.deployment, "rejected": true }))?;
        } else {
            print(&format!("Rejected the plan of deployment {}; nothing was changed.", approval.deployment));
        }
        Ok(exit_code::DONE)
    }
}

/// The plan that awaits approval, if any.
async fn pending(installation: &Installation, stack: &StackName) -> Result<Option<Approval>> {
    let approval = installation.read(&bucket::approval_key(stack.as_str())).await?;
    if approval.is_none() {
        print_error(&format!("error: no plan of stack {stack} awaits approval"));
    }
    Ok(approval)
}

fn too_late(stack: &StackName) -> u8 {
    print_error(&format!(
        "error: the plan of stack {stack} no longer awaits approval: it was approved, rejected or superseded, or it timed out"
    ));
    exit_code::INCOMPLETE
}
