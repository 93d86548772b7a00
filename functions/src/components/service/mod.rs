//! The ECS services on Fargate, with what they need: cluster, roles, log groups, task definitions, auto scaling.

mod access;
mod cluster;
mod definition;
mod dependencies;
mod diagnosis;
mod fargate;
mod logs;
mod observed;
mod permissions;
mod preflight;
mod registry;
mod removal;
mod rollout;
mod scaling;
mod secrets;

use std::collections::BTreeMap;

use aws_sdk_ecs::types::Tag;

use crate::aws::error::{Answer, AwsError, StepError};
use crate::aws::join::{all, both};
use crate::contract::component::{Component, Work};
use crate::contract::handler::{Function, act, completed};
use crate::contract::roles;
use crate::deployment::component_names;
use crate::deployment::deletion::Deletion;
use crate::deployment::names::Tags;
use crate::deployment::outputs::{Running, ServiceOutputs};
use crate::deployment::plan::{Plan, Verb};
use dependencies::Dependencies;
use observed::Observed;

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
        let observed = Observed::read(work).await?;
        let mut plan = Plan::default();
        if work.spec.services.is_empty() {
            removal::plan_all(work, &observed, &mut plan).await?;
            return Ok(plan);
        }
        let around = Dependencies::observed(work, &observed).await?;
        preflight::plan(work, &observed, &around, &mut plan).await?;
        let execution = permissions::execution(work, &observed, &around);
        roles::plan(work, &execution, observed.execution.as_ref(), &mut plan);
        permissions::plan_narrowing(work, &observed, &around, &mut plan);
        roles::plan(work, &permissions::task(work), observed.task.as_ref(), &mut plan);
        cluster::plan(work, &observed, &mut plan);
        for (name, service) in &work.spec.services {
            logs::plan(work, &observed, name, service, &mut plan);
            let registers = definition::plan(work, &observed, name, service, &around, &mut plan);
            fargate::plan(work, &observed, name, service, &around, registers, &mut plan);
            scaling::plan(work, &observed, name, service, &mut plan);
        }
        removal::plan_stale(work, &observed, &mut plan);
        if work.deployment.has_unpruned_resources() {
            // To look for them in every plan would be a call for each service.
            plan.change(Verb::Delete, "task-definition (left by an earlier deployment)");
        }
        Ok(plan)
    }

    async fn apply(&self, work: &Work<'_>) -> Result<ServiceOutputs, StepError> {
        let observed = Observed::read(work).await?;
        if work.spec.services.is_empty() {
            completed(removal::delete_all(work, &observed).await?)?;
            return Ok(ServiceOutputs::default());
        }
        let around = Dependencies::reported(work).await?;
        let execution = permissions::execution(work, &observed, &around);
        let task = permissions::task(work);
        let roles = [(&execution, &observed.execution), (&task, &observed.task)];
        let roles = roles.map(|(role, observed)| roles::apply(work, role, observed.as_ref()));
        let groups =
            work.spec.services.iter().map(|(name, service)| logs::apply(work, &observed, name, service));
        let (_, (_, cluster)) = both(all(roles), both(all(groups), cluster::apply(work, &observed))).await?;
        let definitions = work.spec.services.iter().map(async |(name, service)| {
            let arn = definition::apply(work, &observed, name, service, &around).await?;
            Ok::<_, StepError>((name.clone(), arn))
        });
        let definitions: BTreeMap<String, String> = all(definitions).await?.into_iter().collect();
        if !cluster.is_active {
            return Err(StepError::pending(format!("the cluster {} to be active", work.stack.name)));
        }
        let services = definitions.iter().filter_map(|(name, definition)| {
            let service = work.spec.services.get(name)?;
            Some(bring_about(work, &observed, &around, name, service, definition))
        });
        let services = all(services).await?.into_iter().collect();
        completed(removal::delete_stale(work, &observed).await?)?;
        Ok(ServiceOutputs { cluster: Some(cluster.arn), services })
    }

    async fn wait_until_stable(&self, work: &Work<'_>) -> Result<ServiceOutputs, StepError> {
        if work.spec.services.is_empty() {
            return Ok(ServiceOutputs::default());
        }
        rollout::wait_until_stable(work).await
    }

    async fn prune(&self, work: &Work<'_>) -> Result<Deletion, StepError> {
        if work.spec.services.is_empty() {
            return Ok(Deletion::default());
        }
        let observed = Observed::read(work).await?;
        let around = Dependencies::reported(work).await?;
        let execution = permissions::narrow_execution(work, &observed, &around);
        roles::apply(work, &execution, observed.execution.as_ref()).await?;
        removal::delete_unused(work, &observed).await
    }

    async fn delete(&self, work: &Work<'_>) -> Result<Deletion, StepError> {
        let observed = Observed::read(work).await?;
        removal::delete_all(work, &observed).await
    }
}

/// One service with its scaling, which needs it to exist.
async fn bring_about(
    work: &Work<'_>,
    observed: &Observed,
    around: &Dependencies,
    name: &str,
    service: &stackdrop_specs::Service,
    definition: &str,
) -> Result<(String, Running), StepError> {
    let running = fargate::apply(work, observed, name, service, around, definition).await?;
    scaling::apply(work, observed, name, service).await?;
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
async fn keep_tags(work: &Work<'_>, logical_id: &str, arn: &str, observed: &Tags) -> Result<(), StepError> {
    let (missing, stale) =
        (work.stack.tags_to_put(NAME, logical_id, observed), work.stack.stale_tags(observed));
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
fn not_owned(what: &str, id: &str) -> StepError {
    StepError::NotOwned {
        what: format!("the {what} {id}"),
        fix: "delete it, or deploy a stack with another name".into(),
    }
}

/// Notes a resource with our name that is not ours.
fn plan_not_owned(logical_id: &str, what: &str, id: &str, plan: &mut Plan) {
    plan.problem(
        logical_id,
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
