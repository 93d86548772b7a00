//! The contract of a component.

use serde::{Serialize, de::DeserializeOwned};
use stackdrop_specs::Spec;

use crate::aws::Aws;
use crate::aws::error::StepError;
use crate::deployment::deletion::Deletion;
use crate::deployment::names::Stack;
use crate::deployment::outputs::{NetworkOutputs, Outputs, SecurityGroupOutputs};
use crate::deployment::plan::Plan;
use crate::deployment::state::Deployment;

/// A part of a stack. Every action is idempotent: it may run again at any time and after any crash.
#[expect(async_fn_in_trait, reason = "called in this crate only, through `handler::act`")]
pub trait Component: Sync {
    /// The values that other components need: IDs, ARNs, endpoints.
    type Outputs: Serialize + DeserializeOwned + Send;

    /// Read-only. Returns what `apply` and `prune` would change, and what would make them fail.
    async fn plan(&self, work: &Work<'_>) -> Result<Plan, StepError>;

    /// Read-only. Returns what would prevent the stack's deletion. Runs before anything is changed.
    async fn plan_destroy(&self, _work: &Work<'_>) -> Result<Plan, StepError> {
        Ok(Plan::default())
    }

    /// Creates or updates what differs from the spec, and returns as soon as other components can continue. Resources
    /// that the spec no longer has are left to `prune`: they may be in use until then.
    async fn apply(&self, work: &Work<'_>) -> Result<Self::Outputs, StepError>;

    /// Applies early what other services see late, such as IAM roles. [`Component::apply`] repeats it.
    async fn prepare(&self, _work: &Work<'_>) -> Result<(), StepError> {
        Err(StepError::Defect("the workflow prepares a component that needs no preparation".into()))
    }

    /// Read-only. `Pending` or `Stalled` until the component is healthy; `Unhealthy` with AWS's reason if it has failed permanently.
    /// Returns the complete outputs.
    async fn wait_until_stable(&self, _work: &Work<'_>) -> Result<Self::Outputs, StepError> {
        Err(StepError::Defect("the workflow waits for a component that is stable once it is applied".into()))
    }

    /// Changes the component's password. `Pending` until it has changed.
    async fn rotate(&self, _work: &Work<'_>) -> Result<Self::Outputs, StepError> {
        Err(StepError::Defect("the workflow rotates the password of a component that has none".into()))
    }

    /// Restarts what read a secret before the secret changed, and returns what `wait_until_restarted` waits for.
    async fn restart(&self, _work: &Work<'_>) -> Result<Self::Outputs, StepError> {
        Err(StepError::Defect("the workflow restarts a component that uses no secrets".into()))
    }

    /// Read-only. Like `wait_until_stable`, for what `restart` returned.
    async fn wait_until_restarted(&self, _work: &Work<'_>) -> Result<Self::Outputs, StepError> {
        Err(StepError::Defect(
            "the workflow waits for the restart of a component that uses no secrets".into(),
        ))
    }

    /// Deletes resources that the spec no longer has, once everything else is healthy. Returns what remains.
    async fn prune(&self, _work: &Work<'_>) -> Result<Deletion, StepError> {
        Ok(Deletion::default())
    }

    /// Deletes every resource that can be deleted now, found by name and tag; a missing one is a success. Returns what
    /// remains, and why.
    async fn delete(&self, work: &Work<'_>) -> Result<Deletion, StepError>;
}

/// The input of a component's action.
#[derive(Debug)]
pub struct Work<'a> {
    /// The AWS clients.
    pub aws: &'a Aws,
    /// The stack's names and tags.
    pub stack: Stack,
    /// The desired state.
    pub spec: &'a Spec,
    /// The outputs of the components that ran before.
    pub outputs: &'a Outputs,
    /// The whole state of the deployment.
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

    /// The outputs of the component `network`.
    pub(crate) fn network(&self) -> Result<&NetworkOutputs, StepError> {
        self.outputs.network.as_ref().ok_or_else(|| missing_outputs("network"))
    }

    /// The IDs of the security groups.
    pub(crate) fn groups(&self) -> Result<&SecurityGroupOutputs, StepError> {
        self.outputs.security_groups.as_ref().ok_or_else(|| missing_outputs("security-groups"))
    }
}

fn missing_outputs(component: &str) -> StepError {
    StepError::Defect(format!("the workflow started this step before `{component}` had reported its outputs"))
}
