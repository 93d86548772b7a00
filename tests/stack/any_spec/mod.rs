//! A spec that `validate` accepts is deployable: the create calls accept it too. Random specs over the whole schema, with
//! the extremes of each value.

mod specs; // the random specs

use std::collections::BTreeMap;

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::Value;
use stackdrop::rehearsal::in_simulated_time;
use stackdrop::{Deployed, Rehearsal, Setting};
use stackdrop_simulator::{Exchange, Seed};
use stackdrop_specs::{Spec, SpecErrors};

use crate::changes;

/// How many specs are deployed; `STACKDROP_SPECS` sets another number.
const SPECS: u32 = 200;
/// How often a generated spec must be valid: otherwise the test tries too little.
const VALID_PERCENT_MIN: u32 = 50;

/// Problems that depend on the account, so only the plan can find them: a part of the text, and why.
const OF_THE_ACCOUNT: &[(&str, &str)] = &[
    ("RDS has no PostgreSQL ", "RDS adds and withdraws minor versions"),
    ("is not in Route 53 zone ", "a spec has the ID of its zone, not the name"),
    ("browsers would reject it", "a spec has the ARN of its certificate, not the names"),
];

#[test]
fn whatever_validate_accepts_can_be_deployed() {
    let wanted = std::env::var("STACKDROP_SPECS").map_or(SPECS, |number| number.parse().unwrap());
    let mut runner = TestRunner::new_with_rng(Config::default(), rng());
    let (mut generated, mut valid) = (0, 0);
    let mut of_the_account: BTreeMap<&str, usize> = BTreeMap::new();
    // By the start of the text, the shortest spec: most failures have one cause in many specs.
    let mut failures: BTreeMap<String, Failure> = BTreeMap::new();
    while valid < wanted {
        generated += 1;
        let Ok(spec) = read(&specs::any().new_tree(&mut runner).unwrap().current()) else { continue };
        valid += 1;
        match judge(&spec, &first_deployment(&spec, false).0) {
            Ok(known) => known.into_iter().for_each(|why| *of_the_account.entry(why).or_default() += 1),
            Err(failure) => {
                let kind = failure.why.chars().take(60).collect();
                let shortest = failures.entry(kind).or_insert_with(|| failure.clone());
                if failure.spec.len() < shortest.spec.len() {
                    *shortest = failure;
                }
            }
        }
    }
    println!(
        "{valid} of {generated} specs were valid and deployed; problems of the account: {of_the_account:?}"
    );
    let failures: Vec<String> =
        failures.into_values().map(|Failure { why, spec }| format!("{why}\n{spec}")).collect();
    assert!(failures.is_empty(), "{} kinds of failures:\n{}", failures.len(), failures.join("\n\n"));
    assert!(valid * 100 / generated >= VALID_PERCENT_MIN, "only {valid} of {generated} specs are valid");
}

/// A deployment that failed otherwise than by a problem of the account.
#[derive(Debug, Clone)]
struct Failure {
    why: String,
    spec: String,
}

/// Some specs' first deployments on the wire, for the models of AWS.
pub(crate) fn exchanges(specs: u32) -> Vec<Exchange> {
    let mut runner = TestRunner::new_with_rng(Config::default(), rng());
    let mut exchanges = Vec::new();
    let mut deployed = 0;
    while deployed < specs {
        let value = specs::any().new_tree(&mut runner).unwrap().current();
        if let Ok(spec) = read(&value) {
            exchanges.extend(first_deployment(&spec, true).1);
            deployed += 1;
        }
    }
    exchanges
}

fn rng() -> TestRng {
    TestRng::deterministic_rng(RngAlgorithm::ChaCha)
}

/// The spec, if it is valid. Its JSON has all defaults.
fn read(value: &Value) -> Result<Spec, SpecErrors> {
    Spec::read(value.to_string().as_bytes())
}

/// The first deployment of a spec in an account of its own, and its calls on the wire.
fn first_deployment(spec: &Spec, keep_exchanges: bool) -> (Deployed, Vec<Exchange>) {
    // The default quota is that of a new account: enough for six vCPUs.
    let quota = Seed::Quota { service: "fargate".into(), code: "L-3032A538".into(), value: 10_000 };
    let parameters = crate::no_limits();
    let setting = Setting { keep_exchanges, seeds: vec![quota], parameters, ..Setting::default() };
    let text = serde_json::to_string(spec).unwrap();
    in_simulated_time(async {
        let rehearsal = Rehearsal::open(&setting, &[spec]).unwrap();
        let deployed = rehearsal.deploy(&text, &()).await.unwrap();
        (deployed, rehearsal.account().exchanges())
    })
    .unwrap()
}

/// The account's problems that the plan has found, each with its reason; none if the deployment succeeded.
fn judge(spec: &Spec, deployed: &Deployed) -> Result<Vec<&'static str>, Failure> {
    let problems = deployed.problems().unwrap();
    if deployed.succeeded() && problems.is_empty() {
        return Ok(Vec::new());
    }
    let known = |problem: &String| OF_THE_ACCOUNT.iter().find(|(text, _)| problem.contains(text));
    let is_known = !problems.is_empty() && problems.iter().all(|problem| known(problem).is_some());
    if is_known && changes(deployed).is_empty() {
        return Ok(problems.iter().filter_map(|problem| known(problem).map(|(_, why)| *why)).collect());
    }
    let error = deployed.error().unwrap_or_default();
    let why = if problems.is_empty() { error } else { format!("problems: {}", problems.join("; ")) };
    Err(Failure { why, spec: serde_json::to_string(spec).unwrap() })
}
