//! Consent: what a person agreed to lose.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// The key of an object's metadata with the resources whose data may be deleted, separated by commas.
pub const DELETE_DATA: &str = "stackdrop-delete-data";
/// The key of an object's metadata with the database that is gone and may be replaced by an empty one.
pub const EMPTY_DATABASE: &str = "stackdrop-empty-database";

/// What a person agreed to lose, by the names of resources. It is valid for one uploaded version of a spec, or for one request.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Consent {
    /// The resources whose data may be deleted, such as `shop-database`.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub delete_data: BTreeSet<String>,
    /// The database that is gone and may be replaced by an empty one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub empty_database: Option<String>,
}

impl Consent {
    /// Whether nobody agreed to anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
