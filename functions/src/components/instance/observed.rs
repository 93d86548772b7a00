//! The observed state of a stack's EC2 instance.

use aws_sdk_ec2::types::{Instance, InstanceStateName};
use aws_sdk_iam::types::InstanceProfile;

use super::{NAME, ROLE, profile, role, server};
use crate::aws::error::{AwsResult, StepError};
use crate::contract::component::Work;
use crate::contract::roles;
use crate::contract::tagging::ours;
use crate::deployment::plan::{Plan, Verb};

/// The observed state of this stack's EC2 instance.
#[derive(Debug)]
pub(super) struct Observed {
    pub(super) role: Option<roles::Observed>,
    pub(super) profile: Option<InstanceProfile>,
    /// The instances that are not terminated. There can only be several if somebody copied the tags.
    pub(super) instances: Vec<Instance>,
    /// The terminated instances, which EC2 returns for about an hour.
    pub(super) terminated: Vec<Instance>,
}

impl Observed {
    pub(super) async fn read(work: &Work<'_>) -> Result<Self, StepError> {
        let desired = role();
        let (role, profile, instances) =
            tokio::try_join!(roles::find(work, &desired), find_profile(work), find_instances(work))?;
        let (terminated, mut instances): (Vec<_>, Vec<_>) = instances
            .into_iter()
            .partition(|instance| state(instance) == Some(&InstanceStateName::Terminated));
        instances.sort_by_key(|instance| instance.launch_time().map(aws_sdk_ec2::primitives::DateTime::secs));
        Ok(Self { role, profile, instances, terminated })
    }

    /// Plans the deletion of everything.
    pub(super) fn plan_deletion(&self, work: &Work<'_>, plan: &mut Plan) {
        if !self.instances.is_empty() {
            plan.change(Verb::Delete, server::LOGICAL_ID);
        }
        if self.profile.as_ref().is_some_and(|observed| profile::is_ours(work, observed)) {
            plan.change(Verb::Delete, profile::LOGICAL_ID);
        }
        if self.role.as_ref().is_some_and(|role| role.is_ours(work)) {
            plan.change(Verb::Delete, ROLE);
        }
    }
}

/// An instance's state.
pub(super) fn state(instance: &Instance) -> Option<&InstanceStateName> {
    instance.state().and_then(|state| state.name())
}

pub(super) async fn find_instances(work: &Work<'_>) -> Result<Vec<Instance>, StepError> {
    let call = work.aws.ec2().describe_instances().set_filters(Some(ours(work, NAME)));
    let reservations: Vec<_> =
        call.into_paginator().items().send().try_collect().await.doing("looking for the instance")?;
    let instances = reservations
        .into_iter()
        .flat_map(|reservation: aws_sdk_ec2::types::Reservation| reservation.instances.unwrap_or_default());
    Ok(instances.collect())
}

async fn find_profile(work: &Work<'_>) -> Result<Option<InstanceProfile>, StepError> {
    let name = roles::name(work, profile::LOGICAL_ID);
    let call = work.aws.iam().get_instance_profile().instance_profile_name(&name).send().await;
    let response = call.unless(&["NoSuchEntity"]).doing(format!("looking for instance profile {name}"))?;
    Ok(response.and_then(|response| response.instance_profile))
}
