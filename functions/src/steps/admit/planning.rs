//! Executions that only plan. They take no lock, replace no deployment, and leave the stack's status as it is. One that cannot
//! plan is no failed deployment: no alarm rings, and nothing is announced. Only the stack's newest plan says why.

use serde_json::Value;
use stackdrop_specs::StackName;

use super::input::ManualRequest;
use super::not_deployed::{end, failed_record, supersede};
use super::sources::{Upload, newest, no_spec, parse, read_newest};
use super::{Admitted, Execution, admit, baseline, lock};
use crate::aws::Aws;
use crate::aws::error::StepError;
use crate::deployment::event::parts_of;
use crate::deployment::outcome::Outcome;
use crate::deployment::record;
use crate::deployment::state::Source;

/// Plans an uploaded version, if it is the newest.
pub(super) async fn uploaded(
    aws: &Aws,
    execution: &Execution,
    key: &str,
    version: String,
) -> Result<Value, StepError> {
    let stack = match parts_of(key) {
        Ok((stack, _)) => stack,
        Err(error) => return end(execution, "", Outcome::of_error(error.name()), &error.chain()),
    };
    let read = match read_newest(aws, key, true).await {
        Ok(Some(Upload { source, .. })) if source.version != version => {
            let reason = format!("a newer version of {key} exists: {}", source.version);
            return supersede(aws, Source { version, ..source }, execution, Outcome::Superseded, reason)
                .await;
        }
        Ok(None) => Err(StepError::InvalidEvent(format!(
            "{key} at version {version} was deleted before it could be read"
        ))),
        Ok(Some(upload)) => Ok(upload),
        Err(error) => Err(error),
    };
    plan(aws, execution, &stack, read, false).await
}

/// Plans the newest version of a stack's spec, on a manual request.
pub(super) async fn requested(
    aws: &Aws,
    execution: &Execution,
    request: &ManualRequest,
) -> Result<Value, StepError> {
    let stack = &request.stack;
    let read = newest(aws, stack, true).await;
    let read = read.and_then(|read| read.ok_or_else(|| no_spec(aws, stack)));
    let read = read.map(|upload| Upload { consent: request.consent(), ..upload });
    plan(aws, execution, stack, read, request.refresh_image).await
}

async fn plan(
    aws: &Aws,
    execution: &Execution,
    stack: &StackName,
    read: Result<Upload, StepError>,
    refresh_image: bool,
) -> Result<Value, StepError> {
    let upload = match read {
        Ok(upload) => upload,
        Err(error) => return not_planned(aws, execution, stack, None, error).await,
    };
    let source = upload.source.clone();
    match admit_plan(aws, execution, stack, upload, refresh_image).await {
        Err(error) => not_planned(aws, execution, stack, Some(&source), error).await,
        admitted => admitted,
    }
}

async fn admit_plan(
    aws: &Aws,
    execution: &Execution,
    stack: &StackName,
    Upload { source, text, consent }: Upload,
    refresh_image: bool,
) -> Result<Value, StepError> {
    let spec = parse(aws, &source.key, &text?)?;
    let baseline = baseline(aws, stack).await?;
    let running = lock::running(aws, stack.as_str()).await?;
    admit(
        aws,
        execution,
        Admitted { refresh_image, running, consent, ..Admitted::new(spec, source, String::new(), baseline) },
    )
    .await
}

/// Records why a plan could not be made, and ends the workflow.
///
/// # Errors
/// Those that the workflow retries.
async fn not_planned(
    aws: &Aws,
    execution: &Execution,
    stack: &StackName,
    source: Option<&Source>,
    error: StepError,
) -> Result<Value, StepError> {
    if error.is_retried() {
        return Err(error);
    }
    let record = failed_record(aws, stack.as_str(), execution, source, &error);
    record::save_plan(aws, &record).await?;
    end(execution, stack.as_str(), record.result, &error.chain())
}
