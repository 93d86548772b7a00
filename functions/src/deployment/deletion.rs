//! What a component could delete, and what remains.

use serde::{Deserialize, Serialize};

/// What one run of `remove` found and could not finish.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Removal {
    /// How many resources of the component this run found.
    pub found: usize,
    /// What is still there, and who holds it.
    pub left: Vec<Leftover>,
}

impl Removal {
    /// Notes a resource that is still there.
    pub(crate) fn leave(
        &mut self,
        resource: impl Into<String>,
        id: impl Into<String>,
        why: impl Into<String>,
    ) {
        self.left.push(Leftover { resource: resource.into(), id: id.into(), why: why.into() });
    }

    /// Adds what another part of the same component reports.
    pub(crate) fn join(&mut self, other: Self) {
        self.found += other.found;
        self.left.extend(other.left);
    }
}

/// A resource that is still there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Leftover {
    /// Its role in the stack.
    pub resource: String,
    /// AWS's id, ARN or name.
    pub id: String,
    /// What it waits for, or who holds it.
    pub why: String,
}

impl std::fmt::Display for Leftover {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} ({})", self.resource, self.id, self.why)
    }
}
