//! Waits end when nobody is working: whatever a person must do is told within two minutes after the last thing in progress
//! has ended. `just waits` prints the table.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use stackdrop::Setting;
use stackdrop::rehearsal::{Checkpoint, in_simulated_time};
use stackdrop::{Deployed, Rehearsal};
use stackdrop_simulator::{Fault, FaultKind, Incident, When, can_fail};
use stackdrop_statemachine::{Ending, EventKind, Step};

use stackdrop_specs::Spec;

use crate::{cause, deployed, rehearsal, run, unprotected, with};

/// The longest time between the end of the last thing in progress and the failure that tells a person what to do.
const TOLD_SECONDS_MAX: f64 = 120.0;

/// The longest time for which a step may have been without progress before AWS's last progress. The workflow counts the attempts
/// without progress over the whole step, 80 s in all: what is spent early is missing at the end.
const SPENT_SECONDS_MAX: f64 = 40.0;

/// One line of the table.
struct Told {
    cause: String,
    /// Between the last thing in progress and the failure; `None` if the deployment succeeded.
    seconds: Option<f64>,
    /// Whether AWS still reported progress when the step's time limit was reached.
    still_working: bool,
    /// How long a step was without progress before AWS's last progress, at most.
    spent: f64,
    last_words: String,
}

/// The first step whose failure ended the way forward.
fn failed(deployed: &Deployed) -> Option<&Step> {
    let steps = deployed.outcome.steps.iter().filter(|step| step.parent.is_none());
    steps.into_iter().find(|step| matches!(step.ending, Ending::Caught { .. } | Ending::Failed(_)))
}

/// How long the step went on after AWS's last answer that showed progress.
fn seconds_until_told(deployed: &Deployed, step: &Step) -> f64 {
    let in_step = |at: f64| (step.start..=step.end).contains(&at);
    let pending = deployed.outcome.history.iter().filter(|event| {
        event.kind == EventKind::TaskFailed
            && in_step(event.at_seconds)
            && event.detail.to_json()["error"] == "Pending"
    });
    step.end - pending.map(|event| event.at_seconds).fold(step.start, f64::max)
}

/// How long a step was without progress before AWS's last progress: the longest of all steps, with its name.
fn spent_before_progress(deployed: &Deployed) -> (f64, String) {
    /// One visit of a step: for how long it was without progress, how much of that was before the last progress, and since when it is.
    #[derive(Default)]
    struct Visit {
        stalled: f64,
        spent: f64,
        since: Option<f64>,
    }
    let mut visits: BTreeMap<&str, Visit> = BTreeMap::new();
    let mut longest = (0.0, String::new());
    for event in &deployed.outcome.history {
        let Some(step) = event.state.as_deref() else { continue };
        let visit = visits.entry(step).or_default();
        match event.kind {
            EventKind::StateEntered(_) => *visit = Visit::default(),
            EventKind::TaskFailed if event.detail.to_json()["error"] == "Stalled" => {
                visit.since = visit.since.or(Some(event.at_seconds));
            }
            EventKind::TaskFailed if event.detail.to_json()["error"] == "Pending" => {
                visit.stalled += visit.since.take().map_or(0.0, |since| event.at_seconds - since);
                visit.spent = visit.stalled;
            }
            _ => {}
        }
        if visit.spent > longest.0 {
            longest = (visit.spent, step.to_owned());
        }
    }
    longest
}

fn told(cause: String, deployed: &Deployed) -> Told {
    let step = failed(deployed);
    let still_working = step.is_some_and(|step| match &step.ending {
        Ending::Caught { failure, .. } | Ending::Failed(failure) => failure.error == "Pending",
        _ => false,
    });
    let spent = spent_before_progress(deployed).0;
    let words = deployed.error().unwrap_or_else(|| deployed.result().to_string());
    Told {
        cause,
        seconds: step.map(|step| seconds_until_told(deployed, step)),
        still_working,
        spent,
        last_words: words.lines().next().unwrap_or_default().to_owned(),
    }
}

/// Prints the table, and checks its times.
#[expect(clippy::print_stdout, reason = "the table of `just waits`")]
fn check(table: &[Told]) {
    for Told { cause, seconds, spent, last_words, .. } in table {
        let seconds = seconds.map_or_else(|| "-".to_owned(), |seconds| format!("{seconds:.0} s"));
        println!("{cause:<60} {seconds:>7} {spent:>4.0} s  {last_words}");
    }
    let spent = table.iter().filter(|told| told.spent > SPENT_SECONDS_MAX);
    let spent: Vec<&str> = spent.map(|told| told.cause.as_str()).collect();
    assert!(
        spent.is_empty(),
        "without progress for more than {SPENT_SECONDS_MAX} s before the last progress: {spent:?}"
    );
    let late = table.iter().filter(|told| told.seconds.is_some_and(|seconds| seconds > TOLD_SECONDS_MAX));
    let late: Vec<&str> = late.filter(|told| !told.still_working).map(|told| told.cause.as_str()).collect();
    assert!(late.is_empty(), "told later than {TOLD_SECONDS_MAX} s after AWS's last progress: {late:?}");
}

/// The state of an account in which the example is deployed.
fn with_the_example() -> (String, Checkpoint) {
    let spec = unprotected();
    let checkpoint = in_simulated_time(async {
        let rehearsal = rehearsal(&spec);
        deployed(&rehearsal, &spec).await;
        rehearsal.checkpoint()
    });
    (spec.clone(), checkpoint.unwrap())
}

/// Lets an incident happen, then runs an execution.
fn after(checkpoint: &Checkpoint, incident: &Incident, input: &Value) -> Option<Deployed> {
    in_simulated_time(async {
        let rehearsal = Rehearsal::resume(checkpoint);
        let changed = rehearsal.account().cause(incident, "shop");
        if changed.is_empty() { None } else { Some(run(&rehearsal, input.clone()).await) }
    })
    .unwrap()
}

#[test]
fn what_a_person_must_do_after_an_incident_is_told_within_two_minutes() {
    let (_, checkpoint) = with_the_example();
    let requests = [
        ("deploy", json!({ "stack": "shop" })),
        ("restart", json!({ "stack": "shop", "refreshImage": true })),
        ("destroy", json!({ "stack": "shop", "action": "destroy", "deleteData": ["shop-instance"] })),
    ];
    let mut table = Vec::new();
    for incident in Incident::all().chain(Incident::severe()) {
        for (name, request) in &requests {
            if let Some(deployed) = after(&checkpoint, incident, request) {
                table.push(told(format!("{}, then {name}", incident.name), &deployed));
            }
        }
    }
    check(&table);
    assert!(!table.is_empty());
}

#[test]
fn a_listener_that_somebody_deletes_during_a_rollout_is_told_within_two_minutes() {
    let (spec, checkpoint) = with_the_example();
    let deployed = in_simulated_time(async {
        let rehearsal = Rehearsal::resume(&checkpoint);
        let update = with(&spec, "nginx:1.29", "nginx:1.30");
        let event = rehearsal.upload("specs/shop.yaml", update.as_bytes()).await.unwrap();
        let (_, checkpoints) = rehearsal.run_with_checkpoints(event).await;
        let from = checkpoints.iter().find(|it| it.step() == Some("WaitUntilStable")).unwrap();
        let rehearsal = Rehearsal::resume(from);
        cause(&rehearsal, "listener-deleted");
        rehearsal.go_on(from).await.unwrap()
    });
    let deployed = deployed.unwrap();
    let step = failed(&deployed).unwrap();
    println!("WaitUntilStable failed after {:.0} s", step.end - step.start);
    assert!(
        deployed.error().unwrap().contains("to use the target group of ECS service web"),
        "{:?}",
        deployed.error()
    );
    check(&[told("a listener deleted during a rollout".to_owned(), &deployed)]);
}

#[test]
fn a_resource_that_fails_in_a_first_deployment_is_told_within_two_minutes() {
    let spec = unprotected();
    let (_, checkpoint) = with_the_example();
    let mut failing: Vec<(String, String)> = in_simulated_time(async {
        let calls = Rehearsal::resume(&checkpoint).account().call_log();
        calls
            .into_iter()
            .filter(|call| can_fail(&call.service, &call.operation))
            .map(|call| (call.service, call.operation))
            .collect()
    })
    .unwrap();
    failing.sort();
    failing.dedup();
    let mut table = Vec::new();
    for (service, operation) in &failing {
        let deployed = in_simulated_time(async {
            let rehearsal = rehearsal(&spec);
            let fault = Fault::at(service, operation, When::From(1), FaultKind::ResourceFails);
            rehearsal.account().arm(fault);
            rehearsal.deploy(&spec, &()).await.unwrap()
        });
        table.push(told(format!("{service}:{operation} creates a resource that fails"), &deployed.unwrap()));
    }
    check(&table);
    assert!(table.len() >= 3, "only {} resources can fail", table.len());
    let unnoticed = table.iter().find(|told| told.seconds.is_none());
    assert!(unnoticed.is_none(), "a failed resource went unnoticed: {}", unnoticed.unwrap().cause);
}

/// Updates after which RDS, ECS or ELB work for a while, show nothing, and work again: each needs little of the time without
/// progress, whatever AWS's durations are.
#[test]
fn a_step_without_progress_for_a_while_has_enough_time_left_when_progress_ends_later() {
    let spec = unprotected();
    let changed = |from: &str, to: &str| with(&spec, from, to);
    let updates = [
        ("nothing", spec.clone()),
        ("class", changed("db.t4g.micro", "db.t4g.small")),
        ("standby", changed("multiAz: false", "multiAz: true")),
        ("version", changed("version: \"17\"", "version: \"18\"")),
        ("storage", changed("storage: 20", "storage: 40")),
        ("class, standby and storage", {
            let class = changed("db.t4g.micro", "db.t4g.small");
            with(&with(&class, "multiAz: false", "multiAz: true"), "storage: 20", "storage: 40")
        }),
        ("tasks", changed("LOG_LEVEL: info", "LOG_LEVEL: debug")),
        ("zones", changed("zones: 2", "zones: 3")),
    ];
    let mut most = 0.0_f64;
    for seed in 1..=3 {
        let read = Spec::read(spec.as_bytes()).unwrap();
        let setting = Setting { seed: Some(seed), ..Setting::default() };
        let checkpoint = in_simulated_time(async {
            let rehearsal = Rehearsal::open(&setting, &[&read]).unwrap();
            let first = deployed(&rehearsal, &spec).await;
            let (spent, step) = spent_before_progress(&first);
            println!("first deployment (seed {seed}): {spent:.0} s in {step}");
            assert!(spent <= SPENT_SECONDS_MAX, "{step}: {spent} s");
            rehearsal.checkpoint()
        })
        .unwrap();
        for (name, update) in &updates {
            let (spent, step) = in_simulated_time(async {
                let rehearsal = Rehearsal::resume(&checkpoint);
                spent_before_progress(&rehearsal.deploy(update, &()).await.unwrap())
            })
            .unwrap();
            println!("{name} (seed {seed}): {spent:.0} s in {step}");
            assert!(spent <= SPENT_SECONDS_MAX, "{name}, {step}: {spent} s");
            most = most.max(spent);
        }
    }
    assert!(most > 0.0, "no update was without progress and then made some: the test shows nothing");
}
