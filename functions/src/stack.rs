//! A stack's names and tags, and what a step is given: the deployment so far.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use stackdrop_specs::{Spec, StackName};

use crate::component::Outputs;
use crate::estimate::{ComponentPlan, Estimate};
use crate::records::{Outcome, Record, Trigger};

/// The tag that says which stack a resource belongs to.
pub const TAG_STACK: &str = "stackdrop:stack";
/// The tag that says which component made it.
pub const TAG_COMPONENT: &str = "stackdrop:component";
/// The tag that says what it is in the stack, such as `subnet/private/b`.
pub const TAG_ROLE: &str = "stackdrop:role";
/// The tag that says which deployment created it.
pub const TAG_DEPLOYMENT: &str = "stackdrop:deployment";

/// Tags by key.
pub type Tags = BTreeMap<String, String>;

/// The workflow's state, as every step is given it: what Admit returned, and what the steps since have added.
#[expect(
    clippy::struct_excessive_bools,
    reason = "what a deployment is for; each is a switch of the workflow's state"
)]
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Deployment {
    /// The stack's name.
    pub stack: StackName,
    /// The deployment's id: the execution's name.
    pub id: String,
    /// The execution's ARN.
    pub execution: String,
    /// Where the spec was read.
    pub source: Source,
    /// The `ETag` of the stack's lock, while this deployment holds it.
    #[serde(default)]
    pub lock: String,
    /// When it was admitted (RFC 3339).
    pub started: String,
    /// What to bring about. While restoring: the baseline's spec.
    pub spec: Spec,
    /// The last deployment that succeeded, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<Baseline>,
    /// Whether the services' tasks are to be started anew, so that a moved image tag is followed.
    #[serde(default)]
    pub refresh_image: bool,
    /// Whether the stack is to be removed.
    #[serde(default)]
    pub destroying: bool,
    /// What started it.
    #[serde(default)]
    pub trigger: Trigger,
    /// Whether drift is only to be reported.
    #[serde(default)]
    pub report_only: bool,
    /// Whether a failed update is being taken back to the baseline.
    #[serde(default)]
    pub restoring: bool,
    /// While restoring: the spec that failed, whose additions are to be taken away again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempted: Option<Spec>,
    /// What the steps so far have made.
    #[serde(default)]
    pub outputs: Outputs,
    /// What the steps of the plan reported, one entry a component.
    #[serde(default)]
    pub plan: Vec<Value>,
    /// The plan that somebody was asked about, by its components' fingerprints.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<Value>,
    /// What somebody answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<Value>,
    /// What Settle's branches reported.
    #[serde(default)]
    pub settled: Outputs,
    /// The step that failed, with its error. While restoring: the step that failed at that.
    #[serde(default)]
    pub failed: BTreeMap<String, Failure>,
    /// The failure that led to the restoring.
    #[serde(default)]
    pub first_failure: BTreeMap<String, Failure>,
    /// What the removing steps reported, by component.
    #[serde(default)]
    pub removed: BTreeMap<String, Value>,
    /// What the clearing branches reported.
    #[serde(default)]
    pub cleared: Vec<Value>,
    /// The removing steps that failed.
    #[serde(default)]
    pub undo_failed: BTreeMap<String, Failure>,
}

impl Deployment {
    /// Its record so far.
    pub(crate) fn record(&self, result: Outcome) -> Record {
        let Self { stack, id, execution, started, .. } = self;
        Record {
            source: Some(self.source.clone()),
            trigger: self.trigger,
            estimate: self.estimate(),
            plan: self.plan.clone(),
            ..Record::begin(stack.as_str(), id, execution, started.clone(), result)
        }
    }

    /// What its plan comes to; `None` before there is one, and for the removal of the stack.
    pub(crate) fn estimate(&self) -> Option<Estimate> {
        if self.plan.is_empty() || self.destroying {
            return None;
        }
        let plans = self.plan.iter().filter_map(|plan| serde_json::from_value(plan.clone()).ok());
        let plans: Vec<ComponentPlan> = plans.collect();
        Some(Estimate::of(&plans, &self.spec, self.baseline.as_ref().map(|before| &before.spec)))
    }

    /// Whether the spec is the one that the last good deployment went by: what differs then has drifted.
    pub(crate) fn is_unchanged(&self) -> bool {
        let before = self.baseline.as_ref();
        before.is_some_and(|before| before.version == self.source.version && before.spec == self.spec)
    }

    /// Whether an earlier deployment has left what it could not tidy up.
    pub(crate) fn finds_leftovers(&self) -> bool {
        self.baseline.as_ref().is_some_and(|before| before.untidy)
    }

    /// When it was admitted (seconds since 1970); 0 where the workflow's state does not say.
    pub(crate) fn admitted_at(&self) -> i64 {
        let started =
            time::OffsetDateTime::parse(&self.started, &time::format_description::well_known::Rfc3339);
        started.map_or(0, time::OffsetDateTime::unix_timestamp)
    }
}

/// Step Functions' error output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Failure {
    /// The error's name.
    pub error: String,
    /// For people, or the JSON text that a function's error becomes.
    #[serde(default)]
    pub cause: String,
}

/// The object in the bucket that a deployment goes by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Source {
    /// Its key.
    pub key: String,
    /// Its S3 version.
    pub version: String,
    /// Whether nothing is to be changed.
    #[serde(default)]
    pub plan_only: bool,
}

/// The last deployment that succeeded.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Baseline {
    /// That deployment's id.
    pub deployment: String,
    /// The S3 key of its spec.
    #[serde(default)]
    pub key: String,
    /// The S3 version of its spec.
    pub version: String,
    /// Its spec.
    pub spec: Spec,
    /// What it made.
    pub outputs: Outputs,
    /// Whether something that no spec has any more is left, because tidying failed: the next deployment goes on with it.
    #[serde(default)]
    pub untidy: bool,
}

impl Baseline {
    /// Where its spec was read.
    pub(crate) fn source(&self) -> Source {
        let key =
            if self.key.is_empty() { format!("specs/{}.yaml", self.spec.stack) } else { self.key.clone() };
        Source { key, version: self.version.clone(), plan_only: false }
    }
}

/// A stack, as far as names and tags go.
#[derive(Debug, Clone)]
pub struct Stack {
    /// Its name.
    pub name: StackName,
    deployment: String,
    user_tags: Tags,
    /// Keys that an earlier spec had and this one has not.
    dropped_tags: BTreeSet<String>,
}

impl Stack {
    /// The stack of a deployment.
    #[must_use]
    pub fn of(deployment: &Deployment) -> Self {
        Self {
            name: deployment.stack.clone(),
            deployment: deployment.id.clone(),
            user_tags: deployment.spec.tags.clone(),
            dropped_tags: dropped_tags(deployment),
        }
    }

    /// The name of the resource with this role, such as `shop-subnet-private-b`.
    #[must_use]
    pub fn resource(&self, role: &str) -> String {
        format!("{}-{}", self.name, role.replace('/', "-"))
    }

    /// The tags that a resource carries from its creation on.
    #[must_use]
    pub fn tags(&self, component: &str, role: &str) -> Tags {
        let mut tags = self.lasting_tags(component, role);
        tags.insert(TAG_DEPLOYMENT.into(), self.deployment.clone());
        tags
    }

    /// The tags that a resource shall have whichever deployment created it: what drift is measured against.
    #[must_use]
    pub fn lasting_tags(&self, component: &str, role: &str) -> Tags {
        let mut tags = self.user_tags.clone();
        tags.insert("Name".into(), self.resource(role));
        tags.insert(TAG_STACK.into(), self.name.to_string());
        tags.insert(TAG_COMPONENT.into(), component.into());
        tags.insert(TAG_ROLE.into(), role.into());
        tags
    }

    /// The tags that are missing or different on a resource. Tags that others have added are left alone.
    #[must_use]
    pub fn missing_tags(&self, component: &str, role: &str, found: &Tags) -> Tags {
        let wanted = self.lasting_tags(component, role);
        wanted.into_iter().filter(|(key, value)| found.get(key) != Some(value)).collect()
    }

    /// The tags to put on a resource of this stack that lacks some: those, and with them the stack's own. A policy can
    /// then ask for it in the request, which the services need that don't know a resource's tags when it is tagged.
    #[must_use]
    pub(crate) fn tags_to_put(&self, component: &str, role: &str, found: &Tags) -> Tags {
        self.with_own(self.missing_tags(component, role, found))
    }

    /// Tags to put on a resource, and with them, if there are any, the stack's own.
    pub(crate) fn with_own(&self, mut tags: Tags) -> Tags {
        if !tags.is_empty() {
            tags.insert(TAG_STACK.into(), self.name.to_string());
        }
        tags
    }

    /// The keys of tags on a resource that the last spec had and this one has no longer. Tags that others have added
    /// are not among them.
    #[must_use]
    pub fn stale_tags(&self, found: &Tags) -> Vec<String> {
        self.dropped_tags.iter().filter(|key| found.contains_key(*key)).cloned().collect()
    }

    /// Whether a resource with these tags is this stack's.
    #[must_use]
    pub fn owns(&self, tags: &Tags) -> bool {
        tags.get(TAG_STACK).is_some_and(|stack| stack == self.name.as_str())
    }

    /// A client token: 32 hexadecimal digits (within every API's limit and alphabet) made of the deployment, the
    /// role and the ids of dead predecessors. EC2's tokens outlive the resource by a day, so one of the stack and
    /// role alone would hand out the dead one.
    #[must_use]
    pub fn token(&self, role: &str, dead: &[&str]) -> String {
        let mut hash = Sha256::new();
        for part in [self.name.as_str(), &self.deployment, role].iter().chain(dead) {
            hash.update(part.as_bytes());
            hash.update([0]);
        }
        hex::encode(&hash.finalize()[..16])
    }
}

/// The keys of the tags that the baseline's spec, or while restoring the one that failed, has and this one has not.
fn dropped_tags(deployment: &Deployment) -> BTreeSet<String> {
    let baseline = deployment.baseline.as_ref().map(|baseline| &baseline.spec);
    let before = baseline.into_iter().chain(&deployment.attempted);
    let keys = before.flat_map(|spec| spec.tags.keys());
    keys.filter(|key| !deployment.spec.tags.contains_key(*key)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_that_are_put_bring_the_stacks_own_along_and_nothing_is_put_where_none_is_missing() {
        let stack = Stack {
            name: StackName::try_from("shop".to_owned()).unwrap(),
            deployment: "first".into(),
            user_tags: Tags::from([("team".into(), "books".into())]),
            dropped_tags: BTreeSet::new(),
        };
        let mut found = stack.lasting_tags("network", "vpc");
        assert_eq!(stack.tags_to_put("network", "vpc", &found), Tags::new());
        found.insert("team".into(), "shop".into());
        let put = Tags::from([("team".into(), "books".into()), (TAG_STACK.into(), "shop".into())]);
        assert_eq!(stack.tags_to_put("network", "vpc", &found), put);
        assert_eq!(stack.missing_tags("network", "vpc", &found).len(), 1, "the plan tells what differs");
    }
}
