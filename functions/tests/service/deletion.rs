//! Deletion: its order, resources that the stack does not manage, and lost or refused calls.

use std::collections::BTreeSet;
use std::time::Duration;

use aws_sdk_ecs::types::{LaunchType, Tag};
use serde_json::{Value, json};
use stackdrop_functions::aws::error::StepError;
use stackdrop_simulator::{Fault, FaultKind, When};

use crate::common::{act, apply, until_done, writes};
use crate::{
    NAME, WEB, WORKER, account, assert_nothing_to_do, changed, changes, deployed, described, inventory, next,
    prepared, refused, wait_until_stable,
};

#[tokio::test(start_paused = true)]
async fn a_service_that_the_spec_drops_or_renames_is_deleted() {
    let two = format!("{WORKER}  audit: {{ image: audit, count: 1, scaling: {{ min: 1, max: 2 }} }}\n");
    let (account, aws, deployment) = deployed(&two).await;
    let dropped = changed(&deployment, "second", WORKER);
    assert_eq!(changes(&aws, &dropped).await, ["delete scalable-target/audit", "delete service/audit"]);
    let deployment = next(&aws, &deployment, "second", WORKER).await;
    wait_until_stable(&aws, &deployment).await.unwrap();
    // Its tasks may answer requests until the other services are stable, and get them.
    assert!(inventory(&account).contains("AWS::ECS::Service audit"), "{:?}", inventory(&account));
    until_done(&aws, NAME, "prune", &deployment).await.unwrap();
    assert!(!inventory(&account).contains("AWS::ECS::Service audit"), "{:?}", inventory(&account));
    // The log group stays: its lines expire.
    let kept = |name: &str| -> Vec<String> {
        inventory(&account).into_iter().filter(|item| item.ends_with(name)).collect()
    };
    assert_eq!(kept("audit"), ["AWS::Logs::LogGroup /stackdrop/shop/audit"]);
    assert_nothing_to_do(&account, &aws, &deployment).await;
    let deployment = next(&aws, &deployment, "third", &WORKER.replace("  mail:", "  post:")).await;
    wait_until_stable(&aws, &deployment).await.unwrap();
    until_done(&aws, NAME, "prune", &deployment).await.unwrap();
    assert_eq!(kept("mail"), ["AWS::Logs::LogGroup /stackdrop/shop/mail"]);
    assert_nothing_to_do(&account, &aws, &deployment).await;
    // Without services, only the log groups remain, not even the cluster.
    let none = changed(&deployment, "fourth", "stack: shop\n");
    assert_eq!(
        changes(&aws, &none).await,
        [
            "delete service/post",
            "delete cluster",
            "delete task-definition (stackdrop-shop_post:1)",
            "delete role/execution",
            "delete role/task",
        ]
    );
    let outputs = until_done(&aws, NAME, "apply", &none).await.unwrap();
    assert_eq!(outputs, json!({ "services": {} }));
    let groups = ["audit", "mail", "post"].map(|name| format!("AWS::Logs::LogGroup /stackdrop/shop/{name}"));
    assert_eq!(inventory(&account), BTreeSet::from(groups));
    assert_eq!(changes(&aws, &none).await, [] as [&str; 0]);
    let before = writes(&account).len();
    until_done(&aws, NAME, "apply", &none).await.unwrap();
    assert_eq!(writes(&account)[before..], [] as [String; 0]);
}

#[tokio::test(start_paused = true)]
async fn delete_needs_no_outputs_and_keeps_the_roles_until_the_last_task_has_stopped() {
    let (account, aws, mut deployment) = deployed(WEB).await;
    deployment["outputs"] = json!({});
    deployment["destroying"] = json!(true);
    let first = act(&aws, NAME, "delete", &deployment).await.unwrap();
    // Service, target, policy, cluster, log group, task definition and two roles.
    assert_eq!(first["found"], 8, "{first}");
    let remaining = first["remaining"].as_array().unwrap();
    assert!(remaining[0]["why"].as_str().unwrap().starts_with("draining: "), "{first}");
    let waiting: Vec<&str> = remaining.iter().map(|one| one["resource"].as_str().unwrap()).collect();
    assert_eq!(
        waiting,
        ["service/web", "cluster", "log-group/web", "task-definition", "role/execution", "role/task"]
    );
    assert!(inventory(&account).contains("AWS::IAM::Role stackdrop-shop-execution-eu-central-1"));
    until_done(&aws, NAME, "await-deletion", &deployment).await.unwrap();
    assert_eq!(inventory(&account), BTreeSet::new());
    let again = act(&aws, NAME, "delete", &deployment).await.unwrap();
    assert_eq!(again, json!({ "found": 0, "remaining": [] }));
    // The service-linked role is the account's.
    let linked = aws.iam().get_role().role_name("AWSServiceRoleForECS").send().await;
    assert!(linked.is_ok());
}

#[tokio::test(start_paused = true)]
async fn resources_that_the_stack_does_not_manage_are_reported_and_left_alone() {
    let account = account();
    let (aws, deployment) = prepared(&account, WORKER).await;
    aws.logs().create_log_group().log_group_name("/stackdrop/shop/mail").send().await.unwrap();
    aws.ecs().create_cluster().cluster_name("shop").send().await.unwrap_err();
    tokio::time::advance(Duration::from_secs(30)).await;
    aws.ecs().create_cluster().cluster_name("shop").send().await.unwrap();
    let trust = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}"#;
    let role = "stackdrop-shop-task-eu-central-1";
    aws.iam().create_role().role_name(role).assume_role_policy_document(trust).send().await.unwrap();
    tokio::time::advance(Duration::from_mins(1)).await;
    let plan = act(&aws, NAME, "plan", &deployment).await.unwrap();
    let problems: Vec<&str> =
        plan["problems"].as_array().unwrap().iter().map(|one| one["resource"].as_str().unwrap()).collect();
    assert_eq!(problems, ["role/task", "cluster", "log-group/mail"]);
    let refused = until_done(&aws, NAME, "apply", &deployment).await.unwrap_err();
    assert!(matches!(refused, StepError::NotOwned { .. }), "{refused:?}");
    until_done(&aws, NAME, "await-deletion", &deployment).await.unwrap();
    let kinds: BTreeSet<String> = account.inventory().into_iter().map(|item| item.kind).collect();
    for kind in ["AWS::Logs::LogGroup", "AWS::ECS::Cluster", "AWS::IAM::Role"] {
        assert!(kinds.contains(kind), "{kind} was deleted");
    }
}

#[tokio::test(start_paused = true)]
async fn no_revision_is_registered_in_another_stacks_family() {
    let (account, aws, deployment) = deployed(WORKER).await;
    let family = deployment["outputs"][NAME]["services"]["mail"]["taskDefinition"].as_str().unwrap();
    let tag = Tag::builder().key("stackdrop:stack").value("other").build();
    aws.ecs().tag_resource().resource_arn(family).tags(tag).send().await.unwrap();
    let mut changed = changed(&deployment, "second", &WORKER.replace("image: mail", "image: new"));
    let plan = act(&aws, NAME, "plan", &changed).await.unwrap();
    assert_eq!(plan["problems"][0]["resource"], "task-definition/mail");
    let refused = until_done(&aws, NAME, "apply", &changed).await.unwrap_err();
    assert!(matches!(refused, StepError::NotOwned { .. }), "{refused:?}");
    changed["outputs"] = json!({});
    until_done(&aws, NAME, "await-deletion", &changed).await.unwrap();
    assert_eq!(account.inventory().iter().filter(|item| item.kind == "AWS::ECS::TaskDefinition").count(), 1);
}

/// The write calls that create a spec's services, each with the resulting inventory.
async fn calls_of(spec: &str) -> Vec<(String, BTreeSet<String>)> {
    let account = account();
    let (aws, mut deployment) = prepared(&account, spec).await;
    let before = account.calls();
    apply(&aws, &[NAME], &mut deployment).await;
    wait_until_stable(&aws, &deployment).await.unwrap();
    let calls: BTreeSet<String> = account
        .call_log_from(before)
        .iter()
        .filter(|call| call.writes && call.service != "iam")
        .map(stackdrop_simulator::Call::name)
        .collect();
    calls.into_iter().map(|call| (call, inventory(&account))).collect()
}

#[tokio::test(start_paused = true)]
async fn lost_responses_create_no_duplicates() {
    for (call, expected) in calls_of(WEB).await {
        let (service, operation) = call.split_once(':').unwrap();
        let account = account();
        let (aws, mut deployment) = prepared(&account, WEB).await;
        account.arm(Fault::at(service, operation, When::Only(1), FaultKind::LostAfter));
        apply(&aws, &[NAME], &mut deployment).await;
        wait_until_stable(&aws, &deployment).await.unwrap();
        assert_eq!(account.strikes().len(), 1, "{call}");
        assert_eq!(inventory(&account), expected, "{call}");
        assert_nothing_to_do(&account, &aws, &deployment).await;
    }
}

#[tokio::test(start_paused = true)]
async fn delete_leaves_nothing_whichever_call_was_refused() {
    for operation in ["CreateCluster", "RegisterTaskDefinition", "CreateService"] {
        let account = account();
        let (aws, deployment) = prepared(&account, WORKER).await;
        account.arm(refused(operation));
        let failed = until_done(&aws, NAME, "apply", &deployment).await.unwrap_err();
        assert!(matches!(failed, StepError::Refused { .. }), "{operation}: {failed:?}");
        until_done(&aws, NAME, "await-deletion", &deployment).await.unwrap();
        assert_eq!(inventory(&account), BTreeSet::new(), "{operation}");
    }
}

#[tokio::test(start_paused = true)]
async fn more_than_a_page_of_revisions_is_deleted() {
    let (account, aws, deployment) = deployed(WORKER).await;
    for _ in 0..130 {
        let read =
            aws.ecs().describe_task_definition().task_definition("stackdrop-shop_mail").send().await.unwrap();
        let last = read.task_definition.unwrap();
        let tag = aws_sdk_ecs::types::Tag::builder().key("stackdrop:stack").value("shop").build();
        let call = aws.ecs().register_task_definition().family("stackdrop-shop_mail").tags(tag);
        let call = call.set_container_definitions(last.container_definitions).cpu("256").memory("512");
        let call = call.network_mode(aws_sdk_ecs::types::NetworkMode::Awsvpc);
        let call = call.requires_compatibilities(aws_sdk_ecs::types::Compatibility::Fargate);
        let call = call.execution_role_arn(last.execution_role_arn.unwrap());
        call.send().await.unwrap();
    }
    let mut deployment = deployment;
    deployment["destroying"] = json!(true);
    until_done(&aws, NAME, "await-deletion", &deployment).await.unwrap();
    assert_eq!(inventory(&account), BTreeSet::new());
}

#[tokio::test(start_paused = true)]
async fn a_deletion_that_aws_refuses_for_a_while_is_tried_again() {
    for (operation, code) in [
        ("DeleteService", "InvalidParameterException"),
        ("DeleteService", "ServiceNotFoundException"),
        ("DeleteService", "ServiceNotActiveException"),
        ("DeleteService", "ClusterNotFoundException"),
        ("DeleteCluster", "ClusterContainsServicesException"),
        ("DeleteCluster", "ClusterContainsContainerInstancesException"),
        ("DeleteCluster", "ClusterContainsTasksException"),
        ("DeleteCluster", "UpdateInProgressException"),
        ("DeregisterTaskDefinition", "ClientException"),
    ] {
        let (account, aws, mut deployment) = deployed(WORKER).await;
        deployment["destroying"] = json!(true);
        let kind = FaultKind::Refused { code: code.into(), message: "not now".into() };
        account.arm(Fault::at("ecs", operation, When::Only(1), kind));
        until_done(&aws, NAME, "await-deletion", &deployment).await.unwrap();
        assert_eq!(account.strikes().len(), 1, "{operation} {code}");
        assert_eq!(inventory(&account), BTreeSet::new(), "{operation} {code}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_gone_when_it_is_deleted_is_no_failure() {
    for (service, operation, code) in [
        ("ecs", "DeleteCluster", "ClusterNotFoundException"),
        ("iam", "DeleteRolePolicy", "NoSuchEntity"),
        ("iam", "DeleteRole", "NoSuchEntity"),
        ("logs", "DescribeLogStreams", "ResourceNotFoundException"),
        ("logs", "DeleteLogGroup", "ResourceNotFoundException"),
        ("application-autoscaling", "DeregisterScalableTarget", "ObjectNotFoundException"),
    ] {
        let (account, aws, mut deployment) = deployed(WEB).await;
        // A rollback, not a destroy, asks whether the log group has lines.
        deployment["destroying"] = json!(operation != "DescribeLogStreams");
        let kind = FaultKind::Refused { code: code.into(), message: "it is gone".into() };
        account.arm(Fault::at(service, operation, When::Only(1), kind));
        let done = until_done(&aws, NAME, "await-deletion", &deployment).await;
        assert!(done.is_ok(), "{operation}: {done:?}");
        assert_eq!(account.strikes().len(), 1, "{operation}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_outlives_a_service_that_somebody_deletes_is_deleted_with_the_stack() {
    for also_its_log_group in [false, true] {
        let (account, aws, mut deployment) = deployed(WEB).await;
        aws.ecs().delete_service().cluster("shop").service("web").force(true).send().await.unwrap();
        tokio::time::advance(Duration::from_mins(10)).await;
        if also_its_log_group {
            aws.logs().delete_log_group().log_group_name("/stackdrop/shop/web").send().await.unwrap();
        }
        deployment["destroying"] = json!(true);
        until_done(&aws, NAME, "await-deletion", &deployment).await.unwrap();
        assert_eq!(inventory(&account), BTreeSet::new());
    }
}

#[tokio::test(start_paused = true)]
async fn what_outlives_a_service_that_somebody_deletes_is_deleted_when_the_spec_drops_it() {
    let two = format!("{WORKER}  audit: {{ image: audit, count: 1, scaling: {{ min: 1, max: 2 }} }}\n");
    let (account, aws, deployment) = deployed(&two).await;
    aws.ecs().delete_service().cluster("shop").service("audit").force(true).send().await.unwrap();
    tokio::time::advance(Duration::from_mins(10)).await;
    let dropped = changed(&deployment, "second", WORKER);
    assert_eq!(changes(&aws, &dropped).await, ["delete scalable-target/audit"]);
    let deployment = next(&aws, &deployment, "second", WORKER).await;
    until_done(&aws, NAME, "prune", &deployment).await.unwrap();
    let kept: Vec<String> = inventory(&account).into_iter().filter(|item| item.contains("audit")).collect();
    assert_eq!(kept, ["AWS::Logs::LogGroup /stackdrop/shop/audit"]);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_neither_a_baseline_nor_a_log_group_names_is_found_in_the_cluster() {
    let (_account, aws, deployment) = deployed(WORKER).await;
    aws.logs().delete_log_group().log_group_name("/stackdrop/shop/mail").send().await.unwrap();
    let mut renamed = changed(&deployment, "second", &WORKER.replace("  mail:", "  post:"));
    renamed["baseline"] = Value::Null;
    let planned = changes(&aws, &renamed).await;
    assert!(planned.contains(&"delete service/mail".to_owned()), "{planned:?}");
}

#[tokio::test(start_paused = true)]
async fn a_service_of_others_in_the_cluster_is_named_and_keeps_the_cluster_and_the_roles() {
    let (account, aws, mut deployment) = deployed(WORKER).await;
    let mail = described(&aws, "mail").await;
    let call = aws.ecs().create_service().cluster("shop").service_name("theirs").desired_count(1);
    let call = call.launch_type(LaunchType::Fargate).set_task_definition(mail.task_definition);
    call.set_network_configuration(mail.network_configuration).send().await.unwrap();
    tokio::time::advance(Duration::from_mins(5)).await;
    assert_nothing_to_do(&account, &aws, &deployment).await;
    deployment["destroying"] = json!(true);
    act(&aws, NAME, "delete", &deployment).await.unwrap();
    tokio::time::advance(Duration::from_mins(10)).await;
    let deletion = act(&aws, NAME, "delete", &deployment).await.unwrap();
    let remaining = deletion["remaining"].as_array().unwrap();
    let resources: Vec<&str> = remaining.iter().map(|one| one["resource"].as_str().unwrap()).collect();
    assert_eq!(resources, ["cluster", "role/execution", "role/task"]);
    let why = remaining[0]["why"].as_str().unwrap();
    assert!(why.ends_with("It contains services that are not managed by this stack: theirs"), "{why}");
    let stalled = act(&aws, NAME, "await-deletion", &deployment).await.unwrap_err();
    assert_eq!(stalled.name(), "Stalled", "AWS works on none of it: {stalled}");
    assert_eq!(described(&aws, "theirs").await.status(), Some("ACTIVE"));
}
