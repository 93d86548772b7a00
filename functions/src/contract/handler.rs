//! The one door: event in, action run, result or named error out.

use std::pin::Pin;

use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tracing::Instrument;

use crate::aws::Aws;
use crate::contract::component::{Component, Work};
use crate::deployment::deletion::Removal;
use crate::deployment::plan::{Plan, Verb};
use crate::aws::error::StepError;
use crate::deployment::state::Deployment;
use crate::deployment::event;

/// How long Lambda lets a function run, in seconds: shorter than each state's `TimeoutSeconds`, and what taking over
/// the lock of a stopped execution waits for.
pub const FUNCTION_SECONDS_MAX: u64 = 60;

/// What a step asks of a component's function.
#[derive(Debug, Deserialize)]
struct Request {
    action: Action,
    deployment: Deployment,
}

/// The actions of a component; the removal in two manners.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Action {
    Plan,
    Ensure,
    Settle,
    /// Deletes what the spec has no longer; `Pending` until nothing of that is left.
    Tidy,
    /// Deletes what can go now, and reports what is left.
    Remove,
    /// The same, and `Pending` until nothing is left.
    Clear,
}

type Running<'a> = Pin<Box<dyn Future<Output = Result<Value, StepError>> + Send + 'a>>;

/// A Lambda function: a component's, Admit or Conclude.
///
/// Each has a program of its own (`src/bin`), which names just this: nothing of the others, nor a client that only they
/// use, is linked into it.
#[derive(Debug, Clone, Copy)]
pub struct Function {
    /// Its name, which is also its component's.
    pub name: &'static str,
    run: fn(Value, &Aws) -> Running<'_>,
}

impl Function {
    pub(crate) const fn new(name: &'static str, run: fn(Value, &Aws) -> Running<'_>) -> Self {
        Self { name, run }
    }

    /// Runs it, with the payload that the workflow sends.
    ///
    /// # Errors
    /// See [`StepError`].
    pub async fn handle(&self, payload: Value, aws: &Aws) -> Result<Value, StepError> {
        let span = span(self.name, &payload);
        logged((self.run)(payload, aws)).instrument(span).await
    }
}

/// Tells the log how a step ended.
async fn logged(running: Running<'_>) -> Result<Value, StepError> {
    let ended = running.await;
    match &ended {
        Ok(_) => tracing::info!("Done."),
        Err(StepError::Pending(waits_for)) => tracing::info!(waits_for, "Not done yet."),
        Err(error) => {
            tracing::warn!(error = error.name(), cause = error.chain(), "The step ended with an error.");
        }
    }
    ended
}

/// What every line of a step's log says: whose it is.
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
    let Request { action, mut deployment } = serde_json::from_value::<Request>(payload)
        .map_err(|error| StepError::Defect(format!("the workflow's input for `{name}`: {error}")))?;
    if let (Action::Plan, Some(baseline)) = (action, &deployment.baseline) {
        // Nobody has reported anything yet: what was made last time tells a difference from what is there now.
        deployment.outputs = baseline.outputs.clone();
    }
    let work = Work::new(aws, &deployment);
    match action {
        Action::Plan => {
            let plan = if deployment.destroying {
                component.plan_removal(&work).await?
            } else {
                component.plan(&work).await?
            };
            let (changed, blocked) = (!plan.changes.is_empty(), !plan.problems.is_empty());
            let drops = plan.changes.iter().any(|change| change.verb == Verb::Remove);
            answer(&json!({
                "component": name, "changed": changed, "blocked": blocked, "drops": drops,
                "fingerprint": fingerprint(&plan)?,
                "changes": plan.changes, "problems": plan.problems, "warnings": plan.warnings,
            }))
        }
        Action::Ensure => answer(&component.ensure(&work).await?),
        Action::Settle => answer(&component.settle(&work).await?),
        Action::Tidy => answer(&cleared(component.tidy(&work).await?)?),
        Action::Remove => answer(&component.remove(&work).await?),
        Action::Clear => answer(&cleared(component.remove(&work).await?)?),
    }
}

/// Tells this plan of a component from any other: what an approval is bound to. Warnings are not part of it, since what
/// they tell of stays as it is.
fn fingerprint(plan: &Plan) -> Result<String, StepError> {
    let text = serde_json::to_vec(&(&plan.changes, &plan.problems))
        .map_err(|error| StepError::Defect(format!("writing a plan: {error}")))?;
    Ok(hex::encode(&Sha256::digest(text)[..16]))
}

/// Nothing left, or `Pending` with what is.
pub(crate) fn cleared(removal: Removal) -> Result<Removal, StepError> {
    if removal.left.is_empty() {
        return Ok(removal);
    }
    let left: Vec<String> = removal.left.iter().map(ToString::to_string).collect();
    Err(StepError::pending(format!("the removal of {}", left.join(", "))))
}

fn answer(result: &impl serde::Serialize) -> Result<Value, StepError> {
    serde_json::to_value(result).map_err(|error| StepError::Defect(format!("writing the result: {error}")))
}
