//! Denied calls: which role may not do what, and which policy says so.
//!
//! Source of the words that AWS uses: "Troubleshoot access denied error messages" in the IAM user guide.

use crate::aws::error::{AwsError, StepError};

/// How services say that a call is not allowed.
const CODES: [&str; 6] = [
    "AccessDenied",
    "AccessDeniedException",
    "AuthorizationError",
    "Client.UnauthorizedOperation",
    "UnauthorizedOperation",
    "UnauthorizedException",
];

/// Whether AWS says that a call is not allowed.
pub(crate) fn is(error: &AwsError) -> bool {
    CODES.contains(&error.code.as_str())
}

/// `None` for what the caller may not ask: where an answer is good to have, and its lack no reason to fail.
pub(crate) fn unless_denied<T>(asked: Result<T, StepError>) -> Result<Option<T>, StepError> {
    match asked {
        Ok(answer) => Ok(Some(answer)),
        Err(StepError::Refused { source, .. }) if is(&source) => Ok(None),
        Err(error) => Err(error),
    }
}

/// What to do about a denied call; nothing for another error.
pub(crate) fn advice(error: &AwsError) -> Option<String> {
    if !is(error) {
        return None;
    }
    let said = error.message.as_str();
    let role = role(said).map_or_else(|| "the function's role".to_owned(), |role| format!("the role {role}"));
    let action = action(said).unwrap_or("this call");
    Some(if said.contains("service control policy") {
        format!(
            "a policy of your AWS organization denies {action}: whoever administers it must allow it to {role}"
        )
    } else if said.contains("permissions boundary") {
        format!("allow {action} in the permissions boundary of {role}")
    } else if said.contains("explicit deny") {
        format!("a policy denies {action} to {role}: take that statement out")
    } else if said.contains("resource-based policy") {
        format!("allow {action} to {role} in the policy of the resource itself")
    } else {
        format!("allow {action} in the policy of {role}")
    })
}

/// The name in `arn:aws:sts::ACCOUNT:assumed-role/NAME/SESSION`.
fn role(said: &str) -> Option<&str> {
    said.split_once(":assumed-role/")?.1.split(['/', ' ']).next().filter(|name| !name.is_empty())
}

/// The action in `… is not authorized to perform: SERVICE:ACTION on …`.
fn action(said: &str) -> Option<&str> {
    said.split_once("not authorized to perform: ")?.1.split_whitespace().next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_denied_call_names_the_role_the_action_and_the_policy_to_look_at() {
        let user = "User: arn:aws:sts::123456789012:assumed-role/stackdrop-service/x is not authorized to perform: ecs:CreateCluster on resource: *";
        for (code, why, expected) in [
            (
                "AccessDeniedException",
                " because no identity-based policy allows the ecs:CreateCluster action",
                Some("allow ecs:CreateCluster in the policy of the role stackdrop-service"),
            ),
            (
                "AccessDeniedException",
                " with an explicit deny in a service control policy",
                Some(
                    "a policy of your AWS organization denies ecs:CreateCluster: whoever administers it must allow it to the role stackdrop-service",
                ),
            ),
            (
                "UnauthorizedOperation",
                " because no permissions boundary allows the ecs:CreateCluster action",
                Some("allow ecs:CreateCluster in the permissions boundary of the role stackdrop-service"),
            ),
            ("Throttling", "", None),
        ] {
            let error = AwsError { code: code.into(), message: format!("{user}{why}") };
            assert_eq!(advice(&error).as_deref(), expected);
        }
        let bare = AwsError { code: "AccessDenied".into(), message: "Access Denied".into() };
        assert_eq!(advice(&bare).as_deref(), Some("allow this call in the policy of the function's role"));
    }
}
