//! Roles and their policies.

use std::collections::{BTreeMap, BTreeSet};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::{
    Document, Role, conflict, invalid, managed_policy, name, needed, no_such, page, path, profiles, tag_list,
    tags_of, with_more,
};
use crate::clock::Clock;
use crate::params::{Params, Refusal};
use crate::protocol::Reply;
use crate::world::{Tags, World};

/// The most managed policies of a role, and the size limit of its inline policies (characters without white space).
/// Source: "IAM and AWS STS quotas".
const ATTACHED_MAX: usize = 10;
const INLINE_CHARACTERS_MAX: usize = 10_240;
const TRUST_CHARACTERS_MAX: usize = 2_048;

/// The characters that RFC 3986 does not encode. IAM encodes documents in responses by that RFC.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

pub(super) fn arn(world: &World, name: &str, role: &Role) -> String {
    format!("arn:aws:iam::{}:role{}{name}", world.account, role.path)
}

pub(super) fn create(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let name = name(params, "RoleName", 64)?;
    let path = path(params)?;
    let trust = trust(params, "AssumeRolePolicyDocument")?;
    let description = params.text("Description");
    let max_session_seconds = params.int("MaxSessionDuration")?.unwrap_or(3600);
    let boundary = params.text("PermissionsBoundary");
    let tags = tags_of(params)?;
    params.done()?;
    if let Some(boundary) = &boundary {
        check_boundary(world, boundary)?;
    }
    if !(3600..=43_200).contains(&max_session_seconds) {
        return Err(invalid(
            "1 validation error detected: Value at 'maxSessionDuration' failed to satisfy constraint: Member must have value between 3600 and 43200",
        ));
    }
    if world.states.iam.roles.keys().any(|taken| taken.eq_ignore_ascii_case(&name)) {
        return Err(conflict("EntityAlreadyExists", format!("Role with name {name} already exists.")));
    }
    let role = Role {
        id: format!("AROA{:017X}", world.number()),
        path,
        created: world.now,
        visible_at: world.ready("iam_role_assumable_by_service"),
        trust,
        description,
        max_session_seconds,
        attached: BTreeSet::new(),
        boundary,
        inline: BTreeMap::new(),
        earlier: BTreeMap::new(),
        tags,
        linked_to: None,
        seeded: false,
    };
    world.states.iam.roles.insert(name.clone(), role);
    shown(world, &name)
}

pub(super) fn get(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let name = needed(params, "RoleName")?;
    params.done()?;
    shown(world, &name)
}

pub(super) fn list(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let prefix = params.text("PathPrefix").unwrap_or_else(|| "/".into());
    let below = world.states.iam.roles.iter().filter(|(_, role)| role.path.starts_with(&prefix));
    let roles = below
        .map(|(name, role)| {
            let mut document = document(world, name, role);
            // `ListRoles` omits tags. Source: the operation's page in the IAM API reference.
            if let Some(fields) = document.as_object_mut() {
                fields.remove("Tags");
            }
            document
        })
        .collect();
    page(params, "Roles", roles)
}

pub(super) fn delete(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let name = needed(params, "RoleName")?;
    params.done()?;
    let in_a_profile = world.states.iam.profiles.values().any(|profile| profiles::holds(profile, &name));
    let role = modifiable(world, &name)?;
    let blocker = if in_a_profile {
        Some("Cannot delete entity, must remove roles from instance profile first.")
    } else if !role.attached.is_empty() {
        Some("Cannot delete entity, must detach all policies first.")
    } else if !role.inline.is_empty() {
        Some("Cannot delete entity, must delete policies first.")
    } else {
        None
    };
    if let Some(blocker) = blocker {
        return Err(conflict("DeleteConflict", blocker));
    }
    world.states.iam.roles.remove(&name);
    Ok(Reply::empty())
}

pub(super) fn update_trust(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let name = needed(params, "RoleName")?;
    let trust = trust(params, "PolicyDocument")?;
    params.done()?;
    modifiable(world, &name)?.trust = trust;
    Ok(Reply::empty())
}

pub(super) fn tag(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let name = needed(params, "RoleName")?;
    let tags = tags_of(params)?;
    params.done()?;
    let role = role(world, &name)?;
    role.tags = with_more(&role.tags, tags)?;
    Ok(Reply::empty())
}

pub(super) fn untag(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let name = needed(params, "RoleName")?;
    let keys = params.list("TagKeys");
    params.done()?;
    role(world, &name)?.tags.retain(|key, _| !keys.contains(key));
    Ok(Reply::empty())
}

pub(super) fn list_tags(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let name = needed(params, "RoleName")?;
    let tags = role(world, &name)?.tags.clone();
    let tags = tags.iter().map(|(key, value)| json!({ "Key": key, "Value": value })).collect();
    page(params, "Tags", tags)
}

pub(super) fn attach(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let name = needed(params, "RoleName")?;
    let policy = needed(params, "PolicyArn")?;
    params.done()?;
    let known = managed_policy(world, &policy).is_some();
    let role = modifiable(world, &name)?;
    if !known {
        return Err(no_such(format!("Policy {policy} does not exist or is not attachable.")));
    }
    if role.attached.len() >= ATTACHED_MAX && !role.attached.contains(&policy) {
        return Err(conflict(
            "LimitExceeded",
            format!("Cannot exceed quota for PoliciesPerRole: {ATTACHED_MAX}"),
        ));
    }
    role.attached.insert(policy);
    Ok(Reply::empty())
}

pub(super) fn detach(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let name = needed(params, "RoleName")?;
    let policy = needed(params, "PolicyArn")?;
    params.done()?;
    if modifiable(world, &name)?.attached.remove(&policy) {
        Ok(Reply::empty())
    } else {
        Err(no_such(format!("Policy {policy} was not found.")))
    }
}

pub(super) fn list_attached(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let name = needed(params, "RoleName")?;
    let policies = role(world, &name)?
        .attached
        .iter()
        .map(|arn| json!({ "PolicyName": super::last_part(arn), "PolicyArn": arn }))
        .collect();
    page(params, "AttachedPolicies", policies)
}

pub(super) fn put_policy(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let name = needed(params, "RoleName")?;
    let policy = super::name(params, "PolicyName", 128)?;
    let text = needed(params, "PolicyDocument")?;
    let document = Document::permissions(&text)?;
    params.done()?;
    let (now, until) = (world.now, world.ready("iam_role_assumable_by_service"));
    let role = modifiable(world, &name)?;
    let others = role.inline.iter().filter(|(held, _)| **held != policy).map(|(_, held)| size(&held.text));
    if others.sum::<usize>() + size(&text) > INLINE_CHARACTERS_MAX {
        return Err(conflict(
            "LimitExceeded",
            format!("Maximum policy size of {INLINE_CHARACTERS_MAX} bytes exceeded for role {name}"),
        ));
    }
    // Source: "Changes that I make are not always immediately visible" in "Troubleshooting IAM" of the IAM user guide. How long
    // it takes is not documented: as long as a new role.
    let earlier = role.shown(&policy, now).cloned();
    role.earlier.insert(policy.clone(), (earlier, until));
    role.inline.insert(policy, document);
    Ok(Reply::empty())
}

pub(super) fn get_policy(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let name = needed(params, "RoleName")?;
    let policy = needed(params, "PolicyName")?;
    params.done()?;
    let document = role(world, &name)?
        .inline
        .get(&policy)
        .ok_or_else(|| no_such(format!("The role policy with name {policy} cannot be found.")))?;
    Ok(json!({ "RoleName": name, "PolicyName": policy, "PolicyDocument": encoded(&document.text) }).into())
}

pub(super) fn list_policies(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let name = needed(params, "RoleName")?;
    let names = role(world, &name)?.inline.keys().map(|name| json!(name)).collect();
    page(params, "PolicyNames", names)
}

pub(super) fn delete_policy(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let name = needed(params, "RoleName")?;
    let policy = needed(params, "PolicyName")?;
    params.done()?;
    match modifiable(world, &name)?.inline.remove(&policy) {
        Some(_) => Ok(Reply::empty()),
        None => Err(no_such(format!("The role policy with name {policy} cannot be found."))),
    }
}

/// "Adds or updates the policy that is specified as the IAM role's permissions boundary" (API reference).
pub(super) fn put_boundary(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let name = needed(params, "RoleName")?;
    let boundary = needed(params, "PermissionsBoundary")?;
    params.done()?;
    check_boundary(world, &boundary)?;
    modifiable(world, &name)?.boundary = Some(boundary);
    Ok(Reply::empty())
}

pub(super) fn delete_boundary(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let name = needed(params, "RoleName")?;
    params.done()?;
    match modifiable(world, &name)?.boundary.take() {
        Some(_) => Ok(Reply::empty()),
        None => Err(no_such(format!("The permissions boundary of role {name} cannot be found."))),
    }
}

fn check_boundary(world: &World, arn: &str) -> Result<(), Refusal> {
    match managed_policy(world, arn) {
        Some(_) => Ok(()),
        None => {
            Err(no_such("Scope ARN: the permissions boundary does not exist or is not attachable.".into()))
        }
    }
}

pub(super) fn create_service_linked(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let service = needed(params, "AWSServiceName")?;
    params.ignore("Description");
    params.done()?;
    let Some(name) = linked_name(&service) else {
        return Err(Refusal::new("InvalidInput", format!("Service principal {service} is not valid.")));
    };
    match link(world, &service) {
        Some(()) => shown(world, name),
        None => Err(Refusal::new(
            "InvalidInput",
            format!(
                "Service role name {name} has been taken in this account, please try a different suffix."
            ),
        )),
    }
}

/// Creates the service-linked role of a service; `None` if the account has the role (or the service has none).
pub(super) fn link(world: &mut World, service: &str) -> Option<()> {
    let name = linked_name(service).filter(|name| !world.states.iam.roles.contains_key(*name))?;
    let trust = json!({
        "Version": "2012-10-17",
        "Statement": [{ "Effect": "Allow", "Principal": { "Service": service }, "Action": "sts:AssumeRole" }],
    });
    let role = Role {
        id: format!("AROA{:017X}", world.number()),
        path: format!("/aws-service-role/{service}/"),
        created: world.now,
        visible_at: world.now,
        trust: Document::trust(&trust.to_string()).ok()?,
        description: None,
        max_session_seconds: 3600,
        attached: BTreeSet::new(),
        boundary: None,
        inline: BTreeMap::new(),
        earlier: BTreeMap::new(),
        tags: Tags::new(),
        linked_to: Some(service.into()),
        seeded: true,
    };
    world.states.iam.roles.insert(name.into(), role);
    Some(())
}

pub(super) fn linked_name(service: &str) -> Option<&'static str> {
    Some(match service {
        "ecs.amazonaws.com" => "AWSServiceRoleForECS",
        "elasticloadbalancing.amazonaws.com" => "AWSServiceRoleForElasticLoadBalancing",
        "rds.amazonaws.com" => "AWSServiceRoleForRDS",
        "ecs.application-autoscaling.amazonaws.com" => "AWSServiceRoleForApplicationAutoScaling_ECSService",
        _ => return None,
    })
}

/// A role that exists.
///
/// # Errors
/// `NoSuchEntity`.
pub(super) fn role<'a>(world: &'a mut World, name: &str) -> Result<&'a mut Role, Refusal> {
    world
        .states
        .iam
        .roles
        .get_mut(name)
        .ok_or_else(|| no_such(format!("The role with name {name} cannot be found.")))
}

fn modifiable<'a>(world: &'a mut World, name: &str) -> Result<&'a mut Role, Refusal> {
    let role = role(world, name)?;
    match role.linked_to {
        None => Ok(role),
        Some(_) => Err(Refusal::new(
            "UnmodifiableEntity",
            format!(
                "Cannot perform the operation on the protected role '{name}' - this role is only modifiable by AWS"
            ),
        )),
    }
}

fn trust(params: &Params, key: &str) -> Result<Document, Refusal> {
    let text = needed(params, key)?;
    if size(&text) > TRUST_CHARACTERS_MAX {
        return Err(conflict(
            "LimitExceeded",
            format!("Cannot exceed quota for ACLSizePerRole: {TRUST_CHARACTERS_MAX}"),
        ));
    }
    Document::trust(&text)
}

pub(super) fn size(text: &str) -> usize {
    text.chars().filter(|character| !character.is_whitespace()).count()
}

fn encoded(document: &str) -> String {
    utf8_percent_encode(document, ENCODED).to_string()
}

fn shown(world: &mut World, name: &str) -> Result<Reply, Refusal> {
    role(world, name)?;
    let role = world.states.iam.roles.get(name).map(|role| document(world, name, role));
    Ok(json!({ "Role": role }).into())
}

pub(super) fn document(world: &World, name: &str, role: &Role) -> Value {
    json!({
        "Path": role.path,
        "RoleName": name,
        "RoleId": role.id,
        "Arn": arn(world, name, role),
        "CreateDate": Clock::date(role.created),
        "AssumeRolePolicyDocument": encoded(&role.trust.text),
        "Description": role.description,
        "MaxSessionDuration": role.max_session_seconds,
        "PermissionsBoundary": role.boundary.as_ref().map(|arn| {
            json!({ "PermissionsBoundaryType": "PermissionsBoundaryPolicy", "PermissionsBoundaryArn": arn })
        }),
        "Tags": tag_list(&role.tags),
    })
}
