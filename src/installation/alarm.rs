//! Alarms: when they fire, and what they notify.

use serde::Deserialize;
use serde_json::Value;

/// A CloudWatch alarm on one metric, or on the sum of several.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(try_from = "Properties")]
pub struct Alarm {
    /// Its logical ID.
    pub id: String,
    /// Its ARN.
    pub arn: String,
    /// The metrics, whose values are added up.
    pub metrics: Vec<Metric>,
    /// How many periods are evaluated.
    pub evaluation_periods: usize,
    /// How many of them must breach; all by default.
    pub datapoints_to_alarm: Option<usize>,
    /// The threshold for the value of a period.
    pub threshold: f64,
    /// How the value is compared with the threshold.
    pub comparison_operator: Comparison,
    /// How a period without a value is treated.
    pub treat_missing_data: Missing,
    /// What it notifies when it fires.
    pub alarm_actions: Vec<String>,
    /// What it notifies when it is OK again.
    pub ok_actions: Vec<String>,
    /// Whether it notifies at all.
    pub actions_enabled: bool,
}

/// A metric of an alarm.
#[derive(Debug, Clone, PartialEq)]
pub struct Metric {
    /// Its namespace, such as `AWS/States`.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its dimensions.
    pub dimensions: Vec<Dimension>,
    /// How the values of a period are aggregated.
    pub statistic: Statistic,
    /// The length of a period in seconds.
    pub period: u32,
}

/// An alarm in the template: either with the properties of one metric, or with `Metrics`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Properties {
    #[serde(rename = "AlarmDescription")]
    _alarm_description: String,
    namespace: Option<String>,
    metric_name: Option<String>,
    #[serde(default)]
    dimensions: Vec<Dimension>,
    statistic: Option<Statistic>,
    period: Option<u32>,
    #[serde(default)]
    metrics: Vec<Query>,
    evaluation_periods: usize,
    #[serde(default)]
    datapoints_to_alarm: Option<usize>,
    threshold: f64,
    comparison_operator: Comparison,
    #[serde(default)]
    treat_missing_data: Missing,
    #[serde(default)]
    alarm_actions: Vec<String>,
    #[serde(default, rename = "OKActions")]
    ok_actions: Vec<String>,
    #[serde(default = "enabled")]
    actions_enabled: bool,
}

/// A part of `Metrics`: a metric, or the expression that the alarm evaluates.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Query {
    #[serde(rename = "Id")]
    _id: String,
    #[serde(default, rename = "Label")]
    _label: Option<String>,
    #[serde(default)]
    expression: Option<String>,
    #[serde(default)]
    metric_stat: Option<MetricStat>,
    /// Whether the alarm evaluates it. By default all parts are evaluated, of which CloudWatch accepts only one.
    #[serde(default = "enabled")]
    return_data: bool,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct MetricStat {
    metric: QueriedMetric,
    stat: Statistic,
    period: u32,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct QueriedMetric {
    namespace: String,
    metric_name: String,
    #[serde(default)]
    dimensions: Vec<Dimension>,
}

/// The expression that adds up all metrics of an alarm ("Using metric math" in the CloudWatch user guide).
const SUM: &str = "SUM(METRICS())";
/// The most metrics of an alarm (CloudFormation reference, `AWS::CloudWatch::Alarm MetricDataQuery`).
const METRICS_MAX: usize = 10;

impl Properties {
    fn watched(&mut self) -> Result<Vec<Metric>, String> {
        let queries = std::mem::take(&mut self.metrics);
        if let (Some(namespace), Some(name), Some(statistic), Some(period), true) =
            (&self.namespace, &self.metric_name, self.statistic, self.period, queries.is_empty())
        {
            let (namespace, name) = (namespace.clone(), name.clone());
            let dimensions = std::mem::take(&mut self.dimensions);
            return Ok(vec![Metric { namespace, name, dimensions, statistic, period }]);
        }
        let mut evaluated = queries.iter().filter(|query| query.return_data);
        match (evaluated.next().and_then(|query| query.expression.as_deref()), evaluated.next()) {
            (Some(SUM), None) => {}
            _ => return Err(format!("an alarm evaluates one metric, or exactly one expression, {SUM}")),
        }
        let stats: Vec<MetricStat> = queries.into_iter().filter_map(|query| query.metric_stat).collect();
        if stats.len() > METRICS_MAX {
            return Err(format!("an alarm has at most {METRICS_MAX} metrics"));
        }
        let metrics = stats.into_iter().map(|MetricStat { metric, stat, period }| Metric {
            namespace: metric.namespace,
            name: metric.metric_name,
            dimensions: metric.dimensions,
            statistic: stat,
            period,
        });
        Ok(metrics.collect())
    }
}

impl TryFrom<Properties> for Alarm {
    type Error = String;

    fn try_from(mut properties: Properties) -> Result<Self, String> {
        Ok(Self {
            id: String::new(),
            arn: String::new(),
            metrics: properties.watched()?,
            evaluation_periods: properties.evaluation_periods,
            datapoints_to_alarm: properties.datapoints_to_alarm,
            threshold: properties.threshold,
            comparison_operator: properties.comparison_operator,
            treat_missing_data: properties.treat_missing_data,
            alarm_actions: properties.alarm_actions,
            ok_actions: properties.ok_actions,
            actions_enabled: properties.actions_enabled,
        })
    }
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
