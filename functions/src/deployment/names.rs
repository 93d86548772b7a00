//! A stack's names and tags.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};
use stackdrop_specs::StackName;

/// The tag that says which stack a resource belongs to.
pub const TAG_STACK: &str = "stackdrop:stack";
/// The tag that says which component made it.
pub const TAG_COMPONENT: &str = "stackdrop:component";
/// The tag that says what it is in the stack, such as `subnet/private/b`.
pub const TAG_LOGICAL_ID: &str = "stackdrop:logical-id";
/// The tag that says which deployment created it.
pub const TAG_DEPLOYMENT: &str = "stackdrop:deployment";

/// Tags by key.
pub type Tags = BTreeMap<String, String>;

/// A stack, as far as names and tags go.
#[derive(Debug, Clone)]
pub struct Stack {
    /// Its name.
    pub name: StackName,
    deployment: String,
    user_tags: Tags,
    /// Keys that an earlier spec had and this one has not.
    dropped_tags: BTreeSet<String>,
}

impl Stack {
    /// The names of a stack: its tags are `user_tags`, those that an earlier spec had and this one has not are
    /// `dropped_tags`.
    pub(crate) fn new(
        name: StackName,
        deployment: String,
        user_tags: Tags,
        dropped_tags: BTreeSet<String>,
    ) -> Self {
        Self { name, deployment, user_tags, dropped_tags }
    }

    /// The name of the resource with this logical ID, such as `shop-subnet-private-b`.
    #[must_use]
    pub fn resource(&self, logical_id: &str) -> String {
        format!("{}-{}", self.name, logical_id.replace('/', "-"))
    }

    /// The tags that a resource carries from its creation on.
    #[must_use]
    pub fn tags(&self, component: &str, logical_id: &str) -> Tags {
        let mut tags = self.lasting_tags(component, logical_id);
        tags.insert(TAG_DEPLOYMENT.into(), self.deployment.clone());
        tags
    }

    /// The tags that a resource shall have whichever deployment created it: what drift is measured against.
    #[must_use]
    pub fn lasting_tags(&self, component: &str, logical_id: &str) -> Tags {
        let mut tags = self.user_tags.clone();
        tags.insert("Name".into(), self.resource(logical_id));
        tags.insert(TAG_STACK.into(), self.name.to_string());
        tags.insert(TAG_COMPONENT.into(), component.into());
        tags.insert(TAG_LOGICAL_ID.into(), logical_id.into());
        tags
    }

    /// The tags that are missing or different on a resource. Tags that others have added are left alone.
    #[must_use]
    pub fn missing_tags(&self, component: &str, logical_id: &str, observed: &Tags) -> Tags {
        let desired = self.lasting_tags(component, logical_id);
        desired.into_iter().filter(|(key, value)| observed.get(key) != Some(value)).collect()
    }

    /// The tags to put on a resource of this stack that lacks some: those, and with them the stack's own. A policy can
    /// then ask for it in the request, which the services need that don't know a resource's tags when it is tagged.
    #[must_use]
    pub(crate) fn tags_to_put(&self, component: &str, logical_id: &str, observed: &Tags) -> Tags {
        self.with_own(self.missing_tags(component, logical_id, observed))
    }

    /// Tags to put on a resource, and with them, if there are any, the stack's own.
    pub(crate) fn with_own(&self, mut tags: Tags) -> Tags {
        if !tags.is_empty() {
            tags.insert(TAG_STACK.into(), self.name.to_string());
        }
        tags
    }

    /// The keys of tags on a resource that the last spec had and this one has no longer. Tags that others have added
    /// are not among them.
    #[must_use]
    pub fn stale_tags(&self, observed: &Tags) -> Vec<String> {
        self.dropped_tags.iter().filter(|key| observed.contains_key(*key)).cloned().collect()
    }

    /// Whether a resource with these tags is this stack's.
    #[must_use]
    pub fn owns(&self, tags: &Tags) -> bool {
        tags.get(TAG_STACK).is_some_and(|stack| stack == self.name.as_str())
    }

    /// A client token: 32 hexadecimal digits (within every API's limit and alphabet) made of the deployment, the
    /// logical ID and the ids of dead predecessors. EC2's tokens outlive the resource by a day, so one of the stack and
    /// logical ID alone would hand out the dead one.
    #[must_use]
    pub fn token(&self, logical_id: &str, dead: &[&str]) -> String {
        let mut hash = Sha256::new();
        for part in [self.name.as_str(), &self.deployment, logical_id].iter().chain(dead) {
            hash.update(part.as_bytes());
            hash.update([0]);
        }
        hex::encode(&hash.finalize()[..16])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_that_are_put_bring_the_stacks_own_along_and_nothing_is_put_where_none_is_missing() {
        let stack = Stack {
            name: StackName::try_from("shop".to_owned()).unwrap(),
            deployment: "first".into(),
            user_tags: Tags::from([("team".into(), "books".into())]),
            dropped_tags: BTreeSet::new(),
        };
        let mut observed = stack.lasting_tags("network", "vpc");
        assert_eq!(stack.tags_to_put("network", "vpc", &observed), Tags::new());
        observed.insert("team".into(), "shop".into());
        let put = Tags::from([("team".into(), "books".into()), (TAG_STACK.into(), "shop".into())]);
        assert_eq!(stack.tags_to_put("network", "vpc", &observed), put);
        assert_eq!(stack.missing_tags("network", "vpc", &observed).len(), 1, "the plan tells what differs");
    }
}
