//! Each role allows exactly the calls that its function needs.
//!
//! All rehearsals run under the roles of `template.yaml`, so a call that is not allowed fails in its own test. These tests
//! examine IAM's decisions: no call was denied, every part of every policy is needed, and resources of others are denied.

mod arn; // the parts of ARNs and of their patterns
mod attacks; // each action of each function on each kind of foreign resource: denied, or listed
mod boundary; // the most that the role of a stack can do
mod calls_in_code; // every call in the code is rehearsed
mod dependent_actions; // dependent actions are requested
pub(crate) mod evidence; // the decisions of IAM in the rehearsals
mod exceptions; // exceptions, with reasons
mod forbidden; // resources of others are denied
mod handbook; // docs/permissions.md agrees with the template
mod mutations; // every part of every policy is needed
mod own_roles; // functions cannot change, pass or assume the installation's roles
mod policies; // the policies of the installation
mod rehearsals; // rehearsals that make every call of the functions
mod second_engine; // another implementation of IAM's rules makes the same decisions
mod stack_roles; // functions can make no role of a stack that can do more than the boundary
mod unavoidable; // what the functions' roles allow on resources of others
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
