//! Routes whose NAT gateway is replaced: one in use waits for the new gateway, one that leads nowhere does not.

use std::time::Duration;

use aws_sdk_ec2::Client;
use serde_json::{Value, json};

use crate::common::{act, until_done};
use crate::{COMPONENTS, NAT, deployed, next};

/// Where the default route of a zone's private subnets leads.
async fn route_of(ec2: &Client, deployment: &Value, zone: &str) -> String {
    let table = deployment["outputs"]["network"]["privateTables"][zone].as_str().unwrap();
    let found = ec2.describe_route_tables().route_table_ids(table).send().await.unwrap();
    let routes = found.route_tables()[0].routes();
    let route = routes.iter().find(|route| route.destination_cidr_block() == Some("0.0.0.0/0"));
    route.unwrap().nat_gateway_id().unwrap().to_owned()
}

/// The state of a NAT gateway.
async fn state_of(ec2: &Client, gateway: &str) -> String {
    let found = ec2.describe_nat_gateways().nat_gateway_ids(gateway).send().await.unwrap();
    found.nat_gateways()[0].state().unwrap().as_str().to_owned()
}

#[tokio::test(start_paused = true)]
async fn a_route_in_use_leads_to_a_gateway_only_once_it_is_available() {
    let (_account, aws, deployment) = deployed(NAT, &COMPONENTS[..3]).await;
    let first = route_of(aws.ec2(), &deployment, "b").await;
    let deployment = next(&deployment, &NAT.replacen("nat: single", "nat: per-zone", 1));
    for _ in 0..200 {
        let applied = act(&aws, "egress", "apply", &deployment).await;
        tokio::time::advance(Duration::from_secs(10)).await;
        let leads_to = route_of(aws.ec2(), &deployment, "b").await;
        assert_eq!(state_of(aws.ec2(), &leads_to).await, "available");
        match applied {
            Ok(outputs) => {
                assert_eq!(outputs["natGateways"]["b"], json!(leads_to));
                assert_ne!(leads_to, first, "the zone has its own gateway");
                return;
            }
            Err(error) => assert!(error.is_retried(), "{error:?}"),
        }
    }
    panic!("the route was not replaced");
}

#[tokio::test(start_paused = true)]
async fn a_route_that_leads_nowhere_leads_to_the_new_gateway_at_once() {
    let (_account, aws, mut deployment) = deployed(NAT, &COMPONENTS[..3]).await;
    let gateway = deployment["outputs"]["egress"]["natGateways"]["a"].as_str().unwrap();
    aws.ec2().delete_nat_gateway().nat_gateway_id(gateway).send().await.unwrap();
    tokio::time::advance(Duration::from_hours(2)).await;
    deployment["id"] = json!("second");
    let outputs = until_done(&aws, "egress", "apply", &deployment).await.unwrap();
    tokio::time::advance(Duration::from_secs(10)).await;
    for zone in ["a", "b"] {
        let leads_to = route_of(aws.ec2(), &deployment, zone).await;
        assert_eq!(outputs["natGateways"]["a"], json!(leads_to), "{zone}");
        assert_eq!(state_of(aws.ec2(), &leads_to).await, "pending", "{zone}: nobody waits for the gateway");
    }
}
