//! The access requests of Elastic Load Balancing's calls, and the refusal of denied ones.

use aws_sdk_elasticloadbalancingv2::types::{ProtocolEnum, RulePriorityPair};
use serde_json::json;

use crate::common::{acting, allow, asked};
use crate::site::{Network, answer, code, message, path, seconds, tag};

const ARNS: &str = "arn:aws:elasticloadbalancing:eu-central-1:123456789012";

#[tokio::test(start_paused = true)]
async fn a_load_balancer_needs_permission_for_its_tags_its_linked_role_and_the_network() {
    let network = Network::new().await;
    allow(&network.account, &json!([{ "Effect": "Allow", "Action": "*", "Resource": "*" }]));
    let create = |name: &str| {
        let call = network.elb.create_load_balancer().name(name).security_groups(&network.front);
        call.set_subnets(Some(network.public.to_vec())).tags(tag("team", "shop"))
    };
    let looks = ["AccountAttributes", "Addresses", "InternetGateways", "SecurityGroups", "Subnets", "Vpcs"];
    let mut expected = looks.map(|what| format!("ec2:Describe{what}")).to_vec();
    expected.push("elasticloadbalancing:AddTags loadbalancer/app".into());
    expected.push("elasticloadbalancing:CreateLoadBalancer loadbalancer/app".into());
    let first = asked(&network.account, create("shop").send()).await;
    let role = "iam:CreateServiceLinkedRole role".to_owned();
    assert_eq!(first, [&expected[..], &[role]].concat());
    // The linked role exists by now.
    assert_eq!(asked(&network.account, create("other").send()).await, expected);
    let decisions = network.account.decisions();
    assert!(decisions.iter().any(|one| one.request.resource == format!("{ARNS}:loadbalancer/app/shop/*")));
}

#[tokio::test(start_paused = true)]
async fn a_nested_creation_needs_permission_on_its_parent_and_its_tags() {
    let network = Network::new().await;
    allow(&network.account, &json!([{ "Effect": "Allow", "Action": "*", "Resource": "*" }]));
    let owner = network.load_balancer("shop").await;
    let call = network.elb.create_listener().load_balancer_arn(&owner).protocol(ProtocolEnum::Http).port(80);
    let call = call.default_actions(answer("404")).tags(tag("team", "shop"));
    assert_eq!(
        asked(&network.account, call.send()).await,
        ["elasticloadbalancing:AddTags listener/app", "elasticloadbalancing:CreateListener loadbalancer/app"]
    );
    seconds(1.0).await;
    let found = network.elb.describe_listeners().load_balancer_arn(&owner).send().await.unwrap();
    let listener = found.listeners()[0].listener_arn().unwrap();
    let call = network.elb.create_rule().listener_arn(listener).priority(10).conditions(path("/a"));
    let call = call.actions(answer("404")).tags(tag("team", "shop"));
    assert_eq!(
        asked(&network.account, call.send()).await,
        ["elasticloadbalancing:AddTags listener-rule/app", "elasticloadbalancing:CreateRule listener/app"]
    );
    let end = listener.split(":listener/").last().unwrap();
    let decisions = network.account.decisions();
    for resource in [owner.clone(), listener.to_owned(), format!("{ARNS}:listener-rule/{end}/*")] {
        assert!(decisions.iter().any(|one| one.request.resource == resource), "{resource}");
    }
    seconds(1.0).await;
    let found = network.elb.describe_rules().listener_arn(listener).send().await.unwrap();
    let rule = found.rules()[0].rule_arn().unwrap();
    let pair = RulePriorityPair::builder().rule_arn(rule).priority(20).build();
    assert_eq!(
        asked(&network.account, network.elb.set_rule_priorities().rule_priorities(pair).send()).await,
        ["elasticloadbalancing:SetRulePriorities listener-rule/app"]
    );
    let call = network.elb.add_tags().resource_arns(&owner).resource_arns(rule).tags(tag("team", "shop"));
    assert_eq!(
        asked(&network.account, call.send()).await,
        ["elasticloadbalancing:AddTags listener-rule/app", "elasticloadbalancing:AddTags loadbalancer/app"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_role_limited_by_a_tag_is_denied_on_other_resources() {
    let network = Network::new().await;
    let group = network.target_group("shop").await;
    allow(
        &network.account,
        &json!([{ "Effect": "Allow", "Action": "elasticloadbalancing:*", "Resource": "*",
            "Condition": { "StringEquals": { "elasticloadbalancing:ResourceTag/team": "shop" } } }]),
    );
    let delete = || network.elb.delete_target_group().target_group_arn(&group).send();
    assert_eq!(code(acting(delete()).await), "AccessDenied");
    let claim = network.elb.add_tags().resource_arns(&group).tags(tag("team", "shop"));
    assert_eq!(code(acting(claim.send()).await), "AccessDenied");
    network.elb.add_tags().resource_arns(&group).tags(tag("team", "shop")).send().await.unwrap();
    acting(delete()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn tags_in_a_create_need_a_permission_of_their_own() {
    let network = Network::new().await;
    let create = || {
        let call = network.elb.create_target_group().name("shop").protocol(ProtocolEnum::Http).port(8080);
        call.vpc_id(&network.vpc).tags(tag("team", "shop")).send()
    };
    let creates = json!({ "Effect": "Allow", "Resource": "*",
        "Action": ["elasticloadbalancing:CreateTargetGroup", "ec2:Describe*"] });
    allow(&network.account, &json!([creates]));
    let denied = message(acting(create()).await);
    let expected = format!("elasticloadbalancing:AddTags on resource: {ARNS}:targetgroup/shop/*");
    assert!(denied.contains(&expected), "{denied}");
    let tags = json!({ "Effect": "Allow", "Action": "elasticloadbalancing:AddTags", "Resource": "*",
        "Condition": { "StringEquals": { "elasticloadbalancing:CreateAction": "CreateTargetGroup" } } });
    allow(&network.account, &json!([creates, tags]));
    acting(create()).await.unwrap();
}
