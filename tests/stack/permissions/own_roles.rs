//! No function can change, pass or assume the roles of the installation.

use std::collections::BTreeSet;

use serde_json::Value;
use stackdrop::installation::Role;
use stackdrop_simulator::{AccessRequest, Grants, Principal};

use super::evidence::EVIDENCE;
use super::forbidden::writes;
use super::policies::{read_document, statements};

/// The only exception: `conclude` passes the role that starts deployments to the schedules of stacks.
const ALLOWED: &str = "ConcludeRole allows iam:PassRole on ScheduleRole";

#[test]
fn no_function_can_change_the_installations_own_roles() {
    let installation = &EVIDENCE.installation;
    let is_of_function =
        |role: &Role| installation.functions.values().any(|function| function.role == role.arn);
    let actions = actions();
    let (mut tried, mut allowed) = (0, BTreeSet::new());
    for (id, role) in installation.roles.iter().filter(|(_, role)| is_of_function(role)) {
        for (other_id, other) in &installation.roles {
            for action in &actions {
                tried += 1;
                if allows(role, action, other) {
                    allowed.insert(format!("{id} allows {action} on {other_id}"));
                }
            }
        }
    }
    println!("{tried} calls that would change, pass or assume the installation's roles");
    assert!(actions.contains(&"iam:PutRolePolicy".to_owned()) && tried > 1000, "{tried}: {actions:?}");
    assert_eq!(allowed, BTreeSet::from([ALLOWED.to_owned()]));
}

/// The actions by which one role could get the permissions of another.
fn actions() -> Vec<String> {
    let reference: Value =
        serde_json::from_str(include_str!("../../../simulator/reference/actions.json")).unwrap();
    let iam = reference["services"]["iam"]["actions"].as_object().unwrap();
    let iam = iam.keys().map(|operation| format!("iam:{operation}")).filter(|action| writes(action));
    iam.chain(["sts:AssumeRole".to_owned()]).collect()
}

/// Whether a role allows an action on another role, if all conditions are met.
fn allows(role: &Role, action: &str, other: &Role) -> bool {
    let unconditional = |document: &Value| {
        let mut statements: Vec<Value> = statements(document).into_iter().cloned().collect();
        for statement in &mut statements {
            statement.as_object_mut().unwrap().remove("Condition");
        }
        read_document(&serde_json::json!({ "Statement": statements }))
    };
    let assumes = action == "sts:AssumeRole";
    let grants = Grants {
        identity: role.policies.iter().map(|(_, document)| unconditional(document)).collect(),
        resource: assumes.then(|| unconditional(&other.trust)),
        ..Grants::default()
    };
    let principal = Principal::Role { arn: role.arn.clone(), session: String::new() };
    grants.decide(&principal, &AccessRequest::new(action, "role", &other.arn)).is_ok()
}
