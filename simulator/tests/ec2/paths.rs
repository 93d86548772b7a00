//! Reachability between interfaces.

use std::net::Ipv4Addr;

use aws_sdk_ec2::types::{InstanceNetworkInterfaceSpecification, InstanceType, IpPermission, IpRange};
use stackdrop_simulator::Origin;

use crate::site::{Site, group, interface, tcp, tcp_of, vpc, wait};

const X86: &str = "ami-0a120230000086064";
const OUTSIDE: Origin = Origin::Internet(Ipv4Addr::new(192, 0, 2, 10));

impl Site {
    async fn let_in(&self, to: &str, rule: IpPermission) {
        self.ec2.authorize_security_group_ingress().group_id(to).ip_permissions(rule).send().await.unwrap();
    }

    async fn instance_in(&self, subnet: &str, group: &str, public: bool) -> String {
        let interface = InstanceNetworkInterfaceSpecification::builder()
            .device_index(0)
            .subnet_id(subnet)
            .groups(group)
            .associate_public_ip_address(public)
            .build();
        let call = self.ec2.run_instances().image_id(X86).instance_type(InstanceType::T3Nano);
        let answer = call.network_interfaces(interface).min_count(1).max_count(1).send().await.unwrap();
        answer.instances()[0].network_interfaces()[0].network_interface_id().unwrap().to_owned()
    }

    fn inside(&self, from: &str, to: &str, port: u16) -> bool {
        self.account.connects(Origin::Interface(from.into()), to, port)
    }
}

#[tokio::test(start_paused = true)]
async fn inside_a_vpc_the_rules_of_both_ends_apply() {
    let site = Site::open().await;
    let (web, database) = (group(&site.ec2, &site.vpc, "web").await, group(&site.ec2, &site.vpc, "db").await);
    let (from, to) = (
        interface(&site.ec2, &site.private[0], &[&web]).await,
        interface(&site.ec2, &site.private[1], &[&database]).await,
    );
    assert!(!site.inside(&from, &to, 5432));
    site.let_in(&database, tcp_of(5432, &web)).await;
    assert!(site.inside(&from, &to, 5432));
    assert!(!site.inside(&from, &to, 5433));
    assert!(!site.inside(&to, &from, 5432));
    let stranger = interface(&site.ec2, &site.private[0], &[]).await;
    assert!(!site.inside(&stranger, &to, 5432));
    let all =
        IpPermission::builder().ip_protocol("-1").ip_ranges(IpRange::builder().cidr_ip("0.0.0.0/0").build());
    site.ec2.revoke_security_group_egress().group_id(&web).ip_permissions(all.build()).send().await.unwrap();
    assert!(!site.inside(&from, &to, 5432));
    let out =
        site.ec2.authorize_security_group_egress().group_id(&web).ip_permissions(tcp(5432, "10.0.3.0/24"));
    out.send().await.unwrap();
    assert!(site.inside(&from, &to, 5432));
}

#[tokio::test(start_paused = true)]
async fn a_cidr_rule_admits_addresses_inside_it_only() {
    let site = Site::open().await;
    let (web, own) = (group(&site.ec2, &site.vpc, "web").await, group(&site.ec2, &site.vpc, "own").await);
    site.let_in(&own, tcp(443, "10.0.2.0/24")).await;
    let to = interface(&site.ec2, &site.private[1], &[&own]).await;
    let near = interface(&site.ec2, &site.private[0], &[&web]).await;
    let far = interface(&site.ec2, &site.private[1], &[&web]).await;
    assert!(site.inside(&near, &to, 443));
    assert!(!site.inside(&far, &to, 443));
}

#[tokio::test(start_paused = true)]
async fn the_internet_needs_a_public_address_a_route_and_a_rule() {
    let site = Site::open().await;
    let own = group(&site.ec2, &site.vpc, "web").await;
    let open = site.instance_in(&site.public[0], &own, true).await;
    let unmapped = site.instance_in(&site.public[0], &own, false).await;
    let unrouted = site.instance_in(&site.private[0], &own, true).await;
    wait(1.0).await;
    assert!(!site.account.connects(OUTSIDE, &open, 443));
    site.let_in(&own, tcp(443, "192.0.2.0/24")).await;
    assert!(site.account.connects(OUTSIDE, &open, 443));
    assert!(!site.account.connects(OUTSIDE, &open, 80));
    assert!(!site.account.connects(Origin::Internet(Ipv4Addr::new(198, 51, 100, 1)), &open, 443));
    assert!(!site.account.connects(OUTSIDE, &unmapped, 443));
    assert!(!site.account.connects(OUTSIDE, &unrouted, 443));
    let seen = site.account.interfaces();
    let of = |id: &str| seen.iter().find(|interface| interface.id == id).unwrap();
    assert!(of(&open).public && !of(&unmapped).public);
    assert_eq!((of(&open).zone.as_str(), of(&open).groups[0].1.as_str()), ("eu-central-1a", "web"));
}

#[tokio::test(start_paused = true)]
async fn a_nat_gateway_admits_no_connection_from_outside() {
    let site = Site::open().await;
    site.nat().await;
    wait(106.0).await;
    let nat = site.account.interfaces().remove(0);
    assert!(nat.public && nat.groups.is_empty());
    assert!(!site.account.connects(OUTSIDE, &nat.id, 443));
}

#[tokio::test(start_paused = true)]
async fn two_vpcs_do_not_reach_each_other() {
    let site = Site::open().await;
    let other = vpc(&site.ec2, "10.1.0.0/16").await;
    let elsewhere = crate::site::subnet(&site.ec2, &other, "10.1.0.0/24", "a").await;
    let (here, there) = (group(&site.ec2, &site.vpc, "a").await, group(&site.ec2, &other, "b").await);
    site.let_in(&there, tcp(443, "0.0.0.0/0")).await;
    let from = interface(&site.ec2, &site.private[0], &[&here]).await;
    let to = interface(&site.ec2, &elsewhere, &[&there]).await;
    assert!(!site.inside(&from, &to, 443));
}
