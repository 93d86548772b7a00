//! The ID of a plan: what an approval names.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How many digits an ID has: enough that nobody finds another plan with the same ID.
const DIGITS: usize = 12;

/// The ID of a plan: at least the first twelve hexadecimal digits of the plan's fingerprint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PlanId(String);

impl PlanId {
    /// The ID of the plan with this fingerprint.
    #[must_use]
    pub fn of(fingerprint: &str) -> Self {
        Self(fingerprint.chars().take(DIGITS).collect())
    }

    /// Whether this is an ID of the plan with this fingerprint.
    #[must_use]
    pub fn names(&self, fingerprint: &str) -> bool {
        fingerprint.starts_with(&self.0)
    }
}

impl fmt::Display for PlanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for PlanId {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let is_digit = |digit: char| digit.is_ascii_digit() || ('a'..='f').contains(&digit);
        if (DIGITS..=32).contains(&text.len()) && text.chars().all(is_digit) {
            Ok(Self(text))
        } else {
            Err(format!("the ID of a plan has at least {DIGITS} hexadecimal digits, such as 3f9a12b4c5d6"))
        }
    }
}

impl From<PlanId> for String {
    fn from(PlanId(text): PlanId) -> Self {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> Result<PlanId, String> {
        PlanId::try_from(text.to_owned())
    }

    #[test]
    fn an_id_names_the_plan_whose_fingerprint_starts_with_it() {
        let fingerprint = "3f9a12b4c5d60718293a4b5c6d7e8f90";
        assert_eq!(PlanId::of(fingerprint), id("3f9a12b4c5d6").unwrap());
        assert!(
            id("3f9a12b4c5d6").unwrap().names(fingerprint) && id(fingerprint).unwrap().names(fingerprint)
        );
        assert!(!id("3f9a12b4c5d7").unwrap().names(fingerprint));
    }

    #[test]
    fn shorter_texts_and_other_characters_are_no_ids() {
        for text in ["", "3f9a", "3f9a12b4c5d", "3F9A12B4C5D6", "3f9a12b4c5dg", &"a".repeat(33)] {
            assert!(id(text).unwrap_err().contains("12 hexadecimal digits"), "{text}");
        }
    }
}
