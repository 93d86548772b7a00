//! Security groups and their rules.

use aws_sdk_ec2::types::{
    IpPermission, IpRange, Ipv6Range, ResourceType, SecurityGroupRuleRequest, SecurityGroupRuleUpdate,
    UserIdGroupPair,
};
use stackdrop_simulator::Source;

use crate::site::{Site, code, filter, group, interface, refusal, tags, tcp, tcp_of, vpc, wait};

#[tokio::test(start_paused = true)]
async fn a_new_group_allows_all_egress_and_no_ingress() {
    let site = Site::open().await;
    let id = group(&site.ec2, &site.vpc, "shop").await;
    let described = site.ec2.describe_security_groups().group_ids(&id).send().await.unwrap();
    let described = &described.security_groups()[0];
    assert!(described.ip_permissions().is_empty());
    let egress = &described.ip_permissions_egress()[0];
    assert_eq!((egress.ip_protocol(), egress.from_port()), (Some("-1"), None));
    assert_eq!(egress.ip_ranges()[0].cidr_ip(), Some("0.0.0.0/0"));
    let rules =
        site.ec2.describe_security_group_rules().filters(filter("group-id", &id)).send().await.unwrap();
    let rule = &rules.security_group_rules()[0];
    assert_eq!((rule.is_egress(), rule.from_port(), rule.to_port()), (Some(true), Some(-1), Some(-1)));
}

#[tokio::test(start_paused = true)]
async fn a_fresh_group_is_not_known_at_once() {
    let site = Site::open().await;
    let call = site.ec2.create_security_group().vpc_id(&site.vpc).group_name("a").description("a");
    let id = call.send().await.unwrap().group_id.unwrap();
    let authorize = || {
        site.ec2.authorize_security_group_ingress().group_id(&id).ip_permissions(tcp(443, "0.0.0.0/0")).send()
    };
    assert_eq!(code(authorize().await), "InvalidGroup.NotFound");
    wait(0.5).await;
    authorize().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn group_names_are_unique_in_a_vpc_and_plain() {
    let site = Site::open().await;
    group(&site.ec2, &site.vpc, "shop").await;
    let create = |vpc: &str, name: &str| {
        site.ec2.create_security_group().vpc_id(vpc).group_name(name).description("d").send()
    };
    let (refused, message) = refusal(create(&site.vpc, "shop").await);
    assert_eq!(refused, "InvalidGroup.Duplicate");
    assert_eq!(message, format!("The security group 'shop' already exists for VPC '{}'", site.vpc));
    assert_eq!(code(create(&site.vpc, "Shop ").await), "InvalidGroup.Duplicate", "they differ in case only");
    assert_eq!(code(create(&site.vpc, &"a".repeat(256)).await), "InvalidParameterValue");
    assert_eq!(code(create(&site.vpc, "Default").await), "InvalidParameterValue");
    assert_eq!(code(create(&site.vpc, "sg-shop").await), "InvalidParameterValue");
    assert_eq!(code(create(&site.vpc, "Müller").await), "InvalidParameterValue");
    let no_vpc = site.ec2.create_security_group().group_name("x").description("d").send().await;
    assert_eq!(code(no_vpc), "VPCIdNotSpecified");
    let odd = site.ec2.create_security_group().vpc_id(&site.vpc).group_name("x").description("a → b").send();
    assert_eq!(code(odd.await), "InvalidParameterValue");
    let other = vpc(&site.ec2, "10.1.0.0/16").await;
    create(&other, "shop").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn rules_are_single_merge_in_permissions_and_carry_tags() {
    let site = Site::open().await;
    let (own, other) = (group(&site.ec2, &site.vpc, "a").await, group(&site.ec2, &site.vpc, "b").await);
    let answer = site
        .ec2
        .authorize_security_group_ingress()
        .group_id(&own)
        .ip_permissions(tcp(443, "10.0.0.0/16"))
        .ip_permissions(tcp_of(443, &other))
        .tag_specifications(tags(ResourceType::SecurityGroupRule, &[("role", "in")]))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.security_group_rules().len(), 2);
    assert_eq!(
        answer.security_group_rules()[1].referenced_group_info().unwrap().group_id(),
        Some(other.as_str())
    );
    wait(1.0).await;
    let described = site.ec2.describe_security_groups().group_ids(&own).send().await.unwrap();
    let permissions = described.security_groups()[0].ip_permissions();
    assert_eq!(permissions.len(), 1);
    assert_eq!((permissions[0].ip_ranges().len(), permissions[0].user_id_group_pairs().len()), (1, 1));
    let tagged =
        site.ec2.describe_security_group_rules().filters(filter("tag:role", "in")).send().await.unwrap();
    assert_eq!(tagged.security_group_rules().len(), 2);
    let seen = site.account.security_groups().into_iter().find(|group| group.id == own).unwrap();
    assert_eq!(seen.ingress[1].source, Source::Group(other));
}

#[tokio::test(start_paused = true)]
async fn invalid_rules_are_refused() {
    let site = Site::open().await;
    let own = group(&site.ec2, &site.vpc, "a").await;
    let authorize = |rule: IpPermission| {
        site.ec2.authorize_security_group_ingress().group_id(&own).ip_permissions(rule).send()
    };
    authorize(tcp(443, "0.0.0.0/0")).await.unwrap();
    let (refused, message) = refusal(authorize(tcp(443, "0.0.0.0/0")).await);
    assert_eq!(refused, "InvalidPermission.Duplicate");
    assert_eq!(
        message,
        "the specified rule \"peer: 0.0.0.0/0, TCP, from port: 443, to port: 443, ALLOW\" already exists"
    );
    let range = || IpRange::builder().cidr_ip("0.0.0.0/0").build();
    let odd = IpRange::builder().cidr_ip("10.0.0.0/8").description("a → b").build();
    let six = |cidr: &str| Ipv6Range::builder().cidr_ipv6(cidr).build();
    let permission = || IpPermission::builder().ip_ranges(range());
    for (rule, expected) in [
        (tcp(443, "10.0.0.1/16"), "InvalidParameterValue"),
        (tcp(443, "ten"), "InvalidParameterValue"),
        (tcp(70000, "0.0.0.0/0"), "InvalidParameterValue"),
        (permission().ip_protocol("tcp").build(), "InvalidParameterValue"),
        (permission().ip_protocol("tcp").from_port(2).to_port(1).build(), "InvalidParameterValue"),
        (permission().ip_protocol("carrier-pigeon").build(), "InvalidParameterValue"),
        (permission().build(), "MissingParameter"),
        (IpPermission::builder().ip_protocol("-1").build(), "MissingParameter"),
        (tcp_of(443, "sg-00000000000000000"), "InvalidGroup.NotFound"),
        (tcp_of(443, "shop"), "InvalidGroupId.Malformed"),
        (IpPermission::builder().ip_protocol("-1").ip_ranges(odd).build(), "InvalidParameterValue"),
        (
            IpPermission::builder().ip_protocol("-1").ipv6_ranges(six("::1/64")).build(),
            "InvalidParameterValue",
        ),
    ] {
        let shown = format!("{rule:?}");
        assert_eq!(code(authorize(rule).await), expected, "{shown}");
    }
    let twice = site.ec2.authorize_security_group_ingress().group_id(&own);
    let twice = twice.ip_permissions(tcp(80, "0.0.0.0/0")).ip_permissions(tcp(80, "0.0.0.0/0")).send().await;
    assert_eq!(code(twice), "InvalidParameterValue");
    let none = site.ec2.authorize_security_group_ingress().group_id(&own).send().await;
    assert_eq!(code(none), "MissingParameter");
    let foreign = vpc(&site.ec2, "10.1.0.0/16").await;
    let foreign = group(&site.ec2, &foreign, "b").await;
    assert_eq!(code(authorize(tcp_of(443, &foreign)).await), "InvalidGroup.NotFound");
    let of_other_account = |account: &str| {
        let pair = UserIdGroupPair::builder().group_id(&own).user_id(account).build();
        let rule = IpPermission::builder().ip_protocol("tcp").from_port(22).to_port(22);
        authorize(rule.user_id_group_pairs(pair).build())
    };
    assert_eq!(code(of_other_account("999999999999").await), "InvalidGroup.NotFound");
    of_other_account("123456789012").await.unwrap();
    let mut many = site.ec2.authorize_security_group_ingress().group_id(&own);
    for port in 1..=60 {
        many = many.ip_permissions(tcp(port, "10.0.0.0/8"));
    }
    assert_eq!(code(many.send().await), "RulesPerSecurityGroupLimitExceeded");
}

#[tokio::test(start_paused = true)]
async fn a_refused_authorization_adds_nothing() {
    let site = Site::open().await;
    let own = group(&site.ec2, &site.vpc, "a").await;
    let authorize = || site.ec2.authorize_security_group_ingress().group_id(&own);
    authorize().ip_permissions(tcp(443, "0.0.0.0/0")).send().await.unwrap();
    let both = authorize().ip_permissions(tcp(80, "0.0.0.0/0")).ip_permissions(tcp(443, "0.0.0.0/0"));
    assert_eq!(code(both.send().await), "InvalidPermission.Duplicate");
    let seen = site.account.security_groups().into_iter().find(|group| group.id == own).unwrap();
    assert_eq!(seen.ingress.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn rules_are_revoked_by_content_or_by_id() {
    let site = Site::open().await;
    let own = group(&site.ec2, &site.vpc, "a").await;
    let authorize = site.ec2.authorize_security_group_ingress().group_id(&own);
    let made = authorize.ip_permissions(tcp(80, "0.0.0.0/0")).ip_permissions(tcp(443, "0.0.0.0/0"));
    let made = made.send().await.unwrap();
    let id = made.security_group_rules()[0].security_group_rule_id().unwrap();
    wait(1.0).await;
    let revoke = || site.ec2.revoke_security_group_ingress().group_id(&own);
    let gone = revoke().security_group_rule_ids(id).send().await.unwrap();
    assert_eq!(gone.revoked_security_group_rules()[0].from_port(), Some(80));
    assert_eq!(
        code(revoke().security_group_rule_ids(id).send().await),
        "InvalidSecurityGroupRuleId.NotFound"
    );
    revoke().ip_permissions(tcp(443, "0.0.0.0/0")).send().await.unwrap();
    let again = revoke().ip_permissions(tcp(443, "0.0.0.0/0")).send().await;
    assert_eq!(
        refusal(again),
        (
            "InvalidPermission.NotFound".into(),
            "The specified rule does not exist in this security group.".into()
        )
    );
    assert_eq!(code(revoke().send().await), "MissingParameter");
    let both = revoke().security_group_rule_ids(id).ip_permissions(tcp(443, "0.0.0.0/0")).send().await;
    assert_eq!(code(both), "InvalidParameterCombination");
    let all =
        IpPermission::builder().ip_protocol("-1").ip_ranges(IpRange::builder().cidr_ip("0.0.0.0/0").build());
    let egress = site.ec2.revoke_security_group_egress().group_id(&own).ip_permissions(all.build());
    egress.send().await.unwrap();
    let seen = site.account.security_groups().into_iter().find(|group| group.id == own).unwrap();
    assert!(seen.ingress.is_empty() && seen.egress.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_rule_changes_in_place_but_not_its_type_of_source() {
    let site = Site::open().await;
    let own = group(&site.ec2, &site.vpc, "a").await;
    let authorize = site.ec2.authorize_security_group_ingress().group_id(&own);
    let made = authorize.ip_permissions(tcp(80, "0.0.0.0/0")).ip_permissions(tcp(443, "0.0.0.0/0"));
    let made = made.send().await.unwrap();
    let id = made.security_group_rules()[0].security_group_rule_id().unwrap();
    wait(1.0).await;
    let request = || SecurityGroupRuleRequest::builder().ip_protocol("tcp");
    let modify = |rule: SecurityGroupRuleRequest| {
        let update =
            SecurityGroupRuleUpdate::builder().security_group_rule_id(id).security_group_rule(rule).build();
        site.ec2.modify_security_group_rules().group_id(&own).security_group_rules(update).send()
    };
    modify(request().from_port(8080).to_port(8080).cidr_ipv4("10.0.0.0/8").build()).await.unwrap();
    let described =
        site.ec2.describe_security_group_rules().security_group_rule_ids(id).send().await.unwrap();
    let rule = &described.security_group_rules()[0];
    assert_eq!((rule.from_port(), rule.cidr_ipv4()), (Some(8080), Some("10.0.0.0/8")));
    let other_kind = modify(request().from_port(80).to_port(80).referenced_group_id(&own).build()).await;
    assert_eq!(code(other_kind), "InvalidParameterValue");
    let duplicate = modify(request().from_port(443).to_port(443).cidr_ipv4("0.0.0.0/0").build()).await;
    assert_eq!(code(duplicate), "InvalidPermission.Duplicate");
    let nothing = site.ec2.modify_security_group_rules().group_id(&own).send().await;
    assert_eq!(code(nothing), "MissingParameter");
    let none = modify(request().from_port(443).to_port(443).build()).await;
    assert_eq!(code(none), "InvalidParameterCombination");
}

#[tokio::test(start_paused = true)]
async fn a_rule_is_changed_and_revoked_through_its_own_group_and_direction_only() {
    let site = Site::open().await;
    let (own, other) = (group(&site.ec2, &site.vpc, "a").await, group(&site.ec2, &site.vpc, "b").await);
    let made =
        site.ec2.authorize_security_group_ingress().group_id(&own).ip_permissions(tcp(80, "10.0.0.0/8"));
    let made = made.send().await.unwrap();
    let id = made.security_group_rules()[0].security_group_rule_id().unwrap();
    wait(1.0).await;
    let unknown = "InvalidSecurityGroupRuleId.NotFound";
    let ingress =
        |of: &str| site.ec2.revoke_security_group_ingress().group_id(of).security_group_rule_ids(id).send();
    let egress =
        site.ec2.revoke_security_group_egress().group_id(&own).security_group_rule_ids(id).send().await;
    assert_eq!(code(egress), unknown);
    assert_eq!(code(ingress(&other).await), unknown);
    let request = SecurityGroupRuleRequest::builder().ip_protocol("tcp").from_port(81).to_port(81);
    let update = SecurityGroupRuleUpdate::builder().security_group_rule_id(id);
    let update = update.security_group_rule(request.cidr_ipv4("10.0.0.0/8").build()).build();
    let modify = site.ec2.modify_security_group_rules().group_id(&other).security_group_rules(update);
    assert_eq!(code(modify.send().await), unknown);
    ingress(&own).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_group_cannot_be_deleted_while_interfaces_or_other_groups_refer_to_it() {
    let site = Site::open().await;
    let (own, other) = (group(&site.ec2, &site.vpc, "a").await, group(&site.ec2, &site.vpc, "b").await);
    let allow = |of: &str, from: &str| {
        site.ec2.authorize_security_group_ingress().group_id(of).ip_permissions(tcp_of(443, from)).send()
    };
    allow(&own, &own).await.unwrap();
    allow(&other, &own).await.unwrap();
    let delete = |id: &str| site.ec2.delete_security_group().group_id(id).send();
    let (refused, message) = refusal(delete(&own).await);
    assert_eq!(refused, "DependencyViolation");
    assert_eq!(message, format!("resource {own} has a dependent object"));
    delete(&other).await.unwrap();
    let held = interface(&site.ec2, &site.private[0], &[&own]).await;
    assert_eq!(code(delete(&own).await), "DependencyViolation");
    site.ec2.delete_network_interface().network_interface_id(held).send().await.unwrap();
    delete(&own).await.unwrap();
    assert_eq!(code(delete(&own).await), "InvalidGroup.NotFound");
    let default = site.ec2.describe_security_groups().filters(filter("group-name", "default")).send().await;
    let default = default.unwrap().security_groups()[0].group_id().unwrap().to_owned();
    assert_eq!(code(delete(&default).await), "CannotDelete");
}

#[tokio::test(start_paused = true)]
async fn an_interface_has_at_most_five_groups_of_its_vpc() {
    let site = Site::open().await;
    let mut call = site.ec2.create_network_interface().subnet_id(&site.private[0]);
    for number in 0..6 {
        call = call.groups(group(&site.ec2, &site.vpc, &format!("group {number}")).await);
    }
    assert_eq!(code(call.send().await), "SecurityGroupsPerInterfaceLimitExceeded");
    let other = vpc(&site.ec2, "10.1.0.0/16").await;
    let foreign = group(&site.ec2, &other, "foreign").await;
    let call = site.ec2.create_network_interface().subnet_id(&site.private[0]).groups(foreign);
    assert_eq!(code(call.send().await), "InvalidGroup.NotFound");
}
