//! No function can make a role of a stack that can do more than the boundary, or move a role to another stack.

use stackdrop_simulator::{AccessRequest, Grants, Principal};

use super::boundary::INSTALLATION;
use super::policies::read_document;

/// The actions with which a role gets permissions.
const ACTIONS: [&str; 9] = [
    "iam:AttachRolePolicy",
    "iam:CreateRole",
    "iam:DeleteRole",
    "iam:DeleteRolePermissionsBoundary",
    "iam:DeleteRolePolicy",
    "iam:DetachRolePolicy",
    "iam:PutRolePermissionsBoundary",
    "iam:PutRolePolicy",
    "iam:UpdateAssumeRolePolicy",
];

const ROLES: [&str; 4] = [
    "stackdrop/stackdrop-shop-execution-eu-central-1",
    "stackdrop/stackdrop-shop-instance-eu-central-1",
    "stackdrop/stackdrop-shop-task-eu-central-1",
    "other",
];

/// Whether the role of a function allows an action on a role with these condition keys.
fn allows(function: &str, action: &str, role: &str, keys: &[(&str, &str)]) -> bool {
    let function = &INSTALLATION.roles[function];
    let grants = Grants {
        identity: function.policies.iter().map(|(_, document)| read_document(document)).collect(),
        ..Grants::default()
    };
    let principal = Principal::Role { arn: function.arn.clone(), session: "function".into() };
    let mut request = AccessRequest::new(action, "role", &format!("arn:aws:iam::123456789012:role/{role}"));
    for (key, value) in keys {
        request.key(key, *value);
    }
    grants.decide(&principal, &request).is_ok()
}

#[test]
fn no_function_can_make_a_role_that_can_do_more_than_the_boundary() {
    let ours = INSTALLATION.settings.rules.boundary.as_str();
    let others = ["arn:aws:iam::aws:policy/AdministratorAccess", "arn:aws:iam::123456789012:policy/other"];
    let mut tried = 0;
    for function in INSTALLATION.roles.keys() {
        for (action, role) in ACTIONS.iter().flat_map(|action| ROLES.map(|role| (*action, role))) {
            for boundary in [None, Some(others[0]), Some(others[1]), Some(ours)] {
                tried += 1;
                let mut keys = vec![
                    ("aws:RequestTag/stackdrop:stack", "shop"),
                    ("aws:ResourceTag/stackdrop:stack", "shop"),
                ];
                keys.extend(boundary.map(|boundary| ("iam:PermissionsBoundary", boundary)));
                let manages = match function.as_str() {
                    "InstanceRole" => role.contains("-instance-"),
                    "ServiceRole" => role.contains("-task-") || role.contains("-execution-"),
                    _ => false,
                };
                let never = ["iam:AttachRolePolicy", "iam:DeleteRolePermissionsBoundary"].contains(&action);
                let expected = manages && !never && boundary == Some(ours);
                assert_eq!(
                    allows(function, action, role, &keys),
                    expected,
                    "{function}: {action} on {role} with the boundary {boundary:?}"
                );
            }
        }
    }
    println!("{tried} ways to make or change a role");
}

#[test]
fn no_function_can_change_the_boundary_itself() {
    let boundary = INSTALLATION.settings.rules.boundary.as_str();
    for role in INSTALLATION.roles.values() {
        for action in
            ["iam:CreatePolicyVersion", "iam:DeletePolicy", "iam:SetDefaultPolicyVersion", "iam:TagPolicy"]
        {
            let grants = Grants {
                identity: role.policies.iter().map(|(_, document)| read_document(document)).collect(),
                ..Grants::default()
            };
            let principal = Principal::Role { arn: role.arn.clone(), session: "function".into() };
            let verdict = grants.decide(&principal, &AccessRequest::new(action, "policy", boundary));
            assert!(verdict.is_err(), "{} may {action}", role.arn);
        }
    }
}

#[test]
fn no_function_can_move_a_role_to_another_stack() {
    const OF: &str = "aws:ResourceTag/stackdrop:stack";
    const TO: &str = "aws:RequestTag/stackdrop:stack";
    for (function, role) in [("InstanceRole", ROLES[1]), ("ServiceRole", ROLES[0]), ("ServiceRole", ROLES[2])]
    {
        for (action, keys, expected) in [
            ("iam:TagRole", &[(OF, "shop"), (TO, "books")][..], false),
            ("iam:TagRole", &[(OF, "shop"), (TO, "*")], false),
            ("iam:TagRole", &[(OF, "shop")], false),
            ("iam:TagRole", &[(OF, "shop"), (TO, "shop")], true),
            ("iam:TagRole", &[(TO, "shop")], true),
            ("iam:UntagRole", &[(OF, "shop"), ("aws:TagKeys", "stackdrop:stack")], false),
            ("iam:UntagRole", &[(OF, "shop"), ("aws:TagKeys", "StackDrop:Stack")], false),
            ("iam:UntagRole", &[(OF, "shop"), ("aws:TagKeys", "team")], true),
            ("iam:UntagRole", &[("aws:TagKeys", "team")], false),
        ] {
            assert_eq!(allows(function, action, role, keys), expected, "{function}: {action} with {keys:?}");
        }
    }
}
