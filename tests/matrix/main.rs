//! The fault matrix: for every call to AWS that a deployment, an undo, an update, a restoring or a removal makes, the
//! same again with one fault at that call. Nothing may be lost, doubled or left, whatever the fault.
//!
//! By default every writing call, and of each read that an action repeats the first and the last; `MATRIX=all` runs all.
//! `MATRIX=ec2:CreateVpc` runs the cases whose line contains that: a fault's name, a call, its place among the calls of
//! its operation, a caller (`killed at ec2:CreateVpc #1 of deployment-1/network/ensure`).
//!
//! A case begins at the step in which its call lies, from a checkpoint of the undisturbed run: what comes before is the
//! same to the byte, which [`a_run_resumed_from_a_checkpoint_equals_the_uninterrupted_run`] shows.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on shall end")]

mod case;
mod deployment;
mod destroy;
mod regressions;
mod rollback;
mod runner;
mod undisturbed_run;
mod update;

use std::fmt::Debug;

use undisturbed_run::UndisturbedRun;

/// A quarter of the matrix's time would be glibc's, which gives memory back to the system all the time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The example that everything is tried with.
const SHOP: &str = include_str!("../../specs/shop.yaml");

/// Runs work in simulated time.
fn simulated<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap()
        .block_on(work)
}

/// `Ok` if the two are the same.
#[expect(clippy::needless_pass_by_value, reason = "a case reads better without references")]
fn same<T: PartialEq + Debug>(what: &str, is: T, shall: T) -> Result<(), String> {
    if is == shall { Ok(()) } else { Err(format!("{what} is {is:?} instead of {shall:?}")) }
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
            continue; // Conclude's answer is before it: there is nothing to compare.
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
