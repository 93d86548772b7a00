//! `stackdrop status STACK`

use std::process::ExitCode;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use stackdrop_functions::deployment::record::Record;
use stackdrop_specs::StackName;

use super::installation::Installation;
use super::{At, code, with_installation};
use crate::commands::{complain, report, say};

/// Show how a stack stands: its last deployment, and what that has made.
#[derive(Debug, clap::Args)]
pub(crate) struct Status {
    /// The stack's name.
    #[arg(value_parser = super::stack_name)]
    stack: StackName,
    #[command(flatten)]
    at: At,
}

impl Status {
    pub(crate) fn run(self) -> Result<ExitCode> {
        with_installation(&self.at, async |installation| self.show(&installation).await)
    }

    async fn show(&self, installation: &Installation) -> Result<u8> {
        let key = format!("stacks/{}/status.json", self.stack);
        let Some(document) = installation.read::<Value>(&key).await? else {
            complain(&format!("Nothing is known of a stack {}.", self.stack));
            return Ok(code::FAILED);
        };
        if self.at.json {
            say(&serde_json::to_string_pretty(&document).context("writing the report")?);
            return Ok(code::GOOD);
        }
        let record: Record = serde_json::from_value(document).context("reading the stack's status")?;
        say(&text(&record));
        Ok(code::GOOD)
    }
}

fn text(record: &Record) -> String {
    let result = json!(record.result);
    let mut lines = vec![
        format!("{}: {}, {}.", record.stack, result.as_str().unwrap_or_default(), record.result.in_words()),
        format!("  deployment  {}", record.deployment),
        format!("  started     {}", record.started),
    ];
    lines.extend(record.ended.as_ref().map(|ended| format!("  ended       {ended}")));
    if let Some(source) = &record.source {
        lines.push(format!("  spec        {} (version {})", source.key, source.version));
    }
    lines.extend(record.message.clone());
    lines.extend(record.next.clone());
    let outputs = serde_json::to_value(&record.outputs);
    lines.extend(outputs.iter().flat_map(report::outputs));
    lines.join("\n")
}
