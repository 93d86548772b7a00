//! The stack's name, which every AWS name is derived from.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::forms;

/// A stack's name: a DNS label (lowercase letters, digits, single hyphens inside) of at most 20 characters.
///
/// It is checked only here, so that every name derived from it is valid in AWS.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(inline, extend("format" = "stack-name", "pattern" = forms::STACK, "maxLength" = StackName::LONGEST), example = &"shop")]
pub struct StackName(String);

impl StackName {
    /// The longest name, in characters: an ALB's name has 32, and the longest suffix needs the rest.
    pub const LONGEST: usize = 20;
    /// The rules for names, in words.
    pub(crate) const EXPECTED: &str = "at most 20 lowercase letters, digits and single hyphens, starting with a letter, but not with `internal-` or `sg-`";

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for StackName {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        let label = name.len() <= Self::LONGEST
            && name.starts_with(|c: char| c.is_ascii_lowercase())
            && !name.ends_with('-')
            && !name.contains("--")
            && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
        // AWS reserves the prefixes `internal-` of ALB names and `sg-` of security group names.
        let reserved = ["internal", "sg"].iter().any(|prefix| name.split('-').next() == Some(prefix));
        if label && !reserved {
            Ok(Self(name))
        } else {
            Err(format!("invalid stack name `{}`", crate::problem::shortened(&name)))
        }
    }
}

impl From<StackName> for String {
    fn from(name: StackName) -> Self {
        name.0
    }
}

impl fmt::Display for StackName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
