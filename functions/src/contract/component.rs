//! What a component promises.

use serde::{Serialize, de::DeserializeOwned};
use stackdrop_specs::Spec;

use crate::aws::Aws;
use crate::aws::error::StepError;
use crate::deployment::deletion::Deletion;
use crate::deployment::names::Stack;
use crate::deployment::outputs::{NetworkOutputs, Outputs, SecurityGroupOutputs};
use crate::deployment::plan::Plan;
use crate::deployment::state::Deployment;

/// One part of a stack. Every action may be asked again at any time, after any crash.
#[expect(async_fn_in_trait, reason = "called in this crate only, through `crate::lambda::act`")]
pub trait Component: Sync {
    /// What dependents need from it (ids, ARNs, endpoints).
    type Outputs: Serialize + DeserializeOwned + Send;

    /// Read only. What `apply` and `prune` would change, and what would make them fail.
    async fn plan(&self, work: &Work<'_>) -> Result<Plan, StepError>;

    /// Read only. What would keep the stack from being removed. Asked before anything is touched.
    async fn plan_destroy(&self, _work: &Work<'_>) -> Result<Plan, StepError> {
        Ok(Plan::default())
    }

    /// Starts or changes whatever differs from the spec; returns as soon as dependents can go on. What the spec has no
    /// longer is left for `prune`: something may use it until the end.
    async fn apply(&self, work: &Work<'_>) -> Result<Self::Outputs, StepError>;

    /// Read only. `Pending` until healthy, `Unhealthy` with AWS's own reason when it never will be; then the
    /// outputs, complete.
    async fn wait_until_stable(&self, work: &Work<'_>) -> Result<Self::Outputs, StepError>;

    /// Deletes what the spec has no longer, once everything that it has is healthy; returns what is left.
    async fn prune(&self, _work: &Work<'_>) -> Result<Deletion, StepError> {
        Ok(Deletion::default())
    }

    /// Deletes what can go now, found by name and tag; absent is success. Returns what is left and who holds it.
    async fn delete(&self, work: &Work<'_>) -> Result<Deletion, StepError>;
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
            stack: deployment.stack_names(),
            spec: &deployment.spec,
            outputs: &deployment.outputs,
            deployment,
        }
    }

    /// The outputs of the network, which everything else stands in.
    pub(crate) fn network(&self) -> Result<&NetworkOutputs, StepError> {
        self.outputs.network.as_ref().ok_or_else(|| before("network"))
    }

    /// The ids of the security groups.
    pub(crate) fn groups(&self) -> Result<&SecurityGroupOutputs, StepError> {
        self.outputs.security_groups.as_ref().ok_or_else(|| before("security-groups"))
    }
}

fn before(component: &str) -> StepError {
    StepError::Defect(format!(
        "the workflow asked for this step before `{component}` had reported its outputs"
    ))
}
