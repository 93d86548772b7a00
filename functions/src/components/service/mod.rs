//! The ECS services on Fargate, with what they need: cluster, roles, log groups, task definitions, auto scaling.

mod access;
mod cluster;
mod definition;
mod diagnosis;
mod fargate;
mod observed;
mod logs;
mod permissions;
mod preflight;
mod registry;
mod removal;
mod rollout;
mod scaling;
mod secrets;
mod dependencies;

use std::collections::BTreeMap;

use aws_sdk_ecs::types::Tag;

use crate::deployment::outputs::{Running, ServiceOutputs};
use crate::deployment::component_names;
use crate::contract::component::{Component, Work};
use crate::deployment::deletion::Removal;
use crate::deployment::plan::{Plan, Verb};
use crate::aws::error::{Answer, AwsError, StepError};
use crate::contract::handler::{Function, act, cleared};
use crate::contract::roles;
use crate::deployment::names::Tags;
use crate::aws::join::{all, both};
use observed::Found;
use dependencies::Surroundings;

/// The component's name.
pub const NAME: &str = component_names::SERVICE;

/// The function.
pub const FUNCTION: Function =
    Function::new(NAME, |payload, aws| Box::pin(act(&Service, NAME, payload, aws)));

/// The ECS services of a stack.
#[derive(Debug)]
pub struct Service;

impl Component for Service {
    type Outputs = ServiceOutputs;

    async fn plan(&self, work: &Work<'_>) -> Result<Plan, StepError> {
        let found = Found::read(work).await?;
        let mut plan = Plan::default();
        if work.spec.services.is_empty() {
            removal::plan_all(work, &found, &mut plan).await?;
            return Ok(plan);
        }
        let around = Surroundings::found(work, &found).await?;
        preflight::plan(work, &found, &around, &mut plan).await?;
        let execution = permissions::execution(work, &found, &around);
        roles::plan(work, &execution, found.execution.as_ref(), &mut plan);
        permissions::plan_narrowing(work, &found, &around, &mut plan);
        roles::plan(work, &permissions::task(work), found.task.as_ref(), &mut plan);
        cluster::plan(work, &found, &mut plan);
        for (name, service) in &work.spec.services {
            logs::plan(work, &found, name, service, &mut plan);
            let registers = definition::plan(work, &found, name, service, &around, &mut plan);
            fargate::plan(work, &found, name, service, &around, registers, &mut plan);
            scaling::plan(work, &found, name, service, &mut plan);
        }
        removal::plan_stale(work, &found, &mut plan);
        if work.deployment.finds_leftovers() {
            // To look for them in every plan would be a call for each service.
            plan.change(Verb::Remove, "task-definition (left by an earlier deployment)");
        }
        Ok(plan)
    }

    async fn ensure(&self, work: &Work<'_>) -> Result<ServiceOutputs, StepError> {
        let found = Found::read(work).await?;
        if work.spec.services.is_empty() {
            cleared(removal::remove_all(work, &found).await?)?;
            return Ok(ServiceOutputs::default());
        }
        let around = Surroundings::reported(work).await?;
        let execution = permissions::execution(work, &found, &around);
        let task = permissions::task(work);
        let roles = [(&execution, &found.execution), (&task, &found.task)];
        let roles = roles.map(|(role, found)| roles::ensure(work, role, found.as_ref()));
        let groups =
            work.spec.services.iter().map(|(name, service)| logs::ensure(work, &found, name, service));
        let (_, (_, cluster)) = both(all(roles), both(all(groups), cluster::ensure(work, &found))).await?;
        let definitions = work.spec.services.iter().map(async |(name, service)| {
            let arn = definition::ensure(work, &found, name, service, &around).await?;
            Ok::<_, StepError>((name.clone(), arn))
        });
        let definitions: BTreeMap<String, String> = all(definitions).await?.into_iter().collect();
        if !cluster.is_active {
            return Err(StepError::pending(format!("the cluster {} to be active", work.stack.name)));
        }
        let services = definitions.iter().filter_map(|(name, definition)| {
            let service = work.spec.services.get(name)?;
            Some(bring_about(work, &found, &around, name, service, definition))
        });
        let services = all(services).await?.into_iter().collect();
        cleared(removal::remove_stale(work, &found).await?)?;
        Ok(ServiceOutputs { cluster: Some(cluster.arn), services })
    }

    async fn settle(&self, work: &Work<'_>) -> Result<ServiceOutputs, StepError> {
        if work.spec.services.is_empty() {
            return Ok(ServiceOutputs::default());
        }
        rollout::settle(work).await
    }

    async fn tidy(&self, work: &Work<'_>) -> Result<Removal, StepError> {
        if work.spec.services.is_empty() {
            return Ok(Removal::default());
        }
        let found = Found::read(work).await?;
        let around = Surroundings::reported(work).await?;
        let execution = permissions::narrow_execution(work, &found, &around);
        roles::ensure(work, &execution, found.execution.as_ref()).await?;
        removal::remove_unused(work, &found).await
    }

    async fn remove(&self, work: &Work<'_>) -> Result<Removal, StepError> {
        let found = Found::read(work).await?;
        removal::remove_all(work, &found).await
    }
}

/// One service with its scaling, which needs it to exist.
async fn bring_about(
    work: &Work<'_>,
    found: &Found,
    around: &Surroundings,
    name: &str,
    service: &stackdrop_specs::Service,
    definition: &str,
) -> Result<(String, Running), StepError> {
    let running = fargate::ensure(work, found, name, service, around, definition).await?;
    scaling::ensure(work, found, name, service).await?;
    Ok((name.to_owned(), running))
}

/// The name of the stack's cluster.
fn cluster_name<'w>(work: &'w Work<'_>) -> &'w str {
    work.stack.name.as_str()
}

/// The task definition family of a service.
fn family(work: &Work<'_>, name: &str) -> String {
    work.stack.resource(name)
}

/// Tags in ECS's shape.
fn ecs_tags(tags: Tags) -> Vec<Tag> {
    tags.into_iter().map(|(key, value)| Tag::builder().key(key).value(value).build()).collect()
}

/// Tags from ECS's shape.
fn read_tags(tags: &[Tag]) -> Tags {
    tags.iter()
        .filter_map(|tag| Some((tag.key()?.to_owned(), tag.value().unwrap_or_default().to_owned())))
        .collect()
}

/// Puts missing tags on an ECS resource of ours, and takes off those that the spec has dropped.
async fn keep_tags(work: &Work<'_>, role: &str, arn: &str, found: &Tags) -> Result<(), StepError> {
    let (missing, stale) = (work.stack.tags_to_put(NAME, role, found), work.stack.stale_tags(found));
    if !missing.is_empty() {
        let call = work.aws.ecs().tag_resource().resource_arn(arn).set_tags(Some(ecs_tags(missing)));
        call.send().await.doing(format!("tagging {arn}"))?;
    }
    if !stale.is_empty() {
        let call = work.aws.ecs().untag_resource().resource_arn(arn).set_tag_keys(Some(stale));
        call.send().await.doing(format!("taking tags off {arn}"))?;
    }
    Ok(())
}

/// A resource with our name that is not ours.
fn foreign(what: &str, id: &str) -> StepError {
    StepError::Foreign {
        what: format!("the {what} {id}"),
        fix: "delete it, or deploy a stack with another name".into(),
    }
}

/// Notes a resource with our name that is not ours.
fn plan_foreign(role: &str, what: &str, id: &str, plan: &mut Plan) {
    plan.problem(
        role,
        format!("the {what} {id} is not of this stack"),
        "delete it, or deploy a stack with another name",
    );
}

/// ECS refuses with one code, `InvalidParameterException`, both for good and for now: what is waited for, if for now.
/// Source of the messages: `internal/service/ecs/service.go` of terraform-provider-aws, which retries on them.
fn waits_for(error: &AwsError) -> Option<&'static str> {
    const PASSING: [(&str, &str); 6] = [
        ("does not have an associated load balancer", "the target group to be used by a listener"),
        ("still Draining", "the service of the same name, which is being deleted, to be gone"),
        ("not idempotent", "the service to be visible"),
        ("service linked role", "ECS to see its service-linked role"),
        ("verify that the ECS service role being passed", "ECS to see its role"),
        ("nable to assume", "ECS to see its role"),
    ];
    match error.code.as_str() {
        "ClusterNotFoundException" => Some("the cluster to be visible"),
        "ServiceNotFoundException" => Some("the service to be visible"),
        "ServiceNotActiveException" => {
            Some("the service of the same name, which is being deleted, to be gone")
        }
        "InvalidParameterException" => {
            PASSING.iter().find(|(text, _)| error.message.contains(text)).map(|(_, waits_for)| *waits_for)
        }
        _ => None,
    }
}

/// `Pending` for an error that passes. If ECS lacks its service-linked role, which a fresh account does, the role is
/// made; it belongs to the account and stays when the stack goes.
async fn pending_if_passing(work: &Work<'_>, error: &AwsError) -> Result<(), StepError> {
    let Some(waits_for) = waits_for(error) else { return Ok(()) };
    if error.message.contains("service linked role") {
        let call = work.aws.iam().create_service_linked_role().aws_service_name("ecs.amazonaws.com");
        // `InvalidInput`: the name has been taken, so the role exists.
        call.send().await.unless(&["InvalidInput"]).doing("creating ECS's service-linked role")?;
    }
    Err(StepError::pending(waits_for))
}
