//! What the gateway endpoint of `network` and the interface endpoints of `egress` have in common.

use aws_sdk_ec2::types::VpcEndpoint;
use serde_json::{Value, json};

use crate::aws::error::{AwsResult, StepError};
use crate::contract::component::Work;

/// Whether an endpoint has AWS's default policy: a single statement that allows everything.
pub(crate) fn gives_full_access(endpoint: &VpcEndpoint) -> bool {
    let Some(text) = endpoint.policy_document() else { return true };
    let Ok(policy) = serde_json::from_str::<Value>(text) else { return false };
    let statements = match &policy["Statement"] {
        Value::Array(statements) => statements.as_slice(),
        one => std::slice::from_ref(one),
    };
    let [statement] = statements else { return false };
    let everyone = statement["Principal"] == "*" || statement["Principal"] == json!({ "AWS": "*" });
    everyone
        && statement["Effect"] == "Allow"
        && statement["Action"] == "*"
        && statement["Resource"] == "*"
        && statement["Condition"].is_null()
}

/// AWS's reason why an endpoint has failed.
pub(crate) fn failure(endpoint: &VpcEndpoint) -> String {
    let error = endpoint.last_error().and_then(|error| error.message());
    error.unwrap_or("no reason given").to_owned()
}

/// Deletes VPC endpoints. Returns the IDs of those that AWS refused to delete, with AWS's reason.
pub(crate) async fn delete_endpoints(
    work: &Work<'_>,
    ids: &[String],
) -> Result<Vec<(String, String)>, StepError> {
    let call = work.aws.ec2().delete_vpc_endpoints().set_vpc_endpoint_ids(Some(ids.to_vec()));
    let response = call.send().await.doing("deleting VPC endpoints")?;
    // AWS reports refusals in a successful response.
    let remaining = response.unsuccessful().iter().filter_map(|item| {
        let error = item.error()?;
        let code = error.code().unwrap_or_default();
        let absent = code.starts_with("InvalidVpcEndpoint") && code.ends_with("NotFound");
        (!absent).then(|| {
            let id = item.resource_id().unwrap_or_default().to_owned();
            (id, format!("{code}: {}", error.message().unwrap_or_default()))
        })
    });
    Ok(remaining.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_single_statement_that_allows_everything_to_everyone_gives_full_access() {
        let full = json!({ "Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*" });
        let with = |key: &str, value: Value| {
            let mut statement = full.clone();
            statement[key] = value;
            statement
        };
        for (statements, expected) in [
            (full.clone(), true),
            (json!([full]), true),
            (json!([with("Principal", json!({ "AWS": "*" }))]), true),
            (json!([full, full]), false),
            (json!([]), false),
            (with("Effect", json!("Deny")), false),
            (with("Principal", json!({ "AWS": "123456789012" })), false),
            (with("Action", json!("s3:GetObject")), false),
            (with("Resource", json!("arn:aws:s3:::books/*")), false),
            (with("Condition", json!({ "Bool": { "aws:SecureTransport": "true" } })), false),
        ] {
            let policy = json!({ "Version": "2008-10-17", "Statement": statements }).to_string();
            let endpoint = VpcEndpoint::builder().policy_document(&policy).build();
            assert_eq!(gives_full_access(&endpoint), expected, "{policy}");
        }
        assert!(gives_full_access(&VpcEndpoint::builder().build()), "AWS omits the default policy");
        assert!(!gives_full_access(&VpcEndpoint::builder().policy_document("not JSON").build()));
    }
}
