//! The ECS services on Fargate, with their cluster, IAM roles, log groups, task definitions and auto scaling.

mod access;
mod cluster;
mod content;
mod counts;
mod definition;
mod deletion;
mod dependencies;
mod desired;
mod diagnosis;
mod fargate;
mod logs;
mod observed;
mod outdated;
mod parameters;
mod permissions;
mod preflight;
mod registry;
mod rollout;
mod scaling;
mod secrets;
mod targets;
mod tasks;
mod volumes;

use std::collections::BTreeMap;

use aws_sdk_ecs::types::Tag;

use crate::aws::aws_error::AwsError;
use crate::aws::error::{AwsResult, StepError};
use crate::aws::join::{all, both};
use crate::contract::component::{Component, Work};
use crate::contract::handler::{Function, act, completed};
use crate::contract::identity::or_tag;
use crate::contract::roles;
use crate::deployment::component_names;
use crate::deployment::deletion::Deletion;
use crate::deployment::names::Tags;
use crate::deployment::outputs::{Running, ServiceOutputs};
use crate::deployment::plan::{Change, Plan, Verb};
use deletion::Logs;
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
            deletion::plan_all(work, &observed, &mut plan).await?;
            return Ok(plan);
        }
        let dependencies = Dependencies::observed(work, &observed).await?;
        preflight::plan(work, &observed, &dependencies, &mut plan).await?;
        let execution = permissions::execution(work, &observed, &dependencies);
        roles::plan(work, &execution, observed.execution.as_ref(), &mut plan);
        permissions::plan_narrowing(work, &observed, &dependencies, &mut plan);
        roles::plan(work, &permissions::task(work), observed.task.as_ref(), &mut plan);
        cluster::plan(work, &observed, &mut plan);
        for (name, service) in &work.spec.services {
            logs::plan(work, &observed, name, service, &mut plan);
            let registers = definition::plan(work, &observed, name, service, &dependencies, &mut plan);
            fargate::plan(work, &observed, name, service, &dependencies, registers, &mut plan);
            scaling::plan(work, &observed, name, service, &mut plan);
        }
        deletion::plan_stale(work, &observed, &mut plan);
        if work.deployment.has_unpruned_resources() {
            // Listing them in every plan would cost a call for each service.
            plan.change(Verb::Delete, "task-definition (left by an earlier deployment)");
        }
        plan.tasks = dependencies.tasks;
        Ok(plan)
    }

    async fn apply(&self, work: &Work<'_>) -> Result<ServiceOutputs, StepError> {
        let observed = Observed::read(work).await?;
        if work.spec.services.is_empty() {
            completed(deletion::delete_all(work, &observed, Logs::Keep).await?)?;
            return Ok(ServiceOutputs::default());
        }
        let dependencies = Dependencies::reported(work).await?;
        let cluster = apply_foundations(work, &observed, &dependencies).await?;
        let definitions = work.spec.services.iter().map(async |(name, service)| {
            let usable = definition::apply(work, &observed, name, service, &dependencies).await?;
            Ok::<_, StepError>((name.clone(), usable))
        });
        let definitions: BTreeMap<String, definition::Usable> = all(definitions).await?.into_iter().collect();
        if !cluster.is_active {
            return Err(StepError::pending(format!("ECS cluster {} to become active", work.stack.name)));
        }
        let roles = [&observed.execution, &observed.task];
        if roles.iter().any(|role| role.as_ref().is_none_or(|role| role.is_new(work))) {
            // ECS counts a task whose role it does not see yet as a failed one, and tries again only after 30 s.
            return Err(StepError::pending("IAM to show the new roles to ECS"));
        }
        // The same holds for a task whose role does not have its new access yet. IAM does not say when a policy changed; a
        // revision that needs the new access is registered after that.
        let registered =
            |definition: &definition::Usable| roles::may_be_invisible(work, definition.registered);
        if widens_access(work) && definitions.values().any(registered) {
            return Err(StepError::pending("IAM to show the new access of the execution role to ECS"));
        }
        let services = definitions.iter().filter_map(|(name, definition)| {
            let service = work.spec.services.get(name)?;
            Some(apply_service(work, &observed, &dependencies, name, service, &definition.arn))
        });
        let services = all(services).await?.into_iter().collect();
        Ok(ServiceOutputs { cluster: Some(cluster.arn), services })
    }

    async fn prepare(&self, work: &Work<'_>) -> Result<(), StepError> {
        if work.spec.services.is_empty() || !(creates_foundations(work) || work.deployment.rolling_back) {
            return Ok(());
        }
        let observed = Observed::read(work).await?;
        if work.deployment.rolling_back {
            counts::take_back(work, &observed).await?;
        }
        if !creates_foundations(work) {
            return Ok(());
        }
        let dependencies = Dependencies::early(work).await?;
        apply_foundations(work, &observed, &dependencies).await.map(drop)
    }

    async fn wait_until_stable(&self, work: &Work<'_>) -> Result<ServiceOutputs, StepError> {
        if work.spec.services.is_empty() {
            return Ok(ServiceOutputs::default());
        }
        rollout::wait_until_stable(work, &work.spec.services.keys().cloned().collect()).await
    }

    async fn restart(&self, work: &Work<'_>) -> Result<ServiceOutputs, StepError> {
        let observed = Observed::read(work).await?;
        let dependencies = Dependencies::observed(work, &observed).await?;
        let outdated = outdated::services(work, &observed, &dependencies);
        let services = observed.services.keys().filter_map(|name| {
            let service = observed.active_service(work, name)?;
            let awaited = outdated.contains_key(name) || outdated::uses_password(spec_of(work, name)?);
            awaited.then_some((name, service))
        });
        let services = services.map(async |(name, service)| {
            // An earlier attempt may have restarted it.
            let restarts = outdated.contains_key(name);
            let restarted =
                restarts || desired::rollout_started(service) >= Some(work.deployment.admitted_at());
            let running = if restarts {
                fargate::restart(work, name, service).await?
            } else {
                fargate::unchanged(service)
            };
            Ok::<_, StepError>((name.clone(), Running { restarted, ..running }))
        });
        let cluster = observed.cluster.as_ref().and_then(|cluster| cluster.cluster_arn().map(str::to_owned));
        Ok(ServiceOutputs { cluster, services: all(services).await?.into_iter().collect() })
    }

    async fn wait_until_restarted(&self, work: &Work<'_>) -> Result<ServiceOutputs, StepError> {
        let restarted = work.outputs.service.iter().flat_map(|outputs| outputs.services.keys().cloned());
        rollout::wait_until_stable(work, &restarted.collect()).await
    }

    async fn prune(&self, work: &Work<'_>) -> Result<Deletion, StepError> {
        if work.spec.services.is_empty() {
            return Ok(Deletion::default());
        }
        let observed = Observed::read(work).await?;
        // Until now, the tasks of these services got the requests that other services get now.
        let stale = deletion::delete_stale(work, &observed).await?;
        if !stale.remaining.is_empty() {
            return Ok(stale);
        }
        let dependencies = Dependencies::reported(work).await?;
        let execution = permissions::narrow_execution(work, &observed, &dependencies);
        roles::apply(work, &execution, observed.execution.as_ref()).await?;
        let mut deletion = deletion::delete_unused(work, &observed).await?;
        deletion.join(stale);
        Ok(deletion)
    }

    async fn delete(&self, work: &Work<'_>) -> Result<Deletion, StepError> {
        let observed = Observed::read(work).await?;
        let logs = if work.deployment.destroying { Logs::Delete } else { Logs::DeleteEmpty };
        deletion::delete_all(work, &observed, logs).await
    }
}

/// The component's planned changes.
fn planned<'w>(work: &'w Work<'_>) -> impl Iterator<Item = &'w Change> {
    work.deployment.plan.iter().filter(|of| of.component == NAME).flat_map(|of| &of.plan.changes)
}

/// Whether the plan creates something that other services see late.
fn creates_foundations(work: &Work<'_>) -> bool {
    let is_foundation = |change: &Change| {
        ["role/", "cluster", "log-group/"].iter().any(|kind| change.resource.starts_with(kind))
    };
    planned(work).any(|change| change.verb == Verb::Create && is_foundation(change)) || widens_access(work)
}

/// Whether the plan changes what the existing execution role may do. Access that is no longer needed is a deletion.
fn widens_access(work: &Work<'_>) -> bool {
    let is_policy = |change: &Change| change.fields.iter().any(|field| field.field == "policy");
    planned(work)
        .any(|change| change.verb == Verb::Update && change.resource == "role/execution" && is_policy(change))
}

/// Applies what the services need: the roles, the log groups and the cluster.
async fn apply_foundations(
    work: &Work<'_>,
    observed: &Observed,
    dependencies: &Dependencies,
) -> Result<cluster::Usable, StepError> {
    let execution = permissions::execution(work, observed, dependencies);
    let task = permissions::task(work);
    let roles = [(&execution, &observed.execution), (&task, &observed.task)];
    let roles = roles.map(|(role, observed)| roles::apply(work, role, observed.as_ref()));
    let groups = work.spec.services.iter().map(|(name, service)| logs::apply(work, observed, name, service));
    let (_, (_, cluster)) = both(all(roles), both(all(groups), cluster::apply(work, observed))).await?;
    Ok(cluster)
}

/// Applies a service, and then its auto scaling, which requires the service to exist.
async fn apply_service(
    work: &Work<'_>,
    observed: &Observed,
    dependencies: &Dependencies,
    name: &str,
    service: &stackdrop_specs::Service,
    definition: &str,
) -> Result<(String, Running), StepError> {
    let running = fargate::apply(work, observed, name, service, dependencies, definition).await?;
    scaling::apply(work, observed, name, service).await?;
    Ok((name.to_owned(), running))
}

/// A service in the spec or, for one that the spec no longer has, in the baseline.
fn spec_of<'w>(work: &'w Work<'_>, name: &str) -> Option<&'w stackdrop_specs::Service> {
    let baseline = work.deployment.baseline.as_ref();
    work.spec.services.get(name).or_else(|| baseline?.spec.services.get(name))
}

/// The name of the stack's cluster.
fn cluster_name<'w>(work: &'w Work<'_>) -> &'w str {
    work.stack.name.as_str()
}

/// The task definition family of a service. Neither a stack's nor a service's name can have an underscore, so the families of two
/// stacks never have the same name: not `web` of `shop-api` and `api-web` of `shop`.
fn family(work: &Work<'_>, name: &str) -> String {
    format!("{}{name}", family_prefix(work))
}

/// What the names of the stack's task definition families start with.
fn family_prefix(work: &Work<'_>) -> String {
    format!("stackdrop-{}_", work.stack.name)
}

/// Converts tags to ECS's type.
fn ecs_tags(tags: Tags) -> Vec<Tag> {
    tags.into_iter().map(|(key, value)| Tag::builder().key(key).value(value).build()).collect()
}

/// Converts tags from ECS's type.
fn read_tags(tags: &[Tag]) -> Tags {
    tags.iter()
        .filter_map(|tag| Some((tag.key()?.to_owned(), tag.value().unwrap_or_default().to_owned())))
        .collect()
}

/// Adds missing tags to one of the stack's ECS resources, and removes tags that the spec no longer has.
async fn repair_tags(work: &Work<'_>, logical_id: &str, arn: &str, observed: &Tags) -> Result<(), StepError> {
    let (missing, stale) =
        (work.stack.tags_to_put(NAME, logical_id, observed), work.stack.stale_tags(observed));
    if !missing.is_empty() {
        let call = work.aws.ecs().tag_resource().resource_arn(arn).set_tags(Some(ecs_tags(missing)));
        call.send().await.doing(format!("tagging {arn}"))?;
    }
    if !stale.is_empty() {
        let call = work.aws.ecs().untag_resource().resource_arn(arn).set_tag_keys(Some(stale));
        call.send().await.doing(format!("removing tags from {arn}"))?;
    }
    Ok(())
}

/// The error for a resource with the required name that this stack does not manage.
fn not_owned(work: &Work<'_>, noun: &str, id: &str) -> StepError {
    StepError::NotOwned { what: format!("{noun} {id}"), fix: how_to_own(work, noun) }
}

/// Plans a problem for a resource with the required name that this stack does not manage.
fn plan_not_owned(work: &Work<'_>, logical_id: &str, noun: &str, id: &str, plan: &mut Plan) {
    let why = format!("{noun} {id} exists but is not managed by this stack");
    plan.problem(logical_id, why, how_to_own(work, noun));
}

/// What to do about it.
fn how_to_own(work: &Work<'_>, noun: &str) -> String {
    or_tag(work, &format!("delete the {noun}, or deploy a stack with another name"))
}

/// What a transient error of ECS waits for; `None` for a permanent one. ECS uses one code, `InvalidParameterException`, for
/// both, so the message decides. Source of the messages: `internal/service/ecs/service.go` of terraform-provider-aws, which retries on them.
fn waiting_for(error: &AwsError) -> Option<&'static str> {
    const MESSAGES: [(&str, &str); 6] = [
        ("does not have an associated load balancer", "a listener to use the target group"),
        (STILL_DRAINING, "the deletion of the previous service with the same name"),
        ("not idempotent", "the service to become visible"),
        ("service linked role", "ECS's service-linked role to become visible"),
        ("verify that the ECS service role being passed", "the IAM role to become visible to ECS"),
        ("nable to assume", "the IAM role to become visible to ECS"),
    ];
    match error.code.as_str() {
        "ClusterNotFoundException" => Some("the cluster to become visible"),
        "ServiceNotFoundException" => Some("the service to become visible"),
        "ServiceNotActiveException" => Some("the deletion of the previous service with the same name"),
        "InvalidParameterException" => MESSAGES
            .iter()
            .find(|(text, _)| error.message.contains(text))
            .map(|(_, waiting_for)| *waiting_for),
        _ => None,
    }
}

/// ECS's message while it deletes the previous service with the same name.
const STILL_DRAINING: &str = "still Draining";

/// `Pending` for an error that says that ECS is deleting something, and `Stalled` for another transient one. If the account
/// lacks ECS's service-linked role, which a new account does, it is created. The role belongs to the account, and stays when
/// the stack is destroyed.
async fn wait_if_transient(work: &Work<'_>, error: &AwsError) -> Result<(), StepError> {
    let Some(waiting_for) = waiting_for(error) else { return Ok(()) };
    if error.message.contains("service linked role") {
        let call = work.aws.iam().create_service_linked_role().aws_service_name("ecs.amazonaws.com");
        // `InvalidInput`: the role exists already.
        call.send().await.unless(&["InvalidInput"]).doing("creating ECS's service-linked role")?;
    }
    if error.code == "ServiceNotActiveException" || error.message.contains(STILL_DRAINING) {
        return Err(StepError::pending(waiting_for));
    }
    Err(StepError::stalled_because(waiting_for, format!("ECS reports: {error}.")))
}
