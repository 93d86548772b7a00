//! The fault matrix repeats a deployment, an update, a destroy and both kinds of rollback once for each of their calls to
//! AWS, with one fault at that call, and at their steps with an incident. No resource may be lost, duplicated or left behind,
//! whatever happens.
//!
//! The default cases cover every writing call. If an action repeats a read, they cover its first and its last call;
//! `MATRIX=all` covers all of them. `MATRIX=TEXT` runs the cases whose name contains the text, for example
//! `MATRIX=ec2:CreateVpc`. A name has the fault, the call, its number among the calls of the operation, and the caller:
//! `killed at ec2:CreateVpc #1 of deployment-1/network/apply`.
//!
//! A case resumes the undisturbed run from the checkpoint before the step that makes the call. The test
//! [`a_run_resumed_from_a_checkpoint_equals_the_uninterrupted_run`] proves that this changes nothing.

#![allow(clippy::unwrap_used, reason = "a test that cannot continue must fail")]

mod case;
mod deployment;
mod destroy;
mod incidents;
mod regressions;
mod rollback;
mod runner;
mod undisturbed_run;
mod update;

use std::fmt::Debug;

use stackdrop::rehearsal::in_simulated_time;
use undisturbed_run::UndisturbedRun;

/// glibc's allocator keeps returning memory to the system, and would take a quarter of the matrix's time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The example spec, which all cases deploy.
const SHOP: &str = include_str!("../../specs/shop.yaml");

/// Runs a future in simulated time.
fn simulated<T>(work: impl Future<Output = T>) -> T {
    in_simulated_time(work).unwrap()
}

/// `Ok` if the two are the same.
#[expect(clippy::needless_pass_by_value, reason = "a case reads better without references")]
fn same<T: PartialEq + Debug>(what: &str, actual: T, expected: T) -> Result<(), String> {
    if actual == expected { Ok(()) } else { Err(format!("{what} is {actual:?} instead of {expected:?}")) }
}

#[test]
fn a_run_resumed_from_a_checkpoint_equals_the_uninterrupted_run() {
    let each_fourth = [
        rollback::undisturbed(),
        update::undisturbed(),
        update::undisturbed_rollback(),
        destroy::undisturbed(),
    ];
    let some = each_fourth
        .iter()
        .flat_map(|undisturbed| undisturbed.checkpoints.iter().step_by(4).map(move |it| (undisturbed, it)));
    let whole = deployment::undisturbed();
    for (undisturbed, checkpoint) in whole.checkpoints.iter().map(|it| (&whole, it)).chain(some) {
        let step = checkpoint.step().unwrap();
        if checkpoint.calls() == undisturbed.call_log.len() {
            continue; // No call follows this checkpoint: there is nothing to compare.
        }
        let again = simulated(UndisturbedRun::resume(checkpoint));
        assert_eq!(again.result, undisturbed.result, "from {step}");
        assert_eq!(again.resources, undisturbed.resources, "from {step}");
        let lines = |undisturbed: &UndisturbedRun| -> Vec<String> {
            undisturbed.call_log.iter().map(|call| serde_json::to_string(call).unwrap()).collect()
        };
        assert_eq!(lines(&again), lines(undisturbed), "from {step}");
    }
}
