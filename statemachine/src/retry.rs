//! `Retry` and `Catch`: which errors they match, and when to try again.

use std::time::Duration;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde::Deserialize;

use crate::failure::names;
use crate::path::ResultPath;

/// One of a state's `Retry`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(try_from = "RawRetrier")]
pub struct Retrier {
    /// `ErrorEquals`.
    pub errors: Vec<String>,
    /// Before the first retry.
    pub interval_seconds: u32,
    /// What each delay is multiplied by for the next.
    pub backoff_rate: f64,
    /// How many retries; 0 means none.
    pub max_attempts: u32,
    /// What no delay exceeds.
    pub max_delay_seconds: Option<u32>,
    /// Whether a delay is drawn between 0 and the computed one (`JitterStrategy: FULL`).
    pub full_jitter: bool,
}

/// One of a state's `Catch`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(try_from = "RawCatcher")]
pub struct Catcher {
    /// `ErrorEquals`.
    pub errors: Vec<String>,
    /// The state that goes on.
    pub next: String,
    pub(crate) result_path: ResultPath,
}

impl Catcher {
    /// Where the error output goes in the state's input: `$` replaces it all, `None` (`null`) drops the error.
    #[must_use]
    pub fn result_path(&self) -> Option<String> {
        self.result_path.text()
    }

    pub(crate) fn catches(&self, error: &str) -> bool {
        matches(&self.errors, error)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct RawRetrier {
    #[serde(rename = "Comment")]
    _comment: Option<String>,
    error_equals: Vec<String>,
    interval_seconds: Option<u32>,
    backoff_rate: Option<f64>,
    max_attempts: Option<u32>,
    max_delay_seconds: Option<u32>,
    jitter_strategy: Option<Jitter>,
}

#[derive(Deserialize, PartialEq)]
#[serde(rename_all = "UPPERCASE")]
enum Jitter {
    Full,
    None,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct RawCatcher {
    #[serde(rename = "Comment")]
    _comment: Option<String>,
    error_equals: Vec<String>,
    next: String,
    #[serde(default)]
    result_path: ResultPath,
}

/// The largest `IntervalSeconds` and `MaxAttempts` (States Language specification).
const COUNT_MAX: u32 = 99_999_999;

/// `MaxDelaySeconds` is less than this (Developer Guide); no delay without one exceeds it here.
const DELAY_SECONDS_MAX: u32 = 31_622_400;

impl TryFrom<RawRetrier> for Retrier {
    type Error = String;

    fn try_from(raw: RawRetrier) -> Result<Self, String> {
        let retrier = Self {
            errors: known_errors(raw.error_equals)?,
            interval_seconds: raw.interval_seconds.unwrap_or(1),
            backoff_rate: raw.backoff_rate.unwrap_or(2.0),
            max_attempts: raw.max_attempts.unwrap_or(3),
            max_delay_seconds: raw.max_delay_seconds,
            full_jitter: raw.jitter_strategy == Some(Jitter::Full),
        };
        if !(1..=COUNT_MAX).contains(&retrier.interval_seconds) {
            return Err(format!("`IntervalSeconds` is between 1 and {COUNT_MAX}"));
        }
        if retrier.max_attempts > COUNT_MAX {
            return Err(format!("`MaxAttempts` is at most {COUNT_MAX}"));
        }
        if retrier.backoff_rate < 1.0 {
            return Err("`BackoffRate` is at least 1.0".to_owned());
        }
        let shortest = retrier.interval_seconds;
        if retrier.max_delay_seconds.is_some_and(|seconds| seconds < shortest || seconds >= DELAY_SECONDS_MAX)
        {
            return Err(format!(
                "`MaxDelaySeconds` is at least `IntervalSeconds` and less than {DELAY_SECONDS_MAX}"
            ));
        }
        Ok(retrier)
    }
}

impl TryFrom<RawCatcher> for Catcher {
    type Error = String;

    fn try_from(raw: RawCatcher) -> Result<Self, String> {
        Ok(Self { errors: known_errors(raw.error_equals)?, next: raw.next, result_path: raw.result_path })
    }
}

/// The reserved names that a Retry or Catch may wait for.
const RESERVED: &[&str] = &[
    names::ALL,
    names::TASK_FAILED,
    names::TIMEOUT,
    names::DATA_LIMIT_EXCEEDED,
    names::RESULT_PATH_MATCH_FAILURE,
    names::INTRINSIC_FAILURE,
    "States.ParameterPathFailure",
    "States.Permissions",
];

fn known_errors(errors: Vec<String>) -> Result<Vec<String>, String> {
    if errors.is_empty() {
        return Err("`ErrorEquals` names no error".to_owned());
    }
    if errors.len() > 1 && errors.iter().any(|error| error == names::ALL) {
        return Err("`States.ALL` stands alone in `ErrorEquals`".to_owned());
    }
    for error in &errors {
        if error == names::RUNTIME {
            return Err("`States.Runtime` is never retried or caught".to_owned());
        }
        if error.starts_with("States.") && !RESERVED.contains(&error.as_str()) {
            return Err(format!("`{error}` is not an error that is known here"));
        }
    }
    Ok(errors)
}

/// Whether one of these names matches the error. (Developer Guide, "Error names".)
fn matches(names: &[String], error: &str) -> bool {
    let by_wildcard = |name: &str| match name {
        names::ALL => error != names::DATA_LIMIT_EXCEEDED,
        names::TASK_FAILED => error != names::DATA_LIMIT_EXCEEDED && error != names::TIMEOUT,
        _ => false,
    };
    error != names::RUNTIME && names.iter().any(|name| name == error || by_wildcard(name))
}

/// The retries of one visit to a state: each retrier counts its own.
pub(crate) struct Retries<'m> {
    retriers: &'m [Retrier],
    used: Vec<u32>,
}

impl<'m> Retries<'m> {
    pub(crate) fn new(retriers: &'m [Retrier]) -> Self {
        Self { retriers, used: vec![0; retriers.len()] }
    }

    /// How many there were so far.
    pub(crate) fn count(&self) -> u32 {
        self.used.iter().sum()
    }

    /// How long to wait before the next attempt; `None` when there is none. The first retrier that matches
    /// decides alone: when it is used up, no later one takes its place.
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
    /// Before the retry that follows `retries` others, without jitter.
    fn delay_seconds(&self, retries: u32) -> f64 {
        let grown = f64::from(self.interval_seconds) * self.backoff_rate.powf(f64::from(retries));
        grown.min(f64::from(self.max_delay_seconds.unwrap_or(DELAY_SECONDS_MAX)))
    }
}
