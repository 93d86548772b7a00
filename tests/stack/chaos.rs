//! Chaos tests: a small set of those that `stackdrop chaos` runs.

use stackdrop::chaos::{ExpectedResources, chaos_test};

#[test]
fn stacks_reach_their_goal_after_random_faults_and_stopped_executions() {
    let mut expected = ExpectedResources::default();
    let (mut executions, mut faults, mut incidents, mut cleanups) = (0, 0, 0, 0);
    for seed in 0..50 {
        let test = chaos_test(seed, &mut expected).unwrap();
        assert!(
            test.violations.is_empty(),
            "`stackdrop chaos --seeds 1 --from {seed}`:\n{}\n{}",
            test.history.join("\n"),
            test.violations.join("\n")
        );
        executions += test.executions;
        faults += test.faults;
        incidents += test.incidents.len();
        cleanups += test.cleanups;
    }
    assert!(executions > 100 && faults > 30, "only {executions} executions and {faults} faults");
    println!("{executions} executions, {faults} faults, {incidents} incidents, {cleanups} cleanups");
    assert!(incidents >= 80, "only {incidents} incidents");
    assert!(cleanups > 5, "only {cleanups} executions cleaned up after stopped ones");
}

#[test]
fn the_same_seed_gives_the_same_history_byte_for_byte() {
    let mut expected = ExpectedResources::default();
    for seed in [3, 4] {
        let (first, second) =
            (chaos_test(seed, &mut expected).unwrap(), chaos_test(seed, &mut expected).unwrap());
        assert_eq!(first.history, second.history);
        assert_eq!(format!("{:?}", first.calls), format!("{:?}", second.calls));
    }
}
