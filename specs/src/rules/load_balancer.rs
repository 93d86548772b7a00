//! Rules for the load balancer and its routes.

use std::collections::BTreeMap;

use super::same_region;
use crate::checks::{WILDCARDS_MAX, wildcards};
use crate::findings::Findings;
use crate::path::{Path, at};
use crate::routes::is_dns_name;
use crate::{LoadBalancer, Route, Spec};

/// A security group has 60 inbound rules; each range needs two, for HTTPS and for the redirect.
const RANGES_MAX: usize = 30;
/// An ALB has 1000 targets, and during an update old and new tasks run together.
const TASKS_MAX: u32 = 500;

/// A certificate of ACM has 10 names (ACM, "Quotas").
const NAMES_MAX: usize = 10;

pub(super) fn check(spec: &Spec, findings: &mut Findings<'_>) {
    patterns(spec, findings);
    let Some(load_balancer) = &spec.load_balancer else { return };
    certificate(spec, load_balancer, findings);
    if let Some(arn) = &load_balancer.web_acl_arn {
        same_region(spec, &at!["loadBalancer", "webAclArn"], arn, findings);
    }
    hosts(spec, load_balancer, findings);
    ranges(load_balancer, findings);
    targets(spec, findings);
    if spec.routed_services().next().is_none() {
        let routes = spec.services.keys().map(|name| at!["services", name, "routes"]);
        let needs: Vec<Path> = routes.chain([at!["services"]]).collect();
        findings.value(
            &at!["loadBalancer"],
            &needs,
            "the load balancer has no targets: no service has `routes`",
            "`routes` in a service, or no `loadBalancer`",
        );
    }
}

/// Either a certificate, or a domain and a zone to request one. A domain beside a given certificate gets an alias record.
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
            "the load balancer has no certificate",
            "`certificateArn`, or `domain` and `hostedZoneId` to request a certificate",
        );
    } else if hosted_zone_id.is_none() {
        findings.value(
            &fields[1],
            &fields,
            "a certificate for the domain cannot be validated without a hosted zone",
            "`hostedZoneId` as well, or `certificateArn`",
        );
    }
    if domain.is_none() && hosted_zone_id.is_some() {
        findings.value(
            &fields[2],
            &fields,
            "the hosted zone has no use without a domain",
            "`domain` as well",
        );
    }
}

/// The certificate that Stackdrop requests has the domain and every host of a route.
fn hosts(spec: &Spec, load_balancer: &LoadBalancer, findings: &mut Findings<'_>) {
    if load_balancer.certificate_arn.is_some() || load_balancer.hosted_zone_id.is_none() {
        return;
    }
    let here = at!["loadBalancer"];
    let needs = [here.child("domain"), here.child("hostedZoneId")];
    let mut places = BTreeMap::new();
    for (name, service) in &spec.services {
        for (index, route) in service.routes.iter().enumerate() {
            if let Some(host) = &route.host {
                places.entry(host).or_insert_with(|| at!["services", name, "routes", index, "host"]);
            }
        }
    }
    for (host, place) in &places {
        if !is_dns_name(host) {
            findings.value(
                place,
                &needs,
                format!("a certificate cannot have the name `{host}`"),
                "a domain such as `api.example.com`, or `*.example.com`; or `loadBalancer.certificateArn` instead of a requested certificate",
            );
        }
    }
    let names = spec.hosts().len();
    if names > NAMES_MAX
        && let Some(place) = places.values().next()
    {
        findings.value(
            place,
            &needs,
            format!("the certificate would have {names} names: the domain and the hosts of the routes"),
            format!("at most {NAMES_MAX}; `*.example.com` covers all hosts with one more label"),
        );
    }
}

fn ranges(load_balancer: &LoadBalancer, findings: &mut Findings<'_>) {
    let here = at!["loadBalancer", "allowedCidrs"];
    let ranges = &load_balancer.allowed_cidrs;
    if ranges.is_empty() {
        findings.value(
            &here,
            &[],
            "no client can connect",
            "at least one range; or omit `allowedCidrs` to allow everyone",
        );
    }
    if ranges.len() > RANGES_MAX {
        let expected = format!("at most {RANGES_MAX}: each needs two of a security group's 60 rules");
        findings.value(&here, &[], format!("found {} ranges", ranges.len()), expected);
    }
    for (index, range) in ranges.iter().enumerate() {
        let place = here.child(index);
        if range.addr() != range.network() {
            findings.value(&place, &[], format!("`{range}` has host bits set"), range.trunc().to_string());
            continue;
        }
        for (other_index, other) in ranges.iter().enumerate() {
            let needs = [here.child(other_index)];
            if other == range && other_index < index {
                findings.value(&place, &needs, format!("duplicate range `{range}`"), "each range once");
            } else if other != range && other.contains(range) {
                findings.value(
                    &place,
                    &needs,
                    format!("`{other}` already contains this range"),
                    "only the larger range",
                );
            }
        }
    }
}

fn targets(spec: &Spec, findings: &mut Findings<'_>) {
    let tasks = spec.routed_services().map(|(_, service)| service.most_tasks()).fold(0, u32::saturating_add);
    if tasks > TASKS_MAX {
        let needs: Vec<Path> = spec.services.keys().map(|name| at!["services", name]).collect();
        findings.value(
            &at!["services"],
            &needs,
            format!("up to {tasks} tasks would be targets of the load balancer"),
            format!(
                "at most {TASKS_MAX}: half of an ALB's targets, because an update runs old and new tasks"
            ),
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
            start_page(spec, route, &place, findings);
            if let Some(priority) = route.priority.filter(|priority| priorities.get(priority) > Some(&1)) {
                findings.value(
                    &place.child("priority"),
                    &[],
                    format!("duplicate priority {priority}"),
                    "a unique number; or omit `priority`, then more precise patterns come first",
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
                    format!("{other} already matches these requests"),
                    "another path or host",
                ),
                None => {
                    first.insert((route.host.as_ref(), route.path.as_ref()), place);
                }
            }
        }
    }
}

/// The path `/` matches only the start page. That is rarely intended, unless another route gets all other requests.
fn start_page(spec: &Spec, route: &Route, place: &Path, findings: &mut Findings<'_>) {
    let gets_the_rest = |other: &Route| {
        other.path.as_deref().is_none_or(|path| path == "/*" || path == "*")
            && (other.host.is_none() || other.host == route.host)
    };
    let mut others = spec.services.values().flat_map(|service| &service.routes);
    if route.path.as_deref() == Some("/") && !others.any(gets_the_rest) {
        findings.value(
            &place.child("path"),
            &[],
            "the path `/` matches only the start page",
            "`/*` for all requests; or another route with `/*` for the rest",
        );
    }
}

fn condition(route: &Route, place: &Path, findings: &mut Findings<'_>) {
    let parts = [place.child("path"), place.child("host")];
    if route.path.is_none() && route.host.is_none() {
        findings.value(
            place,
            &parts,
            "the route matches no requests",
            "a `path` (such as `/*` for all requests), a `host`, or both",
        );
    }
    let used =
        [&route.path, &route.host].into_iter().flatten().map(|pattern| wildcards(pattern)).sum::<usize>();
    if used > WILDCARDS_MAX {
        findings.value(
            place,
            &parts,
            format!("found {used} wildcards in the route"),
            format!("at most {WILDCARDS_MAX} in path and host together"),
        );
    }
}
