//! The lock: only the execution that holds it may change the stack.

use std::time::{Duration, SystemTime};

use super::{Execution, HeldLock, approval};
use crate::aws::error::{AwsResult, StepError};
use crate::aws::{self, Aws};
use crate::contract::handler::FUNCTION_SECONDS_MAX;
use crate::deployment::bucket::{self, When};
use crate::deployment::record::Lock;
use crate::deployment::state::Source;

/// Why a deployment takes the lock.
#[derive(Debug)]
pub(super) struct Purpose<'a> {
    pub(super) source: &'a Source,
    pub(super) destroying: bool,
    /// Whether it changes nothing that a rollback would have to repair.
    pub(super) changes_nothing: bool,
    /// What it does with a deployment that awaits approval.
    pub(super) waiting: Waiting,
}

/// What a deployment does with one that awaits approval and therefore holds the lock for up to three days.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Waiting {
    /// Replaces it, because somebody requested something newer.
    Replace,
    /// Yields to it.
    Yield,
    /// Yields to it, after telling it that the database's password has changed: it restarts the services, and requests approval
    /// again.
    Notify,
}

impl<'a> Purpose<'a> {
    /// To deploy a spec on request.
    pub(super) fn deploy(source: &'a Source) -> Self {
        Self { source, destroying: false, changes_nothing: false, waiting: Waiting::Replace }
    }
}

/// Takes the lock and returns its `ETag`. A lock whose execution has ended is taken over once none of its functions can be
/// running.
///
/// # Errors
/// `Pending` while another deployment is running; `Superseded` if that one awaits approval and this one yields to it.
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
        changes_nothing: purpose.changes_nothing,
    };
    let taken = match held {
        None => bucket::write(aws, &key, &mine, When::Absent).await?,
        Some((lock, etag)) if lock.execution == execution.id => Some(etag),
        Some((lock, etag)) => match holder_state(aws, &lock.execution).await? {
            Holder::Running => {
                approval::end_waiting(aws, stack, &lock, purpose.waiting).await?;
                return Err(StepError::pending(format!(
                    "deployment {} of stack {stack}, which has been running since {}",
                    lock.deployment, lock.since
                )));
            }
            Holder::Ending(until) => {
                return Err(StepError::pending(format!(
                    "the last function of stopped deployment {} to end, at the latest at {}",
                    lock.deployment,
                    aws::rfc3339(until)
                )));
            }
            Holder::Ended => {
                tracing::warn!(
                    deployment = lock.deployment,
                    "Took over the lock of an execution that has ended."
                );
                bucket::write(aws, &key, &mine, When::Unchanged(&etag)).await?
            }
        },
    };
    let etag = taken.ok_or_else(|| StepError::pending(format!("another deployment of stack {stack}")))?;
    execution.lock.get_or_init(|| HeldLock { stack: stack.to_owned(), etag: etag.clone() });
    Ok(etag)
}

/// The deployment of the stack that is running, if one is.
pub(super) async fn running(aws: &Aws, stack: &str) -> Result<Option<String>, StepError> {
    let Some((lock, _)) = bucket::read::<Lock>(aws, &bucket::lock_key(stack)).await? else { return Ok(None) };
    let runs = matches!(holder_state(aws, &lock.execution).await?, Holder::Running);
    Ok(runs.then_some(lock.deployment))
}

/// How long an execution's functions may run after its end: neither `StopExecution` nor the workflow's timeout ends the
/// function that was invoked last (Lambda runs it to its end or its timeout). A cold start, which does not count towards the
/// timeout, takes at most 10 s ("Lambda execution environment lifecycle", init phase). The rest is for clock differences.
const FUNCTION_END_MAX: Duration = Duration::from_secs(FUNCTION_SECONDS_MAX + 10 + 5);

/// The state of the execution that holds a lock.
enum Holder {
    /// It is running.
    Running,
    /// It has ended, but a function that it invoked may run until this time.
    Ending(SystemTime),
    /// It has ended, and so have its functions.
    Ended,
}

async fn holder_state(aws: &Aws, execution: &str) -> Result<Holder, StepError> {
    use aws_sdk_sfn::types::ExecutionStatus::{PendingRedrive, Running};
    let call = aws.sfn().describe_execution().execution_arn(execution).send().await;
    let response = call
        .unless(&["ExecutionDoesNotExist"])
        .doing(format!("reading the status of execution {execution}"))?;
    let Some(response) = response else { return Ok(Holder::Ended) };
    if matches!(response.status, Running | PendingRedrive) {
        return Ok(Holder::Running);
    }
    let stopped = response.stop_date.and_then(|date| SystemTime::try_from(date).ok());
    let stopped = stopped.ok_or_else(|| StepError::incomplete("the time at which the execution ended"))?;
    let until = stopped + FUNCTION_END_MAX;
    Ok(if aws.clock() < until { Holder::Ending(until) } else { Holder::Ended })
}
