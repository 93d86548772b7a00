//! `stackdrop approve STACK` and `stackdrop reject STACK`

use std::process::ExitCode;

use anyhow::{Context, Result};
use serde_json::json;
use stackdrop_functions::deployment::record::Approval;
use stackdrop_specs::StackName;

use super::follow::{follow, questions};
use super::installation::{Installation, Said};
use super::progress::Progress;
use super::{At, code, report, with_installation};
use crate::commands::{complain, say};

/// AWS's codes for a question that nobody asks any more.
const GONE: [&str; 3] = ["TaskTimedOut", "TaskDoesNotExist", "InvalidToken"];

/// Agree to the plan that waits for approval, and follow the deployment to the end.
#[derive(Debug, clap::Args)]
#[command(after_help = super::CODES)]
pub(crate) struct Approve {
    /// The stack's name.
    #[arg(value_parser = super::stack_name)]
    stack: StackName,
    /// Who agrees, for the record.
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
    #[command(flatten)]
    at: At,
}

/// Reject the plan that waits for approval: nothing is changed.
#[derive(Debug, clap::Args)]
#[command(after_help = super::CODES)]
pub(crate) struct Reject {
    /// The stack's name.
    #[arg(value_parser = super::stack_name)]
    stack: StackName,
    /// Why, for the record.
    #[arg(long, value_name = "TEXT", default_value = "no reason was given")]
    reason: String,
    #[command(flatten)]
    at: At,
}

impl Approve {
    pub(crate) fn run(self) -> Result<ExitCode> {
        with_installation(&self.at, async |installation| self.approve(&installation).await)
    }

    async fn approve(&self, installation: &Installation) -> Result<u8> {
        let Some(question) = question(installation, &self.stack).await? else { return Ok(code::NOT_DONE) };
        if !self.at.json {
            say(&format!("Agreeing to {} changes:", question.changes.len()));
            question.changes.iter().for_each(|change| say(&format!("  {change}")));
        }
        // Another may be asked: when the account has changed since, the plan is made anew.
        let asked = questions(installation, &question.execution).await?;
        let mut reply = json!({ "approved": true });
        if let Some(by) = &self.by {
            reply["by"] = json!(by);
        }
        let send = installation.sfn.send_task_success().task_token(&question.token).output(reply.to_string());
        if send.send().await.unless(&GONE, "agreeing")?.is_none() {
            return Ok(too_late(&self.stack));
        }
        let followed = follow(installation, &question.execution, Progress::new(&self.at), asked).await?;
        report::conclude(installation, &self.at, self.stack.as_str(), &followed).await
    }
}

impl Reject {
    pub(crate) fn run(self) -> Result<ExitCode> {
        with_installation(&self.at, async |installation| self.reject(&installation).await)
    }

    async fn reject(&self, installation: &Installation) -> Result<u8> {
        let Some(question) = question(installation, &self.stack).await? else { return Ok(code::NOT_DONE) };
        let send = installation.sfn.send_task_failure().task_token(&question.token);
        let send = send.error("Rejected").cause(&self.reason);
        if send.send().await.unless(&GONE, "rejecting")?.is_none() {
            return Ok(too_late(&self.stack));
        }
        if self.at.json {
            let said = json!({ "stack": self.stack, "deployment": question.deployment, "rejected": true });
            say(&serde_json::to_string_pretty(&said).context("writing the report")?);
        } else {
            say(&format!(
                "The plan of the deployment {} is rejected; nothing is changed.",
                question.deployment
            ));
        }
        Ok(code::GOOD)
    }
}

/// The plan that waits for approval, if one does.
async fn question(installation: &Installation, stack: &StackName) -> Result<Option<Approval>> {
    let question = installation.read(&format!("stacks/{stack}/approval.json")).await?;
    if question.is_none() {
        complain(&format!("No plan of the stack {stack} waits for approval."));
    }
    Ok(question)
}

fn too_late(stack: &StackName) -> u8 {
    complain(&format!(
        "The plan of the stack {stack} does not wait any more: it was answered, or something newer came."
    ));
    code::NOT_DONE
}
