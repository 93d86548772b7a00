//! The permissions that a call needs.

use crate::authorization::AccessRequests;
use crate::params::Params;
use crate::services::ecs;
use crate::world::World;

pub(super) fn access(world: &World, operation: &str, params: &Params, requests: &mut AccessRequests<'_>) {
    let resource = params.text("ResourceId").unwrap_or_default();
    match operation {
        "DescribeScalableTargets" | "DescribeScalingPolicies" => {
            requests.no_resource();
        }
        "TagResource" | "UntagResource" | "ListTagsForResource" => {
            let arn = params.text("ResourceARN").unwrap_or_default();
            let target = world.states.autoscaling.targets.values().find(|target| target.arn == arn);
            requests
                .resource(TARGET, &arn, target.map(|target| &target.tags))
                .request_tags(&params.map("Tags"))
                .tag_keys(params.list("TagKeys"));
        }
        "RegisterScalableTarget" => {
            on_target(world, params, requests, &resource);
            with_tags(world, params, requests);
            tried_out(world, &resource, requests);
            requests.linked_role("ecs.application-autoscaling.amazonaws.com");
        }
        "PutScalingPolicy" => {
            on_target(world, params, requests, &resource);
            tried_out(world, &resource, requests);
        }
        _ => on_target(world, params, requests, &resource),
    }
}

/// A target, as the Service Authorization Reference names it.
const TARGET: &str = "ScalableTarget";

/// A target that does not exist has no ID yet, so the request is for any.
fn on_target(world: &World, params: &Params, requests: &mut AccessRequests<'_>, resource: &str) {
    let target = world.states.autoscaling.targets.get(resource);
    let arn = target.map_or_else(|| any_target(world), |target| target.arn.clone());
    let request = requests.resource(TARGET, arn, target.map(|target| &target.tags));
    for (key, parameter) in [
        ("application-autoscaling:service-namespace", "ServiceNamespace"),
        ("application-autoscaling:scalable-dimension", "ScalableDimension"),
    ] {
        request.key(key, params.text(parameter).unwrap_or_default());
    }
}

fn any_target(world: &World) -> String {
    world.arn("application-autoscaling", "scalable-target/*")
}

fn with_tags(world: &World, params: &Params, requests: &mut AccessRequests<'_>) {
    let tags = params.map("Tags");
    if !tags.is_empty() {
        requests.request_tags(&tags);
        let arn = any_target(world);
        requests.other_action("application-autoscaling:TagResource", TARGET, arn, None).request_tags(&tags);
    }
}

/// Before it registers a target or accepts a policy for it, Application Auto Scaling checks whether the caller has
/// the permissions for the later calls. Those to `CloudWatch` name no alarm, so only a permission for all alarms is
/// enough. Source: "Permissions validation for API calls on target resources" in its user guide, and "IAM permissions
/// required for Amazon ECS service auto scaling" in the ECS developer guide.
fn tried_out(world: &World, resource: &str, requests: &mut AccessRequests<'_>) {
    ecs::scaling_access(world, resource, requests);
    for action in ["cloudwatch:DescribeAlarms", "cloudwatch:PutMetricAlarm", "cloudwatch:DeleteAlarms"] {
        requests.other_action(action, "alarm", world.arn("cloudwatch", "alarm:*"), None);
    }
}
