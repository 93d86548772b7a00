//! ECS on Fargate with its scaling and its logs: the life of services, and refusals.

#![expect(clippy::unwrap_used, reason = "what a test's helper does not expect fails the test")]

mod common;
mod ecs_shop;

use std::time::Duration;

use aws_sdk_ecs::types::{
    DeploymentCircuitBreaker, DeploymentConfiguration, DeploymentRolloutState, DesiredStatus, LaunchType,
    LoadBalancer, PropagateTags, ServiceDeploymentStatus, Tag,
};
use common::{account, sdk};
use ecs_shop::{Shop, assert_refused, container, wait};
use stackdrop_simulator::{Account, Fault, FaultKind, Seed, When};

fn ecs(account: &Account) -> aws_sdk_ecs::Client {
    aws_sdk_ecs::Client::new(&sdk(account))
}

#[tokio::test(start_paused = true)]
async fn the_first_call_of_a_new_account_creates_the_service_linked_role() {
    let account = account();
    let ecs = ecs(&account);
    let create = || ecs.create_cluster().cluster_name("shop").send();
    let message = "Unable to assume the service linked role";
    assert_refused(create().await, "InvalidParameterException", message);
    assert_refused(create().await, "InvalidParameterException", message);
    wait(30).await;
    create().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_cluster_is_unknown_at_first_and_is_described_after_its_deletion() {
    let account = account();
    let ecs = ecs(&account);
    ecs.create_cluster().send().await.unwrap_err();
    wait(30).await;
    let tag = Tag::builder().key("stackdrop:component").value("service").build();
    let create = || ecs.create_cluster().cluster_name("shop").tags(tag.clone()).send();
    let describe = || ecs.describe_clusters().clusters("shop").send();
    let status = |found: aws_sdk_ecs::operation::describe_clusters::DescribeClustersOutput| {
        found.clusters()[0].status().unwrap().to_owned()
    };
    create().await.unwrap();
    assert_eq!(describe().await.unwrap().failures()[0].reason(), Some("MISSING"), "unseen right after");
    wait(1).await;
    assert_eq!(status(describe().await.unwrap()), "PROVISIONING");
    wait(2).await;
    assert_eq!(status(describe().await.unwrap()), "ACTIVE");
    let same = create().await.unwrap().cluster.unwrap();
    assert_eq!(same.cluster_arn(), Some("arn:aws:ecs:eu-central-1:123456789012:cluster/shop"));
    let arn = same.cluster_arn().unwrap();
    assert_eq!(
        ecs.list_tags_for_resource().resource_arn(arn).send().await.unwrap().tags(),
        std::slice::from_ref(&tag)
    );
    assert_eq!(account.inventory()[0].component, "service");
    ecs.delete_cluster().cluster("shop").send().await.unwrap();
    wait(3).await;
    assert_eq!(status(describe().await.unwrap()), "INACTIVE");
    assert!(account.inventory().is_empty());
    assert_refused(
        ecs.delete_cluster().cluster("other").send().await,
        "ClusterNotFoundException",
        "not found",
    );
}

#[tokio::test(start_paused = true)]
async fn every_registration_is_a_new_revision_with_the_defaults_filled_in() {
    let shop = Shop::open().await;
    let first = shop.register("web", container("web")).await;
    let second = shop.register("web", container("web")).await;
    assert!(first.ends_with("task-definition/web:1") && second.ends_with("task-definition/web:2"));
    let latest = shop.ecs.describe_task_definition().task_definition("web").send().await.unwrap();
    let latest = latest.task_definition.unwrap();
    assert_eq!(latest.revision(), 2);
    let container = &latest.container_definitions()[0];
    assert_eq!(container.essential(), Some(true));
    assert_eq!(container.port_mappings()[0].host_port(), Some(8080));
    shop.ecs.deregister_task_definition().task_definition(&second).send().await.unwrap();
    let latest = shop.ecs.describe_task_definition().task_definition("web").send().await.unwrap();
    assert_eq!(latest.task_definition.unwrap().revision(), 1, "the latest that is active");
    let listed = shop.ecs.list_task_definitions().family_prefix("web").send().await.unwrap();
    assert_eq!(listed.task_definition_arns(), std::slice::from_ref(&first));
    let refused = shop.ecs.delete_task_definitions().task_definitions(&first).send().await.unwrap();
    assert!(refused.failures()[0].reason().unwrap().contains("still in ACTIVE status"));
    let deleted = shop.ecs.delete_task_definitions().task_definitions(&second).send().await.unwrap();
    assert_eq!(deleted.task_definitions()[0].status().unwrap().as_str(), "DELETE_IN_PROGRESS");
    let families = shop.ecs.list_task_definition_families().send().await.unwrap();
    assert_eq!(families.families(), ["web"]);
    assert_refused(
        shop.ecs.describe_task_definition().task_definition("nothing").send().await,
        "ClientException",
        "Unable to describe task definition.",
    );
}

#[tokio::test(start_paused = true)]
async fn task_definitions_that_fargate_cannot_run_are_refused() {
    use aws_sdk_ecs::types::{KeyValuePair, LogConfiguration, LogDriver, NetworkMode, Secret};
    let shop = Shop::open().await;
    let base = || shop.registration("web", container("web").build());
    let with = |container: aws_sdk_ecs::types::builders::ContainerDefinitionBuilder| {
        base().set_container_definitions(Some(vec![container.build()])).set_execution_role_arn(None)
    };
    let logs = LogConfiguration::builder().log_driver(LogDriver::Awslogs);
    let partial = logs.clone().options("awslogs-group", "/shop").build().unwrap();
    let whole = logs
        .options("awslogs-group", "/shop")
        .options("awslogs-region", "eu-central-1")
        .options("awslogs-stream-prefix", "web")
        .build()
        .unwrap();
    let secret = Secret::builder().name("KEY").value_from("arn:x").build().unwrap();
    let variable = KeyValuePair::builder().name("KEY").value("1").build();
    let private = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/shop:1";
    for (request, message) in vec![
        (base().cpu("300"), "No Fargate configuration exists"),
        (base().memory("4096"), "No Fargate configuration exists"),
        (base().set_memory(None), "'memory' be defined"),
        (base().network_mode(NetworkMode::Bridge), "Fargate only supports network mode"),
        (base().set_container_definitions(Some(Vec::new())), "Container list cannot be empty"),
        (base().container_definitions(container("web").build()), "Duplicate container name"),
        (base().task_role_arn("shop-task"), "Role is not valid"),
        (with(container("web").essential(false)), "should be essential"),
        (with(container("web").log_configuration(whole)), "execution role ARN to support log driver awslogs"),
        (with(container("web").log_configuration(partial)), "requires options"),
        (with(container("web").secrets(secret.clone())), "also specify a value for 'executionRoleArn'"),
        (with(container("web").secrets(secret).environment(variable)), "secret name must be unique"),
        (with(container("web").image(private)), "to support ECR images"),
    ] {
        assert_refused(request.send().await, "ClientException", message);
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_is_steady_soon_after_its_load_balancer_is_active() {
    let shop = Shop::ready().await;
    let definition = shop.register_logging("web").await;
    let tag = Tag::builder().key("stackdrop:component").value("service").build();
    let created = shop.account.clock().elapsed();
    shop.creation("web", &definition).tags(tag).propagate_tags(PropagateTags::Service).send().await.unwrap();
    let soon = shop.ecs.describe_services().cluster("shop").services("web").send().await.unwrap();
    assert_eq!(soon.failures()[0].reason(), Some("MISSING"), "unseen right after");
    let service = shop.settled("web").await;
    let took = shop.account.clock().elapsed().saturating_sub(created).as_secs();
    assert!((60..=75).contains(&took), "{took} s");
    assert_eq!((service.running_count(), service.pending_count()), (2, 0));
    assert!(service.events()[0].message().unwrap().contains("has reached a steady state"));
    let deployment = &service.deployments()[0];
    assert_eq!(deployment.rollout_state(), Some(&DeploymentRolloutState::Completed));
    let tasks = shop.tasks(DesiredStatus::Running).await;
    let zones: Vec<_> = tasks.iter().map(|task| task.availability_zone().unwrap()).collect();
    assert_eq!(zones, ["eu-central-1a", "eu-central-1b"], "spread over the zones");
    assert_eq!(tasks[0].started_by(), deployment.id());
    assert_eq!(tasks[0].attachments()[0].status(), Some("ATTACHED"));
    assert_eq!(tasks[0].tags()[0].value(), Some("service"), "propagated from the service");
    assert_eq!(shop.interfaces().await, 2);
    let health = shop.elb.describe_target_health().target_group_arn(&shop.target_group).send().await.unwrap();
    assert_eq!(health.target_health_descriptions().len(), 2);
    assert_eq!(shop.lines().await, ["starting", "starting"]);
    let item = shop.account.inventory().into_iter().find(|item| item.kind == "AWS::ECS::Service").unwrap();
    let expected = 2.0 * 730.0 * (0.25 * 0.046_56 + 0.5 * 0.005_11);
    assert!((item.monthly_usd - expected).abs() < 0.001, "{}", item.monthly_usd);
    assert_eq!((item.name.as_str(), item.component.as_str()), ("web", "service"));
}

#[tokio::test(start_paused = true)]
async fn a_service_may_start_before_its_load_balancer_is_active_and_is_steady_after_it() {
    let shop = Shop::with_young_load_balancer().await;
    let definition = shop.register("web", container("web")).await;
    shop.creation("web", &definition).send().await.unwrap();
    wait(70).await;
    let service = shop.service("web").await;
    assert_eq!(service.running_count(), 2);
    assert_eq!(service.deployments()[0].rollout_state(), Some(&DeploymentRolloutState::InProgress));
    let health = shop.elb.describe_target_health().target_group_arn(&shop.target_group).send().await.unwrap();
    let first = health.target_health_descriptions()[0].target_health().unwrap();
    assert_eq!(first.state().unwrap().as_str(), "unused", "no checks before that");
    shop.load_balancer_active().await;
    let active = shop.account.clock().elapsed();
    shop.settled("web").await;
    let took = shop.account.clock().elapsed().saturating_sub(active).as_secs();
    assert!((18..=30).contains(&took), "two checks after it is active, not {took} s");
}

#[tokio::test(start_paused = true)]
async fn the_service_deployment_reports_the_same_events() {
    let shop = Shop::ready().await;
    let definition = shop.register("web", container("web")).await;
    shop.creation("web", &definition).send().await.unwrap();
    wait(2).await;
    assert_eq!(shop.story("web").await.0, ServiceDeploymentStatus::InProgress);
    let service = shop.settled("web").await;
    wait(4).await;
    let (status, arn) = shop.story("web").await;
    assert_eq!(status, ServiceDeploymentStatus::Successful);
    let whole = shop.ecs.describe_service_deployments().service_deployment_arns(&arn).send().await.unwrap();
    let target = whole.service_deployments()[0].target_service_revision().unwrap().arn().unwrap();
    let number = service.deployments()[0].id().unwrap().trim_start_matches("ecs-svc/").to_owned();
    assert!(target.ends_with(&number), "the primary deployment's number leads to the revision");
    let revision = shop.ecs.describe_service_revisions().service_revision_arns(target).send().await.unwrap();
    assert_eq!(revision.service_revisions()[0].task_definition(), Some(definition.as_str()));
}

#[tokio::test(start_paused = true)]
async fn results_do_not_depend_on_the_number_of_reads() {
    let mut endings = Vec::new();
    for pause in [1, 7, 90] {
        let shop = Shop::ready().await;
        let definition = shop.register("web", container("web")).await;
        shop.creation("web", &definition).send().await.unwrap();
        let created = shop.account.clock().elapsed();
        while shop.account.clock().elapsed().saturating_sub(created) < Duration::from_secs(90) {
            wait(pause).await;
            shop.tasks(DesiredStatus::Running).await;
        }
        let service = shop.service("web").await;
        let times: Vec<f64> =
            service.events().iter().map(|event| event.created_at().unwrap().as_secs_f64()).collect();
        endings.push(times);
    }
    assert_eq!(endings[0], endings[1]);
    assert_eq!(endings[0], endings[2]);
}

#[tokio::test(start_paused = true)]
async fn invalid_services_are_refused() {
    let shop = Shop::ready().await;
    let definition = shop.register("web", container("web")).await;
    let inactive = shop.register("old", container("web")).await;
    shop.ecs.deregister_task_definition().task_definition(&inactive).send().await.unwrap();
    let lonely = shop.lonely_target_group().await;
    let base = || shop.creation("web", &definition);
    let balancer = |arn: &str, name: &str, port: i32| {
        let balancer =
            LoadBalancer::builder().target_group_arn(arn).container_name(name).container_port(port).build();
        base().set_load_balancers(Some(vec![balancer]))
    };
    let blocked =
        DeploymentConfiguration::builder().maximum_percent(100).minimum_healthy_percent(100).build();
    let invalid = "InvalidParameterException";
    for (request, code, message) in vec![
        (base().cluster("other"), "ClusterNotFoundException", "Cluster not found."),
        (balancer(&lonely, "web", 8080), invalid, "does not have an associated load balancer."),
        (balancer("arn:aws:nothing", "web", 8080), invalid, "Unable to find target group"),
        (balancer(&shop.target_group, "other", 8080), invalid, "does not exist in the task definition"),
        (balancer(&shop.target_group, "web", 9), invalid, "did not have a container port 9 defined"),
        (base().task_definition("nothing"), "ClientException", "TaskDefinition not found."),
        (base().task_definition(&inactive), "ClientException", "TaskDefinition is inactive"),
        (base().set_network_configuration(None), invalid, "Network Configuration must be provided"),
        (
            base().network_configuration(Shop::network("subnet-0", &shop.group)),
            invalid,
            "InvalidSubnetID.NotFound",
        ),
        (
            base().network_configuration(Shop::network(&shop.subnets[0], "sg-0")),
            invalid,
            "InvalidGroup.NotFound",
        ),
        (base().deployment_configuration(blocked), invalid, "cannot be 100"),
        (base().desired_count(-1), invalid, "desiredCount"),
        (base().launch_type(LaunchType::Ec2), invalid, "does not support launch_type EC2"),
        (base().enable_execute_command(true), invalid, "valid taskRoleArn"),
        (base().platform_version("0.9"), "PlatformUnknownException", "does not exist"),
        (
            base().set_load_balancers(None).health_check_grace_period_seconds(5),
            invalid,
            "Health check grace period is only valid",
        ),
    ] {
        assert_refused(request.send().await, code, message);
    }
    assert!(shop.account.inventory().iter().all(|item| item.kind != "AWS::ECS::Service"));
}

#[tokio::test(start_paused = true)]
async fn a_repeated_creation_is_the_same_only_with_its_token() {
    let shop = Shop::ready().await;
    let definition = shop.register("web", container("web")).await;
    let with_token = || shop.creation("web", &definition).client_token("one");
    let first = with_token().send().await.unwrap().service.unwrap();
    let second = with_token().send().await.unwrap().service.unwrap();
    assert_eq!(first.deployments()[0].id(), second.deployments()[0].id());
    let message = "Creation of service was not idempotent.";
    for request in [with_token().desired_count(3), shop.creation("web", &definition)] {
        assert_refused(request.send().await, "InvalidParameterException", message);
    }
}

#[tokio::test(start_paused = true)]
async fn tasks_wait_for_a_role_that_is_not_visible_yet() {
    let shop = Shop::ready().await;
    shop.role("fresh", "ecs-tasks.amazonaws.com").await;
    let definition = shop.register_with_role("web", container("web"), "fresh").await;
    shop.creation("web", &definition).send().await.unwrap();
    wait(3).await;
    let service = shop.service("web").await;
    assert!(
        service.events()[0].message().unwrap().contains("ECS was unable to assume the role"),
        "{service:?}"
    );
    assert_eq!(service.deployments()[0].failed_tasks(), 2, "both tasks could not be launched");
    shop.settled("web").await;
    let stopped = shop.tasks(DesiredStatus::Stopped).await;
    assert!(stopped.is_empty(), "ECS tries again by itself: {stopped:?}");
}

#[tokio::test(start_paused = true)]
async fn three_tasks_whose_role_is_not_visible_yet_trip_the_circuit_breaker_at_once() {
    let shop = Shop::ready().await;
    shop.role("fresh", "ecs-tasks.amazonaws.com").await;
    let definition = shop.register_with_role("web", container("web"), "fresh").await;
    shop.creation("web", &definition).desired_count(3).send().await.unwrap();
    assert_eq!(shop.ended("web").await, DeploymentRolloutState::Failed);
}

#[tokio::test(start_paused = true)]
async fn a_role_that_does_not_trust_tasks_fails_the_deployment() {
    let shop = Shop::ready().await;
    shop.role("foreign", "ec2.amazonaws.com").await;
    wait(30).await;
    let definition = shop.register_with_role("web", container("web"), "foreign").await;
    shop.creation("web", &definition).send().await.unwrap();
    assert_eq!(shop.ended("web").await, DeploymentRolloutState::Failed);
    assert_eq!(shop.interfaces().await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_first_deployment_whose_tasks_fail_is_failed_with_nothing_to_roll_back_to() {
    const UNHEALTHY: &str = "Task failed ELB health checks in";
    for (seed, code, reason, logged) in [
        (
            Seed::NoSuchImage { image: "shop/web:1".into() },
            "TaskFailedToStart",
            "CannotPullContainerError",
            None,
        ),
        (
            Seed::CrashingImage { image: "shop/web:1".into(), exit_code: 3 },
            "EssentialContainerExited",
            "Essential container in task exited",
            Some("error: exiting with code 3"),
        ),
        (Seed::UnhealthyImage { image: "shop/web:1".into() }, "ServiceSchedulerInitiated", UNHEALTHY, None),
    ] {
        let shop = Shop::ready().await;
        shop.account.seed(&seed);
        let definition = shop.register_logging("web").await;
        shop.creation("web", &definition).send().await.unwrap();
        assert_eq!(shop.ended("web").await, DeploymentRolloutState::Failed, "{seed:?}");
        assert_eq!(shop.story("web").await.0, ServiceDeploymentStatus::RollbackFailed, "{seed:?}");
        let service = shop.service("web").await;
        let deployment = &service.deployments()[0];
        assert_eq!(
            deployment.rollout_state_reason(),
            Some("ECS deployment circuit breaker: tasks failed to start.")
        );
        assert!(deployment.failed_tasks() >= 3, "{seed:?}: {}", deployment.failed_tasks());
        let stopped = shop.tasks(DesiredStatus::Stopped).await;
        assert_eq!(stopped[0].stop_code().unwrap().as_str(), code);
        assert!(stopped[0].stopped_reason().unwrap().contains(reason), "{stopped:?}");
        if let Some(line) = logged {
            assert!(shop.lines().await.contains(&line.to_owned()));
            assert_eq!(stopped[0].containers()[0].exit_code(), Some(3));
        }
        wait(200).await;
        let held = shop.tasks(DesiredStatus::Running).await.len();
        assert_eq!(shop.interfaces().await, held, "{seed:?}: stopped tasks keep no interface");
    }
}

#[tokio::test(start_paused = true)]
async fn a_task_names_what_it_could_not_reach_or_read() {
    const SECRET: &str = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:shop/key-AbCdEf";
    let secret = |name: &str| {
        let secret = aws_sdk_ecs::types::Secret::builder().name("KEY").value_from(name).build().unwrap();
        container("web").secrets(secret)
    };
    // Without a route, a task gives up after a minute.
    let shop = Shop::without_way_out().await;
    let definition = shop.register("web", container("web")).await;
    shop.worker("web", &definition).await;
    wait(55).await;
    assert!(shop.tasks(DesiredStatus::Stopped).await.is_empty());
    wait(10).await;
    let stopped = shop.tasks(DesiredStatus::Stopped).await;
    assert!(stopped[0].stopped_reason().unwrap().starts_with("CannotPullContainerError"));
    // With a route, a missing image or secret is reported at once.
    let shop = Shop::ready().await;
    shop.account.seed(&Seed::Secret { arn: SECRET.into() });
    let missing = SECRET.replace("key", "none");
    let logging = container("web").log_configuration(ecs_shop::logs_to("/nothing"));
    for (number, (definition, role, reason)) in [
        (secret(SECRET), "shop-execution", "not authorized to perform: secretsmanager:GetSecretValue"),
        (secret(&missing), "shop-reader", "can't find the specified secret"),
        (logging, "shop-execution", "The specified log group does not exist."),
        (
            container("web").image("123456789012.dkr.ecr.eu-central-1.amazonaws.com/shop"),
            "shop-reader",
            "ecr:Get",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("s{number}");
        let definition = shop.register_with_role(&name, definition, role).await;
        shop.worker(&name, &definition).await;
        wait(20).await;
        let stopped = shop.tasks_of(&name, DesiredStatus::Stopped).await;
        assert!(stopped[0].stopped_reason().unwrap().contains(reason), "{stopped:?}");
    }
    let definition = shop.register_with_role("good", secret(&format!("{SECRET}:key::")), "shop-reader").await;
    shop.worker("good", &definition).await;
    shop.settled("good").await;
}

#[tokio::test(start_paused = true)]
async fn an_update_starts_new_tasks_before_it_stops_old_ones() {
    let shop = Shop::ready().await;
    let first = shop.register("web", container("web")).await;
    shop.creation("web", &first).send().await.unwrap();
    shop.settled("web").await;
    let second = shop.register("web", container("web").image("shop/web:2")).await;
    let update = || shop.ecs.update_service().cluster("shop").service("web");
    let updated = update().task_definition(&second).send().await.unwrap().service.unwrap();
    assert_eq!(updated.deployments().len(), 2);
    let mut fewest = 2;
    while shop.service("web").await.deployments().len() > 1 {
        let health =
            shop.elb.describe_target_health().target_group_arn(&shop.target_group).send().await.unwrap();
        let healthy = health.target_health_descriptions().iter().filter(|target| {
            target
                .target_health()
                .and_then(|health| health.state())
                .is_some_and(|state| state.as_str() == "healthy")
        });
        fewest = fewest.min(healthy.count());
        wait(2).await;
    }
    assert_eq!(fewest, 2, "never fewer healthy targets than desired");
    let service = shop.settled("web").await;
    assert_eq!(service.task_definition(), Some(second.as_str()));
    assert_eq!(shop.interfaces().await, 2);
    // A change without an effect on tasks starts no deployment.
    let scaled = update().desired_count(3).send().await.unwrap().service.unwrap();
    assert_eq!(scaled.deployments().len(), 1);
    assert_eq!(shop.settled("web").await.running_count(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_later_deployment_that_fails_is_rolled_back() {
    let shop = Shop::ready().await;
    let first = shop.register("web", container("web")).await;
    shop.creation("web", &first).send().await.unwrap();
    shop.settled("web").await;
    shop.account.seed(&Seed::CrashingImage { image: "shop/web:2".into(), exit_code: 1 });
    let second = shop.register("web", container("web").image("shop/web:2")).await;
    let update = shop.ecs.update_service().cluster("shop").service("web").task_definition(&second);
    update.send().await.unwrap();
    wait(2).await;
    while shop.story("web").await.0 == ServiceDeploymentStatus::InProgress {
        wait(5).await;
    }
    assert_eq!(shop.story("web").await.0, ServiceDeploymentStatus::RollbackInProgress);
    let service = shop.settled("web").await;
    wait(4).await;
    assert_eq!(shop.story("web").await.0, ServiceDeploymentStatus::RollbackSuccessful);
    assert_eq!(service.task_definition(), Some(first.as_str()), "it looks steady, with the old definition");
    assert_eq!(service.running_count(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_fault_makes_the_tasks_of_a_service_crash() {
    let shop = Shop::ready().await;
    shop.account.arm(Fault::at("ecs", "CreateService", When::Only(1), FaultKind::ResourceFails));
    let definition = shop.register("web", container("web")).await;
    shop.creation("web", &definition).send().await.unwrap();
    assert_eq!(shop.ended("web").await, DeploymentRolloutState::Failed);
}

#[tokio::test(start_paused = true)]
async fn a_deployment_without_rollback_is_stopped_by_the_breaker() {
    let shop = Shop::ready().await;
    shop.account.seed(&Seed::NoSuchImage { image: "shop/web:1".into() });
    let definition = shop.register("web", container("web")).await;
    let breaker = DeploymentCircuitBreaker::builder().enable(true).rollback(false).build();
    let configuration = DeploymentConfiguration::builder().deployment_circuit_breaker(breaker).build();
    shop.creation("web", &definition).deployment_configuration(configuration).send().await.unwrap();
    assert_eq!(shop.ended("web").await, DeploymentRolloutState::Failed);
    assert_eq!(shop.story("web").await.0, ServiceDeploymentStatus::Stopped);
}

#[tokio::test(start_paused = true)]
async fn a_service_drains_for_its_deregistration_delay_and_its_tasks_stop_after_it() {
    let shop = Shop::ready().await;
    let definition = shop.register("web", container("web")).await;
    shop.creation("web", &definition).send().await.unwrap();
    shop.settled("web").await;
    let delete = || shop.ecs.delete_service().cluster("shop").service("web");
    assert_refused(delete().send().await, "InvalidParameterException", "while it is scaled above 0");
    assert_refused(
        shop.ecs.delete_cluster().cluster("shop").send().await,
        "ClusterContainsServicesException",
        "Services are active",
    );
    let deleted = delete().force(true).send().await.unwrap().service.unwrap();
    assert_eq!(deleted.status(), Some("DRAINING"));
    assert_refused(
        shop.creation("web", &definition).send().await,
        "InvalidParameterException",
        "Unable to Start a service that is still Draining.",
    );
    assert_refused(
        shop.ecs.update_service().cluster("shop").service("web").desired_count(1).send().await,
        "ServiceNotActiveException",
        "not ACTIVE",
    );
    // The delay of the target group is 30 s.
    wait(50).await;
    assert_eq!(shop.service("web").await.status(), Some("DRAINING"));
    wait(15).await;
    assert_eq!(shop.service("web").await.status(), Some("INACTIVE"));
    assert_eq!(shop.interfaces().await, 2);
    wait(35).await;
    assert_eq!(shop.interfaces().await, 0);
    assert_refused(delete().force(true).send().await, "ServiceNotFoundException", "Service not found.");
    shop.creation("web", &definition).send().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_service_without_its_role_never_finishes_draining() {
    let shop = Shop::ready().await;
    let definition = shop.register_with_role("web", container("web"), "shop-reader").await;
    shop.worker("web", &definition).await;
    shop.settled("web").await;
    shop.ecs.delete_service().cluster("shop").service("web").force(true).send().await.unwrap();
    shop.delete_reader().await;
    wait(3600).await;
    assert_eq!(shop.service("web").await.status(), Some("DRAINING"));
}

#[tokio::test(start_paused = true)]
async fn a_service_that_scales_down_to_nothing_is_deleted_without_force() {
    let shop = Shop::ready().await;
    let definition = shop.register("web", container("web")).await;
    shop.worker("web", &definition).await;
    shop.settled("web").await;
    let update = shop.ecs.update_service().cluster("shop").service("web").desired_count(0);
    update.send().await.unwrap();
    shop.ecs.delete_service().cluster("shop").service("web").send().await.unwrap();
    wait(70).await;
    assert_eq!(shop.service("web").await.status(), Some("INACTIVE"));
    assert_eq!(shop.interfaces().await, 0);
    shop.ecs.delete_cluster().cluster("shop").send().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_refusal_names_what_is_missing() {
    let shop = Shop::open().await;
    let ecs = &shop.ecs;
    let service = "ServiceNotFoundException";
    assert_refused(ecs.update_service().cluster("shop").service("no").send().await, service, "not found");
    assert_refused(ecs.delete_service().cluster("shop").service("no").send().await, service, "not found");
    assert_refused(ecs.list_tasks().cluster("shop").service_name("no").send().await, service, "not found");
    assert_refused(
        ecs.list_service_deployments().cluster("shop").service("no").send().await,
        service,
        "not found",
    );
    let cluster = "ClusterNotFoundException";
    assert_refused(ecs.list_services().cluster("no").send().await, cluster, "not found");
    assert_refused(ecs.describe_services().cluster("no").services("a").send().await, cluster, "not found");
    let tasks = ecs.describe_tasks().cluster("shop").tasks("0123").send().await.unwrap();
    assert_eq!(tasks.failures()[0].reason(), Some("MISSING"));
    let eleven = ecs.describe_services().cluster("shop").set_services(Some(vec!["a".into(); 11]));
    assert_refused(eleven.send().await, "InvalidParameterException", "no more than 10");
    assert_refused(
        ecs.describe_services().cluster("shop").send().await,
        "InvalidParameterException",
        "cannot be empty",
    );
}

#[tokio::test(start_paused = true)]
async fn a_scalable_target_bounds_its_service_and_outlives_it() {
    use aws_sdk_applicationautoscaling::types::{
        MetricType, PolicyType, PredefinedMetricSpecification, ScalableDimension, ServiceNamespace,
        TargetTrackingScalingPolicyConfiguration,
    };
    let shop = Shop::ready().await;
    let scaling = aws_sdk_applicationautoscaling::Client::new(&sdk(&shop.account));
    let dimension = ScalableDimension::EcsServiceDesiredCount;
    let register = || {
        scaling
            .register_scalable_target()
            .service_namespace(ServiceNamespace::Ecs)
            .scalable_dimension(dimension.clone())
            .resource_id("service/shop/web")
            .min_capacity(3)
            .max_capacity(6)
            .tags("stackdrop:component", "service")
    };
    let policy = |value: f64| {
        let metric = PredefinedMetricSpecification::builder()
            .predefined_metric_type(MetricType::EcsServiceAverageCpuUtilization)
            .build()
            .unwrap();
        scaling
            .put_scaling_policy()
            .policy_name("cpu")
            .service_namespace(ServiceNamespace::Ecs)
            .scalable_dimension(dimension.clone())
            .resource_id("service/shop/web")
            .policy_type(PolicyType::TargetTrackingScaling)
            .target_tracking_scaling_policy_configuration(
                TargetTrackingScalingPolicyConfiguration::builder()
                    .target_value(value)
                    .predefined_metric_specification(metric)
                    .build()
                    .unwrap(),
            )
    };
    assert_refused(register().send().await, "ValidationException", "ECS service doesn't exist");
    assert_refused(policy(60.0).send().await, "ObjectNotFoundException", "No scalable target");
    let definition = shop.register("web", container("web")).await;
    shop.creation("web", &definition).send().await.unwrap();
    assert_refused(register().max_capacity(1).send().await, "ValidationException", "cannot be less than");
    let registered = register().send().await.unwrap();
    assert_eq!(shop.settled("web").await.running_count(), 3, "brought up to the least");
    assert_refused(policy(0.0).send().await, "ValidationException", "greater than 0");
    assert_eq!(policy(60.0).send().await.unwrap().alarms().len(), 2);
    assert_refused(policy(50.0).policy_name("two").send().await, "ValidationException", "given metric");
    let found =
        scaling.describe_scaling_policies().service_namespace(ServiceNamespace::Ecs).send().await.unwrap();
    assert_eq!(found.scaling_policies()[0].policy_name(), "cpu");
    let tags = scaling.list_tags_for_resource().resource_arn(registered.scalable_target_arn().unwrap());
    assert_eq!(tags.send().await.unwrap().tags().unwrap()["stackdrop:component"], "service");
    shop.ecs.delete_service().cluster("shop").service("web").force(true).send().await.unwrap();
    wait(120).await;
    let kinds = || -> Vec<String> {
        let items = shop.account.inventory();
        items.iter().map(|item| item.kind.clone()).filter(|kind| kind.contains("AutoScaling")).collect()
    };
    assert_eq!(kinds().len(), 2, "the service is gone, its scaling is not");
    let deregister = || {
        scaling
            .deregister_scalable_target()
            .service_namespace(ServiceNamespace::Ecs)
            .scalable_dimension(dimension.clone())
            .resource_id("service/shop/web")
    };
    deregister().send().await.unwrap();
    assert!(kinds().is_empty());
    assert_refused(deregister().send().await, "ObjectNotFoundException", "No scalable target");
}

#[tokio::test(start_paused = true)]
async fn log_groups_keep_their_settings() {
    let account = account();
    let logs = aws_sdk_cloudwatchlogs::Client::new(&sdk(&account));
    let create =
        || logs.create_log_group().log_group_name("/shop/web").tags("stackdrop:component", "service");
    create().send().await.unwrap();
    assert_refused(create().send().await, "ResourceAlreadyExistsException", "already exists");
    let retain = |days: i32| logs.put_retention_policy().log_group_name("/shop/web").retention_in_days(days);
    assert_refused(retain(31).send().await, "InvalidParameterException", "retentionInDays");
    retain(30).send().await.unwrap();
    let found = logs.describe_log_groups().log_group_name_prefix("/shop").send().await.unwrap();
    let group = &found.log_groups()[0];
    assert_eq!(group.retention_in_days(), Some(30));
    let arn = group.log_group_arn().unwrap();
    let tags = logs.list_tags_for_resource().resource_arn(arn).send().await.unwrap();
    assert_eq!(tags.tags().unwrap()["stackdrop:component"], "service");
    assert_refused(
        logs.list_tags_for_resource().resource_arn(group.arn().unwrap()).send().await,
        "InvalidParameterException",
        "resourceArn",
    );
    let none = "ResourceNotFoundException";
    assert_refused(
        logs.delete_log_group().log_group_name("/no").send().await,
        none,
        "log group does not exist",
    );
    assert_refused(
        logs.get_log_events().log_group_name("/shop/web").log_stream_name("no").send().await,
        none,
        "log stream does not exist",
    );
    logs.delete_log_group().log_group_name("/shop/web").send().await.unwrap();
    assert!(account.inventory().is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_unknown_field_deep_in_a_request_is_refused() {
    let shop = Shop::open().await;
    let container = container("web").privileged(true).build();
    assert_refused(shop.registration("web", container).send().await, "SerializationException", "privileged");
}

/// The number of failed tasks that the circuit breaker has counted for the newest deployment.
async fn failed_tasks(shop: &Shop) -> i32 {
    shop.service("web").await.deployments()[0].failed_tasks()
}

#[tokio::test(start_paused = true)]
async fn the_circuit_breaker_does_not_count_containers_that_exit_after_they_have_run() {
    let shop = Shop::ready().await;
    let image = "shop/web:1".to_owned();
    shop.account.seed(&Seed::ImageCrashingAfter { image, exit_code: 3, seconds: 15 });
    let definition = shop.register_logging("web").await;
    shop.creation("web", &definition).send().await.unwrap();
    wait(300).await;
    let stopped = shop.tasks(DesiredStatus::Stopped).await;
    assert!(stopped.len() > 3, "{stopped:?}");
    let service = shop.service("web").await;
    assert_eq!(service.deployments()[0].rollout_state(), Some(&DeploymentRolloutState::InProgress));
    assert_eq!(failed_tasks(&shop).await, 0);
    assert!(shop.lines().await.contains(&"error: exiting with code 3".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_healthy_task_resets_the_circuit_breakers_count_unless_the_service_says_otherwise() {
    for (resets, expected) in [(None, 0), (Some(true), 0), (Some(false), 2)] {
        let shop = Shop::ready().await;
        shop.role("fresh", "ecs-tasks.amazonaws.com").await;
        let definition = shop.register_with_role("web", container("web"), "fresh").await;
        let breaker = DeploymentCircuitBreaker::builder().enable(true).rollback(true);
        let breaker = breaker.set_reset_on_healthy_task(resets).build();
        let configuration = DeploymentConfiguration::builder().deployment_circuit_breaker(breaker).build();
        let creation = shop.creation("web", &definition).deployment_configuration(configuration);
        creation.send().await.unwrap();
        let mut most_failed = 0;
        for _ in 0..200 {
            wait(1).await;
            if shop.service("web").await.running_count() == 2 {
                break;
            }
            most_failed = most_failed.max(failed_tasks(&shop).await);
        }
        assert_eq!(most_failed, 2, "the role was not visible at first");
        // With one healthy task of two, the deployment is not complete.
        let task = shop.tasks(DesiredStatus::Running).await[0].task_arn().unwrap().to_owned();
        shop.ecs.stop_task().cluster("shop").task(task).send().await.unwrap();
        wait(25).await;
        assert_eq!(failed_tasks(&shop).await, expected, "{resets:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_deleted_service_is_inactive_while_its_last_tasks_stop_and_its_cluster_waits_for_them() {
    let shop = Shop::ready().await;
    let definition = shop.register("web", container("web")).await;
    shop.worker("web", &definition).await;
    shop.settled("web").await;
    shop.ecs.delete_service().cluster("shop").service("web").force(true).send().await.unwrap();
    while shop.service("web").await.status() != Some("INACTIVE") {
        wait(1).await;
    }
    let delete = || shop.ecs.delete_cluster().cluster("shop").send();
    assert_refused(delete().await, "ClusterContainsTasksException", "while Tasks are active");
    wait(60).await;
    delete().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_task_starts_only_if_its_role_may_write_to_its_log_group() {
    let shop = Shop::ready().await;
    let logging = container("web").log_configuration(ecs_shop::logs_to("/shop"));
    let definition = shop.register_with_role("web", logging, "shop-reader").await;
    shop.worker("web", &definition).await;
    wait(20).await;
    let stopped = shop.tasks(DesiredStatus::Stopped).await;
    let reason = stopped[0].stopped_reason().unwrap();
    assert!(reason.contains("failed to create Cloudwatch log stream: AccessDeniedException"), "{reason}");
}

#[tokio::test(start_paused = true)]
async fn service_deployments_are_listed_in_pages_of_twenty_in_no_promised_order() {
    let shop = Shop::ready().await;
    let definition = shop.register("web", container("web")).await;
    shop.worker("web", &definition).await;
    for _ in 0..24 {
        wait(2).await;
        let update = shop.ecs.update_service().cluster("shop").service("web").force_new_deployment(true);
        update.send().await.unwrap();
    }
    let list = || shop.ecs.list_service_deployments().cluster("shop").service("web");
    let first = list().send().await.unwrap();
    assert_eq!(first.service_deployments().len(), 20);
    let second = list().next_token(first.next_token().unwrap()).send().await.unwrap();
    assert_eq!((second.service_deployments().len(), second.next_token()), (5, None));
    let newest = second.service_deployments().iter().max_by_key(|one| one.created_at().unwrap().secs());
    assert_eq!(newest.unwrap().status(), Some(&ServiceDeploymentStatus::Pending));
}

#[tokio::test(start_paused = true)]
async fn a_service_deployment_that_somebody_stops_is_rolled_back() {
    let shop = Shop::ready().await;
    let first = shop.register("web", container("web")).await;
    shop.creation("web", &first).send().await.unwrap();
    shop.settled("web").await;
    let (_, completed) = shop.story("web").await;
    let end = |arn: &str| shop.ecs.stop_service_deployment().service_deployment_arn(arn).send();
    assert_refused(end(&completed).await, "ConflictException", "not in progress");
    let second = shop.register("web", container("web").image("shop/web:2")).await;
    let update = shop.ecs.update_service().cluster("shop").service("web").task_definition(&second);
    update.send().await.unwrap();
    wait(5).await;
    let (_, running) = shop.story("web").await;
    end(&running).await.unwrap();
    assert_eq!(shop.story("web").await.0, ServiceDeploymentStatus::RollbackInProgress);
    let service = shop.settled("web").await;
    assert_eq!(service.task_definition(), Some(first.as_str()));
    wait(5).await;
    assert_eq!(shop.story("web").await.0, ServiceDeploymentStatus::RollbackSuccessful);
}

#[tokio::test(start_paused = true)]
async fn a_task_that_somebody_stops_is_replaced() {
    let shop = Shop::ready().await;
    let definition = shop.register("web", container("web")).await;
    shop.creation("web", &definition).send().await.unwrap();
    shop.settled("web").await;
    let task = shop.tasks(DesiredStatus::Running).await[0].task_arn().unwrap().to_owned();
    let end = |task: &str| shop.ecs.stop_task().cluster("shop").task(task).reason("by hand").send();
    assert_refused(end("00000000").await, "InvalidParameterException", "was not found");
    assert_eq!(end(&task).await.unwrap().task().unwrap().desired_status(), Some("STOPPED"));
    let stopped = shop.tasks(DesiredStatus::Stopped).await;
    assert_eq!(stopped[0].stop_code().unwrap().as_str(), "UserInitiated");
    wait(120).await;
    assert_eq!(shop.settled("web").await.running_count(), 2);
}

/// Causes an incident of the stack `shop`. Returns how many resources it changed.
fn caused(shop: &Shop, name: &str) -> usize {
    let incident = stackdrop_simulator::Incident::named(name).unwrap();
    shop.account.cause(incident, "shop").len()
}

#[tokio::test(start_paused = true)]
async fn incidents_change_the_services_of_their_stack_only_and_only_if_it_has_some() {
    let names: Vec<&str> = stackdrop_simulator::Incident::all()
        .map(|incident| incident.name)
        .filter(|name| {
            ["container", "task", "service", "cluster", "fargate"].iter().any(|of| name.contains(of))
        })
        .collect();
    assert!(names.len() >= 9, "{names:?}");
    let empty = account();
    for name in &names {
        let incident = stackdrop_simulator::Incident::named(name).unwrap();
        assert!(empty.cause(incident, "shop").is_empty(), "{name}");
    }
    for name in names.into_iter().filter(|name| *name != "empty-cluster-deleted") {
        let shop = Shop::ready().await;
        let definition = shop.register("web", container("web")).await;
        shop.creation("web", &definition).send().await.unwrap();
        shop.settled("web").await;
        assert!(
            shop.account.cause(stackdrop_simulator::Incident::named(name).unwrap(), "other").is_empty(),
            "{name}"
        );
        assert!(caused(&shop, name) > 0, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn without_fargate_capacity_no_task_starts_and_the_service_says_so() {
    let shop = Shop::ready().await;
    let definition = shop.register("web", container("web")).await;
    shop.creation("web", &definition).send().await.unwrap();
    shop.settled("web").await;
    caused(&shop, "no-fargate-capacity");
    shop.ecs.update_service().cluster("shop").service("web").desired_count(3).send().await.unwrap();
    wait(60).await;
    let service = shop.service("web").await;
    assert_eq!(service.running_count(), 2);
    assert!(service.events()[0].message().unwrap().contains("Capacity is unavailable at this time"));
    wait(300).await;
    assert_eq!(shop.settled("web").await.running_count(), 3);
}

#[tokio::test(start_paused = true)]
async fn guardduty_adds_a_container_to_new_tasks() {
    let shop = Shop::ready().await;
    caused(&shop, "guardduty-monitors-tasks");
    let definition = shop.register("web", container("web")).await;
    shop.creation("web", &definition).send().await.unwrap();
    shop.settled("web").await;
    let task = &shop.tasks(DesiredStatus::Running).await[0];
    let names: Vec<&str> = task.containers().iter().filter_map(|container| container.name()).collect();
    assert!(
        names.len() == 2 && names[0].starts_with("aws-guardduty-agent-") && names[1] == "web",
        "{names:?}"
    );
}
