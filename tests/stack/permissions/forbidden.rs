//! What must be denied: every allowed request, with what makes it legitimate taken away or exchanged.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::json;
use stackdrop_simulator::{AccessRequest, Policy, Principal};

use super::evidence::{EVIDENCE, Held};
use super::lists::{BY_NAME, is_about};

/// How a legitimate request is spoilt.
struct Spoilt {
    what: &'static str,
    request: AccessRequest,
    principal: Principal,
}

/// The forbidden variants of the requests that a policy may decide: each is denied today.
pub(super) fn variants(held: &Held<'_>) -> Vec<(Principal, AccessRequest)> {
    let today = Arc::new(Policy::read(&json!({ "Statement": held.statements })).unwrap());
    let spoilt = held.requests.iter().flat_map(|(principal, request)| spoil(principal, request));
    let mut forbidden: Vec<(Principal, AccessRequest)> = spoilt
        .filter(|spoilt| !held.allows_by(&today, &spoilt.principal, &spoilt.request))
        .map(|spoilt| (spoilt.principal, spoilt.request))
        .collect();
    forbidden.sort();
    forbidden.dedup();
    forbidden
}

fn spoil(principal: &Principal, request: &AccessRequest) -> Vec<Spoilt> {
    let mut all = Vec::new();
    let mut add = |what: &'static str, change: &dyn Fn(&mut AccessRequest)| {
        let mut spoilt = request.clone();
        change(&mut spoilt);
        if spoilt != *request {
            all.push(Spoilt { what, request: spoilt, principal: principal.clone() });
        }
    };
    let is_a_stacks = request.keys.get("aws:ResourceTag/stackdrop:stack").is_some();
    if is_a_stacks {
        add("what is not a stack's", &|request| request.keys.retain(|key| !key.contains(":ResourceTag/")));
    }
    // What carries a stack's tag may get other tags; what is created may not be without one.
    if !is_a_stacks || creates(&request.action) {
        add("without a stack's tag", &|request| {
            request.keys.retain(|key| !key.contains(":RequestTag/") && key != "aws:TagKeys");
        });
    }
    add("for another account", &|request| {
        if request.keys.get("aws:SourceAccount").is_some() {
            request.keys.set_all("aws:SourceAccount", ["999999999999".to_owned()]);
            let other = "arn:aws:codebuild:eu-central-1:999999999999:project/other";
            request.keys.set_all("aws:SourceArn", [other.to_owned()]);
        }
    });
    add(ANOTHER_SOURCE, &|request| {
        if let Some(source) = request.keys.get("aws:SourceArn").and_then(|sources| sources.first()) {
            let other = source.rsplit_once([':', '/']).unwrap().0.to_owned() + "/other";
            request.keys.set_all("aws:SourceArn", [other]);
        }
    });
    add("without a source", &|request| request.keys.retain(|key| key != "events:source"));
    // As somebody would claim what is not Stackdrop's: by a tag that is put on what exists.
    add("by a tag put on what exists", &|request| request.keys.retain(|key| !key.contains(":CreateAction")));
    for (key, other) in OTHER_VALUES {
        add("with another value of a key", &|request| {
            if request.keys.get(key).is_some() {
                request.keys.set_all(key, [other.to_owned()]);
            }
        });
    }
    add(PLAIN_HTTP, &|request| request.keys.set_all("aws:SecureTransport", ["false".to_owned()]));
    if let Principal::Service { .. } = principal {
        let other = Principal::Service { name: "codebuild.amazonaws.com".into() };
        all.push(Spoilt { what: "for another service", request: request.clone(), principal: other });
    }
    all
}

/// Where a policy names no source, any of the account may be one.
const ANOTHER_SOURCE: &str = "for another source of the account";

/// AWS's endpoints speak TLS, S3's plain HTTP too: only a bucket's policy has to say no.
const PLAIN_HTTP: &str = "over plain HTTP";

/// A value that is nobody's, for each key that tells one apart.
const OTHER_VALUES: [(&str, &str); 11] = [
    ("application-autoscaling:service-namespace", "dynamodb"),
    ("ec2:CreateAction", "CreateImage"),
    ("ec2:Owner", "999999999999"),
    ("ecs:CreateAction", "RunTask"),
    ("elasticloadbalancing:CreateAction", "CreateTrustStore"),
    ("events:source", "somebody.else"),
    ("iam:AWSServiceName", "spot.amazonaws.com"),
    ("iam:PassedToService", "lambda.amazonaws.com"),
    ("iam:PolicyARN", "arn:aws:iam::aws:policy/AdministratorAccess"),
    ("kms:ViaService", "s3.eu-central-1.amazonaws.com"),
    ("route53:ChangeResourceRecordSetsRecordTypes", "MX"),
];

#[test]
fn what_is_not_a_stacks_can_not_be_changed() {
    let mut open = Vec::new();
    let mut excused = BTreeSet::new();
    for held in EVIDENCE.policies() {
        let today = Arc::new(Policy::read(&json!({ "Statement": held.statements })).unwrap());
        for (principal, request) in
            held.requests.iter().copied().filter(|(_, request)| writes(&request.action))
        {
            for spoilt in spoil(principal, request) {
                let allowed = held.allows_by(&today, &spoilt.principal, &spoilt.request);
                let is_bucket = request.action.starts_with("s3:") && held.label.starts_with("the policy");
                let is_optional = spoilt.what == ANOTHER_SOURCE || (spoilt.what == PLAIN_HTTP && !is_bucket);
                if !allowed || is_optional {
                    continue;
                }
                match BY_NAME.iter().position(|entry| is_about(entry, &held.label, &request.action)) {
                    Some(entry) => _ = excused.insert(entry),
                    None => open.push(format!("{} may {} {}", held.label, request.action, spoilt.what)),
                }
            }
        }
    }
    open.sort();
    open.dedup();
    assert!(
        open.is_empty(),
        "forbid these, or say in lists.rs what keeps them in bounds:\n{}",
        open.join("\n")
    );
}

/// Whether an action makes something that can carry tags.
fn creates(action: &str) -> bool {
    action.split(':').nth(1).unwrap().starts_with("Create") && action != "ec2:CreateTags"
}

/// Whether an action can change anything.
fn writes(action: &str) -> bool {
    let operation = action.split(':').nth(1).unwrap();
    !["Describe", "List", "Get"].iter().any(|verb| operation.starts_with(verb))
}
