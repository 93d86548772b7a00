//! The zones and names of Route 53 that the installation opens to a stack.
//!
//! One function writes the records of all stacks, and records have no tags: IAM cannot tell whose record it is. So the installation's
//! parameters decide, and the function's role allows only the zones in them.

use std::collections::BTreeSet;

use super::aliases::{self, zone_ids, zone_of};
use super::certificates::own_names;
use super::dns::is_within;
use super::observed::Observed;
use super::{Blocker, refuse};
use crate::aws::error::StepError;
use crate::contract::component::Work;

/// Where the parameters are.
const INSTALLATION: &str = "Stackdrop's CloudFormation stack";

/// The zones of the stack that are not open. AWS would deny each call on such a zone, so they are known before any call.
pub(super) fn closed_zones(work: &Work<'_>) -> Vec<Blocker> {
    let open = &work.aws.settings.rules.zones;
    let desired = zone_of(work.spec).filter(|_| !work.deployment.destroying);
    let closed = zone_ids(work).into_iter().filter(|zone| !open.contains(*zone));
    let blocker = |zone: &str| {
        let (why, fix) = if Some(zone) == desired {
            let list = listed(open.iter().map(String::as_str));
            (
                format!(
                    "loadBalancer.hostedZoneId: zone {zone} is not open to stacks in this installation (open: {list})"
                ),
                format!("add it to the parameter HostedZones of {INSTALLATION}, or use another zone"),
            )
        } else {
            (
                format!(
                    "the stack has DNS records in zone {zone}, which is no longer open to stacks in this installation"
                ),
                format!(
                    "put it back into the parameter HostedZones of {INSTALLATION} until the stack no longer uses it"
                ),
            )
        };
        Blocker::Spec { resource: aliases::LOGICAL_ID.into(), why, fix }
    };
    closed.map(blocker).collect()
}

/// Refuses to continue with a zone that is not open.
pub(super) fn check_zones(work: &Work<'_>) -> Result<(), StepError> {
    refuse(closed_zones(work))
}

/// The names of the spec in Route 53 that are not open to the stack: those of its alias records, and those of the certificate that
/// Stackdrop requests, each of which a record validates.
pub(super) fn closed_names(work: &Work<'_>, observed: &Observed) -> Vec<Blocker> {
    let of_records = observed.aliases.desired_names().map(str::to_owned);
    let names: BTreeSet<String> = own_names(work.spec).into_iter().flatten().chain(of_records).collect();
    let open = open_names(work);
    let closed = names.into_iter().filter(|name| !is_open(work, &open, name));
    closed.map(|name| blocker(work, &open, &name)).collect()
}

/// The suffixes that are open to the stack.
fn open_names<'a>(work: &'a Work<'_>) -> Vec<&'a str> {
    let rules = work.aws.settings.rules.domains.iter();
    rules.filter(|rule| rule.stacks.matches(&work.stack.name)).map(|rule| rule.suffix.as_str()).collect()
}

fn is_open(work: &Work<'_>, open: &[&str], name: &str) -> bool {
    work.aws.settings.rules.domains.is_empty() || open.iter().any(|suffix| is_within(name, suffix))
}

fn blocker(work: &Work<'_>, open: &[&str], name: &str) -> Blocker {
    let stack = &work.stack.name;
    let domain = work.spec.load_balancer.as_ref().and_then(|balancer| balancer.domain.as_deref());
    let (resource, field) = if domain == Some(name) {
        (aliases::LOGICAL_ID.to_owned(), format!("loadBalancer.domain {name}"))
    } else {
        (format!("{}/{name}", aliases::LOGICAL_ID), format!("the host {name} of a route"))
    };
    Blocker::Spec {
        resource,
        why: format!(
            "{field} is not open to the stack {stack} in this installation (open: {})",
            listed(open.iter().copied())
        ),
        fix: format!(
            "use an open name, or a name below one; or add {stack}={} to the parameter DomainSuffixes of {INSTALLATION}",
            name.strip_prefix("*.").unwrap_or(name)
        ),
    }
}

fn listed<'a>(texts: impl Iterator<Item = &'a str>) -> String {
    let texts: Vec<&str> = texts.collect();
    if texts.is_empty() { "none".into() } else { texts.join(", ") }
}
