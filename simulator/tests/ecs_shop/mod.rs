//! A shop for services: a network with a route to the internet, a load balancer, roles, a log group, a cluster.

#![expect(clippy::unwrap_used, reason = "a test that cannot continue fails here")]
#![allow(dead_code, reason = "each test file uses its own part of this")]

use std::fmt::Debug;
use std::time::Duration;

use aws_sdk_ec2::operation::create_route::builders::CreateRouteFluentBuilder;
use aws_sdk_ec2::types::{Filter, IpPermission, IpRange};
use aws_sdk_ecs::error::ProvideErrorMetadata;
use aws_sdk_ecs::operation::create_service::builders::CreateServiceFluentBuilder;
use aws_sdk_ecs::operation::register_task_definition::builders::RegisterTaskDefinitionFluentBuilder;
use aws_sdk_ecs::types::builders::ContainerDefinitionBuilder;
use aws_sdk_ecs::types::{
    AwsVpcConfiguration, Compatibility, ContainerDefinition, DeploymentCircuitBreaker,
    DeploymentConfiguration, DeploymentRolloutState, DesiredStatus, LaunchType, LoadBalancer,
    LogConfiguration, LogDriver, NetworkConfiguration, NetworkMode, PortMapping, Service,
    ServiceDeploymentStatus, Task, TaskField,
};
use aws_sdk_elasticloadbalancingv2::types::{
    Action, ActionTypeEnum, LoadBalancerStateEnum, ProtocolEnum, TargetGroupAttribute, TargetTypeEnum,
};
use stackdrop_simulator::Account;

use crate::common::{account, sdk};

pub(crate) struct Shop {
    pub(crate) account: Account,
    pub(crate) ecs: aws_sdk_ecs::Client,
    pub(crate) elb: aws_sdk_elasticloadbalancingv2::Client,
    ec2: aws_sdk_ec2::Client,
    iam: aws_sdk_iam::Client,
    logs: aws_sdk_cloudwatchlogs::Client,
    vpc: String,
    public: Vec<String>,
    pub(crate) subnets: Vec<String>,
    pub(crate) group: String,
    pub(crate) target_group: String,
}

pub(crate) async fn wait(seconds: u64) {
    tokio::time::advance(Duration::from_secs(seconds)).await;
}

pub(crate) fn assert_refused<T: Debug, E: ProvideErrorMetadata>(
    answer: Result<T, E>,
    code: &str,
    message: &str,
) {
    let error = match answer {
        Ok(answer) => panic!("it was not refused: {answer:?}"),
        Err(error) => error,
    };
    let text = error.message().unwrap_or_default();
    assert_eq!(error.code(), Some(code), "{text}");
    assert!(text.contains(message), "{text:?} does not contain {message:?}");
}

pub(crate) fn container(name: &str) -> ContainerDefinitionBuilder {
    ContainerDefinition::builder()
        .name(name)
        .image("shop/web:1")
        .port_mappings(PortMapping::builder().container_port(8080).build())
}

pub(crate) fn logs_to(group: &str) -> LogConfiguration {
    LogConfiguration::builder()
        .log_driver(LogDriver::Awslogs)
        .options("awslogs-group", group)
        .options("awslogs-region", "eu-central-1")
        .options("awslogs-stream-prefix", "web")
        .build()
        .unwrap()
}

fn role_arn(name: &str) -> String {
    format!("arn:aws:iam::123456789012:role/{name}")
}

impl Shop {
    /// An account with a cluster and roles that can be assumed only.
    pub(crate) async fn open() -> Self {
        let account = account();
        let config = sdk(&account);
        let shop = Self {
            ecs: aws_sdk_ecs::Client::new(&config),
            elb: aws_sdk_elasticloadbalancingv2::Client::new(&config),
            ec2: aws_sdk_ec2::Client::new(&config),
            iam: aws_sdk_iam::Client::new(&config),
            logs: aws_sdk_cloudwatchlogs::Client::new(&config),
            account,
            vpc: String::new(),
            public: Vec::new(),
            subnets: Vec::new(),
            group: String::new(),
            target_group: String::new(),
        };
        shop.role("shop-execution", "ecs-tasks.amazonaws.com").await;
        shop.role("shop-reader", "ecs-tasks.amazonaws.com").await;
        let policy = "arn:aws:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy";
        shop.iam.attach_role_policy().role_name("shop-execution").policy_arn(policy).send().await.unwrap();
        let reads = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"secretsmanager:GetSecretValue","Resource":"arn:aws:secretsmanager:*:*:secret:shop/*"}]}"#;
        let put =
            shop.iam.put_role_policy().role_name("shop-reader").policy_name("reads").policy_document(reads);
        put.send().await.unwrap();
        shop.logs.create_log_group().log_group_name("/shop").send().await.unwrap();
        shop.ecs.create_cluster().cluster_name("shop").send().await.unwrap_err();
        wait(30).await;
        shop.ecs.create_cluster().cluster_name("shop").send().await.unwrap();
        wait(30).await;
        shop
    }

    /// With a network whose private subnets have no route to the internet.
    pub(crate) async fn without_way_out() -> Self {
        let mut shop = Self::open().await;
        let vpc = shop.ec2.create_vpc().cidr_block("10.0.0.0/16").send().await.unwrap().vpc.unwrap();
        shop.vpc = vpc.vpc_id.unwrap();
        wait(20).await;
        for (place, cidr) in ["10.0.0.0/24", "10.0.1.0/24", "10.0.10.0/24", "10.0.11.0/24"].iter().enumerate()
        {
            let zone = ["eu-central-1a", "eu-central-1b"][place % 2];
            let made = shop.ec2.create_subnet().vpc_id(&shop.vpc).cidr_block(*cidr).availability_zone(zone);
            let id = made.send().await.unwrap().subnet.unwrap().subnet_id.unwrap();
            if place < 2 { shop.public.push(id) } else { shop.subnets.push(id) }
        }
        let group = shop.ec2.create_security_group().group_name("shop").description("all").vpc_id(&shop.vpc);
        shop.group = group.send().await.unwrap().group_id.unwrap();
        wait(10).await;
        let everybody = IpPermission::builder()
            .ip_protocol("-1")
            .ip_ranges(IpRange::builder().cidr_ip("0.0.0.0/0").build())
            .build();
        let authorize = shop.ec2.authorize_security_group_ingress().group_id(&shop.group);
        authorize.ip_permissions(everybody).send().await.unwrap();
        shop
    }

    /// With everything, the load balancer active.
    pub(crate) async fn ready() -> Self {
        let shop = Self::with_young_load_balancer().await;
        wait(300).await;
        shop
    }

    /// With everything, the load balancer just created.
    pub(crate) async fn with_young_load_balancer() -> Self {
        let mut shop = Self::without_way_out().await;
        shop.open_way_out().await;
        let made = shop.elb.create_load_balancer().name("shop").set_subnets(Some(shop.public.clone()));
        let made = made.security_groups(&shop.group).send().await.unwrap();
        let balancer = made.load_balancers()[0].load_balancer_arn().unwrap().to_owned();
        shop.target_group = shop.target_group("shop").await;
        wait(2).await;
        let delay =
            TargetGroupAttribute::builder().key("deregistration_delay.timeout_seconds").value("30").build();
        let modify = shop.elb.modify_target_group_attributes().target_group_arn(&shop.target_group);
        modify.attributes(delay).send().await.unwrap();
        let forward =
            Action::builder().r#type(ActionTypeEnum::Forward).target_group_arn(&shop.target_group).build();
        let listener = shop.elb.create_listener().load_balancer_arn(balancer).port(80);
        listener.protocol(ProtocolEnum::Http).default_actions(forward).send().await.unwrap();
        shop
    }

    /// Waits until the load balancer is active, for at most five minutes.
    pub(crate) async fn load_balancer_active(&self) {
        for _ in 0..300 {
            let found = self.elb.describe_load_balancers().names("shop").send().await.unwrap();
            let state = found.load_balancers()[0].state().and_then(|state| state.code()).cloned();
            if state == Some(LoadBalancerStateEnum::Active) {
                return;
            }
            wait(1).await;
        }
        panic!("the load balancer is not active after five minutes");
    }

    async fn open_way_out(&self) {
        let gateway = self.ec2.create_internet_gateway().send().await.unwrap().internet_gateway.unwrap();
        let gateway = gateway.internet_gateway_id.unwrap();
        let address = self.ec2.allocate_address().send().await.unwrap().allocation_id.unwrap();
        wait(2).await;
        let attach = self.ec2.attach_internet_gateway().internet_gateway_id(&gateway).vpc_id(&self.vpc);
        attach.send().await.unwrap();
        let to_gateway = self.ec2.create_route().gateway_id(&gateway);
        self.route(&self.public, to_gateway).await;
        let nat = self.ec2.create_nat_gateway().subnet_id(&self.public[0]).allocation_id(address);
        let nat = nat.send().await.unwrap().nat_gateway.unwrap().nat_gateway_id.unwrap();
        wait(2).await;
        self.route(&self.subnets, self.ec2.create_route().nat_gateway_id(nat)).await;
        wait(120).await;
    }

    /// Gives subnets a table with one default route.
    async fn route(&self, subnets: &[String], route: CreateRouteFluentBuilder) {
        let table = self.ec2.create_route_table().vpc_id(&self.vpc).send().await.unwrap();
        let table = table.route_table.unwrap().route_table_id.unwrap();
        wait(2).await;
        route.route_table_id(&table).destination_cidr_block("0.0.0.0/0").send().await.unwrap();
        for subnet in subnets {
            let associate = self.ec2.associate_route_table().route_table_id(&table).subnet_id(subnet);
            associate.send().await.unwrap();
        }
    }

    async fn target_group(&self, name: &str) -> String {
        let made = self.elb.create_target_group().name(name).vpc_id(&self.vpc).port(8080);
        let made = made.protocol(ProtocolEnum::Http).target_type(TargetTypeEnum::Ip);
        let made = made.health_check_interval_seconds(10).healthy_threshold_count(2);
        let made = made.unhealthy_threshold_count(2).health_check_timeout_seconds(5);
        made.send().await.unwrap().target_groups()[0].target_group_arn().unwrap().to_owned()
    }

    /// A target group that no listener uses.
    pub(crate) async fn lonely_target_group(&self) -> String {
        let arn = self.target_group("lonely").await;
        wait(2).await;
        arn
    }

    pub(crate) async fn role(&self, name: &str, service: &str) {
        let trust = format!(
            r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Principal":{{"Service":"{service}"}},"Action":"sts:AssumeRole"}}]}}"#
        );
        self.iam.create_role().role_name(name).assume_role_policy_document(trust).send().await.unwrap();
    }

    pub(crate) async fn delete_reader(&self) {
        let policy = self.iam.delete_role_policy().role_name("shop-reader").policy_name("reads");
        policy.send().await.unwrap();
        self.iam.delete_role().role_name("shop-reader").send().await.unwrap();
    }

    pub(crate) fn registration(
        &self,
        family: &str,
        container: ContainerDefinition,
    ) -> RegisterTaskDefinitionFluentBuilder {
        self.ecs
            .register_task_definition()
            .family(family)
            .requires_compatibilities(Compatibility::Fargate)
            .network_mode(NetworkMode::Awsvpc)
            .cpu("256")
            .memory("512")
            .execution_role_arn(role_arn("shop-execution"))
            .container_definitions(container)
    }

    pub(crate) async fn register(&self, family: &str, container: ContainerDefinitionBuilder) -> String {
        self.register_with_role(family, container, "shop-execution").await
    }

    pub(crate) async fn register_with_role(
        &self,
        family: &str,
        of: ContainerDefinitionBuilder,
        role: &str,
    ) -> String {
        let registration = self.registration(family, of.build()).execution_role_arn(role_arn(role));
        registration.send().await.unwrap().task_definition.unwrap().task_definition_arn.unwrap()
    }

    pub(crate) async fn register_logging(&self, family: &str) -> String {
        self.register(family, container("web").log_configuration(logs_to("/shop"))).await
    }

    pub(crate) fn network(subnet: &str, group: &str) -> NetworkConfiguration {
        let network = AwsVpcConfiguration::builder().subnets(subnet).security_groups(group).build().unwrap();
        NetworkConfiguration::builder().awsvpc_configuration(network).build()
    }

    /// The creation of a service of two tasks behind the load balancer, with the circuit breaker on.
    pub(crate) fn creation(&self, name: &str, definition: &str) -> CreateServiceFluentBuilder {
        let network = AwsVpcConfiguration::builder()
            .set_subnets(Some(self.subnets.clone()))
            .security_groups(&self.group)
            .build()
            .unwrap();
        let breaker = DeploymentCircuitBreaker::builder().enable(true).rollback(true).build();
        self.ecs
            .create_service()
            .cluster("shop")
            .service_name(name)
            .task_definition(definition)
            .desired_count(2)
            .launch_type(LaunchType::Fargate)
            .network_configuration(NetworkConfiguration::builder().awsvpc_configuration(network).build())
            .deployment_configuration(
                DeploymentConfiguration::builder().deployment_circuit_breaker(breaker).build(),
            )
            .load_balancers(
                LoadBalancer::builder()
                    .target_group_arn(&self.target_group)
                    .container_name("web")
                    .container_port(8080)
                    .build(),
            )
    }

    /// A service of one task without a load balancer.
    pub(crate) async fn worker(&self, name: &str, definition: &str) {
        let creation = self.creation(name, definition).set_load_balancers(None).desired_count(1);
        creation.send().await.unwrap();
    }

    pub(crate) async fn service(&self, name: &str) -> Service {
        let found = self.ecs.describe_services().cluster("shop").services(name).send().await.unwrap();
        found.services()[0].clone()
    }

    /// The service once it is steady, after at most ten minutes.
    pub(crate) async fn settled(&self, name: &str) -> Service {
        wait(1).await;
        for _ in 0..600 {
            let service = self.service(name).await;
            let first = &service.deployments()[0];
            let completed = first.rollout_state() == Some(&DeploymentRolloutState::Completed);
            if completed
                && service.deployments().len() == 1
                && service.running_count() == service.desired_count()
            {
                return service;
            }
            wait(1).await;
        }
        panic!("{name} is not steady: {:#?}", self.service(name).await.events());
    }

    /// The end of the newest deployment, after at most half an hour.
    pub(crate) async fn ended(&self, name: &str) -> DeploymentRolloutState {
        wait(1).await;
        for _ in 0..360 {
            let state = self.service(name).await.deployments()[0].rollout_state().cloned();
            if let Some(state) = state.filter(|state| *state != DeploymentRolloutState::InProgress) {
                return state;
            }
            wait(5).await;
        }
        panic!("{name} goes on for ever: {:#?}", self.service(name).await.events());
    }

    /// The newest service deployment's status and ARN.
    pub(crate) async fn story(&self, name: &str) -> (ServiceDeploymentStatus, String) {
        let found = self.ecs.list_service_deployments().cluster("shop").service(name).send().await.unwrap();
        let newest = found.service_deployments().last().unwrap();
        (newest.status().unwrap().clone(), newest.service_deployment_arn().unwrap().to_owned())
    }

    pub(crate) async fn tasks(&self, status: DesiredStatus) -> Vec<Task> {
        self.tasks_of("web", status).await
    }

    pub(crate) async fn tasks_of(&self, service: &str, status: DesiredStatus) -> Vec<Task> {
        wait(1).await;
        let list = self.ecs.list_tasks().cluster("shop").service_name(service).desired_status(status);
        let arns = list.send().await.unwrap().task_arns.unwrap_or_default();
        if arns.is_empty() {
            return Vec::new();
        }
        let describe = self.ecs.describe_tasks().cluster("shop").set_tasks(Some(arns));
        describe.include(TaskField::Tags).send().await.unwrap().tasks.unwrap_or_default()
    }

    /// The number of interfaces of tasks.
    pub(crate) async fn interfaces(&self) -> usize {
        let of_tasks = Filter::builder().name("description").values("arn:aws:ecs:*").build();
        let found = self.ec2.describe_network_interfaces().filters(of_tasks).send().await.unwrap();
        found.network_interfaces().len()
    }

    /// The lines that the containers wrote.
    pub(crate) async fn lines(&self) -> Vec<String> {
        let found = self.logs.filter_log_events().log_group_name("/shop").send().await.unwrap();
        found.events().iter().map(|event| event.message().unwrap().to_owned()).collect()
    }
}
