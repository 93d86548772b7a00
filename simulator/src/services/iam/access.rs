//! What a call asks IAM for.

use super::{Profile, Role, profiles, roles, tags_of};
use crate::authorization::Asks;
use crate::params::Params;
use crate::world::World;

pub(super) fn access(world: &World, operation: &str, params: &Params, asks: &mut Asks<'_>) {
    match operation {
        "ListRoles" | "ListInstanceProfiles" => {
            asks.whole();
        }
        "CreateRole" => create_role(world, params, asks),
        "CreateServiceLinkedRole" => create_service_linked(world, params, asks),
        "CreateInstanceProfile" => create_profile(world, params, asks),
        "AddRoleToInstanceProfile" => add_role(world, params, asks),
        "GetInstanceProfile"
        | "DeleteInstanceProfile"
        | "RemoveRoleFromInstanceProfile"
        | "TagInstanceProfile"
        | "UntagInstanceProfile"
        | "ListInstanceProfileTags" => on_profile(world, params, asks),
        _ => on_role(world, params, asks),
    }
}

/// Tags in the call that creates need the permission to tag. Source: "Tagging IAM roles" in the IAM user guide.
fn create_role(world: &World, params: &Params, asks: &mut Asks<'_>) {
    let arn = new_arn(world, "role", params, "RoleName");
    let tags = tags_of(params).unwrap_or_default();
    asks.on("role", &arn, None).request_tags(&tags);
    if let Some(boundary) = params.text("PermissionsBoundary") {
        asks.key("iam:PermissionsBoundary", &boundary);
    }
    if !tags.is_empty() {
        asks.also("iam:TagRole", "role", arn, None).request_tags(&tags);
    }
}

fn create_profile(world: &World, params: &Params, asks: &mut Asks<'_>) {
    let arn = new_arn(world, "instance-profile", params, "InstanceProfileName");
    let tags = tags_of(params).unwrap_or_default();
    asks.on("instance-profile", &arn, None).request_tags(&tags);
    if !tags.is_empty() {
        asks.also("iam:TagInstanceProfile", "instance-profile", arn, None).request_tags(&tags);
    }
}

fn create_service_linked(world: &World, params: &Params, asks: &mut Asks<'_>) {
    let service = text(params, "AWSServiceName");
    let name = roles::linked_name(&service).unwrap_or("*");
    let arn = format!("arn:aws:iam::{}:role/aws-service-role/{service}/{name}", world.account);
    asks.on("role", arn, None).key("iam:AWSServiceName", service);
}

/// "The caller of this operation must be granted the PassRole permission on the IAM role" (API reference): EC2 is who
/// the role is passed to, since the reference restricts it by the ARNs of EC2 instances.
fn add_role(world: &World, params: &Params, asks: &mut Asks<'_>) {
    on_profile(world, params, asks);
    asks.pass_role(&text(params, "RoleName"), "ec2.amazonaws.com");
}

/// Of an entity that does not exist IAM knows no path: the request names it alone.
/// Source: aws/aws-parallelcluster#5837.
fn on_profile(world: &World, params: &Params, asks: &mut Asks<'_>) {
    let name = text(params, "InstanceProfileName");
    let profile: Option<&Profile> = world.iam.profiles.get(&name);
    let arn = profile.map_or_else(
        || format!("arn:aws:iam::{}:instance-profile/{name}", world.account),
        |profile| profiles::arn(world, &name, profile),
    );
    let request = asks.on("instance-profile", arn, profile.map(|profile| &profile.tags));
    request.request_tags(&tags_of(params).unwrap_or_default()).tag_keys(params.list("TagKeys"));
}

fn on_role(world: &World, params: &Params, asks: &mut Asks<'_>) {
    let name = text(params, "RoleName");
    let role: Option<&Role> = world.iam.roles.get(&name);
    let arn = role.map_or_else(
        || format!("arn:aws:iam::{}:role/{name}", world.account),
        |role| roles::arn(world, &name, role),
    );
    let request = asks.on("role", arn, role.map(|role| &role.tags));
    request.request_tags(&tags_of(params).unwrap_or_default()).tag_keys(params.list("TagKeys"));
    if let Some(policy) = params.text("PolicyArn") {
        request.key("iam:PolicyARN", policy);
    }
    if let Some(boundary) = role.and_then(|role| role.boundary.as_ref()) {
        request.key("iam:PermissionsBoundary", boundary);
    }
}

/// The ARN of what is to be created, under the path of the request.
fn new_arn(world: &World, kind: &str, params: &Params, name: &str) -> String {
    let path = params.text("Path").unwrap_or_else(|| "/".into());
    format!("arn:aws:iam::{}:{kind}{path}{}", world.account, text(params, name))
}

fn text(params: &Params, key: &str) -> String {
    params.text(key).unwrap_or_default()
}
