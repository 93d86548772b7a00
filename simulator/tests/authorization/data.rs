//! RDS and Secrets Manager.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_sdk_rds::operation::create_db_instance::builders::CreateDBInstanceFluentBuilder;
use aws_sdk_rds::types::Tag;
use serde_json::{Value, json};
use stackdrop_simulator::{Account, Seed};

use crate::common::{account, sdk};
use crate::stage::{ROLE, acting, asked, assert_denied, everything, everything_but, give_role, key};

struct Site {
    account: Account,
    rds: aws_sdk_rds::Client,
}

impl Site {
    /// Two subnets, the subnet group `shop`, and a role with this statement.
    async fn open(statement: Value) -> Self {
        let account = account();
        let config = sdk(&account);
        let (network, rds) = (aws_sdk_ec2::Client::new(&config), aws_sdk_rds::Client::new(&config));
        // With the role, the calls need no permission to create it: rehearsals in a fresh account do.
        let iam = aws_sdk_iam::Client::new(&config);
        iam.create_service_linked_role().aws_service_name("rds.amazonaws.com").send().await.unwrap();
        let vpc = network.create_vpc().cidr_block("10.0.0.0/16").send().await.unwrap().vpc.unwrap();
        tokio::time::advance(Duration::from_secs(20)).await;
        let group = rds.create_db_subnet_group().db_subnet_group_name("shop");
        let mut group = group.db_subnet_group_description("databases");
        for (number, zone) in ["a", "b"].into_iter().enumerate() {
            let subnet = network.create_subnet().vpc_id(vpc.vpc_id().unwrap());
            let subnet = subnet.cidr_block(format!("10.0.{number}.0/24"));
            let made = subnet.availability_zone(format!("eu-central-1{zone}")).send().await.unwrap();
            group = group.subnet_ids(made.subnet.unwrap().subnet_id.unwrap());
        }
        tokio::time::advance(Duration::from_secs(20)).await;
        group.send().await.unwrap();
        tokio::time::advance(Duration::from_secs(20)).await;
        give_role(&account, ROLE, &statement);
        Self { account, rds }
    }

    fn create(&self) -> CreateDBInstanceFluentBuilder {
        self.rds
            .create_db_instance()
            .db_instance_identifier("shop")
            .engine("postgres")
            .engine_version("16.9")
            .db_instance_class("db.t4g.micro")
            .allocated_storage(20)
            .manage_master_user_password(true)
            .master_username("stackdrop")
            .db_subnet_group_name("shop")
            .copy_tags_to_snapshot(true)
            .tags(Tag::builder().key("stackdrop:stack").value("shop").build())
    }
}

#[tokio::test(start_paused = true)]
async fn a_database_needs_permission_for_its_groups_tags_secret_and_network() {
    let site = Site::open(everything()).await;
    acting(site.create().send()).await.unwrap();
    let mut asked = asked(&site.account);
    for request in &mut asked {
        if request.starts_with("kms:DescribeKey key/") {
            request.truncate("kms:DescribeKey key/".len());
        }
        if request.starts_with("ec2:DescribeVpcAttribute vpc/") {
            request.truncate("ec2:DescribeVpcAttribute vpc/".len());
        }
    }
    assert_eq!(
        asked,
        [
            "rds:CreateDBInstance db:shop",
            "rds:CreateDBInstance subgrp:shop",
            "rds:CreateDBInstance pg:default.postgres16",
            "rds:CreateDBInstance og:default:postgres-16",
            "rds:AddTagsToResource db:shop",
            "secretsmanager:CreateSecret secret:rds!db-*",
            "secretsmanager:TagResource secret:rds!db-*",
            "kms:DescribeKey key/",
            "ec2:DescribeAccountAttributes *",
            "ec2:DescribeAvailabilityZones *",
            "ec2:DescribeInternetGateways *",
            "ec2:DescribeSecurityGroups *",
            "ec2:DescribeSubnets *",
            "ec2:DescribeVpcs *",
            "ec2:DescribeVpcAttribute vpc/",
        ]
    );
    assert_eq!(key(&site.account, "rds:CreateDBInstance", "aws:RequestTag/stackdrop:stack"), json!(["shop"]));
}

#[tokio::test(start_paused = true)]
async fn rds_words_a_denial_by_another_service_itself() {
    for action in ["secretsmanager:CreateSecret", "kms:DescribeKey", "ec2:DescribeVpcs"] {
        let site = Site::open(everything_but(&[action])).await;
        let answer = acting(site.create().send()).await;
        assert_denied(answer, "AccessDenied", &format!("is not authorized to perform: {action}"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_final_snapshot_is_a_snapshot_with_the_tags_of_its_database() {
    let site = Site::open(everything()).await;
    site.create().send().await.unwrap();
    tokio::time::advance(Duration::from_mins(10)).await;
    let delete = site.rds.delete_db_instance().db_instance_identifier("shop");
    acting(delete.final_db_snapshot_identifier("shop-final").send()).await.unwrap();
    assert_eq!(
        asked(&site.account),
        [
            "rds:DeleteDBInstance db:shop",
            "rds:CreateDBSnapshot db:shop",
            "rds:CreateDBSnapshot snapshot:shop-final",
            "rds:AddTagsToResource snapshot:shop-final"
        ]
    );
    let tag = key(&site.account, "rds:DeleteDBInstance", "aws:ResourceTag/stackdrop:stack");
    assert_eq!(tag, json!(["shop"]));
}

#[tokio::test(start_paused = true)]
async fn listing_all_databases_needs_permission_on_all() {
    let site = Site::open(everything()).await;
    acting(site.rds.describe_db_instances().send()).await.unwrap();
    assert_eq!(asked(&site.account), ["rds:DescribeDBInstances db:*"]);
}

#[tokio::test(start_paused = true)]
async fn the_tags_of_a_secret_are_set_under_both_keys() {
    const ARN: &str = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:shop/key-AbCdEf";
    let account = account();
    let tags = BTreeMap::from([("stackdrop:shared".into(), "yes".into())]);
    account.seed(&Seed::SecretOf {
        arn: ARN.into(),
        tags,
        kms_key: Some("arn:aws:kms:eu-central-1:123456789012:key/k".into()),
    });
    let secrets = aws_sdk_secretsmanager::Client::new(&sdk(&account));
    for (shared, allowed) in [("yes", true), ("no", false)] {
        give_role(
            &account,
            ROLE,
            &json!({
                "Effect": "Allow", "Action": "secretsmanager:DescribeSecret", "Resource": ARN,
                "Condition": { "StringEquals": {
                    "secretsmanager:ResourceTag/stackdrop:shared": shared,
                    "aws:ResourceTag/stackdrop:shared": shared,
                } },
            }),
        );
        let answer = acting(secrets.describe_secret().secret_id("shop/key").send()).await;
        if allowed {
            assert_eq!(answer.unwrap().kms_key_id(), Some("arn:aws:kms:eu-central-1:123456789012:key/k"));
        } else {
            assert_denied(answer, "AccessDeniedException", "secretsmanager:DescribeSecret");
        }
    }
}
