//! The targets of the target groups: the tasks, which ECS registers and deregisters, and what others registered.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_elasticloadbalancingv2::types::{TargetGroup, TargetHealthDescription, TargetHealthStateEnum};
use futures::future::try_join_all;

use crate::aws::error::{AwsResult, StepError};
use crate::contract::component::Work;
use crate::contract::tagging::{filter, filter_any};
use crate::contract::targets;

/// The description of a task's network interface, which has the ARN of its attachment.
const TASK_INTERFACE: &str = "arn:*:ecs:*:attachment/*";

/// A target of one of the stack's target groups.
#[derive(Debug)]
pub(super) struct Target {
    /// Its address and port.
    pub(super) name: String,
    address: String,
    state: TargetHealthStateEnum,
    why: String,
    /// Whether it is an ECS task. ECS deregisters tasks while it stops them; it does not know other targets.
    pub(super) is_task: bool,
}

impl Target {
    fn of(described: &TargetHealthDescription) -> Option<Self> {
        let (target, health) = (described.target()?, described.target_health()?);
        let (id, port) = (target.id().unwrap_or_default(), target.port().unwrap_or_default());
        Some(Self {
            name: format!("{id}:{port}"),
            address: id.to_owned(),
            state: health.state()?.clone(),
            why: health.description().unwrap_or_default().to_owned(),
            is_task: false,
        })
    }

    pub(super) fn is_healthy(&self) -> bool {
        self.state == TargetHealthStateEnum::Healthy
    }

    /// Whether it is being deregistered: it still answers requests that it received before.
    pub(super) fn is_draining(&self) -> bool {
        self.state == TargetHealthStateEnum::Draining
    }

    /// Its state, with AWS's reason.
    pub(super) fn described(&self) -> String {
        let why = if self.why.is_empty() { String::new() } else { format!(": {}", self.why) };
        format!("{} is {}{why}", self.name, self.state.as_str())
    }
}

/// Reads the targets of target groups, by the groups' ARNs.
pub(super) async fn find_all(
    work: &Work<'_>,
    groups: &[TargetGroup],
) -> Result<BTreeMap<String, Vec<Target>>, StepError> {
    let vpcs: BTreeSet<&str> = groups.iter().filter_map(TargetGroup::vpc_id).collect();
    let arns = groups.iter().filter_map(TargetGroup::target_group_arn);
    let targets =
        try_join_all(arns.map(async |arn| Ok::<_, StepError>((arn.to_owned(), find(work, arn).await?))));
    let mut targets = targets.await?;
    if targets.iter().all(|(_, targets)| targets.is_empty()) {
        return Ok(BTreeMap::new());
    }
    let tasks = task_addresses(work, &vpcs).await?;
    for target in targets.iter_mut().flat_map(|(_, targets)| targets) {
        target.is_task = tasks.contains(&target.address);
    }
    Ok(targets.into_iter().collect())
}

/// Reads a group's targets.
async fn find(work: &Work<'_>, arn: &str) -> Result<Vec<Target>, StepError> {
    Ok(targets::of_group(work, arn).await?.iter().filter_map(Target::of).collect())
}

/// The addresses of the ECS tasks in these VPCs, by their network interfaces.
async fn task_addresses(work: &Work<'_>, vpcs: &BTreeSet<&str>) -> Result<BTreeSet<String>, StepError> {
    let vpcs: Vec<&str> = vpcs.iter().copied().collect();
    let filters = vec![filter_any("vpc-id", &vpcs), filter("description", TASK_INTERFACE)];
    let call = work.aws.ec2().describe_network_interfaces().set_filters(Some(filters));
    let interfaces: Result<Vec<_>, _> = call.into_paginator().items().send().try_collect().await;
    let interfaces = interfaces.doing("looking for the network interfaces of the tasks")?;
    Ok(interfaces.into_iter().filter_map(|interface| interface.private_ip_address).collect())
}
