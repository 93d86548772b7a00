//! What a component promises.

use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned};
use stackdrop_specs::Spec;

use crate::aws::Aws;
use crate::error::StepError;
use crate::stack::{Deployment, Stack, Tags};
use crate::{database, egress, instance, load_balancer, network, security_groups, service};

/// One part of a stack. Every action may be asked again at any time, after any crash.
#[expect(async_fn_in_trait, reason = "called in this crate only, through `crate::lambda::act`")]
pub trait Component: Sync {
    /// What dependents need from it (ids, ARNs, endpoints).
    type Outputs: Serialize + DeserializeOwned + Send;

    /// Read only. What `ensure` and `tidy` would change, and what would make them fail.
    async fn plan(&self, work: &Work<'_>) -> Result<Plan, StepError>;

    /// Read only. What would keep the stack from being removed. Asked before anything is touched.
    async fn plan_removal(&self, _work: &Work<'_>) -> Result<Plan, StepError> {
        Ok(Plan::default())
    }

    /// Starts or changes whatever differs from the spec; returns as soon as dependents can go on. What the spec has no
    /// longer is left for `tidy`: something may use it until the end.
    async fn ensure(&self, work: &Work<'_>) -> Result<Self::Outputs, StepError>;

    /// Read only. `Pending` until healthy, `Unhealthy` with AWS's own reason when it never will be; then the
    /// outputs, complete.
    async fn settle(&self, work: &Work<'_>) -> Result<Self::Outputs, StepError>;

    /// Deletes what the spec has no longer, once everything that it has is healthy; returns what is left.
    async fn tidy(&self, _work: &Work<'_>) -> Result<Removal, StepError> {
        Ok(Removal::default())
    }

    /// Deletes what can go now, found by name and tag; absent is success. Returns what is left and who holds it.
    async fn remove(&self, work: &Work<'_>) -> Result<Removal, StepError>;
}

/// What a component is given to work with.
#[derive(Debug)]
pub struct Work<'a> {
    /// The clients.
    pub aws: &'a Aws,
    /// Names and tags.
    pub stack: Stack,
    /// What to bring about.
    pub spec: &'a Spec,
    /// What the components before have made.
    pub outputs: &'a Outputs,
    /// The deployment, for what is not in the fields above.
    pub deployment: &'a Deployment,
}

impl<'a> Work<'a> {
    /// The work of one step of a deployment.
    #[must_use]
    pub fn new(aws: &'a Aws, deployment: &'a Deployment) -> Self {
        Self {
            aws,
            stack: Stack::of(deployment),
            spec: &deployment.spec,
            outputs: &deployment.outputs,
            deployment,
        }
    }

    /// The outputs of the network, which everything else stands in.
    pub(crate) fn network(&self) -> Result<&network::Outputs, StepError> {
        self.outputs.network.as_ref().ok_or_else(|| before("network"))
    }

    /// The ids of the security groups.
    pub(crate) fn groups(&self) -> Result<&security_groups::Outputs, StepError> {
        self.outputs.security_groups.as_ref().ok_or_else(|| before("security-groups"))
    }
}

fn before(component: &str) -> StepError {
    StepError::Defect(format!(
        "the workflow asked for this step before `{component}` had reported its outputs"
    ))
}

/// What the components have made so far.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Outputs {
    /// Of `network`.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "reported")]
    pub network: Option<network::Outputs>,
    /// Of `security-groups`.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "reported")]
    pub security_groups: Option<security_groups::Outputs>,
    /// Of `database`.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "reported")]
    pub database: Option<database::Outputs>,
    /// Of `load-balancer`.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "reported")]
    pub load_balancer: Option<load_balancer::Outputs>,
    /// Of `egress`.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "reported")]
    pub egress: Option<egress::Outputs>,
    /// Of `instance`.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "reported")]
    pub instance: Option<instance::Outputs>,
    /// Of `service`.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "reported")]
    pub service: Option<service::Outputs>,
}

/// Reads outputs as they are, or as the workflow keeps them: Step Functions can't make a function's bare answer the
/// value of a field of its state, so they stand there as `{ "payload": … }`.
fn reported<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<Option<T>, D::Error> {
    let value = Option::<serde_json::Value>::deserialize(deserializer)?;
    let value = value.map(|mut value| value.get_mut("payload").map(serde_json::Value::take).unwrap_or(value));
    value.map(serde_json::from_value).transpose().map_err(serde::de::Error::custom)
}

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
    pub(crate) fn tags(&mut self, work: &Work<'_>, component: &str, role: &str, found: &Tags) {
        self.tags_of(work, component, role, role, "", found);
    }

    /// The same for a part of a resource that has tags, and a role, of its own.
    pub(crate) fn tags_of(
        &mut self,
        work: &Work<'_>,
        component: &str,
        resource: &str,
        role: &str,
        prefix: &str,
        found: &Tags,
    ) {
        let now = |key: &str| found.get(key).map_or("(none)", String::as_str);
        for (key, value) in work.stack.missing_tags(component, role, found) {
            self.update(resource, &format!("{prefix}tags.{key}"), now(&key), value);
        }
        for key in work.stack.stale_tags(found) {
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
