//! The observed state of a stack's EC2 instance.

use aws_sdk_ec2::types::{Instance, InstanceStateName};
use aws_sdk_iam::types::InstanceProfile;

use super::{NAME, ROLE, profile, role, server};
use crate::aws::error::{AwsResult, StepError};
use crate::contract::component::Work;
use crate::contract::identity::{Lost, is_ours, of_stack};
use crate::contract::roles::{self, Expected};
use crate::contract::tagging::filter;
use crate::deployment::plan::{Plan, Verb};

/// The observed state of this stack's EC2 instance.
#[derive(Debug)]
pub(super) struct Observed {
    pub(super) role: Option<roles::Observed>,
    pub(super) profile: Option<InstanceProfile>,
    /// The instances that are not terminated. There can only be several if somebody copied the tags, or for a moment if the
    /// answer to a launch was lost.
    pub(super) instances: Vec<Instance>,
    /// The terminated instances, which EC2 returns for about an hour.
    pub(super) terminated: Vec<Instance>,
    /// The instance of the baseline, if it lacks the stack's tag.
    pub(super) lost: Vec<Lost>,
}

impl Observed {
    pub(super) async fn read(work: &Work<'_>) -> Result<Self, StepError> {
        let desired = role();
        let expected = if work.spec.instance.is_some() { Expected::Policy } else { Expected::Nothing };
        let ((role, profile), instances) = tokio::try_join!(
            async {
                let role = roles::find(work, &desired, expected).await?;
                // A profile is deleted before its role: a stack without both an instance and the role has none.
                let without = role.is_none() && work.spec.instance.is_none() && !work.deployment.destroying;
                let profile = if without { None } else { find_profile(work).await? };
                Ok::<_, StepError>((role, profile))
            },
            find_instances(work)
        )?;
        let (terminated, mut instances): (Vec<_>, Vec<_>) = instances
            .into_iter()
            .partition(|instance| state(instance) == Some(&InstanceStateName::Terminated));
        instances.sort_by_key(|instance| instance.launch_time().map(aws_sdk_ec2::primitives::DateTime::secs));
        let lost = find_lost(work, instances.iter().chain(&terminated)).await?;
        Ok(Self { role, profile, instances, terminated, lost })
    }

    /// Plans the loss of what the instance has on its disk.
    pub(super) fn plan_loss(&self, work: &Work<'_>, plan: &mut Plan) {
        if self.instances.iter().any(|one| state(one) != Some(&InstanceStateName::ShuttingDown)) {
            server::loss(&server::name(work)).plan(work, plan);
        }
    }

    /// Plans the deletion of everything.
    pub(super) fn plan_deletion(&self, work: &Work<'_>, plan: &mut Plan) {
        if !self.instances.is_empty() {
            plan.change(Verb::Delete, server::LOGICAL_ID);
            self.plan_loss(work, plan);
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
    let call = work.aws.ec2().describe_instances().set_filters(Some(of_stack(work)));
    let reservations: Vec<_> =
        call.into_paginator().items().send().try_collect().await.doing("looking for the instance")?;
    let instances = reservations
        .into_iter()
        .flat_map(|reservation: aws_sdk_ec2::types::Reservation| reservation.instances.unwrap_or_default());
    Ok(instances.filter(|one| is_ours(work, NAME, one.tags(), one.instance_id())).collect())
}

/// Finds the instance of the baseline, if it still exists, but was not found by the stack's tag. EC2 removes the tags of a
/// terminated instance some time after its termination.
async fn find_lost(
    work: &Work<'_>,
    found: impl IntoIterator<Item = &Instance>,
) -> Result<Vec<Lost>, StepError> {
    let baseline = work.deployment.baseline.as_ref();
    let id = baseline.and_then(|baseline| baseline.outputs.instance.as_ref()?.id.as_deref());
    let Some(id) = id.filter(|id| !found.into_iter().any(|one| one.instance_id() == Some(id))) else {
        return Ok(Vec::new());
    };
    let call = work.aws.ec2().describe_instances().filters(filter("instance-id", id));
    let response = call.send().await.doing("looking for the EC2 instance of the last deployment")?;
    let mut all = response.reservations().iter().flat_map(aws_sdk_ec2::types::Reservation::instances);
    let ending = [InstanceStateName::Terminated, InstanceStateName::ShuttingDown];
    let lives = all.any(|one| state(one).is_some_and(|state| !ending.contains(state)));
    Ok(lives.then(|| Lost::new(server::LOGICAL_ID, id)).into_iter().collect())
}

async fn find_profile(work: &Work<'_>) -> Result<Option<InstanceProfile>, StepError> {
    let name = roles::name(work, profile::LOGICAL_ID);
    let call = work.aws.iam().get_instance_profile().instance_profile_name(&name).send().await;
    let response = call.unless(&["NoSuchEntity"]).doing(format!("looking for instance profile {name}"))?;
    Ok(response.and_then(|response| response.instance_profile))
}
