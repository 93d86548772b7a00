//! The subnets: a public, a private and a database subnet in every zone.

use aws_sdk_ec2::types::{AttributeBooleanValue, ResourceType, Subnet, SubnetState};
use stackdrop_specs::SubnetPlan;

use super::observed::Observed;
use super::{NAME, plan_missing, subnet_logical_id};
use crate::aws::error::{AwsResult, StepError};
use crate::aws::join;
use crate::aws::no_retries;
use crate::contract::component::Work;
use crate::contract::dependents::dependents;
use crate::contract::identity;
use crate::contract::tagging;
use crate::contract::zones::Zones;
use crate::deployment::deletion::Deletion;
use crate::deployment::plan::{Plan, Verb};

pub(super) fn plan(work: &Work<'_>, observed: &Observed, plan: &mut Plan) {
    let desired = work.spec.network.subnets();
    for subnet in &desired {
        let logical_id = subnet_logical_id(subnet.tier, subnet.zone);
        match observed.subnets.get(&logical_id) {
            None => plan_missing(&logical_id, plan),
            Some(existing) => {
                if existing.state() != Some(&SubnetState::Available) {
                    plan.change(Verb::Wait, &logical_id);
                }
                plan.tags(&work.stack, NAME, &logical_id, &tagging::read(existing.tags()));
                if existing.map_public_ip_on_launch() == Some(true) {
                    plan.update(&logical_id, "mapPublicIpOnLaunch", true, false);
                }
            }
        }
    }
    let baseline_zones = work.deployment.baseline.as_ref().map_or(0, |baseline| baseline.spec.network.zones);
    if baseline_zones > work.spec.network.zones {
        plan.problem(
            "subnet",
            "network.zones cannot be reduced: the database and the load balancer use all zones",
            format!("set network.zones to {baseline_zones}, or deploy a stack with another name"),
        );
        return;
    }
    // Left by a failed update to more zones.
    for logical_id in observed.subnets.keys().filter(|logical_id| !is_desired(work, logical_id)) {
        plan.change(Verb::Delete, logical_id);
    }
}

/// Whether the spec asks for a subnet with this logical ID.
pub(super) fn is_desired(work: &Work<'_>, logical_id: &str) -> bool {
    work.spec.network.subnets().iter().any(|subnet| subnet_logical_id(subnet.tier, subnet.zone) == logical_id)
}

/// Creates the missing subnets. Returns whether any were missing.
pub(super) async fn apply(work: &Work<'_>, observed: &Observed, vpc: &str) -> Result<bool, StepError> {
    let desired = work.spec.network.subnets();
    let mut missing: Vec<&SubnetPlan> = desired
        .iter()
        .filter(|subnet| !observed.subnets.contains_key(&subnet_logical_id(subnet.tier, subnet.zone)))
        .collect();
    for (logical_id, subnet) in &observed.subnets {
        let id = subnet.subnet_id().unwrap_or_default();
        tagging::repair(work, NAME, logical_id, id, &tagging::read(subnet.tags())).await?;
        if subnet.map_public_ip_on_launch() == Some(true) && is_desired(work, logical_id) {
            let off = AttributeBooleanValue::builder().value(false).build();
            let call = work.aws.ec2().modify_subnet_attribute().subnet_id(id).map_public_ip_on_launch(off);
            call.send().await.doing(format!("turning off public IP addresses in subnet {id}"))?;
        }
    }
    if missing.is_empty() {
        return Ok(false);
    }
    let mut zones = Zones::read(work, observed.subnets.values()).await?;
    loop {
        let assigned = zones.assigned(work.spec.network.zone_letters().len());
        let created = join::all(missing.iter().map(|subnet| create(work, vpc, subnet, &assigned))).await?;
        let refused: Vec<(&SubnetPlan, StepError)> = missing
            .iter()
            .zip(created)
            .filter_map(|(subnet, refused)| refused.map(|error| (*subnet, error)))
            .collect();
        missing = refused.iter().map(|(subnet, _)| *subnet).collect();
        let mut refused_zones: Vec<String> =
            missing.iter().filter_map(|subnet| assigned.get(subnet.zone_index()).cloned()).collect();
        refused_zones.sort();
        refused_zones.dedup();
        let Some((_, error)) = refused.into_iter().next() else { return Ok(true) };
        if !zones.replace(&assigned, &refused_zones) {
            return Err(error);
        }
        tracing::warn!(?refused_zones, "AWS creates no subnets in these zones: others are used.");
    }
}

async fn create(
    work: &Work<'_>,
    vpc: &str,
    plan: &SubnetPlan,
    zones: &[String],
) -> Result<Option<StepError>, StepError> {
    let logical_id = subnet_logical_id(plan.tier, plan.zone);
    let zone = zones.get(plan.zone_index()).ok_or_else(|| {
        StepError::InvalidSpec(format!(
            "network.zones is {}, but the region has only {} usable availability zones",
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
        .config_override(aws_sdk_ec2::Config::builder().retry_config(no_retries()));
    // A conflict: a lost response created the subnet, and EC2 does not show it yet; or another subnet has the range.
    let created = call.send().await.unless(&["InvalidSubnet.Conflict"]).stalled_on(
        &["InvalidVpcID.NotFound"],
        "the VPC to become visible",
        format!("creating subnet {logical_id}"),
    );
    match created {
        Ok(Some(response)) => {
            tracing::info!(id = response.subnet().and_then(Subnet::subnet_id), logical_id, "Subnet created.");
            Ok(None)
        }
        Ok(None) => conflict(work, vpc, plan).await.map(|()| None),
        Err(error) if refuses_zone(&error) => Ok(Some(error)),
        Err(error) => Err(error),
    }
}

/// Whether AWS creates no subnets in the zone: accounts list zones that take no new ones. The code is a general one, so the
/// message decides. Source: `awslabs/ecs-refarch-continuous-deployment#12`.
fn refuses_zone(error: &StepError) -> bool {
    matches!(error, StepError::Refused { source, .. }
        if source.code == "InvalidParameterValue"
            && source.message.contains("Subnets can currently only be created in"))
}

/// Finds the subnet that has the range: another one, or this stack's, which EC2 does not show yet.
async fn conflict(work: &Work<'_>, vpc: &str, plan: &SubnetPlan) -> Result<(), StepError> {
    let call = work.aws.ec2().describe_subnets().filters(tagging::filter("vpc-id", vpc));
    let response = call.send().await.doing("looking for the subnet with the conflicting range")?;
    let not_owned = response.subnets().iter().find(|subnet| {
        let range = subnet.cidr_block().and_then(|range| range.parse::<ipnet::Ipv4Net>().ok());
        let overlaps = range.is_some_and(|range| range.contains(&plan.cidr) || plan.cidr.contains(&range));
        overlaps && !work.stack.owns(&tagging::read(subnet.tags()))
    });
    match not_owned {
        Some(subnet) => Err(StepError::NotOwned {
            what: format!("subnet {}", subnet.subnet_id().unwrap_or_default()),
            fix: format!(
                "delete the subnet, which overlaps the range {} that the stack needs; if it is the stack's own, {} instead",
                plan.cidr,
                identity::fix(work, subnet.subnet_id().unwrap_or_default())
            ),
        }),
        None => Err(StepError::stalled(format!("the subnet with the range {} to become visible", plan.cidr))),
    }
}

/// Whether all existing subnets are available.
pub(super) fn available(observed: &Observed) -> bool {
    observed.subnets.values().all(|subnet| subnet.state() == Some(&SubnetState::Available))
}

/// Deletes the subnets whose logical IDs `which` selects. AWS is deleting the interfaces of the endpoints that are `leaving`.
pub(super) async fn delete(
    work: &Work<'_>,
    observed: &Observed,
    deletion: &mut Deletion,
    leaving: &[String],
    which: impl Fn(&str) -> bool,
) -> Result<(), StepError> {
    let deletions = observed.subnets.iter().filter(|(logical_id, _)| which(logical_id)).map(
        async |(logical_id, subnet)| {
            let id = subnet.subnet_id().unwrap_or_default();
            let call = work.aws.ec2().delete_subnet().subnet_id(id).send().await;
            if call.deleted(
                &["InvalidSubnetID.NotFound"],
                &["DependencyViolation"],
                format!("deleting subnet {logical_id} ({id})"),
            )? {
                tracing::info!(id, logical_id, "Subnet deleted.");
                return Ok(None);
            }
            Ok::<_, StepError>(Some((logical_id, id, dependents(work, "subnet-id", id, leaving).await?)))
        },
    );
    for (logical_id, id, why) in join::all(deletions).await?.into_iter().flatten() {
        deletion.in_use(logical_id, id, why);
    }
    Ok(())
}
