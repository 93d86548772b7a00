//! Alarms: when they fire, and whom they tell.

use serde::Deserialize;
use serde_json::Value;

/// An alarm of CloudWatch on one metric.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct Alarm {
    /// Its logical ID.
    #[serde(skip)]
    pub id: String,
    /// Its ARN.
    #[serde(skip)]
    pub arn: String,
    /// What it says to people.
    pub alarm_description: String,
    /// The namespace of its metric, such as `AWS/States`.
    pub namespace: String,
    /// Its metric.
    pub metric_name: String,
    /// What the metric is of; nothing for all.
    #[serde(default)]
    pub dimensions: Vec<Dimension>,
    /// What is made of a period's values.
    pub statistic: Statistic,
    /// The seconds of a period.
    pub period: u32,
    /// How many periods it looks at.
    pub evaluation_periods: usize,
    /// How many of them must breach; all where it is left out.
    #[serde(default)]
    pub datapoints_to_alarm: Option<usize>,
    /// What a period's value is compared with.
    pub threshold: f64,
    /// How.
    pub comparison_operator: Comparison,
    /// What a period without a value counts as.
    #[serde(default)]
    pub treat_missing_data: Missing,
    /// Whom it tells when it fires.
    #[serde(default)]
    pub alarm_actions: Vec<String>,
    /// Whom it tells when all is well again.
    #[serde(default, rename = "OKActions")]
    pub ok_actions: Vec<String>,
    /// Whether it tells anybody at all.
    #[serde(default = "enabled")]
    pub actions_enabled: bool,
}

fn enabled() -> bool {
    true
}

/// One dimension of a metric.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct Dimension {
    /// Such as `StateMachineArn`.
    pub name: String,
    /// Of which.
    pub value: Value,
}

/// What is made of a period's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[allow(missing_docs, reason = "CloudWatch's own words")]
pub enum Statistic {
    Sum,
    Maximum,
}

/// How a period's value is compared with the threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[allow(missing_docs, reason = "CloudWatch's own words")]
#[allow(clippy::enum_variant_names, reason = "CloudWatch's own words")]
pub enum Comparison {
    GreaterThanOrEqualToThreshold,
    GreaterThanThreshold,
    LessThanThreshold,
    LessThanOrEqualToThreshold,
}

/// What a period without a value counts as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "CloudWatch's own words")]
pub enum Missing {
    Breaching,
    NotBreaching,
    #[default]
    Missing,
}

impl Alarm {
    /// Whether it is in alarm after these periods, the newest last; `None` is a period in which nothing was reported.
    ///
    /// Source: "Configuring how CloudWatch alarms treat missing data" in its user guide. Under `missing`, too few values
    /// are not enough to fire.
    #[must_use]
    pub fn fires(&self, periods: &[Option<f64>]) -> bool {
        let seen = periods.len().saturating_sub(self.evaluation_periods);
        let silent = self.evaluation_periods.saturating_sub(periods.len());
        let looked_at = periods[seen..].iter().copied().chain(std::iter::repeat_n(None, silent));
        let breaching = looked_at.filter(|value| self.breaches(*value)).count();
        breaching >= self.datapoints_to_alarm.unwrap_or(self.evaluation_periods)
    }

    fn breaches(&self, value: Option<f64>) -> bool {
        let Some(value) = value else { return self.treat_missing_data == Missing::Breaching };
        match self.comparison_operator {
            Comparison::GreaterThanOrEqualToThreshold => value >= self.threshold,
            Comparison::GreaterThanThreshold => value > self.threshold,
            Comparison::LessThanThreshold => value < self.threshold,
            Comparison::LessThanOrEqualToThreshold => value <= self.threshold,
        }
    }
}
