//! Preflight checks of the network. They run only if a resource is missing.

use aws_sdk_ec2::types::{InternetGateway, Vpc};

use super::observed::Observed;
use super::{gateway, subnet_logical_id, vpc};
use crate::aws::error::{AwsResult, StepError};
use crate::contract::component::Work;
use crate::contract::quotas::{self, INTERNET_GATEWAYS, Need, VPCS};
use crate::contract::zones::zones;
use crate::deployment::plan::Plan;

pub(super) async fn plan(work: &Work<'_>, observed: &Observed, plan: &mut Plan) -> Result<(), StepError> {
    if observed.vpc().is_none() {
        let need = Need {
            resource: vpc::LOGICAL_ID,
            used: quotas::count(every_vpc(work).await?.len()),
            more: 1.0,
            alternative: "delete an unused VPC",
        };
        quotas::check(work, VPCS, need, plan).await?;
    }
    if observed.gateways.is_empty() {
        let need = Need {
            resource: gateway::LOGICAL_ID,
            used: quotas::count(every_gateway(work).await?.len()),
            more: 1.0,
            alternative: "delete an unused internet gateway",
        };
        quotas::check(work, INTERNET_GATEWAYS, need, plan).await?;
    }
    let mut desired = work.spec.network.subnets().into_iter();
    if desired.any(|subnet| !observed.subnets.contains_key(&subnet_logical_id(subnet.tier, subnet.zone))) {
        let available = zones(work, observed.subnets.values()).await?.len();
        if available < usize::from(work.spec.network.zones) {
            plan.problem(
                "subnet",
                format!(
                    "network.zones is {}, but {} has only {available} usable availability zones",
                    work.spec.network.zones, work.aws.settings.region
                ),
                if available < 2 {
                    "deploy in another region: a stack needs two zones".to_owned()
                } else {
                    format!("set network.zones to {available}, or deploy in another region")
                },
            );
        }
    }
    Ok(())
}

/// All VPCs of the account in this region.
async fn every_vpc(work: &Work<'_>) -> Result<Vec<Vpc>, StepError> {
    let pages = work.aws.ec2().describe_vpcs().into_paginator().items();
    pages.send().try_collect().await.doing("counting the VPCs of the region")
}

/// All internet gateways of the account in this region.
async fn every_gateway(work: &Work<'_>) -> Result<Vec<InternetGateway>, StepError> {
    let pages = work.aws.ec2().describe_internet_gateways().into_paginator().items();
    pages.send().try_collect().await.doing("counting the internet gateways of the region")
}
