//! Follows an execution to its end, by its history.

use std::time::Duration;

use anyhow::Result;
use aws_sdk_sfn::types::{ExecutionStatus, HistoryEvent};
use serde_json::Value;
use stackdrop_functions::deployment::failure::message_of;

use super::installation::{Installation, Refusal};
use super::{Target, pause};
use crate::commands::watch::{ExecutionHistory, Printer};

/// How often the history is read: the first interval, and the longest.
const POLL_INTERVALS: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(2));

/// An execution that ended, or that awaits approval.
#[derive(Debug)]
pub(super) struct Followed {
    pub(super) arn: String,
    pub(super) status: ExecutionStatus,
    pub(super) awaits_approval: bool,
    pub(super) seconds: f64,
    pub(super) error: Option<String>,
    pub(super) message: Option<String>,
}

impl Followed {
    /// The deployment's ID: the execution's name.
    pub(super) fn deployment(&self) -> &str {
        deployment_of(&self.arn)
    }
}

/// The ID of the deployment that an execution runs.
pub(super) fn deployment_of(execution: &str) -> &str {
    execution.rsplit(':').next().unwrap_or(execution)
}

/// Shows an execution's steps until it ends, or requests approval more often than it did before.
pub(super) async fn follow(
    installation: &Installation,
    target: &Target,
    arn: &str,
    requests_before: usize,
) -> Result<Followed> {
    let mut history = ExecutionHistory::new(Printer::live(target.json));
    let mut interval = POLL_INTERVALS.0;
    let awaits_approval = loop {
        let mut ended = false;
        for event in events_after(installation, arn, history.newest()).await? {
            ended |= event.id > 1 && event.r#type.as_str().starts_with("Execution");
            history.take(&event);
        }
        if ended {
            break false;
        }
        if history.awaits_approval() && history.approval_requests() > requests_before {
            break true;
        }
        pause(interval).await;
        interval = (interval * 5 / 4).min(POLL_INTERVALS.1);
    };
    history.close();
    let described = installation.sfn.describe_execution().execution_arn(arn).send().await;
    let described = described.or_cannot("describe the execution")?;
    let seconds =
        described.stop_date.map(|stopped| stopped.as_secs_f64() - described.start_date.as_secs_f64());
    // An execution that could not plan succeeds, with the error as its output.
    let output: Value = described
        .output
        .as_deref()
        .map(serde_json::from_str)
        .transpose()
        .unwrap_or_default()
        .unwrap_or_default();
    let of_output = |key: &str| output[key].as_str().map(str::to_owned);
    Ok(Followed {
        arn: arn.to_owned(),
        status: described.status,
        awaits_approval,
        seconds: seconds.unwrap_or_default(),
        error: described.error.or_else(|| of_output("Error")),
        message: described.cause.or_else(|| of_output("Cause")).as_deref().map(message_of),
    })
}

/// How often an execution has requested approval so far.
pub(super) async fn approval_requests(installation: &Installation, arn: &str) -> Result<usize> {
    let mut history = ExecutionHistory::new(Printer::Quiet);
    for event in events_after(installation, arn, 0).await? {
        history.take(&event);
    }
    Ok(history.approval_requests())
}

/// The events after this one, in order. They are read newest first, so that known events are not read again.
async fn events_after(installation: &Installation, arn: &str, known: i64) -> Result<Vec<HistoryEvent>> {
    let mut events: Vec<HistoryEvent> = Vec::new();
    let mut token = None;
    loop {
        let read = installation.sfn.get_execution_history().execution_arn(arn).reverse_order(true);
        let read = read.include_execution_data(true).set_next_token(token);
        let page = read.send().await.or_cannot("read the execution's history")?;
        let reached = page.events.iter().any(|event| event.id <= known);
        events.extend(page.events.into_iter().filter(|event| event.id > known));
        token = page.next_token;
        if reached || token.is_none() {
            events.reverse();
            return Ok(events);
        }
    }
}
