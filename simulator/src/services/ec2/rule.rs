//! Security group rules, and their form in requests.

use ipnet::{Ipv4Net, Ipv6Net};
use serde_json::{Value, json};

use super::group::{self, Group};
use super::query::{Filter, one};
use super::resource::{Entity, Kind, Resource, find, invalid, stored_in, tag_set};
use crate::params::{Params, Refusal};
use crate::world::{Tags, World};

/// One rule: one protocol, one range of ports, one peer.
#[derive(Debug, Clone)]
pub(crate) struct Rule {
    pub(super) entity: Entity,
    pub(super) group: String,
    pub(super) egress: bool,
    /// `tcp`, `udp`, `icmp`, `icmpv6`, another protocol's number, or `-1` for all.
    pub(super) protocol: String,
    /// The first port (the type for ICMP); none for protocols without ports.
    pub(super) from: Option<i64>,
    pub(super) to: Option<i64>,
    pub(super) peer: Peer,
    pub(super) description: Option<String>,
}

/// The source or destination of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Peer {
    Cidr(Ipv4Net),
    Cidr6(Ipv6Net),
    Group(String),
    PrefixList(String),
}

/// The content of a rule, without an ID.
#[derive(Debug, Clone)]
pub(super) struct Terms {
    pub(super) protocol: String,
    pub(super) from: Option<i64>,
    pub(super) to: Option<i64>,
    pub(super) peer: Peer,
    pub(super) description: Option<String>,
}

impl Terms {
    /// Whether it permits the same as a rule, ignoring descriptions.
    pub(super) fn are_of(&self, rule: &Rule) -> bool {
        (&self.protocol, self.from, self.to, &self.peer) == (&rule.protocol, rule.from, rule.to, &rule.peer)
    }

    pub(super) fn same(&self, other: &Self) -> bool {
        (&self.protocol, self.from, self.to, &self.peer)
            == (&other.protocol, other.from, other.to, &other.peer)
    }

    /// Its form in AWS's refusals.
    pub(super) fn shown(&self) -> String {
        let peer = match &self.peer {
            Peer::Cidr(cidr) => cidr.to_string(),
            Peer::Cidr6(cidr) => cidr.to_string(),
            Peer::Group(id) | Peer::PrefixList(id) => id.clone(),
        };
        let protocol = if self.protocol == "-1" { "ALL".to_owned() } else { self.protocol.to_uppercase() };
        match (self.from, self.to) {
            (Some(from), Some(to)) => {
                format!("peer: {peer}, {protocol}, from port: {from}, to port: {to}, ALLOW")
            }
            _ => format!("peer: {peer}, {protocol}, ALLOW"),
        }
    }
}

impl Rule {
    pub(super) fn peer_group(&self) -> Option<&str> {
        match &self.peer {
            Peer::Group(id) => Some(id),
            _ => None,
        }
    }

    pub(super) fn cidr(&self) -> Option<String> {
        match &self.peer {
            Peer::Cidr(cidr) => Some(cidr.to_string()),
            _ => None,
        }
    }

    pub(super) fn first_port(&self) -> Option<String> {
        self.from.map(|port| port.to_string())
    }

    pub(super) fn last_port(&self) -> Option<String> {
        self.to.map(|port| port.to_string())
    }

    pub(super) fn group_id(&self) -> Option<String> {
        self.peer_group().map(str::to_owned)
    }

    /// Whether it allows TCP traffic to a port.
    pub(super) fn permits_tcp(&self, port: u16) -> bool {
        let within = self.from.is_some_and(|from| from <= i64::from(port))
            && self.to.is_some_and(|to| i64::from(port) <= to);
        self.protocol == "-1" || (self.protocol == "tcp" && within)
    }
}

impl Resource for Rule {
    const KIND: Kind = Kind {
        prefix: "sgr",
        tag_type: "security-group-rule",
        not_found: (
            "InvalidSecurityGroupRuleId.NotFound",
            "The security group rule ID '{id}' does not exist",
        ),
        malformed: "InvalidSecurityGroupRuleId.Malformed",
    };
    const IDS: &'static str = "SecurityGroupRuleId";
    const SET: &'static str = "securityGroupRuleSet";
    const FILTERS: &'static [Filter<Self>] =
        &[("group-id", |rule, _| one(&rule.group)), ("security-group-rule-id", |rule, _| one(rule.id()))];

    stored_in!(rules);

    fn document(&self, world: &World) -> Value {
        let (mut cidr, mut cidr6, mut list, mut referenced) = (None, None, None, None);
        match &self.peer {
            Peer::Cidr(net) => cidr = Some(net.to_string()),
            Peer::Cidr6(net) => cidr6 = Some(net.to_string()),
            Peer::PrefixList(id) => list = Some(id),
            Peer::Group(id) => {
                let vpc = world.states.ec2.groups.get(id).map(|group| &group.vpc);
                referenced = Some(json!({ "groupId": id, "userId": world.account, "vpcId": vpc }));
            }
        }
        json!({
            "securityGroupRuleId": self.entity.id,
            "securityGroupRuleArn": world.arn("ec2", &format!("security-group-rule/{}", self.entity.id)),
            "groupId": self.group,
            "groupOwnerId": world.account,
            "isEgress": self.egress,
            "ipProtocol": self.protocol,
            // Unlike in permissions, -1 means here that there are no ports.
            "fromPort": self.from.unwrap_or(-1),
            "toPort": self.to.unwrap_or(-1),
            "cidrIpv4": cidr,
            "cidrIpv6": cidr6,
            "prefixListId": list,
            "referencedGroupInfo": referenced,
            "description": self.description,
            "tagSet": tag_set(&self.entity.tags),
        })
    }
}

/// Creates the rule that allows all traffic, as in a new group.
pub(super) fn make_all_traffic(world: &mut World, group: &str, egress: bool, peer: Peer) {
    let terms = Terms { protocol: "-1".into(), from: None, to: None, peer, description: None };
    make(world, group, egress, terms, Tags::new());
}

/// Creates a rule and returns its ID.
pub(super) fn make(world: &mut World, group: &str, egress: bool, terms: Terms, tags: Tags) -> String {
    let id = world.id(Rule::KIND.prefix);
    let rule = Rule {
        entity: Entity::new(id.clone(), tags, world.now),
        group: group.into(),
        egress,
        protocol: terms.protocol,
        from: terms.from,
        to: terms.to,
        peer: terms.peer,
        description: terms.description,
    };
    world.states.ec2.rules.insert(id.clone(), rule);
    id
}

/// A protocol and its ports, as AWS stores them.
///
/// # Errors
/// `InvalidParameterValue` for an unknown protocol, and for missing or reversed ports.
pub(super) fn protocol_and_ports(
    protocol: &str,
    from: Option<i64>,
    to: Option<i64>,
) -> Result<(String, Option<i64>, Option<i64>), Refusal> {
    let name = match protocol.to_lowercase().as_str() {
        "-1" | "all" => "-1".to_owned(),
        "tcp" | "6" => "tcp".into(),
        "udp" | "17" => "udp".into(),
        "icmp" | "1" => "icmp".into(),
        "icmpv6" | "58" => "icmpv6".into(),
        number if number.parse::<u8>().is_ok() => number.into(),
        _ => return Err(invalid(protocol, "IpProtocol", "Unknown IP protocol.")),
    };
    let (from, to) = match (name.as_str(), from, to) {
        ("tcp" | "udp", Some(from), Some(to)) => {
            let valid = 0..=65535;
            if !valid.contains(&from) || !valid.contains(&to) || from > to {
                return Err(Refusal::new(
                    "InvalidParameterValue",
                    format!("Invalid TCP/UDP port range ({from}:{to})"),
                ));
            }
            (Some(from), Some(to))
        }
        ("tcp" | "udp", ..) => {
            return Err(Refusal::new(
                "InvalidParameterValue",
                "Invalid value 'Must specify both from and to ports with TCP/UDP.' for portRange.",
            ));
        }
        ("icmp" | "icmpv6", from, to) => (from.or(Some(-1)), to.or(Some(-1))),
        // Other protocols have no ports: those sent are ignored.
        _ => (None, None),
    };
    Ok((name, from, to))
}

fn cidr(text: &str) -> Result<Ipv4Net, Refusal> {
    // Host bits are refused: they suggest that the caller means another network.
    text.parse::<Ipv4Net>().ok().filter(|net| net.trunc() == *net).ok_or_else(|| malformed(text))
}

fn cidr6(text: &str) -> Result<Ipv6Net, Refusal> {
    text.parse::<Ipv6Net>().ok().filter(|net| net.trunc() == *net).ok_or_else(|| malformed(text))
}

fn malformed(text: &str) -> Refusal {
    Refusal::new("InvalidParameterValue", format!("CIDR block {text} is malformed"))
}

fn description(of: &Params) -> Result<Option<String>, Refusal> {
    let description = of.text("Description").filter(|text| !text.is_empty());
    match description {
        Some(text) if !group::is_plain(&text) => Err(invalid(
            &text,
            "Description",
            "Valid are up to 255 of the characters a-z, A-Z, 0-9, spaces and ._-:/()#,@[]+=&;{}!$*",
        )),
        description => Ok(description),
    }
}

/// The rules of `IpPermissions`.
///
/// # Errors
/// `InvalidParameterValue` and `MissingParameter` for invalid rules.
pub(super) fn read_permissions(account: &str, params: &Params) -> Result<Vec<Terms>, Refusal> {
    let mut rules = Vec::new();
    for permission in params.structs("IpPermissions") {
        let protocol = permission.required("IpProtocol")?;
        let (from, to) = (permission.int("FromPort")?, permission.int("ToPort")?);
        let mut peers = Vec::new();
        for range in permission.structs("IpRanges") {
            peers.push((Peer::Cidr(cidr(&range.required("CidrIp")?)?), description(&range)?));
        }
        for range in permission.structs("Ipv6Ranges") {
            peers.push((Peer::Cidr6(cidr6(&range.required("CidrIpv6")?)?), description(&range)?));
        }
        for pair in permission.structs("Groups") {
            // The VPC of a group follows from its ID, and its name is not shown here; AWS accepts both as they were
            // read.
            pair.ignore("VpcId");
            pair.ignore("GroupName");
            check_owner(account, &pair)?;
            peers.push((Peer::Group(pair.required("GroupId")?), description(&pair)?));
        }
        for list in permission.structs("PrefixListIds") {
            peers.push((Peer::PrefixList(list.required("PrefixListId")?), description(&list)?));
        }
        if peers.is_empty() {
            return Err(Refusal::new(
                "MissingParameter",
                "The request must contain a source or destination of each permission",
            ));
        }
        let (protocol, from, to) = protocol_and_ports(&protocol, from, to)?;
        for (peer, description) in peers {
            rules.push(Terms { protocol: protocol.clone(), from, to, peer, description });
        }
    }
    for (place, terms) in rules.iter().enumerate() {
        if rules[..place].iter().any(|earlier| earlier.same(terms)) {
            return Err(Refusal::new(
                "InvalidParameterValue",
                "The same permission must not appear multiple times",
            ));
        }
    }
    Ok(rules)
}

/// A group of another account needs VPC peering, which is not supported.
fn check_owner(account: &str, pair: &Params) -> Result<(), Refusal> {
    match pair.text("UserId").filter(|owner| owner != account) {
        None => Ok(()),
        Some(owner) => Err(Refusal::new(
            "InvalidGroup.NotFound",
            format!("There is no group of the account {owner} that this VPC could refer to."),
        )),
    }
}

/// The rule of `SecurityGroupRule` in `ModifySecurityGroupRules`.
///
/// # Errors
/// `InvalidParameterValue` and `MissingParameter` for an invalid rule.
pub(super) fn read_single(params: &Params) -> Result<Terms, Refusal> {
    let protocol = params.required("IpProtocol")?;
    let (protocol, from, to) = protocol_and_ports(&protocol, params.int("FromPort")?, params.int("ToPort")?)?;
    let mut peers = Vec::new();
    if let Some(text) = params.text("CidrIpv4") {
        peers.push(Peer::Cidr(cidr(&text)?));
    }
    if let Some(text) = params.text("CidrIpv6") {
        peers.push(Peer::Cidr6(cidr6(&text)?));
    }
    peers.extend(params.text("ReferencedGroupId").map(Peer::Group));
    peers.extend(params.text("PrefixListId").map(Peer::PrefixList));
    let description = description(params)?;
    match (peers.pop(), peers.is_empty()) {
        (Some(peer), true) => Ok(Terms { protocol, from, to, peer, description }),
        _ => Err(Refusal::new(
            "InvalidParameterCombination",
            "A rule has exactly one of CidrIpv4, CidrIpv6, PrefixListId and ReferencedGroupId",
        )),
    }
}

/// Checks that the groups and lists of rules exist, and are in the group's own VPC (peering is not supported).
///
/// # Errors
/// `InvalidGroup.NotFound` and `InvalidPrefixListID.NotFound`.
pub(super) fn check_peers(world: &World, vpc: &str, rules: &[Terms]) -> Result<(), Refusal> {
    for terms in rules {
        match &terms.peer {
            Peer::Group(id) if find::<Group>(world, id)?.vpc != vpc => {
                return Err(Refusal::new(
                    "InvalidGroup.NotFound",
                    format!(
                        "You have specified two resources that belong to different networks: security group {id} is not in {vpc}."
                    ),
                ));
            }
            Peer::PrefixList(id)
                if ["s3", "dynamodb"].iter().all(|service| super::endpoint::prefix_list(service) != id) =>
            {
                return Err(Refusal::new(
                    "InvalidPrefixListID.NotFound",
                    format!("The prefix list ID '{id}' does not exist"),
                ));
            }
            _ => {}
        }
    }
    Ok(())
}
