//! Resources of another owner inside our stack.

use aws_sdk_ec2::types::{Filter, IpPermission, Reservation, ResourceType, UserIdGroupPair};
use aws_sdk_ecs::types::{AwsVpcConfiguration, LaunchType, NetworkConfiguration};
use aws_sdk_elasticloadbalancingv2::types::{
    Action, ActionTypeEnum, FixedResponseActionConfig, PathPatternConditionConfig, ProtocolEnum,
    RuleCondition, TargetDescription, TargetTypeEnum,
};
use serde_json::Value;
use stackdrop_simulator::{Caller, as_caller};

use super::other_owner::{OtherOwner, wait};
use crate::object;

/// A resource that the other owner creates inside our stack.
#[derive(Debug, Clone)]
pub(super) enum TheirResource {
    TargetGroupNamed(String),
    ServiceNamed(&'static str),
    GroupNamed(&'static str),
    GroupThatRefersToOurs,
    Subnet(&'static str),
    RouteTable,
    Interface,
    Instance,
    Target,
    Rule,
}

impl OtherOwner<'_> {
    /// Creates a resource inside our stack, and returns the ID that error messages must have.
    pub(super) async fn add(&self, resource: &TheirResource) -> String {
        let outputs = object(self.rehearsal, "stacks/shop/baseline.json").await.unwrap()["outputs"].take();
        let id =
            as_caller(Caller::new("other-owner"), Box::pin(self.create_inside(resource, &outputs))).await;
        wait(5).await;
        id
    }

    async fn create_inside(&self, resource: &TheirResource, outputs: &Value) -> String {
        let (ec2, elb) = (self.aws().ec2(), self.aws().elb());
        let vpc = outputs["network"]["vpc"].as_str().unwrap();
        let subnet = outputs["network"]["privateSubnets"]["a"].as_str().unwrap();
        let ours = outputs["securityGroups"]["service"].as_str().unwrap();
        match resource {
            TheirResource::TargetGroupNamed(name) => {
                let call = elb.create_target_group().name(name).vpc_id(vpc).port(80);
                let call = call.protocol(ProtocolEnum::Http).target_type(TargetTypeEnum::Ip);
                call.set_tags(self.elb_tags()).send().await.unwrap();
                format!("target group {name}")
            }
            TheirResource::ServiceNamed(name) => self.create_service(name, subnet).await,
            TheirResource::GroupNamed(name) => self.create_group(vpc, name).await,
            TheirResource::GroupThatRefersToOurs => {
                let id = self.create_group(vpc, "theirs").await;
                wait(1).await;
                let pair = UserIdGroupPair::builder().group_id(ours).build();
                let rule = IpPermission::builder().ip_protocol("-1").user_id_group_pairs(pair).build();
                let call = ec2.authorize_security_group_ingress().group_id(&id).ip_permissions(rule);
                call.send().await.unwrap();
                id
            }
            TheirResource::Subnet(range) => {
                let tags = self.ec2_tags(ResourceType::Subnet, "shop-subnet-private-c");
                let call = ec2.create_subnet().vpc_id(vpc).cidr_block(*range).tag_specifications(tags);
                call.send().await.unwrap().subnet.unwrap().subnet_id.unwrap()
            }
            TheirResource::RouteTable => {
                let tags = self.ec2_tags(ResourceType::RouteTable, "shop-route-table-public");
                let call = ec2.create_route_table().vpc_id(vpc).tag_specifications(tags);
                call.send().await.unwrap().route_table.unwrap().route_table_id.unwrap()
            }
            TheirResource::Interface => {
                let call = ec2.create_network_interface().subnet_id(subnet).groups(ours);
                let made = call.description("theirs").send().await.unwrap();
                made.network_interface.unwrap().network_interface_id.unwrap()
            }
            TheirResource::Instance => self.run_instance(subnet, ours).await,
            TheirResource::Target => {
                let target = TargetDescription::builder().id("10.20.0.99").port(8080).build();
                let group = outputs["loadBalancer"]["targetGroups"]["web"].as_str().unwrap();
                let call = elb.register_targets().target_group_arn(group).targets(target);
                call.send().await.unwrap();
                "10.20.0.99:8080".into()
            }
            TheirResource::Rule => self.create_rule(outputs).await,
        }
    }

    async fn create_service(&self, name: &str, subnet: &str) -> String {
        let ecs = self.aws().ecs();
        let network = AwsVpcConfiguration::builder().subnets(subnet).build().unwrap();
        let network = NetworkConfiguration::builder().awsvpc_configuration(network).build();
        let call = ecs.create_service().cluster("shop").service_name(name).desired_count(1);
        let call = call.task_definition(self.register("theirs").await).launch_type(LaunchType::Fargate);
        let call = call.network_configuration(network).set_tags(self.ecs_tags());
        call.send().await.unwrap();
        format!("service/shop/{name}")
    }

    async fn run_instance(&self, subnet: &str, group: &str) -> String {
        let ec2 = self.aws().ec2();
        let name = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64";
        let image = self.aws().ssm().get_parameter().name(name).send().await.unwrap();
        let call = ec2.run_instances().image_id(image.parameter.unwrap().value.unwrap());
        let call = call.instance_type("t3.micro".into()).min_count(1).max_count(1);
        let made = call.subnet_id(subnet).security_group_ids(group).send().await.unwrap();
        // EC2's error names the network interface, not the instance.
        made.instances()[0].network_interfaces()[0].network_interface_id().unwrap().to_owned()
    }

    async fn create_group(&self, vpc: &str, name: &str) -> String {
        let call =
            self.aws().ec2().create_security_group().vpc_id(vpc).group_name(name).description("theirs");
        let call = call.tag_specifications(self.ec2_tags(ResourceType::SecurityGroup, name));
        call.send().await.unwrap().group_id.unwrap()
    }

    async fn create_rule(&self, outputs: &Value) -> String {
        let elb = &self.aws().elb();
        let balancer = outputs["loadBalancer"]["arn"].as_str().unwrap();
        let found = elb.describe_listeners().load_balancer_arn(balancer).send().await.unwrap();
        let https = found.listeners().iter().find(|listener| listener.port() == Some(443)).unwrap();
        let path = PathPatternConditionConfig::builder().values("/theirs").build();
        let condition = RuleCondition::builder().field("path-pattern").path_pattern_config(path).build();
        let answer = FixedResponseActionConfig::builder().status_code("418").build();
        let action = Action::builder().r#type(ActionTypeEnum::FixedResponse).fixed_response_config(answer);
        let call = elb.create_rule().listener_arn(https.listener_arn().unwrap()).priority(40_000);
        let call = call.conditions(condition).actions(action.build()).set_tags(self.elb_tags());
        call.send().await.unwrap().rules()[0].rule_arn().unwrap().to_owned()
    }

    pub(super) async fn has_rule(&self, arn: &str) -> bool {
        let found = self.aws().elb().describe_rules().rule_arns(arn).send().await.unwrap();
        let priorities: Vec<_> = found.rules().iter().filter_map(|rule| rule.priority()).collect();
        priorities == ["40000"]
    }

    pub(super) async fn has_target(&self, target: &str) -> bool {
        let outputs = object(self.rehearsal, "stacks/shop/baseline.json").await.unwrap()["outputs"].take();
        let group = outputs["loadBalancer"]["targetGroups"]["web"].as_str().unwrap();
        let call = self.aws().elb().describe_target_health().target_group_arn(group);
        let found = call.send().await.unwrap();
        let mut targets = found.target_health_descriptions().iter().filter_map(|health| health.target());
        targets
            .any(|it| format!("{}:{}", it.id().unwrap_or_default(), it.port().unwrap_or_default()) == target)
    }

    pub(super) async fn remove(&self, resource: &TheirResource) {
        as_caller(Caller::new("other-owner"), Box::pin(self.delete_inside(resource))).await;
        wait(30).await;
    }

    async fn delete_inside(&self, resource: &TheirResource) {
        let (ec2, ecs, elb) = (self.aws().ec2(), self.aws().ecs(), self.aws().elb());
        match resource {
            TheirResource::TargetGroupNamed(name) => {
                let arn = self.target_group(name).await;
                elb.delete_target_group().target_group_arn(arn).send().await.unwrap();
            }
            TheirResource::ServiceNamed(name) => {
                let call = ecs.delete_service().cluster("shop").service(*name).force(true);
                call.send().await.unwrap();
                ecs.deregister_task_definition().task_definition("theirs:1").send().await.unwrap();
                wait(5).await;
                ecs.delete_task_definitions().task_definitions("theirs:1").send().await.unwrap();
            }
            TheirResource::GroupNamed(_) | TheirResource::GroupThatRefersToOurs => {
                let name = if let TheirResource::GroupNamed(name) = resource { name } else { "theirs" };
                let by_name = Filter::builder().name("group-name").values(name).build();
                let found = ec2.describe_security_groups().filters(by_name).send().await.unwrap();
                let id = found.security_groups()[0].group_id().unwrap();
                ec2.delete_security_group().group_id(id).send().await.unwrap();
            }
            TheirResource::Subnet(range) => {
                let by_range = Filter::builder().name("cidr-block").values(*range).build();
                let found = ec2.describe_subnets().filters(by_range).send().await.unwrap();
                let id = found.subnets()[0].subnet_id().unwrap();
                ec2.delete_subnet().subnet_id(id).send().await.unwrap();
            }
            TheirResource::RouteTable => {
                let (items, _) = self.watch_resources();
                ec2.delete_route_table().route_table_id(&items[0].id).send().await.unwrap();
            }
            TheirResource::Interface => {
                let by_text = Filter::builder().name("description").values("theirs").build();
                let found = ec2.describe_network_interfaces().filters(by_text).send().await.unwrap();
                let id = found.network_interfaces()[0].network_interface_id().unwrap();
                ec2.delete_network_interface().network_interface_id(id).send().await.unwrap();
            }
            TheirResource::Instance => {
                let found = ec2.describe_instances().send().await.unwrap();
                let instances = found.reservations().iter().flat_map(Reservation::instances);
                let mut theirs = instances.filter(|instance| instance.tags().is_empty());
                let id = theirs.next().unwrap().instance_id().unwrap();
                ec2.terminate_instances().instance_ids(id).send().await.unwrap();
            }
            TheirResource::Target => {
                let found = elb.describe_target_groups().send().await.unwrap();
                let target = TargetDescription::builder().id("10.20.0.99").port(8080).build();
                let group = found.target_groups()[0].target_group_arn().unwrap();
                let call = elb.deregister_targets().target_group_arn(group).targets(target);
                call.send().await.unwrap();
            }
            TheirResource::Rule => unreachable!("a rule goes with its listener"),
        }
    }

    async fn target_group(&self, name: &str) -> String {
        let found = self.aws().elb().describe_target_groups().names(name).send().await.unwrap();
        found.target_groups()[0].target_group_arn().unwrap().to_owned()
    }
}
