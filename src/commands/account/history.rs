//! `stackdrop history STACK`

use std::process::ExitCode;

use anyhow::{Context, Result};
use aws_sdk_s3::types::Object;
use serde_json::Value;
use stackdrop_functions::deployment::bucket;
use stackdrop_functions::deployment::outcome::exit_code;
use stackdrop_functions::deployment::record::Record;
use stackdrop_specs::StackName;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::installation::{Installation, Refusal};
use super::{Target, report, with_installation};
use crate::commands::{print, print_json, text};

/// The length at which the table cuts off a message.
const MESSAGE_CHARACTERS_MAX: usize = 70;

/// List the deployments and plans of a stack, newest first.
#[derive(Debug, clap::Args)]
#[command(after_help = super::CREDENTIALS)]
pub(in crate::commands) struct History {
    /// The stack's name.
    #[arg(value_parser = super::stack_name)]
    stack: StackName,
    /// List at most this many deployments.
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: usize,
    #[command(flatten)]
    target: Target,
}

impl History {
    pub(in crate::commands) fn run(self) -> Result<ExitCode> {
        with_installation(&self.target, async |installation| self.show(&installation).await)
    }

    async fn show(&self, installation: &Installation) -> Result<u8> {
        let mut objects = self.objects(installation).await?;
        objects.sort_by_key(|object| {
            std::cmp::Reverse(object.last_modified().map(|at| (at.secs(), at.subsec_nanos())))
        });
        let mut documents: Vec<Value> = Vec::new();
        for key in objects.iter().take(self.limit).filter_map(Object::key) {
            documents.extend(installation.read::<Value>(key).await?);
        }
        if self.target.json {
            print_json(&documents)?;
            return Ok(exit_code::DONE);
        }
        if documents.is_empty() {
            return Ok(report::no_deployments(&self.stack));
        }
        let records = documents.into_iter().map(serde_json::from_value);
        let records: Vec<Record> = records.collect::<Result<_, _>>().context("cannot parse the records")?;
        print(&table(&records));
        Ok(exit_code::DONE)
    }

    async fn objects(&self, installation: &Installation) -> Result<Vec<Object>> {
        let prefix = bucket::history_prefix(self.stack.as_str());
        let mut objects = Vec::new();
        let mut token = None;
        loop {
            let list = installation.s3.list_objects_v2().bucket(&installation.bucket).prefix(&prefix);
            let page = list.set_continuation_token(token).send().await.or_cannot("list the records")?;
            objects.extend(page.contents.unwrap_or_default());
            token = page.next_continuation_token;
            if token.is_none() {
                return Ok(objects);
            }
        }
    }
}

/// A table with a row for each record.
fn table(records: &[Record]) -> String {
    let heading = ["STARTED", "TOOK", "RESULT", "DEPLOYMENT", "VERSION", "MESSAGE"].map(str::to_owned);
    let rows: Vec<[String; 6]> = std::iter::once(heading).chain(records.iter().map(row)).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..5).map(width).collect();
    let line = |row: &[String; 6]| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}  "));
        format!("{}{}", cells.collect::<String>(), row[5]).trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn row(record: &Record) -> [String; 6] {
    let time = |text: &str| OffsetDateTime::parse(text, &Rfc3339).ok();
    let took = record.ended.as_deref().and_then(time).zip(time(&record.started));
    let took = took.map(|(ended, started)| text::duration((ended - started).as_seconds_f64()));
    let message = record.message.as_deref().and_then(|message| message.lines().next()).unwrap_or_default();
    [
        record.started.clone(),
        took.unwrap_or_default(),
        record.result.to_string(),
        record.deployment.clone(),
        record.source.as_ref().map(|source| source.version.clone()).unwrap_or_default(),
        message.chars().take(MESSAGE_CHARACTERS_MAX).collect(),
    ]
}
