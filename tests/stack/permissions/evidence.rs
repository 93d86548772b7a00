//! What IAM decided in the rehearsals: each request once for each principal.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};

use serde_json::Value;
use stackdrop::installation::Installation;
use stackdrop_simulator::{AccessRequest, Decision, Grants, Policy, Principal};

use super::rehearsals;
use crate::wiring;

/// What the rehearsals show.
pub(super) struct Evidence {
    /// The installation that they ran in.
    pub(super) installation: Installation,
    /// How many decisions there were.
    pub(super) decided: usize,
    /// Each different request that was allowed.
    pub(super) allowed: BTreeSet<(Principal, AccessRequest)>,
    /// Each that was denied, with who made it.
    pub(super) denied: Vec<Decision>,
    /// The operations that each function called, such as `ec2:CreateVpc`.
    pub(super) called: BTreeMap<String, BTreeSet<String>>,
}

/// The rehearsals run once for all tests.
pub(super) static EVIDENCE: LazyLock<Evidence> = LazyLock::new(|| {
    std::thread::spawn(|| {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(gather())
    })
    .join()
    .unwrap()
});

async fn gather() -> Evidence {
    let mut evidence = Evidence {
        installation: crate::rehearsal(crate::SHOP).installation().clone(),
        decided: 0,
        allowed: BTreeSet::new(),
        denied: Vec::new(),
        called: BTreeMap::new(),
    };
    // Where nothing may start, what becomes of events is shown, and what is denied is denied on purpose.
    let lost = wiring::where_nothing_starts().await.account().decisions();
    evidence.add(lost.into_iter().filter(|decision| decision.allowed));
    evidence.add(Box::pin(wiring::at_work()).await.account().decisions());
    for rehearsal in Box::pin(rehearsals::all()).await {
        evidence.add(rehearsal.account().decisions());
        for call in rehearsal.account().ledger() {
            // `deployment-1/network/ensure`; what comes from outside is of no function.
            if let [_, function, _] = call.caller.split('/').collect::<Vec<_>>()[..] {
                evidence.called.entry(function.to_owned()).or_default().insert(call.name());
            }
        }
    }
    evidence
}

/// The same principal whatever its session.
fn unnamed(principal: Principal) -> Principal {
    match principal {
        Principal::Role { arn, .. } => Principal::Role { arn, session: String::new() },
        other => other,
    }
}

/// A policy of the installation: whose, what it says, and which requests it has to do with.
pub(super) struct Held<'e> {
    /// Such as `NetworkRole`, `NetworkRole's trust` or the ARN of a topic.
    pub(super) label: String,
    pub(super) statements: Vec<&'e Value>,
    /// The allowed requests that it may have decided.
    pub(super) requests: Vec<&'e (Principal, AccessRequest)>,
    /// What else decides on a request: with `None` for this policy's place.
    grants: Box<dyn Fn(&AccessRequest) -> Grants + 'e>,
    place: Place,
}

/// Where a policy counts.
#[derive(Clone, Copy)]
enum Place {
    Identity,
    Resource,
}

impl Held<'_> {
    /// Whether a request would be allowed if the policy had just these statements.
    pub(super) fn allows(
        &self,
        statements: &[&Value],
        principal: &Principal,
        request: &AccessRequest,
    ) -> bool {
        let mut grants = (self.grants)(request);
        if !statements.is_empty() {
            let document = serde_json::json!({ "Statement": statements });
            let policy = Arc::new(Policy::read(&document).unwrap());
            self.put(&mut grants, policy);
        }
        grants.decide(principal, request).is_ok()
    }

    /// The same with a policy that has been read.
    pub(super) fn allows_by(
        &self,
        policy: &Arc<Policy>,
        principal: &Principal,
        request: &AccessRequest,
    ) -> bool {
        let mut grants = (self.grants)(request);
        self.put(&mut grants, Arc::clone(policy));
        grants.decide(principal, request).is_ok()
    }

    fn put(&self, grants: &mut Grants, policy: Arc<Policy>) {
        match self.place {
            Place::Identity => grants.identity.push(policy),
            Place::Resource => grants.resource = Some(policy),
        }
    }
}

impl Evidence {
    fn add(&mut self, decisions: impl IntoIterator<Item = Decision>) {
        for decision in decisions {
            self.decided += 1;
            if decision.allowed {
                self.allowed.insert((unnamed(decision.principal), decision.request));
            } else {
                self.denied.push(decision);
            }
        }
    }

    /// Every policy of the installation.
    pub(super) fn policies(&self) -> Vec<Held<'_>> {
        let roles = self.installation.roles.iter().flat_map(|(id, role)| {
            let of_role = |(principal, _): &&(Principal, AccessRequest)| {
                matches!(principal, Principal::Role { arn, .. } if *arn == role.arn)
            };
            let identity = role.policies.iter().map(move |(_, document)| Held {
                label: id.clone(),
                statements: statements(document),
                requests: self.allowed.iter().filter(of_role).collect(),
                grants: Box::new(|request| Grants { resource: self.resource_policy(request), ..Grants::default() }),
                place: Place::Identity,
            });
            let trust = Held {
                label: format!("the trust policy of {id}"),
                statements: statements(&role.trust),
                requests: self.allowed.iter().filter(|(_, request)| request.resource == role.arn).collect(),
                grants: Box::new(|_| Grants::default()),
                place: Place::Resource,
            };
            identity.chain([trust]).collect::<Vec<_>>()
        });
        let resources = self.installation.resource_policies.iter().map(|(arn, document)| Held {
            label: format!("the policy of {arn}"),
            statements: statements(document),
            requests: self.allowed.iter().filter(|(_, request)| owner(&request.resource) == *arn).collect(),
            grants: Box::new(|_| Grants { identity: vec![anything()], ..Grants::default() }),
            place: Place::Resource,
        });
        roles.chain(resources).collect()
    }

    fn resource_policy(&self, request: &AccessRequest) -> Option<Arc<Policy>> {
        let document = self.installation.resource_policies.get(owner(&request.resource)).cloned();
        let document = document.or_else(|| request.action.starts_with("kms:").then(default_key_policy));
        document.map(|document| Arc::new(Policy::read(&document).unwrap()))
    }
}

/// The policy of a key that has none of its own: "Default key policy" in the KMS developer guide.
pub(super) fn default_key_policy() -> Value {
    let root = serde_json::json!({ "AWS": "arn:aws:iam::123456789012:root" });
    serde_json::json!({
        "Statement": [{ "Effect": "Allow", "Principal": root, "Action": "kms:*", "Resource": "*" }],
    })
}

fn statements(document: &Value) -> Vec<&Value> {
    document["Statement"].as_array().unwrap().iter().collect()
}

/// The resource whose policy counts: of an object, its bucket.
fn owner(resource: &str) -> &str {
    if resource.starts_with("arn:aws:s3:::") { resource.split('/').next().unwrap() } else { resource }
}

fn anything() -> Arc<Policy> {
    let document = serde_json::json!({ "Statement": { "Effect": "Allow", "Action": "*", "Resource": "*" } });
    Arc::new(Policy::read(&document).unwrap())
}
