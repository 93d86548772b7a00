//! The lock that keeps two executions from working on one stack.

use std::time::{Duration, SystemTime};

use super::{Execution, Held, approval};
use crate::aws::error::{Answer, StepError};
use crate::aws::{self, Aws};
use crate::contract::handler::FUNCTION_SECONDS_MAX;
use crate::deployment::bucket;
use crate::deployment::bucket::When;
use crate::deployment::record::Lock;
use crate::deployment::state::Source;

/// What is to be done with the stack, for whoever finds the lock.
#[derive(Debug)]
pub(super) struct Purpose<'a> {
    pub(super) source: &'a Source,
    pub(super) destroying: bool,
    /// Whether a deployment that waits for approval has to make way: somebody wants something newer.
    pub(super) insists: bool,
}

impl<'a> Purpose<'a> {
    /// To deploy, as somebody wants it.
    pub(super) fn deploy(source: &'a Source) -> Self {
        Self { source, destroying: false, insists: true }
    }
}

/// Takes the lock, and returns its `ETag`. One whose execution has ended is taken over
/// once none of its functions can be at work any more.
///
/// # Errors
/// `Pending` while another deployment is at work; `Superseded` when it waits for approval, and this one yields to it.
pub(super) async fn take(
    aws: &Aws,
    stack: &str,
    execution: &Execution,
    purpose: &Purpose<'_>,
) -> Result<String, StepError> {
    let key = bucket::lock_key(stack);
    let held = bucket::read::<Lock>(aws, &key).await?;
    let mine = Lock {
        execution: execution.id.clone(),
        deployment: execution.name.clone(),
        since: aws.now(),
        source: purpose.source.clone(),
        destroying: purpose.destroying,
    };
    let taken = match held {
        None => bucket::write(aws, &key, &mine, When::Absent).await?,
        Some((lock, etag)) if lock.execution == execution.id => Some(etag),
        Some((lock, etag)) => match holder(aws, &lock.execution).await? {
            Holder::Running => {
                approval::make_way(aws, stack, &lock, purpose.insists).await?;
                return Err(StepError::pending(format!(
                    "the deployment {} of the stack {stack}, at work since {}",
                    lock.deployment, lock.since
                )));
            }
            Holder::Ending(until) => {
                return Err(StepError::pending(format!(
                    "the last function of the deployment {}, which was stopped, to end: by {} none is at work",
                    lock.deployment,
                    aws::shown(until)
                )));
            }
            Holder::Gone => {
                tracing::warn!(
                    deployment = lock.deployment,
                    "Lock of an execution that has ended taken over."
                );
                bucket::write(aws, &key, &mine, When::Unchanged(&etag)).await?
            }
        },
    };
    let etag = taken.ok_or_else(|| StepError::pending(format!("another deployment of the stack {stack}")))?;
    execution.holds.get_or_init(|| Held { stack: stack.to_owned(), etag: etag.clone() });
    Ok(etag)
}

/// How long after its end an execution's functions may still be at work: `StopExecution`, or a workflow's time limit,
/// does not end the function that was invoked last (AWS Lambda runs it to its end or timeout). A cold start, which
/// Lambda does not count, takes at most 10 s ("Lambda execution environment lifecycle", init phase); the rest is for
/// clocks that differ.
const STILL_AT_WORK: Duration = Duration::from_secs(FUNCTION_SECONDS_MAX + 10 + 5);

/// What an execution that holds a lock may still do.
enum Holder {
    Running,
    /// It has ended, but a function that it invoked may go on until then.
    Ending(SystemTime),
    Gone,
}

async fn holder(aws: &Aws, execution: &str) -> Result<Holder, StepError> {
    use aws_sdk_sfn::types::ExecutionStatus::{PendingRedrive, Running};
    let call = aws.sfn().describe_execution().execution_arn(execution).send().await;
    let answer = call.unless(&["ExecutionDoesNotExist"]).doing(format!("asking whether {execution} runs"))?;
    let Some(answer) = answer else { return Ok(Holder::Gone) };
    if matches!(answer.status, Running | PendingRedrive) {
        return Ok(Holder::Running);
    }
    let stopped = answer.stop_date.and_then(|date| SystemTime::try_from(date).ok());
    let stopped = stopped.ok_or_else(|| StepError::lacking("the time at which the execution ended"))?;
    let until = stopped + STILL_AT_WORK;
    Ok(if aws.clock() < until { Holder::Ending(until) } else { Holder::Gone })
}
