//! Second resources for one logical ID, which a lost answer can leave, and resources that have failed.

use std::time::Duration;

use aws_sdk_ec2::types::{DomainType, ResourceType, Tag, TagSpecification};
use serde_json::{Value, json};
use stackdrop_functions::aws::error::StepError;
use stackdrop_simulator::{Fault, FaultKind, When};

use crate::common::{act, until_done};
use crate::{COMPONENTS, ENDPOINTS, NAT, applied, deployed};

/// The tags that a component gives to its resources.
fn tags(kind: ResourceType, component: &str, logical_id: &str) -> TagSpecification {
    let tag = |key: &str, value: &str| Tag::builder().key(key).value(value).build();
    TagSpecification::builder()
        .resource_type(kind)
        .tags(tag("stackdrop:stack", "shop"))
        .tags(tag("stackdrop:component", component))
        .tags(tag("stackdrop:logical-id", logical_id))
        .build()
}

#[tokio::test(start_paused = true)]
async fn a_second_resource_for_one_logical_id_is_named_and_deleted_and_the_one_in_use_stays() {
    let (account, aws, deployment) = deployed(NAT, &COMPONENTS[..3]).await;
    let ids = || account.inventory().into_iter().map(|item| item.id).collect::<Vec<_>>();
    let before = ids();
    let ec2 = aws.ec2();
    let call = ec2.create_vpc().cidr_block("10.99.0.0/16");
    let vpc = call.tag_specifications(tags(ResourceType::Vpc, "network", "vpc")).send().await.unwrap();
    let of_gateway = tags(ResourceType::InternetGateway, "network", "internet-gateway");
    let gateway = ec2.create_internet_gateway().tag_specifications(of_gateway).send().await.unwrap();
    let of_address = tags(ResourceType::ElasticIp, "egress", "address/a");
    let call = ec2.allocate_address().domain(DomainType::Vpc).tag_specifications(of_address);
    let address = call.send().await.unwrap();
    tokio::time::advance(Duration::from_secs(30)).await;
    let vpc = format!("vpc ({})", vpc.vpc().unwrap().vpc_id().unwrap());
    let gateway = gateway.internet_gateway().unwrap().internet_gateway_id().unwrap();
    let gateway = format!("internet-gateway ({gateway})");
    let address = format!("address/a ({})", address.public_ip().unwrap());
    for (component, copies) in [("network", vec![vpc, gateway]), ("egress", vec![address])] {
        let plan = act(&aws, component, "plan", &deployment).await.unwrap();
        let wanted: Value = copies.iter().map(|copy| json!({ "verb": "delete", "resource": copy })).collect();
        assert_eq!(plan["changes"], wanted, "{component}");
        let outputs = until_done(&aws, component, "apply", &deployment).await.unwrap();
        assert_eq!(outputs, deployment["outputs"][component], "{component}");
        tokio::time::advance(Duration::from_secs(30)).await;
        let plan = act(&aws, component, "plan", &deployment).await.unwrap();
        assert_eq!(plan["changes"], json!([]), "{component}");
    }
    assert_eq!(ids(), before);
}

#[tokio::test(start_paused = true)]
async fn a_failed_endpoint_or_gateway_ends_the_deployment_and_the_next_one_replaces_it() {
    for (spec, component, before, operation) in [
        (NAT, "network", &COMPONENTS[..0], "CreateVpcEndpoint"),
        (NAT, "egress", &COMPONENTS[..2], "CreateNatGateway"),
        (ENDPOINTS, "egress", &COMPONENTS[..2], "CreateVpcEndpoint"),
    ] {
        let about = format!("{component} {operation}");
        let (account, aws, mut deployment) = deployed(spec, before).await;
        account.arm(Fault::at("ec2", operation, When::From(1), FaultKind::ResourceFails));
        for _ in 0..2 {
            let failed = match until_done(&aws, component, "apply", &deployment).await {
                Err(failed) => failed,
                Ok(outputs) => {
                    deployment["outputs"][component] = outputs;
                    until_done(&aws, component, "wait-until-stable", &deployment).await.unwrap_err()
                }
            };
            assert!(matches!(failed, StepError::Unhealthy { .. }), "{about}: {failed:?}");
        }
        account.disarm();
        deployment["id"] = json!("second");
        applied(&aws, component, &mut deployment).await;
        tokio::time::advance(Duration::from_secs(30)).await;
        let plan = act(&aws, component, "plan", &deployment).await.unwrap();
        assert_eq!(plan["changes"], json!([]), "{about}");
        until_done(&aws, component, "await-deletion", &deployment).await.unwrap();
        let ours = account.inventory().into_iter().filter(|item| item.component == component);
        assert_eq!(ours.map(|item| item.id).collect::<Vec<_>>(), Vec::<String>::new(), "{about}");
    }
}
