//! Authorising, revoking and modifying security group rules.

use serde_json::{Value, json};

use super::group::Group;
use super::resource::{Resource, done, every, find, find_mut};
use super::rule::{self, Rule, Terms};
use super::tagging;
use crate::params::{Params, Refusal};
use crate::protocol::Reply;
use crate::services::quotas;
use crate::world::World;

fn rules_of<'w>(world: &'w World, group: &str, egress: bool) -> impl Iterator<Item = &'w Rule> {
    let group = group.to_owned();
    every::<Rule>(world).filter(move |rule| rule.group == group && rule.egress == egress)
}

pub(super) fn authorize(world: &mut World, params: &Params, egress: bool) -> Result<Reply, Refusal> {
    let group = params.required("GroupId")?;
    let rules = rule::read_permissions(&world.account, params)?;
    let tags = tagging::for_new(params, Rule::KIND)?;
    params.done()?;
    let vpc = find::<Group>(world, &group)?.vpc.clone();
    if rules.is_empty() {
        return Err(missing_permissions());
    }
    rule::check_peers(world, &vpc, &rules)?;
    // One duplicate refuses the whole call.
    if let Some(terms) =
        rules.iter().find(|terms| rules_of(world, &group, egress).any(|rule| terms.are_of(rule)))
    {
        return Err(duplicate(terms));
    }
    let count = (rules_of(world, &group, egress).count() + rules.len()).saturating_sub(1);
    if !rules.is_empty() && !quotas::has_room(world, quotas::RULES, count) {
        return Err(Refusal::new(
            "RulesPerSecurityGroupLimitExceeded",
            "The maximum number of rules per security group has been reached.",
        ));
    }
    let made: Vec<String> =
        rules.into_iter().map(|terms| rule::make(world, &group, egress, terms, tags.clone())).collect();
    let documents: Vec<Value> =
        made.iter().filter_map(|id| Some(world.states.ec2.rules.get(id)?.document(world))).collect();
    Ok(json!({ "return": true, "securityGroupRuleSet": documents }).into())
}

fn missing_permissions() -> Refusal {
    Refusal::new("MissingParameter", "The request must contain the parameter ipPermissions")
}

fn duplicate(terms: &Terms) -> Refusal {
    Refusal::new(
        "InvalidPermission.Duplicate",
        format!("the specified rule \"{}\" already exists", terms.shown()),
    )
}

pub(super) fn revoke(world: &mut World, params: &Params, egress: bool) -> Result<Reply, Refusal> {
    let group = params.required("GroupId")?;
    let ids = params.list("SecurityGroupRuleId");
    let rules = rule::read_permissions(&world.account, params)?;
    params.done()?;
    find::<Group>(world, &group)?;
    let revoked = match (ids.is_empty(), rules.is_empty()) {
        (true, true) => return Err(missing_permissions()),
        (false, false) => {
            return Err(Refusal::new(
                "InvalidParameterCombination",
                "The parameters securityGroupRuleIds and ipPermissions may not be used together",
            ));
        }
        (false, true) => by_id(world, &group, egress, &ids)?,
        (true, false) => by_terms(world, &group, egress, &rules)?,
    };
    let removed: Vec<Rule> = revoked.iter().filter_map(|id| world.states.ec2.rules.remove(id)).collect();
    let documents: Vec<Value> = removed
        .iter()
        .map(|rule| {
            let mut document = rule.document(world);
            // `RevokedSecurityGroupRule` in AWS's model names the group only, and has no ARN, owner and tags.
            document["referencedGroupId"] = rule.peer_group().into();
            for absent in ["referencedGroupInfo", "securityGroupRuleArn", "groupOwnerId", "tagSet"] {
                document[absent] = Value::Null;
            }
            document
        })
        .collect();
    Ok(json!({ "return": true, "revokedSecurityGroupRuleSet": documents }).into())
}

fn by_id(world: &World, group: &str, egress: bool, ids: &[String]) -> Result<Vec<String>, Refusal> {
    for id in ids {
        let rule = find::<Rule>(world, id)?;
        if rule.group != group || rule.egress != egress {
            return Err(Rule::KIND.not_found(id));
        }
    }
    Ok(ids.to_vec())
}

fn by_terms(world: &World, group: &str, egress: bool, rules: &[Terms]) -> Result<Vec<String>, Refusal> {
    rules
        .iter()
        .map(|terms| {
            rules_of(world, group, egress)
                .find(|rule| terms.are_of(rule))
                .map(|rule| rule.id().to_owned())
                .ok_or_else(|| {
                    Refusal::new(
                        "InvalidPermission.NotFound",
                        "The specified rule does not exist in this security group.",
                    )
                })
        })
        .collect()
}

pub(super) fn modify(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let group = params.required("GroupId")?;
    let mut changes = Vec::new();
    for update in params.structs("SecurityGroupRule") {
        let id = update.required("SecurityGroupRuleId")?;
        let rule = update.section("SecurityGroupRule").ok_or_else(|| {
            Refusal::new("MissingParameter", "The request must contain the parameter SecurityGroupRule")
        })?;
        changes.push((id, rule::read_single(&rule)?));
    }
    params.done()?;
    if changes.is_empty() {
        return Err(Refusal::new(
            "MissingParameter",
            "The request must contain the parameter SecurityGroupRules",
        ));
    }
    let vpc = find::<Group>(world, &group)?.vpc.clone();
    for (id, terms) in &changes {
        let rule = find::<Rule>(world, id)?;
        if rule.group != group {
            return Err(Rule::KIND.not_found(id));
        }
        // AWS: the type of a rule's source or destination cannot be changed.
        if std::mem::discriminant(&rule.peer) != std::mem::discriminant(&terms.peer) {
            return Err(Refusal::new(
                "InvalidParameterValue",
                format!("You may not change the type of the source or destination of the rule {id}"),
            ));
        }
        rule::check_peers(world, &vpc, std::slice::from_ref(terms))?;
        if rules_of(world, &group, rule.egress).any(|other| other.entity.id != *id && terms.are_of(other)) {
            return Err(duplicate(terms));
        }
    }
    for (id, terms) in changes {
        let rule = find_mut::<Rule>(world, &id)?;
        (rule.protocol, rule.from, rule.to) = (terms.protocol, terms.from, terms.to);
        (rule.peer, rule.description) = (terms.peer, terms.description);
    }
    Ok(done())
}
