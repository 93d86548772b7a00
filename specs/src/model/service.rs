//! An ECS service, its scaling, its health check and its routes.

use std::collections::{BTreeMap, BTreeSet};

use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{checks, fargate, forms};

/// One ECS service on Fargate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Service {
    /// The container image. For images in the account's own ECR registry, each plan checks that the image exists; other registries need credentials.
    #[garde(custom(checks::image))]
    #[schemars(length(min = 1, max = 255), example = &"nginx:1.29")]
    pub image: String,
    /// The port that the container listens on. Required with `routes`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(range(min = 1, max = 65535)))]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<u16>,
    /// The CPU units (1024 are one vCPU): a size that Fargate offers.
    #[serde(default = "default_cpu")]
    #[garde(skip)]
    #[schemars(extend("enum" = fargate::CPUS))]
    pub cpu: u32,
    /// The memory in MiB: a size that Fargate offers for `cpu`. Default: the smallest of these sizes.
    #[serde(default = "default_memory")]
    #[garde(skip)]
    #[schemars(range(min = 512, max = 122_880), extend("default" = serde_json::Value::Null))]
    pub memory: u32,
    /// The number of tasks; with `scaling`, the initial number.
    #[serde(default = "default_task_count")]
    #[garde(range(max = 500))]
    pub count: u32,
    /// Scaling by load. Default: always `count` tasks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(dive)]
    pub scaling: Option<Scaling>,
    /// The health checks of the load balancer and of the container.
    #[serde(default)]
    #[garde(dive)]
    pub health_check: HealthCheck,
    /// Replaces the image's command.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[garde(skip)]
    #[schemars(with = "Vec<forms::Plain>")]
    pub command: Vec<String>,
    /// Environment variables. Their values are not secret; use `secrets` for secrets.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[garde(skip)]
    #[schemars(with = "BTreeMap<String, forms::Plain>")]
    pub environment: BTreeMap<String, String>,
    /// Environment variables whose values ECS reads when a task starts: the ARN of a secret in Secrets Manager, followed by `:KEY::` for one key of a JSON secret; or the ARN of a parameter in Systems Manager. The stack may use those whose names begin with `stackdrop/STACK/` (parameters: `/stackdrop/STACK/`), and those whose tag `stackdrop-access` is the stack's name or `*`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[garde(skip)]
    #[schemars(with = "BTreeMap<String, forms::SecretArn>")]
    pub secrets: BTreeMap<String, String>,
    /// Environment variables with values of the stack's database.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[garde(skip)]
    pub database: BTreeMap<String, DatabaseValue>,
    /// Whether `aws ecs execute-command` can open a shell in a task.
    #[serde(default)]
    #[garde(skip)]
    pub exec: bool,
    /// Whether the container cannot change the image's files. Not with `exec`, whose agent needs a writable file system.
    #[serde(default)]
    #[garde(skip)]
    pub read_only_root_filesystem: bool,
    /// The folders that the container can nevertheless write to, such as `/tmp`. Each is on the task's own storage, and its content is deleted with the task. It is empty and belongs to root, unless the image declares the folder as a `VOLUME`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[garde(inner(custom(checks::writable_path)))]
    #[schemars(with = "Vec<forms::Folder>", length(max = 10))]
    pub writable_paths: Vec<String>,
    /// The requests that the load balancer sends to the service. A service without routes is a worker.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[garde(dive)]
    #[schemars(length(max = 50))]
    pub routes: Vec<Route>,
    /// The number of days for which logs are kept: a retention period that CloudWatch Logs offers.
    #[serde(default = "default_log_days")]
    #[garde(skip)]
    #[schemars(extend("enum" = forms::LOG_DAYS))]
    pub log_days: u32,
    /// The parts that something else manages once the service exists, such as a pipeline that sets the image. Stackdrop does not change them.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    #[garde(skip)]
    pub managed_elsewhere: BTreeSet<Managed>,
}

/// A part of a service that something else can manage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Managed {
    /// The container image: `image` is only the initial image.
    Image,
    /// The number of tasks: `count` is only the initial number, as it always is with `scaling`.
    Count,
}

/// A value of the stack's database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DatabaseValue {
    /// The host name of the endpoint.
    Host,
    /// The port.
    Port,
    /// The database's name.
    Name,
    /// The name of the master user, from the secret that RDS manages.
    Username,
    /// The password of the master user, from the secret that RDS manages.
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
    /// The minimum number of tasks.
    #[garde(range(min = 1, max = 500))]
    #[schemars(example = 2)]
    pub min: u32,
    /// The maximum number of tasks.
    #[garde(range(min = 1, max = 500))]
    #[schemars(example = 6)]
    pub max: u32,
    /// The target for the average CPU use, in percent.
    #[serde(default = "default_cpu_percent")]
    #[garde(range(min = 1, max = 100))]
    pub cpu_percent: u8,
}

/// The health checks of the load balancer and, with `command`, of the container.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct HealthCheck {
    /// The path of the requests.
    #[garde(custom(checks::health_path))]
    #[schemars(extend("pattern" = "^/"), length(max = 1024))]
    pub path: String,
    /// The time between two checks, in seconds: 5 to 300.
    #[garde(range(min = 5, max = 300))]
    pub interval: u16,
    /// The time after which a check without a response fails, in seconds: 2 to 120, and less than `interval`.
    #[garde(range(min = 2, max = 120))]
    pub timeout: u16,
    /// The number of consecutive successes that make a task healthy: 2 to 10. With routes, `interval` times `healthy` is at most 1200 seconds.
    #[garde(range(min = 2, max = 10))]
    pub healthy: u8,
    /// The number of consecutive failures that make a task unhealthy: 2 to 10.
    #[garde(range(min = 2, max = 10))]
    pub unhealthy: u8,
    /// The status codes of a successful check, such as `200` or `200-399`.
    #[garde(custom(checks::codes))]
    #[schemars(with = "forms::Codes")]
    pub codes: String,
    /// A program, with its arguments, that ECS runs in the container to check it: it is healthy if the program exits with 0. Useful for a worker, which no load balancer checks. ECS takes at most 60 seconds of `timeout` and 300 of `grace`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[garde(skip)]
    #[schemars(with = "Vec<forms::Plain>")]
    pub command: Vec<String>,
    /// The time after a task's start in which failures are ignored, in seconds: 0 to 7200.
    #[garde(range(max = 7200))]
    pub grace: u32,
}

/// The requests that the load balancer sends to a service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Route {
    /// A path pattern, such as `/api/*`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(custom(checks::path_pattern)))]
    #[schemars(extend("pattern" = forms::PATH_PATTERN), length(max = 128))]
    pub path: Option<String>,
    /// A host pattern, such as `api.example.com`. The load balancer's certificate must cover it: a certificate that Stackdrop requests does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(custom(checks::host_pattern)))]
    #[schemars(extend("pattern" = forms::HOST_PATTERN), length(max = 128))]
    pub host: Option<String>,
    /// The priority: 1 to 50000, lower numbers are evaluated first. Default: more precise patterns come first.
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
            command: Vec::new(),
            grace: 60,
        }
    }
}

fn default_cpu() -> u32 {
    256
}

/// For the default CPU units; `read` sets the default for other CPU units.
fn default_memory() -> u32 {
    fargate::smallest_memory(default_cpu()).unwrap_or_default()
}

fn default_task_count() -> u32 {
    2
}

fn default_log_days() -> u32 {
    30
}

fn default_cpu_percent() -> u8 {
    70
}
