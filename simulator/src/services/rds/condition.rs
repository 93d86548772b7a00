//! Stopping, starting and rebooting an instance, and the states in which it stays until somebody acts.

use std::time::Duration;

use stackdrop_figures::changes::{DATABASE_REBOOT, DATABASE_START};

use super::instance::{self, Instance, wrong_state};
use super::{contradiction, document, events};
use crate::params::{Params, Refusal};
use crate::protocol::Reply;
use crate::world::World;

/// How long an instance takes to stop. Source: a size that users report.
const STOP_SECONDS: u32 = 180;
/// Source: API reference, `StopDBInstance`: "The instance restarts automatically after 7 days."
const STOPPED_AT_MOST: Duration = Duration::from_hours(168);

/// The parameter that an incident sets to a value for which the class has too little memory.
pub(super) const INCOMPATIBLE: (&str, &str) = ("max_connections", "262143");

/// What keeps an instance from being available. Source: "Viewing Amazon RDS DB instance status" in the RDS user guide.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Condition {
    /// Stopped; RDS starts it again at this time.
    Stopped(Duration),
    /// No storage is left: only a larger storage helps.
    StorageFull,
    /// A parameter prevents its start: the parameter must be reset, and the instance rebooted.
    IncompatibleParameters,
}

impl Condition {
    pub(super) fn status(&self) -> &'static str {
        match self {
            Self::Stopped(_) => "stopped",
            Self::StorageFull => "storage-full",
            Self::IncompatibleParameters => "incompatible-parameters",
        }
    }
}

pub(super) fn stop(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let id = params.required("DBInstanceIdentifier")?.to_ascii_lowercase();
    params.done()?;
    if !instance::find(world, &id)?.is_idle(world.now) {
        return Err(wrong_state(format!("Instance {id} is not in available state.")));
    }
    begin_stop(world, &id);
    document::reply(world, &id)
}

/// Stops an instance.
pub(super) fn begin_stop(world: &mut World, id: &str) {
    let until = world.now + world.latency.seconds(1.0) * STOP_SECONDS;
    let Some(instance) = world.states.rds.instances.get_mut(id) else { return };
    instance.phases = vec![("stopping", until)];
    instance.condition = Some(Condition::Stopped(until + STOPPED_AT_MOST));
    events::add(world, id, until, "notification", "DB instance stopped");
}

pub(super) fn start(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let id = params.required("DBInstanceIdentifier")?.to_ascii_lowercase();
    params.done()?;
    if instance::find(world, &id)?.status(world.now) != "stopped" {
        return Err(wrong_state(format!("Instance {id} is not in stopped state.")));
    }
    begin_start(world, &id, world.now);
    document::reply(world, &id)
}

fn begin_start(world: &mut World, id: &str, at: Duration) {
    let until = at + world.latency.seconds(1.0) * DATABASE_START;
    let Some(instance) = world.states.rds.instances.get_mut(id) else { return };
    instance.phases = vec![("starting", until)];
    instance.condition = None;
    instance.awaits_reboot = false;
    events::add(world, id, until, "notification", "DB instance started");
}

/// Starts an instance that has been stopped for seven days.
pub(super) fn advance(world: &mut World, id: &str) {
    let Some(instance) = world.states.rds.instances.get(id) else { return };
    let Some(Condition::Stopped(until)) = instance.condition else { return };
    if instance.deletion.is_none() && until <= world.now {
        let message =
            "DB instance is being started due to it exceeding the maximum allowed time being stopped.";
        events::add(world, id, until, "notification", message);
        begin_start(world, id, until);
    }
}

pub(super) fn reboot(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let id = params.required("DBInstanceIdentifier")?.to_ascii_lowercase();
    let failover = params.flag("ForceFailover")?.unwrap_or(false);
    params.done()?;
    let instance = instance::find(world, &id)?;
    let restartable = instance.is_available(world.now)
        || instance.status(world.now) == Condition::IncompatibleParameters.status();
    if !restartable || instance.work.is_some() {
        return Err(wrong_state(format!("Database instance {id} is not in available state.")));
    }
    if failover && !instance.settings.multi_az {
        return Err(contradiction("Failover is only supported on Multi-AZ DB Instances"));
    }
    begin_reboot(world, &id, failover);
    document::reply(world, &id)
}

/// Restarts an instance, so that all parameters take effect.
pub(super) fn begin_reboot(world: &mut World, id: &str, failover: bool) {
    let now = world.now;
    let until = now + world.latency.seconds(1.0) * DATABASE_REBOOT;
    let starts = !has_incompatible_parameter(world, id);
    let Some(instance) = world.states.rds.instances.get_mut(id) else { return };
    instance.interrupt(vec![("rebooting", until)], now);
    instance.awaits_reboot = false;
    if failover {
        instance.nodes.reverse();
    }
    if starts {
        instance.condition = None;
        events::add(world, id, until, "availability", "DB instance restarted");
    } else {
        instance.condition = Some(Condition::IncompatibleParameters);
        let message = "Database instance put into incompatible-parameters. The parameter max_connections was set to a \
                       value incompatible with the memory of the DB instance class.";
        events::add(world, id, until, "configuration change", message);
    }
}

fn has_incompatible_parameter(world: &World, id: &str) -> bool {
    let group = |instance: &Instance| {
        let group = world.states.rds.parameter_groups.get(&instance.settings.parameter_group)?;
        group.value(INCOMPATIBLE.0)
    };
    world.states.rds.instances.get(id).and_then(group) == Some(INCOMPATIBLE.1)
}
