//! Security properties of the network, egress and instance, as they are in the account after a deployment.

use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{Filter, HttpTokensState, VolumeType};

use crate::updates_network::INSTANCE_ONLY;
use crate::{changes, deployed, rehearsal};

#[tokio::test(start_paused = true)]
async fn the_root_disk_is_encrypted_and_as_large_as_the_spec_has_it() {
    let rehearsal = rehearsal(INSTANCE_ONLY);
    deployed(&rehearsal, INSTANCE_ONLY).await;
    let found = Client::new(rehearsal.sdk()).describe_volumes().send().await.unwrap();
    assert_eq!(found.volumes().len(), 1);
    let disk = &found.volumes()[0];
    assert_eq!((disk.encrypted(), disk.size()), (Some(true), Some(20)));
    assert_eq!(disk.volume_type(), Some(&VolumeType::Gp3));
}

#[tokio::test(start_paused = true)]
async fn the_instance_requires_imdsv2_from_its_launch_on() {
    let rehearsal = rehearsal(INSTANCE_ONLY);
    let first = deployed(&rehearsal, INSTANCE_ONLY).await;
    let found = Client::new(rehearsal.sdk()).describe_instances().send().await.unwrap();
    let options = found.reservations()[0].instances()[0].metadata_options().unwrap();
    assert_eq!(options.http_tokens(), Some(&HttpTokensState::Required));
    assert!(!changes(&first).contains(&"ec2:ModifyInstanceMetadataOptions".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn database_subnets_have_no_way_out_with_any_egress() {
    for nat in ["nat: single", "nat: per-zone", "nat: none"] {
        let spec = INSTANCE_ONLY.replace("nat: single", nat);
        let rehearsal = rehearsal(&spec);
        let outputs = deployed(&rehearsal, &spec).await.outputs();
        let ec2 = Client::new(rehearsal.sdk());
        let subnets = outputs["network"]["databaseSubnets"].as_object().unwrap();
        assert_eq!(subnets.len(), 2);
        for subnet in subnets.values() {
            let filter = Filter::builder().name("association.subnet-id").values(subnet.as_str().unwrap());
            let found = ec2.describe_route_tables().filters(filter.build()).send().await.unwrap();
            let [table] = found.route_tables() else { panic!("{subnet} has its own route table") };
            let gateways: Vec<_> = table.routes().iter().map(|route| route.gateway_id()).collect();
            assert_eq!(gateways, [Some("local")], "{nat}: {:?}", table.routes());
        }
    }
}

/// A service without secrets of its own, in a network without NAT.
const WITH_DATABASE: &str = "
stack: shop
region: eu-central-1
network: { cidr: 10.20.0.0/16, zones: 2, nat: none }
services:
  web:
    image: 123456789012.dkr.ecr.eu-central-1.amazonaws.com/web:1
    database: { DB_PASSWORD: password }
database: { deletionProtection: false, finalSnapshot: false }
";

#[tokio::test(start_paused = true)]
async fn a_task_that_only_takes_the_databases_password_reaches_secrets_manager() {
    let rehearsal = rehearsal(WITH_DATABASE);
    let outputs = deployed(&rehearsal, WITH_DATABASE).await.outputs();
    let endpoints = outputs["egress"]["endpoints"].as_object().unwrap();
    assert!(endpoints.contains_key("secretsmanager"), "{endpoints:?}");
}
