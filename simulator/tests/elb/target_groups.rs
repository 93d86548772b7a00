//! Target groups: their settings and their users.

use crate::site::{Network, code, forward, path, seconds};
use aws_sdk_elasticloadbalancingv2::types::{Matcher, ProtocolEnum, TargetGroupAttribute, TargetTypeEnum};

#[tokio::test(start_paused = true)]
async fn a_target_group_has_aws_defaults_and_its_health_check_can_change() {
    let network = Network::new().await;
    let made = network
        .elb
        .create_target_group()
        .name("shop")
        .protocol(ProtocolEnum::Http)
        .port(80)
        .vpc_id(&network.vpc)
        .send()
        .await
        .unwrap();
    let group = &made.target_groups()[0];
    let arn = group.target_group_arn().unwrap();
    assert_eq!(group.target_type(), Some(&TargetTypeEnum::Instance));
    assert_eq!(
        (
            group.health_check_interval_seconds(),
            group.health_check_timeout_seconds(),
            group.healthy_threshold_count(),
            group.unhealthy_threshold_count(),
            group.health_check_path(),
            group.health_check_port(),
            group.matcher().and_then(Matcher::http_code),
        ),
        (Some(30), Some(5), Some(5), Some(2), Some("/"), Some("traffic-port"), Some("200"))
    );
    seconds(1.0).await;
    let modify = || network.elb.modify_target_group().target_group_arn(arn);
    let changed = modify().health_check_path("/up").health_check_interval_seconds(10).send().await.unwrap();
    assert_eq!(changed.target_groups()[0].health_check_path(), Some("/up"));
    let code_is = |http: &str| Matcher::builder().http_code(http).build();
    modify().matcher(code_is("200-299,302")).send().await.unwrap();
    let cases = [
        (modify().health_check_interval_seconds(4), "ValidationError"),
        (modify().health_check_interval_seconds(301), "ValidationError"),
        (modify().health_check_timeout_seconds(1), "ValidationError"),
        (modify().health_check_timeout_seconds(10), "InvalidConfigurationRequest"),
        (modify().healthy_threshold_count(1), "ValidationError"),
        (modify().unhealthy_threshold_count(11), "ValidationError"),
        (modify().health_check_path("up"), "ValidationError"),
        (modify().health_check_port("0"), "ValidationError"),
        (modify().health_check_protocol(ProtocolEnum::Tcp), "ValidationError"),
        (modify().health_check_enabled(false), "InvalidConfigurationRequest"),
        (modify().matcher(code_is("500")), "ValidationError"),
        (modify().target_group_arn("arn:aws:elasticloadbalancing:x"), "TargetGroupNotFound"),
    ];
    for (request, expected) in cases {
        let shown = format!("{request:?}");
        assert_eq!(code(request.send().await), expected, "{shown}");
    }
}

#[tokio::test(start_paused = true)]
async fn invalid_target_groups_are_refused() {
    let network = Network::new().await;
    let arn = network.target_group("shop").await;
    assert_eq!(network.target_group("shop").await, arn, "the same again is the same");
    let create = |name: &str| {
        let create = network.elb.create_target_group().name(name).protocol(ProtocolEnum::Http).port(8080);
        create.vpc_id(&network.vpc).target_type(TargetTypeEnum::Ip)
    };
    let error = create("shop").send().await.unwrap_err().into_service_error();
    assert!(error.is_duplicate_target_group_name_exception());
    let cases = [
        (create(&"a".repeat(33)), "ValidationError"),
        (create("shop_"), "ValidationError"),
        (create("other").port(0), "ValidationError"),
        (create("other").protocol(ProtocolEnum::Udp), "ValidationError"),
        (create("other").vpc_id("vpc-0000000000000dead"), "ValidationError"),
        (create("other").target_type(TargetTypeEnum::Lambda), "ValidationError"),
        (create("other").set_port(None), "ValidationError"),
        (create("other").set_vpc_id(None), "MissingParameter"),
        (create("other").target_control_port(3000), "UnknownParameter"),
        (create("other").protocol_version("GRPC"), "ValidationError"),
        (create("other").ip_address_type("ipv6".into()), "ValidationError"),
        (create("other").health_check_port("65536"), "ValidationError"),
        (create("other").health_check_path("/a b"), "ValidationError"),
        (create("other").matcher(Matcher::builder().http_code("299-200").build()), "ValidationError"),
    ];
    for (request, expected) in cases {
        let shown = format!("{request:?}");
        assert_eq!(code(request.send().await), expected, "{shown}");
    }
    let both = network.elb.describe_target_groups().names("shop").target_group_arns(&arn).send().await;
    assert_eq!(code(both), "ValidationError");
    let odd = network.elb.delete_target_group().target_group_arn("arn:aws:nothing").send().await;
    assert_eq!(code(odd), "ValidationError");
    let unknown = network.elb.describe_target_groups().names("nobody").send().await;
    assert!(unknown.unwrap_err().into_service_error().is_target_group_not_found_exception());
}

#[tokio::test(start_paused = true)]
async fn target_group_attributes_are_checked() {
    let network = Network::new().await;
    let arn = network.target_group("shop").await;
    let set = |key: &str, value: &str| {
        let attribute = TargetGroupAttribute::builder().key(key).value(value).build();
        network.elb.modify_target_group_attributes().target_group_arn(&arn).attributes(attribute).send()
    };
    let found = network.elb.describe_target_group_attributes().target_group_arn(&arn).send().await.unwrap();
    let delay = |attributes: &[TargetGroupAttribute]| {
        let found = attributes.iter().find(|each| each.key() == Some("deregistration_delay.timeout_seconds"));
        found.and_then(|each| each.value()).map(str::to_owned)
    };
    assert_eq!(delay(found.attributes()).as_deref(), Some("300"));
    let changed = set("deregistration_delay.timeout_seconds", "30").await.unwrap();
    assert_eq!(delay(changed.attributes()).as_deref(), Some("30"));
    for (key, value) in [
        ("deregistration_delay.timeout_seconds", "3601"),
        ("slow_start.duration_seconds", "10"),
        ("stickiness.type", "source_ip"),
        ("stickiness.app_cookie.cookie_name", "AWSALB"),
        ("load_balancing.algorithm.anomaly_mitigation", "on"),
        ("proxy_protocol_v2.enabled", "true"),
    ] {
        assert_eq!(code(set(key, value).await), "InvalidConfigurationRequest", "{key}");
    }
    // Some are checked together.
    set("slow_start.duration_seconds", "30").await.unwrap();
    set("stickiness.enabled", "true").await.unwrap();
    for (key, value) in
        [("load_balancing.algorithm.type", "weighted_random"), ("stickiness.type", "app_cookie")]
    {
        assert_eq!(code(set(key, value).await), "InvalidConfigurationRequest", "{key}");
    }
    let attribute = || TargetGroupAttribute::builder().key("stickiness.enabled").value("false").build();
    let modify = || network.elb.modify_target_group_attributes().target_group_arn(&arn);
    let twice = modify().attributes(attribute()).attributes(attribute()).send().await;
    assert_eq!(code(twice), "InvalidConfigurationRequest");
    assert_eq!(code(modify().set_attributes(Some(vec![])).send().await), "ValidationError");
}

#[tokio::test(start_paused = true)]
async fn a_target_group_in_use_cannot_be_deleted() {
    let network = Network::new().await;
    let load_balancer = network.load_balancer("shop").await;
    let by_default = network.target_group("by-default").await;
    let by_rule = network.target_group("by-rule").await;
    let listener = network.http(&load_balancer, 80, &by_default).await;
    let rule = network
        .elb
        .create_rule()
        .listener_arn(listener.listener_arn().unwrap())
        .priority(10)
        .conditions(path("/api/*"))
        .actions(forward(&by_rule))
        .send()
        .await
        .unwrap();
    seconds(1.0).await;
    let delete = |arn: &str| network.elb.delete_target_group().target_group_arn(arn).send();
    for arn in [&by_default, &by_rule] {
        let error = delete(arn).await.unwrap_err().into_service_error();
        assert!(error.is_resource_in_use_exception());
        let found = network.elb.describe_target_groups().target_group_arns(arn).send().await.unwrap();
        assert_eq!(found.target_groups()[0].load_balancer_arns(), [load_balancer.as_str()]);
    }
    let of_it = network.elb.describe_target_groups().load_balancer_arn(&load_balancer).send().await.unwrap();
    assert_eq!(of_it.target_groups().len(), 2);
    let rule = rule.rules()[0].rule_arn().unwrap();
    network.elb.delete_rule().rule_arn(rule).send().await.unwrap();
    delete(&by_rule).await.unwrap();
    network.elb.delete_load_balancer().load_balancer_arn(&load_balancer).send().await.unwrap();
    delete(&by_default).await.unwrap();
    delete(&by_default).await.unwrap();
}
