//! Faults while a stack is removed.

use serde_json::json;
use stackdrop_functions::deployment::outcome::Outcome;

use crate::case::{Case, cases, lasting, passing};
use crate::course::{Course, deploy, lock_is_free, open, run, standing, stands};
use crate::tally::{Ended, Verdict, run_all};
use crate::undo::names_what_is_left;
use crate::{SHOP, deployment, same, simulated};

/// The example with a database that may be deleted.
fn unprotected() -> String {
    let spec = SHOP.replacen("deletionProtection: true", "deletionProtection: false", 1);
    assert_ne!(spec, SHOP);
    spec
}

fn destroy() -> serde_json::Value {
    json!({ "stack": "shop", "action": "destroy" })
}

pub(crate) fn course() -> Course {
    let spec = unprotected();
    let course = simulated(async {
        let rehearsal = open(&spec);
        assert!(deploy(&rehearsal, &spec).await.succeeded());
        Course::run(&rehearsal, destroy()).await
    });
    assert_eq!(course.result, "Destroyed None");
    assert!(matches!(&course.standing[..], [item] if item.starts_with("AWS::RDS::DBSnapshot")));
    course
}

#[test]
fn a_passing_fault_at_any_call_of_a_removal_changes_nothing() {
    let course = course();
    let cases = cases(course.calls(), passing);
    run_all("Passing faults in a removal", &cases, |case| {
        simulated(async {
            let (rehearsal, deployed) = course.disturbed(case).await?;
            same("the end", (deployed.result(), deployed.error()), (Outcome::Destroyed, None))?;
            stands(&rehearsal, &course.standing)?;
            lock_is_free(&rehearsal).await?;
            Ok(Ended::Succeeded)
        })
    });
}

#[test]
fn a_lasting_fault_at_any_call_of_a_removal_ends_clean_when_it_is_started_again() {
    let (course, before) = (course(), deployment::made());
    let cases = cases(course.calls(), lasting);
    run_all("Lasting faults in a removal", &cases, |case| simulated(ends_clean(&course, case, &before)));
}

async fn ends_clean(course: &Course, case: &Case, before: &[String]) -> Verdict {
    let (rehearsal, deployed) = course.disturbed(case).await?;
    let error = deployed.error().unwrap_or_default();
    let step = course.step(&case.call);
    match step {
        "Conclude" => {}
        "Admit" | "Plan" => {
            same("the result", deployed.result(), Outcome::Failed)?;
            stands(&rehearsal, before)?;
        }
        _ if standing(&rehearsal) == course.standing && deployed.result() != Outcome::Destroyed => {
            // Nothing that costs is left, which the refused call kept the last to look from seeing.
            same("the result", deployed.result(), Outcome::RollbackFailed)?;
            same("whether it was the last look", case.clears(), true)?;
            names_what_is_left(case, &rehearsal, &error)?;
        }
        _ if deployed.result() == Outcome::Destroyed => stands(&rehearsal, &course.standing)?,
        _ => {
            same("the result", deployed.result(), Outcome::RollbackFailed)?;
            names_what_is_left(case, &rehearsal, &error)?;
        }
    }
    if step != "Conclude" {
        lock_is_free(&rehearsal).await?;
    }
    if deployed.result() == Outcome::Destroyed {
        return Ok(Ended::Succeeded);
    }
    rehearsal.account().disarm();
    let again = run(&rehearsal, destroy()).await;
    same("the result of the next", again.result(), Outcome::Destroyed)?;
    stands(&rehearsal, &course.standing)?;
    lock_is_free(&rehearsal).await?;
    Ok(Ended::FailedClean)
}
