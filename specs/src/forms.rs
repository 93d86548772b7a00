//! How texts in a spec look, as an editor is told: patterns and types of the JSON Schema.
//!
//! A pattern never refuses what `checks` accepts (a test holds them together); where a rule is too much for a
//! pattern, `checks` is the stricter one.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

pub(crate) const STACK: &str = "^[a-z][a-z0-9]*(-[a-z0-9]+)*$";
pub(crate) const REGION: &str = "^[a-z]{2}(-[a-z]+)+-[0-9]$";
pub(crate) const CERTIFICATE: &str = "^arn:aws[a-z-]*:acm:[a-z0-9-]+:[0-9]{12}:certificate/[A-Za-z0-9-]+$";
pub(crate) const SECRET: &str = "^arn:aws[a-z-]*:secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:[A-Za-z0-9/_+=.@-]+-[A-Za-z0-9]{6}(:[^:]*:[^:]*:[^:]*)?$";
pub(crate) const DOMAIN: &str = "^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)+$";
pub(crate) const HOSTED_ZONE: &str = "^Z[A-Z0-9]{1,31}$";
pub(crate) const BUCKET: &str = "^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$";
pub(crate) const PATH_PATTERN: &str = "^[/*?][A-Za-z0-9_.$/~\"'@:+&*?-]*$";
pub(crate) const HOST_PATTERN: &str = "^[a-z0-9.*?-]+\\.[a-z*?]+$";
pub(crate) const INSTANCE_TYPE: &str = "^[a-z][a-z0-9-]*\\.[a-z0-9-]+$";
pub(crate) const DATABASE_CLASS: &str = "^db\\.[a-z][a-z0-9-]*\\.[a-z0-9]+$";
pub(crate) const DATABASE_NAME: &str = "^[a-z_][a-z0-9_]{0,62}$";
pub(crate) const SCHEDULE: &str = "^(rate|cron)\\(.+\\)$";

/// How long CloudWatch Logs can keep logs, in days (`PutRetentionPolicy`, `retentionInDays`).
pub(crate) const LOG_DAYS: [u32; 22] =
    [1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653];

/// A type of the schema that is more than its Rust type says.
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
    /// An IPv4 range; `format` is what the reader checks by.
    Cidr,
    {
        "type": "string",
        "format": "ipv4-range",
        "pattern": "^[0-9]{1,3}(\\.[0-9]{1,3}){3}/[0-9]{1,2}$",
        "examples": ["10.0.0.0/16"],
    }
);

form!(
    /// A text for which a plain number or boolean is taken as it is written.
    Plain,
    { "type": ["string", "number", "boolean"] }
);

form!(
    /// PostgreSQL's version, which without quotes looks like a number.
    Version,
    { "type": ["string", "number"], "pattern": "^1[3-8](\\.[0-9]{1,2})?$", "minimum": 13, "exclusiveMaximum": 19 }
);

form!(
    /// Status codes, which without quotes may look like a number.
    Codes,
    { "type": ["string", "number"], "pattern": "^[2-4][0-9]{2}([,-][2-4][0-9]{2})*$" }
);

form!(
    /// Where ECS finds a secret.
    SecretArn,
    { "type": "string", "pattern": SECRET }
);
