//! The account's network, as tests and reports see it without API calls.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InterfaceView {
    /// Its ID.
    pub id: String,
    /// Its description, which names the service that uses it: `ELB app/shop/…`, `RDSNetworkInterface`, ….
    pub description: String,
    /// The service that requested it, such as `amazon-elb`; empty for an instance's interface and for one created by
    /// a call.
    pub requester: String,
    /// Its subnet.
    pub subnet: String,
    /// Its VPC.
    pub vpc: String,
    /// Its availability zone.
    pub zone: String,
    /// The IDs and names of its security groups.
    pub groups: Vec<(String, String)>,
    /// Its private address.
    pub address: Ipv4Addr,
    /// Whether a public address is mapped to it.
    pub public: bool,
    /// The ID of its instance.
    pub instance: Option<String>,
    /// The tag `stackdrop:component` of its owner, if known.
    pub component: String,
    /// The tags of the instance, NAT gateway or endpoint that owns it, or else its own.
    pub tags: BTreeMap<String, String>,
}

/// Where a connection comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A public address on the internet.
    Internet(Ipv4Addr),
    /// The interface with this ID.
    Interface(String),
}

/// A security group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupView {
    /// Its ID.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its VPC.
    pub vpc: String,
    /// Its ingress rules.
    pub ingress: Vec<RuleView>,
    /// Its egress rules.
    pub egress: Vec<RuleView>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
}

/// A rule of a security group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleView {
    /// Its ID.
    pub id: String,
    /// `tcp`, `udp`, `icmp`, `icmpv6`, another protocol's number, or `-1` for all.
    pub protocol: String,
    /// The first port; `None` for protocols without ports.
    pub from_port: Option<i64>,
    /// The last port.
    pub to_port: Option<i64>,
    /// The allowed source, or for egress the allowed destination.
    pub source: Source,
    /// Its description; may be empty.
    pub description: String,
}

/// The source or destination of a security group's rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A CIDR block, such as `10.0.0.0/16`.
    Cidr(String),
    /// The interfaces in the security group with this ID.
    Group(String),
    /// The addresses of an AWS service, by its prefix list.
    PrefixList(String),
}
