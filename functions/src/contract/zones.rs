//! The availability zones of a stack: which zone each of the letters `a`, `b` and `c` stands for.

use aws_sdk_ec2::types::Subnet;

use crate::aws::error::{AwsResult, StepError};
use crate::contract::component::Work;
use crate::contract::tagging::{filter, logical_id, ours};
use crate::deployment::component_names::NETWORK;

/// The stack's subnets, in all of its VPCs.
pub(crate) async fn find_subnets(work: &Work<'_>) -> Result<Vec<Subnet>, StepError> {
    let pages =
        work.aws.ec2().describe_subnets().set_filters(Some(ours(work, NETWORK))).into_paginator().items();
    pages.send().try_collect().await.doing("looking for the subnets")
}

/// The names of the zones that the stack's subnets are in, or will be in.
pub(crate) async fn zone_names(work: &Work<'_>) -> Result<Vec<String>, StepError> {
    let zones = zones(work, &find_subnets(work).await?).await?;
    Ok(zones.into_iter().take(work.spec.network.zone_letters().len()).collect())
}

/// The names of the zones, in the order of their letters. A letter with existing subnets keeps its zone.
pub(crate) async fn zones<'s>(
    work: &Work<'_>,
    subnets: impl IntoIterator<Item = &'s Subnet> + Clone,
) -> Result<Vec<String>, StepError> {
    let call = work.aws.ec2().describe_availability_zones().filters(filter("state", "available"));
    let call = call.filters(filter("zone-type", "availability-zone"));
    let response = call.send().await.doing("listing the region's availability zones")?;
    let names = response.availability_zones().iter().filter_map(|zone| zone.zone_name().map(str::to_owned));
    let mut free: Vec<String> = names.collect();
    free.sort();
    let used: Vec<Option<String>> = (b'a'..=b'c')
        .map(|letter| {
            let suffix = format!("/{}", char::from(letter));
            let mut subnets = subnets.clone().into_iter();
            let subnet = subnets.find(|subnet| logical_id(subnet.tags()).ends_with(&suffix));
            subnet.and_then(|subnet| subnet.availability_zone().map(str::to_owned))
        })
        .collect();
    free.retain(|name| !used.iter().flatten().any(|used| used == name));
    let mut free = free.into_iter();
    Ok(used.into_iter().filter_map(|used| used.or_else(|| free.next())).collect())
}
