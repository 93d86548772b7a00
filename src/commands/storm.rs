//! `stackdrop storm --seeds N`

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use stackdrop::storm::{Undisturbed, storm};

use super::{complain, say};

/// Rehearse in random weather: uploads, duplicates, faults and interruptions drawn from a seed each. Whatever the
/// weather, the stacks must be right in the end.
#[derive(Debug, clap::Args)]
pub(crate) struct Storm {
    /// How many seeds to try.
    #[arg(long, value_name = "N", default_value_t = 100)]
    seeds: u64,
    /// The first seed.
    #[arg(long, value_name = "S", default_value_t = 0)]
    from: u64,
    /// Tell what happened in every storm, not only in those after which something is wrong.
    #[arg(long)]
    verbose: bool,
}

#[derive(Debug, Default)]
struct Tally {
    failed: Vec<u64>,
    executions: usize,
    looked_after: usize,
    faults: usize,
    calls: usize,
    longest: (Duration, String),
}

impl Storm {
    pub(super) fn run(self) -> Result<ExitCode> {
        let next = AtomicU64::new(self.from);
        let tally = Mutex::new(Tally::default());
        let cores = std::thread::available_parallelism().context("counting the processors")?.get();
        std::thread::scope(|scope| {
            let work = || scope.spawn(|| self.work(&next, &tally));
            let workers: Vec<_> = (0..cores).map(|_| work()).collect();
            workers.into_iter().try_for_each(|worker| {
                worker.join().map_err(|_| anyhow::anyhow!("a storm ended in a panic"))?
            })
        })?;
        let mut tally = tally.into_inner().context("a storm ended in a panic")?;
        tally.failed.sort_unstable();
        say(&format!(
            "{} storms: {} executions, {} of them after a stopped one, {} calls, {} faults; something wrong after {}{}. The longest run of a \
             function took {:.1} s ({}).",
            self.seeds,
            tally.executions,
            tally.looked_after,
            tally.calls,
            tally.faults,
            tally.failed.len(),
            if tally.failed.is_empty() { String::new() } else { format!(": seeds {:?}", tally.failed) },
            tally.longest.0.as_secs_f64(),
            tally.longest.1
        ));
        Ok(if tally.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    fn work(&self, next: &AtomicU64, tally: &Mutex<Tally>) -> Result<()> {
        let mut undisturbed = Undisturbed::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= self.from.saturating_add(self.seeds) {
                return Ok(());
            }
            let storm = storm(seed, &mut undisturbed).with_context(|| format!("the storm of seed {seed}"))?;
            let well = storm.broken.is_empty();
            if !well || self.verbose {
                let told = storm.history.iter().chain(&storm.broken).map(|line| format!("\n  {line}"));
                complain(&format!("seed {seed}:{}", told.collect::<String>()));
            }
            let mut tally = tally.lock().map_err(|_| anyhow::anyhow!("another storm ended in a panic"))?;
            tally.failed.extend((!well).then_some(seed));
            tally.executions += storm.executions;
            tally.looked_after += storm.looked_after;
            tally.faults += storm.faults;
            tally.calls += storm.ledger.len();
            tally.longest = tally.longest.clone().max(storm.longest);
        }
    }
}
