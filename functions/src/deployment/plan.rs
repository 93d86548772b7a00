//! What a deployment would change: the plan of each component, and what they amount to together.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::aws::error::StepError;

use crate::deployment::names::{Stack, Tags};

/// What a component would change.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// What `apply` and `prune` would do, resource by resource, in order. Empty: everything is as the spec says, and
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
        self.field(Verb::Update, resource, field, &from.to_string(), &to.to_string());
    }

    /// Adds a field to the change of a resource.
    pub(crate) fn field(&mut self, verb: Verb, resource: &str, field: &str, from: &str, to: &str) {
        let field = FieldChange { field: field.into(), from: shown(from), to: shown(to) };
        match self.changes.iter_mut().find(|change| change.verb == verb && change.resource == resource) {
            Some(change) => change.fields.push(field),
            None => self.changes.push(Change { verb, resource: resource.into(), fields: vec![field] }),
        }
    }

    /// Adds an update for each tag that a resource lacks, has with another value, or has from an earlier spec.
    pub(crate) fn tags(&mut self, stack: &Stack, component: &str, logical_id: &str, observed: &Tags) {
        self.tags_of(stack, component, logical_id, logical_id, "", observed);
    }

    /// The same for a part of a resource that has tags, and a logical ID, of its own.
    pub(crate) fn tags_of(
        &mut self,
        stack: &Stack,
        component: &str,
        resource: &str,
        logical_id: &str,
        prefix: &str,
        observed: &Tags,
    ) {
        let now = |key: &str| observed.get(key).map_or("(none)", String::as_str);
        for (key, value) in stack.missing_tags(component, logical_id, observed) {
            self.update(resource, &format!("{prefix}tags.{key}"), now(&key), value);
        }
        for key in stack.stale_tags(observed) {
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

/// The plan of one component, as the workflow's state and the records have it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ComponentPlan {
    /// The component's name.
    pub component: String,
    /// What it would change.
    #[serde(flatten)]
    pub plan: Plan,
}

/// What the workflow decides by: the plans of all components together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PlanReview {
    /// Whether anything would be changed.
    pub changes: bool,
    /// Whether a problem would make the deployment fail.
    pub blocked: bool,
    /// Whether resources that the spec no longer has would be deleted.
    pub prunes: bool,
    /// Identifies the changes and problems: what an approval is bound to. Warnings are not part of it, since Stackdrop
    /// leaves alone what they are about.
    pub fingerprint: String,
}

impl PlanReview {
    /// Reviews the plans of all components.
    ///
    /// # Errors
    /// `Defect` when a plan cannot be written as JSON.
    pub fn of(plans: &[ComponentPlan]) -> Result<Self, StepError> {
        let changes = || plans.iter().flat_map(|component| &component.plan.changes);
        let compared: Vec<_> =
            plans.iter().map(|of| (&of.component, &of.plan.changes, &of.plan.problems)).collect();
        let text = serde_json::to_vec(&compared)
            .map_err(|error| StepError::Defect(format!("writing a plan: {error}")))?;
        Ok(Self {
            changes: changes().next().is_some(),
            blocked: plans.iter().any(|component| !component.plan.problems.is_empty()),
            prunes: changes().any(|change| change.verb == Verb::Delete),
            fingerprint: hex::encode(&Sha256::digest(text)[..16]),
        })
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
    /// The resource's logical ID, such as `subnet/private/b`.
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
    /// It is deleted.
    Delete,
    /// It is as the spec says, and is started again on request, or because its last start failed.
    Restart,
    /// It is as the spec says, but not healthy yet.
    Wait,
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
