//! The template, installed in an AWS emulator that knows nothing of Stackdrop: it runs the functions' zip as processes,
//! interprets the workflow file by itself, and delivers what S3 and the scheduler say. The same spec and the same fault
//! must lead through the same states as a rehearsal.
//!
//! `drive.py` beside this installs and uploads; see there. It needs Python 3.10 or later with `venv`, and fetches what
//! `requirements.txt` names on its first run.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that cannot go on shall end, and says what it counted"
)]

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use serde_json::Value;
use stackdrop::{Deployed, Rehearsal, Setting};
use stackdrop_simulator::{Fault, FaultKind, When};
use stackdrop_specs::Spec;
use stackdrop_statemachine::Abort;

const NAME: &str = "the_template_deploys_undoes_and_redeploys_outside_our_own_process";
const SHOP: &str = include_str!("../../specs/shop.yaml");
const REQUIREMENTS: &str = include_str!("requirements.txt");

/// The call that is refused in the first deployment.
const REFUSED: (&str, &str) = ("rds", "CreateDBInstance");

/// Says what cargo's own harness says, which knows no test that skips itself.
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
    match std::panic::catch_unwind(trial) {
        Ok(Some(report)) => {
            println!("test {NAME} ... ok ({:.0} s)", report["seconds"].as_f64().unwrap());
            closing(1, 0, 0)
        }
        Ok(None) => {
            println!("test {NAME} ... ignored, there is no python3 with venv here");
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

fn trial() -> Option<Value> {
    let python = python()?;
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let work = target().join("end-to-end").join("run");
    let stackdrop = Path::new(env!("CARGO_BIN_EXE_stackdrop"));
    let bootstrap = stackdrop.with_file_name("bootstrap");
    assert!(bootstrap.exists(), "{} is not there: run `cargo build` first", bootstrap.display());
    let ended = Command::new(python)
        .arg(root.join("tests/end_to_end/drive.py"))
        .arg("--stackdrop")
        .arg(stackdrop)
        .arg("--bootstrap")
        .arg(bootstrap)
        .arg("--root")
        .arg(root)
        .arg("--work")
        .arg(&work)
        .arg("--fail")
        .arg(format!("{}:{}", REFUSED.0, REFUSED.1))
        .stdin(Stdio::null())
        .status()
        .unwrap();
    assert!(ended.success(), "drive.py: {ended}; what ran wrote its logs to {}", work.display());
    let report: Value = serde_json::from_slice(&std::fs::read(work.join("report.json")).unwrap()).unwrap();
    let rehearsed = rehearsed(&report);
    the_first_was_undone(&report["undone"], &rehearsed[0]);
    the_second_stands(&report["deployed"], &rehearsed[1]);
    the_schedule_changed_nothing(&report["redeployed"], &rehearsed[2]);
    Some(report)
}

fn the_first_was_undone(undone: &Value, rehearsed: &Deployed) {
    assert_eq!((&undone["status"], rehearsed.result().as_str()), (&Value::from("FAILED"), "Failed"));
    assert_eq!(states(undone), states_of(rehearsed), "a deployment that is undone");
    assert_eq!(undone["record"]["step"], "Database");
    assert_eq!(undone["record"]["result"], "Failed");
    let cause = undone["cause"].as_str().unwrap();
    assert!(cause.contains("RefusedByRehearsal"), "{cause}");
    // The two say how much was removed, and it is as much.
    assert_eq!(cause, rehearsed.error().unwrap().split_once(": ").unwrap().1);
    for (what, count) in undone["left"].as_object().unwrap() {
        assert_eq!(count, 0, "{what} left");
    }
}

fn the_second_stands(deployed: &Value, rehearsed: &Deployed) {
    assert_eq!((&deployed["status"], rehearsed.result().as_str()), (&Value::from("SUCCEEDED"), "Succeeded"));
    assert_eq!(states(deployed), states_of(rehearsed), "a deployment");
    assert_eq!(deployed["record"]["result"], "Succeeded");
    assert_eq!(deployed["record"]["trigger"], "upload");
    for (what, count) in deployed["standing"].as_object().unwrap() {
        assert_eq!(count, 1, "{what}");
    }
}

fn the_schedule_changed_nothing(redeployed: &Value, rehearsed: &Deployed) {
    assert_eq!(redeployed["input"]["action"], "redeploy");
    assert_eq!(
        (&redeployed["status"], rehearsed.result().as_str()),
        (&Value::from("SUCCEEDED"), "Succeeded")
    );
    assert_eq!(states(redeployed), states_of(rehearsed), "a redeploy without changes");
}

/// The same three, rehearsed.
fn rehearsed(report: &Value) -> [Deployed; 3] {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let spec = Spec::read(SHOP.as_bytes()).unwrap();
    runtime.unwrap().block_on(async {
        let failing = Rehearsal::open(&Setting::default(), &[&spec]).unwrap();
        let refused = FaultKind::Refused {
            code: "RefusedByRehearsal".into(),
            message: format!("refused because of --fail {}:{}", REFUSED.0, REFUSED.1),
        };
        failing.account().arm(Fault::at(REFUSED.0, REFUSED.1, When::From(1), refused));
        let undone = failing.deploy(SHOP, &()).await.unwrap();
        let standing = Rehearsal::open(&Setting::default(), &[&spec]).unwrap();
        let deployed = standing.deploy(SHOP, &()).await.unwrap();
        let input = report["redeployed"]["input"].clone();
        let redeployed = standing.run(input, &(), &Abort::default()).await;
        [undone, deployed, redeployed]
    })
}

/// The states that the emulator went through. Its history has none of those inside a `Parallel`.
fn states(execution: &Value) -> Vec<String> {
    serde_json::from_value(execution["states"].clone()).unwrap()
}

/// Those of a rehearsal.
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

/// Where cargo builds.
fn target() -> PathBuf {
    let command = Path::new(env!("CARGO_BIN_EXE_stackdrop"));
    command.ancestors().nth(2).unwrap().to_owned()
}

/// A Python that has what `requirements.txt` names, in a folder of its own; `None` where there is none.
fn python() -> Option<PathBuf> {
    let folder = target().join("end-to-end").join("python");
    let (python, stamp) = (folder.join("bin/python"), folder.join("requirements.txt"));
    if std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == REQUIREMENTS) {
        return Some(python);
    }
    let quiet = |command: &mut Command| {
        let ended = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
        ended.is_ok_and(|ended| ended.success())
    };
    if !quiet(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder)) {
        return None;
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/end_to_end/requirements.txt");
    let mut install = Command::new(&python);
    install
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"])
        .arg(file);
    let ended = install.stdin(Stdio::null()).status().unwrap();
    assert!(ended.success(), "pip could not install what tests/end_to_end/requirements.txt names");
    std::fs::write(stamp, REQUIREMENTS).unwrap();
    Some(python)
}
