//! The policies of the installation, each with the requests that it decides.

use std::sync::Arc;

use serde_json::{Value, json};
use stackdrop_simulator::{AccessRequest, Grants, Policy, Principal};

use super::evidence::Evidence;

/// A policy of the installation, and where it is attached.
pub(super) struct PolicyUnderTest<'e> {
    /// Such as `NetworkRole`, `the trust policy of NetworkRole` or `the policy of` a topic's ARN.
    pub(super) label: String,
    pub(super) statements: Vec<&'e Value>,
    /// The allowed requests that it applies to.
    pub(super) requests: Vec<&'e (Principal, AccessRequest)>,
    pub(super) attached_to: AttachedTo,
    /// The other policies that decide a request.
    other_policies: Box<dyn Fn(&AccessRequest) -> Grants + 'e>,
}

/// What a policy is attached to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AttachedTo {
    Caller,
    Resource,
}

impl PolicyUnderTest<'_> {
    /// Whether a request would be allowed if the policy had only these statements.
    pub(super) fn allows(
        &self,
        statements: &[&Value],
        principal: &Principal,
        request: &AccessRequest,
    ) -> bool {
        if statements.is_empty() {
            return (self.other_policies)(request).decide(principal, request).is_ok();
        }
        self.allows_by(&read(statements), principal, request)
    }

    /// The same with a policy that has been read.
    pub(super) fn allows_by(
        &self,
        policy: &Arc<Policy>,
        principal: &Principal,
        request: &AccessRequest,
    ) -> bool {
        let mut grants = (self.other_policies)(request);
        match self.attached_to {
            AttachedTo::Caller => grants.identity.push(Arc::clone(policy)),
            AttachedTo::Resource => grants.resource = Some(Arc::clone(policy)),
        }
        grants.decide(principal, request).is_ok()
    }
}

impl Evidence {
    /// Every policy of the installation.
    pub(super) fn policies(&self) -> Vec<PolicyUnderTest<'_>> {
        let roles = self.installation.roles.iter().flat_map(|(id, role)| {
            let of_role = |(principal, _): &&(Principal, AccessRequest)| {
                matches!(principal, Principal::Role { arn, .. } if *arn == role.arn)
            };
            let identity = role.policies.iter().map(move |(_, document)| PolicyUnderTest {
                label: id.clone(),
                statements: statements(document),
                requests: self.allowed.iter().filter(of_role).collect(),
                attached_to: AttachedTo::Caller,
                other_policies: Box::new(|request| Grants {
                    resource: self.resource_policy(request).map(|document| read_document(&document)),
                    ..Grants::default()
                }),
            });
            let of_trust = |(_, request): &&(Principal, AccessRequest)| {
                request.action == "sts:AssumeRole" && request.resource == role.arn
            };
            let trust = PolicyUnderTest {
                label: format!("the trust policy of {id}"),
                statements: statements(&role.trust),
                requests: self.allowed.iter().filter(of_trust).collect(),
                attached_to: AttachedTo::Resource,
                other_policies: Box::new(|_| Grants::default()),
            };
            identity.chain([trust]).collect::<Vec<_>>()
        });
        let resources = self.installation.resource_policies.iter().map(|(arn, document)| PolicyUnderTest {
            label: format!("the policy of {arn}"),
            statements: statements(document),
            requests: self.allowed.iter().filter(|(_, request)| owner(&request.resource) == *arn).collect(),
            attached_to: AttachedTo::Resource,
            other_policies: Box::new(|_| Grants { identity: vec![anything()], ..Grants::default() }),
        });
        roles.chain(resources).collect()
    }

    /// The policy of the requested resource. A key without its own policy delegates the decision to the account's policies
    /// ("Default key policy" in the KMS developer guide). So does everything in other accounts here: only the caller's
    /// policies can then deny the request.
    pub(super) fn resource_policy(&self, request: &AccessRequest) -> Option<Value> {
        let own = self.installation.resource_policies.get(owner(&request.resource)).cloned();
        let account = request.resource.split(':').nth(4).unwrap_or_default();
        let is_of_others = !account.is_empty() && account != ACCOUNT;
        let delegates = is_of_others || request.action.starts_with("kms:");
        own.or_else(|| delegates.then(delegate_to_account))
    }
}

/// The account that the rehearsals run in.
pub(super) const ACCOUNT: &str = "123456789012";

/// A resource policy that delegates the decision to the policies of the account.
pub(super) fn delegate_to_account() -> Value {
    json!({
        "Statement": [{
            "Effect": "Allow",
            "Principal": { "AWS": format!("arn:aws:iam::{ACCOUNT}:root") },
            "Action": "*",
            "Resource": "*",
        }],
    })
}

/// Reads statements as one policy.
pub(super) fn read(statements: &[&Value]) -> Arc<Policy> {
    read_document(&json!({ "Version": "2012-10-17", "Statement": statements }))
}

pub(super) fn read_document(document: &Value) -> Arc<Policy> {
    Arc::new(Policy::read(document).unwrap())
}

pub(super) fn statements(document: &Value) -> Vec<&Value> {
    document["Statement"].as_array().unwrap().iter().collect()
}

/// The resource whose policy applies; for an object, this is its bucket.
pub(super) fn owner(resource: &str) -> &str {
    if resource.starts_with("arn:aws:s3:::") { resource.split('/').next().unwrap() } else { resource }
}

pub(super) fn anything() -> Arc<Policy> {
    read_document(&json!({ "Statement": { "Effect": "Allow", "Action": "*", "Resource": "*" } }))
}
