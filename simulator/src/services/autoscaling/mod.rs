//! Application Auto Scaling: scalable targets, their bounds, and their policies.

mod access;

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Service, ecs, elb, iam, unknown};
use crate::clock::Clock;
use crate::incident::Incident;
use crate::inventory::Item;
use crate::params::{Params, Refusal};
use crate::protocol::Reply;
use crate::world::{Tags, World};

pub(crate) static SERVICE: Service = Service {
    inventory,
    incidents: &[
        Incident {
            name: "scaling-deregistered",
            what: "Somebody turns off the scaling of a service",
            cause: deregister_by_hand,
        },
        Incident {
            name: "scaling-policy-deleted",
            what: "Somebody deletes the scaling policy of a service",
            cause: delete_policy_by_hand,
        },
    ],
    // Source: "Permissions validation for API calls on target resources" in the Application Auto Scaling user guide.
    denied_by_dependency: |denial| {
        let of_target = denial.is_of("ecs") || denial.is_of("cloudwatch");
        of_target.then(|| Refusal::new("ValidationException", denial.to_string()))
    },
    ..Service::json("application-autoscaling", "1.1", "AnyScaleFrontendService", act, access::access)
};

/// The state of this service.
#[derive(Debug, Clone, Default)]
pub(crate) struct State {
    /// By resource id, such as `service/CLUSTER/SERVICE`.
    targets: BTreeMap<String, Target>,
}

#[derive(Debug, Clone)]
struct Target {
    arn: String,
    created: Duration,
    least: i64,
    most: i64,
    suspended: Suspended,
    tags: Tags,
    policies: BTreeMap<String, Policy>,
}

/// The kinds of scaling that are suspended.
#[derive(Debug, Clone, Copy, Default)]
struct Suspended {
    scale_in: bool,
    scale_out: bool,
    scheduled: bool,
}

#[derive(Debug, Clone)]
struct Policy {
    arn: String,
    created: Duration,
    value: f64,
    metric: String,
    label: Option<String>,
    cooldown_out: Option<i64>,
    cooldown_in: Option<i64>,
    no_scale_in: bool,
}

const DIMENSION: &str = "ecs:service:DesiredCount";

/// The metrics by which an ECS service can scale. Source: `PredefinedMetricType` in the API reference.
const METRICS: [&str; 3] =
    ["ECSServiceAverageCPUUtilization", "ECSServiceAverageMemoryUtilization", "ALBRequestCountPerTarget"];

fn act(world: &mut World, operation: &str, params: &Params) -> Result<Reply, Refusal> {
    match operation {
        "RegisterScalableTarget" => register(world, params),
        "DescribeScalableTargets" => describe_targets(world, params),
        "DeregisterScalableTarget" => deregister(world, params),
        "PutScalingPolicy" => put_policy(world, params),
        "DescribeScalingPolicies" => describe_policies(world, params),
        "DeleteScalingPolicy" => delete_policy(world, params),
        "TagResource" => tag(world, params),
        "UntagResource" => untag(world, params),
        "ListTagsForResource" => list_tags(world, params),
        _ => Err(unknown("application-autoscaling", operation)),
    }
}

/// A target and its policies outlive their service.
fn inventory(world: &World, items: &mut Vec<Item>) {
    for (resource, target) in &world.states.autoscaling.targets {
        let item = Item::new("AWS::ApplicationAutoScaling::ScalableTarget", &target.arn, &target.tags);
        items.push(item.named(resource));
        for (name, policy) in &target.policies {
            let item = Item::new("AWS::ApplicationAutoScaling::ScalingPolicy", &policy.arn, &target.tags);
            items.push(item.named(name));
        }
    }
}

/// The resource ID of a stack's first target.
fn first_target(world: &World, stack: &str) -> Option<String> {
    let start = format!("service/{stack}/");
    world.states.autoscaling.targets.keys().find(|resource| resource.starts_with(&start)).cloned()
}

fn deregister_by_hand(world: &mut World, stack: &str) -> Vec<String> {
    let Some(resource) = first_target(world, stack) else { return Vec::new() };
    let target = world.states.autoscaling.targets.remove(&resource);
    target.map(|target| target.arn).into_iter().collect()
}

fn delete_policy_by_hand(world: &mut World, stack: &str) -> Vec<String> {
    let Some(resource) = first_target(world, stack) else { return Vec::new() };
    let target = world.states.autoscaling.targets.get_mut(&resource);
    let policy = target.and_then(|target| target.policies.pop_first());
    policy.map(|(_, policy)| policy.arn).into_iter().collect()
}

fn register(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let resource = resource(params)?;
    let (least, most) = (params.int("MinCapacity")?, params.int("MaxCapacity")?);
    let role = params.text("RoleARN");
    let old = world.states.autoscaling.targets.get(&resource);
    let suspended = suspended(params, old.map(|target| target.suspended).unwrap_or_default())?;
    let tags = checked(params.map("Tags"))?;
    params.done()?;
    if role.is_some_and(|role| !role.contains("/aws-service-role/")) {
        return Err(validation("ECS services are scaled with the service-linked role only."));
    }
    let Some(least) = least.or(old.map(|target| target.least)) else {
        return Err(validation("Minimum capacity must be specified when registering a new scalable target"));
    };
    let Some(most) = most.or(old.map(|target| target.most)) else {
        return Err(validation("Maximum capacity must be specified when registering a new scalable target"));
    };
    if least < 0 || most < least {
        return Err(validation("Maximum capacity cannot be less than minimum capacity"));
    }
    if old.is_some() && !tags.is_empty() {
        return Err(validation(
            "Tags can only be specified when a scalable target is registered for the first time; use TagResource",
        ));
    }
    if !ecs::is_active_service(world, &resource) {
        return Err(validation(format!("ECS service doesn't exist: {resource}")));
    }
    iam::ensure_service_linked(world, "ecs.application-autoscaling.amazonaws.com");
    let id = format!("{:032x}", world.number());
    let now = world.now;
    let new_arn = world.arn("application-autoscaling", &format!("scalable-target/{id}"));
    let target = world.states.autoscaling.targets.entry(resource.clone()).or_insert_with(|| Target {
        arn: new_arn,
        created: now,
        least,
        most,
        suspended,
        tags,
        policies: BTreeMap::new(),
    });
    (target.least, target.most, target.suspended) = (least, most, suspended);
    let arn = target.arn.clone();
    ecs::keep_within(world, &resource, least, most);
    Ok(json!({ "ScalableTargetARN": arn }).into())
}

fn describe_targets(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    namespace(params)?;
    let resources = params.list("ResourceIds");
    dimension_if_given(params)?;
    let found = world
        .states.autoscaling
        .targets
        .iter()
        .filter(|(resource, _)| resources.is_empty() || resources.contains(resource))
        .map(|(resource, target)| {
            json!({
                "ServiceNamespace": "ecs",
                "ResourceId": resource,
                "ScalableDimension": DIMENSION,
                "MinCapacity": target.least,
                "MaxCapacity": target.most,
                "RoleARN": format!(
                    "arn:aws:iam::{}:role/aws-service-role/ecs.application-autoscaling.amazonaws.com/AWSServiceRoleForApplicationAutoScaling_ECSService",
                    world.account
                ),
                "CreationTime": Clock::epoch_seconds(target.created),
                "SuspendedState": {
                    "DynamicScalingInSuspended": target.suspended.scale_in,
                    "DynamicScalingOutSuspended": target.suspended.scale_out,
                    "ScheduledScalingSuspended": target.suspended.scheduled,
                },
                "ScalableTargetARN": target.arn,
            })
        })
        .collect();
    page(params, "ScalableTargets", found)
}

fn deregister(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let resource = resource(params)?;
    params.done()?;
    world
        .states
        .autoscaling
        .targets
        .remove(&resource)
        .map(|_| Reply::empty())
        .ok_or_else(|| no_target(&resource))
}

fn put_policy(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let resource = resource(params)?;
    let name = needed(params, "PolicyName")?;
    let kind = params.text("PolicyType");
    let tracking = params.section("TargetTrackingScalingPolicyConfiguration");
    let policy = tracking.map(|tracking| tracked(world, &tracking)).transpose()?;
    params.done()?;
    let target = world.states.autoscaling.targets.get(&resource).ok_or_else(|| no_target(&resource))?;
    if kind.is_some_and(|kind| kind != "TargetTrackingScaling") && !target.policies.contains_key(&name) {
        return Err(validation("the simulator knows policies of the type TargetTrackingScaling only"));
    }
    let mut policy =
        policy.ok_or_else(|| validation("Scaling configuration for policy must be specified"))?;
    let same_metric =
        target.policies.iter().any(|(held, other)| *held != name && other.metric == policy.metric);
    if same_metric {
        return Err(validation(
            "Only one TargetTrackingScaling policy for a given metric specification is allowed.",
        ));
    }
    policy.arn = if let Some(old) = target.policies.get(&name) {
        old.arn.clone()
    } else {
        let id = world.number();
        let id = format!("00000000-0000-4000-8000-{id:012x}");
        world.arn("autoscaling", &format!("scalingPolicy:{id}:resource/ecs/{resource}:policyName/{name}"))
    };
    let answer = json!({ "PolicyARN": policy.arn, "Alarms": alarms(world, &resource, &policy) });
    if let Some(target) = world.states.autoscaling.targets.get_mut(&resource) {
        target.policies.insert(name, policy);
    }
    Ok(answer.into())
}

/// Reads a target-tracking configuration; the policy's ARN is not known yet.
fn tracked(world: &World, params: &Params) -> Result<Policy, Refusal> {
    let value = params.float("TargetValue")?.ok_or_else(|| validation("TargetValue is required"))?;
    let metric = params
        .section("PredefinedMetricSpecification")
        .ok_or_else(|| validation("Either a predefined or customized metric specification must be given"))?;
    let kind = needed(&metric, "PredefinedMetricType")?;
    if !METRICS.contains(&kind.as_str()) {
        return Err(validation(format!(
            "Unsupported predefined metric type {kind} for service namespace ecs"
        )));
    }
    let label = metric.text("ResourceLabel");
    if (kind == "ALBRequestCountPerTarget") != label.is_some() {
        return Err(validation(
            "Resource label must be specified for ALBRequestCountPerTarget, and for it only",
        ));
    }
    if let Some(label) = label.as_ref().filter(|label| !elb::is_label(world, label)) {
        return Err(validation(format!(
            "Resource label {label} does not name a load balancer and a target group that it uses."
        )));
    }
    let policy = Policy {
        arn: String::new(),
        created: world.now,
        value,
        metric: kind,
        label,
        cooldown_out: params.int("ScaleOutCooldown")?,
        cooldown_in: params.int("ScaleInCooldown")?,
        no_scale_in: params.flag("DisableScaleIn")?.unwrap_or(false),
    };
    let cooldowns = [policy.cooldown_in, policy.cooldown_out];
    if policy.value <= 0.0 || cooldowns.into_iter().flatten().any(|seconds| seconds < 0) {
        return Err(validation("Target value must be greater than 0 and cooldowns must not be negative"));
    }
    Ok(policy)
}

fn describe_policies(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    namespace(params)?;
    let names = params.list("PolicyNames");
    let resource = params.text("ResourceId");
    dimension_if_given(params)?;
    let mut found = Vec::new();
    for (id, target) in &world.states.autoscaling.targets {
        for (name, policy) in &target.policies {
            let wanted = resource.as_ref().is_none_or(|wanted| wanted == id)
                && (names.is_empty() || names.contains(name));
            if wanted {
                found.push(policy_document(world, id, name, policy));
            }
        }
    }
    page(params, "ScalingPolicies", found)
}

fn delete_policy(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let resource = resource(params)?;
    let name = needed(params, "PolicyName")?;
    params.done()?;
    let target = world.states.autoscaling.targets.get_mut(&resource);
    target.and_then(|target| target.policies.remove(&name)).map(|_| Reply::empty()).ok_or_else(|| {
        Refusal::new(
            "ObjectNotFoundException",
            format!("No scaling policy found for service namespace: ecs, resource ID: {resource}, scalable dimension: {DIMENSION}, policy name: {name}"),
        )
    })
}

fn tag(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let arn = needed(params, "ResourceARN")?;
    let more = checked(params.map("Tags"))?;
    params.done()?;
    let target = by_arn(world, &arn)?;
    let mut tags = target.tags.clone();
    tags.extend(more);
    if tags.len() > 50 {
        return Err(Refusal::new("TooManyTagsException", "A resource can have no more than 50 tags."));
    }
    target.tags = tags;
    Ok(Reply::empty())
}

fn untag(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let arn = needed(params, "ResourceARN")?;
    let keys = params.list("TagKeys");
    params.done()?;
    by_arn(world, &arn)?.tags.retain(|key, _| !keys.contains(key));
    Ok(Reply::empty())
}

fn list_tags(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let arn = needed(params, "ResourceARN")?;
    params.done()?;
    let tags = &by_arn(world, &arn)?.tags;
    Ok(json!({ "Tags": tags }).into())
}

/// The alarms that AWS creates for a policy and deletes with it.
fn alarms(world: &World, resource: &str, policy: &Policy) -> Vec<Value> {
    let id = policy.arn.split(':').nth(6).unwrap_or_default();
    ["AlarmHigh", "AlarmLow"]
        .into_iter()
        .filter(|kind| !(policy.no_scale_in && *kind == "AlarmLow"))
        .map(|kind| {
            let name = format!("TargetTracking-{resource}-{kind}-{id}");
            json!({ "AlarmARN": world.arn("cloudwatch", &format!("alarm:{name}")), "AlarmName": name })
        })
        .collect()
}

fn policy_document(world: &World, resource: &str, name: &str, policy: &Policy) -> Value {
    let mut metric = json!({ "PredefinedMetricType": policy.metric });
    if let Some(label) = &policy.label {
        metric["ResourceLabel"] = json!(label);
    }
    let mut configuration = json!({
        "TargetValue": policy.value,
        "PredefinedMetricSpecification": metric,
        "DisableScaleIn": policy.no_scale_in,
    });
    if let Some(seconds) = policy.cooldown_out {
        configuration["ScaleOutCooldown"] = json!(seconds);
    }
    if let Some(seconds) = policy.cooldown_in {
        configuration["ScaleInCooldown"] = json!(seconds);
    }
    json!({
        "PolicyARN": policy.arn,
        "PolicyName": name,
        "ServiceNamespace": "ecs",
        "ResourceId": resource,
        "ScalableDimension": DIMENSION,
        "PolicyType": "TargetTrackingScaling",
        "TargetTrackingScalingPolicyConfiguration": configuration,
        "Alarms": alarms(world, resource, policy),
        "CreationTime": Clock::epoch_seconds(policy.created),
    })
}

fn suspended(params: &Params, old: Suspended) -> Result<Suspended, Refusal> {
    let Some(section) = params.section("SuspendedState") else { return Ok(old) };
    Ok(Suspended {
        scale_in: section.flag("DynamicScalingInSuspended")?.unwrap_or(old.scale_in),
        scale_out: section.flag("DynamicScalingOutSuspended")?.unwrap_or(old.scale_out),
        scheduled: section.flag("ScheduledScalingSuspended")?.unwrap_or(old.scheduled),
    })
}

/// The resource ID of a request. Only one namespace and dimension are supported.
fn resource(params: &Params) -> Result<String, Refusal> {
    namespace(params)?;
    needed(params, "ScalableDimension")?;
    dimension_if_given(params)?;
    let resource = needed(params, "ResourceId")?;
    match resource.split('/').collect::<Vec<_>>().as_slice() {
        ["service", cluster, service] if !cluster.is_empty() && !service.is_empty() => Ok(resource),
        _ => Err(validation(format!(
            "Unsupported service namespace, resource type or scalable dimension: {resource}"
        ))),
    }
}

fn namespace(params: &Params) -> Result<(), Refusal> {
    match needed(params, "ServiceNamespace")?.as_str() {
        "ecs" => Ok(()),
        other => Err(validation(format!("the simulator scales ECS services only, not {other}"))),
    }
}

fn dimension_if_given(params: &Params) -> Result<(), Refusal> {
    match params.text("ScalableDimension").as_deref() {
        None | Some(DIMENSION) => Ok(()),
        Some(other) => Err(validation(format!(
            "Unsupported service namespace, resource type or scalable dimension: {other}"
        ))),
    }
}

fn by_arn<'a>(world: &'a mut World, arn: &str) -> Result<&'a mut Target, Refusal> {
    world.states.autoscaling.targets.values_mut().find(|target| target.arn == arn).ok_or_else(|| {
        Refusal::new("ResourceNotFoundException", format!("The resource {arn} was not found."))
    })
}

fn page(params: &Params, name: &str, all: Vec<Value>) -> Result<Reply, Refusal> {
    let size = params.int("MaxResults")?.unwrap_or(50);
    let size = usize::try_from(size)
        .ok()
        .filter(|size| (1..=50).contains(size))
        .ok_or_else(|| validation("MaxResults must be between 1 and 50"))?;
    let start = match params.text("NextToken") {
        Some(token) => token
            .parse()
            .map_err(|_| Refusal::new("InvalidNextTokenException", "The next token is not valid."))?,
        None => 0,
    };
    params.done()?;
    let total = all.len();
    let items: Vec<Value> = all.into_iter().skip(start).take(size).collect();
    let end = start + items.len();
    let mut answer = json!({ name: items });
    if end < total {
        answer["NextToken"] = json!(end.to_string());
    }
    Ok(answer.into())
}

fn checked(tags: Tags) -> Result<Tags, Refusal> {
    let unfit = |(key, value): (&String, &String)| {
        key.starts_with("aws:") || !(1..=128).contains(&key.chars().count()) || value.chars().count() > 256
    };
    if tags.len() > 50 || tags.iter().any(unfit) {
        return Err(validation(
            "A resource can have no more than 50 tags, of 128 and 256 characters, and none whose key starts with aws:",
        ));
    }
    Ok(tags)
}

fn needed(params: &Params, key: &str) -> Result<String, Refusal> {
    params.text(key).filter(|text| !text.is_empty()).ok_or_else(|| {
        validation(format!("1 validation error detected: Value null at '{key}' failed to satisfy constraint: Member must not be null"))
    })
}

fn validation(message: impl Into<String>) -> Refusal {
    Refusal::new("ValidationException", message)
}

fn no_target(resource: &str) -> Refusal {
    Refusal::new(
        "ObjectNotFoundException",
        format!(
            "No scalable target found for service namespace: ecs, resource ID: {resource}, scalable dimension: {DIMENSION}"
        ),
    )
}
