//! What AWS and people do to a stack's database.

use std::time::Duration;

use super::change::{self, Change};
use super::condition::{self, Condition, INCOMPATIBLE};
use super::instance::Instance;
use super::parameter_groups::default_name;
use super::{catalogue, delete, events, windows};
use crate::incident::Incident;
use crate::services::secrets;
use crate::world::{Tags, World};

/// How long RDS patches an operating system.
const MAINTENANCE_SECONDS: u32 = 600;

const fn incident(
    name: &'static str,
    what: &'static str,
    cause: fn(&mut World, &str) -> Vec<String>,
) -> Incident {
    Incident { name, what, cause }
}

/// What a deployment repairs or leaves alone. Each applies to an instance that is available and that RDS is not changing.
pub(super) const ALL: &[Incident] = &[
    incident("database-stopped", "Somebody stops the database", |world, stack| {
        on_each(world, stack, |world, id| {
            condition::begin_stop(world, id);
            true
        })
    }),
    incident("database-rebooted", "Somebody reboots the database", |world, stack| {
        on_each(world, stack, |world, id| {
            condition::begin_reboot(world, id, false);
            true
        })
    }),
    incident("database-deleted", "Somebody deletes the database", |world, stack| {
        on_each(world, stack, |world, id| {
            let unprotected = world.states.rds.instances.get(id).is_some_and(|it| !it.protected);
            if unprotected {
                delete::begin(world, id, None, false);
            }
            unprotected
        })
    }),
    incident("database-storage-full", "The database fills its storage", |world, stack| {
        on_each(world, stack, |world, id| {
            let message = "Allocated storage has been exhausted. Allocate additional storage to resolve.";
            events::add(world, id, world.now, "low storage", message);
            set(world, id, |instance, _| instance.condition = Some(Condition::StorageFull))
        })
    }),
    incident(
        "database-parameter-set",
        "Somebody sets a parameter that waits for a reboot",
        |world, stack| {
            on_each(world, stack, |world, id| {
                set_parameter(world, id, "max_connections", "200")
                    && set(world, id, |instance, _| instance.awaits_reboot = true)
            })
        },
    ),
    incident(
        "database-parameters-reset",
        "Somebody resets the database's parameter group",
        |world, stack| {
            on_each(world, stack, |world, id| {
                parameter_group(world, id, super::parameter_groups::ParameterGroup::clear)
            })
        },
    ),
    incident(
        "database-parameter-group-replaced",
        "Somebody gives the database RDS's default parameter group, and reboots it",
        |world, stack| {
            on_each(world, stack, |world, id| {
                let replaced = set(world, id, |instance, _| {
                    instance.settings.parameter_group =
                        default_name(catalogue::major(instance.settings.version));
                });
                condition::begin_reboot(world, id, false);
                replaced
            })
        },
    ),
    incident("database-in-maintenance", "RDS patches the database's operating system", |world, stack| {
        on_each(world, stack, maintain)
    }),
    incident(
        "database-minor-upgraded",
        "RDS upgrades the database to a newer minor version",
        |world, stack| {
            on_each(world, stack, |world, id| {
                let newer = world.states.rds.instances.get(id).filter(|instance| instance.minor_upgrades);
                let newer = newer.and_then(|instance| catalogue::newer_minor(instance.settings.version));
                newer.is_some_and(|version| begin(world, id, vec![Change::Version(version)]))
            })
        },
    ),
    incident("database-storage-grew", "RDS adds storage to the database", |world, stack| {
        on_each(world, stack, grow)
    }),
    incident(
        "database-upgrade-blocked",
        "Somebody leaves a prepared transaction in the database",
        |world, stack| {
            on_each(world, stack, |world, id| set(world, id, |instance, _| instance.blocks_upgrade = true))
        },
    ),
    incident("database-version-retired", "RDS retires the database's minor version", |world, stack| {
        on_each(world, stack, |world, id| {
            let version = world.states.rds.instances.get(id).map(|instance| instance.settings.version);
            version.is_some_and(|version| world.states.rds.retired.insert(version))
        })
    }),
    incident("database-secret-impaired", "RDS can no longer rotate the database's secret", |world, stack| {
        on_each(world, stack, |world, id| {
            let secret = world.states.rds.instances.get(id).and_then(|instance| instance.secret.clone());
            secret.is_some_and(|secret| secrets::impair(world, &secret.arn))
        })
    }),
    incident(
        "database-class-queued",
        "Somebody changes the class in the next maintenance window",
        |world, stack| {
            on_each(world, stack, |world, id| {
                queue(world, id, |_| vec![Change::Class("db.r6g.large".into())])
            })
        },
    ),
    incident(
        "database-storage-queued",
        "Somebody adds storage in the next maintenance window",
        |world, stack| {
            on_each(world, stack, |world, id| {
                queue(world, id, |instance| vec![Change::Storage(instance.settings.storage * 2)])
            })
        },
    ),
    incident(
        "database-backups-queued",
        "Somebody ends backups in the next maintenance window",
        |world, stack| on_each(world, stack, |world, id| queue(world, id, |_| vec![Change::BackupDays(0)])),
    ),
    incident(
        "database-standby-queued",
        "Somebody adds a standby in the next maintenance window",
        |world, stack| on_each(world, stack, |world, id| queue(world, id, |_| vec![Change::MultiAz(true)])),
    ),
    incident(
        "database-upgrade-queued",
        "Somebody queues an upgrade for the next maintenance window",
        |world, stack| {
            on_each(world, stack, |world, id| {
                queue(world, id, |instance| {
                    let version = catalogue::next_major(instance.settings.version);
                    version.map_or_else(Vec::new, |version| {
                        let group = default_name(catalogue::major(version));
                        vec![Change::Version(version), Change::ParameterGroup(group)]
                    })
                })
            })
        },
    ),
];

/// Those that only a person can repair.
pub(super) const SEVERE: &[Incident] = &[incident(
    "database-parameters-incompatible",
    "Somebody sets a parameter for which the class has too little memory, and reboots the database",
    |world, stack| {
        on_each(world, stack, |world, id| {
            let sets = set_parameter(world, id, INCOMPATIBLE.0, INCOMPATIBLE.1);
            if sets {
                condition::begin_reboot(world, id, false);
            }
            sets
        })
    },
)];

/// Applies to each available instance of the stack that RDS is not changing; returns the IDs of those that it changed.
fn on_each(world: &mut World, stack: &str, cause: impl Fn(&mut World, &str) -> bool) -> Vec<String> {
    let owned = |tags: &Tags| tags.get("stackdrop:stack").is_some_and(|owner| owner == stack);
    let now = world.now;
    let instances = world.states.rds.instances.iter();
    let idle = instances.filter(|(_, instance)| owned(&instance.tags) && instance.is_idle(now));
    let ids: Vec<String> = idle.map(|(id, _)| id.clone()).collect();
    ids.into_iter().filter(|id| cause(world, id)).collect()
}

fn set(world: &mut World, id: &str, change: impl FnOnce(&mut Instance, Duration)) -> bool {
    let now = world.now;
    world.states.rds.instances.get_mut(id).map(|instance| change(instance, now)).is_some()
}

/// Changes the parameter group of an instance, unless it is RDS's default one.
fn parameter_group(
    world: &mut World,
    id: &str,
    change: impl FnOnce(&mut super::parameter_groups::ParameterGroup),
) -> bool {
    let Some(instance) = world.states.rds.instances.get(id) else { return false };
    let name = instance.settings.parameter_group.clone();
    world.states.rds.parameter_groups.get_mut(&name).map(change).is_some()
}

fn set_parameter(world: &mut World, id: &str, name: &str, value: &str) -> bool {
    parameter_group(world, id, |group| group.set(name, value, "pending-reboot"))
}

fn maintain(world: &mut World, id: &str) -> bool {
    let (now, until) = (world.now, world.now + world.latency.seconds(1.0) * MAINTENANCE_SECONDS);
    // Source: RDS-EVENT-0026 and RDS-EVENT-0027.
    events::add(world, id, now, "maintenance", "Applying off-line patches to DB instance");
    events::add(world, id, until, "maintenance", "Finished applying off-line patches to DB instance");
    set(world, id, |instance, now| instance.interrupt(vec![("maintenance", until)], now))
}

/// Starts changes of RDS's own.
fn begin(world: &mut World, id: &str, changes: Vec<Change>) -> bool {
    let second = world.latency.seconds(1.0);
    set(world, id, |instance, now| change::begin(instance, changes, now, second))
}

/// Storage autoscaling. Source: "Managing capacity automatically with Amazon RDS storage autoscaling": the greater of 10 GiB
/// and 10 %, up to the maximum, unless the storage was changed within the last six hours.
fn grow(world: &mut World, id: &str) -> bool {
    let now = world.now;
    let Some(instance) = world.states.rds.instances.get(id) else { return false };
    let Some(max) = instance.max_storage.filter(|_| now >= instance.storage_locked_until) else {
        return false;
    };
    let storage = instance.settings.storage;
    let larger = (storage + 10.max(storage.div_ceil(10))).min(max);
    if larger <= storage {
        return false;
    }
    events::add(
        world,
        id,
        now,
        "configuration change",
        "Applying autoscaling-initiated modification to allocated storage.",
    );
    begin(world, id, vec![Change::Storage(larger)])
}

/// Queues changes for the maintenance window.
fn queue(world: &mut World, id: &str, changes: impl FnOnce(&Instance) -> Vec<Change>) -> bool {
    let mut queued = false;
    set(world, id, |instance, now| {
        let mut changes = changes(instance);
        changes.retain(|change| !change.is_in_effect(&instance.settings));
        queued = !changes.is_empty();
        if queued {
            let window = windows::next(&instance.maintenance_window, now);
            change::merge(&mut instance.waiting.get_or_insert_with(|| (window, Vec::new())).1, changes);
        }
    });
    queued
}
