//! Simulated time at a pace of real time.

use std::convert::Infallible;
use std::time::Duration;

/// How long time stands still at a stretch, in real time.
const STEP: Duration = Duration::from_millis(5);

/// Under a paused clock: lets simulated time pass so many times as fast as real time. It passes from timer to timer, so
/// that what is simulated takes exactly its time at any pace; when that needs more computing than there is time, it falls
/// behind.
///
/// It never ends by itself. It must run beside everything else on a runtime of one thread: while tokio's clock is paused,
/// a runtime with nothing else to do moves it on to the next timer, unless something blocks meanwhile.
///
/// # Errors
/// When nothing can be run that blocks.
#[expect(clippy::disallowed_methods, reason = "real time is what simulated time is to keep pace with")]
pub async fn at_pace(speed: f64) -> Result<Infallible, tokio::task::JoinError> {
    let (real, simulated) = (std::time::Instant::now(), tokio::time::Instant::now());
    loop {
        tokio::task::spawn_blocking(|| std::thread::sleep(STEP)).await?;
        tokio::time::sleep_until(simulated + real.elapsed().mul_f64(speed)).await;
    }
}
