//! `stackdrop logs STACK [SERVICE]`

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use aws_sdk_cloudwatchlogs::types::FilteredLogEvent;
use serde_json::json;
use stackdrop_specs::StackName;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::installation::{Installation, Said};
use super::{At, code, pause, with_installation};
use crate::commands::{complain, say};

/// How often new lines are asked for.
const FOLLOW_EVERY: Duration = Duration::from_secs(2);

/// Show what the containers of a stack's services have written.
#[derive(Debug, clap::Args)]
pub(crate) struct Logs {
    /// The stack's name.
    #[arg(value_parser = super::stack_name)]
    stack: StackName,
    /// The service's name. Left out: all.
    service: Option<String>,
    /// How many minutes back.
    #[arg(long, value_name = "N", default_value_t = 15)]
    minutes: u32,
    /// Go on with what is written from now on, until Ctrl-C.
    #[arg(long)]
    follow: bool,
    #[command(flatten)]
    at: At,
}

/// A line of a service's log.
struct Line {
    service: String,
    event: FilteredLogEvent,
}

impl Logs {
    pub(crate) fn run(self) -> Result<ExitCode> {
        with_installation(&self.at, async |installation| {
            tokio::select! {
                shown = self.show(&installation) => shown,
                stopped = tokio::signal::ctrl_c() => stopped.context("waiting for Ctrl-C").map(|()| code::GOOD),
            }
        })
    }

    async fn show(&self, installation: &Installation) -> Result<u8> {
        let groups = self.groups(installation).await?;
        if groups.is_empty() {
            let service =
                self.service.as_deref().map(|name| format!(" a service {name} in")).unwrap_or_default();
            complain(&format!("No logs are known of{service} the stack {}.", self.stack));
            return Ok(code::FAILED);
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
                // A line of the moment that was asked last comes again.
                if shown.insert(line.event.event_id().unwrap_or_default().to_owned()) {
                    self.say(line, groups.len() > 1)?;
                }
                since = since.max(line.event.timestamp().unwrap_or_default());
            }
            if !self.follow {
                return Ok(code::GOOD);
            }
            pause(FOLLOW_EVERY).await;
        }
    }

    fn say(&self, line: &Line, several: bool) -> Result<()> {
        let at = line.event.timestamp().unwrap_or_default();
        let date =
            OffsetDateTime::from_unix_timestamp_nanos(i128::from(at) * 1_000_000).context("a line's time")?;
        let date = date.format(&Rfc3339).context("a line's time")?;
        let message = line.event.message().unwrap_or_default().trim_end();
        if self.at.json {
            say(&json!({ "time": date, "service": line.service, "message": message }).to_string());
        } else if several {
            say(&format!("{date}  {:<12} {message}", line.service));
        } else {
            say(&format!("{date}  {message}"));
        }
        Ok(())
    }

    /// The log groups asked for, by service.
    async fn groups(&self, installation: &Installation) -> Result<Vec<(String, String)>> {
        let prefix = format!("/stackdrop/{}/", self.stack);
        let mut groups = Vec::new();
        let mut token = None;
        loop {
            let list = installation.logs.describe_log_groups().log_group_name_prefix(&prefix);
            let page = list.set_next_token(token).send().await.saying("listing the log groups")?;
            for name in page.log_groups.into_iter().flatten().filter_map(|group| group.log_group_name) {
                let service = name.trim_start_matches(&prefix).to_owned();
                if self.service.as_ref().is_none_or(|wanted| *wanted == service) {
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
        let ask = installation.logs.filter_log_events().log_group_name(group).start_time(since);
        let page = ask.set_next_token(token).send().await.saying(format!("reading {group}"))?;
        let events = page.events.into_iter().flatten();
        lines.extend(events.map(|event| Line { service: service.to_owned(), event }));
        token = page.next_token;
        if token.is_none() {
            return Ok(lines);
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "how long ago a line was written is a question of the real time"
)]
fn now_millis() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
