//! `stackdrop logs STACK [SERVICE]`

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use aws_sdk_cloudwatchlogs::types::FilteredLogEvent;
use serde_json::json;
use stackdrop_functions::deployment::outcome::exit_code;
use stackdrop_specs::StackName;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::installation::{Installation, Refusal};
use super::{Target, pause, with_installation};
use crate::commands::{print, print_error};

/// How often `--follow` reads new lines.
const FOLLOW_INTERVAL: Duration = Duration::from_secs(2);

/// Show the logs of a stack's services.
#[derive(Debug, clap::Args)]
#[command(after_help = super::CREDENTIALS)]
pub(in crate::commands) struct Logs {
    /// The stack's name.
    #[arg(value_parser = super::stack_name)]
    stack: StackName,
    /// The service's name. Default: all services.
    service: Option<String>,
    /// Start this many minutes ago.
    #[arg(long, value_name = "N", default_value_t = 15)]
    minutes: u32,
    /// Keep printing new lines until Ctrl-C.
    #[arg(long)]
    follow: bool,
    #[command(flatten)]
    target: Target,
}

/// A line of a service's log.
struct Line {
    service: String,
    event: FilteredLogEvent,
}

impl Logs {
    pub(in crate::commands) fn run(self) -> Result<ExitCode> {
        with_installation(&self.target, async |installation| {
            tokio::select! {
                shown = self.show(&installation) => shown,
                stopped = tokio::signal::ctrl_c() => stopped.context("cannot wait for Ctrl-C").map(|()| exit_code::DONE),
            }
        })
    }

    async fn show(&self, installation: &Installation) -> Result<u8> {
        let groups = self.groups(installation).await?;
        if groups.is_empty() {
            let service =
                self.service.as_deref().map(|name| format!("service {name} of ")).unwrap_or_default();
            print_error(&format!("error: {service}stack {} has no logs", self.stack));
            return Ok(exit_code::FAILED);
        }
        let mut since = now_millis() - i64::from(self.minutes) * 60_000;
        let mut shown: BTreeSet<String> = BTreeSet::new();
        loop {
            let mut lines = Vec::new();
            for (service, group) in &groups {
                lines.extend(read(installation, service, group, since).await?);
            }
            lines.sort_by_key(|line| line.event.timestamp());
            for line in &lines {
                // Lines with the newest timestamp are read again.
                if shown.insert(line.event.event_id().unwrap_or_default().to_owned()) {
                    self.print_line(line, groups.len() > 1)?;
                }
                since = since.max(line.event.timestamp().unwrap_or_default());
            }
            if !self.follow {
                return Ok(exit_code::DONE);
            }
            pause(FOLLOW_INTERVAL).await;
        }
    }

    fn print_line(&self, line: &Line, several: bool) -> Result<()> {
        let at = line.event.timestamp().unwrap_or_default();
        let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(at) * 1_000_000);
        let time = time.context("cannot read a line's timestamp")?.format(&Rfc3339);
        let time = time.context("cannot write a line's timestamp")?;
        let message = line.event.message().unwrap_or_default().trim_end();
        if self.target.json {
            print(&json!({ "time": time, "service": line.service, "message": message }).to_string());
        } else if several {
            print(&format!("{time}  {:<12} {message}", line.service));
        } else {
            print(&format!("{time}  {message}"));
        }
        Ok(())
    }

    /// The log groups of the requested services, by service.
    async fn groups(&self, installation: &Installation) -> Result<Vec<(String, String)>> {
        let prefix = format!("/stackdrop/{}/", self.stack);
        let mut groups = Vec::new();
        let mut token = None;
        loop {
            let list = installation.logs.describe_log_groups().log_group_name_prefix(&prefix);
            let page = list.set_next_token(token).send().await.or_cannot("list the log groups")?;
            for name in page.log_groups.into_iter().flatten().filter_map(|group| group.log_group_name) {
                let service = name.trim_start_matches(&prefix).to_owned();
                if self.service.as_ref().is_none_or(|requested| *requested == service) {
                    groups.push((service, name));
                }
            }
            token = page.next_token;
            if token.is_none() {
                return Ok(groups);
            }
        }
    }
}

async fn read(installation: &Installation, service: &str, group: &str, since: i64) -> Result<Vec<Line>> {
    let mut lines = Vec::new();
    let mut token = None;
    loop {
        let filter = installation.logs.filter_log_events().log_group_name(group).start_time(since);
        let page =
            filter.set_next_token(token).send().await.or_cannot(format!("read the log group {group}"))?;
        let events = page.events.into_iter().flatten();
        lines.extend(events.map(|event| Line { service: service.to_owned(), event }));
        token = page.next_token;
        if token.is_none() {
            return Ok(lines);
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "logs have real timestamps")]
fn now_millis() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
