//! Installs the template in an AWS emulator that is independent of Stackdrop. The emulator runs the functions' zips as
//! processes, interprets the workflow file, and delivers the events of S3 and the scheduler. The same spec and the same
//! fault must lead through the same states as in a rehearsal.
//!
//! `drive.py` in this folder does the installation and the uploads. It needs Python 3.10 or later with `venv`. The first
//! run installs the packages in `tests/python/requirements.txt`.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that cannot continue must fail, and this one prints its result like cargo's harness"
)]

#[path = "../python/mod.rs"]
mod python; // the Python environment

use stackdrop_functions::deployment::outcome::Outcome;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use python::{python, target, why, within};
use serde_json::Value;
use stackdrop::rehearsal::in_simulated_time;
use stackdrop::{Deployed, Rehearsal, Setting};
use stackdrop_functions::{Function, functions};
use stackdrop_simulator::{Fault, FaultKind, When};
use stackdrop_specs::Spec;
use stackdrop_statemachine::Abort;

const NAME: &str = "the_template_deploys_rolls_back_and_redeploys_in_an_emulator";
const SHOP: &str = include_str!("../../specs/shop.yaml");

/// How long `drive.py` may take: a little more than its own limit.
const DRIVE_SECONDS_MAX: u64 = 840;

/// The call that fails in the first deployment.
const REFUSED: (&str, &str) = ("rds", "CreateDBInstance");

/// Prints what cargo's own harness prints. That harness cannot report a test that skips itself.
fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--list") {
        println!("{NAME}: test");
        return ExitCode::SUCCESS;
    }
    let filters: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    if !filters.is_empty() && !filters.iter().any(|filter| NAME.contains(filter.as_str())) {
        return closing(0, 0, 0);
    }
    println!("\nrunning 1 test");
    match std::panic::catch_unwind(run_in_emulator) {
        Ok(Ok(report)) => {
            println!("test {NAME} ... ok ({:.0} s)", report["seconds"].as_f64().unwrap());
            closing(1, 0, 0)
        }
        Ok(Err(missing)) => {
            println!("test {NAME} ... ignored, {missing}");
            closing(0, 0, 1)
        }
        Err(_) => {
            println!("test {NAME} ... FAILED");
            closing(0, 1, 0)
        }
    }
}

fn closing(passed: u8, failed: u8, ignored: u8) -> ExitCode {
    let word = if failed == 0 { "ok" } else { "FAILED" };
    println!(
        "\ntest result: {word}. {passed} passed; {failed} failed; {ignored} ignored; 0 measured; 0 filtered out\n"
    );
    ExitCode::from(failed)
}

/// The report of `drive.py`, or why the test cannot run on this machine.
fn run_in_emulator() -> Result<Value, String> {
    let python = python()?;
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let work = target().join("end-to-end").join("run");
    let stackdrop = Path::new(env!("CARGO_BIN_EXE_stackdrop"));
    let programs = stackdrop.parent().unwrap();
    for Function { name, .. } in functions() {
        assert!(
            is_up_to_date(&programs.join(name)),
            "the program of {name} is older than its source: run `cargo test --no-run` first"
        );
    }
    let mut drive = Command::new(python);
    drive
        .arg(root.join("tests/end_to_end/drive.py"))
        .arg("--stackdrop")
        .arg(stackdrop)
        .arg("--programs")
        .arg(programs)
        .arg("--root")
        .arg(root)
        .arg("--work")
        .arg(&work)
        .arg("--fail")
        .arg(format!("{}:{}", REFUSED.0, REFUSED.1));
    let ended = within(DRIVE_SECONDS_MAX, &mut drive);
    assert!(ended == Ok(true), "drive.py {}; the logs are in {}", why(&ended), work.display());
    let report: Value = serde_json::from_slice(&std::fs::read(work.join("report.json")).unwrap()).unwrap();
    let rehearsed = rehearsed(&report);
    for (execution, rehearsed) in ["rolled_back", "deployed", "redeployed"].iter().zip(&rehearsed) {
        let logged: BTreeSet<String> = serde_json::from_value(report[execution]["steps"].clone()).unwrap();
        assert_eq!(logged, rehearsed.steps, "the steps of `{execution}`, by the functions' logs");
    }
    check_rolled_back(&report["rolled_back"], &rehearsed[0]);
    check_deployed(&report["deployed"], &rehearsed[1]);
    check_redeployed(&report["redeployed"], &rehearsed[2]);
    Ok(report)
}

fn check_rolled_back(rolled_back: &Value, rehearsed: &Rehearsed) {
    assert_eq!(
        (&rolled_back["status"], rehearsed.deployed.result()),
        (&Value::from("FAILED"), Outcome::Failed)
    );
    assert_eq!(states(rolled_back), states_of(&rehearsed.deployed), "a deployment that is rolled_back");
    assert_eq!(rolled_back["record"]["step"], "Database");
    assert_eq!(rolled_back["record"]["result"], "Failed");
    let cause = rolled_back["cause"].as_str().unwrap();
    assert!(cause.contains("RefusedByRehearsal"), "{cause}");
    // Both causes state how many resources were deleted, and the numbers are equal.
    assert_eq!(cause, rehearsed.deployed.error().unwrap().split_once(": ").unwrap().1);
    for (what, count) in rolled_back["remaining"].as_object().unwrap() {
        assert_eq!(count, 0, "remaining {what}");
    }
}

fn check_deployed(deployed: &Value, rehearsed: &Rehearsed) {
    assert_eq!(
        (&deployed["status"], rehearsed.deployed.result()),
        (&Value::from("SUCCEEDED"), Outcome::Succeeded)
    );
    assert_eq!(states(deployed), states_of(&rehearsed.deployed), "a deployment");
    assert_eq!(deployed["record"]["result"], "Succeeded");
    assert_eq!(deployed["record"]["trigger"], "upload");
    for (what, count) in deployed["resources"].as_object().unwrap() {
        assert_eq!(count, 1, "{what}");
    }
}

fn check_redeployed(redeployed: &Value, rehearsed: &Rehearsed) {
    assert_eq!(redeployed["input"]["action"], "redeploy");
    assert_eq!(
        (&redeployed["status"], rehearsed.deployed.result()),
        (&Value::from("SUCCEEDED"), Outcome::Succeeded)
    );
    assert_eq!(states(redeployed), states_of(&rehearsed.deployed), "a redeploy without changes");
}

/// A rehearsed deployment.
struct Rehearsed {
    deployed: Deployed,
    /// The steps whose functions ran, as their logs name them.
    steps: BTreeSet<String>,
}

impl Rehearsed {
    fn of(deployed: Deployed, rehearsal: &Rehearsal) -> Self {
        let invocations = rehearsal.invocations();
        let callers =
            invocations.iter().filter_map(|run| run.caller.strip_prefix(&format!("{}/", deployed.id)));
        let steps = callers.map(|step| step.strip_suffix("/run").unwrap_or(step).to_owned()).collect();
        Self { deployed, steps }
    }
}

/// Rehearses the same three deployments.
fn rehearsed(report: &Value) -> [Rehearsed; 3] {
    let spec = Spec::read(SHOP.as_bytes()).unwrap();
    in_simulated_time(async {
        let failing = Rehearsal::open(&Setting::default(), &[&spec]).unwrap();
        let refused = FaultKind::Refused {
            code: "RefusedByRehearsal".into(),
            message: format!("refused because of --fail {}:{}", REFUSED.0, REFUSED.1),
        };
        failing.account().arm(Fault::at(REFUSED.0, REFUSED.1, When::From(1), refused));
        let rolled_back = Rehearsed::of(failing.deploy(SHOP, &()).await.unwrap(), &failing);
        let succeeding = Rehearsal::open(&Setting::default(), &[&spec]).unwrap();
        let deployed = Rehearsed::of(succeeding.deploy(SHOP, &()).await.unwrap(), &succeeding);
        let input = report["redeployed"]["input"].clone();
        let redeployed = succeeding.run(input, &(), &Abort::default()).await;
        let redeployed = Rehearsed::of(redeployed, &succeeding);
        [rolled_back, deployed, redeployed]
    })
    .unwrap()
}

/// The states of an execution in the emulator, whose history omits the states inside a `Parallel`.
fn states(execution: &Value) -> Vec<String> {
    serde_json::from_value(execution["states"].clone()).unwrap()
}

/// The states of a rehearsed deployment, without those inside a `Parallel`.
fn states_of(deployed: &Deployed) -> Vec<String> {
    let inside: Vec<&str> = deployed
        .outcome
        .steps
        .iter()
        .filter(|step| step.parent.is_some())
        .map(|step| step.name.as_str())
        .collect();
    let entered =
        deployed.outcome.history.iter().filter(|event| event.kind.to_string().ends_with("StateEntered"));
    let names = entered.filter_map(|event| event.state.clone());
    names.filter(|name| !inside.contains(&name.as_str())).collect()
}

/// Whether a function's program is as new as its source. `cargo test` builds it, `cargo test --test end_to_end` does not.
fn is_up_to_date(program: &Path) -> bool {
    let changed = |path: &Path| path.metadata().and_then(|about| about.modified()).ok();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders: Vec<PathBuf> =
        ["functions", "specs", "figures"].map(|name| root.join(name).join("src")).into();
    let mut newest = None;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            newest = newest.max(changed(&path).filter(|_| path.is_file()));
            folders.extend(path.is_dir().then_some(path));
        }
    }
    changed(program).is_some_and(|built| Some(built) >= newest)
}
