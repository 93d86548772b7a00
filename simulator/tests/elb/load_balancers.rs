//! Load balancers: creation, deletion and invalid requests.

use crate::common::sdk;
use crate::site::{Network, code, forward, group, message, path, seconds, subnet, tag};
use aws_sdk_elasticloadbalancingv2::error::ProvideErrorMetadata;
use aws_sdk_elasticloadbalancingv2::types::{
    LoadBalancerAttribute, LoadBalancerSchemeEnum, LoadBalancerStateEnum,
};
use stackdrop_simulator::{Fault, FaultKind, Seed, When};

#[tokio::test(start_paused = true)]
async fn a_load_balancer_is_provisioned_and_then_active() {
    let network = Network::new().await;
    let made = network
        .elb
        .create_load_balancer()
        .name("shop")
        .set_subnets(Some(network.public.to_vec()))
        .security_groups(&network.front)
        .send()
        .await
        .unwrap();
    let made = &made.load_balancers()[0];
    let arn = made.load_balancer_arn().unwrap();
    assert!(arn.starts_with("arn:aws:elasticloadbalancing:eu-central-1:123456789012:loadbalancer/app/shop/"));
    assert!(made.dns_name().unwrap().ends_with(".eu-central-1.elb.amazonaws.com"));
    assert_eq!(made.canonical_hosted_zone_id(), Some("Z215JYRZR1TBD5"));
    assert_eq!(made.vpc_id(), Some(network.vpc.as_str()));
    let zones: Vec<_> = made.availability_zones().iter().filter_map(|zone| zone.zone_name()).collect();
    assert_eq!(zones, ["eu-central-1a", "eu-central-1b"]);

    seconds(130.0).await;
    assert_eq!(network.state(arn).await, LoadBalancerStateEnum::Provisioning);
    seconds(12.0).await;
    assert_eq!(network.state(arn).await, LoadBalancerStateEnum::Active);
}

#[tokio::test(start_paused = true)]
async fn a_new_load_balancer_is_not_known_at_once() {
    let network = Network::new().await;
    let create = || {
        let create = network.elb.create_load_balancer().name("shop").security_groups(&network.front);
        create.set_subnets(Some(network.public.to_vec())).send()
    };
    create().await.unwrap();
    let describe = || network.elb.describe_load_balancers().names("shop").send();
    let error = describe().await.unwrap_err().into_service_error();
    assert!(error.is_load_balancer_not_found_exception());
    seconds(1.0).await;
    assert_eq!(describe().await.unwrap().load_balancers().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_identical_load_balancer_is_returned_and_a_different_one_of_its_name_refused() {
    let network = Network::new().await;
    let arn = network.load_balancer("shop").await;
    assert_eq!(network.load_balancer("shop").await, arn);
    let create = || {
        let create = network.elb.create_load_balancer().name("shop").security_groups(&network.front);
        create.set_subnets(Some(network.public.to_vec()))
    };
    let other_scheme = create().scheme(LoadBalancerSchemeEnum::Internal).send().await;
    assert!(other_scheme.unwrap_err().into_service_error().is_duplicate_load_balancer_name_exception());
    assert_eq!(code(create().send().await), "DuplicateLoadBalancerName", "other tags are other settings");
    assert_eq!(network.account.inventory().iter().filter(|item| item.name == "shop").count(), 1);
}

#[tokio::test(start_paused = true)]
async fn invalid_load_balancers_are_refused() {
    let network = Network::new().await;
    let create = || network.elb.create_load_balancer();
    let good =
        || create().name("shop").set_subnets(Some(network.public.to_vec())).security_groups(&network.front);
    let in_subnets = |subnets: &[&str]| {
        let subnets = subnets.iter().map(|subnet| (*subnet).to_owned()).collect();
        create().name("shop").security_groups(&network.front).set_subnets(Some(subnets))
    };
    let [a, b] = &network.public;
    let other = network.ec2.create_vpc().cidr_block("10.9.0.0/16").send().await.unwrap();
    seconds(15.0).await;
    let foreign = other.vpc().unwrap().vpc_id().unwrap();
    let foreign = subnet(&network.ec2, foreign, "10.9.0.0/24", "eu-central-1b").await;
    seconds(5.0).await;
    let cases = vec![
        (good().name("a".repeat(33)), "ValidationError"),
        (good().name("under_score"), "ValidationError"),
        (good().name("-shop"), "ValidationError"),
        (good().name("internal-shop"), "ValidationError"),
        (in_subnets(&[a]), "ValidationError"),
        (in_subnets(&[]), "ValidationError"),
        (in_subnets(&[a, "subnet-0000000000000dead"]), "SubnetNotFound"),
        (in_subnets(&[&network.private, b]), "InvalidSubnet"),
        (in_subnets(&[a, a]), "InvalidConfigurationRequest"),
        (good().set_security_groups(Some(vec!["sg-0000000000000dead".into()])), "InvalidSecurityGroup"),
        (good().set_security_groups(None), "InvalidSecurityGroup"),
        (good().scheme("sideways".into()), "InvalidScheme"),
        (good().tags(tag("a", "1")).tags(tag("a", "2")), "DuplicateTagKeys"),
        (good().set_tags(Some((0..51).map(|n| tag(&n.to_string(), "")).collect())), "TooManyTags"),
        (good().tags(tag("aws:mine", "1")), "ValidationError"),
        (good().tags(tag("a", &"v".repeat(257))), "ValidationError"),
        (good().customer_owned_ipv4_pool("pool"), "UnknownParameter"),
        (good().name("shop-"), "ValidationError"),
        (good().r#type("network".into()), "ValidationError"),
        (good().ip_address_type("dualstack".into()), "InvalidConfigurationRequest"),
        (good().set_security_groups(Some(vec![network.front.clone(); 6])), "InvalidSecurityGroup"),
        (in_subnets(&[a, &foreign]).scheme("internal".into()), "InvalidConfigurationRequest"),
    ];
    for (request, expected) in cases {
        let shown = format!("{request:?}");
        assert_eq!(code(request.send().await), expected, "{shown}");
    }
    assert!(network.elb.describe_load_balancers().send().await.unwrap().load_balancers().is_empty());
    let describe = || network.elb.describe_load_balancers();
    let both = describe().names("shop").load_balancer_arns("arn:aws:nothing").send().await;
    assert_eq!(code(both), "ValidationError");
    assert_eq!(code(describe().set_names(Some(vec!["shop".into(); 21])).send().await), "ValidationError");
    let odd = network.elb.delete_load_balancer().load_balancer_arn("arn:aws:nothing").send().await;
    assert_eq!(code(odd), "ValidationError");
}

#[tokio::test(start_paused = true)]
async fn a_group_of_another_vpc_is_refused() {
    let network = Network::new().await;
    let other = network.ec2.create_vpc().cidr_block("10.9.0.0/16").send().await.unwrap();
    let other = other.vpc.unwrap().vpc_id.unwrap();
    seconds(15.0).await;
    let foreign = group(&network.ec2, &other, "foreign").await;
    seconds(2.0).await;
    let create = network.elb.create_load_balancer().name("shop").security_groups(&foreign);
    let result = create.set_subnets(Some(network.public.to_vec())).send().await;
    assert_eq!(code(result), "InvalidConfigurationRequest");
}

#[tokio::test(start_paused = true)]
async fn a_load_balancer_needs_eight_free_addresses_in_a_subnet() {
    let network = Network::new().await;
    let small = subnet(&network.ec2, &network.vpc, "10.0.9.0/28", "eu-central-1a").await;
    seconds(5.0).await;
    let create = |first: &str| {
        let subnets = vec![first.to_owned(), network.public[1].clone()];
        let create = network.elb.create_load_balancer().name("shop").security_groups(&network.front);
        create.scheme(LoadBalancerSchemeEnum::Internal).set_subnets(Some(subnets)).send()
    };
    assert_eq!(code(create(&small).await), "InvalidSubnet", "it is smaller than a /27");
    let tight = subnet(&network.ec2, &network.vpc, "10.0.9.32/27", "eu-central-1a").await;
    seconds(5.0).await;
    // A /27 has 27 usable addresses; twenty of them are used.
    for _ in 0..20 {
        network.ec2.create_network_interface().subnet_id(&tight).send().await.unwrap();
        seconds(1.0).await;
    }
    assert_eq!(code(create(&tight).await), "InvalidSubnet", "it has seven free addresses");
    assert!(network.account.interfaces().iter().all(|interface| interface.requester != "amazon-elb"));
}

#[tokio::test(start_paused = true)]
async fn the_first_load_balancer_creates_the_service_linked_role() {
    let network = Network::new().await;
    let iam = aws_sdk_iam::Client::new(&crate::common::sdk(&network.account));
    let role = || iam.get_role().role_name("AWSServiceRoleForElasticLoadBalancing").send();
    role().await.unwrap_err();
    network.load_balancer("shop").await;
    role().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_load_balancer_can_fail() {
    let network = Network::new().await;
    network.account.arm(Fault::at(
        "elasticloadbalancing",
        "CreateLoadBalancer",
        When::Only(1),
        FaultKind::ResourceFails,
    ));
    let arn = network.load_balancer("shop").await;
    assert_eq!(network.state(&arn).await, LoadBalancerStateEnum::Provisioning);
    seconds(200.0).await;
    assert_eq!(network.state(&arn).await, LoadBalancerStateEnum::Failed);
    network.elb.delete_load_balancer().load_balancer_arn(&arn).send().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_deleted_load_balancer_keeps_its_interfaces_and_its_name_for_a_while() {
    let network = Network::new().await;
    let arn = network.load_balancer("shop").await;
    let interfaces = || async {
        let found = network.ec2.describe_network_interfaces().send().await.unwrap();
        let of_elb = found.network_interfaces().iter().filter(|interface| {
            interface.description().is_some_and(|text| text.starts_with("ELB app/shop/"))
        });
        of_elb.count()
    };
    assert_eq!(interfaces().await, 2);
    network.elb.delete_load_balancer().load_balancer_arn(&arn).send().await.unwrap();
    let gone = network.elb.describe_load_balancers().load_balancer_arns(&arn).send().await;
    assert!(gone.unwrap_err().into_service_error().is_load_balancer_not_found_exception());
    assert_eq!(interfaces().await, 2);
    let again = || {
        let create = network.elb.create_load_balancer().name("shop").security_groups(&network.front);
        create.set_subnets(Some(network.public.to_vec())).send()
    };
    assert_eq!(code(again().await), "DuplicateLoadBalancerName");
    seconds(16.0).await;
    assert_eq!(interfaces().await, 0);
    again().await.unwrap();
    // Deleting a missing load balancer succeeds.
    network.elb.delete_load_balancer().load_balancer_arn(&arn).send().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn deletion_protection_prevents_deletion_until_disabled() {
    let network = Network::new().await;
    let arn = network.load_balancer("shop").await;
    let protect = |value: &str| {
        let attribute =
            LoadBalancerAttribute::builder().key("deletion_protection.enabled").value(value).build();
        network.elb.modify_load_balancer_attributes().load_balancer_arn(&arn).attributes(attribute).send()
    };
    protect("true").await.unwrap();
    let delete = || network.elb.delete_load_balancer().load_balancer_arn(&arn).send();
    let refused = delete().await.unwrap_err().into_service_error();
    assert!(refused.is_operation_not_permitted_exception());
    protect("false").await.unwrap();
    delete().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn attributes_have_aws_defaults_and_only_those_sent_change() {
    let network = Network::new().await;
    let arn = network.load_balancer("shop").await;
    let value = |key: &'static str| {
        let describe = network.elb.describe_load_balancer_attributes().load_balancer_arn(&arn).send();
        async move {
            let found = describe.await.unwrap();
            let attribute = found.attributes().iter().find(|attribute| attribute.key() == Some(key)).unwrap();
            attribute.value().unwrap_or_default().to_owned()
        }
    };
    assert_eq!(value("idle_timeout.timeout_seconds").await, "60");
    assert_eq!(value("routing.http.drop_invalid_header_fields.enabled").await, "false");
    assert_eq!(value("routing.http.desync_mitigation_mode").await, "defensive");
    assert_eq!(value("access_logs.s3.bucket").await, "");
    let set = |pairs: &[(&str, &str)]| {
        let attributes = pairs
            .iter()
            .map(|(key, value)| LoadBalancerAttribute::builder().key(*key).value(*value).build())
            .collect();
        let modify = network.elb.modify_load_balancer_attributes().load_balancer_arn(&arn);
        modify.set_attributes(Some(attributes)).send()
    };
    set(&[("idle_timeout.timeout_seconds", "120")]).await.unwrap();
    assert_eq!(value("idle_timeout.timeout_seconds").await, "120");
    assert_eq!(value("routing.http2.enabled").await, "true");
    let logs = [
        ("access_logs.s3.enabled", "true"),
        ("access_logs.s3.bucket", "logs-of-shop"),
        ("access_logs.s3.prefix", "shop"),
    ];
    set(&logs).await.unwrap();
    assert_eq!(value("access_logs.s3.bucket").await, "logs-of-shop");

    let refused: [&[(&str, &str)]; 7] = [
        &[("idle_timeout.timeout_seconds", "4001")],
        &[("idle_timeout.timeout_seconds", "soon")],
        &[("idle_timeout", "60")],
        &[("load_balancing.cross_zone.enabled", "false")],
        &[("access_logs.s3.bucket", "nobodys")],
        &[("access_logs.s3.bucket", "")],
        &[("access_logs.s3.prefix", "/shop")],
    ];
    for pairs in refused {
        assert_eq!(code(set(pairs).await), "InvalidConfigurationRequest", "{pairs:?}");
    }
    assert_eq!(code(set(&[]).await), "ValidationError");
    assert_eq!(value("access_logs.s3.bucket").await, "logs-of-shop", "a refused call changes nothing");
}

#[tokio::test(start_paused = true)]
async fn groups_and_subnets_change_in_place() {
    let network = Network::new().await;
    let arn = network.load_balancer("shop").await;
    let groups = |groups: &[&str]| {
        let groups = groups.iter().map(|group| (*group).to_owned()).collect();
        network.elb.set_security_groups().load_balancer_arn(&arn).set_security_groups(Some(groups)).send()
    };
    let changed = groups(&[&network.back]).await.unwrap();
    assert_eq!(changed.security_group_ids(), [network.back.as_str()]);
    let error = groups(&["sg-0000000000000dead"]).await.unwrap_err().into_service_error();
    assert!(error.is_invalid_security_group_exception());
    // The unused group can be deleted; the one in use cannot.
    network.ec2.delete_security_group().group_id(&network.front).send().await.unwrap();
    let in_use = network.ec2.delete_security_group().group_id(&network.back).send().await;
    assert_eq!(in_use.unwrap_err().code(), Some("DependencyViolation"));

    let subnets = |subnets: &[&str]| {
        let subnets = subnets.iter().map(|subnet| (*subnet).to_owned()).collect();
        network.elb.set_subnets().load_balancer_arn(&arn).set_subnets(Some(subnets)).send()
    };
    let [a, b] = &network.public;
    assert_eq!(subnets(&[b, a]).await.unwrap().availability_zones().len(), 2);
    assert_eq!(code(subnets(&[a]).await), "ValidationError");
    let error = subnets(&[a, "subnet-0000000000000dead"]).await.unwrap_err().into_service_error();
    assert!(error.is_subnet_not_found_exception());
    assert_eq!(code(subnets(&[&network.private, b]).await), "InvalidSubnet");
}

#[tokio::test(start_paused = true)]
async fn an_alias_must_point_to_a_load_balancer_of_this_account() {
    use aws_sdk_route53::types::{AliasTarget, Change, ChangeAction, ChangeBatch, ResourceRecordSet, RrType};
    let network = Network::new().await;
    network.account.seed(&Seed::HostedZone { id: "ZSHOP".into(), name: "example.com".into() });
    let arn = network.load_balancer("shop").await;
    let found = network.elb.describe_load_balancers().load_balancer_arns(&arn).send().await.unwrap();
    let found = found.load_balancers()[0].clone();
    let dns = aws_sdk_route53::Client::new(&sdk(&network.account));
    let point = |zone: &str, name: &str| {
        let target = AliasTarget::builder().hosted_zone_id(zone).dns_name(name).evaluate_target_health(true);
        let record = ResourceRecordSet::builder().name("shop.example.com").r#type(RrType::A);
        let record = record.alias_target(target.build().unwrap()).build().unwrap();
        let change =
            Change::builder().action(ChangeAction::Upsert).resource_record_set(record).build().unwrap();
        let batch = ChangeBatch::builder().changes(change).build().unwrap();
        dns.change_resource_record_sets().hosted_zone_id("ZSHOP").change_batch(batch).send()
    };
    let (zone, name) = (found.canonical_hosted_zone_id().unwrap(), found.dns_name().unwrap());
    point(zone, &format!("dualstack.{name}")).await.unwrap();
    let sets = dns.list_resource_record_sets().hosted_zone_id("ZSHOP").send().await.unwrap();
    let alias = sets.resource_record_sets().iter().find_map(|set| set.alias_target()).unwrap();
    assert_eq!(alias.dns_name(), format!("dualstack.{name}."));
    assert!(alias.evaluate_target_health());
    assert_eq!(code(point("Z35SXDOTRQ7X7K", name).await), "InvalidChangeBatch", "a zone of another region");
}

#[tokio::test(start_paused = true)]
async fn every_resource_keeps_tags() {
    let network = Network::new().await;
    let load_balancer = network.load_balancer("shop").await;
    let group = network.target_group("shop").await;
    let listener = network.http(&load_balancer, 80, &group).await;
    let listener = listener.listener_arn().unwrap();
    let rule = network.elb.create_rule().listener_arn(listener).priority(1).conditions(path("/a"));
    let rule = rule.actions(forward(&group)).tags(tag("made", "here")).send().await.unwrap();
    let rule = rule.rules()[0].rule_arn().unwrap().to_owned();
    seconds(1.0).await;
    let all = [load_balancer.as_str(), &group, listener, &rule];
    let arns = || all.iter().map(|arn| (*arn).to_owned()).collect::<Vec<_>>();
    let add = network.elb.add_tags().set_resource_arns(Some(arns())).tags(tag("stackdrop:stack", "shop"));
    add.send().await.unwrap();
    let found = network.elb.describe_tags().set_resource_arns(Some(arns())).send().await.unwrap();
    let counts: Vec<usize> = found.tag_descriptions().iter().map(|each| each.tags().len()).collect();
    assert_eq!(counts, [2, 1, 1, 2]);
    let remove = network.elb.remove_tags().resource_arns(&rule).tag_keys("made").send();
    remove.await.unwrap();
    let found = network.elb.describe_tags().resource_arns(&rule).send().await.unwrap();
    assert_eq!(found.tag_descriptions()[0].tags()[0].key(), Some("stackdrop:stack"));

    let describe = |arn: &str| network.elb.describe_tags().resource_arns(arn).send();
    let missing = |arn: &str| format!("{arn}0");
    assert_eq!(code(describe(&missing(&load_balancer)).await), "LoadBalancerNotFound");
    assert_eq!(code(describe(&missing(&group)).await), "TargetGroupNotFound");
    assert_eq!(code(describe(&missing(listener)).await), "ListenerNotFound");
    assert_eq!(code(describe(&missing(&rule)).await), "RuleNotFound");
    assert_eq!(code(describe("arn:aws:s3:::bucket").await), "ValidationError");
    let many = vec![load_balancer.clone(); 21];
    let too_many = network.elb.describe_tags().set_resource_arns(Some(many)).send().await;
    assert_eq!(code(too_many), "ValidationError");

    let items = network.account.inventory();
    let kinds: Vec<_> = items.iter().filter(|item| item.tags.contains_key("stackdrop:stack")).collect();
    assert_eq!(kinds.len(), 4);
    let item = items.iter().find(|item| item.id == load_balancer).unwrap();
    assert_eq!(item.kind, "AWS::ElasticLoadBalancingV2::LoadBalancer");
    assert_eq!(item.component, "load-balancer");
    assert!((item.monthly_usd - 730.0 * (0.027 + 2.0 * 0.005)).abs() < 1e-9);
}

#[tokio::test(start_paused = true)]
async fn an_operation_that_is_not_simulated_is_refused_by_name() {
    let network = Network::new().await;
    let result = network.elb.describe_account_limits().send().await;
    assert!(message(result).contains("DescribeAccountLimits"));
}
