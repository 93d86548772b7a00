//! The dependents of a resource that cannot be deleted: EC2's `DependencyViolation` does not name them.

use crate::aws::error::{AwsResult, StepError};
use crate::contract::component::Work;
use crate::contract::tagging::filter;

/// Describes the network interfaces that a filter (`subnet-id`, `group-id` or `vpc-id`) finds.
pub(crate) async fn dependents(work: &Work<'_>, by: &str, id: &str) -> Result<String, StepError> {
    let call = work.aws.ec2().describe_network_interfaces().filters(filter(by, id));
    let observed = call.send().await.doing(format!("listing the network interfaces that use {id}"))?;
    let dependents: Vec<String> = observed
        .network_interfaces()
        .iter()
        .map(|interface| {
            let owner = interface.requester_id().or(interface.owner_id()).unwrap_or("unknown");
            let description =
                interface.description().filter(|text| !text.is_empty()).unwrap_or("no description");
            format!(
                "network interface {} ({description}; owner {owner})",
                interface.network_interface_id().unwrap_or_default()
            )
        })
        .collect();
    Ok(if dependents.is_empty() {
        "another resource depends on it, but no network interface does".into()
    } else {
        format!("in use by {}", dependents.join(", "))
    })
}
