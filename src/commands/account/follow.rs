//! Follows an execution to its end, by its history.

use std::time::Duration;

use anyhow::Result;
use aws_sdk_sfn::types::{ExecutionStatus, HistoryEvent};

use super::installation::{Installation, Said};
use super::pause;
use super::progress::Progress;
use super::steps::{Steps, message};

/// How soon the history is asked for again: at first, and at the longest.
const AGAIN_AFTER: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(2));

/// An execution as far as it was followed.
#[derive(Debug)]
pub(super) struct Followed {
    pub(super) arn: String,
    pub(super) status: ExecutionStatus,
    /// Whether it goes on only when somebody agrees.
    pub(super) waits: bool,
    pub(super) seconds: f64,
    pub(super) error: Option<String>,
    pub(super) cause: Option<String>,
}

impl Followed {
    /// The execution's name, which is the deployment's id.
    pub(super) fn name(&self) -> &str {
        self.arn.rsplit(':').next().unwrap_or_default()
    }
}

/// Shows an execution's steps until it ends, or asks more questions than were `answered`.
pub(super) async fn follow(
    installation: &Installation,
    arn: &str,
    mut progress: Progress,
    answered: usize,
) -> Result<Followed> {
    let mut steps = Steps::default();
    let mut again_after = AGAIN_AFTER.0;
    let waits = loop {
        let mut ended = false;
        for event in news(installation, arn, steps.seen).await? {
            ended |= event.id > 1 && event.r#type.as_str().starts_with("Execution");
            if let Some(told) = steps.take(&event) {
                progress.show(&told);
            }
        }
        if ended {
            break false;
        }
        if steps.waits_for_somebody() && steps.asked > answered {
            break true;
        }
        pause(again_after).await;
        again_after = (again_after * 5 / 4).min(AGAIN_AFTER.1);
    };
    progress.close();
    let described = installation.sfn.describe_execution().execution_arn(arn).send().await;
    let described = described.saying("asking how the deployment ended")?;
    let stopped =
        described.stop_date.map(|stopped| stopped.as_secs_f64() - described.start_date.as_secs_f64());
    Ok(Followed {
        arn: arn.to_owned(),
        status: described.status,
        waits,
        seconds: stopped.unwrap_or_default(),
        error: described.error,
        cause: described.cause.as_deref().map(message),
    })
}

/// How many questions an execution has asked so far.
pub(super) async fn questions(installation: &Installation, arn: &str) -> Result<usize> {
    let mut steps = Steps::default();
    for event in news(installation, arn, 0).await? {
        steps.take(&event);
    }
    Ok(steps.asked)
}

/// The events after this one, in order. They are asked for backwards, so that what was seen is not read again.
async fn news(installation: &Installation, arn: &str, seen: i64) -> Result<Vec<HistoryEvent>> {
    let mut news: Vec<HistoryEvent> = Vec::new();
    let mut token = None;
    loop {
        let ask = installation.sfn.get_execution_history().execution_arn(arn).reverse_order(true);
        let ask = ask.include_execution_data(true).set_next_token(token);
        let page = ask.send().await.saying("reading what the deployment has done")?;
        let reached = page.events.iter().any(|event| event.id <= seen);
        news.extend(page.events.into_iter().filter(|event| event.id > seen));
        token = page.next_token;
        if reached || token.is_none() {
            news.reverse();
            return Ok(news);
        }
    }
}
