//! What a deployment would change: the plan of each component, and what they amount to together.

use serde::{Deserialize, Serialize};

use crate::deployment::names::{Stack, Tags};

/// What a component would change.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// What `ensure` and `tidy` would do, resource by resource, in order. Empty: everything is as the spec says, and
    /// healthy.
    pub changes: Vec<Change>,
    /// What would make it fail.
    pub problems: Vec<Problem>,
    /// What somebody should know of and Stackdrop leaves alone.
    #[serde(default)]
    pub warnings: Vec<Problem>,
}

impl Plan {
    /// Adds a change.
    pub(crate) fn change(&mut self, verb: Verb, resource: impl Into<String>) {
        self.changes.push(Change { verb, resource: resource.into(), fields: Vec::new() });
    }

    /// Adds an update of one field, with its value now and then. Never a secret's value.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "callers hand over what they have: texts, numbers, switches"
    )]
    pub(crate) fn update(&mut self, resource: &str, field: &str, from: impl ToString, to: impl ToString) {
        let field =
            FieldChange { field: field.into(), from: shown(&from.to_string()), to: shown(&to.to_string()) };
        match self
            .changes
            .iter_mut()
            .find(|change| change.verb == Verb::Update && change.resource == resource)
        {
            Some(change) => change.fields.push(field),
            None => self.changes.push(Change {
                verb: Verb::Update,
                resource: resource.into(),
                fields: vec![field],
            }),
        }
    }

    /// Adds an update for each tag that a resource lacks, has with another value, or has from an earlier spec.
    pub(crate) fn tags(&mut self, stack: &Stack, component: &str, role: &str, found: &Tags) {
        self.tags_of(stack, component, role, role, "", found);
    }

    /// The same for a part of a resource that has tags, and a role, of its own.
    pub(crate) fn tags_of(
        &mut self,
        stack: &Stack,
        component: &str,
        resource: &str,
        role: &str,
        prefix: &str,
        found: &Tags,
    ) {
        let now = |key: &str| found.get(key).map_or("(none)", String::as_str);
        for (key, value) in stack.missing_tags(component, role, found) {
            self.update(resource, &format!("{prefix}tags.{key}"), now(&key), value);
        }
        for key in stack.stale_tags(found) {
            self.update(resource, &format!("{prefix}tags.{key}"), now(&key), "(none)");
        }
    }

    /// Adds a problem.
    pub(crate) fn problem(
        &mut self,
        resource: impl Into<String>,
        why: impl Into<String>,
        fix: impl Into<String>,
    ) {
        self.problems.push(Problem { resource: resource.into(), why: why.into(), fix: fix.into() });
    }

    /// Adds a warning, which neither changes anything nor keeps anything from being changed.
    pub(crate) fn warn(
        &mut self,
        resource: impl Into<String>,
        why: impl Into<String>,
        fix: impl Into<String>,
    ) {
        self.warnings.push(Problem { resource: resource.into(), why: why.into(), fix: fix.into() });
    }
}

/// The longest value that a plan shows, characters: plans travel in the workflow's state, which AWS limits.
const VALUE_CHARACTERS_MAX: usize = 120;

/// A value as a plan shows it.
fn shown(value: &str) -> String {
    match value.char_indices().nth(VALUE_CHARACTERS_MAX) {
        Some((end, _)) => format!("{}…", &value[..end]),
        None => value.to_owned(),
    }
}

/// One change to one resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// What is done.
    pub verb: Verb,
    /// The resource's role in the stack, such as `subnet/private/b`.
    pub resource: String,
    /// What differs, for an update.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<FieldChange>,
}

/// What is done to a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verb {
    /// It is created.
    Create,
    /// It is changed in place.
    Update,
    /// It is removed.
    Remove,
    /// It is as the spec says, but not healthy yet.
    Settle,
}

/// One field of a resource that differs from the spec.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FieldChange {
    /// The field.
    pub field: String,
    /// Its value in the account.
    pub from: String,
    /// Its value by the spec.
    pub to: String,
}

/// Something that would make a deployment fail, or that somebody should know of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// The resource that it is about.
    pub resource: String,
    /// Why.
    pub why: String,
    /// What to do about it.
    pub fix: String,
}
