//! The dependents of a resource that cannot be deleted: EC2's `DependencyViolation` does not name them.

use aws_sdk_ec2::types::NetworkInterface;

use crate::aws::error::{AwsResult, StepError};
use crate::contract::component::Work;
use crate::contract::tagging::filter;
use crate::deployment::deletion::Dependents;

/// The logical IDs of the groups whose interfaces AWS manages. AWS deletes such an interface by itself, some time after the
/// load balancer, task, database or endpoint, which the stack deletes first.
const MANAGED: [&str; 4] = ["load-balancer", "service", "database", "endpoints"];

/// Describes the network interfaces that a filter (`subnet-id`, `group-id` or `vpc-id`) finds. AWS is deleting those of the
/// endpoints that are `leaving`.
pub(crate) async fn dependents(
    work: &Work<'_>,
    by: &str,
    id: &str,
    leaving: &[String],
) -> Result<Dependents, StepError> {
    let call = work.aws.ec2().describe_network_interfaces().filters(filter(by, id));
    let pages = call.into_paginator().items().send();
    let observed: Vec<NetworkInterface> =
        pages.try_collect().await.doing(format!("listing the network interfaces that use {id}"))?;
    if observed.is_empty() {
        let why = "another resource depends on it, but no network interface does".into();
        return Ok(Dependents { why, in_progress: false });
    }
    let all: Vec<String> = observed.iter().map(describe).collect();
    let in_progress =
        observed.iter().any(|interface| is_leaving(work, interface) || is_of(interface, leaving));
    Ok(Dependents { why: format!("in use by {}", all.join(", ")), in_progress })
}

/// Whether the interface is one of these endpoints': only its description names the endpoint.
fn is_of(interface: &NetworkInterface, endpoints: &[String]) -> bool {
    endpoints.iter().any(|endpoint| interface.description().is_some_and(|text| text.contains(endpoint)))
}

/// A network interface, as people know it.
pub(crate) fn describe(interface: &NetworkInterface) -> String {
    let owner = interface.requester_id().or(interface.owner_id()).unwrap_or("unknown");
    let description = interface.description().filter(|text| !text.is_empty()).unwrap_or("no description");
    let id = interface.network_interface_id().unwrap_or_default();
    format!("network interface {id} ({description}; owner {owner})")
}

/// Whether AWS deletes the interface by itself: it manages it for a resource of this stack, which has one of its groups.
pub(crate) fn is_leaving(work: &Work<'_>, interface: &NetworkInterface) -> bool {
    let names = MANAGED.map(|logical_id| work.stack.resource(logical_id));
    let is_ours = |name: Option<&str>| names.iter().any(|ours| Some(ours.as_str()) == name);
    interface.requester_managed() == Some(true)
        && interface.groups().iter().any(|group| is_ours(group.group_name()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_is_that_of_an_endpoint_which_its_description_names() {
        let interface = |text: &str| NetworkInterface::builder().description(text).build();
        let endpoints = ["vpce-1".to_owned(), "vpce-2".to_owned()];
        assert!(is_of(&interface("VPC Endpoint Interface vpce-2"), &endpoints));
        assert!(!is_of(&interface("VPC Endpoint Interface vpce-3"), &endpoints));
        assert!(!is_of(&interface("VPC Endpoint Interface vpce-2"), &[]));
        assert!(!is_of(&NetworkInterface::builder().build(), &endpoints));
    }

    #[test]
    fn an_interface_is_described_by_its_purpose_and_by_who_requested_it_or_else_owns_it() {
        let interface = || NetworkInterface::builder().network_interface_id("eni-1");
        for (interface, expected) in [
            (
                interface().description("ELB app/shop").owner_id("1").requester_id("amazon-elb"),
                "ELB app/shop; owner amazon-elb",
            ),
            (interface().description("a test").owner_id("1"), "a test; owner 1"),
            (interface().description("").owner_id("1"), "no description; owner 1"),
            (interface(), "no description; owner unknown"),
        ] {
            assert_eq!(describe(&interface.build()), format!("network interface eni-1 ({expected})"));
        }
    }
}
