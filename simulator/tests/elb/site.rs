//! A network for load balancers, and short forms of common calls.

use std::time::Duration;

use aws_sdk_ec2::types::{IpPermission, UserIdGroupPair};
use aws_sdk_elasticloadbalancingv2::Client;
use aws_sdk_elasticloadbalancingv2::error::ProvideErrorMetadata;
use aws_sdk_elasticloadbalancingv2::types::{
    Action, ActionTypeEnum, FixedResponseActionConfig, HostHeaderConditionConfig, Listener,
    LoadBalancerStateEnum, PathPatternConditionConfig, ProtocolEnum, RedirectActionConfig,
    RedirectActionStatusCodeEnum, RuleCondition, Tag, TargetTypeEnum,
};
use stackdrop_simulator::{Account, Seed};

use crate::common::{account, sdk};

pub(crate) const CERTIFICATE: &str =
    "arn:aws:acm:eu-central-1:123456789012:certificate/11111111-2222-3333-4444-555555555555";
pub(crate) const POLICY: &str = "ELBSecurityPolicy-TLS13-1-2-2021-06";

/// The error code of a refusal.
pub(crate) fn code<T: std::fmt::Debug, E: ProvideErrorMetadata>(result: Result<T, E>) -> String {
    result.expect_err("it should be refused").code().unwrap_or_default().to_owned()
}

/// The error message of a refusal.
pub(crate) fn message<T: std::fmt::Debug, E: ProvideErrorMetadata>(result: Result<T, E>) -> String {
    result.expect_err("it should be refused").message().unwrap_or_default().to_owned()
}

pub(crate) async fn seconds(seconds: f64) {
    tokio::time::advance(Duration::from_secs_f64(seconds)).await;
}

/// A network with two public subnets and a private one, and a group for the load balancer and for its targets.
pub(crate) struct Network {
    pub(crate) account: Account,
    pub ec2: aws_sdk_ec2::Client,
    pub(crate) elb: Client,
    pub(crate) vpc: String,
    pub(crate) public: [String; 2],
    pub(crate) private: String,
    pub(crate) front: String,
    pub(crate) back: String,
}

impl Network {
    pub(crate) async fn new() -> Self {
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
    pub(crate) async fn let_in(&self) {
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

    pub(crate) async fn load_balancer(&self, name: &str) -> String {
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

    pub(crate) async fn target_group(&self, name: &str) -> String {
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
    pub(crate) async fn http(&self, load_balancer: &str, port: i32, target_group: &str) -> Listener {
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

    pub(crate) async fn state(&self, load_balancer: &str) -> LoadBalancerStateEnum {
        let found =
            self.elb.describe_load_balancers().load_balancer_arns(load_balancer).send().await.unwrap();
        found.load_balancers()[0].state().unwrap().code().unwrap().clone()
    }

    /// The state and reason of a group's first target.
    pub(crate) async fn health(&self, target_group: &str) -> (String, String) {
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

pub(crate) async fn subnet(ec2: &aws_sdk_ec2::Client, vpc: &str, cidr: &str, zone: &str) -> String {
    let made = ec2.create_subnet().vpc_id(vpc).cidr_block(cidr).availability_zone(zone).send().await.unwrap();
    made.subnet.unwrap().subnet_id.unwrap()
}

pub(crate) async fn group(ec2: &aws_sdk_ec2::Client, vpc: &str, name: &str) -> String {
    let made =
        ec2.create_security_group().vpc_id(vpc).group_name(name).description(name).send().await.unwrap();
    made.group_id.unwrap()
}

pub(crate) fn tag(key: &str, value: &str) -> Tag {
    Tag::builder().key(key).value(value).build()
}

pub(crate) fn forward(target_group: &str) -> Action {
    Action::builder().r#type(ActionTypeEnum::Forward).target_group_arn(target_group).build()
}

pub(crate) fn redirect(config: RedirectActionConfig) -> Action {
    Action::builder().r#type(ActionTypeEnum::Redirect).redirect_config(config).build()
}

pub(crate) fn to_https() -> RedirectActionConfig {
    RedirectActionConfig::builder()
        .protocol("HTTPS")
        .port("443")
        .status_code(RedirectActionStatusCodeEnum::Http301)
        .build()
}

pub(crate) fn answer(status: &str) -> Action {
    let config = FixedResponseActionConfig::builder().status_code(status).content_type("text/plain").build();
    Action::builder().r#type(ActionTypeEnum::FixedResponse).fixed_response_config(config).build()
}

pub(crate) fn path(pattern: &str) -> RuleCondition {
    let config = PathPatternConditionConfig::builder().values(pattern).build();
    RuleCondition::builder().field("path-pattern").path_pattern_config(config).build()
}

pub(crate) fn host(pattern: &str) -> RuleCondition {
    let config = HostHeaderConditionConfig::builder().values(pattern).build();
    RuleCondition::builder().field("host-header").host_header_config(config).build()
}
