//! What each role may do: no less than its calls need, no more than that.
//!
//! The rehearsals of all tests run under the roles of `template.yaml`, so a call that is not allowed fails there. These
//! tests look at the decisions: that nothing was denied, that nothing in a policy is superfluous, and that what is not a
//! stack's stays out of reach.

mod evidence; // what IAM decided in the rehearsals
mod forbidden; // what must be denied
mod handbook; // docs/permissions.md says the same as the template
mod lists; // what no rehearsal shows, with reasons
mod rehearsals; // what shows the calls that functions make
mod reverse; // every call in the code is rehearsed
mod second_engine; // somebody else's reading of IAM's rules decides alike
mod teeth; // what is taken out of a policy is missed

use std::collections::BTreeMap;

use evidence::EVIDENCE;

#[test]
fn nothing_that_a_rehearsal_asks_for_is_denied() {
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

#[test]
fn no_function_can_change_the_installations_own_roles() {
    let installation = &EVIDENCE.installation;
    let functions = installation.functions.values();
    for function in functions {
        let role = installation.roles.values().find(|role| role.arn == function.role).unwrap();
        assert!(role.arn.contains(":role/stackdrop/functions/"), "{}", role.arn);
        let statements =
            role.policies.iter().flat_map(|(_, document)| document["Statement"].as_array().unwrap());
        for resource in statements.flat_map(|statement| crate::template::many(&statement["Resource"])) {
            // The names of the stacks' roles all begin like this, so their pattern matches no deeper path.
            let own = resource.contains("/stackdrop-*-")
                || resource.contains("/AWSServiceRole")
                || resource.contains("/aws-service-role/");
            assert!(
                !resource.contains(":iam:")
                    || own
                    || resource.ends_with(":role/stackdrop/functions/stackdrop-ScheduleRole"),
                "{}: {resource}",
                function.name
            );
        }
    }
}
