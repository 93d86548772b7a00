//! What AWS and people do to the network, egress and instance: repaired, left alone, or named with what to do.

use std::time::Duration;

use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{Filter, RouteTable};
use serde_json::json;
use stackdrop::{Deployed, Rehearsal, Setting};
use stackdrop_functions::deployment::outcome::Outcome;
use stackdrop_simulator::{Fault, FaultKind, Seed, When};
use stackdrop_specs::Spec;

use crate::updates_network::{INSTANCE_ONLY, assert_planned, planned};
use crate::{cause, changes, deployed, object, pause, redeploy, rehearsal, resources, run, with};

fn seeded(spec: &str, seeds: Vec<Seed>) -> Rehearsal {
    let read = Spec::read(spec.as_bytes()).unwrap();
    Rehearsal::open(&Setting { seeds, ..Setting::default() }, &[&read]).unwrap()
}

async fn destroy(rehearsal: &Rehearsal) -> Deployed {
    run(rehearsal, json!({ "stack": "shop", "action": "destroy", "deleteData": ["shop-instance"] })).await
}

fn zone(letter: char) -> String {
    format!("eu-central-1{letter}")
}

#[tokio::test(start_paused = true)]
async fn what_is_just_being_deleted_is_created_again() {
    let none = with(INSTANCE_ONLY, "nat: single", "nat: none");
    for (spec, incident, line) in [
        (INSTANCE_ONLY, "s3-endpoint-deleted", "endpoint/s3 create"),
        (INSTANCE_ONLY, "nat-gateways-deleted", "nat/a create"),
        (none.as_str(), "interface-endpoints-deleted", "endpoint/ssm create"),
        (INSTANCE_ONLY, "instance-terminated", "instance create"),
        (INSTANCE_ONLY, "instance-stopped", "instance state stopped -> running"),
        (INSTANCE_ONLY, "instance-profile-detached", "instance profile (none) ->"),
    ] {
        let rehearsal = rehearsal(spec);
        deployed(&rehearsal, spec).await;
        let before = resources(&rehearsal).len();
        cause(&rehearsal, incident);
        let repaired = redeploy(&rehearsal).await;
        assert!(repaired.succeeded(), "{incident}: {:?}", repaired.error());
        assert_planned(&planned(&rehearsal, &repaired).await, &[line]);
        assert_eq!(resources(&rehearsal).len(), before, "{incident}");
        let next = redeploy(&rehearsal).await;
        assert_eq!(planned(&rehearsal, &next).await, Vec::<String>::new(), "{incident}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_deleted_some_time_ago_is_created_again() {
    let none = with(INSTANCE_ONLY, "nat: single", "nat: none");
    for (spec, incident, line) in [
        (INSTANCE_ONLY, "s3-endpoint-deleted", "endpoint/s3 create"),
        (INSTANCE_ONLY, "nat-gateways-deleted", "nat/a create"),
        (none.as_str(), "interface-endpoints-deleted", "endpoint/ssm create"),
        (INSTANCE_ONLY, "instance-terminated", "instance create"),
    ] {
        let rehearsal = rehearsal(spec);
        deployed(&rehearsal, spec).await;
        let before = resources(&rehearsal).len();
        cause(&rehearsal, incident);
        // EC2 still shows what is deleted.
        pause(Duration::from_mins(10)).await;
        let repaired = redeploy(&rehearsal).await;
        assert!(repaired.succeeded(), "{incident}: {:?}", repaired.error());
        assert_planned(&planned(&rehearsal, &repaired).await, &[line]);
        assert_eq!(resources(&rehearsal).len(), before, "{incident}");
        let next = redeploy(&rehearsal).await;
        assert_eq!(planned(&rehearsal, &next).await, Vec::<String>::new(), "{incident}");
    }
}

#[tokio::test(start_paused = true)]
async fn guard_duty_is_left_alone_until_its_vpc_is_destroyed() {
    let rehearsal = rehearsal(INSTANCE_ONLY);
    deployed(&rehearsal, INSTANCE_ONLY).await;
    cause(&rehearsal, "guard-duty-added");
    let next = redeploy(&rehearsal).await;
    assert_eq!(changes(&next), Vec::<String>::new());
    let destroyed = destroy(&rehearsal).await;
    assert_eq!(destroyed.result(), Outcome::Destroyed, "{:?}", destroyed.error());
    assert_eq!(resources(&rehearsal), Vec::<String>::new());
}

/// Deletes the stack's S3 endpoint, and creates another one for the same route tables.
async fn replace_s3_endpoint(rehearsal: &Rehearsal) -> String {
    cause(rehearsal, "s3-endpoint-deleted");
    tokio::time::advance(Duration::from_mins(2)).await;
    let ec2 = Client::new(rehearsal.sdk());
    let vpc = ec2.describe_vpcs().send().await.unwrap().vpcs()[0].vpc_id.clone().unwrap();
    let by_name = Filter::builder().name("tag:Name").values("shop-route-table-private-*").build();
    let tables = ec2.describe_route_tables().filters(by_name).send().await.unwrap();
    let tables: Vec<String> =
        tables.route_tables().iter().filter_map(|table| table.route_table_id.clone()).collect();
    let call = ec2.create_vpc_endpoint().vpc_id(vpc).service_name("com.amazonaws.eu-central-1.s3");
    let made = call.set_route_table_ids(Some(tables)).send().await.unwrap();
    tokio::time::advance(Duration::from_mins(1)).await;
    made.vpc_endpoint.unwrap().vpc_endpoint_id.unwrap()
}

#[tokio::test(start_paused = true)]
async fn somebody_elses_s3_endpoint_in_the_stacks_route_tables_is_named() {
    let rehearsal = rehearsal(INSTANCE_ONLY);
    deployed(&rehearsal, INSTANCE_ONLY).await;
    let other = replace_s3_endpoint(&rehearsal).await;
    let refused = redeploy(&rehearsal).await;
    let error = refused.error().unwrap_or_default();
    assert!(error.starts_with("PreflightFailed") && error.contains(&other), "{error}");
    assert!(error.contains("remove the stack's route tables from"), "{error}");
    assert_eq!(changes(&refused), Vec::<String>::new());
}

async fn zones_of(rehearsal: &Rehearsal) -> Vec<String> {
    let subnets = Client::new(rehearsal.sdk()).describe_subnets().send().await.unwrap();
    let mut zones: Vec<String> =
        subnets.subnets().iter().filter_map(|subnet| subnet.availability_zone.clone()).collect();
    zones.sort();
    zones.dedup();
    zones
}

#[tokio::test(start_paused = true)]
async fn another_zone_is_used_if_aws_creates_no_subnets_in_one() {
    let rehearsal = seeded(INSTANCE_ONLY, vec![Seed::ZoneWithoutSubnets { zone: zone('a') }]);
    deployed(&rehearsal, INSTANCE_ONLY).await;
    assert_eq!(zones_of(&rehearsal).await, [zone('b'), zone('c')]);
    let next = redeploy(&rehearsal).await;
    assert_eq!(changes(&next), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn excluded_zones_get_no_subnets_and_existing_subnets_stay() {
    let excluding = |letter: char| {
        with(INSTANCE_ONLY, "nat: single", &format!("nat: single, excludeZones: [{}]", zone(letter)))
    };
    let rehearsal = rehearsal(INSTANCE_ONLY);
    deployed(&rehearsal, &excluding('b')).await;
    assert_eq!(zones_of(&rehearsal).await, [zone('a'), zone('c')]);
    let next = deployed(&rehearsal, &excluding('a')).await;
    assert_eq!(changes(&next), Vec::<String>::new());
    assert_eq!(zones_of(&rehearsal).await, [zone('a'), zone('c')]);
}

#[tokio::test(start_paused = true)]
async fn too_many_excluded_zones_are_refused_by_the_plan() {
    for (zones, excluded, why, fix) in [
        (2, format!("{}, {}", zone('a'), zone('b')), "only 1 usable availability zones", "exclude fewer"),
        (3, zone('a'), "only 2 usable availability zones", "set network.zones to 2"),
    ] {
        let spec = with(INSTANCE_ONLY, "zones: 2", &format!("zones: {zones}, excludeZones: [{excluded}]"));
        let refused = rehearsal(&spec).deploy(&spec, &()).await.unwrap();
        let error = refused.error().unwrap_or_default();
        assert!(error.contains(why) && error.contains(fix), "{error}");
        assert_eq!(changes(&refused), Vec::<String>::new());
    }
}

#[tokio::test(start_paused = true)]
async fn a_zone_that_is_excluded_although_it_has_subnets_is_named_when_zones_are_added() {
    let rehearsal = rehearsal(INSTANCE_ONLY);
    deployed(&rehearsal, INSTANCE_ONLY).await;
    let wider = format!("zones: 3, excludeZones: [{}]", zone('a'));
    deployed(&rehearsal, &with(INSTANCE_ONLY, "zones: 2", &wider)).await;
    assert_eq!(zones_of(&rehearsal).await, [zone('a'), zone('b'), zone('c')]);
    let status = object(&rehearsal, "stacks/shop/status.json").await.unwrap();
    let told = status["message"].as_str().unwrap();
    assert!(
        told.contains("excludeZones has eu-central-1a, in which the stack already has subnets"),
        "{told}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_zone_without_an_endpoint_service_is_named_before_anything_is_created() {
    let spec = with(INSTANCE_ONLY, "nat: single", "nat: none");
    let lacks = Seed::ZoneWithoutEndpoints { service: "ssm".into(), zone: zone('b') };
    let rehearsal = seeded(&spec, vec![lacks]);
    let refused = rehearsal.deploy(&spec, &()).await.unwrap();
    let error = refused.error().unwrap_or_default();
    assert!(error.starts_with("PreflightFailed"), "{error}");
    assert!(error.contains("network.excludeZones to [eu-central-1b]"), "{error}");
    assert_eq!(changes(&refused), Vec::<String>::new());
    deployed(&rehearsal, &with(&spec, "nat: none", "nat: none, excludeZones: [eu-central-1b]")).await;
}

#[tokio::test(start_paused = true)]
async fn an_update_is_not_advised_to_exclude_a_zone_that_the_stack_uses() {
    let spec = with(INSTANCE_ONLY, "nat: single", "nat: none");
    let rehearsal = rehearsal(&spec);
    deployed(&rehearsal, &spec).await;
    let lacks = Seed::ZoneWithoutEndpoints { service: "ecr.api".into(), zone: zone('b') };
    rehearsal.account().seed(&lacks);
    let image = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/worker:1";
    let update = format!("{spec}services: {{ worker: {{ image: '{image}' }} }}\n");
    let refused = rehearsal.deploy(&update, &()).await.unwrap();
    let error = refused.error().unwrap_or_default();
    let why = "AWS has no interface endpoints for com.amazonaws.eu-central-1.ecr.api in eu-central-1b";
    assert!(error.contains(why) && error.contains("set network.nat to single or per-zone"), "{error}");
    assert!(!error.contains("excludeZones"), "{error}");
    assert_eq!(changes(&refused), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn an_instance_is_launched_in_a_zone_that_has_capacity() {
    let rehearsal = seeded(INSTANCE_ONLY, vec![Seed::ZoneWithoutCapacity { zone: zone('a') }]);
    deployed(&rehearsal, INSTANCE_ONLY).await;
    let found = Client::new(rehearsal.sdk()).describe_instances().send().await.unwrap();
    let instances: Vec<_> =
        found.reservations().iter().flat_map(aws_sdk_ec2::types::Reservation::instances).collect();
    assert_eq!(instances.len(), 1);
    assert_eq!(instances[0].placement().unwrap().availability_zone(), Some("eu-central-1b"));
}

#[tokio::test(start_paused = true)]
async fn no_capacity_in_any_zone_is_told_at_once_and_rolled_back() {
    let seeds = ['a', 'b'].map(|letter| Seed::ZoneWithoutCapacity { zone: zone(letter) }).to_vec();
    let rehearsal = seeded(INSTANCE_ONLY, seeds);
    let failed = rehearsal.deploy(INSTANCE_ONLY, &()).await.unwrap();
    let error = failed.error().unwrap_or_default();
    assert_eq!(failed.result(), Outcome::Failed, "{error}");
    assert!(error.contains("AWS has no capacity for t3.micro") && error.contains("instance.type"), "{error}");
    assert_eq!(resources(&rehearsal), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn what_others_own_does_not_count_against_the_quotas() {
    let quota =
        |service: &str, code: &str| Seed::Quota { service: service.into(), code: code.into(), value: 1 };
    let seeds =
        vec![quota("vpc", "L-F678F1CE"), quota("ec2", "L-0263D0A3"), Seed::SharedVpc, Seed::UncountedAddress];
    deployed(&seeded(INSTANCE_ONLY, seeds), INSTANCE_ONLY).await;
}

/// The destinations of the routes to peered networks.
async fn peering_routes(rehearsal: &Rehearsal) -> usize {
    let tables = Client::new(rehearsal.sdk()).describe_route_tables().send().await.unwrap();
    let routes = tables.route_tables().iter().flat_map(RouteTable::routes);
    routes.filter(|route| route.vpc_peering_connection_id().is_some()).count()
}

#[tokio::test(start_paused = true)]
async fn a_route_to_another_network_stays_only_if_the_spec_names_it() {
    let keeping = with(INSTANCE_ONLY, "nat: single", "nat: single, keepRoutes: [10.99.0.0/16]");
    for (spec, kept) in [(INSTANCE_ONLY, 0), (keeping.as_str(), 4)] {
        let rehearsal = rehearsal(spec);
        deployed(&rehearsal, spec).await;
        cause(&rehearsal, "peering-route-added");
        assert_eq!(peering_routes(&rehearsal).await, 4);
        let next = redeploy(&rehearsal).await;
        assert!(next.succeeded(), "{:?}", next.error());
        assert_eq!(peering_routes(&rehearsal).await, kept);
        assert_eq!(changes(&next).is_empty(), kept > 0);
        let plan = planned(&rehearsal, &next).await;
        assert_eq!(plan.iter().any(|line| line.contains("routes.10.99.0.0/16 pcx-")), kept == 0, "{plan:#?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_kept_route_must_not_lead_to_the_internet() {
    let keeping = with(INSTANCE_ONLY, "nat: single", "nat: single, keepRoutes: [198.51.100.0/24]");
    let rehearsal = rehearsal(&keeping);
    deployed(&rehearsal, &keeping).await;
    let ec2 = Client::new(rehearsal.sdk());
    let by_name = Filter::builder().name("tag:stackdrop:logical-id").values("route-table/database").build();
    let tables = ec2.describe_route_tables().filters(by_name).send().await.unwrap();
    let table = tables.route_tables()[0].route_table_id().unwrap();
    let gateways = ec2.describe_internet_gateways().send().await.unwrap();
    let gateway = gateways.internet_gateways()[0].internet_gateway_id().unwrap();
    let call = ec2.create_route().route_table_id(table).destination_cidr_block("198.51.100.0/24");
    call.gateway_id(gateway).send().await.unwrap();
    pause(Duration::from_mins(1)).await;
    let repaired = redeploy(&rehearsal).await;
    assert!(repaired.succeeded(), "{:?}", repaired.error());
    assert_eq!(
        planned(&rehearsal, &repaired).await,
        [format!("route-table/database routes.198.51.100.0/24 {gateway} -> (none)")]
    );
    let found = ec2.describe_route_tables().route_table_ids(table).send().await.unwrap();
    assert_eq!(found.route_tables()[0].routes().len(), 1, "only the local route remains");
}

#[tokio::test(start_paused = true)]
async fn a_diverted_local_route_is_restored() {
    let rehearsal = rehearsal(INSTANCE_ONLY);
    deployed(&rehearsal, INSTANCE_ONLY).await;
    cause(&rehearsal, "local-routes-diverted");
    let repaired = redeploy(&rehearsal).await;
    assert!(repaired.succeeded(), "{:?}", repaired.error());
    let plan = planned(&rehearsal, &repaired).await;
    assert_planned(&plan, &["route-table/database routes.10.20.0.0/16 eni-0123456789abcdef0 -> local"]);
    let next = redeploy(&rehearsal).await;
    assert_eq!(planned(&rehearsal, &next).await, Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn an_address_that_somebody_uses_elsewhere_is_named() {
    let rehearsal = rehearsal(INSTANCE_ONLY);
    deployed(&rehearsal, INSTANCE_ONLY).await;
    cause(&rehearsal, "nat-gateways-deleted");
    tokio::time::advance(Duration::from_hours(2)).await;
    let ec2 = Client::new(rehearsal.sdk());
    let address = ec2.describe_addresses().send().await.unwrap().addresses()[0].clone();
    let found = ec2.describe_instances().send().await.unwrap();
    let instance = found.reservations()[0].instances()[0].instance_id().unwrap().to_owned();
    let call = ec2.associate_address().allocation_id(address.allocation_id().unwrap());
    call.instance_id(&instance).send().await.unwrap();
    let refused = redeploy(&rehearsal).await;
    let error = refused.error().unwrap_or_default();
    assert!(error.starts_with("PreflightFailed") && error.contains(&instance), "{error}");
    assert!(error.contains(&format!("disassociate {}", address.public_ip().unwrap())), "{error}");
    assert_eq!(changes(&refused), Vec::<String>::new());
}

fn refusal(code: &str) -> FaultKind {
    FaultKind::Refused { code: code.into(), message: "the test says no".into() }
}

#[tokio::test(start_paused = true)]
async fn a_zone_without_nat_gateways_is_named_with_what_to_do() {
    let rehearsal = rehearsal(INSTANCE_ONLY);
    let fault = Fault::at("ec2", "CreateNatGateway", When::From(1), refusal("NotAvailableInZone"));
    rehearsal.account().arm(fault);
    let failed = rehearsal.deploy(INSTANCE_ONLY, &()).await.unwrap();
    let error = failed.error().unwrap_or_default();
    assert!(error.contains("set network.excludeZones to the zone of subnet subnet-"), "{error}");
    assert_eq!(resources(&rehearsal), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_stays_offline_is_told_soon_after_awss_checks_have_passed() {
    let rehearsal = rehearsal(INSTANCE_ONLY);
    // Systems Manager does not know the instance.
    let fault = Fault::at("ssm", "DescribeInstanceInformation", When::From(1), refusal("InvalidInstanceId"));
    rehearsal.account().arm(fault);
    let failed = rehearsal.deploy(INSTANCE_ONLY, &()).await.unwrap();
    let error = failed.error().unwrap_or_default();
    assert!(error.contains("AWS's status checks of the instance have passed"), "{error}");
    assert!(error.contains("aws ec2 get-console-output"), "{error}");
    // The checks pass 180 s after the start; the rest are the creation and the rollback.
    assert!(failed.outcome.seconds < 900.0, "{} s", failed.outcome.seconds);
    assert_eq!(resources(&rehearsal), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_public_address_of_somebody_else_in_the_vpc_is_told_within_two_minutes() {
    let rehearsal = rehearsal(INSTANCE_ONLY);
    let outputs = deployed(&rehearsal, INSTANCE_ONLY).await.outputs();
    let ec2 = Client::new(rehearsal.sdk());
    let address = ec2.allocate_address().send().await.unwrap().allocation_id.unwrap();
    tokio::time::advance(Duration::from_secs(10)).await;
    let subnet = outputs["network"]["publicSubnets"]["b"].as_str().unwrap();
    let call = ec2.create_nat_gateway().subnet_id(subnet).allocation_id(address);
    let nat = call.send().await.unwrap().nat_gateway.unwrap().nat_gateway_id.unwrap();
    tokio::time::advance(Duration::from_mins(5)).await;
    let failed = destroy(&rehearsal).await;
    let error = failed.error().unwrap_or_default();
    assert_eq!(failed.result(), Outcome::DestroyFailed, "{error}");
    assert!(error.contains(&format!("Interface for NAT Gateway {nat}")), "{error}");
    // Before it, the stack's own resources are deleted, which takes about three minutes.
    assert!(failed.outcome.seconds < 360.0, "{} s", failed.outcome.seconds);
    ec2.delete_nat_gateway().nat_gateway_id(nat).send().await.unwrap();
    tokio::time::advance(Duration::from_mins(5)).await;
    let destroyed = destroy(&rehearsal).await;
    assert_eq!(destroyed.result(), Outcome::Destroyed, "{:?}", destroyed.error());
}

#[tokio::test(start_paused = true)]
async fn an_instance_whose_launch_was_lost_in_one_zone_does_not_exist_twice() {
    let rehearsal = rehearsal(INSTANCE_ONLY);
    let no_capacity =
        FaultKind::Refused { code: "InsufficientInstanceCapacity".into(), message: "no capacity".into() };
    rehearsal.account().arm(Fault::at("ec2", "RunInstances", When::Only(1), no_capacity));
    rehearsal.account().arm(Fault::at("ec2", "RunInstances", When::Only(2), FaultKind::LostAfter));
    let deployed = rehearsal.deploy(INSTANCE_ONLY, &()).await.unwrap();
    assert!(deployed.succeeded(), "{:?}", deployed.error());
    let launches =
        rehearsal.account().call_log().iter().filter(|call| call.name() == "ec2:RunInstances").count();
    assert!(launches >= 3, "the test needs a third launch");
    let items = rehearsal.account().inventory();
    assert_eq!(items.iter().filter(|item| item.kind == "AWS::EC2::Instance").count(), 1, "{items:?}");
}
