//! The result of a component's deletion.

use serde::{Deserialize, Serialize};

use crate::deployment::failure::Failure;

/// What one run of `delete` or `prune` found, and what remains.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Deletion {
    /// How many of the component's resources this run found.
    pub found: usize,
    /// The remaining resources.
    pub remaining: Vec<Remaining>,
}

impl Deletion {
    /// Adds a remaining resource that AWS is deleting, or that can be deleted once AWS has deleted another one.
    pub(crate) fn leaving(
        &mut self,
        resource: impl Into<String>,
        id: impl Into<String>,
        why: impl Into<String>,
    ) {
        self.add(resource.into(), id.into(), why.into(), true);
    }

    /// Adds a remaining resource that AWS does not delete, although nothing is in progress: something uses or protects it.
    pub(crate) fn held(
        &mut self,
        resource: impl Into<String>,
        id: impl Into<String>,
        why: impl Into<String>,
    ) {
        self.add(resource.into(), id.into(), why.into(), false);
    }

    fn add(&mut self, resource: String, id: String, why: String, in_progress: bool) {
        self.remaining.push(Remaining { resource, id, why, in_progress });
    }

    /// Adds a remaining resource that can be deleted once the ones that were added before it are deleted.
    pub(crate) fn waits(
        &mut self,
        resource: impl Into<String>,
        id: impl Into<String>,
        why: impl Into<String>,
    ) {
        let in_progress = self.remaining.iter().any(|remaining| remaining.in_progress);
        let (resource, id, why) = (resource.into(), id.into(), why.into());
        self.remaining.push(Remaining { resource, id, why, in_progress });
    }

    /// Adds a remaining resource with what uses it.
    pub(crate) fn in_use(
        &mut self,
        resource: impl Into<String>,
        id: impl Into<String>,
        dependents: Dependents,
    ) {
        let (resource, id) = (resource.into(), id.into());
        let Dependents { why, in_progress } = dependents;
        self.remaining.push(Remaining { resource, id, why, in_progress });
    }

    /// Adds the result of another part of the component.
    pub(crate) fn join(&mut self, other: Self) {
        self.found += other.found;
        self.remaining.extend(other.remaining);
    }
}

/// A remaining resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Remaining {
    /// The resource's logical ID.
    pub resource: String,
    /// AWS's ID, ARN or name of the resource.
    pub id: String,
    /// Why it remains.
    pub why: String,
    /// Whether AWS is still working on its deletion. Only the step that deletes needs it: no record has it.
    #[serde(skip)]
    pub in_progress: bool,
}

impl std::fmt::Display for Remaining {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} ({})", self.resource, self.id, self.why)
    }
}

/// What prevents the deletion of a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Dependents {
    /// Names the dependents.
    pub(crate) why: String,
    /// Whether AWS is deleting one of them.
    pub(crate) in_progress: bool,
}

/// How the wait for a component's deletion ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum DeletionEnd {
    /// The wait timed out or failed.
    GivenUp {
        /// The last error, which names what remains.
        failure: Failure,
    },
    /// Nothing remains.
    Deleted(Deletion),
}
