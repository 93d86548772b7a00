//! The security groups: who may reach whom, read from the account; repeats, repairs, removal.
#![expect(clippy::unwrap_used, reason = "what a helper cannot do is a failure of the test that asked for it")]

mod common;

use std::collections::BTreeSet;
use std::time::Duration;

use aws_sdk_ec2::types::{Filter, IpPermission, IpRange, SecurityGroup, Tag, UserIdGroupPair};
use common::{act, aws, deployment, ensure, until_done};
use serde_json::{Value, json};
use stackdrop_functions::Aws;
use stackdrop_functions::aws::error::StepError;
use stackdrop_simulator::{Account, Call};

const NAME: &str = "security-groups";

/// One of everything, so that every group is there.
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
async fn built(spec: &str) -> (Account, Aws, Value) {
    let account = common::account();
    let aws = aws(&account);
    let mut deployment = deployment(spec);
    ensure(&aws, &["network", NAME], &mut deployment).await;
    later().await;
    (account, aws, deployment)
}

/// EC2 shows late what was made: a moment later it does.
async fn later() {
    tokio::time::advance(Duration::from_secs(5)).await;
}

/// The groups of the stack's VPC, the default one aside.
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

/// The writing calls after the first `before` ones, by name.
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
async fn the_architecture_permits_this_and_nothing_else() {
    let (_account, aws, deployment) = built(ALL).await;
    let expected = [
        "shop-load-balancer in tcp 443 198.51.100.0/24",
        "shop-load-balancer in tcp 443 203.0.113.0/24",
        "shop-load-balancer in tcp 80 198.51.100.0/24",
        "shop-load-balancer in tcp 80 203.0.113.0/24",
        "shop-load-balancer out -1 0.0.0.0/0",
        "shop-service in -1 shop-service",
        // Only the port of the service that has routes: nobody outside calls a worker.
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
async fn rules_say_what_they_are_for_and_carry_the_stacks_tags() {
    let (_account, aws, deployment) = built(ALL).await;
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
async fn a_group_is_there_only_with_what_it_is_for() {
    let (_account, aws, deployment) = built("stack: shop\ninstance: {}\ndatabase: {}\n").await;
    let names: BTreeSet<String> = groups(&aws, &deployment)
        .await
        .iter()
        .filter_map(|group| group.group_name().map(str::to_owned))
        .collect();
    assert_eq!(names, ["shop-database", "shop-instance"].map(String::from).into_iter().collect());
    // The database lets services in, of which there are none: so nobody.
    let permitted = permitted(&aws, &deployment).await;
    assert!(!permitted.iter().any(|rule| rule.starts_with("shop-database")), "{permitted:?}");
}

#[tokio::test(start_paused = true)]
async fn a_second_ensure_and_a_plan_find_nothing_to_do() {
    let (account, aws, deployment) = built(ALL).await;
    let before = account.calls();
    let plan = act(&aws, NAME, "plan", &deployment).await.unwrap();
    assert_eq!(plan["changes"], json!([]));
    assert_eq!(account.calls() - before, 2, "reading calls");
    let outputs = act(&aws, NAME, "apply", &deployment).await.unwrap();
    assert_eq!(outputs, deployment["outputs"]["securityGroups"]);
    assert_eq!(writes_since(&account, before), Vec::<String>::new());
    assert_eq!(act(&aws, NAME, "wait-until-stable", &deployment).await.unwrap(), outputs);
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
async fn what_somebody_changed_by_hand_is_planned_and_repaired() {
    let (_account, aws, deployment) = built(ALL).await;
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
async fn changed_ranges_are_added_before_the_old_ones_go() {
    let (account, aws, mut deployment) = built(ALL).await;
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
async fn tasks_on_the_old_port_are_reached_until_the_next_deployment() {
    let (_account, aws, mut deployment) = built(ALL).await;
    let baseline = |deployment: &Value| json!({ "deployment": "first", "version": "1", "spec": deployment["spec"], "outputs": deployment["outputs"] });
    deployment["baseline"] = baseline(&deployment);
    deployment["spec"]["services"]["web"]["port"] = json!(9090);
    until_done(&aws, NAME, "apply", &deployment).await.unwrap();
    let ports = |rules: BTreeSet<String>| -> Vec<String> {
        rules.into_iter().filter(|rule| rule.starts_with("shop-service in tcp")).collect()
    };
    let both = ["shop-service in tcp 8080 shop-load-balancer", "shop-service in tcp 9090 shop-load-balancer"];
    assert_eq!(ports(permitted(&aws, &deployment).await), both);
    // The deployment succeeds, so that its spec is the next one's baseline.
    deployment["baseline"] = baseline(&deployment);
    until_done(&aws, NAME, "apply", &deployment).await.unwrap();
    assert_eq!(ports(permitted(&aws, &deployment).await), [both[1]]);
    assert_eq!(act(&aws, NAME, "plan", &deployment).await.unwrap()["changes"], json!([]));
}

#[tokio::test(start_paused = true)]
async fn new_tags_reach_groups_and_rules() {
    let (_account, aws, mut deployment) = built(ALL).await;
    deployment["spec"]["tags"] = json!({ "team": "shop" });
    assert_eq!(act(&aws, NAME, "plan", &deployment).await.unwrap()["changed"], true);
    until_done(&aws, NAME, "apply", &deployment).await.unwrap();
    later().await;
    assert_eq!(act(&aws, NAME, "plan", &deployment).await.unwrap()["changes"], json!([]));
}

#[tokio::test(start_paused = true)]
async fn a_group_without_a_use_goes_once_nothing_stands_in_it() {
    let (_account, aws, mut deployment) = built(ALL).await;
    let instance = output(&deployment, "instance").to_owned();
    let subnet = deployment["outputs"]["network"]["privateSubnets"]["a"].as_str().unwrap().to_owned();
    let call = aws.ec2().create_network_interface().subnet_id(subnet).groups(&instance);
    let interface = call.send().await.unwrap();
    later().await;
    deployment["spec"]["instance"] = Value::Null;
    let outputs = until_done(&aws, NAME, "apply", &deployment).await.unwrap();
    assert_eq!(outputs["instance"], Value::Null);
    let permitted = permitted(&aws, &deployment).await;
    let stale: Vec<&String> = permitted.iter().filter(|rule| rule.ends_with("shop-instance")).collect();
    assert!(stale.is_empty(), "{stale:?}");
    let plan = act(&aws, NAME, "plan", &deployment).await.unwrap();
    assert_eq!(plan["changes"], json!([{ "verb": "delete", "resource": "instance" }]));

    let id = interface.network_interface().unwrap().network_interface_id().unwrap();
    let held = act(&aws, NAME, "prune", &deployment).await.unwrap_err();
    assert!(held.to_string().contains(id), "{held}");
    aws.ec2().delete_network_interface().network_interface_id(id).send().await.unwrap();
    tokio::time::advance(Duration::from_mins(1)).await;
    until_done(&aws, NAME, "prune", &deployment).await.unwrap();
    later().await;
    assert_eq!(act(&aws, NAME, "plan", &deployment).await.unwrap()["changes"], json!([]));
}

#[tokio::test(start_paused = true)]
async fn a_group_of_somebody_else_with_our_name_stands_in_the_way() {
    let account = common::account();
    let aws = aws(&account);
    let mut deployment = deployment(ALL);
    ensure(&aws, &["network"], &mut deployment).await;
    let vpc = deployment["outputs"]["network"]["vpc"].as_str().unwrap().to_owned();
    let call =
        aws.ec2().create_security_group().group_name("shop-service").description("by hand").vpc_id(vpc);
    let foreign = call.send().await.unwrap().group_id().unwrap().to_owned();
    let error = until_done(&aws, NAME, "apply", &deployment).await.unwrap_err();
    assert!(matches!(&error, StepError::NotOwned { what, .. } if what.contains(&foreign)), "{error}");
    later().await;
    // Now that the other groups are there, a plan sees it too.
    let plan = act(&aws, NAME, "plan", &deployment).await.unwrap();
    assert!(plan["problems"][0]["why"].as_str().unwrap().contains(&foreign), "{plan}");
    // And no removal touches it.
    until_done(&aws, NAME, "await-deletion", &deployment).await.unwrap();
    let left = groups(&aws, &deployment).await;
    assert_eq!(left.iter().filter_map(SecurityGroup::group_id).collect::<Vec<_>>(), [foreign]);
}

#[tokio::test(start_paused = true)]
async fn groups_that_name_each_other_are_all_removed_at_once() {
    let (account, aws, deployment) = built(ALL).await;
    let removal = act(&aws, NAME, "delete", &deployment).await.unwrap();
    assert_eq!(removal, json!({ "found": 5, "remaining": [] }));
    assert!(!account.inventory().iter().any(|item| item.component == NAME));
    let removal = act(&aws, NAME, "delete", &deployment).await.unwrap();
    assert_eq!(removal, json!({ "found": 0, "remaining": [] }));
}

#[tokio::test(start_paused = true)]
async fn whoever_holds_a_group_is_named_and_left_alone() {
    let (_account, aws, deployment) = built(ALL).await;
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

    let removal = act(&aws, NAME, "delete", &deployment).await.unwrap();
    assert_eq!(removal["found"], 5);
    let left = removal["remaining"].as_array().unwrap();
    assert_eq!(left.len(), 2, "{left:?}");
    let why = |id: &str| left.iter().find(|left| left["id"] == id).unwrap()["why"].as_str().unwrap();
    assert!(why(service).contains(&format!("{theirs} (theirs)")), "{}", why(service));
    assert!(why(instance).contains("a hand-made one"), "{}", why(instance));
    let theirs = groups(&aws, &deployment).await.into_iter().find(|group| group.group_id() == Some(&theirs));
    assert_eq!(theirs.unwrap().ip_permissions().len(), 1);
}
