//! Accepted and refused requests of ECS, its scaling and its logs, beyond the life of a service.

#![expect(clippy::unwrap_used, reason = "what a test's helper does not expect fails the test")]

mod common;
mod ecs_shop;

use aws_sdk_ecs::types::builders::{
    AwsVpcConfigurationBuilder, ContainerDefinitionBuilder, DeploymentConfigurationBuilder,
};
use aws_sdk_ecs::types::{
    ApplicationProtocol, AvailabilityZoneRebalancing, AwsVpcConfiguration, ClusterField, ClusterSetting,
    ClusterSettingName, ContainerDefinition, DeploymentConfiguration, DeploymentRolloutState,
    DeploymentStrategy, EphemeralStorage, HealthCheck, HostVolumeProperties, KernelCapabilities,
    LinuxParameters, LoadBalancer, LogConfiguration, LogDriver, MountPoint, NetworkConfiguration,
    PortMapping, PropagateTags, RuntimePlatform, SchedulingStrategy, ServiceDeploymentStatus,
    StopServiceDeploymentStopType, Tag, TaskField, Ulimit, UlimitName, Volume,
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
    let volume = |name: &str| Volume::builder().name(name).build();
    let mount = |of: &str, at: &str| MountPoint::builder().source_volume(of).container_path(at).build();
    let host = HostVolumeProperties::builder().source_path("/data").build();
    let of_host = Volume::builder().name("v").host(host).build();
    for (request, message) in vec![
        (with(container("web").mount_points(mount("v", "/v"))), "Unknown volume 'v'"),
        (with(container("web").mount_points(mount("v", "v"))).volumes(volume("v")), "Invalid mount point"),
        (
            with(container("web").mount_points(mount("v", "/v")).mount_points(mount("v", "/v")))
                .volumes(volume("v")),
            "Invalid mount point",
        ),
        (with(container("web")).volumes(volume("a/b")), "Invalid volume name"),
        (with(container("web")).volumes(of_host), "does not support the parameter sourcePath"),
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
    let writable = container("web").readonly_root_filesystem(true).mount_points(mount("v", "/v"));
    let made = with(writable).volumes(volume("v")).send().await.unwrap().task_definition.unwrap();
    assert_eq!(made.volumes()[0].name(), Some("v"));
    assert_eq!(made.container_definitions()[0].mount_points()[0].container_path(), Some("/v"));
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

#[tokio::test(start_paused = true)]
async fn settings_of_a_service_that_ecs_does_not_take_are_refused() {
    let shop = Shop::ready().await;
    let definition = shop.register("web", container("web")).await;
    let base = || shop.creation("web", &definition);
    let settings = DeploymentConfiguration::builder;
    let rolling =
        |settings: DeploymentConfigurationBuilder| base().deployment_configuration(settings.build());
    let place = || AwsVpcConfiguration::builder().subnets(&shop.subnets[0]).security_groups(&shop.group);
    let inside = |place: AwsVpcConfigurationBuilder| {
        let place = NetworkConfiguration::builder().awsvpc_configuration(place.build().unwrap()).build();
        base().network_configuration(place)
    };
    let balancer = LoadBalancer::builder().target_group_arn(&shop.target_group).container_name("web");
    let balancer = balancer.container_port(8080).build();
    let crowded = settings().maximum_percent(100).minimum_healthy_percent(50);
    for (request, message) in vec![
        (rolling(settings().maximum_percent(201)), "between 100 and 200"),
        (rolling(settings().maximum_percent(99).minimum_healthy_percent(50)), "between 100 and 200"),
        (rolling(settings().minimum_healthy_percent(101)), "between 0 and 100"),
        (rolling(settings().strategy(DeploymentStrategy::BlueGreen)), "ROLLING only"),
        (rolling(settings().bake_time_in_minutes(1)), "bake time"),
        (
            rolling(crowded).availability_zone_rebalancing(AvailabilityZoneRebalancing::Enabled),
            "AvailabilityZoneRebalancing is not supported",
        ),
        (inside(place().set_subnets(Some(vec![shop.subnets[0].clone(); 17]))), "at most 16 items"),
        (inside(place().set_subnets(Some(vec![]))), "can not be empty"),
        (inside(place().set_security_groups(Some(vec![shop.group.clone(); 6]))), "at most 5 items"),
        (inside(place().assign_public_ip("MAYBE".into())), "must be ENABLED or DISABLED"),
        (base().set_load_balancers(Some(vec![balancer; 6])), "at most 5 items"),
        (base().health_check_grace_period_seconds(-1), "must not be negative"),
        (base().service_name("a b"), "Invalid service name"),
        (base().service_name("n".repeat(256)), "Invalid service name"),
        (base().set_desired_count(None), "must be given"),
        (base().desired_count(5001), "between 0 and 5000"),
        (base().scheduling_strategy(SchedulingStrategy::Daemon), "does not support launch_type"),
    ] {
        assert_refused(request.send().await, "InvalidParameterException", message);
    }
    assert!(shop.account.inventory().iter().all(|item| item.kind != "AWS::ECS::Service"));
}

#[tokio::test(start_paused = true)]
async fn settings_of_a_task_definition_that_fargate_does_not_take_are_refused() {
    let shop = Shop::open().await;
    let with = |container: ContainerDefinitionBuilder| shop.registration("web", container.build());
    let check = |first: &str, [interval, timeout, retries, start]: [i32; 4]| {
        let check = HealthCheck::builder().command(first).command("true").interval(interval).timeout(timeout);
        container("web").health_check(check.retries(retries).start_period(start).build().unwrap())
    };
    let logs = |option: &str, value: &str| {
        let logs =
            LogConfiguration::builder().log_driver(LogDriver::Awslogs).options("awslogs-group", "/shop");
        let logs = logs.options("awslogs-region", "eu-central-1").options("awslogs-stream-prefix", "web");
        container("web").log_configuration(logs.options(option, value).build().unwrap())
    };
    let many = (0..11).map(|number| {
        container(&format!("c{number}"))
            .port_mappings(PortMapping::builder().container_port(9000 + number).build())
            .build()
    });
    let sparc = RuntimePlatform::builder().cpu_architecture("SPARC".into()).build();
    for (request, message) in vec![
        (shop.registration("a b", container("web").build()), "invalid characters"),
        (with(container("web")).set_container_definitions(Some(many.collect())), "10 containers at most"),
        (with(container("web")).set_requires_compatibilities(None), "FARGATE only"),
        (with(container("web")).runtime_platform(sparc), "X86_64 or ARM64 only"),
        (with(container("web")).cpu("quarter"), "Invalid 'cpu' setting"),
        (with(container("web")).memory("1536"), "No Fargate configuration exists"),
        (with(check("true", [30, 5, 3, 0])), "Invalid health check"),
        (with(check("CMD", [4, 5, 3, 0])), "Invalid health check"),
        (with(check("CMD", [301, 5, 3, 0])), "Invalid health check"),
        (with(check("CMD", [30, 1, 3, 0])), "Invalid health check"),
        (with(check("CMD", [30, 5, 11, 0])), "Invalid health check"),
        (with(check("CMD", [30, 5, 3, 301])), "Invalid health check"),
        (with(logs("awslogs-colour", "red")), "disallows options: awslogs-colour"),
        (with(logs("awslogs-region", "us-east-1")), "no other region"),
        (with(logs("awslogs-create-group", "true")), "do not create log groups"),
    ] {
        assert_refused(request.send().await, "ClientException", message);
    }
    with(check("CMD", [5, 2, 10, 300])).memory("2048").send().await.unwrap();
    let deregister = |name: &str| shop.ecs.deregister_task_definition().task_definition(name).send();
    assert_refused(deregister("web").await, "ClientException", "Invalid revision number");
    assert_refused(deregister("web:9").await, "ClientException", "does not exist");
}

#[tokio::test(start_paused = true)]
async fn questions_that_ecs_does_not_answer_are_refused() {
    let shop = Shop::open().await;
    let ecs = &shop.ecs;
    let invalid = "InvalidParameterException";
    let names = |count: usize| Some(vec!["shop".to_owned(); count]);
    assert_refused(ecs.describe_clusters().set_clusters(names(101)).send().await, invalid, "100 elements");
    let secrets = ClusterField::from("SECRETS");
    assert_refused(ecs.describe_clusters().include(secrets).send().await, invalid, "Unsupported include");
    for count in [0, 101] {
        let tasks = ecs.describe_tasks().cluster("shop").set_tasks(names(count)).send().await;
        assert_refused(tasks, invalid, "no more than 100");
    }
    for count in [0, 21] {
        let deployments = ecs.describe_service_deployments().set_service_deployment_arns(names(count));
        assert_refused(deployments.send().await, invalid, "Between 1 and 20");
        let revisions = ecs.describe_service_revisions().set_service_revision_arns(names(count));
        assert_refused(revisions.send().await, invalid, "Between 1 and 20");
    }
    for count in [0, 11] {
        let deleted = ecs.delete_task_definitions().set_task_definitions(names(count)).send().await;
        assert_refused(deleted, invalid, "Between 1 and 10");
    }
    let list = || ecs.list_services().cluster("shop");
    for size in [0, 101] {
        assert_refused(list().max_results(size).send().await, invalid, "between 1 and 100");
    }
    assert_refused(list().next_token("x").send().await, invalid, "Invalid token");
    let setting =
        ClusterSetting::builder().name(ClusterSettingName::ContainerInsights).value("perhaps").build();
    let create = ecs.create_cluster().cluster_name("other").settings(setting).send().await;
    assert_refused(create, invalid, "Invalid cluster setting");
    let arn = |what: &str| format!("arn:aws:ecs:eu-central-1:123456789012:{what}");
    for (what, code) in [
        ("cluster/other", "ClusterNotFoundException"),
        ("service/shop/other", invalid),
        ("task/shop/other", invalid),
        ("task-definition/other:1", invalid),
        ("thing/other", invalid),
    ] {
        assert_refused(ecs.list_tags_for_resource().resource_arn(arn(what)).send().await, code, "");
    }
    let end = || ecs.stop_service_deployment().service_deployment_arn(arn("service-deployment/shop/web/1"));
    assert_refused(end().send().await, "ServiceDeploymentNotFoundException", "not found");
    assert_refused(
        end().stop_type(StopServiceDeploymentStopType::Abort).send().await,
        invalid,
        "rollback only",
    );
}

#[tokio::test(start_paused = true)]
async fn a_first_deployment_goes_on_because_there_is_nothing_to_roll_back_to() {
    let shop = Shop::ready().await;
    let definition = shop.register("web", container("web")).await;
    shop.worker("web", &definition).await;
    wait(2).await;
    let (_, first) = shop.story("web").await;
    let end = shop.ecs.stop_service_deployment().service_deployment_arn(first).send().await;
    assert_refused(end, "ConflictException", "no completed service revision");
    shop.settled("web").await;
}

#[tokio::test(start_paused = true)]
async fn settings_of_scaling_that_aws_does_not_take_are_refused() {
    use aws_sdk_applicationautoscaling::types::{
        MetricType, PolicyType, PredefinedMetricSpecification, ScalableDimension, ServiceNamespace,
        SuspendedState, TargetTrackingScalingPolicyConfiguration,
    };
    let shop = Shop::ready().await;
    let definition = shop.register("web", container("web")).await;
    shop.creation("web", &definition).send().await.unwrap();
    wait(1).await;
    let scaling = aws_sdk_applicationautoscaling::Client::new(&sdk(&shop.account));
    let bare = || {
        let call = scaling.register_scalable_target().service_namespace(ServiceNamespace::Ecs);
        call.scalable_dimension(ScalableDimension::EcsServiceDesiredCount).resource_id("service/shop/web")
    };
    let register = || bare().min_capacity(1).max_capacity(2);
    let invalid = "ValidationException";
    for (request, message) in [
        (bare().max_capacity(2), "Minimum capacity must be specified"),
        (bare().min_capacity(1), "Maximum capacity must be specified"),
        (register().min_capacity(-1), "cannot be less than"),
        (register().role_arn("arn:aws:iam::123456789012:role/own"), "service-linked role only"),
        (register().resource_id("shop/web"), "Unsupported service namespace"),
        (register().resource_id("service//web"), "Unsupported service namespace"),
        (register().service_namespace(ServiceNamespace::Ec2), "ECS services only"),
        (
            register().scalable_dimension(ScalableDimension::Ec2SpotFleetRequestTargetCapacity),
            "Unsupported service namespace",
        ),
    ] {
        assert_refused(request.send().await, invalid, message);
    }
    let paused = SuspendedState::builder().dynamic_scaling_in_suspended(true).build();
    register().suspended_state(paused).send().await.unwrap();
    assert_refused(register().tags("team", "shop").send().await, invalid, "for the first time");
    register().send().await.unwrap();
    let describe = || scaling.describe_scalable_targets().service_namespace(ServiceNamespace::Ecs);
    let found = describe().send().await.unwrap();
    let kept = found.scalable_targets()[0].suspended_state().unwrap();
    assert_eq!(kept.dynamic_scaling_in_suspended(), Some(true), "kept unless sent");
    for size in [0, 51] {
        assert_refused(describe().max_results(size).send().await, invalid, "between 1 and 50");
    }
    assert_refused(describe().next_token("x").send().await, "InvalidNextTokenException", "not valid");
    let policy = |metric: MetricType, label: Option<&str>, cooldown: i32| {
        let metric = PredefinedMetricSpecification::builder().predefined_metric_type(metric);
        let metric = metric.set_resource_label(label.map(str::to_owned)).build().unwrap();
        let tracking = TargetTrackingScalingPolicyConfiguration::builder().target_value(50.0);
        let tracking = tracking.scale_in_cooldown(cooldown).predefined_metric_specification(metric);
        let call = scaling.put_scaling_policy().policy_name("cpu").service_namespace(ServiceNamespace::Ecs);
        let call = call.scalable_dimension(ScalableDimension::EcsServiceDesiredCount);
        let call = call.resource_id("service/shop/web").policy_type(PolicyType::TargetTrackingScaling);
        call.target_tracking_scaling_policy_configuration(tracking.build().unwrap())
    };
    let cpu = MetricType::EcsServiceAverageCpuUtilization;
    for (request, message) in [
        (policy(cpu.clone(), Some("app/shop/1"), 60), "Resource label must be specified"),
        (policy(MetricType::AlbRequestCountPerTarget, None, 60), "Resource label must be specified"),
        (policy(MetricType::RdsReaderAverageCpuUtilization, None, 60), "Unsupported predefined metric"),
        (policy(cpu.clone(), None, -1), "must not be negative"),
        (policy(cpu.clone(), None, 60).policy_type(PolicyType::StepScaling), "TargetTrackingScaling only"),
    ] {
        assert_refused(request.send().await, invalid, message);
    }
    policy(cpu, None, 0).send().await.unwrap();
    let delete =
        scaling.delete_scaling_policy().policy_name("memory").service_namespace(ServiceNamespace::Ecs);
    let delete = delete.scalable_dimension(ScalableDimension::EcsServiceDesiredCount);
    let delete = delete.resource_id("service/shop/web").send().await;
    assert_refused(delete, "ObjectNotFoundException", "No scaling policy");
    let unknown = "arn:aws:application-autoscaling:eu-central-1:123456789012:scalable-target/0";
    let tags = scaling.list_tags_for_resource().resource_arn(unknown).send().await;
    assert_refused(tags, "ResourceNotFoundException", "was not found");
}

#[tokio::test(start_paused = true)]
async fn settings_and_questions_of_logs_that_aws_does_not_take_are_refused() {
    let account = account();
    let logs = aws_sdk_cloudwatchlogs::Client::new(&sdk(&account));
    let create = |name: &str| logs.create_log_group().log_group_name(name);
    let invalid = "InvalidParameterException";
    let tags = |count: u32| Some((0..count).map(|number| (number.to_string(), String::new())).collect());
    for (request, message) in [
        (create("a b"), "logGroupName"),
        (create(&"n".repeat(513)), "logGroupName"),
        (create("/shop").log_group_class("COLD".into()), "logGroupClass"),
        (create("/shop").set_tags(tags(51)), "no more than 50 tags"),
        (create("/shop").tags("aws:mine", "1"), "reserved"),
    ] {
        assert_refused(request.send().await, invalid, message);
    }
    create("/shop").set_tags(tags(50)).send().await.unwrap();
    let describe = || logs.describe_log_groups();
    for (request, message) in [
        (describe().log_group_name_prefix("/s").log_group_name_pattern("shop"), "mutually exclusive"),
        (describe().limit(0), "limit"),
        (describe().limit(51), "limit"),
        (describe().next_token("x"), "nextToken"),
    ] {
        assert_refused(request.send().await, invalid, message);
    }
    let arn = describe().send().await.unwrap().log_groups()[0].log_group_arn().unwrap().to_owned();
    let more = logs.tag_resource().resource_arn(&arn).tags("one more", "").send().await;
    assert_refused(more, "TooManyTagsException", "no more than 50 tags");
    let streams = logs.describe_log_streams().log_group_name("/shop").log_stream_name_prefix("web");
    let streams = streams.order_by("LastEventTime".into()).send().await;
    assert_refused(streams, invalid, "Cannot order by LastEventTime");
    let filter = || logs.filter_log_events().log_group_name("/shop").log_stream_names("web");
    assert_refused(filter().log_stream_name_prefix("web").send().await, invalid, "mutually exclusive");
    let missing = "ResourceNotFoundException";
    assert_refused(filter().send().await, missing, "log stream does not exist");
    let retain = logs.put_retention_policy().log_group_name("/none").retention_in_days(30).send().await;
    assert_refused(retain, missing, "log group does not exist");
    let forget = logs.delete_retention_policy().log_group_name("/none").send().await;
    assert_refused(forget, missing, "log group does not exist");
}
