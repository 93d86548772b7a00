//! Faults in a first deployment.

use stackdrop::{Deployed, Rehearsal};
use stackdrop_functions::deployment::outcome::Outcome;

use crate::case::{Case, cases, persistent};
use crate::runner::{Ended, Verdict, run_all};
use crate::undisturbed_run::{
    UndisturbedRun, check_resources, deploy, lock_is_free, open, resources, transient_faults_change_nothing,
    upload,
};
use crate::{SHOP, same, simulated};

/// One in this many deployments that failed without remaining resources is followed by one without the fault. A sample is
/// enough: an empty account with a released lock is the state that the first deployment started from.
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
    transient_faults_change_nothing("Transient faults in a deployment", &undisturbed(), Outcome::Succeeded);
}

#[test]
fn a_persistent_fault_at_any_call_of_a_deployment_leaves_no_resources() {
    let undisturbed = undisturbed();
    let cases = cases(undisturbed.calls(), persistent);
    run_all("Persistent faults in a deployment", &cases, |case| simulated(fails_clean(&undisturbed, case)));
}

/// The error names the step and the first cause, no resources remain, and the lock is released.
async fn fails_clean(undisturbed: &UndisturbedRun, case: &Case) -> Verdict {
    let (rehearsal, deployed) = undisturbed.run_with_fault(case).await?;
    let step = undisturbed.step(&case.call);
    if step == "Conclude" {
        return conclude_fails(undisturbed, case, &rehearsal, &deployed).await;
    }
    if case.is_optional_read() && deployed.result() == Outcome::Succeeded {
        check_resources(&rehearsal, &undisturbed.resources)?;
        return Ok(Ended::Succeeded);
    }
    same("the result", deployed.result(), Outcome::Failed)?;
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

/// The step that notices the failure: if AWS accepts a call and then fails, the step that waits for the resource does.
pub(crate) fn noticing_step<'s>(step: &'s str, case: &Case) -> &'s str {
    match (case.name, step) {
        ("resource fails", "Network") => "Network",
        ("resource fails", "Egress") => "AwaitEgress",
        ("resource fails", "Database") => "AwaitDatabase",
        ("resource fails", _) => "WaitUntilStable",
        _ => step,
    }
}

/// Calls after the stack is complete: their refusal is reported, and nothing is rolled back.
const AFTER_SUCCESS: [&str; 5] = [
    "rds:DescribeDBInstances",
    "rds:ModifyDBInstance",
    "scheduler:CreateSchedule",
    "secretsmanager:DescribeSecret",
    "secretsmanager:RotateSecret",
];

/// If Conclude fails, the stack is complete all the same. The execution fails, so that the alarm on failed executions
/// fires. The next deployment takes over the lock and completes what is missing.
async fn conclude_fails(
    undisturbed: &UndisturbedRun,
    case: &Case,
    rehearsal: &Rehearsal,
    deployed: &Deployed,
) -> Verdict {
    let (call, code) = (case.call.name(), case.code(rehearsal).unwrap_or_default());
    let reported = match call.as_str() {
        call if AFTER_SUCCESS.contains(&call) => {
            deployed.conclusion().unwrap_or_default()["cause"].to_string()
        }
        _ => deployed.error().unwrap_or_default(),
    };
    same("whether the cause is named", reported.contains(&code), true)?;
    same("whether it succeeded", deployed.succeeded(), AFTER_SUCCESS.contains(&call.as_str()))?;
    let mut actual = resources(rehearsal);
    for schedule in SCHEDULES {
        if !actual.iter().any(|item| item == schedule) {
            actual.push(schedule.into());
        }
    }
    actual.sort();
    same("the resources without the schedules", &actual, &undisturbed.resources)?;
    next_deployment_succeeds(undisturbed, rehearsal).await?;
    Ok(Ended::Succeeded)
}

const SCHEDULES: [&str; 2] = ["AWS::Scheduler::Schedule shop", "AWS::Scheduler::Schedule shop.rotation"];

async fn next_deployment_succeeds(undisturbed: &UndisturbedRun, rehearsal: &Rehearsal) -> Result<(), String> {
    rehearsal.account().disarm();
    let next = deploy(rehearsal, SHOP).await;
    same("the end of the next", (next.result(), next.error()), (Outcome::Succeeded, None))?;
    check_resources(rehearsal, &undisturbed.resources)?;
    lock_is_free(rehearsal).await
}

/// The resources of the deployed example.
pub(crate) fn example_resources() -> Vec<String> {
    simulated(async {
        let rehearsal = open(SHOP);
        assert!(deploy(&rehearsal, SHOP).await.succeeded());
        resources(&rehearsal)
    })
}
