//! A VPC with three subnets, a security group, and a subnet group.

use std::fmt::Debug;
use std::time::Duration;

use aws_sdk_rds::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_rds::operation::create_db_instance::builders::CreateDBInstanceFluentBuilder;
use aws_sdk_rds::operation::modify_db_instance::builders::ModifyDBInstanceFluentBuilder;
use aws_sdk_rds::types::DbInstance;
use stackdrop_simulator::Account;

use crate::common::{account, sdk};

/// The median of the latency model from the call to `available`.
pub(crate) const AVAILABLE_SECONDS: f64 = 271.5;
/// The latency model's median for a deletion.
pub(crate) const GONE_SECONDS: f64 = 116.0;

pub(crate) struct Site {
    pub(crate) account: Account,
    pub(crate) rds: aws_sdk_rds::Client,
    pub(crate) ec2: aws_sdk_ec2::Client,
    pub(crate) vpc: String,
    /// In the zones a, b and c.
    pub(crate) subnets: Vec<String>,
    pub(crate) group: String,
}

pub(crate) async fn wait(seconds: f64) {
    tokio::time::advance(Duration::from_secs_f64(seconds)).await;
}

/// The code and the message of a refusal.
pub(crate) fn refusal<T: Debug, E: ProvideErrorMetadata + Debug>(
    answer: Result<T, SdkError<E>>,
) -> (String, String) {
    let error = answer.expect_err("it was not refused");
    (error.code().unwrap_or_default().to_owned(), error.message().unwrap_or_default().to_owned())
}

pub(crate) fn code<T: Debug, E: ProvideErrorMetadata + Debug>(answer: Result<T, SdkError<E>>) -> String {
    refusal(answer).0
}

impl Site {
    /// A VPC, without a subnet group in it.
    pub(crate) async fn bare() -> Self {
        let account = account();
        let config = sdk(&account);
        let ec2 = aws_sdk_ec2::Client::new(&config);
        let vpc = make_vpc(&ec2, "10.0.0.0/16").await;
        let mut subnets = Vec::new();
        for (number, zone) in ["a", "b", "c"].into_iter().enumerate() {
            subnets.push(make_subnet(&ec2, &vpc, &format!("10.0.{number}.0/24"), zone).await);
        }
        let group = make_group(&ec2, &vpc).await;
        // As in an account that has used RDS before.
        let iam = aws_sdk_iam::Client::new(&config);
        iam.create_service_linked_role().aws_service_name("rds.amazonaws.com").send().await.unwrap();
        wait(10.0).await;
        Self { account, rds: aws_sdk_rds::Client::new(&config), ec2, vpc, subnets, group }
    }

    /// A VPC with the subnet group `shop` in it.
    pub(crate) async fn open() -> Self {
        let site = Self::bare().await;
        let made = site.rds.create_db_subnet_group().db_subnet_group_name("shop");
        let made = made.db_subnet_group_description("databases");
        made.set_subnet_ids(Some(site.subnets.clone())).send().await.unwrap();
        wait(1.0).await;
        site
    }

    /// The creation of the database `shop`.
    pub(crate) fn create(&self) -> CreateDBInstanceFluentBuilder {
        self.rds
            .create_db_instance()
            .db_instance_identifier("shop")
            .engine("postgres")
            .engine_version("16.9")
            .db_instance_class("db.t4g.micro")
            .allocated_storage(20)
            .storage_type("gp3")
            .storage_encrypted(true)
            .manage_master_user_password(true)
            .master_username("stackdrop")
            .db_name("app")
            .vpc_security_group_ids(&self.group)
            .db_subnet_group_name("shop")
            .backup_retention_period(7)
    }

    /// The database `shop`, available.
    pub(crate) async fn with_database() -> Self {
        let site = Self::open().await;
        site.create().send().await.unwrap();
        wait(AVAILABLE_SECONDS).await;
        assert_eq!(site.status().await, "available");
        site
    }

    pub(crate) fn modify(&self) -> ModifyDBInstanceFluentBuilder {
        self.rds.modify_db_instance().db_instance_identifier("shop").apply_immediately(true)
    }

    pub(crate) async fn database(&self) -> DbInstance {
        let answer = self.rds.describe_db_instances().db_instance_identifier("shop").send().await;
        answer.unwrap().db_instances.unwrap().remove(0)
    }

    pub(crate) async fn status(&self) -> String {
        self.database().await.db_instance_status.unwrap()
    }

    /// The types of all existing RDS resources.
    pub(crate) fn kinds(&self) -> Vec<String> {
        let of_rds = |kind: &String| kind.starts_with("AWS::RDS") || kind.starts_with("AWS::SecretsManager");
        self.account.inventory().into_iter().map(|item| item.kind).filter(of_rds).collect()
    }

    /// The number of RDS's interfaces.
    pub(crate) async fn interfaces(&self) -> usize {
        let all = self.ec2.describe_network_interfaces().send().await.unwrap();
        let of_rds =
            all.network_interfaces().iter().filter(|it| it.description() == Some("RDSNetworkInterface"));
        of_rds.count()
    }
}

pub(crate) async fn make_vpc(ec2: &aws_sdk_ec2::Client, cidr: &str) -> String {
    let made = ec2.create_vpc().cidr_block(cidr).send().await.unwrap();
    wait(15.0).await;
    made.vpc.unwrap().vpc_id.unwrap()
}

pub(crate) async fn make_subnet(ec2: &aws_sdk_ec2::Client, vpc: &str, cidr: &str, zone: &str) -> String {
    let made = ec2.create_subnet().vpc_id(vpc).cidr_block(cidr);
    let made = made.availability_zone(format!("eu-central-1{zone}")).send().await.unwrap();
    made.subnet.unwrap().subnet_id.unwrap()
}

pub(crate) async fn make_group(ec2: &aws_sdk_ec2::Client, vpc: &str) -> String {
    let made = ec2.create_security_group().vpc_id(vpc).group_name("database").description("database");
    let group = made.send().await.unwrap().group_id.unwrap();
    wait(1.0).await;
    group
}
