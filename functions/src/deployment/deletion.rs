//! What a component could delete, and what remains.

use serde::{Deserialize, Serialize};

use crate::deployment::failure::Failure;

/// What one run of `remove` found and could not finish.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Deletion {
    /// How many resources of the component this run found.
    pub found: usize,
    /// What is still there, and who holds it.
    pub remaining: Vec<Remaining>,
}

impl Deletion {
    /// Notes a resource that is still there.
    pub(crate) fn remains(
        &mut self,
        resource: impl Into<String>,
        id: impl Into<String>,
        why: impl Into<String>,
    ) {
        self.remaining.push(Remaining { resource: resource.into(), id: id.into(), why: why.into() });
    }

    /// Adds what another part of the same component reports.
    pub(crate) fn join(&mut self, other: Self) {
        self.found += other.found;
        self.remaining.extend(other.remaining);
    }
}

/// A resource that is still there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Remaining {
    /// Its logical ID.
    pub resource: String,
    /// AWS's id, ARN or name.
    pub id: String,
    /// What it waits for, or who holds it.
    pub why: String,
}

impl std::fmt::Display for Remaining {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} ({})", self.resource, self.id, self.why)
    }
}

/// How the wait for a component's deletion ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum DeletionEnd {
    /// The wait was given up.
    GivenUp {
        /// The last error, which names what remains.
        failure: Failure,
    },
    /// Nothing remains.
    Deleted(Deletion),
}
