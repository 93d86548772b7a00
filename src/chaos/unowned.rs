//! Resources of somebody else, with names that look like Stackdrop's: a chaos test must not change these.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use stackdrop_simulator::{Caller, Item, as_caller};

use super::driver::pause;
use crate::rehearsal::Rehearsal;

/// Creates the resources in the account.
pub(super) async fn create(rehearsal: &Rehearsal) -> Result<Vec<Item>> {
    let aws = rehearsal.aws();
    let create = async {
        let vpc = aws.ec2().create_vpc().cidr_block("10.20.0.0/16").send().await;
        let vpc = vpc.context("cannot create the VPC")?.vpc.and_then(|vpc| vpc.vpc_id);
        let vpc = vpc.context("the VPC has no ID")?;
        pause(Duration::from_mins(1)).await; // until the VPC is available
        let group = aws.ec2().create_security_group().group_name("shop-database").description("not ours");
        group.vpc_id(&vpc).send().await.context("cannot create the security group")?;
        let subnet = aws.ec2().create_subnet().vpc_id(&vpc).cidr_block("10.20.0.0/24");
        subnet.send().await.context("cannot create the subnet")?;
        let group = aws.logs().create_log_group().log_group_name("/stackdrop/shopping");
        group.send().await.context("cannot create the log group")
    };
    as_caller(Caller::new("neighbour"), create)
        .await
        .context("cannot create the resources of somebody else")?;
    let items = rehearsal.account().inventory();
    ensure!(items.len() >= 3, "resources of somebody else are missing: {items:?}");
    Ok(items)
}
