//! Tags of load balancers, target groups, listeners and rules.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{invalid, listeners, load_balancers, rules, target_groups};
use crate::params::{Params, Refusal};
use crate::protocol::Reply;
use crate::world::{self, Tags, World};

/// The most tags of a resource.
const QUOTA: usize = 50;
/// The most resources of one call.
const ARNS: usize = 20;

/// Reads the list `Tags` of a request.
pub(super) fn read(params: &Params) -> Result<Tags, Refusal> {
    let sent = params.structs("Tags");
    let keys: BTreeSet<String> = sent.iter().filter_map(|tag| tag.text("Key")).collect();
    if keys.len() < sent.len() {
        return Err(Refusal::new("DuplicateTagKeys", "Tag keys must be unique"));
    }
    let tags = world::tags(params, "Tags", "Key", "Value").map_err(|refusal| invalid(refusal.message))?;
    check_count(&tags)?;
    Ok(tags)
}

fn check_count(tags: &Tags) -> Result<(), Refusal> {
    if tags.len() > QUOTA {
        return Err(Refusal::new("TooManyTags", format!("A resource can have at most {QUOTA} tags")));
    }
    Ok(())
}

fn arns(params: &Params) -> Result<Vec<String>, Refusal> {
    let arns = params.list("ResourceArns");
    if arns.is_empty() || arns.len() > ARNS {
        return Err(invalid(format!("1 to {ARNS} resource ARNs must be specified")));
    }
    Ok(arns)
}

/// The tags of the resource with an ARN.
fn of<'a>(world: &'a World, arn: &str) -> Result<&'a Tags, Refusal> {
    if arn.contains(":loadbalancer/") {
        load_balancers::find(world, arn).map(|found| &found.tags)
    } else if arn.contains(":targetgroup/") {
        target_groups::find(world, arn).map(|found| &found.tags)
    } else if arn.contains(":listener/") {
        listeners::find(world, arn).map(|found| &found.tags)
    } else if arn.contains(":listener-rule/") {
        rules::find(world, arn).map(|found| &found.tags)
    } else {
        Err(invalid(format!("'{arn}' is not a valid ARN of a resource that can have tags")))
    }
}

/// The tags of the resource with an ARN, if it exists, known to calls or not: it has its tags from its creation.
pub(super) fn existing<'a>(world: &'a World, arn: &str) -> Option<&'a Tags> {
    let state = &world.states.elb;
    let places = [
        state.load_balancers.get(arn).map(|found| &found.tags),
        state.target_groups.get(arn).map(|found| &found.tags),
        state.listeners.get(arn).map(|found| &found.tags),
        state.rules.get(arn).map(|found| &found.tags),
    ];
    places.into_iter().flatten().next()
}

fn change(world: &mut World, arn: &str, work: impl Fn(&mut Tags)) {
    let state = &mut world.states.elb;
    let places = [
        state.load_balancers.get_mut(arn).map(|found| &mut found.tags),
        state.target_groups.get_mut(arn).map(|found| &mut found.tags),
        state.listeners.get_mut(arn).map(|found| &mut found.tags),
        state.rules.get_mut(arn).map(|found| &mut found.tags),
    ];
    places.into_iter().flatten().for_each(work);
}

pub(super) fn describe(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let arns = arns(params)?;
    params.done()?;
    let mut descriptions = Vec::new();
    for arn in &arns {
        let tags: Value =
            of(world, arn)?.iter().map(|(key, value)| json!({ "Key": key, "Value": value })).collect();
        descriptions.push(json!({ "ResourceArn": arn, "Tags": tags }));
    }
    Ok(json!({ "TagDescriptions": descriptions }).into())
}

pub(super) fn add(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let arns = arns(params)?;
    let new = read(params)?;
    params.done()?;
    if new.is_empty() {
        return Err(invalid("At least one tag must be specified"));
    }
    for arn in &arns {
        let mut tags = of(world, arn)?.clone();
        tags.extend(new.clone());
        check_count(&tags)?;
    }
    for arn in &arns {
        change(world, arn, |tags| tags.extend(new.clone()));
    }
    Ok(Reply::empty())
}

pub(super) fn remove(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let arns = arns(params)?;
    let keys = params.list("TagKeys");
    params.done()?;
    if keys.is_empty() {
        return Err(invalid("At least one tag key must be specified"));
    }
    for arn in &arns {
        of(world, arn)?;
    }
    for arn in &arns {
        change(world, arn, |tags| tags.retain(|key, _| !keys.contains(key)));
    }
    Ok(Reply::empty())
}
