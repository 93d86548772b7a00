//! The fault matrix: for every call to AWS that a deployment makes, and every call of an undo, the same again with one
//! fault at that call. Nothing may be lost, doubled or left, whatever the fault.
//!
//! Each case is a whole deployment in simulated time, so there are thousands; they share the machine's cores. Usually
//! the faults that leave something half done are tried at every writing call, and of all the others each forty-first;
//! `MATRIX=all` tries every one, `MATRIX=ec2:CreateVpc` all at calls whose name contains that.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that cannot go on shall end, and says what it counted"
)]

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use stackdrop::{Deployed, Rehearsal, Setting};
use stackdrop_simulator::{Call, Fault, FaultKind, When};
use stackdrop_specs::Spec;

const SHOP: &str = include_str!("../../specs/shop.yaml");

/// Of the faults that are not tried everywhere, each so-manieth.
const SAMPLE: usize = 41;

/// How often the SDK tries a call by itself (its standard retry mode).
const SDK_ATTEMPTS: usize = 3;

/// One fault at one call.
#[derive(Debug, Clone)]
struct Case {
    /// The call in the undisturbed run.
    call: Call,
    name: &'static str,
    kind: FaultKind,
    when: When,
    /// Whether it strikes only that step's action, so that the undo can do its work.
    only_this_step: bool,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {} #{} of {}", self.name, self.call.name(), self.call.occurrence, self.call.caller)
    }
}

impl Case {
    fn fault(&self, nth_of_step: usize) -> Fault {
        let Call { service, operation, .. } = &self.call;
        if self.only_this_step {
            Fault::at(service, operation, When::From(nth_of_step), self.kind.clone()).during(&self.action())
        } else {
            Fault::at(service, operation, self.when, self.kind.clone())
        }
    }

    /// `/network/ensure` of `deployment-1/network/ensure`.
    fn action(&self) -> String {
        self.call.caller.split_once('/').map(|(_, action)| format!("/{action}")).unwrap_or_default()
    }
}

/// What a case came to.
#[derive(Debug, Clone, Default)]
struct Tally {
    runs: usize,
    succeeded: usize,
    failed_clean: usize,
    leaked: usize,
    stuck: usize,
}

fn refused() -> FaultKind {
    FaultKind::Refused { code: "RefusedByTest".into(), message: "the test says no".into() }
}

/// Faults that pass: the deployment must not show them.
fn passing(call: &Call) -> Vec<Case> {
    let n = call.occurrence;
    let case = |name, kind, when| Case { call: call.clone(), name, kind, when, only_this_step: false };
    let mut cases = vec![
        case("throttled", FaultKind::Throttled, When::Span(n, SDK_ATTEMPTS)),
        case("server error", FaultKind::ServerError, When::Span(n, SDK_ATTEMPTS)),
        case("lost before", FaultKind::LostBefore, When::Only(n)),
        case("lost after", FaultKind::LostAfter, When::Only(n)),
        case("killed", FaultKind::Killed, When::Only(n)),
        case("timed out", FaultKind::Hangs, When::Only(n)),
    ];
    if !call.writes {
        // A read has no effect: lost after is lost before.
        cases.retain(|case| case.name != "lost after");
    }
    cases
}

/// Faults that last: the deployment must fail, and leave nothing.
fn lasting(call: &Call) -> Vec<Case> {
    let n = call.occurrence;
    let case =
        |name, kind, when, only_this_step| Case { call: call.clone(), name, kind, when, only_this_step };
    let mut cases = vec![
        case("access denied", FaultKind::AccessDenied, When::From(n), true),
        case("fails from here on", refused(), When::From(n), true),
    ];
    let can_fail =
        ["CreateNatGateway", "RunInstances", "CreateLoadBalancer", "CreateDBInstance", "CreateService"];
    if can_fail.contains(&call.operation.as_str()) {
        cases.push(case("resource fails", FaultKind::ResourceFails, When::Only(n), false));
    }
    cases
}

/// Runs work in simulated time.
fn simulated<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap()
        .block_on(work)
}

fn open() -> Rehearsal {
    Rehearsal::open(&Setting::default(), &[&Spec::read(SHOP.as_bytes()).unwrap()]).unwrap()
}

/// What stands, as `type name` lines. Where a name ends in something of the VPC's id or in a revision's number, that is
/// left out: a second stack in the same account has others.
fn standing(rehearsal: &Rehearsal) -> Vec<String> {
    let lasting = |kind: &str, name: &str| match kind {
        "AWS::ElasticLoadBalancingV2::TargetGroup" => name.rsplit_once('-').map(|(name, _)| name.to_owned()),
        "AWS::ECS::TaskDefinition" => name.rsplit_once(':').map(|(name, _)| name.to_owned()),
        _ => None,
    };
    let items = rehearsal.account().inventory().into_iter();
    let mut names: Vec<String> = items
        .map(|item| format!("{} {}", item.kind, lasting(&item.kind, &item.name).unwrap_or(item.name)))
        .collect();
    names.sort();
    names
}

/// The place of a call among those of the same operation in its step's action, from 1.
fn nth_of_step(ledger: &[Call], call: &Call) -> usize {
    let same = |other: &&Call| {
        other.number <= call.number
            && other.service == call.service
            && other.operation == call.operation
            && other.caller == call.caller
    };
    ledger.iter().filter(same).count()
}

/// Whether a fault struck at the call that it was meant for.
fn struck(rehearsal: &Rehearsal, case: &Case) -> Result<(), String> {
    let strikes = rehearsal.account().strikes();
    let strike = strikes.iter().find(|strike| strike.kind == case.kind).ok_or("it never struck")?;
    let ledger = rehearsal.account().ledger();
    let hit = &ledger[strike.call];
    if (hit.name(), &hit.caller) == (case.call.name(), &case.call.caller) {
        Ok(())
    } else {
        Err(format!("it struck {} of {}", hit.name(), hit.caller))
    }
}

async fn deploy(rehearsal: &Rehearsal) -> Deployed {
    rehearsal.deploy(SHOP, &()).await.unwrap()
}

/// A passing fault: the same resources as without it, each once.
async fn survives(case: &Case, nth: usize, reference: &[String]) -> Result<&'static str, String> {
    let rehearsal = open();
    rehearsal.account().arm(case.fault(nth));
    let deployed = deploy(&rehearsal).await;
    struck(&rehearsal, case)?;
    if deployed.result() != "Succeeded" {
        return Err(format!("ended as {}: {}", deployed.result(), deployed.error().unwrap_or_default()));
    }
    let now = standing(&rehearsal);
    if now != reference {
        return Err(format!("stands differently: {}", difference(reference, &now)));
    }
    Ok("succeeded")
}

/// A lasting fault: the first error named, nothing left, and the next deployment without it succeeds.
async fn fails_clean(case: &Case, nth: usize, reference: &[String]) -> Result<&'static str, String> {
    let rehearsal = open();
    rehearsal.account().arm(case.fault(nth));
    let deployed = deploy(&rehearsal).await;
    struck(&rehearsal, case)?;
    let concluding = case.call.caller.contains("/conclude/");
    if deployed.result() == "Succeeded" {
        // What only tells people (an announcement, a diagnosis) is not worth a failure.
        return Ok("succeeded");
    }
    if !concluding && !["Failed", "Rejected"].contains(&deployed.result().as_str()) {
        return Err(format!("ended as {}: {}", deployed.result(), deployed.error().unwrap_or_default()));
    }
    if !concluding && !standing(&rehearsal).is_empty() {
        return Err(format!("leaked: {}", standing(&rehearsal).join(", ")));
    }
    rehearsal.account().disarm();
    let next = deploy(&rehearsal).await;
    if next.result() != "Succeeded" {
        return Err(format!("the next deployment ended as {}: {:?}", next.result(), next.error()));
    }
    let now = standing(&rehearsal);
    if now != reference {
        return Err(format!(
            "after the next deployment it stands differently: {}",
            difference(reference, &now)
        ));
    }
    Ok("failed clean")
}

/// A fault in the undo: it ends clean, or names what is left and ends clean when started again without the fault.
async fn undoes(case: &Case, nth: usize, lasting: bool) -> Result<&'static str, String> {
    let rehearsal = open();
    let reason = || Fault::at("ecs", "CreateService", When::From(1), refused());
    rehearsal.account().arm(reason());
    rehearsal.account().arm(case.fault(nth));
    let first = deploy(&rehearsal).await;
    struck_beside(&rehearsal, case)?;
    let left = standing(&rehearsal);
    if left.is_empty() {
        return Ok("failed clean");
    }
    let error = first.error().unwrap_or_default();
    let concluding = case.call.caller.contains("/conclude/");
    if !lasting {
        return Err(format!(
            "leaked after a passing fault ({}): {}\n{error}",
            first.result(),
            left.join(", ")
        ));
    }
    if first.result() != "UndoFailed" && !concluding {
        return Err(format!("ended as {} with {} left: {error}", first.result(), left.join(", ")));
    }
    rehearsal.account().disarm();
    rehearsal.account().arm(reason());
    let second = deploy(&rehearsal).await;
    if standing(&rehearsal).is_empty() {
        Ok("failed clean")
    } else {
        Err(format!(
            "still there after another start ({}): {}",
            second.result(),
            standing(&rehearsal).join(", ")
        ))
    }
}

/// As [`struck`], where the fault that caused the undo strikes too.
fn struck_beside(rehearsal: &Rehearsal, case: &Case) -> Result<(), String> {
    let ledger = rehearsal.account().ledger();
    let hits = rehearsal
        .account()
        .strikes()
        .into_iter()
        .map(|strike| &ledger[strike.call])
        .any(|hit| (hit.name(), &hit.caller) == (case.call.name(), &case.call.caller));
    if hits { Ok(()) } else { Err("it never struck".into()) }
}

fn difference(before: &[String], now: &[String]) -> String {
    let missing = before.iter().filter(|name| !now.contains(name)).map(|name| format!("-{name}"));
    let added = now.iter().filter(|name| !before.contains(name)).map(|name| format!("+{name}"));
    let doubled = format!("{} resources instead of {}", now.len(), before.len());
    missing.chain(added).chain([doubled]).collect::<Vec<_>>().join(" ")
}

/// Runs all cases on all cores, prints one line a kind of fault, and fails with every case that went wrong.
fn run_all(
    title: &str,
    cases: &[Case],
    ledger: &[Call],
    run: impl Fn(&Case, usize) -> Result<&'static str, String> + Sync,
) {
    let asked = std::env::var("MATRIX").ok();
    let chosen = |(place, case): &(usize, &Case)| match asked.as_deref() {
        Some("all") => true,
        Some(name) => case.to_string().contains(name),
        None => place % SAMPLE == 0 || (case.call.writes && ["lost after", "killed"].contains(&case.name)),
    };
    let cases: Vec<&Case> = cases.iter().enumerate().filter(chosen).map(|(_, case)| case).collect();
    let next = AtomicUsize::new(0);
    let results: Mutex<Vec<(usize, Result<&'static str, String>)>> = Mutex::default();
    let workers = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            let work = || {
                loop {
                    let place = next.fetch_add(1, Ordering::Relaxed);
                    let Some(case) = cases.get(place) else { return };
                    let result = run(case, nth_of_step(ledger, &case.call));
                    results.lock().unwrap().push((place, result));
                }
            };
            // Unoptimised futures are large: more than a thread's usual stack.
            std::thread::Builder::new().stack_size(16 << 20).spawn_scoped(scope, work).unwrap();
        }
    });
    let mut results = results.into_inner().unwrap();
    results.sort_by_key(|(place, _)| *place);
    let mut tallies: BTreeMap<&str, Tally> = BTreeMap::new();
    let mut wrong = Vec::new();
    for (place, result) in &results {
        let case = cases[*place];
        let tally = tallies.entry(case.name).or_default();
        tally.runs += 1;
        match result {
            Ok("succeeded") => tally.succeeded += 1,
            Ok(_) => tally.failed_clean += 1,
            Err(why) => {
                if why.contains("leaked") || why.contains("stands differently") {
                    tally.leaked += 1;
                } else {
                    tally.stuck += 1;
                }
                wrong.push(format!("{case}: {why}"));
            }
        }
    }
    println!("{title}");
    for (name, Tally { runs, succeeded, failed_clean, leaked, stuck }) in &tallies {
        println!(
            "  {name:<20} {runs:>5} runs {succeeded:>5} succeeded {failed_clean:>5} failed clean {leaked:>3} leaked {stuck:>3} stuck"
        );
    }
    assert!(wrong.is_empty(), "{} of {} cases went wrong:\n{}", wrong.len(), results.len(), wrong.join("\n"));
}

/// The calls of an undisturbed deployment, and what stands after it.
fn undisturbed() -> (Vec<Call>, Vec<String>) {
    simulated(async {
        let rehearsal = open();
        let deployed = deploy(&rehearsal).await;
        assert!(deployed.succeeded(), "{:?}", deployed.error());
        (deployed.calls, standing(&rehearsal))
    })
}

#[test]
fn a_passing_fault_at_any_call_changes_nothing() {
    let (ledger, reference) = undisturbed();
    let cases: Vec<Case> = ledger.iter().flat_map(passing).collect();
    run_all("Passing faults in a deployment", &cases, &ledger, |case, nth| {
        simulated(survives(case, nth, &reference))
    });
}

#[test]
fn a_lasting_fault_at_any_call_leaves_nothing() {
    let (ledger, reference) = undisturbed();
    let cases: Vec<Case> = ledger.iter().flat_map(lasting).collect();
    run_all("Lasting faults in a deployment", &cases, &ledger, |case, nth| {
        simulated(fails_clean(case, nth, &reference))
    });
}

#[test]
fn a_fault_at_any_call_of_an_undo_ends_clean_in_the_end() {
    let ledger = simulated(async {
        let rehearsal = open();
        rehearsal.account().arm(Fault::at("ecs", "CreateService", When::From(1), refused()));
        let deployed = deploy(&rehearsal).await;
        assert_eq!(deployed.result(), "Failed", "{:?}", deployed.error());
        assert!(standing(&rehearsal).is_empty());
        deployed.calls
    });
    let undo =
        |call: &&Call| ["/remove", "/clear", "/conclude/run"].iter().any(|end| call.caller.ends_with(end));
    let passing: Vec<Case> = ledger.iter().filter(undo).flat_map(passing).collect();
    run_all("Passing faults in an undo", &passing, &ledger, |case, nth| simulated(undoes(case, nth, false)));
    let lasting: Vec<Case> = ledger.iter().filter(undo).flat_map(lasting).collect();
    run_all("Lasting faults in an undo", &lasting, &ledger, |case, nth| simulated(undoes(case, nth, true)));
}
