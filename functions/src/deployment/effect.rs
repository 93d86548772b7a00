//! Effects: what people must know of a plan before they agree to it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Something that a plan does and that people must know before they agree to it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Effect {
    /// Its kind.
    pub kind: EffectKind,
    /// The resource's logical ID.
    pub resource: String,
    /// What happens, for people: "deletes the database without a final snapshot".
    pub what: String,
    /// The name by which a person consents, where consent is needed: `shop-database`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub word: Option<String>,
}

/// The kinds of effects, in the order in which plans list them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EffectKind {
    /// Data is lost.
    DeletesData,
    /// The change is irreversible.
    CannotBeUndone,
    /// The service is interrupted.
    Interrupts,
    /// Something can be reached from the internet that could not before.
    OpensToInternet,
}

impl fmt::Display for EffectKind {
    /// The kind as lists show it, with a mark that people see at once.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::DeletesData => "!! deletes data",
            Self::CannotBeUndone => " ! irreversible",
            Self::Interrupts => " ! interrupts",
            Self::OpensToInternet => " ! opens to the internet",
        })
    }
}
