//! Elastic Load Balancing as an SDK sees it: load balancers, listeners, rules, target groups, health.

mod common;

use std::time::Duration;

use aws_sdk_ec2::types::{IpPermission, UserIdGroupPair};
use aws_sdk_elasticloadbalancingv2::Client;
use aws_sdk_elasticloadbalancingv2::error::ProvideErrorMetadata;
use aws_sdk_elasticloadbalancingv2::types::{
    Action, ActionTypeEnum, Certificate, FixedResponseActionConfig, HostHeaderConditionConfig, Listener,
    LoadBalancerAttribute, LoadBalancerSchemeEnum, LoadBalancerStateEnum, Matcher,
    PathPatternConditionConfig, ProtocolEnum, RedirectActionConfig, RedirectActionStatusCodeEnum,
    RuleCondition, RulePriorityPair, Tag, TargetDescription, TargetGroupAttribute, TargetTypeEnum,
};
use common::{account, sdk};
use stackdrop_simulator::{Account, Fault, FaultKind, Seed, When};

const CERTIFICATE: &str =
    "arn:aws:acm:eu-central-1:123456789012:certificate/11111111-2222-3333-4444-555555555555";
const POLICY: &str = "ELBSecurityPolicy-TLS13-1-2-2021-06";

/// The error code of a refusal.
fn code<T: std::fmt::Debug, E: ProvideErrorMetadata>(result: Result<T, E>) -> String {
    result.expect_err("it should be refused").code().unwrap_or_default().to_owned()
}

/// The error message of a refusal.
fn message<T: std::fmt::Debug, E: ProvideErrorMetadata>(result: Result<T, E>) -> String {
    result.expect_err("it should be refused").message().unwrap_or_default().to_owned()
}

async fn seconds(seconds: f64) {
    tokio::time::advance(Duration::from_secs_f64(seconds)).await;
}

/// A network with two public subnets and a private one, and a group for the load balancer and for its targets.
struct Network {
    account: Account,
    ec2: aws_sdk_ec2::Client,
    elb: Client,
    vpc: String,
    public: [String; 2],
    private: String,
    front: String,
    back: String,
}

impl Network {
    async fn new() -> Self {
        let account = account();
        account.seed(&Seed::Certificate { arn: CERTIFICATE.into(), domain: "shop.example.com".into() });
        account.seed(&Seed::Bucket { name: "logs-of-shop".into() });
        let ec2 = aws_sdk_ec2::Client::new(&sdk(&account));
        let elb = Client::new(&sdk(&account));
        let vpc = ec2.create_vpc().cidr_block("10.0.0.0/16").send().await.unwrap();
        let vpc = vpc.vpc.unwrap().vpc_id.unwrap();
        let gateway = ec2.create_internet_gateway().send().await.unwrap();
        let gateway = gateway.internet_gateway.unwrap().internet_gateway_id.unwrap();
        seconds(15.0).await;
        ec2.attach_internet_gateway().vpc_id(&vpc).internet_gateway_id(&gateway).send().await.unwrap();
        let table = ec2.create_route_table().vpc_id(&vpc).send().await.unwrap();
        let table = table.route_table.unwrap().route_table_id.unwrap();
        let a = subnet(&ec2, &vpc, "10.0.0.0/24", "eu-central-1a").await;
        let b = subnet(&ec2, &vpc, "10.0.1.0/24", "eu-central-1b").await;
        let private = subnet(&ec2, &vpc, "10.0.2.0/24", "eu-central-1a").await;
        seconds(5.0).await;
        ec2.create_route()
            .route_table_id(&table)
            .destination_cidr_block("0.0.0.0/0")
            .gateway_id(&gateway)
            .send()
            .await
            .unwrap();
        for subnet in [&a, &b] {
            ec2.associate_route_table().route_table_id(&table).subnet_id(subnet).send().await.unwrap();
        }
        let front = group(&ec2, &vpc, "front").await;
        let back = group(&ec2, &vpc, "back").await;
        seconds(2.0).await;
        Self { account, ec2, elb, vpc, public: [a, b], private, front, back }
    }

    /// Lets the load balancer's group connect to the targets' group on port 8080.
    async fn let_in(&self) {
        let rule = IpPermission::builder().ip_protocol("tcp").from_port(8080).to_port(8080);
        let rule = rule.user_id_group_pairs(UserIdGroupPair::builder().group_id(&self.front).build()).build();
        self.ec2
            .authorize_security_group_ingress()
            .group_id(&self.back)
            .ip_permissions(rule)
            .send()
            .await
            .unwrap();
    }

    async fn load_balancer(&self, name: &str) -> String {
        let made = self
            .elb
            .create_load_balancer()
            .name(name)
            .set_subnets(Some(self.public.to_vec()))
            .security_groups(&self.front)
            .tags(tag("stackdrop:component", "load-balancer"))
            .send()
            .await
            .unwrap();
        seconds(1.0).await;
        made.load_balancers()[0].load_balancer_arn().unwrap().to_owned()
    }

    async fn target_group(&self, name: &str) -> String {
        let made = self
            .elb
            .create_target_group()
            .name(name)
            .protocol(ProtocolEnum::Http)
            .port(8080)
            .vpc_id(&self.vpc)
            .target_type(TargetTypeEnum::Ip)
            .health_check_interval_seconds(10)
            .healthy_threshold_count(2)
            .unhealthy_threshold_count(3)
            .send()
            .await
            .unwrap();
        seconds(1.0).await;
        made.target_groups()[0].target_group_arn().unwrap().to_owned()
    }

    /// An HTTP listener on that port that forwards to a target group.
    async fn http(&self, load_balancer: &str, port: i32, target_group: &str) -> Listener {
        let made = self
            .elb
            .create_listener()
            .load_balancer_arn(load_balancer)
            .protocol(ProtocolEnum::Http)
            .port(port)
            .default_actions(forward(target_group))
            .send()
            .await
            .unwrap();
        seconds(1.0).await;
        made.listeners()[0].clone()
    }

    async fn state(&self, load_balancer: &str) -> LoadBalancerStateEnum {
        let found =
            self.elb.describe_load_balancers().load_balancer_arns(load_balancer).send().await.unwrap();
        found.load_balancers()[0].state().unwrap().code().unwrap().clone()
    }

    /// The state and reason of a group's first target.
    async fn health(&self, target_group: &str) -> (String, String) {
        let found = self.elb.describe_target_health().target_group_arn(target_group).send().await.unwrap();
        let Some(target) = found.target_health_descriptions().first() else {
            return (String::new(), String::new());
        };
        let health = target.target_health().unwrap();
        (
            health.state().unwrap().as_str().to_owned(),
            health.reason().map_or("", |reason| reason.as_str()).to_owned(),
        )
    }
}

async fn subnet(ec2: &aws_sdk_ec2::Client, vpc: &str, cidr: &str, zone: &str) -> String {
    let made = ec2.create_subnet().vpc_id(vpc).cidr_block(cidr).availability_zone(zone).send().await.unwrap();
    made.subnet.unwrap().subnet_id.unwrap()
}

async fn group(ec2: &aws_sdk_ec2::Client, vpc: &str, name: &str) -> String {
    let made =
        ec2.create_security_group().vpc_id(vpc).group_name(name).description(name).send().await.unwrap();
    made.group_id.unwrap()
}

fn tag(key: &str, value: &str) -> Tag {
    Tag::builder().key(key).value(value).build()
}

fn forward(target_group: &str) -> Action {
    Action::builder().r#type(ActionTypeEnum::Forward).target_group_arn(target_group).build()
}

fn redirect(config: RedirectActionConfig) -> Action {
    Action::builder().r#type(ActionTypeEnum::Redirect).redirect_config(config).build()
}

fn to_https() -> RedirectActionConfig {
    RedirectActionConfig::builder()
        .protocol("HTTPS")
        .port("443")
        .status_code(RedirectActionStatusCodeEnum::Http301)
        .build()
}

fn answer(status: &str) -> Action {
    let config = FixedResponseActionConfig::builder().status_code(status).content_type("text/plain").build();
    Action::builder().r#type(ActionTypeEnum::FixedResponse).fixed_response_config(config).build()
}

fn path(pattern: &str) -> RuleCondition {
    let config = PathPatternConditionConfig::builder().values(pattern).build();
    RuleCondition::builder().field("path-pattern").path_pattern_config(config).build()
}

fn host(pattern: &str) -> RuleCondition {
    let config = HostHeaderConditionConfig::builder().values(pattern).build();
    RuleCondition::builder().field("host-header").host_header_config(config).build()
}

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
async fn the_same_load_balancer_again_is_the_same_and_another_one_of_its_name_is_refused() {
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
async fn load_balancers_that_cannot_be_are_refused() {
    let network = Network::new().await;
    let create = || network.elb.create_load_balancer();
    let good =
        || create().name("shop").set_subnets(Some(network.public.to_vec())).security_groups(&network.front);
    let in_subnets = |subnets: &[&str]| {
        let subnets = subnets.iter().map(|subnet| (*subnet).to_owned()).collect();
        create().name("shop").security_groups(&network.front).set_subnets(Some(subnets))
    };
    let [a, b] = &network.public;
    let cases = [
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
        (good().tags(tag("aws:mine", "1")), "InvalidParameterValue"),
        (good().customer_owned_ipv4_pool("pool"), "UnknownParameter"),
    ];
    for (request, expected) in cases {
        let shown = format!("{request:?}");
        assert_eq!(code(request.send().await), expected, "{shown}");
    }
    assert!(network.elb.describe_load_balancers().send().await.unwrap().load_balancers().is_empty());
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
async fn a_doomed_load_balancer_ends_failed() {
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
async fn a_deleted_load_balancer_leaves_interfaces_for_a_while_and_keeps_its_name_so_long() {
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
    // Absent is success.
    network.elb.delete_load_balancer().load_balancer_arn(&arn).send().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn deletion_protection_holds_until_it_is_taken_off() {
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
    assert_eq!(changed.security_group_ids(), [network.back.clone()]);
    let error = groups(&["sg-0000000000000dead"]).await.unwrap_err().into_service_error();
    assert!(error.is_invalid_security_group_exception());
    // The group that is no longer used can go; the one in use cannot.
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
async fn a_target_group_has_aws_defaults_and_its_check_changes_in_place() {
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
async fn target_groups_that_cannot_be_are_refused() {
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
    ];
    for (request, expected) in cases {
        let shown = format!("{request:?}");
        assert_eq!(code(request.send().await), expected, "{shown}");
    }
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
        assert_eq!(found.target_groups()[0].load_balancer_arns(), [load_balancer.clone()]);
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

#[tokio::test(start_paused = true)]
async fn an_https_listener_needs_an_issued_certificate_and_a_policy() {
    let network = Network::new().await;
    let load_balancer = network.load_balancer("shop").await;
    let group = network.target_group("shop").await;
    let acm = aws_sdk_acm::Client::new(&sdk(&network.account));
    let pending = acm.request_certificate().domain_name("new.example.com").validation_method("DNS".into());
    let pending = pending.send().await.unwrap().certificate_arn.unwrap();
    seconds(1.0).await;
    let certificate = |arn: &str| Certificate::builder().certificate_arn(arn).build();
    let https = || {
        let create = network.elb.create_listener().load_balancer_arn(&load_balancer).port(443);
        create.protocol(ProtocolEnum::Https).default_actions(forward(&group))
    };
    let unknown = format!("{CERTIFICATE}6");
    let elsewhere = CERTIFICATE.replace("eu-central-1", "us-east-1");
    let cases = [
        (https().ssl_policy(POLICY), "ValidationError"),
        (https().certificates(certificate(CERTIFICATE)), "ValidationError"),
        (https().certificates(certificate(&unknown)).ssl_policy(POLICY), "CertificateNotFound"),
        (https().certificates(certificate(&elsewhere)).ssl_policy(POLICY), "CertificateNotFound"),
        (https().certificates(certificate(&pending)).ssl_policy(POLICY), "UnsupportedCertificate"),
        (https().certificates(certificate(CERTIFICATE)).ssl_policy("TLS-of-mine"), "SSLPolicyNotFound"),
        (
            https()
                .certificates(certificate(CERTIFICATE))
                .certificates(certificate(&pending))
                .ssl_policy(POLICY),
            "TooManyCertificates",
        ),
    ];
    for (request, expected) in cases {
        let shown = format!("{request:?}");
        assert_eq!(code(request.send().await), expected, "{shown}");
    }
    let good = https().certificates(certificate(CERTIFICATE)).ssl_policy(POLICY);
    let made = good.clone().send().await.unwrap();
    let again = good.send().await.unwrap();
    let arn = made.listeners()[0].listener_arn().unwrap();
    assert_eq!(again.listeners()[0].listener_arn(), Some(arn), "the same again is the same");
    seconds(1.0).await;
    let used = network.elb.describe_listener_certificates().listener_arn(arn).send().await.unwrap();
    assert_eq!(used.certificates()[0].certificate_arn(), Some(CERTIFICATE));

    // A certificate in use stays until the listener is gone, and a moment longer.
    let delete = || acm.delete_certificate().certificate_arn(CERTIFICATE).send();
    assert!(delete().await.unwrap_err().into_service_error().is_resource_in_use_exception());
    network.elb.delete_listener().listener_arn(arn).send().await.unwrap();
    assert!(delete().await.is_err());
    seconds(2.0).await;
    delete().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn listeners_that_cannot_be_are_refused() {
    let network = Network::new().await;
    let load_balancer = network.load_balancer("shop").await;
    let other = network.load_balancer("other").await;
    let group = network.target_group("shop").await;
    let taken = network.target_group("taken").await;
    network.http(&other, 80, &taken).await;
    network.http(&load_balancer, 80, &group).await;
    let http = |port: i32| {
        let create = network.elb.create_listener().load_balancer_arn(&load_balancer).port(port);
        create.protocol(ProtocolEnum::Http)
    };
    let config = RedirectActionConfig::builder().status_code(RedirectActionStatusCodeEnum::Http301);
    let loops = config.clone().build();
    let to_itself = config.protocol("HTTP").port("81").build();
    let missing = group.replace("shop", "shoq");
    let cases = [
        (http(80).default_actions(answer("503")), "DuplicateListener"),
        (http(0).default_actions(forward(&group)), "ValidationError"),
        (http(81), "ValidationError"),
        (http(81).default_actions(forward(&missing)), "TargetGroupNotFound"),
        (http(81).default_actions(forward(&taken)), "TargetGroupAssociationLimit"),
        (http(81).default_actions(forward(&group)).default_actions(answer("404")), "TooManyActions"),
        (http(81).default_actions(redirect(loops)), "InvalidLoadBalancerAction"),
        (http(81).default_actions(redirect(to_itself)), "InvalidLoadBalancerAction"),
        (http(81).default_actions(answer("302")), "ValidationError"),
        (http(81).default_actions(forward(&group)).ssl_policy(POLICY), "ValidationError"),
        (http(81).protocol(ProtocolEnum::Tcp).default_actions(forward(&group)), "ValidationError"),
        (
            http(81).load_balancer_arn("arn:aws:nothing").default_actions(forward(&group)),
            "LoadBalancerNotFound",
        ),
        (
            http(81).default_actions(Action::builder().r#type(ActionTypeEnum::AuthenticateOidc).build()),
            "ValidationError",
        ),
    ];
    for (request, expected) in cases {
        let shown = format!("{request:?}");
        assert_eq!(code(request.send().await), expected, "{shown}");
    }
    let neither = network.elb.describe_listeners().send().await;
    assert_eq!(code(neither), "ValidationError");
    let unknown = network.elb.describe_listeners().listener_arns("arn:aws:nothing").send().await;
    assert!(unknown.unwrap_err().into_service_error().is_listener_not_found_exception());
}

#[tokio::test(start_paused = true)]
async fn a_listener_redirects_changes_and_goes_with_its_load_balancer() {
    let network = Network::new().await;
    let load_balancer = network.load_balancer("shop").await;
    let group = network.target_group("shop").await;
    let listener = network.http(&load_balancer, 80, &group).await;
    let arn = listener.listener_arn().unwrap();
    let action = &listener.default_actions()[0];
    assert_eq!(action.target_group_arn(), Some(group.as_str()));
    let changed = network.elb.modify_listener().listener_arn(arn).default_actions(redirect(to_https()));
    let changed = changed.send().await.unwrap();
    let config = changed.listeners()[0].default_actions()[0].redirect_config().unwrap();
    assert_eq!(
        (config.port(), config.path(), config.query()),
        (Some("443"), Some("/#{path}"), Some("#{query}"))
    );
    // Port and protocol of the redirect's own target: it would go round in circles.
    let certificate = Certificate::builder().certificate_arn(CERTIFICATE).build();
    let circle = network.elb.modify_listener().listener_arn(arn).port(443).protocol(ProtocolEnum::Https);
    let circle = circle.certificates(certificate).ssl_policy(POLICY).send().await;
    assert!(circle.unwrap_err().into_service_error().is_invalid_load_balancer_action_exception());
    network.http(&load_balancer, 8080, &group).await;
    let taken = network.elb.modify_listener().listener_arn(arn).port(8080).send().await;
    assert!(taken.unwrap_err().into_service_error().is_duplicate_listener_exception());
    let found = network.elb.describe_listeners().load_balancer_arn(&load_balancer).send().await.unwrap();
    assert_eq!(found.listeners().len(), 2);
    network.elb.delete_load_balancer().load_balancer_arn(&load_balancer).send().await.unwrap();
    let gone = network.elb.describe_listeners().listener_arns(arn).send().await;
    assert_eq!(code(gone), "ListenerNotFound");
    let gone = network.elb.delete_listener().listener_arn(arn).send().await;
    assert_eq!(code(gone), "ListenerNotFound");
}

#[tokio::test(start_paused = true)]
async fn rules_are_listed_by_priority_with_the_default_last() {
    let network = Network::new().await;
    let load_balancer = network.load_balancer("shop").await;
    let group = network.target_group("shop").await;
    let listener = network.http(&load_balancer, 80, &group).await;
    let listener = listener.listener_arn().unwrap();
    let create = |priority: i32| network.elb.create_rule().listener_arn(listener).priority(priority);
    let second = create(20).conditions(path("/api/*")).actions(forward(&group)).send().await.unwrap();
    let first = create(10).conditions(host("*.example.com")).conditions(path("/")).actions(answer("404"));
    let first = first.send().await.unwrap();
    let (first, second) = (first.rules()[0].clone(), second.rules()[0].clone());
    seconds(1.0).await;
    let priorities = || async {
        let found = network.elb.describe_rules().listener_arn(listener).send().await.unwrap();
        let rules = found.rules().iter();
        rules.map(|rule| (rule.priority().unwrap().to_owned(), rule.is_default())).collect::<Vec<_>>()
    };
    let expected =
        [("10".to_owned(), Some(false)), ("20".to_owned(), Some(false)), ("default".to_owned(), Some(true))];
    assert_eq!(priorities().await, expected);
    assert_eq!(first.conditions()[0].host_header_config().unwrap().values(), ["*.example.com"]);
    assert_eq!(first.conditions()[0].values(), ["*.example.com"]);

    let pair =
        |rule: &str, priority: i32| RulePriorityPair::builder().rule_arn(rule).priority(priority).build();
    let (first, second) = (first.rule_arn().unwrap(), second.rule_arn().unwrap());
    let swap =
        network.elb.set_rule_priorities().rule_priorities(pair(first, 20)).rule_priorities(pair(second, 10));
    swap.send().await.unwrap();
    let found = network.elb.describe_rules().rule_arns(first).send().await.unwrap();
    assert_eq!(found.rules()[0].priority(), Some("20"));
    let clash = network.elb.set_rule_priorities().rule_priorities(pair(first, 10)).send().await;
    assert!(clash.unwrap_err().into_service_error().is_priority_in_use_exception());

    let modified = network.elb.modify_rule().rule_arn(second).conditions(path("/v2/*")).send().await.unwrap();
    assert_eq!(modified.rules()[0].conditions()[0].values(), ["/v2/*"]);
    network.elb.delete_rule().rule_arn(second).send().await.unwrap();
    let gone = network.elb.delete_rule().rule_arn(second).send().await;
    assert!(gone.unwrap_err().into_service_error().is_rule_not_found_exception());
}

#[tokio::test(start_paused = true)]
async fn rules_that_cannot_be_are_refused() {
    let network = Network::new().await;
    let load_balancer = network.load_balancer("shop").await;
    let group = network.target_group("shop").await;
    let listener = network.http(&load_balancer, 80, &group).await;
    let listener = listener.listener_arn().unwrap();
    let create = |priority: i32| {
        network.elb.create_rule().listener_arn(listener).priority(priority).actions(forward(&group))
    };
    create(10).conditions(path("/api/*")).send().await.unwrap();
    let paths = |values: &[&str]| {
        let values = values.iter().map(|value| (*value).to_owned()).collect();
        let config = PathPatternConditionConfig::builder().set_values(Some(values)).build();
        RuleCondition::builder().field("path-pattern").path_pattern_config(config).build()
    };
    let both = RuleCondition::builder().field("path-pattern").values("/a");
    let both = both.path_pattern_config(PathPatternConditionConfig::builder().values("/b").build()).build();
    let cases = [
        (create(10).conditions(path("/other")), "PriorityInUse"),
        (create(0).conditions(path("/a")), "ValidationError"),
        (create(50_001).conditions(path("/a")), "ValidationError"),
        (create(11), "ValidationError"),
        (create(11).conditions(path("/a b")), "ValidationError"),
        (create(11).conditions(path(&format!("/{}", "a".repeat(128)))), "ValidationError"),
        (create(11).conditions(path("api")), "ValidationError"),
        (create(11).conditions(path("/a")).conditions(path("/b")), "ValidationError"),
        (create(11).conditions(paths(&["/a", "/b", "/c", "/d", "/e", "/f"])), "ValidationError"),
        (create(11).conditions(path("/*/*/*/*/*/*")), "ValidationError"),
        (create(11).conditions(host("localhost")), "ValidationError"),
        (create(11).conditions(host("shop.example.c0m")), "ValidationError"),
        (create(11).conditions(both), "ValidationError"),
        (create(11).conditions(RuleCondition::builder().field("source-ip").build()), "ValidationError"),
        (create(11).conditions(path("/a")).set_actions(None), "ValidationError"),
        (create(11).conditions(path("/a")).listener_arn("arn:aws:nothing"), "ListenerNotFound"),
    ];
    for (request, expected) in cases {
        let shown = format!("{request:?}");
        assert_eq!(code(request.send().await), expected, "{shown}");
    }
    let rules = network.elb.describe_rules().listener_arn(listener).send().await.unwrap();
    let default =
        rules.rules().iter().find(|rule| rule.is_default() == Some(true)).unwrap().rule_arn().unwrap();
    let delete = network.elb.delete_rule().rule_arn(default).send().await;
    assert!(delete.unwrap_err().into_service_error().is_operation_not_permitted_exception());
    let modify = network.elb.modify_rule().rule_arn(default).actions(answer("404")).send().await;
    assert!(modify.unwrap_err().into_service_error().is_operation_not_permitted_exception());
}

#[tokio::test(start_paused = true)]
async fn a_load_balancer_has_at_most_a_hundred_rules() {
    let network = Network::new().await;
    let load_balancer = network.load_balancer("shop").await;
    let group = network.target_group("shop").await;
    let listener = network.http(&load_balancer, 80, &group).await;
    let create = |priority: i32| {
        let create =
            network.elb.create_rule().listener_arn(listener.listener_arn().unwrap()).priority(priority);
        create.conditions(path(&format!("/{priority}"))).actions(forward(&group)).send()
    };
    for priority in 1..=100 {
        create(priority).await.unwrap();
        seconds(1.0).await; // three such calls a second are allowed
    }
    let error = create(101).await.unwrap_err().into_service_error();
    assert!(error.is_too_many_rules_exception());
    let listener = listener.listener_arn().unwrap();
    let page = network.elb.describe_rules().listener_arn(listener).page_size(60).send().await.unwrap();
    assert_eq!(page.rules().len(), 60);
    let rest = network.elb.describe_rules().listener_arn(listener).page_size(60);
    let rest = rest.marker(page.next_marker().unwrap()).send().await.unwrap();
    assert_eq!((rest.rules().len(), rest.next_marker()), (41, None));
}

#[tokio::test(start_paused = true)]
async fn everything_keeps_tags() {
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
    assert!((item.monthly_usd - 730.0 * (0.0225 + 2.0 * 0.005)).abs() < 1e-9);
}

#[tokio::test(start_paused = true)]
async fn security_policies_are_known_by_name() {
    let network = Network::new().await;
    let found = network.elb.describe_ssl_policies().names(POLICY).send().await.unwrap();
    assert_eq!(found.ssl_policies()[0].ssl_protocols(), ["TLSv1.2", "TLSv1.3"]);
    assert!(found.ssl_policies()[0].ciphers().len() > 5);
    let unknown = network.elb.describe_ssl_policies().names("TLS-of-mine").send().await;
    assert!(unknown.unwrap_err().into_service_error().is_ssl_policy_not_found_exception());
}

/// A running instance with the targets' group, and its address.
async fn instance(network: &Network) -> (String, String) {
    let ssm = aws_sdk_ssm::Client::new(&sdk(&network.account));
    let image = ssm
        .get_parameter()
        .name("/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64")
        .send()
        .await
        .unwrap();
    let made = network
        .ec2
        .run_instances()
        .image_id(image.parameter().unwrap().value().unwrap())
        .instance_type(aws_sdk_ec2::types::InstanceType::T3Micro)
        .min_count(1)
        .max_count(1)
        .subnet_id(&network.private)
        .security_group_ids(&network.back)
        .send()
        .await
        .unwrap();
    let made = made.instances()[0].clone();
    seconds(60.0).await;
    (made.instance_id().unwrap().to_owned(), made.private_ip_address().unwrap().to_owned())
}

#[tokio::test(start_paused = true)]
async fn a_target_is_healthy_after_its_checks_once_the_load_balancer_is_active() {
    let network = Network::new().await;
    network.let_in().await;
    let (_, address) = instance(&network).await;
    let group = network.target_group("shop").await;
    let target = TargetDescription::builder().id(&address).build();
    network.elb.register_targets().target_group_arn(&group).targets(target).send().await.unwrap();
    assert_eq!(network.health(&group).await, ("unused".into(), "Target.NotInUse".into()));
    let load_balancer = network.load_balancer("shop").await;
    network.http(&load_balancer, 80, &group).await;
    seconds(60.0).await;
    assert_eq!(network.health(&group).await.0, "unused", "nobody checks before the load balancer is active");
    seconds(80.0).await;
    assert_eq!(network.state(&load_balancer).await, LoadBalancerStateEnum::Active);
    assert_eq!(network.health(&group).await, ("initial".into(), "Elb.InitialHealthChecking".into()));
    seconds(20.0).await;
    assert_eq!(network.health(&group).await, ("healthy".into(), String::new()));
}

#[tokio::test(start_paused = true)]
async fn a_target_that_is_not_let_in_is_unhealthy_until_a_rule_lets_it_in() {
    let network = Network::new().await;
    let (id, address) = instance(&network).await;
    let load_balancer = network.load_balancer("shop").await;
    let group = network.target_group("shop").await;
    network.http(&load_balancer, 80, &group).await;
    seconds(150.0).await;
    let target = TargetDescription::builder().id(&address).build();
    network.elb.register_targets().target_group_arn(&group).targets(target.clone()).send().await.unwrap();
    assert_eq!(network.health(&group).await, ("initial".into(), "Elb.RegistrationInProgress".into()));
    seconds(10.0).await;
    assert_eq!(network.health(&group).await, ("initial".into(), "Elb.InitialHealthChecking".into()));
    seconds(20.0).await;
    assert_eq!(network.health(&group).await, ("unhealthy".into(), "Target.Timeout".into()));
    network.let_in().await;
    seconds(19.0).await;
    assert_eq!(network.health(&group).await.0, "unhealthy");
    seconds(1.0).await;
    assert_eq!(network.health(&group).await.0, "healthy");

    network.elb.deregister_targets().target_group_arn(&group).targets(target).send().await.unwrap();
    assert_eq!(network.health(&group).await, ("draining".into(), "Target.DeregistrationInProgress".into()));
    seconds(300.0).await;
    assert_eq!(network.health(&group).await, (String::new(), String::new()));

    let wrong = |id: &str| {
        let target = TargetDescription::builder().id(id).build();
        network.elb.register_targets().target_group_arn(&group).targets(target).send()
    };
    for id in [id.as_str(), "8.8.8.8", "10.0.0"] {
        let error = wrong(id).await.unwrap_err().into_service_error();
        assert!(error.is_invalid_target_exception(), "{id}");
    }
    let absent = TargetDescription::builder().id("10.0.0.200").build();
    let asked = network.elb.describe_target_health().target_group_arn(&group).targets(absent.clone());
    let asked = asked.send().await.unwrap();
    let health = asked.target_health_descriptions()[0].target_health().unwrap();
    assert_eq!(health.reason().unwrap().as_str(), "Target.NotRegistered");
    let deregister = network.elb.deregister_targets().target_group_arn(&group).targets(absent).send().await;
    assert!(deregister.unwrap_err().into_service_error().is_invalid_target_exception());
}

#[tokio::test(start_paused = true)]
async fn an_operation_that_is_not_simulated_is_refused_by_name() {
    let network = Network::new().await;
    let result = network.elb.describe_account_limits().send().await;
    assert!(message(result).contains("DescribeAccountLimits"));
}

#[tokio::test(start_paused = true)]
async fn a_target_in_a_zone_without_a_node_is_not_used() {
    let network = Network::new().await;
    let load_balancer = network.load_balancer("shop").await;
    let group = network.target_group("shop").await;
    network.http(&load_balancer, 80, &group).await;
    seconds(150.0).await;
    let target = TargetDescription::builder().id("10.0.9.9").availability_zone("eu-central-1c").build();
    network.elb.register_targets().target_group_arn(&group).targets(target).send().await.unwrap();
    seconds(60.0).await;
    assert_eq!(network.health(&group).await, ("unused".into(), "Target.NotInUse".into()));
}

#[tokio::test(start_paused = true)]
async fn a_target_group_that_loses_its_listener_is_not_in_use_and_starts_anew_with_the_next() {
    let network = Network::new().await;
    network.let_in().await;
    let (_, address) = instance(&network).await;
    let load_balancer = network.load_balancer("shop").await;
    let group = network.target_group("shop").await;
    let listener = network.http(&load_balancer, 80, &group).await;
    let target = TargetDescription::builder().id(&address).build();
    network.elb.register_targets().target_group_arn(&group).targets(target).send().await.unwrap();
    seconds(170.0).await;
    assert_eq!(network.health(&group).await.0, "healthy");
    network.elb.delete_listener().listener_arn(listener.listener_arn().unwrap()).send().await.unwrap();
    assert_eq!(network.health(&group).await, ("unused".into(), "Target.NotInUse".into()));
    network.http(&load_balancer, 80, &group).await;
    assert_eq!(network.health(&group).await.0, "initial");
    seconds(20.0).await;
    assert_eq!(network.health(&group).await.0, "healthy");
    // A stricter check does not undo what the old one found out.
    let modify = network.elb.modify_target_group().target_group_arn(&group).healthy_threshold_count(10);
    modify.send().await.unwrap();
    assert_eq!(network.health(&group).await.0, "healthy");
}

#[tokio::test(start_paused = true)]
async fn an_alias_leads_to_a_load_balancer_of_this_account() {
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
async fn a_forward_to_several_groups_is_checked() {
    use aws_sdk_elasticloadbalancingv2::types::{
        ForwardActionConfig, TargetGroupStickinessConfig, TargetGroupTuple,
    };
    let network = Network::new().await;
    let load_balancer = network.load_balancer("shop").await;
    let mut groups = Vec::new();
    for number in 1..=6 {
        groups.push(network.target_group(&format!("shop-{number}")).await);
    }
    let tuple =
        |arn: &str, weight: i32| TargetGroupTuple::builder().target_group_arn(arn).weight(weight).build();
    let config =
        |tuples: Vec<TargetGroupTuple>| ForwardActionConfig::builder().set_target_groups(Some(tuples));
    let action = |config: ForwardActionConfig| {
        Action::builder().r#type(ActionTypeEnum::Forward).forward_config(config)
    };
    let create = |action: Action| {
        let create = network.elb.create_listener().load_balancer_arn(&load_balancer).port(80);
        create.protocol(ProtocolEnum::Http).default_actions(action).send()
    };
    let two = || vec![tuple(&groups[0], 90), tuple(&groups[1], 10)];
    let sticky = TargetGroupStickinessConfig::builder().enabled(true).build();
    let cases = [
        (action(config(vec![tuple(&groups[0], 1000)]).build()).build(), "ValidationError"),
        (
            action(config(vec![tuple(&groups[0], 1), tuple(&groups[0], 2)]).build()).build(),
            "InvalidConfigurationRequest",
        ),
        (action(config(groups.iter().map(|arn| tuple(arn, 1)).collect()).build()).build(), "ValidationError"),
        (action(config(two()).build()).target_group_arn(&groups[0]).build(), "InvalidConfigurationRequest"),
        (action(config(two()).target_group_stickiness_config(sticky).build()).build(), "ValidationError"),
        (action(config(Vec::new()).build()).build(), "ValidationError"),
    ];
    for (action, expected) in cases {
        let shown = format!("{action:?}");
        assert_eq!(code(create(action).await), expected, "{shown}");
    }
    let sticky = TargetGroupStickinessConfig::builder().enabled(true).duration_seconds(60).build();
    let made =
        create(action(config(two()).target_group_stickiness_config(sticky).build()).build()).await.unwrap();
    let shown = &made.listeners()[0].default_actions()[0];
    assert_eq!(shown.target_group_arn(), None, "only a single group is shown this way");
    let shown = shown.forward_config().unwrap();
    assert_eq!(shown.target_groups()[0].weight(), Some(90));
    assert_eq!(shown.target_group_stickiness_config().unwrap().duration_seconds(), Some(60));
}

#[tokio::test(start_paused = true)]
async fn quotas_hold() {
    let network = Network::new().await;
    let load_balancer = network.load_balancer("shop").await;
    let group = network.target_group("shop").await;
    for port in 1..=50 {
        network.http(&load_balancer, port, &group).await;
    }
    let one_more = network.elb.create_listener().load_balancer_arn(&load_balancer).port(51);
    let one_more = one_more.protocol(ProtocolEnum::Http).default_actions(forward(&group)).send().await;
    assert!(one_more.unwrap_err().into_service_error().is_too_many_listeners_exception());

    let targets = (0..1001).map(|number| {
        let address = format!("10.1.{}.{}", number / 250, number % 250);
        TargetDescription::builder().id(address).build()
    });
    let register =
        network.elb.register_targets().target_group_arn(&group).set_targets(Some(targets.collect()));
    assert!(register.send().await.unwrap_err().into_service_error().is_too_many_targets_exception());

    for number in 2..=50 {
        network.load_balancer(&format!("shop-{number}")).await;
    }
    let create = network.elb.create_load_balancer().name("shop-51").security_groups(&network.front);
    let one_more = create.set_subnets(Some(network.public.to_vec())).send().await;
    assert!(one_more.unwrap_err().into_service_error().is_too_many_load_balancers_exception());
}

#[tokio::test(start_paused = true)]
async fn a_load_balancer_uses_at_most_a_hundred_target_groups() {
    let network = Network::new().await;
    let load_balancer = network.load_balancer("shop").await;
    let mut groups = Vec::new();
    for number in 0..=100 {
        groups.push(network.target_group(&format!("shop-{number}")).await);
    }
    let listener = network.http(&load_balancer, 80, &groups[0]).await;
    let listener = listener.listener_arn().unwrap();
    let rule = |priority: i32, group: &str| {
        let create = network.elb.create_rule().listener_arn(listener).priority(priority);
        create.conditions(path(&format!("/{priority}"))).actions(forward(group)).send()
    };
    for (priority, group) in (1..).zip(&groups[1..100]) {
        rule(priority, group).await.unwrap();
        seconds(1.0).await;
    }
    let error = rule(100, &groups[100]).await.unwrap_err().into_service_error();
    assert!(error.is_too_many_unique_target_groups_per_load_balancer_exception());
}
