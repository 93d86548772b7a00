//! The fault matrix: for every call to AWS that a deployment, an undo, an update, a restoring or a removal makes, the
//! same again with one fault at that call. Nothing may be lost, doubled or left, whatever the fault.
//!
//! By default every writing call, and of each read that an action repeats the first and the last; `MATRIX=all` runs all.
//! `MATRIX=ec2:CreateVpc` runs the cases whose line contains that: a fault's name, a call, its place among the calls of
//! its operation, a caller (`killed at ec2:CreateVpc #1 of deployment-1/network/ensure`).
//!
//! A case begins at the step in which its call lies, from a checkpoint of the undisturbed run: what comes before is the
//! same to the byte, which [`what_follows_a_checkpoint_is_what_would_have_followed_without_it`] shows.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on shall end")]

mod case;
mod course;
mod deployment;
mod found;
mod removal;
mod tally;
mod undo;
mod update;

use std::fmt::Debug;

use course::Course;
use stackdrop::rehearsal::in_simulated_time;

/// A quarter of the matrix's time would be glibc's, which gives memory back to the system all the time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The example that everything is tried with.
const SHOP: &str = include_str!("../../specs/shop.yaml");

/// Runs work in simulated time.
fn simulated<T>(work: impl Future<Output = T>) -> T {
    in_simulated_time(work).unwrap()
}

/// `Ok` if the two are the same.
#[expect(clippy::needless_pass_by_value, reason = "a case reads better without references")]
fn same<T: PartialEq + Debug>(what: &str, is: T, shall: T) -> Result<(), String> {
    if is == shall { Ok(()) } else { Err(format!("{what} is {is:?} instead of {shall:?}")) }
}

#[test]
fn what_follows_a_checkpoint_is_what_would_have_followed_without_it() {
    let each_fourth = [undo::course(), update::course(), update::restoring(), removal::course()];
    let some = each_fourth
        .iter()
        .flat_map(|course| course.checkpoints.iter().step_by(4).map(move |it| (course, it)));
    let whole = deployment::course();
    for (course, checkpoint) in whole.checkpoints.iter().map(|it| (&whole, it)).chain(some) {
        let step = checkpoint.step().unwrap();
        if checkpoint.calls() == course.ledger.len() {
            continue; // Conclude's answer is before it: there is nothing to compare.
        }
        let again = simulated(Course::go_on(checkpoint));
        assert_eq!(again.result, course.result, "from {step}");
        assert_eq!(again.standing, course.standing, "from {step}");
        let lines = |course: &Course| -> Vec<String> {
            course.ledger.iter().map(|call| serde_json::to_string(call).unwrap()).collect()
        };
        assert_eq!(lines(&again), lines(course), "from {step}");
    }
}
