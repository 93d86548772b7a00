//! Changes by hand or by other tools: repaired, or kept where the spec says so.

use std::time::Duration;

use aws_sdk_applicationautoscaling::types::{
    MetricType, PolicyType, PredefinedMetricSpecification, TargetTrackingScalingPolicyConfiguration,
};
use aws_sdk_ecs::types::{
    AssignPublicIp, AvailabilityZoneRebalancing, Compatibility, ContainerDefinition,
    DeploymentCircuitBreaker, DeploymentConfiguration, NetworkConfiguration, NetworkMode,
    TaskDefinitionField,
};
use stackdrop_functions::Aws;
use stackdrop_functions::aws::error::StepError;

use crate::common::{apply, until_done, writes};
use crate::{
    NAME, WEB, WORKER, assert_nothing_to_do, changed, changes, deployed, described, next, wait_until_stable,
};

#[tokio::test(start_paused = true)]
async fn manual_changes_are_planned_and_repaired() {
    let (account, aws, mut deployment) = deployed(WEB).await;
    let ecs = aws.ecs();
    let web = described(&aws, "web").await;
    let group = "/stackdrop/shop/web";
    aws.logs().delete_retention_policy().log_group_name(group).send().await.unwrap();
    let untag = ecs.untag_resource().resource_arn(web.service_arn().unwrap());
    untag.tag_keys("Name").send().await.unwrap();
    let cluster = web.cluster_arn().unwrap();
    ecs.untag_resource().resource_arn(cluster).tag_keys("stackdrop:logical-id").send().await.unwrap();
    let update = ecs.update_service().cluster("shop").service("web").health_check_grace_period_seconds(5);
    update.propagate_tags(aws_sdk_ecs::types::PropagateTags::TaskDefinition).send().await.unwrap();
    let target = aws
        .autoscaling()
        .register_scalable_target()
        .service_namespace("ecs".into())
        .resource_id("service/shop/web")
        .scalable_dimension("ecs:service:DesiredCount".into())
        .min_capacity(1)
        .max_capacity(3);
    target.send().await.unwrap();
    scale_by_memory(&aws).await;
    let role = aws.iam().delete_role_policy().role_name("stackdrop-shop-execution-eu-central-1");
    role.policy_name("stackdrop").send().await.unwrap();
    assert_eq!(
        changes(&aws, &deployment).await,
        [
            "update role/execution policy",
            "update cluster tags.stackdrop:logical-id",
            "update log-group/web logDays",
            "update service/web healthCheck.grace",
            "update service/web propagateTags",
            "update service/web tags.Name",
            "update scalable-target/web min",
            "update scalable-target/web max",
            "update scalable-target/web tags",
            "update scaling-policy/web cpuPercent",
        ]
    );
    apply(&aws, &[NAME], &mut deployment).await;
    wait_until_stable(&aws, &deployment).await.unwrap();
    assert_nothing_to_do(&account, &aws, &deployment).await;
}

/// Lets a service scale by its use of memory, with the same percentage.
async fn scale_by_memory(aws: &Aws) {
    let metric = PredefinedMetricSpecification::builder();
    let metric =
        metric.predefined_metric_type(MetricType::EcsServiceAverageMemoryUtilization).build().unwrap();
    let tracking = TargetTrackingScalingPolicyConfiguration::builder().target_value(70.0);
    let tracking = tracking.predefined_metric_specification(metric).build().unwrap();
    let call = aws.autoscaling().put_scaling_policy().policy_name("shop-web-cpu");
    let call = call.policy_type(PolicyType::TargetTrackingScaling).service_namespace("ecs".into());
    let call = call.resource_id("service/shop/web").scalable_dimension("ecs:service:DesiredCount".into());
    call.target_tracking_scaling_policy_configuration(tracking).send().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn each_setting_of_a_service_that_somebody_changes_is_planned_and_put_back() {
    let (account, aws, mut deployment) = deployed(WEB).await;
    let by_hand = || aws.ecs().update_service().cluster("shop").service("web");
    let network = described(&aws, "web").await.network_configuration.unwrap();
    let mut public = network.awsvpc_configuration.unwrap();
    public.assign_public_ip = Some(AssignPublicIp::Enabled);
    let public = NetworkConfiguration::builder().awsvpc_configuration(public).build();
    let breaker = DeploymentCircuitBreaker::builder().enable(false).rollback(false).build();
    let rolling = DeploymentConfiguration::builder().minimum_healthy_percent(50).maximum_percent(200);
    let rolling = rolling.deployment_circuit_breaker(breaker).build();
    for (call, field) in [
        (by_hand().network_configuration(public), "publicAddress"),
        (by_hand().deployment_configuration(rolling), "rolling"),
        (by_hand().enable_ecs_managed_tags(false), "managedTags"),
        (by_hand().availability_zone_rebalancing(AvailabilityZoneRebalancing::Disabled), "zoneRebalancing"),
        (by_hand().enable_execute_command(true), "exec"),
    ] {
        call.send().await.unwrap();
        tokio::time::advance(Duration::from_mins(10)).await;
        assert_eq!(changes(&aws, &deployment).await, [format!("update service/web {field}")]);
        apply(&aws, &[NAME], &mut deployment).await;
        wait_until_stable(&aws, &deployment).await.unwrap();
        assert_nothing_to_do(&account, &aws, &deployment).await;
    }
    let rolling = described(&aws, "web").await.deployment_configuration.unwrap();
    assert_eq!((rolling.minimum_healthy_percent(), rolling.maximum_percent()), (Some(100), Some(200)));
    let breaker = rolling.deployment_circuit_breaker().unwrap();
    assert_eq!(
        (breaker.enable(), breaker.rollback(), breaker.reset_on_healthy_task()),
        (true, true, Some(false))
    );
}

/// Registers a copy of the service's revision with other containers, tags included, and lets the service use it.
pub(crate) async fn use_copy(aws: &Aws, change: fn(&mut Vec<ContainerDefinition>)) {
    let used = described(aws, "mail").await.task_definition.unwrap();
    let found = aws.ecs().describe_task_definition().task_definition(used).include(TaskDefinitionField::Tags);
    let found = found.send().await.unwrap();
    let definition = found.task_definition.unwrap();
    let mut containers = definition.container_definitions.unwrap();
    change(&mut containers);
    let call = aws.ecs().register_task_definition().set_family(definition.family);
    let call = call.set_container_definitions(Some(containers)).set_tags(found.tags);
    let call = call.network_mode(NetworkMode::Awsvpc).requires_compatibilities(Compatibility::Fargate);
    let call = call.set_cpu(definition.cpu).set_memory(definition.memory);
    let call = call.set_execution_role_arn(definition.execution_role_arn);
    let set = call.set_task_role_arn(definition.task_role_arn).send().await.unwrap();
    let arn = set.task_definition.unwrap().task_definition_arn;
    let update = aws.ecs().update_service().cluster("shop").service("mail").set_task_definition(arn);
    update.send().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_copy_of_a_task_definition_with_something_that_no_spec_has_is_replaced() {
    // What is copied, the field that the plan names, and the change.
    type Copy = (&'static str, &'static str, fn(&mut Vec<ContainerDefinition>));
    let copies: [Copy; 6] = [
        ("an entry point", "revision", |containers| containers[0].entry_point = Some(vec!["sh".into()])),
        ("a user", "revision", |containers| containers[0].user = Some("root".into())),
        ("a working directory", "revision", |containers| {
            containers[0].working_directory = Some("/tmp".into());
        }),
        ("a read-only file system", "readOnlyRootFilesystem", |containers| {
            containers[0].readonly_root_filesystem = Some(true);
        }),
        ("a stop timeout", "revision", |containers| containers[0].stop_timeout = Some(120)),
        ("another container", "revision", |containers| {
            let sidecar = ContainerDefinition::builder().name("sidecar").image("sidecar").essential(false);
            containers.push(sidecar.build());
        }),
    ];
    let (account, aws, mut deployment) = deployed(WORKER).await;
    for (what, field, copy) in copies {
        use_copy(&aws, copy).await;
        tokio::time::advance(Duration::from_mins(10)).await;
        let planned = changes(&aws, &deployment).await;
        for line in
            [format!("update task-definition/mail {field}"), "update service/mail taskDefinition".into()]
        {
            assert!(planned.contains(&line), "{what}: {line} is not in {planned:?}");
        }
        apply(&aws, &[NAME], &mut deployment).await;
        wait_until_stable(&aws, &deployment).await.unwrap();
        assert_nothing_to_do(&account, &aws, &deployment).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_task_definition_that_was_set_by_hand_is_replaced() {
    let (account, aws, mut deployment) = deployed(WORKER).await;
    let ours = described(&aws, "mail").await.task_definition.unwrap();
    let mut theirs = aws
        .ecs()
        .describe_task_definition()
        .task_definition(&ours)
        .send()
        .await
        .unwrap()
        .task_definition
        .unwrap();
    theirs.container_definitions.as_mut().unwrap()[0].image = Some("other".into());
    let call = aws.ecs().register_task_definition().family("stackdrop-shop_mail");
    let call = call
        .cpu("256")
        .memory("512")
        .network_mode("awsvpc".into())
        .requires_compatibilities("FARGATE".into());
    let call = call
        .execution_role_arn(theirs.execution_role_arn.as_ref().unwrap())
        .task_role_arn(theirs.task_role_arn.as_ref().unwrap());
    call.set_container_definitions(theirs.container_definitions).send().await.unwrap();
    aws.ecs()
        .update_service()
        .cluster("shop")
        .service("mail")
        .task_definition("stackdrop-shop_mail:2")
        .send()
        .await
        .unwrap();
    assert_eq!(
        changes(&aws, &deployment).await,
        ["update task-definition/mail image", "update service/mail taskDefinition"]
    );
    apply(&aws, &[NAME], &mut deployment).await;
    wait_until_stable(&aws, &deployment).await.unwrap();
    // The existing revision is used again: none is registered.
    assert_eq!(described(&aws, "mail").await.task_definition.unwrap(), ours);
    assert_nothing_to_do(&account, &aws, &deployment).await;
}

#[tokio::test(start_paused = true)]
async fn a_plan_waits_for_a_service_whose_tasks_somebody_replaces_or_stops() {
    let (_account, aws, deployment) = deployed(WORKER).await;
    let ecs = aws.ecs();
    let rollout = ecs.update_service().cluster("shop").service("mail").force_new_deployment(true);
    rollout.send().await.unwrap();
    assert_eq!(changes(&aws, &deployment).await, ["wait service/mail"]);
    tokio::time::advance(Duration::from_mins(10)).await;
    assert_eq!(changes(&aws, &deployment).await, [] as [&str; 0]);
    let tasks = ecs.list_tasks().cluster("shop").send().await.unwrap().task_arns.unwrap();
    for task in tasks {
        ecs.stop_task().cluster("shop").task(task).send().await.unwrap();
    }
    tokio::time::advance(Duration::from_secs(5)).await;
    assert_eq!(changes(&aws, &deployment).await, ["wait service/mail"]);
    tokio::time::advance(Duration::from_mins(10)).await;
    assert_eq!(changes(&aws, &deployment).await, [] as [&str; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_was_deleted_by_hand_is_created_again() {
    let (account, aws, mut deployment) = deployed(WORKER).await;
    aws.ecs().delete_service().cluster("shop").service("mail").force(true).send().await.unwrap();
    let deleted = wait_until_stable(&aws, &deployment).await.unwrap_err();
    assert!(matches!(deleted, StepError::Unhealthy { .. }), "{deleted:?}");
    assert_eq!(changes(&aws, &deployment).await, ["create service/mail"]);
    apply(&aws, &[NAME], &mut deployment).await;
    wait_until_stable(&aws, &deployment).await.unwrap();
    assert_nothing_to_do(&account, &aws, &deployment).await;
}

#[tokio::test(start_paused = true)]
async fn the_image_and_count_that_a_pipeline_sets_are_kept_when_other_fields_change() {
    let managed = WORKER.replace("count: 1", "count: 1, managedElsewhere: [image, count]");
    let (account, aws, deployment) = deployed(&managed).await;
    let service = described(&aws, "mail").await;
    let definition = aws.ecs().describe_task_definition().task_definition(service.task_definition().unwrap());
    let definition = definition.send().await.unwrap().task_definition.unwrap();
    let mut container = definition.container_definitions()[0].clone();
    container.image = Some("mail:of-the-pipeline".into());
    let set = aws
        .ecs()
        .register_task_definition()
        .family(definition.family().unwrap())
        .container_definitions(container);
    let set = set.network_mode(definition.network_mode().unwrap().clone());
    let set = set.requires_compatibilities(aws_sdk_ecs::types::Compatibility::Fargate);
    let set = set.cpu(definition.cpu().unwrap()).memory(definition.memory().unwrap());
    let set = set
        .execution_role_arn(definition.execution_role_arn().unwrap())
        .task_role_arn(definition.task_role_arn().unwrap());
    let set = set.send().await.unwrap().task_definition.unwrap();
    let update = aws.ecs().update_service().cluster("shop").service("mail").desired_count(3);
    update.task_definition(set.task_definition_arn().unwrap()).send().await.unwrap();
    let same = changed(&deployment, "second", &managed);
    tokio::time::advance(std::time::Duration::from_mins(5)).await;
    // The pipeline's revision only gets the stack's tags, without a rollout.
    let tagged = changes(&aws, &same).await;
    assert!(
        !tagged.is_empty() && tagged.iter().all(|line| line.contains("task-definition/mail tags.")),
        "{tagged:?}"
    );
    let before = writes(&account).len();
    let second = next(&aws, &deployment, "second", &managed).await;
    assert_eq!(writes(&account)[before..], ["ecs:TagResource"]);
    assert_eq!(changes(&aws, &changed(&second, "second again", &managed)).await, Vec::<String>::new());
    let more = managed.replace("count: 1,", "count: 1, environment: { A: b },");
    let third = next(&aws, &second, "third", &more).await;
    wait_until_stable(&aws, &third).await.unwrap();
    let service = described(&aws, "mail").await;
    let definition = aws.ecs().describe_task_definition().task_definition(service.task_definition().unwrap());
    let definition = definition.send().await.unwrap().task_definition.unwrap();
    assert_eq!(definition.container_definitions()[0].image(), Some("mail:of-the-pipeline"));
    assert_eq!(service.desired_count(), 3);
    assert_ne!(definition.revision(), set.revision());
    // The pipeline may return to one of its revisions.
    until_done(&aws, NAME, "prune", &third).await.unwrap();
    let kept = aws.ecs().list_task_definitions().family_prefix("stackdrop-shop_mail").send().await.unwrap();
    assert_eq!(kept.task_definition_arns().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn the_image_of_a_pipeline_is_that_of_the_essential_container() {
    let managed = WORKER.replace("count: 1", "count: 1, managedElsewhere: [image]");
    let (_, aws, deployment) = deployed(&managed).await;
    use_copy(&aws, |containers| {
        containers[0].image = Some("mail:of-the-pipeline".into());
        let agent = ContainerDefinition::builder().name("agent").image("agent").essential(false);
        containers.insert(0, agent.build());
    })
    .await;
    tokio::time::advance(Duration::from_mins(10)).await;
    let next = next(&aws, &deployment, "second", &managed).await;
    wait_until_stable(&aws, &next).await.unwrap();
    let used = described(&aws, "mail").await.task_definition.unwrap();
    let found = aws.ecs().describe_task_definition().task_definition(used).send().await.unwrap();
    let containers = found.task_definition.unwrap().container_definitions.unwrap();
    let images: Vec<_> = containers.iter().map(|container| container.image.as_deref()).collect();
    assert_eq!(images, [Some("mail:of-the-pipeline")]);
}
