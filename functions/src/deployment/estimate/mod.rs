//! Estimates of a plan: the stack's monthly cost before and after, and the deployment's duration.
//!
//! An estimate depends only on the spec, the plan, the region and the prices and timings of `stackdrop-figures`. Timings are medians.

mod cost;
mod duration;
mod limits;

use std::fmt;

use serde::{Deserialize, Serialize};
use stackdrop_figures::prices::{self, Prices};
use stackdrop_specs::Spec;

use crate::deployment::plan::ComponentPlan;
use crate::deployment::state::Deployment;

pub use cost::{Cost, monthly_usd};
pub use duration::{seconds_of, seconds_of_first};
pub(crate) use limits::add_ceilings;
pub use limits::{ceilings, cost_reasons};

/// The estimated cost and duration of a plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Estimate {
    /// The stack's cost a month before the deployment (list prices, without usage); 0 without a baseline.
    pub monthly_usd_before: f64,
    /// The stack's cost a month after the deployment, with its initial number of tasks.
    pub monthly_usd_after: f64,
    /// The stack's cost a month with all tasks and storage that its spec allows.
    pub monthly_usd_at_most: f64,
    /// The deployment's duration in seconds.
    pub seconds: f64,
    /// The region of the prices.
    pub region: String,
    /// Whether a price is an estimate, because no source has it for this region.
    #[serde(default)]
    pub is_estimated: bool,
    /// The parts whose price is not known, and which the costs lack: `database.class db.x9.large`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unknown_prices: Vec<String>,
}

impl fmt::Display for Estimate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { monthly_usd_before: now, monthly_usd_after: then, monthly_usd_at_most: most, .. } = self;
        let minutes = (self.seconds / 60.0).ceil();
        let takes = if minutes > 1.0 {
            format!("{minutes:.0} minutes")
        } else {
            format!("{:.0} seconds", self.seconds)
        };
        let amount = if most > then { format!("{then:.2} to {most:.2}") } else { format!("{then:.2}") };
        let (least, unknown) = match self.unknown_prices.as_slice() {
            [] => ("", String::new()),
            parts => ("at least ", format!("; the price of {} is not known", parts.join(" and of "))),
        };
        let basis = if self.is_estimated { "estimates from list prices" } else { "list prices" };
        // The month is enough: prices rarely change.
        let month = prices::TAKEN.rsplit_once('-').map_or(prices::TAKEN, |(month, _)| month);
        let region = &self.region;
        write!(
            f,
            "about {takes}, {least}{amount} USD a month in {region} (now {now:.2}; {basis} of {month}, without usage{unknown})"
        )
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
        Some(Self::of(&deployment.plan, &deployment.spec, baseline, deployment.region()))
    }

    /// The estimate of a plan in a region. `baseline` is the spec of the last successful deployment, if there is one.
    #[must_use]
    pub fn of(plan: &[ComponentPlan], spec: &Spec, baseline: Option<&Spec>, region: &str) -> Self {
        let cents = |usd: f64| (usd * 100.0).round() / 100.0;
        let prices = Prices::of(region);
        let before = baseline.map_or(0.0, |baseline| monthly_usd(baseline, &prices).at_start);
        let Cost { at_start, at_most, unknown, is_estimated } = monthly_usd(spec, &prices);
        Self {
            monthly_usd_before: cents(before),
            monthly_usd_after: cents(at_start),
            monthly_usd_at_most: cents(at_most),
            seconds: seconds_of(plan, spec, baseline).round(),
            region: region.to_owned(),
            is_estimated,
            unknown_prices: unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn estimate(seconds: f64) -> Estimate {
        Estimate {
            monthly_usd_before: 0.0,
            monthly_usd_after: 9.5,
            monthly_usd_at_most: 9.5,
            seconds,
            region: "us-east-1".into(),
            is_estimated: false,
            unknown_prices: Vec::new(),
        }
    }

    #[test]
    fn an_estimate_is_shown_in_seconds_up_to_a_minute_and_in_whole_minutes_beyond() {
        for (seconds, takes) in
            [(4.6, "5 seconds"), (60.0, "60 seconds"), (61.0, "2 minutes"), (121.0, "3 minutes")]
        {
            let shown = estimate(seconds).to_string();
            let expected = format!("about {takes}, 9.50 USD a month in us-east-1 (now 0.00; list prices of ");
            assert!(shown.starts_with(&expected), "{shown}");
            assert!(shown.ends_with(", without usage)"), "{shown}");
        }
    }

    #[test]
    fn an_estimate_shows_its_upper_end_what_is_estimated_and_what_is_unknown() {
        let shown = Estimate {
            monthly_usd_at_most: 20.0,
            is_estimated: true,
            unknown_prices: vec!["instance.type x9.large".into(), "database.class db.x9.large".into()],
            ..estimate(60.0)
        };
        let shown = shown.to_string();
        assert!(shown.contains("at least 9.50 to 20.00 USD a month"), "{shown}");
        assert!(shown.contains("estimates from list prices of "), "{shown}");
        let unknown = "; the price of instance.type x9.large and of database.class db.x9.large is not known)";
        assert!(shown.ends_with(unknown), "{shown}");
    }
}
