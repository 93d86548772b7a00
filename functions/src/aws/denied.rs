//! Denied calls: which role lacks which permission, and which policy to change.
//!
//! Source of the messages: "Troubleshoot access denied error messages" in the IAM user guide.

use crate::aws::aws_error::AwsError;

/// The error codes of a denied call.
const CODES: [&str; 6] = [
    "AccessDenied",
    "AccessDeniedException",
    "AuthorizationError",
    "Client.UnauthorizedOperation",
    "UnauthorizedOperation",
    "UnauthorizedException",
];

/// Whether AWS denied the call.
pub(crate) fn is(error: &AwsError) -> bool {
    CODES.contains(&error.code.as_str())
}

/// How to allow a denied call; `None` for any other error.
pub(crate) fn advice(error: &AwsError) -> Option<String> {
    if !is(error) {
        return None;
    }
    let message = error.message.as_str();
    let role =
        role(message).map_or_else(|| "the function's role".to_owned(), |role| format!("the role {role}"));
    let action = action(message).unwrap_or("this call");
    Some(if message.contains("service control policy") {
        format!(
            "a policy of your AWS organization denies {action}: ask its administrator to allow it for {role}"
        )
    } else if message.contains("permissions boundary") {
        format!("allow {action} in the permissions boundary of {role}")
    } else if message.contains("explicit deny") {
        format!("a policy explicitly denies {action} to {role}: remove that statement")
    } else if message.contains("resource-based policy") {
        format!("allow {action} for {role} in the policy of the resource")
    } else {
        format!("allow {action} in the policy of {role}")
    })
}

/// The name in `arn:aws:sts::ACCOUNT:assumed-role/NAME/SESSION`.
fn role(message: &str) -> Option<&str> {
    message.split_once(":assumed-role/")?.1.split(['/', ' ']).next().filter(|name| !name.is_empty())
}

/// The action in `… is not authorized to perform: SERVICE:ACTION on …`.
fn action(message: &str) -> Option<&str> {
    message.split_once("not authorized to perform: ")?.1.split_whitespace().next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_names_the_role_the_action_and_the_policy_when_a_call_is_denied() {
        let user = "User: arn:aws:sts::123456789012:assumed-role/stackdrop-service/x is not authorized to perform: ecs:CreateCluster on resource: *";
        for (code, reason, expected) in [
            (
                "AccessDeniedException",
                " because no identity-based policy allows the ecs:CreateCluster action",
                Some("allow ecs:CreateCluster in the policy of the role stackdrop-service"),
            ),
            (
                "AccessDeniedException",
                " with an explicit deny in a service control policy",
                Some(
                    "a policy of your AWS organization denies ecs:CreateCluster: ask its administrator to allow it for the role stackdrop-service",
                ),
            ),
            (
                "UnauthorizedOperation",
                " because no permissions boundary allows the ecs:CreateCluster action",
                Some("allow ecs:CreateCluster in the permissions boundary of the role stackdrop-service"),
            ),
            (
                "AccessDenied",
                " with an explicit deny in an identity-based policy",
                Some(
                    "a policy explicitly denies ecs:CreateCluster to the role stackdrop-service: remove that statement",
                ),
            ),
            (
                "AccessDenied",
                " because no resource-based policy allows the ecs:CreateCluster action",
                Some("allow ecs:CreateCluster for the role stackdrop-service in the policy of the resource"),
            ),
            ("Throttling", "", None),
        ] {
            let error = AwsError { code: code.into(), message: format!("{user}{reason}") };
            assert_eq!(advice(&error).as_deref(), expected);
        }
        let bare = AwsError { code: "AccessDenied".into(), message: "Access Denied".into() };
        assert_eq!(advice(&bare).as_deref(), Some("allow this call in the policy of the function's role"));
    }
}
