//! The listener's rules, which route requests to services, with their priorities.
//!
//! A user writes patterns; the order in which the load balancer evaluates them follows from their precision.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::{Service, Spec};

/// The first automatic priority. Users can write lower priorities, which are evaluated earlier.
const FIRST_AUTOMATIC: u16 = 1000;
/// The largest priority that a listener rule can have (`CreateRule`, `Priority`).
pub(crate) const LAST_PRIORITY: u16 = 50_000;

/// One desired listener rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct RoutePlan {
    /// Unique in the stack; lower priorities are evaluated first.
    pub priority: u16,
    /// The service that receives the requests.
    pub service: String,
    /// The path pattern, if there is one.
    pub path: Option<String>,
    /// The host pattern, if there is one.
    pub host: Option<String>,
}

/// Whether a host pattern is a name that a certificate and a DNS record can have: a domain, or `*.` before one.
#[must_use]
pub fn is_dns_name(host: &str) -> bool {
    let domain = host.strip_prefix("*.").unwrap_or(host);
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.contains(['*', '?'])
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    domain.contains('.') && domain.split('.').all(is_label)
}

impl Service {
    /// Whether the service receives no requests from the load balancer.
    #[must_use]
    pub fn is_worker(&self) -> bool {
        self.routes.is_empty()
    }

    /// The largest number of tasks that can run together, not counting those of an update.
    #[must_use]
    pub fn most_tasks(&self) -> u32 {
        self.scaling.as_ref().map_or(self.count, |scaling| scaling.max.max(self.count))
    }

    /// Whether a variable has a value of the stack's database.
    #[must_use]
    pub fn uses_database(&self) -> bool {
        !self.database.is_empty()
    }
}

impl Spec {
    /// Every route of every service with its final priority, in the order of evaluation.
    ///
    /// Priorities of the user are kept. The other routes get 1000, 1001, …, more precise patterns first: a route whose
    /// requests are all matched by another route too comes before that route. The result depends only on the spec.
    #[must_use]
    pub fn routes(&self) -> Vec<RoutePlan> {
        let all = self.services.iter().flat_map(|(name, service)| {
            service.routes.iter().map(move |route| RoutePlan {
                priority: route.priority.unwrap_or(0),
                service: name.clone(),
                path: route.path.clone(),
                host: route.host.clone(),
            })
        });
        let (mut routes, mut automatic): (Vec<_>, Vec<_>) = all.partition(|route| route.priority != 0);
        let taken: BTreeSet<u16> = routes.iter().map(|route| route.priority).collect();
        automatic.sort_by_cached_key(precision);
        let free = (FIRST_AUTOMATIC..=LAST_PRIORITY).filter(|priority| !taken.contains(priority));
        routes
            .extend(automatic.into_iter().zip(free).map(|(route, priority)| RoutePlan { priority, ..route }));
        routes.sort();
        routes
    }

    /// The names under which users reach the load balancer: its domain, and the hosts of the routes. Each once, the domain
    /// first.
    #[must_use]
    pub fn hosts(&self) -> Vec<&str> {
        let domain = self.load_balancer.as_ref().and_then(|load_balancer| load_balancer.domain.as_deref());
        let routes = self.services.values().flat_map(|service| &service.routes);
        let others: BTreeSet<&str> = routes.filter_map(|route| route.host.as_deref()).collect();
        domain.into_iter().chain(others.into_iter().filter(|host| Some(*host) != domain)).collect()
    }

    /// The services that the load balancer sends requests to, by name.
    pub fn routed_services(&self) -> impl Iterator<Item = (&String, &Service)> {
        self.services.iter().filter(|(_, service)| !service.is_worker())
    }

    /// The container ports that the load balancer connects to.
    #[must_use]
    pub fn container_ports(&self) -> BTreeSet<u16> {
        self.routed_services().filter_map(|(_, service)| service.port).collect()
    }

    /// How often the user sets each priority.
    pub(crate) fn set_priorities(&self) -> BTreeMap<u16, usize> {
        let mut uses = BTreeMap::new();
        for priority in self.services.values().flat_map(|service| &service.routes).filter_map(|r| r.priority)
        {
            *uses.entry(priority).or_default() += 1;
        }
        uses
    }
}

/// Orders routes by precision, most precise first: by host, then by path; names make the order total.
fn precision(route: &RoutePlan) -> (PatternOrder, PatternOrder, String) {
    (pattern_order(route.host.as_deref()), pattern_order(route.path.as_deref()), route.service.clone())
}

/// Smaller means earlier evaluation.
type PatternOrder = (u8, Reverse<usize>, Reverse<usize>, Reverse<usize>, usize, String);

/// If B matches everything that pattern A matches, and more, A is smaller.
///
/// Proof: A's text before its first wildcard is at least as long as B's (A's matches vary after it, so B must
/// too); then A has at least as many literal characters, then at least as many `?`, then no more `*`.
fn pattern_order(pattern: Option<&str>) -> PatternOrder {
    let Some(pattern) = pattern else { return (2, Reverse(0), Reverse(0), Reverse(0), 0, String::new()) };
    let wildcard = |c: char| c == '*' || c == '?';
    let prefix = pattern.chars().take_while(|c| !wildcard(*c)).count();
    let literals = pattern.chars().filter(|c| !wildcard(*c)).count();
    let singles = pattern.chars().filter(|c| *c == '?').count();
    let stars = pattern.chars().filter(|c| *c == '*').count();
    (
        u8::from(stars + singles > 0),
        Reverse(prefix),
        Reverse(literals),
        Reverse(singles),
        stars,
        pattern.to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// All texts of up to five characters of a small alphabet that a pattern matches.
    fn matches(pattern: &str) -> BTreeSet<String> {
        let mut texts = vec![String::new()];
        for length in 0..5 {
            let longer: Vec<_> = texts
                .iter()
                .filter(|text| text.len() == length)
                .flat_map(|text| ["a", "b", "c"].map(|letter| format!("{text}{letter}")))
                .collect();
            texts.extend(longer);
        }
        texts.into_iter().filter(|text| glob(pattern.as_bytes(), text.as_bytes())).collect()
    }

    fn glob(pattern: &[u8], text: &[u8]) -> bool {
        match (pattern, text) {
            ([], rest) => rest.is_empty(),
            ([b'*', more @ ..], _) => (0..=text.len()).any(|skipped| glob(more, &text[skipped..])),
            ([b'?', more @ ..], [_, rest @ ..]) => glob(more, rest),
            ([c, more @ ..], [d, rest @ ..]) if c == d => glob(more, rest),
            _ => false,
        }
    }

    proptest! {
        // No pattern contains the letter `c`, so a character matched by a wildcard differs from every literal.
        #[test]
        fn a_pattern_that_matches_less_is_evaluated_first(one in "[ab*?]{1,4}", two in "[ab*?]{1,4}") {
            prop_assume!(!one.contains("**") && !two.contains("**"));
            let (first, second) = (matches(&one), matches(&two));
            if first != second && first.is_subset(&second) && !first.is_empty() {
                prop_assert!(pattern_order(Some(&one)) < pattern_order(Some(&two)), "{} {}", one, two);
            }
        }
    }

    #[test]
    fn the_load_balancer_connects_to_the_ports_of_services_with_routes() {
        let spec: Spec = serde_json::from_value(serde_json::json!({
            "stack": "shop",
            "services": {
                "web": { "image": "web", "port": 80, "routes": [{ "path": "/*" }] },
                "api": { "image": "api", "port": 8080, "routes": [{ "path": "/api/*" }] },
                "mail": { "image": "mail", "port": 25 },
            },
        }))
        .unwrap();
        assert_eq!(spec.container_ports(), BTreeSet::from([80, 8080]));
    }

    #[test]
    fn user_priorities_are_kept_and_other_routes_are_ordered_by_precision() {
        let spec: Spec = serde_json::from_value(serde_json::json!({
            "stack": "shop",
            "services": {
                "web": { "image": "web", "routes": [{ "path": "/*" }, { "path": "/login" }, { "path": "/old/*", "priority": 1001 }] },
                "api": { "image": "api", "routes": [{ "path": "/api/*" }, { "host": "api.example.com" }, { "host": "*.example.com", "path": "/api/*" }] },
                "mail": { "image": "mail" },
            },
        }))
        .unwrap();
        let listing: Vec<String> = spec
            .routes()
            .iter()
            .map(|route| {
                let shown = |pattern: &Option<String>| pattern.clone().unwrap_or("-".into());
                format!("{} {} {} {}", route.priority, route.service, shown(&route.host), shown(&route.path))
            })
            .collect();
        insta::assert_snapshot!(listing.join("\n"), @"
        1000 api api.example.com -
        1001 web - /old/*
        1002 api *.example.com /api/*
        1003 web - /login
        1004 api - /api/*
        1005 web - /*
        ");
    }
}
