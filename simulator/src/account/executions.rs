//! The executions of state machines. The account does not run them: the simulation of the installation does, and reports
//! here what happened.

use super::Account;
use crate::services::sfn::{self, Answer, ExecutionEnd, ExecutionView, HistoryEvent};

impl Account {
    /// Every execution so far, in order of start, whether started by a call or by
    /// [`execution_started`](Account::execution_started). An `ABORTED` execution was stopped by a call.
    #[must_use]
    pub fn executions(&self) -> Vec<ExecutionView> {
        self.with(|world| sfn::executions(world))
    }

    /// Reports that an execution has started: `DescribeExecution` then shows it as `RUNNING`.
    pub fn execution_started(&self, arn: &str) {
        self.with(|world| sfn::started(world, arn, None));
    }

    /// Reports that an execution has started, with its input (a JSON text).
    pub fn execution_started_with(&self, arn: &str, input: &str) {
        self.with(|world| sfn::started(world, arn, Some(input)));
    }

    /// Reports an event of an execution.
    pub fn execution_event(&self, arn: &str, event: HistoryEvent) {
        self.with(|world| sfn::add_event(world, arn, event));
    }

    /// Reports that an execution has ended: `SUCCEEDED`, `FAILED`, `TIMED_OUT` or `ABORTED`.
    pub fn execution_ended(&self, arn: &str, status: &'static str) {
        self.with(|world| sfn::ended(world, arn, status));
    }

    /// Reports that an execution has ended (see [`execution_ended`](Account::execution_ended)), with its result. An
    /// execution that was stopped before keeps its result.
    pub fn execution_ended_with(&self, arn: &str, status: &'static str, end: ExecutionEnd) {
        self.with(|world| sfn::ended_with(world, arn, status, end));
    }

    /// The result of an execution, if it was reported.
    #[must_use]
    pub fn execution_end(&self, arn: &str) -> Option<ExecutionEnd> {
        self.with(|world| sfn::end_of(world, arn))
    }

    /// Waits for the `SendTaskSuccess` or `SendTaskFailure` with a task's token. The token is valid until this future is
    /// dropped; after that its task has timed out.
    ///
    /// # Errors
    /// The error and cause of `SendTaskFailure`.
    pub async fn task_answer(&self, token: &str) -> Answer {
        let _waiting = WaitingTask::begin(self, token);
        loop {
            // Subscribe before checking, so that no answer is missed in between.
            let answered = self.task_answered.notified();
            if let Some(answer) = self.with(|world| sfn::task_answer(world, token)) {
                return answer;
            }
            answered.await;
        }
    }
}

/// A task that waits for its token until this is dropped.
struct WaitingTask<'a> {
    account: &'a Account,
    token: &'a str,
}

impl<'a> WaitingTask<'a> {
    fn begin(account: &'a Account, token: &'a str) -> Self {
        account.with(|world| sfn::await_task(world, token));
        Self { account, token }
    }
}

impl Drop for WaitingTask<'_> {
    fn drop(&mut self) {
        self.account.with(|world| sfn::forget_task(world, self.token));
    }
}
