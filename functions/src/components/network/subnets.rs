//! The subnets: public, private and database ones, one of each in every zone.

use aws_sdk_ec2::types::{AttributeBooleanValue, ResourceType, Subnet, SubnetState};
use stackdrop_specs::SubnetPlan;

use super::observed::Found;
use super::{NAME, plan_missing, subnet_role};
use crate::aws::once;
use crate::contract::component::Work;
use crate::deployment::deletion::Removal;
use crate::deployment::plan::{Plan, Verb};
use crate::aws::error::{Answer, StepError};
use crate::contract::dependents::holders;
use crate::contract::tagging;
use crate::aws::join;

pub(super) fn plan(work: &Work<'_>, found: &Found, plan: &mut Plan) {
    let wanted = work.spec.network.subnets();
    for subnet in &wanted {
        let role = subnet_role(subnet.tier, subnet.zone);
        match found.subnets.get(&role) {
            None => plan_missing(&role, plan),
            Some(there) => {
                if there.state() != Some(&SubnetState::Available) {
                    plan.change(Verb::Settle, &role);
                }
                plan.tags(&work.stack, NAME, &role, &tagging::read(there.tags()));
                if there.map_public_ip_on_launch() == Some(true) {
                    plan.update(&role, "mapPublicIpOnLaunch", true, false);
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
    for role in found.subnets.keys().filter(|role| !is_wanted(work, role)) {
        plan.change(Verb::Remove, role);
    }
}

/// Whether the spec asks for a subnet with this role.
pub(super) fn is_wanted(work: &Work<'_>, role: &str) -> bool {
    work.spec.network.subnets().iter().any(|subnet| subnet_role(subnet.tier, subnet.zone) == role)
}

/// Creates the missing ones. Whether there were any.
pub(super) async fn ensure(work: &Work<'_>, found: &Found, vpc: &str) -> Result<bool, StepError> {
    let wanted = work.spec.network.subnets();
    let missing: Vec<&SubnetPlan> = wanted
        .iter()
        .filter(|subnet| !found.subnets.contains_key(&subnet_role(subnet.tier, subnet.zone)))
        .collect();
    for (role, subnet) in &found.subnets {
        let id = subnet.subnet_id().unwrap_or_default();
        tagging::keep(work, NAME, role, id, &tagging::read(subnet.tags())).await?;
        if subnet.map_public_ip_on_launch() == Some(true) && is_wanted(work, role) {
            let off = AttributeBooleanValue::builder().value(false).build();
            let call = work.aws.ec2().modify_subnet_attribute().subnet_id(id).map_public_ip_on_launch(off);
            call.send().await.doing(format!("keeping public addresses off {id}"))?;
        }
    }
    if missing.is_empty() {
        return Ok(false);
    }
    let zones = zones(work, found.subnets.values()).await?;
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
            let there = there.find(|subnet| tagging::role(subnet.tags()).ends_with(&suffix));
            there.and_then(|subnet| subnet.availability_zone().map(str::to_owned))
        })
        .collect();
    free.retain(|name| !taken.iter().flatten().any(|taken| taken == name));
    let mut free = free.into_iter();
    Ok(taken.into_iter().filter_map(|taken| taken.or_else(|| free.next())).collect())
}

async fn create(work: &Work<'_>, vpc: &str, plan: &SubnetPlan, zones: &[String]) -> Result<(), StepError> {
    let role = subnet_role(plan.tier, plan.zone);
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
        .tag_specifications(tagging::specification(ResourceType::Subnet, work.stack.tags(NAME, &role)))
        .customize()
        .config_override(aws_sdk_ec2::Config::builder().retry_config(once()));
    // A conflict: a lost answer has made it, and EC2 does not show it yet; or somebody else took the range.
    let made = call.send().await.unless(&["InvalidSubnet.Conflict"]).doing(format!("creating the {role}"))?;
    match made {
        Some(answer) => {
            tracing::info!(id = answer.subnet().and_then(Subnet::subnet_id), role, "Subnet created.");
            Ok(())
        }
        None => conflict(work, vpc, plan).await,
    }
}

/// Who has the range: ours, shown late, or somebody else's subnet.
async fn conflict(work: &Work<'_>, vpc: &str, plan: &SubnetPlan) -> Result<(), StepError> {
    let call = work.aws.ec2().describe_subnets().filters(tagging::filter("vpc-id", vpc));
    let answer = call.send().await.doing("looking for the subnet that has the range")?;
    let foreign = answer.subnets().iter().find(|subnet| {
        let range = subnet.cidr_block().and_then(|range| range.parse::<ipnet::Ipv4Net>().ok());
        let overlaps = range.is_some_and(|range| range.contains(&plan.cidr) || plan.cidr.contains(&range));
        overlaps && !work.stack.owns(&tagging::read(subnet.tags()))
    });
    match foreign {
        Some(subnet) => Err(StepError::Foreign {
            what: format!("the subnet {}", subnet.subnet_id().unwrap_or_default()),
            fix: format!("it has addresses of {}, which the stack needs: delete it", plan.cidr),
        }),
        None => Err(StepError::pending(format!("the subnet with {} to be visible", plan.cidr))),
    }
}

/// Whether all subnets that there are can be used.
pub(super) fn available(found: &Found) -> bool {
    found.subnets.values().all(|subnet| subnet.state() == Some(&SubnetState::Available))
}

/// Deletes the subnets with these roles.
pub(super) async fn remove(
    work: &Work<'_>,
    found: &Found,
    removal: &mut Removal,
    which: impl Fn(&str) -> bool,
) -> Result<(), StepError> {
    let deletions = found.subnets.iter().filter(|(role, _)| which(role)).map(async |(role, subnet)| {
        let id = subnet.subnet_id().unwrap_or_default();
        let call = work.aws.ec2().delete_subnet().subnet_id(id).send().await;
        if call.gone(&["InvalidSubnetID.NotFound"], &["DependencyViolation"], format!("deleting {id}"))? {
            tracing::info!(id, role, "Subnet deleted.");
            return Ok(None);
        }
        Ok::<_, StepError>(Some((role, id, holders(work, "subnet-id", id).await?)))
    });
    for (role, id, why) in join::all(deletions).await?.into_iter().flatten() {
        removal.leave(role, id, why);
    }
    Ok(())
}
