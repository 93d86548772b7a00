//! The observed state of a stack's security groups.

use aws_sdk_ec2::types::{SecurityGroup, SecurityGroupRule};

use super::rules::{Group, Peer, Rule};
use crate::aws::error::{AwsResult, StepError};
use crate::contract::component::Work;
use crate::contract::tagging::{self, filter_any};
use crate::deployment::names::Tags;
use crate::deployment::outputs::SecurityGroupOutputs;

/// A group that this stack manages.
#[derive(Debug)]
pub(super) struct Owned {
    pub(super) group: Group,
    pub(super) id: String,
    pub(super) vpc: String,
    pub(super) tags: Tags,
    pub(super) rules: Vec<OwnedRule>,
}

/// A rule of a group that this stack manages, including rules that others created.
#[derive(Debug)]
pub(super) struct OwnedRule {
    pub(super) id: String,
    pub(super) rule: Rule,
    pub(super) tags: Tags,
}

/// The groups with one of the stack's names.
#[derive(Debug)]
pub(super) struct Observed {
    /// The groups that this stack manages.
    pub(super) groups: Vec<Owned>,
    /// The IDs of groups in the same VPC with one of the stack's names that this stack does not manage.
    pub(super) not_owned: Vec<(Group, String)>,
}

impl Observed {
    /// Reads the groups by name, and all their rules: two calls for any number of groups.
    pub(super) async fn read(work: &Work<'_>) -> Result<Self, StepError> {
        let (ours, others): (Vec<_>, Vec<_>) =
            find_groups(work).await?.into_iter().partition(|(_, group)| is_ours(work, group));
        let ids: Vec<&str> = ours.iter().filter_map(|(_, group)| group.group_id()).collect();
        let rules = if ids.is_empty() { Vec::new() } else { find_rules(work, &ids).await? };
        let of_id =
            |id: &str| ours.iter().find(|(_, group)| group.group_id() == Some(id)).map(|(group, _)| *group);
        let groups: Vec<Owned> =
            ours.iter().map(|(group, observed)| owned(*group, observed, &rules, of_id)).collect();
        let not_owned = others
            .into_iter()
            .filter(|(_, other)| {
                let of_network = work.outputs.network.as_ref().map(|network| &network.vpc);
                let mut ours = groups.iter().map(|owned| &owned.vpc).chain(of_network);
                ours.any(|vpc| other.vpc_id() == Some(vpc))
            })
            .map(|(group, other)| (group, other.group_id.unwrap_or_default()))
            .collect();
        Ok(Self { groups, not_owned })
    }

    /// Finds a group of this stack.
    pub(super) fn get(&self, group: Group) -> Option<&Owned> {
        self.groups.iter().find(|owned| owned.group == group)
    }

    /// The ID of a group of this stack.
    pub(super) fn id(&self, group: Group) -> Option<String> {
        Some(self.get(group)?.id.clone())
    }

    /// The outputs: the IDs of the desired groups.
    pub(super) fn outputs(&self, work: &Work<'_>) -> SecurityGroupOutputs {
        let id = |group: Group| if group.is_desired(work.spec) { self.id(group) } else { None };
        SecurityGroupOutputs {
            load_balancer: id(Group::LoadBalancer),
            service: id(Group::Service),
            instance: id(Group::Instance),
            endpoints: id(Group::Endpoints),
            database: id(Group::Database),
        }
    }
}

impl Owned {
    /// The rules that refer to another group of this stack: they prevent that group's deletion.
    pub(super) fn cross_rules(&self) -> impl Iterator<Item = (&OwnedRule, Group)> {
        self.rules.iter().filter_map(|rule| match rule.rule.peer {
            Peer::Group(peer) if peer != self.group => Some((rule, peer)),
            _ => None,
        })
    }
}

fn owned(
    group: Group,
    observed: &SecurityGroup,
    rules: &[SecurityGroupRule],
    of_id: impl Fn(&str) -> Option<Group> + Copy,
) -> Owned {
    let rules = rules.iter().filter(|rule| rule.group_id() == observed.group_id());
    Owned {
        group,
        id: observed.group_id().unwrap_or_default().to_owned(),
        vpc: observed.vpc_id().unwrap_or_default().to_owned(),
        tags: tagging::read(observed.tags()),
        rules: rules
            .map(|rule| OwnedRule {
                id: rule.security_group_rule_id().unwrap_or_default().to_owned(),
                rule: Rule::read(rule, of_id),
                tags: tagging::read(rule.tags()),
            })
            .collect(),
    }
}

fn is_ours(work: &Work<'_>, group: &SecurityGroup) -> bool {
    // The name, which cannot be changed, says what the group is for.
    work.stack.owns(&tagging::read(group.tags()))
}

/// Finds the groups with one of the stack's names in all VPCs. A name is unique in its VPC and cannot be changed, so one
/// call finds the stack's groups and all conflicting ones.
async fn find_groups(work: &Work<'_>) -> Result<Vec<(Group, SecurityGroup)>, StepError> {
    let names = Group::ALL.map(|group| (work.stack.resource(group.logical_id()), group));
    let desired: Vec<&str> = names.iter().map(|(name, _)| name.as_str()).collect();
    let call = work.aws.ec2().describe_security_groups().filters(filter_any("group-name", &desired));
    let observed: Vec<SecurityGroup> =
        call.into_paginator().items().send().try_collect().await.doing("looking for the security groups")?;
    let with_group = observed.into_iter().filter_map(|observed| {
        let (_, group) = names.iter().find(|(name, _)| observed.group_name() == Some(name))?;
        Some((*group, observed))
    });
    let mut all: Vec<_> = with_group.collect();
    all.sort_by(|(one, a), (other, b)| (one, a.group_id()).cmp(&(other, b.group_id())));
    Ok(all)
}

async fn find_rules(work: &Work<'_>, groups: &[&str]) -> Result<Vec<SecurityGroupRule>, StepError> {
    let call = work.aws.ec2().describe_security_group_rules().filters(filter_any("group-id", groups));
    let pages = call.into_paginator().items().send();
    pages.try_collect().await.doing("reading the rules of the security groups")
}

/// Finds the group with a name in a VPC: its ID, and whether this stack manages it.
pub(super) async fn find_named(
    work: &Work<'_>,
    vpc: &str,
    name: &str,
) -> Result<Option<(String, bool)>, StepError> {
    let call = work.aws.ec2().describe_security_groups().filters(tagging::filter("vpc-id", vpc));
    let call = call.filters(tagging::filter("group-name", name));
    let response = call.send().await.doing(format!("looking for security group {name}"))?;
    let observed = response.security_groups.unwrap_or_default().into_iter().next();
    Ok(observed.map(|group| (group.group_id().unwrap_or_default().to_owned(), is_ours(work, &group))))
}

/// The groups that this stack does not manage and that have a rule which refers to one of its groups.
pub(super) async fn find_referring(work: &Work<'_>, id: &str) -> Result<Vec<String>, StepError> {
    let by = async |name: &str| {
        let call = work.aws.ec2().describe_security_groups().filters(tagging::filter(name, id));
        call.send().await.doing(format!("looking for security groups that refer to {id}"))
    };
    let (ingress, egress) =
        tokio::try_join!(by("ip-permission.group-id"), by("egress.ip-permission.group-id"))?;
    let groups =
        [ingress, egress].into_iter().flat_map(|response| response.security_groups.unwrap_or_default());
    let others = groups.filter(|group| group.group_id() != Some(id) && !is_ours(work, group));
    let mut observed: Vec<String> = others
        .map(|group| {
            let (id, name) = (group.group_id().unwrap_or_default(), group.group_name().unwrap_or_default());
            format!("{id} ({name})")
        })
        .collect();
    observed.sort();
    observed.dedup();
    Ok(observed)
}
