//! Announcements: what people and programs are told of a stack's life, by SNS and as EventBridge events.
//!
//! Both carry the same document, [`Announcement`]. In SNS it is the message, with the message attributes `event` and
//! `stack` for filter policies; on the default event bus it is the detail of an event of the source `stackdrop` and the
//! detail type `Stackdrop Deployment`.

use aws_sdk_eventbridge::types::PutEventsRequestEntry;
use aws_sdk_sns::types::MessageAttributeValue;
use serde::Serialize;

use crate::aws::Aws;
use crate::aws::error::{Answer, AwsError, StepError};
use crate::deployment::estimate::Estimate;
use crate::deployment::outcome::Outcome;
use crate::deployment::record::Record;

/// The source of Stackdrop's events.
pub const SOURCE: &str = "stackdrop";
/// Their detail type.
pub const DETAIL_TYPE: &str = "Stackdrop Deployment";

/// The most lines of changes in an announcement: SNS and EventBridge take 256 KiB, and nobody reads more.
const LINES_MAX: usize = 200;

/// What is announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// A deployment was admitted and is at work.
    Started,
    /// A deployment has a plan, and waits until somebody agrees to it.
    WaitingForApproval,
    /// A deployment reached what it was for: the stack is as the spec says, planned, removed or retained.
    Succeeded,
    /// A deployment did not.
    Failed,
    /// A deployment of a spec that had not changed found that the account had, or that others have added something to it
    /// that a warning tells of.
    DriftFound,
}

/// What is said of it. Never has a secret in it: neither specs nor plans nor outputs do.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Announcement<'a> {
    /// What happened.
    pub event: Event,
    /// In one sentence, for people.
    pub title: String,
    /// The stack.
    pub stack: &'a str,
    /// The deployment's id.
    pub deployment: &'a str,
    /// The execution's ARN.
    pub execution: &'a str,
    /// How it ended, or that it is under way or waiting.
    pub result: Outcome,
    /// The step that failed first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<&'a str>,
    /// The error's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<&'a str>,
    /// What came of it, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<&'a str>,
    /// What to do now, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// What the plan comes to: USD a month and seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub estimate: Option<Estimate>,
    /// What was, or would be, changed: one line a resource.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<String>,
    /// What somebody should know of and Stackdrop leaves alone: one line each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

impl<'a> Announcement<'a> {
    /// An event in the life of the deployment that a record describes.
    pub(crate) fn of(event: Event, record: &'a Record) -> Self {
        let stack = &record.stack;
        let title = match event {
            Event::Started => format!("{stack}: a deployment has started"),
            Event::WaitingForApproval => format!("{stack}: a plan waits for approval"),
            Event::Succeeded => format!("{stack}: {}", record.result.in_words()),
            Event::Failed => format!("{stack}: the deployment {}", record.result.in_words()),
            Event::DriftFound => format!("{stack}: the account is not as the last deployment left it"),
        };
        let mut changes = if event == Event::DriftFound { record.drift.clone() } else { record.changes() };
        if changes.len() > LINES_MAX {
            let more = changes.len() - LINES_MAX;
            changes.truncate(LINES_MAX);
            changes.push(format!("and {more} more"));
        }
        Self {
            event,
            title,
            stack,
            deployment: &record.deployment,
            execution: &record.execution,
            result: record.result,
            step: record.step.as_deref(),
            error: record.error.as_deref(),
            message: record.message.as_deref(),
            next: record.next.clone(),
            estimate: record.estimate,
            changes,
            warnings: record.warnings(),
        }
    }
}

/// Announces; what can't be announced is logged, and changes nothing: the stack is as the record says all the same.
pub(crate) async fn announce(aws: &Aws, announcement: &Announcement<'_>) {
    let text = match serde_json::to_string_pretty(announcement) {
        Ok(text) => text,
        Err(error) => return tracing::error!(%error, "An announcement could not be written."),
    };
    let (published, put) = tokio::join!(publish(aws, announcement, &text), put(aws, &text));
    for error in [published.err(), put.err()].into_iter().flatten() {
        tracing::error!(error = error.chain(), "An announcement could not be sent.");
    }
}

async fn publish(aws: &Aws, announcement: &Announcement<'_>, text: &str) -> Result<(), StepError> {
    let attribute = |value: &str| {
        let attribute = MessageAttributeValue::builder().data_type("String").string_value(value).build();
        attribute.map_err(|error| StepError::Defect(error.to_string()))
    };
    let event = serde_json::to_value(announcement.event).unwrap_or_default();
    let call = aws
        .sns()
        .publish()
        .topic_arn(&aws.settings.topic)
        .subject(format!("Stackdrop: {}", announcement.title))
        .message(text)
        .message_attributes("event", attribute(event.as_str().unwrap_or_default())?)
        .message_attributes("stack", attribute(announcement.stack)?);
    call.send().await.doing("publishing an announcement").map(drop)
}

async fn put(aws: &Aws, text: &str) -> Result<(), StepError> {
    let entry = PutEventsRequestEntry::builder().source(SOURCE).detail_type(DETAIL_TYPE).detail(text).build();
    let answer = aws.events().put_events().entries(entry).send().await.doing("putting an event")?;
    // The call succeeds even when its entry is refused.
    match answer.entries().iter().find(|entry| entry.error_code().is_some()) {
        None => Ok(()),
        Some(refused) => Err(StepError::Refused {
            doing: "putting an event".into(),
            source: AwsError {
                code: refused.error_code().unwrap_or_default().into(),
                message: refused.error_message().unwrap_or_default().into(),
            },
        }),
    }
}
