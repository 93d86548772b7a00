//! The observed state of a stack's services.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_applicationautoscaling::types::{
    ScalableDimension, ScalableTarget, ScalingPolicy, ServiceNamespace,
};
use aws_sdk_cloudwatchlogs::types::LogGroup;
use aws_sdk_ecs::types::{Cluster, ClusterField, Service, ServiceField};
use futures::future::{BoxFuture, try_join_all};

use super::definition::{self, Definition};
use super::{NAME, cluster, cluster_name, family, fargate, logs, permissions, read_tags, scaling};
use crate::aws::error::{AwsResult, StepError};
use crate::contract::component::Work;
use crate::contract::roles::{self, Expected};
use crate::deployment::names::Tags;

/// The observed state of this stack's services.
#[derive(Debug, Default)]
pub(super) struct Observed {
    pub(super) execution: Option<roles::Observed>,
    pub(super) task: Option<roles::Observed>,
    /// The cluster, unless it is `INACTIVE`.
    pub(super) cluster: Option<Cluster>,
    /// The log groups with the stack's prefix, by service.
    pub(super) groups: BTreeMap<String, Group>,
    /// The `ACTIVE` and `DRAINING` services in the cluster.
    pub(super) services: BTreeMap<String, Service>,
    /// When the `INACTIVE` services were created, which distinguishes them from their successors.
    pub(super) inactive: BTreeMap<String, String>,
    /// For each service of the spec, its current revision or, without a service, the latest active one of its family.
    pub(super) definitions: BTreeMap<String, Definition>,
    pub(super) targets: BTreeMap<String, ScalableTarget>,
    pub(super) policies: BTreeMap<String, ScalingPolicy>,
}

/// A log group.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) arn: String,
    pub(super) retention: Option<i32>,
    /// Not read (which would cost a call for each group) if an active service of this stack with all tags exists: the
    /// group was created, and is always tagged, before its service.
    pub(super) tags: Option<Tags>,
}

impl Group {
    pub(super) fn is_ours(&self, work: &Work<'_>) -> bool {
        self.tags.as_ref().is_none_or(|tags| work.stack.owns(tags))
    }
}

impl Observed {
    /// Boxed, because every action awaits it and the futures of SDK calls are large.
    pub(super) fn read<'w>(work: &'w Work<'w>) -> BoxFuture<'w, Result<Self, StepError>> {
        Box::pin(Self::read_all(work))
    }

    async fn read_all(work: &Work<'_>) -> Result<Self, StepError> {
        let (execution_role, task_role) =
            (permissions::by_logical_id("role/execution"), permissions::by_logical_id("role/task"));
        let has_exec = work.spec.services.values().any(|service| service.exec);
        let task_expected = if has_exec { Expected::Policy } else { Expected::Role };
        let (execution, task, cluster, groups) = tokio::try_join!(
            roles::find(work, &execution_role, Expected::Policy),
            roles::find(work, &task_role, task_expected),
            find_cluster(work),
            find_groups(work),
        )?;
        let mut observed = Self { execution, task, cluster, ..Self::default() };
        let mut names: BTreeSet<String> = work.spec.services.keys().chain(groups.keys()).cloned().collect();
        if let Some(baseline) = &work.deployment.baseline {
            names.extend(baseline.spec.services.keys().cloned());
        }
        observed.read_services(work, &mut names).await?;
        let groups = groups.into_iter().map(async |(name, group)| {
            let arn = group_arn(&group);
            let tags = if observed.proves_ownership(work, &name) {
                Some(None)
            } else {
                find_tags(work, &arn).await?
            };
            let group = tags.map(|tags| Group { arn, retention: group.retention_in_days(), tags });
            Ok::<_, StepError>(group.map(|group| (name, group)))
        });
        let ids: Vec<String> = names.iter().map(|name| scaling::resource_id(work, name)).collect();
        let (groups, definitions, targets) = tokio::try_join!(
            try_join_all(groups),
            find_definitions(work, &observed),
            find_targets(work, &ids)
        )?;
        let policies = if targets.is_empty() {
            BTreeMap::new() // a policy requires a target
        } else {
            find_policies(work, &names).await?
        };
        observed.groups = groups.into_iter().flatten().collect();
        (observed.definitions, observed.targets, observed.policies) = (definitions, targets, policies);
        Ok(observed)
    }

    /// Reads the services with these names, and any others if the cluster has more active services.
    async fn read_services(
        &mut self,
        work: &Work<'_>,
        names: &mut BTreeSet<String>,
    ) -> Result<(), StepError> {
        let Some(cluster) = &self.cluster else { return Ok(()) };
        let expected = cluster.active_services_count();
        self.add_services(find_services(work, names).await?);
        let active = self.services.values().filter(|service| fargate::is_active(service)).count();
        if i32::try_from(active).is_ok_and(|active| active >= expected) {
            return Ok(());
        }
        let others: BTreeSet<String> = list_services(work).await?.difference(names).cloned().collect();
        self.add_services(find_services(work, &others).await?);
        names.extend(others);
        Ok(())
    }

    fn add_services(&mut self, services: Vec<Service>) {
        for service in services {
            let name = service.service_name().unwrap_or_default().to_owned();
            if service.status() == Some("INACTIVE") {
                let created = service.created_at().map(ToString::to_string).unwrap_or_default();
                self.inactive.insert(name, created);
            } else {
                self.services.insert(name, service);
            }
        }
    }

    /// Whether an active service proves by its tags that its log group belongs to this stack and has all tags.
    fn proves_ownership(&self, work: &Work<'_>, name: &str) -> bool {
        let service = self.services.get(name).filter(|service| fargate::is_active(service));
        service.is_some_and(|service| {
            let tags = read_tags(service.tags());
            let ours = self.cluster.as_ref().is_some_and(|observed| cluster::is_ours(work, observed));
            ours && work.stack.owns(&tags)
                && work.stack.missing_tags(NAME, &fargate::logical_id(name), &tags).is_empty()
                && work.stack.stale_tags(&tags).is_empty()
        })
    }

    /// The service with this name, if it is active and this stack manages it.
    pub(super) fn active_service(&self, work: &Work<'_>, name: &str) -> Option<&Service> {
        let service = self.services.get(name).filter(|service| fargate::is_active(service))?;
        work.stack.owns(&read_tags(service.tags())).then_some(service)
    }
}

async fn find_cluster(work: &Work<'_>) -> Result<Option<Cluster>, StepError> {
    let call = work.aws.ecs().describe_clusters().clusters(cluster_name(work)).include(ClusterField::Tags);
    // ECS reports a missing cluster in `failures`, not as an error, and returns a deleted one as `INACTIVE`.
    let response = call.send().await.doing("looking for the cluster")?;
    let mut observed = response.clusters.unwrap_or_default().into_iter();
    Ok(observed.find(|cluster| cluster.status() != Some("INACTIVE")))
}

/// Finds the log groups with the stack's prefix, by the rest of their names.
async fn find_groups(work: &Work<'_>) -> Result<BTreeMap<String, LogGroup>, StepError> {
    let prefix = logs::prefix(work);
    let pages = work.aws.logs().describe_log_groups().log_group_name_prefix(&prefix).into_paginator().items();
    let observed: Vec<LogGroup> = pages.send().try_collect().await.doing("looking for the log groups")?;
    let named = observed.into_iter().filter_map(|group| {
        let name = group.log_group_name()?.strip_prefix(&prefix)?.to_owned();
        (!name.is_empty() && !name.contains('/')).then_some((name, group))
    });
    Ok(named.collect())
}

/// A log group's ARN for reading its tags: without the `:*` for its streams.
fn group_arn(group: &LogGroup) -> String {
    let arn = group.log_group_arn().or(group.arn()).unwrap_or_default();
    arn.strip_suffix(":*").unwrap_or(arn).to_owned()
}

/// A log group's tags; `None` if it was deleted after it was listed.
async fn find_tags(work: &Work<'_>, arn: &str) -> Result<Option<Option<Tags>>, StepError> {
    let call = work.aws.logs().list_tags_for_resource().resource_arn(arn).send().await;
    let response =
        call.unless(&["ResourceNotFoundException"]).doing(format!("reading the tags of log group {arn}"))?;
    Ok(response.map(|response| Some(response.tags.unwrap_or_default().into_iter().collect())))
}

/// Reads the services with these names. ECS returns ten per call, and missing ones in `failures`.
pub(super) async fn find_services(
    work: &Work<'_>,
    names: &BTreeSet<String>,
) -> Result<Vec<Service>, StepError> {
    let names: Vec<String> = names.iter().cloned().collect();
    let calls = names.chunks(10).map(async |names| {
        let call = work
            .aws
            .ecs()
            .describe_services()
            .cluster(cluster_name(work))
            .set_services(Some(names.to_vec()))
            .include(ServiceField::Tags);
        let response = call.send().await.unless(&["ClusterNotFoundException"]);
        let response = response.doing("looking for the services")?;
        Ok::<_, StepError>(response.and_then(|response| response.services).unwrap_or_default())
    });
    Ok(try_join_all(calls).await?.into_iter().flatten().collect())
}

/// The names of the active services in the cluster: ECS does not list those that are being deleted.
/// Source: the documentation of `DeleteService`.
async fn list_services(work: &Work<'_>) -> Result<BTreeSet<String>, StepError> {
    let pages = work.aws.ecs().list_services().cluster(cluster_name(work)).into_paginator().items();
    let arns: Vec<String> = pages.send().try_collect().await.doing("listing the services")?;
    Ok(arns.iter().filter_map(|arn| arn.rsplit('/').next().map(str::to_owned)).collect())
}

async fn find_definitions(
    work: &Work<'_>,
    observed: &Observed,
) -> Result<BTreeMap<String, Definition>, StepError> {
    let calls = work.spec.services.keys().map(async |name| {
        let used = observed.active_service(work, name).and_then(Service::task_definition);
        let named = used.map_or_else(|| family(work, name), str::to_owned);
        let definition = definition::find(work, &named).await?;
        Ok::<_, StepError>(definition.map(|definition| (name.clone(), definition)))
    });
    Ok(try_join_all(calls).await?.into_iter().flatten().collect())
}

async fn find_targets(
    work: &Work<'_>,
    ids: &[String],
) -> Result<BTreeMap<String, ScalableTarget>, StepError> {
    let calls = ids.chunks(50).map(async |ids| {
        let call = work
            .aws
            .autoscaling()
            .describe_scalable_targets()
            .service_namespace(ServiceNamespace::Ecs)
            .scalable_dimension(ScalableDimension::EcsServiceDesiredCount)
            .set_resource_ids(Some(ids.to_vec()));
        let observed: Result<Vec<ScalableTarget>, _> =
            call.into_paginator().items().send().try_collect().await;
        observed.doing("looking for the scalable targets")
    });
    let observed = try_join_all(calls).await?.into_iter().flatten();
    Ok(observed.map(|target| (scaling::service_of(target.resource_id()).to_owned(), target)).collect())
}

/// Reads the policies of all services in one call, which accepts at most one resource, but several policy names.
async fn find_policies(
    work: &Work<'_>,
    names: &BTreeSet<String>,
) -> Result<BTreeMap<String, ScalingPolicy>, StepError> {
    let policies: Vec<String> = names.iter().map(|name| scaling::policy_name(work, name)).collect();
    let calls = policies.chunks(50).map(async |policies| {
        let call = work
            .aws
            .autoscaling()
            .describe_scaling_policies()
            .service_namespace(ServiceNamespace::Ecs)
            .set_policy_names(Some(policies.to_vec()));
        let observed: Result<Vec<ScalingPolicy>, _> =
            call.into_paginator().items().send().try_collect().await;
        observed.doing("looking for the scaling policies")
    });
    let observed = try_join_all(calls).await?.into_iter().flatten();
    let ours = observed.filter_map(|policy| {
        let name = scaling::service_of(policy.resource_id()).to_owned();
        (policy.resource_id() == scaling::resource_id(work, &name)).then_some((name, policy))
    });
    Ok(ours.collect())
}
