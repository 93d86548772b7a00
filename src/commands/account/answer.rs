//! `stackdrop approve STACK` and `stackdrop reject STACK`

use std::process::ExitCode;

use anyhow::{Result, anyhow};
use serde_json::json;
use stackdrop_functions::deployment::bucket;
use stackdrop_functions::deployment::outcome::exit_code;
use stackdrop_functions::deployment::plan_id::{DIGITS_MIN, PlanId};
use stackdrop_functions::deployment::record::Approval;
use stackdrop_functions::deployment::state::Uploader;
use stackdrop_specs::StackName;

use super::follow::{approval_requests, follow};
use super::installation::{Installation, Refusal};
use super::{Target, prompt, report, with_installation};
use crate::commands::{print, print_error, print_json};

/// AWS's error codes for a task that no longer waits.
const GONE: [&str; 3] = ["TaskTimedOut", "TaskDoesNotExist", "InvalidToken"];

/// Approve the plan that awaits approval, and follow the deployment to the end.
///
/// At a terminal, the plan is shown and must be confirmed. Elsewhere, `--plan` names the plan that was reviewed.
#[derive(Debug, clap::Args)]
#[command(after_help = super::CREDENTIALS)]
pub(in crate::commands) struct Approve {
    /// The stack's name.
    #[arg(value_parser = super::stack_name)]
    stack: StackName,
    /// The ID of the plan: another plan is not approved. At a terminal, its first twelve digits are enough.
    #[arg(long, value_name = "ID", value_parser = plan_id)]
    plan: Option<PlanId>,
    /// Do not ask for confirmation. Needs `--plan`.
    #[arg(long, requires = "plan")]
    yes: bool,
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
    /// The ID of the plan. Another plan is not rejected. Default: the plan that awaits approval.
    #[arg(long, value_name = "ID", value_parser = plan_id)]
    plan: Option<PlanId>,
    /// The reason, for the record.
    #[arg(long, value_name = "TEXT", default_value = "no reason was given")]
    reason: String,
    #[command(flatten)]
    target: Target,
}

fn plan_id(text: &str) -> std::result::Result<PlanId, String> {
    PlanId::try_from(text.to_owned())
}

impl Approve {
    pub(in crate::commands) fn run(self) -> Result<ExitCode> {
        with_installation(&self.target, async |installation| self.approve(&installation).await)
    }

    async fn approve(&self, installation: &Installation) -> Result<u8> {
        let Some(approval) = pending(installation, &self.stack).await? else {
            return Ok(exit_code::INCOMPLETE);
        };
        if let Some(refused) = another_plan(&self.stack, self.plan.as_ref(), &approval) {
            return Ok(refused);
        }
        if !self.target.json {
            print(&shown(&self.stack, &approval));
        }
        if !self.is_confirmed(&approval)? {
            print_error("Not confirmed: the plan still awaits approval.");
            return Ok(exit_code::REJECTED);
        }
        // If the account has changed since the plan was made, the deployment plans again and requests approval once
        // more.
        let requests_before = approval_requests(installation, &approval.execution).await?;
        let reply = json!({ "approved": true, "plan": approval.plan, "by": installation.caller });
        let send = installation.sfn.send_task_success().task_token(&approval.token).output(reply.to_string());
        if send.send().await.unless(&GONE, "approve the plan")?.is_none() {
            return Ok(too_late(&self.stack));
        }
        let followed = follow(installation, &self.target, &approval.execution, requests_before).await?;
        report::finish(installation, &self.target, self.stack.as_str(), &followed, false).await
    }

    /// Whether the person who approves has seen the plan: named it, or confirms it now.
    fn is_confirmed(&self, approval: &Approval) -> Result<bool> {
        let plan = &approval.plan;
        let is_whole = self.plan.as_ref().is_some_and(PlanId::is_whole);
        let unnamed = || {
            anyhow!(
                "name the whole ID of the plan that you have reviewed with --plan; plan {plan} awaits approval"
            )
        };
        if self.yes || self.target.json {
            return if is_whole { Ok(true) } else { Err(unnamed()) };
        }
        let question = match &self.plan {
            None => format!("Approve plan {plan}? Type the first {DIGITS_MIN} digits of its ID:"),
            Some(_) => format!("Approve plan {plan}? Type yes:"),
        };
        match (prompt::ask(&question)?, &self.plan) {
            (Some(answer), None) => {
                Ok(PlanId::try_from(answer).is_ok_and(|typed| typed.names(&plan.to_string())))
            }
            (Some(answer), Some(_)) => Ok(answer == "yes"),
            (None, _) if is_whole => Ok(true),
            (None, _) => Err(unnamed().context("not a terminal")),
        }
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
        if let Some(refused) = another_plan(&self.stack, self.plan.as_ref(), &approval) {
            return Ok(refused);
        }
        let (plan, by) = (&approval.plan, &installation.caller);
        let reply = json!({ "approved": false, "plan": plan, "by": by, "reason": self.reason });
        let send = installation.sfn.send_task_success().task_token(&approval.token).output(reply.to_string());
        if send.send().await.unless(&GONE, "reject the plan")?.is_none() {
            return Ok(too_late(&self.stack));
        }
        if self.target.json {
            let deployment = &approval.deployment;
            let rejected =
                json!({ "stack": self.stack, "deployment": deployment, "plan": plan, "rejected": true });
            print_json(&rejected)?;
        } else {
            print(&format!(
                "Rejected plan {plan} of deployment {}; nothing was changed.",
                approval.deployment
            ));
        }
        Ok(exit_code::DONE)
    }
}

/// The plan, for the person who decides about it.
fn shown(stack: &StackName, approval: &Approval) -> String {
    let Approval { plan, deployment, since, trigger, .. } = approval;
    let by = approval
        .uploader
        .as_ref()
        .map(|Uploader { account, address }| format!(", uploaded by account {account} from {address}"));
    let mut lines = vec![
        format!("Plan {plan} of stack {stack} has awaited approval since {since}."),
        format!("  deployment  {deployment}, started by {trigger}{}", by.unwrap_or_default()),
    ];
    if approval.destroying {
        lines.push(format!("  IT DESTROYS STACK {stack}."));
    }
    lines.extend(approval.reasons.iter().map(|reason| format!("  because     {reason}")));
    lines.extend(approval.estimate.as_ref().map(|estimate| format!("  estimate    {estimate}")));
    let part = |title: &str, items: &[String]| {
        let heading = items.first().map(|_| format!("{title}:"));
        heading.into_iter().chain(items.iter().map(|item| format!("  {item}"))).collect::<Vec<_>>()
    };
    let effects: Vec<String> =
        approval.effects.iter().map(|effect| format!("{}: {}", effect.kind, effect.what)).collect();
    lines.extend(part("Attention", &effects));
    lines.extend(part("Changes", &approval.changes));
    lines.extend(part("The spec asks for", &approval.facts));
    lines.join("\n")
}

/// The exit code if the named plan is not the one that awaits approval.
fn another_plan(stack: &StackName, named: Option<&PlanId>, approval: &Approval) -> Option<u8> {
    let waiting = &approval.plan;
    let named = named.filter(|named| !named.names(&waiting.to_string()))?;
    print_error(&format!(
        "error: plan {named} of stack {stack} does not await approval; plan {waiting} does\n\
         help: `stackdrop status {stack}` shows it"
    ));
    Some(exit_code::REJECTED)
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
