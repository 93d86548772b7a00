//! Filters, pages and name checks for RDS's operations.

use serde_json::Value;

use super::{contradiction, invalid};
use crate::params::{Params, Refusal};

/// The filters of a Describe call. An item must match every filter that applies to it.
pub(super) struct Filters(Vec<(String, Vec<String>)>);

impl Filters {
    pub(super) fn read(params: &Params, known: &[&str]) -> Result<Self, Refusal> {
        let mut filters = Vec::new();
        for filter in params.structs("Filters") {
            let name = filter.required("Name")?;
            if !known.contains(&name.as_str()) {
                return Err(invalid(format!("Unrecognized filter name: {name}")));
            }
            let values = filter.list("Values");
            if values.is_empty() {
                return Err(contradiction(format!("Filter {name} must have at least one value")));
            }
            filters.push((name, values));
        }
        Ok(Self(filters))
    }

    /// Whether an item matches; `of` returns its values for a filter's name.
    pub(super) fn pass<'a>(&self, of: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.0.iter().all(|(name, values)| of(name).is_some_and(|value| values.iter().any(|v| v == value)))
    }
}

/// The requested page of a list.
pub(super) struct Page {
    size: usize,
    after: usize,
}

impl Page {
    /// Source: API reference, `MaxRecords`: "Minimum 20, maximum 100".
    pub(super) fn read(params: &Params) -> Result<Self, Refusal> {
        let size = params.int("MaxRecords")?.unwrap_or(100);
        if !(20..=100).contains(&size) {
            return Err(invalid(format!("Invalid value {size} for MaxRecords. Must be between 20 and 100")));
        }
        let after = match params.text("Marker").filter(|marker| !marker.is_empty()) {
            None => 0,
            Some(marker) => marker
                .strip_prefix("after-")
                .and_then(|number| number.parse().ok())
                .ok_or_else(|| invalid("The Marker parameter is not valid"))?,
        };
        Ok(Self { size: usize::try_from(size).unwrap_or(100), after })
    }

    /// The page, and the marker of the next one.
    pub(super) fn cut(&self, all: Vec<Value>) -> (Vec<Value>, Option<String>) {
        let end = self.after + self.size;
        let next = (all.len() > end).then(|| format!("after-{end}"));
        (all.into_iter().skip(self.after).take(self.size).collect(), next)
    }
}

/// Checks the name of an instance, a parameter group or a snapshot, and returns it in RDS's lower case.
pub(super) fn identifier(what: &str, name: &str, longest: usize) -> Result<String, Refusal> {
    let legal = name.len() <= longest
        && name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && !name.ends_with('-')
        && !name.contains("--");
    if legal {
        Ok(name.to_ascii_lowercase())
    } else {
        Err(invalid(format!(
            "The parameter {what} is not a valid identifier. Identifiers must begin with a letter; must contain only \
             ASCII letters, digits, and hyphens; and must not end with a hyphen or contain two consecutive hyphens."
        )))
    }
}
