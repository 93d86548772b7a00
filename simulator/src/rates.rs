//! Request-rate buckets: how many calls AWS answers before it throttles.
//!
//! Source for EC2: "Request throttling for the Amazon EC2 API" (bucket size and refill a second by category). The
//! other services publish no figures for most calls; they get the buckets that their SDK users report as safe.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::ledger::writes;
use crate::params::Refusal;

#[derive(Debug, Clone, Copy)]
struct Bucket {
    tokens: f64,
    at: Duration,
}

/// The buckets of one account.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rates {
    buckets: BTreeMap<(String, &'static str), Bucket>,
    off: bool,
}

impl Rates {
    pub(crate) fn off() -> Self {
        Self { off: true, ..Self::default() }
    }

    /// Takes a token for the call.
    ///
    /// # Errors
    /// The service's throttling error when there is none left.
    pub(crate) fn take(&mut self, service: &str, operation: &str, now: Duration) -> Result<(), Refusal> {
        if self.off {
            return Ok(());
        }
        let (name, size, refill) = category(service, operation);
        let bucket =
            self.buckets.entry((service.to_owned(), name)).or_insert(Bucket { tokens: size, at: now });
        let gained = now.saturating_sub(bucket.at).as_secs_f64() * refill;
        *bucket = Bucket { tokens: (bucket.tokens + gained).min(size), at: now };
        if bucket.tokens < 1.0 {
            return Err(throttled(service));
        }
        bucket.tokens -= 1.0;
        Ok(())
    }
}

/// The throttling answer of a service, with that service's own code.
pub(crate) fn throttled(service: &str) -> Refusal {
    match service {
        "ec2" => Refusal::new("RequestLimitExceeded", "Request limit exceeded.").status(503),
        "s3" => Refusal::new("SlowDown", "Please reduce your request rate.").status(503),
        "elasticloadbalancing" | "rds" | "iam" | "sts" | "sns" | "route53" => {
            Refusal::new("Throttling", "Rate exceeded")
        }
        "servicequotas" => Refusal::new("TooManyRequestsException", "Rate exceeded"),
        _ => Refusal::new("ThrottlingException", "Rate exceeded"),
    }
}

/// The bucket of a call: its name, its size and how many tokens come back a second.
fn category(service: &str, operation: &str) -> (&'static str, f64, f64) {
    match (service, operation) {
        ("ec2", "RunInstances") => ("run", 5.0, 2.0),
        ("ec2", "TerminateInstances" | "StartInstances" | "StopInstances") => ("power", 100.0, 5.0),
        ("ec2", "CreateVpcEndpoint") => ("endpoints", 4.0, 0.3),
        ("ec2" | "ecs", _) if writes(operation) => ("write", 50.0, 5.0),
        ("ec2", _) => ("read", 100.0, 20.0),
        ("route53", _) => ("all", 5.0, 5.0),
        ("ecs", _) => ("read", 50.0, 20.0),
        ("s3" | "states", _) => ("all", 1000.0, 500.0),
        ("iam", _) => ("all", 100.0, 15.0),
        ("elasticloadbalancing", _) if writes(operation) => ("write", 40.0, 3.0),
        ("elasticloadbalancing", _) => ("read", 40.0, 10.0),
        (_, _) if writes(operation) => ("write", 40.0, 10.0),
        (_, _) => ("read", 40.0, 20.0),
    }
}
