//! Request rates: how many calls AWS accepts before it throttles.
//!
//! Each service's file has its own rates. Source of EC2's: "Request throttling for the Amazon EC2 API" (bucket size and
//! refill a second by category). The other services publish no figures for most calls.

use std::collections::BTreeMap;
use std::time::Duration;

/// A token bucket: its name within the service, its size, and the tokens that it gains a second.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rate {
    name: &'static str,
    size: f64,
    refill: f64,
}

impl Rate {
    pub(crate) const fn new(name: &'static str, size: f64, refill: f64) -> Self {
        Self { name, size, refill }
    }
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    tokens: f64,
    at: Duration,
}

/// The buckets of one account, by service and name.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rates {
    buckets: BTreeMap<(&'static str, &'static str), Bucket>,
    off: bool,
}

impl Rates {
    pub(crate) fn off() -> Self {
        Self { off: true, ..Self::default() }
    }

    /// Takes a token from a service's bucket. Returns whether there was one.
    pub(crate) fn take(&mut self, service: &'static str, rate: Rate, now: Duration) -> bool {
        if self.off {
            return true;
        }
        let Rate { name, size, refill } = rate;
        let bucket = self.buckets.entry((service, name)).or_insert(Bucket { tokens: size, at: now });
        let gained = now.saturating_sub(bucket.at).as_secs_f64() * refill;
        *bucket = Bucket { tokens: (bucket.tokens + gained).min(size), at: now };
        let has_token = bucket.tokens >= 1.0;
        if has_token {
            bucket.tokens -= 1.0;
        }
        has_token
    }
}
