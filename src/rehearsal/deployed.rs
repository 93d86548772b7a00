//! A deployment that has ended.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::{Value, json};
use stackdrop_functions::deployment::failure::message_of;
use stackdrop_functions::deployment::outcome::Outcome;
use stackdrop_functions::deployment::outputs::Outputs;
use stackdrop_functions::deployment::plan::ComponentPlan;
use stackdrop_functions::deployment::summary;
use stackdrop_simulator::Call;
use stackdrop_statemachine::{self as statemachine, Status};

/// A deployment that has ended.
#[derive(Debug)]
pub struct Deployed {
    /// The deployment's ID: the execution's name.
    pub id: String,
    /// The outcome of the execution.
    pub outcome: statemachine::Outcome,
    /// The calls that the deployment made, in order.
    pub calls: Vec<Call>,
    /// The shortest duration that AWS allows for a first deployment of the spec at the medians, in seconds; `None` if
    /// the spec is invalid.
    pub bound_seconds: Option<f64>,
    /// The writing calls that its plan hides, each with the reason. Empty if others changed the account meanwhile.
    pub unplanned: Vec<String>,
}

impl Deployed {
    /// How the deployment ended: from its record if it has one, otherwise from the execution.
    #[must_use]
    pub fn result(&self) -> Outcome {
        let conclusion = self.conclusion();
        match conclusion.as_ref().and_then(|conclusion| conclusion.get("result")) {
            // A conclusion without a known outcome is a bug, and no success.
            Some(result) => Outcome::deserialize(result).unwrap_or(Outcome::Failed),
            None => self.without_record(),
        }
    }

    /// Whether the execution only planned, or could not.
    #[must_use]
    pub fn only_plans(&self) -> bool {
        let state = self.outcome.input_of("Conclude").or_else(|| self.outcome.input_of("Plan"));
        state.is_some_and(|state| state["source"]["planOnly"] == true)
    }

    /// How an execution ended that has no record.
    fn without_record(&self) -> Outcome {
        match &self.outcome.status {
            // An execution that could not plan succeeds, with the error as its output.
            Status::Succeeded(output) if output["Error"].is_string() => {
                Outcome::of_error(output["Error"].as_str().unwrap_or_default())
            }
            // A result without a known outcome is a bug, and no success.
            Status::Succeeded(output) => Outcome::deserialize(&output["result"]).unwrap_or(Outcome::Failed),
            Status::Failed(failure) => Outcome::of_error(&failure.error),
            Status::TimedOut | Status::Aborted(_) => Outcome::Interrupted,
        }
    }

    /// Whether the execution succeeded.
    #[must_use]
    pub fn succeeded(&self) -> bool {
        matches!(self.outcome.status, Status::Succeeded(_))
    }

    /// The error of the execution, for people: also of one that could not plan, which succeeds.
    #[must_use]
    pub fn error(&self) -> Option<String> {
        match &self.outcome.status {
            Status::Succeeded(output) => {
                let cause = message_of(output["Cause"].as_str().unwrap_or_default());
                output["Error"].as_str().map(|error| format!("{error}: {cause}"))
            }
            Status::Failed(failure) | Status::Aborted(failure) => {
                Some(format!("{}: {}", failure.error, message_of(&failure.cause)))
            }
            Status::TimedOut => Some("the execution ran longer than the workflow allows".into()),
        }
    }

    /// The result of Conclude, if the deployment reached it.
    #[must_use]
    pub fn conclusion(&self) -> Option<Value> {
        // What a failed attempt leaves is an error.
        self.outcome.output_of("Conclude").filter(|output| output.get("result").is_some()).cloned()
    }

    /// The problems that the plan found.
    ///
    /// # Errors
    /// When the plan in the workflow's state cannot be parsed.
    pub fn problems(&self) -> Result<Vec<String>> {
        let state = self.outcome.input_of("Conclude");
        let Some(plan) = state.and_then(|state| state.get("plan")) else { return Ok(Vec::new()) };
        let plan = Vec::<ComponentPlan>::deserialize(plan).context("cannot parse the plan")?;
        Ok(summary::problems(&plan))
    }

    /// The outputs of the stack.
    #[must_use]
    pub fn outputs(&self) -> Value {
        let outputs = self.conclusion().and_then(|conclusion| conclusion.get("outputs").cloned());
        outputs.unwrap_or_else(|| json!({}))
    }

    /// How often each operation was called, by name.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for call in &self.calls {
            *counts.entry(call.name()).or_default() += 1;
        }
        counts
    }
}

/// The outputs of the stack, as the functions' own type.
///
/// # Errors
/// If the outputs do not have that type.
pub fn outputs_of(deployed: &Deployed) -> Result<Outputs> {
    serde_json::from_value(deployed.outputs()).context("cannot parse the outputs")
}
