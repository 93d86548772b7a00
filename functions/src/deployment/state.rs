//! The state of a deployment: what the workflow hands to every step, declared once.
//!
//! The workflow file writes into these fields and no others: an unknown field is an error.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use stackdrop_specs::{Spec, StackName};

use crate::deployment::approval::Decision;
use crate::deployment::consent::Consent;
use crate::deployment::deletion::{Deletion, DeletionEnd};
use crate::deployment::failure::Failures;
use crate::deployment::names::Stack;
use crate::deployment::outputs::Outputs;
use crate::deployment::plan::ComponentPlan;
use crate::deployment::plan_id::PlanId;
use crate::deployment::review::PlanReview;

/// The state of a deployment: what Admit returned, and what the steps since have added.
#[expect(clippy::struct_excessive_bools, reason = "each is a condition that the workflow branches on")]
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Deployment {
    /// What Admit decided.
    pub verdict: Verdict,
    /// The stack's name.
    pub stack: StackName,
    /// The deployment's id: the execution's name.
    pub id: String,
    /// The execution's ARN.
    pub execution: String,
    /// Where the spec was read.
    pub source: Source,
    /// The `ETag` of the stack's lock, while this deployment holds it.
    pub lock: String,
    /// When it was admitted (RFC 3339).
    pub started: String,
    /// What started it.
    pub trigger: Trigger,
    /// The desired state. During a rollback: the baseline's spec.
    pub spec: Spec,
    /// The last deployment that succeeded, if any. `null` otherwise: the workflow branches on it.
    pub baseline: Option<Baseline>,
    /// Whether the services' tasks are restarted, so that they follow a moved image tag.
    pub refresh_image: bool,
    /// Whether drift is only reported.
    pub report_only: bool,
    /// Whether the stack is destroyed.
    pub destroying: bool,
    /// The deployment that was running when this one, which only plans, was admitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running: Option<String>,
    /// What a person agreed to lose with this deployment.
    #[serde(default, skip_serializing_if = "Consent::is_empty")]
    pub consent: Consent,
    /// The version of Stackdrop that made the stack, if a schedule found another one: then differences may come from the other
    /// version, and are only reported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made_by: Option<String>,
    /// Who uploaded the spec, if an upload started the deployment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uploader: Option<Uploader>,
    /// How many replies to a request for approval did not decide.
    #[serde(default)]
    pub replies: u32,
    /// Why the last reply was refused, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// Whether a failed update is being rolled back to the baseline.
    pub rolling_back: bool,
    /// Whether that is the second attempt: the first one failed, because of a fault that has passed, or because something was
    /// deleted after its step.
    #[serde(default)]
    pub rolling_back_again: bool,
    /// When AWS announced that the database's password had changed (seconds since 1970). The secret itself shows the time of
    /// a rotation some seconds later, once the rotation is complete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_changed: Option<i64>,
    /// During a rollback: the spec that failed, whose additions are pruned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempted: Option<Spec>,
    /// What each component would change.
    pub plan: Vec<ComponentPlan>,
    /// What the plans amount to together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub review: Option<PlanReview>,
    /// What somebody answered, in whatever form: a person may write it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply: Option<Value>,
    /// The plan that was approved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approved: Option<Approved>,
    /// What the components have created so far.
    pub outputs: Outputs,
    /// What the components reported once they were stable.
    #[serde(default)]
    pub stable: Outputs,
    /// The step that failed. During a rollback: the step of the rollback that failed.
    pub failed: Failures,
    /// The step of the plan that failed; nothing was changed.
    #[serde(default)]
    pub plan_failed: Failures,
    /// The step of the approval that failed; nothing was changed.
    #[serde(default)]
    pub not_approved: Failures,
    /// The step that could not change the database's password, or could not restart the services.
    #[serde(default)]
    pub rotation_failed: Failures,
    /// The failure that led to the rollback.
    #[serde(default)]
    pub first_failure: Failures,
    /// The step that could not start the rollback.
    #[serde(default)]
    pub rollback_failed: Failures,
    /// The step that could not prune what the spec no longer has.
    #[serde(default)]
    pub prune_failed: Failures,
    /// What the deleting steps reported, by component.
    #[serde(default)]
    pub deletions: BTreeMap<String, Deletion>,
    /// The steps that could not start a deletion; the wait for that deletion tries again.
    #[serde(default)]
    pub delete_failed: Failures,
    /// How the waits for deletions ended, one entry for each component that is deleted in parallel.
    #[serde(default)]
    pub deletion_ends: Vec<DeletionEnd>,
    /// The deletions that were given up.
    #[serde(default)]
    pub deletions_given_up: Failures,
}

/// What Admit decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    /// It is deployed.
    Admitted,
    /// It changes the database's password and restarts the services that use it; nothing else.
    Rotating,
    /// It restarts the services whose tasks still have the database's previous password; nothing else.
    Restarting,
    /// It rolls back what an interrupted execution left.
    Interrupted,
    /// Another deployment replaced it: nothing is deployed.
    Superseded,
    /// The stack is kept though its spec was deleted: nothing is deployed.
    Retained,
    /// It was only to plan, and could not: nothing is deployed.
    NotPlanned,
}

/// The plan that was approved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approved {
    /// Its fingerprint, from [`PlanReview`].
    pub fingerprint: String,
    /// The ARN of the person who approved it, as the reply claims.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// When the reply was read (RFC 3339).
    #[serde(default)]
    pub at: String,
}

/// What S3 says about an upload. It does not name the person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Uploader {
    /// The account that uploaded the object.
    pub account: String,
    /// The IP address from which it was uploaded, or the name of an AWS service.
    pub address: String,
}

impl Deployment {
    /// The stack's names and tags.
    #[must_use]
    pub fn stack_names(&self) -> Stack {
        let baseline = self.baseline.as_ref().map(|baseline| &baseline.spec);
        let earlier = baseline.into_iter().chain(&self.attempted).flat_map(|spec| spec.tags.keys());
        let dropped = earlier.filter(|key| !self.spec.tags.contains_key(*key)).cloned().collect();
        Stack::new(self.stack.clone(), self.id.clone(), self.spec.tags.clone(), dropped)
    }

    /// The region: that of the execution.
    pub(crate) fn region(&self) -> &str {
        self.execution.split(':').nth(3).unwrap_or_default()
    }

    /// Whether the spec is the one of the last good deployment: then any difference is drift.
    pub(crate) fn is_unchanged(&self) -> bool {
        let baseline = self.baseline.as_ref();
        baseline.is_some_and(|baseline| baseline.version == self.source.version && baseline.spec == self.spec)
    }

    /// Whether it only handles the database's password: it has no plan and leaves the baseline as it is.
    pub(crate) fn is_rotation(&self) -> bool {
        matches!(self.verdict, Verdict::Rotating | Verdict::Restarting)
    }

    /// What this rollback left alone, and why, by the component's field.
    pub(crate) fn left_alone(&self) -> BTreeMap<&str, &str> {
        let both = self.outputs.left_alone.iter().chain(&self.stable.left_alone);
        both.map(|(field, why)| (field.as_str(), why.as_str())).collect()
    }

    /// Whether all components have become stable in this deployment or this rollback.
    pub(crate) fn is_stable(&self) -> bool {
        self.stable.service.is_some()
    }

    /// Whether an earlier deployment could not prune everything.
    pub(crate) fn has_unpruned_resources(&self) -> bool {
        self.baseline.as_ref().is_some_and(|baseline| baseline.unpruned)
    }

    /// Whether the stack may have something: this spec has it, or one that was deployed or begun to be deployed had it. What most
    /// stacks do not have is not looked for each night.
    pub(crate) fn may_have(&self, has: impl Fn(&Spec) -> bool) -> bool {
        let Some(baseline) = &self.baseline else { return true };
        let mut known = [&self.spec, &baseline.spec].into_iter().chain(&self.attempted);
        self.has_unpruned_resources() || known.any(has)
    }

    /// When it was admitted (seconds since 1970); 0 where the workflow's state does not say.
    pub(crate) fn admitted_at(&self) -> i64 {
        let started =
            time::OffsetDateTime::parse(&self.started, &time::format_description::well_known::Rfc3339);
        started.map_or(0, time::OffsetDateTime::unix_timestamp)
    }

    /// The last approval. Its plan may no longer be the one that the deployment has.
    pub(crate) fn decision(&self) -> Option<Decision> {
        let Approved { fingerprint, by, at } = self.approved.clone()?;
        let plan = PlanId::of(&fingerprint);
        Some(Decision { plan, approved: true, claimed_by: by, at, reason: None })
    }

    /// Whether somebody was asked for approval.
    pub(crate) fn asked_for_approval(&self) -> bool {
        self.approved.is_some() || !self.not_approved.is_empty()
    }

    /// The rollback of a failed update: the same steps again, with the baseline's spec; of a failed rollback, its second
    /// attempt. `None` without a baseline.
    #[must_use]
    pub fn rollback(self) -> Option<Self> {
        let baseline = self.baseline.as_ref()?.spec.clone();
        let again = self.rolling_back;
        Some(Self {
            attempted: if again { self.attempted } else { Some(self.spec) },
            spec: baseline,
            first_failure: if again { self.first_failure } else { self.failed },
            failed: Failures::new(),
            rolling_back: true,
            rolling_back_again: again,
            destroying: false,
            refresh_image: false,
            report_only: false,
            outputs: Outputs::default(),
            stable: Outputs::default(),
            ..self
        })
    }
}

/// The object in the bucket that a deployment deploys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Source {
    /// Its key.
    pub key: String,
    /// Its S3 version.
    pub version: String,
    /// Whether only a plan was requested.
    #[serde(default)]
    pub plan_only: bool,
}

/// The last deployment that succeeded.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Baseline {
    /// That deployment's id.
    pub deployment: String,
    /// The version of Stackdrop that made the stack, or found that it had nothing to change.
    #[serde(default)]
    pub made_by: String,
    /// The S3 key of its spec.
    #[serde(default)]
    pub key: String,
    /// The S3 version of its spec.
    pub version: String,
    /// Its spec.
    pub spec: Spec,
    /// What it created.
    pub outputs: Outputs,
    /// Whether pruning failed, so that resources remain that no spec has: the next deployment prunes them.
    #[serde(default)]
    pub unpruned: bool,
    /// The spec whose resources remain, if pruning failed, without its services: it names a domain that no other spec knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unpruned_spec: Option<Box<Spec>>,
    /// Whether a schedule could not be written or deleted: the next deployment does that.
    #[serde(default)]
    pub unscheduled: bool,
}

impl Baseline {
    /// The baseline once pruning has failed that a deployment of this spec should have done.
    pub(crate) fn unpruned_of(self, spec: Option<&Spec>) -> Self {
        // An execution's state has little room beside the specs that it needs.
        let named = |spec: &Spec| Box::new(Spec { services: BTreeMap::default(), ..spec.clone() });
        let unpruned_spec = self.unpruned_spec.or_else(|| spec.map(named));
        Self { unpruned: true, unpruned_spec, ..self }
    }

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
    /// A manual request.
    #[default]
    Manual,
    /// The stack's schedule.
    Schedule,
    /// An event of Secrets Manager: the database's password has changed.
    Rotation,
    /// An execution that was stopped, timed out, or that Step Functions failed.
    Interruption,
}

impl fmt::Display for Trigger {
    /// In words: "started by …".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Upload => "an upload",
            Self::Deletion => "the deletion of its spec",
            Self::Manual => "a request",
            Self::Schedule => "its schedule",
            Self::Rotation => "a changed password",
            Self::Interruption => "the end of another execution",
        })
    }
}
