//! The internet gateway.

use aws_sdk_ec2::types::{InternetGateway, NetworkInterface, ResourceType};

use super::observed::Observed;
use super::{NAME, plan_missing};
use crate::aws::error::{AwsResult, StepError};
use crate::aws::join;
use crate::aws::no_retries;
use crate::contract::component::Work;
use crate::contract::dependents::{describe, is_leaving};
use crate::contract::identity;
use crate::contract::tagging::{self, filter};
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

pub(super) async fn plan(work: &Work<'_>, observed: &Observed, plan: &mut Plan) -> Result<(), StepError> {
    let current = attached(observed);
    if !matches!(current, Some((_, true)))
        && let Some(conflict) = find_conflict(work, observed).await?
    {
        plan.problem(LOGICAL_ID, conflict.why(), conflict.fix(work));
        return Ok(());
    }
    match current {
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
    Ok(())
}

/// What prevents the gateway's attachment: a VPC and a gateway have at most one attachment.
enum Conflict {
    /// Another gateway is attached to the stack's VPC.
    Other { gateway: String, vpc: String },
    /// The stack's gateway is attached to another VPC.
    Elsewhere { gateway: String, vpc: String },
}

impl Conflict {
    fn why(&self) -> String {
        match self {
            Self::Other { gateway, vpc } => {
                format!(
                    "internet gateway {gateway} is attached to VPC {vpc}, but is not managed by this stack"
                )
            }
            Self::Elsewhere { gateway, vpc } => {
                format!("internet gateway {gateway} is attached to VPC {vpc}, which is not the stack's")
            }
        }
    }

    fn fix(&self, work: &Work<'_>) -> String {
        match self {
            Self::Other { gateway, vpc } => format!(
                "detach {gateway} from {vpc}; if it is the stack's own, {} instead",
                identity::fix(work, gateway)
            ),
            Self::Elsewhere { gateway, vpc } => format!("detach {gateway} from {vpc}"),
        }
    }
}

async fn find_conflict(work: &Work<'_>, observed: &Observed) -> Result<Option<Conflict>, StepError> {
    let Some(vpc) = observed.vpc().and_then(|vpc| vpc.vpc_id()) else { return Ok(None) };
    let gateway = observed.gateways.first();
    let id = gateway.and_then(InternetGateway::internet_gateway_id);
    let elsewhere = gateway.and_then(|gateway| gateway.attachments().first()?.vpc_id());
    if let (Some(gateway), Some(other)) = (id, elsewhere.filter(|other| *other != vpc)) {
        return Ok(Some(Conflict::Elsewhere { gateway: gateway.into(), vpc: other.into() }));
    }
    let call = work.aws.ec2().describe_internet_gateways().filters(filter("attachment.vpc-id", vpc));
    let attached = call.send().await.doing(format!("looking for the internet gateway of VPC {vpc}"))?;
    let mut attached = attached.internet_gateways().iter().filter_map(InternetGateway::internet_gateway_id);
    let other = attached.find(|attached| Some(*attached) != id);
    Ok(other.map(|gateway| Conflict::Other { gateway: gateway.into(), vpc: vpc.into() }))
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
    if let Some(conflict) = find_conflict(work, observed).await? {
        return Err(StepError::NotOwned { what: format!("{},", conflict.why()), fix: conflict.fix(work) });
    }
    let call = work.aws.ec2().attach_internet_gateway().internet_gateway_id(id).vpc_id(vpc).send().await;
    // Already attached: the response was lost, and the next attempt reads to which VPC.
    call.unless(&["Resource.AlreadyAssociated"])
        .stalled_on(
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
            let vpcs = gateway.attachments().iter().filter_map(|attachment| attachment.vpc_id());
            let users = join::all(vpcs.map(|vpc| find_public(work, vpc))).await?.concat();
            let (leaving, staying): (Vec<_>, Vec<_>) =
                users.into_iter().partition(|interface| is_leaving(work, interface));
            if leaving.is_empty() && !staying.is_empty() {
                let users: Vec<String> = staying.iter().map(describe).collect();
                let why = format!("these have public IP addresses: {}; delete them", users.join(", "));
                deletion.held(LOGICAL_ID, id, why);
            } else {
                // EC2 unmaps the addresses of deleted resources by itself, for up to 20 minutes, and shows nothing of it: to give
                // up sooner would fail deletions that nobody can speed up. Source: Terraform's `DetachInternetGateway`,
                // which retries for as long.
                let why = "the VPC had public IP addresses some minutes ago, and EC2 is still unmapping them, for 20 minutes \
                           at most";
                deletion.leaving(LOGICAL_ID, id, why);
            }
        }
    }
    Ok(())
}

/// The network interfaces in a VPC that have a public IP address.
async fn find_public(work: &Work<'_>, vpc: &str) -> Result<Vec<NetworkInterface>, StepError> {
    let call = work.aws.ec2().describe_network_interfaces().filters(filter("vpc-id", vpc));
    let pages = call.into_paginator().items().send();
    let mut all: Vec<NetworkInterface> =
        pages.try_collect().await.doing(format!("listing the network interfaces of VPC {vpc}"))?;
    all.retain(|interface| interface.association().is_some_and(|public| public.public_ip().is_some()));
    Ok(all)
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
