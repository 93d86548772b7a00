//! What is said of a deployment when it has ended.

use anyhow::{Context, Result};
use aws_sdk_sfn::types::ExecutionStatus;
use serde_json::{Value, json};
use stackdrop_functions::deployment::outcome::Outcome;
use stackdrop_functions::deployment::plan::ComponentPlan;
use stackdrop_functions::deployment::record::Record;
use stackdrop_functions::deployment::summary;

use super::follow::Followed;
use super::installation::Installation;
use super::{At, code, in_words};
use crate::commands::{report, say};

/// Says how a deployment ended, and gives the command's exit code.
pub(super) async fn conclude(
    installation: &Installation,
    at: &At,
    stack: &str,
    followed: &Followed,
) -> Result<u8> {
    let status = format!("stacks/{stack}/status.json");
    let history = format!("stacks/{stack}/history/{}.json", followed.name());
    let record: Option<Record> = installation.read(if followed.waits { &status } else { &history }).await?;
    let result = record.as_ref().map_or_else(|| without_record(followed), |record| record.result);
    let plan = record.as_ref().map(|record| record.plan.as_slice()).unwrap_or_default();
    let problems = summary::problems(plan);
    let ended = Ended { stack, followed, result, record: record.as_ref(), plan, problems: &problems };
    if at.json {
        say(&serde_json::to_string_pretty(&ended.document()).context("writing the report")?);
    } else {
        say(&ended.text());
    }
    Ok(if result == Outcome::Planned && !problems.is_empty() { code::FAILED } else { result.exit_code() })
}

/// What became of an execution that left no record.
fn without_record(followed: &Followed) -> Outcome {
    match followed.status {
        ExecutionStatus::Succeeded => Outcome::Succeeded,
        ExecutionStatus::Aborted | ExecutionStatus::TimedOut => Outcome::Interrupted,
        _ if followed.error.as_deref().is_some_and(|error| error.starts_with("Invalid")) => {
            Outcome::InvalidSpec
        }
        _ => Outcome::Failed,
    }
}

/// All that is known of a deployment that has ended.
struct Ended<'a> {
    stack: &'a str,
    followed: &'a Followed,
    result: Outcome,
    record: Option<&'a Record>,
    plan: &'a [ComponentPlan],
    problems: &'a [String],
}

impl Ended<'_> {
    fn message(&self) -> Option<&str> {
        let recorded = self.record.and_then(|record| record.message.as_deref());
        recorded.or(self.followed.cause.as_deref())
    }

    fn document(&self) -> Value {
        json!({
            "stack": self.stack,
            "deployment": self.followed.name(),
            "execution": self.followed.arn,
            "result": self.result,
            "seconds": self.followed.seconds,
            "error": self.record.and_then(|record| record.error.as_deref()).or(self.followed.error.as_deref()),
            "message": self.message(),
            "next": self.record.and_then(|record| record.next.as_deref()),
            "version": self.record.and_then(|record| Some(record.source.as_ref()?.version.as_str())),
            "changes": summary::changes(self.plan),
            "problems": self.problems,
            "warnings": summary::warnings(self.plan),
            "estimate": self.record.and_then(|record| record.estimate),
            "outputs": self.record.map(|record| &record.outputs),
        })
    }

    fn text(&self) -> String {
        let after = if self.followed.waits {
            String::new()
        } else {
            format!(" after {}", in_words(self.followed.seconds))
        };
        let result = json!(self.result);
        let result = result.as_str().unwrap_or_default();
        let mut lines = vec![String::new(), format!("{result}{after}: {}.", self.result.in_words())];
        lines.extend(self.message().map(str::to_owned));
        if matches!(self.result, Outcome::Planned | Outcome::AwaitingApproval) {
            lines.extend(summary::changes(self.plan).iter().map(|change| format!("  {change}")));
        }
        lines.extend(self.record.and_then(|record| record.next.clone()));
        if self.result == Outcome::Succeeded {
            let outputs = self.record.and_then(|record| serde_json::to_value(&record.outputs).ok());
            lines.extend(outputs.iter().flat_map(report::outputs));
        }
        lines.join("\n")
    }
}
