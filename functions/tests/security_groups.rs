//! The security groups: the allowed connections in the account, retries, repairs and deletion.
#![expect(clippy::unwrap_used, reason = "what a helper cannot do is a failure of the test that asked for it")]

mod common;

use std::collections::BTreeSet;
use std::time::Duration;

use aws_sdk_ec2::types::{Filter, IpPermission, IpRange, Ipv6Range, SecurityGroup, Tag, UserIdGroupPair};
use common::{act, apply, aws, deployment, until_done};
use serde_json::{Value, json};
use stackdrop_functions::Aws;
use stackdrop_functions::aws::error::StepError;
use stackdrop_simulator::{Account, Call};

const NAME: &str = "security-groups";

/// A spec that needs every group.
const ALL: &str = "
stack: shop
network: { nat: none }
loadBalancer:
  domain: shop.example.com
  hostedZoneId: Z0123456789ABCDEFGHIJ
  allowedCidrs: [198.51.100.0/24, 203.0.113.0/24]
services:
  web: { image: 123456789012.dkr.ecr.eu-central-1.amazonaws.com/web, port: 8080, routes: [{ path: /* }] }
  worker: { image: 123456789012.dkr.ecr.eu-central-1.amazonaws.com/worker, port: 9000 }
instance: {}
database: { allow: [services, instance] }
";

/// An account with the spec's network and security groups.
async fn deployed(spec: &str) -> (Account, Aws, Value) {
    let account = common::account();
    let aws = aws(&account);
    let mut deployment = deployment(spec);
    apply(&aws, &["network", NAME], &mut deployment).await;
    later().await;
    (account, aws, deployment)
}

/// Waits until EC2 shows new resources.
async fn later() {
    tokio::time::advance(Duration::from_secs(5)).await;
}

/// The groups of the stack's VPC, without the default group.
async fn groups(aws: &Aws, deployment: &Value) -> Vec<SecurityGroup> {
    later().await;
    let vpc = deployment["outputs"]["network"]["vpc"].as_str().unwrap();
    let filter = Filter::builder().name("vpc-id").values(vpc).build();
    let found = aws.ec2().describe_security_groups().filters(filter).send().await.unwrap();
    let groups = found.security_groups().iter().filter(|group| group.group_name() != Some("default"));
    groups.cloned().collect()
}

/// Every permission as `group in tcp 443 peer`, by the groups' names.
async fn permitted(aws: &Aws, deployment: &Value) -> BTreeSet<String> {
    let groups = groups(aws, deployment).await;
    let name = |id: &str| {
        let group = groups.iter().find(|group| group.group_id() == Some(id));
        group.and_then(SecurityGroup::group_name).unwrap_or(id).to_owned()
    };
    let mut all = BTreeSet::new();
    for group in &groups {
        let sides = [("in", group.ip_permissions()), ("out", group.ip_permissions_egress())];
        for (way, permissions) in sides {
            for permission in permissions {
                let ports = match (permission.from_port(), permission.to_port()) {
                    (Some(from), Some(to)) if from == to => format!(" {from}"),
                    (Some(from), Some(to)) => format!(" {from}-{to}"),
                    _ => String::new(),
                };
                let ranges = permission.ip_ranges().iter().map(|range| range.cidr_ip().unwrap().to_owned());
                let pairs =
                    permission.user_id_group_pairs().iter().map(|pair| name(pair.group_id().unwrap()));
                for peer in ranges.chain(pairs) {
                    let protocol = permission.ip_protocol().unwrap();
                    all.insert(format!("{} {way} {protocol}{ports} {peer}", group.group_name().unwrap()));
                }
                assert!(permission.ipv6_ranges().is_empty() && permission.prefix_list_ids().is_empty());
            }
        }
    }
    all
}

/// The names of the write calls after the first `before` calls.
fn writes_since(account: &Account, before: usize) -> Vec<String> {
    account.call_log().iter().skip(before).filter(|call| call.writes).map(Call::name).collect()
}

fn output<'d>(deployment: &'d Value, group: &str) -> &'d str {
    deployment["outputs"]["securityGroups"][group].as_str().unwrap()
}

fn https_from(range: &str) -> IpPermission {
    let range = IpRange::builder().cidr_ip(range).build();
    IpPermission::builder().ip_protocol("tcp").from_port(443).to_port(443).ip_ranges(range).build()
}

#[tokio::test(start_paused = true)]
async fn the_security_groups_allow_exactly_these_connections() {
    let (_account, aws, deployment) = deployed(ALL).await;
    let expected = [
        "shop-load-balancer in tcp 443 198.51.100.0/24",
        "shop-load-balancer in tcp 443 203.0.113.0/24",
        "shop-load-balancer in tcp 80 198.51.100.0/24",
        "shop-load-balancer in tcp 80 203.0.113.0/24",
        "shop-load-balancer out -1 0.0.0.0/0",
        "shop-service in -1 shop-service",
        // Only the port of the service with routes: workers have no inbound connections.
        "shop-service in tcp 8080 shop-load-balancer",
        "shop-service out -1 0.0.0.0/0",
        "shop-instance in tcp 443 10.0.0.0/16",
        "shop-instance out -1 0.0.0.0/0",
        "shop-endpoints in tcp 443 shop-instance",
        "shop-endpoints in tcp 443 shop-service",
        "shop-database in tcp 5432 shop-instance",
        "shop-database in tcp 5432 shop-service",
    ];
    assert_eq!(permitted(&aws, &deployment).await, expected.map(String::from).into_iter().collect());
}

#[tokio::test(start_paused = true)]
async fn rules_have_descriptions_and_the_stacks_tags() {
    let (_account, aws, deployment) = deployed(ALL).await;
    let id = output(&deployment, "database");
    let filter = Filter::builder().name("group-id").values(id).build();
    let found = aws.ec2().describe_security_group_rules().filters(filter).send().await.unwrap();
    assert_eq!(found.security_group_rules().len(), 2);
    for rule in found.security_group_rules() {
        assert_eq!(rule.description(), Some("PostgreSQL"));
        let tag = |key| rule.tags().iter().find(|tag| tag.key() == Some(key)).and_then(Tag::value);
        assert_eq!(tag("stackdrop:stack"), Some("shop"));
        assert_eq!(tag("stackdrop:logical-id"), Some("database/rules"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_group_exists_only_if_the_spec_has_its_user() {
    let (_account, aws, deployment) = deployed("stack: shop\ninstance: {}\ndatabase: {}\n").await;
    let names: BTreeSet<String> = groups(&aws, &deployment)
        .await
        .iter()
        .filter_map(|group| group.group_name().map(str::to_owned))
        .collect();
    assert_eq!(names, ["shop-database", "shop-instance"].map(String::from).into_iter().collect());
    // The database allows services, but the spec has none.
    let permitted = permitted(&aws, &deployment).await;
    assert!(!permitted.iter().any(|rule| rule.starts_with("shop-database")), "{permitted:?}");
}

#[tokio::test(start_paused = true)]
async fn a_second_apply_and_a_plan_find_nothing_to_do() {
    let (account, aws, deployment) = deployed(ALL).await;
    let before = account.calls();
    let plan = act(&aws, NAME, "plan", &deployment).await.unwrap();
    assert_eq!(plan["changes"], json!([]));
    assert_eq!(account.calls() - before, 2, "reading calls");
    let outputs = act(&aws, NAME, "apply", &deployment).await.unwrap();
    assert_eq!(outputs, deployment["outputs"]["securityGroups"]);
    assert_eq!(writes_since(&account, before), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_plan_of_a_new_stack_creates_every_group() {
    let account = common::account();
    let plan = act(&aws(&account), NAME, "plan", &deployment(ALL)).await.unwrap();
    let roles: Vec<&str> = plan["changes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|change| change["resource"].as_str().unwrap())
        .collect();
    assert_eq!(roles, ["load-balancer", "service", "instance", "endpoints", "database"]);
    assert_eq!(plan["problems"], json!([]));
}

#[tokio::test(start_paused = true)]
async fn manual_changes_are_planned_and_repaired() {
    let (_account, aws, deployment) = deployed(ALL).await;
    let before = permitted(&aws, &deployment).await;
    let (balancer, database) = (output(&deployment, "loadBalancer"), output(&deployment, "database"));
    let opened = https_from("192.0.2.0/24");
    let call = aws.ec2().authorize_security_group_ingress().group_id(balancer).ip_permissions(opened);
    call.send().await.unwrap();
    let service = UserIdGroupPair::builder().group_id(output(&deployment, "service")).build();
    let closed = IpPermission::builder().ip_protocol("tcp").from_port(5432).to_port(5432);
    let closed = closed.user_id_group_pairs(service).build();
    let call = aws.ec2().revoke_security_group_ingress().group_id(database).ip_permissions(closed);
    call.send().await.unwrap();
    later().await;

    let plan = act(&aws, NAME, "plan", &deployment).await.unwrap();
    let expected = json!([
        { "verb": "update", "resource": "load-balancer",
          "fields": [{ "field": "in tcp 443 from 192.0.2.0/24", "from": "allowed", "to": "(none)" }] },
        { "verb": "update", "resource": "database",
          "fields": [{ "field": "in tcp 5432 from service", "from": "(none)", "to": "allowed" }] },
    ]);
    assert_eq!(plan["changes"], expected);
    until_done(&aws, NAME, "apply", &deployment).await.unwrap();
    assert_eq!(permitted(&aws, &deployment).await, before);
}

#[tokio::test(start_paused = true)]
async fn rules_of_every_kind_that_somebody_added_are_revoked() {
    let (_account, aws, deployment) = deployed(ALL).await;
    let before = permitted(&aws, &deployment).await;
    let database = output(&deployment, "database");
    let tcp = |first, last| IpPermission::builder().ip_protocol("tcp").from_port(first).to_port(last);
    let anyone = || IpRange::builder().cidr_ip("0.0.0.0/0").build();
    let everyone = Ipv6Range::builder().cidr_ipv6("::/0").build();
    for (rule, is_out, shown) in [
        (tcp(1024, 65_535).ip_ranges(anyone()), false, "in tcp 1024-65535 from 0.0.0.0/0"),
        (tcp(5432, 5432).ipv6_ranges(everyone), false, "in tcp 5432 from ::/0"),
        (tcp(443, 443).ip_ranges(anyone()), true, "out tcp 443 to 0.0.0.0/0"),
    ] {
        if is_out {
            let call = aws.ec2().authorize_security_group_egress().group_id(database);
            call.ip_permissions(rule.build()).send().await.unwrap();
        } else {
            let call = aws.ec2().authorize_security_group_ingress().group_id(database);
            call.ip_permissions(rule.build()).send().await.unwrap();
        }
        later().await;
        let plan = act(&aws, NAME, "plan", &deployment).await.unwrap();
        let fields = json!([{ "field": shown, "from": "allowed", "to": "(none)" }]);
        let expected = json!([{ "verb": "update", "resource": "database", "fields": fields }]);
        assert_eq!(plan["changes"], expected);
        until_done(&aws, NAME, "apply", &deployment).await.unwrap();
        assert_eq!(permitted(&aws, &deployment).await, before, "{shown}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_group_with_the_same_name_in_another_vpc_is_left_alone() {
    let (_account, aws, deployment) = deployed(ALL).await;
    let vpc = aws.ec2().create_vpc().cidr_block("10.77.0.0/16").send().await.unwrap();
    let vpc = vpc.vpc().unwrap().vpc_id().unwrap().to_owned();
    tokio::time::advance(Duration::from_secs(30)).await;
    let call = aws.ec2().create_security_group().group_name("shop-service").description("theirs");
    let theirs = call.vpc_id(vpc).send().await.unwrap().group_id().unwrap().to_owned();
    later().await;
    let plan = act(&aws, NAME, "plan", &deployment).await.unwrap();
    assert_eq!((&plan["changes"], &plan["problems"]), (&json!([]), &json!([])));
    let outputs = until_done(&aws, NAME, "apply", &deployment).await.unwrap();
    assert_eq!(outputs, deployment["outputs"]["securityGroups"]);
    until_done(&aws, NAME, "await-deletion", &deployment).await.unwrap();
    let found = aws.ec2().describe_security_groups().group_ids(theirs).send().await.unwrap();
    assert_eq!(found.security_groups().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn new_ranges_are_added_before_old_ones_are_revoked() {
    let (account, aws, mut deployment) = deployed(ALL).await;
    deployment["spec"]["loadBalancer"]["allowedCidrs"] = json!(["198.51.100.0/24", "192.0.2.0/24"]);
    deployment["spec"]["loadBalancer"]["redirectHttp"] = json!(false);
    let before = account.calls();
    until_done(&aws, NAME, "apply", &deployment).await.unwrap();
    let calls = writes_since(&account, before);
    assert_eq!(calls, ["ec2:AuthorizeSecurityGroupIngress", "ec2:RevokeSecurityGroupIngress"]);
    let permitted = permitted(&aws, &deployment).await;
    let balancer: Vec<&String> =
        permitted.iter().filter(|rule| rule.starts_with("shop-load-balancer in")).collect();
    assert_eq!(
        balancer,
        ["shop-load-balancer in tcp 443 192.0.2.0/24", "shop-load-balancer in tcp 443 198.51.100.0/24"]
    );
}

#[tokio::test(start_paused = true)]
async fn the_old_port_stays_open_until_the_next_deployment() {
    let (_account, aws, mut deployment) = deployed(ALL).await;
    let baseline = |deployment: &Value| json!({ "deployment": "first", "version": "1", "spec": deployment["spec"], "outputs": deployment["outputs"] });
    deployment["baseline"] = baseline(&deployment);
    deployment["spec"]["services"]["web"]["port"] = json!(9090);
    until_done(&aws, NAME, "apply", &deployment).await.unwrap();
    let ports = |rules: BTreeSet<String>| -> Vec<String> {
        rules.into_iter().filter(|rule| rule.starts_with("shop-service in tcp")).collect()
    };
    let both = ["shop-service in tcp 8080 shop-load-balancer", "shop-service in tcp 9090 shop-load-balancer"];
    assert_eq!(ports(permitted(&aws, &deployment).await), both);
    // The deployment succeeds: its spec is the next one's baseline.
    deployment["baseline"] = baseline(&deployment);
    until_done(&aws, NAME, "apply", &deployment).await.unwrap();
    assert_eq!(ports(permitted(&aws, &deployment).await), [both[1]]);
    assert_eq!(act(&aws, NAME, "plan", &deployment).await.unwrap()["changes"], json!([]));
}

#[tokio::test(start_paused = true)]
async fn new_tags_reach_groups_and_rules() {
    let (_account, aws, mut deployment) = deployed(ALL).await;
    deployment["spec"]["tags"] = json!({ "team": "shop" });
    assert_ne!(act(&aws, NAME, "plan", &deployment).await.unwrap()["changes"], json!([]));
    until_done(&aws, NAME, "apply", &deployment).await.unwrap();
    later().await;
    assert_eq!(act(&aws, NAME, "plan", &deployment).await.unwrap()["changes"], json!([]));
}

#[tokio::test(start_paused = true)]
async fn an_unused_group_is_pruned_once_nothing_uses_it() {
    let (_account, aws, mut deployment) = deployed(ALL).await;
    let instance = output(&deployment, "instance").to_owned();
    let subnet = deployment["outputs"]["network"]["privateSubnets"]["a"].as_str().unwrap().to_owned();
    let call = aws.ec2().create_network_interface().subnet_id(subnet).groups(&instance);
    let interface = call.send().await.unwrap();
    later().await;
    deployment["spec"]["instance"] = Value::Null;
    let outputs = until_done(&aws, NAME, "apply", &deployment).await.unwrap();
    assert_eq!(outputs["instance"], Value::Null);
    let stale = async || {
        let mut permitted = permitted(&aws, &deployment).await;
        permitted.retain(|rule| rule.ends_with("shop-instance"));
        permitted
    };
    assert_eq!(stale().await.len(), 2, "the rules for the instance stay until nothing uses the group");
    let plan = act(&aws, NAME, "plan", &deployment).await.unwrap();
    let planned = plan["changes"].as_array().unwrap();
    assert!(planned.contains(&json!({ "verb": "delete", "resource": "instance" })), "{planned:?}");
    assert_eq!(planned.len(), 3, "the group and both rules: {planned:?}");

    let id = interface.network_interface().unwrap().network_interface_id().unwrap();
    let in_use = act(&aws, NAME, "prune", &deployment).await.unwrap_err();
    assert!(in_use.to_string().contains(id), "{in_use}");
    assert!(stale().await.is_empty());
    aws.ec2().delete_network_interface().network_interface_id(id).send().await.unwrap();
    tokio::time::advance(Duration::from_mins(1)).await;
    until_done(&aws, NAME, "prune", &deployment).await.unwrap();
    later().await;
    assert_eq!(act(&aws, NAME, "plan", &deployment).await.unwrap()["changes"], json!([]));
}

#[tokio::test(start_paused = true)]
async fn a_group_that_the_stack_does_not_manage_is_rejected() {
    let account = common::account();
    let aws = aws(&account);
    let mut deployment = deployment(ALL);
    apply(&aws, &["network"], &mut deployment).await;
    let vpc = deployment["outputs"]["network"]["vpc"].as_str().unwrap().to_owned();
    let call =
        aws.ec2().create_security_group().group_name("shop-service").description("by hand").vpc_id(vpc);
    let foreign = call.send().await.unwrap().group_id().unwrap().to_owned();
    let error = until_done(&aws, NAME, "apply", &deployment).await.unwrap_err();
    assert!(matches!(&error, StepError::NotOwned { what, .. } if what.contains(&foreign)), "{error}");
    later().await;
    // Now that the other groups exist, a plan reports it too.
    let plan = act(&aws, NAME, "plan", &deployment).await.unwrap();
    assert!(plan["problems"][0]["why"].as_str().unwrap().contains(&foreign), "{plan}");
    // A deletion leaves it alone.
    until_done(&aws, NAME, "await-deletion", &deployment).await.unwrap();
    let remaining = groups(&aws, &deployment).await;
    assert_eq!(remaining.iter().filter_map(SecurityGroup::group_id).collect::<Vec<_>>(), [foreign]);
}

#[tokio::test(start_paused = true)]
async fn groups_that_refer_to_each_other_are_deleted_together() {
    let (account, aws, deployment) = deployed(ALL).await;
    let deletion = act(&aws, NAME, "delete", &deployment).await.unwrap();
    assert_eq!(deletion, json!({ "found": 5, "remaining": [] }));
    assert!(!account.inventory().iter().any(|item| item.component == NAME));
    let deletion = act(&aws, NAME, "delete", &deployment).await.unwrap();
    assert_eq!(deletion, json!({ "found": 0, "remaining": [] }));
}

#[tokio::test(start_paused = true)]
async fn dependents_of_a_group_are_named_and_left_alone() {
    let (_account, aws, deployment) = deployed(ALL).await;
    let (service, instance) = (output(&deployment, "service"), output(&deployment, "instance"));
    let vpc = deployment["outputs"]["network"]["vpc"].as_str().unwrap();
    let call = aws.ec2().create_security_group().group_name("theirs").description("by hand").vpc_id(vpc);
    let theirs = call.send().await.unwrap().group_id().unwrap().to_owned();
    later().await;
    let pair = UserIdGroupPair::builder().group_id(service).build();
    let rule = IpPermission::builder().ip_protocol("-1").user_id_group_pairs(pair).build();
    let call = aws.ec2().authorize_security_group_ingress().group_id(&theirs).ip_permissions(rule);
    call.send().await.unwrap();
    let subnet = deployment["outputs"]["network"]["privateSubnets"]["a"].as_str().unwrap();
    let call = aws
        .ec2()
        .create_network_interface()
        .subnet_id(subnet)
        .groups(instance)
        .description("a hand-made one");
    call.send().await.unwrap();
    later().await;

    let deletion = act(&aws, NAME, "delete", &deployment).await.unwrap();
    assert_eq!(deletion["found"], 5);
    let remaining = deletion["remaining"].as_array().unwrap();
    assert_eq!(remaining.len(), 2, "{remaining:?}");
    let why =
        |id: &str| remaining.iter().find(|remaining| remaining["id"] == id).unwrap()["why"].as_str().unwrap();
    assert!(why(service).contains(&format!("{theirs} (theirs)")), "{}", why(service));
    assert!(why(instance).contains("a hand-made one"), "{}", why(instance));
    let theirs = groups(&aws, &deployment).await.into_iter().find(|group| group.group_id() == Some(&theirs));
    assert_eq!(theirs.unwrap().ip_permissions().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_outbound_rule_of_others_that_refers_to_a_group_is_named() {
    let (_account, aws, deployment) = deployed(ALL).await;
    let vpc = deployment["outputs"]["network"]["vpc"].as_str().unwrap();
    let call = aws.ec2().create_security_group().group_name("theirs").description("by hand").vpc_id(vpc);
    let theirs = call.send().await.unwrap().group_id().unwrap().to_owned();
    later().await;
    let pair = UserIdGroupPair::builder().group_id(output(&deployment, "database")).build();
    let rule = IpPermission::builder().ip_protocol("tcp").from_port(5432).to_port(5432);
    let rule = rule.user_id_group_pairs(pair).build();
    let call = aws.ec2().authorize_security_group_egress().group_id(&theirs).ip_permissions(rule);
    call.send().await.unwrap();
    later().await;
    let deletion = act(&aws, NAME, "delete", &deployment).await.unwrap();
    let remaining = deletion["remaining"].as_array().unwrap();
    assert_eq!(remaining.len(), 1, "{remaining:?}");
    assert!(remaining[0]["why"].as_str().unwrap().contains(&format!("{theirs} (theirs)")), "{remaining:?}");
}
