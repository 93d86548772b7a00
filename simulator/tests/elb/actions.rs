//! Actions of listeners and rules, and the order of rules.

use aws_sdk_elasticloadbalancingv2::types::{
    Action, ActionTypeEnum, Certificate, FixedResponseActionConfig, MutualAuthenticationAttributes,
    ProtocolEnum, RedirectActionConfig, RedirectActionStatusCodeEnum, RulePriorityPair,
};

use crate::site::{CERTIFICATE, Network, POLICY, answer, code, forward, path, redirect, seconds, to_https};

#[tokio::test(start_paused = true)]
async fn an_action_with_settings_that_elb_does_not_take_is_refused() {
    let network = Network::new().await;
    let load_balancer = network.load_balancer("shop").await;
    let group = network.target_group("shop").await;
    let other = network.ec2.create_vpc().cidr_block("10.9.0.0/16").send().await.unwrap();
    seconds(15.0).await;
    let foreign = network.elb.create_target_group().name("foreign").protocol(ProtocolEnum::Http).port(80);
    let foreign = foreign.vpc_id(other.vpc().unwrap().vpc_id().unwrap()).send().await.unwrap();
    let foreign = foreign.target_groups()[0].target_group_arn().unwrap();
    seconds(1.0).await;
    let listen = || network.elb.create_listener().load_balancer_arn(&load_balancer);
    let http = |action: Action| listen().port(80).protocol(ProtocolEnum::Http).default_actions(action);
    let certificate = || Certificate::builder().certificate_arn(CERTIFICATE).build();
    let https = |action: Action| {
        let secure = listen().port(443).protocol(ProtocolEnum::Https).certificates(certificate());
        secure.ssl_policy(POLICY).default_actions(action)
    };
    let fixed = |status: &str, kind: &str, body: String| {
        let config = FixedResponseActionConfig::builder().status_code(status).content_type(kind);
        let config = config.message_body(body).build();
        Action::builder().r#type(ActionTypeEnum::FixedResponse).fixed_response_config(config).build()
    };
    let to = || {
        RedirectActionConfig::builder().status_code(RedirectActionStatusCodeEnum::Http301).protocol("HTTPS")
    };
    let bare = |kind: ActionTypeEnum| Action::builder().r#type(kind).build();
    let late =
        Action::builder().r#type(ActionTypeEnum::Forward).target_group_arn(&group).order(50_001).build();
    let clients = MutualAuthenticationAttributes::builder().mode("verify").build();
    let invalid = "ValidationError";
    let cases = vec![
        ("an order", http(late), invalid),
        ("a content type", http(fixed("404", "image/png", String::new())), invalid),
        ("a long body", http(fixed("404", "text/plain", "b".repeat(1025))), invalid),
        ("a short status", http(fixed("40", "text/plain", String::new())), invalid),
        ("a status of letters", http(fixed("4xx", "text/plain", String::new())), invalid),
        ("a response without settings", http(bare(ActionTypeEnum::FixedResponse)), invalid),
        ("a redirect without settings", http(bare(ActionTypeEnum::Redirect)), invalid),
        ("a forward without a group", http(bare(ActionTypeEnum::Forward)), invalid),
        ("a protocol", http(redirect(to().protocol("FTP").build())), invalid),
        ("a port", http(redirect(to().port("0").build())), invalid),
        ("a path", http(redirect(to().path("shop").build())), invalid),
        ("a long path", http(redirect(to().path(format!("/{}", "p".repeat(128))).build())), invalid),
        ("no host", http(redirect(to().host("").build())), invalid),
        ("a status", http(redirect(to().status_code("HTTP_307".into()).build())), invalid),
        ("a group of another VPC", http(forward(foreign)), "InvalidConfigurationRequest"),
        ("a way back to HTTP", https(redirect(to().protocol("HTTP").build())), "InvalidLoadBalancerAction"),
        ("certificates of clients", https(answer("404")).mutual_authentication(clients), invalid),
        ("a certificate for HTTP", http(answer("404")).certificates(certificate()), invalid),
        ("no port", listen().protocol(ProtocolEnum::Http).default_actions(answer("404")), invalid),
        ("no protocol", listen().port(80).default_actions(answer("404")), invalid),
    ];
    for (what, call, expected) in cases {
        assert_eq!(code(call.send().await), expected, "{what}");
        seconds(1.0).await;
    }
    // Another host or another path ends a redirect to the same protocol and port.
    let same = || RedirectActionConfig::builder().status_code(RedirectActionStatusCodeEnum::Http302);
    http(redirect(same().host("www.example.com").build())).send().await.unwrap();
    http(redirect(same().path("/shop").build())).port(81).send().await.unwrap();
    http(fixed("404", "text/plain", "b".repeat(1024))).port(82).send().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_listener_does_not_change_into_one_whose_rule_would_loop() {
    let network = Network::new().await;
    let load_balancer = network.load_balancer("shop").await;
    let group = network.target_group("shop").await;
    let listener = network.http(&load_balancer, 80, &group).await;
    let listener = listener.listener_arn().unwrap();
    let rule = network.elb.create_rule().listener_arn(listener).priority(1).conditions(path("/a"));
    rule.actions(redirect(to_https())).send().await.unwrap();
    let certificate = Certificate::builder().certificate_arn(CERTIFICATE).build();
    let https = network.elb.modify_listener().listener_arn(listener).protocol(ProtocolEnum::Https);
    let https = https.certificates(certificate).ssl_policy(POLICY);
    assert_eq!(code(https.clone().port(443).send().await), "InvalidLoadBalancerAction");
    https.port(8443).send().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_impossible_order_of_rules_changes_nothing() {
    let network = Network::new().await;
    let load_balancer = network.load_balancer("shop").await;
    let group = network.target_group("shop").await;
    let listener = network.http(&load_balancer, 80, &group).await;
    let listener = listener.listener_arn().unwrap();
    for priority in [10, 20] {
        let create = network.elb.create_rule().listener_arn(listener).priority(priority);
        create.conditions(path("/a")).actions(answer("404")).send().await.unwrap();
    }
    seconds(1.0).await;
    let rules = async || {
        let found = network.elb.describe_rules().listener_arn(listener).send().await.unwrap();
        let rules = found.rules().iter();
        rules
            .map(|rule| (rule.rule_arn().unwrap().to_owned(), rule.priority().unwrap().to_owned()))
            .collect::<Vec<_>>()
    };
    let before = rules().await;
    let [first, second, default] = [0, 1, 2].map(|place: usize| before[place].0.as_str());
    let pair =
        |rule: &str, priority: i32| RulePriorityPair::builder().rule_arn(rule).priority(priority).build();
    for (pairs, expected) in [
        (vec![], "ValidationError"),
        (vec![pair(first, 30), pair(first, 40)], "ValidationError"),
        (vec![pair(first, 50_001)], "ValidationError"),
        (vec![pair(first, 30), pair(second, 30)], "PriorityInUse"),
        (vec![pair(first, 30), pair(default, 40)], "OperationNotPermitted"),
        (vec![pair(first, 30), pair("arn:aws:nothing", 40)], "RuleNotFound"),
    ] {
        let call = network.elb.set_rule_priorities().set_rule_priorities(Some(pairs));
        let shown = format!("{call:?}");
        assert_eq!(code(call.send().await), expected, "{shown}");
    }
    let unknown = forward(&group.replace("shop", "shoq"));
    let modify = network.elb.modify_rule().rule_arn(first).actions(unknown).send().await;
    assert_eq!(code(modify), "TargetGroupNotFound");
    assert_eq!(rules().await, before);
    assert_eq!(code(network.elb.describe_rules().send().await), "ValidationError");
}
