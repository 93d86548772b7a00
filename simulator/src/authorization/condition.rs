//! The conditions of a statement.

use serde_json::Value;

use super::pattern::{arn_like, like};
use super::policy::InvalidPolicy;
use super::request::Keys;
use super::variables::Text;

/// One operator on one key, such as `StringEquals` on `iam:PassedToService`.
#[derive(Debug, Clone)]
pub(super) struct Condition {
    compare: Compare,
    /// A `…Not…` operator.
    negated: bool,
    /// `…IfExists`.
    if_exists: bool,
    over: Over,
    key: String,
    values: Vec<Text>,
}

/// How a value of the request is compared with one of the policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Compare {
    Equals,
    EqualsIgnoringCase,
    Like,
    Arn,
    Bool,
    Null,
}

/// How many of the request's values must match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Over {
    /// The key has one value.
    One,
    ForAllValues,
    ForAnyValue,
}

impl Condition {
    /// Every condition of a `Condition` element.
    pub(super) fn read(element: &Value) -> Result<Vec<Self>, InvalidPolicy> {
        let operators = element.as_object().ok_or_else(|| InvalidPolicy::new("a Condition is no object"))?;
        let mut conditions = Vec::new();
        for (operator, keys) in operators {
            let keys = keys.as_object().ok_or_else(|| InvalidPolicy::new("an operator has no keys"))?;
            for (key, values) in keys {
                conditions.push(Self::one(operator, key, values)?);
            }
        }
        Ok(conditions)
    }

    fn one(operator: &str, key: &str, values: &Value) -> Result<Self, InvalidPolicy> {
        let (over, name) = match operator.split_once(':') {
            None => (Over::One, operator),
            Some(("ForAllValues", name)) => (Over::ForAllValues, name),
            Some(("ForAnyValue", name)) => (Over::ForAnyValue, name),
            Some(_) => return Err(InvalidPolicy::new(format!("{operator} is no set operator"))),
        };
        let (name, if_exists) = match name.strip_suffix("IfExists") {
            Some(name) => (name, true),
            None => (name, false),
        };
        let (compare, negated) = match name {
            "StringEquals" => (Compare::Equals, false),
            "StringNotEquals" => (Compare::Equals, true),
            "StringEqualsIgnoreCase" => (Compare::EqualsIgnoringCase, false),
            "StringNotEqualsIgnoreCase" => (Compare::EqualsIgnoringCase, true),
            "StringLike" => (Compare::Like, false),
            "StringNotLike" => (Compare::Like, true),
            // Both behave alike: "Amazon Resource Name (ARN) condition operators" in the IAM user guide.
            "ArnEquals" | "ArnLike" => (Compare::Arn, false),
            "ArnNotEquals" | "ArnNotLike" => (Compare::Arn, true),
            "Bool" => (Compare::Bool, false),
            "Null" => (Compare::Null, false),
            _ => {
                return Err(InvalidPolicy::new(format!(
                    "the condition operator {operator} is not supported"
                )));
            }
        };
        let values = values.as_array().map_or(std::slice::from_ref(values), Vec::as_slice);
        let values = values.iter().map(|value| Text::read(&text(value))).collect::<Result<Vec<_>, _>>()?;
        // "Variables and tags" in the IAM user guide: only in conditions on texts and ARNs.
        let takes_variables = !matches!(compare, Compare::Bool | Compare::Null);
        if let Some(value) = values.iter().find(|value| value.has_variables() && !takes_variables) {
            let value = value.as_written();
            return Err(InvalidPolicy::new(format!("{operator} does not take the variable in {value}")));
        }
        Ok(Self { compare, negated, if_exists, over, key: key.into(), values })
    }

    /// The key that the condition tests.
    pub(super) fn key(&self) -> &str {
        &self.key
    }

    /// Whether the condition compares the key as a key with one value.
    pub(super) fn is_plain(&self) -> bool {
        self.over == Over::One && self.compare != Compare::Null
    }

    /// The values that the policy names.
    pub(super) fn values(&self) -> &[Text] {
        &self.values
    }

    /// Whether the condition is met by the keys of a request.
    pub(super) fn holds(&self, keys: &Keys) -> bool {
        let found = keys.get(&self.key).filter(|values| !values.is_empty());
        if self.compare == Compare::Null {
            let absent = self.values.iter().any(|value| value.as_written() == "true");
            return found.is_none() == absent;
        }
        let Some(found) = found else {
            return match self.over {
                Over::ForAllValues => true,
                Over::ForAnyValue => self.if_exists,
                Over::One => self.negated || self.if_exists,
            };
        };
        let matches = |value: &String| self.matches(value, keys);
        match self.over {
            Over::ForAllValues => found.iter().all(matches),
            // For a key with several values and no set operator, one matching value is enough, as with `ForAnyValue`.
            Over::ForAnyValue | Over::One => found.iter().any(matches),
        }
    }

    /// Whether one value of the request matches: it equals one of the policy's values or, negated, none of them.
    fn matches(&self, value: &str, keys: &Keys) -> bool {
        let mut wanted = self.values.iter().filter_map(|wanted| wanted.value(keys));
        let hit = wanted.any(|wanted| match self.compare {
            Compare::Equals => wanted == value,
            Compare::EqualsIgnoringCase | Compare::Bool => wanted.eq_ignore_ascii_case(value),
            Compare::Like => like(&wanted, value),
            Compare::Arn => arn_like(&wanted, value),
            Compare::Null => false,
        });
        hit != self.negated
    }
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn holds(operator: &str, values: &Value, found: &[&str]) -> bool {
        let element = json!({ operator: { "aws:RequestTag/team": values } });
        let mut keys = Keys::default();
        if !found.is_empty() {
            keys.set_all("aws:RequestTag/team", found.iter().map(|value| (*value).to_owned()));
        }
        Condition::read(&element).unwrap()[0].holds(&keys)
    }

    #[test]
    fn a_key_that_is_absent_fails_a_condition_unless_the_operator_says_otherwise() {
        for (operator, expected) in [
            ("StringEquals", false),
            ("StringLike", false),
            ("ArnLike", false),
            ("Bool", false),
            ("StringNotEquals", true),
            ("StringNotLike", true),
            ("ArnNotEquals", true),
            ("StringEqualsIfExists", true),
            ("ForAllValues:StringEquals", true),
            ("ForAnyValue:StringEquals", false),
            ("ForAnyValue:StringNotEquals", false),
            ("Null", true),
        ] {
            assert_eq!(holds(operator, &json!("true"), &[]), expected, "{operator}");
        }
    }

    #[test]
    fn a_present_key_is_compared_by_the_operator() {
        for (operator, values, found, expected) in [
            ("StringEquals", json!(["a", "b"]), &["b"][..], true),
            ("StringEquals", json!("A"), &["a"], false),
            ("StringEqualsIgnoreCase", json!("A"), &["a"], true),
            ("StringNotEquals", json!(["a", "b"]), &["b"], false),
            ("StringLike", json!("?*"), &["shop"], true),
            ("StringLike", json!("?*"), &[""], false),
            ("ForAllValues:StringEquals", json!(["a", "b"]), &["a", "b"], true),
            ("ForAllValues:StringEquals", json!(["a"]), &["a", "b"], false),
            ("ForAnyValue:StringEquals", json!(["a"]), &["a", "b"], true),
            ("ArnEquals", json!("arn:aws:iam::aws:policy/A*"), &["arn:aws:iam::aws:policy/Amazon"], true),
            ("Null", json!("false"), &["a"], true),
            ("Null", json!("true"), &["a"], false),
        ] {
            assert_eq!(holds(operator, &values, found), expected, "{operator} {values} on {found:?}");
        }
    }
}
