//! The observed state of a stack's database.
//!
//! A deployment that changes nothing needs five calls, and one for the rotation of the secret: RDS returns an instance's tags
//! and subnet group with the instance, but the tags of groups only one by one.

use std::collections::BTreeSet;

use aws_sdk_rds::types::{DbInstance, DbParameterGroup, DbSubnetGroup, Filter, SourceType};
use futures::future::try_join_all;

use super::{FORCE_TLS, instance, parameter_group, subnet_group};
use crate::aws::error::{AwsResult, StepError};
use crate::contract::component::Work;
use crate::deployment::names::Tags;

/// The observed state of this stack's database.
#[derive(Debug, Default)]
pub(super) struct Observed {
    pub(super) instance: Option<DbInstance>,
    pub(super) reboot: Reboot,
    pub(super) subnet_group: Option<SubnetGroup>,
    /// The parameter groups, one for each major version so far.
    pub(super) parameter_groups: Vec<ParameterGroup>,
    /// Resources with one of the stack's names that it does not manage: the logical ID, and the noun and ID.
    pub(super) not_owned: Vec<(&'static str, String)>,
}

/// Whether the parameters of the stack's group wait for a reboot of the instance.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Reboot {
    #[default]
    NotNeeded,
    /// The instance got the group, and has not been rebooted since: perhaps it accepts connections without TLS.
    Needed,
    /// Somebody set other parameters of the group, which perhaps wait: the reboot is left to them.
    LeftToOthers,
}

/// The observed state of the subnet group.
#[derive(Debug, Clone)]
pub(super) struct SubnetGroup {
    pub(super) arn: String,
    pub(super) subnets: BTreeSet<String>,
    pub(super) tags: Tags,
}

/// The observed state of a parameter group.
#[derive(Debug, Clone)]
pub(super) struct ParameterGroup {
    pub(super) name: String,
    pub(super) arn: String,
    pub(super) tags: Tags,
    /// Whether the group rejects connections without TLS. Read only for the desired group.
    pub(super) forces_tls: bool,
}

impl Observed {
    pub(super) async fn read(work: &Work<'_>) -> Result<Self, StepError> {
        let (instance, parameter_groups) =
            tokio::try_join!(find_instance(work), find_parameter_groups(work))?;
        let (subnet_group, parameter_groups, reboot) = tokio::try_join!(
            find_subnet_group(work, instance.as_ref()),
            try_join_all(parameter_groups.into_iter().map(|group| complete(work, group))),
            find_reboot(work, instance.as_ref()),
        )?;
        let mut observed = Self { reboot, ..Self::default() };
        if let Some(instance) = instance {
            if work.stack.owns(&tags_of(&instance)) {
                observed.instance = Some(instance);
            } else {
                let id = instance.db_instance_identifier().unwrap_or_default();
                observed.not_owned.push((instance::LOGICAL_ID, format!("RDS instance {id}")));
            }
        }
        match subnet_group {
            Some(group) if work.stack.owns(&group.tags) => observed.subnet_group = Some(group),
            Some(group) => {
                observed.not_owned.push((subnet_group::LOGICAL_ID, format!("DB subnet group {}", group.arn)));
            }
            None => {}
        }
        for group in parameter_groups.into_iter().flatten() {
            if work.stack.owns(&group.tags) {
                observed.parameter_groups.push(group);
            } else {
                observed
                    .not_owned
                    .push((parameter_group::LOGICAL_ID, format!("DB parameter group {}", group.name)));
            }
        }
        Ok(observed)
    }

    /// The number of resources.
    pub(super) fn count(&self) -> usize {
        usize::from(self.instance.is_some())
            + usize::from(self.subnet_group.is_some())
            + self.parameter_groups.len()
    }

    /// The parameter group with this name.
    pub(super) fn parameter_group(&self, name: &str) -> Option<&ParameterGroup> {
        self.parameter_groups.iter().find(|group| group.name == name)
    }
}

/// An instance's tags.
pub(super) fn tags_of(instance: &DbInstance) -> Tags {
    tags(instance.tag_list())
}

/// RDS's tags in the form of the stack's.
pub(super) fn tags(tags: &[aws_sdk_rds::types::Tag]) -> Tags {
    tags.iter()
        .filter_map(|tag| Some((tag.key()?.to_owned(), tag.value().unwrap_or_default().to_owned())))
        .collect()
}

/// Finds the instance with the stack's identifier, managed by this stack or not.
pub(super) async fn find_instance(work: &Work<'_>) -> Result<Option<DbInstance>, StepError> {
    let identifier = instance::identifier(work);
    let call = work.aws.rds().describe_db_instances().db_instance_identifier(&identifier).send().await;
    let response =
        call.unless(&["DBInstanceNotFound"]).doing(format!("looking for RDS instance {identifier}"))?;
    Ok(response.and_then(|response| response.db_instances.unwrap_or_default().into_iter().next()))
}

/// Finds the subnet group with the stack's name. An instance in it returns everything but its tags.
async fn find_subnet_group(
    work: &Work<'_>,
    instance: Option<&DbInstance>,
) -> Result<Option<SubnetGroup>, StepError> {
    let name = subnet_group::name(work);
    let from_instance = instance.and_then(|instance| {
        let group = instance.db_subnet_group()?;
        // Here RDS omits the ARN, which differs from the instance's only in the last two parts.
        let arn = instance.db_instance_arn()?.rsplitn(3, ':').nth(2)?;
        (group.db_subnet_group_name() == Some(&name)).then(|| (group.clone(), format!("{arn}:subgrp:{name}")))
    });
    let (group, arn) = match from_instance {
        Some(known) => known,
        None => match describe_subnet_group(work, &name).await? {
            Some(group) => {
                let arn = group.db_subnet_group_arn().unwrap_or_default().to_owned();
                (group, arn)
            }
            None => return Ok(None),
        },
    };
    let tags = find_tags(work, &arn).await?;
    let subnets = group.subnets().iter().filter_map(|subnet| subnet.subnet_identifier().map(str::to_owned));
    Ok(tags.map(|tags| SubnetGroup { arn, subnets: subnets.collect(), tags }))
}

async fn describe_subnet_group(work: &Work<'_>, name: &str) -> Result<Option<DbSubnetGroup>, StepError> {
    let call = work.aws.rds().describe_db_subnet_groups().db_subnet_group_name(name).send().await;
    let response =
        call.unless(&["DBSubnetGroupNotFoundFault"]).doing(format!("looking for DB subnet group {name}"))?;
    Ok(response.and_then(|response| response.db_subnet_groups.unwrap_or_default().into_iter().next()))
}

/// Finds the parameter groups with one of the stack's names. An upgrade leaves an old one behind, and RDS can only list all
/// groups.
async fn find_parameter_groups(work: &Work<'_>) -> Result<Vec<DbParameterGroup>, StepError> {
    let pages = work.aws.rds().describe_db_parameter_groups().into_paginator().items().send();
    let mut groups: Vec<DbParameterGroup> =
        pages.try_collect().await.doing("looking for the parameter groups")?;
    groups.retain(|group| {
        let name = group.db_parameter_group_name().unwrap_or_default();
        parameter_group::is_our_name(work, name)
    });
    Ok(groups)
}

/// Reads a parameter group's tags and, for the desired one, whether it forces TLS.
async fn complete(work: &Work<'_>, group: DbParameterGroup) -> Result<Option<ParameterGroup>, StepError> {
    let name = group.db_parameter_group_name.unwrap_or_default();
    let arn = group.db_parameter_group_arn.unwrap_or_default();
    let desired = work.spec.database.as_ref().is_some_and(|spec| parameter_group::name(work, spec) == name);
    let forces_tls = async { if desired { find_forced_tls(work, &name).await } else { Ok(false) } };
    let (tags, forces_tls) = tokio::try_join!(find_tags(work, &arn), forces_tls)?;
    Ok(tags.map(|tags| ParameterGroup { name, arn, tags, forces_tls }))
}

async fn find_forced_tls(work: &Work<'_>, name: &str) -> Result<bool, StepError> {
    // The value decides, whoever set it: the source is not `user` if the value is the family's default, which it is since
    // PostgreSQL 15 (terraform-provider-aws#23335).
    let only = Filter::builder().name("parameter-name").values(FORCE_TLS).build();
    let call = work.aws.rds().describe_db_parameters().db_parameter_group_name(name).filters(only);
    let parameters: Vec<_> = call.into_paginator().items().send().try_collect().await.stalled_on(
        &["DBParameterGroupNotFound"],
        "the DB parameter group to become visible",
        format!("reading DB parameter group {name}"),
    )?;
    Ok(parameters.iter().any(|parameter| {
        parameter.parameter_name() == Some(FORCE_TLS) && parameter.parameter_value() == Some("1")
    }))
}

/// Finds out whether the stack's parameter group waits for a reboot of the instance, and why.
async fn find_reboot(work: &Work<'_>, instance: Option<&DbInstance>) -> Result<Reboot, StepError> {
    let Some((spec, instance)) = work.spec.database.as_ref().zip(instance) else {
        return Ok(Reboot::NotNeeded);
    };
    let name = parameter_group::name(work, spec);
    let mut groups = instance.db_parameter_groups().iter();
    let waits = groups.any(|group| {
        group.db_parameter_group_name() == Some(&name)
            && group.parameter_apply_status() == Some("pending-reboot")
    });
    if !waits {
        return Ok(Reboot::NotNeeded);
    }
    let call = work.aws.rds().describe_db_parameters().db_parameter_group_name(&name).source("user");
    let set = call.into_paginator().items().send().try_collect().await;
    let set: Option<Vec<_>> =
        set.unless(&["DBParameterGroupNotFound"]).doing(format!("reading DB parameter group {name}"))?;
    let by_others = set.iter().flatten().any(|parameter| parameter.parameter_name() != Some(FORCE_TLS));
    Ok(if by_others { Reboot::LeftToOthers } else { Reboot::Needed })
}

/// The tags of a group; `None` if it was deleted after it was listed.
async fn find_tags(work: &Work<'_>, arn: &str) -> Result<Option<Tags>, StepError> {
    let call = work.aws.rds().list_tags_for_resource().resource_name(arn).send().await;
    let absent = ["DBSubnetGroupNotFoundFault", "DBParameterGroupNotFound"];
    let response = call.unless(&absent).doing(format!("reading the tags of {arn}"))?;
    Ok(response.map(|response| tags(response.tag_list())))
}

/// The newest events of an instance, oldest first.
pub(super) async fn find_events(work: &Work<'_>, identifier: &str) -> Result<Vec<String>, StepError> {
    /// A creation or change may take hours; by default, RDS returns only the events of the last hour.
    const A_DAY_IN_MINUTES: i32 = 24 * 60;
    const EVENTS: usize = 3;
    let call = work.aws.rds().describe_events().source_type(SourceType::DbInstance);
    let call = call.source_identifier(identifier).duration(A_DAY_IN_MINUTES);
    let mut events: Vec<_> = call
        .into_paginator()
        .items()
        .send()
        .try_collect()
        .await
        .doing("reading the events of the RDS instance")?;
    events.sort_by_key(|event| event.date().map(aws_smithy_types::DateTime::as_nanos));
    let newest = events.iter().rev().take(EVENTS).rev();
    Ok(newest.filter_map(|event| event.message().map(str::to_owned)).collect())
}
