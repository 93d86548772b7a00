//! A stack's names and tags.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};
use stackdrop_specs::StackName;

/// The tag with the stack's name.
pub const TAG_STACK: &str = "stackdrop:stack";
/// The tag with the component's name.
pub const TAG_COMPONENT: &str = "stackdrop:component";
/// The tag with the logical ID, such as `subnet/private/b`.
pub const TAG_LOGICAL_ID: &str = "stackdrop:logical-id";
/// The tag with the ID of the deployment that created the resource.
pub const TAG_DEPLOYMENT: &str = "stackdrop:deployment";

/// Tags by key.
pub type Tags = BTreeMap<String, String>;

/// Generates a stack's resource names and tags.
#[derive(Debug, Clone)]
pub struct Stack {
    /// The stack's name.
    pub name: StackName,
    deployment: String,
    user_tags: Tags,
    /// Keys of tags that an earlier spec had and the current one does not have.
    dropped_tags: BTreeSet<String>,
}

impl Stack {
    /// `dropped_tags` are the keys of tags that an earlier spec had and the current one does not have.
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

    /// The tags of a new resource.
    #[must_use]
    pub fn tags(&self, component: &str, logical_id: &str) -> Tags {
        let mut tags = self.lasting_tags(component, logical_id);
        tags.insert(TAG_DEPLOYMENT.into(), self.deployment.clone());
        tags
    }

    /// The tags that a resource must have, whichever deployment created it: drift is measured against them.
    #[must_use]
    pub fn lasting_tags(&self, component: &str, logical_id: &str) -> Tags {
        let mut tags = self.user_tags.clone();
        tags.insert("Name".into(), self.resource(logical_id));
        tags.insert(TAG_STACK.into(), self.name.to_string());
        tags.insert(TAG_COMPONENT.into(), component.into());
        tags.insert(TAG_LOGICAL_ID.into(), logical_id.into());
        tags
    }

    /// The tags that a resource lacks or has with another value. Tags that others added are left alone.
    #[must_use]
    pub fn missing_tags(&self, component: &str, logical_id: &str, observed: &Tags) -> Tags {
        let desired = self.lasting_tags(component, logical_id);
        desired.into_iter().filter(|(key, value)| observed.get(key) != Some(value)).collect()
    }

    /// The tags to add to a resource that lacks some: the missing ones and the stack's tag. Some services do not pass a
    /// resource's tags to IAM when the resource is tagged; the policy requires the stack's tag in the request instead.
    #[must_use]
    pub(crate) fn tags_to_put(&self, component: &str, logical_id: &str, observed: &Tags) -> Tags {
        self.with_stack_tag(self.missing_tags(component, logical_id, observed))
    }

    /// The tags to add to a resource: these, if there are any, and the stack's tag.
    pub(crate) fn with_stack_tag(&self, mut tags: Tags) -> Tags {
        if !tags.is_empty() {
            tags.insert(TAG_STACK.into(), self.name.to_string());
        }
        tags
    }

    /// The keys of a resource's tags that the last spec had and the current one does not have. Tags that others added
    /// are not among them.
    #[must_use]
    pub fn stale_tags(&self, observed: &Tags) -> Vec<String> {
        self.dropped_tags.iter().filter(|key| observed.contains_key(*key)).cloned().collect()
    }

    /// Whether this stack manages a resource with these tags.
    #[must_use]
    pub fn owns(&self, tags: &Tags) -> bool {
        tags.get(TAG_STACK).is_some_and(|stack| stack == self.name.as_str())
    }

    /// A client token: 32 hexadecimal digits, which every API accepts. It is a hash of the deployment, the logical ID and
    /// the IDs of predecessors that failed or were deleted. EC2 keeps tokens for a day after a resource is gone, so that a
    /// token without these IDs would return the predecessor.
    #[must_use]
    pub fn token(&self, logical_id: &str, predecessors: &[&str]) -> String {
        let mut hash = Sha256::new();
        for part in [self.name.as_str(), &self.deployment, logical_id].iter().chain(predecessors) {
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
    fn a_token_differs_with_the_stack_the_deployment_the_resource_and_its_predecessors() {
        let token = |name: &str, deployment: &str, logical_id: &str, predecessors: &[&str]| {
            let name = StackName::try_from(name.to_owned()).unwrap();
            let stack = Stack::new(name, deployment.into(), Tags::new(), BTreeSet::new());
            stack.token(logical_id, predecessors)
        };
        let all = [
            token("shop", "first", "nat/a", &[]),
            token("other", "first", "nat/a", &[]),
            token("shop", "second", "nat/a", &[]),
            token("shop", "first", "nat/b", &[]),
            token("shop", "first", "nat/a", &["nat-1"]),
            token("shop", "first", "nat/a", &["nat-1", "nat-2"]),
            token("shop", "first", "nat/a", &["nat-1nat-2"]),
        ];
        assert_eq!(BTreeSet::from(all.clone()).len(), all.len(), "{all:?}");
        assert!(all.iter().all(|token| token.len() == 32));
        assert_eq!(token("shop", "first", "nat/a", &[]), all[0], "a repeated call has the same token");
    }

    #[test]
    fn tags_to_put_include_the_stacks_tag_unless_no_tag_is_missing() {
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
        assert_eq!(
            stack.missing_tags("network", "vpc", &observed).len(),
            1,
            "the plan shows only what differs"
        );
    }
}
