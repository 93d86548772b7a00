//! Internet gateways, route tables, addresses, NAT gateways.

use aws_sdk_ec2::types::{ConnectivityType, RouteState};
use stackdrop_simulator::{Fault, FaultKind, When};

use crate::site::{Site, address, code, empty, filter, interface, refusal, subnet, table, vpc, wait};

async fn gateway(ec2: &aws_sdk_ec2::Client) -> String {
    let answer = ec2.create_internet_gateway().send().await.unwrap();
    wait(1.0).await;
    answer.internet_gateway.unwrap().internet_gateway_id.unwrap()
}

#[tokio::test(start_paused = true)]
async fn an_internet_gateway_is_attached_once() {
    let (_, ec2) = empty();
    let (here, there) = (vpc(&ec2, "10.0.0.0/16").await, vpc(&ec2, "10.1.0.0/16").await);
    let (one, two) = (gateway(&ec2).await, gateway(&ec2).await);
    let attach = |id: &str, to: &str| ec2.attach_internet_gateway().internet_gateway_id(id).vpc_id(to).send();
    let detach =
        |id: &str, from: &str| ec2.detach_internet_gateway().internet_gateway_id(id).vpc_id(from).send();
    assert_eq!(code(detach(&one, &here).await), "Gateway.NotAttached");
    attach(&one, &here).await.unwrap();
    assert_eq!(code(attach(&one, &here).await), "Resource.AlreadyAssociated");
    assert_eq!(code(attach(&one, &there).await), "Resource.AlreadyAssociated");
    assert_eq!(code(attach(&two, &here).await), "InvalidParameterValue");
    assert_eq!(code(attach("igw-00000000000000000", &there).await), "InvalidInternetGatewayID.NotFound");
    let delete = |id: &str| ec2.delete_internet_gateway().internet_gateway_id(id).send();
    assert_eq!(code(delete(&one).await), "DependencyViolation");
    detach(&one, &here).await.unwrap();
    delete(&one).await.unwrap();
    assert_eq!(code(delete(&one).await), "InvalidInternetGatewayID.NotFound");
}

#[tokio::test(start_paused = true)]
async fn an_account_has_at_most_five_internet_gateways_and_five_addresses() {
    let (_, ec2) = empty();
    for _ in 0..5 {
        ec2.create_internet_gateway().send().await.unwrap();
        ec2.allocate_address().send().await.unwrap();
    }
    assert_eq!(code(ec2.create_internet_gateway().send().await), "InternetGatewayLimitExceeded");
    assert_eq!(code(ec2.allocate_address().send().await), "AddressLimitExceeded");
}

#[tokio::test(start_paused = true)]
async fn an_internet_gateway_stays_attached_until_a_while_after_the_last_public_address() {
    let site = Site::open().await;
    let (nat, allocation) = site.nat().await;
    let detach =
        || site.ec2.detach_internet_gateway().internet_gateway_id(&site.gateway).vpc_id(&site.vpc).send();
    let (refused, message) = refusal(detach().await);
    assert_eq!(refused, "DependencyViolation");
    assert!(message.contains("has some mapped public address(es)"), "{message}");
    wait(106.0).await;
    site.ec2.delete_nat_gateway().nat_gateway_id(&nat).send().await.unwrap();
    assert_eq!(code(detach().await), "DependencyViolation");
    wait(61.0).await;
    assert_eq!(site.nat_state(&nat).await, "deleted");
    // EC2 frees the address a moment later.
    let release = || site.ec2.release_address().allocation_id(&allocation).send();
    let mut refusals = Vec::new();
    loop {
        match release().await {
            Ok(_) => break,
            refused => refusals.push(code(refused)),
        }
        wait(1.0).await;
    }
    assert_eq!(refusals.last().map(String::as_str), Some("InvalidNetworkInterfaceID.NotFound"));
    assert_eq!(code(detach().await), "DependencyViolation");
    wait(22.0).await;
    detach().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_route_table_with_associations_cannot_be_deleted() {
    let site = Site::open().await;
    let delete = || site.ec2.delete_route_table().route_table_id(&site.private_table).send();
    assert_eq!(code(delete().await), "DependencyViolation");
    let other = table(&site.ec2, &site.vpc, &[]).await;
    let again = site.ec2.associate_route_table().route_table_id(&other).subnet_id(&site.private[0]);
    assert_eq!(code(again.send().await), "Resource.AlreadyAssociated");
    let described =
        site.ec2.describe_route_tables().route_table_ids(&site.private_table).send().await.unwrap();
    for association in described.route_tables()[0].associations() {
        let id = association.route_table_association_id().unwrap();
        site.ec2.disassociate_route_table().association_id(id).send().await.unwrap();
        let gone = site.ec2.disassociate_route_table().association_id(id).send().await;
        assert_eq!(code(gone), "InvalidAssociationID.NotFound");
    }
    delete().await.unwrap();
    assert_eq!(code(delete().await), "InvalidRouteTableID.NotFound");
}

#[tokio::test(start_paused = true)]
async fn the_main_table_stays_with_its_vpc() {
    let site = Site::open().await;
    let main =
        site.ec2.describe_route_tables().filters(filter("association.main", "true")).send().await.unwrap();
    let main = &main.route_tables()[0];
    let id = main.route_table_id().unwrap();
    let delete = site.ec2.delete_route_table().route_table_id(id).send().await;
    assert_eq!(code(delete), "DependencyViolation");
    let association = main.associations()[0].route_table_association_id().unwrap();
    let disassociate = site.ec2.disassociate_route_table().association_id(association).send().await;
    assert_eq!(code(disassociate), "InvalidParameterValue");
}

#[tokio::test(start_paused = true)]
async fn a_table_and_a_subnet_of_different_vpcs_cannot_be_associated() {
    let site = Site::open().await;
    let other = vpc(&site.ec2, "10.1.0.0/16").await;
    let elsewhere = subnet(&site.ec2, &other, "10.1.0.0/24", "a").await;
    let call = site.ec2.associate_route_table().route_table_id(&site.private_table).subnet_id(&elsewhere);
    assert_eq!(code(call.send().await), "InvalidParameterValue");
    let foreign_table = table(&site.ec2, &other, &[]).await;
    let call = site.ec2.create_route().route_table_id(foreign_table).destination_cidr_block("0.0.0.0/0");
    assert_eq!(code(call.gateway_id(&site.gateway).send().await), "InvalidParameterValue");
}

#[tokio::test(start_paused = true)]
async fn invalid_routes_are_refused() {
    let site = Site::open().await;
    let create =
        |to: &str| site.ec2.create_route().route_table_id(&site.public_table).destination_cidr_block(to);
    let gateway = &site.gateway;
    let existing = create("0.0.0.0/0").gateway_id(gateway).send().await;
    assert_eq!(
        refusal(existing),
        ("RouteAlreadyExists".into(), "The route identified by 0.0.0.0/0 already exists.".into())
    );
    for to in ["10.0.0.0/16", "10.0.7.0/24"] {
        assert_eq!(code(create(to).gateway_id(gateway).send().await), "InvalidParameterValue", "{to}");
    }
    assert_eq!(code(create("1.0.0.0/8").send().await), "MissingParameter");
    let both = create("1.0.0.0/8").gateway_id(gateway).nat_gateway_id("nat-00000000000000000");
    assert_eq!(code(both.send().await), "InvalidParameterCombination");
    let no_gateway = create("1.0.0.0/8").gateway_id("igw-00000000000000000").send().await;
    assert_eq!(code(no_gateway), "InvalidGatewayID.NotFound");
    let no_nat = create("1.0.0.0/8").nat_gateway_id("nat-00000000000000000").send().await;
    assert_eq!(code(no_nat), "InvalidNatGatewayID.NotFound");
    let replace = site.ec2.replace_route().route_table_id(&site.public_table);
    let replace = replace.destination_cidr_block("1.0.0.0/8").gateway_id(gateway).send().await;
    assert_eq!(code(replace), "InvalidParameterValue");
    let delete = |to: &str| {
        site.ec2.delete_route().route_table_id(&site.public_table).destination_cidr_block(to).send()
    };
    assert_eq!(code(delete("1.0.0.0/8").await), "InvalidRoute.NotFound");
    assert_eq!(code(delete("10.0.0.0/16").await), "InvalidParameterValue");
    delete("0.0.0.0/0").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_route_table_is_created_once_per_token() {
    let site = Site::open().await;
    let create = |token: &str| site.ec2.create_route_table().vpc_id(&site.vpc).client_token(token).send();
    let first = create("a").await.unwrap().route_table.unwrap().route_table_id;
    assert_eq!(create("a").await.unwrap().route_table.unwrap().route_table_id, first);
    assert_ne!(create("b").await.unwrap().route_table.unwrap().route_table_id, first);
}

#[tokio::test(start_paused = true)]
async fn a_nat_gateway_takes_routes_while_pending_and_leaves_a_black_hole() {
    let site = Site::open().await;
    let (nat, allocation) = site.nat().await;
    wait(1.0).await;
    assert_eq!(site.nat_state(&nat).await, "pending");
    let call = site.ec2.create_route().route_table_id(&site.private_table).nat_gateway_id(&nat);
    call.destination_cidr_block("0.0.0.0/0").send().await.unwrap();
    let state = async || {
        let tables =
            site.ec2.describe_route_tables().filters(filter("route.nat-gateway-id", &nat)).send().await;
        tables.unwrap().route_tables()[0].routes()[1].state().unwrap().clone()
    };
    assert_eq!(state().await, RouteState::Active);
    wait(105.0).await;
    assert_eq!(site.nat_state(&nat).await, "available");
    let release = || site.ec2.release_address().allocation_id(&allocation).send();
    assert_eq!(code(release().await), "InvalidIPAddress.InUse");
    site.ec2.delete_nat_gateway().nat_gateway_id(&nat).send().await.unwrap();
    assert_eq!(site.nat_state(&nat).await, "deleting");
    assert_eq!(code(site.ec2.delete_subnet().subnet_id(&site.public[0]).send().await), "DependencyViolation");
    assert_eq!(code(release().await), "InvalidIPAddress.InUse");
    wait(61.0).await;
    assert_eq!(site.nat_state(&nat).await, "deleted");
    assert_eq!(state().await, RouteState::Blackhole);
    release().await.unwrap();
    assert_eq!(code(release().await), "InvalidAllocationID.NotFound");
    site.ec2.delete_subnet().subnet_id(&site.public[0]).send().await.unwrap();
    wait(3601.0).await;
    let gone = site.ec2.describe_nat_gateways().nat_gateway_ids(&nat).send().await;
    assert_eq!(refusal(gone), ("NatGatewayNotFound".into(), format!("NatGateway {nat} was not found")));
}

#[tokio::test(start_paused = true)]
async fn an_address_belongs_to_at_most_one_nat_gateway() {
    let site = Site::open().await;
    let (_, allocation) = site.nat().await;
    let again = site.ec2.create_nat_gateway().subnet_id(&site.public[1]).allocation_id(&allocation);
    assert_eq!(code(again.send().await), "Resource.AlreadyAssociated");
    let described = site.ec2.describe_addresses().allocation_ids(&allocation).send().await.unwrap();
    assert!(described.addresses()[0].association_id().is_some());
    let missing = site.ec2.describe_addresses().public_ips("192.0.2.7").send().await;
    assert_eq!(code(missing), "InvalidAddress.NotFound");
}

#[tokio::test(start_paused = true)]
async fn a_fresh_address_is_not_known_at_once() {
    let site = Site::open().await;
    let allocation = site.ec2.allocate_address().send().await.unwrap().allocation_id.unwrap();
    let call = || site.ec2.create_nat_gateway().subnet_id(&site.public[0]).allocation_id(&allocation).send();
    assert_eq!(code(call().await), "InvalidAllocationID.NotFound");
    wait(0.5).await;
    call().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn invalid_nat_gateways_are_refused() {
    let site = Site::open().await;
    let create = || site.ec2.create_nat_gateway();
    assert_eq!(code(create().subnet_id(&site.public[0]).send().await), "MissingParameter");
    let no_subnet =
        create().subnet_id("subnet-00000000000000000").allocation_id("eipalloc-00000000000000000");
    assert_eq!(code(no_subnet.send().await), "InvalidSubnetID.NotFound");
    let private = create().subnet_id(&site.public[0]).connectivity_type(ConnectivityType::Private);
    assert_eq!(
        code(private.clone().allocation_id("eipalloc-00000000000000000").send().await),
        "InvalidParameterCombination"
    );
    for _ in 0..5 {
        private.clone().send().await.unwrap();
    }
    assert_eq!(code(private.send().await), "NatGatewayLimitExceeded");
    let missing = site.ec2.delete_nat_gateway().nat_gateway_id("nat-00000000000000000").send().await;
    assert_eq!(code(missing), "NatGatewayNotFound");
}

#[tokio::test(start_paused = true)]
async fn a_nat_gateway_fails_without_a_route_to_the_internet() {
    let site = Site::open().await;
    let allocation = address(&site.ec2).await;
    let call = site.ec2.create_nat_gateway().subnet_id(&site.private[0]).allocation_id(&allocation);
    let nat = call.send().await.unwrap().nat_gateway.unwrap().nat_gateway_id.unwrap();
    wait(106.0).await;
    let described = site.ec2.describe_nat_gateways().nat_gateway_ids(&nat).send().await.unwrap();
    let failed = &described.nat_gateways()[0];
    assert_eq!(failed.state().unwrap().as_str(), "failed");
    assert_eq!(failed.failure_code(), Some("Gateway.NotAttached"));
    // A failed gateway uses no resources; EC2 frees its address a moment later.
    wait(5.0).await;
    site.ec2.release_address().allocation_id(&allocation).send().await.unwrap();
    site.ec2.delete_subnet().subnet_id(&site.private[0]).send().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_nat_gateway_that_fails_keeps_its_token() {
    let site = Site::open().await;
    site.account.arm(Fault::at("ec2", "CreateNatGateway", When::Only(1), FaultKind::ResourceFails));
    let allocation = address(&site.ec2).await;
    let create = |token: &str, subnet: &str| {
        let call = site.ec2.create_nat_gateway().subnet_id(subnet).allocation_id(&allocation);
        call.client_token(token).send()
    };
    let first = create("a", &site.public[0]).await.unwrap().nat_gateway.unwrap().nat_gateway_id.unwrap();
    wait(106.0).await;
    assert_eq!(site.nat_state(&first).await, "failed");
    let again = create("a", &site.public[0]).await.unwrap().nat_gateway.unwrap();
    assert_eq!((again.nat_gateway_id(), again.failure_code()), (Some(first.as_str()), Some("InternalError")));
    assert_eq!(code(create("a", &site.public[1]).await), "IdempotentParameterMismatch");
    let second = create("b", &site.public[0]).await.unwrap().nat_gateway.unwrap();
    assert_ne!(second.nat_gateway_id(), Some(first.as_str()));
    let long = "x".repeat(65);
    assert_eq!(code(create(&long, &site.public[1]).await), "InvalidParameterValue");
    assert_eq!(site.account.inventory().iter().filter(|item| item.kind == "AWS::EC2::NatGateway").count(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_interface_of_a_service_cannot_be_deleted() {
    let site = Site::open().await;
    let (nat, _) = site.nat().await;
    wait(1.0).await;
    let found = site
        .ec2
        .describe_network_interfaces()
        .filters(filter("description", &format!("*{nat}")))
        .filters(filter("requester-managed", "true"))
        .send()
        .await
        .unwrap();
    let held = &found.network_interfaces()[0];
    assert_eq!(held.subnet_id(), Some(site.public[0].as_str()));
    let delete = |id: &str| site.ec2.delete_network_interface().network_interface_id(id).send();
    assert_eq!(code(delete(held.network_interface_id().unwrap()).await), "InvalidParameterValue");
    assert_eq!(code(delete("eni-00000000000000000").await), "InvalidNetworkInterfaceID.NotFound");
    let own = interface(&site.ec2, &site.public[0], &[]).await;
    delete(&own).await.unwrap();
    let taken = held.private_ip_address().unwrap();
    let call = site.ec2.create_network_interface().subnet_id(&site.public[0]).private_ip_address(taken);
    assert_eq!(code(call.send().await), "InvalidIPAddress.InUse");
    let call = site.ec2.create_network_interface().subnet_id(&site.public[0]).private_ip_address("10.9.9.9");
    assert_eq!(code(call.send().await), "InvalidParameterValue");
}
