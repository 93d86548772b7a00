//! Deployments that end in Admit: superseded, retained, or with an invalid spec.

use serde::Serialize;
use serde_json::Value;

use super::Execution;
use crate::aws::Aws;
use crate::aws::error::StepError;
use crate::contract::handler::respond;
use crate::deployment::announce::{Announcement, Event, announce};
use crate::deployment::bucket::{self, When};
use crate::deployment::event::parts_of;
use crate::deployment::outcome::Outcome;
use crate::deployment::record::{Lock, Record};
use crate::deployment::state::{Source, Verdict};

/// A new record of this deployment.
pub(super) fn new_record(aws: &Aws, stack: &str, execution: &Execution, result: Outcome) -> Record {
    let record = Record::begin(stack, &execution.name, &execution.id, aws.now(), result);
    Record { trigger: execution.trigger, ..record }
}

/// Ends a deployment that another one supersedes. It is recorded only as history: the status is that of the other one.
pub(super) async fn supersede(
    aws: &Aws,
    source: Source,
    execution: &Execution,
    result: Outcome,
    reason: String,
) -> Result<Value, StepError> {
    let (stack, _) = parts_of(&source.key)?;
    let mut record = new_record(aws, stack.as_str(), execution, result);
    record.source = Some(source);
    record.ended = Some(aws.now());
    record.message = Some(reason.clone());
    let key = bucket::history_key(stack.as_str(), &execution.name);
    bucket::write(aws, &key, &record, When::Always).await?;
    let verdict = if result == Outcome::Retained { Verdict::Retained } else { Verdict::Superseded };
    not_deployed(execution, stack.as_str(), verdict, &reason)
}

/// The response that ends the workflow without a deployment.
#[derive(Debug, Serialize)]
struct NotDeployed<'a> {
    verdict: Verdict,
    stack: &'a str,
    reason: &'a str,
}

pub(super) fn not_deployed(
    execution: &Execution,
    stack: &str,
    verdict: Verdict,
    reason: &str,
) -> Result<Value, StepError> {
    tracing::info!(deployment = execution.name, stack, ?verdict, reason, "Nothing is deployed.");
    respond(&NotDeployed { verdict, stack, reason })
}

/// Records and announces an invalid spec.
pub(super) async fn reject(
    aws: &Aws,
    execution: &Execution,
    source: &Source,
    error: &StepError,
) -> Result<(), StepError> {
    let (stack, _) = parts_of(&source.key)?;
    let mut record = new_record(aws, stack.as_str(), execution, Outcome::InvalidSpec);
    record.source = Some(source.clone());
    record.ended = Some(aws.now());
    record.step = Some("Admit".into());
    record.error = Some(error.name().into());
    record.message = Some(error.chain());
    record.next = Some("Correct the spec and upload it again. Nothing was changed.".into());
    let key = bucket::history_key(stack.as_str(), &execution.name);
    bucket::write(aws, &key, &record, When::Always).await?;
    if bucket::read::<Lock>(aws, &bucket::lock_key(stack.as_str())).await?.is_none() {
        bucket::write(aws, &bucket::status_key(stack.as_str()), &record, When::Always).await?;
    }
    announce(aws, &Announcement::of(Event::Failed, &record)).await;
    Ok(())
}
