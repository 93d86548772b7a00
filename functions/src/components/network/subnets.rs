//! The subnets: public, private and database ones, one of each in every zone.

use aws_sdk_ec2::types::{AttributeBooleanValue, ResourceType, Subnet, SubnetState};
use stackdrop_specs::SubnetPlan;

use super::observed::Observed;
use super::{NAME, plan_missing, subnet_logical_id};
use crate::aws::error::{Answer, StepError};
use crate::aws::join;
use crate::aws::once;
use crate::contract::component::Work;
use crate::contract::dependents::dependents;
use crate::contract::tagging;
use crate::deployment::deletion::Deletion;
use crate::deployment::plan::{Plan, Verb};

pub(super) fn plan(work: &Work<'_>, observed: &Observed, plan: &mut Plan) {
    let desired = work.spec.network.subnets();
    for subnet in &desired {
        let logical_id = subnet_logical_id(subnet.tier, subnet.zone);
        match observed.subnets.get(&logical_id) {
            None => plan_missing(&logical_id, plan),
            Some(there) => {
                if there.state() != Some(&SubnetState::Available) {
                    plan.change(Verb::Wait, &logical_id);
                }
                plan.tags(&work.stack, NAME, &logical_id, &tagging::read(there.tags()));
                if there.map_public_ip_on_launch() == Some(true) {
                    plan.update(&logical_id, "mapPublicIpOnLaunch", true, false);
                }
            }
        }
    }
    let before = work.deployment.baseline.as_ref().map_or(0, |baseline| baseline.spec.network.zones);
    if before > work.spec.network.zones {
        plan.problem(
            "subnet",
            "network.zones can't shrink: the database and the load balancer stand in all zones",
            format!("set network.zones to {before}, or deploy a stack with another name"),
        );
        return;
    }
    // What a failed update to more zones has left.
    for logical_id in observed.subnets.keys().filter(|logical_id| !is_desired(work, logical_id)) {
        plan.change(Verb::Delete, logical_id);
    }
}

/// Whether the spec asks for a subnet with this logical ID.
pub(super) fn is_desired(work: &Work<'_>, logical_id: &str) -> bool {
    work.spec.network.subnets().iter().any(|subnet| subnet_logical_id(subnet.tier, subnet.zone) == logical_id)
}

/// Creates the missing ones. Whether there were any.
pub(super) async fn apply(work: &Work<'_>, observed: &Observed, vpc: &str) -> Result<bool, StepError> {
    let desired = work.spec.network.subnets();
    let missing: Vec<&SubnetPlan> = desired
        .iter()
        .filter(|subnet| !observed.subnets.contains_key(&subnet_logical_id(subnet.tier, subnet.zone)))
        .collect();
    for (logical_id, subnet) in &observed.subnets {
        let id = subnet.subnet_id().unwrap_or_default();
        tagging::keep(work, NAME, logical_id, id, &tagging::read(subnet.tags())).await?;
        if subnet.map_public_ip_on_launch() == Some(true) && is_desired(work, logical_id) {
            let off = AttributeBooleanValue::builder().value(false).build();
            let call = work.aws.ec2().modify_subnet_attribute().subnet_id(id).map_public_ip_on_launch(off);
            call.send().await.doing(format!("keeping public addresses off {id}"))?;
        }
    }
    if missing.is_empty() {
        return Ok(false);
    }
    let zones = zones(work, observed.subnets.values()).await?;
    join::all(missing.iter().map(|subnet| create(work, vpc, subnet, &zones))).await?;
    Ok(true)
}

/// The names of the zones by the plan's letters. Where subnets stand already, a letter keeps its zone.
pub(super) async fn zones<'s>(
    work: &Work<'_>,
    subnets: impl IntoIterator<Item = &'s Subnet> + Clone,
) -> Result<Vec<String>, StepError> {
    let call = work.aws.ec2().describe_availability_zones().filters(tagging::filter("state", "available"));
    let call = call.filters(tagging::filter("zone-type", "availability-zone"));
    let answer = call.send().await.doing("listing the region's availability zones")?;
    let names = answer.availability_zones().iter().filter_map(|zone| zone.zone_name().map(str::to_owned));
    let mut free: Vec<String> = names.collect();
    free.sort();
    let taken: Vec<Option<String>> = (b'a'..=b'c')
        .map(|letter| {
            let suffix = format!("/{}", char::from(letter));
            let mut there = subnets.clone().into_iter();
            let there = there.find(|subnet| tagging::logical_id(subnet.tags()).ends_with(&suffix));
            there.and_then(|subnet| subnet.availability_zone().map(str::to_owned))
        })
        .collect();
    free.retain(|name| !taken.iter().flatten().any(|taken| taken == name));
    let mut free = free.into_iter();
    Ok(taken.into_iter().filter_map(|taken| taken.or_else(|| free.next())).collect())
}

async fn create(work: &Work<'_>, vpc: &str, plan: &SubnetPlan, zones: &[String]) -> Result<(), StepError> {
    let logical_id = subnet_logical_id(plan.tier, plan.zone);
    let zone = zones.get(plan.zone_index()).ok_or_else(|| {
        StepError::InvalidSpec(format!(
            "network.zones is {}, but the region has only {} availability zones",
            work.spec.network.zones,
            zones.len()
        ))
    })?;
    let call = work
        .aws
        .ec2()
        .create_subnet()
        .vpc_id(vpc)
        .availability_zone(zone)
        .cidr_block(plan.cidr.to_string())
        .tag_specifications(tagging::specification(ResourceType::Subnet, work.stack.tags(NAME, &logical_id)))
        .customize()
        .config_override(aws_sdk_ec2::Config::builder().retry_config(once()));
    // A conflict: a lost answer has made it, and EC2 does not show it yet; or somebody else took the range.
    let made =
        call.send().await.unless(&["InvalidSubnet.Conflict"]).doing(format!("creating the {logical_id}"))?;
    match made {
        Some(answer) => {
            tracing::info!(id = answer.subnet().and_then(Subnet::subnet_id), logical_id, "Subnet created.");
            Ok(())
        }
        None => conflict(work, vpc, plan).await,
    }
}

/// Who has the range: ours, shown late, or somebody else's subnet.
async fn conflict(work: &Work<'_>, vpc: &str, plan: &SubnetPlan) -> Result<(), StepError> {
    let call = work.aws.ec2().describe_subnets().filters(tagging::filter("vpc-id", vpc));
    let answer = call.send().await.doing("looking for the subnet that has the range")?;
    let not_owned = answer.subnets().iter().find(|subnet| {
        let range = subnet.cidr_block().and_then(|range| range.parse::<ipnet::Ipv4Net>().ok());
        let overlaps = range.is_some_and(|range| range.contains(&plan.cidr) || plan.cidr.contains(&range));
        overlaps && !work.stack.owns(&tagging::read(subnet.tags()))
    });
    match not_owned {
        Some(subnet) => Err(StepError::NotOwned {
            what: format!("the subnet {}", subnet.subnet_id().unwrap_or_default()),
            fix: format!("it has addresses of {}, which the stack needs: delete it", plan.cidr),
        }),
        None => Err(StepError::pending(format!("the subnet with {} to be visible", plan.cidr))),
    }
}

/// Whether all subnets that there are can be used.
pub(super) fn available(observed: &Observed) -> bool {
    observed.subnets.values().all(|subnet| subnet.state() == Some(&SubnetState::Available))
}

/// Deletes the subnets with these roles.
pub(super) async fn delete(
    work: &Work<'_>,
    observed: &Observed,
    deletion: &mut Deletion,
    which: impl Fn(&str) -> bool,
) -> Result<(), StepError> {
    let deletions = observed.subnets.iter().filter(|(logical_id, _)| which(logical_id)).map(
        async |(logical_id, subnet)| {
            let id = subnet.subnet_id().unwrap_or_default();
            let call = work.aws.ec2().delete_subnet().subnet_id(id).send().await;
            if call.gone(&["InvalidSubnetID.NotFound"], &["DependencyViolation"], format!("deleting {id}"))? {
                tracing::info!(id, logical_id, "Subnet deleted.");
                return Ok(None);
            }
            Ok::<_, StepError>(Some((logical_id, id, dependents(work, "subnet-id", id).await?)))
        },
    );
    for (logical_id, id, why) in join::all(deletions).await?.into_iter().flatten() {
        deletion.remains(logical_id, id, why);
    }
    Ok(())
}
