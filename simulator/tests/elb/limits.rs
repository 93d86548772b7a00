//! AWS's default quotas.

use crate::site::{Network, forward, path, seconds};
use aws_sdk_elasticloadbalancingv2::types::{ProtocolEnum, TargetDescription};

#[tokio::test(start_paused = true)]
async fn a_load_balancer_has_at_most_a_hundred_rules() {
    let network = Network::new().await;
    let load_balancer = network.load_balancer("shop").await;
    let group = network.target_group("shop").await;
    let listener = network.http(&load_balancer, 80, &group).await;
    let create = |priority: i32| {
        let create =
            network.elb.create_rule().listener_arn(listener.listener_arn().unwrap()).priority(priority);
        create.conditions(path(&format!("/{priority}"))).actions(forward(&group)).send()
    };
    for priority in 1..=100 {
        create(priority).await.unwrap();
        seconds(1.0).await; // three such calls a second are allowed
    }
    let error = create(101).await.unwrap_err().into_service_error();
    assert!(error.is_too_many_rules_exception());
    let listener = listener.listener_arn().unwrap();
    let page = network.elb.describe_rules().listener_arn(listener).page_size(60).send().await.unwrap();
    assert_eq!(page.rules().len(), 60);
    let rest = network.elb.describe_rules().listener_arn(listener).page_size(60);
    let rest = rest.marker(page.next_marker().unwrap()).send().await.unwrap();
    assert_eq!((rest.rules().len(), rest.next_marker()), (41, None));
}

#[tokio::test(start_paused = true)]
async fn quotas_hold() {
    let network = Network::new().await;
    let load_balancer = network.load_balancer("shop").await;
    let group = network.target_group("shop").await;
    for port in 1..=50 {
        network.http(&load_balancer, port, &group).await;
    }
    let one_more = network.elb.create_listener().load_balancer_arn(&load_balancer).port(51);
    let one_more = one_more.protocol(ProtocolEnum::Http).default_actions(forward(&group)).send().await;
    assert!(one_more.unwrap_err().into_service_error().is_too_many_listeners_exception());

    let targets = (0..1001).map(|number| {
        let address = format!("10.1.{}.{}", number / 250, number % 250);
        TargetDescription::builder().id(address).build()
    });
    let register =
        network.elb.register_targets().target_group_arn(&group).set_targets(Some(targets.collect()));
    assert!(register.send().await.unwrap_err().into_service_error().is_too_many_targets_exception());

    for number in 2..=50 {
        network.load_balancer(&format!("shop-{number}")).await;
    }
    let create = network.elb.create_load_balancer().name("shop-51").security_groups(&network.front);
    let one_more = create.set_subnets(Some(network.public.to_vec())).send().await;
    assert!(one_more.unwrap_err().into_service_error().is_too_many_load_balancers_exception());
}

#[tokio::test(start_paused = true)]
async fn an_account_has_at_most_three_thousand_target_groups() {
    let network = Network::new().await;
    for number in 0..3000 {
        network.target_group(&format!("shop-{number}")).await;
    }
    let create = network.elb.create_target_group().name("one-more").protocol(ProtocolEnum::Http).port(80);
    let one_more = create.vpc_id(&network.vpc).send().await;
    assert!(one_more.unwrap_err().into_service_error().is_too_many_target_groups_exception());
}

#[tokio::test(start_paused = true)]
async fn a_load_balancer_uses_at_most_a_hundred_target_groups() {
    let network = Network::new().await;
    let load_balancer = network.load_balancer("shop").await;
    let mut groups = Vec::new();
    for number in 0..=100 {
        groups.push(network.target_group(&format!("shop-{number}")).await);
    }
    let listener = network.http(&load_balancer, 80, &groups[0]).await;
    let listener = listener.listener_arn().unwrap();
    let rule = |priority: i32, group: &str| {
        let create = network.elb.create_rule().listener_arn(listener).priority(priority);
        create.conditions(path(&format!("/{priority}"))).actions(forward(group)).send()
    };
    for (priority, group) in (1..).zip(&groups[1..100]) {
        rule(priority, group).await.unwrap();
        seconds(1.0).await;
    }
    let error = rule(100, &groups[100]).await.unwrap_err().into_service_error();
    assert!(error.is_too_many_unique_target_groups_per_load_balancer_exception());
}
