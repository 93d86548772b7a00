//! Runs the functions as Lambda would: by name, with a cold start, a timeout, and a kill where a fault says so.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use stackdrop_figures::LatencyModel;
use stackdrop_functions::{Aws, admit, conclude, handle};
use stackdrop_simulator::{Account, Caller, as_caller};
use stackdrop_statemachine::{Failure, TaskFuture, Tasks};

/// How long Lambda lets a function run: shorter than each state's `TimeoutSeconds` (a test compares).
pub const FUNCTION_SECONDS_MAX: u64 = 120;

/// The functions of one execution.
pub(super) struct Functions<'r> {
    account: &'r Account,
    aws: &'r Aws,
    cold_start: Duration,
    execution: &'r str,
    warm: Mutex<BTreeSet<String>>,
}

impl<'r> Functions<'r> {
    pub(super) fn new(account: &'r Account, aws: &'r Aws, model: &LatencyModel, execution: &'r str) -> Self {
        let cold_start = Duration::from_secs_f64(model.create_seconds("lambda_cold_start_rust"));
        Self { account, aws, cold_start, execution, warm: Mutex::default() }
    }

    async fn start(&self, function: &str) {
        let cold = self.warm.lock().unwrap_or_else(PoisonError::into_inner).insert(function.to_owned());
        if cold {
            pause(self.cold_start).await;
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "what takes time here is Lambda's own start, not a function")]
async fn pause(duration: Duration) {
    tokio::time::sleep(duration).await;
}

impl Tasks for Functions<'_> {
    fn invoke<'a>(&'a self, function: &'a str, payload: Value) -> TaskFuture<'a> {
        Box::pin(async move {
            self.start(function).await;
            let action = payload.get("action").and_then(Value::as_str).unwrap_or("run").to_owned();
            let caller = Caller::new(&format!("{}/{function}/{action}", self.execution));
            let run = as_caller(caller.clone(), handle(function, payload, self.aws));
            tokio::select! {
                biased;
                () = caller.killed() => Err(Failure::new("Runtime.ExitError", "RequestId: simulated Error: Runtime exited")),
                answer = tokio::time::timeout(Duration::from_secs(FUNCTION_SECONDS_MAX), run) => match answer {
                    Ok(Ok(answer)) => Ok(answer),
                    Ok(Err(error)) => Err(Failure::of_lambda(error.name(), &error.chain())),
                    Err(_) => Err(Failure::of_lambda(
                        "Sandbox.Timedout",
                        &format!("RequestId: simulated Error: Task timed out after {FUNCTION_SECONDS_MAX}.00 seconds"),
                    )),
                },
            }
        })
    }
}

impl std::fmt::Debug for Functions<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Functions")
            .field("execution", &self.execution)
            .field("at", &self.account.clock().elapsed())
            .finish_non_exhaustive()
    }
}

/// The workflow file's `${…}`: each function under the name that its handler has.
#[must_use]
pub fn substitutions() -> BTreeMap<String, String> {
    let components = stackdrop_functions::COMPONENTS.iter().map(|part| part.name);
    components.chain([admit::NAME, conclude::NAME]).map(|name| (camel(name), name.to_owned())).collect()
}

/// `security-groups` as the workflow file writes it: `SecurityGroups`.
#[must_use]
pub fn camel(name: &str) -> String {
    name.split('-')
        .map(|word| {
            let mut letters = word.chars();
            letters
                .next()
                .map(|first| first.to_ascii_uppercase().to_string() + letters.as_str())
                .unwrap_or_default()
        })
        .collect()
}
