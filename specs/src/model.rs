//! What a spec says: the types that a YAML or JSON file becomes.
//!
//! Every default stands here, once. A field's documentation is what an editor shows (it becomes the JSON Schema), and
//! what a message says would be right. `garde`'s ranges are also the schema's; what `garde` skips is checked in `rules`,
//! because it concerns more than one value or the keys of a map.

mod data;
mod service;

use std::collections::BTreeMap;

use garde::Validate;
use ipnet::Ipv4Net;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::data::{Database, DatabaseClient, Instance};
pub use self::service::{DatabaseValue, HealthCheck, Managed, Route, Scaling, Service};
use crate::{StackName, checks, forms};

/// Everything that one stack is made of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Spec {
    /// The stack's name: a DNS label of at most 20 characters. Every resource's name starts with it.
    #[garde(skip)]
    pub stack: StackName,
    /// The AWS region. Left out: the one that Stackdrop is installed in, which is also the only one allowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(custom(checks::region)))]
    #[schemars(extend("pattern" = forms::REGION), example = &"eu-central-1")]
    pub region: Option<String>,
    /// Tags that every resource of the stack gets, besides Stackdrop's own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[garde(skip)]
    #[schemars(with = "BTreeMap<String, forms::Plain>", extend("maxProperties" = 40))]
    pub tags: BTreeMap<String, String>,
    /// The VPC that everything stands in.
    #[serde(default)]
    #[garde(dive)]
    pub network: Network,
    /// The load balancer. Left out: no way in from the internet; then no service may have routes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(dive)]
    pub load_balancer: Option<LoadBalancer>,
    /// The ECS services by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[garde(dive)]
    #[schemars(extend("maxProperties" = 10))]
    pub services: BTreeMap<String, Service>,
    /// The EC2 instance. Left out: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(dive)]
    pub instance: Option<Instance>,
    /// The PostgreSQL database. Left out: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(dive)]
    pub database: Option<Database>,
    /// When Stackdrop looks after the stack by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(dive)]
    pub redeploy: Option<Redeploy>,
    /// Whether somebody must agree to a plan before a deployment changes anything.
    #[serde(default)]
    #[garde(skip)]
    pub approval: Approval,
    /// What a failed deployment does.
    #[serde(default)]
    #[garde(skip)]
    pub on_failure: OnFailure,
    /// What the deletion of the spec's object does to the stack.
    #[serde(default)]
    #[garde(skip)]
    pub on_delete: OnDelete,
}

/// The VPC.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Network {
    /// The VPC's range: private addresses (RFC 1918), /16 to /24. It can't be changed later.
    #[garde(custom(checks::vpc))]
    #[schemars(with = "forms::Cidr")]
    pub cidr: Ipv4Net,
    /// In how many availability zones subnets stand: 2 or 3.
    #[garde(range(min = 2, max = 3))]
    pub zones: u8,
    /// How private subnets reach the internet.
    #[garde(skip)]
    pub nat: Nat,
}

/// How private subnets reach the internet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LoadBalancer {
    /// An issued ACM certificate of this region. Left out: `domain` and `hostedZoneId` are needed, and a certificate is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(custom(checks::certificate)))]
    #[schemars(extend("pattern" = forms::CERTIFICATE))]
    pub certificate_arn: Option<String>,
    /// The name that the load balancer answers to, such as `shop.example.com`. Beside `certificateArn`: a name that the certificate must cover.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(custom(checks::domain)))]
    #[schemars(extend("pattern" = forms::DOMAIN), length(max = 64))]
    pub domain: Option<String>,
    /// The Route 53 zone that `domain` lies in; with it comes an alias record and, unless `certificateArn` is given, a certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(custom(checks::hosted_zone)))]
    #[schemars(extend("pattern" = forms::HOSTED_ZONE))]
    pub hosted_zone_id: Option<String>,
    /// Who may connect.
    #[serde(default = "anywhere")]
    #[garde(skip)]
    #[schemars(with = "Vec<forms::Cidr>", length(min = 1, max = 30))]
    pub allowed_cidrs: Vec<Ipv4Net>,
    /// Whether port 80 answers with a permanent redirect to HTTPS.
    #[serde(default = "yes")]
    #[garde(skip)]
    pub redirect_http: bool,
    /// Seconds after which an idle connection is closed, 1 to 4000.
    #[serde(default = "sixty")]
    #[garde(range(min = 1, max = 4000))]
    pub idle_timeout: u16,
    /// Where access logs go. Left out: none are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(dive)]
    pub access_logs: Option<AccessLogs>,
}

/// Where the load balancer's access logs go.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AccessLogs {
    /// An existing bucket that the load balancer may write to.
    #[garde(custom(checks::bucket))]
    #[schemars(extend("pattern" = forms::BUCKET), example = &"access-logs")]
    pub bucket: String,
    /// A prefix for the objects' keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(custom(checks::prefix)))]
    #[schemars(length(max = 200))]
    pub prefix: Option<String>,
}

/// When Stackdrop looks after the stack by itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Redeploy {
    /// `rate(12 hours)` or `cron(0 3 * * ? *)`, as EventBridge Scheduler has it.
    #[garde(custom(checks::schedule))]
    #[schemars(extend("pattern" = forms::SCHEDULE), example = &"rate(12 hours)")]
    pub schedule: String,
    /// The time zone of a `cron` schedule, such as `Europe/Berlin`.
    #[serde(default = "utc")]
    #[garde(custom(checks::timezone))]
    pub timezone: String,
    /// Whether each scheduled redeploy starts fresh tasks, so that a moved image tag is followed.
    #[serde(default)]
    #[garde(skip)]
    pub refresh_image: bool,
    /// What a scheduled redeploy does about drift: what was changed, deleted or added by hand.
    #[serde(default)]
    #[garde(skip)]
    pub drift: Drift,
}

/// What a scheduled redeploy does about drift.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Drift {
    /// It puts right what was changed by hand, and says what it was.
    #[default]
    Repair,
    /// It only says what was changed by hand.
    Report,
}

/// Whether somebody must agree to a plan before a deployment changes anything.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Approval {
    /// Nobody need agree.
    #[default]
    None,
    /// The plan is announced, and the deployment waits until somebody agrees to it or rejects it.
    Required,
}

/// What a failed deployment does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OnFailure {
    /// A first deployment removes what it made; a later one returns to the last good state.
    #[default]
    Rollback,
    /// It stops where it failed, for looking.
    Keep,
}

/// What the deletion of the spec's object does to the stack.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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

fn anywhere() -> Vec<Ipv4Net> {
    vec![Ipv4Net::new_assert(std::net::Ipv4Addr::from([0, 0, 0, 0]), 0)]
}

fn yes() -> bool {
    true
}

fn sixty() -> u16 {
    60
}

fn utc() -> String {
    "UTC".into()
}
