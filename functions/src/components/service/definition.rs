//! Task definitions: each service has a family of immutable revisions.

use std::collections::BTreeSet;

use aws_sdk_ecs::types::{
    Compatibility, ContainerDefinition, NetworkMode, TaskDefinition, TaskDefinitionFamilyStatus,
    TaskDefinitionField, TaskDefinitionStatus,
};
use aws_smithy_types::DateTime;
use futures::future::try_join_all;
use stackdrop_specs::Service;

use super::content::{Content, sets_image};
use super::dependencies::Dependencies;
use super::observed::Observed;
use super::{
    NAME, ecs_tags, family, family_prefix, not_owned, plan_not_owned, read_tags, repair_tags, volumes,
};
use crate::aws::error::{AwsResult, StepError};
use crate::aws::no_retries;
use crate::contract::component::Work;
use crate::deployment::names::{TAG_STACK, Tags};
use crate::deployment::plan::{Plan, Verb};

/// The logical ID of a service's task definition.
pub(super) fn logical_id(name: &str) -> String {
    format!("task-definition/{name}")
}

/// An observed revision.
#[derive(Debug)]
pub(super) struct Definition {
    pub(super) arn: String,
    is_active: bool,
    /// When it was registered (seconds since 1970).
    registered: i64,
    tags: Tags,
    /// The container's image.
    pub(super) image: String,
    /// Its content; `None` if it contains something that Stackdrop never writes.
    pub(super) content: Option<Content>,
}

impl Definition {
    fn is_ours(&self, work: &Work<'_>) -> bool {
        work.stack.owns(&self.tags)
    }

    /// Whether it belongs to another stack. A revision without a tag is a change by hand, which Stackdrop replaces.
    fn is_of_another(&self, work: &Work<'_>) -> bool {
        self.tags.contains_key(TAG_STACK) && !self.is_ours(work)
    }

    /// Whether it is deleted once the service runs another one. A pipeline that sets the image may return to an earlier one.
    pub(super) fn is_pruned(&self, work: &Work<'_>, service: &Service) -> bool {
        !sets_image(service) && self.is_ours(work)
    }

    /// Whether the service can use it: it is active and has the desired content. A pipeline that sets the image registers its
    /// own revisions; one with the desired content gets the stack's tags.
    fn serves(&self, work: &Work<'_>, service: &Service, desired: &Content) -> bool {
        let usable = self.is_ours(work) || sets_image(service) && !self.is_of_another(work);
        self.is_active && usable && self.content.as_ref() == Some(desired)
    }
}

/// Finds a revision by its ARN, or the latest active one of a family.
pub(super) async fn find(work: &Work<'_>, named: &str) -> Result<Option<Definition>, StepError> {
    let call = work.aws.ecs().describe_task_definition().task_definition(named);
    // `ClientException`: ECS has no code of its own for a task definition that does not exist.
    let response = call.include(TaskDefinitionField::Tags).send().await.unless(&["ClientException"]);
    let Some(response) = response.doing(format!("looking for task definition {named}"))? else {
        return Ok(None);
    };
    let tags = read_tags(response.tags());
    Ok(response.task_definition().map(|definition| Definition {
        arn: definition.task_definition_arn().unwrap_or_default().to_owned(),
        registered: definition.registered_at().map_or(0, DateTime::secs),
        is_active: definition.status() == Some(&TaskDefinitionStatus::Active),
        tags,
        image: image_of(definition).to_owned(),
        content: Content::of(definition),
    }))
}

/// The image of a revision's first essential container. People may add other containers to a revision by hand.
fn image_of(definition: &TaskDefinition) -> &str {
    let containers = definition.container_definitions();
    let first = containers.iter().find(|container| container.essential() != Some(false));
    first.and_then(ContainerDefinition::image).unwrap_or_default()
}

/// Plans the task definition. Returns whether `apply` will register a new revision.
pub(super) fn plan(
    work: &Work<'_>,
    observed: &Observed,
    name: &str,
    service: &Service,
    dependencies: &Dependencies,
    plan: &mut Plan,
) -> bool {
    let logical_id = logical_id(name);
    let Some(definition) = observed.definitions.get(name) else {
        plan.change(Verb::Create, logical_id);
        return true;
    };
    if definition.is_of_another(work) {
        plan_not_owned(work, &logical_id, "task definition", &definition.arn, plan);
        return true;
    }
    let desired = Content::desired(work, observed, name, service, dependencies);
    if definition.serves(work, service, &desired) {
        plan.tags(&work.stack, NAME, &logical_id, &definition.tags);
        return false;
    }
    let desired_fields = desired.fields();
    let actual = definition.content.as_ref().map(Content::fields).unwrap_or_default();
    let names: BTreeSet<&String> = actual.keys().chain(desired_fields.keys()).collect();
    let mut differs = false;
    for field in names {
        let (from, to) = (actual.get(field), desired_fields.get(field));
        if from != to && definition.content.is_some() {
            let shown = |value: Option<&String>| value.map_or("(none)".to_owned(), ToString::to_string);
            plan.update(&logical_id, field, shown(from), shown(to));
            differs = true;
        }
    }
    if !differs {
        plan.update(&logical_id, "revision", revision(&definition.arn), "a revision of this stack");
    }
    if definition.is_pruned(work, service) {
        plan.change(Verb::Delete, format!("{logical_id} ({})", revision(&definition.arn)));
    }
    true
}

/// The `FAMILY:REVISION` in an ARN.
pub(super) fn revision(arn: &str) -> &str {
    arn.rsplit('/').next().unwrap_or(arn)
}

/// A revision with the desired content.
#[derive(Debug, Clone)]
pub(super) struct Usable {
    pub(super) arn: String,
    /// When it was registered (seconds since 1970).
    pub(super) registered: i64,
}

/// A revision with the desired content: the service's current one, an earlier one, the family's latest (an earlier
/// response may have been lost), or a new one.
pub(super) async fn apply(
    work: &Work<'_>,
    observed: &Observed,
    name: &str,
    service: &Service,
    dependencies: &Dependencies,
) -> Result<Usable, StepError> {
    let desired = Content::desired(work, observed, name, service, dependencies);
    let mut seen = BTreeSet::new();
    if let Some(definition) = observed.definitions.get(name) {
        if let Some(usable) = usable(work, name, service, definition, &desired).await? {
            return Ok(usable);
        }
        seen.insert(definition.arn.clone());
    }
    let earlier =
        observed.active_service(work, name).map(aws_sdk_ecs::types::Service::deployments).unwrap_or_default();
    let earlier = earlier.iter().filter_map(|deployment| deployment.task_definition().map(str::to_owned));
    // Without a service, `observed` already contains the family's latest revision.
    let latest = observed.active_service(work, name).map(|_| family(work, name));
    for named in earlier.chain(latest) {
        if seen.contains(&named) {
            continue;
        }
        let Some(definition) = find(work, &named).await? else { continue };
        if let Some(usable) = usable(work, name, service, &definition, &desired).await? {
            return Ok(usable);
        }
        seen.insert(definition.arn);
    }
    let arn = register(work, name, &desired).await?;
    Ok(Usable { arn, registered: work.aws.now_seconds() })
}

/// A revision if the service can use it, after repairing its tags.
async fn usable(
    work: &Work<'_>,
    name: &str,
    service: &Service,
    definition: &Definition,
    desired: &Content,
) -> Result<Option<Usable>, StepError> {
    if definition.is_of_another(work) {
        return Err(not_owned(work, "task definition", &definition.arn));
    }
    if !definition.serves(work, service, desired) {
        return Ok(None);
    }
    repair_tags(work, &logical_id(name), &definition.arn, &definition.tags).await?;
    Ok(Some(Usable { arn: definition.arn.clone(), registered: definition.registered }))
}

/// Registers a revision. Each call creates one, so the SDK must not retry it.
async fn register(work: &Work<'_>, name: &str, desired: &Content) -> Result<String, StepError> {
    let [execution_role, task_role] = &desired.roles;
    let call = work
        .aws
        .ecs()
        .register_task_definition()
        .family(family(work, name))
        .network_mode(NetworkMode::Awsvpc)
        .requires_compatibilities(Compatibility::Fargate)
        .cpu(&desired.cpu)
        .memory(&desired.memory)
        .execution_role_arn(execution_role)
        .task_role_arn(task_role)
        .container_definitions(desired.container(name)?)
        .set_volumes((!desired.writable.is_empty()).then(|| volumes::of(&desired.writable)))
        .set_tags(Some(ecs_tags(work.stack.tags(NAME, &logical_id(name)))))
        .customize()
        .config_override(aws_sdk_ecs::Config::builder().retry_config(no_retries()));
    let response = call.send().await.doing(format!("registering task definition {}", logical_id(name)))?;
    let arn = response.task_definition().and_then(TaskDefinition::task_definition_arn);
    let arn = arn.ok_or_else(|| StepError::incomplete("the task definition's ARN"))?;
    tracing::info!(arn, "Task definition registered.");
    Ok(arn.to_owned())
}

/// How many revisions one run deletes: each needs three calls.
const AT_ONCE: usize = 30;

/// The active revisions of this stack: in the families of these services, and in other families with the stack's prefix.
pub(super) async fn find_all(work: &Work<'_>, names: &BTreeSet<String>) -> Result<Vec<String>, StepError> {
    let known: BTreeSet<String> = names.iter().map(|name| family(work, name)).collect();
    let call = work.aws.ecs().list_task_definition_families().family_prefix(family_prefix(work));
    let pages = call.status(TaskDefinitionFamilyStatus::Active).into_paginator().items();
    let families: Vec<String> = pages.send().try_collect().await.doing("listing the task definitions")?;
    let checked = families.into_iter().map(async |family| {
        // Somebody may have registered a family with such a name: it belongs to the stack of its latest revision.
        let ours = known.contains(&family)
            || find(work, &family).await?.is_some_and(|latest| !latest.is_of_another(work));
        if ours { find_revisions(work, &family).await } else { Ok(Vec::new()) }
    });
    Ok(try_join_all(checked).await?.into_iter().flatten().collect())
}

/// The active revisions of this stack in one family.
pub(super) async fn find_revisions(work: &Work<'_>, family: &str) -> Result<Vec<String>, StepError> {
    let pages = work.aws.ecs().list_task_definitions().family_prefix(family).into_paginator().items();
    let arns: Vec<String> = pages
        .send()
        .try_collect()
        .await
        .doing(format!("listing the revisions of task definition {family}"))?;
    let mut ours = Vec::new();
    for arns in arns.chunks(AT_ONCE) {
        let read = try_join_all(arns.iter().map(|arn| find(work, arn))).await?;
        ours.extend(
            read.into_iter().flatten().filter(|observed| observed.is_ours(work)).map(|observed| observed.arn),
        );
    }
    Ok(ours)
}

/// The revisions of this stack that no deployment of a service uses. If a pipeline sets a service's image, all its revisions
/// are kept: the pipeline may return to an earlier one.
pub(super) async fn find_unused(work: &Work<'_>, observed: &Observed) -> Result<Vec<String>, StepError> {
    let services = work.spec.services.iter().filter(|(_, service)| !sets_image(service));
    let unused = services.filter_map(|(name, _)| Some((name, observed.active_service(work, name)?)));
    let unused = unused.map(async |(name, service)| {
        let used = service.deployments().iter().filter_map(|deployment| deployment.task_definition());
        let used: BTreeSet<&str> = used.chain(service.task_definition()).collect();
        let mut revisions = find_revisions(work, &family(work, name)).await?;
        revisions.retain(|arn| !used.contains(arn.as_str()));
        Ok::<_, StepError>(revisions)
    });
    Ok(try_join_all(unused).await?.into_iter().flatten().collect())
}

/// Deregisters and deletes revisions. Returns how many are left to the next run.
pub(super) async fn delete(work: &Work<'_>, arns: &[String]) -> Result<usize, StepError> {
    let (first, rest) = arns.split_at(arns.len().min(AT_ONCE));
    let deregistered = try_join_all(first.iter().map(async |arn| {
        let call = work.aws.ecs().deregister_task_definition().task_definition(arn).send().await;
        // `ClientException`: it does not exist or is inactive, which the next run sees.
        let done = call
            .unless(&["ClientException"])
            .doing(format!("deregistering task definition {arn}"))?
            .is_some();
        tracing::info!(arn, done, "Task definition deregistered.");
        Ok::<_, StepError>(done)
    }))
    .await?;
    let unknown = deregistered.iter().filter(|done| !**done).count();
    // Inactive revisions are free and start no tasks, so it is not necessary to wait for their deletion.
    try_join_all(first.chunks(10).map(async |arns| {
        let call = work.aws.ecs().delete_task_definitions().set_task_definitions(Some(arns.to_vec()));
        call.send().await.doing("deleting task definitions")
    }))
    .await?;
    Ok(rest.len() + unknown)
}
