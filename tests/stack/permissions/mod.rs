//! What each role may do: no less than its calls need, no more than that.
//!
//! The rehearsals of all tests run under the roles of `template.yaml`, so a call that is not allowed fails there. These
//! tests look at the decisions: that none was a denial, that every part of every policy is needed, and that resources of
//! others are out of reach.

mod arn; // the parts of ARNs and their patterns
mod calls_in_code; // every call in the code is rehearsed
mod dependent_actions; // dependent actions are requested
mod evidence; // IAM's decisions in the rehearsals
mod exceptions; // exceptions, with reasons
mod forbidden; // resources of others are denied
mod handbook; // docs/permissions.md says the same as the template
mod mutations; // every part of every policy is needed
mod own_roles; // the installation's roles are out of the functions' reach
mod policies; // the policies of the installation
mod rehearsals; // rehearsals of all calls that functions make
mod second_engine; // another implementation of IAM's rules decides alike
mod variants; // forbidden variants of allowed requests

use std::collections::BTreeMap;

use evidence::EVIDENCE;

#[test]
fn no_rehearsed_call_is_denied() {
    let mut by_service: BTreeMap<&str, usize> = BTreeMap::new();
    for (_, request) in &EVIDENCE.allowed {
        *by_service.entry(request.action.split(':').next().unwrap()).or_default() += 1;
    }
    println!("{} decisions; different ones by service: {by_service:?}", EVIDENCE.decided);
    let denied: Vec<String> = EVIDENCE
        .denied
        .iter()
        .map(|decision| {
            format!("{}: {} on {}", decision.caller, decision.request.action, decision.request.resource)
        })
        .collect();
    assert!(denied.is_empty(), "template.yaml does not allow\n{}", denied.join("\n"));
}
