//! Simulated time: tokio's paused clock, which advances to the next timer whenever everything waits.

use std::convert::Infallible;
use std::time::Duration;

use anyhow::{Context, Result};

/// How often, in real time, simulated time advances.
const STEP: Duration = Duration::from_millis(5);

/// Runs a future in simulated time.
///
/// # Errors
/// If the runtime cannot be started.
pub fn in_simulated_time<T>(work: impl Future<Output = T>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    Ok(runtime.context("cannot start the runtime")?.block_on(work))
}

/// In simulated time: lets time pass `speed` times as fast as real time. Simulated time advances from timer to timer,
/// so simulated durations are exact at any speed; if there is more to compute than real time allows, simulated time
/// falls behind.
///
/// This never ends. It must run beside everything else on a runtime with one thread: while tokio's clock is paused, an
/// idle runtime advances it to the next timer, unless a blocking task runs.
///
/// # Errors
/// If a blocking task cannot be run.
#[expect(clippy::disallowed_methods, reason = "simulated time follows real time here")]
pub async fn at_pace(speed: f64) -> Result<Infallible, tokio::task::JoinError> {
    let (real, simulated) = (std::time::Instant::now(), tokio::time::Instant::now());
    loop {
        tokio::task::spawn_blocking(|| std::thread::sleep(STEP)).await?;
        tokio::time::sleep_until(simulated + real.elapsed().mul_f64(speed)).await;
    }
}
