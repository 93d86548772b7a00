//! What people do to the stack's network, addresses and instance, and resources of others in their place: put right, or named with
//! what to do.

use std::time::Duration;

use aws_sdk_ec2::types::{AttributeBooleanValue, ResourceType, Tag, TagSpecification, VpcEndpointType};
use serde_json::{Value, json};
use stackdrop_functions::aws::error::StepError;
use stackdrop_simulator::{Fault, FaultKind, When};

use crate::common::{act, until_done};
use crate::{COMPONENTS, NAT, applied, deployed, next};

fn output<'d>(deployment: &'d Value, pointer: &str) -> &'d str {
    deployment["outputs"].pointer(pointer).and_then(Value::as_str).unwrap()
}

/// Waits until EC2 shows what was just changed.
async fn later() {
    tokio::time::advance(Duration::from_secs(30)).await;
}

#[tokio::test(start_paused = true)]
async fn an_internet_gateway_that_somebody_attached_to_another_vpc_is_named() {
    let (_account, aws, deployment) = deployed(NAT, &COMPONENTS[..1]).await;
    let (ec2, vpc) = (aws.ec2(), output(&deployment, "/network/vpc"));
    let gateways = ec2.describe_internet_gateways().send().await.unwrap();
    let gateway = gateways.internet_gateways()[0].internet_gateway_id().unwrap();
    ec2.detach_internet_gateway().internet_gateway_id(gateway).vpc_id(vpc).send().await.unwrap();
    let other = ec2.create_vpc().cidr_block("10.77.0.0/16").send().await.unwrap();
    let other = other.vpc().unwrap().vpc_id().unwrap();
    later().await;
    ec2.attach_internet_gateway().internet_gateway_id(gateway).vpc_id(other).send().await.unwrap();
    later().await;
    let plan = act(&aws, "network", "plan", &deployment).await.unwrap();
    let found = plan["problems"].to_string();
    let why = format!("internet gateway {gateway} is attached to VPC {other}, which is not the stack's");
    assert!(found.contains(&why) && found.contains(&format!("detach {gateway} from {other}")), "{found}");
    let refused = act(&aws, "network", "apply", &deployment).await.unwrap_err();
    assert!(matches!(refused, StepError::NotOwned { .. }), "{refused:?}");
    ec2.detach_internet_gateway().internet_gateway_id(gateway).vpc_id(other).send().await.unwrap();
    later().await;
    until_done(&aws, "network", "apply", &deployment).await.unwrap();
    later().await;
    assert_eq!(act(&aws, "network", "plan", &deployment).await.unwrap()["changes"], json!([]));
}

#[tokio::test(start_paused = true)]
async fn a_subnet_of_others_in_a_range_that_the_stack_needs_is_named() {
    let (_account, aws, deployment) = deployed(NAT, &COMPONENTS[..1]).await;
    let (ec2, vpc) = (aws.ec2(), output(&deployment, "/network/vpc"));
    let subnet = output(&deployment, "/network/databaseSubnets/b");
    let found = ec2.describe_subnets().subnet_ids(subnet).send().await.unwrap();
    let range = found.subnets()[0].cidr_block().unwrap();
    ec2.delete_subnet().subnet_id(subnet).send().await.unwrap();
    later().await;
    let part = format!("{}/28", range.split('/').next().unwrap());
    let theirs = ec2.create_subnet().vpc_id(vpc).cidr_block(part).send().await.unwrap();
    let theirs = theirs.subnet().unwrap().subnet_id().unwrap();
    later().await;
    let refused = until_done(&aws, "network", "apply", &deployment).await.unwrap_err();
    assert!(matches!(refused, StepError::NotOwned { .. }), "{refused:?}");
    let told = refused.to_string();
    assert!(told.contains(theirs) && told.contains(&format!("overlaps the range {range}")), "{told}");
}

#[tokio::test(start_paused = true)]
async fn a_route_table_of_the_stack_that_somebody_made_the_main_one_is_left_alone() {
    let (_account, aws, mut deployment) = deployed(NAT, &COMPONENTS[..1]).await;
    let ec2 = aws.ec2();
    let found = ec2.describe_route_tables().send().await.unwrap();
    let mut associations = found.route_tables().iter().flat_map(aws_sdk_ec2::types::RouteTable::associations);
    let main = associations.find(|association| association.main() == Some(true)).unwrap();
    let call =
        ec2.replace_route_table_association().association_id(main.route_table_association_id().unwrap());
    call.route_table_id(output(&deployment, "/network/privateTables/a")).send().await.unwrap();
    later().await;
    deployment["id"] = json!("second");
    let plan = act(&aws, "network", "plan", &deployment).await.unwrap();
    assert_eq!((&plan["changes"], &plan["problems"]), (&json!([]), &json!([])));
    act(&aws, "network", "apply", &deployment).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_others_left_in_the_vpc_is_told_by_a_deletion_and_nothing_else() {
    let (_account, aws, deployment) = deployed(NAT, &COMPONENTS[..1]).await;
    let (ec2, vpc) = (aws.ec2(), output(&deployment, "/network/vpc"));
    let group = ec2.create_security_group().vpc_id(vpc).group_name("theirs").description("theirs");
    let group = group.send().await.unwrap().group_id.unwrap();
    let table = ec2.create_route_table().vpc_id(vpc).send().await.unwrap().route_table.unwrap();
    let table = table.route_table_id.unwrap();
    let found = ec2.describe_vpcs().vpc_ids(vpc).send().await.unwrap();
    let [first, second, _, _] = found.vpcs()[0].cidr_block().unwrap().split('.').collect::<Vec<_>>()[..]
    else {
        panic!("the VPC has no range")
    };
    let range = format!("{first}.{second}.255.0/28");
    let subnet = ec2.create_subnet().vpc_id(vpc).cidr_block(&range).send().await.unwrap().subnet.unwrap();
    let subnet = subnet.subnet_id.unwrap();
    later().await;
    let mut told = String::new();
    for _ in 0..60 {
        told = act(&aws, "network", "await-deletion", &deployment).await.unwrap_err().to_string();
        tokio::time::advance(Duration::from_secs(10)).await;
    }
    let theirs = format!(
        "it still contains subnet {subnet} ({range}), security group {group} (theirs), route table {table};"
    );
    assert!(told.contains(&theirs), "{theirs} is not in {told}");
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_only_has_guard_dutys_tag_is_not_deleted_with_the_vpc() {
    let (_account, aws, deployment) = deployed(NAT, &COMPONENTS[..1]).await;
    let (ec2, vpc) = (aws.ec2(), output(&deployment, "/network/vpc"));
    let tag = Tag::builder().key("GuardDutyManaged").value("true").build();
    let tags = TagSpecification::builder().resource_type(ResourceType::VpcEndpoint).tags(tag).build();
    let call = ec2.create_vpc_endpoint().vpc_id(vpc).vpc_endpoint_type(VpcEndpointType::Interface);
    let call = call.service_name("com.amazonaws.eu-central-1.ssm").private_dns_enabled(false);
    let call = call.subnet_ids(output(&deployment, "/network/privateSubnets/a")).tag_specifications(tags);
    let theirs = call.send().await.unwrap().vpc_endpoint.unwrap().vpc_endpoint_id.unwrap();
    tokio::time::advance(Duration::from_mins(5)).await;
    for _ in 0..20 {
        let refused = act(&aws, "network", "await-deletion", &deployment).await.unwrap_err();
        assert!(refused.is_retried(), "{refused:?}");
        tokio::time::advance(Duration::from_secs(10)).await;
    }
    let found = ec2.describe_vpc_endpoints().vpc_endpoint_ids(&theirs).send().await.unwrap();
    let state = found.vpc_endpoints()[0].state().unwrap().as_str();
    assert!(state.eq_ignore_ascii_case("available"), "{state}");
}

#[tokio::test(start_paused = true)]
async fn an_address_that_somebody_uses_elsewhere_is_told_by_a_deployment_and_by_a_deletion() {
    let (_account, aws, mut deployment) = deployed(NAT, &COMPONENTS).await;
    let (ec2, instance) = (aws.ec2(), output(&deployment, "/instance/id").to_owned());
    let gateway = output(&deployment, "/egress/natGateways/a");
    ec2.delete_nat_gateway().nat_gateway_id(gateway).send().await.unwrap();
    tokio::time::advance(Duration::from_hours(2)).await;
    let addresses = ec2.describe_addresses().send().await.unwrap();
    let address = addresses.addresses()[0].allocation_id().unwrap();
    ec2.associate_address().allocation_id(address).instance_id(&instance).send().await.unwrap();
    later().await;
    deployment["id"] = json!("second");
    for action in ["apply", "await-deletion"] {
        let stalled = act(&aws, "egress", action, &deployment).await.unwrap_err();
        assert_eq!(stalled.name(), "Stalled", "{action}: AWS is not working on it: {stalled}");
        let told = stalled.to_string().to_lowercase();
        let why = format!("somebody associated it with ec2 instance {instance}: disassociate it");
        assert!(told.contains(&why), "{action}: {told}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_address_that_ec2_does_not_release_is_awaited_only_after_its_gateway_was_deleted() {
    for (minutes, name, why) in [
        (10, "Pending", "EC2 still frees it from its deleted NAT gateway"),
        // EC2 no longer shows the gateway.
        (120, "Stalled", "EC2 reports that it is in use, but not by what"),
    ] {
        let (account, aws, mut deployment) = deployed(NAT, &COMPONENTS[..3]).await;
        let gateway = output(&deployment, "/egress/natGateways/a");
        aws.ec2().delete_nat_gateway().nat_gateway_id(gateway).send().await.unwrap();
        tokio::time::advance(Duration::from_mins(minutes)).await;
        let in_use = FaultKind::Refused { code: "InvalidIPAddress.InUse".into(), message: "in use".into() };
        account.arm(Fault::at("ec2", "ReleaseAddress", When::From(1), in_use));
        deployment["id"] = json!("second");
        let refused = act(&aws, "egress", "await-deletion", &deployment).await.unwrap_err();
        assert_eq!(refused.name(), name, "after {minutes} minutes: {refused}");
        assert!(refused.to_string().contains(why), "after {minutes} minutes: {refused}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_somebody_protected_is_told_by_a_deletion() {
    let (account, aws, deployment) = deployed(NAT, &COMPONENTS).await;
    let protect = async |on: bool| {
        let on = AttributeBooleanValue::builder().value(on).build();
        let call = aws.ec2().modify_instance_attribute().instance_id(output(&deployment, "/instance/id"));
        call.disable_api_termination(on).send().await.unwrap();
        later().await;
    };
    protect(true).await;
    assert_eq!(act(&aws, "instance", "plan", &deployment).await.unwrap()["changes"], json!([]));
    let stalled = act(&aws, "instance", "await-deletion", &deployment).await.unwrap_err();
    assert_eq!(stalled.name(), "Stalled", "{stalled}");
    assert!(stalled.to_string().contains("termination protection was turned on by hand"), "{stalled}");
    protect(false).await;
    until_done(&aws, "instance", "await-deletion", &deployment).await.unwrap();
    assert!(!account.inventory().iter().any(|item| item.component == "instance"));
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_somebody_stopped_is_started_or_the_lack_of_capacity_is_told() {
    let (account, aws, deployment) = deployed(NAT, &COMPONENTS).await;
    let instance = output(&deployment, "/instance/id");
    aws.ec2().stop_instances().instance_ids(instance).send().await.unwrap();
    tokio::time::advance(Duration::from_mins(5)).await;
    let stopped = act(&aws, "instance", "wait-until-stable", &deployment).await.unwrap_err();
    assert!(stopped.to_string().contains("Deploy again: Stackdrop starts it"), "{stopped}");
    let no_capacity =
        FaultKind::Refused { code: "InsufficientInstanceCapacity".into(), message: "no capacity".into() };
    account.arm(Fault::at("ec2", "StartInstances", When::From(1), no_capacity));
    let failed = until_done(&aws, "instance", "apply", &deployment).await.unwrap_err();
    assert!(matches!(failed, StepError::Unhealthy { .. }), "{failed:?}");
    assert!(failed.to_string().contains("AWS has no capacity for t3.micro"), "{failed}");
    account.disarm();
    until_done(&aws, "instance", "apply", &deployment).await.unwrap();
    until_done(&aws, "instance", "wait-until-stable", &deployment).await.unwrap();
    assert_eq!(act(&aws, "instance", "plan", &deployment).await.unwrap()["changes"], json!([]));
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_is_terminated_during_its_deployment_is_created_again_only_by_the_next_one() {
    let (account, aws, mut deployment) = deployed(NAT, &COMPONENTS).await;
    let instance = output(&deployment, "/instance/id").to_owned();
    aws.ec2().terminate_instances().instance_ids(&instance).send().await.unwrap();
    tokio::time::advance(Duration::from_mins(5)).await;
    for action in ["wait-until-stable", "apply"] {
        let failed = act(&aws, "instance", action, &deployment).await.unwrap_err();
        assert!(matches!(failed, StepError::Unhealthy { .. }), "{action}: {failed:?}");
        assert!(failed.to_string().contains(&instance), "{action}: {failed}");
    }
    deployment["id"] = json!("second");
    applied(&aws, "instance", &mut deployment).await;
    assert_ne!(output(&deployment, "/instance/id"), instance);
    let items = account.inventory();
    assert_eq!(items.iter().filter(|item| item.kind == "AWS::EC2::Instance").count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_disk_grows_once_also_if_the_answer_is_lost() {
    let (account, aws, deployment) = deployed(NAT, &COMPONENTS).await;
    let deployment = next(&deployment, &NAT.replace("disk: 20", "disk: 30"));
    account.arm(Fault::at("ec2", "ModifyVolume", When::Only(1), FaultKind::LostAfter));
    until_done(&aws, "instance", "apply", &deployment).await.unwrap();
    later().await;
    let volumes = aws.ec2().describe_volumes().send().await.unwrap();
    assert_eq!(volumes.volumes()[0].size(), Some(30));
    assert_eq!(act(&aws, "instance", "plan", &deployment).await.unwrap()["changes"], json!([]));
}
