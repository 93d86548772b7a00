//! The parameters of PostgreSQL that parameter groups support: those that are commonly set.
//!
//! Source: "Working with parameters on your RDS for PostgreSQL DB instance" (types, defaults, whether a change needs
//! a restart).

/// How a change takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Apply {
    /// At once.
    Dynamic,
    /// With the next reboot.
    Static,
    /// It cannot be changed.
    Fixed,
}

#[derive(Debug, Clone)]
pub(super) struct Parameter {
    pub(super) name: &'static str,
    /// Its value in a new group; `None` for the engine's own default.
    default: Option<&'static str>,
    pub(super) apply: Apply,
    pub(super) values: Values,
    pub(super) description: &'static str,
}

/// The allowed values of a parameter.
#[derive(Debug, Clone, Copy)]
pub(super) enum Values {
    Flag,
    Integer(i64, i64),
    Float(f64, f64),
    OneOf(&'static [&'static str]),
    /// Any of these, separated by commas.
    ListOf(&'static [&'static str]),
    Text,
}

impl Parameter {
    /// The initial value in a family.
    pub(super) fn default(&self, major: u32) -> Option<&'static str> {
        match self.name {
            // Since PostgreSQL 15, RDS refuses connections without TLS by default.
            "rds.force_ssl" => Some(if major >= 15 { "1" } else { "0" }),
            "password_encryption" => Some(if major >= 14 { "scram-sha-256" } else { "md5" }),
            _ => self.default,
        }
    }

    pub(super) fn data_type(&self) -> &'static str {
        match self.values {
            Values::Flag => "boolean",
            Values::Integer(..) => "integer",
            Values::Float(..) => "float",
            Values::OneOf(_) | Values::Text => "string",
            Values::ListOf(_) => "list",
        }
    }

    pub(super) fn allowed(&self) -> Option<String> {
        match self.values {
            Values::Flag => Some("0,1".into()),
            Values::Integer(low, high) => Some(format!("{low}-{high}")),
            Values::Float(low, high) => Some(format!("{low}-{high}")),
            Values::OneOf(words) | Values::ListOf(words) => Some(words.join(",")),
            Values::Text => None,
        }
    }

    pub(super) fn takes(&self, value: &str) -> bool {
        match self.values {
            Values::Flag => ["0", "1"].contains(&value),
            // `{DBInstanceClassMemory/32768}` and similar values are formulas of the instance.
            Values::Integer(..) if value.contains('{') => value.contains('}'),
            Values::Integer(low, high) => value.parse().is_ok_and(|number| (low..=high).contains(&number)),
            Values::Float(low, high) => value.parse().is_ok_and(|number| (low..=high).contains(&number)),
            Values::OneOf(words) => words.contains(&value),
            Values::ListOf(words) => value.split(',').all(|word| words.contains(&word.trim())),
            Values::Text => true,
        }
    }
}

pub(super) fn find(name: &str) -> Option<&'static Parameter> {
    ALL.iter().find(|parameter| parameter.name == name)
}

const fn parameter(
    name: &'static str,
    default: Option<&'static str>,
    apply: Apply,
    values: Values,
    description: &'static str,
) -> Parameter {
    Parameter { name, default, apply, values, description }
}

use Apply::{Dynamic, Fixed, Static};
use Values::{Flag, Float, Integer, ListOf, OneOf, Text};

/// In the order of their names, as RDS lists them.
pub(super) const ALL: [Parameter; 34] = [
    parameter("autovacuum", Some("1"), Dynamic, Flag, "Starts the autovacuum subprocess."),
    parameter(
        "autovacuum_max_workers",
        Some("GREATEST({DBInstanceClassMemory/64371566592},3)"),
        Static,
        Integer(1, 262_143),
        "Sets the maximum number of simultaneously running autovacuum worker processes.",
    ),
    parameter(
        "autovacuum_naptime",
        Some("15"),
        Dynamic,
        Integer(1, 2_147_483),
        "(s) Time to sleep between autovacuum runs.",
    ),
    parameter(
        "checkpoint_timeout",
        None,
        Dynamic,
        Integer(30, 3600),
        "(s) Sets the maximum time between automatic WAL checkpoints.",
    ),
    parameter("data_directory", Some("/rdsdbdata/db"), Fixed, Text, "Sets the server's data directory."),
    parameter(
        "deadlock_timeout",
        None,
        Dynamic,
        Integer(1, 2_147_483_647),
        "(ms) Sets the time to wait on a lock before checking for deadlock.",
    ),
    parameter(
        "default_transaction_isolation",
        None,
        Dynamic,
        OneOf(&["serializable", "repeatable read", "read committed", "read uncommitted"]),
        "Sets the transaction isolation level of each new transaction.",
    ),
    parameter(
        "effective_cache_size",
        Some("{DBInstanceClassMemory/16384}"),
        Dynamic,
        Integer(1, 2_147_483_647),
        "(8kB) Sets the planner's assumption about the size of the disk cache.",
    ),
    parameter(
        "idle_in_transaction_session_timeout",
        Some("86400000"),
        Dynamic,
        Integer(0, 2_147_483_647),
        "(ms) Sets the maximum allowed duration of any idling transaction.",
    ),
    parameter(
        "lock_timeout",
        None,
        Dynamic,
        Integer(0, 2_147_483_647),
        "(ms) Sets the maximum allowed duration of any wait for a lock.",
    ),
    parameter("log_connections", None, Dynamic, Flag, "Logs each successful connection."),
    parameter("log_disconnections", None, Dynamic, Flag, "Logs end of a session, including duration."),
    parameter("log_lock_waits", None, Dynamic, Flag, "Logs long lock waits."),
    parameter(
        "log_min_duration_statement",
        None,
        Dynamic,
        Integer(-1, 2_147_483_647),
        "(ms) Sets the minimum execution time above which statements will be logged.",
    ),
    parameter(
        "log_statement",
        None,
        Dynamic,
        OneOf(&["none", "ddl", "mod", "all"]),
        "Sets the type of statements logged.",
    ),
    parameter(
        "maintenance_work_mem",
        Some("GREATEST({DBInstanceClassMemory*1024/63963136},65536)"),
        Dynamic,
        Integer(1024, 2_147_483_647),
        "(kB) Sets the maximum memory to be used for maintenance operations.",
    ),
    parameter(
        "max_connections",
        Some("LEAST({DBInstanceClassMemory/9531392},5000)"),
        Static,
        Integer(6, 8_388_607),
        "Sets the maximum number of concurrent connections.",
    ),
    parameter(
        "max_wal_size",
        Some("2048"),
        Dynamic,
        Integer(128, 201_326_592),
        "(MB) Sets the WAL size that triggers a checkpoint.",
    ),
    parameter(
        "password_encryption",
        None,
        Dynamic,
        OneOf(&["md5", "scram-sha-256"]),
        "Sets the algorithm that passwords are hashed with.",
    ),
    parameter(
        "pg_stat_statements.track",
        Some("top"),
        Dynamic,
        OneOf(&["top", "all", "none"]),
        "Selects which statements are tracked by pg_stat_statements.",
    ),
    parameter("port", Some("{EndPointPort}"), Fixed, Text, "Sets the TCP port the server listens on."),
    parameter(
        "random_page_cost",
        None,
        Dynamic,
        Float(0.0, 1.0e10),
        "Sets the planner's estimate of the cost of a nonsequentially fetched disk page.",
    ),
    parameter("rds.force_ssl", None, Dynamic, Flag, "Force SSL connections."),
    parameter(
        "rds.log_retention_period",
        Some("4320"),
        Dynamic,
        Integer(1440, 10_080),
        "Amazon RDS will delete PostgreSQL log that are older than N minutes.",
    ),
    parameter("rds.logical_replication", Some("0"), Static, Flag, "Enables logical decoding."),
    parameter(
        "shared_buffers",
        Some("{DBInstanceClassMemory/32768}"),
        Static,
        Integer(16, 1_073_741_823),
        "(8kB) Sets the number of shared memory buffers used by the server.",
    ),
    parameter(
        "shared_preload_libraries",
        Some("pg_stat_statements"),
        Static,
        ListOf(&[
            "auto_explain",
            "orafce",
            "pgaudit",
            "pglogical",
            "pg_bigm",
            "pg_cron",
            "pg_hint_plan",
            "pg_prewarm",
            "pg_similarity",
            "pg_stat_statements",
            "pg_tle",
            "pg_transport",
            "plprofiler",
            "plrust",
        ]),
        "Lists shared libraries to preload into server.",
    ),
    parameter("ssl", Some("1"), Fixed, Flag, "Enables SSL connections."),
    parameter(
        "ssl_min_protocol_version",
        Some("TLSv1.2"),
        Dynamic,
        OneOf(&["TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"]),
        "Sets the minimum SSL/TLS protocol version to use.",
    ),
    parameter(
        "statement_timeout",
        None,
        Dynamic,
        Integer(0, 2_147_483_647),
        "(ms) Sets the maximum allowed duration of any statement.",
    ),
    parameter(
        "timezone",
        Some("UTC"),
        Dynamic,
        Text,
        "Sets the time zone for displaying and interpreting time stamps.",
    ),
    parameter(
        "track_activity_query_size",
        Some("4096"),
        Static,
        Integer(100, 1_048_576),
        "Sets the size reserved for pg_stat_activity.current_query, in bytes.",
    ),
    parameter(
        "wal_buffers",
        None,
        Static,
        Integer(-1, 262_143),
        "(8kB) Sets the number of disk-page buffers in shared memory for WAL.",
    ),
    parameter(
        "work_mem",
        None,
        Dynamic,
        Integer(64, 2_147_483_647),
        "(kB) Sets the maximum memory to be used for query workspaces.",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_sorted_and_have_their_own_defaults() {
        assert!(ALL.is_sorted_by_key(|parameter| parameter.name));
        for parameter in &ALL {
            for major in 13..=18 {
                assert!(
                    parameter.default(major).is_none_or(|value| parameter.takes(value)),
                    "{}",
                    parameter.name
                );
            }
        }
    }

    #[test]
    fn values_are_checked_by_type() {
        let takes = |name: &str, value: &str| find(name).unwrap().takes(value);
        assert!(takes("rds.force_ssl", "1") && !takes("rds.force_ssl", "on"));
        assert!(takes("max_connections", "200") && !takes("max_connections", "5"));
        assert!(takes("log_statement", "ddl") && !takes("log_statement", "some"));
        assert!(
            takes("shared_preload_libraries", "pgaudit, pg_cron")
                && !takes("shared_preload_libraries", "mine")
        );
        assert!(takes("random_page_cost", "1.1") && !takes("random_page_cost", "cheap"));
    }
}
