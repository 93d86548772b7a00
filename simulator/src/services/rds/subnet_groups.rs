//! DB subnet groups.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use super::query::{Filters, Page};
use super::{invalid, linked_role, tagging, visible};

/// The refusal while RDS does not see its service-linked role. Source: crossplane-contrib/provider-aws#479.
const LINKED_ROLE_MISSING: &str = "Missing necessary credentials. Please check \
     http://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/UsingWithRDS.IAM.ServiceLinkedRoles.html";
use crate::params::{Params, Refusal};
use crate::protocol::Reply;
use crate::services::ec2;
use crate::world::{Tags, World};

/// RDS's default quotas.
const GROUPS: usize = 50;
const SUBNETS: usize = 20;

#[derive(Debug, Clone)]
pub(super) struct SubnetGroup {
    pub(super) description: String,
    pub(super) vpc: String,
    pub(super) subnets: Vec<Member>,
    pub(super) tags: Tags,
    pub(super) made_at: Duration,
}

/// A subnet of a group, with its zone.
#[derive(Debug, Clone)]
pub(super) struct Member {
    pub(super) id: String,
    pub(super) zone: String,
}

/// The group of a new instance.
pub(super) fn find<'w>(world: &'w World, name: &str) -> Result<&'w SubnetGroup, Refusal> {
    let group = world.states.rds.subnet_groups.get(&name.to_ascii_lowercase());
    group.filter(|group| visible(world, group.made_at)).ok_or_else(|| not_found(name))
}

fn not_found(name: &str) -> Refusal {
    Refusal::new("DBSubnetGroupNotFoundFault", format!("DB subnet group '{name}' does not exist."))
        .status(404)
}

pub(super) fn create(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let name = checked_name(&params.required("DBSubnetGroupName")?)?;
    let description = params.required("DBSubnetGroupDescription")?;
    let ids = params.list("SubnetIds");
    let tags = tagging::read(params)?;
    params.done()?;
    if world.states.rds.subnet_groups.contains_key(&name) {
        return Err(Refusal::new(
            "DBSubnetGroupAlreadyExists",
            format!("The DB subnet group '{name}' already exists."),
        ));
    }
    if world.states.rds.subnet_groups.len() >= GROUPS {
        return Err(Refusal::new(
            "DBSubnetGroupQuotaExceeded",
            format!("Cannot create more than {GROUPS} DB subnet groups"),
        ));
    }
    let (vpc, subnets) = members(world, &ids)?;
    linked_role::check(world, LINKED_ROLE_MISSING)?;
    let group = SubnetGroup { description, vpc, subnets, tags, made_at: world.now };
    let document = document(world, &name, &group, true);
    world.states.rds.subnet_groups.insert(name, group);
    Ok(json!({ "DBSubnetGroup": document }).into())
}

/// Source: API reference, `DBSubnetGroupName`.
fn checked_name(name: &str) -> Result<String, Refusal> {
    let legal = name.len() <= 255
        && name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_. ".contains(&byte));
    if legal && !name.eq_ignore_ascii_case("default") {
        Ok(name.to_ascii_lowercase())
    } else {
        Err(invalid(format!(
            "The parameter DBSubnetGroupName must be provided and must not be blank or 'default', and only \
             alphanumeric characters, spaces, hyphens, underscores and periods are allowed: {name}"
        )))
    }
}

/// The VPC and the members of subnet IDs.
fn members(world: &World, ids: &[String]) -> Result<(String, Vec<Member>), Refusal> {
    if ids.len() > SUBNETS {
        return Err(Refusal::new(
            "DBSubnetQuotaExceededFault",
            format!("Cannot have more than {SUBNETS} subnets in a DB subnet group"),
        ));
    }
    let mut vpcs = BTreeSet::new();
    let mut members = Vec::new();
    for id in ids {
        let subnet = ec2::subnet(world, id).ok_or_else(|| {
            Refusal::new("InvalidSubnet", format!("Some input subnets in :[{id}] are invalid."))
        })?;
        vpcs.insert(subnet.vpc);
        if members.iter().all(|member: &Member| member.id != *id) {
            members.push(Member { id: id.clone(), zone: subnet.zone });
        }
    }
    let zones: BTreeSet<&str> = members.iter().map(|member| member.zone.as_str()).collect();
    if zones.len() < 2 {
        let covered = zones.into_iter().collect::<Vec<_>>().join(", ");
        return Err(Refusal::new(
            "DBSubnetGroupDoesNotCoverEnoughAZs",
            format!(
                "The DB subnet group doesn't meet Availability Zone (AZ) coverage requirement. Current AZ coverage: \
                 {covered}. Add subnets to cover at least 2 AZs."
            ),
        ));
    }
    match vpcs.pop_first().filter(|_| vpcs.is_empty()) {
        Some(vpc) => Ok((vpc, members)),
        None => {
            Err(Refusal::new("InvalidSubnet", "The subnets of a DB subnet group must be in the same VPC"))
        }
    }
}

pub(super) fn describe(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let name = params.text("DBSubnetGroupName");
    Filters::read(params, &[])?; // "This parameter isn't currently supported."
    let page = Page::read(params)?;
    params.done()?;
    if let Some(name) = &name {
        find(world, name)?;
    }
    let groups = world.states.rds.subnet_groups.iter().filter(|(id, group)| {
        visible(world, group.made_at) && name.as_ref().is_none_or(|name| name.eq_ignore_ascii_case(id))
    });
    let (groups, marker) = page.cut(groups.map(|(id, group)| document(world, id, group, true)).collect());
    Ok(json!({ "DBSubnetGroups/DBSubnetGroup": groups, "Marker": marker }).into())
}

/// A group as RDS shows it. An instance's description omits the ARN.
pub(super) fn document(world: &World, name: &str, group: &SubnetGroup, with_arn: bool) -> Value {
    let subnets: Vec<Value> = group
        .subnets
        .iter()
        .map(|subnet| {
            json!({
                "SubnetIdentifier": subnet.id,
                "SubnetAvailabilityZone": { "Name": subnet.zone },
                "SubnetOutpost": {},
                "SubnetStatus": "Active",
            })
        })
        .collect();
    let arn = with_arn.then(|| world.arn("rds", &format!("subgrp:{name}")));
    json!({
        "DBSubnetGroupName": name,
        "DBSubnetGroupDescription": group.description,
        "VpcId": group.vpc,
        "SubnetGroupStatus": "Complete",
        "Subnets/Subnet": subnets,
        "DBSubnetGroupArn": arn,
        "SupportedNetworkTypes": ["IPV4"],
    })
}

pub(super) fn modify(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let name = params.required("DBSubnetGroupName")?.to_ascii_lowercase();
    let description = params.text("DBSubnetGroupDescription");
    let ids = params.list("SubnetIds");
    params.done()?;
    let group = find(world, &name)?;
    let (vpc, subnets) = members(world, &ids)?;
    if vpc != group.vpc {
        return Err(Refusal::new(
            "InvalidSubnet",
            format!("The new Subnets are not in the same Vpc as the existing subnet group: {}", group.vpc),
        ));
    }
    let removed = group.subnets.iter().filter(|old| subnets.iter().all(|new| new.id != old.id));
    let used: Vec<&str> = removed
        .map(|member| member.id.as_str())
        .filter(|id| world.states.rds.instances.values().any(|instance| instance.stands_in(id)))
        .collect();
    if !used.is_empty() {
        return Err(Refusal::new(
            "SubnetAlreadyInUse",
            format!("Some of the subnets to be deleted are currently in use: {}", used.join(", ")),
        ));
    }
    let group = world.states.rds.subnet_groups.get_mut(&name).ok_or_else(|| not_found(&name))?;
    group.subnets = subnets;
    if let Some(description) = description {
        group.description = description;
    }
    let group = find(world, &name)?;
    Ok(json!({ "DBSubnetGroup": document(world, &name, group, true) }).into())
}

pub(super) fn delete(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let name = params.required("DBSubnetGroupName")?.to_ascii_lowercase();
    params.done()?;
    find(world, &name)?;
    let user = world.states.rds.instances.iter().find(|(_, instance)| instance.subnet_group == name);
    if let Some((id, _)) = user {
        return Err(Refusal::new(
            "InvalidDBSubnetGroupStateFault",
            format!(
                "Cannot delete the subnet group '{name}' because at least one database instance: {id} is still \
                 using it."
            ),
        ));
    }
    world.states.rds.subnet_groups.remove(&name);
    Ok(Reply::empty())
}
