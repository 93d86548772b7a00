//! Alarms: when they fire, and what they notify.

use serde::Deserialize;
use serde_json::Value;

/// A CloudWatch alarm on one metric.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct Alarm {
    /// Its logical ID.
    #[serde(skip)]
    pub id: String,
    /// Its ARN.
    #[serde(skip)]
    pub arn: String,
    /// Its description.
    pub alarm_description: String,
    /// The namespace of its metric, such as `AWS/States`.
    pub namespace: String,
    /// Its metric.
    pub metric_name: String,
    /// The metric's dimensions.
    #[serde(default)]
    pub dimensions: Vec<Dimension>,
    /// How the values of a period are aggregated.
    pub statistic: Statistic,
    /// The length of a period in seconds.
    pub period: u32,
    /// How many periods are evaluated.
    pub evaluation_periods: usize,
    /// How many of them must breach; all by default.
    #[serde(default)]
    pub datapoints_to_alarm: Option<usize>,
    /// The threshold for the value of a period.
    pub threshold: f64,
    /// How the value is compared with the threshold.
    pub comparison_operator: Comparison,
    /// How a period without a value is treated.
    #[serde(default)]
    pub treat_missing_data: Missing,
    /// What it notifies when it fires.
    #[serde(default)]
    pub alarm_actions: Vec<String>,
    /// What it notifies when it is OK again.
    #[serde(default, rename = "OKActions")]
    pub ok_actions: Vec<String>,
    /// Whether it notifies at all.
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
    /// Its name, such as `StateMachineArn`.
    pub name: String,
    /// Its value.
    pub value: Value,
}

/// How the values of a period are aggregated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[allow(missing_docs, reason = "CloudWatch's own names")]
pub enum Statistic {
    Sum,
    Maximum,
}

/// How the value of a period is compared with the threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[allow(missing_docs, reason = "CloudWatch's own names")]
#[allow(clippy::enum_variant_names, reason = "CloudWatch's own names")]
pub enum Comparison {
    GreaterThanOrEqualToThreshold,
    GreaterThanThreshold,
    LessThanThreshold,
    LessThanOrEqualToThreshold,
}

/// How a period without a value is treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "CloudWatch's own names")]
pub enum Missing {
    Breaching,
    NotBreaching,
    #[default]
    Missing,
}

impl Alarm {
    /// Whether the alarm fires after these periods, the newest last; `None` is a period without data.
    ///
    /// Source: "Configuring how CloudWatch alarms treat missing data" in the CloudWatch user guide. With `missing`, an
    /// alarm does not fire on too few values.
    #[must_use]
    pub fn fires(&self, periods: &[Option<f64>]) -> bool {
        let seen = periods.len().saturating_sub(self.evaluation_periods);
        let silent = self.evaluation_periods.saturating_sub(periods.len());
        let evaluated = periods[seen..].iter().copied().chain(std::iter::repeat_n(None, silent));
        let breaching = evaluated.filter(|value| self.breaches(*value)).count();
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
