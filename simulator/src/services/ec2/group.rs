//! Security groups.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::rule::{self, Peer, Rule};
use super::thing::{Kind, Thing, every, find, invalid, known, tag_set};
use super::{State, interface, tagging, vpc};
use crate::params::{Params, Refusal};
use crate::protocol::Reply;
use crate::world::{Tags, World};

/// AWS's default quota of security groups in a region.
const MOST_GROUPS: usize = 2500;

#[derive(Debug, Clone)]
pub(crate) struct Group {
    id: String,
    pub(super) name: String,
    description: String,
    pub(super) vpc: String,
    born: Duration,
    tags: Tags,
}

impl Group {
    /// Whether AWS made it with the VPC; the name is reserved for that one.
    pub(super) fn is_default(&self) -> bool {
        self.name == "default"
    }
}

impl Thing for Group {
    const KIND: Kind = Kind::Group;
    const IDS: &'static str = "GroupId";
    const SET: &'static str = "securityGroupInfo";
    const FILTERS: &'static [&'static str] = &[
        "group-id",
        "group-name",
        "vpc-id",
        "description",
        "owner-id",
        "ip-permission.cidr",
        "ip-permission.from-port",
        "ip-permission.group-id",
        "ip-permission.protocol",
        "ip-permission.to-port",
        "egress.ip-permission.cidr",
        "egress.ip-permission.from-port",
        "egress.ip-permission.group-id",
        "egress.ip-permission.protocol",
        "egress.ip-permission.to-port",
    ];

    fn all(state: &State) -> &BTreeMap<String, Self> {
        &state.groups
    }
    fn all_mut(state: &mut State) -> &mut BTreeMap<String, Self> {
        &mut state.groups
    }
    fn id(&self) -> &str {
        &self.id
    }
    fn tags(&self) -> &Tags {
        &self.tags
    }
    fn tags_mut(&mut self) -> &mut Tags {
        &mut self.tags
    }
    fn born(&self) -> Duration {
        self.born
    }

    fn values(&self, world: &World, filter: &str) -> Vec<String> {
        match filter {
            "group-id" => vec![self.id.clone()],
            "group-name" => vec![self.name.clone()],
            "vpc-id" => vec![self.vpc.clone()],
            "description" => vec![self.description.clone()],
            "owner-id" => vec![world.account.clone()],
            of_rules => {
                let egress = of_rules.starts_with("egress.");
                let field = of_rules.rsplit('.').next().unwrap_or_default();
                rules_of(world, &self.id, egress).filter_map(|rule| rule.value(field)).collect()
            }
        }
    }

    fn document(&self, world: &World) -> Value {
        json!({
            "groupId": self.id,
            "groupName": self.name,
            "groupDescription": self.description,
            "vpcId": self.vpc,
            "ownerId": world.account,
            "securityGroupArn": world.arn("ec2", &format!("security-group/{}", self.id)),
            "ipPermissions": permissions(world, &self.id, false),
            "ipPermissionsEgress": permissions(world, &self.id, true),
            "tagSet": tag_set(&self.tags),
        })
    }
}

/// A group's rules that calls see.
fn rules_of<'w>(world: &'w World, group: &str, egress: bool) -> impl Iterator<Item = &'w Rule> {
    let group = group.to_owned();
    every::<Rule>(world)
        .filter(move |rule| rule.group == group && rule.egress == egress && known(world, *rule))
}

/// A group's rules as AWS shows them here: those with the same protocol and ports are one permission.
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

/// Groups as an id with a name each.
pub(super) fn identifiers(world: &World, groups: &[String]) -> Value {
    groups
        .iter()
        .map(|id| json!({ "groupId": id, "groupName": world.ec2.groups.get(id).map(|group| &group.name) }))
        .collect()
}

/// The default group of a VPC, which AWS puts on what is given no group.
pub(super) fn default_of(world: &World, vpc: &str) -> Vec<String> {
    every::<Group>(world)
        .filter(|group| group.vpc == vpc && group.is_default())
        .map(|group| group.id.clone())
        .collect()
}

/// The default group that AWS makes with a VPC: everything in from itself, everything out.
pub(super) fn make_default(world: &mut World, vpc: &str) {
    let id = make(world, vpc, "default", "default VPC security group", Tags::new());
    let itself = Peer::Group(id.clone());
    rule::make_all_traffic(world, &id, false, itself);
}

/// A group with the rule that AWS gives it: everything may go out.
fn make(world: &mut World, vpc: &str, name: &str, description: &str, tags: Tags) -> String {
    let id = world.id("sg");
    let group = Group {
        id: id.clone(),
        name: name.into(),
        description: description.into(),
        vpc: vpc.into(),
        born: world.now,
        tags,
    };
    world.ec2.groups.insert(id.clone(), group);
    rule::make_all_traffic(world, &id, true, Peer::Cidr(ipnet::Ipv4Net::default()));
    id
}

/// Whether AWS takes a text as a group's name or description.
pub(super) fn is_plain(text: &str) -> bool {
    text.len() <= 255
        && text.chars().all(|c| c.is_ascii_alphanumeric() || " ._-:/()#,@[]+=&;{}!$*".contains(c))
}

pub(super) fn create(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let name = params.required("GroupName")?;
    let description = params.required("GroupDescription")?;
    let vpc = params.text("VpcId");
    let tags = tagging::for_new(params, Kind::Group)?;
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
    // AWS: a name that differs only in its case or its surrounding spaces is the same name.
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
    world.ec2.rules.retain(|_, rule| rule.group != id);
    world.ec2.groups.remove(&id);
    Ok(json!({ "return": true, "groupId": id }).into())
}
