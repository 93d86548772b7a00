//! The instance and the database.

use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{checks, forms};

/// The EC2 instance, reached through Systems Manager only.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Instance {
    /// The instance type.
    #[serde(rename = "type")]
    #[garde(custom(checks::instance_type))]
    #[schemars(extend("pattern" = forms::INSTANCE_TYPE))]
    pub instance_type: String,
    /// The root disk's size in GiB, 8 to 16384. It only grows.
    #[garde(range(min = 8, max = 16_384))]
    pub disk: u32,
}

/// The PostgreSQL database.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Database {
    /// PostgreSQL's version: the major one (`17`), or with the minor one (`17.4`).
    #[garde(custom(checks::database_version))]
    #[schemars(with = "forms::Version")]
    pub version: String,
    /// The instance class.
    #[garde(custom(checks::database_class))]
    #[schemars(extend("pattern" = forms::DATABASE_CLASS))]
    pub class: String,
    /// Storage in GiB, 20 to 65536. It only grows.
    #[garde(range(min = 20, max = 65_536))]
    pub storage: u32,
    /// The size that storage may grow to by itself, in GiB. Left out: it doesn't.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[garde(inner(range(min = 22, max = 65_536)))]
    #[schemars(range(min = 22, max = 65_536))]
    pub max_storage: Option<u32>,
    /// Whether a standby stands in another zone.
    #[garde(skip)]
    pub multi_az: bool,
    /// For how many days backups are kept, 0 (none) to 35.
    #[garde(range(max = 35))]
    pub backup_days: u8,
    /// Whether AWS refuses to delete the database, once the stack stands.
    #[garde(skip)]
    pub deletion_protection: bool,
    /// Whether a last snapshot is taken before the database is deleted.
    #[garde(skip)]
    pub final_snapshot: bool,
    /// The database's name inside PostgreSQL. It can't be changed later.
    #[garde(custom(checks::database_name))]
    #[schemars(extend("pattern" = forms::DATABASE_NAME))]
    pub name: String,
    /// Who may connect.
    #[garde(skip)]
    #[schemars(length(min = 1))]
    pub allow: Vec<DatabaseClient>,
}

/// Who may connect to the database.
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
            name: "app".into(),
            allow: vec![DatabaseClient::Services],
        }
    }
}
