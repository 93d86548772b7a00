//! Somebody else who works in the same account, and whose things look like ours.

use std::collections::BTreeSet;
use std::time::Duration;

use aws_sdk_ec2::types::{
    Filter, IpPermission, Reservation, ResourceType, Tag, TagSpecification, UserIdGroupPair,
};
use aws_sdk_ecs::types::{AwsVpcConfiguration, LaunchType, NetworkConfiguration};
use aws_sdk_elasticloadbalancingv2::types::{
    Action, ActionTypeEnum, FixedResponseActionConfig, LoadBalancerSchemeEnum, PathPatternConditionConfig,
    ProtocolEnum, RuleCondition, TargetDescription, TargetTypeEnum,
};
use aws_sdk_route53::types::{Change, ChangeAction, ChangeBatch, ResourceRecord, ResourceRecordSet, RrType};
use serde_json::Value;
use stackdrop::Rehearsal;
use stackdrop_functions::Aws;
use stackdrop_simulator::{Caller, Item, as_caller};

use crate::object;

const ZONE: &str = "Z0123456789ABCDEFGHIJ";
const TRUST: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}"#;
const INSTANCE_ROLE: &str = "stackdrop-shop-instance-eu-central-1";
const TASK_ROLE: &str = "stackdrop-shop-execution-eu-central-1";
/// The names that the stack's database and its subnet group have.
const DATABASE: &str = "shop-database";

/// Something whose name is unique in an account or region, and is the one that the stack gives to its own.
#[derive(Debug, Clone, Copy)]
pub(super) enum Namesake {
    InstanceRole,
    TaskRole,
    InstanceProfile,
    LogGroup,
    Cluster,
    TaskDefinition,
    LoadBalancer,
    SubnetGroup,
    ParameterGroup,
    Database,
    Record,
}

impl Namesake {
    pub(super) const ALL: [Self; 11] = [
        Self::InstanceRole,
        Self::TaskRole,
        Self::InstanceProfile,
        Self::LogGroup,
        Self::Cluster,
        Self::TaskDefinition,
        Self::LoadBalancer,
        Self::SubnetGroup,
        Self::ParameterGroup,
        Self::Database,
        Self::Record,
    ];
}

/// Something in the midst of our stack.
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

/// Somebody else in the account, and the stack that the tag of their things names.
pub(super) struct OtherOwner<'r> {
    rehearsal: &'r Rehearsal,
    stack: Option<&'static str>,
    /// What was there before.
    before: BTreeSet<String>,
}

impl<'r> OtherOwner<'r> {
    pub(super) fn of(rehearsal: &'r Rehearsal, stack: Option<&'static str>) -> Self {
        let before = rehearsal.account().inventory().into_iter().map(|item| item.id).collect();
        Self { rehearsal, stack, before }
    }

    /// One who has a VPC with the name and range of ours, with subnets and a security group that are named as ours.
    pub(super) async fn with_similar_vpc(rehearsal: &'r Rehearsal, stack: Option<&'static str>) -> Self {
        let it = Self::of(rehearsal, stack);
        let settle = async {
            let ec2 = it.aws().ec2();
            let call = ec2.create_vpc().cidr_block("10.20.0.0/16");
            let call = call.tag_specifications(it.ec2_tags(ResourceType::Vpc, "shop-vpc"));
            let vpc = call.send().await.unwrap().vpc.unwrap().vpc_id.unwrap();
            wait(1).await;
            for (zone, range) in [("a", "10.20.0.0/18"), ("b", "10.20.64.0/18")] {
                let tags = it.ec2_tags(ResourceType::Subnet, &format!("shop-subnet-private-{zone}"));
                let call = ec2.create_subnet().vpc_id(&vpc).cidr_block(range).tag_specifications(tags);
                call.availability_zone(format!("eu-central-1{zone}")).send().await.unwrap();
            }
            let call = ec2.create_security_group().vpc_id(&vpc).group_name(DATABASE).description("theirs");
            let tags = it.ec2_tags(ResourceType::SecurityGroup, DATABASE);
            call.tag_specifications(tags).send().await.unwrap();
            wait(1).await;
        };
        as_caller(Caller::new("other-owner"), settle).await;
        it
    }

    fn aws(&self) -> &'r Aws {
        self.rehearsal.aws()
    }

    /// Everything of theirs, which the ledger watches from now on, and how many calls it has.
    pub(super) fn watch_resources(&self) -> (Vec<Item>, usize) {
        let account = self.rehearsal.account();
        let items = account.inventory().into_iter().filter(|item| !self.before.contains(&item.id));
        let items: Vec<Item> = items.filter(|item| item.component.is_empty()).collect();
        account.watch(items.iter().map(|item| item.id.clone()));
        (items, account.calls())
    }

    fn ec2_tags(&self, kind: ResourceType, name: &str) -> TagSpecification {
        let tag = |key: &str, value: &str| Tag::builder().key(key).value(value).build();
        let stack = self.stack.map(|stack| tag("stackdrop:stack", stack));
        let tags = stack.into_iter().chain([tag("Name", name)]).collect();
        TagSpecification::builder().resource_type(kind).set_tags(Some(tags)).build()
    }

    /// The tag of the stack, in the shape of another API.
    fn tags<T>(&self, tag: impl Fn(&str, &str) -> T) -> Option<Vec<T>> {
        self.stack.map(|stack| vec![tag("stackdrop:stack", stack)])
    }

    fn rds_tags(&self) -> Option<Vec<aws_sdk_rds::types::Tag>> {
        self.tags(|key, value| aws_sdk_rds::types::Tag::builder().key(key).value(value).build())
    }

    fn iam_tags(&self) -> Option<Vec<aws_sdk_iam::types::Tag>> {
        self.tags(|key, value| aws_sdk_iam::types::Tag::builder().key(key).value(value).build().unwrap())
    }

    fn ecs_tags(&self) -> Option<Vec<aws_sdk_ecs::types::Tag>> {
        self.tags(|key, value| aws_sdk_ecs::types::Tag::builder().key(key).value(value).build())
    }

    fn elb_tags(&self) -> Option<Vec<aws_sdk_elasticloadbalancingv2::types::Tag>> {
        self.tags(|key, value| {
            aws_sdk_elasticloadbalancingv2::types::Tag::builder().key(key).value(value).build()
        })
    }

    /// Makes a namesake of something of ours; gives the name that a person knows it by.
    pub(super) async fn create_namesake(&self, namesake: Namesake) -> String {
        let name = as_caller(Caller::new("other-owner"), Box::pin(self.create(namesake))).await;
        wait(30).await;
        name
    }

    async fn create(&self, namesake: Namesake) -> String {
        let (iam, logs, ecs) = (self.aws().iam(), self.aws().logs(), self.aws().ecs());
        match namesake {
            Namesake::InstanceRole | Namesake::TaskRole => {
                let name = if matches!(namesake, Namesake::TaskRole) { TASK_ROLE } else { INSTANCE_ROLE };
                let call = iam.create_role().role_name(name).assume_role_policy_document(TRUST);
                call.set_tags(self.iam_tags()).send().await.unwrap();
                format!("the role {name}")
            }
            Namesake::InstanceProfile => {
                let call = iam.create_instance_profile().instance_profile_name(INSTANCE_ROLE);
                call.set_tags(self.iam_tags()).send().await.unwrap();
                format!("the instance profile {INSTANCE_ROLE}")
            }
            Namesake::LogGroup => {
                let tags = self.stack.map(|stack| [("stackdrop:stack".into(), stack.into())].into());
                let call = logs.create_log_group().log_group_name("/stackdrop/shop/web").set_tags(tags);
                call.send().await.unwrap();
                "the log group /stackdrop/shop/web".into()
            }
            Namesake::Cluster => {
                // The first call of an account makes ECS's service-linked role, and is refused.
                let call = || ecs.create_cluster().cluster_name("shop").set_tags(self.ecs_tags());
                if call().send().await.is_err() {
                    wait(1).await;
                    call().send().await.unwrap();
                }
                "the cluster shop".into()
            }
            Namesake::TaskDefinition => self.register("shop-web").await,
            Namesake::LoadBalancer => {
                let call = self.aws().elb().create_load_balancer().name("shop").set_tags(self.elb_tags());
                let by_name = Filter::builder().name("group-name").values(DATABASE).build();
                let groups =
                    self.aws().ec2().describe_security_groups().filters(by_name).send().await.unwrap();
                let group = groups.security_groups()[0].group_id().unwrap();
                let call = call.scheme(LoadBalancerSchemeEnum::Internal).security_groups(group);
                call.set_subnets(Some(self.subnets().await)).send().await.unwrap();
                "loadbalancer/app/shop/".into()
            }
            Namesake::SubnetGroup | Namesake::ParameterGroup | Namesake::Database => {
                self.create_for_database(namesake).await
            }
            Namesake::Record => {
                self.change_record(ChangeAction::Create, "shop.example.com").await;
                "the DNS record shop.example.com (A)".into()
            }
        }
    }

    /// Registers the first revision of a family; gives its name.
    async fn register(&self, family: &str) -> String {
        let container = aws_sdk_ecs::types::ContainerDefinition::builder().name("web");
        let container = container.image("public.ecr.aws/docker/library/nginx:1.29").build();
        let call = self.aws().ecs().register_task_definition().family(family);
        let call = call.container_definitions(container).cpu("256").memory("512").set_tags(self.ecs_tags());
        let call = call.network_mode(aws_sdk_ecs::types::NetworkMode::Awsvpc);
        call.requires_compatibilities("FARGATE".into()).send().await.unwrap();
        format!("{family}:1")
    }

    async fn create_for_database(&self, namesake: Namesake) -> String {
        let rds = &self.aws().rds();
        let group = async |name: &str| {
            let call = rds.create_db_subnet_group().db_subnet_group_name(name);
            let call = call.db_subnet_group_description("theirs").set_tags(self.rds_tags());
            call.set_subnet_ids(Some(self.subnets().await)).send().await.unwrap();
        };
        match namesake {
            Namesake::SubnetGroup => {
                group(DATABASE).await;
                "subgrp:shop-database".into()
            }
            Namesake::ParameterGroup => {
                let call = rds.create_db_parameter_group().db_parameter_group_name("shop-postgres17");
                let call = call.db_parameter_group_family("postgres17").description("theirs");
                call.set_tags(self.rds_tags()).send().await.unwrap();
                "the parameter group shop-postgres17".into()
            }
            _ => {
                group("theirs").await;
                wait(1).await;
                let call = rds.create_db_instance().db_instance_identifier(DATABASE).engine("postgres");
                let call = call.db_subnet_group_name("theirs").db_instance_class("db.t4g.micro");
                let call = call.engine_version("17").storage_type("gp3").storage_encrypted(true);
                let call = call.allocated_storage(20).master_username("theirs").set_tags(self.rds_tags());
                call.manage_master_user_password(true).send().await.unwrap();
                "the database instance shop-database".into()
            }
        }
    }

    /// Takes the namesake away again.
    pub(super) async fn delete_namesake(&self, namesake: Namesake) {
        as_caller(Caller::new("other-owner"), Box::pin(self.delete(namesake))).await;
        wait(60).await;
    }

    async fn delete(&self, namesake: Namesake) {
        let aws = self.aws();
        let (iam, logs, ecs, rds, elb) = (aws.iam(), aws.logs(), aws.ecs(), aws.rds(), aws.elb());
        match namesake {
            Namesake::InstanceRole => drop(iam.delete_role().role_name(INSTANCE_ROLE).send().await.unwrap()),
            Namesake::TaskRole => drop(iam.delete_role().role_name(TASK_ROLE).send().await.unwrap()),
            Namesake::InstanceProfile => {
                iam.delete_instance_profile().instance_profile_name(INSTANCE_ROLE).send().await.unwrap();
            }
            Namesake::LogGroup => {
                logs.delete_log_group().log_group_name("/stackdrop/shop/web").send().await.unwrap();
            }
            Namesake::Cluster => drop(ecs.delete_cluster().cluster("shop").send().await.unwrap()),
            Namesake::TaskDefinition => {
                let call = ecs.deregister_task_definition().task_definition("shop-web:1");
                call.send().await.unwrap();
                ecs.delete_task_definitions().task_definitions("shop-web:1").send().await.unwrap();
            }
            Namesake::LoadBalancer => {
                let found = elb.describe_load_balancers().names("shop").send().await.unwrap();
                let arn = found.load_balancers()[0].load_balancer_arn().unwrap();
                elb.delete_load_balancer().load_balancer_arn(arn).send().await.unwrap();
            }
            Namesake::SubnetGroup => {
                rds.delete_db_subnet_group().db_subnet_group_name(DATABASE).send().await.unwrap();
            }
            Namesake::ParameterGroup => {
                let call = rds.delete_db_parameter_group().db_parameter_group_name("shop-postgres17");
                call.send().await.unwrap();
            }
            Namesake::Database => {
                let call = rds.delete_db_instance().db_instance_identifier(DATABASE);
                call.skip_final_snapshot(true).send().await.unwrap();
            }
            Namesake::Record => self.change_record(ChangeAction::Delete, "shop.example.com").await,
        }
    }

    /// The subnets of their own VPC.
    async fn subnets(&self) -> Vec<String> {
        let found = self.aws().ec2().describe_subnets().send().await.unwrap();
        found.subnets().iter().map(|subnet| subnet.subnet_id().unwrap().to_owned()).collect()
    }

    async fn change_record(&self, action: ChangeAction, name: &str) {
        let value = ResourceRecord::builder().value("198.51.100.7").build().unwrap();
        let record = ResourceRecordSet::builder().name(name).r#type(RrType::A).ttl(60);
        let record = record.resource_records(value).build().unwrap();
        let change = Change::builder().action(action).resource_record_set(record).build().unwrap();
        let batch = ChangeBatch::builder().changes(change).build().unwrap();
        let call = self.aws().route53().change_resource_record_sets().hosted_zone_id(ZONE);
        call.change_batch(batch).send().await.unwrap();
    }

    pub(super) async fn create_record(&self, name: &str) {
        let write = self.change_record(ChangeAction::Create, name);
        as_caller(Caller::new("other-owner"), write).await;
    }

    pub(super) async fn has_record(&self, name: &str) -> bool {
        let call = self.aws().route53().list_resource_record_sets().hosted_zone_id(ZONE);
        let found = call.send().await.unwrap();
        let mut records = found.resource_record_sets().iter();
        records.any(|record| {
            let values: Vec<&str> = record.resource_records().iter().map(ResourceRecord::value).collect();
            record.name().trim_end_matches('.') == name && values == ["198.51.100.7"]
        })
    }

    /// Puts something into the midst of our stack; gives the id that a message must name.
    pub(super) async fn add(&self, resource: &TheirResource) -> String {
        let outputs = object(self.rehearsal, "stacks/shop/baseline.json").await.unwrap()["outputs"].take();
        let id =
            as_caller(Caller::new("other-owner"), Box::pin(self.create_inside(resource, &outputs))).await;
        wait(5).await;
        id
    }

    async fn create_inside(&self, resource: &TheirResource, outputs: &Value) -> String {
        let (ec2, ecs, elb) = (self.aws().ec2(), self.aws().ecs(), self.aws().elb());
        let vpc = outputs["network"]["vpc"].as_str().unwrap();
        let subnet = outputs["network"]["privateSubnets"]["a"].as_str().unwrap();
        let ours = outputs["securityGroups"]["service"].as_str().unwrap();
        match resource {
            TheirResource::TargetGroupNamed(name) => {
                let call = elb.create_target_group().name(name).vpc_id(vpc).port(80);
                let call = call.protocol(ProtocolEnum::Http).target_type(TargetTypeEnum::Ip);
                call.set_tags(self.elb_tags()).send().await.unwrap();
                format!("the target group {name}")
            }
            TheirResource::ServiceNamed(name) => {
                let network = AwsVpcConfiguration::builder().subnets(subnet).build().unwrap();
                let network = NetworkConfiguration::builder().awsvpc_configuration(network).build();
                let call = ecs.create_service().cluster("shop").service_name(*name).desired_count(1);
                let call =
                    call.task_definition(self.register("theirs").await).launch_type(LaunchType::Fargate);
                let call = call.network_configuration(network).set_tags(self.ecs_tags());
                call.send().await.unwrap();
                format!("service/shop/{name}")
            }
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
            TheirResource::Instance => {
                let name = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64";
                let image = self.aws().ssm().get_parameter().name(name).send().await.unwrap();
                let call = ec2.run_instances().image_id(image.parameter.unwrap().value.unwrap());
                let call = call.instance_type("t3.micro".into()).min_count(1).max_count(1);
                let made = call.subnet_id(subnet).security_group_ids(ours).send().await.unwrap();
                // EC2 names the interface, not the instance that it is of.
                made.instances()[0].network_interfaces()[0].network_interface_id().unwrap().to_owned()
            }
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

    /// Takes the resource away again.
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

/// Lets AWS get done with something.
async fn wait(minutes: u64) {
    tokio::time::advance(Duration::from_mins(minutes)).await;
}
