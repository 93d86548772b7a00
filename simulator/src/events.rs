//! Events that the installation reacts to: what EventBridge delivers and what Step Functions runs.
//!
//! The account itself does not react to them. The installation's simulation reads them with
//! [`Account::account_events`](crate::Account::account_events) and waits for more with
//! [`Account::notified`](crate::Account::notified).

/// An event that the installation reacts to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccountEvent {
    /// An object was written.
    ObjectCreated {
        /// The bucket.
        bucket: String,
        /// The key.
        key: String,
        /// Its version ID.
        version: String,
        /// Its size in bytes.
        size: usize,
        /// Its `ETag`.
        etag: String,
    },
    /// An object of a versioned bucket was deleted: a delete marker was created.
    ObjectDeleted {
        /// The bucket.
        bucket: String,
        /// The key.
        key: String,
        /// The delete marker's version ID.
        marker: String,
    },
    /// `StartExecution` started an execution.
    ExecutionStarted {
        /// Its ARN.
        arn: String,
        /// The input, a JSON text.
        input: String,
    },
    /// `StopExecution` stopped an execution.
    ExecutionStopped {
        /// Its ARN.
        arn: String,
        /// The error of the request.
        error: String,
        /// The cause of the request.
        cause: String,
    },
    /// The label `AWSCURRENT` moved to another version of a secret: its value changed.
    SecretLabelUpdated {
        /// The secret's ARN.
        arn: String,
        /// Its name.
        name: String,
        /// The ID of the version.
        version: String,
        /// When, since the account was opened.
        at: std::time::Duration,
    },
    /// A schedule was due.
    ScheduleFired {
        /// Its name.
        name: String,
        /// Its group.
        group: String,
        /// The ARN of its target.
        target: String,
        /// The ARN of the role that starts the target.
        role: String,
        /// The target's input.
        input: String,
    },
}
