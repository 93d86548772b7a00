//! How long AWS takes to change existing resources, in seconds. No public log has these durations one by one; they are
//! of the size that users report.

/// A database's new instance class.
pub const DATABASE_CLASS: u32 = 300;
/// A standby is added to a database.
pub const DATABASE_STANDBY_ADDED: u32 = 600;
/// A database's standby is deleted, or its port changes.
pub const DATABASE_STANDBY_REMOVED: u32 = 120;
/// Another major version of PostgreSQL.
pub const DATABASE_MAJOR_VERSION: u32 = 900;
/// Another minor version of PostgreSQL.
pub const DATABASE_MINOR_VERSION: u32 = 420;
/// A stopped database starts.
pub const DATABASE_START: u32 = 300;
/// A database reboots.
pub const DATABASE_REBOOT: u32 = 60;
/// Storage, backups, and most other settings of a database.
pub const DATABASE_SETTING: u32 = 60;
/// A database's security groups or parameter group.
pub const DATABASE_GROUPS: u32 = 30;
/// RDS takes over the management of a database's password.
pub const DATABASE_PASSWORD: u32 = 60;
/// For how long an accepted modification of a database is not to be seen in its status.
pub const DATABASE_ACCEPTED: u32 = 5;

/// An instance stops.
pub const INSTANCE_STOP: f64 = 30.0;

/// A Fargate task, from the signal to end until it is stopped and its interface gone.
pub const TASK_STOP: f64 = 60.0;
