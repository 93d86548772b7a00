//! What happens in the account that others react to: what EventBridge delivers, what Step Functions runs.
//!
//! Nobody in here reacts to it. Whoever plays the installation reads [`Account::happenings`], and waits for more with
//! [`Account::stirred`].

use std::time::Duration;

use crate::account::Account;
use crate::services::scheduler;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Happening {
    /// An object was written.
    ObjectCreated {
        /// The bucket.
        bucket: String,
        /// The key.
        key: String,
        /// Its version.
        version: String,
        /// Its bytes.
        size: usize,
        /// Its `ETag`.
        etag: String,
    },
    /// An object was deleted, so that a versioned bucket shows a delete marker.
    ObjectDeleted {
        /// The bucket.
        bucket: String,
        /// The key.
        key: String,
        /// The marker's version.
        marker: String,
    },
    /// `StartExecution` has started an execution.
    ExecutionStarted {
        /// Its ARN.
        arn: String,
        /// The input, a JSON text.
        input: String,
    },
    /// `StopExecution` has stopped one.
    ExecutionStopped {
        /// Its ARN.
        arn: String,
        /// The error that was given.
        error: String,
        /// The cause that was given.
        cause: String,
    },
    /// A schedule was due.
    ScheduleFired {
        /// Its name.
        name: String,
        /// Its group.
        group: String,
        /// The ARN of its target.
        target: String,
        /// The ARN of the role that the target is started with.
        role: String,
        /// What the target is given.
        input: String,
    },
}

impl Account {
    /// Everything that happened so far, without the first so many.
    #[must_use]
    pub fn happenings(&self, after: usize) -> Vec<Happening> {
        self.with(|world| world.happenings.get(after..).unwrap_or_default().to_vec())
    }

    /// When the next schedule is due, since the account was opened.
    #[must_use]
    pub fn next_schedule(&self) -> Option<Duration> {
        self.with(|world| scheduler::next_due(world))
    }
}
