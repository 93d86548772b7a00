//! A network with one subnet for an instance, with or without a route to the internet.

#![expect(clippy::unwrap_used, reason = "a test that cannot continue fails here")]

use std::fmt::Debug;
use std::time::Duration;

use aws_sdk_ec2::operation::create_route::builders::CreateRouteFluentBuilder;
use aws_sdk_ec2::types::{
    IamInstanceProfileSpecification, InstanceType, ResourceType, Tag, TagSpecification,
};
use aws_sdk_ssm::error::ProvideErrorMetadata;
use aws_sdk_ssm::types::{InstanceInformationStringFilter, PingStatus};

use crate::common::{account, sdk};

pub(crate) struct Network {
    pub(crate) ssm: aws_sdk_ssm::Client,
    ec2: aws_sdk_ec2::Client,
    vpc: String,
    public: String,
    private: String,
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

impl Network {
    pub(crate) async fn open(with_way_out: bool) -> Self {
        let config = sdk(&account());
        let ec2 = aws_sdk_ec2::Client::new(&config);
        let iam = aws_sdk_iam::Client::new(&config);
        let trust = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}"#;
        iam.create_role().role_name("shop").assume_role_policy_document(trust).send().await.unwrap();
        let core = "arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore";
        iam.attach_role_policy().role_name("shop").policy_arn(core).send().await.unwrap();
        iam.create_instance_profile().instance_profile_name("shop").send().await.unwrap();
        iam.add_role_to_instance_profile()
            .instance_profile_name("shop")
            .role_name("shop")
            .send()
            .await
            .unwrap();
        let vpc =
            ec2.create_vpc().cidr_block("10.0.0.0/16").send().await.unwrap().vpc.unwrap().vpc_id.unwrap();
        wait(20).await;
        let mut subnets = Vec::new();
        for cidr in ["10.0.0.0/24", "10.0.1.0/24"] {
            let made = ec2.create_subnet().vpc_id(&vpc).cidr_block(cidr).availability_zone("eu-central-1a");
            subnets.push(made.send().await.unwrap().subnet.unwrap().subnet_id.unwrap());
        }
        wait(10).await;
        let private = subnets.pop().unwrap();
        let public = subnets.pop().unwrap();
        let network = Self { ssm: aws_sdk_ssm::Client::new(&config), ec2, vpc, public, private };
        if with_way_out {
            network.open_way_out().await;
        }
        network
    }

    pub(crate) async fn open_way_out(&self) {
        let gateway = self.ec2.create_internet_gateway().send().await.unwrap().internet_gateway.unwrap();
        let gateway = gateway.internet_gateway_id.unwrap();
        let address = self.ec2.allocate_address().send().await.unwrap().allocation_id.unwrap();
        wait(2).await;
        let attach = self.ec2.attach_internet_gateway().internet_gateway_id(&gateway).vpc_id(&self.vpc);
        attach.send().await.unwrap();
        let to_gateway = self.ec2.create_route().gateway_id(&gateway);
        self.route(std::slice::from_ref(&self.public), to_gateway).await;
        let nat = self.ec2.create_nat_gateway().subnet_id(&self.public).allocation_id(address);
        let nat = nat.send().await.unwrap().nat_gateway.unwrap().nat_gateway_id.unwrap();
        wait(2).await;
        self.route(std::slice::from_ref(&self.private), self.ec2.create_route().nat_gateway_id(nat)).await;
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

    /// Starts an instance, and waits until it runs.
    pub(crate) async fn launch(&self, with_profile: bool) -> String {
        let image = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64";
        let image = self.ssm.get_parameter().name(image).send().await.unwrap().parameter.unwrap();
        let tags = TagSpecification::builder()
            .resource_type(ResourceType::Instance)
            .tags(Tag::builder().key("Name").value("shop").build())
            .build();
        let mut run = self
            .ec2
            .run_instances()
            .image_id(image.value.unwrap())
            .instance_type(InstanceType::T3Micro)
            .min_count(1)
            .max_count(1)
            .subnet_id(&self.private)
            .tag_specifications(tags);
        if with_profile {
            run = run.iam_instance_profile(IamInstanceProfileSpecification::builder().name("shop").build());
        }
        let id = run.send().await.unwrap().instances()[0].instance_id().unwrap().to_owned();
        wait(40).await;
        id
    }

    pub(crate) async fn terminate(&self, id: &str) {
        self.ec2.terminate_instances().instance_ids(id).send().await.unwrap();
    }

    pub(crate) async fn ping(&self, id: &str) -> Option<PingStatus> {
        let filter =
            InstanceInformationStringFilter::builder().key("InstanceIds").values(id).build().unwrap();
        let found = self.ssm.describe_instance_information().filters(filter).send().await.unwrap();
        found.instance_information_list().first().and_then(|one| one.ping_status().cloned())
    }
}
