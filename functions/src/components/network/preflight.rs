//! Preflight checks of the network. They run only if a resource is missing.

use aws_sdk_ec2::types::{InternetGateway, Vpc};

use super::observed::Observed;
use super::{gateway, subnet_logical_id, vpc};
use crate::aws::error::{AwsResult, StepError};
use crate::contract::component::Work;
use crate::contract::quotas::{self, INTERNET_GATEWAYS, Need, VPCS};
use crate::contract::tagging::filter;
use crate::contract::zones::Zones;
use crate::deployment::plan::Plan;

/// The largest number of zones that a spec can have.
const ZONES_MAX: usize = 3;

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
        let zones = Zones::read(work, observed.subnets.values()).await?;
        let available = zones.assigned(ZONES_MAX).len();
        for zone in zones.used().filter(|zone| work.spec.network.exclude_zones.contains(zone)) {
            plan.warn(
                "subnet",
                format!("network.excludeZones has {zone}, in which the stack already has subnets: they stay"),
                "deploy a stack with another name to use other zones",
            );
        }
        if available < usize::from(work.spec.network.zones) {
            plan.problem(
                "subnet",
                format!(
                    "network.zones is {}, but {} has only {available} usable availability zones",
                    work.spec.network.zones, work.aws.settings.region
                ),
                if available < 2 {
                    "exclude fewer zones, or deploy in another region: a stack needs two zones".to_owned()
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
    // VPCs that other accounts share do not count (Amazon VPC user guide, "Share your VPC subnets with other accounts").
    let call = work.aws.ec2().describe_vpcs().filters(filter("owner-id", &work.aws.settings.account));
    let pages = call.into_paginator().items();
    pages.send().try_collect().await.doing("counting the VPCs of the region")
}

/// All internet gateways of the account in this region.
async fn every_gateway(work: &Work<'_>) -> Result<Vec<InternetGateway>, StepError> {
    let call = work.aws.ec2().describe_internet_gateways();
    let pages = call.filters(filter("owner-id", &work.aws.settings.account)).into_paginator().items();
    pages.send().try_collect().await.doing("counting the internet gateways of the region")
}
