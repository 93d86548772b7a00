//! The VPC, its DNS attributes and its default security group.

use aws_sdk_ec2::types::{AttributeBooleanValue, IpPermission, ResourceType, RouteTable, VpcState};

use super::observed::Observed;
use super::{NAME, gateway, plan_missing};
use crate::aws::error::{AwsResult, StepError};
use crate::aws::join;
use crate::aws::no_retries;
use crate::contract::component::Work;
use crate::contract::dependents::dependents;
use crate::contract::tagging;
use crate::deployment::deletion::{Deletion, Dependents};
use crate::deployment::plan::{Plan, Verb};

/// The VPC's logical ID.
pub(super) const LOGICAL_ID: &str = "vpc";
/// The logical ID of the default security group in plans. AWS creates the group, without tags.
const DEFAULT_GROUP: &str = "default-security-group";

pub(super) fn plan(work: &Work<'_>, observed: &Observed, plan: &mut Plan) {
    let Some(vpc) = observed.vpc() else { return plan_missing(LOGICAL_ID, plan) };
    let (actual, desired) = (vpc.cidr_block().unwrap_or_default(), work.spec.network.cidr.to_string());
    if actual != desired {
        plan.problem(
            LOGICAL_ID,
            format!(
                "network.cidr cannot be changed from {actual} to {desired}: AWS cannot change it in place"
            ),
            format!("set network.cidr back to {actual}, or deploy a stack with another name"),
        );
    }
    if vpc.state() != Some(&VpcState::Available) {
        plan.change(Verb::Wait, LOGICAL_ID);
    }
    plan.tags(&work.stack, NAME, LOGICAL_ID, &tagging::read(vpc.tags()));
    for (field, on) in
        [("enableDnsSupport", observed.dns_support), ("enableDnsHostnames", observed.dns_hostnames)]
    {
        if !on {
            plan.update(LOGICAL_ID, field, false, true);
        }
    }
    for duplicate in observed.vpcs.iter().skip(1) {
        plan.change(Verb::Delete, format!("{LOGICAL_ID} ({})", duplicate.vpc_id().unwrap_or_default()));
    }
    let rules = rules_of_default_group(observed);
    if !(rules.0.is_empty() && rules.1.is_empty()) {
        plan.update(DEFAULT_GROUP, "rules", rules.0.len() + rules.1.len(), 0);
    }
}

/// Returns the VPC's ID once it is available. A missing VPC is created, and with it the internet gateway, which does not
/// depend on it.
pub(super) async fn apply(work: &Work<'_>, observed: &Observed) -> Result<String, StepError> {
    let Some(vpc) = observed.vpc() else {
        let gateway =
            async { if observed.gateways.is_empty() { gateway::create(work).await } else { Ok(()) } };
        join::both(create(work), gateway).await?;
        return Err(StepError::pending("the VPC to become available"));
    };
    let id = vpc.vpc_id().ok_or_else(|| StepError::incomplete("the VPC's ID"))?;
    let (actual, desired) = (vpc.cidr_block().unwrap_or_default(), work.spec.network.cidr.to_string());
    if actual != desired {
        return Err(StepError::InvalidSpec(format!(
            "network.cidr cannot be changed from {actual} to {desired}: set it back, or deploy a stack with another name"
        )));
    }
    for duplicate in observed.vpcs.iter().skip(1).filter_map(|duplicate| duplicate.vpc_id()) {
        let response =
            work.aws.ec2().delete_vpc().vpc_id(duplicate).send().await.unless(&["InvalidVpcID.NotFound"]);
        response.doing(format!("deleting VPC {duplicate}, a duplicate of {id}"))?;
    }
    if vpc.state() != Some(&VpcState::Available) {
        return Err(StepError::pending(format!("VPC {id} to become available")));
    }
    tagging::repair(work, NAME, LOGICAL_ID, id, &tagging::read(vpc.tags())).await?;
    Ok(id.to_owned())
}

async fn create(work: &Work<'_>) -> Result<(), StepError> {
    let call = work
        .aws
        .ec2()
        .create_vpc()
        .cidr_block(work.spec.network.cidr.to_string())
        .tag_specifications(tagging::specification(ResourceType::Vpc, work.stack.tags(NAME, LOGICAL_ID)))
        .customize()
        .config_override(aws_sdk_ec2::Config::builder().retry_config(no_retries()));
    let response = call.send().await.doing("creating the VPC")?;
    tracing::info!(id = response.vpc().and_then(|vpc| vpc.vpc_id()), "VPC created.");
    Ok(())
}

/// Turns on both DNS attributes, which interface endpoints with private names need. EC2 accepts one per call.
pub(super) async fn apply_dns(work: &Work<'_>, observed: &Observed, vpc: &str) -> Result<(), StepError> {
    let on = || AttributeBooleanValue::builder().value(true).build();
    let call = || work.aws.ec2().modify_vpc_attribute().vpc_id(vpc);
    let (not_visible, waiting_for) = (["InvalidVpcID.NotFound"], "the VPC to become visible");
    // Host names require DNS support, so the order matters.
    if !observed.dns_support {
        call().enable_dns_support(on()).send().await.stalled_on(
            &not_visible,
            waiting_for,
            format!("turning on DNS support in VPC {vpc}"),
        )?;
    }
    if !observed.dns_hostnames {
        call().enable_dns_hostnames(on()).send().await.stalled_on(
            &not_visible,
            waiting_for,
            format!("turning on DNS host names in VPC {vpc}"),
        )?;
    }
    Ok(())
}

/// Revokes all rules of the default group, so that a resource that is added to it by mistake is not reachable.
pub(super) async fn revoke_default_group_rules(
    work: &Work<'_>,
    observed: &Observed,
) -> Result<(), StepError> {
    let (ingress, egress) = rules_of_default_group(observed);
    let Some(id) = observed.default_group.as_ref().and_then(|group| group.group_id()) else { return Ok(()) };
    let doing = format!("revoking the rules of default security group {id}");
    let absent = ["InvalidPermission.NotFound"];
    if !ingress.is_empty() {
        let call = work.aws.ec2().revoke_security_group_ingress().group_id(id);
        call.set_ip_permissions(Some(ingress)).send().await.unless(&absent).doing(&doing)?;
    }
    if !egress.is_empty() {
        let call = work.aws.ec2().revoke_security_group_egress().group_id(id);
        call.set_ip_permissions(Some(egress)).send().await.unless(&absent).doing(&doing)?;
    }
    Ok(())
}

fn rules_of_default_group(observed: &Observed) -> (Vec<IpPermission>, Vec<IpPermission>) {
    let group = observed.default_group.as_ref();
    group.map_or_else(Default::default, |group| {
        (group.ip_permissions().to_vec(), group.ip_permissions_egress().to_vec())
    })
}

pub(super) async fn delete(
    work: &Work<'_>,
    observed: &Observed,
    deletion: &mut Deletion,
) -> Result<(), StepError> {
    for id in observed.vpcs.iter().filter_map(|vpc| vpc.vpc_id()) {
        let call = work.aws.ec2().delete_vpc().vpc_id(id).send().await;
        if call.deleted(&["InvalidVpcID.NotFound"], &["DependencyViolation"], format!("deleting VPC {id}"))? {
            tracing::info!(id, "VPC deleted.");
        } else {
            deletion.in_use(LOGICAL_ID, id, held_by(work, id).await?);
        }
    }
    Ok(())
}

/// Describes what prevents the VPC's deletion: the resources in it, except those that AWS creates with each VPC. The
/// stack's own resources are deleted before, so this mostly names resources of others.
/// Source: Amazon VPC User Guide, "Delete your VPC".
async fn held_by(work: &Work<'_>, vpc: &str) -> Result<Dependents, StepError> {
    let ec2 = work.aws.ec2();
    let inside = || tagging::filter("vpc-id", vpc);
    let doing = || format!("listing what remains in VPC {vpc}");
    let (subnets, groups, tables) = tokio::join!(
        ec2.describe_subnets().filters(inside()).send(),
        ec2.describe_security_groups().filters(inside()).send(),
        ec2.describe_route_tables().filters(inside()).send(),
    );
    let (subnets, groups, tables) = (subnets.doing(doing())?, groups.doing(doing())?, tables.doing(doing())?);
    let subnets = subnets.subnets().iter().filter_map(|subnet| {
        Some(format!("subnet {} ({})", subnet.subnet_id()?, subnet.cidr_block().unwrap_or_default()))
    });
    let groups = groups.security_groups().iter().filter(|group| group.group_name() != Some("default"));
    let groups = groups.filter_map(|group| {
        Some(format!("security group {} ({})", group.group_id()?, group.group_name().unwrap_or_default()))
    });
    let is_main = |table: &RouteTable| table.associations().iter().any(|it| it.main() == Some(true));
    let tables = tables.route_tables().iter().filter(|table| !is_main(table));
    let tables = tables.filter_map(|table| Some(format!("route table {}", table.route_table_id()?)));
    let others: Vec<String> = subnets.chain(groups).chain(tables).collect();
    let interfaces = dependents(work, "vpc-id", vpc, &[]).await?;
    if others.is_empty() {
        return Ok(interfaces);
    }
    let why = format!("it still contains {}; {}", others.join(", "), interfaces.why);
    Ok(Dependents { why, ..interfaces })
}
