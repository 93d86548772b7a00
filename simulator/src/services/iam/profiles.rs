//! Instance profiles, through which EC2 gets a role.

use serde_json::{Value, json};

use super::{
    Profile, conflict, last_part, name, needed, no_such, page, path, roles, tag_list, tags_of, with_more,
};
use crate::clock::Clock;
use crate::params::{Params, Refusal};
use crate::protocol::Reply;
use crate::world::World;

/// How long EC2 takes to see a profile whose name it has seen before.
/// Source: the note of `iam_instance_profile_visible_to_ec2` in the latency model.
const KNOWN_NAME_SECONDS: f64 = 1.5;

pub(super) fn arn(world: &World, name: &str, profile: &Profile) -> String {
    format!("arn:aws:iam::{}:instance-profile{}{name}", world.account, profile.path)
}

pub(super) fn create(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let name = name(params, "InstanceProfileName", 128)?;
    let path = path(params)?;
    let tags = tags_of(params)?;
    params.done()?;
    if world.states.iam.profiles.keys().any(|taken| taken.eq_ignore_ascii_case(&name)) {
        return Err(conflict("EntityAlreadyExists", format!("Instance Profile {name} already exists.")));
    }
    let draw = world.ready("iam_instance_profile_visible_to_ec2");
    let visible_at = if world.states.iam.known_profiles.contains(&name) {
        world.now + world.latency.seconds(KNOWN_NAME_SECONDS)
    } else {
        draw
    };
    let id = format!("AIPA{:017X}", world.number());
    let profile = Profile { id, path, created: world.now, visible_at, role: None, tags };
    world.states.iam.known_profiles.insert(name.clone());
    world.states.iam.profiles.insert(name.clone(), profile);
    shown(world, &name)
}

pub(super) fn get(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let name = needed(params, "InstanceProfileName")?;
    params.done()?;
    shown(world, &name)
}

pub(super) fn delete(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let name = needed(params, "InstanceProfileName")?;
    params.done()?;
    if profile(world, &name)?.role.is_some() {
        return Err(conflict(
            "DeleteConflict",
            "Cannot delete entity, must remove roles from instance profile first.",
        ));
    }
    world.states.iam.profiles.remove(&name);
    Ok(Reply::empty())
}

pub(super) fn add_role(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let name = needed(params, "InstanceProfileName")?;
    let role = needed(params, "RoleName")?;
    params.done()?;
    let seen_at = world.now + world.latency.seconds(KNOWN_NAME_SECONDS);
    roles::role(world, &role)?;
    let profile = profile(world, &name)?;
    if profile.role.is_some() {
        return Err(conflict(
            "LimitExceeded",
            "Cannot exceed quota for InstanceSessionsPerInstanceProfile: 1",
        ));
    }
    // EC2 sees the role of an unseen profile together with the profile.
    profile.role = Some((role, seen_at.max(profile.visible_at)));
    Ok(Reply::empty())
}

pub(super) fn remove_role(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let name = needed(params, "InstanceProfileName")?;
    let role = needed(params, "RoleName")?;
    params.done()?;
    let profile = profile(world, &name)?;
    if profile.role.as_ref().is_none_or(|(held, _)| *held != role) {
        return Err(no_such(format!("The role with name {role} cannot be found.")));
    }
    profile.role = None;
    Ok(Reply::empty())
}

pub(super) fn tag(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let name = needed(params, "InstanceProfileName")?;
    let tags = tags_of(params)?;
    params.done()?;
    let profile = profile(world, &name)?;
    profile.tags = with_more(&profile.tags, tags)?;
    Ok(Reply::empty())
}

pub(super) fn untag(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let name = needed(params, "InstanceProfileName")?;
    let keys = params.list("TagKeys");
    params.done()?;
    profile(world, &name)?.tags.retain(|key, _| !keys.contains(key));
    Ok(Reply::empty())
}

pub(super) fn list_tags(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let name = needed(params, "InstanceProfileName")?;
    params.done()?;
    let tags = tag_list(&profile(world, &name)?.tags);
    Ok(json!({ "Tags": tags, "IsTruncated": false }).into())
}

pub(super) fn list(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let prefix = params.text("PathPrefix").unwrap_or_else(|| "/".into());
    let below = world.states.iam.profiles.iter().filter(|(_, profile)| profile.path.starts_with(&prefix));
    let profiles = below
        .map(|(name, profile)| {
            let mut document = document(world, name, profile);
            // The list omits tags. Source: the operation's page in the IAM API reference.
            if let Some(fields) = document.as_object_mut() {
                fields.remove("Tags");
            }
            document
        })
        .collect();
    page(params, "InstanceProfiles", profiles)
}

pub(super) fn list_for_role(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let role = needed(params, "RoleName")?;
    roles::role(world, &role)?;
    let held = world.states.iam.profiles.iter().filter(|(_, profile)| holds(profile, &role));
    let profiles = held.map(|(name, profile)| document(world, name, profile)).collect();
    page(params, "InstanceProfiles", profiles)
}

pub(super) fn holds(profile: &Profile, role: &str) -> bool {
    profile.role.as_ref().is_some_and(|(held, _)| held == role)
}

fn profile<'a>(world: &'a mut World, name: &str) -> Result<&'a mut Profile, Refusal> {
    world
        .states
        .iam
        .profiles
        .get_mut(name)
        .ok_or_else(|| no_such(format!("Instance Profile {} cannot be found.", last_part(name))))
}

fn shown(world: &mut World, name: &str) -> Result<Reply, Refusal> {
    profile(world, name)?;
    let profile = world.states.iam.profiles.get(name).map(|profile| document(world, name, profile));
    Ok(json!({ "InstanceProfile": profile }).into())
}

fn document(world: &World, name: &str, profile: &Profile) -> Value {
    let roles: Vec<Value> = profile
        .role
        .iter()
        .filter_map(|(role, _)| Some(roles::document(world, role, world.states.iam.roles.get(role)?)))
        .collect();
    json!({
        "Path": profile.path,
        "InstanceProfileName": name,
        "InstanceProfileId": profile.id,
        "Arn": arn(world, name, profile),
        "CreateDate": Clock::date(profile.created),
        "Roles": roles,
        "Tags": tag_list(&profile.tags),
    })
}
