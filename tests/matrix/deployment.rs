//! Faults in a first deployment.

use stackdrop::{Deployed, Rehearsal};
use stackdrop_functions::deployment::outcome::Outcome;

use crate::case::{Case, cases, lasting, passing};
use crate::course::{Course, deploy, lock_is_free, open, standing, stands, upload};
use crate::tally::{Ended, Verdict, run_all};
use crate::{SHOP, same, simulated};

/// Of the deployments that failed clean, each so-manieth is followed by one without the fault: an empty account with a
/// free lock is where the first one started too, so that the next has no reason to go another way.
const FOLLOWED: usize = 41;

pub(crate) fn course() -> Course {
    let course = simulated(async {
        let rehearsal = open(SHOP);
        let event = upload(&rehearsal, SHOP).await;
        Course::run(&rehearsal, event).await
    });
    assert_eq!(course.result, "Succeeded None");
    course
}

#[test]
fn a_passing_fault_at_any_call_of_a_deployment_changes_nothing() {
    let course = course();
    let cases = cases(course.calls(), passing);
    run_all("Passing faults in a deployment", &cases, |case| {
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
fn a_lasting_fault_at_any_call_of_a_deployment_leaves_nothing() {
    let course = course();
    let cases = cases(course.calls(), lasting);
    run_all("Lasting faults in a deployment", &cases, |case| simulated(fails_clean(&course, case)));
}

/// The first error and the step named, nothing left, the lock free.
async fn fails_clean(course: &Course, case: &Case) -> Verdict {
    let (rehearsal, deployed) = course.disturbed(case).await?;
    let step = course.step(&case.call);
    if step == "Conclude" {
        return concludes_later(course, case, &rehearsal, &deployed).await;
    }
    if case.may_be_unheeded() && deployed.result() == Outcome::Succeeded {
        stands(&rehearsal, &course.standing)?;
        return Ok(Ended::Succeeded);
    }
    if case.name == "resource fails" && step == "Network" {
        // No step waits for the S3 gateway endpoint, so its failure shows in the next deployment only.
        same("the result", deployed.result(), Outcome::Succeeded)?;
        succeeds_next(course, &rehearsal).await?;
        return Ok(Ended::Succeeded);
    }
    same("the result", deployed.result(), Outcome::Failed)?;
    let error = deployed.error().unwrap_or_default();
    let named = if step == "Admit" { String::new() } else { format!("{} failed: ", failing(step, case)) };
    let code = case.code(&rehearsal).unwrap_or_default();
    let is_problem = case.may_be_unheeded() && error.starts_with("PreflightFailed");
    let is_named = error.contains(&named) && error.contains(&code);
    if !(is_problem || is_named) {
        return Err(format!("not named: {named}… {code}…, but {error}"));
    }
    stands(&rehearsal, &[])?;
    lock_is_free(&rehearsal).await?;
    if case.call.number.is_multiple_of(FOLLOWED) || step == "Admit" {
        succeeds_next(course, &rehearsal).await?;
    }
    Ok(Ended::FailedClean)
}

/// The step in which a failure shows: what AWS makes of an accepted call is seen by the step that waits for it.
pub(crate) fn failing<'s>(step: &'s str, case: &Case) -> &'s str {
    match (case.name, step) {
        ("resource fails", "Egress") => "AwaitEgress",
        ("resource fails", "Database") => "AwaitDatabase",
        ("resource fails", _) => "WaitUntilStable",
        _ => step,
    }
}

/// What comes after success: a refusal of it is said, and takes nothing back.
const AFTERWARDS: [&str; 3] = ["rds:DescribeDBInstances", "rds:ModifyDBInstance", "scheduler:CreateSchedule"];

/// A deployment that can't be concluded has made the stack all the same. Its execution fails, so that the alarm on
/// failed executions tells; its lock is taken over by the next, which finds or does what is missing.
async fn concludes_later(
    course: &Course,
    case: &Case,
    rehearsal: &Rehearsal,
    deployed: &Deployed,
) -> Verdict {
    let (call, code) = (case.call.name(), case.code(rehearsal).unwrap_or_default());
    let told = match call.as_str() {
        call if AFTERWARDS.contains(&call) => deployed.conclusion().unwrap_or_default()["cause"].to_string(),
        _ => deployed.error().unwrap_or_default(),
    };
    same("whether the cause is named", told.contains(&code), true)?;
    same("whether it succeeded", deployed.succeeded(), AFTERWARDS.contains(&call.as_str()))?;
    let mut now = standing(rehearsal);
    if !now.iter().any(|item| item == SCHEDULE) {
        now.push(SCHEDULE.into());
        now.sort();
    }
    same("what stands, the schedule aside", &now, &course.standing)?;
    succeeds_next(course, rehearsal).await?;
    Ok(Ended::Succeeded)
}

const SCHEDULE: &str = "AWS::Scheduler::Schedule shop";

async fn succeeds_next(course: &Course, rehearsal: &Rehearsal) -> Result<(), String> {
    rehearsal.account().disarm();
    let next = deploy(rehearsal, SHOP).await;
    same("the end of the next", (next.result(), next.error()), (Outcome::Succeeded, None))?;
    stands(rehearsal, &course.standing)?;
    lock_is_free(rehearsal).await
}

/// What the example makes.
pub(crate) fn made() -> Vec<String> {
    simulated(async {
        let rehearsal = open(SHOP);
        assert!(deploy(&rehearsal, SHOP).await.succeeded());
        standing(&rehearsal)
    })
}
