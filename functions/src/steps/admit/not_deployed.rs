//! Executions that end in Admit: superseded, retained, with an invalid spec, or as a plan that could not be made.

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
    Record { trigger: execution.trigger, uploader: execution.uploader.clone(), ..record }
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
    end(execution, stack.as_str(), result, &reason)
}

/// The response that ends the workflow without a deployment.
#[derive(Debug, Serialize)]
struct NotDeployed<'a> {
    verdict: Verdict,
    result: Outcome,
    stack: &'a str,
    reason: &'a str,
}

/// Ends the workflow, because there is nothing to do.
pub(super) fn not_deployed(execution: &Execution, stack: &str, reason: &str) -> Result<Value, StepError> {
    end(execution, stack, Outcome::Superseded, reason)
}

/// Ends the workflow without a deployment, and without an error.
pub(super) fn end(
    execution: &Execution,
    stack: &str,
    result: Outcome,
    reason: &str,
) -> Result<Value, StepError> {
    tracing::info!(deployment = execution.name, stack, %result, reason, "Nothing is deployed.");
    let verdict = match result {
        Outcome::Superseded => Verdict::Superseded,
        Outcome::Retained => Verdict::Retained,
        _ => Verdict::NotPlanned,
    };
    respond(&NotDeployed { verdict, result, stack, reason })
}

/// The record of an execution that ended in Admit with an error.
pub(super) fn failed_record(
    aws: &Aws,
    stack: &str,
    execution: &Execution,
    source: Option<&Source>,
    error: &StepError,
) -> Record {
    Record {
        source: source.cloned(),
        ended: Some(aws.now()),
        step: Some("Admit".into()),
        error: Some(error.name().into()),
        message: Some(error.chain()),
        ..new_record(aws, stack, execution, Outcome::of_error(error.name()))
    }
}

/// Records and announces an invalid spec.
pub(super) async fn reject(
    aws: &Aws,
    execution: &Execution,
    source: &Source,
    error: &StepError,
) -> Result<(), StepError> {
    let (stack, _) = parts_of(&source.key)?;
    let mut record = failed_record(aws, stack.as_str(), execution, Some(source), error);
    record.next = Some("Correct the spec and upload it again. Nothing was changed.".into());
    let key = bucket::history_key(stack.as_str(), &execution.name);
    bucket::write(aws, &key, &record, When::Always).await?;
    if bucket::read::<Lock>(aws, &bucket::lock_key(stack.as_str())).await?.is_none() {
        bucket::write(aws, &bucket::status_key(stack.as_str()), &record, When::Always).await?;
    }
    announce(aws, &Announcement::of(Event::Failed, &record)).await;
    Ok(())
}
