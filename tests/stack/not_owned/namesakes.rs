//! Resources of another owner that have the same names as ours.

use aws_sdk_ec2::types::Filter;
use aws_sdk_elasticloadbalancingv2::types::LoadBalancerSchemeEnum;
use aws_sdk_route53::types::{Change, ChangeAction, ChangeBatch, ResourceRecord, ResourceRecordSet, RrType};
use stackdrop_simulator::{Caller, as_caller};

use super::other_owner::{OtherOwner, wait};

const ZONE: &str = "Z0123456789ABCDEFGHIJ";
const TRUST: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}"#;
const INSTANCE_ROLE: &str = "stackdrop-shop-instance-eu-central-1";
const TASK_ROLE: &str = "stackdrop-shop-execution-eu-central-1";
/// The name of the stack's database, and of its subnet group and security group.
pub(super) const DATABASE: &str = "shop-database";

/// A resource with the same name as one of ours. The names of these are unique in an account or region.
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

impl OtherOwner<'_> {
    /// Creates a namesake, and returns the name by which error messages must identify it.
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
                format!("IAM role {name}")
            }
            Namesake::InstanceProfile => {
                let call = iam.create_instance_profile().instance_profile_name(INSTANCE_ROLE);
                call.set_tags(self.iam_tags()).send().await.unwrap();
                format!("instance profile {INSTANCE_ROLE}")
            }
            Namesake::LogGroup => {
                let tags = self.stack.map(|stack| [("stackdrop:stack".into(), stack.into())].into());
                let call = logs.create_log_group().log_group_name("/stackdrop/shop/web").set_tags(tags);
                call.send().await.unwrap();
                "log group /stackdrop/shop/web".into()
            }
            Namesake::Cluster => {
                // The first call in an account creates ECS's service-linked role, and is refused.
                let call = || ecs.create_cluster().cluster_name("shop").set_tags(self.ecs_tags());
                if call().send().await.is_err() {
                    wait(1).await;
                    call().send().await.unwrap();
                }
                "ECS cluster shop".into()
            }
            Namesake::TaskDefinition => self.register("stackdrop-shop_web").await,
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
                self.create_database_resource(namesake).await
            }
            Namesake::Record => {
                self.change_record(ChangeAction::Create, "shop.example.com").await;
                "DNS record shop.example.com (A)".into()
            }
        }
    }

    /// Registers the first revision of a family, and returns its name.
    pub(super) async fn register(&self, family: &str) -> String {
        let container = aws_sdk_ecs::types::ContainerDefinition::builder().name("web");
        let container = container.image("public.ecr.aws/docker/library/nginx:1.29").build();
        let call = self.aws().ecs().register_task_definition().family(family);
        let call = call.container_definitions(container).cpu("256").memory("512").set_tags(self.ecs_tags());
        let call = call.network_mode(aws_sdk_ecs::types::NetworkMode::Awsvpc);
        call.requires_compatibilities("FARGATE".into()).send().await.unwrap();
        format!("{family}:1")
    }

    async fn create_database_resource(&self, namesake: Namesake) -> String {
        let rds = &self.aws().rds();
        let group = async |name: &str| {
            let linked = self.aws().iam().create_service_linked_role().aws_service_name("rds.amazonaws.com");
            linked.send().await.unwrap();
            crate::pause(std::time::Duration::from_secs(5)).await;
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
                "DB parameter group shop-postgres17".into()
            }
            _ => {
                group("theirs").await;
                wait(1).await;
                let call = rds.create_db_instance().db_instance_identifier(DATABASE).engine("postgres");
                let call = call.db_subnet_group_name("theirs").db_instance_class("db.t4g.micro");
                let call = call.engine_version("17").storage_type("gp3").storage_encrypted(true);
                let call = call.allocated_storage(20).master_username("theirs").set_tags(self.rds_tags());
                call.manage_master_user_password(true).send().await.unwrap();
                "RDS instance shop-database".into()
            }
        }
    }

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
                let call = ecs.deregister_task_definition().task_definition("stackdrop-shop_web:1");
                call.send().await.unwrap();
                ecs.delete_task_definitions().task_definitions("stackdrop-shop_web:1").send().await.unwrap();
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

    /// The subnets of the owner's VPC.
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
}
