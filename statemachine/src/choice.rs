//! The conditions of Choice states.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::Value;

use crate::context::Scope;
use crate::failure::Failure;
use crate::path::Path;

/// One of `Choices`: the next state if the condition holds.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Rule {
    pub(crate) condition: Condition,
    pub(crate) next: String,
}

/// The condition of a rule, or a part of one.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Condition {
    And(Vec<Condition>),
    Or(Vec<Condition>),
    Not(Box<Condition>),
    Compare(Path, Comparison),
}

/// What a variable is compared with. A comparison with a value of another type is not an error: it does not hold.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Comparison {
    IsPresent(bool),
    IsNull(bool),
    StringEquals(String),
    StringEqualsPath(Path),
    StringMatches(Pattern),
    BooleanEquals(bool),
}

/// A pattern of `StringMatches`, in which `*` stands for any characters.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Pattern(String);

impl TryFrom<String> for Pattern {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text.contains('\\') {
            return Err(format!(
                "the pattern `{text}` is not supported by this interpreter: it has a backslash"
            ));
        }
        Ok(Self(text))
    }
}

impl Pattern {
    fn matches(&self, text: &str) -> bool {
        fn fits(pattern: &str, text: &str) -> bool {
            match pattern.split_once('*') {
                None => pattern == text,
                Some((start, rest)) => text.strip_prefix(start).is_some_and(|text| {
                    (0..=text.len()).any(|at| text.get(at..).is_some_and(|text| fits(rest, text)))
                }),
            }
        }
        fits(&self.0, text)
    }
}

impl Condition {
    /// Whether the condition holds. `And` and `Or` stop at the first condition that decides, so an `IsPresent` can
    /// guard the conditions after it. A missing variable is an error for every other comparison.
    pub(crate) fn holds(&self, scope: Scope<'_>) -> Result<bool, Failure> {
        match self {
            Self::And(conditions) => {
                for condition in conditions {
                    if !condition.holds(scope)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Self::Or(conditions) => {
                for condition in conditions {
                    if condition.holds(scope)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Self::Not(condition) => condition.holds(scope).map(|holds| !holds),
            Self::Compare(variable, comparison) => comparison.holds(variable, scope),
        }
    }
}

impl Comparison {
    fn holds(&self, variable: &Path, scope: Scope<'_>) -> Result<bool, Failure> {
        Ok(match self {
            Self::IsPresent(expected) => variable.select(scope).is_some() == *expected,
            Self::IsNull(expected) => required(variable, scope)?.is_null() == *expected,
            Self::StringEquals(text) => required(variable, scope)?.as_str() == Some(text),
            Self::StringEqualsPath(other) => {
                let (value, other) = (required(variable, scope)?, required(other, scope)?);
                value.is_string() && value == other
            }
            Self::StringMatches(pattern) => {
                required(variable, scope)?.as_str().is_some_and(|text| pattern.matches(text))
            }
            Self::BooleanEquals(expected) => required(variable, scope)?.as_bool() == Some(*expected),
        })
    }
}

/// The value of a variable. The message is AWS's.
fn required<'v>(path: &Path, scope: Scope<'v>) -> Result<Cow<'v, Value>, Failure> {
    path.select(scope).ok_or_else(|| {
        Failure::runtime(format!(
            "Invalid path '{}': The choice state's condition path references an invalid value.",
            path.text()
        ))
    })
}
