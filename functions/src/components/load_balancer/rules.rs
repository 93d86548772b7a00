//! The HTTPS listener's rules: one for each route. A route is identified by its host and path; its service and priority can
//! be changed in place.
//!
//! No request that was answered before may be sent to a target group without healthy targets: while a service starts its
//! first tasks, its requests still go where they went. A rule that changes its service has both target groups, the new one
//! with the weight 0; a new rule comes after all others. ECS accepts such a group, and the load balancer checks its targets.
//! Once the services are stable, the component is applied again and shifts the requests. Nothing records this state: it
//! follows from the rules and from the health of the targets.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_elasticloadbalancingv2::types::{
    Action, ForwardActionConfig, HostHeaderConditionConfig, PathPatternConditionConfig, Rule,
    TargetGroupStickinessConfig,
};
use futures::future::{join_all, try_join_all};
use sha2::{Digest, Sha256};
use stackdrop_specs::RoutePlan;

use super::observed::{Group, Observed, Tagged, repair_tags};
use super::rule_calls::{create, delete, forward, forward_weighted, redirect, reorder};
use super::targets::Target;
use super::{Blocker, NAME, or_tag};
use crate::aws::error::StepError;
use crate::contract::component::Work;
use crate::deployment::plan::{Plan, Verb};

/// The maximum priority of a rule.
const PRIORITY_MAX: i32 = 50_000;
/// The maximum length of a logical ID. A tag's value has at most 256 characters; the tag `Name` contains the stack's name and
/// the logical ID.
const LOGICAL_ID_CHARACTERS_MAX: usize = 200;

/// A rule's conditions: host and path.
pub(super) type Conditions = (Option<String>, Option<String>);

/// The logical ID of a route's rule, such as `rule/any-host/api/_`. Tags allow fewer characters than patterns.
pub(super) fn logical_id(route: &Conditions) -> String {
    let (host, path) = (route.0.as_deref().unwrap_or("any-host"), route.1.as_deref().unwrap_or_default());
    let allowed: String = format!("rule/{host}{path}")
        .chars()
        .map(|each| if each.is_ascii_alphanumeric() || "+-=._:/@".contains(each) { each } else { '_' })
        .collect();
    if allowed.len() <= LOGICAL_ID_CHARACTERS_MAX {
        return allowed;
    }
    let digest = hex::encode(Sha256::digest(&allowed));
    format!("{}-{}", &allowed[..LOGICAL_ID_CHARACTERS_MAX - 9], &digest[..8])
}

pub(super) fn conditions_of_route(route: &RoutePlan) -> Conditions {
    (route.host.clone(), route.path.clone())
}

/// A rule's conditions; `None` if a route cannot have them.
fn conditions(rule: &Rule) -> Option<Conditions> {
    if !rule.transforms().is_empty() {
        return None;
    }
    let mut observed = (None, None);
    for condition in rule.conditions() {
        let (at, config) = match condition.field()? {
            "host-header" => {
                (&mut observed.0, condition.host_header_config().map(HostHeaderConditionConfig::values))
            }
            "path-pattern" => {
                (&mut observed.1, condition.path_pattern_config().map(PathPatternConditionConfig::values))
            }
            _ => return None,
        };
        let values = config.filter(|values| !values.is_empty()).unwrap_or_else(|| condition.values());
        let [value] = values else { return None };
        *at = Some(value.clone());
    }
    Some(observed)
}

fn priority(rule: &Rule) -> i32 {
    rule.priority().and_then(|priority| priority.parse().ok()).unwrap_or_default()
}

pub(super) fn arn(rule: &Rule) -> &str {
    rule.rule_arn().unwrap_or_default()
}

/// The weights of a rule's target groups, by ARN. Empty if the rule does something else.
fn weights(rule: &Rule) -> BTreeMap<&str, i32> {
    let [action] = rule.actions() else { return BTreeMap::new() };
    let Some(forward) = action.forward_config() else {
        return action.target_group_arn().map(|arn| (arn, 1)).into_iter().collect();
    };
    let groups = forward.target_groups().iter();
    groups.filter_map(|group| Some((group.target_group_arn()?, group.weight().unwrap_or(1)))).collect()
}

/// The target group's ARN, if a rule has no other group and binds no clients to it.
fn target(rule: &Rule) -> Option<&str> {
    let config = rule.actions().first().and_then(Action::forward_config);
    let sticky = config.and_then(ForwardActionConfig::target_group_stickiness_config);
    if sticky.and_then(TargetGroupStickinessConfig::enabled) == Some(true) {
        return None;
    }
    let mut groups = weights(rule).into_keys();
    groups.next().filter(|_| groups.next().is_none())
}

/// Whether a rule can send requests to this target group, with any weight.
pub(super) fn refers_to(rule: &Rule, group: &str) -> bool {
    let of_action = |action: &Action| {
        let groups = action.forward_config().map(ForwardActionConfig::target_groups).unwrap_or_default();
        action.target_group_arn() == Some(group)
            || groups.iter().any(|each| each.target_group_arn() == Some(group))
    };
    rule.actions().iter().any(of_action)
}

/// Describes where a rule sends requests.
fn describe(observed: &Observed, rule: &Rule) -> String {
    let weights = weights(rule);
    let name = |arn: &str| {
        let group = observed.groups.iter().find(|group| group.arn() == arn);
        group.map_or("another target group", |group| group.logical_id()).to_owned()
    };
    match weights.len() {
        0 => "another action".into(),
        1 => weights.keys().map(|arn| name(arn)).collect(),
        _ => weights
            .iter()
            .map(|(arn, weight)| format!("{} with the weight {weight}", name(arn)))
            .collect::<Vec<_>>()
            .join(" and "),
    }
}

/// The changes that make the rules match the routes.
#[derive(Debug, Default)]
struct Changes<'a> {
    /// The missing rules, with the priority at which they are created.
    create: Vec<(&'a RoutePlan, i32)>,
    /// The rules with another target group.
    redirect: Vec<(&'a Rule, &'a RoutePlan)>,
    /// The existing rules to keep, with their logical IDs.
    kept: Vec<(&'a Tagged<Rule>, String)>,
    /// The rules to move to another priority.
    moves: Vec<(&'a Rule, i32)>,
    /// The rules to delete.
    delete: Vec<&'a Rule>,
    /// The services that get requests of other target groups, and have no healthy target yet.
    awaited: BTreeSet<String>,
}

impl<'a> Changes<'a> {
    /// Compares rules with routes.
    ///
    /// No request may be routed wrongly for a moment. If the order changes, new rules are first created at priorities where
    /// they take no requests from others; then one call moves all rules; then the obsolete rules are deleted.
    fn find(observed: &'a Observed, routes: &'a [RoutePlan], groups: &BTreeMap<String, String>) -> Self {
        let mut changes = Self::default();
        let mut rest: Vec<&Tagged<Rule>> = observed.rules.iter().collect();
        let mut missing = Vec::new();
        for route in routes {
            let desired = Some(conditions_of_route(route));
            let Some(at) = rest.iter().position(|rule| conditions(&rule.detail) == desired) else {
                missing.push(route);
                continue;
            };
            let rule = rest.remove(at);
            changes.kept.push((rule, logical_id(&conditions_of_route(route))));
            if target(&rule.detail) != groups.get(&route.service).map(String::as_str) {
                changes.redirect.push((&rule.detail, route));
            }
            if priority(&rule.detail) != i32::from(route.priority) {
                changes.moves.push((&rule.detail, i32::from(route.priority)));
            }
        }
        changes.delete = rest.iter().map(|rule| &rule.detail).collect();
        changes.place(observed, routes, missing);
        changes
    }

    /// Finds the priorities of new rules, and moves obsolete rules out of the way.
    fn place(&mut self, observed: &'a Observed, routes: &'a [RoutePlan], missing: Vec<&'a RoutePlan>) {
        let desired: BTreeSet<i32> = routes.iter().map(|route| i32::from(route.priority)).collect();
        let blocking: Vec<&Rule> =
            self.delete.iter().copied().filter(|rule| desired.contains(&priority(rule))).collect();
        let mut free_priorities = free_priorities(observed, &desired).into_iter();
        let reordered = !self.moves.is_empty() || !blocking.is_empty();
        for route in missing {
            let at = i32::from(route.priority);
            let at = if reordered { free_priorities.next().unwrap_or(at) } else { at };
            self.create.push((route, at));
        }
        for rule in blocking {
            if let Some(at) = free_priorities.next() {
                self.moves.push((rule, at));
            }
        }
    }

    /// Leaves every request where it is sent now, if a service that would get it has no healthy target yet.
    fn hold_back(&mut self, work: &Work<'_>, observed: &'a Observed, groups: &BTreeMap<String, String>) {
        let is_ready = |service: &str| {
            let tasks = work.spec.services.get(service).map_or(0, stackdrop_specs::Service::most_tasks);
            tasks == 0 || observed.group(service).is_some_and(|group| is_ready(work, group))
        };
        let last = all_rules(observed).map(priority).max().unwrap_or(0);
        let redirected = self.redirect.iter().filter(|(rule, route)| {
            groups.get(&route.service).is_some_and(|group| sends_elsewhere(rule, group))
        });
        // A rule that comes last takes no requests from others.
        let created = self.create.iter().filter(|(route, _)| i32::from(route.priority) <= last);
        let routes = redirected.map(|(_, route)| *route).chain(created.map(|(route, _)| *route));
        let raised = self.moves.iter().filter(|(rule, to)| *to < priority(rule));
        let raised = raised.filter_map(|(rule, _)| observed.service_of(weights(rule).into_keys().next()?));
        let services = routes.map(|route| route.service.as_str()).chain(raised);
        self.awaited = services.filter(|service| !is_ready(service)).map(str::to_owned).collect();
        if self.awaited.is_empty() {
            return;
        }
        let desired = work.spec.routes().iter().map(|route| i32::from(route.priority)).collect();
        let free_priorities = free_priorities(observed, &desired);
        for ((_, at), free) in self.create.iter_mut().zip(free_priorities) {
            *at = free;
        }
        self.moves.clear();
        self.delete.clear();
    }
}

/// Whether requests that are sent to a group are answered. Once all services are stable, a group without targets belongs to
/// a service without tasks.
fn is_ready(work: &Work<'_>, group: &Group) -> bool {
    let is_idle = work.deployment.is_stable() && group.targets.iter().all(Target::is_draining);
    group.has_healthy_target() || is_idle
}

/// Whether a rule sends requests to another target group than this one.
fn sends_elsewhere(rule: &Rule, group: &str) -> bool {
    weights(rule).iter().any(|(arn, weight)| *arn != group && *weight > 0)
}

fn all_rules(observed: &Observed) -> impl Iterator<Item = &Rule> {
    observed.rules.iter().map(|rule| &rule.detail).chain(&observed.not_owned_rules)
}

/// The priorities that no rule has and no route needs, highest first.
fn free_priorities(observed: &Observed, desired: &BTreeSet<i32>) -> Vec<i32> {
    let taken: BTreeSet<i32> = all_rules(observed).map(priority).chain(desired.iter().copied()).collect();
    (1..=PRIORITY_MAX).rev().filter(|priority| !taken.contains(priority)).take(taken.len() + 1).collect()
}

/// The rules of others that have one of the priorities that the routes need.
pub(super) fn blockers(work: &Work<'_>, observed: &Observed) -> Vec<Blocker> {
    let desired: BTreeSet<i32> = work.spec.routes().iter().map(|route| i32::from(route.priority)).collect();
    let not_owned = observed.not_owned_rules.iter().filter(|rule| desired.contains(&priority(rule)));
    not_owned
        .map(|rule| Blocker::NotOwned {
            resource: "rule".into(),
            what: format!("listener rule {} with priority {}", arn(rule), priority(rule)),
            fix: or_tag(
                work,
                "delete the rule, give it another priority, or set `priority` in the spec's routes",
            ),
        })
        .collect()
}

pub(super) fn plan(work: &Work<'_>, observed: &Observed, plan: &mut Plan) {
    let groups = observed.groups.iter();
    let groups = groups.filter_map(|group| Some((group.service.clone()?, group.arn().to_owned()))).collect();
    let routes = work.spec.routes();
    let changes = Changes::find(observed, &routes, &groups);
    for (rule, logical_id) in &changes.kept {
        plan.tags(&work.stack, NAME, logical_id, &rule.tags);
    }
    for (rule, route) in changes.redirect {
        let actual = describe(observed, rule);
        plan.update(&logical_id(&conditions_of_route(route)), "service", actual, &route.service);
    }
    for (rule, to) in changes.moves {
        if !changes.delete.iter().any(|obsolete| arn(obsolete) == arn(rule)) {
            plan.update(&logical_id(&conditions(rule).unwrap_or_default()), "priority", priority(rule), to);
        }
    }
    for (route, _) in changes.create {
        plan.change(Verb::Create, logical_id(&conditions_of_route(route)));
    }
    for rule in changes.delete {
        plan.change(Verb::Delete, logical_id(&conditions(rule).unwrap_or_default()));
    }
    warn_of_others(observed, plan);
}

/// Names the rules of others: they may take requests from the stack's services.
fn warn_of_others(observed: &Observed, plan: &mut Plan) {
    for rule in &observed.not_owned_rules {
        plan.warn(
            "rule",
            format!(
                "listener rule {} with priority {} is not managed by this stack, and may take requests from its services",
                arn(rule),
                priority(rule)
            ),
            "delete the rule, unless it is intended",
        );
    }
}

/// Creates, changes and deletes rules. Returns whether requests are held back until the services are stable.
pub(super) async fn apply(
    work: &Work<'_>,
    observed: &Observed,
    listener: &str,
    groups: &BTreeMap<String, String>,
) -> Result<bool, StepError> {
    let routes = work.spec.routes();
    let mut changes = Changes::find(observed, &routes, groups);
    changes.hold_back(work, observed, groups);
    if work.deployment.is_stable() && !changes.awaited.is_empty() {
        return Err(without_healthy_targets(observed, &changes.awaited));
    }
    let target = |route: &RoutePlan| {
        let group = groups.get(&route.service);
        group.ok_or_else(|| StepError::Defect(format!("service {} has no target group", route.service)))
    };
    let (created, redirected, tagged) = tokio::join!(
        join_all(
            changes.create.iter().map(async |(route, at)| {
                create(work, listener, route, *at, forward(target(route)?)).await
            })
        ),
        join_all(changes.redirect.iter().map(async |(rule, route)| {
            let group = target(route)?;
            let held_back = changes.awaited.contains(route.service.as_str()) && sends_elsewhere(rule, group);
            if !held_back {
                return redirect(work, rule, route, forward(group)).await;
            }
            let weights = weights(rule);
            if weights.get(group.as_str()) == Some(&0) {
                return Ok(());
            }
            let others = weights.into_iter().filter(|(arn, weight)| arn != group && *weight > 0);
            redirect(work, rule, route, forward_weighted(others.chain([(group.as_str(), 0)]))).await
        })),
        join_all(changes.kept.iter().map(async |(rule, logical_id)| {
            repair_tags(work, arn(&rule.detail), logical_id, &rule.tags).await
        })),
    );
    for done in created.into_iter().chain(redirected).chain(tagged) {
        done?;
    }
    if !changes.moves.is_empty() {
        if !changes.create.is_empty() {
            return Err(StepError::stalled(
                "the new listener rules to become visible, before all rules are reordered at once",
            ));
        }
        reorder(work, &changes.moves).await?;
    }
    try_join_all(changes.delete.iter().map(|rule| delete(work, rule))).await?;
    Ok(!changes.awaited.is_empty())
}

/// The services are stable, but one of them has no healthy target.
fn without_healthy_targets(observed: &Observed, services: &BTreeSet<String>) -> StepError {
    let targets =
        services.iter().filter_map(|service| observed.group(service)).flat_map(|group| &group.targets);
    let why: Vec<String> = targets.map(Target::described).collect();
    let services: Vec<&str> = services.iter().map(String::as_str).collect();
    StepError::stalled_because(
        format!("the target groups of {} to have healthy targets", services.join(", ")),
        format!("{}. Their requests still go where they went before.", why.join(", ")),
    )
}

#[cfg(test)]
mod tests {
    use aws_sdk_elasticloadbalancingv2::types::{ActionTypeEnum, RuleCondition, TargetGroupTuple};

    use super::*;

    #[test]
    fn logical_ids_fit_into_tags_with_the_stacks_name_before_them() {
        assert_eq!(logical_id(&(None, Some("/api/*".into()))), "rule/any-host/api/_");
        assert_eq!(logical_id(&(Some("*.example.com".into()), None)), "rule/_.example.com");
        let long = "/a".repeat(64);
        let (one, other) = (Some("b".repeat(128)), Some("b".repeat(127) + "c"));
        let logical_ids = [logical_id(&(one, Some(long.clone()))), logical_id(&(other, Some(long)))];
        assert_ne!(logical_ids[0], logical_ids[1]);
        assert!(
            logical_ids.iter().all(|logical_id| logical_id.len() == LOGICAL_ID_CHARACTERS_MAX),
            "{logical_ids:?}"
        );
    }

    #[test]
    fn a_rule_with_several_targets_has_no_single_target() {
        let group = |arn: &str| TargetGroupTuple::builder().target_group_arn(arn).weight(1).build();
        let forward = |config: ForwardActionConfig| {
            let action = Action::builder().r#type(ActionTypeEnum::Forward).forward_config(config).build();
            Rule::builder().actions(action).build()
        };
        let one = ForwardActionConfig::builder().target_groups(group("one"));
        assert_eq!(target(&forward(one.clone().build())), Some("one"));
        let two = forward(one.target_groups(group("two")).build());
        assert_eq!(target(&two), None);
        assert!(refers_to(&two, "two") && sends_elsewhere(&two, "two"));
        assert!(!refers_to(&two, "three"));
        // A group with the weight 0 gets no requests.
        let waiting = TargetGroupTuple::builder().target_group_arn("three").weight(0).build();
        let config = ForwardActionConfig::builder().target_groups(group("one")).target_groups(waiting);
        let prepared = forward(config.build());
        assert!(!sends_elsewhere(&prepared, "one") && sends_elsewhere(&prepared, "three"));
    }

    #[test]
    fn a_rule_with_conditions_that_no_route_has_matches_none() {
        let hosts = |names: &[&str]| {
            let names = names.iter().map(|name| (*name).to_owned()).collect();
            let config = HostHeaderConditionConfig::builder().set_values(Some(names)).build();
            RuleCondition::builder().field("host-header").host_header_config(config).build()
        };
        // The form without a configuration, which older tools use.
        let path = || RuleCondition::builder().field("path-pattern").values("/api/*").build();
        let query = || RuleCondition::builder().field("query-string").build();
        let ours = (Some("a.example.com".to_owned()), Some("/api/*".to_owned()));
        for (given, expected) in [
            (vec![hosts(&["a.example.com"]), path()], Some(ours)),
            (vec![path()], Some((None, Some("/api/*".to_owned())))),
            (vec![hosts(&["a.example.com", "b.example.com"])], None),
            (vec![path(), query()], None),
        ] {
            let rule = Rule::builder().set_conditions(Some(given)).build();
            assert_eq!(conditions(&rule), expected, "{rule:?}");
        }
    }
}
