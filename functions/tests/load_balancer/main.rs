//! The load balancer: its configuration in the account, certificates and DNS, the order of routes, retries, repairs,
//! deletion, and resources that the stack does not manage.
#![expect(clippy::unwrap_used, reason = "what a helper cannot do is a failure of the test that asked for it")]
#![allow(
    clippy::large_futures,
    reason = "the driver's futures hold a whole function, and tests have room for it"
)]

#[path = "../common/mod.rs"]
mod common;

mod deletion; // pruning, deletion, and resources that the stack does not manage
mod domain; // requested certificates and their domain's DNS records
mod incidents; // what people and AWS do between deployments
mod manual_changes; // what somebody changes or adds by hand
mod open_zones; // zones that the installation does not open to stacks
mod preflight; // preflight checks of a plan
mod refusals; // calls that AWS refuses for a moment
mod web_acl; // the web ACL that filters the requests

use std::collections::BTreeMap;
use std::time::Duration;

use aws_sdk_elasticloadbalancingv2::types::{
    Action, ActionTypeEnum, FixedResponseActionConfig, Listener, LoadBalancerAttribute, Rule, RuleCondition,
    TargetGroup, TargetTypeEnum,
};
use aws_sdk_route53::types::{Change, ChangeAction, ChangeBatch, ResourceRecordSet, RrType};
use common::{act, apply, aws, deployment, until_done, writes};
use serde_json::{Value, json};
use stackdrop_functions::Aws;
use stackdrop_functions::aws::error::StepError;
use stackdrop_simulator::{Account, Fault, FaultKind, Seed, When};

const NAME: &str = "load-balancer";
const CERTIFICATE: &str =
    "arn:aws:acm:eu-central-1:123456789012:certificate/11111111-2222-3333-4444-555555555555";
const ZONE: &str = "Z0123456789ABCDEFGHIJ";

/// A spec with the user's certificate and two services with routes.
const GIVEN: &str = "
stack: shop
loadBalancer:
  certificateArn: arn:aws:acm:eu-central-1:123456789012:certificate/11111111-2222-3333-4444-555555555555
services:
  web: { image: web, port: 8080, routes: [{ path: /* }] }
  api: { image: api, port: 9090, healthCheck: { path: /health }, routes: [{ path: /api/* }, { host: api.example.com }] }
  mail: { image: mail }
";

/// A spec whose certificate Stackdrop requests.
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

/// An account with the components that the load balancer needs.
async fn prepared(spec: &str) -> (Account, Aws, Value) {
    let account = account();
    let aws = aws(&account);
    let mut deployment = deployment(spec);
    apply(&aws, &["network", "security-groups"], &mut deployment).await;
    (account, aws, deployment)
}

/// An account with the spec's stable load balancer.
async fn deployed(spec: &str) -> (Account, Aws, Value) {
    let (account, aws, mut deployment) = prepared(spec).await;
    apply(&aws, &[NAME], &mut deployment).await;
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

/// The same deployment once all services are stable: requests are sent to new target groups then. In these tests no service
/// has tasks.
fn stable(mut deployment: Value) -> Value {
    deployment["stable"] = json!({ "service": {} });
    deployment
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

/// Asserts that everything is as the spec says: an empty plan, and an `apply` without a writing call.
async fn assert_nothing_to_do(account: &Account, aws: &Aws, deployment: &Value) {
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
async fn the_load_balancer_allows_only_modern_tls_redirects_http_and_drops_bad_headers() {
    let (account, aws, deployment) = deployed(GIVEN).await;
    let outputs = &deployment["outputs"]["loadBalancer"];
    let dns = outputs["dnsName"].as_str().unwrap();
    assert_eq!(outputs["url"], format!("https://{dns}"));
    let listeners = listeners(&aws, &deployment).await;
    assert_eq!(listeners.keys().copied().collect::<Vec<_>>(), [80, 443]);
    let https = &listeners[&443];
    assert_eq!(https.ssl_policy(), Some("ELBSecurityPolicy-TLS13-1-2-Res-PQ-2025-09"));
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
async fn a_plan_of_a_new_load_balancer_creates_everything() {
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
async fn an_unchanged_load_balancer_is_read_in_few_calls_and_not_written() {
    let (account, aws, deployment) = deployed(&GIVEN.replace("host: api.example.com", "path: /v2/*")).await;
    assert_nothing_to_do(&account, &aws, &deployment).await;
    // As the workflow plans: without outputs, with a baseline.
    let spec = GIVEN.replace("host: api.example.com", "path: /v2/*");
    let mut later = next(&deployment, &spec);
    later["outputs"] = json!({});
    let before = account.calls();
    assert_eq!(changes(&aws, &later).await, Vec::<String>::new());
    // Two of these are for the attributes and the targets of the second target group: with one group it is 9.
    assert_eq!(account.calls() - before, 11);
}

#[tokio::test(start_paused = true)]
async fn wait_until_stable_is_pending_until_the_load_balancer_is_active() {
    let (_, aws, mut deployment) = prepared(GIVEN).await;
    apply(&aws, &[NAME], &mut deployment).await;
    assert_eq!(changes(&aws, &deployment).await, ["wait load-balancer"]);
    let waiting = act(&aws, NAME, "wait-until-stable", &deployment).await.unwrap_err();
    assert!(matches!(&waiting, StepError::Pending(text) if text == "load balancer shop to become active"));
    let stable = until_done(&aws, NAME, "wait-until-stable", &deployment).await.unwrap();
    assert_eq!(stable, deployment["outputs"]["loadBalancer"]);
}

#[tokio::test(start_paused = true)]
async fn a_failed_load_balancer_is_unhealthy_and_the_next_deployment_replaces_it() {
    let (account, aws, mut deployment) = prepared(GIVEN).await;
    account.arm(Fault::at(
        "elasticloadbalancing",
        "CreateLoadBalancer",
        When::Only(1),
        FaultKind::ResourceFails,
    ));
    apply(&aws, &[NAME], &mut deployment).await;
    let failed = until_done(&aws, NAME, "wait-until-stable", &deployment).await.unwrap_err();
    assert!(matches!(failed, StepError::Unhealthy { .. }), "{failed:?}");
    deployment["id"] = json!("second");
    assert!(changes(&aws, &deployment).await.contains(&"delete load-balancer".to_owned()));
    apply(&aws, &[NAME], &mut deployment).await;
    until_done(&aws, NAME, "wait-until-stable", &deployment).await.unwrap();
    assert_nothing_to_do(&account, &aws, &deployment).await;
}

#[tokio::test(start_paused = true)]
async fn manual_changes_are_repaired() {
    let (account, aws, deployment) = deployed(GIVEN).await;
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
    let response = FixedResponseActionConfig::builder().status_code("503").build();
    let response =
        Action::builder().r#type(ActionTypeEnum::FixedResponse).fixed_response_config(response).build();
    let call = aws.elb().modify_rule().rule_arn(catch_all.rule_arn().unwrap()).actions(response);
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
    assert_nothing_to_do(&account, &aws, &deployment).await;
    assert_eq!(routes(&aws, &deployment).await[2], "1002 /* web");
}

#[tokio::test(start_paused = true)]
async fn an_update_changes_only_what_the_spec_changes() {
    let (account, aws, deployment) = deployed(GIVEN).await;
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
    assert_nothing_to_do(&account, &aws, &deployment).await;
}

/// Loses the response to each write call once: no duplicate is created, and the result is the same.
#[tokio::test(start_paused = true)]
async fn lost_responses_create_no_duplicates() {
    let (account, ..) = deployed(DOMAIN).await;
    let expected = inventory(&account);
    let calls: Vec<String> = account
        .call_log()
        .iter()
        .filter(|call| call.writes && call.service != "ec2")
        .map(stackdrop_simulator::Call::name)
        .collect();
    assert!(calls.len() >= 8, "{calls:?}");
    for call in calls {
        let (service, operation) = call.split_once(':').unwrap();
        let (account, aws, mut deployment) = prepared(DOMAIN).await;
        account.arm(Fault::at(service, operation, When::Only(1), FaultKind::LostAfter));
        apply(&aws, &[NAME], &mut deployment).await;
        until_done(&aws, NAME, "wait-until-stable", &deployment).await.unwrap();
        assert_eq!(inventory(&account), expected, "{call}");
        assert_nothing_to_do(&account, &aws, &deployment).await;
    }
}

#[tokio::test(start_paused = true)]
async fn more_specific_routes_have_higher_priority() {
    let (_, aws, deployment) = deployed(GIVEN).await;
    assert_eq!(
        routes(&aws, &deployment).await,
        ["1000 api.example.com api", "1001 /api/* api", "1002 /* web"]
    );
}

#[tokio::test(start_paused = true)]
async fn routes_are_reordered_at_once_and_no_request_is_misrouted() {
    let (account, aws, deployment) = deployed(GIVEN).await;
    // A new most specific route moves all others, one route is deleted, one gets another service.
    let spec = GIVEN
        .replace("{ host: api.example.com }", "{ host: api.example.com, path: /v3 }")
        .replace(
            "routes: [{ path: /* }]",
            "routes: [{ path: /* }, { path: /api/* }, { host: www.example.com }]",
        )
        .replace("{ path: /api/* }, { host: api.example.com", "{ host: api.example.com");
    let mut deployment = stable(next(&deployment, &spec));
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
    assert_nothing_to_do(&account, &aws, &deployment).await;
}
