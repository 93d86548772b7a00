//! A DB instance, and its state at any time.

use std::time::Duration;

use crate::params::Refusal;
use crate::services::secrets;
use crate::world::{Tags, World};

use super::change::Change;
use super::condition::Condition;
use super::{visible, windows};

/// How long the backup of each night takes.
pub(super) const BACKUP: Duration = Duration::from_mins(3);

/// A DB instance.
#[expect(clippy::struct_excessive_bools, reason = "each is a setting of RDS")]
#[derive(Debug, Clone)]
pub(super) struct Instance {
    /// AWS's own id, such as `db-ABCDEFGHIJKL`.
    pub(super) resource_id: String,
    pub(super) settings: Settings,
    pub(super) master_username: String,
    pub(super) db_name: Option<String>,
    pub(super) subnet_group: String,
    /// The primary first, then the standby.
    pub(super) nodes: Vec<Node>,
    /// The key that encrypts its storage; `None` for one that is not encrypted.
    pub(super) kms_key: Option<String>,
    pub(super) secret: Option<Secret>,
    pub(super) protected: bool,
    pub(super) copies_tags: bool,
    pub(super) minor_upgrades: bool,
    pub(super) max_storage: Option<u32>,
    pub(super) backup_window: String,
    /// Since when it has automated backups, if it has them.
    pub(super) backups_since: Duration,
    pub(super) maintenance_window: String,
    pub(super) lifecycle_support: String,
    pub(super) tags: Tags,
    pub(super) made_at: Duration,
    pub(super) birth: Birth,
    /// Whether parameters wait for a reboot.
    pub(super) awaits_reboot: bool,
    /// The states that it passes through until it is available again, each with its end.
    pub(super) phases: Vec<(&'static str, Duration)>,
    /// The changes that take effect at a time.
    pub(super) work: Option<(Duration, Vec<Change>)>,
    /// The changes that wait for a maintenance window, and the start of that window.
    pub(super) waiting: Option<(Duration, Vec<Change>)>,
    /// Until when its storage cannot be changed again.
    pub(super) storage_locked_until: Duration,
    /// What keeps it from being available once all phases have passed.
    pub(super) condition: Option<Condition>,
    /// Whether a major upgrade would fail at RDS's checks before it.
    pub(super) blocks_upgrade: bool,
    pub(super) deletion: Option<Deletion>,
}

/// Settings whose modification takes time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Settings {
    pub(super) class: String,
    pub(super) version: &'static str,
    pub(super) storage: u32,
    pub(super) storage_type: String,
    pub(super) iops: Option<u32>,
    pub(super) throughput: Option<u32>,
    pub(super) backup_days: u32,
    pub(super) multi_az: bool,
    pub(super) groups: Vec<String>,
    pub(super) parameter_group: String,
    pub(super) port: u16,
    pub(super) public: bool,
    pub(super) iam_authentication: bool,
    /// For how many days Performance Insights keeps its data; `None` if it is disabled.
    pub(super) insights_days: Option<u32>,
    pub(super) log_exports: Vec<String>,
    pub(super) certificate: String,
}

/// The network of one host of an instance.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) interface: String,
    pub(super) subnet: String,
    pub(super) zone: String,
}

/// A master password that RDS manages in Secrets Manager.
#[derive(Debug, Clone)]
pub(super) struct Secret {
    pub(super) arn: String,
    pub(super) kms_key: String,
    pub(super) active_at: Duration,
}

impl Secret {
    /// Source: API reference, `MasterUserSecret`.
    pub(super) fn status(&self, world: &World) -> &'static str {
        if world.now < self.active_at { "creating" } else { secrets::status(world, &self.arn) }
    }
}

/// The ends of the steps of its creation.
#[derive(Debug, Clone, Copy)]
pub(super) struct Birth {
    /// When it gets an endpoint.
    pub(super) endpoint_at: Duration,
    /// The end of `creating`.
    pub(super) creating_until: Duration,
    /// The end of the first backup.
    pub(super) available_at: Duration,
    /// When the creation fails, if it does.
    pub(super) fails_at: Option<Duration>,
}

/// A deletion in progress.
#[derive(Debug, Clone)]
pub(super) struct Deletion {
    pub(super) until: Duration,
    pub(super) keeps_backups: bool,
}

impl Instance {
    pub(super) fn status(&self, now: Duration) -> &'static str {
        if self.deletion.is_some() {
            return "deleting";
        }
        if self.birth.fails_at.is_some_and(|at| now >= at) {
            return "failed";
        }
        if now < self.birth.creating_until {
            return "creating";
        }
        if now < self.birth.available_at {
            return "backing-up";
        }
        if let Some((status, _)) = self.phases.iter().find(|(_, until)| now < *until) {
            return status;
        }
        match &self.condition {
            Some(condition) => condition.status(),
            None if self.is_backing_up(now) => "backing-up",
            None => "available",
        }
    }

    /// Whether RDS makes the backup of this night. A single-zone instance shows it; a standby makes it unseen. Source:
    /// "Introduction to backups" in the RDS user guide.
    fn is_backing_up(&self, now: Duration) -> bool {
        let since = windows::since_backup(&self.backup_window, now).filter(|since| *since < BACKUP);
        let began = since.and_then(|since| now.checked_sub(since));
        self.settings.backup_days > 0
            && !self.settings.multi_az
            && began.is_some_and(|began| began >= self.birth.available_at)
    }

    /// Whether nothing is in progress and nothing is wrong: an incident can begin.
    pub(super) fn is_idle(&self, now: Duration) -> bool {
        self.status(now) == "available" && self.work.is_none()
    }

    /// Passes through states that interrupt it. Storage optimization continues in the meantime.
    pub(super) fn interrupt(&mut self, phases: Vec<(&'static str, Duration)>, now: Duration) {
        let end = phases.last().map_or(now, |(_, until)| *until);
        let optimised_until = self.phases.last().map(|(_, until)| *until).filter(|until| *until > end);
        self.phases = phases;
        self.phases.extend(optimised_until.map(|until| ("storage-optimization", until)));
    }

    /// Whether it can be modified: storage optimisation counts as available.
    pub(super) fn is_available(&self, now: Duration) -> bool {
        ["available", "storage-optimization"].contains(&self.status(now))
    }

    /// Whether it ever became available.
    pub(super) fn has_served(&self, now: Duration) -> bool {
        self.birth.fails_at.is_none() && now >= self.birth.available_at
    }

    pub(super) fn stands_in(&self, subnet: &str) -> bool {
        self.nodes.iter().any(|node| node.subnet == subnet)
    }

    /// The accepted changes that have not taken effect.
    pub(super) fn pending(&self) -> impl Iterator<Item = &Change> {
        self.waiting.iter().chain(&self.work).flat_map(|(_, changes)| changes)
    }

    /// Whether it uses a parameter group, now or after a pending change.
    pub(super) fn uses(&self, parameter_group: &str) -> bool {
        self.settings.parameter_group == parameter_group
            || self
                .pending()
                .any(|change| matches!(change, Change::ParameterGroup(name) if name == parameter_group))
    }
}

/// The instance in a request.
pub(super) fn find<'w>(world: &'w World, id: &str) -> Result<&'w Instance, Refusal> {
    let instance = world.states.rds.instances.get(&id.to_ascii_lowercase());
    instance.filter(|instance| visible(world, instance.made_at)).ok_or_else(|| not_found(id))
}

fn not_found(id: &str) -> Refusal {
    Refusal::new("DBInstanceNotFound", format!("DBInstance {id} not found.")).status(404)
}

pub(super) fn wrong_state(message: impl Into<String>) -> Refusal {
    Refusal::new("InvalidDBInstanceState", message)
}
