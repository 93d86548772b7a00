//! Runs the functions as Lambda would: by name, with a cold start, a timeout, and a kill where a fault says so.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use stackdrop_figures::LatencyModel;
pub use stackdrop_functions::lambda::FUNCTION_SECONDS_MAX;
use stackdrop_functions::{Aws, functions, handle};
use stackdrop_simulator::{Account, Caller, as_caller};
use stackdrop_statemachine::{Failure, TaskFuture, Tasks};
use tokio::sync::oneshot;

/// One run of a function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Invocation {
    /// Who it is in the ledger: `EXECUTION/FUNCTION/ACTION`.
    pub caller: String,
    /// When it was invoked, since the account was opened.
    pub started: Duration,
    /// When it ended; `None` while it is at work.
    pub ended: Option<Duration>,
}

/// Every run of a function in one account, in the order of their beginnings.
#[derive(Debug, Clone, Default)]
pub(super) struct Invocations(Arc<Mutex<Vec<Invocation>>>);

impl Invocations {
    pub(super) fn resume(before: Vec<Invocation>) -> Self {
        Self(Arc::new(Mutex::new(before)))
    }

    pub(super) fn all(&self) -> MutexGuard<'_, Vec<Invocation>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, caller: &str, now: Duration) -> usize {
        let mut all = self.all();
        all.push(Invocation { caller: caller.into(), started: now, ended: None });
        all.len() - 1
    }

    fn end(&self, place: usize, now: Duration) {
        if let Some(invocation) = self.all().get_mut(place) {
            invocation.ended = Some(now);
        }
    }
}

/// What an invocation needs of the account, also when the execution that asked for it is gone.
#[derive(Debug, Clone)]
struct Lambda {
    account: Account,
    aws: Arc<Aws>,
    cold_start: Duration,
    warm: Arc<Mutex<BTreeSet<String>>>,
    invocations: Invocations,
}

/// The functions of one execution.
#[derive(Debug)]
pub(super) struct Functions<'r> {
    lambda: Lambda,
    execution: &'r str,
}

impl<'r> Functions<'r> {
    pub(super) fn new(
        account: &Account,
        aws: &Arc<Aws>,
        model: &LatencyModel,
        invocations: &Invocations,
        execution: &'r str,
    ) -> Self {
        let cold_start = Duration::from_secs_f64(model.create_seconds("lambda_cold_start_rust"));
        let lambda = Lambda {
            account: account.clone(),
            aws: Arc::clone(aws),
            cold_start,
            warm: Arc::default(),
            invocations: invocations.clone(),
        };
        Self { lambda, execution }
    }

    /// The same, where the execution has invoked these functions before: they start no more.
    pub(super) fn warmed(self, functions: impl IntoIterator<Item = String>) -> Self {
        self.lambda.warm.lock().unwrap_or_else(PoisonError::into_inner).extend(functions);
        self
    }
}

impl Lambda {
    async fn start(&self, function: &str) {
        let cold = self.warm.lock().unwrap_or_else(PoisonError::into_inner).insert(function.to_owned());
        if cold {
            pause(self.cold_start).await;
        }
    }

    async fn run(&self, function: &str, payload: Value, name: &str) -> Result<Value, Failure> {
        let caller = Caller::new(name);
        let place = self.invocations.begin(name, self.account.clock().elapsed());
        self.start(function).await;
        let run = as_caller(caller.clone(), handle(function, payload, &self.aws));
        let answer = tokio::select! {
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
        };
        self.invocations.end(place, self.account.clock().elapsed());
        answer
    }
}

#[expect(clippy::disallowed_methods, reason = "what takes time here is Lambda's own start, not a function")]
async fn pause(duration: Duration) {
    tokio::time::sleep(duration).await;
}

impl Tasks for Functions<'_> {
    /// Lambda runs what was invoked to its end, or until its timeout, whatever becomes of the execution that waits for
    /// the answer: when it is stopped, or a neighbouring branch fails, only the answer is dropped.
    fn invoke<'a>(&'a self, function: &'a str, payload: Value) -> TaskFuture<'a> {
        Box::pin(async move {
            let action = payload.get("action").and_then(Value::as_str).unwrap_or("run");
            let name = format!("{}/{function}/{action}", self.execution);
            let (lambda, function) = (self.lambda.clone(), function.to_owned());
            let (answer, heard) = oneshot::channel();
            tokio::spawn(async move {
                let result = lambda.run(&function, payload, &name).await;
                // Nobody may be there to hear it.
                drop(answer.send(result));
            });
            let unanswered = Err(Failure::new("Lambda.Unknown", "the invocation ended without an answer"));
            heard.await.unwrap_or(unanswered)
        })
    }

    fn answer<'a>(&'a self, token: &'a str) -> TaskFuture<'a> {
        Box::pin(async move {
            let answer = self.lambda.account.task_answer(token).await;
            answer.map_err(|(error, cause)| Failure::new(error, cause))
        })
    }
}

/// The workflow file's `${…}`: each function's name, as the file writes it.
#[must_use]
pub fn substitutions() -> BTreeMap<String, String> {
    functions().map(|function| (camel(function.name), function.name.to_owned())).collect()
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
