//! The load balancer: who may do what, read from the account; certificate and DNS, route order, repeats, repairs,
//! removal, and what is not ours.
#![expect(clippy::unwrap_used, reason = "what a helper cannot do is a failure of the test that asked for it")]
#![allow(
    clippy::large_futures,
    reason = "the driver's futures hold a whole function, and tests have room for it"
)]

#[path = "../common/mod.rs"]
mod common;

mod domain; // a certificate that is requested, and the records of its domain

use std::collections::BTreeMap;
use std::time::Duration;

use aws_sdk_elasticloadbalancingv2::types::{
    Action, ActionTypeEnum, FixedResponseActionConfig, Listener, LoadBalancerAttribute,
    PathPatternConditionConfig, Rule, RuleCondition, Tag, TargetDescription, TargetGroup, TargetTypeEnum,
};
use aws_sdk_route53::types::{Change, ChangeAction, ChangeBatch, ResourceRecord, ResourceRecordSet, RrType};
use common::{act, aws, deployment, ensure, until_done, writes};
use serde_json::{Value, json};
use stackdrop_functions::Aws;
use stackdrop_functions::aws::error::StepError;
use stackdrop_simulator::{Account, Fault, FaultKind, Seed, When};

const NAME: &str = "load-balancer";
const CERTIFICATE: &str =
    "arn:aws:acm:eu-central-1:123456789012:certificate/11111111-2222-3333-4444-555555555555";
const ZONE: &str = "Z0123456789ABCDEFGHIJ";

/// A certificate that is given, two services with routes.
const GIVEN: &str = "
stack: shop
loadBalancer:
  certificateArn: arn:aws:acm:eu-central-1:123456789012:certificate/11111111-2222-3333-4444-555555555555
services:
  web: { image: web, port: 8080, routes: [{ path: /* }] }
  api: { image: api, port: 9090, healthCheck: { path: /health }, routes: [{ path: /api/* }, { host: api.example.com }] }
  mail: { image: mail }
";

/// A certificate that is requested.
const DOMAIN: &str = "
stack: shop
loadBalancer: { domain: shop.example.com, hostedZoneId: Z0123456789ABCDEFGHIJ }
services:
  web: { image: web, port: 8080, routes: [{ path: /* }] }
";

fn account() -> Account {
    let account = common::account();
    account.seed(&Seed::Certificate { arn: CERTIFICATE.into(), domain: "*.example.com".into() });
    account.seed(&Seed::HostedZone { id: ZONE.into(), name: "example.com".into() });
    account
}

/// An account in which what the load balancer stands on is there.
async fn ground(spec: &str) -> (Account, Aws, Value) {
    let account = account();
    let aws = aws(&account);
    let mut deployment = deployment(spec);
    ensure(&aws, &["network", "security-groups"], &mut deployment).await;
    (account, aws, deployment)
}

/// An account with the spec's load balancer, settled.
async fn built(spec: &str) -> (Account, Aws, Value) {
    let (account, aws, mut deployment) = ground(spec).await;
    ensure(&aws, &[NAME], &mut deployment).await;
    until_done(&aws, NAME, "wait-until-stable", &deployment).await.unwrap();
    (account, aws, deployment)
}

/// The same deployment with another spec, after one that succeeded.
fn next(deployment: &Value, spec: &str) -> Value {
    let mut next = deployment.clone();
    next["baseline"] = json!({
        "deployment": "first", "version": "1", "spec": deployment["spec"], "outputs": deployment["outputs"],
    });
    next["spec"] = common::deployment(spec)["spec"].clone();
    next["id"] = json!("second");
    next
}

/// The plan's changes as `verb resource field`, sorted.
async fn changes(aws: &Aws, deployment: &Value) -> Vec<String> {
    let plan = act(aws, NAME, "plan", deployment).await.unwrap();
    assert_eq!(plan["problems"], json!([]));
    let mut listed = Vec::new();
    for change in plan["changes"].as_array().unwrap() {
        let line = format!("{} {}", change["verb"].as_str().unwrap(), change["resource"].as_str().unwrap());
        match change["fields"].as_array() {
            Some(fields) => {
                listed.extend(
                    fields.iter().map(|field| format!("{line} {}", field["field"].as_str().unwrap())),
                );
            }
            None => listed.push(line),
        }
    }
    listed.sort();
    listed
}

async fn problems(aws: &Aws, deployment: &Value) -> String {
    act(aws, NAME, "plan", deployment).await.unwrap()["problems"].to_string()
}

/// Asserts that everything is as the spec says: an empty plan, and an `ensure` without a writing call.
async fn assert_at_rest(account: &Account, aws: &Aws, deployment: &Value) {
    assert_eq!(changes(aws, deployment).await, Vec::<String>::new());
    let before = writes(account).len();
    act(aws, NAME, "apply", deployment).await.unwrap();
    assert_eq!(writes(account)[before..], Vec::<String>::new()[..]);
}

async fn listeners(aws: &Aws, deployment: &Value) -> BTreeMap<i32, Listener> {
    let arn = deployment["outputs"]["loadBalancer"]["arn"].as_str().unwrap();
    let found = aws.elb().describe_listeners().load_balancer_arn(arn).send().await.unwrap();
    found.listeners().iter().map(|listener| (listener.port().unwrap(), listener.clone())).collect()
}

async fn https(aws: &Aws, deployment: &Value) -> String {
    listeners(aws, deployment).await[&443].listener_arn().unwrap().to_owned()
}

async fn rules(aws: &Aws, deployment: &Value) -> Vec<Rule> {
    let found = aws.elb().describe_rules().listener_arn(https(aws, deployment).await).send().await.unwrap();
    found.rules().iter().filter(|rule| rule.is_default() != Some(true)).cloned().collect()
}

/// The rules as `priority host/path service`, in the order in which they are asked.
async fn routes(aws: &Aws, deployment: &Value) -> Vec<String> {
    let groups: BTreeMap<String, String> =
        serde_json::from_value(deployment["outputs"]["loadBalancer"]["targetGroups"].clone()).unwrap();
    let rules = rules(aws, deployment).await;
    let service = |rule: &Rule| {
        let arn = rule.actions()[0].target_group_arn().unwrap();
        groups.iter().find(|(_, group)| *group == arn).map_or("?", |(service, _)| service).to_owned()
    };
    let mut listed: Vec<(i32, String)> = rules
        .iter()
        .map(|rule| {
            let conditions: Vec<&str> =
                rule.conditions().iter().flat_map(RuleCondition::values).map(String::as_str).collect();
            let priority = rule.priority().unwrap();
            (priority.parse().unwrap(), format!("{priority} {} {}", conditions.join(" "), service(rule)))
        })
        .collect();
    listed.sort();
    listed.into_iter().map(|(_, line)| line).collect()
}

async fn groups(aws: &Aws) -> Vec<TargetGroup> {
    aws.elb().describe_target_groups().send().await.unwrap().target_groups.unwrap_or_default()
}

/// What of the load balancer there is in the account.
fn inventory(account: &Account) -> Vec<String> {
    let ours = account.inventory().into_iter().filter(|item| item.component == NAME);
    ours.map(|item| format!("{} {}", item.kind, item.name)).collect()
}

/// What stands under a name of the zone.
async fn record(aws: &Aws, name: &str, kind: RrType) -> Option<ResourceRecordSet> {
    let call = aws.route53().list_resource_record_sets().hosted_zone_id(ZONE);
    let found = call.send().await.unwrap().resource_record_sets;
    found.into_iter().find(|record| record.name.trim_end_matches('.') == name && record.r#type == kind)
}

async fn put_record(aws: &Aws, record: ResourceRecordSet) {
    let change = Change::builder().action(ChangeAction::Upsert).resource_record_set(record).build().unwrap();
    let batch = ChangeBatch::builder().changes(change).build().unwrap();
    aws.route53()
        .change_resource_record_sets()
        .hosted_zone_id(ZONE)
        .change_batch(batch)
        .send()
        .await
        .unwrap();
}

#[tokio::test(start_paused = true)]
async fn it_speaks_only_modern_tls_redirects_http_and_drops_bad_headers() {
    let (account, aws, deployment) = built(GIVEN).await;
    let outputs = &deployment["outputs"]["loadBalancer"];
    let dns = outputs["dnsName"].as_str().unwrap();
    assert_eq!(outputs["url"], format!("https://{dns}"));
    let listeners = listeners(&aws, &deployment).await;
    assert_eq!(listeners.keys().copied().collect::<Vec<_>>(), [80, 443]);
    let https = &listeners[&443];
    assert_eq!(https.ssl_policy(), Some("ELBSecurityPolicy-TLS13-1-2-2021-06"));
    assert_eq!(https.certificates()[0].certificate_arn(), Some(CERTIFICATE));
    assert_eq!(https.default_actions()[0].fixed_response_config().unwrap().status_code(), Some("404"));
    let redirect = listeners[&80].default_actions()[0].redirect_config().unwrap();
    assert_eq!((redirect.protocol(), redirect.port()), (Some("HTTPS"), Some("443")));
    assert_eq!(redirect.status_code().unwrap().as_str(), "HTTP_301");

    let found = aws.elb().describe_load_balancers().names("shop").send().await.unwrap();
    let balancer = &found.load_balancers()[0];
    assert_eq!(balancer.scheme().unwrap().as_str(), "internet-facing");
    let group = deployment["outputs"]["securityGroups"]["loadBalancer"].as_str().unwrap();
    assert_eq!(balancer.security_groups(), [group]);
    let public = deployment["outputs"]["network"]["publicSubnets"].as_object().unwrap();
    for zone in balancer.availability_zones() {
        assert!(public.values().any(|subnet| subnet.as_str() == zone.subnet_id()));
    }
    let call = aws.elb().describe_load_balancer_attributes();
    let found = call.load_balancer_arn(balancer.load_balancer_arn().unwrap()).send().await.unwrap();
    let has = |key: &str, value: &str| {
        found.attributes().iter().any(|has| has.key() == Some(key) && has.value() == Some(value))
    };
    assert!(has("routing.http.drop_invalid_header_fields.enabled", "true"));
    assert!(has("routing.http2.enabled", "true"));
    assert!(has("idle_timeout.timeout_seconds", "60"));
    assert!(has("deletion_protection.enabled", "false"));

    let groups = groups(&aws).await;
    assert_eq!(groups.len(), 2, "a worker has none");
    for group in &groups {
        assert_eq!(group.target_type(), Some(&TargetTypeEnum::Ip));
        assert_eq!(group.load_balancer_arns().len(), 1, "ECS takes no group without a load balancer");
    }
    let api =
        groups.iter().find(|group| group.target_group_name().unwrap().starts_with("shop-api-")).unwrap();
    assert_eq!((api.port(), api.health_check_path()), (Some(9090), Some("/health")));
    let untagged = account.inventory().into_iter().filter(|item| {
        item.kind.starts_with("AWS::ElasticLoadBalancingV2::")
            && !item.tags.contains_key("stackdrop:logical-id")
    });
    assert_eq!(untagged.count(), 0);
}

#[tokio::test(start_paused = true)]
async fn more_precise_routes_are_asked_first() {
    let (_, aws, deployment) = built(GIVEN).await;
    assert_eq!(
        routes(&aws, &deployment).await,
        ["1000 api.example.com api", "1001 /api/* api", "1002 /* web"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_plan_of_nothing_lists_everything() {
    let account = account();
    let aws = aws(&account);
    let deployment = deployment(GIVEN);
    assert_eq!(
        changes(&aws, &deployment).await,
        [
            "create listener/http",
            "create listener/https",
            "create load-balancer",
            "create rule/any-host/_",
            "create rule/any-host/api/_",
            "create rule/api.example.com",
            "create target-group/api",
            "create target-group/web",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn what_stands_is_left_alone_and_read_cheaply() {
    let (account, aws, deployment) = built(&GIVEN.replace("host: api.example.com", "path: /v2/*")).await;
    assert_at_rest(&account, &aws, &deployment).await;
    // As the workflow plans: without outputs, with a baseline.
    let spec = GIVEN.replace("host: api.example.com", "path: /v2/*");
    let mut later = next(&deployment, &spec);
    later["outputs"] = json!({});
    let before = account.calls();
    assert_eq!(changes(&aws, &later).await, Vec::<String>::new());
    // One of these is for the second target group's attributes: with one group it is 8.
    assert_eq!(account.calls() - before, 9);
}

#[tokio::test(start_paused = true)]
async fn a_load_balancer_that_is_not_active_yet_is_to_be_settled() {
    let (_, aws, mut deployment) = ground(GIVEN).await;
    ensure(&aws, &[NAME], &mut deployment).await;
    assert_eq!(changes(&aws, &deployment).await, ["wait load-balancer"]);
    let waiting = act(&aws, NAME, "wait-until-stable", &deployment).await.unwrap_err();
    assert!(matches!(&waiting, StepError::Pending(text) if text == "the load balancer shop to be active"));
    let settled = until_done(&aws, NAME, "wait-until-stable", &deployment).await.unwrap();
    assert_eq!(settled, deployment["outputs"]["loadBalancer"]);
}

#[tokio::test(start_paused = true)]
async fn a_load_balancer_that_fails_is_unhealthy_and_made_anew_by_the_next_deployment() {
    let (account, aws, mut deployment) = ground(GIVEN).await;
    account.arm(Fault::at(
        "elasticloadbalancing",
        "CreateLoadBalancer",
        When::Only(1),
        FaultKind::ResourceFails,
    ));
    ensure(&aws, &[NAME], &mut deployment).await;
    let failed = until_done(&aws, NAME, "wait-until-stable", &deployment).await.unwrap_err();
    assert!(matches!(failed, StepError::Unhealthy { .. }), "{failed:?}");
    deployment["id"] = json!("second");
    assert!(changes(&aws, &deployment).await.contains(&"delete load-balancer".to_owned()));
    ensure(&aws, &[NAME], &mut deployment).await;
    until_done(&aws, NAME, "wait-until-stable", &deployment).await.unwrap();
    assert_at_rest(&account, &aws, &deployment).await;
}

#[tokio::test(start_paused = true)]
async fn what_others_change_is_repaired() {
    let (account, aws, deployment) = built(GIVEN).await;
    let arn = deployment["outputs"]["loadBalancer"]["arn"].as_str().unwrap();
    let drop = LoadBalancerAttribute::builder()
        .key("routing.http.drop_invalid_header_fields.enabled")
        .value("false")
        .build();
    let call = aws.elb().modify_load_balancer_attributes().load_balancer_arn(arn).attributes(drop);
    call.send().await.unwrap();
    let listeners = listeners(&aws, &deployment).await;
    let call = aws.elb().modify_listener().listener_arn(listeners[&443].listener_arn().unwrap());
    call.ssl_policy("ELBSecurityPolicy-2016-08").send().await.unwrap();
    let call = aws.elb().delete_listener().listener_arn(listeners[&80].listener_arn().unwrap());
    call.send().await.unwrap();
    let api = deployment["outputs"]["loadBalancer"]["targetGroups"]["api"].as_str().unwrap();
    let call = aws.elb().modify_target_group().target_group_arn(api).health_check_path("/elsewhere");
    call.send().await.unwrap();
    let rules = rules(&aws, &deployment).await;
    let catch_all = rules.iter().find(|rule| rule.priority() == Some("1002")).unwrap();
    let answer = FixedResponseActionConfig::builder().status_code("503").build();
    let answer =
        Action::builder().r#type(ActionTypeEnum::FixedResponse).fixed_response_config(answer).build();
    let call = aws.elb().modify_rule().rule_arn(catch_all.rule_arn().unwrap()).actions(answer);
    call.send().await.unwrap();
    let call = aws.elb().remove_tags().resource_arns(api).tag_keys("stackdrop:logical-id");
    call.send().await.unwrap();
    assert_eq!(
        changes(&aws, &deployment).await,
        [
            "create listener/http",
            "update listener/https sslPolicy",
            "update load-balancer routing.http.drop_invalid_header_fields.enabled",
            "update rule/any-host/_ service",
            "update target-group/api healthCheck.path",
            "update target-group/api tags.stackdrop:logical-id",
        ]
    );
    until_done(&aws, NAME, "apply", &deployment).await.unwrap();
    tokio::time::advance(Duration::from_secs(5)).await;
    assert_at_rest(&account, &aws, &deployment).await;
    assert_eq!(routes(&aws, &deployment).await[2], "1002 /* web");
}

#[tokio::test(start_paused = true)]
async fn an_update_changes_what_the_spec_changes() {
    let (account, aws, deployment) = built(GIVEN).await;
    let spec = GIVEN
        .replace("loadBalancer:", "loadBalancer:\n  redirectHttp: false\n  idleTimeout: 120")
        .replace("/health ", "/healthy, interval: 20 ")
        .replace("port: 8080", "port: 8081");
    let deployment = next(&deployment, &spec);
    assert_eq!(
        changes(&aws, &deployment).await,
        [
            "delete listener/http",
            "update load-balancer idle_timeout.timeout_seconds",
            "update target-group/api healthCheck.interval",
            "update target-group/api healthCheck.path",
        ]
    );
    let outputs = until_done(&aws, NAME, "apply", &deployment).await.unwrap();
    assert_eq!(outputs, deployment["outputs"]["loadBalancer"], "another port is served by the same group");
    assert_eq!(listeners(&aws, &deployment).await.into_keys().collect::<Vec<_>>(), [443]);
    assert_at_rest(&account, &aws, &deployment).await;
}

#[tokio::test(start_paused = true)]
async fn a_new_order_of_routes_comes_at_once_and_never_misses_one() {
    let (account, aws, deployment) = built(GIVEN).await;
    // A new most precise route pushes all others down, one is gone, one goes to another service.
    let spec = GIVEN
        .replace("{ host: api.example.com }", "{ host: api.example.com, path: /v3 }")
        .replace(
            "routes: [{ path: /* }]",
            "routes: [{ path: /* }, { path: /api/* }, { host: www.example.com }]",
        )
        .replace("{ path: /api/* }, { host: api.example.com", "{ host: api.example.com");
    let mut deployment = next(&deployment, &spec);
    let before = writes(&account).len();
    let outputs = until_done(&aws, NAME, "apply", &deployment).await.unwrap();
    deployment["outputs"]["loadBalancer"] = outputs;
    assert_eq!(
        writes(&account)[before..].iter().map(|call| call.split_once(':').unwrap().1).collect::<Vec<_>>(),
        ["CreateRule", "CreateRule", "ModifyRule", "SetRulePriorities", "DeleteRule"]
    );
    tokio::time::advance(Duration::from_secs(5)).await;
    assert_eq!(
        routes(&aws, &deployment).await,
        ["1000 api.example.com /v3 api", "1001 www.example.com web", "1002 /api/* web", "1003 /* web"]
    );
    assert_at_rest(&account, &aws, &deployment).await;
}

#[tokio::test(start_paused = true)]
async fn the_group_of_a_service_that_is_gone_goes_when_nothing_is_registered_in_it() {
    let (account, aws, deployment) = built(GIVEN).await;
    let api = deployment["outputs"]["loadBalancer"]["targetGroups"]["api"].as_str().unwrap();
    let target = TargetDescription::builder().id("10.0.32.10").port(9090).build();
    let call = aws.elb().register_targets().target_group_arn(api).targets(target.clone());
    call.send().await.unwrap();
    let kept: Vec<&str> = GIVEN.lines().filter(|line| !line.contains("api:")).collect();
    let spec = kept.join(
        "
",
    );
    let deployment = next(&deployment, &spec);
    assert_eq!(
        changes(&aws, &deployment).await,
        [
            "delete rule/any-host/api/_",
            "delete rule/api.example.com",
            "delete target-group/api",
            "update rule/any-host/_ priority"
        ]
    );
    until_done(&aws, NAME, "apply", &deployment).await.unwrap();
    let waiting = act(&aws, NAME, "prune", &deployment).await.unwrap_err();
    assert!(waiting.to_string().contains("still registered in it: 10.0.32.10:9090"), "{waiting}");
    assert_eq!(groups(&aws).await.len(), 2);
    aws.elb().deregister_targets().target_group_arn(api).targets(target).send().await.unwrap();
    tokio::time::advance(Duration::from_mins(1)).await;
    assert_eq!(changes(&aws, &deployment).await, ["delete target-group/api"]);
    until_done(&aws, NAME, "prune", &deployment).await.unwrap();
    assert_eq!(groups(&aws).await.len(), 1);
    assert_at_rest(&account, &aws, &deployment).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_gone_from_the_spec_is_removed() {
    let (account, aws, deployment) = built(DOMAIN).await;
    let deployment = next(&deployment, "stack: shop\nservices: { web: { image: web } }");
    let planned = changes(&aws, &deployment).await;
    assert_eq!(
        planned,
        [
            "delete alias-record (shop.example.com)",
            "delete certificate",
            "delete load-balancer",
            "delete target-group/web",
        ]
    );
    let before = inventory(&account);
    assert_eq!(until_done(&aws, NAME, "apply", &deployment).await.unwrap(), json!({ "targetGroups": {} }));
    assert_eq!(inventory(&account), before, "services may stand behind it until the end");
    until_done(&aws, NAME, "prune", &deployment).await.unwrap();
    assert_eq!(inventory(&account), Vec::<String>::new());
    assert_at_rest(&account, &aws, &deployment).await;
}

#[tokio::test(start_paused = true)]
async fn removal_needs_nothing_and_can_be_asked_again() {
    let (account, aws, mut deployment) = built(GIVEN).await;
    deployment["outputs"] = json!({});
    let first = act(&aws, NAME, "delete", &deployment).await.unwrap();
    assert_eq!(first["found"], 3);
    assert_eq!(first["remaining"][0]["resource"], "load-balancer");
    until_done(&aws, NAME, "await-deletion", &deployment).await.unwrap();
    assert_eq!(inventory(&account), Vec::<String>::new());
    let again = act(&aws, NAME, "delete", &deployment).await.unwrap();
    assert_eq!(again, json!({ "found": 0, "remaining": [] }));
    let interfaces = aws.ec2().describe_network_interfaces().send().await.unwrap();
    assert_eq!(interfaces.network_interfaces().len(), 0, "its interfaces are waited for");
    let certificate = aws.acm().describe_certificate().certificate_arn(CERTIFICATE).send().await;
    assert!(certificate.is_ok(), "a given certificate stays");
}

#[tokio::test(start_paused = true)]
async fn a_group_outlives_what_is_registered_in_it() {
    let (_, aws, deployment) = built(GIVEN).await;
    let api = deployment["outputs"]["loadBalancer"]["targetGroups"]["api"].as_str().unwrap();
    let target = TargetDescription::builder().id("10.0.32.10").port(9090).build();
    aws.elb().register_targets().target_group_arn(api).targets(target.clone()).send().await.unwrap();
    act(&aws, NAME, "delete", &deployment).await.unwrap();
    tokio::time::advance(Duration::from_mins(10)).await;
    let removal = act(&aws, NAME, "delete", &deployment).await.unwrap();
    assert_eq!(removal["remaining"][0]["why"], "still registered in it: 10.0.32.10:9090");
    aws.elb().deregister_targets().target_group_arn(api).targets(target).send().await.unwrap();
    until_done(&aws, NAME, "await-deletion", &deployment).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_load_balancer_of_somebody_else_with_our_name_is_left_alone() {
    let (account, aws, deployment) = ground(GIVEN).await;
    let subnets = deployment["outputs"]["network"]["publicSubnets"].as_object().unwrap().values();
    let subnets: Vec<String> = subnets.map(|subnet| subnet.as_str().unwrap().to_owned()).collect();
    let group = deployment["outputs"]["securityGroups"]["loadBalancer"].as_str().unwrap();
    let call =
        aws.elb().create_load_balancer().name("shop").set_subnets(Some(subnets)).security_groups(group);
    call.tags(Tag::builder().key("stackdrop:stack").value("another").build()).send().await.unwrap();
    tokio::time::advance(Duration::from_secs(5)).await;
    assert!(problems(&aws, &deployment).await.contains("is not of this stack"));
    let before = writes(&account).len();
    let refused = act(&aws, NAME, "apply", &deployment).await.unwrap_err();
    assert!(matches!(refused, StepError::NotOwned { .. }), "{refused:?}");
    let removal = act(&aws, NAME, "delete", &deployment).await.unwrap();
    assert_eq!(removal, json!({ "found": 0, "remaining": [] }));
    assert_eq!(writes(&account).len(), before);
}

#[tokio::test(start_paused = true)]
async fn records_rules_and_listeners_of_others_are_left_alone() {
    let (account, aws, deployment) = built(DOMAIN).await;
    // A rule of somebody else, out of our way, stays; one in our way is named.
    let group = deployment["outputs"]["loadBalancer"]["targetGroups"]["web"].as_str().unwrap();
    let listener = https(&aws, &deployment).await;
    let path = PathPatternConditionConfig::builder().values("/theirs").build();
    let condition = RuleCondition::builder().field("path-pattern").path_pattern_config(path).build();
    let forward = Action::builder().r#type(ActionTypeEnum::Forward).target_group_arn(group).build();
    let call = aws.elb().create_rule().listener_arn(&listener).priority(7);
    let call = call.conditions(condition).actions(forward).send().await.unwrap();
    let theirs = call.rules()[0].rule_arn().unwrap().to_owned();
    tokio::time::advance(Duration::from_secs(5)).await;
    assert_at_rest(&account, &aws, &deployment).await;
    let spec = DOMAIN.replace("{ path: /* }", "{ path: /*, priority: 7 }");
    let later = next(&deployment, &spec);
    assert!(problems(&aws, &later).await.contains(&theirs));
    assert!(matches!(act(&aws, NAME, "apply", &later).await, Err(StepError::NotOwned { .. })));

    // Somebody leads the domain elsewhere: that is theirs now.
    let value = ResourceRecord::builder().value("198.51.100.7").build().unwrap();
    let record = ResourceRecordSet::builder().name("shop.example.com").r#type(RrType::A).ttl(60);
    put_record(&aws, record.resource_records(value).build().unwrap()).await;
    assert!(problems(&aws, &deployment).await.contains("shop.example.com"));
    assert!(matches!(act(&aws, NAME, "apply", &deployment).await, Err(StepError::NotOwned { .. })));
    until_done(&aws, NAME, "await-deletion", &deployment).await.unwrap();
    let left = self::record(&aws, "shop.example.com", RrType::A).await.unwrap();
    assert_eq!(left.resource_records()[0].value(), "198.51.100.7");
}

#[tokio::test(start_paused = true)]
async fn a_certificate_or_zone_that_will_not_do_is_found_before_anything_is_made() {
    let account = account();
    let aws = aws(&account);
    let cases = [
        (GIVEN.replace(":eu-central-1:", ":us-east-1:"), "is not of the region eu-central-1"),
        (GIVEN.replace(":123456789012:", ":210987654321:"), "is not of the account 123456789012"),
        (GIVEN.replace("certificate/1", "certificate/2"), "there is no certificate"),
        (
            GIVEN.replace("loadBalancer:", "loadBalancer:\n  domain: shop.example.org"),
            "is not for loadBalancer.domain",
        ),
        (DOMAIN.replace("Z0123456789ABCDEFGHIJ", "Z9"), "there is no Route 53 zone Z9"),
        (DOMAIN.replace("shop.example.com", "shop.example.org"), "does not lie in the zone"),
    ];
    for (spec, why) in cases {
        let deployment = deployment(&spec);
        let found = problems(&aws, &deployment).await;
        assert!(found.contains(why), "{why}: {found}");
        let refused = act(&aws, NAME, "apply", &deployment).await.unwrap_err();
        assert!(matches!(&refused, StepError::InvalidSpec(text) if text.contains(why)), "{refused:?}");
    }
    assert!(writes(&account).is_empty());
    // A wildcard is for one label, and only for names below it.
    let covered = GIVEN.replace("loadBalancer:", "loadBalancer:\n  domain: shop.example.com");
    assert_eq!(problems(&aws, &deployment(&covered)).await, "[]");
}

/// Every writing call of the way up has its answer lost, once: nothing is made twice, and the end is the same.
#[tokio::test(start_paused = true)]
async fn lost_answers_make_no_doubles() {
    let (account, ..) = built(DOMAIN).await;
    let expected = inventory(&account);
    let calls: Vec<String> = account
        .ledger()
        .iter()
        .filter(|call| call.writes && call.service != "ec2")
        .map(stackdrop_simulator::Call::name)
        .collect();
    assert!(calls.len() >= 8, "{calls:?}");
    for call in calls {
        let (service, operation) = call.split_once(':').unwrap();
        let (account, aws, mut deployment) = ground(DOMAIN).await;
        account.arm(Fault::at(service, operation, When::Only(1), FaultKind::LostAfter));
        ensure(&aws, &[NAME], &mut deployment).await;
        until_done(&aws, NAME, "wait-until-stable", &deployment).await.unwrap();
        assert_eq!(inventory(&account), expected, "{call}");
        assert_at_rest(&account, &aws, &deployment).await;
    }
}

#[tokio::test(start_paused = true)]
async fn access_logs_need_a_bucket_and_a_plan_says_so_once_only() {
    let with = |bucket: &str| {
        let logs = format!("loadBalancer:\n  accessLogs: {{ bucket: {bucket} }}");
        GIVEN.replacen("loadBalancer:", &logs, 1)
    };
    let (account, aws, deployment) = built(GIVEN).await;
    let before = writes(&account).len();
    let said = problems(&aws, &next(&deployment, &with("no-such-bucket"))).await;
    assert!(said.contains("there is no bucket no-such-bucket (loadBalancer.accessLogs.bucket)"), "{said}");
    account.seed(&Seed::Bucket { name: "shop-logs".into() });
    let mut deployment = next(&deployment, &with("shop-logs"));
    assert_eq!(problems(&aws, &deployment).await, "[]");
    assert_eq!(writes(&account).len(), before);
    ensure(&aws, &[NAME], &mut deployment).await;
    assert_at_rest(&account, &aws, &deployment).await;
}
