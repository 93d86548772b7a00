//! Chaos tests: random uploads, duplicate and late events, faults and stopped executions, drawn from one seed.
//! Afterwards each stack is deployed or destroyed once more without faults, and must be as if none of it had happened.
//! The same seed gives the same history, byte for byte.

mod driver;
mod faults;
mod invariants;
mod person;
mod specs;
mod unowned;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Result, anyhow, ensure};
use serde_json::json;
use stackdrop_functions::deployment::bucket;
use stackdrop_functions::deployment::consent::DELETE_DATA;
use stackdrop_functions::deployment::outcome::Outcome;
use stackdrop_simulator::Call;
use stackdrop_specs::Spec;
use stackdrop_statemachine::Abort;
use tokio::task::LocalSet;
use tokio::time::timeout;

use crate::rehearsal::{Deployed, Rehearsal, Setting, in_simulated_time};
pub use driver::incidents;
use driver::{Driver, Ended};
pub use invariants::{overlaps, resources_of};
use person::Person;
use specs::Variant;

/// The stacks of a test. One name is a prefix of the other.
const STACKS: [&str; 2] = ["shop", "shop-2"];

/// How long the bucket of a new installation sends no events.
const EVENTS_BEGIN: Duration = Duration::from_mins(5);

/// What remains after an execution was stopped and the next one, with a spec of another domain, replaced it before its rollback:
/// a certificate has no cost, and only the spec of the stopped one names its domain. A fault that must be repaired.
const KNOWN_REMAINING: &str = "AWS::CertificateManager::Certificate";

/// No execution runs longer than this, with all its waits and rollbacks.
const ENDS_WITHIN: Duration = Duration::from_hours(48);

/// How often a person does what a failed deployment asks for, and deploys again.
const ATTEMPTS: usize = 3;

/// A chaos test that has ended.
#[derive(Debug)]
pub struct ChaosTest {
    /// The events, in order.
    pub history: Vec<String>,
    /// Every call to AWS.
    pub calls: Vec<Call>,
    /// The invariants that do not hold; empty if the test passed.
    pub violations: Vec<String>,
    /// The number of executions.
    pub executions: usize,
    /// The number of executions that cleaned up after a stopped one.
    pub cleanups: usize,
    /// The number of calls at which a fault was injected.
    pub faults: usize,
    /// The names of the incidents that changed something, in order.
    pub incidents: Vec<&'static str>,
    /// The longest run of a function that no fault delayed, and its caller.
    pub longest_run: (Duration, String),
}

/// The state that a stack must have at the end of a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Goal {
    Deployed(Variant),
    Destroyed,
}

/// The resources that a deployment of each variant creates when there are no faults.
#[derive(Debug, Default)]
pub struct ExpectedResources(BTreeMap<Variant, Vec<String>>);

impl ExpectedResources {
    fn of(&mut self, variant: Variant) -> Result<&[String]> {
        match self.0.entry(variant) {
            Entry::Occupied(known) => Ok(known.into_mut()),
            Entry::Vacant(unknown) => Ok(unknown.insert(deploy_without_faults(variant)?)),
        }
    }
}

fn deploy_without_faults(variant: Variant) -> Result<Vec<String>> {
    in_simulated_time(async {
        let rehearsal = open(None)?;
        let deployed = rehearsal.deploy(&variant.text("shop"), &()).await?;
        ensure!(deployed.succeeded(), "cannot deploy {variant:?} without faults: {:?}", deployed.error());
        Ok(resources_of(&rehearsal.account().inventory(), "shop"))
    })?
}

/// Runs the chaos test of a seed.
///
/// # Errors
/// If the rehearsal cannot be opened, or a call of the test itself fails.
pub fn chaos_test(seed: u64, expected: &mut ExpectedResources) -> Result<ChaosTest> {
    let (mut test, stacks) = in_simulated_time(LocalSet::new().run_until(run(seed)))??;
    for FinalStack { name, goal, resources, interrupted } in stacks {
        let expected = match goal {
            Goal::Destroyed => &[],
            Goal::Deployed(variant) => expected.of(variant)?,
        };
        let missing = expected.iter().filter(|line| count(&resources, line) < count(expected, line));
        test.violations.extend(missing.map(|line| format!("{name}: {line} is missing")));
        let surplus = resources.iter().filter(|line| count(&resources, line) > count(expected, line));
        // The log groups of earlier services are kept until the stack is destroyed.
        let keeps_logs = matches!(goal, Goal::Deployed(_));
        let surplus = surplus.filter(|line| !(keeps_logs && line.starts_with("AWS::Logs::LogGroup")));
        let surplus = surplus.filter(|line| !(interrupted && line.starts_with(KNOWN_REMAINING)));
        test.violations.extend(surplus.map(|line| format!("{name}: {line} remains, or exists twice")));
    }
    Ok(test)
}

fn count(lines: &[String], line: &str) -> usize {
    lines.iter().filter(|it| *it == line).count()
}

fn open(seed: Option<u64>) -> Result<Rehearsal> {
    let read = |variant: Variant| {
        Spec::read(variant.text("shop").as_bytes())
            .map_err(|errors| anyhow!("{variant:?} is invalid: {errors}"))
    };
    let specs = Variant::ALL.into_iter().map(read).collect::<Result<Vec<_>>>()?;
    // In some tests, the installation is new.
    let events_begin = if seed.is_some_and(|seed| seed % 4 == 1) { EVENTS_BEGIN } else { Duration::ZERO };
    let setting = Setting { seed, reports_unplanned: true, events_begin, ..Setting::default() };
    Rehearsal::open(&setting, &specs.iter().collect::<Vec<_>>())
}

fn spec_key(stack: &str) -> String {
    format!("specs/{stack}.yaml")
}

/// A stack at the end of a test.
struct FinalStack {
    name: &'static str,
    goal: Goal,
    resources: Vec<String>,
    /// Whether one of its executions was stopped, or failed by Step Functions.
    interrupted: bool,
}

async fn run(seed: u64) -> Result<(ChaosTest, Vec<FinalStack>)> {
    let rehearsal = Rc::new(open(Some(seed))?);
    let unowned = unowned::create(&rehearsal).await?;
    let mut driver = Driver::new(seed, &rehearsal);
    let Ok(ended) = timeout(ENDS_WITHIN, driver.run()).await else {
        let endless = format!("the executions did not end within {} h", ENDS_WITHIN.as_secs() / 3600);
        return Ok((result(&rehearsal, &driver, &[], vec![endless]), Vec::new()));
    };
    let mut ended = ended?;
    let mut violations = invariants::incomplete_cleanups(&rehearsal, &ended).await?;
    let mut stacks = Vec::new();
    for stack in STACKS {
        let goal = driver.goal();
        let mut person = Person::new(&rehearsal, stack, driver.incidents());
        let (mut deployed, mut problems) = reach(&rehearsal, stack, goal, &person).await?;
        // Some incidents concern the whole account, or go on for a while.
        for _ in 0..if driver.incidents().is_empty() { 0 } else { ATTEMPTS } {
            if problems.is_empty() {
                break;
            }
            let said = said(&deployed);
            let done = person.follow(&said).await?;
            driver.note(&format!("{stack} at the end {goal:?}: {} {said}\nThe person {done}", deployed.id));
            (deployed, problems) = reach(&rehearsal, stack, goal, &person).await?;
        }
        violations.extend(problems.into_iter().map(|problem| format!("{stack}: {problem}")));
        driver.note(&format!("{stack} at the end {goal:?}: {} {}", deployed.id, deployed.result()));
        let resources = resources_of(&rehearsal.account().inventory(), stack);
        let interrupted = ended.iter().any(|end| end.stack == stack && end.is_interrupted());
        stacks.push(FinalStack { name: stack, goal, resources, interrupted });
        let at = rehearsal.account().clock().elapsed();
        ended.push(Ended { stack, deployed, cleaned_up: None, at });
    }
    let calls = rehearsal.account().call_log();
    for stack in STACKS {
        // An execution that only plans writes nothing but its own records.
        let executions = ended.iter().filter(|it| it.stack == stack && !it.deployed.only_plans());
        let executions = executions.map(|it| it.deployed.id.clone());
        violations.extend(overlaps(&calls, &executions.collect::<Vec<_>>()));
    }
    violations.extend(ended.iter().filter_map(|it| invariants::defect(&it.deployed)));
    violations.extend(ended.iter().flat_map(|it| it.deployed.unplanned.clone()));
    violations.extend(invariants::failed_rollbacks(&rehearsal, &ended, driver.incidents()));
    // IAM protects what somebody took the stack's tag from, or deleted, after the step had read it.
    let changed: Vec<&String> = driver.incidents().iter().flat_map(|caused| &caused.changed).collect();
    let denials = rehearsal.account().denials();
    let denials = denials.iter().map(ToString::to_string);
    violations.extend(denials.filter(|denial| !changed.iter().any(|id| denial.contains(id.as_str()))));
    let inventory = rehearsal.account().inventory();
    let changed = unowned.iter().filter(|item| !inventory.contains(item));
    violations.extend(changed.map(|item| format!("the unowned {} {} was changed", item.kind, item.id)));
    Ok((result(&rehearsal, &driver, &ended, violations), stacks))
}

fn result(rehearsal: &Rehearsal, driver: &Driver<'_>, ended: &[Ended], violations: Vec<String>) -> ChaosTest {
    ChaosTest {
        history: driver.history(),
        calls: rehearsal.account().call_log(),
        violations,
        executions: ended.len(),
        cleanups: ended
            .iter()
            .filter(|it| it.cleaned_up.is_some() && it.deployed.result() != Outcome::Superseded)
            .count(),
        faults: rehearsal.account().strikes().len(),
        incidents: driver.incidents().iter().map(|caused| caused.name).collect(),
        longest_run: invariants::longest_run(rehearsal),
    }
}

/// What a deployment says at its end: its error, or what its record adds to a success.
fn said(deployed: &Deployed) -> String {
    let added = || Some(deployed.conclusion()?["cause"].as_str()?.to_owned());
    deployed.error().or_else(added).unwrap_or_default()
}

/// Deploys or destroys a stack without faults, and returns the violations.
async fn reach(
    rehearsal: &Rehearsal,
    stack: &str,
    goal: Goal,
    person: &Person<'_>,
) -> Result<(Deployed, Vec<String>)> {
    let variant = if let Goal::Deployed(variant) = goal { variant } else { Variant::Worker };
    let spec = person.correct(variant.text(stack));
    let names = specs::with_data(stack);
    let mut agreed = person.agreed();
    agreed.push((DELETE_DATA.to_owned(), names.join(",")));
    let event = rehearsal.upload_with(&spec_key(stack), spec.as_bytes(), agreed).await?;
    let (input, expected) = match goal {
        Goal::Deployed(_) => (event, Outcome::Succeeded),
        Goal::Destroyed => {
            (json!({ "stack": stack, "action": "destroy", "deleteData": names }), Outcome::Destroyed)
        }
    };
    let deployed = rehearsal.run(input, &(), &Abort::default()).await;
    let mut violations = Vec::new();
    if deployed.result() != expected {
        violations.push(format!(
            "the last deployment ended as {}: {:?}",
            deployed.result(),
            deployed.error()
        ));
    }
    let baseline = rehearsal.object(&bucket::baseline_key(stack)).await?.unwrap_or_default();
    if deployed.result() == Outcome::Succeeded && baseline["unpruned"] == true {
        violations.push(format!("not everything was pruned: {}", said(&deployed)));
    }
    if rehearsal.object(&bucket::lock_key(stack)).await?.is_some() {
        violations.push("the lock still exists".into());
    }
    let status = rehearsal.object(&bucket::status_key(stack)).await?.unwrap_or_default();
    if status["result"] != expected.to_string() || status["deployment"] != deployed.id.as_str() {
        violations.push(format!(
            "status.json is {} of {}, expected {expected} of {}",
            status["result"], status["deployment"], deployed.id
        ));
    }
    Ok((deployed, violations))
}
