//! IAM's decisions: whether AWS would allow a call.
//!
//! A call makes one or more [`Request`]s: an action on a resource, with the values of condition keys. The caller's
//! policies must allow each of them. A service's own file lists the requests of its calls (`Service::access`);
//! `simulator/reference/` says which resource types and condition keys AWS knows for an action; [`Policy`] reads
//! policies; [`judge`] decides.
//!
//! Source of the rules: "Policy evaluation logic" and "IAM JSON policy elements: Condition operators" in the IAM user
//! guide. The crate `iam-rs` (0.8.0) is not used: its `ArnEquals` compares texts and its `ArnLike` lets a wildcard
//! match colons, unlike IAM.

mod condition;
mod judge;
mod pattern;
mod policy;
mod reference;
mod request;
mod variables;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::json;

use crate::params::Refusal;

pub use judge::{Denial, Grants, Reason};
pub(crate) use judge::{denied_to_role, judge, trusts};
pub use policy::{InvalidPolicy, Policy};
pub(crate) use request::{Access, AccessRequests};
pub use request::{Keys, Principal, Request};

/// Checks against the reference a request that no SDK call makes.
///
/// # Errors
/// If the reference does not have the action, or the action does not take this type of resource.
pub(crate) fn check(request: &Request) -> Result<(), Refusal> {
    reference::check(&request.action, std::slice::from_ref(request))
}

/// The policies of buckets, topics, queues and keys, by ARN. Roles hold their own trust policies.
#[derive(Debug, Clone, Default)]
pub(crate) struct State {
    resource_policies: BTreeMap<String, Arc<Policy>>,
}

impl State {
    /// Sets a resource's policy.
    pub(crate) fn put_resource_policy(&mut self, arn: &str, policy: Policy) {
        self.resource_policies.insert(arn.into(), Arc::new(policy));
    }

    /// The policy of a resource. An object has its bucket's policy; a key without a policy has the default one.
    pub(crate) fn resource_policy(&self, arn: &str) -> Option<Arc<Policy>> {
        let service = arn.split(':').nth(2);
        let owner = if service == Some("s3") { arn.split('/').next().unwrap_or(arn) } else { arn };
        let policy = self.resource_policies.get(owner).cloned();
        if service == Some("kms") { policy.or_else(|| default_key_policy(arn)) } else { policy }
    }
}

/// Delegates to the policies of the key's account, as KMS does for a key that is created without a policy. Source:
/// "Default key policy" in the KMS developer guide. Keys that AWS manages are treated the same way: the account can
/// read their metadata, and services that encrypt with them need no permission of the caller.
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
