//! Several deployments of one stack: duplicate, late and unordered events, and stopped executions.

use stackdrop_functions::deployment::outcome::Outcome;
use std::sync::Mutex;
use std::time::Duration;

use serde_json::{Value, json};
use stackdrop::chaos::overlaps;
use stackdrop::rehearsal::WORKFLOW;
use stackdrop::{Deployed, Rehearsal};
use stackdrop_simulator::{Fault, FaultKind, When};
use stackdrop_statemachine::{Abort, StepEvent, Watch};
use tokio::sync::oneshot;

use crate::{MINIMAL, SHOP, changes, deployed, pause, refused, rehearsal};

/// Notifies when a state is entered for the first time.
struct Entered(&'static str, Mutex<Option<oneshot::Sender<()>>>);

impl Entered {
    fn new(state: &'static str) -> (Self, oneshot::Receiver<()>) {
        let (sender, entered) = oneshot::channel();
        (Self(state, Mutex::new(Some(sender))), entered)
    }
}

impl Watch for Entered {
    fn entered(&self, step: &StepEvent<'_>) {
        if step.name == self.0
            && let Some(sender) = self.1.lock().unwrap().take()
        {
            sender.send(()).unwrap();
        }
    }
}

/// Stops an execution some seconds after it has entered a state, while the state's function is running.
async fn stopped(rehearsal: &Rehearsal, input: Value, state: &'static str, after: f64) -> Deployed {
    let (watch, entered) = Entered::new(state);
    let abort = Abort::default();
    let stop = async {
        entered.await.unwrap();
        pause(Duration::from_secs_f64(after)).await;
        abort.stop("Stopped", "by the test");
    };
    tokio::join!(rehearsal.run(input, &watch, &abort), stop).0
}

/// Fails if two of the deployments worked at the same time, or a lock is still held.
async fn assert_never_concurrent(rehearsal: &Rehearsal, deployments: &[&Deployed], case: &str) {
    let ids: Vec<String> = deployments.iter().map(|deployed| deployed.id.clone()).collect();
    assert_eq!(overlaps(&rehearsal.account().call_log(), &ids), Vec::<String>::new(), "{case}");
    for stack in ["shop", "hello"] {
        let key = format!("stacks/{stack}/lock.json");
        assert!(crate::object(rehearsal, &key).await.is_none(), "{case}: the lock is held");
    }
}

/// The resources of the tests' stacks, without the IDs that AWS assigns.
fn stack_resources(rehearsal: &Rehearsal) -> Vec<String> {
    let items = rehearsal.account().inventory();
    ["shop", "hello"].into_iter().flat_map(|stack| stackdrop::chaos::resources_of(&items, stack)).collect()
}

/// The workflow's task states at its top level, in the order of the file.
fn tasks() -> Vec<&'static str> {
    let file: Value = serde_json::from_str(WORKFLOW).unwrap();
    let states = file["States"].as_object().unwrap().iter();
    let states = states.filter(|(_, state)| ["Task", "Parallel"].contains(&state["Type"].as_str().unwrap()));
    states.map(|(name, _)| &*Box::leak(name.clone().into_boxed_str())).collect()
}

#[tokio::test(start_paused = true)]
async fn a_deployment_stopped_at_any_step_is_completed_by_the_next_upload() {
    let undisturbed = rehearsal(SHOP);
    let first = deployed(&undisturbed, SHOP).await;
    let steps: Vec<&str> = tasks()
        .into_iter()
        .filter(|name| first.outcome.steps.iter().any(|step| step.name == *name))
        .collect();
    assert!(steps.len() > 12, "{steps:?}");
    for step in steps {
        for after in [0.0, 0.3, 1.2] {
            let case = format!("stopped {after} s after {step}");
            let rehearsal = rehearsal(SHOP);
            let event = rehearsal.upload("specs/shop.yaml", SHOP.as_bytes()).await.unwrap();
            let stopped = stopped(&rehearsal, event, step, after).await;
            let next = deployed(&rehearsal, SHOP).await;
            assert_eq!(stack_resources(&rehearsal), stack_resources(&undisturbed), "{case}");
            assert_never_concurrent(&rehearsal, &[&stopped, &next], &case).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_rollback_stopped_at_any_step_does_not_block_the_next_upload() {
    let undisturbed = rehearsal(MINIMAL);
    deployed(&undisturbed, MINIMAL).await;
    let steps = tasks().into_iter().filter(|name| name.starts_with("Delete") || *name == "AwaitDeletion");
    for step in steps {
        for after in [0.3, 1.2] {
            let case = format!("stopped {after} s after {step}");
            let rehearsal = rehearsal(MINIMAL);
            rehearsal.account().arm(Fault::at("ecs", "CreateService", When::From(1), refused()));
            let event = rehearsal.upload("specs/hello.yaml", MINIMAL.as_bytes()).await.unwrap();
            let stopped = stopped(&rehearsal, event, step, after).await;
            assert_eq!(stopped.result(), Outcome::Interrupted, "{case}");
            rehearsal.account().disarm();
            let next = deployed(&rehearsal, MINIMAL).await;
            assert_eq!(stack_resources(&rehearsal), stack_resources(&undisturbed), "{case}");
            assert_never_concurrent(&rehearsal, &[&stopped, &next], &case).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_version_uploaded_during_a_deployment_is_deployed_after_it() {
    let newer = MINIMAL.replacen("port: 80\n", "port: 80\n    count: 3\n", 1);
    assert_ne!(newer, MINIMAL);
    let undisturbed = rehearsal(MINIMAL);
    let first = deployed(&undisturbed, MINIMAL).await;
    deployed(&undisturbed, &newer).await;
    for step in tasks() {
        if !first.outcome.steps.iter().any(|entered| entered.name == step) {
            continue;
        }
        let rehearsal = rehearsal(MINIMAL);
        let event = rehearsal.upload("specs/hello.yaml", MINIMAL.as_bytes()).await.unwrap();
        let (watch, entered) = Entered::new(step);
        let abort = Abort::default();
        let second = async {
            entered.await.unwrap();
            rehearsal.deploy(&newer, &()).await.unwrap()
        };
        let (first, second) = tokio::join!(rehearsal.run(event, &watch, &abort), second);
        assert!(
            [Outcome::Succeeded, Outcome::Superseded].contains(&first.result()),
            "{step}: {:?}",
            first.error()
        );
        assert_eq!(second.result(), Outcome::Succeeded, "{step}: {:?}", second.error());
        assert_eq!(stack_resources(&rehearsal), stack_resources(&undisturbed), "{step}");
        assert_never_concurrent(&rehearsal, &[&first, &second], step).await;
    }
}

#[tokio::test(start_paused = true)]
async fn simultaneous_duplicate_and_unordered_events_deploy_the_newest_version_once() {
    let rehearsal = rehearsal(MINIMAL);
    let mut events = Vec::new();
    for count in 1..=3 {
        let text = MINIMAL.replacen("port: 80\n", &format!("port: 80\n    count: {count}\n"), 1);
        events.push(rehearsal.upload("specs/hello.yaml", text.as_bytes()).await.unwrap());
    }
    let (abort, watch) = (Abort::default(), ());
    let run = |place: usize| rehearsal.run(events[place].clone(), &watch, &abort);
    let mut all = futures::future::join_all([2, 0, 2, 1, 0, 2].map(run)).await;
    all.push(run(2).await);
    let all: Vec<&Deployed> = all.iter().collect();
    let results: Vec<Outcome> = all.iter().map(|deployed| deployed.result()).collect();
    assert_eq!(results.iter().filter(|result| **result == Outcome::Succeeded).count(), 1, "{results:?}");
    assert_eq!(results.iter().filter(|result| **result == Outcome::Superseded).count(), 6, "{results:?}");
    assert_eq!(all.iter().filter(|deployed| !changes(deployed).is_empty()).count(), 1);
    let again = rehearsal.run(json!({ "stack": "hello" }), &(), &Abort::default()).await;
    assert_eq!(changes(&again), Vec::<String>::new(), "the newest version is deployed");
    assert_never_concurrent(&rehearsal, &all, "all at once").await;
}

#[tokio::test(start_paused = true)]
async fn simultaneous_uploads_end_at_the_version_in_the_bucket() {
    let rehearsal = rehearsal(MINIMAL);
    let newer = MINIMAL.replacen("port: 80\n", "port: 80\n    count: 3\n", 1);
    let (first, second) = tokio::join!(rehearsal.deploy(MINIMAL, &()), rehearsal.deploy(&newer, &()));
    let (first, second) = (first.unwrap(), second.unwrap());
    let good = |deployed: &Deployed| [Outcome::Succeeded, Outcome::Superseded].contains(&deployed.result());
    assert!(good(&first) && good(&second), "{} {}", first.result(), second.result());
    let again = rehearsal.run(json!({ "stack": "hello" }), &(), &Abort::default()).await;
    assert_eq!(changes(&again), Vec::<String>::new(), "the version in the bucket is deployed");
    assert_never_concurrent(&rehearsal, &[&first, &second], "two at once").await;
}

#[tokio::test(start_paused = true)]
async fn conclude_killed_after_releasing_the_lock_does_not_overwrite_the_next_deployment() {
    for kind in [FaultKind::Killed, FaultKind::Hangs, FaultKind::LostAfter] {
        let rehearsal = rehearsal(MINIMAL);
        let fault = Fault::at("s3", "DeleteObject", When::Only(1), kind.clone()).during("/conclude/conclude");
        rehearsal.account().arm(fault);
        let newer = MINIMAL.replacen("port: 80\n", "port: 80\n    count: 3\n", 1);
        let event = rehearsal.upload("specs/hello.yaml", MINIMAL.as_bytes()).await.unwrap();
        let (watch, entered) = Entered::new("WaitUntilStable");
        let abort = Abort::default();
        let second = async {
            entered.await.unwrap();
            rehearsal.deploy(&newer, &()).await.unwrap()
        };
        let (first, second) = tokio::join!(rehearsal.run(event, &watch, &abort), second);
        assert_eq!((first.result(), second.result()), (Outcome::Succeeded, Outcome::Succeeded));
        assert_eq!(rehearsal.account().strikes().len(), 1, "{kind:?}");
        let status = crate::object(&rehearsal, "stacks/hello/status.json").await.unwrap();
        assert_eq!(status["deployment"], second.id.as_str(), "{kind:?}");
        let baseline = crate::object(&rehearsal, "stacks/hello/baseline.json").await.unwrap();
        assert_eq!(baseline["deployment"], second.id.as_str(), "{kind:?}");
        assert_never_concurrent(&rehearsal, &[&first, &second], &format!("{kind:?}")).await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_lock_of_an_ended_execution_is_taken_over_once_its_functions_must_have_ended() {
    for ended in ["TIMED_OUT", "ABORTED", "FAILED"] {
        let rehearsal = rehearsal(MINIMAL);
        let settings = &rehearsal.aws().settings;
        let arn = settings.state_machine.replacen(":stateMachine:", ":execution:", 1) + ":earlier";
        let lock = json!({ "execution": arn, "deployment": "earlier", "since": "2026-01-01T00:00:00Z",
            "source": { "key": "specs/hello.yaml", "version": "1" } });
        rehearsal.upload("stacks/hello/lock.json", lock.to_string().as_bytes()).await.unwrap();
        rehearsal.account().execution_started(&arn);
        let end = async {
            pause(Duration::from_secs(25)).await;
            rehearsal.account().execution_ended(&arn, ended);
        };
        let (next, ()) = tokio::join!(deployed(&rehearsal, MINIMAL), end);
        let first = next.calls.iter().find(|call| call.writes && call.service != "s3").unwrap();
        assert!(first.at > Duration::from_secs(25 + 75), "{ended}: {:?}", first.at);
        assert!(first.at < Duration::from_mins(2), "{ended}: {:?}", first.at);
        assert_never_concurrent(&rehearsal, &[&next], ended).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_claim_or_a_lock_that_s3_rejects_because_of_another_write_is_tried_again() {
    let taken_over = json!({ "execution": "", "deployment": "gone", "since": "2026-01-01T00:00:00Z",
        "source": { "key": "specs/hello.yaml", "version": "1" } });
    for (code, write, stale) in [
        ("PreconditionFailed", 1, false),
        ("PreconditionFailed", 2, false),
        ("ConditionalRequestConflict", 1, false),
        ("ConditionalRequestConflict", 2, false),
        ("PreconditionFailed", 2, true),
        ("NoSuchKey", 2, true),
    ] {
        let case = format!("{code} at write {write}, stale lock: {stale}");
        let rehearsal = rehearsal(MINIMAL);
        if stale {
            // AWS forgets executions after 90 days.
            let machine = &rehearsal.aws().settings.state_machine;
            let mut lock = taken_over.clone();
            lock["execution"] =
                json!(format!("{}:gone", machine.replacen(":stateMachine:", ":execution:", 1)));
            rehearsal.upload("stacks/hello/lock.json", lock.to_string().as_bytes()).await.unwrap();
        }
        let rejected = FaultKind::Refused { code: code.into(), message: "another write was first".into() };
        let fault = Fault::at("s3", "PutObject", When::Only(write), rejected).during("/admit/run");
        rehearsal.account().arm(fault);
        let first = deployed(&rehearsal, MINIMAL).await;
        assert_eq!(rehearsal.account().strikes().len(), 1, "{case}");
        assert_eq!(first.outcome.steps[0].attempts, 2, "{case}");
        assert_never_concurrent(&rehearsal, &[&first], &case).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_admission_that_fails_releases_the_lock_that_it_has_taken() {
    let rehearsal = rehearsal(MINIMAL);
    // After the spec and the lock, Admit reads the baseline.
    let denied = Fault::at("s3", "GetObject", When::Only(3), FaultKind::AccessDenied).during("/admit/run");
    rehearsal.account().arm(denied);
    let failed = rehearsal.deploy(MINIMAL, &()).await.unwrap();
    let error = failed.error().unwrap();
    assert!(error.contains("reading stacks/hello/baseline.json"), "{error}");
    assert_never_concurrent(&rehearsal, &[&failed], "after the failure").await;
    deployed(&rehearsal, MINIMAL).await;
}

#[tokio::test(start_paused = true)]
async fn a_schedule_that_waits_for_a_destroy_ends_and_releases_the_lock() {
    let rehearsal = rehearsal(MINIMAL);
    deployed(&rehearsal, MINIMAL).await;
    let (watch, entered) = Entered::new("DeleteService");
    let abort = Abort::default();
    let night = async {
        entered.await.unwrap();
        let input = json!({ "stack": "hello", "action": "redeploy", "scheduled": true });
        rehearsal.run(input, &(), &Abort::default()).await
    };
    let destroy = json!({ "stack": "hello", "action": "destroy" });
    let (destroyed, night) = tokio::join!(rehearsal.run(destroy, &watch, &abort), night);
    assert_eq!((destroyed.result(), night.result()), (Outcome::Destroyed, Outcome::Superseded));
    assert_eq!(changes(&night), Vec::<String>::new());
    assert_never_concurrent(&rehearsal, &[&destroyed, &night], "after the destroy").await;
}
