//! Task definitions: immutable revisions of families.

use std::time::Duration;

use serde_json::{Value, json};

use super::containers::{Container, Volume};
use super::{client, includes_tags, needed, one_of, page, part, tag_list, tags_of};
use crate::clock::Clock;
use crate::params::{Params, Refusal};
use crate::protocol::Reply;
use crate::world::{Tags, World};

#[derive(Debug, Clone)]
pub(super) struct Definition {
    pub(super) arn: String,
    pub(super) family: String,
    pub(super) revision: usize,
    pub(super) task_role: Option<String>,
    pub(super) execution_role: Option<String>,
    pub(super) cpu: u32,
    pub(super) memory: u32,
    pub(super) containers: Vec<Container>,
    volumes: Vec<Volume>,
    pub(super) tags: Tags,
    runtime: Option<Value>,
    ephemeral_storage: Option<Value>,
    registered: Duration,
    deregistered: Option<Duration>,
    deletion_asked: Option<Duration>,
}

impl Definition {
    pub(super) fn is_active(&self) -> bool {
        self.deregistered.is_none()
    }

    fn status(&self) -> &'static str {
        match (self.deletion_asked, self.deregistered) {
            (Some(_), _) => "DELETE_IN_PROGRESS",
            (None, Some(_)) => "INACTIVE",
            (None, None) => "ACTIVE",
        }
    }

    /// The roles that a task needs to start.
    pub(super) fn roles(&self) -> impl Iterator<Item = &String> {
        self.execution_role.iter().chain(self.task_role.iter())
    }
}

/// The memory sizes of Fargate for a CPU size: smallest, largest and step, in MiB. Source: "Task CPU and memory" in
/// the ECS developer guide.
const SIZES: [(u32, u32, u32, u32); 7] = [
    (256, 512, 2048, 512),
    (512, 1024, 4096, 1024),
    (1024, 2048, 8192, 1024),
    (2048, 4096, 16_384, 1024),
    (4096, 8192, 30_720, 1024),
    (8192, 16_384, 61_440, 4096),
    (16_384, 32_768, 122_880, 8192),
];

pub(super) fn register(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let family = needed(params, "family", "Family should not be null or empty.")?;
    let task_role = role(params, "taskRoleArn")?;
    let execution_role = role(params, "executionRoleArn")?;
    let (cpu, memory) = size(params)?;
    let network_mode = params.text("networkMode");
    let compatibilities = params.list("requiresCompatibilities");
    let containers: Option<Vec<Container>> = part(params, "containerDefinitions")?;
    let runtime = runtime(params)?;
    let ephemeral_storage = ephemeral_storage(params)?;
    let volumes: Vec<Volume> = part(params, "volumes")?.unwrap_or_default();
    let placement = params.list("placementConstraints");
    let tags = tags_of(params)?;
    params.done()?;
    let legal = |character: char| character.is_ascii_alphanumeric() || "-_".contains(character);
    if family.len() > 255 || !family.chars().all(legal) {
        return Err(client("Family contains invalid characters."));
    }
    if compatibilities != ["FARGATE"] {
        return Err(client("the simulator knows task definitions for FARGATE only"));
    }
    if network_mode.as_deref() != Some("awsvpc") {
        return Err(client("Fargate only supports network mode 'awsvpc'."));
    }
    if !placement.is_empty() {
        return Err(client("the simulator knows no placement constraints"));
    }
    volumes.iter().try_for_each(Volume::check)?;
    let containers = checked(
        containers.unwrap_or_default(),
        execution_role.is_some(),
        (i64::from(cpu), i64::from(memory)),
        &world.region,
    )?;
    containers.iter().try_for_each(|container| container.check_mounts(&volumes))?;
    let revision = world
        .states
        .ecs
        .definitions
        .get(&family)
        .map_or(1, |revisions| revisions.last().map_or(1, |last| last.revision + 1));
    let definition = Definition {
        arn: world.arn("ecs", &format!("task-definition/{family}:{revision}")),
        family: family.clone(),
        revision,
        task_role,
        execution_role,
        cpu,
        memory,
        containers,
        volumes,
        tags,
        runtime,
        ephemeral_storage,
        registered: world.now,
        deregistered: None,
        deletion_asked: None,
    };
    let answer = json!({ "taskDefinition": document(&definition), "tags": tag_list(&definition.tags) });
    world.states.ecs.definitions.entry(family).or_default().push(definition);
    Ok(answer.into())
}

pub(super) fn describe(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let named = needed(params, "taskDefinition", "Task definition can not be blank.")?;
    let with_tags = includes_tags(params, &[])?;
    params.done()?;
    let definition = find(world, &named).ok_or_else(|| client("Unable to describe task definition."))?;
    let mut answer = json!({ "taskDefinition": document(definition) });
    if with_tags {
        answer["tags"] = tag_list(&definition.tags);
    }
    Ok(answer.into())
}

pub(super) fn list(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let family = params.text("familyPrefix");
    let status = one_of(params, "status", &["ACTIVE", "INACTIVE", "DELETE_IN_PROGRESS"])?;
    let descending = one_of(params, "sort", &["ASC", "DESC"])?.as_deref() == Some("DESC");
    let status = status.as_deref().unwrap_or("ACTIVE");
    // Despite its name, `familyPrefix` is the whole family. Source: `ListTaskDefinitions` in the ECS API reference.
    let mut arns: Vec<Value> = world
        .states
        .ecs
        .definitions
        .values()
        .flatten()
        .filter(|definition| family.as_ref().is_none_or(|family| definition.family == *family))
        .filter(|definition| definition.status() == status)
        .map(|definition| json!(definition.arn))
        .collect();
    if descending {
        arns.reverse();
    }
    page(params, "taskDefinitionArns", arns, 100)
}

pub(super) fn list_families(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let prefix = params.text("familyPrefix").unwrap_or_default();
    let status = one_of(params, "status", &["ACTIVE", "INACTIVE", "ALL"])?;
    let families = world
        .states
        .ecs
        .definitions
        .iter()
        .filter(|(family, _)| family.starts_with(&prefix))
        .filter(|(_, revisions)| {
            let active = revisions.iter().any(Definition::is_active);
            match status.as_deref() {
                Some("ACTIVE") => active,
                Some("INACTIVE") => !active,
                _ => true,
            }
        })
        .map(|(family, _)| json!(family))
        .collect();
    page(params, "families", families, 100)
}

pub(super) fn deregister(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let named = needed(params, "taskDefinition", "Task definition can not be blank.")?;
    params.done()?;
    if !last_part(&named).contains(':') {
        return Err(client(format!("Invalid revision number. Number: {named}")));
    }
    let arn = find(world, &named)
        .map(|definition| definition.arn.clone())
        .ok_or_else(|| client("The specified task definition does not exist."))?;
    deregister_by_hand(world, &arn);
    let definition =
        find(world, &arn).ok_or_else(|| client("The specified task definition does not exist."))?;
    Ok(json!({ "taskDefinition": document(definition) }).into())
}

/// Deregisters the revision with this ARN.
pub(super) fn deregister_by_hand(world: &mut World, arn: &str) {
    let now = world.now;
    if let Some(definition) = find_mut(world, arn) {
        definition.deregistered.get_or_insert(now);
    }
}

pub(super) fn delete(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let named = params.list("taskDefinitions");
    params.done()?;
    if named.is_empty() || named.len() > 10 {
        return Err(super::invalid("Between 1 and 10 task definitions can be deleted at a time."));
    }
    let now = world.now;
    let (mut deleted, mut failures) = (Vec::new(), Vec::new());
    for name in named {
        let arn = find(world, &name).map(|definition| definition.arn.clone());
        let definition = arn.and_then(|arn| find_mut(world, &arn));
        match definition {
            None => failures.push(json!({ "arn": name, "reason": "TASK_DEFINITION_NOT_FOUND" })),
            Some(definition) if definition.is_active() => failures.push(json!({
                "arn": definition.arn,
                "reason": "The specified task definition is still in ACTIVE status. Please deregister the target and try again.",
            })),
            Some(definition) => {
                definition.deletion_asked.get_or_insert(now);
                deleted.push(document(definition));
            }
        }
    }
    Ok(json!({ "taskDefinitions": deleted, "failures": failures }).into())
}

/// A definition by its ARN, `FAMILY:REVISION`, or `FAMILY` for the latest active one.
pub(super) fn find<'a>(world: &'a World, named: &str) -> Option<&'a Definition> {
    let name = last_part(named);
    let found = match name.split_once(':') {
        Some((family, revision)) => {
            let revision: usize = revision.parse().ok()?;
            world
                .states
                .ecs
                .definitions
                .get(family)?
                .iter()
                .find(|definition| definition.revision == revision)
        }
        None => {
            world.states.ecs.definitions.get(name)?.iter().rev().find(|definition| definition.is_active())
        }
    }?;
    (!named.starts_with("arn:") || found.arn == named).then_some(found)
}

pub(super) fn find_mut<'a>(world: &'a mut World, arn: &str) -> Option<&'a mut Definition> {
    world.states.ecs.definitions.values_mut().flatten().find(|definition| definition.arn == arn)
}

fn last_part(named: &str) -> &str {
    named.rsplit('/').next().unwrap_or(named)
}

fn role(params: &Params, key: &str) -> Result<Option<String>, Refusal> {
    match params.text(key) {
        Some(role) if !role.starts_with("arn:aws:iam::") => Err(client("Role is not valid")),
        role => Ok(role),
    }
}

/// The task's CPU and memory, if Fargate supports the combination.
fn size(params: &Params) -> Result<(u32, u32), Refusal> {
    let number = |key: &str| -> Result<u32, Refusal> {
        let text = params
            .text(key)
            .ok_or_else(|| client(format!("Fargate requires that '{key}' be defined at the task level.")))?;
        text.parse().map_err(|_| client(format!("Invalid '{key}' setting for task.")))
    };
    let (cpu, memory) = (number("cpu")?, number("memory")?);
    let offered = SIZES.iter().any(|(size, least, most, step)| {
        // The smallest CPU size does not support 1.5 GB.
        *size == cpu
            && (*least..=*most).contains(&memory)
            && memory % step == 0
            && (cpu, memory) != (256, 1536)
    });
    if offered {
        Ok((cpu, memory))
    } else {
        Err(client(format!(
            "No Fargate configuration exists for given values: {cpu} CPU, {memory} memory. See the Amazon ECS documentation for the valid values."
        )))
    }
}

/// Source of the limits: `EphemeralStorage` in the ECS API reference.
fn ephemeral_storage(params: &Params) -> Result<Option<Value>, Refusal> {
    let storage = params.section("ephemeralStorage").map(|section| section.int("sizeInGiB")).transpose()?;
    match storage {
        None => Ok(None),
        Some(Some(size)) if (21..=200).contains(&size) => Ok(Some(json!({ "sizeInGiB": size }))),
        Some(_) => Err(client("The ephemeral storage must be between 21 and 200 GiB.")),
    }
}

fn runtime(params: &Params) -> Result<Option<Value>, Refusal> {
    let runtime = params.section("runtimePlatform");
    let runtime = runtime.map(|platform| {
        let text = |key: &str| Some((key.to_owned(), json!(platform.text(key)?)));
        ["cpuArchitecture", "operatingSystemFamily"].into_iter().filter_map(text).collect::<Value>()
    });
    if let Some(runtime) = &runtime {
        let architecture = runtime.get("cpuArchitecture").and_then(Value::as_str);
        let system = runtime.get("operatingSystemFamily").and_then(Value::as_str);
        if architecture.is_some_and(|name| !["X86_64", "ARM64"].contains(&name))
            || system.is_some_and(|name| name != "LINUX")
        {
            return Err(client("the simulator knows LINUX on X86_64 or ARM64 only"));
        }
    }
    Ok(runtime)
}

fn checked(
    mut containers: Vec<Container>,
    has_execution_role: bool,
    (cpu, memory): (i64, i64),
    region: &str,
) -> Result<Vec<Container>, Refusal> {
    if containers.is_empty() || containers.len() > 10 {
        return Err(client("Container list cannot be empty, and holds 10 containers at most."));
    }
    // The sum must not exceed the task's. Source: `cpu` and `memory` in the ECS API reference.
    let cpus: i64 = containers.iter().map(Container::cpu).sum();
    let reserved: i64 = containers.iter().map(Container::reserved_memory).sum();
    for (what, together, whole) in [("cpu", cpus, cpu), ("memory", reserved, memory)] {
        if together > whole {
            return Err(client(format!(
                "Invalid 'cpu' or 'memory' setting for task: the containers' {what} together exceeds the task's."
            )));
        }
    }
    if !containers.iter().any(|container| container.essential) {
        return Err(client("At least one container should be essential."));
    }
    for place in 0..containers.len() {
        containers[place].check(region, memory)?;
        let container = &containers[place];
        if containers[..place].iter().any(|other| other.name == container.name) {
            return Err(client(format!("Duplicate container name '{}'.", container.name)));
        }
        if container.log_configuration.is_some() && !has_execution_role {
            return Err(client(
                "Fargate requires task definition to have execution role ARN to support log driver awslogs.",
            ));
        }
        if container.secrets.as_ref().is_some_and(|secrets| !secrets.is_empty()) && !has_execution_role {
            return Err(client(
                "When you are specifying container secrets, you must also specify a value for 'executionRoleArn'.",
            ));
        }
        if start_needs_role(&container.image) && !has_execution_role {
            return Err(client(
                "Fargate requires task definition to have execution role ARN to support ECR images.",
            ));
        }
    }
    Ok(containers)
}

fn start_needs_role(image: &str) -> bool {
    crate::services::ecr::Reference::read(image).is_some()
}

fn document(definition: &Definition) -> Value {
    let mut document = json!({
        "taskDefinitionArn": definition.arn,
        "containerDefinitions": definition.containers,
        "family": definition.family,
        "networkMode": "awsvpc",
        "revision": definition.revision,
        "volumes": definition.volumes,
        "status": definition.status(),
        "placementConstraints": [],
        "compatibilities": ["EC2", "FARGATE"],
        "requiresCompatibilities": ["FARGATE"],
        "cpu": definition.cpu.to_string(),
        "memory": definition.memory.to_string(),
        "registeredAt": Clock::epoch_seconds(definition.registered),
    });
    let optional = [
        ("taskRoleArn", definition.task_role.as_ref().map(|role| json!(role))),
        ("executionRoleArn", definition.execution_role.as_ref().map(|role| json!(role))),
        ("runtimePlatform", definition.runtime.clone()),
        ("ephemeralStorage", definition.ephemeral_storage.clone()),
        ("deregisteredAt", definition.deregistered.map(|at| json!(Clock::epoch_seconds(at)))),
        ("deleteRequestedAt", definition.deletion_asked.map(|at| json!(Clock::epoch_seconds(at)))),
    ];
    for (name, value) in optional {
        if let Some(value) = value {
            document[name] = value;
        }
    }
    document
}
