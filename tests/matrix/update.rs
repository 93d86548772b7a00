//! Faults during an update, and during the rollback of an update.

use stackdrop::Rehearsal;
use stackdrop::rehearsal::Checkpoint;
use stackdrop_functions::deployment::outcome::Outcome;
use stackdrop_simulator::{Fault, FaultKind, When};

use crate::case::{Case, cases, persistent, persistent_until_noticed, transient};
use crate::runner::{Ended, Verdict, run_all};
use crate::undisturbed_run::{
    UndisturbedRun, changes, check_resources, deploy, lock_is_free, open, transient_faults_change_nothing,
    upload,
};
use crate::{SHOP, deployment, same, simulated};

/// The example with a change in every component.
pub(crate) fn updated_spec() -> String {
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

/// Deploys the example, and uploads the update without deploying it.
async fn deployed() -> (Rehearsal, serde_json::Value) {
    let rehearsal = open(SHOP);
    assert!(deploy(&rehearsal, SHOP).await.succeeded());
    let event = upload(&rehearsal, &updated_spec()).await;
    (rehearsal, event)
}

pub(crate) fn undisturbed() -> UndisturbedRun {
    let undisturbed = simulated(async {
        let (rehearsal, event) = deployed().await;
        UndisturbedRun::run(&rehearsal, event).await
    });
    assert_eq!(undisturbed.result, "Succeeded None");
    undisturbed
}

/// An update that fails at its end, so that the rollback has every change to revert.
pub(crate) fn undisturbed_rollback() -> UndisturbedRun {
    let undisturbed = simulated(async {
        let (rehearsal, event) = deployed().await;
        rehearsal.account().arm(Fault::at("ecs", "UpdateService", When::Only(1), FaultKind::ResourceFails));
        UndisturbedRun::run(&rehearsal, event).await
    });
    assert!(undisturbed.result.starts_with("Failed"), "{}", undisturbed.result);
    undisturbed
}

#[test]
fn a_transient_fault_at_any_call_of_an_update_changes_nothing() {
    transient_faults_change_nothing("Transient faults in an update", &undisturbed(), Outcome::Succeeded);
}

#[test]
fn a_persistent_fault_at_any_call_of_an_update_rolls_back_to_the_baseline() {
    let (undisturbed, before) = (undisturbed(), deployment::example_resources());
    let cases = cases(undisturbed.calls(), persistent_until_noticed);
    run_all("Persistent faults in an update", &cases, |case| {
        simulated(rolls_back(&undisturbed, case, &before))
    });
}

async fn rolls_back(undisturbed: &UndisturbedRun, case: &Case, before: &[String]) -> Verdict {
    let (rehearsal, deployed) = undisturbed.run_with_fault(case).await?;
    let step = undisturbed.step(&case.call);
    let error = deployed.error().unwrap_or_default();
    if step == "Conclude" || step.starts_with("Prune") {
        // The updated resources exist and are healthy by then: they are kept.
        next_deployment_reaches(&rehearsal, &updated_spec(), &undisturbed.resources).await?;
        return Ok(Ended::Succeeded);
    }
    if case.is_optional_read() && deployed.result() == Outcome::Succeeded {
        check_resources(&rehearsal, &undisturbed.resources)?;
        return Ok(Ended::Succeeded);
    }
    // A resource that fails is noticed by its own step or by the step that waits for it.
    let steps = [step, deployment::noticing_step(step, case)];
    let named = step == "Admit" || steps.iter().any(|step| error.contains(&format!("{step} failed: ")));
    let code = case.code(&rehearsal).unwrap_or_default();
    if !(named && error.contains(&code)) {
        return Err(format!("not named: {}… {code}…, but {} {error}", steps.join(" or "), deployed.result()));
    }
    lock_is_free(&rehearsal).await?;
    if deployed.result() == Outcome::RollbackFailed && case.fails_again() {
        // The rollback needs the same call.
        next_deployment_reaches(&rehearsal, SHOP, before).await?;
        return Ok(Ended::FailedClean);
    }
    same("the result", deployed.result(), Outcome::Failed)?;
    check_resources(&rehearsal, before)?;
    matches_the_baseline(&rehearsal, before).await?;
    Ok(Ended::FailedClean)
}

/// `Ok` if a deployment of the baseline changes nothing.
async fn matches_the_baseline(rehearsal: &Rehearsal, before: &[String]) -> Result<(), String> {
    rehearsal.account().disarm();
    let next = deploy(rehearsal, SHOP).await;
    same("the end of the next", (next.result(), next.error()), (Outcome::Succeeded, None))?;
    same("what a deployment of the baseline changes", changes(&next), Vec::new())?;
    check_resources(rehearsal, before)
}

/// `Ok` if the next deployment, without the fault, succeeds and leaves the expected resources.
async fn next_deployment_reaches(
    rehearsal: &Rehearsal,
    spec: &str,
    expected: &[String],
) -> Result<(), String> {
    rehearsal.account().disarm();
    let next = deploy(rehearsal, spec).await;
    same("the end of the next", (next.result(), next.error()), (Outcome::Succeeded, None))?;
    check_resources(rehearsal, expected)?;
    lock_is_free(rehearsal).await
}

/// The calls of the rollback.
fn rollback_calls(undisturbed: &UndisturbedRun) -> Vec<stackdrop_simulator::Call> {
    let rollback = |checkpoint: &&Checkpoint| checkpoint.step() == Some("RollBackToBaseline");
    let place = undisturbed.checkpoints.iter().find(rollback).unwrap().calls();
    undisturbed.call_log[place..].to_vec()
}

#[test]
fn a_transient_fault_at_any_call_of_the_rollback_of_an_update_changes_nothing() {
    let (undisturbed, before) = (undisturbed_rollback(), deployment::example_resources());
    let cases = cases(&rollback_calls(&undisturbed), transient);
    run_all("Transient faults in the rollback of an update", &cases, |case| {
        simulated(async {
            let (rehearsal, deployed) = undisturbed.run_with_fault(case).await?;
            same("the result", deployed.result(), Outcome::Failed)?;
            lock_is_free(&rehearsal).await?;
            check_resources(&rehearsal, &before)?;
            Ok(Ended::FailedClean)
        })
    });
}

#[test]
fn a_persistent_fault_at_any_call_of_the_rollback_of_an_update_is_resolved_by_deploying_the_baseline() {
    let (undisturbed, before) = (undisturbed_rollback(), deployment::example_resources());
    let cases = cases(&rollback_calls(&undisturbed), persistent);
    run_all("Persistent faults in the rollback of an update", &cases, |case| {
        simulated(async {
            let (rehearsal, deployed) = undisturbed.run_with_fault(case).await?;
            let step = undisturbed.step(&case.call);
            // Taking back a number of tasks starts none that could fail.
            let only_stops = step == "PrepareService" && case.call.name() == "ecs:UpdateService";
            if (case.is_optional_read() || only_stops) && deployed.result() == Outcome::Failed {
                check_resources(&rehearsal, &before)?;
            } else if step != "Conclude" {
                same("the result", deployed.result(), Outcome::RollbackFailed)?;
                let error = deployed.error().unwrap_or_default();
                same("whether the step is named", error.contains(step), true)?;
                let code = case.code(&rehearsal).unwrap_or_default();
                same("whether the cause is named", error.contains(&code), true)?;
                lock_is_free(&rehearsal).await?;
            }
            next_deployment_reaches(&rehearsal, SHOP, &before).await?;
            Ok(Ended::FailedClean)
        })
    });
}
