//! The targets of the target groups: the tasks, which ECS registers and deregisters, and what others registered.

use std::collections::BTreeSet;

use aws_sdk_elasticloadbalancingv2::types::{TargetHealthDescription, TargetHealthStateEnum};

use super::observed::ABSENT;
use crate::aws::error::{AwsResult, StepError};
use crate::contract::component::Work;
use crate::contract::tagging::{filter, filter_any};

/// The description of a task's network interface, which has the ARN of its attachment.
const TASK_INTERFACE: &str = "arn:*:ecs:*:attachment/*";

/// A target of one of the stack's target groups.
#[derive(Debug)]
pub(super) struct Target {
    /// Its address and port.
    pub(super) name: String,
    pub(super) address: String,
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

/// Reads a group's targets.
pub(super) async fn find(work: &Work<'_>, arn: &str) -> Result<Vec<Target>, StepError> {
    let call = work.aws.elb().describe_target_health().target_group_arn(arn).send().await;
    let observed = call.unless(&ABSENT).doing(format!("reading the targets of target group {arn}"))?;
    let described = observed.and_then(|observed| observed.target_health_descriptions).unwrap_or_default();
    Ok(described.iter().filter_map(Target::of).collect())
}

/// The addresses of the ECS tasks in these VPCs, by their network interfaces.
pub(super) async fn task_addresses(
    work: &Work<'_>,
    vpcs: &BTreeSet<String>,
) -> Result<BTreeSet<String>, StepError> {
    let vpcs: Vec<&str> = vpcs.iter().map(String::as_str).collect();
    let filters = vec![filter_any("vpc-id", &vpcs), filter("description", TASK_INTERFACE)];
    let call = work.aws.ec2().describe_network_interfaces().set_filters(Some(filters));
    let interfaces: Result<Vec<_>, _> = call.into_paginator().items().send().try_collect().await;
    let interfaces = interfaces.doing("looking for the network interfaces of the tasks")?;
    Ok(interfaces.into_iter().filter_map(|interface| interface.private_ip_address).collect())
}
