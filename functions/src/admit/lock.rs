//! The lock that keeps two executions from working on one stack.

use super::Execution;
use crate::aws::Aws;
use crate::error::{Answer, StepError};
use crate::records::{self, Lock, When};

/// Takes the lock, and returns its `ETag`. One whose execution is no longer running is taken over.
pub(super) async fn take(aws: &Aws, stack: &str, execution: &Execution) -> Result<String, StepError> {
    let key = records::lock_key(stack);
    let held = records::read::<Lock>(aws, &key).await?;
    let mine = Lock { execution: execution.id.clone(), deployment: execution.name.clone(), since: aws.now() };
    let taken = match held {
        None => records::write(aws, &key, &mine, When::Absent).await?,
        Some((lock, etag)) if lock.execution == execution.id => Some(etag),
        Some((lock, _)) if is_running(aws, &lock.execution).await? => {
            return Err(StepError::pending(format!(
                "the deployment {} of the stack {stack}, at work since {}",
                lock.deployment, lock.since
            )));
        }
        Some((lock, etag)) => {
            tracing::warn!(deployment = lock.deployment, "Lock of an execution that has ended taken over.");
            records::write(aws, &key, &mine, When::Unchanged(&etag)).await?
        }
    };
    taken.ok_or_else(|| StepError::pending(format!("another deployment of the stack {stack}")))
}

async fn is_running(aws: &Aws, execution: &str) -> Result<bool, StepError> {
    let call = aws.sfn.describe_execution().execution_arn(execution).send().await;
    let answer = call.unless(&["ExecutionDoesNotExist"]).doing(format!("asking whether {execution} runs"))?;
    let status = answer.map(|answer| answer.status);
    Ok(status.is_some_and(|status| {
        use aws_sdk_sfn::types::ExecutionStatus::{PendingRedrive, Running};
        matches!(status, Running | PendingRedrive)
    }))
}
