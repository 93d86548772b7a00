//! What would keep the network from being created: asked only when something of it is missing.

use aws_sdk_ec2::types::{InternetGateway, Vpc};

use super::observed::Observed;
use super::{gateway, subnet_logical_id, subnets, vpc};
use crate::aws::error::{Answer, StepError};
use crate::contract::component::Work;
use crate::contract::quotas::{self, INTERNET_GATEWAYS, Need, VPCS};
use crate::deployment::plan::Plan;

pub(super) async fn plan(work: &Work<'_>, observed: &Observed, plan: &mut Plan) -> Result<(), StepError> {
    if observed.vpc().is_none() {
        let need = Need {
            resource: vpc::LOGICAL_ID,
            used: quotas::count(every_vpc(work).await?.len()),
            more: 1.0,
            instead: "delete a VPC that nobody uses",
        };
        quotas::check(work, VPCS, need, plan).await?;
    }
    if observed.gateways.is_empty() {
        let need = Need {
            resource: gateway::LOGICAL_ID,
            used: quotas::count(every_gateway(work).await?.len()),
            more: 1.0,
            instead: "delete an internet gateway that nobody uses",
        };
        quotas::check(work, INTERNET_GATEWAYS, need, plan).await?;
    }
    let mut desired = work.spec.network.subnets().into_iter();
    if desired.any(|subnet| !observed.subnets.contains_key(&subnet_logical_id(subnet.tier, subnet.zone))) {
        let there = subnets::zones(work, observed.subnets.values()).await?.len();
        if there < usize::from(work.spec.network.zones) {
            plan.problem(
                "subnet",
                format!(
                    "network.zones is {}, but only {there} availability zones of {} can be used",
                    work.spec.network.zones, work.aws.settings.region
                ),
                if there < 2 {
                    "deploy in another region: a stack needs two zones".to_owned()
                } else {
                    format!("set network.zones to {there}, or deploy in another region")
                },
            );
        }
    }
    Ok(())
}

/// Every VPC of the account in this region, whoever made it.
async fn every_vpc(work: &Work<'_>) -> Result<Vec<Vpc>, StepError> {
    let pages = work.aws.ec2().describe_vpcs().into_paginator().items();
    pages.send().try_collect().await.doing("counting the VPCs of the region")
}

/// Every internet gateway of the account in this region, whoever made it.
async fn every_gateway(work: &Work<'_>) -> Result<Vec<InternetGateway>, StepError> {
    let pages = work.aws.ec2().describe_internet_gateways().into_paginator().items();
    pages.send().try_collect().await.doing("counting the internet gateways of the region")
}
