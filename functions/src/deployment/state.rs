//! A stack's names and tags, and what a step is given: the deployment so far.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use stackdrop_specs::{Spec, StackName};

use crate::deployment::outputs::Outputs;
use crate::deployment::estimate::{ComponentPlan, Estimate};
use crate::deployment::outcome::Outcome;
use crate::deployment::record::Record;

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

/// What started a deployment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trigger {
    /// A version of a spec was uploaded.
    Upload,
    /// A spec was deleted.
    Deletion,
    /// Somebody started the execution.
    #[default]
    Hand,
    /// The stack's schedule.
    Schedule,
    /// An execution that was stopped or timed out.
    Interruption,
}
