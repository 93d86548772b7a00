//! The availability zones of a stack: which zone each of the letters `a`, `b` and `c` stands for.

use aws_sdk_ec2::types::Subnet;
use stackdrop_specs::{Network, SubnetPlan};

use crate::aws::error::{AwsResult, StepError};
use crate::contract::component::Work;
use crate::contract::identity::{is_ours, of_stack};
use crate::contract::tagging::{filter, logical_id};
use crate::deployment::component_names::NETWORK;

/// The stack's subnets, in all of its VPCs.
pub(crate) async fn find_subnets(work: &Work<'_>) -> Result<Vec<Subnet>, StepError> {
    let pages = work.aws.ec2().describe_subnets().set_filters(Some(of_stack(work))).into_paginator().items();
    let mut all: Vec<Subnet> = pages.send().try_collect().await.doing("looking for the subnets")?;
    all.retain(|subnet| is_ours(work, NETWORK, subnet.tags(), subnet.subnet_id()));
    Ok(all)
}

/// A subnet's logical ID. Its range tells it, also after somebody changed its tags.
pub(crate) fn subnet_logical_id(work: &Work<'_>, subnet: &Subnet) -> String {
    let all = Network { zones: 3, ..work.spec.network.clone() }.subnets();
    let range = subnet.cidr_block().unwrap_or_default();
    let known = all.iter().find(|plan| plan.cidr.to_string() == range);
    known.map_or_else(|| logical_id(subnet.tags()).to_owned(), planned_logical_id)
}

/// The logical ID of a planned subnet.
pub(crate) fn planned_logical_id(plan: &SubnetPlan) -> String {
    format!("subnet/{}/{}", plan.tier, plan.zone)
}

/// The names of the zones that the stack's subnets are in, or will be in.
pub(crate) async fn zone_names(work: &Work<'_>) -> Result<Vec<String>, StepError> {
    let zones = Zones::read(work, &find_subnets(work).await?).await?;
    Ok(zones.assigned(work.spec.network.zone_letters().len()))
}

/// The zones that a stack uses, and those that it can use.
#[derive(Debug, Clone)]
pub(crate) struct Zones {
    /// The zone of each letter that has subnets: it keeps them.
    used: [Option<String>; 3],
    /// The other zones, by name. Zones that the spec excludes are not among them.
    free: Vec<String>,
}

impl Zones {
    pub(crate) async fn read<'s>(
        work: &Work<'_>,
        subnets: impl IntoIterator<Item = &'s Subnet> + Clone,
    ) -> Result<Self, StepError> {
        // A zone in which AWS refuses new resources for lack of capacity has the state `constrained`.
        let call = work.aws.ec2().describe_availability_zones().filters(filter("state", "available"));
        let call = call.filters(filter("zone-type", "availability-zone"));
        let response = call.send().await.doing("listing the region's availability zones")?;
        let names =
            response.availability_zones().iter().filter_map(|zone| zone.zone_name().map(str::to_owned));
        let mut free: Vec<String> = names.collect();
        free.sort();
        let used = [b'a', b'b', b'c'].map(|letter| {
            let suffix = format!("/{}", char::from(letter));
            let mut subnets = subnets.clone().into_iter();
            let subnet = subnets.find(|subnet| subnet_logical_id(work, subnet).ends_with(&suffix));
            subnet.and_then(|subnet| subnet.availability_zone().map(str::to_owned))
        });
        let excluded = &work.spec.network.exclude_zones;
        free.retain(|name| !used.iter().flatten().any(|used| used == name) && !excluded.contains(name));
        Ok(Self { used, free })
    }

    /// The zones of the first letters, in order; fewer if the region has too few.
    pub(crate) fn assigned(&self, count: usize) -> Vec<String> {
        let mut free = self.free.iter();
        let zones = self.used.iter().take(count);
        zones.filter_map(|used| used.as_ref().or_else(|| free.next()).cloned()).collect()
    }

    /// Leaves out zones in which AWS does not create subnets; the other letters keep their zones. Returns whether other zones
    /// are free, and no refused one has subnets already.
    pub(crate) fn replace(&mut self, assigned: &[String], refused: &[String]) -> bool {
        if self.used().any(|used| refused.contains(used)) {
            return false;
        }
        for (used, zone) in self.used.iter_mut().zip(assigned).filter(|(_, zone)| !refused.contains(zone)) {
            *used = Some(zone.clone());
        }
        self.free.retain(|name| !refused.contains(name) && !assigned.contains(name));
        self.free.len() >= refused.len()
    }

    /// The zones in use.
    pub(crate) fn used(&self) -> impl Iterator<Item = &String> {
        self.used.iter().flatten()
    }
}
