//! The target groups: one a service that has routes.
//!
//! A group's port only says where a target is that was registered without one. ECS registers each task with its own
//! port, and health checks go to that port; so a changed container port needs no other group, and old and new
//! tasks are served side by side while the service rolls over.

use std::collections::BTreeMap;

use aws_sdk_elasticloadbalancingv2::types::{
    Matcher, ProtocolEnum, TargetGroup, TargetGroupAttribute, TargetTypeEnum,
};
use futures::future::join_all;
use sha2::{Digest, Sha256};
use stackdrop_specs::{HealthCheck, Service};

use super::NAME;
use super::observed::{ABSENT, Balancer, Group, Observed, elb_tags, keep_tags};
use super::rules;
use crate::aws::error::{Answer, StepError};
use crate::contract::component::Work;
use crate::deployment::plan::{Plan, Verb};

/// The longest name that a target group can have.
const LONGEST_NAME: usize = 32;
/// What the load balancer speaks with the tasks: TLS ends at the load balancer.
const PROTOCOL: &str = "HTTP";

/// The logical ID of a service's target group.
pub(super) fn logical_id(service: &str) -> String {
    format!("target-group/{service}")
}

/// The name of a service's target group. Its end stands for what AWS cannot change in place, so that another
/// one can be made while the first still serves; with a service's name too long for it, for the whole name too.
pub(super) fn name(work: &Work<'_>, service: &str, vpc: &str) -> String {
    name_in(work.stack.name.as_str(), service, vpc)
}

fn name_in(stack: &str, service: &str, vpc: &str) -> String {
    let plain = format!("{stack}-{service}");
    let digest = hex::encode(Sha256::digest(format!("{plain}/{PROTOCOL}/{vpc}")));
    let digits = if plain.len() + 5 <= LONGEST_NAME { 4 } else { 8 };
    let shown: String = plain.chars().take(LONGEST_NAME - 1 - digits).collect();
    format!("{}-{}", shown.trim_end_matches('-'), &digest[..digits])
}

/// The service that a target group is for, by the spec: its name says so, and it is in the stack's VPC.
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
    // AWS's 300 seconds of draining would be most of a deployment's time.
    [("deregistration_delay.timeout_seconds", "30"), ("stickiness.enabled", "false")]
}

fn differing_attributes(group: Option<&Group>) -> Vec<(&'static str, String, &'static str)> {
    let now = |key: &str| group.and_then(|group| group.attributes.get(key)).cloned().unwrap_or_default();
    let desired = attributes().into_iter().map(|(key, to)| (key, now(key), to));
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

fn found_check(group: &TargetGroup) -> Fields {
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

/// The fields of the health check that differ: name, now, by the spec. Where it asks is always the traffic port.
fn differing_check(group: &TargetGroup, check: &HealthCheck) -> Vec<(&'static str, String, String)> {
    let port = group.health_check_port().unwrap_or_default().to_owned();
    let protocol = group.health_check_protocol().map_or("", ProtocolEnum::as_str).to_owned();
    let where_it_asks = [
        ("healthCheck.port", port, "traffic-port".to_owned()),
        ("healthCheck.protocol", protocol, PROTOCOL.to_owned()),
    ];
    let pairs = found_check(group).into_iter().zip(desired_check(check));
    let fields = pairs.map(|((field, from), (_, to))| (field, from, to)).chain(where_it_asks);
    fields.filter(|(_, from, to)| from != to).collect()
}

/// The groups that no service of the spec has any more, and that nothing of somebody else sends requests to.
pub(super) fn superfluous(observed: &Observed) -> Vec<&Group> {
    let balancer = observed.balancer.as_ref().map(Balancer::arn);
    let rest = observed.groups.iter().filter(|group| group.service.is_none());
    rest.filter(|group| {
        let balancers = group.detail.load_balancer_arns();
        let ours = balancers.iter().all(|arn| Some(arn.as_str()) == balancer);
        ours && !observed.not_owned_rules.iter().any(|rule| rules::target(rule) == Some(group.arn()))
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
    }
}

pub(super) fn plan_superfluous(observed: &Observed, plan: &mut Plan) {
    for group in superfluous(observed) {
        plan.change(Verb::Delete, group.logical_id());
    }
}

/// Every routed service's target group by service, the missing ones created.
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
    keep_tags(work, group.arn(), &logical_id(service), &group.tags).await?;
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
    call.send().await.doing(format!("changing the health check of service {service}"))?;
    tracing::info!(service, "Health check changed.");
    Ok(())
}

async fn create(work: &Work<'_>, service: &str, desired: &Service) -> Result<String, StepError> {
    let port = desired.port.ok_or_else(|| {
        StepError::InvalidSpec(format!("services.{service}.port is needed, since the service has routes"))
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
    let answer = call.send().await.pending_on(
        &["DuplicateTargetGroupName"],
        "the target group to be visible",
        format!("creating the target group of service {service}"),
    )?;
    let created = answer.target_groups().first().and_then(TargetGroup::target_group_arn);
    let arn = created.ok_or_else(|| StepError::lacking("the target group's ARN"))?;
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
        call.pending_on(&ABSENT, "the target group to be visible", format!("setting up {arn}")).map(drop)
    });
    join_all(calls).await.into_iter().collect()
}

/// Whether it is gone.
pub(super) async fn delete(work: &Work<'_>, group: &Group) -> Result<bool, StepError> {
    let arn = group.arn();
    let call = work.aws.elb().delete_target_group().target_group_arn(arn).send().await;
    let gone = call.gone(&ABSENT, &["ResourceInUse"], format!("deleting {arn}"))?;
    if gone {
        tracing::info!(arn, "Target group deleted.");
    }
    Ok(gone)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_legal_and_differ_whatever_the_service_is_called() {
        assert_eq!(name_in("shop", "web", "vpc-1"), "shop-web-4357");
        assert_ne!(name_in("shop", "web", "vpc-1"), name_in("shop", "web", "vpc-2"));
        let stack = "a-stack-of-20-chars0";
        let services =
            ["web", "a-rather-long-name", "a-rather-long-name-too", "web-0000000-", "x-------------"];
        let names: std::collections::BTreeSet<String> =
            services.iter().map(|service| name_in(stack, service, "vpc-1")).collect();
        assert_eq!(names.len(), services.len());
        for name in names {
            assert!(name.len() <= LONGEST_NAME && name.starts_with("a-stack-of-20-chars0-"), "{name}");
            assert!(name.chars().all(|each| each.is_ascii_alphanumeric() || each == '-'), "{name}");
        }
    }
}
