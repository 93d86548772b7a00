//! The internet gateway.

use aws_sdk_ec2::types::{InternetGateway, ResourceType};

use super::observed::Observed;
use super::{NAME, plan_missing};
use crate::aws::error::{AwsResult, StepError};
use crate::aws::no_retries;
use crate::contract::component::Work;
use crate::contract::tagging;
use crate::deployment::deletion::Deletion;
use crate::deployment::plan::{Plan, Verb};

/// The internet gateway's logical ID.
pub(super) const LOGICAL_ID: &str = "internet-gateway";

/// The gateway's ID, and whether it is attached to the VPC.
pub(super) fn attached(observed: &Observed) -> Option<(&str, bool)> {
    let gateway = observed.gateways.first()?;
    let vpc = observed.vpc().and_then(|vpc| vpc.vpc_id());
    let attached = gateway.attachments().iter().any(|attachment| attachment.vpc_id() == vpc);
    Some((gateway.internet_gateway_id().unwrap_or_default(), attached))
}

pub(super) fn plan(work: &Work<'_>, observed: &Observed, plan: &mut Plan) {
    match attached(observed) {
        None => plan_missing(LOGICAL_ID, plan),
        Some((_, true)) => {}
        Some((_, false)) => {
            plan.update(LOGICAL_ID, "attachment", "(none)", "the VPC");
        }
    }
    if let Some(gateway) = observed.gateways.first() {
        plan.tags(&work.stack, NAME, LOGICAL_ID, &tagging::read(gateway.tags()));
    }
    for duplicate in observed.gateways.iter().skip(1) {
        plan.change(
            Verb::Delete,
            format!("{LOGICAL_ID} ({})", duplicate.internet_gateway_id().unwrap_or_default()),
        );
    }
}

/// Creates or attaches the gateway. Returns whether there was something to do.
pub(super) async fn apply(work: &Work<'_>, observed: &Observed, vpc: &str) -> Result<bool, StepError> {
    for duplicate in observed.gateways.iter().skip(1).filter_map(InternetGateway::internet_gateway_id) {
        delete_one(work, duplicate).await?;
    }
    let Some((id, attached)) = attached(observed) else {
        create(work).await?;
        return Ok(true);
    };
    if let Some(gateway) = observed.gateways.first() {
        tagging::repair(work, NAME, LOGICAL_ID, id, &tagging::read(gateway.tags())).await?;
    }
    if attached {
        return Ok(false);
    }
    let call = work.aws.ec2().attach_internet_gateway().internet_gateway_id(id).vpc_id(vpc).send().await;
    call.unless(&["Resource.AlreadyAssociated"])
        .pending_on(
            &["InvalidInternetGatewayID.NotFound", "InvalidVpcID.NotFound"],
            "the internet gateway to become visible",
            format!("attaching internet gateway {id} to VPC {vpc}"),
        )
        .map(|_| true)
}

pub(super) async fn create(work: &Work<'_>) -> Result<(), StepError> {
    let call = work
        .aws
        .ec2()
        .create_internet_gateway()
        .tag_specifications(tagging::specification(
            ResourceType::InternetGateway,
            work.stack.tags(NAME, LOGICAL_ID),
        ))
        .customize()
        .config_override(aws_sdk_ec2::Config::builder().retry_config(no_retries()));
    let response = call.send().await.doing("creating the internet gateway")?;
    let id = response.internet_gateway().and_then(InternetGateway::internet_gateway_id);
    tracing::info!(id, "Internet gateway created.");
    Ok(())
}

pub(super) async fn delete(
    work: &Work<'_>,
    observed: &Observed,
    deletion: &mut Deletion,
) -> Result<(), StepError> {
    for gateway in &observed.gateways {
        let id = gateway.internet_gateway_id().unwrap_or_default();
        if !detach(work, gateway).await? || !delete_one(work, id).await? {
            deletion.remains(LOGICAL_ID, id, "the VPC has public IP addresses, or had some minutes ago");
        }
    }
    Ok(())
}

/// Detaches the gateway. Returns whether it is no longer attached to any VPC.
async fn detach(work: &Work<'_>, gateway: &InternetGateway) -> Result<bool, StepError> {
    let id = gateway.internet_gateway_id().unwrap_or_default();
    for vpc in gateway.attachments().iter().filter_map(|attachment| attachment.vpc_id()) {
        let call = work.aws.ec2().detach_internet_gateway().internet_gateway_id(id).vpc_id(vpc).send().await;
        let absent = ["Gateway.NotAttached", "InvalidInternetGatewayID.NotFound"];
        if !call.deleted(
            &absent,
            &["DependencyViolation"],
            format!("detaching internet gateway {id} from VPC {vpc}"),
        )? {
            return Ok(false);
        }
    }
    Ok(true)
}

async fn delete_one(work: &Work<'_>, id: &str) -> Result<bool, StepError> {
    let call = work.aws.ec2().delete_internet_gateway().internet_gateway_id(id).send().await;
    call.deleted(
        &["InvalidInternetGatewayID.NotFound"],
        &["DependencyViolation"],
        format!("deleting internet gateway {id}"),
    )
}
