//! What the account's network looks like to somebody who need not ask its API: who stands where, and who reaches whom.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use crate::account::Account;
use crate::services::ec2;

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InterfaceView {
    /// Its id.
    pub id: String,
    /// Its description, which names the service that holds it: `ELB app/shop/…`, `RDSNetworkInterface`, ….
    pub description: String,
    /// The service that asked for it, such as `amazon-elb`; empty for those of instances and those made by hand.
    pub requester: String,
    /// The subnet that it is in.
    pub subnet: String,
    /// The VPC that it is in.
    pub vpc: String,
    /// The availability zone that it is in.
    pub zone: String,
    /// Its security groups, each an id with a name.
    pub groups: Vec<(String, String)>,
    /// Its private address.
    pub address: Ipv4Addr,
    /// Whether a public address is mapped to it.
    pub public: bool,
    /// The instance that it belongs to.
    pub instance: Option<String>,
    /// The tag `stackdrop:component` of what it belongs to, where that is known.
    pub component: String,
    /// The tags of the instance, NAT gateway or endpoint that it belongs to; else its own.
    pub tags: BTreeMap<String, String>,
}

/// Where a connection comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// An address of the internet.
    Internet(Ipv4Addr),
    /// The interface with this id.
    Interface(String),
}

/// A security group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupView {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The VPC that it belongs to.
    pub vpc: String,
    /// What may come in.
    pub ingress: Vec<RuleView>,
    /// What may go out.
    pub egress: Vec<RuleView>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
}

/// A rule of a security group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleView {
    /// Its id.
    pub id: String,
    /// `tcp`, `udp`, `icmp`, `icmpv6`, another protocol's number, or `-1` for all.
    pub protocol: String,
    /// The first port; none for protocols without ports.
    pub from_port: Option<i64>,
    /// The last port.
    pub to_port: Option<i64>,
    /// Where traffic may come from, or for egress go to.
    pub source: Source,
    /// Its description, empty when it has none.
    pub description: String,
}

/// The other end of a security group's rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A block of addresses, such as `10.0.0.0/16`.
    Cidr(String),
    /// The interfaces that have the group with this id.
    Group(String),
    /// The addresses of an AWS service, by its prefix list.
    PrefixList(String),
}

impl Account {
    /// Every network interface that is there now.
    #[must_use]
    pub fn interfaces(&self) -> Vec<InterfaceView> {
        self.with(|world| ec2::interfaces(world))
    }

    /// Whether a TCP connection from `from` to a port of an interface gets through: from the internet only where a
    /// public address is mapped to the interface, its subnet leads to an attached internet gateway and the rules let
    /// it in; inside a VPC by the egress rules of the one and the ingress rules of the other.
    #[must_use]
    pub fn connects(&self, from: Origin, to_interface_id: &str, port: u16) -> bool {
        self.with(|world| ec2::connects(world, from, to_interface_id, port))
    }

    /// Every security group that is there now, the default ones included.
    #[must_use]
    pub fn security_groups(&self) -> Vec<GroupView> {
        self.with(|world| ec2::security_groups(world))
    }
}
