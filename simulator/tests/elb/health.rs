//! Targets and their health.

use crate::common::sdk;
use crate::site::{Network, code, seconds};
use aws_sdk_elasticloadbalancingv2::types::{
    LoadBalancerStateEnum, ProtocolEnum, TargetDescription, TargetTypeEnum,
};

/// A running instance with the targets' group, and its address.
async fn instance(network: &Network) -> (String, String) {
    let ssm = aws_sdk_ssm::Client::new(&sdk(&network.account));
    let image = ssm
        .get_parameter()
        .name("/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64")
        .send()
        .await
        .unwrap();
    let made = network
        .ec2
        .run_instances()
        .image_id(image.parameter().unwrap().value().unwrap())
        .instance_type(aws_sdk_ec2::types::InstanceType::T3Micro)
        .min_count(1)
        .max_count(1)
        .subnet_id(&network.private)
        .security_group_ids(&network.back)
        .send()
        .await
        .unwrap();
    let made = made.instances()[0].clone();
    seconds(60.0).await;
    (made.instance_id().unwrap().to_owned(), made.private_ip_address().unwrap().to_owned())
}

#[tokio::test(start_paused = true)]
async fn a_target_is_healthy_after_its_checks_once_the_load_balancer_is_active() {
    let network = Network::new().await;
    network.let_in().await;
    let (_, address) = instance(&network).await;
    let group = network.target_group("shop").await;
    let target = TargetDescription::builder().id(&address).build();
    network.elb.register_targets().target_group_arn(&group).targets(target).send().await.unwrap();
    assert_eq!(network.health(&group).await, ("unused".into(), "Target.NotInUse".into()));
    let load_balancer = network.load_balancer("shop").await;
    network.http(&load_balancer, 80, &group).await;
    seconds(60.0).await;
    assert_eq!(network.health(&group).await.0, "unused", "no checks before the load balancer is active");
    seconds(80.0).await;
    assert_eq!(network.state(&load_balancer).await, LoadBalancerStateEnum::Active);
    assert_eq!(network.health(&group).await, ("initial".into(), "Elb.InitialHealthChecking".into()));
    seconds(20.0).await;
    assert_eq!(network.health(&group).await, ("healthy".into(), String::new()));
}

#[tokio::test(start_paused = true)]
async fn a_target_is_unhealthy_until_a_rule_admits_the_load_balancer() {
    let network = Network::new().await;
    let (id, address) = instance(&network).await;
    let load_balancer = network.load_balancer("shop").await;
    let group = network.target_group("shop").await;
    network.http(&load_balancer, 80, &group).await;
    seconds(150.0).await;
    let target = TargetDescription::builder().id(&address).build();
    network.elb.register_targets().target_group_arn(&group).targets(target.clone()).send().await.unwrap();
    assert_eq!(network.health(&group).await, ("initial".into(), "Elb.RegistrationInProgress".into()));
    seconds(10.0).await;
    assert_eq!(network.health(&group).await, ("initial".into(), "Elb.InitialHealthChecking".into()));
    seconds(20.0).await;
    assert_eq!(network.health(&group).await, ("unhealthy".into(), "Target.Timeout".into()));
    network.let_in().await;
    seconds(19.0).await;
    assert_eq!(network.health(&group).await.0, "unhealthy");
    seconds(1.0).await;
    assert_eq!(network.health(&group).await.0, "healthy");

    network.elb.deregister_targets().target_group_arn(&group).targets(target).send().await.unwrap();
    assert_eq!(network.health(&group).await, ("draining".into(), "Target.DeregistrationInProgress".into()));
    seconds(300.0).await;
    assert_eq!(network.health(&group).await, (String::new(), String::new()));

    let wrong = |id: &str| {
        let target = TargetDescription::builder().id(id).build();
        network.elb.register_targets().target_group_arn(&group).targets(target).send()
    };
    for id in [id.as_str(), "8.8.8.8", "10.0.0"] {
        let error = wrong(id).await.unwrap_err().into_service_error();
        assert!(error.is_invalid_target_exception(), "{id}");
    }
    let absent = TargetDescription::builder().id("10.0.0.200").build();
    let asked = network.elb.describe_target_health().target_group_arn(&group).targets(absent.clone());
    let asked = asked.send().await.unwrap();
    let health = asked.target_health_descriptions()[0].target_health().unwrap();
    assert_eq!(health.reason().unwrap().as_str(), "Target.NotRegistered");
    let deregister = network.elb.deregister_targets().target_group_arn(&group).targets(absent).send().await;
    assert!(deregister.unwrap_err().into_service_error().is_invalid_target_exception());
}

#[tokio::test(start_paused = true)]
async fn a_target_in_a_zone_without_a_node_is_not_used() {
    let network = Network::new().await;
    let load_balancer = network.load_balancer("shop").await;
    let group = network.target_group("shop").await;
    network.http(&load_balancer, 80, &group).await;
    seconds(150.0).await;
    let target = TargetDescription::builder().id("10.0.9.9").availability_zone("eu-central-1c").build();
    network.elb.register_targets().target_group_arn(&group).targets(target).send().await.unwrap();
    seconds(60.0).await;
    assert_eq!(network.health(&group).await, ("unused".into(), "Target.NotInUse".into()));
}

#[tokio::test(start_paused = true)]
async fn a_target_group_without_a_listener_is_unused_and_starts_over_with_the_next() {
    let network = Network::new().await;
    network.let_in().await;
    let (_, address) = instance(&network).await;
    let load_balancer = network.load_balancer("shop").await;
    let group = network.target_group("shop").await;
    let listener = network.http(&load_balancer, 80, &group).await;
    let target = TargetDescription::builder().id(&address).build();
    network.elb.register_targets().target_group_arn(&group).targets(target).send().await.unwrap();
    seconds(170.0).await;
    assert_eq!(network.health(&group).await.0, "healthy");
    network.elb.delete_listener().listener_arn(listener.listener_arn().unwrap()).send().await.unwrap();
    assert_eq!(network.health(&group).await, ("unused".into(), "Target.NotInUse".into()));
    network.http(&load_balancer, 80, &group).await;
    assert_eq!(network.health(&group).await.0, "initial");
    seconds(20.0).await;
    assert_eq!(network.health(&group).await.0, "healthy");
    // A stricter check does not undo the result of the old one.
    let modify = network.elb.modify_target_group().target_group_arn(&group).healthy_threshold_count(10);
    modify.send().await.unwrap();
    assert_eq!(network.health(&group).await.0, "healthy");
}

#[tokio::test(start_paused = true)]
async fn a_group_of_instances_takes_running_instances_of_its_vpc_only() {
    let network = Network::new().await;
    let (id, _) = instance(&network).await;
    let other = network.ec2.create_vpc().cidr_block("10.9.0.0/16").send().await.unwrap();
    seconds(15.0).await;
    let group = async |name: &str, vpc: &str| {
        let create = network.elb.create_target_group().name(name).protocol(ProtocolEnum::Http).port(8080);
        let made = create.vpc_id(vpc).target_type(TargetTypeEnum::Instance).send().await.unwrap();
        seconds(1.0).await;
        made.target_groups()[0].target_group_arn().unwrap().to_owned()
    };
    let own = group("own", &network.vpc).await;
    let foreign = group("foreign", other.vpc().unwrap().vpc_id().unwrap()).await;
    let register = |group: &str, targets: Vec<TargetDescription>| {
        network.elb.register_targets().target_group_arn(group).set_targets(Some(targets)).send()
    };
    let target = |id: &str| vec![TargetDescription::builder().id(id).build()];
    register(&own, target(&id)).await.unwrap();
    assert_eq!(code(register(&own, target("i-00000000000000000")).await), "InvalidTarget");
    assert_eq!(code(register(&foreign, target(&id)).await), "InvalidTarget");
    network.ec2.terminate_instances().instance_ids(&id).send().await.unwrap();
    assert_eq!(code(register(&own, target(&id)).await), "InvalidTarget");
    assert_eq!(code(register(&own, vec![]).await), "ValidationError");
    let none = network.elb.deregister_targets().target_group_arn(&own).set_targets(Some(vec![])).send().await;
    assert_eq!(code(none), "ValidationError");
}

#[tokio::test(start_paused = true)]
async fn an_address_of_a_target_is_private_or_shared() {
    let network = Network::new().await;
    let group = network.target_group("shop").await;
    let register = |address: &str| {
        let target = TargetDescription::builder().id(address).build();
        network.elb.register_targets().target_group_arn(&group).targets(target).send()
    };
    for address in ["10.0.0.9", "172.31.0.9", "192.168.0.9", "100.64.0.9", "100.127.0.9"] {
        register(address).await.unwrap();
    }
    for address in ["100.63.0.9", "100.128.0.9", "101.64.0.9", "172.32.0.9"] {
        assert_eq!(code(register(address).await), "InvalidTarget", "{address}");
    }
}
