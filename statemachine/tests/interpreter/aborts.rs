//! The ends of an execution that no Catch handles: the machine's timeout and `StopExecution`.

use serde_json::{Value, json};
use stackdrop_statemachine::{Abort, Ending, Failure, Options, Status, TaskFuture, Tasks};

use crate::support::{Answer, Script, definition, events, execution, load, machine, pause, run, task, with};

fn caught() -> Value {
    json!({
        "T": task("f", json!({ "Catch": [{ "ErrorEquals": ["States.ALL"], "Next": "Undo" }], "End": true })),
        "Undo": task("undo", json!({ "End": true })),
    })
}

fn hanging() -> Script {
    Script::new().function("f", &[Answer::Hangs]).function("undo", &[Answer::Returns(json!(1))])
}

#[tokio::test(start_paused = true)]
async fn the_machines_timeout_runs_no_catch() {
    let machine = load(&with(definition(caught()), json!({ "TimeoutSeconds": 600 }))).unwrap();
    let script = hanging();
    let outcome = machine.run(&execution(json!({})), &script, &(), &Options::default()).await;
    assert_eq!(outcome.status, Status::TimedOut);
    assert!((outcome.seconds - 600.0).abs() < 0.05, "{}", outcome.seconds);
    assert_eq!(script.calls().len(), 1);
    assert_eq!(outcome.steps[0].ending, Ending::Aborted);
    assert_eq!(events(&outcome)[4..], ["ExecutionTimedOut"]);
}

#[tokio::test(start_paused = true)]
async fn a_stopped_execution_runs_no_catch() {
    let (machine, execution, script, abort) =
        (machine(caught()), execution(json!({})), hanging(), Abort::default());
    let options = Options { abort: abort.clone(), ..Options::default() };
    let stop = async {
        pause(42.0).await;
        abort.stop("Stopped", "by hand");
    };
    let (outcome, ()) = tokio::join!(machine.run(&execution, &script, &(), &options), stop);
    assert_eq!(outcome.status, Status::Aborted(Failure::new("Stopped", "by hand")));
    assert!((outcome.seconds - 42.0).abs() < 0.05, "{}", outcome.seconds);
    assert_eq!(script.calls().len(), 1);
    assert_eq!(outcome.steps[0].ending, Ending::Aborted);
    assert_eq!(events(&outcome)[4..], ["ExecutionAborted"]);
}

#[tokio::test(start_paused = true)]
async fn an_execution_that_step_functions_fails_runs_no_catch() {
    let (machine, execution, script, abort) =
        (machine(caught()), execution(json!({})), hanging(), Abort::default());
    let options = Options { abort: abort.clone(), ..Options::default() };
    let fail = async {
        pause(7.0).await;
        abort.fail("States.Runtime", "by AWS");
    };
    let (outcome, ()) = tokio::join!(machine.run(&execution, &script, &(), &options), fail);
    assert_eq!(outcome.status, Status::Failed(Failure::new("States.Runtime", "by AWS")));
    assert_eq!(script.calls().len(), 1);
    assert_eq!(outcome.steps[0].ending, Ending::Aborted);
    assert_eq!(events(&outcome)[4..], ["ExecutionFailed"]);
}

#[tokio::test(start_paused = true)]
async fn an_execution_stopped_before_its_start_runs_nothing() {
    let (script, options) = (hanging(), Options::default());
    options.abort.stop("Stopped", "");
    let outcome = machine(caught()).run(&execution(json!({})), &script, &(), &options).await;
    assert!(matches!(outcome.status, Status::Aborted(_)), "{:?}", outcome.status);
    assert_eq!(script.calls(), []);
}

#[tokio::test(start_paused = true)]
async fn an_endless_execution_times_out_after_a_year() {
    let outcome = run(caught(), json!({}), &hanging()).await;
    assert_eq!(outcome.status, Status::TimedOut);
    assert!((outcome.seconds - 31_536_000.0).abs() < 0.05, "{}", outcome.seconds);
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_gives_the_same_history() {
    let retry = json!([{ "ErrorEquals": ["E"], "JitterStrategy": "FULL", "IntervalSeconds": 9 }]);
    let branch = |name: &str| definition(json!({ name: task("f", json!({ "Retry": retry, "End": true })) }));
    let states = json!({ "P": { "Type": "Parallel", "Branches": [branch("A"), branch("B")], "End": true } });
    let mut outcomes = Vec::new();
    for _ in 0..2 {
        let answers = ["E", "E", "E"].map(Answer::Fails).into_iter().chain([Answer::Returns(json!(1))]);
        let script = Script::new().slow_function("f", 1.5, &answers.collect::<Vec<_>>());
        outcomes.push(run(states.clone(), json!({}), &script).await);
    }
    assert!(matches!(outcomes[0].status, Status::Succeeded(_)), "{:?}", outcomes[0].status);
    assert_eq!(outcomes[0], outcomes[1]);
}

/// `slow` takes a minute and `bad` fails after ten seconds. Counts the functions that were stopped.
#[derive(Default)]
struct Stoppable {
    stopped: std::sync::atomic::AtomicU32,
}

/// Held by a function while it runs.
struct Running<'a>(&'a Stoppable);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.stopped.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }
}

impl Tasks for Stoppable {
    fn invoke<'a>(&'a self, function: &'a str, _payload: Value) -> TaskFuture<'a> {
        Box::pin(async move {
            let running = Running(self);
            pause(if function == "slow" { 60.0 } else { 10.0 }).await;
            std::mem::forget(running);
            if function == "bad" { Err(Failure::of_lambda("Bad", "")) } else { Ok(json!(1)) }
        })
    }
}

#[tokio::test(start_paused = true)]
async fn a_function_is_stopped_when_its_result_is_no_longer_needed() {
    let slow = |name: &str, more: Value| json!({ name: task("slow", with(more, json!({ "End": true }))) });
    let bad = json!({ "Bad": task("bad", json!({ "End": true })) });
    let branches = json!([definition(slow("S", json!({}))), definition(bad)]);
    let parallel = json!({ "P": { "Type": "Parallel", "Branches": branches, "End": true } });
    for (reason, states, limit, stopped, seconds) in [
        ("the function returns in time", slow("S", json!({ "TimeoutSeconds": 61 })), None, 0, 60.0),
        ("its state times out", slow("S", json!({ "TimeoutSeconds": 20 })), None, 1, 20.0),
        ("another branch fails", parallel, None, 1, 10.0),
        ("the machine times out", slow("S", json!({})), Some(30), 1, 30.0),
    ] {
        let limit = limit.map_or(json!({}), |seconds| json!({ "TimeoutSeconds": seconds }));
        let machine = load(&with(definition(states), limit)).unwrap();
        let tasks = Stoppable::default();
        let outcome = machine.run(&execution(json!({})), &tasks, &(), &Options::default()).await;
        assert_eq!(tasks.stopped.into_inner(), stopped, "{reason}");
        assert!((outcome.seconds - seconds).abs() < 0.05, "{reason}: {}", outcome.seconds);
    }

    let (machine, execution, tasks, options) =
        (machine(slow("S", json!({}))), execution(json!({})), Stoppable::default(), Options::default());
    let stop = async {
        pause(5.0).await;
        options.abort.stop("Stopped", "");
    };
    tokio::join!(machine.run(&execution, &tasks, &(), &options), stop);
    assert_eq!(tasks.stopped.into_inner(), 1);
}

#[test]
fn an_execution_can_be_moved_between_threads() {
    fn is_send(future: impl Future<Output = stackdrop_statemachine::Outcome> + Send) {
        drop(future);
    }
    let (machine, script) = (machine(caught()), ());
    let tasks =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let entered = tasks.block_on(async { hanging() });
    is_send(machine.run(&execution(json!({})), &entered, &script, &Options::default()));
}
