//! The wait for the EC2 instance: it must run, have its profile, and be online in Systems Manager.

use aws_sdk_ec2::types::{IamInstanceProfileAssociationState, Instance, InstanceStateName, SummaryStatus};

use super::association;
use super::observed::{find_instances, state};
use super::server::{stopped_error, terminated_error};
use crate::aws::error::{AwsResult, StepError};
use crate::contract::component::Work;
use crate::contract::tagging;
use crate::deployment::names::TAG_DEPLOYMENT;

/// The instance's ID, once it is running, has its profile, and its SSM agent is online.
pub(super) async fn wait_until_stable(work: &Work<'_>) -> Result<String, StepError> {
    let instances = find_instances(work).await?;
    let is_from_this_deployment = |instance: &&Instance| {
        tagging::read(instance.tags()).get(TAG_DEPLOYMENT) == Some(&work.deployment.id)
    };
    let live = instances.iter().find(|instance| state(instance) != Some(&InstanceStateName::Terminated));
    let Some(instance) = live else {
        return Err(match instances.iter().find(is_from_this_deployment) {
            Some(terminated) => terminated_error(terminated),
            None => StepError::stalled("the EC2 instance to become visible"),
        });
    };
    let id = instance.instance_id().unwrap_or_default();
    match state(instance) {
        Some(InstanceStateName::Running) => {}
        Some(InstanceStateName::ShuttingDown) => return Err(terminated_error(instance)),
        Some(InstanceStateName::Stopped) => return Err(stopped_error(instance)),
        _ => return Err(StepError::pending(format!("EC2 instance {id} to be running"))),
    }
    let (association, online) = tokio::try_join!(association::find(work, id), is_online(work, id))?;
    match association {
        Some((_, IamInstanceProfileAssociationState::Associated)) => {}
        association => {
            let waiting_for = format!("the instance profile of EC2 instance {id} to become associated");
            return Err(if association.is_some() {
                StepError::pending(waiting_for)
            } else {
                StepError::stalled(waiting_for)
            });
        }
    }
    if online { Ok(id.to_owned()) } else { Err(offline(work, id).await?) }
}

/// The error while the SSM agent is not online. It comes online while AWS checks the instance, which takes some minutes.
async fn offline(work: &Work<'_>, id: &str) -> Result<StepError, StepError> {
    let waiting_for = format!("the SSM agent of EC2 instance {id} to come online");
    let call = work.aws.ec2().describe_instance_status().instance_ids(id).send().await;
    let response = call
        .unless(&["InvalidInstanceID.NotFound"])
        .doing(format!("reading the status checks of EC2 instance {id}"))?;
    let statuses = response.and_then(|response| response.instance_statuses).unwrap_or_default();
    let checks = statuses.iter().flat_map(|status| [status.instance_status(), status.system_status()]);
    let checks: Vec<&SummaryStatus> = checks.flatten().filter_map(|check| check.status()).collect();
    if checks.iter().any(|check| **check == SummaryStatus::Initializing) {
        return Ok(StepError::pending(waiting_for));
    }
    let state = match checks.iter().find(|check| ***check != SummaryStatus::Ok) {
        Some(check) => format!("Its status check is {}.", check.as_str()),
        None => "AWS's status checks of the instance have passed.".into(),
    };
    let fix = "Read the instance's system log (`aws ec2 get-console-output`): the agent needs a way to Systems Manager, \
               through a NAT gateway or endpoints, and its role.";
    Ok(StepError::stalled_because(waiting_for, format!("{state} {fix}")))
}

/// Whether the instance's SSM agent is online.
pub(super) async fn is_online(work: &Work<'_>, id: &str) -> Result<bool, StepError> {
    let filter = aws_sdk_ssm::types::InstanceInformationStringFilter::builder().key("InstanceIds").values(id);
    let filter = filter.build().map_err(|error| StepError::Defect(error.to_string()))?;
    let call = work.aws.ssm().describe_instance_information().filters(filter).send().await;
    // SSM rejects a filter by an instance that it does not know yet.
    let response =
        call.unless(&["InvalidInstanceId"]).doing(format!("reading the SSM status of EC2 instance {id}"))?;
    Ok(response.is_some_and(|response| {
        let online = aws_sdk_ssm::types::PingStatus::Online;
        response.instance_information_list().iter().any(|node| node.ping_status() == Some(&online))
    }))
}
