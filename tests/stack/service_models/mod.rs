//! Every request and answer of the rehearsals agrees with AWS's own models of its services, which botocore contains.
//!
//! The evidence of `permissions` has every call of the functions. `judge.py` reads each of them by the model: members,
//! required members, types, patterns, lengths, enumerations, error codes.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::any_spec;
use crate::permissions::evidence::EVIDENCE;
use crate::python::{python, target};

/// The number of random specs whose first deployments are judged as well.
const RANDOM_SPECS: u32 = 30;

#[test]
fn requests_and_answers_agree_with_the_models_of_aws() {
    let python = match python() {
        Ok(python) => python,
        Err(why) => {
            println!("skipped: {why}, so AWS's models cannot judge the requests and answers");
            return;
        }
    };
    let file = target().join("exchanges.jsonl");
    let mut lines = std::io::BufWriter::new(std::fs::File::create(&file).unwrap());
    let random = any_spec::exchanges(RANDOM_SPECS);
    for exchange in EVIDENCE.exchanges.iter().chain(&random) {
        writeln!(lines, "{}", serde_json::to_string(exchange).unwrap()).unwrap();
    }
    lines.flush().unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stack/service_models/judge.py");
    let output = Command::new(python).arg("-B").arg(script).arg(&file).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    println!("judged by the models: {}; not judged: {:#}", report["judged"], report["unjudged"]);
    let wrong: Vec<&str> = report["wrong"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(wrong.is_empty(), "{} differences from AWS's models:\n{}", wrong.len(), wrong.join("\n"));
    let judged: BTreeSet<&String> = report["operations"].as_object().unwrap().keys().collect();
    let unjudged: Vec<&String> =
        EVIDENCE.called.values().flatten().filter(|call| !judged.contains(call)).collect();
    assert!(unjudged.is_empty(), "these calls of the functions were not judged: {unjudged:?}");
}
