//! Tasks that fail: health checks, the grace period, and the pause before the next start.

#![expect(clippy::unwrap_used, reason = "what a test's helper does not expect fails the test")]

mod common;
mod ecs_shop;

use aws_sdk_ecs::types::{DeploymentConfiguration, DesiredStatus, HealthCheck, HealthStatus};
use ecs_shop::{Shop, container, wait};
use stackdrop_simulator::Seed;

#[tokio::test(start_paused = true)]
async fn an_unhealthy_task_is_left_alone_during_its_grace_period() {
    let shop = Shop::ready().await;
    shop.account.seed(&Seed::UnhealthyImage { image: "shop/web:1".into() });
    let definition = shop.register("web", container("web")).await;
    shop.creation("web", &definition).health_check_grace_period_seconds(120).send().await.unwrap();
    wait(110).await;
    let health = shop.elb.describe_target_health().target_group_arn(&shop.target_group).send().await.unwrap();
    let first = health.target_health_descriptions()[0].target_health().unwrap();
    assert_eq!(first.state().unwrap().as_str(), "unhealthy");
    assert!(shop.tasks(DesiredStatus::Stopped).await.is_empty());
    wait(120).await;
    let stopped = shop.tasks(DesiredStatus::Stopped).await;
    assert!(stopped[0].stopped_reason().unwrap().contains("Task failed ELB health checks"), "{stopped:?}");
}

#[tokio::test(start_paused = true)]
async fn a_task_is_stopped_if_its_containers_own_health_check_fails() {
    let shop = Shop::ready().await;
    shop.account.seed(&Seed::UnhealthyImage { image: "shop/web:1".into() });
    let check = HealthCheck::builder().command("CMD").command("true").interval(5).timeout(2).retries(2);
    let check = check.start_period(30).build().unwrap();
    let checked = |image: &str| container("web").image(image).health_check(check.clone());
    let (bad, good) = (
        shop.register("bad", checked("shop/web:1")).await,
        shop.register("good", checked("shop/web:2")).await,
    );
    shop.worker("bad", &bad).await;
    shop.worker("good", &good).await;
    shop.settled("good").await;
    wait(10).await;
    let running = shop.tasks_of("good", DesiredStatus::Running).await;
    assert_eq!(running[0].health_status(), Some(&HealthStatus::Healthy));
    wait(120).await;
    let stopped = shop.tasks_of("bad", DesiredStatus::Stopped).await;
    assert!(stopped[0].stopped_reason().unwrap().contains("container health checks"), "{stopped:?}");
    assert!(shop.tasks_of("good", DesiredStatus::Stopped).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn failed_starts_follow_each_other_more_and_more_slowly() {
    let shop = Shop::ready().await;
    shop.account.seed(&Seed::NoSuchImage { image: "shop/web:1".into() });
    let definition = shop.register("web", container("web")).await;
    let without_breaker = DeploymentConfiguration::builder().build();
    let creation = shop.creation("web", &definition).set_load_balancers(None).desired_count(1);
    creation.deployment_configuration(without_breaker).send().await.unwrap();
    let mut failed = Vec::new();
    for _ in 0..3 {
        wait(300).await;
        failed.push(shop.service("web").await.deployments()[0].failed_tasks());
    }
    // 10, 20, 40 … seconds after a failure, besides the start itself.
    assert!((3..=6).contains(&failed[0]), "{failed:?}");
    assert!(failed[2] - failed[0] <= 3, "{failed:?}");
}
