//! How the workflow calls a function: it sends a payload, the function runs an action, and returns a result or a named
//! error.

use std::pin::Pin;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tracing::Instrument;

use crate::aws::Aws;
use crate::aws::error::StepError;
use crate::contract::component::{Component, Work};
use crate::deployment::component_names::{NETWORK, SECURITY_GROUPS, field};
use crate::deployment::deletion::{Deletion, DeletionEnd};
use crate::deployment::event;
use crate::deployment::plan::ComponentPlan;
use crate::deployment::state::Deployment;

/// A function's timeout in Lambda, in seconds: shorter than each state's `TimeoutSeconds`. A deployment waits for as
/// long before it takes over the lock of a stopped execution.
pub const FUNCTION_SECONDS_MAX: u64 = 60;

/// The payload of a component's function.
#[derive(Debug, Deserialize)]
struct Request {
    action: Action,
    deployment: Deployment,
}

/// The actions of a component.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Compares the account with the spec; changes nothing.
    Plan,
    /// Creates or updates what differs from the spec.
    Apply,
    /// Applies early what other services see late.
    Prepare,
    /// `Pending` until the component is stable.
    WaitUntilStable,
    /// Deletes what the spec no longer has; `Pending` until everything is deleted.
    Prune,
    /// Changes the database's password; `Pending` until it has changed.
    Rotate,
    /// Restarts what still has a previous value of a secret.
    Restart,
    /// `Pending` until what was restarted is stable.
    AwaitRestart,
    /// Deletes what can be deleted now, and reports what remains.
    Delete,
    /// Deletes, and is `Pending` until nothing remains.
    AwaitDeletion,
}

type Running<'a> = Pin<Box<dyn Future<Output = Result<Value, StepError>> + Send + 'a>>;

/// A Lambda function: a component's, Admit or Conclude.
///
/// Each has its own program (`src/bin`), which refers only to this value, so that no other function, and no client that
/// only others use, is linked into it.
#[derive(Debug, Clone, Copy)]
pub struct Function {
    /// The function's name: that of its component, or `admit` or `conclude`.
    pub name: &'static str,
    run: fn(Value, &Aws) -> Running<'_>,
}

impl Function {
    pub(crate) const fn new(name: &'static str, run: fn(Value, &Aws) -> Running<'_>) -> Self {
        Self { name, run }
    }

    /// Runs the function with the payload that the workflow sends.
    ///
    /// # Errors
    /// See [`StepError`].
    pub async fn handle(&self, payload: Value, aws: &Aws) -> Result<Value, StepError> {
        let span = span(self.name, &payload);
        logged((self.run)(payload, aws)).instrument(span).await
    }
}

/// Logs the result of a step.
async fn logged(running: Running<'_>) -> Result<Value, StepError> {
    let ended = running.await;
    match &ended {
        Ok(_) => tracing::info!("Done."),
        Err(StepError::Pending(waiting_for)) => tracing::info!(waiting_for, "Not done yet."),
        Err(StepError::Stalled { waiting_for, why }) => {
            tracing::info!(waiting_for, why, "Not done yet, and nothing is in progress.");
        }
        Err(error) => {
            tracing::warn!(error = error.name(), cause = error.chain(), "The step ended with an error.");
        }
    }
    ended
}

/// The fields that every log line of a step has.
fn span(function: &str, payload: &Value) -> tracing::Span {
    let text = |pointer: &str| payload.pointer(pointer).and_then(Value::as_str);
    let stack = text("/deployment/stack").map(str::to_owned);
    let stack = stack.or_else(|| event::stack_of(payload.get("event")?));
    let deployment = text("/deployment/id").or_else(|| text("/execution/Name"));
    let step = text("/action").map_or_else(|| function.to_owned(), |action| format!("{function}/{action}"));
    tracing::info_span!("step", stack, deployment, step)
}

/// Runs one action of one component.
pub(crate) async fn act<C: Component>(
    component: &C,
    name: &'static str,
    payload: Value,
    aws: &Aws,
) -> Result<Value, StepError> {
    let Request { action, mut deployment } = request(name, payload)?;
    if let (Action::Plan, Some(baseline)) = (action, &deployment.baseline) {
        // No component has reported outputs yet, so the plan compares the account with the last deployment's outputs.
        deployment.outputs = baseline.outputs.clone();
    }
    let work = Work::new(aws, &deployment);
    match action {
        Action::Plan => {
            let plan = if deployment.destroying {
                component.plan_destroy(&work).await?
            } else {
                component.plan(&work).await?
            };
            respond(&ComponentPlan { component: name.into(), plan: plan.shortened() })
        }
        Action::Apply => match component.apply(&work).await {
            Err(error @ (StepError::NotOwned { .. } | StepError::Gone(_))) => left_alone(&work, name, error),
            applied => respond(&applied?),
        },
        Action::Prepare => match component.prepare(&work).await {
            // Applying it says so.
            Err(StepError::NotOwned { .. }) if deployment.rolling_back => respond(&()),
            prepared => respond(&prepared?),
        },
        Action::WaitUntilStable => match deployment.outputs.why_left_alone(name) {
            Some(why) => left_alone_because(&deployment, name, why.to_owned())?
                .ok_or_else(|| StepError::Defect("a component without a baseline was left alone".into())),
            None => respond(&component.wait_until_stable(&work).await?),
        },
        Action::Rotate => respond(&component.rotate(&work).await?),
        Action::Restart => respond(&component.restart(&work).await?),
        Action::AwaitRestart => respond(&component.wait_until_restarted(&work).await?),
        Action::Prune if stays_unpruned(&deployment, name) => respond(&Deletion::default()),
        Action::Prune => respond(&completed(component.prune(&work).await?)?),
        Action::Delete => respond(&component.delete(&work).await?),
        Action::AwaitDeletion => {
            let mut deletion = component.delete(&work).await?;
            if has_given_up(&deployment) {
                // Resources that remain of another component use it: AWS is not working on those.
                deletion.remaining.iter_mut().for_each(|remaining| remaining.in_progress = false);
            }
            respond(&completed(deletion)?)
        }
    }
}

/// What a rollback returns for a component with a resource that has lost the stack's tag, or whose database is gone: it leaves
/// that component as it is, so that the others can still be rolled back. In any other deployment, and without a baseline, it is an
/// error.
fn left_alone(work: &Work<'_>, name: &str, error: StepError) -> Result<Value, StepError> {
    if !work.deployment.rolling_back {
        return Err(error);
    }
    tracing::warn!(cause = error.chain(), "The rollback leaves this component as it is.");
    left_alone_because(work.deployment, name, error.chain())?.ok_or(error)
}

/// The baseline's outputs of a component, with why it is left alone. `None` if the baseline has none.
fn left_alone_because(deployment: &Deployment, name: &str, why: String) -> Result<Option<Value>, StepError> {
    let Some(baseline) = &deployment.baseline else { return Ok(None) };
    let outputs = baseline.outputs.leaving_alone(name, why);
    outputs.map_err(|error| StepError::Defect(format!("writing the baseline's outputs: {error}")))
}

/// Whether a rollback prunes nothing of a component: one that it left alone, and those that such a component uses.
fn stays_unpruned(deployment: &Deployment, name: &str) -> bool {
    let left_alone = deployment.left_alone();
    let is_used = [NETWORK, SECURITY_GROUPS].contains(&name) && !left_alone.is_empty();
    is_used || left_alone.contains_key(&*field(name))
}

/// Whether the deletion of a component that used the network was given up.
fn has_given_up(deployment: &Deployment) -> bool {
    deployment.deletion_ends.iter().any(|end| matches!(end, DeletionEnd::GivenUp { .. }))
}

/// The deletion if nothing remains, otherwise `Pending` with what remains; `Stalled` if AWS works on none of it.
pub(crate) fn completed(deletion: Deletion) -> Result<Deletion, StepError> {
    if deletion.remaining.is_empty() {
        return Ok(deletion);
    }
    let remaining: Vec<String> = deletion.remaining.iter().map(ToString::to_string).collect();
    let waiting_for = format!("the deletion of {}", remaining.join(", "));
    if deletion.remaining.iter().any(|remaining| remaining.in_progress) {
        return Err(StepError::pending(waiting_for));
    }
    Err(StepError::stalled(waiting_for))
}

/// Parses the payload that the workflow sends to a function.
pub(crate) fn request<T: DeserializeOwned>(function: &str, payload: Value) -> Result<T, StepError> {
    serde_json::from_value(payload)
        .map_err(|error| StepError::Defect(format!("parsing the workflow's input for `{function}`: {error}")))
}

/// Converts a function's result into the JSON that the workflow stores.
pub(crate) fn respond(result: &impl Serialize) -> Result<Value, StepError> {
    serde_json::to_value(result).map_err(|error| StepError::Defect(format!("writing the result: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deletion_waits_long_only_while_aws_works_on_it() {
        assert!(completed(Deletion::default()).is_ok());
        let mut deletion = Deletion::default();
        deletion.held("instance", "shop-database", "deletion protection is on");
        let error = completed(deletion.clone()).unwrap_err();
        assert_eq!(
            error.chain(),
            "waiting for the deletion of instance shop-database (deletion protection is on), but AWS reports nothing in progress"
        );
        assert!(matches!(error, StepError::Stalled { .. }), "{error:?}");
        deletion.leaving("subnet-group", "shop", "waits for the deletion of the RDS instance");
        assert!(matches!(completed(deletion), Err(StepError::Pending(_))));
    }
}
