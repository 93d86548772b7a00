//! The application load balancer itself.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_elasticloadbalancingv2::types::{
    IpAddressType, LoadBalancer, LoadBalancerAttribute, LoadBalancerSchemeEnum, LoadBalancerStateEnum,
    LoadBalancerTypeEnum,
};

use super::NAME;
use super::observed::{ABSENT, Balancer, Observed, elb_tags, keep_tags};
use crate::contract::component::Work;
use crate::deployment::outputs::Outputs;

use crate::aws::error::{Answer, StepError};
use crate::deployment::names::TAG_DEPLOYMENT;
use crate::deployment::plan::{Plan, Verb};

/// The load balancer's logical ID.
pub(super) const LOGICAL_ID: &str = "load-balancer";

/// What listeners and records need of the load balancer.
#[derive(Debug, Clone)]
pub(super) struct Handle {
    pub(super) arn: String,
    pub(super) dns_name: String,
    /// The Route 53 zone of load balancers of this region, which an alias names.
    pub(super) zone: String,
}

impl Handle {
    pub(super) fn of(detail: &LoadBalancer) -> Result<Self, StepError> {
        let field = |value: Option<&str>| {
            value.map(str::to_owned).ok_or_else(|| StepError::lacking("the load balancer's names"))
        };
        Ok(Self {
            arn: field(detail.load_balancer_arn())?,
            dns_name: field(detail.dns_name())?,
            zone: field(detail.canonical_hosted_zone_id())?,
        })
    }
}

/// The attributes that it shall have. Deletion protection is not among them: it is never put on, and where people
/// have put it on, their word stands (a removal then reports what it could not delete).
fn attributes(work: &Work<'_>) -> BTreeMap<&'static str, String> {
    let mut attributes = BTreeMap::from([
        // Requests with malformed headers are how servers behind a load balancer are deceived.
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

/// The attributes that differ.
fn differing_attributes(
    work: &Work<'_>,
    balancer: Option<&Balancer>,
) -> BTreeMap<&'static str, (String, String)> {
    let now =
        |key: &str| balancer.and_then(|observed| observed.attributes.get(key)).cloned().unwrap_or_default();
    let desired = attributes(work).into_iter().map(|(key, value)| (key, (now(key), value)));
    desired.filter(|(_, (from, to))| from != to).collect()
}

/// Whether access logs are to be turned on, or to go elsewhere.
pub(super) fn changes_logs(work: &Work<'_>, observed: &Observed) -> bool {
    differing_attributes(work, observed.balancer.as_ref()).keys().any(|key| key.starts_with("access_logs."))
}

/// What is known of other components: what this deployment has made, or else, while it plans, the last good one.
fn known<'a, T>(work: &'a Work<'_>, of: impl Fn(&'a Outputs) -> Option<T>) -> Option<T> {
    let baseline = work.deployment.baseline.as_ref();
    of(work.outputs).or_else(|| of(&baseline?.outputs))
}

/// The security group that it should have, and has not.
fn differing_group<'a>(work: &'a Work<'_>, detail: &LoadBalancer) -> Option<&'a str> {
    let group = known(work, |outputs| outputs.security_groups.as_ref()?.load_balancer.as_deref())?;
    (detail.security_groups() != [group]).then_some(group)
}

/// The subnets that it should stand in, where they differ; empty when they are not known yet, but their number
/// differs.
fn differing_subnets(work: &Work<'_>, detail: &LoadBalancer) -> Option<Vec<String>> {
    let now: BTreeSet<&str> =
        detail.availability_zones().iter().filter_map(|zone| zone.subnet_id()).collect();
    if let Some(network) = &work.outputs.network {
        let desired = network.public();
        let same = desired.iter().map(String::as_str).collect::<BTreeSet<_>>() == now;
        return (!same).then_some(desired);
    }
    (now.len() != usize::from(work.spec.network.zones)).then(Vec::new)
}

fn state(detail: &LoadBalancer) -> Option<&LoadBalancerStateEnum> {
    detail.state().and_then(|state| state.code())
}

fn reason(detail: &LoadBalancer) -> String {
    let reason = detail.state().and_then(|state| state.reason());
    reason.unwrap_or("AWS gives no reason").to_owned()
}

/// Whether it failed, and not in this deployment: then it is deleted and made anew.
fn is_dead(work: &Work<'_>, balancer: &Balancer) -> bool {
    state(&balancer.detail) == Some(&LoadBalancerStateEnum::Failed)
        && balancer.tags.get(TAG_DEPLOYMENT) != Some(&work.deployment.id)
}

pub(super) fn plan(work: &Work<'_>, observed: &Observed, plan: &mut Plan) {
    let Some(balancer) = &observed.balancer else {
        plan.change(Verb::Create, LOGICAL_ID);
        return;
    };
    if is_dead(work, balancer) {
        plan.change(Verb::Delete, LOGICAL_ID);
        plan.change(Verb::Create, LOGICAL_ID);
        return;
    }
    let detail = &balancer.detail;
    if let Some(group) = differing_group(work, detail) {
        plan.update(LOGICAL_ID, "securityGroups", detail.security_groups().join(", "), group);
    }
    if differing_subnets(work, detail).is_some() {
        plan.update(LOGICAL_ID, "zones", detail.availability_zones().len(), work.spec.network.zones);
    }
    for (key, (from, to)) in differing_attributes(work, Some(balancer)) {
        plan.update(LOGICAL_ID, key, from, to);
    }
    plan.tags(&work.stack, NAME, LOGICAL_ID, &balancer.tags);
    if !serves(detail) {
        plan.change(Verb::Wait, LOGICAL_ID);
    }
}

/// Whether it takes requests. `active_impaired` does, short of what it needs to grow.
fn serves(detail: &LoadBalancer) -> bool {
    matches!(state(detail), Some(LoadBalancerStateEnum::Active | LoadBalancerStateEnum::ActiveImpaired))
}

/// Creates it, or changes where it stands and who may come in.
pub(super) async fn apply(work: &Work<'_>, observed: &Observed) -> Result<Handle, StepError> {
    let Some(balancer) = &observed.balancer else { return create(work).await };
    if is_dead(work, balancer) {
        delete(work, balancer.arn()).await?;
        return Err(StepError::pending(format!("the failed load balancer {} to be gone", work.stack.name)));
    }
    let (arn, detail) = (balancer.arn(), &balancer.detail);
    if state(detail) == Some(&LoadBalancerStateEnum::Failed) {
        return Err(unhealthy(work, detail));
    }
    let groups = async {
        let Some(group) = differing_group(work, detail) else { return Ok(()) };
        let call = work.aws.elb().set_security_groups().load_balancer_arn(arn).security_groups(group);
        call.send().await.doing(format!("giving {arn} the security group {group}")).map(drop)
    };
    let subnets = async {
        let Some(subnets) = differing_subnets(work, detail) else { return Ok(()) };
        let call = work.aws.elb().set_subnets().load_balancer_arn(arn).set_subnets(Some(subnets));
        call.send().await.doing(format!("moving {arn} to other subnets")).map(drop)
    };
    tokio::try_join!(groups, subnets, keep_tags(work, arn, LOGICAL_ID, &balancer.tags))?;
    Handle::of(detail)
}

async fn create(work: &Work<'_>) -> Result<Handle, StepError> {
    let group = work.groups()?.load_balancer.clone();
    let group = group.ok_or_else(|| StepError::Defect("the load balancer has no security group".into()))?;
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
    let answer = call.send().await.pending_on(
        // It is not to be seen, and its name is not free: it has just been created, or just been deleted.
        &["DuplicateLoadBalancerName"],
        "the load balancer's name to be free, or the load balancer to be visible",
        "creating the load balancer",
    )?;
    let created = answer.load_balancers().first().ok_or_else(|| StepError::lacking("the load balancer"))?;
    tracing::info!(arn = created.load_balancer_arn(), "Load balancer created.");
    Handle::of(created)
}

/// Sets the attributes that differ.
pub(super) async fn configure(
    work: &Work<'_>,
    observed: &Observed,
    handle: &Handle,
) -> Result<(), StepError> {
    let differing = differing_attributes(work, observed.balancer.as_ref());
    if differing.is_empty() {
        return Ok(());
    }
    let attributes = differing
        .into_iter()
        .map(|(key, (_, value))| LoadBalancerAttribute::builder().key(key).value(value).build());
    let call = work.aws.elb().modify_load_balancer_attributes().load_balancer_arn(&handle.arn);
    let call = call.set_attributes(Some(attributes.collect())).send().await;
    call.pending_on(&ABSENT, "the load balancer to be visible", format!("setting up {}", handle.arn))
        .map(drop)
}

/// Whether it is active, by what AWS says now.
pub(super) fn settled(work: &Work<'_>, detail: &LoadBalancer) -> Result<(), StepError> {
    match state(detail) {
        Some(LoadBalancerStateEnum::Active) => Ok(()),
        Some(LoadBalancerStateEnum::ActiveImpaired) => {
            tracing::warn!(
                reason = reason(detail),
                "The load balancer serves, but cannot grow as it should."
            );
            Ok(())
        }
        Some(LoadBalancerStateEnum::Failed) => Err(unhealthy(work, detail)),
        _ => Err(StepError::pending(format!("the load balancer {} to be active", work.stack.name))),
    }
}

fn unhealthy(work: &Work<'_>, detail: &LoadBalancer) -> StepError {
    StepError::Unhealthy { what: format!("the load balancer {}", work.stack.name), why: reason(detail) }
}

/// Deletes it, and its listeners and rules with it. Whether it could go.
pub(super) async fn delete(work: &Work<'_>, arn: &str) -> Result<bool, StepError> {
    let call = work.aws.elb().delete_load_balancer().load_balancer_arn(arn).send().await;
    let going = call.gone(&ABSENT, &["OperationNotPermitted"], format!("deleting {arn}"))?;
    if going {
        tracing::info!(arn, "Load balancer deleted.");
    }
    Ok(going)
}
