//! Simulated time: tokio's clock since the account was opened, shown as a date as AWS does.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_smithy_async::time::TimeSource;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::time::Instant;

/// 2026-01-01T00:00:00Z, the start of every simulation (seconds since 1970).
const START: u64 = 1_767_225_600;

/// The time in a simulated account.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    opened: Instant,
    /// The time that had passed in the account from which this one resumes.
    before: Duration,
}

impl Clock {
    /// A clock that starts now.
    pub(crate) fn start() -> Self {
        Self::resume(Duration::ZERO)
    }

    /// A clock that continues from `before`.
    pub(crate) fn resume(before: Duration) -> Self {
        Self { opened: Instant::now(), before }
    }

    /// How long the account has been open.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.before + self.opened.elapsed()
    }

    /// The date and time after `elapsed`, as RFC 3339 text with milliseconds.
    #[must_use]
    pub fn date(elapsed: Duration) -> String {
        OffsetDateTime::from(UNIX_EPOCH + since_1970(elapsed)).format(&Rfc3339).unwrap_or_default()
    }

    /// The date and time after `elapsed`, in seconds since 1970 (the form of the JSON protocols).
    #[must_use]
    pub fn epoch_seconds(elapsed: Duration) -> f64 {
        since_1970(elapsed).as_secs_f64()
    }
}

/// In whole milliseconds, AWS's resolution.
fn since_1970(elapsed: Duration) -> Duration {
    Duration::from_secs(START) + Duration::new(elapsed.as_secs(), elapsed.subsec_millis() * 1_000_000)
}

impl TimeSource for Clock {
    fn now(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(START) + self.elapsed()
    }
}
