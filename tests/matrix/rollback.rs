//! Faults during the rollback of a first deployment.

use stackdrop::Rehearsal;
use stackdrop_functions::deployment::outcome::Outcome;
use stackdrop_simulator::{Fault, FaultKind, When};

use crate::case::{Case, cases, persistent, transient};
use crate::runner::{Ended, Verdict, run_all};
use crate::undisturbed_run::{
    UndisturbedRun, check_resources, deploy, lock_is_free, open, resources, upload,
};
use crate::{SHOP, same, simulated};

/// The cause of the rollback: the last creating step fails, so the rollback has every other resource to delete.
fn reason() -> Fault {
    let refused =
        FaultKind::Refused { code: "RefusedByTest".into(), message: "the cause of the rollback".into() };
    Fault::at("ecs", "CreateService", When::From(1), refused)
}

pub(crate) fn undisturbed() -> UndisturbedRun {
    let undisturbed = simulated(async {
        let rehearsal = open(SHOP);
        let event = upload(&rehearsal, SHOP).await;
        rehearsal.account().arm(reason());
        UndisturbedRun::run(&rehearsal, event).await
    });
    assert!(undisturbed.result.starts_with("Failed"), "{}", undisturbed.result);
    assert_eq!(undisturbed.resources, Vec::<String>::new());
    undisturbed
}

#[test]
fn a_transient_fault_at_any_call_of_a_rollback_changes_nothing() {
    let undisturbed = undisturbed();
    let cases = cases(undisturbed.calls_from("DeleteService"), transient);
    run_all("Transient faults in a rollback", &cases, |case| {
        simulated(async {
            let (rehearsal, deployed) = undisturbed.run_with_fault(case).await?;
            same("the result", deployed.result(), Outcome::Failed)?;
            let error = deployed.error().unwrap_or_default();
            same("whether the first error is named", error.contains("Service failed: "), true)?;
            same("whether the first cause is named", error.contains("the cause of the rollback"), true)?;
            check_resources(&rehearsal, &[])?;
            lock_is_free(&rehearsal).await?;
            Ok(Ended::FailedClean)
        })
    });
}

#[test]
fn a_persistent_fault_at_any_call_of_a_rollback_is_resolved_by_the_next_rollback() {
    let undisturbed = undisturbed();
    let cases = cases(undisturbed.calls_from("DeleteService"), persistent);
    run_all("Persistent faults in a rollback", &cases, |case| simulated(ends_clean(&undisturbed, case)));
}

async fn ends_clean(undisturbed: &UndisturbedRun, case: &Case) -> Verdict {
    let (rehearsal, deployed) = undisturbed.run_with_fault(case).await?;
    let error = deployed.error().unwrap_or_default();
    let concluding = undisturbed.step(&case.call) == "Conclude";
    if !resources(&rehearsal).is_empty() {
        same("the result", deployed.result(), Outcome::RollbackFailed)?;
        names_remaining(case, &rehearsal, &error)?;
    } else if !concluding && deployed.result() != Outcome::Failed {
        // Everything is deleted, but the refused call kept the last check from seeing that.
        same("the result", deployed.result(), Outcome::RollbackFailed)?;
        same("whether the last check was refused a read", !case.call.writes && case.awaits_deletion(), true)?;
        names_remaining(case, &rehearsal, &error)?;
    }
    if !concluding {
        lock_is_free(&rehearsal).await?;
    }
    if deployed.result() != Outcome::Failed || concluding {
        rehearsal.account().disarm();
        rehearsal.account().arm(reason());
        let again = deploy(&rehearsal, SHOP).await;
        same("the result of the next", again.result(), Outcome::Failed)?;
        check_resources(&rehearsal, &[])?;
        lock_is_free(&rehearsal).await?;
    }
    Ok(Ended::FailedClean)
}

/// `Ok` if the error names each remaining resource by its ID or name. The component whose call was refused cannot always
/// know its resources; the error has AWS's code instead.
pub(crate) fn names_remaining(case: &Case, rehearsal: &Rehearsal, error: &str) -> Result<(), String> {
    let code = case.code(rehearsal).unwrap_or_default();
    same("whether the cause is named", error.contains(&code), true)?;
    let items = rehearsal.account().inventory();
    let unnamed: Vec<String> = items
        .iter()
        .filter(|item| item.kind != "AWS::RDS::DBSnapshot" && item.component != case.component())
        .filter(|item| !error.contains(&item.id) && !error.contains(&item.name))
        .map(|item| format!("{} {} ({})", item.kind, item.name, item.id))
        .collect();
    if unnamed.is_empty() { Ok(()) } else { Err(format!("not named: {}, but {error}", unnamed.join(", "))) }
}
