//! An ECS service and what the load balancer asks of it.

use std::collections::{BTreeMap, BTreeSet};

use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{checks, fargate, forms};

/// One ECS service on Fargate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Service {
    /// The container image. That an image of this account's and region's ECR exists is checked before anything is changed; others can't be asked without credentials.
    #[garde(custom(checks::image))]
    #[schemars(length(min = 1, max = 255), example = &"nginx:1.29")]
    pub image: String,
    /// The port that the container listens on. Needed with `routes`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(range(min = 1, max = 65535)))]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<u16>,
    /// CPU units (1024 is one vCPU): a size that Fargate offers.
    #[serde(default = "quarter_vcpu")]
    #[garde(skip)]
    #[schemars(extend("enum" = fargate::CPUS))]
    pub cpu: u32,
    /// Memory in MiB: a size that Fargate offers for `cpu`. Left out: the least of them.
    #[serde(default = "half_gib")]
    #[garde(skip)]
    #[schemars(range(min = 512, max = 122_880), extend("default" = serde_json::Value::Null))]
    pub memory: u32,
    /// How many tasks run (with `scaling`: how many at first).
    #[serde(default = "two")]
    #[garde(range(max = 500))]
    pub count: u32,
    /// Scaling by load. Left out: always `count` tasks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(dive)]
    pub scaling: Option<Scaling>,
    /// How the load balancer tells whether a task is well.
    #[serde(default)]
    #[garde(dive)]
    pub health_check: HealthCheck,
    /// Replaces the image's command.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[garde(skip)]
    #[schemars(with = "Vec<forms::Plain>")]
    pub command: Vec<String>,
    /// Environment variables, for all to see. Secrets go into `secrets`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[garde(skip)]
    #[schemars(with = "BTreeMap<String, forms::Plain>")]
    pub environment: BTreeMap<String, String>,
    /// Environment variables whose values ECS reads from Secrets Manager: a secret's ARN, with `:key::` behind it for one key of a JSON secret.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[garde(skip)]
    #[schemars(with = "BTreeMap<String, forms::SecretArn>")]
    pub secrets: BTreeMap<String, String>,
    /// Environment variables that are given a value of the stack's database.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[garde(skip)]
    pub database: BTreeMap<String, DatabaseValue>,
    /// Whether `aws ecs execute-command` may open a shell in a task.
    #[serde(default)]
    #[garde(skip)]
    pub exec: bool,
    /// Which requests come here. A service without routes is a worker.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[garde(dive)]
    #[schemars(length(max = 50))]
    pub routes: Vec<Route>,
    /// How many days the logs are kept: a number that CloudWatch Logs offers.
    #[serde(default = "thirty_days")]
    #[garde(skip)]
    #[schemars(extend("enum" = forms::LOG_DAYS))]
    pub log_days: u32,
    /// What something else looks after once the service stands, such as a pipeline that sets the image: left as it is.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    #[garde(skip)]
    pub managed_elsewhere: BTreeSet<Managed>,
}

/// A part of a service that something else may look after.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Managed {
    /// The container image: `image` is only what the service starts with.
    Image,
    /// How many tasks run: `count` is only what the service starts with. With `scaling` that is so anyway.
    Count,
}

/// A value of the stack's database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DatabaseValue {
    /// The endpoint's host name.
    Host,
    /// The port.
    Port,
    /// The database's name.
    Name,
    /// The master user's name, from the secret that RDS manages.
    Username,
    /// The master user's password, from the secret that RDS manages.
    Password,
}

impl DatabaseValue {
    /// Whether ECS must read the value from the secret that RDS manages.
    #[must_use]
    pub fn is_secret(self) -> bool {
        matches!(self, Self::Username | Self::Password)
    }
}

/// Scaling of a service between two counts of tasks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Scaling {
    /// Never fewer tasks than this.
    #[garde(range(min = 1, max = 500))]
    #[schemars(example = 2)]
    pub min: u32,
    /// Never more tasks than this.
    #[garde(range(min = 1, max = 500))]
    #[schemars(example = 6)]
    pub max: u32,
    /// The average CPU use, in percent, that scaling aims at.
    #[serde(default = "seventy_percent")]
    #[garde(range(min = 1, max = 100))]
    pub cpu_percent: u8,
}

/// How the load balancer tells whether a task is well.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct HealthCheck {
    /// The path asked for.
    #[garde(custom(checks::health_path))]
    #[schemars(extend("pattern" = "^/"), length(max = 1024))]
    pub path: String,
    /// Seconds between two checks, 5 to 300.
    #[garde(range(min = 5, max = 300))]
    pub interval: u16,
    /// Seconds after which no answer is a failure, 2 to 120 and less than `interval`.
    #[garde(range(min = 2, max = 120))]
    pub timeout: u16,
    /// Successes in a row that make a task healthy, 2 to 10.
    #[garde(range(min = 2, max = 10))]
    pub healthy: u8,
    /// Failures in a row that make a task unhealthy, 2 to 10.
    #[garde(range(min = 2, max = 10))]
    pub unhealthy: u8,
    /// The status codes that are a success, such as `200` or `200-399`.
    #[garde(custom(checks::codes))]
    #[schemars(with = "forms::Codes")]
    pub codes: String,
    /// Seconds after a task's start in which failures do not count, 0 to 7200.
    #[garde(range(max = 7200))]
    pub grace: u32,
}

/// Which requests come to a service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Route {
    /// A path pattern, such as `/api/*`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(custom(checks::path_pattern)))]
    #[schemars(extend("pattern" = forms::PATH_PATTERN), length(max = 128))]
    pub path: Option<String>,
    /// A host pattern, such as `api.example.com`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(custom(checks::host_pattern)))]
    #[schemars(extend("pattern" = forms::HOST_PATTERN), length(max = 128))]
    pub host: Option<String>,
    /// Lower numbers are asked first: 1 to 50000. Left out: more precise patterns come first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(range(min = 1, max = 50_000)))]
    #[schemars(range(min = 1, max = 50_000))]
    pub priority: Option<u16>,
}

impl Default for HealthCheck {
    fn default() -> Self {
        Self {
            path: "/".into(),
            interval: 10,
            timeout: 5,
            healthy: 2,
            unhealthy: 3,
            codes: "200-399".into(),
            grace: 60,
        }
    }
}

fn quarter_vcpu() -> u32 {
    256
}

fn half_gib() -> u32 {
    512
}

fn two() -> u32 {
    2
}

fn thirty_days() -> u32 {
    30
}

fn seventy_percent() -> u8 {
    70
}
