//! What is applied before the service's own step, because ECS sees it late: roles, log groups and the cluster.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use stackdrop_functions::aws::error::StepError;

use crate::common::{act, until_done};
use crate::{NAME, WORKER, account, changed, deployed, inventory, prepared};

/// The deployment with the component's plan in its state.
async fn planned(aws: &stackdrop_functions::Aws, deployment: &Value) -> Value {
    let mut planned = deployment.clone();
    planned["outputs"] = json!({});
    let plan = act(aws, NAME, "plan", &planned).await.unwrap();
    planned["plan"] = json!([plan]);
    planned["outputs"] = deployment["outputs"].clone();
    planned
}

#[tokio::test(start_paused = true)]
async fn the_first_deployment_creates_roles_log_groups_and_the_cluster_early() {
    let account = account();
    let (aws, deployment) = prepared(&account, WORKER).await;
    let deployment = planned(&aws, &deployment).await;
    until_done(&aws, NAME, "prepare", &deployment).await.unwrap();
    let expected = [
        "AWS::ECS::Cluster shop",
        "AWS::IAM::Role stackdrop-shop-execution-eu-central-1",
        "AWS::IAM::Role stackdrop-shop-task-eu-central-1",
        "AWS::Logs::LogGroup /stackdrop/shop/mail",
    ];
    assert_eq!(inventory(&account), BTreeSet::from(expected.map(str::to_owned)));
}

#[tokio::test(start_paused = true)]
async fn a_plan_that_creates_nothing_that_ecs_sees_late_needs_no_call() {
    let (account, aws, mut deployment) = deployed(WORKER).await;
    let update = |resource: &str, field: &str| {
        let field = json!({ "field": field, "from": "a", "to": "b" });
        json!({ "verb": "update", "resource": resource, "fields": [field] })
    };
    let of = |verb: &str, resource: &str| json!({ "verb": verb, "resource": resource });
    for (component, change, is_early) in [
        (NAME, of("create", "role/task"), true),
        (NAME, of("create", "cluster"), true),
        (NAME, of("create", "log-group/mail"), true),
        // New access of the role is visible late too.
        (NAME, update("role/execution", "policy"), true),
        (NAME, update("role/execution", "trust"), false),
        (NAME, update("role/task", "policy"), false),
        (NAME, update("log-group/mail", "logDays"), false),
        (NAME, of("create", "task-definition/mail"), false),
        (NAME, of("create", "service/mail"), false),
        (NAME, of("delete", "cluster"), false),
        ("instance", of("create", "role/instance"), false),
    ] {
        deployment["plan"] = json!([{ "component": component, "changes": [change], "problems": [] }]);
        let before = account.calls();
        act(&aws, NAME, "prepare", &deployment).await.unwrap();
        assert_eq!(!account.call_log_from(before).is_empty(), is_early, "{component}: {change}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_role_that_lost_its_tag_stops_an_update_early_and_does_not_stop_a_rollback() {
    let (_account, aws, deployment) = deployed(WORKER).await;
    let two = format!("{WORKER}  post: {{ image: post, count: 1 }}\n");
    let mut update = planned(&aws, &changed(&deployment, "second", &two)).await;
    let untag = aws.iam().untag_role().role_name("stackdrop-shop-task-eu-central-1");
    untag.tag_keys("stackdrop:stack").send().await.unwrap();
    tokio::time::advance(std::time::Duration::from_mins(1)).await;
    let refused = act(&aws, NAME, "prepare", &update).await.unwrap_err();
    assert!(matches!(refused, StepError::NotOwned { .. }), "{refused:?}");
    update["rollingBack"] = json!(true);
    assert_eq!(act(&aws, NAME, "prepare", &update).await.unwrap(), Value::Null);
}
