//! Who holds what can't be deleted: the only useful diagnosis of EC2's `DependencyViolation`.

use crate::aws::error::{Answer, StepError};
use crate::contract::component::Work;
use crate::contract::tagging::filter;

/// The network interfaces behind a filter (`subnet-id`, `group-id`, `vpc-id`) in words, or AWS's bare statement.
pub(crate) async fn dependents(work: &Work<'_>, by: &str, id: &str) -> Result<String, StepError> {
    let call = work.aws.ec2().describe_network_interfaces().filters(filter(by, id));
    let observed = call.send().await.doing(format!("asking what holds {id}"))?;
    let held: Vec<String> = observed
        .network_interfaces()
        .iter()
        .map(|interface| {
            let owner = interface.requester_id().or(interface.owner_id()).unwrap_or("unknown");
            let description =
                interface.description().filter(|text| !text.is_empty()).unwrap_or("no description");
            format!("{} ({description}; of {owner})", interface.network_interface_id().unwrap_or_default())
        })
        .collect();
    Ok(if held.is_empty() {
        "something still depends on it; no network interface does".into()
    } else {
        format!("held by {}", held.join(", "))
    })
}
