//! Step Functions: executions and their status. The simulation of the installation runs them: it reads
//! [`Account::executions`](crate::Account::executions) and reports the end with
//! [`Account::execution_ended`](crate::Account::execution_ended).
//!
//! The state machines belong to the installation, so every well-formed ARN of this account is accepted. Source of
//! rules and messages: API reference, `StartExecution`.

mod access;
mod history;

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

pub use self::history::{ExecutionEnd, HistoryEvent};
use super::{Service, unknown};
use crate::clock::Clock;
use crate::events::AccountEvent;
use crate::params::{Params, Refusal};
use crate::protocol::Reply;
use crate::rates::Rate;
use crate::world::World;

/// An execution's name is reserved for 90 days after its end.
const KEPT: Duration = Duration::from_hours(90 * 24);
/// The most bytes of an input.
const LONGEST_INPUT: usize = 262_144;
/// The statuses by which `ListExecutions` can filter.
const STATUSES: [&str; 6] = ["RUNNING", "SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED", "PENDING_REDRIVE"];
/// The characters that a name must not contain, besides control characters.
const ILLEGAL: &str = "<>{}[]?*\"#%\\^|~`$&,;:/";

pub(crate) static SERVICE: Service = Service {
    rate: |_| Rate::new("all", 1000.0, 500.0),
    causes_events: true,
    answers_tasks: &["SendTaskSuccess", "SendTaskFailure"],
    ..Service::json("states", "1.0", "AWSStepFunctions", act, access::access)
};

/// The state of this service.
#[derive(Debug, Clone, Default)]
pub(crate) struct State {
    /// In order of start.
    executions: Vec<ExecutionView>,
    /// The results of ended executions, as far as they were reported.
    ends: BTreeMap<String, ExecutionEnd>,
    /// The history of each execution, as far as it was reported, with the times.
    histories: BTreeMap<String, Vec<(Duration, HistoryEvent)>>,
    /// The tokens of waiting tasks, each with its answer, if it was sent.
    tokens: BTreeMap<String, Option<Answer>>,
}

/// The answer to a task: an output, or an error and its cause, which are empty if they were not sent.
pub type Answer = Result<Value, (String, String)>;

/// An execution of a state machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecutionView {
    /// Its ARN.
    pub arn: String,
    /// The state machine's ARN.
    pub state_machine: String,
    /// Its name.
    pub name: String,
    /// The input, a JSON text.
    pub input: String,
    /// `RUNNING`, `SUCCEEDED`, `FAILED`, `TIMED_OUT` or `ABORTED`.
    pub status: &'static str,
    /// When it started, since the account was opened.
    pub started_at: Duration,
    /// When it ended.
    pub ended_at: Option<Duration>,
}

/// Every execution, in order of start.
pub(crate) fn executions(world: &World) -> Vec<ExecutionView> {
    world.states.sfn.executions.clone()
}

/// Makes a task's token valid.
pub(crate) fn await_task(world: &mut World, token: &str) {
    world.states.sfn.tokens.insert(token.to_owned(), None);
}

/// The answer to a task, once it was sent.
pub(crate) fn task_answer(world: &World, token: &str) -> Option<Answer> {
    world.states.sfn.tokens.get(token).cloned().flatten()
}

/// Makes a task's token invalid: its task has timed out or was answered.
pub(crate) fn forget_task(world: &mut World, token: &str) {
    world.states.sfn.tokens.remove(token);
}

fn act(world: &mut World, operation: &str, params: &Params) -> Result<Reply, Refusal> {
    match operation {
        "StartExecution" => start(world, params),
        "DescribeExecution" => describe(world, params),
        "ListExecutions" => list(world, params),
        "GetExecutionHistory" => history::get(world, params),
        "StopExecution" => stop(world, params),
        "SendTaskSuccess" => send_success(world, params),
        "SendTaskFailure" => send_failure(world, params),
        _ => Err(unknown("states", operation)),
    }
}

/// Adds a running execution, unless it exists; `input` is a JSON text.
pub(crate) fn started(world: &mut World, arn: &str, input: Option<&str>) {
    let now = world.now;
    if world.states.sfn.find(arn).is_none() {
        let (machine, name) = machine_and_name(arn).unwrap_or_default();
        world.states.sfn.executions.push(ExecutionView {
            arn: arn.into(),
            state_machine: machine,
            name,
            input: "{}".into(),
            status: "RUNNING",
            started_at: now,
            ended_at: None,
        });
    }
    if let (Some(input), Some(execution)) = (input, world.states.sfn.find_mut(arn)) {
        input.clone_into(&mut execution.input);
    }
}

/// Ends a running execution.
pub(crate) fn ended(world: &mut World, arn: &str, status: &'static str) {
    started(world, arn, None);
    let now = world.now;
    if let Some(execution) = world.states.sfn.find_mut(arn).filter(|execution| execution.status == "RUNNING")
    {
        execution.status = status;
        execution.ended_at = Some(now);
    }
}

/// Ends a running execution with a result.
pub(crate) fn ended_with(world: &mut World, arn: &str, status: &'static str, end: ExecutionEnd) {
    let runs = world.states.sfn.find(arn).is_none_or(|execution| execution.status == "RUNNING");
    ended(world, arn, status);
    if runs {
        world.states.sfn.ends.insert(arn.to_owned(), end);
    }
}

/// The result of an execution, if it was reported.
pub(crate) fn end_of(world: &World, arn: &str) -> Option<ExecutionEnd> {
    world.states.sfn.ends.get(arn).cloned()
}

/// Adds an event to an execution's history.
pub(crate) fn add_event(world: &mut World, arn: &str, event: HistoryEvent) {
    let at = world.now;
    world.states.sfn.histories.entry(arn.to_owned()).or_default().push((at, event));
}

impl State {
    fn find(&self, arn: &str) -> Option<&ExecutionView> {
        self.executions.iter().rfind(|execution| execution.arn == arn)
    }

    fn find_mut(&mut self, arn: &str) -> Option<&mut ExecutionView> {
        self.executions.iter_mut().rfind(|execution| execution.arn == arn)
    }
}

/// The parts of `arn:aws:states:REGION:ACCOUNT:execution:MACHINE:NAME`.
fn machine_and_name(arn: &str) -> Option<(String, String)> {
    let (front, rest) = arn.split_once(":execution:")?;
    let (machine, name) = rest.split_once(':')?;
    Some((format!("{front}:stateMachine:{machine}"), name.to_owned()))
}

fn invalid_arn(arn: &str) -> Refusal {
    Refusal::new("InvalidArn", format!("Invalid Arn: '{arn}'"))
}

fn validation(message: impl Into<String>) -> Refusal {
    Refusal::new("ValidationException", message)
}

/// The requested page of a list.
struct Page {
    size: usize,
    after: usize,
}

impl Page {
    fn read(params: &Params) -> Result<Self, Refusal> {
        // 0 means the default, 100.
        let size = match usize::try_from(params.int("maxResults")?.unwrap_or(0)) {
            Ok(0) => 100,
            Ok(size @ 1..=1000) => size,
            _ => return Err(validation("maxResults must be between 0 and 1000")),
        };
        let after = match params.text("nextToken") {
            None => 0,
            Some(token) => token
                .parse()
                .map_err(|_| Refusal::new("InvalidToken", format!("Invalid Token: '{token}'")))?,
        };
        Ok(Self { size, after })
    }

    fn cut<T>(&self, name: &str, all: &[T], shown: impl Fn(&T) -> Value) -> Value {
        let page: Vec<Value> = all.iter().skip(self.after).take(self.size).map(shown).collect();
        let mut document = json!({ name: page });
        let end = self.after + self.size;
        if all.len() > end {
            document["nextToken"] = json!(end.to_string());
        }
        document
    }
}

fn machine_name<'a>(world: &World, arn: &'a str) -> Result<&'a str, Refusal> {
    arn.strip_prefix(&world.arn("states", "stateMachine:"))
        .filter(|name| !name.is_empty() && !name.contains(':'))
        .ok_or_else(|| invalid_arn(arn))
}

fn needed(params: &Params, key: &str) -> Result<String, Refusal> {
    params.text(key).filter(|text| !text.is_empty()).ok_or_else(|| {
        validation(format!("1 validation error detected: Value null at '{key}' failed to satisfy constraint: Member must not be null"))
    })
}

fn start(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let machine_arn = needed(params, "stateMachineArn")?;
    let name = params.text("name");
    let input = params.text("input").unwrap_or_else(|| "{}".into());
    params.ignore("traceHeader"); // X-Ray sees nothing here
    params.done()?;
    let machine = machine_name(world, &machine_arn)?.to_owned();
    let name = match name {
        Some(name) => name,
        None => format!("00000000-0000-4000-8000-{:012x}", world.number()),
    };
    let illegal = |c: char| c.is_control() || c.is_whitespace() || ILLEGAL.contains(c) || !c.is_ascii();
    if !(1..=80).contains(&name.len()) || name.contains(illegal) {
        return Err(Refusal::new("InvalidName", format!("Invalid Name: '{name}'")));
    }
    if input.len() > LONGEST_INPUT {
        return Err(validation(
            "1 validation error detected: Value at 'input' failed to satisfy constraint: Member must have length less than or equal to 262144",
        ));
    }
    if serde_json::from_str::<Value>(&input).is_err() {
        return Err(Refusal::new(
            "InvalidExecutionInput",
            format!("Invalid State Machine Execution Input: '{input}'"),
        ));
    }
    let arn = world.arn("states", &format!("execution:{machine}:{name}"));
    let now = world.now;
    let forgotten = |it: &ExecutionView| it.ended_at.is_some_and(|ended_at| ended_at + KEPT <= now);
    if let Some(there) = world.states.sfn.find(&arn).filter(|there| !forgotten(there)) {
        // The same start of a running execution returns the first one's response.
        if there.status == "RUNNING" && there.input == input {
            return Ok(started_reply(there));
        }
        return Err(Refusal::new("ExecutionAlreadyExists", format!("Execution Already Exists: '{arn}'")));
    }
    let execution = ExecutionView {
        arn,
        state_machine: machine_arn,
        name,
        input,
        status: "RUNNING",
        started_at: now,
        ended_at: None,
    };
    let reply = started_reply(&execution);
    let (arn, input) = (execution.arn.clone(), execution.input.clone());
    world.events.push(AccountEvent::ExecutionStarted { arn, input });
    world.states.sfn.executions.push(execution);
    Ok(reply)
}

fn started_reply(execution: &ExecutionView) -> Reply {
    json!({
        "executionArn": execution.arn,
        "startDate": Clock::epoch_seconds(execution.started_at),
    })
    .into()
}

/// The common part of both descriptions.
fn summary(execution: &ExecutionView) -> Value {
    let mut summary = json!({
        "executionArn": execution.arn,
        "stateMachineArn": execution.state_machine,
        "name": execution.name,
        "status": execution.status,
        "startDate": Clock::epoch_seconds(execution.started_at),
        "redriveCount": 0,
    });
    if let Some(ended_at) = execution.ended_at {
        summary["stopDate"] = json!(Clock::epoch_seconds(ended_at));
    }
    summary
}

/// The execution in a request.
fn find<'w>(world: &'w World, arn: &str) -> Result<&'w ExecutionView, Refusal> {
    if !arn.starts_with(&world.arn("states", "execution:")) || machine_and_name(arn).is_none() {
        return Err(invalid_arn(arn));
    }
    world
        .states
        .sfn
        .find(arn)
        .filter(|it| it.ended_at.is_none_or(|ended_at| world.now < ended_at + KEPT))
        .ok_or_else(|| Refusal::new("ExecutionDoesNotExist", format!("Execution Does Not Exist: '{arn}'")))
}

fn describe(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let arn = needed(params, "executionArn")?;
    params.ignore("includedData"); // nothing here is encrypted
    params.done()?;
    let execution = find(world, &arn)?;
    let mut document = summary(execution);
    document["input"] = json!(execution.input);
    document["inputDetails"] = json!({ "included": true });
    if let Some(end) = world.states.sfn.ends.get(&arn) {
        let members = [("output", &end.output), ("error", &end.error), ("cause", &end.cause)];
        for (name, value) in members {
            if let Some(value) = value {
                document[name] = json!(value);
            }
        }
        if end.output.is_some() {
            document["outputDetails"] = json!({ "included": true });
        }
    }
    Ok(document.into())
}

fn list(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let machine = needed(params, "stateMachineArn")?;
    let status = params.text("statusFilter");
    let page = Page::read(params)?;
    params.done()?;
    machine_name(world, &machine)?;
    if let Some(other) = status.as_ref().filter(|status| !STATUSES.contains(&status.as_str())) {
        return Err(validation(format!(
            "1 validation error detected: Value '{other}' at 'statusFilter' failed to satisfy constraint: Member must satisfy enum value set"
        )));
    }
    let mut found: Vec<&ExecutionView> = world
        .states
        .sfn
        .executions
        .iter()
        .filter(|it| it.ended_at.is_none_or(|ended_at| world.now < ended_at + KEPT))
        .filter(|it| it.state_machine == machine && status.as_ref().is_none_or(|status| status == it.status))
        .collect();
    found.reverse(); // "Results are sorted by time, with the most recent execution first."
    Ok(page.cut("executions", &found, |execution| summary(execution)).into())
}

fn stop(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let arn = needed(params, "executionArn")?;
    let (error, cause) = (params.text("error"), params.text("cause"));
    params.done()?;
    let running = find(world, &arn)?.status == "RUNNING";
    if running {
        ended(world, &arn, "ABORTED");
        world.events.push(AccountEvent::ExecutionStopped {
            arn: arn.clone(),
            error: error.clone().unwrap_or_default(),
            cause: cause.clone().unwrap_or_default(),
        });
        world.states.sfn.ends.insert(arn, ExecutionEnd { output: None, error, cause });
    }
    Ok(json!({ "stopDate": world.epoch() }).into())
}

/// Answers a waiting task once (API reference, `SendTaskSuccess`: `InvalidToken` for an invalid token, `TaskTimedOut`
/// for a task that no longer waits).
fn answer(world: &mut World, token: &str, answer: Answer) -> Result<Reply, Refusal> {
    if !token.starts_with("arn:aws:states:") {
        return Err(Refusal::new("InvalidToken", "Invalid Token: 'Invalid token'"));
    }
    match world.states.sfn.tokens.get_mut(token) {
        Some(place @ None) => {
            *place = Some(answer);
            Ok(json!({}).into())
        }
        Some(Some(_)) | None => {
            Err(Refusal::new("TaskTimedOut", "Task Timed Out: 'Provided task does not exist anymore'"))
        }
    }
}

fn send_success(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let token = needed(params, "taskToken")?;
    let output = needed(params, "output")?;
    params.done()?;
    if output.len() > LONGEST_INPUT {
        return Err(validation(
            "1 validation error detected: Value at 'output' failed to satisfy constraint: Member must have length less than or equal to 262144",
        ));
    }
    let output = serde_json::from_str(&output)
        .map_err(|_| Refusal::new("InvalidOutput", format!("Invalid Output: '{output}'")))?;
    answer(world, &token, Ok(output))
}

fn send_failure(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let token = needed(params, "taskToken")?;
    let error = params.text("error").unwrap_or_default();
    let cause = params.text("cause").unwrap_or_default();
    params.done()?;
    if error.len() > 256 || cause.len() > 32_768 {
        return Err(validation(
            "1 validation error detected: 'error' has at most 256 and 'cause' at most 32768 characters",
        ));
    }
    answer(world, &token, Err((error, cause)))
}
