//! The types of a spec.
//!
//! Every default is defined here. A field's documentation becomes the JSON Schema, which editors show. `garde`'s ranges are
//! also the schema's; the fields that `garde` skips are checked in `rules`, because their rules concern more than one value
//! or the keys of a map.

mod data;
mod service;

use std::collections::BTreeMap;

use garde::Validate;
use ipnet::Ipv4Net;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::data::{Database, DatabaseClient, Instance, Rotation};
pub use self::service::{DatabaseValue, HealthCheck, Managed, Route, Scaling, Service};
use crate::{StackName, checks, forms};

/// The desired state of one stack.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Spec {
    /// The stack's name: a DNS label of at most 20 characters. Every resource name starts with it. It cannot be changed later.
    #[garde(skip)]
    pub stack: StackName,
    /// The AWS region. Default: the region in which Stackdrop is installed, which is the only one allowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(custom(checks::region)))]
    #[schemars(extend("pattern" = forms::REGION), example = &"eu-central-1")]
    pub region: Option<String>,
    /// Tags for every resource of the stack, in addition to Stackdrop's own tags.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[garde(skip)]
    #[schemars(with = "BTreeMap<String, forms::Plain>", extend("maxProperties" = 40))]
    pub tags: BTreeMap<String, String>,
    /// The VPC of the stack.
    #[serde(default)]
    #[garde(dive)]
    pub network: Network,
    /// The load balancer. Without it, the stack is not reachable from the internet, and no service can have routes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(dive)]
    pub load_balancer: Option<LoadBalancer>,
    /// The ECS services, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[garde(dive)]
    #[schemars(extend("maxProperties" = 10))]
    pub services: BTreeMap<String, Service>,
    /// The EC2 instance. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(dive)]
    pub instance: Option<Instance>,
    /// The PostgreSQL database. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(dive)]
    pub database: Option<Database>,
    /// Scheduled redeploys. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(dive)]
    pub redeploy: Option<Redeploy>,
    /// Whether a person must approve the plan before a deployment changes anything.
    #[serde(default)]
    #[garde(skip)]
    pub approval: Approval,
    /// The reaction to a failed deployment.
    #[serde(default)]
    #[garde(skip)]
    pub on_failure: OnFailure,
    /// The reaction to the deletion of the spec from the bucket.
    #[serde(default)]
    #[garde(skip)]
    pub on_delete: OnDelete,
}

/// The VPC.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Network {
    /// The VPC's range: private addresses (RFC 1918), /16 to /24. It cannot be changed later.
    #[garde(custom(checks::vpc))]
    #[schemars(with = "forms::Cidr")]
    pub cidr: Ipv4Net,
    /// The number of availability zones with subnets: 2 or 3.
    #[garde(range(min = 2, max = 3))]
    pub zones: u8,
    /// The internet access of private subnets.
    #[garde(skip)]
    pub nat: Nat,
    /// Availability zones that get no new subnets, such as `us-east-1e`: those that lack a service. Existing subnets stay.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[garde(inner(custom(checks::zone)))]
    #[schemars(with = "Vec<forms::Zone>", length(max = 10))]
    pub exclude_zones: Vec<String>,
    /// The destinations of routes that somebody else adds to the stack's route tables, such as the range of a peered VPC. Stackdrop deletes other routes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[garde(inner(custom(checks::kept_route)))]
    #[schemars(with = "Vec<forms::Cidr>", length(max = 40))]
    pub keep_routes: Vec<Ipv4Net>,
    /// The destination of flow logs, which record the connections of the VPC. Default: no flow logs.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[garde(dive)]
    pub flow_logs: Option<FlowLogs>,
}

/// The destination of the VPC's flow logs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FlowLogs {
    /// An existing bucket whose policy allows `delivery.logs.amazonaws.com` to write to it.
    #[garde(custom(checks::bucket))]
    #[schemars(extend("pattern" = forms::BUCKET), example = &"flow-logs")]
    pub bucket: String,
    /// The prefix of the object keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(custom(checks::prefix)))]
    #[schemars(length(max = 200))]
    pub prefix: Option<String>,
    /// The connections that are recorded.
    #[serde(default)]
    #[garde(skip)]
    pub traffic: Traffic,
}

/// The connections that a flow log records.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Traffic {
    /// All connections.
    #[default]
    All,
    /// Only connections that security groups reject.
    Reject,
}

/// The internet access of private subnets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Nat {
    /// One NAT gateway for all zones.
    Single,
    /// One NAT gateway in each zone.
    PerZone,
    /// No internet access. AWS services are reached through interface endpoints.
    None,
}

/// The application load balancer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LoadBalancer {
    /// An issued ACM certificate in the stack's region, for `domain` and the routes' hosts. Default: Stackdrop requests a certificate, which needs `domain` and `hostedZoneId`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(custom(checks::certificate)))]
    #[schemars(extend("pattern" = forms::CERTIFICATE), example = &"arn:aws:acm:eu-central-1:123456789012:certificate/6d4b1c2e-8f3a-4f0e-9a51-2b7c9d0e1f23")]
    pub certificate_arn: Option<String>,
    /// The domain name of the load balancer, such as `shop.example.com`. If `certificateArn` is set, the certificate must cover it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(custom(checks::domain)))]
    #[schemars(extend("pattern" = forms::DOMAIN), length(max = 64))]
    pub domain: Option<String>,
    /// The Route 53 hosted zone of `domain` and of the routes' hosts. Stackdrop creates an alias record for each of them and, unless `certificateArn` is set, a certificate for all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(custom(checks::hosted_zone)))]
    #[schemars(extend("pattern" = forms::HOSTED_ZONE))]
    pub hosted_zone_id: Option<String>,
    /// The IPv4 ranges that can connect. Default: everyone.
    #[serde(default = "default_allowed_cidrs")]
    #[garde(skip)]
    #[schemars(with = "Vec<forms::Cidr>", length(min = 1, max = 30))]
    pub allowed_cidrs: Vec<Ipv4Net>,
    /// Whether port 80 redirects permanently to HTTPS.
    #[serde(default = "default_redirect_http")]
    #[garde(skip)]
    pub redirect_http: bool,
    /// The TLS security policy of the HTTPS listener. Default: the policy that AWS recommends, `ELBSecurityPolicy-TLS13-1-2-Res-PQ-2025-09`: TLS 1.2 and 1.3 with forward secrecy and post-quantum key exchange.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(custom(checks::tls_policy)))]
    #[schemars(extend("enum" = forms::TLS_POLICIES))]
    pub tls_policy: Option<String>,
    /// The time after which an idle connection is closed, in seconds: 1 to 4000.
    #[serde(default = "default_idle_timeout")]
    #[garde(range(min = 1, max = 4000))]
    pub idle_timeout: u16,
    /// Whether AWS refuses to delete the load balancer, once the first deployment has succeeded. To remove it, deploy `false` first.
    #[serde(default)]
    #[garde(skip)]
    pub deletion_protection: bool,
    /// The ARN of a regional web ACL of AWS WAF in the stack's region and account, which filters the requests. It stays yours: Stackdrop only attaches it. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(custom(checks::web_acl)))]
    #[schemars(extend("pattern" = forms::WEB_ACL), example = &"arn:aws:wafv2:eu-central-1:123456789012:regional/webacl/shop/3f2504e0-4f89-41d3-9a0c-0305e82c3301")]
    pub web_acl_arn: Option<String>,
    /// The destination of access logs. Default: no access logs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(dive)]
    pub access_logs: Option<AccessLogs>,
}

/// The destination of the load balancer's access logs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AccessLogs {
    /// An existing bucket that the load balancer is allowed to write to.
    #[garde(custom(checks::bucket))]
    #[schemars(extend("pattern" = forms::BUCKET), example = &"access-logs")]
    pub bucket: String,
    /// The prefix of the object keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(custom(checks::prefix)))]
    #[schemars(length(max = 200))]
    pub prefix: Option<String>,
}

/// Scheduled redeploys.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Redeploy {
    /// The schedule in the syntax of EventBridge Scheduler: `rate(12 hours)` or `cron(0 3 * * ? *)`.
    #[garde(custom(checks::schedule))]
    #[schemars(extend("pattern" = forms::SCHEDULE), example = &"rate(12 hours)")]
    pub schedule: String,
    /// The time zone of a `cron` schedule, such as `Europe/Berlin`.
    #[serde(default = "default_timezone")]
    #[garde(custom(checks::timezone))]
    pub timezone: String,
    /// Whether each scheduled redeploy starts new tasks, which pull the current image of a moved tag.
    #[serde(default)]
    #[garde(skip)]
    pub refresh_image: bool,
    /// The reaction of a scheduled redeploy to drift, which are manual changes of the stack's resources.
    #[serde(default)]
    #[garde(skip)]
    pub drift: Drift,
}

/// The reaction of a scheduled redeploy to drift.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Drift {
    /// Repairs the drift, and reports it.
    #[default]
    Repair,
    /// Only reports the drift.
    Report,
}

/// Whether a person must approve the plan before a deployment changes anything.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Approval {
    /// No approval is necessary.
    #[default]
    None,
    /// The plan is announced, and the deployment waits until a person approves or rejects it.
    Required,
}

/// The reaction to a failed deployment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OnFailure {
    /// Rolls back: a first deployment deletes everything it created, an update rolls back to the last good version.
    #[default]
    Rollback,
    /// Stops at the failed step, for inspection.
    Keep,
}

/// The reaction to the deletion of the spec from the bucket.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OnDelete {
    /// Keeps the stack.
    #[default]
    Retain,
    /// Destroys the stack.
    Destroy,
}

impl Default for Network {
    fn default() -> Self {
        Self {
            cidr: Ipv4Net::new_assert(std::net::Ipv4Addr::from([10, 0, 0, 0]), 16),
            zones: 2,
            nat: Nat::Single,
            exclude_zones: Vec::new(),
            keep_routes: Vec::new(),
            flow_logs: None,
        }
    }
}

fn default_allowed_cidrs() -> Vec<Ipv4Net> {
    vec![Ipv4Net::new_assert(std::net::Ipv4Addr::from([0, 0, 0, 0]), 0)]
}

fn default_redirect_http() -> bool {
    true
}

fn default_idle_timeout() -> u16 {
    60
}

fn default_timezone() -> String {
    "UTC".into()
}
