//! Faults while a stack is destroyed.

use serde_json::json;
use stackdrop_functions::deployment::outcome::Outcome;

use crate::case::{Case, cases, persistent};
use crate::rollback::names_remaining;
use crate::runner::{Ended, Verdict, run_all};
use crate::undisturbed_run::{
    UndisturbedRun, check_resources, deploy, lock_is_free, open, resources, run,
    transient_faults_change_nothing,
};
use crate::{SHOP, deployment, same, simulated};

/// The example without deletion protection.
fn unprotected() -> String {
    let spec = SHOP.replacen("deletionProtection: true", "deletionProtection: false", 1);
    assert_ne!(spec, SHOP);
    spec
}

fn destroy() -> serde_json::Value {
    json!({ "stack": "shop", "action": "destroy", "deleteData": ["shop-instance"] })
}

pub(crate) fn undisturbed() -> UndisturbedRun {
    let spec = unprotected();
    let undisturbed = simulated(async {
        let rehearsal = open(&spec);
        assert!(deploy(&rehearsal, &spec).await.succeeded());
        UndisturbedRun::run(&rehearsal, destroy()).await
    });
    assert_eq!(undisturbed.result, "Destroyed None");
    assert!(matches!(&undisturbed.resources[..], [item] if item.starts_with("AWS::RDS::DBSnapshot")));
    undisturbed
}

#[test]
fn a_transient_fault_at_any_call_of_a_destroy_changes_nothing() {
    transient_faults_change_nothing("Transient faults in a destroy", &undisturbed(), Outcome::Destroyed);
}

#[test]
fn a_persistent_fault_at_any_call_of_a_destroy_is_resolved_by_destroying_again() {
    let (undisturbed, before) = (undisturbed(), deployment::example_resources());
    let cases = cases(undisturbed.calls(), persistent);
    run_all("Persistent faults in a destroy", &cases, |case| {
        simulated(ends_clean(&undisturbed, case, &before))
    });
}

async fn ends_clean(undisturbed: &UndisturbedRun, case: &Case, before: &[String]) -> Verdict {
    let (rehearsal, deployed) = undisturbed.run_with_fault(case).await?;
    let error = deployed.error().unwrap_or_default();
    let step = undisturbed.step(&case.call);
    match step {
        "Conclude" => {}
        "Admit" | "Plan" => {
            same("the result", deployed.result(), Outcome::Failed)?;
            check_resources(&rehearsal, before)?;
        }
        _ if resources(&rehearsal) == undisturbed.resources && deployed.result() != Outcome::Destroyed => {
            // No billed resource remains, but the refused call kept the last check from seeing that.
            same("the result", deployed.result(), Outcome::DestroyFailed)?;
            same("whether it was the last check", case.awaits_deletion(), true)?;
            names_remaining(case, &rehearsal, &error)?;
        }
        _ if deployed.result() == Outcome::Destroyed => check_resources(&rehearsal, &undisturbed.resources)?,
        _ => {
            same("the result", deployed.result(), Outcome::DestroyFailed)?;
            names_remaining(case, &rehearsal, &error)?;
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
    check_resources(&rehearsal, &undisturbed.resources)?;
    lock_is_free(&rehearsal).await?;
    Ok(Ended::FailedClean)
}
