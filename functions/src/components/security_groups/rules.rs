//! The groups of a stack and their rules: the network security of the architecture in one table.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use aws_sdk_ec2::types::{IpPermission, IpRange, SecurityGroupRule, UserIdGroupPair};
use stackdrop_specs::{DATABASE_PORT, DatabaseClient, Nat, Spec};

use crate::contract::ports::{HTTP, HTTPS};

/// All IPv4 addresses. The VPC has no IPv6 range.
const ANYWHERE: &str = "0.0.0.0/0";

/// The groups, by the resources that use them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Group {
    LoadBalancer,
    Service,
    Instance,
    Endpoints,
    Database,
}

impl Group {
    pub(super) const ALL: [Self; 5] =
        [Self::LoadBalancer, Self::Service, Self::Instance, Self::Endpoints, Self::Database];

    /// The group's logical ID.
    pub(super) fn logical_id(self) -> &'static str {
        match self {
            Self::LoadBalancer => "load-balancer",
            Self::Service => "service",
            Self::Instance => "instance",
            Self::Endpoints => "endpoints",
            Self::Database => "database",
        }
    }

    /// The logical ID of the group's rules. One call authorizes several rules and gives all of them the same tags.
    pub(super) fn rules_logical_id(self) -> String {
        format!("{}/rules", self.logical_id())
    }

    /// The group's description, which EC2 cannot change: the text must stay as it is.
    pub(super) fn description(self) -> &'static str {
        match self {
            Self::LoadBalancer => "Load balancer: HTTPS from the allowed ranges",
            Self::Service => "ECS tasks: from the load balancer and from each other",
            Self::Instance => "EC2 instance: managed through Systems Manager",
            Self::Endpoints => "Interface endpoints: from the ECS tasks and the instance",
            Self::Database => "PostgreSQL: from the clients that the spec allows",
        }
    }

    /// Whether the spec has a resource that uses the group.
    pub(super) fn is_desired(self, spec: &Spec) -> bool {
        match self {
            Self::LoadBalancer => spec.load_balancer.is_some(),
            Self::Service => !spec.services.is_empty(),
            Self::Instance => spec.instance.is_some(),
            Self::Endpoints => spec.network.nat == Nat::None,
            Self::Database => spec.database.is_some(),
        }
    }
}

/// The other end of a rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Peer {
    /// A group of this stack.
    Group(Group),
    /// A range of addresses, a prefix list, or a group that this stack does not manage.
    Other(String),
}

/// What a rule allows. A rule has exactly one peer: EC2 merges rules only where it describes whole groups.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rule {
    pub(super) out: bool,
    protocol: String,
    /// The first and the last port; -1 for a protocol without ports.
    ports: (i32, i32),
    pub(super) peer: Peer,
}

impl Rule {
    fn tcp_in(port: u16, peer: Peer) -> Self {
        Self { out: false, protocol: "tcp".into(), ports: (port.into(), port.into()), peer }
    }

    fn all(out: bool, peer: Peer) -> Self {
        Self { out, protocol: "-1".into(), ports: (-1, -1), peer }
    }

    /// Reads a rule from EC2's type. `ours` finds the stack's groups by ID.
    pub(super) fn read(rule: &SecurityGroupRule, ours: impl Fn(&str) -> Option<Group>) -> Self {
        let referenced = rule.referenced_group_info().and_then(|group| group.group_id());
        let texts = [rule.cidr_ipv4(), rule.cidr_ipv6(), rule.prefix_list_id(), referenced];
        let other = || Peer::Other(texts.into_iter().flatten().next().unwrap_or_default().to_owned());
        let peer = referenced.and_then(ours).map_or_else(other, Peer::Group);
        Self {
            out: rule.is_egress().unwrap_or_default(),
            protocol: rule.ip_protocol().unwrap_or_default().to_owned(),
            ports: (rule.from_port().unwrap_or(-1), rule.to_port().unwrap_or(-1)),
            peer,
        }
    }

    /// Converts the rule to the type of the authorizing calls. `None` while the peer's ID is unknown.
    pub(super) fn permission(&self, why: &str, id: impl Fn(Group) -> Option<String>) -> Option<IpPermission> {
        let permission = IpPermission::builder().ip_protocol(&self.protocol);
        // AWS keeps no ports for protocol -1.
        let permission = if self.protocol == "-1" {
            permission
        } else {
            permission.from_port(self.ports.0).to_port(self.ports.1)
        };
        let permission = match &self.peer {
            Peer::Group(group) => permission.user_id_group_pairs(
                UserIdGroupPair::builder().group_id(id(*group)?).description(why).build(),
            ),
            Peer::Other(range) => {
                permission.ip_ranges(IpRange::builder().cidr_ip(range).description(why).build())
            }
        };
        Some(permission.build())
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (way, side) = if self.out { ("out", "to") } else { ("in", "from") };
        match (self.protocol.as_str(), self.ports) {
            ("-1", _) => write!(f, "{way} all")?,
            (protocol, (first, last)) if first == last => write!(f, "{way} {protocol} {first}")?,
            (protocol, (first, last)) => write!(f, "{way} {protocol} {first}-{last}")?,
        }
        match &self.peer {
            Peer::Group(group) => write!(f, " {side} {}", group.logical_id()),
            Peer::Other(text) => write!(f, " {side} {text}"),
        }
    }
}

/// The desired rules of a group, each with its description.
pub(super) fn desired(spec: &Spec, group: Group) -> BTreeMap<Rule, &'static str> {
    let anywhere = || Peer::Other(ANYWHERE.into());
    let out = || (Rule::all(true, anywhere()), "All outbound traffic");
    // Rules refer only to desired groups.
    let from = |group: Group| group.is_desired(spec).then_some(Peer::Group(group));
    let mut rules = BTreeMap::new();
    match group {
        Group::LoadBalancer => {
            rules.extend([out()]);
            let Some(balancer) = &spec.load_balancer else { return rules };
            for range in &balancer.allowed_cidrs {
                let range = || Peer::Other(range.trunc().to_string());
                rules.insert(Rule::tcp_in(HTTPS, range()), "HTTPS from the allowed ranges");
                if balancer.redirect_http {
                    rules.insert(Rule::tcp_in(HTTP, range()), "HTTP, redirected to HTTPS");
                }
            }
        }
        Group::Service => {
            rules.extend([out()]);
            rules.insert(Rule::all(false, Peer::Group(group)), "Traffic between tasks");
            if let Some(balancer) = from(Group::LoadBalancer) {
                let ports = spec.container_ports().into_iter();
                rules.extend(ports.map(|port| {
                    (
                        Rule::tcp_in(port, balancer.clone()),
                        "Requests and health checks from the load balancer",
                    )
                }));
            }
        }
        Group::Instance => {
            rules.extend([out()]);
            let vpc = Peer::Other(spec.network.cidr.trunc().to_string());
            rules.insert(Rule::tcp_in(HTTPS, vpc), "HTTPS from inside the VPC");
        }
        // Endpoints and the database only respond, and responses need no outbound rule.
        Group::Endpoints => {
            let clients = [from(Group::Service), from(Group::Instance)].into_iter().flatten();
            rules.extend(clients.map(|client| (Rule::tcp_in(HTTPS, client), "HTTPS to AWS services")));
        }
        Group::Database => {
            let allowed = spec.database.iter().flat_map(|database| &database.allow);
            let clients = allowed.filter_map(|client| match client {
                DatabaseClient::Services => from(Group::Service),
                DatabaseClient::Instance => from(Group::Instance),
            });
            rules.extend(clients.map(|client| (Rule::tcp_in(DATABASE_PORT, client), "PostgreSQL")));
        }
    }
    rules
}

/// Rules that are neither added nor revoked: those for the baseline's container ports, which old tasks use until the
/// service's rollout, a later step, is complete. The next deployment, whose baseline has only the new ports, revokes them.
pub(super) fn tolerated(spec: &Spec, baseline: Option<&Spec>, group: Group) -> BTreeSet<Rule> {
    if group != Group::Service || !Group::LoadBalancer.is_desired(spec) {
        return BTreeSet::new();
    }
    let ports = baseline.map(Spec::container_ports).unwrap_or_default();
    ports.into_iter().map(|port| Rule::tcp_in(port, Peer::Group(Group::LoadBalancer))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(rest: &str) -> Spec {
        Spec::read(format!("stack: shop\n{rest}").as_bytes()).unwrap()
    }

    fn shown(spec: &Spec, group: Group) -> Vec<String> {
        desired(spec, group).keys().map(ToString::to_string).collect()
    }

    #[test]
    fn a_group_is_desired_only_if_the_spec_has_its_user() {
        let spec = spec("instance: {}\n");
        let desired: Vec<Group> = Group::ALL.into_iter().filter(|group| group.is_desired(&spec)).collect();
        assert_eq!(desired, [Group::Instance]);
        assert_eq!(shown(&spec, Group::Instance), ["in tcp 443 from 10.0.0.0/16", "out all to 0.0.0.0/0"]);
    }

    #[test]
    fn the_database_allows_only_clients_that_the_spec_has() {
        let spec = spec("database: { allow: [services, instance] }\ninstance: {}\n");
        assert_eq!(shown(&spec, Group::Database), ["in tcp 5432 from instance"]);
    }

    #[test]
    fn ports_of_the_baseline_stay_open_while_the_service_is_rolled_out() {
        let with_port = |port: u16| {
            spec(&format!(
                "loadBalancer: {{ domain: shop.example.com, hostedZoneId: Z0123456789ABCDEFGHIJ }}\nservices:\n  web: {{ image: nginx, port: {port}, routes: [{{ path: /* }}] }}\n"
            ))
        };
        let (before, after) = (with_port(8080), with_port(9090));
        let kept: Vec<String> =
            tolerated(&after, Some(&before), Group::Service).iter().map(ToString::to_string).collect();
        assert_eq!(kept, ["in tcp 8080 from load-balancer"]);
        assert!(tolerated(&after, Some(&before), Group::Database).is_empty());
    }
}
