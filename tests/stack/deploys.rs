//! The resources of a deployed stack, and the connections that its security groups allow.

use std::net::Ipv4Addr;

use stackdrop::Rehearsal;
use stackdrop_simulator::{InterfaceView, Origin};
use stackdrop_specs::{DatabaseClient, Spec};

use crate::{MINIMAL, PRIVATE, SHOP, changes, deployed, rehearsal, resources};

/// The ports to try: every port with a listener, and some that must be closed.
const PORTS: [u16; 8] = [22, 80, 443, 3000, 3389, 5432, 8080, 9000];

/// The kind of resource that a network interface belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    LoadBalancer,
    Task,
    Instance,
    Database,
    Endpoint,
    Nat,
}

fn kind(interface: &InterfaceView) -> Kind {
    let description = interface.description.as_str();
    if interface.instance.is_some() {
        Kind::Instance
    } else if description.starts_with("ELB app/") {
        Kind::LoadBalancer
    } else if description.starts_with("RDS") {
        Kind::Database
    } else if description.starts_with("VPC Endpoint") {
        Kind::Endpoint
    } else if description.starts_with("Interface for NAT") {
        Kind::Nat
    } else if description.contains(":attachment/") {
        Kind::Task
    } else {
        panic!("unknown interface: {interface:?}")
    }
}

/// Whether a spec allows a connection. `from` is `None` for an address on the internet.
#[allow(clippy::match_same_arms, reason = "a table: one line for each pair")]
fn allowed(spec: &Spec, from: Option<Kind>, address: Ipv4Addr, to: Kind, port: u16) -> bool {
    let load_balancer = spec.load_balancer.as_ref();
    let admitted = load_balancer.is_some_and(|load_balancer| {
        let listens = port == 443 || (port == 80 && load_balancer.redirect_http);
        listens && load_balancer.allowed_cidrs.iter().any(|range| range.contains(&address))
    });
    let container = spec.container_ports().contains(&port);
    let clients = spec.database.as_ref().map(|database| database.allow.clone()).unwrap_or_default();
    match (from, to) {
        // No resource connects to a NAT gateway, and databases and endpoints open no connections.
        (_, Kind::Nat) | (Some(Kind::Database | Kind::Endpoint), _) => false,
        (_, Kind::LoadBalancer) => admitted,
        (None | Some(Kind::Nat), _) => false,
        (Some(Kind::Task), Kind::Task) => true,
        (Some(Kind::LoadBalancer), Kind::Task) => container,
        (Some(Kind::Instance), Kind::Task) => false,
        // The instance accepts HTTPS from the VPC. Sessions of Systems Manager need no inbound rule.
        (Some(_), Kind::Instance) => port == 443,
        (Some(Kind::Task), Kind::Database) => port == 5432 && clients.contains(&DatabaseClient::Services),
        (Some(Kind::Instance), Kind::Database) => port == 5432 && clients.contains(&DatabaseClient::Instance),
        (Some(_), Kind::Database) => false,
        (Some(Kind::Task | Kind::Instance), Kind::Endpoint) => port == 443,
        (Some(_), Kind::Endpoint) => false,
    }
}

/// Tries every port between every pair of interfaces, and from the internet.
fn assert_reach(rehearsal: &Rehearsal, spec: &str) {
    let spec = Spec::read(spec.as_bytes()).unwrap();
    let account = rehearsal.account();
    let interfaces = account.interfaces();
    // `private.yaml` allows the first address, not the second.
    let internet = [Ipv4Addr::new(203, 0, 113, 7), Ipv4Addr::new(192, 0, 2, 9)];
    for to in &interfaces {
        for port in PORTS {
            for address in internet {
                let reached = account.connects(Origin::Internet(address), &to.id, port);
                let expected = allowed(&spec, None, address, kind(to), port);
                assert_eq!(reached, expected, "{address} -> {:?}:{port}", kind(to));
            }
            for from in interfaces.iter().filter(|from| from.id != to.id && kind(from) != Kind::Nat) {
                let reached = account.connects(Origin::Interface(from.id.clone()), &to.id, port);
                let expected = allowed(&spec, Some(kind(from)), from.address, kind(to), port);
                assert_eq!(reached, expected, "{:?} -> {:?}:{port}", kind(from), kind(to));
            }
        }
    }
}

fn count(rehearsal: &Rehearsal, wanted: Kind) -> usize {
    rehearsal.account().interfaces().iter().filter(|interface| kind(interface) == wanted).count()
}

#[tokio::test(start_paused = true)]
async fn the_example_becomes_a_running_stack() {
    let rehearsal = rehearsal(SHOP);
    let deployed = deployed(&rehearsal, SHOP).await;
    insta::assert_snapshot!(resources(&rehearsal).join("\n"));
    let outputs = stackdrop::rehearsal::outputs_of(&deployed).unwrap();
    assert!(outputs.load_balancer.unwrap().url.unwrap().starts_with("https://"));
    assert!(outputs.database.unwrap().host.unwrap().ends_with(".rds.amazonaws.com"));
    assert!(outputs.instance.unwrap().connect.unwrap().starts_with("aws ssm start-session"));
}

#[tokio::test(start_paused = true)]
async fn nobody_reaches_more_than_the_architecture_allows() {
    let rehearsal = rehearsal(SHOP);
    deployed(&rehearsal, SHOP).await;
    assert!(count(&rehearsal, Kind::Task) >= 2, "several tasks run");
    assert_eq!(count(&rehearsal, Kind::LoadBalancer), 2, "the load balancer has an interface in both zones");
    assert_eq!(count(&rehearsal, Kind::Database), 1);
    assert_eq!(count(&rehearsal, Kind::Instance), 1);
    assert_reach(&rehearsal, SHOP);
}

#[tokio::test(start_paused = true)]
async fn a_stack_without_nat_deploys_through_endpoints_and_is_equally_closed() {
    let rehearsal = rehearsal(PRIVATE);
    deployed(&rehearsal, PRIVATE).await;
    assert_eq!(count(&rehearsal, Kind::Nat), 0);
    assert!(count(&rehearsal, Kind::Endpoint) > 0);
    assert_reach(&rehearsal, PRIVATE);
}

#[tokio::test(start_paused = true)]
async fn the_minimal_spec_deploys() {
    let rehearsal = rehearsal(MINIMAL);
    deployed(&rehearsal, MINIMAL).await;
}

#[tokio::test(start_paused = true)]
async fn only_load_balancers_and_nat_gateways_have_public_addresses() {
    let rehearsal = rehearsal(SHOP);
    deployed(&rehearsal, SHOP).await;
    for interface in rehearsal.account().interfaces() {
        let expected = matches!(kind(&interface), Kind::LoadBalancer | Kind::Nat);
        assert_eq!(interface.public, expected, "{interface:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn every_taggable_resource_carries_the_tags_of_the_stack() {
    for spec in [SHOP, PRIVATE, MINIMAL] {
        let rehearsal = rehearsal(spec);
        deployed(&rehearsal, spec).await;
        // These cannot carry tags, or AWS creates them by itself.
        let without = [
            "AWS::Route53::RecordSet",
            "AWS::SecretsManager::Secret",
            "AWS::IAM::ServiceLinkedRole",
            "AWS::ApplicationAutoScaling::ScalingPolicy",
            "AWS::Scheduler::Schedule",
        ];
        for item in rehearsal.account().inventory() {
            assert!(!item.component.is_empty() || without.contains(&item.kind.as_str()), "{item:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_second_deployment_of_the_same_spec_changes_nothing_and_makes_few_calls() {
    for spec in [SHOP, PRIVATE, MINIMAL] {
        let rehearsal = rehearsal(spec);
        deployed(&rehearsal, spec).await;
        let before = resources(&rehearsal);
        let second = deployed(&rehearsal, spec).await;
        assert_eq!(changes(&second), Vec::<String>::new());
        assert_eq!(resources(&rehearsal), before);
        if spec == SHOP {
            let reads = second.calls.iter().filter(|call| !call.writes).count();
            assert!(reads <= 56, "{reads} reading calls: {:#?}", second.counts());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_gives_the_same_history() {
    let spec = Spec::read(SHOP.as_bytes()).unwrap();
    let mut histories = Vec::new();
    for seed in [7, 7, 8] {
        let setting = stackdrop::Setting { seed: Some(seed), ..Default::default() };
        let rehearsal = Rehearsal::open(&setting, &[&spec]).unwrap();
        let deployed = deployed(&rehearsal, SHOP).await;
        histories.push(serde_json::to_string(&deployed.outcome.history).unwrap());
    }
    assert_eq!(histories[0], histories[1]);
    assert_ne!(histories[0], histories[2]);
}
