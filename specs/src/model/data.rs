//! The instance and the database.

use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{checks, forms};

/// The EC2 instance, which is reachable only through Systems Manager.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Instance {
    /// The instance type.
    #[serde(rename = "type")]
    #[garde(custom(checks::instance_type))]
    #[schemars(extend("pattern" = forms::INSTANCE_TYPE))]
    pub instance_type: String,
    /// The size of the root disk in GiB: 8 to 16384. It can only be increased later.
    #[garde(range(min = 8, max = 16_384))]
    pub disk: u32,
}

/// The PostgreSQL database.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Database {
    /// The PostgreSQL version: only the major version (`17`), or with the minor version (`17.9`).
    #[garde(custom(checks::database_version))]
    #[schemars(with = "forms::Version")]
    pub version: String,
    /// The instance class.
    #[garde(custom(checks::database_class))]
    #[schemars(extend("pattern" = forms::DATABASE_CLASS))]
    pub class: String,
    /// The storage in GiB: 20 to 65536. It can only be increased later.
    #[garde(range(min = 20, max = 65_536))]
    pub storage: u32,
    /// The limit for automatic storage growth, in GiB. Default: no automatic growth.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[garde(inner(range(min = 22, max = 65_536)))]
    #[schemars(range(min = 22, max = 65_536))]
    pub max_storage: Option<u32>,
    /// Whether the database has a standby in another zone.
    #[garde(skip)]
    pub multi_az: bool,
    /// The number of days for which backups are kept: 0 (no backups) to 35.
    #[garde(range(max = 35))]
    pub backup_days: u8,
    /// Whether AWS refuses to delete the database, once the first deployment has succeeded.
    #[garde(skip)]
    pub deletion_protection: bool,
    /// Whether a final snapshot is created before the database is deleted.
    #[garde(skip)]
    pub final_snapshot: bool,
    /// The snapshot from which the database is created: the name of a snapshot in this account and region, such as this stack's final snapshot. It has no effect once the database exists. Default: an empty database.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[garde(inner(custom(checks::snapshot)))]
    #[schemars(extend("pattern" = forms::SNAPSHOT), length(max = 255))]
    pub restore_from: Option<String>,
    /// The database's name inside PostgreSQL. It cannot be changed later.
    #[garde(custom(checks::database_name))]
    #[schemars(extend("pattern" = forms::DATABASE_NAME))]
    pub name: String,
    /// The clients that can connect.
    #[garde(skip)]
    #[schemars(length(min = 1))]
    pub allow: Vec<DatabaseClient>,
    /// When the password changes.
    #[garde(dive)]
    pub rotation: Rotation,
}

/// When the database's password changes. Right afterwards, the services that use it are restarted: until their new tasks run,
/// the previous ones cannot open new connections.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Rotation {
    /// The schedule, a `cron` expression of EventBridge Scheduler: `cron(0 4 1 * ? *)` is the first of each month at 4:00.
    #[garde(custom(checks::rotation))]
    #[schemars(extend("pattern" = forms::CRON), example = &"cron(0 4 1 * ? *)")]
    pub schedule: String,
    /// The time zone of the schedule, such as `Europe/Berlin`.
    #[garde(custom(checks::timezone))]
    pub timezone: String,
}

/// The clients that can connect to the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DatabaseClient {
    /// The tasks of the stack's ECS services.
    Services,
    /// The stack's EC2 instance.
    Instance,
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
            restore_from: None,
            name: "app".into(),
            allow: vec![DatabaseClient::Services],
            rotation: Rotation::default(),
        }
    }
}

impl Default for Rotation {
    fn default() -> Self {
        Self { schedule: "cron(0 4 1 * ? *)".into(), timezone: "UTC".into() }
    }
}
