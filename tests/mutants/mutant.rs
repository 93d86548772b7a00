//! The switch of the mutants. `just mutants` adds this file to a copy of the project.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write;
use std::sync::{LazyLock, Mutex, PoisonError};

/// The number of the mutant that is on.
static NUMBER: LazyLock<usize> =
    LazyLock::new(|| std::env::var("MUTANT").ok().and_then(|number| number.parse().ok()).unwrap_or(usize::MAX));

/// Where to write which test reaches which mutant.
static TRACE: LazyLock<Option<Mutex<Trace>>> = LazyLock::new(|| {
    let folder = std::env::var_os("MUTANT_TRACE")?;
    let name = format!("{}-{}", env!("CARGO_PKG_NAME"), std::process::id());
    let file = File::create(std::path::Path::new(&folder).join(name)).expect("the folder of the traces exists");
    Some(Mutex::new(Trace { file, reached: BTreeSet::new() }))
});

struct Trace {
    file: File,
    reached: BTreeSet<(usize, String)>,
}

/// Whether the mutant is on. While tracing, also notes which test asks: libtest names a test's thread after the test.
#[must_use]
pub fn on(number: usize) -> bool {
    if let Some(trace) = &*TRACE {
        let thread = std::thread::current();
        let test = thread.name().unwrap_or("?").to_owned();
        let mut trace = trace.lock().unwrap_or_else(PoisonError::into_inner);
        if trace.reached.insert((number, test.clone())) {
            writeln!(trace.file, "{number}\t{test}").expect("the trace can be written");
        }
    }
    number == *NUMBER
}
