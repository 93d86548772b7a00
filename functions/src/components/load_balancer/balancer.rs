//! The application load balancer itself.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_elasticloadbalancingv2::types::{
    IpAddressType, LoadBalancer, LoadBalancerAttribute, LoadBalancerSchemeEnum, LoadBalancerStateEnum,
    LoadBalancerTypeEnum,
};

use super::observed::{ABSENT, Balancer, Observed, elb_tags, find_interfaces, repair_tags};
use super::{NAME, protection, web_acl};
use crate::aws::error::{AwsResult, StepError};
use crate::contract::component::Work;
use crate::deployment::names::TAG_DEPLOYMENT;
use crate::deployment::outputs::NetworkOutputs;
use crate::deployment::plan::{Plan, Verb};

/// The load balancer's logical ID.
pub(super) const LOGICAL_ID: &str = "load-balancer";

/// The values of the load balancer that listeners and DNS records need.
#[derive(Debug, Clone)]
pub(super) struct Handle {
    pub(super) arn: String,
    pub(super) dns_name: String,
    /// The Route 53 zone of the region's load balancers, which an alias record contains.
    pub(super) zone: String,
}

impl Handle {
    pub(super) fn of(detail: &LoadBalancer) -> Result<Self, StepError> {
        let field = |value: Option<&str>| {
            value
                .map(str::to_owned)
                .ok_or_else(|| StepError::incomplete("the load balancer's ARN, DNS name or zone"))
        };
        Ok(Self {
            arn: field(detail.load_balancer_arn())?,
            dns_name: field(detail.dns_name())?,
            zone: field(detail.canonical_hosted_zone_id())?,
        })
    }
}

/// The desired attributes, without deletion protection.
fn attributes(work: &Work<'_>) -> BTreeMap<&'static str, String> {
    let mut attributes = BTreeMap::from([
        // Malformed headers are used in attacks on servers behind a load balancer.
        ("routing.http.drop_invalid_header_fields.enabled", "true".to_owned()),
        ("routing.http2.enabled", "true".to_owned()),
    ]);
    if let Some(desired) = &work.spec.load_balancer {
        attributes.insert("idle_timeout.timeout_seconds", desired.idle_timeout.to_string());
        attributes.insert("access_logs.s3.enabled", desired.access_logs.is_some().to_string());
        if let Some(logs) = &desired.access_logs {
            attributes.insert("access_logs.s3.bucket", logs.bucket.clone());
            attributes.insert("access_logs.s3.prefix", logs.prefix.clone().unwrap_or_default());
        }
    }
    attributes
}

/// The attributes that differ: key, actual and desired value.
fn differing_attributes(
    work: &Work<'_>,
    balancer: Option<&Balancer>,
) -> BTreeMap<&'static str, (String, String)> {
    let actual =
        |key: &str| balancer.and_then(|observed| observed.attributes.get(key)).cloned().unwrap_or_default();
    let desired = attributes(work).into_iter().map(|(key, value)| (key, (actual(key), value)));
    desired.filter(|(_, (from, to))| from != to).collect()
}

/// Whether the plan changes the access logs.
pub(super) fn changes_logs(work: &Work<'_>, observed: &Observed) -> bool {
    differing_attributes(work, observed.balancer.as_ref()).keys().any(|key| key.starts_with("access_logs."))
}

/// The desired security group, if the load balancer does not have it.
fn desired_group<'a>(work: &'a Work<'_>, detail: &LoadBalancer) -> Option<&'a str> {
    let group = work.outputs.security_groups.as_ref()?.load_balancer.as_deref()?;
    (detail.security_groups() != [group]).then_some(group)
}

/// The load balancer's subnets.
fn actual_subnets(detail: &LoadBalancer) -> BTreeSet<&str> {
    detail.availability_zones().iter().filter_map(|zone| zone.subnet_id()).collect()
}

/// The desired subnets, if they differ. A plan only knows those of the last deployment: fewer or more than the spec's zones
/// mean that the network changes them, and then the load balancer's subnets too.
fn differing_subnets(work: &Work<'_>, detail: &LoadBalancer) -> Option<Vec<String>> {
    let actual = actual_subnets(detail);
    let desired = work.outputs.network.as_ref().map(NetworkOutputs::public).unwrap_or_default();
    let same = desired.is_empty() || desired.iter().map(String::as_str).collect::<BTreeSet<_>>() == actual;
    (!same || actual.len() != usize::from(work.spec.network.zones)).then_some(desired)
}

fn state(detail: &LoadBalancer) -> Option<&LoadBalancerStateEnum> {
    detail.state().and_then(|state| state.code())
}

fn reason(detail: &LoadBalancer) -> String {
    let reason = detail.state().and_then(|state| state.reason());
    reason.unwrap_or("AWS gives no reason").to_owned()
}

/// Whether it has failed in an earlier deployment: then it is deleted and created again.
fn must_be_replaced(work: &Work<'_>, balancer: &Balancer) -> bool {
    state(&balancer.detail) == Some(&LoadBalancerStateEnum::Failed)
        && balancer.tags.get(TAG_DEPLOYMENT) != Some(&work.deployment.id)
}

pub(super) fn plan(work: &Work<'_>, observed: &Observed, plan: &mut Plan) {
    let Some(balancer) = &observed.balancer else {
        plan.change(Verb::Create, LOGICAL_ID);
        return;
    };
    if must_be_replaced(work, balancer) {
        plan.change(Verb::Delete, LOGICAL_ID);
        plan.change(Verb::Create, LOGICAL_ID);
        return;
    }
    let detail = &balancer.detail;
    if let Some(group) = desired_group(work, detail) {
        plan.update(LOGICAL_ID, "securityGroups", detail.security_groups().join(", "), group);
    }
    if let Some(desired) = differing_subnets(work, detail) {
        let (actual, zones) = (actual_subnets(detail), usize::from(work.spec.network.zones));
        if actual.len() == zones {
            let actual: Vec<&str> = actual.into_iter().collect();
            plan.update(LOGICAL_ID, "subnets", actual.join(", "), desired.join(", "));
        } else {
            plan.update(LOGICAL_ID, "zones", actual.len(), zones);
        }
    }
    for (key, (from, to)) in differing_attributes(work, Some(balancer)) {
        plan.update(LOGICAL_ID, key, from, to);
    }
    if let Some(on) = protection::difference(work, balancer) {
        plan.update(LOGICAL_ID, protection::ATTRIBUTE, !on, on);
    }
    web_acl::plan(work, observed, plan);
    plan.tags(&work.stack, NAME, LOGICAL_ID, &balancer.tags);
    if !serves(detail) {
        plan.change(Verb::Wait, LOGICAL_ID);
    }
    if state(detail) == Some(&LoadBalancerStateEnum::ActiveImpaired) {
        let why = format!("the load balancer serves requests, but cannot scale: {}", reason(detail));
        plan.warn(LOGICAL_ID, why, "free addresses in the public subnets, or contact AWS Support");
    }
}

/// Whether it serves requests. In the state `active_impaired` it does, but it cannot scale.
pub(super) fn serves(detail: &LoadBalancer) -> bool {
    matches!(state(detail), Some(LoadBalancerStateEnum::Active | LoadBalancerStateEnum::ActiveImpaired))
}

/// Creates the load balancer, or updates its subnets and security group.
pub(super) async fn apply(work: &Work<'_>, observed: &Observed) -> Result<Handle, StepError> {
    let Some(balancer) = &observed.balancer else { return create(work).await };
    if must_be_replaced(work, balancer) {
        delete(work, balancer.arn()).await?;
        return Err(StepError::pending(format!(
            "the deletion of the failed load balancer {}",
            work.stack.name
        )));
    }
    let (arn, detail) = (balancer.arn(), &balancer.detail);
    if state(detail) == Some(&LoadBalancerStateEnum::Failed) {
        return Err(unhealthy(work, detail));
    }
    let groups = async {
        let Some(group) = desired_group(work, detail) else { return Ok(()) };
        let call = work.aws.elb().set_security_groups().load_balancer_arn(arn).security_groups(group);
        call.send().await.doing(format!("setting security group {group} of load balancer {arn}")).map(drop)
    };
    let subnets = async {
        let Some(subnets) = differing_subnets(work, detail) else { return Ok(()) };
        let call = work.aws.elb().set_subnets().load_balancer_arn(arn).set_subnets(Some(subnets));
        call.send().await.doing(format!("setting the subnets of load balancer {arn}")).map(drop)
    };
    tokio::try_join!(groups, subnets, repair_tags(work, arn, LOGICAL_ID, &balancer.tags))?;
    Handle::of(detail)
}

async fn create(work: &Work<'_>) -> Result<Handle, StepError> {
    let group = work.groups()?.load_balancer.clone();
    let group = group
        .ok_or_else(|| StepError::Defect("the security groups have no group for the load balancer".into()))?;
    let call = work
        .aws
        .elb()
        .create_load_balancer()
        .name(work.stack.name.as_str())
        .r#type(LoadBalancerTypeEnum::Application)
        .scheme(LoadBalancerSchemeEnum::InternetFacing)
        .ip_address_type(IpAddressType::Ipv4)
        .set_subnets(Some(work.network()?.public()))
        .security_groups(group)
        .set_tags(Some(elb_tags(work.stack.tags(NAME, LOGICAL_ID))));
    let response =
        call.send().await.unless(&["DuplicateLoadBalancerName"]).doing("creating the load balancer")?;
    let Some(response) = response else { return Err(name_in_use(work).await?) };
    let created =
        response.load_balancers().first().ok_or_else(|| StepError::incomplete("the load balancer"))?;
    tracing::info!(arn = created.load_balancer_arn(), "Load balancer created.");
    Handle::of(created)
}

/// The name is in use, but no load balancer with this name is visible: it was just created, or just deleted.
async fn name_in_use(work: &Work<'_>) -> Result<StepError, StepError> {
    let name = &work.stack.name;
    let interfaces = find_interfaces(work).await?;
    Ok(if interfaces.is_empty() {
        StepError::stalled(format!("load balancer {name} to become visible, or its name to become free"))
    } else {
        let interfaces = interfaces.join(", ");
        StepError::pending(format!(
            "AWS to release the network interfaces {interfaces} of a deleted load balancer {name}"
        ))
    })
}

/// Sets the attributes that differ.
pub(super) async fn configure(
    work: &Work<'_>,
    observed: &Observed,
    handle: &Handle,
) -> Result<(), StepError> {
    let differing = differing_attributes(work, observed.balancer.as_ref()).into_iter();
    let protection = observed.balancer.as_ref().and_then(|balancer| protection::applied(work, balancer));
    let pairs: Vec<(&str, String)> = differing
        .map(|(key, (_, value))| (key, value))
        .chain(protection.map(|on| (protection::ATTRIBUTE, on.to_string())))
        .collect();
    if pairs.is_empty() {
        return Ok(());
    }
    let attributes =
        pairs.into_iter().map(|(key, value)| LoadBalancerAttribute::builder().key(key).value(value).build());
    let call = work.aws.elb().modify_load_balancer_attributes().load_balancer_arn(&handle.arn);
    let call = call.set_attributes(Some(attributes.collect())).send().await;
    let doing = format!("setting the attributes of load balancer {}", handle.arn);
    let configured = call.stalled_on(&ABSENT, "the load balancer to become visible", doing).map(drop);
    configured.map_err(|error| with_advice(work, error))
}

/// Elastic Load Balancing writes a test file to the bucket of the access logs, and only says that it was denied. Source:
/// "Enable access logs for your Application Load Balancer" in the user guide of Elastic Load Balancing.
fn with_advice(work: &Work<'_>, error: StepError) -> StepError {
    let logs = work.spec.load_balancer.as_ref().and_then(|desired| desired.access_logs.as_ref());
    match (error, logs) {
        (StepError::Refused { doing, source }, Some(logs))
            if source.code == "InvalidConfigurationRequest" =>
        {
            let bucket = &logs.bucket;
            let doing = format!(
                "{doing} (S3 bucket {bucket} needs a policy that allows logdelivery.elasticloadbalancing.amazonaws.com \
                 to put objects, and SSE-S3 as its default encryption)"
            );
            StepError::Refused { doing, source }
        }
        (error, _) => error,
    }
}

/// Checks that the load balancer is active.
pub(super) fn check_active(work: &Work<'_>, detail: &LoadBalancer) -> Result<(), StepError> {
    match state(detail) {
        Some(LoadBalancerStateEnum::Active) => Ok(()),
        Some(LoadBalancerStateEnum::ActiveImpaired) => {
            tracing::warn!(reason = reason(detail), "The load balancer serves requests, but cannot scale.");
            Ok(())
        }
        Some(LoadBalancerStateEnum::Failed) => Err(unhealthy(work, detail)),
        _ => Err(StepError::pending(format!("load balancer {} to become active", work.stack.name))),
    }
}

fn unhealthy(work: &Work<'_>, detail: &LoadBalancer) -> StepError {
    StepError::Unhealthy { what: format!("load balancer {}", work.stack.name), why: reason(detail) }
}

/// Deletes the load balancer; AWS deletes its listeners and rules with it. Returns whether AWS accepted the deletion.
pub(super) async fn delete(work: &Work<'_>, arn: &str) -> Result<bool, StepError> {
    let call = work.aws.elb().delete_load_balancer().load_balancer_arn(arn).send().await;
    let deleting =
        call.deleted(&ABSENT, &["OperationNotPermitted"], format!("deleting load balancer {arn}"))?;
    if deleting {
        tracing::info!(arn, "Load balancer deleted.");
    }
    Ok(deleting)
}
