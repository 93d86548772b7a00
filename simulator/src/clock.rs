//! Simulated time: tokio's clock since the account was opened, shown as a date when AWS would show one.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_smithy_async::time::TimeSource;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::time::Instant;

/// 2026-01-01T00:00:00Z, when every simulation starts (seconds since 1970).
const START: u64 = 1_767_225_600;

/// The time in a simulated account.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    opened: Instant,
    /// What had passed before that, in the account that this one goes on from.
    before: Duration,
}

impl Clock {
    /// A clock that starts now.
    pub(crate) fn start() -> Self {
        Self::resume(Duration::ZERO)
    }

    /// A clock that goes on from `before`.
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

    /// The date and time after `elapsed`, as seconds since 1970 (the JSON protocols' form).
    #[must_use]
    pub fn epoch_seconds(elapsed: Duration) -> f64 {
        since_1970(elapsed).as_secs_f64()
    }
}

/// In whole milliseconds: AWS shows no finer ones.
fn since_1970(elapsed: Duration) -> Duration {
    Duration::from_secs(START) + Duration::new(elapsed.as_secs(), elapsed.subsec_millis() * 1_000_000)
}

impl TimeSource for Clock {
    fn now(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(START) + self.elapsed()
    }
}
