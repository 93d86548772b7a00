//! Estimates of a plan: the stack's monthly cost before and after, and the deployment's duration.
//!
//! An estimate depends only on the spec, the plan and the prices and timings of `stackdrop-figures`. Timings are medians.

mod duration;

use std::fmt;

use serde::{Deserialize, Serialize};
use stackdrop_figures::prices;
use stackdrop_specs::{Database, Nat, Spec};

use crate::deployment::endpoint_services::endpoint_services;
use crate::deployment::plan::ComponentPlan;
use crate::deployment::state::Deployment;

pub use duration::{seconds_of, seconds_of_first};

/// The estimated cost and duration of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Estimate {
    /// The stack's cost a month before the deployment (us-east-1 list prices, without usage); 0 without a baseline.
    pub monthly_usd_before: f64,
    /// The stack's cost a month after the deployment.
    pub monthly_usd_after: f64,
    /// The deployment's duration in seconds.
    pub seconds: f64,
}

impl fmt::Display for Estimate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { monthly_usd_before: now, monthly_usd_after: then, seconds } = self;
        let minutes = (seconds / 60.0).ceil();
        let takes =
            if minutes > 1.0 { format!("{minutes:.0} minutes") } else { format!("{seconds:.0} seconds") };
        write!(f, "about {takes}, {then:.2} USD a month (now {now:.2}; list prices, without usage)")
    }
}

impl Estimate {
    /// The estimate of a deployment; `None` before it has a plan, and if it destroys the stack.
    #[must_use]
    pub fn of_deployment(deployment: &Deployment) -> Option<Self> {
        if deployment.plan.is_empty() || deployment.destroying {
            return None;
        }
        let baseline = deployment.baseline.as_ref().map(|baseline| &baseline.spec);
        Some(Self::of(&deployment.plan, &deployment.spec, baseline))
    }

    /// The estimate of a plan. `baseline` is the spec of the last successful deployment, if there is one.
    #[must_use]
    pub fn of(plan: &[ComponentPlan], spec: &Spec, baseline: Option<&Spec>) -> Self {
        let cents = |usd: f64| (usd * 100.0).round() / 100.0;
        Self {
            monthly_usd_before: cents(baseline.map_or(0.0, monthly_usd)),
            monthly_usd_after: cents(monthly_usd(spec)),
            seconds: seconds_of(plan, spec, baseline).round(),
        }
    }
}

/// A stack's cost a month without usage, with its initial number of tasks. A type or class whose price is unknown counts
/// as 0.
#[must_use]
pub fn monthly_usd(spec: &Spec) -> f64 {
    let zones = u32::from(spec.network.zones);
    let gateways = match spec.network.nat {
        Nat::Single => 1,
        Nat::PerZone => zones,
        Nat::None => 0,
    };
    let gateway = prices::NAT_GATEWAY_HOURLY + prices::PUBLIC_ADDRESS_HOURLY;
    let endpoints = endpoint_services(spec).into_iter().map(|_| prices::ENDPOINT_HOURLY * f64::from(zones));
    let load_balancer = spec.load_balancer.as_ref().map(|_| prices::load_balancer_hourly(zones));
    let tasks = spec
        .services
        .values()
        .map(|service| prices::fargate_hourly(service.cpu, service.memory) * f64::from(service.count));
    let instance = spec.instance.as_ref();
    let instance_type = instance.and_then(|instance| prices::instance_hourly(&instance.instance_type));
    let disk = instance.map(|instance| prices::volume_monthly("gp3") * f64::from(instance.disk));
    let database = spec.database.as_ref();
    let copies = database
        .map(|database| prices::database_hourly(&database.class).unwrap_or_default() * copies_of(database));
    let storage = database.map(|database| {
        let gibibyte = prices::database_storage_monthly("gp3");
        gibibyte * f64::from(database.storage) * copies_of(database) + prices::SECRET_MONTHLY
    });
    let hourly = gateway * f64::from(gateways)
        + endpoints.chain(tasks).chain(load_balancer).chain(instance_type).chain(copies).sum::<f64>();
    hourly * prices::HOURS_A_MONTH + disk.into_iter().chain(storage).sum::<f64>()
}

/// How many copies of a database AWS charges.
fn copies_of(database: &Database) -> f64 {
    if database.multi_az { 2.0 } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_estimate_is_shown_in_seconds_up_to_a_minute_and_in_whole_minutes_beyond() {
        for (seconds, takes) in
            [(4.6, "5 seconds"), (60.0, "60 seconds"), (61.0, "2 minutes"), (121.0, "3 minutes")]
        {
            let estimate = Estimate { monthly_usd_before: 0.0, monthly_usd_after: 9.5, seconds };
            assert_eq!(
                estimate.to_string(),
                format!("about {takes}, 9.50 USD a month (now 0.00; list prices, without usage)")
            );
        }
    }
}
