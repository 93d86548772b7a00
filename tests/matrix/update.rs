//! Faults in an update, and while a failed update is taken back.

use stackdrop::Rehearsal;
use stackdrop::rehearsal::Checkpoint;
use stackdrop_functions::deployment::outcome::Outcome;
use stackdrop_simulator::{Fault, FaultKind, When};

use crate::case::{Case, cases, lasting, lasting_until_noticed, passing};
use crate::course::{Course, changes, deploy, lock_is_free, open, stands, upload};
use crate::tally::{Ended, Verdict, run_all};
use crate::{SHOP, deployment, same, simulated};

/// The example with something else in every component.
pub(crate) fn later() -> String {
    [
        ("team: shop", "team: shopping"),
        ("zones: 2 ", "zones: 3 "),
        ("nat: single", "nat: per-zone"),
        ("redirectHttp: true", "redirectHttp: false"),
        ("- 0.0.0.0/0 ", "- 203.0.113.0/24 "),
        ("idleTimeout: 60", "idleTimeout: 120"),
        ("nginx:1.29", "nginx:1.30"),
        ("cpu: 512", "cpu: 1024"),
        ("memory: 1024", "memory: 2048"),
        ("count: 2", "count: 3"),
        ("min: 2", "min: 3"),
        ("max: 6", "max: 8"),
        ("cpuPercent: 70", "cpuPercent: 60"),
        ("path: /\n", "path: /ready\n"),
        ("interval: 10", "interval: 15"),
        ("LOG_LEVEL: info", "LOG_LEVEL: debug"),
        ("path: /*", "path: /shop/*"),
        ("logDays: 30", "logDays: 60"),
        ("type: t3.micro", "type: t3.small"),
        ("disk: 20", "disk: 30"),
        ("class: db.t4g.micro", "class: db.t4g.small"),
        ("storage: 20", "storage: 40"),
        ("maxStorage: 100", "maxStorage: 200"),
        ("backupDays: 7", "backupDays: 14"),
        ("allow: [services, instance]", "allow: [services]"),
        ("cron(0 3 * * ? *)", "cron(0 4 * * ? *)"),
    ]
    .iter()
    .fold(SHOP.to_owned(), |spec, (from, to)| {
        let changed = spec.replacen(from, to, 1);
        assert_ne!(changed, spec, "{from}");
        changed
    })
}

/// The example, deployed, and its update uploaded.
async fn deployed() -> (Rehearsal, serde_json::Value) {
    let rehearsal = open(SHOP);
    assert!(deploy(&rehearsal, SHOP).await.succeeded());
    let event = upload(&rehearsal, &later()).await;
    (rehearsal, event)
}

pub(crate) fn course() -> Course {
    let course = simulated(async {
        let (rehearsal, event) = deployed().await;
        Course::run(&rehearsal, event).await
    });
    assert_eq!(course.result, "Succeeded None");
    course
}

/// An update that fails at its end, so that all of it is to be taken back.
pub(crate) fn restoring() -> Course {
    let course = simulated(async {
        let (rehearsal, event) = deployed().await;
        rehearsal.account().arm(Fault::at("ecs", "UpdateService", When::Only(1), FaultKind::ResourceFails));
        Course::run(&rehearsal, event).await
    });
    assert!(course.result.starts_with("Failed"), "{}", course.result);
    course
}

#[test]
fn a_passing_fault_at_any_call_of_an_update_changes_nothing() {
    let course = course();
    let cases = cases(course.calls(), passing);
    run_all("Passing faults in an update", &cases, |case| {
        simulated(async {
            let (rehearsal, deployed) = course.disturbed(case).await?;
            same("the end", (deployed.result(), deployed.error()), (Outcome::Succeeded, None))?;
            stands(&rehearsal, &course.standing)?;
            lock_is_free(&rehearsal).await?;
            Ok(Ended::Succeeded)
        })
    });
}

#[test]
fn a_lasting_fault_at_any_call_of_an_update_ends_exactly_at_the_baseline() {
    let (course, before) = (course(), deployment::made());
    let cases = cases(course.calls(), lasting_until_noticed);
    run_all("Lasting faults in an update", &cases, |case| {
        simulated(ends_where_it_was(&course, case, &before))
    });
}

async fn ends_where_it_was(course: &Course, case: &Case, before: &[String]) -> Verdict {
    let (rehearsal, deployed) = course.disturbed(case).await?;
    let step = course.step(&case.call);
    let error = deployed.error().unwrap_or_default();
    if step == "Conclude" || step.starts_with("Prune") {
        // What the update makes is there and healthy by then: it is not taken back.
        stands_in_the_end(&rehearsal, &later(), &course.standing).await?;
        return Ok(Ended::Succeeded);
    }
    if case.may_be_unheeded() && deployed.result() == Outcome::Succeeded {
        stands(&rehearsal, &course.standing)?;
        return Ok(Ended::Succeeded);
    }
    // A resource that fails is noticed by its own step or by the step that waits for it.
    let steps = [step, deployment::failing(step, case)];
    let named = step == "Admit" || steps.iter().any(|step| error.contains(&format!("{step} failed: ")));
    let code = case.code(&rehearsal).unwrap_or_default();
    if !(named && error.contains(&code)) {
        return Err(format!("not named: {}… {code}…, but {} {error}", steps.join(" or "), deployed.result()));
    }
    lock_is_free(&rehearsal).await?;
    if deployed.result() == Outcome::RollbackFailed && case.goes_on() {
        // The way back needs the same call.
        stands_in_the_end(&rehearsal, SHOP, before).await?;
        return Ok(Ended::FailedClean);
    }
    same("the result", deployed.result(), Outcome::Failed)?;
    stands(&rehearsal, before)?;
    is_as_the_baseline_says(&rehearsal, before).await?;
    Ok(Ended::FailedClean)
}

/// A deployment of the baseline finds nothing to change.
async fn is_as_the_baseline_says(rehearsal: &Rehearsal, before: &[String]) -> Result<(), String> {
    rehearsal.account().disarm();
    let next = deploy(rehearsal, SHOP).await;
    same("the end of the next", (next.result(), next.error()), (Outcome::Succeeded, None))?;
    same("what a deployment of the baseline changes", changes(&next), Vec::new())?;
    stands(rehearsal, before)
}

/// The next deployment, without the fault, ends at its spec.
async fn stands_in_the_end(rehearsal: &Rehearsal, spec: &str, shall: &[String]) -> Result<(), String> {
    rehearsal.account().disarm();
    let next = deploy(rehearsal, spec).await;
    same("the end of the next", (next.result(), next.error()), (Outcome::Succeeded, None))?;
    stands(rehearsal, shall)?;
    lock_is_free(rehearsal).await
}

/// The calls that take the update back.
fn taking_back(course: &Course) -> Vec<stackdrop_simulator::Call> {
    let restore = |checkpoint: &&Checkpoint| checkpoint.step() == Some("RollBackToBaseline");
    let place = course.checkpoints.iter().find(restore).unwrap().calls();
    course.ledger[place..].to_vec()
}

#[test]
fn a_passing_fault_at_any_call_of_a_restoring_changes_nothing() {
    let (course, before) = (restoring(), deployment::made());
    let cases = cases(&taking_back(&course), passing);
    run_all("Passing faults in a restoring", &cases, |case| {
        simulated(async {
            let (rehearsal, deployed) = course.disturbed(case).await?;
            same("the result", deployed.result(), Outcome::Failed)?;
            lock_is_free(&rehearsal).await?;
            stands(&rehearsal, &before)?;
            Ok(Ended::FailedClean)
        })
    });
}

#[test]
fn a_lasting_fault_at_any_call_of_a_restoring_ends_at_the_baseline_when_it_is_started_again() {
    let (course, before) = (restoring(), deployment::made());
    let cases = cases(&taking_back(&course), lasting);
    run_all("Lasting faults in a restoring", &cases, |case| {
        simulated(async {
            let (rehearsal, deployed) = course.disturbed(case).await?;
            let step = course.step(&case.call);
            if case.may_be_unheeded() && deployed.result() == Outcome::Failed {
                stands(&rehearsal, &before)?;
            } else if step != "Conclude" {
                same("the result", deployed.result(), Outcome::RollbackFailed)?;
                let error = deployed.error().unwrap_or_default();
                same("whether the step is named", error.contains(step), true)?;
                let code = case.code(&rehearsal).unwrap_or_default();
                same("whether the cause is named", error.contains(&code), true)?;
                lock_is_free(&rehearsal).await?;
            }
            stands_in_the_end(&rehearsal, SHOP, &before).await?;
            Ok(Ended::FailedClean)
        })
    });
}
