//! The conditions of Choice states.

use std::borrow::Cow;
use std::cmp::Ordering;

use serde::Deserialize;
use serde_json::Value;

use crate::context::Scope;
use crate::failure::Failure;
use crate::path::Path;

/// One of `Choices`: where to go if the test holds.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(try_from = "Raw")]
pub(crate) struct Rule {
    pub(crate) test: Test,
    pub(crate) next: String,
}

/// A condition.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(try_from = "Raw")]
pub(crate) enum Test {
    And(Vec<Test>),
    Or(Vec<Test>),
    Not(Box<Test>),
    Compare(Path, Comparison),
}

/// What a variable is held against. A variable of another type is not an error: the test does not hold.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Comparison {
    IsPresent(bool),
    IsNull(bool),
    StringEquals(String),
    /// The same text stands at both places.
    StringEqualsPath(Path),
    BooleanEquals(bool),
    /// The orders in which the test holds, and the number.
    Numeric(&'static [Ordering], f64),
}

/// A rule or test as it is written: exactly one operator, and `Next` at the top only.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Raw {
    #[serde(rename = "Comment")]
    _comment: Option<String>,
    next: Option<String>,
    variable: Option<Path>,
    and: Option<Vec<Test>>,
    or: Option<Vec<Test>>,
    not: Option<Box<Test>>,
    is_present: Option<bool>,
    is_null: Option<bool>,
    string_equals: Option<String>,
    string_equals_path: Option<Path>,
    boolean_equals: Option<bool>,
    numeric_equals: Option<f64>,
    numeric_less_than: Option<f64>,
    numeric_less_than_equals: Option<f64>,
    numeric_greater_than: Option<f64>,
    numeric_greater_than_equals: Option<f64>,
}

impl TryFrom<Raw> for Rule {
    type Error = String;

    fn try_from(mut raw: Raw) -> Result<Self, String> {
        let next = raw.next.take().ok_or("a rule of a Choice needs `Next`")?;
        Ok(Self { test: Test::try_from(raw)?, next })
    }
}

impl TryFrom<Raw> for Test {
    type Error = String;

    fn try_from(raw: Raw) -> Result<Self, String> {
        if raw.next.is_some() {
            return Err("`Next` belongs to the outermost condition only".to_owned());
        }
        let numeric = |number: Option<f64>, orders| number.map(|number| Comparison::Numeric(orders, number));
        let comparisons = [
            raw.is_present.map(Comparison::IsPresent),
            raw.is_null.map(Comparison::IsNull),
            raw.string_equals.map(Comparison::StringEquals),
            raw.string_equals_path.map(Comparison::StringEqualsPath),
            raw.boolean_equals.map(Comparison::BooleanEquals),
            numeric(raw.numeric_equals, &[Ordering::Equal]),
            numeric(raw.numeric_less_than, &[Ordering::Less]),
            numeric(raw.numeric_less_than_equals, &[Ordering::Less, Ordering::Equal]),
            numeric(raw.numeric_greater_than, &[Ordering::Greater]),
            numeric(raw.numeric_greater_than_equals, &[Ordering::Greater, Ordering::Equal]),
        ];
        let mut tests: Vec<Self> = [raw.and.map(Self::And), raw.or.map(Self::Or), raw.not.map(Self::Not)]
            .into_iter()
            .flatten()
            .collect();
        let comparisons: Vec<Comparison> = comparisons.into_iter().flatten().collect();
        match (raw.variable, comparisons.is_empty()) {
            (Some(variable), _) => {
                tests.extend(comparisons.into_iter().map(|how| Self::Compare(variable.clone(), how)));
            }
            (None, false) => return Err("a comparison needs `Variable`".to_owned()),
            (None, true) => {}
        }
        match tests.pop() {
            Some(test) if tests.is_empty() => test.not_empty(),
            _ => Err("a condition has exactly one operator".to_owned()),
        }
    }
}

impl Test {
    fn not_empty(self) -> Result<Self, String> {
        match &self {
            Self::And(tests) | Self::Or(tests) if tests.is_empty() => {
                Err("`And` and `Or` need conditions".to_owned())
            }
            _ => Ok(self),
        }
    }

    /// Whether it holds. `And` and `Or` stop at the first test that decides, so an `IsPresent` can guard what
    /// comes after it. A variable that is not there is an error to every other comparison.
    pub(crate) fn holds(&self, scope: Scope<'_>) -> Result<bool, Failure> {
        match self {
            Self::And(tests) => {
                for test in tests {
                    if !test.holds(scope)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Self::Or(tests) => {
                for test in tests {
                    if test.holds(scope)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Self::Not(test) => test.holds(scope).map(|holds| !holds),
            Self::Compare(path, Comparison::IsPresent(wanted)) => {
                Ok(path.select(&scope).is_some() == *wanted)
            }
            Self::Compare(path, Comparison::StringEqualsPath(other)) => {
                let (value, other) = (required(path, scope)?, required(other, scope)?);
                Ok(value.is_string() && value == other)
            }
            Self::Compare(path, how) => required(path, scope).map(|value| how.holds(&value)),
        }
    }

    /// Every path in it.
    pub(crate) fn paths(&self) -> Vec<&Path> {
        match self {
            Self::And(tests) | Self::Or(tests) => tests.iter().flat_map(Self::paths).collect(),
            Self::Not(test) => test.paths(),
            Self::Compare(path, Comparison::StringEqualsPath(other)) => vec![path, other],
            Self::Compare(path, _) => vec![path],
        }
    }
}

fn required<'v>(path: &Path, scope: Scope<'v>) -> Result<Cow<'v, Value>, Failure> {
    path.select(&scope).ok_or_else(|| {
        Failure::runtime(format!(
            "Invalid path '{}': The choice state's condition path references an invalid value.",
            path.text()
        ))
    })
}

impl Comparison {
    fn holds(&self, value: &Value) -> bool {
        match self {
            Self::IsPresent(wanted) => *wanted,
            Self::IsNull(wanted) => value.is_null() == *wanted,
            Self::StringEquals(text) => value.as_str() == Some(text),
            // Compared with what stands elsewhere, which `Test::holds` knows.
            Self::StringEqualsPath(_) => false,
            Self::BooleanEquals(wanted) => value.as_bool() == Some(*wanted),
            Self::Numeric(orders, number) => {
                let order = value.as_f64().and_then(|value| value.partial_cmp(number));
                order.is_some_and(|order| orders.contains(&order))
            }
        }
    }
}
