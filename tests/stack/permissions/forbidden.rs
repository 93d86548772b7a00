//! Calls on resources of others are denied, or listed with what limits them instead.

use std::collections::BTreeSet;

use super::evidence::EVIDENCE;
use super::exceptions::{Exception, READS, WITHOUT_TAG_CONDITION};
use super::policies::{PolicyUnderTest, read};
use super::variants::{self, Change, Variant, creates_tagged, resource_type};

#[test]
fn resources_of_others_are_denied() {
    let (mut tried, mut found) = (0, BTreeSet::new());
    for policy in EVIDENCE.policies() {
        let today = read(&policy.statements);
        for variant in variants::of_policy(&policy).iter().filter(|variant| must_be_denied(&policy, variant))
        {
            tried += 1;
            if policy.allows_by(&today, &variant.principal, &variant.request) {
                let request = format!("{} on {}", variant.request.action, resource_type(&variant.request));
                found.insert(open_kind(&policy.label, variant.change, &request));
            }
        }
    }
    println!("forbidden calls: {tried}; {} kinds of them are allowed (see exceptions.rs)", found.len());
    let listed = exceptions();
    let open: Vec<&str> = found.difference(&listed).map(String::as_str).collect();
    assert!(
        open.is_empty(),
        "deny these in template.yaml, or list them in exceptions.rs with what limits them:\n{}",
        open.join("\n")
    );
    let superfluous: Vec<&str> = listed.difference(&found).map(String::as_str).collect();
    assert!(
        superfluous.is_empty(),
        "these are denied: remove them from exceptions.rs:\n{}",
        superfluous.join("\n")
    );
}

/// A kind of request that a policy allows although it should deny it.
fn open_kind(policy: &str, change: Change, request: &str) -> String {
    format!("{policy}: {change:?}: {request}")
}

/// All listed exceptions.
fn exceptions() -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for Exception { policy, changes, requests, .. } in WITHOUT_TAG_CONDITION.iter().chain(READS) {
        for change in *changes {
            all.extend(requests.iter().map(|request| open_kind(policy, *change, request)));
        }
    }
    all
}

/// Whether a policy must deny a variant or be listed. The other variants are only for `mutations`.
fn must_be_denied(policy: &PolicyUnderTest<'_>, variant: &Variant) -> bool {
    let request = &variant.request;
    match variant.change {
        Change::OthersName => !creates_tagged(request),
        // A tagged resource can belong to another stack. A policy that names no source allows all sources in the account.
        Change::OthersNamePart | Change::OthersSource => false,
        // AWS's endpoints require TLS, except S3's: only a bucket's policy can deny plain HTTP.
        Change::PlainHttp => request.action.starts_with("s3:") && policy.label.starts_with("the policy of"),
        _ => writes(&request.action),
    }
}

/// Whether an action can change something.
pub(super) fn writes(action: &str) -> bool {
    let operation = action.split(':').nth(1).unwrap();
    !["Describe", "List", "Get"].iter().any(|verb| operation.starts_with(verb))
}
