//! What the network's gateway endpoint and egress's interface endpoints have in common.

use aws_sdk_ec2::types::VpcEndpoint;
use serde_json::{Value, json};

use super::component::Work;
use crate::aws::error::{Answer, StepError};

/// Whether an endpoint lets everything through, as AWS makes it: its policy is one statement that allows all.
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

/// Deletes VPC endpoints and returns those that would not go, with AWS's reason.
pub(crate) async fn delete_endpoints(
    work: &Work<'_>,
    ids: &[String],
) -> Result<Vec<(String, String)>, StepError> {
    let call = work.aws.ec2().delete_vpc_endpoints().set_vpc_endpoint_ids(Some(ids.to_vec()));
    let answer = call.send().await.doing("deleting VPC endpoints")?;
    // Refusals come inside a successful answer.
    let remaining = answer.unsuccessful().iter().filter_map(|item| {
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
