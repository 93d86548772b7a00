//! Patterns and types of the JSON Schema for texts in a spec.
//!
//! A pattern never refuses a text that `checks` accepts, which a test verifies; `checks` is stricter where a pattern cannot
//! express a rule.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

pub(crate) const STACK: &str = "^[a-z][a-z0-9]*(-[a-z0-9]+)*$";
pub(crate) const REGION: &str = "^[a-z]{2}(-[a-z]+)+-[0-9]$";
pub(crate) const ZONE: &str = "^[a-z]{2}(-[a-z]+)+-[0-9][a-z]$";
pub(crate) const CERTIFICATE: &str = "^arn:aws[a-z-]*:acm:[a-z0-9-]+:[0-9]{12}:certificate/[A-Za-z0-9-]+$";
pub(crate) const WEB_ACL: &str = "^arn:aws[a-z-]*:wafv2:[a-z0-9-]+:[0-9]{12}:regional/webacl/[A-Za-z0-9_-]{1,128}/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$";
pub(crate) const SECRET: &str = "^arn:aws[a-z-]*:(secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:[A-Za-z0-9/_+=.@-]+-[A-Za-z0-9]{6}(:[^:]*:[^:]*:[^:]*)?|ssm:[a-z0-9-]+:[0-9]{12}:parameter(/[A-Za-z0-9_.-]+)+)$";
pub(crate) const DOMAIN: &str = "^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)+$";
pub(crate) const HOSTED_ZONE: &str = "^Z[A-Z0-9]{1,31}$";
pub(crate) const BUCKET: &str = "^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$";
pub(crate) const FOLDER: &str = "^(/[A-Za-z0-9_.-]+)+$";
pub(crate) const PATH_PATTERN: &str = "^[/*?][A-Za-z0-9_.$/~\"'@:+&*?-]*$";
pub(crate) const HOST_PATTERN: &str = "^[a-z0-9.*?-]+\\.[a-z*?]+$";
pub(crate) const INSTANCE_TYPE: &str = "^[a-z][a-z0-9-]*\\.[a-z0-9-]+$";
pub(crate) const DATABASE_CLASS: &str = "^db\\.[a-z][a-z0-9-]*\\.[a-z0-9]+$";
pub(crate) const DATABASE_NAME: &str = "^[a-z][a-z0-9_]{0,62}$";
pub(crate) const SNAPSHOT: &str = "^(rds:)?[A-Za-z](-?[A-Za-z0-9])*$";
pub(crate) const CRON: &str = "^cron\\(.+\\)$";
pub(crate) const SCHEDULE: &str = "^(rate|cron)\\(.+\\)$";

/// The retention periods that CloudWatch Logs offers, in days (`PutRetentionPolicy`, `retentionInDays`).
pub(crate) const LOG_DAYS: [u32; 22] =
    [1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653];

/// The TLS security policies that allow neither TLS 1.0 nor 1.1 and have forward secrecy for every cipher.
/// Source: "Security policies for your Application Load Balancer" in the user guide of Elastic Load Balancing.
pub(crate) const TLS_POLICIES: [&str; 7] = [
    "ELBSecurityPolicy-TLS13-1-2-Res-PQ-2025-09",
    "ELBSecurityPolicy-TLS13-1-2-PQ-2025-09",
    "ELBSecurityPolicy-TLS13-1-3-PQ-2025-09",
    "ELBSecurityPolicy-TLS13-1-2-Res-2021-06",
    "ELBSecurityPolicy-TLS13-1-2-2021-06",
    "ELBSecurityPolicy-TLS13-1-3-2021-06",
    "ELBSecurityPolicy-FS-1-2-Res-2020-10",
];

/// A type of the schema with more rules than its Rust type.
macro_rules! form {
    ($(#[$documentation:meta])* $name:ident, $schema:tt) => {
        $(#[$documentation])*
        pub(crate) struct $name;

        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    };
}

form!(
    /// An IPv4 range; the reader checks it by its `format`.
    Cidr,
    {
        "type": "string",
        "format": "ipv4-range",
        "pattern": "^[0-9]{1,3}(\\.[0-9]{1,3}){3}/[0-9]{1,2}$",
        "examples": ["10.0.0.0/16"],
    }
);

form!(
    /// The name of an availability zone.
    Zone,
    { "type": "string", "pattern": ZONE, "examples": ["us-east-1e"] }
);

form!(
    /// A text, or a plain number or boolean, whose text is used.
    Plain,
    { "type": ["string", "number", "boolean"] }
);

form!(
    /// A PostgreSQL version, which looks like a number without quotes.
    Version,
    { "type": ["string", "number"], "pattern": "^1[4-8](\\.[0-9]{1,2})?$", "minimum": 14, "exclusiveMaximum": 19 }
);

form!(
    /// Status codes, which can look like a number without quotes.
    Codes,
    { "type": ["string", "number"], "pattern": "^[2-4][0-9]{2}([,-][2-4][0-9]{2})*$" }
);

form!(
    /// The ARN of a secret or parameter for ECS.
    SecretArn,
    { "type": "string", "pattern": SECRET }
);

form!(
    /// The absolute path of a folder in a container.
    Folder,
    { "type": "string", "pattern": FOLDER, "maxLength": 255, "examples": ["/tmp"] }
);
