//! The ID of a plan: what an approval names.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How many digits an ID has. Who writes specs can make two plans and look for two with the same ID: with so many digits, that
/// takes about 2^64 attempts.
const DIGITS: usize = 32;
/// How many digits a person must give at least: that person has been shown the plan.
pub const DIGITS_MIN: usize = 12;

/// The ID of a plan, its fingerprint: 32 hexadecimal digits, or the first of them, at least twelve.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PlanId(String);

impl PlanId {
    /// The ID of the plan with this fingerprint.
    #[must_use]
    pub fn of(fingerprint: &str) -> Self {
        Self(fingerprint.to_owned())
    }

    /// Whether it has all digits.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.0.len() == DIGITS
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
        if (DIGITS_MIN..=DIGITS).contains(&text.len()) && text.chars().all(is_digit) {
            Ok(Self(text))
        } else {
            Err(format!(
                "the ID of a plan has {DIGITS} hexadecimal digits, of which at least {DIGITS_MIN} must be given"
            ))
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
        assert!(PlanId::of(fingerprint).is_whole() && !id("3f9a12b4c5d6").unwrap().is_whole());
        assert!(
            id("3f9a12b4c5d6").unwrap().names(fingerprint) && id(fingerprint).unwrap().names(fingerprint)
        );
        assert!(!id("3f9a12b4c5d7").unwrap().names(fingerprint));
    }

    #[test]
    fn shorter_texts_and_other_characters_are_no_ids() {
        for text in ["", "3f9a", "3f9a12b4c5d", "3F9A12B4C5D6", "3f9a12b4c5dg", &"a".repeat(33)] {
            assert!(id(text).unwrap_err().contains("at least 12 must be given"), "{text}");
        }
    }
}
