//! Values that are fixed in the workflow or selected when it runs: how long a Wait waits, what a Fail says.

use std::time::Duration;

use serde_json::Value;

use crate::context::Scope;
use crate::failure::Failure;
use crate::path::Path;
use crate::template::Query;

/// The longest Wait and `TimeoutSeconds` (Developer Guide, "Wait workflow state").
pub(crate) const SECONDS_MAX: u32 = 99_999_999;

/// How long a Wait waits.
#[derive(Debug, Clone)]
pub(crate) enum Delay {
    Fixed(Duration),
    Selected(Path),
}

impl Delay {
    /// The messages are AWS's.
    pub(crate) fn evaluate(&self, scope: &Scope<'_>) -> Result<Duration, Failure> {
        let path = match self {
            Self::Fixed(duration) => return Ok(*duration),
            Self::Selected(path) => path,
        };
        let (text, selected) = (path.text(), path.select(scope));
        let problem = match selected.as_deref().map(|value| (value, value.as_i64())) {
            None => format!("The SecondsPath parameter does not reference an input value: {text}"),
            Some((_, Some(seconds))) if seconds < 0 => {
                format!("The SecondsPath parameter references a negative value: {text} == {seconds}")
            }
            Some((_, Some(seconds))) if seconds > i64::from(SECONDS_MAX) => {
                "Wait state delay is too long.".to_owned()
            }
            Some((_, Some(seconds))) => return Ok(Duration::from_secs(seconds.unsigned_abs())),
            Some((value, None)) => {
                format!("The SecondsPath parameter cannot be parsed as a long value: {text} == {value}")
            }
        };
        Err(Failure::runtime(problem))
    }
}

/// A text of a Fail state.
#[derive(Debug, Clone)]
pub(crate) enum Text {
    Fixed(String),
    /// With the field's name.
    Selected(&'static str, Query),
}

impl Text {
    pub(crate) fn evaluate(&self, scope: Scope<'_>) -> Result<String, Failure> {
        match self {
            Self::Fixed(text) => Ok(text.clone()),
            Self::Selected(field, query) => match query.evaluate(field, scope)? {
                Value::String(text) => Ok(text),
                other => Err(Failure::runtime(format!("The {field} field is a string, not '{other}'."))),
            },
        }
    }

    pub(crate) fn paths(&self) -> Vec<&Path> {
        match self {
            Self::Fixed(_) => Vec::new(),
            Self::Selected(_, query) => query.paths(),
        }
    }
}
