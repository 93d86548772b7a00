//! The target groups: one for each service with routes.
//!
//! A group's port is only the default for targets that are registered without one. ECS registers each task with its own
//! port, and health checks use that port. So a changed container port needs no new group, and old and new tasks serve
//! requests side by side during a rollout.

use std::collections::BTreeMap;

use aws_sdk_elasticloadbalancingv2::types::{
    Matcher, ProtocolEnum, TargetGroup, TargetGroupAttribute, TargetTypeEnum,
};
use futures::future::join_all;
use sha2::{Digest, Sha256};
use stackdrop_specs::{HealthCheck, Service};

use super::NAME;
use super::observed::{ABSENT, Balancer, Group, Observed, elb_tags, repair_tags};
use super::rules;
use crate::aws::error::{AwsResult, StepError};
use crate::contract::component::Work;
use crate::deployment::plan::{Plan, Verb};

/// The maximum length of a target group's name.
const NAME_CHARACTERS_MAX: usize = 32;
/// The length of the hash at its end: the stacks `shop` and `shop-web` can have groups that differ only in it.
const HASH_CHARACTERS: usize = 8;
/// The protocol between load balancer and tasks: TLS ends at the load balancer.
const PROTOCOL: &str = "HTTP";

/// The logical ID of a service's target group.
pub(super) fn logical_id(service: &str) -> String {
    format!("target-group/{service}")
}

/// The name of a service's target group. It ends with a hash of what AWS cannot change in place, so that a new group can be
/// created while the old one still serves. It also replaces what is too long of the service's name.
pub(super) fn name(work: &Work<'_>, service: &str, vpc: &str) -> String {
    name_in(work.stack.name.as_str(), service, vpc)
}

fn name_in(stack: &str, service: &str, vpc: &str) -> String {
    let full = format!("{stack}-{service}");
    let digest = hex::encode(Sha256::digest(format!("{full}/{PROTOCOL}/{vpc}")));
    let prefix: String = full.chars().take(NAME_CHARACTERS_MAX - 1 - HASH_CHARACTERS).collect();
    format!("{}-{}", prefix.trim_end_matches('-'), &digest[..HASH_CHARACTERS])
}

/// The spec's service that a target group is for, by the group's name and VPC.
pub(super) fn service_of(work: &Work<'_>, group: &TargetGroup) -> Option<String> {
    let vpc = group.vpc_id()?;
    if work.outputs.network.as_ref().is_some_and(|network| network.vpc != vpc) {
        return None;
    }
    let mut services = work.spec.routed_services();
    let service = services.find(|(service, _)| group.target_group_name() == Some(&name(work, service, vpc)));
    service.map(|(service, _)| service.clone())
}

fn attributes() -> [(&'static str, &'static str); 2] {
    // AWS's default, 300 seconds, would be most of a deployment's duration.
    [("deregistration_delay.timeout_seconds", "30"), ("stickiness.enabled", "false")]
}

fn differing_attributes(group: Option<&Group>) -> Vec<(&'static str, String, &'static str)> {
    let actual = |key: &str| group.and_then(|group| group.attributes.get(key)).cloned().unwrap_or_default();
    let desired = attributes().into_iter().map(|(key, to)| (key, actual(key), to));
    desired.filter(|(_, from, to)| from != to).collect()
}

/// A health check's fields as text, by name.
type Fields = [(&'static str, String); 6];

fn desired_check(check: &HealthCheck) -> Fields {
    [
        ("healthCheck.path", check.path.clone()),
        ("healthCheck.interval", check.interval.to_string()),
        ("healthCheck.timeout", check.timeout.to_string()),
        ("healthCheck.healthy", check.healthy.to_string()),
        ("healthCheck.unhealthy", check.unhealthy.to_string()),
        ("healthCheck.codes", check.codes.clone()),
    ]
}

fn actual_check(group: &TargetGroup) -> Fields {
    let number = |number: Option<i32>| number.unwrap_or_default().to_string();
    [
        ("healthCheck.path", group.health_check_path().unwrap_or_default().to_owned()),
        ("healthCheck.interval", number(group.health_check_interval_seconds())),
        ("healthCheck.timeout", number(group.health_check_timeout_seconds())),
        ("healthCheck.healthy", number(group.healthy_threshold_count())),
        ("healthCheck.unhealthy", number(group.unhealthy_threshold_count())),
        ("healthCheck.codes", group.matcher().and_then(Matcher::http_code).unwrap_or_default().to_owned()),
    ]
}

/// The fields of the health check that differ: name, actual and desired value. The port is always the traffic port.
fn differing_check(group: &TargetGroup, check: &HealthCheck) -> Vec<(&'static str, String, String)> {
    let port = group.health_check_port().unwrap_or_default().to_owned();
    let protocol = group.health_check_protocol().map_or("", ProtocolEnum::as_str).to_owned();
    let target = [
        ("healthCheck.port", port, "traffic-port".to_owned()),
        ("healthCheck.protocol", protocol, PROTOCOL.to_owned()),
    ];
    let pairs = actual_check(group).into_iter().zip(desired_check(check));
    let fields = pairs.map(|((field, from), (_, to))| (field, from, to)).chain(target);
    fields.filter(|(_, from, to)| from != to).collect()
}

/// The groups that no service of the spec has, and to which no load balancer or rule of others sends requests.
pub(super) fn obsolete(observed: &Observed) -> Vec<&Group> {
    let balancer = observed.balancer.as_ref().map(Balancer::arn);
    let rest = observed.groups.iter().filter(|group| group.service.is_none());
    rest.filter(|group| {
        let balancers = group.detail.load_balancer_arns();
        let ours = balancers.iter().all(|arn| Some(arn.as_str()) == balancer);
        ours && !observed.not_owned_rules.iter().any(|rule| rules::refers_to(rule, group.arn()))
    })
    .collect()
}

pub(super) fn plan(work: &Work<'_>, observed: &Observed, plan: &mut Plan) {
    for (service, desired) in work.spec.routed_services() {
        let logical_id = logical_id(service);
        let Some(group) = observed.group(service) else {
            plan.change(Verb::Create, logical_id);
            continue;
        };
        for (field, from, to) in differing_check(&group.detail, &desired.health_check) {
            plan.update(&logical_id, field, from, to);
        }
        for (key, from, to) in differing_attributes(Some(group)) {
            plan.update(&logical_id, key, from, to);
        }
        plan.tags(&work.stack, NAME, &logical_id, &group.tags);
        warn_of_others(&logical_id, group, plan);
    }
}

/// Names the targets that people or other systems registered: they get requests of the stack's users.
fn warn_of_others(logical_id: &str, group: &Group, plan: &mut Plan) {
    let others = group.targets.iter().filter(|target| !target.is_task && !target.is_draining());
    let others: Vec<&str> = others.map(|target| target.name.as_str()).collect();
    if !others.is_empty() {
        let why =
            format!("the targets {} are not tasks of this stack, and may get requests", others.join(", "));
        plan.warn(logical_id, why, "deregister the targets, unless they are intended");
    }
}

pub(super) fn plan_obsolete(observed: &Observed, plan: &mut Plan) {
    for group in obsolete(observed) {
        plan.change(Verb::Delete, group.logical_id());
    }
}

/// Creates or updates the target groups. Returns their ARNs by service.
pub(super) async fn apply(
    work: &Work<'_>,
    observed: &Observed,
) -> Result<BTreeMap<String, String>, StepError> {
    let groups = join_all(work.spec.routed_services().map(async |(service, desired)| {
        let arn = match observed.group(service) {
            Some(group) => {
                update(work, service, group, desired).await?;
                group.arn().to_owned()
            }
            None => create(work, service, desired).await?,
        };
        Ok((service.clone(), arn))
    }));
    groups.await.into_iter().collect()
}

async fn update(work: &Work<'_>, service: &str, group: &Group, desired: &Service) -> Result<(), StepError> {
    repair_tags(work, group.arn(), &logical_id(service), &group.tags).await?;
    if differing_check(&group.detail, &desired.health_check).is_empty() {
        return Ok(());
    }
    let check = &desired.health_check;
    let call = work
        .aws
        .elb()
        .modify_target_group()
        .target_group_arn(group.arn())
        .health_check_protocol(ProtocolEnum::Http)
        .health_check_port("traffic-port")
        .health_check_path(&check.path)
        .health_check_interval_seconds(i32::from(check.interval))
        .health_check_timeout_seconds(i32::from(check.timeout))
        .healthy_threshold_count(i32::from(check.healthy))
        .unhealthy_threshold_count(i32::from(check.unhealthy))
        .matcher(Matcher::builder().http_code(&check.codes).build());
    call.send().await.doing(format!("updating the health check of target group target-group/{service}"))?;
    tracing::info!(service, "Health check updated.");
    Ok(())
}

async fn create(work: &Work<'_>, service: &str, desired: &Service) -> Result<String, StepError> {
    let port = desired.port.ok_or_else(|| {
        StepError::InvalidSpec(format!("services.{service}.port is missing: a service with routes needs it"))
    })?;
    let (vpc, check) = (&work.network()?.vpc, &desired.health_check);
    let call = work
        .aws
        .elb()
        .create_target_group()
        .name(name(work, service, vpc))
        .target_type(TargetTypeEnum::Ip)
        .protocol(ProtocolEnum::Http)
        .port(i32::from(port))
        .vpc_id(vpc)
        .health_check_protocol(ProtocolEnum::Http)
        .health_check_port("traffic-port")
        .health_check_path(&check.path)
        .health_check_interval_seconds(i32::from(check.interval))
        .health_check_timeout_seconds(i32::from(check.timeout))
        .healthy_threshold_count(i32::from(check.healthy))
        .unhealthy_threshold_count(i32::from(check.unhealthy))
        .matcher(Matcher::builder().http_code(&check.codes).build())
        .set_tags(Some(elb_tags(work.stack.tags(NAME, &logical_id(service)))));
    let response = call.send().await.stalled_on(
        &["DuplicateTargetGroupName"],
        "the target group to become visible",
        format!("creating target group target-group/{service}"),
    )?;
    let created = response.target_groups().first().and_then(TargetGroup::target_group_arn);
    let arn = created.ok_or_else(|| StepError::incomplete("the target group's ARN"))?;
    tracing::info!(arn, service, "Target group created.");
    Ok(arn.to_owned())
}

/// Sets the attributes that differ.
pub(super) async fn configure(
    work: &Work<'_>,
    observed: &Observed,
    groups: &BTreeMap<String, String>,
) -> Result<(), StepError> {
    let calls = groups.iter().map(async |(service, arn)| {
        let differing = differing_attributes(observed.group(service)).into_iter();
        let attributes: Vec<TargetGroupAttribute> = differing
            .map(|(key, _, value)| TargetGroupAttribute::builder().key(key).value(value).build())
            .collect();
        if attributes.is_empty() {
            return Ok(());
        }
        let call = work.aws.elb().modify_target_group_attributes().target_group_arn(arn);
        let call = call.set_attributes(Some(attributes)).send().await;
        call.stalled_on(
            &ABSENT,
            "the target group to become visible",
            format!("setting the attributes of target group {arn}"),
        )
        .map(drop)
    });
    join_all(calls).await.into_iter().collect()
}

/// Deletes a target group. Returns whether it is deleted.
pub(super) async fn delete(work: &Work<'_>, group: &Group) -> Result<bool, StepError> {
    let arn = group.arn();
    let call = work.aws.elb().delete_target_group().target_group_arn(arn).send().await;
    let deleted = call.deleted(&ABSENT, &["ResourceInUse"], format!("deleting target group {arn}"))?;
    if deleted {
        tracing::info!(arn, "Target group deleted.");
    }
    Ok(deleted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_valid_and_unique_for_every_service_name() {
        assert!(name_in("shop", "web", "vpc-1").starts_with("shop-web-4357"));
        assert_ne!(name_in("shop", "web", "vpc-1"), name_in("shop", "web", "vpc-2"));
        let stack = "a-stack-of-20-chars0";
        let services =
            ["web", "a-rather-long-name", "a-rather-long-name-too", "web-0000000-", "x-------------"];
        let names: std::collections::BTreeSet<String> =
            services.iter().map(|service| name_in(stack, service, "vpc-1")).collect();
        assert_eq!(names.len(), services.len());
        for name in names {
            assert!(name.len() <= NAME_CHARACTERS_MAX && name.starts_with("a-stack-of-20-chars0-"), "{name}");
            assert!(name.chars().all(|each| each.is_ascii_alphanumeric() || each == '-'), "{name}");
        }
    }
}
