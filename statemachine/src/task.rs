//! Runs Task states: invokes the function, waits for the token if the task has one, and wraps the result.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::macros::format_description;

use crate::context::{Context, Scope};
use crate::definition::Task;
use crate::failure::{Failure, TASK, names};
use crate::history::{Detail, EventKind};
use crate::run::{Run, check_size};
use crate::visit::Visit;

/// The result of one attempt.
pub(crate) async fn run(
    run: &Run<'_>,
    visit: &Visit<'_>,
    task: &Task,
    input: &Value,
) -> Result<Arc<Value>, Failure> {
    // Unique for each attempt, as in AWS; not secret here.
    let token = format!("{}.{}.{}", run.execution.arn, visit.state.name, run.history().events.len());
    let token = task.waits_for_token.then_some(token.as_str());
    let context = Context { token, ..visit.context() };
    let payload = task.payload.evaluate(Scope { input, context });
    let payload = payload.map_err(|failure| visit.within(failure))?;
    check_size(&payload, &visit.state.name)?;
    let payload = Arc::new(payload);
    let scheduled = Detail::Scheduled {
        function: task.function.clone(),
        payload: Arc::clone(&payload),
        waits_for_token: task.waits_for_token,
        timeout_seconds: task.timeout_seconds,
    };
    visit.record(EventKind::TaskScheduled, scheduled)?;
    let started = visit.record(EventKind::TaskStarted, Detail::empty())?;
    let answer = in_time(visit, task, answer(run, visit, task, payload, token)).await?;
    let wrap = |answer: Value| match token {
        None => result(answer, started, run.execution.time_at(run.elapsed())),
        Some(_) => answer,
    };
    let result = answer.map(wrap).and_then(|result| check_size(&result, TASK).map(|()| Arc::new(result)));
    match &result {
        Ok(output) => visit.record(EventKind::TaskSucceeded, Detail::Output(Arc::clone(output)))?,
        Err(failure) => visit.record(EventKind::TaskFailed, Detail::failure(failure))?,
    };
    result
}

/// The function's result or, if the task waits for its token, the answer to the token.
async fn answer(
    run: &Run<'_>,
    visit: &Visit<'_>,
    task: &Task,
    payload: Arc<Value>,
    token: Option<&str>,
) -> Result<Value, Failure> {
    let answer = run.tasks.invoke(&task.function, Arc::unwrap_or_clone(payload)).await?;
    let Some(token) = token else { return Ok(answer) };
    visit.record(EventKind::TaskSubmitted, Detail::empty())?;
    run.tasks.answer(token).await
}

/// Stops the call at the task's `TimeoutSeconds`. The outer error is a timeout, which is already on record.
async fn in_time(
    visit: &Visit<'_>,
    task: &Task,
    call: impl Future<Output = Result<Value, Failure>>,
) -> Result<Result<Value, Failure>, Failure> {
    let Some(seconds) = task.timeout_seconds else { return Ok(call.await) };
    match tokio::time::timeout(Duration::from_secs(seconds.into()), call).await {
        Ok(answer) => Ok(answer),
        Err(_elapsed) => {
            // AWS reports no cause with a timeout.
            let failure = Failure::new(names::TIMEOUT, "");
            visit.record(EventKind::TaskTimedOut, Detail::failure(&failure))?;
            Err(failure)
        }
    }
}

/// The result of `lambda:invoke`: the function's answer with the SDK's data about the call (Developer Guide,
/// "Invoke a Lambda function"). All of it counts towards the size of the result. `invocation` is unique in the
/// execution.
fn result(payload: Value, invocation: u64, at: Option<OffsetDateTime>) -> Value {
    let id = format!("00000000-0000-4000-8000-{invocation:012}");
    let trace = format!("root=1-00000000-{invocation:024};parent={invocation:016};sampled=0");
    let length = payload.to_string().len().to_string();
    let date = format_description!(
        "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
    );
    let date = at.and_then(|at| at.format(date).ok()).unwrap_or_default();
    let headers = [
        ("Connection", "keep-alive"),
        ("Content-Length", &length),
        ("Content-Type", "application/json"),
        ("Date", &date),
        ("X-Amz-Executed-Version", "$LATEST"),
        ("X-Amzn-Trace-Id", &trace),
        ("x-amzn-Remapped-Content-Length", "0"),
        ("x-amzn-RequestId", &id),
    ];
    let each = |wrap: fn(&str) -> Value| -> Value {
        headers.iter().map(|(name, value)| ((*name).to_owned(), wrap(value))).collect()
    };
    let mut result = json!({
        "ExecutedVersion": "$LATEST",
        "Payload": null,
        "SdkHttpMetadata": {
            "AllHttpHeaders": each(|value| json!([value])),
            "HttpHeaders": each(|value| json!(value)),
            "HttpStatusCode": 200,
        },
        "SdkResponseMetadata": { "RequestId": id },
        "StatusCode": 200,
    });
    result["Payload"] = payload; // Moved: `json!` would copy it.
    result
}
