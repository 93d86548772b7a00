//! The internet gateway.

use aws_sdk_ec2::types::{InternetGateway, ResourceType};

use super::observed::Found;
use super::{NAME, plan_missing};
use crate::aws::once;
use crate::contract::component::Work;
use crate::deployment::deletion::Removal;
use crate::deployment::plan::{Plan, Verb};
use crate::aws::error::{Answer, StepError};
use crate::contract::tagging;

/// The internet gateway's role.
pub(super) const ROLE: &str = "internet-gateway";

/// The gateway's id, and whether it is attached to the VPC.
pub(super) fn attached(found: &Found) -> Option<(&str, bool)> {
    let gateway = found.gateways.first()?;
    let vpc = found.vpc().and_then(|vpc| vpc.vpc_id());
    let attached = gateway.attachments().iter().any(|attachment| attachment.vpc_id() == vpc);
    Some((gateway.internet_gateway_id().unwrap_or_default(), attached))
}

pub(super) fn plan(work: &Work<'_>, found: &Found, plan: &mut Plan) {
    match attached(found) {
        None => plan_missing(ROLE, plan),
        Some((_, true)) => {}
        Some((_, false)) => {
            plan.update(ROLE, "attachment", "(none)", "the VPC");
        }
    }
    if let Some(gateway) = found.gateways.first() {
        plan.tags(&work.stack, NAME, ROLE, &tagging::read(gateway.tags()));
    }
    for double in found.gateways.iter().skip(1) {
        plan.change(Verb::Remove, format!("{ROLE} ({})", double.internet_gateway_id().unwrap_or_default()));
    }
}

/// Creates and attaches it. Whether there was something to do.
pub(super) async fn ensure(work: &Work<'_>, found: &Found, vpc: &str) -> Result<bool, StepError> {
    for double in found.gateways.iter().skip(1).filter_map(InternetGateway::internet_gateway_id) {
        delete(work, double).await?;
    }
    let Some((id, attached)) = attached(found) else {
        create(work).await?;
        return Ok(true);
    };
    if let Some(gateway) = found.gateways.first() {
        tagging::keep(work, NAME, ROLE, id, &tagging::read(gateway.tags())).await?;
    }
    if attached {
        return Ok(false);
    }
    let call = work.aws.ec2().attach_internet_gateway().internet_gateway_id(id).vpc_id(vpc).send().await;
    call.unless(&["Resource.AlreadyAssociated"])
        .pending_on(
            &["InvalidInternetGatewayID.NotFound", "InvalidVpcID.NotFound"],
            "the internet gateway to be visible",
            format!("attaching {id} to {vpc}"),
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
            work.stack.tags(NAME, ROLE),
        ))
        .customize()
        .config_override(aws_sdk_ec2::Config::builder().retry_config(once()));
    let answer = call.send().await.doing("creating the internet gateway")?;
    let id = answer.internet_gateway().and_then(InternetGateway::internet_gateway_id);
    tracing::info!(id, "Internet gateway created.");
    Ok(())
}

pub(super) async fn remove(work: &Work<'_>, found: &Found, removal: &mut Removal) -> Result<(), StepError> {
    for gateway in &found.gateways {
        let id = gateway.internet_gateway_id().unwrap_or_default();
        if !detach(work, gateway).await? || !delete(work, id).await? {
            removal.leave(
                ROLE,
                id,
                "EC2 keeps it while, and for some minutes after, the VPC has public addresses",
            );
        }
    }
    Ok(())
}

/// Whether it is attached nowhere any more.
async fn detach(work: &Work<'_>, gateway: &InternetGateway) -> Result<bool, StepError> {
    let id = gateway.internet_gateway_id().unwrap_or_default();
    for vpc in gateway.attachments().iter().filter_map(|attachment| attachment.vpc_id()) {
        let call = work.aws.ec2().detach_internet_gateway().internet_gateway_id(id).vpc_id(vpc).send().await;
        let absent = ["Gateway.NotAttached", "InvalidInternetGatewayID.NotFound"];
        if !call.gone(&absent, &["DependencyViolation"], format!("detaching {id} from {vpc}"))? {
            return Ok(false);
        }
    }
    Ok(true)
}

async fn delete(work: &Work<'_>, id: &str) -> Result<bool, StepError> {
    let call = work.aws.ec2().delete_internet_gateway().internet_gateway_id(id).send().await;
    call.gone(&["InvalidInternetGatewayID.NotFound"], &["DependencyViolation"], format!("deleting {id}"))
}
