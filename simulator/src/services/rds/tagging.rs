//! Tags of everything in RDS, by ARN.

use serde_json::{Value, json};

use super::{invalid, visible};
use crate::params::{Params, Refusal};
use crate::protocol::Reply;
use crate::world::{self, Tags, World};

/// The most tags of a resource.
const TAGS: usize = 50;

/// Reads a request's tags.
pub(super) fn read(params: &Params) -> Result<Tags, Refusal> {
    let tags = world::tags(params, "Tags", "Key", "Value")?;
    check_count(&tags)?;
    Ok(tags)
}

fn check_count(tags: &Tags) -> Result<(), Refusal> {
    if tags.len() > TAGS {
        return Err(invalid(format!("A resource can have at most {TAGS} tags")));
    }
    Ok(())
}

/// Tags as RDS shows them in `TagList/Tag`.
pub(super) fn document(tags: &Tags) -> Vec<Value> {
    tags.iter().map(|(key, value)| json!({ "Key": key, "Value": value })).collect()
}

pub(super) fn add(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let arn = params.required("ResourceName")?;
    let added = read(params)?;
    params.done()?;
    refuse_deleting(world, &arn)?;
    let tags = of(world, &arn)?;
    let mut all = tags.clone();
    all.extend(added);
    check_count(&all)?;
    *tags = all;
    Ok(Reply::empty())
}

pub(super) fn remove(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let arn = params.required("ResourceName")?;
    let keys = params.list("TagKeys");
    params.done()?;
    refuse_deleting(world, &arn)?;
    of(world, &arn)?.retain(|key, _| !keys.contains(key));
    Ok(Reply::empty())
}

pub(super) fn list(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let arn = params.required("ResourceName")?;
    params.done()?;
    Ok(json!({ "TagList/Tag": document(of(world, &arn)?) }).into())
}

/// The type and the name in an ARN of this account: `arn:aws:rds:REGION:ACCOUNT:TYPE:NAME`.
fn parts<'a>(world: &World, arn: &'a str) -> Result<(&'a str, &'a str), Refusal> {
    arn.strip_prefix(&world.arn("rds", ""))
        .and_then(|rest| rest.split_once(':'))
        .ok_or_else(|| invalid(format!("Invalid resource name: {arn}")))
}

fn refuse_deleting(world: &World, arn: &str) -> Result<(), Refusal> {
    let (kind, name) = parts(world, arn)?;
    match world.states.rds.instances.get(name) {
        Some(instance) if kind == "db" && instance.deletion.is_some() => Err(Refusal::new(
            "InvalidDBInstanceState",
            format!("Database instance is not in available state: {name} is deleting."),
        )),
        _ => Ok(()),
    }
}

/// The tags of the resource with that ARN.
fn of<'w>(world: &'w mut World, arn: &str) -> Result<&'w mut Tags, Refusal> {
    let (kind, name) = parts(world, arn)?;
    let made_at = match kind {
        "db" => world.states.rds.instances.get(name).map(|it| it.made_at),
        "subgrp" => world.states.rds.subnet_groups.get(name).map(|it| it.made_at),
        "pg" => world.states.rds.parameter_groups.get(name).map(|it| it.made_at),
        "snapshot" => world.states.rds.snapshots.get(name).map(|it| it.made_at),
        _ => return Err(invalid(format!("Invalid resource name: {arn}"))),
    };
    let seen = made_at.is_some_and(|made_at| visible(world, made_at));
    let rds = &mut world.states.rds;
    let (code, found) = match kind {
        "db" => ("DBInstanceNotFound", rds.instances.get_mut(name).map(|it| &mut it.tags)),
        "subgrp" => ("DBSubnetGroupNotFoundFault", rds.subnet_groups.get_mut(name).map(|it| &mut it.tags)),
        "pg" => ("DBParameterGroupNotFound", rds.parameter_groups.get_mut(name).map(|it| &mut it.tags)),
        _ => ("DBSnapshotNotFound", rds.snapshots.get_mut(name).map(|it| &mut it.tags)),
    };
    found.filter(|_| seen).ok_or_else(|| Refusal::new(code, format!("{name} not found.")).status(404))
}
