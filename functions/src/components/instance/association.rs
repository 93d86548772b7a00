//! The association of the EC2 instance with its instance profile.

use aws_sdk_ec2::types::{
    IamInstanceProfileAssociationState, IamInstanceProfileSpecification, Instance, InstanceStateName,
};

use super::observed::state;
use super::profile;
use crate::aws::error::{AwsResult, StepError};
use crate::contract::component::Work;
use crate::contract::roles;
use crate::contract::tagging::filter;

/// `Stalled` if EC2 does not see a new profile yet. The error code is a general one, so the message decides.
pub(super) fn stalled_if_not_visible<T>(result: Result<T, StepError>) -> Result<T, StepError> {
    result.map_err(|error| match &error {
        StepError::Refused { source, .. }
            if source.code == "InvalidParameterValue"
                && ["Invalid IAM Instance Profile", "has no associated IAM Roles"]
                    .iter()
                    .any(|text| source.message.contains(text)) =>
        {
            StepError::stalled("the instance profile to become visible to EC2")
        }
        _ => error,
    })
}

/// Associates the profile. An instance may start without its profile and without an error.
pub(super) async fn associate(work: &Work<'_>, instance: &Instance, doing: &str) -> Result<(), StepError> {
    let id = instance.instance_id().unwrap_or_default();
    if !matches!(state(instance), Some(InstanceStateName::Running | InstanceStateName::Stopped)) {
        return Err(StepError::pending(format!(
            "EC2 instance {id} to be running, before its instance profile is associated"
        )));
    }
    let profile =
        IamInstanceProfileSpecification::builder().name(roles::name(work, profile::LOGICAL_ID)).build();
    if let Some((association, _)) = find(work, id).await? {
        let call = work.aws.ec2().replace_iam_instance_profile_association().association_id(association);
        return stalled_if_not_visible(call.iam_instance_profile(profile).send().await.doing(doing))
            .map(drop);
    }
    let call = work.aws.ec2().associate_iam_instance_profile().instance_id(id);
    stalled_if_not_visible(call.iam_instance_profile(profile).send().await.doing(doing)).map(drop)
}

pub(super) async fn find(
    work: &Work<'_>,
    id: &str,
) -> Result<Option<(String, IamInstanceProfileAssociationState)>, StepError> {
    let call = work.aws.ec2().describe_iam_instance_profile_associations().filters(filter("instance-id", id));
    let response = call.send().await.doing(format!("reading the instance profile of EC2 instance {id}"))?;
    let observed = response.iam_instance_profile_associations.unwrap_or_default().into_iter();
    Ok(observed.filter_map(|association| Some((association.association_id?, association.state?))).find(
        |(_, state)| {
            use IamInstanceProfileAssociationState::{Associated, Associating};
            matches!(state, Associated | Associating)
        },
    ))
}
