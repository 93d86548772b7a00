//! `stackdrop status STACK`

use std::process::ExitCode;

use anyhow::{Context, Result};
use serde_json::Value;
use stackdrop_functions::deployment::bucket;
use stackdrop_functions::deployment::outcome::{Outcome, exit_code};
use stackdrop_functions::deployment::record::Record;
use stackdrop_specs::{Spec, StackName};

use super::installation::Installation;
use super::{Target, report, with_installation};
use crate::commands::{print, print_json, text};

/// Show the status of a stack: its last deployment and its outputs.
#[derive(Debug, clap::Args)]
#[command(after_help = super::CREDENTIALS)]
pub(in crate::commands) struct Status {
    /// The stack's name.
    #[arg(value_parser = super::stack_name)]
    stack: StackName,
    #[command(flatten)]
    target: Target,
}

impl Status {
    pub(in crate::commands) fn run(self) -> Result<ExitCode> {
        with_installation(&self.target, async |installation| self.show(&installation).await)
    }

    async fn show(&self, installation: &Installation) -> Result<u8> {
        let key = bucket::status_key(self.stack.as_str());
        let Some(document) = installation.read::<Value>(&key).await? else {
            return Ok(report::no_deployments(&self.stack));
        };
        if self.target.json {
            print_json(&document)?;
        } else {
            let record: Record =
                serde_json::from_value(document).with_context(|| format!("cannot parse {key}"))?;
            print(&summary(&record)?);
            if let Some(errors) = errors_of(installation, &record).await? {
                print(&errors);
            }
        }
        Ok(exit_code::DONE)
    }
}

/// The errors of an invalid spec, with its lines: the record does not quote it, but a person who may read the spec may see them.
async fn errors_of(installation: &Installation, record: &Record) -> Result<Option<String>> {
    let source = record.source.as_ref().filter(|_| record.result == Outcome::InvalidSpec);
    let Some(source) = source.filter(|source| !source.version.is_empty()) else { return Ok(None) };
    let Some(text) = installation.read_spec(&source.key, &source.version).await? else { return Ok(None) };
    Ok(Spec::read(&text).err().map(|errors| errors.render(&source.key)))
}

fn summary(record: &Record) -> Result<String> {
    let mut lines = vec![
        format!("{}: {}.", record.stack, record.result.headline()),
        format!("  deployment  {}", record.deployment),
        format!("  started     {}", record.started),
    ];
    lines.extend(record.ended.as_ref().map(|ended| format!("  ended       {ended}")));
    if let Some(source) = &record.source {
        lines.push(format!("  spec        {} (version {})", source.key, source.version));
    }
    let uploader = record.uploader.as_ref();
    lines.extend(uploader.map(|by| format!("  uploaded    by account {} from {}", by.account, by.address)));
    lines.extend(record.plan_id.as_ref().map(|plan| format!("  plan        {plan}")));
    lines.extend(record.decision.as_ref().map(|decision| format!("  approval    {decision}")));
    lines.extend(record.message.clone());
    if record.result == Outcome::AwaitingApproval {
        lines.extend(record.changes().iter().chain(&record.facts).map(|line| format!("  {line}")));
    }
    lines.extend(record.next.clone());
    lines.extend(text::outputs(&serde_json::to_value(&record.outputs).context("cannot read the outputs")?));
    Ok(lines.join("\n"))
}
