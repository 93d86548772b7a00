//! What must be denied: every allowed request, with what makes it legitimate taken away or exchanged.

use std::sync::Arc;

use serde_json::json;
use stackdrop_simulator::{AccessRequest, Policy, Principal};

use super::evidence::{EVIDENCE, Held};
use super::lists::BY_NAME;

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
    let drop = |part: &'static str| {
        move |request: &mut AccessRequest| request.keys.retain(|key| !key.contains(part))
    };
    add("on what carries no tag", &drop(":ResourceTag/"));
    add("without the stack's tag", &drop(":RequestTag/"));
    add("on what exists already", &drop(":CreateAction"));
    // As somebody would claim what is not Stackdrop's: by a tag put on what exists.
    add("claiming what exists", &|request| {
        request.keys.retain(|key| !key.contains(":CreateAction") && !key.contains(":ResourceTag/"));
    });
    for (key, other) in OTHER_VALUES {
        add("with another value", &|request| {
            if request.keys.get(key).is_some() {
                request.keys.set_all(key, [other.to_owned()]);
            }
        });
    }
    if let Principal::Service { .. } = principal {
        let other = Principal::Service { name: "codebuild.amazonaws.com".into() };
        all.push(Spoilt { what: "by another service", request: request.clone(), principal: other });
    }
    all
}

/// A value that is nobody's, for each key that tells one apart.
const OTHER_VALUES: [(&str, &str); 16] = [
    ("application-autoscaling:service-namespace", "dynamodb"),
    ("aws:SecureTransport", "false"),
    ("aws:SourceAccount", "999999999999"),
    ("aws:SourceArn", "arn:aws:codebuild:eu-central-1:999999999999:project/other"),
    ("ec2:CreateAction", "CreateImage"),
    ("ec2:Owner", "999999999999"),
    ("ecs:CreateAction", "RunTask"),
    ("elasticloadbalancing:CreateAction", "CreateTrustStore"),
    ("events:source", "somebody.else"),
    ("iam:AWSServiceName", "spot.amazonaws.com"),
    ("iam:PassedToService", "lambda.amazonaws.com"),
    ("iam:PolicyARN", "arn:aws:iam::aws:policy/AdministratorAccess"),
    ("kms:ViaService", "s3.eu-central-1.amazonaws.com"),
    ("rds:CreateAction", "RestoreDBInstanceFromDBSnapshot"),
    ("route53:ChangeResourceRecordSetsRecordTypes", "MX"),
    ("secretsmanager:ResourceTag/aws:rds:primaryDBInstanceArn", "arn:aws:rds:other"),
];

#[test]
fn what_is_not_a_stacks_can_not_be_changed() {
    let mut open = Vec::new();
    for held in EVIDENCE.policies() {
        let today = Arc::new(Policy::read(&json!({ "Statement": held.statements })).unwrap());
        for (principal, request) in
            held.requests.iter().copied().filter(|(_, request)| writes(&request.action))
        {
            for spoilt in spoil(principal, request) {
                let allowed = held.allows_by(&today, &spoilt.principal, &spoilt.request);
                if allowed
                    && spoilt.what != "on what exists already"
                    && !is_by_name(&held.label, &request.action)
                {
                    open.push(format!("{} may {} {}", held.label, request.action, spoilt.what));
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

/// Whether an action can change anything.
fn writes(action: &str) -> bool {
    let operation = action.split(':').nth(1).unwrap();
    !["Describe", "List", "Get"].iter().any(|verb| operation.starts_with(verb))
}

/// Whether something else than a tag keeps an action in bounds, for a reason that is listed.
fn is_by_name(label: &str, action: &str) -> bool {
    BY_NAME.iter().any(|(of, actions, _)| (*of == "*" || *of == label) && actions.contains(&action))
}
