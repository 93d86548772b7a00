//! The HTTPS listener's rules: one a route. A route is known by its host and path; its service and its priority can
//! change in place.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_elasticloadbalancingv2::types::{
    Action, ActionTypeEnum, HostHeaderConditionConfig, PathPatternConditionConfig, Rule, RuleCondition,
    RulePriorityPair, TargetGroupStickinessConfig,
};
use futures::future::{join_all, try_join_all};
use sha2::{Digest, Sha256};
use stackdrop_specs::RoutePlan;

use super::observed::{ABSENT, Observed, Tagged, elb_tags, keep_tags};
use super::{NAME, Obstacle};
use crate::aws::error::{Answer, StepError};
use crate::contract::component::Work;
use crate::deployment::plan::{Plan, Verb};

/// The largest priority that a rule can have.
const LAST_PRIORITY: i32 = 50_000;
/// The longest logical ID: a tag's value has at most 256 characters, and the resource's name is one, with the stack's
/// before it.
const LONGEST_ROLE: usize = 200;

/// What AWS takes as a rule's conditions, as text: its host and its path.
type Conditions = (Option<String>, Option<String>);

/// The logical ID of a route's rule, such as `rule/any-host/api/_`. A tag takes fewer characters than a pattern has.
fn logical_id(route: &Conditions) -> String {
    let (host, path) = (route.0.as_deref().unwrap_or("any-host"), route.1.as_deref().unwrap_or_default());
    let plain: String = format!("rule/{host}{path}")
        .chars()
        .map(|each| if each.is_ascii_alphanumeric() || "+-=._:/@".contains(each) { each } else { '_' })
        .collect();
    if plain.len() <= LONGEST_ROLE {
        return plain;
    }
    let digest = hex::encode(Sha256::digest(&plain));
    format!("{}-{}", &plain[..LONGEST_ROLE - 9], &digest[..8])
}

fn conditions_of_route(route: &RoutePlan) -> Conditions {
    (route.host.clone(), route.path.clone())
}

/// A rule's conditions; nothing when they are not such as a route has.
fn conditions(rule: &Rule) -> Option<Conditions> {
    let mut observed = (None, None);
    for condition in rule.conditions() {
        let (place, config) = match condition.field()? {
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
        *place = Some(value.clone());
    }
    Some(observed)
}

fn priority(rule: &Rule) -> i32 {
    rule.priority().and_then(|priority| priority.parse().ok()).unwrap_or_default()
}

fn arn(rule: &Rule) -> &str {
    rule.rule_arn().unwrap_or_default()
}

/// The one target group that a rule sends all its requests to.
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

/// What is to be done so that the rules are as the routes say.
#[derive(Debug, Default)]
struct Changes<'a> {
    /// Missing ones, with the priority at which they are created.
    create: Vec<(&'a RoutePlan, i32)>,
    /// Those that send requests elsewhere.
    redirect: Vec<(&'a Rule, &'a RoutePlan)>,
    /// Those that stand, with their roles.
    kept: Vec<(&'a Tagged<Rule>, String)>,
    /// Those that get another priority.
    moves: Vec<(&'a Rule, i32)>,
    /// Superfluous ones.
    remove: Vec<&'a Rule>,
}

/// Compares rules with routes.
///
/// Nothing that is routed well may be missed for a moment. So, when the order changes, new rules are first put
/// where they take no request from another; then one call gives every rule its place; then what is superfluous goes.
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
    changes.remove = rest.iter().map(|rule| &rule.detail).collect();
    let desired: BTreeSet<i32> = routes.iter().map(|route| i32::from(route.priority)).collect();
    let in_the_way: Vec<&Rule> =
        changes.remove.iter().copied().filter(|rule| desired.contains(&priority(rule))).collect();
    let taken = observed.rules.iter().map(|rule| &rule.detail).chain(&observed.not_owned_rules).map(priority);
    let taken: BTreeSet<i32> = taken.chain(desired).collect();
    let mut out_of_the_way = (1..=LAST_PRIORITY).rev().filter(|priority| !taken.contains(priority));
    let reordered = !changes.moves.is_empty() || !in_the_way.is_empty();
    for route in missing {
        let place = i32::from(route.priority);
        let place = if reordered { out_of_the_way.next().unwrap_or(place) } else { place };
        changes.create.push((route, place));
    }
    for rule in in_the_way {
        if let Some(place) = out_of_the_way.next() {
            changes.moves.push((rule, place));
        }
    }
    changes
}

/// Rules of somebody else that have one of our priorities.
pub(super) fn obstacles(work: &Work<'_>, observed: &Observed) -> Vec<Obstacle> {
    let desired: BTreeSet<i32> = work.spec.routes().iter().map(|route| i32::from(route.priority)).collect();
    let not_owned = observed.not_owned_rules.iter().filter(|rule| desired.contains(&priority(rule)));
    not_owned
        .map(|rule| Obstacle::NotOwned {
            resource: "rule".into(),
            what: format!("the listener rule {} with priority {}", arn(rule), priority(rule)),
            fix: "delete it, give it another priority, or set `priority` in the spec's routes".into(),
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
        let now = target(rule).and_then(|arn| observed.groups.iter().find(|group| group.arn() == arn));
        let now = now.map_or("elsewhere", |group| group.logical_id());
        plan.update(&logical_id(&conditions_of_route(route)), "service", now, &route.service);
    }
    for (rule, to) in changes.moves {
        if !changes.remove.iter().any(|superfluous| arn(superfluous) == arn(rule)) {
            plan.update(&logical_id(&conditions(rule).unwrap_or_default()), "priority", priority(rule), to);
        }
    }
    for (route, _) in changes.create {
        plan.change(Verb::Create, logical_id(&conditions_of_route(route)));
    }
    for rule in changes.remove {
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
            keep_tags(work, arn(&rule.detail), logical_id, &rule.tags).await
        })),
    );
    for done in created.into_iter().chain(redirected).chain(tagged) {
        done?;
    }
    if !changes.moves.is_empty() {
        if !changes.create.is_empty() {
            return Err(StepError::pending(
                "the new rules to be visible, so that all get their order at once",
            ));
        }
        reorder(work, &changes.moves).await?;
    }
    try_join_all(changes.remove.iter().map(|rule| delete(work, rule))).await.map(drop)
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
    // A priority in use that is not to be seen is that of a rule which a lost answer left.
    let late = [&ABSENT[..], &["PriorityInUse"]].concat();
    call.send().await.pending_on(
        &late,
        "the listener and its rules to be visible",
        format!("creating the {logical_id} of service {}", route.service),
    )?;
    tracing::info!(logical_id, service = route.service, priority, "Listener rule created.");
    Ok(())
}

async fn redirect(work: &Work<'_>, rule: &Rule, route: &RoutePlan, group: &str) -> Result<(), StepError> {
    let call = work.aws.elb().modify_rule().rule_arn(arn(rule)).actions(forward(group)).send().await;
    let doing = format!("leading {} to service {}", arn(rule), route.service);
    call.pending_on(&ABSENT, "the target group to be visible", doing)?;
    tracing::info!(arn = arn(rule), service = route.service, "Listener rule leads elsewhere.");
    Ok(())
}

/// All at once: no request meets half an order.
async fn reorder(work: &Work<'_>, moves: &[(&Rule, i32)]) -> Result<(), StepError> {
    let pairs = moves
        .iter()
        .map(|(rule, to)| RulePriorityPair::builder().rule_arn(arn(rule)).priority(*to).build())
        .collect();
    let call = work.aws.elb().set_rule_priorities().set_rule_priorities(Some(pairs)).send().await;
    call.pending_on(&ABSENT, "the rules to be visible", "ordering the listener's rules")?;
    tracing::info!(count = moves.len(), "Listener rules reordered.");
    Ok(())
}

async fn delete(work: &Work<'_>, rule: &Rule) -> Result<(), StepError> {
    let arn = arn(rule);
    let call = work.aws.elb().delete_rule().rule_arn(arn).send().await;
    call.unless(&ABSENT).doing(format!("deleting the listener rule {arn}"))?;
    tracing::info!(arn, "Listener rule deleted.");
    Ok(())
}

#[cfg(test)]
mod tests {
    use aws_sdk_elasticloadbalancingv2::types::{ForwardActionConfig, TargetGroupTuple};

    use super::*;

    #[test]
    fn roles_take_only_what_a_tag_may_hold_and_have_room_for_a_name_before_them() {
        assert_eq!(logical_id(&(None, Some("/api/*".into()))), "rule/any-host/api/_");
        assert_eq!(logical_id(&(Some("*.example.com".into()), None)), "rule/_.example.com");
        let long = "/a".repeat(64);
        let (one, other) = (Some("b".repeat(128)), Some("b".repeat(127) + "c"));
        let logical_ids = [logical_id(&(one, Some(long.clone()))), logical_id(&(other, Some(long)))];
        assert_ne!(logical_ids[0], logical_ids[1]);
        assert!(logical_ids.iter().all(|logical_id| logical_id.len() == LONGEST_ROLE), "{logical_ids:?}");
    }

    #[test]
    fn a_rule_that_shares_requests_out_or_holds_clients_leads_to_no_one_group() {
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
