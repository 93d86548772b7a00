//! What must hold for the load balancer and its rules.

use std::collections::BTreeMap;

use super::same_region;
use crate::checks::{MOST_WILDCARDS, wildcards};
use crate::findings::Findings;
use crate::path::{Path, at};
use crate::{LoadBalancer, Route, Spec};

/// A security group has 60 inbound rules; each range needs two, for HTTPS and for the redirect.
const MOST_RANGES: usize = 30;
/// An ALB has 1000 targets, and an update runs old and new tasks side by side.
const MOST_TASKS: u32 = 500;

pub(super) fn check(spec: &Spec, findings: &mut Findings<'_>) {
    patterns(spec, findings);
    let Some(load_balancer) = &spec.load_balancer else { return };
    certificate(spec, load_balancer, findings);
    ranges(load_balancer, findings);
    targets(spec, findings);
    if spec.routed_services().next().is_none() {
        let routes = spec.services.keys().map(|name| at!["services", name, "routes"]);
        let needs: Vec<Path> = routes.chain([at!["services"]]).collect();
        findings.value(
            &at!["loadBalancer"],
            &needs,
            "no service has `routes`, so it would have nothing to do",
            "`routes:` in a service, or no `loadBalancer`",
        );
    }
}

/// Either a certificate, or what it takes to get one. A domain beside a given certificate is for an alias record.
fn certificate(spec: &Spec, load_balancer: &LoadBalancer, findings: &mut Findings<'_>) {
    let here = at!["loadBalancer"];
    let fields = ["certificateArn", "domain", "hostedZoneId"].map(|name| here.child(name));
    let LoadBalancer { certificate_arn, domain, hosted_zone_id, .. } = load_balancer;
    if let Some(arn) = certificate_arn {
        same_region(spec, &fields[0], arn, findings);
    } else if domain.is_none() && hosted_zone_id.is_none() {
        findings.value(
            &here,
            &fields,
            "there is no certificate",
            "`certificateArn`, or `domain` and `hostedZoneId` to have one made",
        );
    } else if hosted_zone_id.is_none() {
        findings.value(
            &fields[1],
            &fields,
            "a certificate for it can't be proved to be yours",
            "`hostedZoneId` beside it, or `certificateArn`",
        );
    }
    if domain.is_none() && hosted_zone_id.is_some() {
        findings.value(&fields[2], &fields, "nothing is to be put into this zone", "`domain` beside it");
    }
}

fn ranges(load_balancer: &LoadBalancer, findings: &mut Findings<'_>) {
    let here = at!["loadBalancer", "allowedCidrs"];
    let ranges = &load_balancer.allowed_cidrs;
    if ranges.is_empty() {
        findings.value(
            &here,
            &[],
            "nobody could connect",
            "at least one range, or no `allowedCidrs` for everyone",
        );
    }
    if ranges.len() > MOST_RANGES {
        let right = format!("at most {MOST_RANGES}: each takes two of a security group's 60 rules");
        findings.value(&here, &[], format!("there are {} ranges", ranges.len()), right);
    }
    for (index, range) in ranges.iter().enumerate() {
        let place = here.child(index);
        if range.addr() != range.network() {
            findings.value(
                &place,
                &[],
                format!("`{range}` does not start where a range of that size does"),
                range.trunc().to_string(),
            );
            continue;
        }
        for (other_index, other) in ranges.iter().enumerate() {
            let needs = [here.child(other_index)];
            if other == range && other_index < index {
                findings.value(&place, &needs, format!("`{range}` is there twice"), "each range once");
            } else if other != range && other.contains(range) {
                findings.value(
                    &place,
                    &needs,
                    format!("`{other}` contains this already"),
                    "the larger range alone",
                );
            }
        }
    }
}

fn targets(spec: &Spec, findings: &mut Findings<'_>) {
    let tasks = spec.routed_services().map(|(_, service)| service.most_tasks()).fold(0, u32::saturating_add);
    if tasks > MOST_TASKS {
        let needs: Vec<Path> = spec.services.keys().map(|name| at!["services", name]).collect();
        findings.value(
            &at!["services"],
            &needs,
            format!("there may be {tasks} tasks that requests are sent to"),
            format!("at most {MOST_TASKS}: half of an ALB's targets, since an update runs old and new tasks"),
        );
    }
}

fn patterns(spec: &Spec, findings: &mut Findings<'_>) {
    let priorities = spec.set_priorities();
    let mut first: BTreeMap<(Option<&String>, Option<&String>), Path> = BTreeMap::new();
    for (name, service) in &spec.services {
        for (index, route) in service.routes.iter().enumerate() {
            let place = at!["services", name, "routes", index];
            condition(route, &place, findings);
            if let Some(priority) = route.priority.filter(|priority| priorities.get(priority) > Some(&1)) {
                findings.value(
                    &place.child("priority"),
                    &[],
                    format!("{priority} is another route's priority too"),
                    "a number of its own; or none, then more precise patterns come first",
                );
            }
            if route.path.is_none() && route.host.is_none() {
                continue;
            }
            match first.get(&(route.host.as_ref(), route.path.as_ref())) {
                Some(other) => findings.value(
                    &place,
                    &[
                        other.clone(),
                        other.child("path"),
                        other.child("host"),
                        place.child("path"),
                        place.child("host"),
                    ],
                    format!("{other} already takes these requests"),
                    "another path or host",
                ),
                None => {
                    first.insert((route.host.as_ref(), route.path.as_ref()), place);
                }
            }
        }
    }
}

fn condition(route: &Route, place: &Path, findings: &mut Findings<'_>) {
    let parts = [place.child("path"), place.child("host")];
    if route.path.is_none() && route.host.is_none() {
        findings.value(
            place,
            &parts,
            "this route takes no requests",
            "a `path`, such as `/*` for all, a `host`, or both",
        );
    }
    let used =
        [&route.path, &route.host].into_iter().flatten().map(|pattern| wildcards(pattern)).sum::<usize>();
    if used > MOST_WILDCARDS {
        findings.value(
            place,
            &parts,
            format!("there are {used} wildcards in this route"),
            format!("at most {MOST_WILDCARDS} in path and host together"),
        );
    }
}
