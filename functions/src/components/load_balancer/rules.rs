//! The HTTPS listener's rules: one for each route. A route is identified by its host and path; its service and priority can
//! be changed in place.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_elasticloadbalancingv2::types::{
    Action, ActionTypeEnum, HostHeaderConditionConfig, PathPatternConditionConfig, Rule, RuleCondition,
    RulePriorityPair, TargetGroupStickinessConfig,
};
use futures::future::{join_all, try_join_all};
use sha2::{Digest, Sha256};
use stackdrop_specs::RoutePlan;

use super::observed::{ABSENT, Observed, Tagged, elb_tags, repair_tags};
use super::{Blocker, NAME};
use crate::aws::error::{AwsResult, StepError};
use crate::contract::component::Work;
use crate::deployment::plan::{Plan, Verb};

/// The maximum priority of a rule.
const PRIORITY_MAX: i32 = 50_000;
/// The maximum length of a logical ID. A tag's value has at most 256 characters; the tag `Name` contains the stack's name and
/// the logical ID.
const LOGICAL_ID_CHARACTERS_MAX: usize = 200;

/// A rule's conditions: host and path.
type Conditions = (Option<String>, Option<String>);

/// The logical ID of a route's rule, such as `rule/any-host/api/_`. Tags allow fewer characters than patterns.
fn logical_id(route: &Conditions) -> String {
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

fn conditions_of_route(route: &RoutePlan) -> Conditions {
    (route.host.clone(), route.path.clone())
}

/// A rule's conditions; `None` if a route cannot have them.
fn conditions(rule: &Rule) -> Option<Conditions> {
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

fn arn(rule: &Rule) -> &str {
    rule.rule_arn().unwrap_or_default()
}

/// The target group's ARN, if a rule sends all requests to one group.
pub(super) fn target(rule: &Rule) -> Option<&str> {
    let [action] = rule.actions() else { return None };
    if let Some(forward) = action.forward_config() {
        let sticky = forward.target_group_stickiness_config().and_then(TargetGroupStickinessConfig::enabled);
        return match forward.target_groups() {
            [group] if sticky != Some(true) => group.target_group_arn(),
            _ => None,
        };
    }
    action.target_group_arn()
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
}

/// Compares rules with routes.
///
/// No request may be routed wrongly for a moment. If the order changes, new rules are first created at priorities where they
/// take no requests from others; then one call moves all rules; then the obsolete rules are deleted.
fn changes<'a>(
    observed: &'a Observed,
    routes: &'a [RoutePlan],
    groups: &BTreeMap<String, String>,
) -> Changes<'a> {
    let mut changes = Changes::default();
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
    let desired: BTreeSet<i32> = routes.iter().map(|route| i32::from(route.priority)).collect();
    let blocking: Vec<&Rule> =
        changes.delete.iter().copied().filter(|rule| desired.contains(&priority(rule))).collect();
    let taken = observed.rules.iter().map(|rule| &rule.detail).chain(&observed.not_owned_rules).map(priority);
    let taken: BTreeSet<i32> = taken.chain(desired).collect();
    let mut free_priorities = (1..=PRIORITY_MAX).rev().filter(|priority| !taken.contains(priority));
    let reordered = !changes.moves.is_empty() || !blocking.is_empty();
    for route in missing {
        let at = i32::from(route.priority);
        let at = if reordered { free_priorities.next().unwrap_or(at) } else { at };
        changes.create.push((route, at));
    }
    for rule in blocking {
        if let Some(at) = free_priorities.next() {
            changes.moves.push((rule, at));
        }
    }
    changes
}

/// The rules of others that have one of the priorities that the routes need.
pub(super) fn blockers(work: &Work<'_>, observed: &Observed) -> Vec<Blocker> {
    let desired: BTreeSet<i32> = work.spec.routes().iter().map(|route| i32::from(route.priority)).collect();
    let not_owned = observed.not_owned_rules.iter().filter(|rule| desired.contains(&priority(rule)));
    not_owned
        .map(|rule| Blocker::NotOwned {
            resource: "rule".into(),
            what: format!("listener rule {} with priority {}", arn(rule), priority(rule)),
            fix: "delete the rule, give it another priority, or set `priority` in the spec's routes".into(),
        })
        .collect()
}

pub(super) fn plan(work: &Work<'_>, observed: &Observed, plan: &mut Plan) {
    let groups = observed.groups.iter();
    let groups = groups.filter_map(|group| Some((group.service.clone()?, group.arn().to_owned()))).collect();
    let routes = work.spec.routes();
    let changes = changes(observed, &routes, &groups);
    for (rule, logical_id) in &changes.kept {
        plan.tags(&work.stack, NAME, logical_id, &rule.tags);
    }
    for (rule, route) in changes.redirect {
        let actual = target(rule).and_then(|arn| observed.groups.iter().find(|group| group.arn() == arn));
        let actual = actual.map_or("another target", |group| group.logical_id());
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
}

pub(super) async fn apply(
    work: &Work<'_>,
    observed: &Observed,
    listener: &str,
    groups: &BTreeMap<String, String>,
) -> Result<(), StepError> {
    let routes = work.spec.routes();
    let changes = changes(observed, &routes, groups);
    let target = |route: &RoutePlan| {
        let group = groups.get(&route.service).cloned();
        group.ok_or_else(|| StepError::Defect(format!("service {} has no target group", route.service)))
    };
    let (created, redirected, tagged) = tokio::join!(
        join_all(
            changes
                .create
                .iter()
                .map(async |(route, at)| { create(work, listener, route, *at, &target(route)?).await })
        ),
        join_all(
            changes
                .redirect
                .iter()
                .map(async |(rule, route)| { redirect(work, rule, route, &target(route)?).await })
        ),
        join_all(changes.kept.iter().map(async |(rule, logical_id)| {
            repair_tags(work, arn(&rule.detail), logical_id, &rule.tags).await
        })),
    );
    for done in created.into_iter().chain(redirected).chain(tagged) {
        done?;
    }
    if !changes.moves.is_empty() {
        if !changes.create.is_empty() {
            return Err(StepError::pending(
                "the new listener rules to become visible, before all rules are reordered at once",
            ));
        }
        reorder(work, &changes.moves).await?;
    }
    try_join_all(changes.delete.iter().map(|rule| delete(work, rule))).await.map(drop)
}

fn forward(group: &str) -> Action {
    Action::builder().r#type(ActionTypeEnum::Forward).target_group_arn(group).build()
}

async fn create(
    work: &Work<'_>,
    listener: &str,
    route: &RoutePlan,
    priority: i32,
    group: &str,
) -> Result<(), StepError> {
    let host = route.host.as_ref().map(|host| {
        let config = HostHeaderConditionConfig::builder().values(host).build();
        RuleCondition::builder().field("host-header").host_header_config(config).build()
    });
    let path = route.path.as_ref().map(|path| {
        let config = PathPatternConditionConfig::builder().values(path).build();
        RuleCondition::builder().field("path-pattern").path_pattern_config(config).build()
    });
    let logical_id = logical_id(&conditions_of_route(route));
    let call = work
        .aws
        .elb()
        .create_rule()
        .listener_arn(listener)
        .priority(priority)
        .set_conditions(Some(host.into_iter().chain(path).collect()))
        .actions(forward(group))
        .set_tags(Some(elb_tags(work.stack.tags(NAME, &logical_id))));
    // A priority is in use by an invisible rule if an earlier response was lost.
    let not_visible = [&ABSENT[..], &["PriorityInUse"]].concat();
    call.send().await.pending_on(
        &not_visible,
        "the listener and its rules to become visible",
        format!("creating listener rule {logical_id}"),
    )?;
    tracing::info!(logical_id, service = route.service, priority, "Listener rule created.");
    Ok(())
}

async fn redirect(work: &Work<'_>, rule: &Rule, route: &RoutePlan, group: &str) -> Result<(), StepError> {
    let call = work.aws.elb().modify_rule().rule_arn(arn(rule)).actions(forward(group)).send().await;
    let doing = format!("routing listener rule {} to service {}", arn(rule), route.service);
    call.pending_on(&ABSENT, "the target group to become visible", doing)?;
    tracing::info!(arn = arn(rule), service = route.service, "Listener rule routed to another service.");
    Ok(())
}

/// Moves all rules in one call, so that no request is routed by a partial order.
async fn reorder(work: &Work<'_>, moves: &[(&Rule, i32)]) -> Result<(), StepError> {
    let pairs = moves
        .iter()
        .map(|(rule, to)| RulePriorityPair::builder().rule_arn(arn(rule)).priority(*to).build())
        .collect();
    let call = work.aws.elb().set_rule_priorities().set_rule_priorities(Some(pairs)).send().await;
    call.pending_on(&ABSENT, "the listener rules to become visible", "reordering the listener rules")?;
    tracing::info!(count = moves.len(), "Listener rules reordered.");
    Ok(())
}

async fn delete(work: &Work<'_>, rule: &Rule) -> Result<(), StepError> {
    let arn = arn(rule);
    let call = work.aws.elb().delete_rule().rule_arn(arn).send().await;
    call.unless(&ABSENT).doing(format!("deleting listener rule {arn}"))?;
    tracing::info!(arn, "Listener rule deleted.");
    Ok(())
}

#[cfg(test)]
mod tests {
    use aws_sdk_elasticloadbalancingv2::types::{ForwardActionConfig, TargetGroupTuple};

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
        assert_eq!(target(&forward(one.target_groups(group("two")).build())), None);
    }
}
