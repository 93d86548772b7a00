//! Security groups.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::query::{Filter, one};
use super::resource::{Entity, Kind, Resource, every, find, invalid, known, stored_in, tag_set};
use super::rule::{self, Peer, Rule};
use super::{interface, tagging, vpc};
use crate::params::{Params, Refusal};
use crate::protocol::Reply;
use crate::world::{Tags, World};

/// AWS's default quota of security groups in a region.
const MOST_GROUPS: usize = 2500;

#[derive(Debug, Clone)]
pub(crate) struct Group {
    pub(super) entity: Entity,
    pub(super) name: String,
    description: String,
    pub(super) vpc: String,
}

impl Group {
    /// One value of each of the group's ingress or egress rules.
    fn of_rules(&self, world: &World, egress: bool, value: fn(&Rule) -> Option<String>) -> Vec<String> {
        rules_of(world, self.id(), egress).filter_map(value).collect()
    }

    /// Whether it is a VPC's default group; the name is reserved for it.
    pub(super) fn is_default(&self) -> bool {
        self.name == "default"
    }
}

impl Resource for Group {
    const KIND: Kind = Kind {
        prefix: "sg",
        tag_type: "security-group",
        not_found: ("InvalidGroup.NotFound", "The security group '{id}' does not exist"),
        malformed: "InvalidGroupId.Malformed",
    };
    const IDS: &'static str = "GroupId";
    const SET: &'static str = "securityGroupInfo";
    const FILTERS: &'static [Filter<Self>] = &[
        ("group-id", |group, _| one(group.id())),
        ("group-name", |group, _| one(&group.name)),
        ("vpc-id", |group, _| one(&group.vpc)),
        ("description", |group, _| one(&group.description)),
        ("owner-id", |_, world| one(&world.account)),
        ("ip-permission.cidr", |group, world| group.of_rules(world, false, Rule::cidr)),
        ("ip-permission.from-port", |group, world| group.of_rules(world, false, Rule::first_port)),
        ("ip-permission.group-id", |group, world| group.of_rules(world, false, Rule::group_id)),
        ("ip-permission.protocol", |group, world| {
            group.of_rules(world, false, |rule| Some(rule.protocol.clone()))
        }),
        ("ip-permission.to-port", |group, world| group.of_rules(world, false, Rule::last_port)),
        ("egress.ip-permission.cidr", |group, world| group.of_rules(world, true, Rule::cidr)),
        ("egress.ip-permission.from-port", |group, world| group.of_rules(world, true, Rule::first_port)),
        ("egress.ip-permission.group-id", |group, world| group.of_rules(world, true, Rule::group_id)),
        ("egress.ip-permission.protocol", |group, world| {
            group.of_rules(world, true, |rule| Some(rule.protocol.clone()))
        }),
        ("egress.ip-permission.to-port", |group, world| group.of_rules(world, true, Rule::last_port)),
    ];

    stored_in!(groups);

    fn document(&self, world: &World) -> Value {
        json!({
            "groupId": self.entity.id,
            "groupName": self.name,
            "groupDescription": self.description,
            "vpcId": self.vpc,
            "ownerId": world.account,
            "securityGroupArn": world.arn("ec2", &format!("security-group/{}", self.entity.id)),
            "ipPermissions": permissions(world, &self.entity.id, false),
            "ipPermissionsEgress": permissions(world, &self.entity.id, true),
            "tagSet": tag_set(&self.entity.tags),
        })
    }
}

/// Adds the group of GuardDuty's endpoint in a VPC.
pub(super) fn add_guard_duty(world: &mut World, vpc: &str) -> String {
    let id = world.id(Group::KIND.prefix);
    let group = Group {
        entity: Entity::new(id.clone(), Tags::from([("GuardDutyManaged".into(), "true".into())]), world.now),
        name: format!("GuardDutyManagedSecurityGroup-{vpc}"),
        description: "Associated with the VPC endpoint of GuardDuty".into(),
        vpc: vpc.to_owned(),
    };
    // Calls do not see it for a moment, but GuardDuty has waited.
    let group = Group { entity: Entity { created: std::time::Duration::ZERO, ..group.entity }, ..group };
    world.states.ec2.groups.insert(id.clone(), group);
    id
}

/// The known rules of a group.
fn rules_of<'w>(world: &'w World, group: &str, egress: bool) -> impl Iterator<Item = &'w Rule> {
    let group = group.to_owned();
    every::<Rule>(world)
        .filter(move |rule| rule.group == group && rule.egress == egress && known(world, *rule))
}

/// A group's rules as AWS shows them here: rules with the same protocol and ports are one permission.
fn permissions(world: &World, group: &str, egress: bool) -> Value {
    let mut merged = BTreeMap::<_, Vec<&Rule>>::new();
    for rule in rules_of(world, group, egress) {
        merged.entry((rule.protocol.clone(), rule.from, rule.to)).or_default().push(rule);
    }
    merged
        .into_iter()
        .map(|((protocol, from, to), rules)| {
            let peers = |show: &dyn Fn(&Rule) -> Option<Value>| -> Vec<Value> {
                rules.iter().filter_map(|rule| show(rule)).collect()
            };
            json!({
                "ipProtocol": protocol,
                "fromPort": from,
                "toPort": to,
                "ipRanges": peers(&|rule| match &rule.peer {
                    Peer::Cidr(cidr) => Some(json!({ "cidrIp": cidr.to_string(), "description": rule.description })),
                    _ => None,
                }),
                "ipv6Ranges": peers(&|rule| match &rule.peer {
                    Peer::Cidr6(cidr) => Some(json!({ "cidrIpv6": cidr.to_string(), "description": rule.description })),
                    _ => None,
                }),
                "groups": peers(&|rule| match &rule.peer {
                    Peer::Group(id) => Some(json!({
                        "groupId": id, "userId": world.account, "description": rule.description,
                    })),
                    _ => None,
                }),
                "prefixListIds": peers(&|rule| match &rule.peer {
                    Peer::PrefixList(id) => Some(json!({ "prefixListId": id, "description": rule.description })),
                    _ => None,
                }),
            })
        })
        .collect()
}

/// The ID and name of each group.
pub(super) fn identifiers(world: &World, groups: &[String]) -> Value {
    groups
        .iter()
        .map(|id| json!({ "groupId": id, "groupName": world.states.ec2.groups.get(id).map(|group| &group.name) }))
        .collect()
}

/// The default group of a VPC, which AWS uses if a request names none.
pub(super) fn default_of(world: &World, vpc: &str) -> Vec<String> {
    every::<Group>(world)
        .filter(|group| group.vpc == vpc && group.is_default())
        .map(|group| group.entity.id.clone())
        .collect()
}

/// Creates the default group of a VPC: all ingress from itself, all egress.
pub(super) fn make_default(world: &mut World, vpc: &str) {
    let id = make(world, vpc, "default", "default VPC security group", Tags::new());
    let itself = Peer::Group(id.clone());
    rule::make_all_traffic(world, &id, false, itself);
}

/// Creates a group with AWS's initial rule: all egress.
fn make(world: &mut World, vpc: &str, name: &str, description: &str, tags: Tags) -> String {
    let id = world.id(Group::KIND.prefix);
    let group = Group {
        entity: Entity::new(id.clone(), tags, world.now),
        name: name.into(),
        description: description.into(),
        vpc: vpc.into(),
    };
    world.states.ec2.groups.insert(id.clone(), group);
    rule::make_all_traffic(world, &id, true, Peer::Cidr(ipnet::Ipv4Net::default()));
    id
}

/// Whether AWS accepts a text as a group's name or description.
pub(super) fn is_plain(text: &str) -> bool {
    text.len() <= 255
        && text.chars().all(|c| c.is_ascii_alphanumeric() || " ._-:/()#,@[]+=&;{}!$*".contains(c))
}

pub(super) fn create(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let name = params.required("GroupName")?;
    let description = params.required("GroupDescription")?;
    let vpc = params.text("VpcId");
    let tags = tagging::for_new(params, Group::KIND)?;
    params.done()?;
    // The simulated account has no default VPC.
    let vpc = vpc.ok_or_else(|| Refusal::new("VPCIdNotSpecified", "No default VPC for this user"))?;
    vpc::usable(world, &vpc)?;
    let allowed = "Valid are up to 255 of the characters a-z, A-Z, 0-9, spaces and ._-:/()#,@[]+=&;{}!$*";
    if !is_plain(&name) {
        return Err(invalid(&name, "GroupName", allowed));
    }
    if !is_plain(&description) {
        return Err(invalid(&description, "GroupDescription", allowed));
    }
    if name.starts_with("sg-") {
        return Err(invalid(&name, "GroupName", "Group names may not be in the format sg-*"));
    }
    if name.eq_ignore_ascii_case("default") {
        return Err(Refusal::new(
            "InvalidParameterValue",
            format!("Cannot use reserved security group name: {name}"),
        ));
    }
    // AWS: names that differ only in case or surrounding spaces are equal.
    let same = |other: &str| other.trim().eq_ignore_ascii_case(name.trim());
    if every::<Group>(world).any(|group| group.vpc == vpc && same(&group.name)) {
        return Err(Refusal::new(
            "InvalidGroup.Duplicate",
            format!("The security group '{name}' already exists for VPC '{vpc}'"),
        ));
    }
    if every::<Group>(world).count() >= MOST_GROUPS {
        return Err(Refusal::new(
            "SecurityGroupLimitExceeded",
            "The maximum number of security groups has been reached.",
        ));
    }
    let id = make(world, &vpc, &name, &description, tags.clone());
    Ok(json!({
        "return": true,
        "groupId": id,
        "securityGroupArn": world.arn("ec2", &format!("security-group/{id}")),
        "tagSet": tag_set(&tags),
    })
    .into())
}

pub(super) fn delete(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let id = params.required("GroupId")?;
    params.done()?;
    let group = find::<Group>(world, &id)?;
    if group.is_default() {
        return Err(Refusal::new(
            "CannotDelete",
            format!("the specified group: \"{id}\" name: \"default\" cannot be deleted by a user"),
        ));
    }
    let named_by_another =
        every::<Rule>(world).any(|rule| rule.group != id && rule.peer_group() == Some(&id));
    if named_by_another || interface::any_with_group(world, &id) {
        return Err(Refusal::new("DependencyViolation", format!("resource {id} has a dependent object")));
    }
    world.states.ec2.rules.retain(|_, rule| rule.group != id);
    world.states.ec2.groups.remove(&id);
    Ok(json!({ "return": true, "groupId": id }).into())
}
