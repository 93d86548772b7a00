//! The conditions of rules: path and host.

use serde_json::{Value, json};

use super::invalid;
use crate::params::{Params, Refusal};

/// The most values and wildcards in the conditions of one rule (AWS's default quotas).
const VALUES: usize = 5;
const WILDCARDS: usize = 5;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Condition {
    field: Field,
    values: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    PathPattern,
    HostHeader,
}

impl Field {
    fn name(self) -> &'static str {
        match self {
            Self::PathPattern => "path-pattern",
            Self::HostHeader => "host-header",
        }
    }

    /// The name of the structure that lists its values.
    fn config(self) -> &'static str {
        match self {
            Self::PathPattern => "PathPatternConfig",
            Self::HostHeader => "HostHeaderConfig",
        }
    }

    /// Source of the characters: the SDK's documentation of `RuleCondition`.
    fn allows(self, value: &str) -> bool {
        let special = match self {
            Self::PathPattern => "_-.$/~\"'@:+&*?",
            Self::HostHeader => "-.*?",
        };
        (1..=128).contains(&value.chars().count())
            && value.chars().all(|each| each.is_ascii_alphanumeric() || special.contains(each))
            && match self {
                Self::PathPattern => value.starts_with(['/', '*']),
                // "You must include at least one '.' character. You can include only alphabetical characters after
                // the final '.' character" (user guide, host conditions).
                Self::HostHeader => value.rsplit_once('.').is_some_and(|(_, last)| {
                    !last.is_empty() && last.chars().all(|each| each.is_ascii_alphabetic())
                }),
            }
    }
}

/// A condition in AWS's form, with the values in both places.
pub(super) fn document(conditions: &[Condition]) -> Value {
    conditions
        .iter()
        .map(|Condition { field, values }| {
            json!({ "Field": field.name(), "Values": values, field.config(): { "Values": values } })
        })
        .collect()
}

/// Reads the list `Conditions` of a request, if it was sent.
pub(super) fn read(params: &Params) -> Result<Option<Vec<Condition>>, Refusal> {
    let sent = params.structs("Conditions");
    if sent.is_empty() {
        return Ok(None);
    }
    let mut conditions: Vec<Condition> = Vec::new();
    for condition in sent {
        let condition = read_one(&condition)?;
        if conditions.iter().any(|other| other.field == condition.field) {
            return Err(invalid(format!("A rule can only have one '{}' condition", condition.field.name())));
        }
        conditions.push(condition);
    }
    let values = || conditions.iter().flat_map(|condition| &condition.values);
    if values().count() > VALUES {
        return Err(invalid(format!("A rule can only have '{VALUES}' condition values")));
    }
    if values().map(|value| value.matches(['*', '?']).count()).sum::<usize>() > WILDCARDS {
        return Err(invalid(format!("A rule can only have '{WILDCARDS}' wildcards in its condition values")));
    }
    Ok(Some(conditions))
}

fn read_one(sent: &Params) -> Result<Condition, Refusal> {
    let field = match sent.required("Field")?.as_str() {
        "path-pattern" => Field::PathPattern,
        "host-header" => Field::HostHeader,
        other => {
            return Err(invalid(format!(
                "Condition field '{other}' must be one of '[path-pattern, host-header]'"
            )));
        }
    };
    let plain = sent.list("Values");
    let listed = sent.section(field.config()).map(|config| config.list("Values")).unwrap_or_default();
    let values = match (plain.as_slice(), listed.as_slice()) {
        ([], []) => return Err(invalid("A condition value must be specified")),
        ([_], []) => plain,
        ([], _) => listed,
        // "You can specify a single host name" here (SDK text); several go into the structure.
        ([..], []) => {
            return Err(invalid(format!("Condition field '{}' can have only one value", field.name())));
        }
        _ => {
            return Err(invalid(format!(
                "Condition values and '{}' cannot be specified at the same time",
                field.config()
            )));
        }
    };
    if let Some(wrong) = values.iter().find(|value| !field.allows(value)) {
        return Err(invalid(format!("Condition value '{wrong}' is not valid for '{}'", field.name())));
    }
    Ok(Condition { field, values })
}
