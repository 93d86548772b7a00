//! Another owner of resources in the same account.

use std::collections::BTreeSet;
use std::time::Duration;

use aws_sdk_ec2::types::{ResourceType, Tag, TagSpecification};
use stackdrop::Rehearsal;
use stackdrop_functions::Aws;
use stackdrop_simulator::{Caller, Item, as_caller};

use super::namesakes::DATABASE;

/// Another owner in the account, and the stack that the tags of its resources name.
pub(super) struct OtherOwner<'r> {
    pub(super) rehearsal: &'r Rehearsal,
    pub(super) stack: Option<&'static str>,
    /// The resources that existed before.
    before: BTreeSet<String>,
}

impl<'r> OtherOwner<'r> {
    pub(super) fn of(rehearsal: &'r Rehearsal, stack: Option<&'static str>) -> Self {
        let before = rehearsal.account().inventory().into_iter().map(|item| item.id).collect();
        Self { rehearsal, stack, before }
    }

    /// An owner whose VPC, subnets and security group have the names and the ranges of ours.
    pub(super) async fn with_similar_vpc(rehearsal: &'r Rehearsal, stack: Option<&'static str>) -> Self {
        let owner = Self::of(rehearsal, stack);
        let create_vpc = async {
            let ec2 = owner.aws().ec2();
            let call = ec2.create_vpc().cidr_block("10.20.0.0/16");
            let call = call.tag_specifications(owner.ec2_tags(ResourceType::Vpc, "shop-vpc"));
            let vpc = call.send().await.unwrap().vpc.unwrap().vpc_id.unwrap();
            wait(1).await;
            for (zone, range) in [("a", "10.20.0.0/18"), ("b", "10.20.64.0/18")] {
                let tags = owner.ec2_tags(ResourceType::Subnet, &format!("shop-subnet-private-{zone}"));
                let call = ec2.create_subnet().vpc_id(&vpc).cidr_block(range).tag_specifications(tags);
                call.availability_zone(format!("eu-central-1{zone}")).send().await.unwrap();
            }
            let call = ec2.create_security_group().vpc_id(&vpc).group_name(DATABASE).description("theirs");
            let tags = owner.ec2_tags(ResourceType::SecurityGroup, DATABASE);
            call.tag_specifications(tags).send().await.unwrap();
            wait(1).await;
        };
        as_caller(Caller::new("other-owner"), create_vpc).await;
        owner
    }

    pub(super) fn aws(&self) -> &'r Aws {
        self.rehearsal.aws()
    }

    /// The owner's resources, which the call log watches from now on, and the number of calls so far.
    pub(super) fn watch_resources(&self) -> (Vec<Item>, usize) {
        let account = self.rehearsal.account();
        let items = account.inventory().into_iter().filter(|item| !self.before.contains(&item.id));
        let items: Vec<Item> = items.filter(|item| item.component.is_empty()).collect();
        account.watch(items.iter().map(|item| item.id.clone()));
        (items, account.calls())
    }

    pub(super) fn ec2_tags(&self, kind: ResourceType, name: &str) -> TagSpecification {
        let tag = |key: &str, value: &str| Tag::builder().key(key).value(value).build();
        let stack = self.stack.map(|stack| tag("stackdrop:stack", stack));
        let tags = stack.into_iter().chain([tag("Name", name)]).collect();
        TagSpecification::builder().resource_type(kind).set_tags(Some(tags)).build()
    }

    /// The tag of the stack, in the type of another API.
    pub(super) fn tags<T>(&self, tag: impl Fn(&str, &str) -> T) -> Option<Vec<T>> {
        self.stack.map(|stack| vec![tag("stackdrop:stack", stack)])
    }

    pub(super) fn rds_tags(&self) -> Option<Vec<aws_sdk_rds::types::Tag>> {
        self.tags(|key, value| aws_sdk_rds::types::Tag::builder().key(key).value(value).build())
    }

    pub(super) fn iam_tags(&self) -> Option<Vec<aws_sdk_iam::types::Tag>> {
        self.tags(|key, value| aws_sdk_iam::types::Tag::builder().key(key).value(value).build().unwrap())
    }

    pub(super) fn ecs_tags(&self) -> Option<Vec<aws_sdk_ecs::types::Tag>> {
        self.tags(|key, value| aws_sdk_ecs::types::Tag::builder().key(key).value(value).build())
    }

    pub(super) fn elb_tags(&self) -> Option<Vec<aws_sdk_elasticloadbalancingv2::types::Tag>> {
        self.tags(|key, value| {
            aws_sdk_elasticloadbalancingv2::types::Tag::builder().key(key).value(value).build()
        })
    }
}

/// Lets simulated time pass until AWS has completed an operation.
pub(super) async fn wait(minutes: u64) {
    tokio::time::advance(Duration::from_mins(minutes)).await;
}
