//! RDS for PostgreSQL: subnet groups, parameter groups, instances, snapshots, automated backups, events.
//!
//! Source of rules, codes and messages, unless a file names another one: the RDS API reference, the RDS user guide
//! for PostgreSQL, and public reports of tools.

mod access;
mod backups;
mod catalogue;
mod change;
mod checks;
mod condition;
mod create;
mod delete;
mod document;
mod events;
mod incidents;
mod instance;
mod linked_role;
mod modify;
mod parameter_groups;
mod parameters;
mod password;
mod query;
mod restore;
mod snapshots;
mod subnet_groups;
mod tagging;
mod windows;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use stackdrop_figures::prices::SECRET_MONTHLY;

use super::{Service, logs, unknown};
use crate::inventory::Item;
use crate::latency::Timing;
use crate::params::{Params, Refusal};
use crate::protocol::Reply;
use crate::world::World;

use backups::Retained;
use events::Event;
use instance::Instance;
use parameter_groups::ParameterGroup;
pub(crate) use password::reset_password;
use snapshots::Snapshot;
pub(crate) use snapshots::seed as seed_snapshot;
use subnet_groups::SubnetGroup;

/// For how long after its creation a resource is unknown to calls that read it by name or refer to it. RDS is
/// eventually consistent: "does not exist" right after a subnet group's creation is known from other tools.
const LAG_SECONDS: f64 = 0.5;

pub(crate) static SERVICE: Service = Service {
    advance,
    inventory,
    timings: &[
        ("CreateDBSubnetGroup", Timing::Create("db_subnet_group")),
        ("DeleteDBSubnetGroup", Timing::Delete("db_subnet_group")),
    ],
    can_fail: &["CreateDBInstance", "RestoreDBInstanceFromDBSnapshot"],
    // A rotation of the master password causes an event of Secrets Manager.
    causes_events: true,
    incidents: incidents::ALL,
    severe_incidents: incidents::SEVERE,
    ..Service::query("rds", "http://rds.amazonaws.com/doc/2014-10-31/", act, access::access)
};

/// The state of this service, by name. RDS stores names in lower case.
#[derive(Debug, Clone, Default)]
pub(crate) struct State {
    subnet_groups: BTreeMap<String, SubnetGroup>,
    parameter_groups: BTreeMap<String, ParameterGroup>,
    instances: BTreeMap<String, Instance>,
    snapshots: BTreeMap<String, Snapshot>,
    /// Automated backups that outlive their instance.
    retained: Vec<Retained>,
    /// Minor versions that RDS has retired: existing instances keep them.
    retired: BTreeSet<&'static str>,
    /// Unordered; some are scheduled.
    events: Vec<Event>,
}

fn act(world: &mut World, operation: &str, params: &Params) -> Result<Reply, Refusal> {
    match operation {
        "CreateDBSubnetGroup" => subnet_groups::create(world, params),
        "DescribeDBSubnetGroups" => subnet_groups::describe(world, params),
        "ModifyDBSubnetGroup" => subnet_groups::modify(world, params),
        "DeleteDBSubnetGroup" => subnet_groups::delete(world, params),
        "CreateDBParameterGroup" => parameter_groups::create(world, params),
        "DescribeDBParameterGroups" => parameter_groups::describe(world, params),
        "ModifyDBParameterGroup" => parameter_groups::modify(world, params),
        "ResetDBParameterGroup" => parameter_groups::reset(world, params),
        "DescribeDBParameters" => parameter_groups::describe_parameters(world, params),
        "DeleteDBParameterGroup" => parameter_groups::delete(world, params),
        "CreateDBInstance" => create::create(world, params),
        "RestoreDBInstanceFromDBSnapshot" => restore::restore(world, params),
        "DescribeDBInstances" => document::describe(world, params),
        "ModifyDBInstance" => modify::modify(world, params),
        "RebootDBInstance" => condition::reboot(world, params),
        "StopDBInstance" => condition::stop(world, params),
        "StartDBInstance" => condition::start(world, params),
        "DeleteDBInstance" => delete::delete(world, params),
        "DescribeDBInstanceAutomatedBackups" => backups::describe(world, params),
        "DescribeDBSnapshots" => snapshots::describe(world, params),
        "DeleteDBSnapshot" => snapshots::delete(world, params),
        "AddTagsToResource" => tagging::add(world, params),
        "RemoveTagsFromResource" => tagging::remove(world, params),
        "ListTagsForResource" => tagging::list(world, params),
        "DescribeOrderableDBInstanceOptions" => catalogue::describe_orderable(world, params),
        "DescribeDBEngineVersions" => catalogue::describe_versions(world, params),
        "DescribeDBMajorEngineVersions" => catalogue::describe_majors(world, params),
        "DescribeEvents" => events::describe(world, params),
        _ => Err(unknown("rds", operation)),
    }
}

/// Whether a resource that was created at a time is visible now.
fn visible(world: &World, made_at: Duration) -> bool {
    world.now >= made_at + world.latency.seconds(LAG_SECONDS)
}

/// The refusal of an invalid value.
fn invalid(message: impl Into<String>) -> Refusal {
    Refusal::new("InvalidParameterValue", message)
}

/// The refusal of contradictory values.
fn contradiction(message: impl Into<String>) -> Refusal {
    Refusal::new("InvalidParameterCombination", message)
}

/// Advances the states of all instances.
fn advance(world: &mut World) {
    let ids: Vec<String> = world.states.rds.instances.keys().cloned().collect();
    for id in ids {
        export_logs(world, &id);
        condition::advance(world, &id);
        change::advance(world, &id);
        export_logs(world, &id);
        backups::advance(world, &id);
        delete::advance(world, &id);
    }
    backups::expire(world);
}

/// RDS creates a log group for each kind of exported log once the instance runs, and never deletes it.
fn export_logs(world: &mut World, id: &str) {
    let Some(instance) = world.states.rds.instances.get(id) else { return };
    let at = instance.birth.creating_until;
    if instance.birth.fails_at.is_some() || world.now < at {
        return;
    }
    for log in instance.settings.log_exports.clone() {
        logs::ensure(world, &format!("/aws/rds/instance/{id}/{log}"), at);
    }
}

/// Lists existing resources. The price of snapshots and retained backups is that of their source's storage, which is
/// an upper limit; automated snapshots are free or belong to a retained backup. A managed secret is priced with its instance, with which it is created and deleted.
fn inventory(world: &World, items: &mut Vec<Item>) {
    let (rds, prices) = (&world.states.rds, world.prices());
    for (name, group) in &rds.subnet_groups {
        items.push(Item::new("AWS::RDS::DBSubnetGroup", name, &group.tags).named(name));
    }
    for (name, group) in &rds.parameter_groups {
        items.push(Item::new("AWS::RDS::DBParameterGroup", name, &group.tags).named(name));
    }
    for (id, instance) in &rds.instances {
        let copies = if instance.settings.multi_az { 2.0 } else { 1.0 };
        let class = prices.database_hourly(&instance.settings.class).map_or(0.0, |price| price.usd);
        let storage = prices.database_storage_monthly(&instance.settings.storage_type);
        let secret = instance.secret.as_ref().map_or(0.0, |_| SECRET_MONTHLY);
        items.push(
            Item::new("AWS::RDS::DBInstance", id, &instance.tags)
                .named(id)
                .hourly(class * copies)
                .monthly(storage * f64::from(instance.settings.storage) * copies + secret),
        );
    }
    for (id, snapshot) in rds.snapshots.iter().filter(|(_, snapshot)| !snapshot.automated) {
        items.push(
            Item::new("AWS::RDS::DBSnapshot", id, &snapshot.tags)
                .named(id)
                .monthly(prices.backup_monthly() * f64::from(snapshot.gibibytes)),
        );
    }
    for instance in rds.retained.iter().map(|retained| &retained.instance) {
        items.push(
            Item::new("AWS::RDS::DBInstanceAutomatedBackup", &instance.resource_id, &instance.tags)
                .named(&instance.resource_id)
                .monthly(prices.backup_monthly() * f64::from(instance.settings.storage)),
        );
    }
}
