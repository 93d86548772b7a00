//! Announcements of deployments, by SNS and as EventBridge events.
//!
//! Both carry the same document, [`Announcement`]. In SNS it is the message; the message attributes `event` and `stack`
//! serve filter policies. On the default event bus it is the detail of an event with the source `stackdrop` and the
//! detail type `Stackdrop Deployment`.

use aws_sdk_eventbridge::types::PutEventsRequestEntry;
use aws_sdk_sns::types::MessageAttributeValue;
use serde::Serialize;

use crate::aws::Aws;
use crate::aws::aws_error::AwsError;
use crate::aws::error::{AwsResult, StepError};
use crate::deployment::approval::Decision;
use crate::deployment::effect::Effect;
use crate::deployment::estimate::Estimate;
use crate::deployment::outcome::Outcome;
use crate::deployment::plan_id::PlanId;
use crate::deployment::record::Record;
use crate::deployment::state::{Trigger, Uploader};
use crate::deployment::summary;

/// The source of Stackdrop's events.
pub const SOURCE: &str = "stackdrop";
/// The detail type of Stackdrop's events.
pub const DETAIL_TYPE: &str = "Stackdrop Deployment";

/// The maximum number of changes in an announcement: SNS and EventBridge accept at most 256 KiB.
const CHANGES_MAX: usize = 200;

/// The event that is announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// A deployment was admitted and is running.
    Started,
    /// A deployment has a plan that awaits approval.
    AwaitingApproval,
    /// A requested plan was made; nothing was changed.
    Planned,
    /// A deployment succeeded: it did what was requested, or another deployment replaced it.
    Succeeded,
    /// A deployment failed.
    Failed,
    /// The deployment of an unchanged spec found that the account has changed.
    DriftFound,
}

/// The document that is announced. It never contains a secret: neither specs nor plans nor outputs do.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Announcement<'a> {
    /// The event.
    pub event: Event,
    /// A summary in one sentence, for people.
    pub title: String,
    /// The stack.
    pub stack: &'a str,
    /// The deployment's ID.
    pub deployment: &'a str,
    /// The execution's ARN.
    pub execution: &'a str,
    /// The outcome so far.
    pub result: Outcome,
    /// The step that failed first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<&'a str>,
    /// The error's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<&'a str>,
    /// What happened, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<&'a str>,
    /// What to do next, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// What started the deployment.
    pub trigger: Trigger,
    /// Who uploaded the spec.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uploader: Option<&'a Uploader>,
    /// The plan's ID.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan_id: Option<&'a PlanId>,
    /// Why the plan needs approval.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub approval_reasons: Vec<String>,
    /// Who approved or rejected the plan.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decision: Option<&'a Decision>,
    /// Whether the deployment destroys the stack.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub destroying: bool,
    /// What the spec asks for, one line each.
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    pub facts: &'a [String],
    /// The plan's cost (USD a month) and duration (seconds).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub estimate: Option<Estimate>,
    /// What the plan deletes, interrupts, opens to the internet or changes for good, the worst first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub effects: Vec<Effect>,
    /// The changes, one line for each resource.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<String>,
    /// The warnings, one line each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

impl<'a> Announcement<'a> {
    /// Announces an event of the deployment that a record describes.
    pub(crate) fn of(event: Event, record: &'a Record) -> Self {
        let stack = &record.stack;
        let title = match event {
            Event::Started => format!("{stack}: a deployment has started"),
            Event::AwaitingApproval => format!("{stack}: a plan awaits approval"),
            Event::Planned | Event::Succeeded | Event::Failed => {
                format!("{stack}: {}", record.result.title())
            }
            Event::DriftFound => format!("{stack}: the account differs from the last deployment"),
        };
        let mut changes = if event == Event::DriftFound { record.drift.clone() } else { record.changes() };
        if changes.len() > CHANGES_MAX {
            let more = changes.len() - CHANGES_MAX;
            changes.truncate(CHANGES_MAX);
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
            trigger: record.trigger,
            uploader: record.uploader.as_ref(),
            plan_id: record.plan_id.as_ref(),
            approval_reasons: record.approval_reasons.iter().map(ToString::to_string).collect(),
            decision: record.decision.as_ref(),
            destroying: record.destroying,
            facts: &record.facts,
            estimate: record.estimate.clone(),
            effects: summary::effects(&record.plan),
            changes,
            warnings: record.warnings(),
        }
    }
}

/// Sends an announcement. A failure is only logged: it does not change the deployment's outcome.
pub(crate) async fn announce(aws: &Aws, announcement: &Announcement<'_>) {
    let text = match serde_json::to_string_pretty(announcement) {
        Ok(text) => text,
        Err(error) => return tracing::error!(%error, "The announcement could not be written as JSON."),
    };
    let (published, put) = tokio::join!(publish(aws, announcement, &text), put(aws, &text));
    for error in [published.err(), put.err()].into_iter().flatten() {
        tracing::error!(error = error.chain(), "The announcement could not be sent.");
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
    call.send().await.doing("publishing the announcement to SNS").map(drop)
}

async fn put(aws: &Aws, text: &str) -> Result<(), StepError> {
    let entry = PutEventsRequestEntry::builder().source(SOURCE).detail_type(DETAIL_TYPE).detail(text).build();
    let response =
        aws.events().put_events().entries(entry).send().await.doing("putting the event to EventBridge")?;
    // The call succeeds even if EventBridge rejects its entry.
    match response.entries().iter().find(|entry| entry.error_code().is_some()) {
        None => Ok(()),
        Some(refused) => Err(StepError::Refused {
            doing: "putting the event to EventBridge".into(),
            source: AwsError {
                code: refused.error_code().unwrap_or_default().into(),
                message: refused.error_message().unwrap_or_default().into(),
            },
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deployment::plan::{ComponentPlan, Plan, Verb};

    /// The changes in the announcement of a deployment that creates this number of subnets.
    fn announced(number: usize) -> Vec<String> {
        let mut plan = Plan::default();
        for index in 1..=number {
            plan.change(Verb::Create, format!("subnet/{index}"));
        }
        let began = Record::begin("shop", "first", "arn", String::new(), Outcome::Running);
        let plan = vec![ComponentPlan { component: "network".into(), plan }];
        let record = Record { plan, drift: vec!["network: delete vpc".into()], ..began };
        assert_eq!(Announcement::of(Event::DriftFound, &record).changes, ["network: delete vpc"]);
        Announcement::of(Event::AwaitingApproval, &record).changes
    }

    #[test]
    fn an_announcement_lists_as_many_changes_as_fit_and_counts_the_others() {
        let fits = announced(CHANGES_MAX);
        assert_eq!(fits.len(), CHANGES_MAX);
        assert_eq!(fits.last().unwrap(), &format!("network: create subnet/{CHANGES_MAX}"));
        let shortened = announced(CHANGES_MAX + 3);
        assert_eq!(shortened[..CHANGES_MAX], fits);
        assert_eq!(shortened[CHANGES_MAX..], ["and 3 more"]);
    }
}
