//! `stackdrop chaos --seeds N`

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use stackdrop::chaos::{self, ChaosTest, ExpectedResources, chaos_test};
use stackdrop_functions::deployment::outcome::exit_code;

use super::{print, print_error};

/// Run chaos tests: rehearsals with random uploads, duplicate and late events, faults, incidents and stopped executions. After each test
/// the stacks must be as if none of the faults had happened.
#[derive(Debug, clap::Args)]
pub(super) struct Chaos {
    /// The number of tests, one for each seed.
    #[arg(long, value_name = "N", default_value_t = 100)]
    seeds: u64,
    /// The first seed.
    #[arg(long, value_name = "S", default_value_t = 0)]
    from: u64,
    /// Print the history of every test, not only of those that fail.
    #[arg(long)]
    verbose: bool,
}

/// The results of the tests so far.
#[derive(Debug, Default)]
struct Tally {
    failed_seeds: Vec<u64>,
    executions: usize,
    cleanups: usize,
    faults: usize,
    /// How often each incident was caused, by its name.
    incidents: BTreeMap<&'static str, usize>,
    calls: usize,
    longest_run: (Duration, String),
}

impl Chaos {
    pub(super) fn run(self) -> Result<ExitCode> {
        let next = AtomicU64::new(self.from);
        let tally = Mutex::new(Tally::default());
        let cores = std::thread::available_parallelism().context("cannot count the processors")?.get();
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..cores).map(|_| scope.spawn(|| self.work(&next, &tally))).collect();
            workers.into_iter().try_for_each(|worker| worker.join().map_err(|_| panicked())?)
        })?;
        let mut tally = tally.into_inner().map_err(|_| panicked())?;
        tally.failed_seeds.sort_unstable();
        print(&summary(self.seeds, &tally));
        let failed = !tally.failed_seeds.is_empty();
        Ok(ExitCode::from(if failed { exit_code::FAILED } else { exit_code::DONE }))
    }

    /// Runs tests until no seed remains.
    fn work(&self, next: &AtomicU64, tally: &Mutex<Tally>) -> Result<()> {
        let mut expected = ExpectedResources::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= self.from.saturating_add(self.seeds) {
                return Ok(());
            }
            let test = chaos_test(seed, &mut expected);
            let test = test.with_context(|| format!("cannot run the chaos test of seed {seed}"))?;
            if self.verbose || !test.violations.is_empty() {
                print_error(&history(seed, &test));
            }
            tally.lock().map_err(|_| panicked())?.add(seed, test);
        }
    }
}

impl Tally {
    fn add(&mut self, seed: u64, test: ChaosTest) {
        self.failed_seeds.extend((!test.violations.is_empty()).then_some(seed));
        self.executions += test.executions;
        self.cleanups += test.cleanups;
        self.faults += test.faults;
        for name in test.incidents {
            *self.incidents.entry(name).or_default() += 1;
        }
        self.calls += test.calls.len();
        self.longest_run = self.longest_run.clone().max(test.longest_run);
    }
}

fn panicked() -> anyhow::Error {
    anyhow!("a chaos test panicked")
}

fn history(seed: u64, test: &ChaosTest) -> String {
    let lines = test.history.iter().chain(&test.violations).map(|line| format!("\n  {line}"));
    format!("seed {seed}:{}", lines.collect::<String>())
}

fn summary(tests: u64, tally: &Tally) -> String {
    let Tally {
        failed_seeds,
        executions,
        cleanups,
        faults,
        incidents,
        calls,
        longest_run: (longest, caller),
    } = tally;
    let failed = match failed_seeds.as_slice() {
        [] => "0 failed".into(),
        seeds => format!("{} failed (seeds {seeds:?})", seeds.len()),
    };
    format!(
        "{tests} chaos tests, {failed}: {executions} executions, {cleanups} of them to clean up after a stopped one; \
         {calls} calls, {faults} faults, {} incidents. The longest run of a function took {:.1} s ({caller}).\n{}",
        incidents.values().sum::<usize>(),
        longest.as_secs_f64(),
        by_frequency(incidents)
    )
}

/// How often each incident was caused, the most frequent first, and which ones never were.
fn by_frequency(incidents: &BTreeMap<&'static str, usize>) -> String {
    let mut sorted: Vec<_> = incidents.iter().collect();
    sorted.sort_by_key(|(name, count)| (std::cmp::Reverse(**count), **name));
    let caused: Vec<String> = sorted.into_iter().map(|(name, count)| format!("{name} {count}")).collect();
    let never = chaos::incidents().map(|incident| incident.name).filter(|name| !incidents.contains_key(name));
    let never: Vec<&str> = never.collect();
    let never = if never.is_empty() { String::new() } else { format!("; never: {}", never.join(", ")) };
    format!("Incidents: {}{never}.", caused.join(", "))
}
