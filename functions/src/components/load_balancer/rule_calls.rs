//! The calls that create, change and delete listener rules.

use aws_sdk_elasticloadbalancingv2::types::{
    Action, ActionTypeEnum, ForwardActionConfig, HostHeaderConditionConfig, PathPatternConditionConfig, Rule,
    RuleCondition, RulePriorityPair, TargetGroupTuple,
};
use stackdrop_specs::RoutePlan;

use super::NAME;
use super::observed::{ABSENT, elb_tags};
use super::rules::{arn, conditions_of_route, logical_id};
use crate::aws::error::{AwsResult, StepError};
use crate::contract::component::Work;

/// Sends all requests to one target group.
pub(super) fn forward(group: &str) -> Action {
    Action::builder().r#type(ActionTypeEnum::Forward).target_group_arn(group).build()
}

/// Sends requests to several target groups, by weight. A group with the weight 0 gets none.
pub(super) fn forward_weighted<'a>(weights: impl Iterator<Item = (&'a str, i32)>) -> Action {
    let groups = weights
        .map(|(arn, weight)| TargetGroupTuple::builder().target_group_arn(arn).weight(weight).build())
        .collect();
    let config = ForwardActionConfig::builder().set_target_groups(Some(groups)).build();
    Action::builder().r#type(ActionTypeEnum::Forward).forward_config(config).build()
}

pub(super) async fn create(
    work: &Work<'_>,
    listener: &str,
    route: &RoutePlan,
    priority: i32,
    action: Action,
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
        .actions(action)
        .set_tags(Some(elb_tags(work.stack.tags(NAME, &logical_id))));
    // A priority is in use by an invisible rule if an earlier response was lost.
    let not_visible = [&ABSENT[..], &["PriorityInUse"]].concat();
    call.send().await.stalled_on(
        &not_visible,
        "the listener and its rules to become visible",
        format!("creating listener rule {logical_id}"),
    )?;
    tracing::info!(logical_id, service = route.service, priority, "Listener rule created.");
    Ok(())
}

pub(super) async fn redirect(
    work: &Work<'_>,
    rule: &Rule,
    route: &RoutePlan,
    action: Action,
) -> Result<(), StepError> {
    let call = work.aws.elb().modify_rule().rule_arn(arn(rule)).actions(action).send().await;
    let doing = format!("routing listener rule {} to service {}", arn(rule), route.service);
    call.stalled_on(&ABSENT, "the target group to become visible", doing)?;
    tracing::info!(arn = arn(rule), service = route.service, "Listener rule changed.");
    Ok(())
}

/// Moves all rules in one call, so that no request is routed by a partial order.
pub(super) async fn reorder(work: &Work<'_>, moves: &[(&Rule, i32)]) -> Result<(), StepError> {
    let pairs = moves
        .iter()
        .map(|(rule, to)| RulePriorityPair::builder().rule_arn(arn(rule)).priority(*to).build())
        .collect();
    let call = work.aws.elb().set_rule_priorities().set_rule_priorities(Some(pairs)).send().await;
    call.stalled_on(&ABSENT, "the listener rules to become visible", "reordering the listener rules")?;
    tracing::info!(count = moves.len(), "Listener rules reordered.");
    Ok(())
}

pub(super) async fn delete(work: &Work<'_>, rule: &Rule) -> Result<(), StepError> {
    let arn = arn(rule);
    let call = work.aws.elb().delete_rule().rule_arn(arn).send().await;
    call.unless(&ABSENT).doing(format!("deleting listener rule {arn}"))?;
    tracing::info!(arn, "Listener rule deleted.");
    Ok(())
}
