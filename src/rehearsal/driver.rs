//! Plays Lambda: runs functions by name, with a cold start and a timeout, and kills them if a fault says so.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use stackdrop_figures::LatencyModel;
pub use stackdrop_functions::contract::handler::FUNCTION_SECONDS_MAX;
use stackdrop_functions::workflow::pascal_case;
use stackdrop_functions::{Aws, functions, handle};
use stackdrop_simulator::{AccessRequest, Account, Caller, Principal, as_caller};
use stackdrop_statemachine::{Failure, TaskFuture, Tasks};
use tokio::sync::oneshot;

use crate::installation::{Function, Installation};

/// One run of a function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Invocation {
    /// The caller's name in the call log: `EXECUTION/FUNCTION/ACTION`.
    pub caller: String,
    /// When the run started, since the account was opened.
    pub started: Duration,
    /// When the run ended; `None` while it runs.
    pub ended: Option<Duration>,
}

/// Every run of a function in one account, in the order of their starts.
#[derive(Debug, Clone, Default)]
pub(super) struct Invocations {
    runs: Arc<Mutex<Vec<Invocation>>>,
    /// The functions whose logs Lambda was not allowed to write.
    unlogged: Arc<Mutex<BTreeSet<String>>>,
}

impl Invocations {
    pub(super) fn resume(before: Vec<Invocation>) -> Self {
        Self { runs: Arc::new(Mutex::new(before)), unlogged: Arc::default() }
    }

    pub(super) fn all(&self) -> MutexGuard<'_, Vec<Invocation>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The functions that ran without a log.
    pub(super) fn without_log(&self) -> BTreeSet<String> {
        self.unlogged.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn unlogged(&self, function: &str) {
        self.unlogged.lock().unwrap_or_else(PoisonError::into_inner).insert(function.into());
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

/// Everything that an invocation needs. It can outlive the execution that started it.
#[derive(Debug, Clone)]
pub(super) struct Lambda {
    pub(super) account: Account,
    pub(super) aws: Arc<Aws>,
    pub(super) installation: Arc<Installation>,
    pub(super) cold_start: Duration,
    pub(super) warm: Arc<Mutex<BTreeSet<String>>>,
    pub(super) invocations: Invocations,
}

/// How long the first start of a function takes.
pub(super) fn cold_start(model: &LatencyModel) -> Duration {
    Duration::from_secs_f64(model.create_seconds("lambda_cold_start_rust"))
}

/// The functions of one execution.
#[derive(Debug)]
pub(super) struct Functions<'r> {
    lambda: Lambda,
    execution: &'r str,
}

impl<'r> Functions<'r> {
    pub(super) fn new(lambda: Lambda, execution: &'r str) -> Self {
        Self { lambda, execution }
    }

    /// Marks functions that the execution has invoked before: they have no cold start.
    pub(super) fn warmed(self, functions: impl IntoIterator<Item = String>) -> Self {
        self.lambda.warm.lock().unwrap_or_else(PoisonError::into_inner).extend(functions);
        self
    }
}

impl Lambda {
    /// The function that the workflow invokes by this name.
    fn function(&self, name: &str) -> Result<&Function, Failure> {
        let found = self.installation.functions.get(&pascal_case(name));
        found.ok_or_else(|| {
            Failure::new("Lambda.ResourceNotFoundException", format!("Function not found: {name}"))
        })
    }

    /// Checks whether the workflow's role may invoke a function. The form of a denial is that of
    /// awslabs/aws-deployment-framework #460.
    fn admit(&self, function: &Function, execution: &str) -> Result<(), Failure> {
        let principal =
            Principal::Role { arn: self.installation.workflow.role.clone(), session: "states".into() };
        let request = AccessRequest::new("lambda:InvokeFunction", "function", &function.version);
        self.account.decide(execution, &principal, request).map_err(|denial| {
            let service = "Service: AWSLambda; Status Code: 403; Error Code: AccessDeniedException";
            Failure::new("Lambda.AWSLambdaException", format!("{denial} ({service})"))
        })
    }

    async fn start(&self, function: &Function, name: &str) {
        let cold = self.warm.lock().unwrap_or_else(PoisonError::into_inner).insert(function.program.clone());
        if cold {
            self.open_log(function, name);
            pause(self.cold_start).await;
        }
    }

    /// Checks whether Lambda may write the function's log with the function's role. A function that may not still runs,
    /// without a log.
    fn open_log(&self, function: &Function, name: &str) {
        let (settings, group) = (&self.installation.settings, &function.log_group);
        let stream = format!(
            "arn:aws:logs:{}:{}:log-group:{group}:log-stream:{}",
            settings.region, settings.account, function.name
        );
        let principal = Principal::Role { arn: function.role.clone(), session: function.name.clone() };
        let denied = ["logs:CreateLogStream", "logs:PutLogEvents"].into_iter().any(|action| {
            let request = AccessRequest::new(action, "log-stream", &stream);
            self.account.decide(name, &principal, request).is_err()
        });
        if denied {
            self.invocations.unlogged(&function.name);
        }
    }

    async fn run(&self, function: &str, payload: Value, name: &str) -> Result<Value, Failure> {
        let function = self.function(function)?;
        self.admit(function, name)?;
        let caller = Caller::new(name).acting_as(&function.role, &function.name);
        let place = self.invocations.begin(name, self.account.clock().elapsed());
        self.start(function, name).await;
        let run = as_caller(caller.clone(), handle(&function.program, payload, &self.aws));
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

#[expect(clippy::disallowed_methods, reason = "Lambda's own start takes time; no function waits")]
async fn pause(duration: Duration) {
    tokio::time::sleep(duration).await;
}

impl Tasks for Functions<'_> {
    /// Lambda runs an invocation to its end or its timeout, even if the execution is stopped or a parallel branch
    /// fails: then only the answer is dropped.
    fn invoke<'a>(&'a self, function: &'a str, payload: Value) -> TaskFuture<'a> {
        Box::pin(async move {
            let action = payload.get("action").and_then(Value::as_str).unwrap_or("run");
            let name = format!("{}/{function}/{action}", self.execution);
            let (lambda, function) = (self.lambda.clone(), function.to_owned());
            let (sender, receiver) = oneshot::channel();
            tokio::spawn(async move {
                let result = lambda.run(&function, payload, &name).await;
                // The execution may have ended.
                drop(sender.send(result));
            });
            let unanswered = Err(Failure::new("Lambda.Unknown", "the invocation ended without an answer"));
            receiver.await.unwrap_or(unanswered)
        })
    }

    fn answer<'a>(&'a self, token: &'a str) -> TaskFuture<'a> {
        Box::pin(async move {
            let answer = self.lambda.account.task_answer(token).await;
            answer.map_err(|(error, cause)| Failure::new(error, cause))
        })
    }
}

/// The substitutions of the workflow file: the name of each function, by its `${…}`.
#[must_use]
pub fn substitutions() -> BTreeMap<String, String> {
    functions().map(|function| (pascal_case(function.name), function.name.to_owned())).collect()
}
