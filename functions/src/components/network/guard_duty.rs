//! GuardDuty's endpoint and security group in the stack's VPC.
//!
//! With Runtime Monitoring, GuardDuty adds an interface endpoint and a security group to every VPC with instances or tasks,
//! and deletes them only when Runtime Monitoring is disabled. They would prevent the deletion of the VPC that they protect,
//! so they are deleted with it, as Terraform does. Until then they are left alone, except that the endpoint leaves subnets that
//! are deleted before their VPC.
//!
//! Sources: "Disabling, uninstalling, and cleaning up resources in Runtime Monitoring" in the GuardDuty user guide ("If
//! required, you will need to delete the VPC endpoint manually"); hashicorp/terraform-provider-aws#46953.

use std::collections::BTreeSet;

use aws_sdk_ec2::types::{Filter, SecurityGroup, Subnet, VpcEndpoint};

use super::endpoint::is_deleted;
use super::observed::Observed;
use crate::aws::error::{AwsResult, StepError};
use crate::contract::component::Work;
use crate::contract::endpoints::delete_endpoints;
use crate::contract::tagging::{filter, filter_any};
use crate::deployment::deletion::Deletion;

/// The tag by which GuardDuty marks what it manages. The network's role may delete only endpoints and groups with it.
const TAG: &str = "GuardDutyManaged";
/// The end of the name of GuardDuty's endpoint service.
const SERVICE: &str = ".guardduty-data";

pub(super) async fn delete(
    work: &Work<'_>,
    observed: &Observed,
    deletion: &mut Deletion,
) -> Result<(), StepError> {
    let vpcs: Vec<&str> = observed.vpcs.iter().filter_map(|vpc| vpc.vpc_id()).collect();
    if vpcs.is_empty() {
        return Ok(());
    }
    let filters = || vec![filter_any("vpc-id", &vpcs), filter(&format!("tag:{TAG}"), "true")];
    let endpoints = find_endpoints(work, filters()).await?;
    if !endpoints.is_empty() {
        let ids: Vec<String> =
            endpoints.iter().filter_map(|endpoint| endpoint.vpc_endpoint_id.clone()).collect();
        let refused = delete_endpoints(work, &ids).await?;
        for id in ids {
            tracing::info!(id, "GuardDuty's endpoint in the stack's VPC is deleted with the VPC.");
            match refused.iter().find(|(refused, _)| *refused == id) {
                Some((_, why)) => deletion.held("guard-duty/endpoint", id, why),
                None => deletion.leaving("guard-duty/endpoint", id, "is being deleted"),
            }
        }
        // Its network interfaces use the group until it is deleted.
        return Ok(());
    }
    for group in find_groups(work, filters()).await? {
        let id = group.group_id().unwrap_or_default();
        let call = work.aws.ec2().delete_security_group().group_id(id).send().await;
        let doing = format!("deleting GuardDuty's security group {id}");
        if call.deleted(&["InvalidGroup.NotFound"], &["DependencyViolation", "InvalidGroup.InUse"], doing)? {
            tracing::info!(id, "GuardDuty's security group in the stack's VPC is deleted with the VPC.");
        } else {
            deletion.held("guard-duty/security-group", id, "something else uses it");
        }
    }
    Ok(())
}

/// Takes the endpoint out of subnets that are about to be deleted: it would keep a network interface in each of them for ever.
/// Returns the endpoint's ID: AWS is deleting any interface of it that is still in these subnets.
pub(super) async fn leave(work: &Work<'_>, subnets: &[&Subnet]) -> Result<Vec<String>, StepError> {
    let ids: BTreeSet<&str> = subnets.iter().filter_map(|subnet| subnet.subnet_id()).collect();
    let vpcs: BTreeSet<&str> = subnets.iter().filter_map(|subnet| subnet.vpc_id()).collect();
    if vpcs.is_empty() {
        return Ok(Vec::new());
    }
    let mut known = Vec::new();
    let vpcs: Vec<&str> = vpcs.into_iter().collect();
    let filters = vec![filter_any("vpc-id", &vpcs), filter(&format!("tag:{TAG}"), "true")];
    for endpoint in find_endpoints(work, filters).await? {
        known.extend(endpoint.vpc_endpoint_id.clone());
        let left: Vec<String> =
            endpoint.subnet_ids().iter().filter(|id| ids.contains(id.as_str())).cloned().collect();
        if left.is_empty() {
            continue;
        }
        let id = endpoint.vpc_endpoint_id().unwrap_or_default();
        let call = work.aws.ec2().modify_vpc_endpoint().vpc_endpoint_id(id);
        let call = call.set_remove_subnet_ids(Some(left.clone())).send().await;
        let waiting_for = format!("GuardDuty's endpoint {id} to become available");
        let doing = format!("taking GuardDuty's endpoint {id} out of the subnets {}", left.join(", "));
        call.stalled_on(&["IncorrectState"], &waiting_for, doing)?;
        tracing::info!(id, ?left, "GuardDuty's endpoint leaves subnets that are deleted.");
    }
    Ok(known)
}

async fn find_endpoints(work: &Work<'_>, filters: Vec<Filter>) -> Result<Vec<VpcEndpoint>, StepError> {
    let call = work.aws.ec2().describe_vpc_endpoints().set_filters(Some(filters));
    let pages = call.into_paginator().items().send();
    let mut all: Vec<VpcEndpoint> = pages.try_collect().await.doing("looking for GuardDuty's endpoint")?;
    all.retain(|endpoint| {
        endpoint.service_name().is_some_and(|name| name.ends_with(SERVICE)) && !is_deleted(endpoint)
    });
    Ok(all)
}

async fn find_groups(work: &Work<'_>, filters: Vec<Filter>) -> Result<Vec<SecurityGroup>, StepError> {
    let call = work.aws.ec2().describe_security_groups().set_filters(Some(filters));
    call.into_paginator().items().send().try_collect().await.doing("looking for GuardDuty's security group")
}
