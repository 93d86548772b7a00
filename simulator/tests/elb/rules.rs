//! Rules: conditions, priorities, the default.

use crate::site::{Network, answer, code, forward, host, path, seconds};
use aws_sdk_elasticloadbalancingv2::types::{PathPatternConditionConfig, RuleCondition, RulePriorityPair};

#[tokio::test(start_paused = true)]
async fn rules_are_listed_by_priority_with_the_default_last() {
    let network = Network::new().await;
    let load_balancer = network.load_balancer("shop").await;
    let group = network.target_group("shop").await;
    let listener = network.http(&load_balancer, 80, &group).await;
    let listener = listener.listener_arn().unwrap();
    let create = |priority: i32| network.elb.create_rule().listener_arn(listener).priority(priority);
    let second = create(20).conditions(path("/api/*")).actions(forward(&group)).send().await.unwrap();
    let first = create(10).conditions(host("*.example.com")).conditions(path("/")).actions(answer("404"));
    let first = first.send().await.unwrap();
    let (first, second) = (first.rules()[0].clone(), second.rules()[0].clone());
    seconds(1.0).await;
    let priorities = || async {
        let found = network.elb.describe_rules().listener_arn(listener).send().await.unwrap();
        let rules = found.rules().iter();
        rules.map(|rule| (rule.priority().unwrap().to_owned(), rule.is_default())).collect::<Vec<_>>()
    };
    let expected =
        [("10".to_owned(), Some(false)), ("20".to_owned(), Some(false)), ("default".to_owned(), Some(true))];
    assert_eq!(priorities().await, expected);
    assert_eq!(first.conditions()[0].host_header_config().unwrap().values(), ["*.example.com"]);
    assert_eq!(first.conditions()[0].values(), ["*.example.com"]);

    let pair =
        |rule: &str, priority: i32| RulePriorityPair::builder().rule_arn(rule).priority(priority).build();
    let (first, second) = (first.rule_arn().unwrap(), second.rule_arn().unwrap());
    let swap =
        network.elb.set_rule_priorities().rule_priorities(pair(first, 20)).rule_priorities(pair(second, 10));
    swap.send().await.unwrap();
    let found = network.elb.describe_rules().rule_arns(first).send().await.unwrap();
    assert_eq!(found.rules()[0].priority(), Some("20"));
    let clash = network.elb.set_rule_priorities().rule_priorities(pair(first, 10)).send().await;
    assert!(clash.unwrap_err().into_service_error().is_priority_in_use_exception());

    let modified = network.elb.modify_rule().rule_arn(second).conditions(path("/v2/*")).send().await.unwrap();
    assert_eq!(modified.rules()[0].conditions()[0].values(), ["/v2/*"]);
    network.elb.delete_rule().rule_arn(second).send().await.unwrap();
    let gone = network.elb.delete_rule().rule_arn(second).send().await;
    assert!(gone.unwrap_err().into_service_error().is_rule_not_found_exception());
}

#[tokio::test(start_paused = true)]
async fn impossible_rules_are_refused() {
    let network = Network::new().await;
    let load_balancer = network.load_balancer("shop").await;
    let group = network.target_group("shop").await;
    let listener = network.http(&load_balancer, 80, &group).await;
    let listener = listener.listener_arn().unwrap();
    let create = |priority: i32| {
        network.elb.create_rule().listener_arn(listener).priority(priority).actions(forward(&group))
    };
    create(10).conditions(path("/api/*")).send().await.unwrap();
    let paths = |values: &[&str]| {
        let values = values.iter().map(|value| (*value).to_owned()).collect();
        let config = PathPatternConditionConfig::builder().set_values(Some(values)).build();
        RuleCondition::builder().field("path-pattern").path_pattern_config(config).build()
    };
    let both = RuleCondition::builder().field("path-pattern").values("/a");
    let both = both.path_pattern_config(PathPatternConditionConfig::builder().values("/b").build()).build();
    let cases = [
        (create(10).conditions(path("/other")), "PriorityInUse"),
        (create(0).conditions(path("/a")), "ValidationError"),
        (create(50_001).conditions(path("/a")), "ValidationError"),
        (create(11), "ValidationError"),
        (create(11).conditions(path("/a b")), "ValidationError"),
        (create(11).conditions(path(&format!("/{}", "a".repeat(128)))), "ValidationError"),
        (create(11).conditions(path("api")), "ValidationError"),
        (create(11).conditions(path("/a")).conditions(path("/b")), "ValidationError"),
        (create(11).conditions(paths(&["/a", "/b", "/c", "/d", "/e", "/f"])), "ValidationError"),
        (create(11).conditions(path("/*/*/*/*/*/*")), "ValidationError"),
        (create(11).conditions(host("localhost")), "ValidationError"),
        (create(11).conditions(host("shop.example.c0m")), "ValidationError"),
        (create(11).conditions(both), "ValidationError"),
        (create(11).conditions(RuleCondition::builder().field("source-ip").build()), "ValidationError"),
        (create(11).conditions(path("/a")).set_actions(None), "ValidationError"),
        (create(11).conditions(path("/a")).listener_arn("arn:aws:nothing"), "ListenerNotFound"),
    ];
    for (request, expected) in cases {
        let shown = format!("{request:?}");
        assert_eq!(code(request.send().await), expected, "{shown}");
    }
    let rules = network.elb.describe_rules().listener_arn(listener).send().await.unwrap();
    let default =
        rules.rules().iter().find(|rule| rule.is_default() == Some(true)).unwrap().rule_arn().unwrap();
    let delete = network.elb.delete_rule().rule_arn(default).send().await;
    assert!(delete.unwrap_err().into_service_error().is_operation_not_permitted_exception());
    let modify = network.elb.modify_rule().rule_arn(default).actions(answer("404")).send().await;
    assert!(modify.unwrap_err().into_service_error().is_operation_not_permitted_exception());
}
