//! Faults while a failed first deployment is undone.

use stackdrop::Rehearsal;
use stackdrop_functions::deployment::outcome::Outcome;
use stackdrop_simulator::{Fault, FaultKind, When};

use crate::case::{Case, cases, lasting, passing};
use crate::course::{Course, deploy, lock_is_free, open, standing, stands, upload};
use crate::tally::{Ended, Verdict, run_all};
use crate::{SHOP, same, simulated};

/// The last step that makes something fails: all that there can be is there to be undone.
fn reason() -> Fault {
    let refused =
        FaultKind::Refused { code: "RefusedByTest".into(), message: "the reason for the undo".into() };
    Fault::at("ecs", "CreateService", When::From(1), refused)
}

pub(crate) fn course() -> Course {
    let course = simulated(async {
        let rehearsal = open(SHOP);
        let event = upload(&rehearsal, SHOP).await;
        rehearsal.account().arm(reason());
        Course::run(&rehearsal, event).await
    });
    assert!(course.result.starts_with("Failed"), "{}", course.result);
    assert_eq!(course.standing, Vec::<String>::new());
    course
}

#[test]
fn a_passing_fault_at_any_call_of_an_undo_changes_nothing() {
    let course = course();
    let cases = cases(course.calls_from("DeleteService"), passing);
    run_all("Passing faults in an undo", &cases, |case| {
        simulated(async {
            let (rehearsal, deployed) = course.disturbed(case).await?;
            same("the result", deployed.result(), Outcome::Failed)?;
            let error = deployed.error().unwrap_or_default();
            same("whether the first error is named", error.contains("Service failed: "), true)?;
            same("whether the first cause is named", error.contains("the reason for the undo"), true)?;
            stands(&rehearsal, &[])?;
            lock_is_free(&rehearsal).await?;
            Ok(Ended::FailedClean)
        })
    });
}

#[test]
fn a_lasting_fault_at_any_call_of_an_undo_ends_clean_when_it_is_started_again() {
    let course = course();
    let cases = cases(course.calls_from("DeleteService"), lasting);
    run_all("Lasting faults in an undo", &cases, |case| simulated(ends_clean(&course, case)));
}

async fn ends_clean(course: &Course, case: &Case) -> Verdict {
    let (rehearsal, deployed) = course.disturbed(case).await?;
    let error = deployed.error().unwrap_or_default();
    let concluding = course.step(&case.call) == "Conclude";
    if !standing(&rehearsal).is_empty() {
        same("the result", deployed.result(), Outcome::RollbackFailed)?;
        names_what_is_left(case, &rehearsal, &error)?;
    } else if !concluding && deployed.result() != Outcome::Failed {
        // It was gone, which the refused call kept the last to look from seeing.
        same("the result", deployed.result(), Outcome::RollbackFailed)?;
        same("whether it was a read in the last look", !case.call.writes && case.clears(), true)?;
        names_what_is_left(case, &rehearsal, &error)?;
    }
    if !concluding {
        lock_is_free(&rehearsal).await?;
    }
    if deployed.result() != Outcome::Failed || concluding {
        rehearsal.account().disarm();
        rehearsal.account().arm(reason());
        let again = deploy(&rehearsal, SHOP).await;
        same("the result of the next", again.result(), Outcome::Failed)?;
        stands(&rehearsal, &[])?;
        lock_is_free(&rehearsal).await?;
    }
    Ok(Ended::FailedClean)
}

/// Each resource that stands is named by its id or its name. Of the component whose own call was refused: what AWS said,
/// since it can't always know what it has.
pub(crate) fn names_what_is_left(case: &Case, rehearsal: &Rehearsal, error: &str) -> Result<(), String> {
    let code = case.code(rehearsal).unwrap_or_default();
    same("whether the cause is named", error.contains(&code), true)?;
    let items = rehearsal.account().inventory();
    let unnamed: Vec<String> = items
        .iter()
        .filter(|item| item.kind != "AWS::RDS::DBSnapshot" && item.component != case.component())
        .filter(|item| !error.contains(&item.id) && !error.contains(&item.name))
        .map(|item| format!("{} {} ({})", item.kind, item.name, item.id))
        .collect();
    if unnamed.is_empty() { Ok(()) } else { Err(format!("left unnamed: {}, by {error}", unnamed.join(", "))) }
}
