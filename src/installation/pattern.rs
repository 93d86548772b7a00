//! Event patterns: which events a rule is for.
//!
//! Source: "Amazon EventBridge event patterns" and "Comparison operators" in its user guide. Of the operators, those
//! that the template uses are known here; any other is an error.

use serde::Deserialize;
use serde_json::Value;

/// An event pattern.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(try_from = "Value")]
pub struct Pattern(Vec<(String, Field)>);

#[derive(Debug, Clone, PartialEq)]
enum Field {
    /// A part of the event with fields of its own.
    Part(Pattern),
    /// A field that must have one of these values.
    OneOf(Vec<Operator>),
}

#[derive(Debug, Clone, PartialEq)]
enum Operator {
    Exactly(Value),
    /// `*` stands for any characters.
    Wildcard(String),
}

impl TryFrom<Value> for Pattern {
    type Error = String;

    fn try_from(pattern: Value) -> Result<Self, String> {
        let fields = pattern.as_object().filter(|fields| !fields.is_empty());
        let fields = fields.ok_or_else(|| format!("{pattern} is no event pattern"))?;
        fields
            .iter()
            .map(|(name, field)| Ok((name.clone(), Field::read(name, field)?)))
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

impl Field {
    fn read(name: &str, field: &Value) -> Result<Self, String> {
        match field {
            _ if name.starts_with('$') => Err(format!("{name} is not known here in event patterns")),
            Value::Object(_) => Ok(Self::Part(Pattern::try_from(field.clone())?)),
            Value::Array(operators) if !operators.is_empty() => {
                Ok(Self::OneOf(operators.iter().map(Operator::read).collect::<Result<_, _>>()?))
            }
            _ => Err(format!("{name}: {field} is no list of values")),
        }
    }

    fn matches(&self, value: Option<&Value>) -> bool {
        match (self, value) {
            (_, None) => false,
            (Self::Part(pattern), Some(value)) => pattern.matches(value),
            // Of a list, one that matches is enough.
            (Self::OneOf(operators), Some(Value::Array(values))) => {
                values.iter().any(|value| operators.iter().any(|operator| operator.matches(value)))
            }
            (Self::OneOf(operators), Some(value)) => operators.iter().any(|operator| operator.matches(value)),
        }
    }
}

impl Operator {
    fn read(operator: &Value) -> Result<Self, String> {
        let Value::Object(entries) = operator else { return Ok(Self::Exactly(operator.clone())) };
        match entries.iter().next().map(|(name, text)| (name.as_str(), text)) {
            Some(("wildcard", Value::String(text))) if entries.len() == 1 => {
                // EventBridge refuses two in a row, and reads a backslash before one as a star itself.
                if text.contains("**") || text.contains('\\') {
                    return Err(format!("the wildcard {text} is not known here"));
                }
                Ok(Self::Wildcard(text.clone()))
            }
            _ => Err(format!("{operator} is not known here in event patterns")),
        }
    }

    fn matches(&self, value: &Value) -> bool {
        match self {
            Self::Exactly(wanted) => wanted == value,
            Self::Wildcard(pattern) => value.as_str().is_some_and(|text| wildcard(pattern, text)),
        }
    }
}

impl Pattern {
    /// Whether an event matches: it has every field of the pattern, with one of the values that are listed there.
    #[must_use]
    pub fn matches(&self, event: &Value) -> bool {
        self.0.iter().all(|(name, field)| field.matches(event.get(name)))
    }
}

fn wildcard(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((start, rest)) => text.strip_prefix(start).is_some_and(|text| {
            let ends = text.char_indices().map(|(place, _)| place).chain([text.len()]);
            ends.into_iter().any(|place| wildcard(rest, &text[place..]))
        }),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on shall end")]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_event_must_have_every_field_with_one_of_the_values() {
        let pattern =
            json!({ "source": ["aws.s3"], "detail": { "key": ["a", { "wildcard": "specs/*.yaml" }] } });
        let pattern = Pattern::try_from(pattern).unwrap();
        for (event, expected) in [
            (json!({ "source": "aws.s3", "detail": { "key": "a" } }), true),
            (json!({ "source": "aws.s3", "detail": { "key": "specs/shop.yaml" } }), true),
            (json!({ "source": "aws.s3", "detail": { "key": "specs/a/b.yaml" } }), true),
            (json!({ "source": "aws.s3", "detail": { "key": ["b", "a"] } }), true),
            (json!({ "source": "aws.s3", "detail": { "key": "specs/shop.yml" } }), false),
            (json!({ "source": "aws.s3", "detail": { "key": "my/specs/shop.yaml" } }), false),
            (json!({ "source": "aws.s3", "detail": {} }), false),
            (json!({ "source": "aws.states", "detail": { "key": "a" } }), false),
        ] {
            assert_eq!(pattern.matches(&event), expected, "{event}");
        }
    }

    #[test]
    fn what_is_not_known_here_is_an_error() {
        for pattern in [
            json!({}),
            json!({ "source": "aws.s3" }),
            json!({ "source": [] }),
            json!({ "source": [{ "prefix": "aws." }] }),
            json!({ "$or": [{ "source": ["aws.s3"] }] }),
            json!({ "key": [{ "wildcard": "a**" }] }),
        ] {
            assert!(Pattern::try_from(pattern.clone()).is_err(), "{pattern}");
        }
    }

    #[test]
    fn a_star_stands_for_any_characters() {
        for (pattern, text, expected) in [
            ("a*c", "abbc", true),
            ("a*c", "ac", true),
            ("*", "", true),
            ("a*b*", "acb", true),
            ("a*", "ba", false),
        ] {
            assert_eq!(wildcard(pattern, text), expected, "{pattern} on {text}");
        }
    }
}
