//! `Retry` and `Catch`: which errors they match, and how long a retry waits.

use std::time::Duration;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde::Deserialize;

use crate::failure::{Failure, names};
use crate::path::ResultPath;
use crate::problem::not_supported;

/// One of a state's `Retry`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(try_from = "RawRetrier")]
pub struct Retrier {
    /// `ErrorEquals`.
    pub errors: Vec<String>,
    /// The delay before the first retry.
    pub interval_seconds: u32,
    /// The factor between one delay and the next.
    pub backoff_rate: f64,
    /// How many retries; 0 means none.
    pub max_attempts: u32,
    /// The upper limit of every delay.
    pub max_delay_seconds: Option<u32>,
    /// Whether a delay is random between 0 and the computed one (`JitterStrategy: FULL`).
    pub full_jitter: bool,
}

/// One of a state's `Catch`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(try_from = "RawCatcher")]
pub struct Catcher {
    /// `ErrorEquals`.
    pub errors: Vec<String>,
    /// The next state.
    pub next: String,
    pub(crate) result_path: ResultPath,
}

impl Catcher {
    /// The place of the error output in the state's input: `$` replaces the input, `None` (`null`) discards the error.
    #[must_use]
    pub fn result_path(&self) -> Option<String> {
        self.result_path.text()
    }

    pub(crate) fn catches(&self, failure: &Failure) -> bool {
        let all = self.errors.iter().any(|name| name == names::ALL);
        matches(&self.errors, &failure.error) || (all && failure.is_large_result())
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RawRetrier {
    error_equals: Vec<String>,
    interval_seconds: Option<u32>,
    backoff_rate: Option<f64>,
    max_attempts: Option<u32>,
    max_delay_seconds: Option<u32>,
    jitter_strategy: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RawCatcher {
    error_equals: Vec<String>,
    next: String,
    #[serde(default)]
    result_path: ResultPath,
}

/// The largest `IntervalSeconds` and `MaxAttempts` (States Language specification).
const COUNT_MAX: u32 = 99_999_999;

/// `MaxDelaySeconds` must be less than this (Developer Guide). It also limits delays without `MaxDelaySeconds`.
const DELAY_SECONDS_MAX: u32 = 31_622_400;

impl TryFrom<RawRetrier> for Retrier {
    type Error = String;

    fn try_from(raw: RawRetrier) -> Result<Self, String> {
        let full_jitter = match raw.jitter_strategy.as_deref() {
            None => false,
            Some("FULL") => true,
            Some(other) => return Err(not_supported(&format!("the `JitterStrategy` `{other}`"), &["FULL"])),
        };
        let retrier = Self {
            errors: supported_errors(raw.error_equals)?,
            interval_seconds: raw.interval_seconds.unwrap_or(1),
            backoff_rate: raw.backoff_rate.unwrap_or(2.0),
            max_attempts: raw.max_attempts.unwrap_or(3),
            max_delay_seconds: raw.max_delay_seconds,
            full_jitter,
        };
        if !(1..=COUNT_MAX).contains(&retrier.interval_seconds) {
            return Err(format!("`IntervalSeconds` must be between 1 and {COUNT_MAX}"));
        }
        if retrier.max_attempts > COUNT_MAX {
            return Err(format!("`MaxAttempts` must be at most {COUNT_MAX}"));
        }
        if retrier.backoff_rate < 1.0 {
            return Err("`BackoffRate` must be at least 1.0".to_owned());
        }
        let shortest = retrier.interval_seconds;
        if retrier.max_delay_seconds.is_some_and(|seconds| seconds < shortest || seconds >= DELAY_SECONDS_MAX)
        {
            return Err(format!(
                "`MaxDelaySeconds` must be at least `IntervalSeconds` and less than {DELAY_SECONDS_MAX}"
            ));
        }
        Ok(retrier)
    }
}

impl TryFrom<RawCatcher> for Catcher {
    type Error = String;

    fn try_from(raw: RawCatcher) -> Result<Self, String> {
        Ok(Self { errors: supported_errors(raw.error_equals)?, next: raw.next, result_path: raw.result_path })
    }
}

/// The error names of Step Functions that a Retry or Catch can name.
const RESERVED: &[&str] = &[
    names::ALL,
    names::TASK_FAILED,
    names::TIMEOUT,
    names::DATA_LIMIT_EXCEEDED,
    names::RESULT_PATH_MATCH_FAILURE,
    "States.Permissions",
];

fn supported_errors(errors: Vec<String>) -> Result<Vec<String>, String> {
    if errors.is_empty() {
        return Err("`ErrorEquals` must not be empty".to_owned());
    }
    if errors.len() > 1 && errors.iter().any(|error| error == names::ALL) {
        return Err("`States.ALL` must be the only name in `ErrorEquals`".to_owned());
    }
    for error in &errors {
        if error == names::RUNTIME {
            return Err("`States.Runtime` cannot be retried or caught".to_owned());
        }
        if error.starts_with("States.") && !RESERVED.contains(&error.as_str()) {
            return Err(not_supported(&format!("the error name `{error}`"), RESERVED));
        }
    }
    Ok(errors)
}

/// Whether one of these names matches the error (Developer Guide, "Error names").
fn matches(names: &[String], error: &str) -> bool {
    let by_wildcard = |name: &str| match name {
        names::ALL => error != names::DATA_LIMIT_EXCEEDED,
        names::TASK_FAILED => error != names::DATA_LIMIT_EXCEEDED && error != names::TIMEOUT,
        _ => false,
    };
    error != names::RUNTIME && names.iter().any(|name| name == error || by_wildcard(name))
}

/// The retries of one visit to a state. Each retrier counts its own.
pub(crate) struct Retries<'m> {
    retriers: &'m [Retrier],
    used: Vec<u32>,
}

impl<'m> Retries<'m> {
    pub(crate) fn new(retriers: &'m [Retrier]) -> Self {
        Self { retriers, used: vec![0; retriers.len()] }
    }

    /// The delay before the next attempt; `None` if there is no further attempt. The first retrier that matches decides
    /// alone: once its attempts are used up, later retriers are not asked.
    pub(crate) fn next(&mut self, error: &str, jitter: &mut ChaCha8Rng) -> Option<Duration> {
        let (retrier, used) =
            self.retriers.iter().zip(&mut self.used).find(|(retrier, _)| matches(&retrier.errors, error))?;
        if *used == retrier.max_attempts {
            return None;
        }
        let seconds = retrier.delay_seconds(*used);
        *used += 1;
        let seconds = if retrier.full_jitter { jitter.random_range(0.0..=seconds) } else { seconds };
        Some(Duration::from_secs_f64(seconds))
    }
}

impl Retrier {
    /// The sum of all delays, without jitter.
    #[must_use]
    pub fn seconds_max(&self) -> f64 {
        (0..self.max_attempts).map(|retries| self.delay_seconds(retries)).sum()
    }

    /// The delay before the retry that follows `retries` others, without jitter.
    fn delay_seconds(&self, retries: u32) -> f64 {
        let grown = f64::from(self.interval_seconds) * self.backoff_rate.powf(f64::from(retries));
        grown.min(f64::from(self.max_delay_seconds.unwrap_or(DELAY_SECONDS_MAX)))
    }
}
