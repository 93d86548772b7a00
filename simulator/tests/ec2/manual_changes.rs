//! Changes that people make by hand, and AWS's offers.

use aws_sdk_ec2::types::{InstanceType, LocationType};
use stackdrop_simulator::Seed;

use crate::site::{Site, address, code, empty, filter, refusal, table, wait};

async fn running(site: &Site) -> String {
    let call =
        site.ec2.run_instances().image_id("ami-0a120230000086064").instance_type(InstanceType::T3Micro);
    let call = call.subnet_id(&site.private[0]).min_count(1).max_count(1);
    let id = call.send().await.unwrap().instances()[0].instance_id().unwrap().to_owned();
    wait(34.0).await;
    id
}

#[tokio::test(start_paused = true)]
async fn a_type_that_a_zone_lacks_is_neither_offered_nor_launched() {
    let site = Site::open().await;
    let zone = "eu-central-1a".into();
    site.account.seed(&Seed::NotOffered { instance_type: "t3.micro".into(), zone });
    let offered = async |by: LocationType| {
        let call = site.ec2.describe_instance_type_offerings().location_type(by);
        let answer = call.filters(filter("instance-type", "t3.micro")).send().await.unwrap();
        let offerings = answer.instance_type_offerings.unwrap_or_default().into_iter();
        offerings.filter_map(|offering| offering.location).collect::<Vec<_>>()
    };
    assert_eq!(offered(LocationType::AvailabilityZone).await, ["eu-central-1b", "eu-central-1c"]);
    assert_eq!(offered(LocationType::Region).await, ["eu-central-1"]);
    let call =
        site.ec2.run_instances().image_id("ami-0a120230000086064").instance_type(InstanceType::T3Micro);
    let call = call.subnet_id(&site.private[0]).min_count(1).max_count(1);
    let (code, message) = refusal(call.send().await);
    assert_eq!(code, "Unsupported");
    assert!(message.ends_with("choosing eu-central-1b, eu-central-1c."), "{message}");
}

#[tokio::test(start_paused = true)]
async fn an_unknown_type_is_offered_nowhere() {
    let (_, ec2) = empty();
    let call = ec2.describe_instance_type_offerings().filters(filter("instance-type", "m9z.large"));
    assert!(call.send().await.unwrap().instance_type_offerings().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_subnet_can_change_its_route_table() {
    let site = Site::open().await;
    let other = table(&site.ec2, &site.vpc, &[]).await;
    let used_by = async || {
        let by_subnet = filter("association.subnet-id", &site.private[0]);
        site.ec2.describe_route_tables().filters(by_subnet).send().await.unwrap().route_tables.unwrap()
    };
    let before = used_by().await;
    let mut associations = before[0].associations().iter();
    let old = associations.find(|one| one.subnet_id() == Some(&site.private[0])).unwrap();
    let old = old.route_table_association_id().unwrap().to_owned();
    let replace =
        || site.ec2.replace_route_table_association().association_id(&old).route_table_id(&other).send();
    let new = replace().await.unwrap().new_association_id.unwrap();
    assert_ne!(new, old);
    let after = used_by().await;
    assert_eq!((after.len(), after[0].route_table_id()), (1, Some(other.as_str())));
    assert_eq!(code(replace().await), "InvalidAssociationID.NotFound");
}

#[tokio::test(start_paused = true)]
async fn an_elastic_address_is_associated_with_an_instance_and_disassociated() {
    let site = Site::open().await;
    let (instance, address) = (running(&site).await, address(&site.ec2).await);
    let associate = || site.ec2.associate_address().allocation_id(&address).instance_id(&instance).send();
    let association = associate().await.unwrap().association_id.unwrap();
    assert_eq!(code(associate().await), "Resource.AlreadyAssociated");
    let shown = async || {
        let answer = site.ec2.describe_instances().instance_ids(&instance).send().await.unwrap();
        answer.reservations()[0].instances()[0].public_ip_address().map(str::to_owned)
    };
    assert!(shown().await.is_some());
    site.ec2.disassociate_address().association_id(&association).send().await.unwrap();
    assert_eq!(shown().await, None);
    let again = site.ec2.disassociate_address().association_id(association).send().await;
    assert_eq!(code(again), "InvalidAssociationID.NotFound");
    site.ec2.release_address().allocation_id(address).send().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_address_of_a_nat_gateway_cannot_be_disassociated() {
    let site = Site::open().await;
    let (_, address) = site.nat().await;
    wait(120.0).await;
    let found = site.ec2.describe_addresses().allocation_ids(address).send().await.unwrap();
    let association = found.addresses()[0].association_id().unwrap();
    let refused = site.ec2.disassociate_address().association_id(association).send().await;
    assert_eq!(code(refused), "AuthFailure");
}
