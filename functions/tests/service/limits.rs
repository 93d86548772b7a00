//! Limits and defaults of ECS: health checks, Container Insights, calls that take ten services, ports of a service.

use aws_sdk_ecs::types::{ClusterField, LoadBalancer};

use crate::{WEB, WORKER, assert_nothing_to_do, deployed, described, next, wait_until_stable};

#[tokio::test(start_paused = true)]
async fn the_limits_of_a_containers_health_check_are_those_of_ecs() {
    let check =
        "healthCheck: { command: [pgrep, mail], interval: 90, timeout: 80, unhealthy: 4, grace: 900 }";
    let spec = WORKER.replace("image: mail", &format!("image: mail, {check}"));
    let (account, aws, deployment) = deployed(&spec).await;
    let used =
        aws.ecs().describe_task_definition().task_definition("stackdrop-shop_mail").send().await.unwrap();
    let used = used.task_definition.unwrap();
    let check = used.container_definitions()[0].health_check().unwrap();
    assert_eq!((check.interval(), check.timeout()), (Some(90), Some(60)));
    assert_eq!((check.retries(), check.start_period()), (Some(4), Some(300)));
    assert_nothing_to_do(&account, &aws, &deployment).await;
}

#[tokio::test(start_paused = true)]
async fn a_cluster_has_no_container_insights_whatever_the_accounts_default_is() {
    let (_account, aws, _deployment) = deployed(WORKER).await;
    let call = aws.ecs().describe_clusters().clusters("shop");
    let found = call.include(ClusterField::Settings).send().await.unwrap();
    let settings = found.clusters()[0].settings().iter();
    let settings: Vec<_> = settings.map(|one| (one.name().unwrap().as_str(), one.value().unwrap())).collect();
    assert_eq!(settings, [("containerInsights", "disabled")]);
}

#[tokio::test(start_paused = true)]
async fn a_service_can_listen_on_another_port() {
    let (account, aws, deployment) = deployed(WEB).await;
    let second = next(&aws, &deployment, "second", &WEB.replace("port: 8080", "port: 9090")).await;
    wait_until_stable(&aws, &second).await.unwrap();
    let service = described(&aws, "web").await;
    let ports: Vec<_> = service.load_balancers().iter().map(LoadBalancer::container_port).collect();
    assert_eq!(ports, [Some(9090)]);
    assert_nothing_to_do(&account, &aws, &second).await;
}
