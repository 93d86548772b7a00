//! The permissions that a call needs.

use super::{Profile, Role, profiles, roles, tags_of};
use crate::authorization::AccessRequests;
use crate::params::Params;
use crate::world::World;

pub(super) fn access(world: &World, operation: &str, params: &Params, requests: &mut AccessRequests<'_>) {
    match operation {
        "ListRoles" | "ListInstanceProfiles" => {
            requests.no_resource();
        }
        "CreateRole" => create_role(world, params, requests),
        "CreateServiceLinkedRole" => create_service_linked(world, params, requests),
        "CreateInstanceProfile" => create_profile(world, params, requests),
        "AddRoleToInstanceProfile" => add_role(world, params, requests),
        "GetInstanceProfile"
        | "DeleteInstanceProfile"
        | "RemoveRoleFromInstanceProfile"
        | "TagInstanceProfile"
        | "UntagInstanceProfile"
        | "ListInstanceProfileTags" => on_profile(world, params, requests),
        _ => on_role(world, params, requests),
    }
}

/// A creation with tags also needs the permission to tag. Source: "Tagging IAM roles" in the IAM user guide.
fn create_role(world: &World, params: &Params, requests: &mut AccessRequests<'_>) {
    let arn = new_arn(world, "role", params, "RoleName");
    let tags = tags_of(params).unwrap_or_default();
    requests.resource("role", &arn, None).request_tags(&tags);
    if let Some(boundary) = params.text("PermissionsBoundary") {
        requests.key("iam:PermissionsBoundary", &boundary);
    }
    if !tags.is_empty() {
        requests.other_action("iam:TagRole", "role", arn, None).request_tags(&tags);
    }
}

fn create_profile(world: &World, params: &Params, requests: &mut AccessRequests<'_>) {
    let arn = new_arn(world, "instance-profile", params, "InstanceProfileName");
    let tags = tags_of(params).unwrap_or_default();
    requests.resource("instance-profile", &arn, None).request_tags(&tags);
    if !tags.is_empty() {
        requests.other_action("iam:TagInstanceProfile", "instance-profile", arn, None).request_tags(&tags);
    }
}

fn create_service_linked(world: &World, params: &Params, requests: &mut AccessRequests<'_>) {
    let service = text(params, "AWSServiceName");
    let name = roles::linked_name(&service).unwrap_or("*");
    let arn = format!("arn:aws:iam::{}:role/aws-service-role/{service}/{name}", world.account);
    requests.resource("role", arn, None).key("iam:AWSServiceName", service);
}

/// "The caller of this operation must be granted the `PassRole` permission on the IAM role" (API reference). The role
/// is passed to EC2, since the reference restricts it by the ARNs of EC2 instances.
fn add_role(world: &World, params: &Params, requests: &mut AccessRequests<'_>) {
    on_profile(world, params, requests);
    requests.pass_role(&text(params, "RoleName"), "ec2.amazonaws.com");
}

/// IAM does not know the path of an entity that does not exist: the request has its name only. Source: AWS's own
/// `ParallelCluster`, which had to remove the path from its policies for reads.
fn on_profile(world: &World, params: &Params, requests: &mut AccessRequests<'_>) {
    let name = text(params, "InstanceProfileName");
    let profile: Option<&Profile> = world.states.iam.profiles.get(&name);
    let arn = profile.map_or_else(
        || format!("arn:aws:iam::{}:instance-profile/{name}", world.account),
        |profile| profiles::arn(world, &name, profile),
    );
    let request = requests.resource("instance-profile", arn, profile.map(|profile| &profile.tags));
    request.request_tags(&tags_of(params).unwrap_or_default()).tag_keys(params.list("TagKeys"));
}

fn on_role(world: &World, params: &Params, requests: &mut AccessRequests<'_>) {
    let name = text(params, "RoleName");
    let role: Option<&Role> = world.states.iam.roles.get(&name);
    let arn = role.map_or_else(
        || format!("arn:aws:iam::{}:role/{name}", world.account),
        |role| roles::arn(world, &name, role),
    );
    let request = requests.resource("role", arn, role.map(|role| &role.tags));
    request.request_tags(&tags_of(params).unwrap_or_default()).tag_keys(params.list("TagKeys"));
    if let Some(policy) = params.text("PolicyArn") {
        request.key("iam:PolicyARN", policy);
    }
    // A call that sets a boundary is judged by that one: otherwise the condition could not protect it ("Delegating
    // responsibility to others using permissions boundaries" in the IAM user guide allows the call by this key).
    let boundary = params.text("PermissionsBoundary").or_else(|| role.and_then(|role| role.boundary.clone()));
    if let Some(boundary) = boundary {
        request.key("iam:PermissionsBoundary", boundary);
    }
}

/// The ARN of a new entity, under the path of the request.
fn new_arn(world: &World, kind: &str, params: &Params, name: &str) -> String {
    let path = params.text("Path").unwrap_or_else(|| "/".into());
    format!("arn:aws:iam::{}:{kind}{path}{}", world.account, text(params, name))
}

fn text(params: &Params, key: &str) -> String {
    params.text(key).unwrap_or_default()
}
