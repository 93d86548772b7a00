//! IAM's decisions: whether a call is allowed, as AWS would decide it.
//!
//! A call makes one or more [`Request`]s: an action on a resource, with the values of condition keys. Each must be allowed
//! by the caller's policies. A service's own file says what its calls ask for (`Service::access`);
//! `simulator/reference/` says which resource types and condition keys AWS knows for an action; [`Policy`] is what
//! policies say; [`judge`] puts them together.
//!
//! Source of the rules: "Policy evaluation logic" and "IAM JSON policy elements: Condition operators" in the IAM user
//! guide. Why not the crate `iam-rs` (0.8.0): its `ArnEquals` compares texts and its `ArnLike` lets a wildcard match
//! colons, unlike IAM's.

mod condition;
mod judge;
mod pattern;
mod policy;
mod reference;
mod request;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::json;

use crate::params::Refusal;

pub use judge::{Denial, Grants, Reason};
pub(crate) use judge::{denied_to_role, judge, trusts};
pub use policy::{InvalidPolicy, Policy};
pub(crate) use request::{Access, AccessRequests};
pub use request::{Keys, Principal, Request};

/// Holds a request that no call of an SDK makes against the reference.
///
/// # Errors
/// When its action is unknown there, or takes no such resource.
pub(crate) fn check(request: &Request) -> Result<(), Refusal> {
    reference::check(&request.action, std::slice::from_ref(request))
}

/// The policies that hang on resources: buckets, topics, queues and keys, by ARN. Trust policies hang on their roles.
#[derive(Debug, Clone, Default)]
pub(crate) struct State {
    resource_policies: BTreeMap<String, Arc<Policy>>,
}

impl State {
    /// Gives a resource its policy.
    pub(crate) fn put_resource_policy(&mut self, arn: &str, policy: Policy) {
        self.resource_policies.insert(arn.into(), Arc::new(policy));
    }

    /// The policy of a resource; that of an object is its bucket's. A key of which nothing is said has the default one.
    pub(crate) fn resource_policy(&self, arn: &str) -> Option<Arc<Policy>> {
        let service = arn.split(':').nth(2);
        let owner = if service == Some("s3") { arn.split('/').next().unwrap_or(arn) } else { arn };
        let policy = self.resource_policies.get(owner).cloned();
        if service == Some("kms") { policy.or_else(|| default_key_policy(arn)) } else { policy }
    }
}

/// Lets the policies of the key's account decide, as KMS itself does where a key is made without a policy.
/// Source: "Default key policy" in the KMS developer guide. The keys that AWS manages are taken for such keys too: they
/// show their metadata to the account, and what a service encrypts with them needs no permission of the caller's.
fn default_key_policy(key: &str) -> Option<Arc<Policy>> {
    let account = key.split(':').nth(4)?;
    let document = json!({
        "Statement": {
            "Effect": "Allow",
            "Principal": { "AWS": format!("arn:aws:iam::{account}:root") },
            "Action": "kms:*",
            "Resource": "*",
        },
    });
    Policy::read(&document).ok().map(Arc::new)
}
