//! The ranges of the subnets in the VPC's range.
//!
//! The plan is always for three zones, then reduced to the spec's number, so that a change between two and three zones
//! never moves an existing subnet (a subnet's range cannot change).

use std::fmt;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use crate::Network;

/// The shortest prefix of a VPC, which is also AWS's: a /16 has 65,536 addresses.
pub(crate) const LARGEST_VPC: u8 = 16;
/// The longest prefix of a VPC: smaller VPCs have no room for nine subnets, of which an ALB needs /27 at least.
pub(crate) const SMALLEST_VPC: u8 = 24;
/// The addresses that AWS reserves in each subnet: the first four and the last.
pub(crate) const RESERVED_BY_AWS: u32 = 5;
/// The number of zones in the plan.
const ZONES: u8 = 3;

/// The purpose of a subnet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tier {
    /// The load balancer and NAT gateways, reachable from the internet.
    Public,
    /// Tasks, the instance and interface endpoints.
    Private,
    /// Only the database.
    Database,
}

impl Tier {
    /// All tiers, in the order of the plan.
    pub const ALL: [Self; 3] = [Self::Public, Self::Private, Self::Database];

    /// The tier's name in names and tags.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Private => "private",
            Self::Database => "database",
        }
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One desired subnet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct SubnetPlan {
    /// The subnet's purpose.
    pub tier: Tier,
    /// The zone: `a` for the first one that the stack uses, then `b` and `c`.
    pub zone: char,
    /// The subnet's range.
    pub cidr: Ipv4Net,
}

impl SubnetPlan {
    /// The zone's index among the used zones, starting at 0.
    #[must_use]
    pub fn zone_index(&self) -> usize {
        usize::from(u8::try_from(self.zone).unwrap_or(b'a').saturating_sub(b'a'))
    }
}

impl Network {
    /// Every subnet of the network, by tier and zone.
    ///
    /// The ranges are inside the VPC's range, never overlap, and depend only on the VPC's range. A VPC too small for nine
    /// subnets, which a checked spec never has, has no subnets.
    #[must_use]
    pub fn subnets(&self) -> Vec<SubnetPlan> {
        let Some(lengths) = prefix_lengths(self.cidr.prefix_len()) else { return Vec::new() };
        let mut plan = Vec::new();
        let mut next = u32::from(self.cidr.network());
        for (tier, length) in lengths {
            for index in 0..ZONES {
                // Largest first, three of each size: every range starts at a multiple of its size.
                let start = next;
                next = next.saturating_add(size(length));
                let Ok(cidr) = Ipv4Net::new(start.into(), length) else { continue };
                if index < self.zones {
                    plan.push(SubnetPlan { tier, zone: char::from(b'a' + index), cidr });
                }
            }
        }
        plan.sort();
        plan
    }

    /// The used zones: `a`, `b` and, with three zones, `c`.
    #[must_use]
    pub fn zone_letters(&self) -> Vec<char> {
        (0..self.zones.min(ZONES)).map(|index| char::from(b'a' + index)).collect()
    }
}

/// The prefix length of each tier, largest subnets first. Private subnets are the largest: every task has an address.
///
/// AWS's limits: a subnet is at least a /28 (`CreateSubnet`), one for an ALB at least a /27.
fn prefix_lengths(vpc: u8) -> Option<[(Tier, u8); 3]> {
    let (private, public, database) = match vpc {
        // Three quarters for private subnets; the last quarter is divided twice in the same way.
        LARGEST_VPC..=22 => (vpc + 2, vpc + 4, vpc + 6),
        23 => (26, 27, 28),
        SMALLEST_VPC => (27, 27, 28),
        _ => return None,
    };
    Some([(Tier::Private, private), (Tier::Public, public), (Tier::Database, database)])
}

/// The number of addresses in a range with this prefix length.
pub(crate) fn size(prefix_length: u8) -> u32 {
    1_u32.checked_shl(32_u32.saturating_sub(prefix_length.into())).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Nat;

    fn network(cidr: Ipv4Net, zones: u8) -> Network {
        Network { cidr, zones, nat: Nat::Single, ..Network::default() }
    }

    fn listing(cidr: &str, zones: u8) -> String {
        let subnets = network(cidr.parse().unwrap(), zones).subnets();
        let lines = subnets.iter().map(|subnet| format!("{}/{} {}", subnet.tier, subnet.zone, subnet.cidr));
        lines.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn a_large_vpc_is_divided_into_quarters() {
        insta::assert_snapshot!(listing("10.0.0.0/16", 2), @"
        public/a 10.0.192.0/20
        public/b 10.0.208.0/20
        private/a 10.0.0.0/18
        private/b 10.0.64.0/18
        database/a 10.0.240.0/22
        database/b 10.0.244.0/22
        ");
    }

    #[test]
    fn the_smallest_vpc_has_room_for_three_zones() {
        insta::assert_snapshot!(listing("192.168.7.0/24", 3), @"
        public/a 192.168.7.96/27
        public/b 192.168.7.128/27
        public/c 192.168.7.160/27
        private/a 192.168.7.0/27
        private/b 192.168.7.32/27
        private/c 192.168.7.64/27
        database/a 192.168.7.192/28
        database/b 192.168.7.208/28
        database/c 192.168.7.224/28
        ");
    }

    #[test]
    fn zones_are_counted_from_a() {
        let letters = |zones| network("10.0.0.0/16".parse().unwrap(), zones).zone_letters();
        assert_eq!((letters(2), letters(3)), (vec!['a', 'b'], vec!['a', 'b', 'c']));
        let subnets = network("10.0.0.0/16".parse().unwrap(), 3).subnets();
        let public: Vec<usize> =
            subnets.iter().filter(|s| s.tier == Tier::Public).map(SubnetPlan::zone_index).collect();
        assert_eq!(public, [0, 1, 2]);
    }

    fn any_vpc() -> impl Strategy<Value = Ipv4Net> {
        (any::<u32>(), LARGEST_VPC..=SMALLEST_VPC)
            .prop_map(|(address, length)| Ipv4Net::new(address.into(), length).unwrap().trunc())
    }

    proptest! {
        #[test]
        fn subnets_are_inside_the_vpc_and_do_not_overlap(cidr in any_vpc(), zones in 2_u8..=3) {
            let subnets = network(cidr, zones).subnets();
            prop_assert_eq!(subnets.len(), 3 * usize::from(zones));
            for (index, subnet) in subnets.iter().enumerate() {
                prop_assert!(cidr.contains(&subnet.cidr));
                prop_assert_eq!(subnet.cidr, subnet.cidr.trunc());
                prop_assert!(subnet.cidr.prefix_len() <= 28);
                prop_assert!(subnet.tier != Tier::Public || subnet.cidr.prefix_len() <= 27);
                for other in &subnets[index + 1..] {
                    prop_assert!(!subnet.cidr.contains(&other.cidr) && !other.cidr.contains(&subnet.cidr));
                }
            }
        }

        #[test]
        fn a_third_zone_moves_no_subnet(cidr in any_vpc()) {
            let three = network(cidr, 3).subnets();
            let two = network(cidr, 2).subnets();
            prop_assert!(two.iter().all(|subnet| three.contains(subnet)));
            prop_assert!(three.iter().all(|subnet| (subnet.zone == 'c') != two.contains(subnet)));
        }

        #[test]
        fn private_subnets_are_the_largest(cidr in any_vpc()) {
            let longest = |tier| {
                network(cidr, 3).subnets().iter().filter(|s| s.tier == tier).map(|s| s.cidr.prefix_len()).max()
            };
            prop_assert!(longest(Tier::Private) <= longest(Tier::Public));
            prop_assert!(longest(Tier::Public) <= longest(Tier::Database));
        }

        #[test]
        fn a_vpc_without_room_has_no_subnets(length in 25_u8..=32) {
            let cidr = Ipv4Net::new([10, 0, 0, 0].into(), length).unwrap();
            prop_assert_eq!(network(cidr, 2).subnets(), vec![]);
        }
    }
}
