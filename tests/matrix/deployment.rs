//! Faults in a first deployment.

use stackdrop::{Deployed, Rehearsal};

use crate::case::{Case, cases, persistent, transient};
use crate::runner::{Ended, Verdict, run_all};
use crate::undisturbed_run::{
    UndisturbedRun, check_resources, deploy, lock_is_free, open, resources, upload,
};
use crate::{SHOP, same, simulated};

/// Of the deployments that failed clean, each so-manieth is followed by one without the fault: an empty account with a
/// free lock is where the first one started too, so that the next has no reason to go another way.
const FOLLOW_UP_INTERVAL: usize = 41;

pub(crate) fn undisturbed() -> UndisturbedRun {
    let undisturbed = simulated(async {
        let rehearsal = open(SHOP);
        let event = upload(&rehearsal, SHOP).await;
        UndisturbedRun::run(&rehearsal, event).await
    });
    assert_eq!(undisturbed.result, "Succeeded None");
    undisturbed
}

#[test]
fn a_transient_fault_at_any_call_of_a_deployment_changes_nothing() {
    let undisturbed = undisturbed();
    let cases = cases(undisturbed.calls(), transient);
    run_all("Transient faults in a deployment", &cases, |case| {
        simulated(async {
            let (rehearsal, deployed) = undisturbed.run_with_fault(case).await?;
            same("the end", (deployed.result(), deployed.error()), ("Succeeded".into(), None))?;
            check_resources(&rehearsal, &undisturbed.resources)?;
            lock_is_free(&rehearsal).await?;
            Ok(Ended::Succeeded)
        })
    });
}

#[test]
fn a_persistent_fault_at_any_call_of_a_deployment_leaves_no_resources() {
    let undisturbed = undisturbed();
    let cases = cases(undisturbed.calls(), persistent);
    run_all("Persistent faults in a deployment", &cases, |case| simulated(fails_clean(&undisturbed, case)));
}

/// The first error and the step named, nothing left, the lock free.
async fn fails_clean(undisturbed: &UndisturbedRun, case: &Case) -> Verdict {
    let (rehearsal, deployed) = undisturbed.run_with_fault(case).await?;
    let step = undisturbed.step(&case.call);
    if step == "Conclude" {
        return conclude_fails(undisturbed, case, &rehearsal, &deployed).await;
    }
    if case.is_optional_read() && deployed.result() == "Succeeded" {
        check_resources(&rehearsal, &undisturbed.resources)?;
        return Ok(Ended::Succeeded);
    }
    same("the result", deployed.result().as_str(), "Failed")?;
    let error = deployed.error().unwrap_or_default();
    let named =
        if step == "Admit" { String::new() } else { format!("{} failed: ", noticing_step(step, case)) };
    let code = case.code(&rehearsal).unwrap_or_default();
    let is_problem = case.is_optional_read() && error.starts_with("PreflightFailed");
    let is_named = error.contains(&named) && error.contains(&code);
    if !(is_problem || is_named) {
        return Err(format!("not named: {named}… {code}…, but {error}"));
    }
    check_resources(&rehearsal, &[])?;
    lock_is_free(&rehearsal).await?;
    if case.call.number.is_multiple_of(FOLLOW_UP_INTERVAL) || step == "Admit" {
        next_deployment_succeeds(undisturbed, &rehearsal).await?;
    }
    Ok(Ended::FailedClean)
}

/// The step in which a failure shows: what AWS makes of an accepted call is seen by the step that waits for it.
fn noticing_step<'s>(step: &'s str, case: &Case) -> &'s str {
    match (case.name, step) {
        ("resource fails", "Egress") => "AwaitEgress",
        ("resource fails", "Database") => "AwaitDatabase",
        ("resource fails", _) => "WaitUntilStable",
        _ => step,
    }
}

/// What comes after success: a refusal of it is said, and takes nothing back.
const AFTER_SUCCESS: [&str; 3] =
    ["rds:DescribeDBInstances", "rds:ModifyDBInstance", "scheduler:CreateSchedule"];

/// A deployment that can't be concluded has made the stack all the same. Its execution fails, so that the alarm on
/// failed executions tells; its lock is taken over by the next, which finds or does what is missing.
async fn conclude_fails(
    undisturbed: &UndisturbedRun,
    case: &Case,
    rehearsal: &Rehearsal,
    deployed: &Deployed,
) -> Verdict {
    let (call, code) = (case.call.name(), case.code(rehearsal).unwrap_or_default());
    let told = match call.as_str() {
        call if AFTER_SUCCESS.contains(&call) => {
            deployed.conclusion().unwrap_or_default()["cause"].to_string()
        }
        _ => deployed.error().unwrap_or_default(),
    };
    same("whether the cause is named", told.contains(&code), true)?;
    same("whether it succeeded", deployed.succeeded(), AFTER_SUCCESS.contains(&call.as_str()))?;
    let mut now = resources(rehearsal);
    if !now.iter().any(|item| item == SCHEDULE) {
        now.push(SCHEDULE.into());
        now.sort();
    }
    same("what check_resources, the schedule aside", &now, &undisturbed.resources)?;
    next_deployment_succeeds(undisturbed, rehearsal).await?;
    Ok(Ended::Succeeded)
}

const SCHEDULE: &str = "AWS::Scheduler::Schedule shop";

async fn next_deployment_succeeds(undisturbed: &UndisturbedRun, rehearsal: &Rehearsal) -> Result<(), String> {
    rehearsal.account().disarm();
    let next = deploy(rehearsal, SHOP).await;
    same("the end of the next", (next.result(), next.error()), ("Succeeded".into(), None))?;
    check_resources(rehearsal, &undisturbed.resources)?;
    lock_is_free(rehearsal).await
}

/// What the example makes.
pub(crate) fn example_resources() -> Vec<String> {
    simulated(async {
        let rehearsal = open(SHOP);
        assert!(deploy(&rehearsal, SHOP).await.succeeded());
        resources(&rehearsal)
    })
}
