//! Random weather: a short set of what `stackdrop storm` tries at length.

use stackdrop::storm::{Undisturbed, storm};

#[test]
fn whatever_the_weather_the_stacks_are_right_in_the_end() {
    let mut undisturbed = Undisturbed::default();
    let (mut executions, mut faults, mut looked_after) = (0, 0, 0);
    for seed in 0..40 {
        let storm = storm(seed, &mut undisturbed).unwrap();
        assert!(
            storm.broken.is_empty(),
            "`stackdrop storm --seeds 1 --from {seed}`:\n{}\n{}",
            storm.history.join("\n"),
            storm.broken.join("\n")
        );
        executions += storm.executions;
        faults += storm.faults;
        looked_after += storm.looked_after;
    }
    assert!(executions > 100 && faults > 30, "{executions} executions and {faults} faults are no storm");
    assert!(looked_after > 10, "{looked_after} executions looked after stopped ones");
}

#[test]
fn the_same_seed_gives_the_same_history_to_the_byte() {
    let mut undisturbed = Undisturbed::default();
    for seed in [3, 4] {
        let (first, second) =
            (storm(seed, &mut undisturbed).unwrap(), storm(seed, &mut undisturbed).unwrap());
        assert_eq!(first.history, second.history);
        assert_eq!(format!("{:?}", first.ledger), format!("{:?}", second.ledger));
    }
}
