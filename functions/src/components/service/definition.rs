//! Task definitions: each service has a family of immutable revisions.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_ecs::types::{
    Compatibility, ContainerDefinition, KeyValuePair, LinuxParameters, LogConfiguration, LogDriver,
    NetworkMode, PortMapping, Secret, TaskDefinition, TaskDefinitionFamilyStatus, TaskDefinitionField,
    TaskDefinitionStatus, TransportProtocol,
};
use futures::future::try_join_all;
use stackdrop_specs::{DatabaseValue, Managed, Service};

use super::dependencies::{DATABASE_PORT, Dependencies};
use super::observed::Observed;
use super::{NAME, ecs_tags, family, logs, not_owned, permissions, plan_not_owned, read_tags, repair_tags};
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

    /// Whether the service can use it: it is active and has the desired content. A pipeline that sets the image registers its
    /// own revisions; one with the desired content gets the stack's tags.
    fn serves(&self, work: &Work<'_>, service: &Service, desired: &Content) -> bool {
        let usable = self.is_ours(work) || sets_image(service) && !self.is_of_another(work);
        self.is_active && usable && self.content.as_ref() == Some(desired)
    }
}

/// The content of a task definition that Stackdrop writes, in a canonical order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Content {
    image: String,
    cpu: String,
    memory: String,
    port: Option<i32>,
    command: Vec<String>,
    pub(super) environment: BTreeMap<String, String>,
    pub(super) secrets: BTreeMap<String, String>,
    exec: bool,
    roles: [String; 2],
    log: BTreeMap<String, String>,
}

/// The log driver's options that Stackdrop sets. AWS may add others.
const LOG_OPTIONS: [&str; 3] = ["awslogs-group", "awslogs-region", "awslogs-stream-prefix"];

/// Whether another tool manages the service's image.
fn sets_image(service: &Service) -> bool {
    service.managed_elsewhere.contains(&Managed::Image)
}

/// The desired image of a service: the spec's or, if another tool manages it, the running one.
pub(super) fn image<'a>(
    work: &Work<'_>,
    observed: &'a Observed,
    name: &str,
    service: &'a Service,
) -> &'a str {
    let exists = observed.active_service(work, name).is_some();
    let running = observed.definitions.get(name).filter(|_| exists && sets_image(service));
    running
        .map(|definition| definition.image.as_str())
        .filter(|image| !image.is_empty())
        .unwrap_or(&service.image)
}

impl Content {
    fn desired(
        work: &Work<'_>,
        observed: &Observed,
        name: &str,
        service: &Service,
        dependencies: &Dependencies,
    ) -> Self {
        let mut environment = service.environment.clone();
        let mut secrets = service.secrets.clone();
        let database = work.spec.database.as_ref().map_or("", |database| database.name.as_str());
        for (variable, value) in &service.database {
            let key = match value {
                DatabaseValue::Host => Err(dependencies.host().to_owned()),
                DatabaseValue::Port => Err(DATABASE_PORT.to_string()),
                DatabaseValue::Name => Err(database.to_owned()),
                DatabaseValue::Username => Ok("username"),
                DatabaseValue::Password => Ok("password"),
            };
            match key {
                Ok(key) => secrets.insert(variable.clone(), format!("{}:{key}::", dependencies.secret())),
                Err(text) => environment.insert(variable.clone(), text),
            };
        }
        let region = work.aws.settings.region.clone();
        let log = LOG_OPTIONS.map(str::to_owned).into_iter();
        Self {
            image: image(work, observed, name, service).to_owned(),
            cpu: service.cpu.to_string(),
            memory: service.memory.to_string(),
            port: service.port.map(i32::from),
            command: service.command.clone(),
            environment,
            secrets,
            exec: service.exec,
            roles: ["role/execution", "role/task"].map(|role| permissions::arn(work, role)),
            log: log.zip([logs::group_name(work, name), region, name.to_owned()]).collect(),
        }
    }

    /// The content of a revision, if it contains nothing else.
    fn of(definition: &TaskDefinition) -> Option<Self> {
        let [container] = definition.container_definitions() else { return None };
        let plain = definition.volumes().is_empty()
            && definition.network_mode() == Some(&NetworkMode::Awsvpc)
            && definition.requires_compatibilities() == [Compatibility::Fargate]
            && container.entry_point().is_empty()
            && container.mount_points().is_empty()
            && container.health_check().is_none()
            && container.user().is_none()
            && container.working_directory().is_none()
            && container.environment_files().is_empty()
            && container.port_mappings().len() <= 1;
        let log = container.log_configuration().filter(|log| *log.log_driver() == LogDriver::Awslogs)?;
        let option = |name: &str| Some((name.to_owned(), log.options()?.get(name)?.clone()));
        let variables = container.environment().iter();
        let variables = variables
            .filter_map(|pair| Some((pair.name()?.to_owned(), pair.value().unwrap_or_default().to_owned())));
        let secrets = container.secrets().iter();
        plain.then(|| Self {
            image: container.image().unwrap_or_default().to_owned(),
            cpu: definition.cpu().unwrap_or_default().to_owned(),
            memory: definition.memory().unwrap_or_default().to_owned(),
            port: container.port_mappings().first().and_then(PortMapping::container_port),
            command: container.command().to_vec(),
            environment: variables.collect(),
            secrets: secrets
                .map(|secret| (secret.name().to_owned(), secret.value_from().to_owned()))
                .collect(),
            exec: container.linux_parameters().and_then(LinuxParameters::init_process_enabled) == Some(true),
            roles: [definition.execution_role_arn(), definition.task_role_arn()]
                .map(|arn| arn.unwrap_or_default().to_owned()),
            log: LOG_OPTIONS.into_iter().filter_map(option).collect(),
        })
    }

    /// The CPU units of a task.
    pub(super) fn cpu_units(&self) -> Option<f64> {
        self.cpu.parse().ok()
    }

    /// The fields by name, as text. Secrets appear as their ARNs.
    fn fields(&self) -> BTreeMap<String, String> {
        let mut fields = BTreeMap::from([
            ("image".to_owned(), self.image.clone()),
            ("cpu".to_owned(), self.cpu.clone()),
            ("memory".to_owned(), self.memory.clone()),
            ("exec".to_owned(), self.exec.to_string()),
            ("executionRole".to_owned(), self.roles[0].clone()),
            ("taskRole".to_owned(), self.roles[1].clone()),
        ]);
        if !self.command.is_empty() {
            fields.insert("command".into(), self.command.join(" "));
        }
        fields.extend(self.port.map(|port| ("port".to_owned(), port.to_string())));
        let named = |kind: &'static str, values: &BTreeMap<String, String>| {
            let values = values.clone().into_iter();
            values.map(|(name, value)| (format!("{kind}.{name}"), value)).collect::<Vec<_>>()
        };
        fields.extend(named("environment", &self.environment));
        fields.extend(named("secrets", &self.secrets));
        fields.extend(named("log", &self.log));
        fields
    }

    fn container(&self, name: &str) -> Result<ContainerDefinition, StepError> {
        let defect =
            |error| StepError::Defect(format!("writing task definition task-definition/{name}: {error}"));
        let mut container =
            ContainerDefinition::builder().name(name).image(&self.image).essential(true).log_configuration(
                LogConfiguration::builder()
                    .log_driver(LogDriver::Awslogs)
                    .set_options(Some(self.log.clone().into_iter().collect()))
                    .build()
                    .map_err(defect)?,
            );
        if let Some(port) = self.port {
            let mapping = PortMapping::builder().container_port(port).host_port(port);
            container = container.port_mappings(mapping.protocol(TransportProtocol::Tcp).build());
        }
        if !self.command.is_empty() {
            container = container.set_command(Some(self.command.clone()));
        }
        for (name, value) in &self.environment {
            container = container.environment(KeyValuePair::builder().name(name).value(value).build());
        }
        for (name, from) in &self.secrets {
            container =
                container.secrets(Secret::builder().name(name).value_from(from).build().map_err(defect)?);
        }
        if self.exec {
            // An init process removes the processes that ECS exec's agent leaves behind.
            // Source: "Using ECS exec", best practices, in the ECS developer guide.
            container =
                container.linux_parameters(LinuxParameters::builder().init_process_enabled(true).build());
        }
        Ok(container.build())
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
        plan_not_owned(&logical_id, "task definition", &definition.arn, plan);
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
    if !sets_image(service) && definition.is_ours(work) {
        plan.change(Verb::Delete, format!("{logical_id} ({})", revision(&definition.arn)));
    }
    true
}

/// The `FAMILY:REVISION` in an ARN.
pub(super) fn revision(arn: &str) -> &str {
    arn.rsplit('/').next().unwrap_or(arn)
}

/// The ARN of a revision with the desired content: the service's current one, an earlier one, the family's latest (an earlier
/// response may have been lost), or a new one.
pub(super) async fn apply(
    work: &Work<'_>,
    observed: &Observed,
    name: &str,
    service: &Service,
    dependencies: &Dependencies,
) -> Result<String, StepError> {
    let desired = Content::desired(work, observed, name, service, dependencies);
    let mut seen = BTreeSet::new();
    if let Some(definition) = observed.definitions.get(name) {
        if let Some(arn) = usable_arn(work, name, service, definition, &desired).await? {
            return Ok(arn);
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
        if let Some(arn) = usable_arn(work, name, service, &definition, &desired).await? {
            return Ok(arn);
        }
        seen.insert(definition.arn);
    }
    register(work, name, &desired).await
}

/// The ARN of a revision if the service can use it, after repairing its tags.
async fn usable_arn(
    work: &Work<'_>,
    name: &str,
    service: &Service,
    definition: &Definition,
    desired: &Content,
) -> Result<Option<String>, StepError> {
    if definition.is_of_another(work) {
        return Err(not_owned("task definition", &definition.arn));
    }
    if !definition.serves(work, service, desired) {
        return Ok(None);
    }
    repair_tags(work, &logical_id(name), &definition.arn, &definition.tags).await?;
    Ok(Some(definition.arn.clone()))
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
    let call = work.aws.ecs().list_task_definition_families().family_prefix(format!("{}-", work.stack.name));
    let pages = call.status(TaskDefinitionFamilyStatus::Active).into_paginator().items();
    let families: Vec<String> = pages.send().try_collect().await.doing("listing the task definitions")?;
    let checked = families.into_iter().map(async |family| {
        // `shop-two` also has the prefix of `shop`. A family belongs to the stack of its latest revision.
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
