//! The stack's name, from which every AWS name is derived.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::forms;

/// A stack's name: a DNS label (lower-case letters, digits, single hyphens inside) of at most 20 characters.
///
/// Checked once, here, so that every name derived from it is legal in AWS.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(inline, extend("format" = "stack-name", "pattern" = forms::STACK, "maxLength" = StackName::LONGEST), example = &"shop")]
pub struct StackName(String);

impl StackName {
    /// The longest name, in characters: what is left of an ALB's 32 for the longest suffix.
    pub const LONGEST: usize = 20;
    /// What a name looks like, in words.
    pub(crate) const RIGHT: &str = "at most 20 lower-case letters, digits and single hyphens, starting with a letter, not with `internal-` or `sg-`";

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
        // AWS keeps ALB names with `internal-` and security group names with `sg-` in front for itself.
        let kept = ["internal", "sg"].iter().any(|kept| name.split('-').next() == Some(kept));
        if label && !kept {
            Ok(Self(name))
        } else {
            Err(format!("`{}` is no stack name", crate::problem::shortened(&name)))
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
