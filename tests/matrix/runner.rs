//! Runs cases on all cores, and prints the results: one line for each group.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::case::Case;

/// A case of the matrix; the results have one line for each group.
pub(crate) trait Grouped: fmt::Display + Sync {
    /// What the case has in common with others: the kind of its fault, or its incident.
    fn group(&self) -> &str;
}

impl Grouped for Case {
    fn group(&self) -> &str {
        self.name
    }
}

/// How a case that passes ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// As without the fault.
    Succeeded,
    /// It failed, and no resources remain.
    FailedClean,
    /// The stack had nothing that the case could change: the case does not count.
    NothingToChange,
}

/// How a case ended, or why it does not pass.
pub(crate) type Verdict = Result<Ended, String>;

/// The results of the cases of one group.
#[derive(Debug, Clone, Default)]
struct Counts {
    runs: usize,
    succeeded: usize,
    failed_clean: usize,
    leaked: usize,
    stuck: usize,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { runs, succeeded, failed_clean, leaked, stuck } = self;
        write!(f, "{runs:>5} runs{succeeded:>6} succeeded{failed_clean:>6} failed clean")?;
        write!(f, "{leaked:>4} leaked{stuck:>4} stuck")
    }
}

/// The runs and the time so far. Holding the lock gives a section all cores.
static SECTIONS: LazyLock<Mutex<(usize, Duration)>> = LazyLock::new(Mutex::default);

/// Runs all cases, prints one line for each group, and fails with every case that does not pass.
pub(crate) fn run_all<C: Grouped>(title: &str, cases: &[C], run: impl Fn(&C) -> Verdict + Sync) {
    let filter = std::env::var("MATRIX").ok().filter(|filter| filter != "all").unwrap_or_default();
    let cases: Vec<&C> = cases.iter().filter(|case| case.to_string().contains(&filter)).collect();
    let mut so_far = SECTIONS.lock().unwrap_or_else(PoisonError::into_inner);
    let (results, took) = timed(|| on_all_cores(&cases, run));
    let mut by_group: BTreeMap<&str, Counts> = BTreeMap::new();
    let mut wrong = Vec::new();
    for (case, result) in cases.iter().zip(&results) {
        let counts = by_group.entry(case.group()).or_default();
        counts.runs += usize::from(*result != Ok(Ended::NothingToChange));
        match result {
            Ok(Ended::Succeeded) => counts.succeeded += 1,
            Ok(Ended::FailedClean) => counts.failed_clean += 1,
            Ok(Ended::NothingToChange) => {}
            Err(why) if why.contains("leaked") => counts.leaked += 1,
            Err(_) => counts.stuck += 1,
        }
        wrong.extend(result.as_ref().err().map(|why| format!("{case}: {why}")));
    }
    so_far.0 += by_group.values().map(|counts| counts.runs).sum::<usize>();
    so_far.1 += took;
    print(title, &by_group, took, *so_far);
    drop(so_far);
    assert!(wrong.is_empty(), "{} of {} cases do not pass:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

#[expect(clippy::disallowed_methods, reason = "real time, only printed: no result depends on it")]
fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let began = Instant::now();
    (work(), began.elapsed())
}

fn on_all_cores<C: Sync>(cases: &[&C], run: impl Fn(&C) -> Verdict + Sync) -> Vec<Verdict> {
    let next = AtomicUsize::new(0);
    let results: Mutex<Vec<(usize, Verdict)>> = Mutex::default();
    let workers = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            let work = || {
                loop {
                    let place = next.fetch_add(1, Ordering::Relaxed);
                    let Some(case) = cases.get(place) else { return };
                    let result = run(case);
                    results.lock().unwrap().push((place, result));
                }
            };
            // Unoptimised futures are large: more than a thread's usual stack.
            std::thread::Builder::new().stack_size(16 << 20).spawn_scoped(scope, work).unwrap();
        }
    });
    let mut results = results.into_inner().unwrap();
    results.sort_by_key(|(place, _)| *place);
    results.into_iter().map(|(_, result)| result).collect()
}

/// Prints to stdout directly: the test harness shows the output of a test only if it fails.
fn print(title: &str, by_group: &BTreeMap<&str, Counts>, took: Duration, so_far: (usize, Duration)) {
    let lines = by_group.iter().map(|(name, counts)| format!("  {name:<28}{counts}\n"));
    let (runs, seconds) = (so_far.0, so_far.1.as_secs_f64());
    let text = format!(
        "\n{title} ({:.1} s)\n{}  the matrix so far: {runs} runs in {seconds:.0} s\n",
        took.as_secs_f64(),
        lines.collect::<String>(),
    );
    std::io::stdout().write_all(text.as_bytes()).unwrap();
}
