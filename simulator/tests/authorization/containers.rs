//! ECS with its logs, its scaling and its images.

use std::collections::BTreeMap;

use aws_sdk_applicationautoscaling::types::{ScalableDimension, ServiceNamespace};
use aws_sdk_ecs::types::{DesiredStatus, Tag};
use serde_json::{Value, json};
use stackdrop_simulator::Seed;

use crate::common::{account, sdk};
use crate::ecs_shop::{Shop, container, wait};
use crate::stage::{ROLE, acting, allow, asked, assert_denied, everything, everything_but, give_role, key};

const EXECUTION: &str = "role/shop-execution";

fn tag() -> Tag {
    Tag::builder().key("stackdrop:stack").value("shop").build()
}

#[tokio::test(start_paused = true)]
async fn ecs_creations_need_permission_for_tags_and_passed_roles() {
    let shop = Shop::ready().await;
    give_role(&shop.account, ROLE, &everything());
    acting(shop.ecs.create_cluster().cluster_name("other").tags(tag()).send()).await.unwrap();
    let registration = shop.registration("web", container("web").build()).tags(tag());
    let definition = acting(registration.send()).await.unwrap().task_definition.unwrap();
    let definition = definition.task_definition_arn.unwrap();
    acting(shop.creation("web", &definition).tags(tag()).send()).await.unwrap();
    acting(shop.ecs.list_tasks().cluster("shop").send()).await.unwrap();
    assert_eq!(
        asked(&shop.account),
        [
            "ecs:CreateCluster cluster/other",
            "ecs:TagResource cluster/other",
            "ecs:RegisterTaskDefinition task-definition/web:*",
            "ecs:TagResource task-definition/web:*",
            &format!("iam:PassRole {EXECUTION}"),
            "ecs:CreateService service/shop/web",
            "ecs:TagResource service/shop/web",
            &format!("iam:PassRole {EXECUTION}"),
            "ecs:ListTasks *",
        ]
    );
    let account = &shop.account;
    assert_eq!(key(account, "ecs:TagResource", "ecs:CreateAction"), json!(["CreateCluster"]));
    assert_eq!(key(account, "iam:PassRole", "iam:PassedToService"), json!(["ecs-tasks.amazonaws.com"]));
    let cluster = json!(["arn:aws:ecs:eu-central-1:123456789012:cluster/shop"]);
    assert_eq!(key(account, "ecs:CreateService", "ecs:cluster"), cluster);
    assert_eq!(key(account, "ecs:ListTasks", "ecs:cluster"), cluster);
    assert_eq!(key(account, "ecs:CreateService", "aws:RequestTag/stackdrop:stack"), json!(["shop"]));
}

#[tokio::test(start_paused = true)]
async fn the_first_cluster_of_an_account_needs_permission_for_the_service_linked_role() {
    let account = account();
    give_role(&account, ROLE, &everything_but(&["iam:CreateServiceLinkedRole"]));
    let ecs = aws_sdk_ecs::Client::new(&sdk(&account));
    let answer = acting(ecs.create_cluster().cluster_name("shop").send()).await;
    assert_denied(answer, "AccessDeniedException", "ecs.amazonaws.com/AWSServiceRoleForECS");
}

#[tokio::test(start_paused = true)]
async fn a_role_that_can_be_passed_to_instances_only_is_refused_for_a_task() {
    let shop = Shop::open().await;
    let pass = json!({
        "Effect": "Allow", "Action": "iam:PassRole", "Resource": "*",
        "Condition": { "StringEquals": { "iam:PassedToService": "ec2.amazonaws.com" } },
    });
    give_role(&shop.account, ROLE, &json!([pass, allow(&["ecs:*"], &["*"])]));
    let answer = acting(shop.registration("web", container("web").build()).send()).await;
    assert_denied(answer, "AccessDeniedException", "is not authorized to perform: iam:PassRole");
}

#[tokio::test(start_paused = true)]
async fn scaling_is_refused_as_invalid_if_the_caller_lacks_the_targets_permissions() {
    let shop = Shop::ready().await;
    let definition = shop.register("web", container("web")).await;
    shop.creation("web", &definition).tags(tag()).send().await.unwrap();
    wait(5).await;
    let scaling = aws_sdk_applicationautoscaling::Client::new(&sdk(&shop.account));
    for (statement, denied) in [
        (everything_but(&["ecs:UpdateService"]), Some("ecs:UpdateService")),
        (everything_but(&["cloudwatch:PutMetricAlarm"]), Some("cloudwatch:PutMetricAlarm")),
        (everything(), None),
    ] {
        give_role(&shop.account, ROLE, &statement);
        let register = scaling.register_scalable_target().service_namespace(ServiceNamespace::Ecs);
        let register = register.scalable_dimension(ScalableDimension::EcsServiceDesiredCount);
        let register = register.resource_id("service/shop/web").min_capacity(1).max_capacity(3);
        let answer = acting(register.tags("stackdrop:stack", "shop").send()).await;
        match denied {
            Some(action) => assert_denied(answer, "ValidationException", action),
            None => assert!(answer.is_ok(), "{answer:?}"),
        }
    }
    let action = "application-autoscaling:RegisterScalableTarget";
    let namespace = "application-autoscaling:service-namespace";
    assert_eq!(key(&shop.account, action, namespace), json!(["ecs"]));
    let all = asked(&shop.account);
    assert!(all.contains(&"application-autoscaling:TagResource scalable-target/*".into()), "{all:?}");
    assert_eq!(key(&shop.account, "ecs:UpdateService", "aws:ResourceTag/stackdrop:stack"), json!(["shop"]));
}

#[tokio::test(start_paused = true)]
async fn a_log_group_arn_includes_its_streams_except_for_tagging() {
    let account = account();
    let logs = aws_sdk_cloudwatchlogs::Client::new(&sdk(&account));
    let group = "arn:aws:logs:eu-central-1:123456789012:log-group:/stackdrop/shop";
    let content = format!("{group}:*");
    for (resources, denied) in [
        (vec![group], Some("logs:CreateLogGroup")),
        (vec![&content], Some("logs:TagResource")),
        (vec![group, &content], None),
    ] {
        give_role(&account, ROLE, &allow(&["logs:CreateLogGroup", "logs:TagResource"], &resources));
        let create = logs.create_log_group().log_group_name("/stackdrop/shop").tags("a", "b");
        let answer = acting(create.send()).await;
        match denied {
            Some(action) => assert_denied(answer, "AccessDeniedException", action),
            None => assert!(answer.is_ok(), "{answer:?}"),
        }
    }
}

/// Why the first task of a service did not start; `None` if it runs.
async fn start(shop: &Shop, name: &str, definition: &str) -> Option<String> {
    shop.worker(name, definition).await;
    wait(60).await;
    let stopped = shop.tasks_of(name, DesiredStatus::Stopped).await;
    stopped.first().map(|task| task.stopped_reason().unwrap().to_owned())
}

fn on(action: &str, resource: &str) -> Value {
    allow(&[action], &[resource])
}

#[tokio::test(start_paused = true)]
async fn a_container_gets_a_secret_with_a_customer_key_only_if_its_role_can_decrypt() {
    const SECRET: &str = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:shop/key-AbCdEf";
    const KEY: &str = "arn:aws:kms:eu-central-1:123456789012:key/00000000-0000-4000-8000-000000000001";
    let shop = Shop::ready().await;
    let tags = BTreeMap::from([("stackdrop:shared".into(), "yes".into())]);
    shop.account.seed(&Seed::SecretOf { arn: SECRET.into(), tags, kms_key: Some(KEY.into()) });
    let read = json!({
        "Effect": "Allow", "Action": "secretsmanager:GetSecretValue", "Resource": SECRET,
        "Condition": { "StringEquals": { "secretsmanager:ResourceTag/stackdrop:shared": "yes" } },
    });
    let decrypt = json!({
        "Effect": "Allow", "Action": "kms:Decrypt", "Resource": KEY,
        "Condition": { "StringEquals": { "kms:ViaService": "secretsmanager.eu-central-1.amazonaws.com" } },
    });
    for (name, statements, problem) in [
        ("nothing", json!([on("s3:GetObject", "*")]), Some("perform: secretsmanager:GetSecretValue")),
        ("closed", json!([read]), Some("AccessDeniedException: Access to KMS is not allowed")),
        ("open", json!([read, decrypt]), None),
    ] {
        let role = format!("arn:aws:iam::123456789012:role/{name}");
        give_role(&shop.account, &role, &statements);
        let secret = aws_sdk_ecs::types::Secret::builder().name("KEY").value_from(SECRET).build().unwrap();
        let definition = shop.register_with_role(name, container("web").secrets(secret), name).await;
        let reason = start(&shop, name, &definition).await;
        match problem {
            Some(problem) => assert!(reason.as_deref().unwrap_or_default().contains(problem), "{reason:?}"),
            None => assert_eq!(reason, None),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_image_from_another_registry_needs_the_right_to_fetch_it() {
    let shop = Shop::ready().await;
    let ecr = aws_sdk_ecr::Client::new(&sdk(&shop.account));
    let rule = ecr.create_pull_through_cache_rule().ecr_repository_prefix("docker-hub");
    rule.upstream_registry_url("registry-1.docker.io").send().await.unwrap();
    let image = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/docker-hub/library/nginx:1.27";
    let pulls = allow(
        &["ecr:BatchCheckLayerAvailability", "ecr:GetDownloadUrlForLayer", "ecr:BatchGetImage"],
        &["arn:aws:ecr:eu-central-1:123456789012:repository/docker-hub/*"],
    );
    let fetches = allow(&["ecr:BatchImportUpstreamImage", "ecr:CreateRepository"], &["*"]);
    let token = on("ecr:GetAuthorizationToken", "*");
    for (name, statements, problem) in [
        ("nobody", json!([pulls]), Some("ecr:GetAuthorizationToken")),
        ("puller", json!([token, pulls]), Some("ecr:BatchImportUpstreamImage")),
        ("fetcher", json!([token, pulls, fetches]), None),
    ] {
        give_role(&shop.account, &format!("arn:aws:iam::123456789012:role/{name}"), &statements);
        let definition = shop.register_with_role(name, container("web").image(image), name).await;
        let reason = start(&shop, name, &definition).await;
        match problem {
            Some(problem) => assert!(reason.as_deref().unwrap_or_default().contains(problem), "{reason:?}"),
            None => assert_eq!(reason, None),
        }
    }
}
