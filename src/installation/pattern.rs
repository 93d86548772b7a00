//! Event patterns: which events a rule matches.
//!
//! Source: "Amazon EventBridge event patterns" and "Comparison operators" in the EventBridge user guide. Only the
//! operators that the template uses are supported; any other is an error.

use serde::Deserialize;
use serde_json::Value;

/// An event pattern.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(try_from = "Value")]
pub struct Pattern(Vec<(String, Field)>);

#[derive(Debug, Clone, PartialEq)]
enum Field {
    /// An object with fields of its own.
    Object(Pattern),
    /// A field that must have one of these values.
    OneOf(Vec<Operator>),
}

#[derive(Debug, Clone, PartialEq)]
enum Operator {
    Equals(Value),
    /// `*` stands for any characters.
    Wildcard(String),
}

impl TryFrom<Value> for Pattern {
    type Error = String;

    fn try_from(pattern: Value) -> Result<Self, String> {
        let fields = pattern.as_object().filter(|fields| !fields.is_empty());
        let fields = fields.ok_or_else(|| format!("{pattern} is not an event pattern"))?;
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
            _ if name.starts_with('$') => Err(format!("{name} is not supported in event patterns")),
            Value::Object(_) => Ok(Self::Object(Pattern::try_from(field.clone())?)),
            Value::Array(operators) if !operators.is_empty() => {
                Ok(Self::OneOf(operators.iter().map(Operator::read).collect::<Result<_, _>>()?))
            }
            _ => Err(format!("{name}: {field} is not a list of values")),
        }
    }

    fn matches(&self, value: Option<&Value>) -> bool {
        match (self, value) {
            (_, None) => false,
            (Self::Object(pattern), Some(value)) => pattern.matches(value),
            // A list matches if one of its values matches.
            (Self::OneOf(operators), Some(Value::Array(values))) => {
                values.iter().any(|value| operators.iter().any(|operator| operator.matches(value)))
            }
            (Self::OneOf(operators), Some(value)) => operators.iter().any(|operator| operator.matches(value)),
        }
    }
}

impl Operator {
    fn read(operator: &Value) -> Result<Self, String> {
        let Value::Object(entries) = operator else { return Ok(Self::Equals(operator.clone())) };
        match entries.iter().next().map(|(name, text)| (name.as_str(), text)) {
            Some(("wildcard", Value::String(text))) if entries.len() == 1 => {
                // EventBridge rejects `**`, and a backslash escapes a star.
                if text.contains("**") || text.contains('\\') {
                    return Err(format!("the wildcard {text} is not supported"));
                }
                Ok(Self::Wildcard(text.clone()))
            }
            _ => Err(format!("{operator} is not supported in event patterns")),
        }
    }

    fn matches(&self, value: &Value) -> bool {
        match self {
            Self::Equals(expected) => expected == value,
            Self::Wildcard(pattern) => value.as_str().is_some_and(|text| wildcard(pattern, text)),
        }
    }
}

impl Pattern {
    /// Whether an event matches: it has every field of the pattern, with one of its values.
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
#[allow(clippy::unwrap_used, reason = "a failed setup fails the test")]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_event_matches_if_it_has_every_field_with_one_of_the_values() {
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
    fn an_unsupported_pattern_is_an_error() {
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
    fn a_star_matches_any_characters() {
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
