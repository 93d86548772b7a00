//! The security groups: which resource may connect to which, and on which port.

mod observed;
mod rules;

use std::collections::BTreeMap;

use aws_sdk_ec2::types::{IpPermission, ResourceType};

use crate::aws::error::{AwsResult, StepError};
use crate::aws::join;
use crate::contract::component::{Component, Work};
use crate::contract::dependents::dependents;
use crate::contract::handler::{Function, act};
use crate::contract::identity;
use crate::contract::quotas::{self, Need, RULES};
use crate::contract::tagging;
use crate::deployment::component_names;
use crate::deployment::deletion::{Deletion, Dependents};
use crate::deployment::outputs::SecurityGroupOutputs;
use crate::deployment::plan::{Plan, Verb};
use observed::{Observed, Owned, OwnedRule};
use rules::{Group, Peer, Rule};

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
        let observed = Observed::read(work).await?;
        let mut plan = Plan::default();
        for group in desired_groups(work) {
            let logical_id = group.logical_id();
            check_count(work, &observed, group, &mut plan).await?;
            let Some(owned) = observed.get(group) else {
                plan.change(Verb::Create, logical_id);
                continue;
            };
            plan.tags(&work.stack, NAME, logical_id, &owned.tags);
            plan_rules(work, owned, &mut plan);
        }
        // They are deleted when the deployment prunes: later components still use them until then.
        for owned in undesired(work, &observed) {
            plan.change(Verb::Delete, owned.group.logical_id());
        }
        for (group, id) in observed.not_owned.iter().filter(|(group, _)| group.is_desired(work.spec)) {
            let name = work.stack.resource(group.logical_id());
            plan.problem(
                group.logical_id(),
                format!("security group {id} exists but is not managed by this stack"),
                fix(work, &name, id),
            );
        }
        Ok(plan)
    }

    async fn apply(&self, work: &Work<'_>) -> Result<SecurityGroupOutputs, StepError> {
        let vpc = &work.network()?.vpc;
        let mut observed = Observed::read(work).await?;
        observed.groups.retain(|owned| owned.vpc == *vpc);
        let missing: Vec<Group> =
            desired_groups(work).filter(|group| observed.get(*group).is_none()).collect();
        if !missing.is_empty() {
            join::all(missing.iter().map(|group| create(work, vpc, *group))).await?;
            return Err(StepError::stalled("the security groups to become visible"));
        }
        let differences: Vec<Difference<'_>> = desired_groups(work)
            .filter_map(|group| observed.get(group))
            .map(|owned| Difference::of(work, owned))
            .collect();
        // Missing rules are added first, so that no allowed connection is interrupted.
        join::all(differences.iter().map(|difference| difference.authorize(work, &observed))).await?;
        join::all(differences.iter().map(|difference| difference.repair(work))).await?;
        // Endpoints that the spec no longer has serve their services' DNS names until they are pruned.
        if let Some(owned) = undesired(work, &observed).find(|owned| owned.group == Group::Endpoints) {
            Difference::of(work, owned).authorize(work, &observed).await?;
        }
        Ok(observed.outputs(work))
    }

    async fn prune(&self, work: &Work<'_>) -> Result<Deletion, StepError> {
        let observed = Observed::read(work).await?;
        delete_undesired(work, &observed).await
    }

    async fn delete(&self, work: &Work<'_>) -> Result<Deletion, StepError> {
        let observed = Observed::read(work).await?;
        let mut deletion = Deletion { found: observed.groups.len(), remaining: Vec::new() };
        // Groups that refer to each other cannot be deleted, so these rules are revoked before any group is deleted.
        join::all(observed.groups.iter().map(|owned| {
            let rules = owned.cross_rules().map(|(rule, _)| (rule.id.as_str(), &rule.rule)).collect();
            revoke(work, &owned.id, rules)
        }))
        .await?;
        let deletions = observed.groups.iter().map(async |owned| {
            let why =
                if delete_one(work, owned).await? { None } else { Some(held_by(work, &owned.id).await?) };
            Ok::<_, StepError>((owned, why))
        });
        for (owned, why) in join::all(deletions).await? {
            if let Some(why) = why {
                deletion.in_use(owned.group.logical_id(), &owned.id, why);
            }
        }
        Ok(deletion)
    }
}

fn desired_groups(work: &Work<'_>) -> impl Iterator<Item = Group> {
    Group::ALL.into_iter().filter(|group| group.is_desired(work.spec))
}

fn undesired<'f>(work: &Work<'_>, observed: &'f Observed) -> impl Iterator<Item = &'f Owned> {
    observed.groups.iter().filter(|owned| !owned.group.is_desired(work.spec))
}

/// How to fix a name conflict with a group that this stack does not manage.
fn fix(work: &Work<'_>, name: &str, id: &str) -> String {
    let fix = identity::fix(work, id);
    format!(
        "delete the group, or deploy a stack with another name: the stack needs the name {name} in its VPC; if the group is the stack's own, {fix} instead"
    )
}

/// The differences between a group's rules and the desired rules.
#[derive(Debug)]
struct Difference<'f> {
    owned: &'f Owned,
    missing: BTreeMap<Rule, &'static str>,
    extra: Vec<(&'f str, &'f Rule)>,
    /// Extra rules that refer to a group which the spec no longer has. The previous tasks may need them until that group is pruned.
    pruned: Vec<&'f Rule>,
    /// The rules that this stack created. The rule that EC2 adds to every new group has no tags and needs none.
    own: Vec<&'f OwnedRule>,
}

impl<'f> Difference<'f> {
    fn of(work: &Work<'_>, owned: &'f Owned) -> Self {
        let baseline = work.deployment.baseline.as_ref().map(|baseline| &baseline.spec);
        let desired = rules::desired(work.spec, owned.group);
        let tolerated = rules::tolerated(work.spec, baseline, owned.group);
        let (correct, extra): (Vec<_>, Vec<_>) = owned
            .rules
            .iter()
            .partition(|existing| desired.contains_key(&existing.rule) || tolerated.contains(&existing.rule));
        let refers_to_undesired = |existing: &&OwnedRule| matches!(existing.rule.peer, Peer::Group(peer) if !peer.is_desired(work.spec));
        let (pruned, extra): (Vec<_>, Vec<_>) = extra.into_iter().partition(refers_to_undesired);
        let pruned = pruned.iter().map(|existing| &existing.rule).collect();
        let has = |rule: &Rule| owned.rules.iter().any(|existing| existing.rule == *rule);
        let own = correct.into_iter().filter(|existing| work.stack.owns(&existing.tags)).collect();
        let extra = extra.iter().map(|existing| (existing.id.as_str(), &existing.rule)).collect();
        let missing = desired.into_iter().filter(|(rule, _)| !has(rule)).collect();
        Self { owned, missing, extra, pruned, own }
    }

    /// Adds the missing rules, in one call for each direction.
    async fn authorize(&self, work: &Work<'_>, observed: &Observed) -> Result<(), StepError> {
        let permissions = |out: bool| -> Option<Vec<IpPermission>> {
            let rules = self.missing.iter().filter(|(rule, _)| rule.out == out);
            rules.map(|(rule, why)| rule.permission(why, |group| observed.id(group))).collect()
        };
        let (Some(ingress), Some(egress)) = (permissions(false), permissions(true)) else {
            return Err(StepError::stalled("the security groups to become visible"));
        };
        let (id, count) = (&self.owned.id, self.missing.len());
        let doing = format!("adding {count} rules to security group {id}");
        let tags = || {
            let tags = work.stack.tags(NAME, &self.owned.group.rules_logical_id());
            tagging::specification(ResourceType::SecurityGroupRule, tags)
        };
        // EC2 rejects the whole call if one rule exists: an earlier response was lost, or somebody added the rule. The
        // next attempt reads which rules are still missing.
        let retryable = ["InvalidPermission.Duplicate", "InvalidGroup.NotFound"];
        let waiting_for = "the security groups and their rules to become visible";
        if !ingress.is_empty() {
            let call = work.aws.ec2().authorize_security_group_ingress().group_id(id);
            let call = call.set_ip_permissions(Some(ingress)).tag_specifications(tags());
            call.send().await.stalled_on(&retryable, waiting_for, &doing)?;
        }
        if !egress.is_empty() {
            let call = work.aws.ec2().authorize_security_group_egress().group_id(id);
            let call = call.set_ip_permissions(Some(egress)).tag_specifications(tags());
            call.send().await.stalled_on(&retryable, waiting_for, &doing)?;
        }
        if count > 0 {
            let added: Vec<String> = self.missing.keys().map(ToString::to_string).collect();
            tracing::info!(
                id,
                logical_id = self.owned.group.logical_id(),
                ?added,
                "Security group rules added."
            );
        }
        Ok(())
    }

    /// Revokes the extra rules, and repairs the tags.
    async fn repair(&self, work: &Work<'_>) -> Result<(), StepError> {
        if !revoke(work, &self.owned.id, self.extra.clone()).await? {
            return Err(StepError::stalled("the security group rules to become visible"));
        }
        let (owned, logical_id) = (self.owned, self.owned.group.rules_logical_id());
        tagging::repair(work, NAME, owned.group.logical_id(), &owned.id, &owned.tags).await?;
        let rules =
            self.own.iter().map(|rule| tagging::repair(work, NAME, &logical_id, &rule.id, &rule.tags));
        join::all(rules).await.map(drop)
    }
}

fn plan_rules(work: &Work<'_>, owned: &Owned, plan: &mut Plan) {
    let difference = Difference::of(work, owned);
    let logical_id = owned.group.logical_id();
    for rule in difference.missing.keys() {
        plan.update(logical_id, &rule.to_string(), "(none)", "allowed");
    }
    for rule in difference.extra.iter().map(|(_, rule)| rule).chain(&difference.pruned) {
        plan.update(logical_id, &rule.to_string(), "allowed", "(none)");
    }
    for rule in &difference.own {
        plan.tags_of(
            &work.stack,
            NAME,
            logical_id,
            &owned.group.rules_logical_id(),
            &format!("{}.", rule.id),
            &rule.tags,
        );
    }
}

/// AWS's default quota: every account may have at least as many rules in one direction.
const DEFAULT_RULES_QUOTA: usize = 60;

/// Plans a problem if the quota is too small for a group's existing and missing rules, which exist together for a while.
/// Only the allowed ranges can become that many. The quota is read only if they exceed the default.
async fn check_count(
    work: &Work<'_>,
    observed: &Observed,
    group: Group,
    plan: &mut Plan,
) -> Result<(), StepError> {
    let exists = |rule: &Rule| {
        observed.get(group).is_some_and(|owned| owned.rules.iter().any(|one| one.rule == *rule))
    };
    let desired = rules::desired(work.spec, group);
    let missing = desired.keys().filter(|rule| !rule.out && !exists(rule)).count();
    let existing =
        observed.get(group).map_or(0, |owned| owned.rules.iter().filter(|one| !one.rule.out).count());
    if missing == 0 || existing + missing <= DEFAULT_RULES_QUOTA {
        return Ok(());
    }
    let need = Need {
        resource: group.logical_id(),
        used: quotas::count(existing),
        more: quotas::count(missing),
        alternative: "list fewer, wider ranges in loadBalancer.allowedCidrs, or change them in several deployments",
    };
    quotas::check(work, RULES, need, plan).await
}

async fn create(work: &Work<'_>, vpc: &str, group: Group) -> Result<(), StepError> {
    let (logical_id, name) = (group.logical_id(), work.stack.resource(group.logical_id()));
    let call = work
        .aws
        .ec2()
        .create_security_group()
        .group_name(&name)
        .description(group.description())
        .vpc_id(vpc)
        .tag_specifications(tagging::specification(
            ResourceType::SecurityGroup,
            work.stack.tags(NAME, logical_id),
        ));
    let doing = format!("creating security group {name}");
    // The name is unique in the VPC, so a retry cannot create a second group.
    let created = call.send().await.unless(&["InvalidGroup.Duplicate"]).unless(&["InvalidVpcID.NotFound"]);
    if let Some(response) = created.doing(doing)?.flatten() {
        tracing::info!(id = response.group_id(), logical_id, "Security group created.");
        return Ok(());
    }
    match observed::find_named(work, vpc, &name).await? {
        Some((id, false)) => {
            let fix = fix(work, &name, &id);
            Err(StepError::NotOwned { what: format!("security group {id}"), fix })
        }
        // An earlier response was lost, or the VPC is not visible yet.
        Some((_, true)) | None => Ok(()),
    }
}

/// Revokes rules. Returns whether all of them existed: EC2 rejects the whole call if one does not.
async fn revoke(work: &Work<'_>, id: &str, rules: Vec<(&str, &Rule)>) -> Result<bool, StepError> {
    let ids = |out: bool| -> Option<Vec<String>> {
        let ids = rules.iter().filter(|(_, rule)| rule.out == out).map(|(id, _)| (*id).to_owned());
        Some(ids.collect()).filter(|ids: &Vec<String>| !ids.is_empty())
    };
    let absent =
        ["InvalidPermission.NotFound", "InvalidSecurityGroupRuleId.NotFound", "InvalidGroup.NotFound"];
    let doing = format!("revoking {} rules of security group {id}", rules.len());
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
        let revoked: Vec<String> = rules.iter().map(|(_, rule)| rule.to_string()).collect();
        tracing::info!(id, ?revoked, "Security group rules revoked.");
    }
    Ok(all)
}

/// Deletes the groups that the spec no longer has. EC2 deletes their rules with them.
async fn delete_undesired(work: &Work<'_>, observed: &Observed) -> Result<Deletion, StepError> {
    let undesired: Vec<&Owned> = undesired(work, observed).collect();
    // No task needs the rules that refer to these groups any more, and they would prevent the deletion.
    let is_undesired = |group: Group| !group.is_desired(work.spec);
    join::all(observed.groups.iter().map(|owned| {
        let referring = owned.cross_rules().filter(|(_, peer)| is_undesired(*peer));
        revoke(work, &owned.id, referring.map(|(rule, _)| (rule.id.as_str(), &rule.rule)).collect())
    }))
    .await?;
    let deletions = undesired.iter().map(async |owned| {
        let why = if delete_one(work, owned).await? { None } else { Some(held_by(work, &owned.id).await?) };
        Ok::<_, StepError>((owned, why))
    });
    let mut deletion = Deletion { found: undesired.len(), remaining: Vec::new() };
    for (owned, why) in join::all(deletions).await? {
        if let Some(why) = why {
            deletion.in_use(owned.group.logical_id(), &owned.id, why);
        }
    }
    Ok(deletion)
}

/// Deletes a group. Returns whether it is deleted.
async fn delete_one(work: &Work<'_>, owned: &Owned) -> Result<bool, StepError> {
    let (id, logical_id) = (owned.id.as_str(), owned.group.logical_id());
    let call = work.aws.ec2().delete_security_group().group_id(id).send().await;
    let absent = ["InvalidGroup.NotFound", "InvalidSecurityGroupID.NotFound"];
    let in_use = ["DependencyViolation", "InvalidGroup.InUse"];
    let deleted = call.deleted(&absent, &in_use, format!("deleting security group {logical_id} ({id})"))?;
    if deleted {
        tracing::info!(id, logical_id, "Security group deleted.");
    }
    Ok(deleted)
}

/// Describes what prevents a group's deletion: network interfaces, or rules of groups that this stack does not manage.
/// Stackdrop never changes those.
async fn held_by(work: &Work<'_>, id: &str) -> Result<Dependents, StepError> {
    let (interfaces, referring) =
        tokio::try_join!(dependents(work, "group-id", id, &[]), observed::find_referring(work, id))?;
    if referring.is_empty() {
        return Ok(interfaces);
    }
    let why =
        format!("rules of other security groups refer to it: {}; {}", referring.join(", "), interfaces.why);
    Ok(Dependents { why, ..interfaces })
}
