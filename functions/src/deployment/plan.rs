//! Plans: what a deployment would change, for each component and in summary.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::deployment::effect::{Effect, EffectKind};
use crate::deployment::names::{Stack, Tags};

/// What a component would change, and what would make it fail.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// The changes that `apply` and `prune` would make, in order. Empty if the component matches the spec and is healthy.
    pub changes: Vec<Change>,
    /// What would make the deployment fail.
    pub problems: Vec<Problem>,
    /// What people should know, and Stackdrop does not change.
    #[serde(default)]
    pub warnings: Vec<Problem>,
    /// What people must know of the changes before they agree to them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub effects: Vec<Effect>,
    /// The services whose running tasks read a secret before it changed. They are restarted even if nothing else of the plan
    /// is carried out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outdated: Vec<String>,
    /// In the plan of `database`, until the plans are reviewed together: what the services need of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<DatabaseValues>,
    /// In the plan of `service`, until the plans are reviewed together: what the tasks of each service have of the database.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tasks: BTreeMap<String, TaskValues>,
}

/// What services need of the database; `None` for what it has not yet.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabaseValues {
    /// Its host name.
    pub host: Option<String>,
    /// The ARN of the secret with its password.
    pub secret: Option<String>,
    /// Whether its password is being changed.
    #[serde(default)]
    pub rotates: bool,
}

/// What the tasks of a service have of the database.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskValues {
    /// The revision of their task definition: `FAMILY:NUMBER`.
    pub revision: String,
    /// Whether the revision is deleted once another one runs.
    pub is_pruned: bool,
    /// The host name, if a variable has it.
    pub host: Option<String>,
    /// The ARN of the secret, if a variable comes from it.
    pub secret: Option<String>,
}

impl Plan {
    /// Adds a change.
    pub(crate) fn change(&mut self, verb: Verb, resource: impl Into<String>) {
        self.changes.push(Change { verb, resource: resource.into(), fields: Vec::new() });
    }

    /// Adds an update of one field, with its actual and desired value. Values are never secrets.
    pub(crate) fn update(&mut self, resource: &str, field: &str, from: impl ToString, to: impl ToString) {
        self.update_field(Verb::Update, resource, FieldChange::new(field, from, to));
    }

    /// Adds a field to the change of a resource. Long values are truncated.
    pub(crate) fn update_field(&mut self, verb: Verb, resource: &str, field: FieldChange) {
        let FieldChange { field, from, to } = field;
        let field = FieldChange { field, from: truncated(from), to: truncated(to) };
        match self.changes.iter_mut().find(|change| change.verb == verb && change.resource == resource) {
            Some(change) => change.fields.push(field),
            None => self.changes.push(Change { verb, resource: resource.into(), fields: vec![field] }),
        }
    }

    /// Adds an update for each tag that a resource lacks, has with another value, or has from an earlier spec.
    pub(crate) fn tags(&mut self, stack: &Stack, component: &str, logical_id: &str, observed: &Tags) {
        self.tags_of(stack, component, logical_id, logical_id, "", observed);
    }

    /// The same for a part of a resource that has its own tags and logical ID.
    pub(crate) fn tags_of(
        &mut self,
        stack: &Stack,
        component: &str,
        resource: &str,
        logical_id: &str,
        prefix: &str,
        observed: &Tags,
    ) {
        let actual = |key: &str| observed.get(key).map_or("(none)", String::as_str);
        for (key, value) in stack.missing_tags(component, logical_id, observed) {
            self.update(resource, &format!("{prefix}tags.{key}"), actual(&key), value);
        }
        for key in stack.stale_tags(observed) {
            self.update(resource, &format!("{prefix}tags.{key}"), actual(&key), "(none)");
        }
    }

    /// Adds an effect that needs no consent.
    pub(crate) fn effect(&mut self, kind: EffectKind, resource: &str, what: impl Into<String>) {
        self.effects.push(Effect { kind, resource: resource.into(), what: what.into(), word: None });
    }

    /// The plan with as many fields, problems and warnings as Step Functions' limit for the workflow's state allows. The other
    /// ones become one, whose hash keeps the plan's fingerprint exact.
    pub(crate) fn shortened(mut self) -> Self {
        self.problems = few_of(self.problems);
        self.warnings = few_of(self.warnings);
        self.effects = few_effects(self.effects);
        let mut left = FIELD_BYTES_MAX;
        for change in &mut self.changes {
            let rest = change.fields.split_off(fitting(&change.fields, &mut left));
            if !rest.is_empty() {
                let more = format!("{} more fields ({})", rest.len(), hash(&rest));
                change.fields.push(FieldChange::new("more", "", more));
            }
        }
        self
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

    /// Adds a warning, which does not affect the deployment.
    pub(crate) fn warn(
        &mut self,
        resource: impl Into<String>,
        why: impl Into<String>,
        fix: impl Into<String>,
    ) {
        self.warnings.push(Problem { resource: resource.into(), why: why.into(), fix: fix.into() });
    }
}

/// The plan of one component, in the workflow's state and in records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ComponentPlan {
    /// The component's name.
    pub component: String,
    /// Its plan.
    #[serde(flatten)]
    pub plan: Plan,
}

/// The most bytes of all fields in one component's plan, as JSON. An update of thousands of variables would otherwise make
/// the state too large, and then the rollback could not start.
const FIELD_BYTES_MAX: usize = 12 * 1024;

/// The most bytes of all problems, and of all warnings, in one component's plan, as JSON: a wrong spec can cause hundreds.
const PROBLEM_BYTES_MAX: usize = 12 * 1024;

/// How many of these, as JSON, fit into the bytes that are left: none after the first that does not fit.
fn fitting<T: Serialize>(items: &[T], left: &mut usize) -> usize {
    let fits = |item: &T| {
        let bytes = json!(item).to_string().len();
        let fits = bytes <= *left;
        *left = left.saturating_sub(bytes);
        fits
    };
    items.iter().map(fits).take_while(|fits| *fits).count()
}

/// A hash of what a plan does not list.
fn hash(rest: &impl Serialize) -> String {
    hex::encode(&Sha256::digest(json!(rest).to_string())[..8])
}

/// The first problems or warnings, at least one; the others become one.
fn few_of(mut all: Vec<Problem>) -> Vec<Problem> {
    let mut left = PROBLEM_BYTES_MAX;
    let kept = fitting(&all, &mut left);
    let rest = all.split_off(kept.max(1).min(all.len()));
    if !rest.is_empty() {
        all.push(Problem {
            resource: "more".into(),
            why: format!("{} more like these ({})", rest.len(), hash(&rest)),
            fix: "correct those first".into(),
        });
    }
    all
}

/// The most effects of one component.
const EFFECTS_MAX: usize = 20;

/// The first effects in the order in which plans list them; the others become one. What deletes data comes first, so no word that
/// a person must give is left out.
pub(crate) fn few_effects(mut all: Vec<Effect>) -> Vec<Effect> {
    all.sort();
    all.dedup();
    if all.len() > EFFECTS_MAX {
        let rest = all.split_off(EFFECTS_MAX - 1);
        let what = format!("{} more effects ({})", rest.len(), hash(&rest));
        all.push(Effect { kind: rest[0].kind, resource: "more".into(), what, word: None });
    }
    all
}

/// The maximum length of a value in a plan, in characters: plans are part of the workflow's state, whose size AWS limits.
const VALUE_CHARACTERS_MAX: usize = 120;

fn truncated(value: String) -> String {
    match value.char_indices().nth(VALUE_CHARACTERS_MAX) {
        Some((end, _)) => format!("{}…", &value[..end]),
        None => value,
    }
}

/// A change of one resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// The kind of change.
    pub verb: Verb,
    /// The resource's logical ID, such as `subnet/private/b`.
    pub resource: String,
    /// The fields that change, for an update.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<FieldChange>,
}

/// The kind of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verb {
    /// The resource is created.
    Create,
    /// The resource is updated in place.
    Update,
    /// The resource is deleted.
    Delete,
    /// The resource matches the spec, and is restarted: on request, or because a secret has changed.
    Restart,
    /// The resource matches the spec, but is not healthy yet.
    Wait,
}

/// One field of a resource that differs from the spec.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FieldChange {
    /// The field's name.
    pub field: String,
    /// The actual value in the account.
    pub from: String,
    /// The desired value in the spec.
    pub to: String,
}

impl FieldChange {
    #[expect(clippy::needless_pass_by_value, reason = "callers pass strings, numbers and booleans")]
    pub(crate) fn new(field: &str, from: impl ToString, to: impl ToString) -> Self {
        Self { field: field.into(), from: from.to_string(), to: to.to_string() }
    }
}

/// A problem that would make the deployment fail, or a warning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// The resource's logical ID.
    pub resource: String,
    /// What the problem is.
    pub why: String,
    /// How to fix it, in the imperative.
    pub fix: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A plan whose only change has fields of these lengths, shortened.
    fn shortened(lengths: &[usize]) -> Vec<FieldChange> {
        let field = |length: &usize| FieldChange::new("variable", "a", "b".repeat(*length));
        let fields = lengths.iter().map(field).collect();
        let change = Change { verb: Verb::Update, resource: "service/web".into(), fields };
        let plan = Plan { changes: vec![change], ..Plan::default() }.shortened();
        plan.changes.into_iter().flat_map(|change| change.fields).collect()
    }

    #[test]
    fn problems_and_warnings_beyond_the_limit_become_one() {
        let plan = |count: usize, length: usize| {
            let mut plan = Plan::default();
            for number in 0..count {
                plan.problem(format!("secret/{number}"), "x".repeat(length), "correct it");
                plan.warn(format!("secret/{number}"), "x".repeat(length), "correct it");
            }
            plan.shortened()
        };
        assert_eq!(plan(3, 100).problems.len(), 3, "all fit");
        let many = plan(500, 300);
        assert!(json!(many).to_string().len() < 2 * PROBLEM_BYTES_MAX + 1000, "{many:?}");
        assert_eq!(many.problems, many.warnings);
        let last = many.problems.last().unwrap();
        let expected = format!("{} more like these (", 500 - (many.problems.len() - 1));
        assert!(last.why.starts_with(&expected), "{last:?}");
        assert_ne!(plan(501, 300).problems.last(), Some(last));
        assert_eq!(plan(1, PROBLEM_BYTES_MAX).problems.len(), 1, "the only one is kept");
    }

    #[test]
    fn effects_beyond_the_limit_become_one_and_those_that_delete_data_stay() {
        let mut plan = Plan::default();
        for number in 0..500 {
            plan.effect(EffectKind::Interrupts, &format!("service/{number}"), "deletes the service");
        }
        plan.effect(EffectKind::DeletesData, "instance", "deletes the disk");
        plan.effect(EffectKind::DeletesData, "instance", "deletes the disk");
        let effects = plan.shortened().effects;
        assert_eq!(effects.len(), EFFECTS_MAX);
        assert_eq!(effects[0].resource, "instance");
        assert_eq!(effects[1].kind, EffectKind::Interrupts, "the same effect is listed once");
        assert!(effects[EFFECTS_MAX - 1].what.starts_with("482 more effects ("), "{effects:?}");
    }

    #[test]
    fn fields_beyond_the_limit_become_one_whose_hash_differs_with_them() {
        let half = FIELD_BYTES_MAX / 2;
        assert_eq!(shortened(&[10, 20]).len(), 2, "both fit");
        let fields = shortened(&[half, half, 10]);
        assert_eq!(fields.len(), 2, "none after the first that does not fit");
        assert_eq!((fields[1].field.as_str(), fields[1].from.as_str()), ("more", ""));
        assert!(fields[1].to.starts_with("2 more fields ("), "{}", fields[1].to);
        assert_ne!(shortened(&[half, half, 11])[1], fields[1], "an approval is bound to all fields");
        assert_eq!(shortened(&[half, half, 10]), fields);
        assert_eq!(shortened(&[FIELD_BYTES_MAX]).len(), 1);
        assert_eq!(shortened(&[FIELD_BYTES_MAX])[0].field, "more", "a field has more bytes than its value");
    }

    #[test]
    fn long_values_end_with_an_ellipsis_after_as_many_characters_as_fit() {
        let fits = "é".repeat(VALUE_CHARACTERS_MAX);
        assert_eq!(truncated(fits.clone()), fits);
        assert_eq!(truncated(format!("{fits}é")), format!("{fits}…"));
    }
}
