//! What a spec says: the types that a YAML or JSON file becomes.
//!
//! Every default stands here, once. A field's documentation is what an editor shows (it becomes the JSON Schema).

use std::collections::BTreeMap;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use crate::StackName;

/// Everything that one stack is made of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Spec {
    /// The stack's name: a DNS label of at most 20 characters. Every resource's name starts with it.
    pub stack: StackName,
    /// The AWS region. Left out: the one that Stackdrop is installed in, which is also the only one allowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Tags that every resource of the stack gets, besides Stackdrop's own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// The VPC that everything stands in.
    #[serde(default)]
    pub network: Network,
    /// The load balancer. Left out: no way in from the internet; then no service may have routes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load_balancer: Option<LoadBalancer>,
    /// The ECS services by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub services: BTreeMap<String, Service>,
    /// The EC2 instance. Left out: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<Instance>,
    /// The PostgreSQL database. Left out: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<Database>,
    /// When Stackdrop looks after the stack by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redeploy: Option<Redeploy>,
    /// What a failed deployment does.
    #[serde(default)]
    pub on_failure: OnFailure,
    /// What the deletion of the spec's object does to the stack.
    #[serde(default)]
    pub on_delete: OnDelete,
}

/// The VPC.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Network {
    /// The VPC's range: private addresses (RFC 1918), /16 to /24. It can't be changed later.
    pub cidr: Ipv4Net,
    /// In how many availability zones subnets stand: 2 or 3.
    pub zones: u8,
    /// How private subnets reach the internet.
    pub nat: Nat,
}

/// How private subnets reach the internet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Nat {
    /// One NAT gateway for all zones.
    Single,
    /// One NAT gateway in each zone.
    PerZone,
    /// None: AWS services are reached through interface endpoints, the internet not at all.
    None,
}

/// The application load balancer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LoadBalancer {
    /// An issued ACM certificate of this region. Either this, or `domain` and `hostedZoneId`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_arn: Option<String>,
    /// The name that the load balancer answers to, such as `shop.example.com`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// The Route 53 zone that `domain` lies in; with it comes an alias record and, unless `certificateArn` is given, a certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hosted_zone_id: Option<String>,
    /// Who may connect.
    #[serde(default = "anywhere")]
    pub allowed_cidrs: Vec<Ipv4Net>,
    /// Whether port 80 answers with a permanent redirect to HTTPS.
    #[serde(default = "yes")]
    pub redirect_http: bool,
    /// Seconds after which an idle connection is closed, 1 to 4000.
    #[serde(default = "sixty")]
    pub idle_timeout: u16,
    /// Where access logs go. Left out: none are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_logs: Option<AccessLogs>,
}

/// Where the load balancer's access logs go.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AccessLogs {
    /// An existing bucket that the load balancer may write to.
    pub bucket: String,
    /// A prefix for the objects' keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
}

/// One ECS service on Fargate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Service {
    /// The container image.
    pub image: String,
    /// The port that the container listens on. Needed with `routes`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// CPU units (1024 is one vCPU): a size that Fargate offers.
    #[serde(default = "quarter_vcpu")]
    pub cpu: u32,
    /// Memory in MiB: a size that Fargate offers for `cpu`.
    #[serde(default = "half_gib")]
    pub memory: u32,
    /// How many tasks run (with `scaling`: how many at first).
    #[serde(default = "two")]
    pub count: u32,
    /// Scaling by load. Left out: always `count` tasks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scaling: Option<Scaling>,
    /// How the load balancer tells whether a task is well.
    #[serde(default)]
    pub health_check: HealthCheck,
    /// Replaces the image's command.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// Environment variables, for all to see. Secrets go into `secrets`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, String>,
    /// Environment variables whose values ECS reads from Secrets Manager: a secret's ARN, with `:key::` behind it for one key of a JSON secret.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, String>,
    /// Environment variables that are given a value of the stack's database.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub database: BTreeMap<String, DatabaseValue>,
    /// Whether `aws ecs execute-command` may open a shell in a task.
    #[serde(default)]
    pub exec: bool,
    /// Which requests come here. A service without routes is a worker.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<Route>,
    /// How many days the logs are kept: a number that CloudWatch Logs offers.
    #[serde(default = "thirty_days")]
    pub log_days: u32,
}

/// A value of the stack's database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Scaling {
    /// Never fewer tasks than this.
    pub min: u32,
    /// Never more tasks than this.
    pub max: u32,
    /// The average CPU use, in percent, that scaling aims at.
    #[serde(default = "seventy_percent")]
    pub cpu_percent: u8,
}

/// How the load balancer tells whether a task is well.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct HealthCheck {
    /// The path asked for.
    pub path: String,
    /// Seconds between two checks, 5 to 300.
    pub interval: u16,
    /// Seconds after which no answer is a failure, 2 to 120 and less than `interval`.
    pub timeout: u16,
    /// Successes in a row that make a task healthy, 2 to 10.
    pub healthy: u8,
    /// Failures in a row that make a task unhealthy, 2 to 10.
    pub unhealthy: u8,
    /// The status codes that are a success, such as `200` or `200-399`.
    pub codes: String,
    /// Seconds after a task's start in which failures do not count, 0 to 7200.
    pub grace: u32,
}

/// Which requests come to a service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Route {
    /// A path pattern, such as `/api/*`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// A host pattern, such as `api.example.com`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Lower numbers are asked first: 1 to 50000. Left out: more precise patterns come first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<u16>,
}

/// The EC2 instance, reached through Systems Manager only.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Instance {
    /// The instance type.
    #[serde(rename = "type")]
    pub instance_type: String,
    /// The root disk's size in GiB, 8 to 16384. It only grows.
    pub disk: u32,
}

/// The PostgreSQL database.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Database {
    /// PostgreSQL's version: the major one (`17`), or with the minor one (`17.4`).
    pub version: String,
    /// The instance class.
    pub class: String,
    /// Storage in GiB, 20 to 65536. It only grows.
    pub storage: u32,
    /// The size that storage may grow to by itself, in GiB. Left out: it doesn't.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_storage: Option<u32>,
    /// Whether a standby stands in another zone.
    pub multi_az: bool,
    /// For how many days backups are kept, 0 (none) to 35.
    pub backup_days: u8,
    /// Whether AWS refuses to delete the database, once the stack stands.
    pub deletion_protection: bool,
    /// Whether a last snapshot is taken before the database is deleted.
    pub final_snapshot: bool,
    /// The database's name inside PostgreSQL. It can't be changed later.
    pub name: String,
    /// Who may connect.
    pub allow: Vec<DatabaseClient>,
}

/// Who may connect to the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DatabaseClient {
    /// The tasks of the stack's ECS services.
    Services,
    /// The stack's EC2 instance.
    Instance,
}

/// When Stackdrop looks after the stack by itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Redeploy {
    /// `rate(12 hours)` or `cron(0 3 * * ? *)`, as EventBridge Scheduler has it.
    pub schedule: String,
    /// The time zone of a `cron` schedule, such as `Europe/Berlin`.
    #[serde(default = "utc")]
    pub timezone: String,
    /// Whether each scheduled redeploy starts fresh tasks, so that a moved image tag is followed.
    #[serde(default)]
    pub refresh_image: bool,
}

/// What a failed deployment does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnFailure {
    /// A first deployment removes what it made; a later one returns to the last good state.
    #[default]
    Rollback,
    /// It stops where it failed, for looking.
    Keep,
}

/// What the deletion of the spec's object does to the stack.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnDelete {
    /// Nothing: the stack stays.
    #[default]
    Retain,
    /// The stack is removed.
    Destroy,
}

impl Default for Network {
    fn default() -> Self {
        Self {
            cidr: Ipv4Net::new_assert(std::net::Ipv4Addr::from([10, 0, 0, 0]), 16),
            zones: 2,
            nat: Nat::Single,
        }
    }
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

impl Default for Instance {
    fn default() -> Self {
        Self { instance_type: "t3.micro".into(), disk: 20 }
    }
}

impl Default for Database {
    fn default() -> Self {
        Self {
            version: "17".into(),
            class: "db.t4g.micro".into(),
            storage: 20,
            max_storage: None,
            multi_az: false,
            backup_days: 7,
            deletion_protection: true,
            final_snapshot: true,
            name: "app".into(),
            allow: vec![DatabaseClient::Services],
        }
    }
}

fn anywhere() -> Vec<Ipv4Net> {
    vec![Ipv4Net::new_assert(std::net::Ipv4Addr::from([0, 0, 0, 0]), 0)]
}

fn yes() -> bool {
    true
}

fn sixty() -> u16 {
    60
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

fn utc() -> String {
    "UTC".into()
}
