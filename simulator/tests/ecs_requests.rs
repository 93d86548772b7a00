//! Accepted and refused requests of ECS, its scaling and its logs, beyond the life of a service.

#![expect(clippy::unwrap_used, reason = "what a test's helper does not expect fails the test")]

mod common;
mod ecs_shop;

use aws_sdk_ecs::types::builders::ContainerDefinitionBuilder;
use aws_sdk_ecs::types::{
    ApplicationProtocol, ContainerDefinition, DeploymentRolloutState, EphemeralStorage, KernelCapabilities,
    LinuxParameters, MountPoint, PortMapping, PropagateTags, ServiceDeploymentStatus, Tag, TaskField, Ulimit,
    UlimitName,
};
use common::{account, sdk};
use ecs_shop::{Shop, assert_refused, container, wait};
use stackdrop_simulator::{Fault, FaultKind, When};

#[tokio::test(start_paused = true)]
async fn container_settings_that_fargate_lacks_are_refused() {
    let shop = Shop::open().await;
    let with = |container: ContainerDefinitionBuilder| shop.registration("web", container.build());
    let port = |port: PortMapping| ContainerDefinition::builder().name("web").image("w").port_mappings(port);
    let limit = Ulimit::builder().name(UlimitName::Nproc).soft_limit(1).hard_limit(1).build().unwrap();
    let admin = KernelCapabilities::builder().add("SYS_ADMIN").build();
    let beside = |cpu: i32, memory: i32| {
        let other =
            ContainerDefinition::builder().name("other").image("w").cpu(cpu).memory_reservation(memory);
        with(container("web").cpu(200).memory_reservation(300)).container_definitions(other.build())
    };
    let storage = |gib: i32| {
        with(container("web")).ephemeral_storage(EphemeralStorage::builder().size_in_gib(gib).build())
    };
    for (request, message) in vec![
        (
            with(container("web").mount_points(MountPoint::builder().source_volume("v").build())),
            "Unknown volume",
        ),
        (with(container("web").ulimits(limit)), "only supports the ulimit nofile"),
        (
            with(container("web").linux_parameters(LinuxParameters::builder().capabilities(admin).build())),
            "SYS_PTRACE",
        ),
        (with(container("web").stop_timeout(121)), "between 2 and 120"),
        (with(container("web").start_timeout(1)), "between 2 and 120"),
        (with(container("web").memory(5)), "at least 6 MiB"),
        (
            with(container("web").port_mappings(PortMapping::builder().container_port(8080).build())),
            "more than once",
        ),
        (with(port(PortMapping::builder().container_port(0).build())), "Invalid port mapping"),
        (
            with(port(PortMapping::builder().container_port(1).app_protocol("smtp".into()).build())),
            "Invalid port mapping",
        ),
        (beside(100, 10), "cpu together exceeds"),
        (beside(10, 300), "memory together exceeds"),
        (storage(20), "between 21 and 200"),
        (storage(201), "between 21 and 200"),
    ] {
        assert_refused(request.send().await, "ClientException", message);
    }
    let grpc = PortMapping::builder().container_port(50).app_protocol(ApplicationProtocol::Grpc).build();
    let fits = storage(21).container_definitions(port(grpc).name("other").essential(false).build());
    let made = fits.send().await.unwrap().task_definition.unwrap();
    assert_eq!(made.ephemeral_storage().unwrap().size_in_gib(), 21);
}

#[tokio::test(start_paused = true)]
async fn a_token_of_a_service_has_at_most_36_characters() {
    let shop = Shop::ready().await;
    let definition = shop.register("web", container("web")).await;
    for token in ["x".repeat(37), "with space".into()] {
        let create = shop.creation("web", &definition).client_token(token);
        assert_refused(create.send().await, "InvalidParameterException", "idempotency token");
    }
    shop.creation("web", &definition).client_token("x".repeat(36)).send().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_update_can_stop_the_propagation_of_tags() {
    let shop = Shop::ready().await;
    let definition = shop.register("web", container("web")).await;
    let create = shop.creation("web", &definition).propagate_tags(PropagateTags::Service);
    create.tags(Tag::builder().key("team").value("shop").build()).send().await.unwrap();
    shop.settled("web").await;
    let update = || shop.ecs.update_service().cluster("shop").service("web");
    update().desired_count(2).send().await.unwrap();
    assert_eq!(shop.service("web").await.propagate_tags(), Some(&PropagateTags::Service), "kept unless sent");
    update().propagate_tags(PropagateTags::None).force_new_deployment(true).send().await.unwrap();
    let service = shop.settled("web").await;
    assert_eq!(service.propagate_tags(), Some(&PropagateTags::None));
    let tasks = shop.ecs.list_tasks().cluster("shop").service_name("web").send().await.unwrap();
    let tasks = shop.ecs.describe_tasks().cluster("shop").set_tasks(tasks.task_arns);
    let tasks = tasks.include(TaskField::Tags).send().await.unwrap();
    assert!(tasks.tasks().iter().all(|task| task.tags().is_empty()));
}

#[tokio::test(start_paused = true)]
async fn a_fault_makes_the_tasks_of_an_update_crash_and_the_breaker_rolls_it_back() {
    let shop = Shop::ready().await;
    let first = shop.register("web", container("web")).await;
    shop.creation("web", &first).send().await.unwrap();
    shop.settled("web").await;
    wait(5).await;
    shop.account.arm(Fault::at("ecs", "UpdateService", When::Only(1), FaultKind::ResourceFails));
    let second = shop.register("web", container("web").image("shop/web:2")).await;
    let update = shop.ecs.update_service().cluster("shop").service("web").task_definition(&second);
    update.send().await.unwrap();
    wait(2).await;
    while shop.story("web").await.0 == ServiceDeploymentStatus::InProgress {
        wait(5).await;
    }
    assert_eq!(shop.story("web").await.0, ServiceDeploymentStatus::RollbackInProgress);
    let service = shop.settled("web").await;
    assert_eq!(service.task_definition(), Some(first.as_str()));
    assert_eq!(service.deployments()[0].rollout_state(), Some(&DeploymentRolloutState::Completed));
}

#[tokio::test(start_paused = true)]
async fn scaling_by_requests_names_a_target_group_that_its_load_balancer_uses() {
    use aws_sdk_applicationautoscaling::types::{
        MetricType, PolicyType, PredefinedMetricSpecification, ScalableDimension, ServiceNamespace,
        TargetTrackingScalingPolicyConfiguration,
    };
    let shop = Shop::ready().await;
    let definition = shop.register("web", container("web")).await;
    shop.creation("web", &definition).send().await.unwrap();
    wait(1).await;
    let scaling = aws_sdk_applicationautoscaling::Client::new(&sdk(&shop.account));
    let register = scaling.register_scalable_target().service_namespace(ServiceNamespace::Ecs);
    let register = register.scalable_dimension(ScalableDimension::EcsServiceDesiredCount);
    let register = register.resource_id("service/shop/web").min_capacity(1).max_capacity(2);
    register.send().await.unwrap();
    let policy = |label: &str| {
        let metric = PredefinedMetricSpecification::builder()
            .predefined_metric_type(MetricType::AlbRequestCountPerTarget)
            .resource_label(label)
            .build()
            .unwrap();
        let tracking = TargetTrackingScalingPolicyConfiguration::builder().target_value(100.0);
        scaling
            .put_scaling_policy()
            .policy_name("requests")
            .service_namespace(ServiceNamespace::Ecs)
            .scalable_dimension(ScalableDimension::EcsServiceDesiredCount)
            .resource_id("service/shop/web")
            .policy_type(PolicyType::TargetTrackingScaling)
            .target_tracking_scaling_policy_configuration(
                tracking.predefined_metric_specification(metric).build().unwrap(),
            )
            .send()
    };
    let group = shop.target_group.rsplit(':').next().unwrap();
    let wrong = policy(&format!("app/other/0000000000000001/{group}")).await;
    assert_refused(wrong, "ValidationException", "Resource label");
    let balancers = shop.elb.describe_load_balancers().names("shop").send().await.unwrap();
    let arn = balancers.load_balancers()[0].load_balancer_arn().unwrap();
    let path = arn.split_once(":loadbalancer/").unwrap().1;
    policy(&format!("{path}/{group}")).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn invalid_tags_and_orders_are_refused() {
    let account = account();
    let ecs = aws_sdk_ecs::Client::new(&sdk(&account));
    let tag = |key: &str, value: &str| Tag::builder().key(key).value(value).build();
    let create = || ecs.create_cluster().cluster_name("shop");
    for (tags, message) in [
        (vec![tag("a", "1"), tag("a", "2")], "Duplicate tag key"),
        (vec![tag(&"k".repeat(129), "1")], "too long"),
        (vec![tag("k", &"v".repeat(257))], "too long"),
        (vec![tag("AWS:mine", "1")], "reserved"),
    ] {
        assert_refused(create().set_tags(Some(tags)).send().await, "InvalidParameterException", message);
    }
    let logs = aws_sdk_cloudwatchlogs::Client::new(&sdk(&account));
    let long = logs.create_log_group().log_group_name("/shop").tags("k", "v".repeat(257)).send().await;
    assert_refused(long, "InvalidParameterException", "256 characters");
    logs.create_log_group().log_group_name("/shop").send().await.unwrap();
    let by_size = logs.describe_log_streams().log_group_name("/shop").order_by("Size".into()).send().await;
    assert_refused(by_size, "InvalidParameterException", "orderBy");
}
