//! The access requests that a call makes of IAM.

use std::collections::BTreeMap;

use serde::Serialize;

use super::reference;
use crate::params::{Params, Refusal};
use crate::world::{Tags, World};

/// The identity whose permissions apply.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Principal {
    /// A caller with every permission: the account's owner, or a test acting as the owner.
    Owner,
    /// A role, assumed by a caller.
    Role {
        /// Its ARN, with its path.
        arn: String,
        /// The name of the session; a function's session has the function's name.
        session: String,
    },
    /// An AWS service acting under its own name.
    Service {
        /// Such as `events.amazonaws.com`.
        name: String,
    },
}

impl Principal {
    /// The principal's account; `None` for a service.
    pub(super) fn account(&self) -> Option<&str> {
        match self {
            Self::Role { arn, .. } => account_of(arn),
            Self::Owner | Self::Service { .. } => None,
        }
    }

    /// The name in AWS's messages: `arn:aws:sts::123456789012:assumed-role/NAME/SESSION`.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Owner => "the account's owner".into(),
            Self::Role { arn, session } => {
                let mut parts = arn.split(':');
                let partition = parts.nth(1).unwrap_or("aws");
                let account = parts.nth(2).unwrap_or_default();
                let name = arn.rsplit('/').next().unwrap_or_default();
                format!("arn:{partition}:sts::{account}:assumed-role/{name}/{session}")
            }
            Self::Service { name } => name.clone(),
        }
    }
}

/// The account in an ARN; empty for resources whose name is globally unique.
pub(super) fn account_of(arn: &str) -> Option<&str> {
    arn.split(':').nth(4)
}

/// The values of condition keys.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Keys(BTreeMap<String, Vec<String>>);

impl Keys {
    /// The values of a key, ignoring the case of its name.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Vec<String>> {
        self.0.get(key).or_else(|| {
            self.0.iter().find(|(name, _)| name.eq_ignore_ascii_case(key)).map(|(_, values)| values)
        })
    }

    /// Every key with its values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[String])> {
        self.0.iter().map(|(key, values)| (key.as_str(), values.as_slice()))
    }

    /// Sets the values of a key.
    pub fn set_all(&mut self, key: &str, values: impl IntoIterator<Item = String>) {
        self.0.insert(key.into(), values.into_iter().collect());
    }

    /// Keeps the keys for which `keep` returns true.
    pub fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        self.0.retain(|key, _| keep(key));
    }
}

/// One access that must be allowed: an action on a resource.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Request {
    /// Such as `ec2:CreateSubnet`.
    pub action: String,
    /// The resource's type in the Service Authorization Reference, such as `subnet`; empty for an action without one.
    pub kind: String,
    /// The resource's ARN; `*` for an action without one.
    pub resource: String,
    /// The values of condition keys.
    pub keys: Keys,
}

impl Request {
    /// A request without condition keys.
    #[must_use]
    pub fn new(action: &str, kind: &str, resource: &str) -> Self {
        Self { action: action.into(), kind: kind.into(), resource: resource.into(), keys: Keys::default() }
    }

    /// Sets a condition key to one value.
    pub fn key(&mut self, key: &str, value: impl Into<String>) -> &mut Self {
        self.keys.set_all(key, [value.into()]);
        self
    }

    /// Sets a condition key to several values.
    pub fn keys(&mut self, key: &str, values: impl IntoIterator<Item = String>) -> &mut Self {
        self.keys.set_all(key, values);
        self
    }

    /// Sets the keys for the tags that the call would add to the resource.
    pub(crate) fn request_tags(&mut self, tags: &Tags) -> &mut Self {
        for (key, value) in tags {
            self.key(&format!("aws:RequestTag/{key}"), value);
        }
        self.tag_keys(tags.keys().cloned())
    }

    /// Sets the keys of the tags that the call would add to the resource or remove from it.
    pub(crate) fn tag_keys(&mut self, keys: impl IntoIterator<Item = String>) -> &mut Self {
        let mut keys = keys.into_iter().peekable();
        if keys.peek().is_some() {
            self.keys.set_all("aws:TagKeys", keys);
        }
        self
    }

    /// Sets the keys that every request has, and removes those that AWS does not support for the action and resource
    /// type.
    ///
    /// IAM and Route 53 are evaluated in `us-east-1`, whatever the caller's region: "AWS: Denies access to AWS based
    /// on the requested Region" in the IAM user guide.
    pub(crate) fn complete(&mut self, world: &World, principal: &Principal) {
        let (action, kind) = (&self.action, &self.kind);
        self.keys.retain(|key| reference::supports(action, kind, key));
        let region = if crate::services::is_global(action) { "us-east-1" } else { &world.region };
        self.key("aws:SecureTransport", "true").key("aws:RequestedRegion", region);
        let owner = match account_of(&self.resource) {
            Some("") if self.resource.starts_with("arn:aws:s3:") => Some(world.account.as_str()),
            owner => owner.filter(|owner| !owner.is_empty()),
        };
        if let Some(owner) = owner.map(str::to_owned) {
            self.key("aws:ResourceAccount", owner);
        }
        if let Principal::Role { arn, .. } = principal {
            self.key("aws:PrincipalArn", arn.clone());
            self.key("aws:PrincipalAccount", account_of(arn).unwrap_or_default());
            // The tags of a role are those of its sessions ("Passing session tags in AWS STS" in the IAM user guide).
            for (tag, value) in crate::services::iam::role_tags(world, arn).into_iter().flatten() {
                self.key(&format!("aws:PrincipalTag/{tag}"), value);
            }
        }
    }

    /// Sets the keys for the resource's tags: AWS's global key and the service's own.
    fn resource_tags(&mut self, tags: &Tags) {
        let service = self.action.split(':').next().unwrap_or_default().to_owned();
        for (key, value) in tags {
            self.key(&format!("aws:ResourceTag/{key}"), value);
            self.key(&format!("{service}:ResourceTag/{key}"), value);
        }
    }
}

/// Lists the access requests of an operation's call. It reads the parameters as they were sent; the operation itself
/// refuses missing or invalid ones.
pub(crate) type Access = fn(&World, &str, &Params, &mut AccessRequests<'_>);

/// The access requests of one call.
#[derive(Debug)]
pub(crate) struct AccessRequests<'w> {
    /// The account's state, to look up the resources that a call names.
    pub(crate) world: &'w World,
    action: String,
    requests: Vec<Request>,
}

impl<'w> AccessRequests<'w> {
    pub(crate) fn new(world: &'w World, service: &str, operation: &str) -> Self {
        Self { world, action: format!("{service}:{operation}"), requests: Vec::new() }
    }

    /// Sets the action for an operation whose action has another name: `s3:HeadObject` needs `s3:GetObject`.
    pub(crate) fn action(&mut self, action: &str) -> &mut Self {
        self.action = action.into();
        self
    }

    /// Requests the call's own action, if that action takes no resource.
    pub(crate) fn no_resource(&mut self) -> &mut Request {
        self.resource("", "*", None)
    }

    /// Requests the call's own action on a resource: its type in the Service Authorization Reference, its ARN, and
    /// its tags if it exists.
    pub(crate) fn resource(
        &mut self,
        kind: &str,
        arn: impl Into<String>,
        tags: Option<&Tags>,
    ) -> &mut Request {
        let action = self.action.clone();
        self.other_action(&action, kind, arn, tags)
    }

    /// Requests another action that AWS requires of the caller.
    pub(crate) fn other_action(
        &mut self,
        action: &str,
        kind: &str,
        arn: impl Into<String>,
        tags: Option<&Tags>,
    ) -> &mut Request {
        let mut request = Request::new(action, kind, &arn.into());
        if let Some(tags) = tags {
            request.resource_tags(tags);
        }
        self.requests.push(request);
        let last = self.requests.len() - 1;
        &mut self.requests[last]
    }

    /// Sets a condition key on every request for the call's own action. Requests whose action or resource type does
    /// not support the key drop it later.
    pub(crate) fn key(&mut self, key: &str, value: &str) {
        for request in self.requests.iter_mut().filter(|request| request.action == self.action) {
            request.key(key, value);
        }
    }

    /// Sets the keys for the call's tags on every request for the call's own action.
    pub(crate) fn request_tags(&mut self, tags: &Tags) {
        for request in self.requests.iter_mut().filter(|request| request.action == self.action) {
            request.request_tags(tags);
        }
    }

    /// Requests `iam:PassRole` on a role (an ARN or a name) for a service such as `ecs-tasks.amazonaws.com`.
    pub(crate) fn pass_role(&mut self, role: &str, service: &str) {
        let arn = match crate::services::iam::role_arn(self.world, role) {
            Some(arn) => arn,
            None if role.starts_with("arn:") => role.to_owned(),
            None => format!("arn:aws:iam::{}:role/{role}", self.world.account),
        };
        self.other_action("iam:PassRole", "role", arn, None).key("iam:PassedToService", service);
    }

    /// Requests the use of a customer key (an ID, an ARN or an alias) through a service such as `rds`.
    pub(crate) fn key_use(&mut self, action: &str, named: &str, service: &str) {
        let arn = if named.starts_with("arn:") { named.to_owned() } else { self.world.arn("kms", named) };
        let (place, name) = arn.rsplit_once(':').unwrap_or_default();
        let alias = name.starts_with("alias/").then(|| name.to_owned());
        // The key of an alias is not known here: the alias's name takes the place of the key's ID.
        let id = name.strip_prefix("key/").or(name.strip_prefix("alias/")).unwrap_or(name);
        let via = format!("{service}.{}.amazonaws.com", self.world.region);
        self.other_action(action, "key", format!("{place}:key/{id}"), None)
            .key("kms:ViaService", via)
            .key("kms:GrantIsForAWSResource", "true")
            .keys("kms:ResourceAliases", alias);
    }

    /// Requests the creation of a service-linked role, if the account does not have it.
    pub(crate) fn linked_role(&mut self, service: &str) {
        if let Some(arn) = crate::services::iam::lacking_linked_role(self.world, service) {
            self.other_action("iam:CreateServiceLinkedRole", "role", arn, None)
                .key("iam:AWSServiceName", service);
        }
    }

    /// The complete requests of `principal`.
    ///
    /// # Errors
    /// If a request is missing or unknown by the reference: the service's file is then wrong.
    pub(crate) fn finish(self, principal: &Principal) -> Result<Vec<Request>, Refusal> {
        let Self { world, mut requests, action } = self;
        reference::check(&action, &requests)?;
        for request in &mut requests {
            request.complete(world, principal);
        }
        Ok(requests)
    }
}
