//! How long AWS takes: durations from the latency model, drawn at random or the medians.

use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use stackdrop_figures::{LatencyModel, Spread};

/// The entry of the latency model that says how long an operation takes to return.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Timing {
    /// The creation time of a resource.
    Create(&'static str),
    /// The deletion time of a resource.
    Delete(&'static str),
}

/// Durations for one simulation: the medians, or draws between p10 and p90 from a seed.
#[derive(Debug, Clone)]
pub struct Latency {
    model: LatencyModel,
    rng: Option<ChaCha8Rng>,
    scale: f64,
}

impl Latency {
    pub(crate) fn new(model: LatencyModel, seed: Option<u64>, scale: f64) -> Self {
        Self { model, rng: seed.map(ChaCha8Rng::seed_from_u64), scale }
    }

    /// How long a creation takes. `key` is a key of the latency model.
    pub(crate) fn create(&mut self, key: &str) -> Duration {
        let spread = self.model.create(key);
        self.draw(key, spread)
    }

    /// How long a deletion takes. `key` is a key of the latency model.
    pub(crate) fn delete(&mut self, key: &str) -> Duration {
        let spread = self.model.delete(key);
        self.draw(key, spread)
    }

    /// A duration that is not in the model, such as a propagation delay, scaled like the others.
    pub(crate) fn seconds(&self, seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds * self.scale)
    }

    fn draw(&mut self, key: &str, spread: Option<Spread>) -> Duration {
        debug_assert!(spread.is_some(), "the latency model has no `{key}`");
        let Some(Spread { p10, p50, p90 }) = spread else { return Duration::ZERO };
        let seconds = match &mut self.rng {
            // Two halves, so that the median of all draws is the model's median.
            Some(rng) => {
                let half = rng.random::<f64>();
                if rng.random_bool(0.5) { p10 + (p50 - p10) * half } else { p50 + (p90 - p50) * half }
            }
            None => p50,
        };
        // Rounded to milliseconds, the resolution of tokio's timer.
        let duration = Duration::from_secs_f64(seconds * self.scale + 0.0005);
        Duration::new(duration.as_secs(), duration.subsec_millis() * 1_000_000)
    }

    /// How long a call takes to return, apart from what AWS does after it. `timing` is `None` for an ordinary call.
    pub(crate) fn call(&mut self, timing: Option<Timing>) -> Duration {
        match timing {
            Some(Timing::Create(key)) => self.create(key),
            Some(Timing::Delete(key)) => self.delete(key),
            None => self.create("api_control_call"),
        }
    }
}
