//! The report on a deployment that has ended, or that awaits approval.

use anyhow::{Context, Result};
use aws_sdk_sfn::types::ExecutionStatus;
use serde_json::{Value, json};
use stackdrop_functions::deployment::bucket;
use stackdrop_functions::deployment::outcome::{Outcome, exit_code};
use stackdrop_functions::deployment::plan::ComponentPlan;
use stackdrop_functions::deployment::record::Record;
use stackdrop_functions::deployment::summary;
use stackdrop_specs::StackName;

use super::Target;
use super::follow::Followed;
use super::installation::Installation;
use crate::commands::{print, print_error, print_json, text};

/// Prints the report and returns the command's exit code; with `tells_changes`, that of a plan says whether it has changes.
pub(super) async fn finish(
    installation: &Installation,
    target: &Target,
    stack: &str,
    followed: &Followed,
    tells_changes: bool,
) -> Result<u8> {
    let key = if followed.awaits_approval {
        bucket::status_key(stack)
    } else {
        bucket::history_key(stack, followed.deployment())
    };
    let record: Option<Record> = installation.read(&key).await?;
    let outcome = record.as_ref().map_or_else(|| without_record(followed), |record| record.result);
    let plan = record.as_ref().map(|record| record.plan.as_slice()).unwrap_or_default();
    let problems = summary::problems(plan);
    let report = Report { stack, followed, outcome, record: record.as_ref(), plan, problems: &problems };
    if target.json {
        print_json(&report.document())?;
    } else {
        print(&report.text()?);
    }
    Ok(match outcome {
        Outcome::Planned if !problems.is_empty() => exit_code::FAILED,
        Outcome::Planned if tells_changes && !summary::changes(plan).is_empty() => {
            exit_code::PLAN_HAS_CHANGES
        }
        outcome => outcome.exit_code(),
    })
}

/// Says that a stack has no deployments, and returns the command's exit code.
pub(super) fn no_deployments(stack: &StackName) -> u8 {
    print_error(&format!(
        "error: stack {stack} has no deployments\nhelp: deploy it with `stackdrop deploy SPEC`; `stackdrop history {stack}` lists its plans"
    ));
    exit_code::FAILED
}

/// The outcome of an execution that left no record.
fn without_record(followed: &Followed) -> Outcome {
    match followed.status {
        ExecutionStatus::Succeeded if followed.error.is_none() => Outcome::Succeeded,
        ExecutionStatus::Aborted | ExecutionStatus::TimedOut => Outcome::Interrupted,
        _ => Outcome::of_error(followed.error.as_deref().unwrap_or_default()),
    }
}

/// A deployment, from its record if it has one, otherwise from its execution.
struct Report<'a> {
    stack: &'a str,
    followed: &'a Followed,
    outcome: Outcome,
    record: Option<&'a Record>,
    plan: &'a [ComponentPlan],
    problems: &'a [String],
}

impl Report<'_> {
    fn message(&self) -> Option<&str> {
        let recorded = self.record.and_then(|record| record.message.as_deref());
        recorded.or(self.followed.message.as_deref())
    }

    fn document(&self) -> Value {
        json!({
            "stack": self.stack,
            "deployment": self.followed.deployment(),
            "execution": self.followed.arn,
            "result": self.outcome,
            "seconds": self.followed.seconds,
            "error": self.record.and_then(|record| record.error.as_deref()).or(self.followed.error.as_deref()),
            "message": self.message(),
            "next": self.record.and_then(|record| record.next.as_deref()),
            "version": self.record.and_then(|record| Some(record.source.as_ref()?.version.as_str())),
            "planId": self.record.and_then(|record| record.plan_id.as_ref()),
            "approvalReasons": self.record.map(|record| record.approval_reasons.as_slice()).unwrap_or_default(),
            "decision": self.record.and_then(|record| record.decision.as_ref()),
            "facts": self.record.map(|record| record.facts.as_slice()).unwrap_or_default(),
            "effects": summary::effects(self.plan),
            "changes": summary::changes(self.plan),
            "problems": self.problems,
            "warnings": summary::warnings(self.plan),
            "estimate": self.record.and_then(|record| record.estimate.as_ref()),
            "outputs": self.record.map(|record| &record.outputs),
        })
    }

    fn text(&self) -> Result<String> {
        let headline = text::headline(self.outcome, self.problems.len());
        let took = if self.followed.awaits_approval {
            String::new()
        } else {
            format!(" ({})", text::duration(self.followed.seconds))
        };
        let mut lines = vec![String::new(), format!("{headline}{took}.")];
        lines.extend(self.message().map(str::to_owned));
        if matches!(self.outcome, Outcome::Planned | Outcome::AwaitingApproval) {
            lines.extend(summary::changes(self.plan).iter().map(|change| format!("  {change}")));
            let facts = self.record.map(|record| record.facts.as_slice()).unwrap_or_default();
            lines.extend(facts.first().map(|_| "The spec asks for:".to_owned()));
            lines.extend(facts.iter().map(|fact| format!("  {fact}")));
        }
        lines.extend(self.record.and_then(|record| record.next.clone()));
        if let (Outcome::Succeeded, Some(record)) = (self.outcome, self.record) {
            let outputs = serde_json::to_value(&record.outputs).context("cannot read the outputs")?;
            lines.extend(text::outputs(&outputs));
        }
        Ok(lines.join("\n"))
    }
}
