//! What somebody changes in listeners, rules, target groups and attributes: a plan names the field, and a deployment puts it
//! right. What somebody adds is told, and left alone.

use std::time::Duration;

use aws_sdk_elasticloadbalancingv2::operation::modify_listener::builders::ModifyListenerFluentBuilder;
use aws_sdk_elasticloadbalancingv2::operation::modify_target_group::builders::ModifyTargetGroupFluentBuilder;
use aws_sdk_elasticloadbalancingv2::types::builders::RedirectActionConfigBuilder;
use aws_sdk_elasticloadbalancingv2::types::{
    Action, ActionTypeEnum, Certificate, FixedResponseActionConfig, ForwardActionConfig,
    LoadBalancerAttribute, Matcher, MutualAuthenticationAttributes, PathPatternConditionConfig, ProtocolEnum,
    RedirectActionConfig, RedirectActionStatusCodeEnum, RuleCondition, TargetGroupAttribute,
    TargetGroupStickinessConfig, TargetGroupTuple,
};
use serde_json::Value;
use stackdrop_functions::Aws;
use stackdrop_simulator::{Account, Seed};

use crate::common::{act, until_done};
use crate::{
    CERTIFICATE, GIVEN, NAME, assert_nothing_to_do, changes, deployed, groups, listeners, next, problems,
    rules, stable,
};

/// Another issued certificate.
const OTHER: &str = "arn:aws:acm:eu-central-1:123456789012:certificate/99999999-2222-3333-4444-555555555555";

/// Fails unless the plan is `wanted`, a deployment carries it out, and nothing remains to do.
async fn assert_put_right(account: &Account, aws: &Aws, deployment: &Value, wanted: &[&str]) {
    assert_eq!(changes(aws, deployment).await, wanted);
    until_done(aws, NAME, "apply", deployment).await.unwrap();
    tokio::time::advance(Duration::from_secs(5)).await;
    assert_nothing_to_do(account, aws, deployment).await;
}

fn response(status: &str, text: &str) -> Action {
    let response = FixedResponseActionConfig::builder().status_code(status).content_type("text/plain");
    let response = response.message_body(text).build();
    Action::builder().r#type(ActionTypeEnum::FixedResponse).fixed_response_config(response).build()
}

/// The stack's redirect, with a change.
fn redirect(change: fn(RedirectActionConfigBuilder) -> RedirectActionConfigBuilder) -> Action {
    let ours = RedirectActionConfig::builder().protocol("HTTPS").port("443");
    let ours = ours.status_code(RedirectActionStatusCodeEnum::Http301);
    Action::builder().r#type(ActionTypeEnum::Redirect).redirect_config(change(ours).build()).build()
}

type ListenerChange = fn(ModifyListenerFluentBuilder) -> ModifyListenerFluentBuilder;

/// Changes the listener on a port in each of these ways, and fails unless each is put right.
async fn assert_listener_is_put_right(port: i32, cases: &[(ListenerChange, &[&str])]) {
    let (account, aws, deployment) = deployed(GIVEN).await;
    account.seed(&Seed::Certificate { arn: OTHER.into(), domain: "*.example.com".into() });
    for (change, wanted) in cases {
        let arn = listeners(&aws, &deployment).await[&port].listener_arn().unwrap().to_owned();
        change(aws.elb().modify_listener().listener_arn(arn)).send().await.unwrap();
        assert_put_right(&account, &aws, &deployment, wanted).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_https_listener_that_somebody_changed_is_put_right() {
    let cases: [(ListenerChange, &[&str]); 5] = [
        (
            |call| call.protocol(ProtocolEnum::Http),
            &[
                "update listener/https certificate",
                "update listener/https protocol",
                "update listener/https sslPolicy",
            ],
        ),
        (
            |call| {
                let clients = MutualAuthenticationAttributes::builder().mode("passthrough").build();
                call.mutual_authentication(clients)
            },
            &["update listener/https mutualAuthentication"],
        ),
        (
            |call| call.certificates(Certificate::builder().certificate_arn(OTHER).build()),
            &["update listener/https certificate"],
        ),
        (
            |call| call.default_actions(response("503", "There is nothing at this address.")),
            &["update listener/https defaultAction"],
        ),
        (|call| call.default_actions(response("404", "Closed.")), &["update listener/https defaultAction"]),
    ];
    assert_listener_is_put_right(443, &cases).await;
}

#[tokio::test(start_paused = true)]
async fn an_http_listener_that_somebody_changed_is_put_right() {
    const ACTION: &[&str] = &["update listener/http defaultAction"];
    let cases: [(ListenerChange, &[&str]); 8] = [
        (
            |call| {
                let certificate = Certificate::builder().certificate_arn(CERTIFICATE).build();
                let call = call.protocol(ProtocolEnum::Https).certificates(certificate);
                call.ssl_policy("ELBSecurityPolicy-TLS13-1-2-Res-PQ-2025-09")
            },
            &["update listener/http protocol"],
        ),
        (|call| call.default_actions(response("200", "Hello.")), ACTION),
        (|call| call.default_actions(redirect(|ours| ours.protocol("HTTP").port("8080"))), ACTION),
        (|call| call.default_actions(redirect(|ours| ours.port("8443"))), ACTION),
        (
            |call| {
                call.default_actions(redirect(|ours| ours.status_code(RedirectActionStatusCodeEnum::Http302)))
            },
            ACTION,
        ),
        (|call| call.default_actions(redirect(|ours| ours.host("other.example.com"))), ACTION),
        (|call| call.default_actions(redirect(|ours| ours.path("/sorry"))), ACTION),
        (|call| call.default_actions(redirect(|ours| ours.query("from=http"))), ACTION),
    ];
    assert_listener_is_put_right(80, &cases).await;
}

#[tokio::test(start_paused = true)]
async fn target_groups_that_somebody_changed_are_put_right() {
    type Change = fn(ModifyTargetGroupFluentBuilder) -> ModifyTargetGroupFluentBuilder;
    let cases: [(Change, &str); 8] = [
        (|call| call.health_check_port("9999"), "healthCheck.port"),
        (|call| call.health_check_protocol(ProtocolEnum::Https), "healthCheck.protocol"),
        (|call| call.health_check_path("/other"), "healthCheck.path"),
        (|call| call.health_check_interval_seconds(77), "healthCheck.interval"),
        (|call| call.health_check_timeout_seconds(3), "healthCheck.timeout"),
        (|call| call.healthy_threshold_count(9), "healthCheck.healthy"),
        (|call| call.unhealthy_threshold_count(9), "healthCheck.unhealthy"),
        (|call| call.matcher(Matcher::builder().http_code("404").build()), "healthCheck.codes"),
    ];
    let (account, aws, deployment) = deployed(GIVEN).await;
    let api = deployment["outputs"]["loadBalancer"]["targetGroups"]["api"].as_str().unwrap();
    for (change, field) in cases {
        change(aws.elb().modify_target_group().target_group_arn(api)).send().await.unwrap();
        let wanted = format!("update target-group/api {field}");
        assert_put_right(&account, &aws, &deployment, &[wanted.as_str()]).await;
    }
    let sticky = TargetGroupAttribute::builder().key("stickiness.enabled").value("true").build();
    let call = aws.elb().modify_target_group_attributes().target_group_arn(api).attributes(sticky);
    call.send().await.unwrap();
    assert_put_right(&account, &aws, &deployment, &["update target-group/api stickiness.enabled"]).await;
}

#[tokio::test(start_paused = true)]
async fn every_field_of_a_health_check_reaches_the_target_group() {
    let all = "{ path: /ready, interval: 21, timeout: 7, healthy: 3, unhealthy: 4, codes: 200-299 }";
    let spec = GIVEN.replace("{ path: /health }", all);
    let (account, aws, deployment) = deployed(&spec).await;
    assert_nothing_to_do(&account, &aws, &deployment).await;
    let found = groups(&aws).await;
    let api = found.iter().find(|group| group.port() == Some(9090)).unwrap();
    assert_eq!((api.health_check_path(), api.health_check_port()), (Some("/ready"), Some("traffic-port")));
    assert_eq!(
        (api.health_check_interval_seconds(), api.health_check_timeout_seconds()),
        (Some(21), Some(7))
    );
    assert_eq!((api.healthy_threshold_count(), api.unhealthy_threshold_count()), (Some(3), Some(4)));
    assert_eq!(api.matcher().unwrap().http_code(), Some("200-299"));

    let (account, aws, deployment) = deployed(GIVEN).await;
    let deployment = next(&deployment, &spec);
    let wanted = ["codes", "healthy", "interval", "path", "timeout", "unhealthy"];
    let wanted = wanted.map(|field| format!("update target-group/api healthCheck.{field}"));
    let wanted: Vec<&str> = wanted.iter().map(String::as_str).collect();
    assert_put_right(&account, &aws, &deployment, &wanted).await;
}

/// Sets an attribute of the load balancer by hand.
async fn set(aws: &Aws, deployment: &Value, pairs: &[(&str, &str)]) {
    let arn = deployment["outputs"]["loadBalancer"]["arn"].as_str().unwrap();
    let pairs =
        pairs.iter().map(|(key, value)| LoadBalancerAttribute::builder().key(*key).value(*value).build());
    let call = aws.elb().modify_load_balancer_attributes().load_balancer_arn(arn);
    call.set_attributes(Some(pairs.collect())).send().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_load_balancer_that_somebody_changed_is_put_right() {
    let three_zones = GIVEN.replace("services:", "network: { zones: 3 }\nservices:");
    let (account, aws, deployment) = deployed(&three_zones).await;
    account.seed(&Seed::Bucket { name: "their-logs".into() });
    let logs = [("access_logs.s3.enabled", "true"), ("access_logs.s3.bucket", "their-logs")];
    let cases: [(&[(&str, &str)], &str); 3] = [
        (&[("routing.http2.enabled", "false")], "update load-balancer routing.http2.enabled"),
        (&[("idle_timeout.timeout_seconds", "5")], "update load-balancer idle_timeout.timeout_seconds"),
        (&logs, "update load-balancer access_logs.s3.enabled"),
    ];
    for (pairs, wanted) in cases {
        set(&aws, &deployment, pairs).await;
        assert_put_right(&account, &aws, &deployment, &[wanted]).await;
    }
    let arn = deployment["outputs"]["loadBalancer"]["arn"].as_str().unwrap();
    let group = deployment["outputs"]["securityGroups"]["service"].as_str().unwrap();
    let call = aws.elb().set_security_groups().load_balancer_arn(arn).security_groups(group);
    call.send().await.unwrap();
    assert_put_right(&account, &aws, &deployment, &["update load-balancer securityGroups"]).await;
    let public = &deployment["outputs"]["network"]["publicSubnets"];
    let two = ["a", "b"].map(|zone| public[zone].as_str().unwrap().to_owned()).to_vec();
    aws.elb().set_subnets().load_balancer_arn(arn).set_subnets(Some(two)).send().await.unwrap();
    assert_put_right(&account, &aws, &deployment, &["update load-balancer zones"]).await;
}

#[tokio::test(start_paused = true)]
async fn access_logs_go_to_the_prefix_in_the_bucket_of_the_spec() {
    let (account, aws, deployment) = deployed(GIVEN).await;
    account.seed(&Seed::Bucket { name: "shop-logs".into() });
    let logs = "loadBalancer:\n  accessLogs: { bucket: shop-logs, prefix: web }";
    let deployment = next(&deployment, &GIVEN.replacen("loadBalancer:", logs, 1));
    let wanted = ["bucket", "enabled", "prefix"];
    let wanted = wanted.map(|field| format!("update load-balancer access_logs.s3.{field}"));
    let wanted: Vec<&str> = wanted.iter().map(String::as_str).collect();
    assert_put_right(&account, &aws, &deployment, &wanted).await;
    let arn = deployment["outputs"]["loadBalancer"]["arn"].as_str().unwrap();
    let found = aws.elb().describe_load_balancer_attributes().load_balancer_arn(arn).send().await.unwrap();
    for (key, value) in [("enabled", "true"), ("bucket", "shop-logs"), ("prefix", "web")] {
        let key = format!("access_logs.s3.{key}");
        let actual = found.attributes().iter().find(|has| has.key() == Some(&key)).unwrap();
        assert_eq!(actual.value(), Some(value), "{key}");
    }
    // A spec without access logs turns them off.
    let deployment = next(&deployment, GIVEN);
    assert_put_right(&account, &aws, &deployment, &["update load-balancer access_logs.s3.enabled"]).await;
}

#[tokio::test(start_paused = true)]
async fn rules_that_somebody_changed_are_put_right() {
    let (account, aws, deployment) = deployed(GIVEN).await;
    let deployment = stable(deployment);
    let groups = &deployment["outputs"]["loadBalancer"]["targetGroups"];
    let tuple = |service: &str| {
        TargetGroupTuple::builder().target_group_arn(groups[service].as_str().unwrap()).weight(1).build()
    };
    let sticky = TargetGroupStickinessConfig::builder().enabled(true).duration_seconds(60).build();
    let both = ForwardActionConfig::builder().target_groups(tuple("web")).target_groups(tuple("api")).build();
    let bound = ForwardActionConfig::builder().target_groups(tuple("web"));
    let bound = bound.target_group_stickiness_config(sticky).build();
    for config in [both, bound] {
        let rules = rules(&aws, &deployment).await;
        let catch_all = rules.iter().find(|rule| rule.priority() == Some("1002")).unwrap();
        let action = Action::builder().r#type(ActionTypeEnum::Forward).forward_config(config).build();
        let call = aws.elb().modify_rule().rule_arn(catch_all.rule_arn().unwrap()).actions(action);
        call.send().await.unwrap();
        assert_put_right(&account, &aws, &deployment, &["update rule/any-host/_ service"]).await;
    }
    let rules = rules(&aws, &deployment).await;
    let path = rules.iter().find(|rule| rule.priority() == Some("1001")).unwrap();
    let pattern = PathPatternConditionConfig::builder().values("/other").build();
    let condition = RuleCondition::builder().field("path-pattern").path_pattern_config(pattern).build();
    let call = aws.elb().modify_rule().rule_arn(path.rule_arn().unwrap()).conditions(condition);
    call.send().await.unwrap();
    let wanted = ["create rule/any-host/api/_", "delete rule/any-host/other"];
    assert_put_right(&account, &aws, &deployment, &wanted).await;
    assert_eq!(crate::routes(&aws, &deployment).await[1], "1001 /api/* api");
}

#[tokio::test(start_paused = true)]
async fn listeners_and_rules_that_somebody_added_are_told_and_left_alone() {
    let spec = GIVEN.replace("loadBalancer:", "loadBalancer:\n  redirectHttp: false");
    let (account, aws, mut deployment) = deployed(&spec).await;
    let arn = deployment["outputs"]["loadBalancer"]["arn"].as_str().unwrap();
    for port in [80, 8080] {
        let call = aws.elb().create_listener().load_balancer_arn(arn).port(port);
        call.protocol(ProtocolEnum::Http).default_actions(response("200", "Hello.")).send().await.unwrap();
    }
    let path = PathPatternConditionConfig::builder().values("/theirs").build();
    let condition = RuleCondition::builder().field("path-pattern").path_pattern_config(path).build();
    let call = aws.elb().create_rule().listener_arn(crate::https(&aws, &deployment).await).priority(7);
    call.conditions(condition).actions(response("200", "Hello.")).send().await.unwrap();
    tokio::time::advance(Duration::from_secs(5)).await;
    assert_nothing_to_do(&account, &aws, &deployment).await;
    let plan = act(&aws, NAME, "plan", &deployment).await.unwrap();
    let warnings = plan["warnings"].to_string();
    for wanted in [
        "the listener on port 80 is not managed by this stack",
        "the listener on port 8080 is not managed by this stack",
        "with priority 7 is not managed by this stack, and may take requests from its services",
    ] {
        assert!(warnings.contains(wanted), "{wanted}: {warnings}");
    }
    // The redirect needs port 80.
    deployment = next(&deployment, GIVEN);
    let found = problems(&aws, &deployment).await;
    assert!(found.contains("the listener on port 80 of load balancer shop"), "{found}");
    assert!(!found.contains("8080"), "{found}");
}

#[tokio::test(start_paused = true)]
async fn the_tls_policy_of_the_spec_replaces_any_other() {
    let policy = "ELBSecurityPolicy-TLS13-1-2-PQ-2025-09";
    let spec = GIVEN.replace("loadBalancer:", &format!("loadBalancer:\n  tlsPolicy: {policy}"));
    let (account, aws, deployment) = deployed(GIVEN).await;
    let deployment = next(&deployment, &spec);
    assert_put_right(&account, &aws, &deployment, &["update listener/https sslPolicy"]).await;
    // A stricter one is left alone only if the spec names none.
    let https = listeners(&aws, &deployment).await[&443].clone();
    assert_eq!(https.ssl_policy(), Some(policy));
    let call = aws.elb().modify_listener().listener_arn(https.listener_arn().unwrap());
    call.ssl_policy("ELBSecurityPolicy-TLS13-1-3-PQ-2025-09").send().await.unwrap();
    assert_put_right(&account, &aws, &deployment, &["update listener/https sslPolicy"]).await;
    assert_eq!(listeners(&aws, &deployment).await[&443].ssl_policy(), Some(policy));
}
