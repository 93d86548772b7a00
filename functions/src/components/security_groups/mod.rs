//! The security groups: who may reach whom, on which port, and nobody else.

mod observed;
mod rules;

use std::collections::BTreeMap;

use aws_sdk_ec2::types::{IpPermission, ResourceType};

use crate::deployment::outputs::SecurityGroupOutputs;
use crate::deployment::component_names;
use crate::contract::component::{Component, Work};
use crate::deployment::deletion::Removal;
use crate::deployment::plan::{Plan, Verb};
use crate::aws::error::{Answer, StepError};
use crate::contract::dependents::holders;
use crate::contract::handler::{Function, act};
use crate::contract::quotas::{self, Need, RULES};
use crate::contract::tagging;
use crate::aws::join;
use observed::{Found, Owned, OwnedRule};
use rules::{Group, Rule};

/// The component's name.
pub const NAME: &str = component_names::SECURITY_GROUPS;

/// The function.
pub const FUNCTION: Function =
    Function::new(NAME, |payload, aws| Box::pin(act(&SecurityGroups, NAME, payload, aws)));

/// The security groups of a stack.
#[derive(Debug)]
pub struct SecurityGroups;

impl Component for SecurityGroups {
    type Outputs = SecurityGroupOutputs;

    async fn plan(&self, work: &Work<'_>) -> Result<Plan, StepError> {
        let found = Found::read(work).await?;
        let mut plan = Plan::default();
        for group in wanted_groups(work) {
            let role = group.role();
            check_count(work, &found, group, &mut plan).await?;
            let Some(owned) = found.get(group) else {
                plan.change(Verb::Create, role);
                continue;
            };
            plan.tags(&work.stack, NAME, role, &owned.tags);
            plan_rules(work, owned, &mut plan);
        }
        // They go when the deployment tidies up: their users come off only behind this component.
        for owned in unwanted(work, &found) {
            plan.change(Verb::Remove, owned.group.role());
        }
        for (group, id) in found.foreign.iter().filter(|(group, _)| group.is_wanted(work.spec)) {
            let name = work.stack.resource(group.role());
            plan.problem(group.role(), format!("{id} has the name {name} already"), fix(&name));
        }
        Ok(plan)
    }

    async fn ensure(&self, work: &Work<'_>) -> Result<SecurityGroupOutputs, StepError> {
        let vpc = &work.network()?.vpc;
        let mut found = Found::read(work).await?;
        found.groups.retain(|owned| owned.vpc == *vpc);
        let missing: Vec<Group> = wanted_groups(work).filter(|group| found.get(*group).is_none()).collect();
        if !missing.is_empty() {
            join::all(missing.iter().map(|group| create(work, vpc, *group))).await?;
            return Err(StepError::pending("the security groups to be visible"));
        }
        let differences: Vec<Difference<'_>> = wanted_groups(work)
            .filter_map(|group| found.get(group))
            .map(|owned| Difference::of(work, owned))
            .collect();
        // What is missing comes first: nobody who shall get through is ever shut out.
        join::all(differences.iter().map(|difference| difference.authorise(work, &found))).await?;
        join::all(differences.iter().map(|difference| difference.tidy(work))).await?;
        // Endpoints that the spec has no longer answer for their services' names until they are tidied up.
        if let Some(owned) = unwanted(work, &found).find(|owned| owned.group == Group::Endpoints) {
            Difference::of(work, owned).authorise(work, &found).await?;
        }
        Ok(found.outputs(work))
    }

    async fn settle(&self, work: &Work<'_>) -> Result<SecurityGroupOutputs, StepError> {
        work.groups().cloned()
    }

    async fn tidy(&self, work: &Work<'_>) -> Result<Removal, StepError> {
        let found = Found::read(work).await?;
        remove_unwanted(work, &found).await
    }

    async fn remove(&self, work: &Work<'_>) -> Result<Removal, StepError> {
        let found = Found::read(work).await?;
        let mut removal = Removal { found: found.groups.len(), left: Vec::new() };
        // Groups that name each other hold each other, so all such rules go before any group.
        join::all(found.groups.iter().map(|owned| {
            let rules = owned.cross_rules().map(|(rule, _)| (rule.id.as_str(), &rule.rule)).collect();
            revoke(work, &owned.id, rules)
        }))
        .await?;
        let deletions = found.groups.iter().map(async |owned| {
            let why = if delete(work, owned).await? { None } else { Some(held_by(work, &owned.id).await?) };
            Ok::<_, StepError>((owned, why))
        });
        for (owned, why) in join::all(deletions).await? {
            if let Some(why) = why {
                removal.leave(owned.group.role(), &owned.id, why);
            }
        }
        Ok(removal)
    }
}

fn wanted_groups(work: &Work<'_>) -> impl Iterator<Item = Group> {
    Group::ALL.into_iter().filter(|group| group.is_wanted(work.spec))
}

fn unwanted<'f>(work: &Work<'_>, found: &'f Found) -> impl Iterator<Item = &'f Owned> {
    found.groups.iter().filter(|owned| !owned.group.is_wanted(work.spec))
}

/// The way out where somebody else's group has one of our names.
fn fix(name: &str) -> String {
    format!("delete it, or deploy a stack with another name: the stack needs the name {name} in its VPC")
}

/// In what a group's rules differ from those that the spec asks for.
#[derive(Debug)]
struct Difference<'f> {
    owned: &'f Owned,
    missing: BTreeMap<Rule, &'static str>,
    superfluous: Vec<(&'f str, &'f Rule)>,
    /// The rules that this stack has made. The one that EC2 puts into a new group has no tags, and needs none.
    own: Vec<&'f OwnedRule>,
}

impl<'f> Difference<'f> {
    fn of(work: &Work<'_>, owned: &'f Owned) -> Self {
        let baseline = work.deployment.baseline.as_ref().map(|baseline| &baseline.spec);
        let wanted = rules::wanted(work.spec, owned.group);
        let tolerated = rules::tolerated(work.spec, baseline, owned.group);
        let (right, superfluous): (Vec<_>, Vec<_>) = owned
            .rules
            .iter()
            .partition(|there| wanted.contains_key(&there.rule) || tolerated.contains(&there.rule));
        let has = |rule: &Rule| owned.rules.iter().any(|there| there.rule == *rule);
        let own = right.into_iter().filter(|there| work.stack.owns(&there.tags)).collect();
        let superfluous = superfluous.iter().map(|there| (there.id.as_str(), &there.rule)).collect();
        let missing = wanted.into_iter().filter(|(rule, _)| !has(rule)).collect();
        Self { owned, missing, superfluous, own }
    }

    /// Adds the missing rules, those of one direction in one call.
    async fn authorise(&self, work: &Work<'_>, found: &Found) -> Result<(), StepError> {
        let permissions = |out: bool| -> Option<Vec<IpPermission>> {
            let rules = self.missing.iter().filter(|(rule, _)| rule.out == out);
            rules.map(|(rule, why)| rule.permission(why, |group| found.id(group))).collect()
        };
        let (Some(ingress), Some(egress)) = (permissions(false), permissions(true)) else {
            return Err(StepError::pending("the security groups to be visible"));
        };
        let (id, count) = (&self.owned.id, self.missing.len());
        let doing = format!("adding {count} rules to {id}");
        let tags = || {
            let tags = work.stack.tags(NAME, &self.owned.group.rules_role());
            tagging::specification(ResourceType::SecurityGroupRule, tags)
        };
        // One duplicate refuses the whole call: an earlier answer was lost, or somebody was faster. What is then
        // still missing shows when the rules are read again.
        let passing = ["InvalidPermission.Duplicate", "InvalidGroup.NotFound"];
        let waits_for = "the security groups and their rules to be visible";
        if !ingress.is_empty() {
            let call = work.aws.ec2().authorize_security_group_ingress().group_id(id);
            let call = call.set_ip_permissions(Some(ingress)).tag_specifications(tags());
            call.send().await.pending_on(&passing, waits_for, &doing)?;
        }
        if !egress.is_empty() {
            let call = work.aws.ec2().authorize_security_group_egress().group_id(id);
            let call = call.set_ip_permissions(Some(egress)).tag_specifications(tags());
            call.send().await.pending_on(&passing, waits_for, &doing)?;
        }
        if count > 0 {
            let added: Vec<String> = self.missing.keys().map(ToString::to_string).collect();
            tracing::info!(id, role = self.owned.group.role(), ?added, "Security group rules added.");
        }
        Ok(())
    }

    /// Takes away what is too much, and completes the tags.
    async fn tidy(&self, work: &Work<'_>) -> Result<(), StepError> {
        if !revoke(work, &self.owned.id, self.superfluous.clone()).await? {
            return Err(StepError::pending("the security group rules to be visible"));
        }
        let (owned, role) = (self.owned, self.owned.group.rules_role());
        tagging::keep(work, NAME, owned.group.role(), &owned.id, &owned.tags).await?;
        let rules = self.own.iter().map(|rule| tagging::keep(work, NAME, &role, &rule.id, &rule.tags));
        join::all(rules).await.map(drop)
    }
}

fn plan_rules(work: &Work<'_>, owned: &Owned, plan: &mut Plan) {
    let difference = Difference::of(work, owned);
    let role = owned.group.role();
    for rule in difference.missing.keys() {
        plan.update(role, &rule.to_string(), "(none)", "allowed");
    }
    for (_, rule) in &difference.superfluous {
        plan.update(role, &rule.to_string(), "allowed", "(none)");
    }
    for rule in &difference.own {
        plan.tags_of(&work.stack, NAME, role, &owned.group.rules_role(), &format!("{}.", rule.id), &rule.tags);
    }
}

/// As many rules in one direction AWS lets every group have.
const RULES_AT_LEAST: usize = 60;

/// Notes a problem when a group may not have as many rules as it is to have: for a while, those that are there and those
/// that are added. Only the allowed ranges can become so many, and the quota is asked for only when they are.
async fn check_count(work: &Work<'_>, found: &Found, group: Group, plan: &mut Plan) -> Result<(), StepError> {
    let is_there =
        |rule: &Rule| found.get(group).is_some_and(|owned| owned.rules.iter().any(|one| one.rule == *rule));
    let wanted = rules::wanted(work.spec, group);
    let missing = wanted.keys().filter(|rule| !rule.out && !is_there(rule)).count();
    let there = found.get(group).map_or(0, |owned| owned.rules.iter().filter(|one| !one.rule.out).count());
    if missing == 0 || there + missing <= RULES_AT_LEAST {
        return Ok(());
    }
    let need = Need {
        resource: group.role(),
        used: quotas::count(there),
        more: quotas::count(missing),
        instead: "name fewer, wider ranges in loadBalancer.allowedCidrs, or change them in several deployments",
    };
    quotas::check(work, RULES, need, plan).await
}

async fn create(work: &Work<'_>, vpc: &str, group: Group) -> Result<(), StepError> {
    let (role, name) = (group.role(), work.stack.resource(group.role()));
    let call = work
        .aws
        .ec2()
        .create_security_group()
        .group_name(&name)
        .description(group.description())
        .vpc_id(vpc)
        .tag_specifications(tagging::specification(ResourceType::SecurityGroup, work.stack.tags(NAME, role)));
    let doing = format!("creating the security group {name}");
    // The name is unique in the VPC, so that a repeat can't make a second group.
    let made = call.send().await.unless(&["InvalidGroup.Duplicate"]).unless(&["InvalidVpcID.NotFound"]);
    if let Some(answer) = made.doing(doing)?.flatten() {
        tracing::info!(id = answer.group_id(), role, "Security group created.");
        return Ok(());
    }
    match observed::find_named(work, vpc, &name).await? {
        Some((id, false)) => {
            Err(StepError::Foreign { what: format!("the security group {id}"), fix: fix(&name) })
        }
        // A lost answer has made it, or the VPC is not visible yet.
        Some((_, true)) | None => Ok(()),
    }
}

/// Takes rules away. Whether all of them were there: EC2 refuses the whole call when one is not.
async fn revoke(work: &Work<'_>, id: &str, rules: Vec<(&str, &Rule)>) -> Result<bool, StepError> {
    let ids = |out: bool| -> Option<Vec<String>> {
        let ids = rules.iter().filter(|(_, rule)| rule.out == out).map(|(id, _)| (*id).to_owned());
        Some(ids.collect()).filter(|ids: &Vec<String>| !ids.is_empty())
    };
    let absent =
        ["InvalidPermission.NotFound", "InvalidSecurityGroupRuleId.NotFound", "InvalidGroup.NotFound"];
    let doing = format!("taking {} rules from {id}", rules.len());
    let mut all = true;
    if let Some(ingress) = ids(false) {
        let call = work.aws.ec2().revoke_security_group_ingress().group_id(id);
        let call = call.set_security_group_rule_ids(Some(ingress)).send().await;
        all &= call.unless(&absent).doing(&doing)?.is_some();
    }
    if let Some(egress) = ids(true) {
        let call = work.aws.ec2().revoke_security_group_egress().group_id(id);
        let call = call.set_security_group_rule_ids(Some(egress)).send().await;
        all &= call.unless(&absent).doing(&doing)?.is_some();
    }
    if !rules.is_empty() {
        let taken: Vec<String> = rules.iter().map(|(_, rule)| rule.to_string()).collect();
        tracing::info!(id, ?taken, "Security group rules taken away.");
    }
    Ok(all)
}

/// Deletes the groups that the spec wants no longer. Their own rules go with them.
async fn remove_unwanted(work: &Work<'_>, found: &Found) -> Result<Removal, StepError> {
    let unwanted: Vec<&Owned> = unwanted(work, found).collect();
    // The groups that stay have lost their rules that name these with the superfluous ones.
    let is_unwanted = |group: Group| !group.is_wanted(work.spec);
    join::all(unwanted.iter().map(|owned| {
        let between = owned.cross_rules().filter(|(_, peer)| is_unwanted(*peer));
        revoke(work, &owned.id, between.map(|(rule, _)| (rule.id.as_str(), &rule.rule)).collect())
    }))
    .await?;
    let deletions = unwanted.iter().map(async |owned| {
        let why = if delete(work, owned).await? { None } else { Some(held_by(work, &owned.id).await?) };
        Ok::<_, StepError>((owned, why))
    });
    let mut removal = Removal { found: unwanted.len(), left: Vec::new() };
    for (owned, why) in join::all(deletions).await? {
        if let Some(why) = why {
            removal.leave(owned.group.role(), &owned.id, why);
        }
    }
    Ok(removal)
}

/// Whether it is gone.
async fn delete(work: &Work<'_>, owned: &Owned) -> Result<bool, StepError> {
    let (id, role) = (owned.id.as_str(), owned.group.role());
    let call = work.aws.ec2().delete_security_group().group_id(id).send().await;
    let absent = ["InvalidGroup.NotFound", "InvalidSecurityGroupID.NotFound"];
    let held = ["DependencyViolation", "InvalidGroup.InUse"];
    let gone = call.gone(&absent, &held, format!("deleting {id}"))?;
    if gone {
        tracing::info!(id, role, "Security group deleted.");
    }
    Ok(gone)
}

/// Who keeps a group from being deleted: network interfaces, or rules of groups that are not of this stack. Those are
/// named, and never changed.
async fn held_by(work: &Work<'_>, id: &str) -> Result<String, StepError> {
    let (interfaces, referring) =
        tokio::try_join!(holders(work, "group-id", id), observed::find_referring(work, id))?;
    if referring.is_empty() {
        return Ok(interfaces);
    }
    Ok(format!("rules of other security groups refer to it: {}; {interfaces}", referring.join(", ")))
}
