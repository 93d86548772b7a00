//! IAM: roles, instance profiles, and the delay until other services see them.

mod access;
mod documents;
mod managed;
mod profiles;
mod roles;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use self::documents::Document;
use super::{Service, unknown};
use crate::authorization::{self, Grants, InvalidPolicy, Policy};
use crate::inventory::Item;
use crate::latency::Timing;
use crate::params::{Params, Refusal};
use crate::protocol::Reply;
use crate::rates::Rate;
use crate::world::{self, Tags, World};

pub(crate) static SERVICE: Service = Service {
    inventory,
    rate: |_| Rate::new("all", 100.0, 15.0),
    timings: &[("CreateRole", Timing::Create("iam_role")), ("DeleteRole", Timing::Delete("iam_role"))],
    is_global: true,
    ..Service::query("iam", "https://iam.amazonaws.com/doc/2010-05-08/", act, access::access)
};

/// The state of this service.
#[derive(Debug, Clone, Default)]
pub(crate) struct State {
    /// By name: IAM's names are unique in the account, ignoring case.
    roles: BTreeMap<String, Role>,
    profiles: BTreeMap<String, Profile>,
    /// Customer managed policies, by ARN.
    policies: BTreeMap<String, Arc<Policy>>,
    /// The names of profiles that EC2 has seen before: it sees them sooner the next time.
    known_profiles: BTreeSet<String>,
}

#[derive(Debug, Clone)]
struct Role {
    id: String,
    path: String,
    created: Duration,
    /// When other services see it.
    visible_at: Duration,
    trust: Document,
    description: Option<String>,
    max_session_seconds: i64,
    /// ARNs of managed policies.
    attached: BTreeSet<String>,
    /// The ARN of its permissions boundary.
    boundary: Option<String>,
    inline: BTreeMap<String, Document>,
    /// What other services still see of an inline policy that was written lately, and until when.
    earlier: BTreeMap<String, (Option<Document>, Duration)>,
    tags: Tags,
    /// The service that it is linked to. A linked role belongs to the account and to that service.
    linked_to: Option<String>,
    /// Whether it existed from the start: no deployment creates or deletes it.
    seeded: bool,
}

impl Role {
    /// An inline policy as other services see it: a new one, or new access, takes a while.
    fn shown(&self, policy: &str, now: Duration) -> Option<&Document> {
        match self.earlier.get(policy) {
            Some((earlier, until)) if now < *until => earlier.as_ref(),
            _ => self.inline.get(policy),
        }
    }
}

#[derive(Debug, Clone)]
struct Profile {
    id: String,
    path: String,
    created: Duration,
    /// When EC2 sees it.
    visible_at: Duration,
    /// Its role, and when EC2 sees the role in it.
    role: Option<(String, Duration)>,
    tags: Tags,
}

fn act(world: &mut World, operation: &str, params: &Params) -> Result<Reply, Refusal> {
    match operation {
        "CreateRole" => roles::create(world, params),
        "GetRole" => roles::get(world, params),
        "ListRoles" => roles::list(world, params),
        "DeleteRole" => roles::delete(world, params),
        "UpdateAssumeRolePolicy" => roles::update_trust(world, params),
        "TagRole" => roles::tag(world, params),
        "UntagRole" => roles::untag(world, params),
        "ListRoleTags" => roles::list_tags(world, params),
        "AttachRolePolicy" => roles::attach(world, params),
        "DetachRolePolicy" => roles::detach(world, params),
        "ListAttachedRolePolicies" => roles::list_attached(world, params),
        "PutRolePolicy" => roles::put_policy(world, params),
        "GetRolePolicy" => roles::get_policy(world, params),
        "ListRolePolicies" => roles::list_policies(world, params),
        "DeleteRolePolicy" => roles::delete_policy(world, params),
        "PutRolePermissionsBoundary" => roles::put_boundary(world, params),
        "DeleteRolePermissionsBoundary" => roles::delete_boundary(world, params),
        "CreateServiceLinkedRole" => roles::create_service_linked(world, params),
        "CreateInstanceProfile" => profiles::create(world, params),
        "GetInstanceProfile" => profiles::get(world, params),
        "DeleteInstanceProfile" => profiles::delete(world, params),
        "AddRoleToInstanceProfile" => profiles::add_role(world, params),
        "RemoveRoleFromInstanceProfile" => profiles::remove_role(world, params),
        "TagInstanceProfile" => profiles::tag(world, params),
        "UntagInstanceProfile" => profiles::untag(world, params),
        "ListInstanceProfileTags" => profiles::list_tags(world, params),
        "ListInstanceProfiles" => profiles::list(world, params),
        "ListInstanceProfilesForRole" => profiles::list_for_role(world, params),
        _ => Err(unknown("iam", operation)),
    }
}

/// Service-linked roles are not listed: they belong to the account and outlive a stack.
fn inventory(world: &World, items: &mut Vec<Item>) {
    for (name, role) in &world.states.iam.roles {
        if role.linked_to.is_none() && !role.seeded {
            items.push(Item::new("AWS::IAM::Role", name, &role.tags).named(name));
        }
    }
    for (name, profile) in &world.states.iam.profiles {
        items.push(Item::new("AWS::IAM::InstanceProfile", name, &profile.tags).named(name));
    }
}

/// Adds a role that exists from the start.
pub(crate) fn seed_role(
    world: &mut World,
    arn: &str,
    trust: &Value,
    policies: &[(String, Value)],
    attached: &[String],
    boundary: Option<&str>,
) -> Result<(), InvalidPolicy> {
    let resource = arn.split_once(":role").map_or(arn, |(_, resource)| resource);
    let (path, name) = resource.rsplit_once('/').unwrap_or(("", resource));
    let inline = policies.iter().map(|(name, document)| Ok((name.clone(), Document::seeded(document)?)));
    if let Some(unknown) = attached.iter().find(|arn| managed_policy(world, arn).is_none()) {
        return Err(InvalidPolicy::new(format!("the managed policy {unknown} is not supported")));
    }
    let role = Role {
        id: format!("AROA{:017X}", world.number()),
        path: format!("{path}/"),
        created: world.now,
        visible_at: world.now,
        trust: Document::seeded_trust(trust)?,
        description: None,
        max_session_seconds: 3600,
        attached: attached.iter().cloned().collect(),
        boundary: boundary.map(str::to_owned),
        inline: inline.collect::<Result<_, InvalidPolicy>>()?,
        earlier: BTreeMap::new(),
        tags: Tags::new(),
        linked_to: None,
        seeded: true,
    };
    world.states.iam.roles.insert(name.to_owned(), role);
    Ok(())
}

/// The size limit of a managed policy (characters without white space). Source: "IAM and AWS STS quotas".
const MANAGED_CHARACTERS_MAX: usize = 6144;

/// Adds a customer managed policy that exists from the start.
pub(crate) fn seed_policy(world: &mut World, arn: &str, document: &Value) -> Result<(), InvalidPolicy> {
    let document = Document::seeded(document)?;
    if roles::size(&document.text) > MANAGED_CHARACTERS_MAX {
        let reason = format!("{arn} has more than {MANAGED_CHARACTERS_MAX} characters");
        return Err(InvalidPolicy::new(reason));
    }
    world.states.iam.policies.insert(arn.to_owned(), document.policy);
    Ok(())
}

/// The state of a role, for a service that assumes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RoleView {
    /// It does not exist.
    Absent,
    /// It exists, but other services do not see it yet.
    Propagating,
    /// Its trust policy does not name the service.
    NotTrusting,
    /// The service can assume it.
    Ready,
}

/// The state of a role (an ARN or a name) for a service principal such as `ecs-tasks.amazonaws.com` that assumes it
/// for `source`, an ARN of this account.
pub(crate) fn role_view(world: &World, role: &str, principal: &str, source: &str) -> RoleView {
    let Some(found) = find_role(world, role) else { return RoleView::Absent };
    if world.now < found.visible_at {
        RoleView::Propagating
    } else if authorization::trusts(world, role, principal, source) {
        RoleView::Ready
    } else {
        RoleView::NotTrusting
    }
}

/// The ARN of a role by its ARN or name, if it exists.
pub(crate) fn role_arn(world: &World, role: &str) -> Option<String> {
    let found = find_role(world, role)?;
    Some(roles::arn(world, last_part(role), found))
}

/// The policies of a role (an ARN): inline, managed, and its boundary. None if the role does not exist.
pub(crate) fn grants(world: &World, role: &str) -> Grants {
    let Some(role) = find_role(world, role) else { return Grants::default() };
    let inline = role.inline.keys().filter_map(|name| role.shown(name, world.now));
    let inline = inline.map(|document| Arc::clone(&document.policy));
    let managed = role.attached.iter().filter_map(|arn| managed_policy(world, arn));
    // A boundary that does not exist allows nothing, like an empty one.
    let boundary = role.boundary.as_ref();
    Grants {
        identity: inline.chain(managed).collect(),
        boundary: boundary.map(|arn| managed_policy(world, arn).unwrap_or_default()),
        resource: None,
    }
}

/// The tags of a role (an ARN), if it exists.
pub(crate) fn role_tags<'w>(world: &'w World, role: &str) -> Option<&'w Tags> {
    find_role(world, role).map(|role| &role.tags)
}

/// A role's trust policy.
pub(crate) fn trust(world: &World, role: &str) -> Option<Arc<Policy>> {
    find_role(world, role).map(|role| Arc::clone(&role.trust.policy))
}

/// A managed policy, of AWS or of the customer.
fn managed_policy(world: &World, arn: &str) -> Option<Arc<Policy>> {
    world.states.iam.policies.get(arn).cloned().or_else(|| managed::policy(arn))
}

/// The ARN of a service's linked role, if the account does not have that role.
pub(crate) fn lacking_linked_role(world: &World, service: &str) -> Option<String> {
    let name = roles::linked_name(service).filter(|name| !world.states.iam.roles.contains_key(*name))?;
    Some(format!("arn:aws:iam::{}:role/aws-service-role/{service}/{name}", world.account))
}

/// Since when an account has a service-linked role.
pub(crate) fn linked_since(world: &World, service: &str) -> Option<Duration> {
    let role = world.states.iam.roles.get(roles::linked_name(service)?)?;
    Some(role.created)
}

/// The state of an instance profile, as EC2 sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ProfileView {
    /// It does not exist in IAM.
    Absent,
    /// EC2 does not see it yet.
    Propagating,
    /// EC2 sees it, without a role in it.
    NoRole,
    /// EC2 can use it.
    Ready {
        /// The profile's ARN.
        arn: String,
        /// The ARN of the role in it.
        role: String,
    },
}

/// The state of an instance profile (an ARN or a name), as EC2 sees it.
pub(crate) fn profile_view(world: &World, profile: &str) -> ProfileView {
    let name = last_part(profile);
    let Some(profile_) = world.states.iam.profiles.get(name) else { return ProfileView::Absent };
    if profile.starts_with("arn:") && profile != profiles::arn(world, name, profile_) {
        return ProfileView::Absent;
    }
    if world.now < profile_.visible_at {
        return ProfileView::Propagating;
    }
    match &profile_.role {
        Some((role, seen_at)) if world.now >= *seen_at => match world.states.iam.roles.get(role) {
            Some(found) => ProfileView::Ready {
                arn: profiles::arn(world, name, profile_),
                role: roles::arn(world, role, found),
            },
            None => ProfileView::NoRole,
        },
        _ => ProfileView::NoRole,
    }
}

/// Creates a service-linked role if the account does not have it, as a service does on its first use. Returns whether
/// the role existed.
pub(crate) fn ensure_service_linked(world: &mut World, service: &str) -> bool {
    roles::link(world, service).is_none()
}

/// A role by its ARN (which must be exact, path and account included) or name.
fn find_role<'a>(world: &'a World, role: &str) -> Option<&'a Role> {
    let name = last_part(role);
    let found = world.states.iam.roles.get(name)?;
    (!role.starts_with("arn:") || role == roles::arn(world, name, found)).then_some(found)
}

fn last_part(arn: &str) -> &str {
    arn.rsplit('/').next().unwrap_or(arn)
}

fn no_such(message: String) -> Refusal {
    Refusal::new("NoSuchEntity", message).status(404)
}

fn conflict(code: &str, message: impl Into<String>) -> Refusal {
    Refusal::new(code, message).status(409)
}

/// A required parameter; IAM reports a missing one as a validation error.
fn needed(params: &Params, key: &str) -> Result<String, Refusal> {
    params.text(key).filter(|text| !text.is_empty()).ok_or_else(|| {
        invalid(format!(
            "1 validation error detected: Value null at '{key}' failed to satisfy constraint: Member must not be null"
        ))
    })
}

fn invalid(message: impl Into<String>) -> Refusal {
    Refusal::new("ValidationError", message)
}

/// A name of at most `longest` characters, all of which IAM allows.
fn name(params: &Params, key: &str, longest: usize) -> Result<String, Refusal> {
    let name = needed(params, key)?;
    let legal = |character: char| character.is_ascii_alphanumeric() || "+=,.@_-".contains(character);
    if !name.chars().all(legal) {
        return Err(invalid(format!(
            "The specified value for {key} is invalid. It must contain only alphanumeric characters and/or the following: +=,.@_-"
        )));
    }
    if name.len() > longest {
        return Err(invalid(format!(
            "1 validation error detected: Value at '{key}' failed to satisfy constraint: Member must have length less than or equal to {longest}"
        )));
    }
    Ok(name)
}

/// A path such as `/` or `/stackdrop/`.
fn path(params: &Params) -> Result<String, Refusal> {
    let path = params.text("Path").unwrap_or_else(|| "/".into());
    if path.starts_with('/') && path.ends_with('/') {
        Ok(path)
    } else {
        Err(invalid(
            "The specified value for path is invalid. It must begin and end with / and contain only alphanumeric characters and/or / characters.",
        ))
    }
}

/// The tags of a request. Refusals have IAM's own code.
fn tags_of(params: &Params) -> Result<Tags, Refusal> {
    let tags = world::tags(params, "Tags", "Key", "Value")
        .map_err(|refusal| Refusal::new("InvalidInput", refusal.message))?;
    within_limit(&tags)?;
    Ok(tags)
}

fn within_limit(tags: &Tags) -> Result<(), Refusal> {
    if tags.len() > 50 {
        return Err(invalid(
            "1 validation error detected: Value at 'tags' failed to satisfy constraint: Member must have length less than or equal to 50",
        ));
    }
    Ok(())
}

/// The merged tags, unless AWS's limit is exceeded.
fn with_more(old: &Tags, more: Tags) -> Result<Tags, Refusal> {
    let mut tags = old.clone();
    tags.extend(more);
    if tags.len() > 50 {
        return Err(conflict("LimitExceeded", "Cannot exceed quota for TagsPerResource: 50"));
    }
    Ok(tags)
}

fn tag_list(tags: &Tags) -> Value {
    tags.iter().map(|(key, value)| json!({ "Key": key, "Value": value })).collect()
}

/// One page of a list under `name`, by `Marker` and `MaxItems` (default 100).
fn page(params: &Params, name: &str, all: Vec<Value>) -> Result<Reply, Refusal> {
    let start = match params.text("Marker") {
        Some(marker) => marker.parse().map_err(|_| invalid("Invalid Marker."))?,
        None => 0,
    };
    let size = params.int("MaxItems")?.unwrap_or(100);
    let size = usize::try_from(size).ok().filter(|size| (1..=1000).contains(size)).ok_or_else(|| {
        invalid("1 validation error detected: Value at 'maxItems' failed to satisfy constraint: Member must have value between 1 and 1000")
    })?;
    params.done()?;
    let total = all.len();
    let items: Vec<Value> = all.into_iter().skip(start).take(size).collect();
    let end = start + items.len();
    Ok(json!({
        name: items,
        "IsTruncated": end < total,
        "Marker": (end < total).then(|| end.to_string()),
    })
    .into())
}
