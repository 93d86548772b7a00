//! The permissions that a call needs.
//!
//! Source of the resources: "Actions, resources, and condition keys for Elastic Load Balancing V2" in the Service
//! Authorization Reference. Describe calls take no resource.

use super::tags;
use crate::authorization::AccessRequests;
use crate::params::Params;
use crate::world::{Tags, World};

const LOAD_BALANCER: &str = "loadbalancer/app";
const LISTENER: &str = "listener/app";
const RULE: &str = "listener-rule/app";
const TARGET_GROUP: &str = "targetgroup";

pub(super) fn access(_world: &World, operation: &str, params: &Params, requests: &mut AccessRequests<'_>) {
    match operation {
        "CreateLoadBalancer" | "CreateTargetGroup" | "CreateListener" | "CreateRule" => {
            create(operation, params, requests);
        }
        "ModifyLoadBalancerAttributes" | "SetSecurityGroups" | "SetSubnets" | "DeleteLoadBalancer" => {
            names(params, requests, LOAD_BALANCER, "LoadBalancerArn");
        }
        "ModifyTargetGroup"
        | "ModifyTargetGroupAttributes"
        | "DeleteTargetGroup"
        | "RegisterTargets"
        | "DeregisterTargets" => {
            names(params, requests, TARGET_GROUP, "TargetGroupArn");
        }
        "ModifyListener" | "DeleteListener" => {
            names(params, requests, LISTENER, "ListenerArn");
        }
        "ModifyRule" | "DeleteRule" => {
            names(params, requests, RULE, "RuleArn");
        }
        "SetRulePriorities" => set_priorities(params, requests),
        "AddTags" | "RemoveTags" => tag(operation, params, requests),
        _ => {
            requests.no_resource();
        }
    }
    for action in looks(operation) {
        requests.other_action(action, "", "*", None);
    }
}

/// What Elastic Load Balancing reads from EC2 with the caller's permissions. Source: "Elastic Load Balancing API
/// permissions" in its user guide.
fn looks(operation: &str) -> &'static [&'static str] {
    match operation {
        "CreateLoadBalancer" => &[
            "ec2:DescribeAccountAttributes",
            "ec2:DescribeAddresses",
            "ec2:DescribeInternetGateways",
            "ec2:DescribeSecurityGroups",
            "ec2:DescribeSubnets",
            "ec2:DescribeVpcs",
        ],
        "CreateTargetGroup" => &["ec2:DescribeInternetGateways", "ec2:DescribeVpcs"],
        "RegisterTargets" => &[
            "ec2:DescribeInstances",
            "ec2:DescribeInternetGateways",
            "ec2:DescribeSubnets",
            "ec2:DescribeVpcs",
        ],
        "SetSubnets" => &["ec2:DescribeSubnets"],
        _ => &[],
    }
}

/// Requests the call's own action on the resource that a parameter names, and returns its ARN. If the parameter is
/// missing, the operation refuses the call, unless IAM does so first.
fn names(params: &Params, requests: &mut AccessRequests<'_>, kind: &str, parameter: &str) -> String {
    let world = requests.world;
    let arn = params.text(parameter).unwrap_or_else(|| new(world, &format!("{kind}/*")));
    requests.resource(kind, &arn, tags::existing(world, &arn));
    arn
}

/// The ARN of a resource without an ARN yet.
fn new(world: &World, path: &str) -> String {
    world.arn("elasticloadbalancing", path)
}

fn create(operation: &str, params: &Params, requests: &mut AccessRequests<'_>) {
    let name = params.text("Name").unwrap_or_default();
    let (kind, arn) = match operation {
        "CreateLoadBalancer" => (LOAD_BALANCER, new(requests.world, &format!("{LOAD_BALANCER}/{name}/*"))),
        "CreateTargetGroup" => (TARGET_GROUP, new(requests.world, &format!("{TARGET_GROUP}/{name}/*"))),
        // These are created in an existing resource, on which the call's own action is requested.
        "CreateListener" => {
            let owner = names(params, requests, LOAD_BALANCER, "LoadBalancerArn");
            (LISTENER, owner.replacen(":loadbalancer/", ":listener/", 1) + "/*")
        }
        _ => {
            let owner = names(params, requests, LISTENER, "ListenerArn");
            (RULE, owner.replacen(":listener/", ":listener-rule/", 1) + "/*")
        }
    };
    if matches!(kind, LOAD_BALANCER | TARGET_GROUP) {
        requests.resource(kind, &arn, None);
    }
    let tags = new_tags(params);
    requests.request_tags(&tags);
    if !tags.is_empty() {
        // Source: "API permissions to tag resources during creation" in the user guide.
        let tagging = requests.other_action("elasticloadbalancing:AddTags", kind, arn, None);
        tagging.key("elasticloadbalancing:CreateAction", operation).request_tags(&tags);
    }
    if operation == "CreateLoadBalancer" {
        requests.linked_role("elasticloadbalancing.amazonaws.com");
    }
}

fn new_tags(params: &Params) -> Tags {
    let tags = params.structs("Tags");
    tags.iter().filter_map(|tag| Some((tag.text("Key")?, tag.text("Value").unwrap_or_default()))).collect()
}

/// Without the rules' tags: the reference lists this action, as the only one with a resource, without
/// `aws:ResourceTag`.
fn set_priorities(params: &Params, requests: &mut AccessRequests<'_>) {
    let pairs = params.structs("RulePriorities");
    let mut rules: Vec<String> = pairs.iter().filter_map(|pair| pair.text("RuleArn")).collect();
    if rules.is_empty() {
        rules.push(new(requests.world, &format!("{RULE}/*")));
    }
    for rule in rules {
        requests.resource(RULE, rule, None);
    }
}

fn tag(operation: &str, params: &Params, requests: &mut AccessRequests<'_>) {
    let world = requests.world;
    let arns = params.list("ResourceArns");
    if arns.is_empty() {
        requests.no_resource();
    }
    let (tags, keys) = (new_tags(params), params.list("TagKeys"));
    for arn in &arns {
        let request = match kind_of(arn) {
            Some(kind) => requests.resource(kind, arn, tags::existing(world, arn)),
            None => requests.no_resource(),
        };
        if operation == "AddTags" {
            request.request_tags(&tags);
        } else {
            request.tag_keys(keys.clone());
        }
    }
}

fn kind_of(arn: &str) -> Option<&'static str> {
    let path = arn.splitn(6, ':').nth(5)?;
    [LOAD_BALANCER, LISTENER, RULE, TARGET_GROUP]
        .into_iter()
        .find(|kind| path.strip_prefix(kind).is_some_and(|rest| rest.starts_with('/')))
}
