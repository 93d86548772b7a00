//! The ECS services themselves.

use std::collections::BTreeSet;

use aws_sdk_ecs::types::{
    AvailabilityZoneRebalancing, Deployment, DeploymentRolloutState, LaunchType, PropagateTags, Service,
    ServiceDeploymentStatus, StopServiceDeploymentStopType,
};
use stackdrop_specs::Service as Spec;

use super::dependencies::Dependencies;
use super::desired::{Desired, Part, differences};
use super::observed::Observed;
use super::outdated;
use super::rollout::find_service_deployment;
use super::{
    NAME, cluster_name, ecs_tags, not_owned, plan_not_owned, read_tags, repair_tags, scaling,
    wait_if_transient,
};
use crate::aws::error::{AwsResult, Refusal, StepError};
use crate::contract::component::Work;
use crate::deployment::deletion::Deletion;
use crate::deployment::outputs::Running;
use crate::deployment::plan::{Plan, Verb};

/// The logical ID of a service.
pub(super) fn logical_id(name: &str) -> String {
    format!("service/{name}")
}

/// Whether a service is neither deleted nor being deleted.
pub(super) fn is_active(service: &Service) -> bool {
    service.status() == Some("ACTIVE")
}

/// The service's newest ECS deployment.
pub(super) fn primary(service: &Service) -> Option<&Deployment> {
    service.deployments().iter().find(|deployment| deployment.status() == Some("PRIMARY"))
}

/// Whether the newest rollout is complete and all desired tasks are running.
pub(super) fn is_stable(service: &Service) -> bool {
    let completed = primary(service).and_then(Deployment::rollout_state);
    completed == Some(&DeploymentRolloutState::Completed)
        && service.running_count() == service.desired_count()
        && service.pending_count() == 0
}

pub(super) fn plan(
    work: &Work<'_>,
    observed: &Observed,
    name: &str,
    spec: &Spec,
    dependencies: &Dependencies,
    registers: bool,
    plan: &mut Plan,
) {
    let logical_id = logical_id(name);
    let Some(service) = observed.services.get(name).filter(|service| is_active(service)) else {
        plan.change(Verb::Create, logical_id);
        return;
    };
    let tags = read_tags(service.tags());
    if !work.stack.owns(&tags) {
        return plan_not_owned(work, &logical_id, "ECS service", service.service_arn().unwrap_or(name), plan);
    }
    let definition = observed.definitions.get(name).map(|definition| definition.arn.as_str());
    let outdated = outdated::services(work, observed, dependencies);
    let outdated = outdated.get(name);
    let desired = Desired {
        name,
        spec,
        definition: definition.filter(|_| !registers),
        placement: dependencies.placement.as_ref(),
        since: work.deployment.admitted_at(),
        refresh: work.deployment.refresh_image,
        outdated: outdated.map(String::as_str),
    };
    plan.outdated.extend(outdated.map(|_| name.to_owned()));
    let differences = differences(service, &desired);
    for difference in &differences {
        let verb = if difference.part == Part::Restart { Verb::Restart } else { Verb::Update };
        plan.update_field(verb, &logical_id, difference.change.clone());
    }
    if differences.is_empty() && !is_stable(service) {
        plan.change(Verb::Wait, &logical_id);
    }
    plan.tags(&work.stack, NAME, &logical_id, &tags);
}

/// Creates or updates the service.
pub(super) async fn apply(
    work: &Work<'_>,
    observed: &Observed,
    name: &str,
    spec: &Spec,
    dependencies: &Dependencies,
    definition: &str,
) -> Result<Running, StepError> {
    let outdated = outdated::services(work, observed, dependencies);
    let desired = Desired {
        name,
        spec,
        definition: Some(definition),
        placement: dependencies.placement.as_ref(),
        since: work.deployment.admitted_at(),
        refresh: work.deployment.refresh_image,
        outdated: outdated.get(name).map(String::as_str),
    };
    let Some(service) = observed.services.get(name) else {
        return create(work, observed, &desired, definition).await;
    };
    let arn = service.service_arn().unwrap_or(name);
    let tags = read_tags(service.tags());
    if !work.stack.owns(&tags) {
        return Err(not_owned(work, "ECS service", arn));
    }
    if !is_active(service) {
        return Err(StepError::pending(format!("the deletion of the previous ECS service {name}")));
    }
    // The service's tags are repaired last: they prove that the tags of its dependent resources are correct.
    scaling::repair_tags(work, observed, name).await?;
    let parts: BTreeSet<Part> =
        differences(service, &desired).iter().map(|difference| difference.part).collect();
    let running = if parts.is_empty() {
        running(service, definition)
    } else if work.deployment.rolling_back && rolls_back_by_itself(work, service, definition).await? {
        return Err(StepError::pending(format!("ECS to roll back the rollout of service {name}")));
    } else {
        update(work, &desired, definition, &parts).await?
    };
    repair_tags(work, &logical_id(name), arn, &tags).await?;
    Ok(running)
}

/// Stops an unfinished rollout, if ECS can then return to the desired task definition: that needs no new tasks, since the
/// previous ones are still running. Returns whether ECS rolls back.
async fn rolls_back_by_itself(
    work: &Work<'_>,
    service: &Service,
    definition: &str,
) -> Result<bool, StepError> {
    let name = service.service_name().unwrap_or_default();
    let Some(newest) = primary(service) else { return Ok(false) };
    let is_unfinished = newest.rollout_state() == Some(&DeploymentRolloutState::InProgress);
    let returns = newest.task_definition() != Some(definition)
        && service.deployments().iter().any(|older| older.task_definition() == Some(definition));
    if !is_unfinished || !returns {
        return Ok(false);
    }
    let brief = find_service_deployment(work, name, service, newest.id().unwrap_or_default()).await?;
    let Some(brief) = brief else { return Ok(false) };
    match brief.status() {
        Some(ServiceDeploymentStatus::InProgress | ServiceDeploymentStatus::Pending) => {}
        // "The state is ROLLBACK_REQUESTED, and then the rollback operation starts" (ECS developer guide, "Stopping Amazon ECS
        // service deployments").
        Some(ServiceDeploymentStatus::RollbackRequested | ServiceDeploymentStatus::RollbackInProgress) => {
            return Ok(true);
        }
        _ => return Ok(false),
    }
    let arn = brief.service_deployment_arn.unwrap_or_default();
    let call = work.aws.ecs().stop_service_deployment().service_deployment_arn(&arn);
    let response = call.stop_type(StopServiceDeploymentStopType::Rollback).send().await;
    // `ConflictException`: it has ended in the meantime, or there is nothing to return to.
    let response = response.unless(&["ConflictException", "ServiceDeploymentNotFoundException"]);
    let stopped = response.doing(format!("stopping the rollout of ECS service {name}"))?.is_some();
    tracing::info!(arn, stopped, "Rollout stopped.");
    Ok(stopped)
}

/// Starts new tasks of a service with the same revision.
pub(super) async fn restart(work: &Work<'_>, name: &str, service: &Service) -> Result<Running, StepError> {
    let call = work.aws.ecs().update_service().cluster(cluster_name(work)).service(name);
    let response = call.force_new_deployment(true).send().await;
    if let Err(error) = &response {
        wait_if_transient(work, &error.aws()).await?;
    }
    let response = response.doing(format!("restarting ECS service {name}"))?;
    let service = response.service.as_ref().unwrap_or(service);
    tracing::info!(arn = service.service_arn(), "Service restarted.");
    Ok(unchanged(service))
}

/// A service that keeps its revision.
pub(super) fn unchanged(service: &Service) -> Running {
    running(service, service.task_definition().unwrap_or_default())
}

fn running(service: &Service, definition: &str) -> Running {
    Running {
        arn: service.service_arn().unwrap_or_default().to_owned(),
        task_definition: definition.to_owned(),
        rollout: primary(service).and_then(Deployment::id).unwrap_or_default().to_owned(),
        restarted: false,
    }
}

async fn create(
    work: &Work<'_>,
    observed: &Observed,
    desired: &Desired<'_>,
    definition: &str,
) -> Result<Running, StepError> {
    let name = desired.name;
    let inactive = observed.inactive.get(name).map(String::as_str);
    let token = work.stack.token(&logical_id(name), &inactive.into_iter().collect::<Vec<_>>());
    let call = work
        .aws
        .ecs()
        .create_service()
        .cluster(cluster_name(work))
        .service_name(name)
        .client_token(token)
        .task_definition(definition)
        .launch_type(LaunchType::Fargate)
        .desired_count(desired.count())
        .network_configuration(desired.network()?)
        .set_load_balancers(Some(desired.load_balancers()?).filter(|list| !list.is_empty()))
        .set_health_check_grace_period_seconds(desired.grace())
        .deployment_configuration(Desired::rolling())
        .availability_zone_rebalancing(AvailabilityZoneRebalancing::Enabled)
        .enable_execute_command(desired.spec.exec)
        .enable_ecs_managed_tags(true)
        .propagate_tags(PropagateTags::Service)
        .set_tags(Some(ecs_tags(work.stack.tags(NAME, &logical_id(name)))));
    let response = call.send().await;
    if let Err(error) = &response {
        wait_if_transient(work, &error.aws()).await?;
    }
    let response = response.doing(format!("creating ECS service {name}"))?;
    let service = response.service.ok_or_else(|| StepError::incomplete("the service"))?;
    tracing::info!(arn = service.service_arn(), "Service created.");
    Ok(running(&service, definition))
}

/// Sends only the parts that differ: some fields start a new rollout whenever they are sent.
async fn update(
    work: &Work<'_>,
    desired: &Desired<'_>,
    definition: &str,
    parts: &BTreeSet<Part>,
) -> Result<Running, StepError> {
    let name = desired.name;
    let mut call = work.aws.ecs().update_service().cluster(cluster_name(work)).service(name);
    for part in parts {
        call = match part {
            Part::Definition => call.task_definition(definition),
            Part::Count => call.desired_count(desired.count()),
            Part::Network => call.network_configuration(desired.network()?),
            // An empty list removes the load balancer.
            Part::LoadBalancers => call.set_load_balancers(Some(desired.load_balancers()?)),
            Part::Grace => call.set_health_check_grace_period_seconds(desired.grace()),
            Part::Exec => call.enable_execute_command(desired.spec.exec),
            Part::Rolling => call.deployment_configuration(Desired::rolling()),
            Part::Tagging => call.propagate_tags(PropagateTags::Service).enable_ecs_managed_tags(true),
            Part::Spread => call.availability_zone_rebalancing(AvailabilityZoneRebalancing::Enabled),
            Part::RetryRollout | Part::Restart => call.force_new_deployment(true),
        };
    }
    let response = call.send().await;
    if let Err(error) = &response {
        wait_if_transient(work, &error.aws()).await?;
    }
    let response = response.doing(format!("updating ECS service {name}"))?;
    let service = response.service.ok_or_else(|| StepError::incomplete("the service"))?;
    tracing::info!(arn = service.service_arn(), ?parts, "Service updated.");
    Ok(running(&service, definition))
}

/// Deletes a service if this stack manages it, with its tasks. Returns how many tasks remain.
pub(super) async fn delete(work: &Work<'_>, observed: &Observed, name: &str) -> Result<Deletion, StepError> {
    let mut deletion = Deletion::default();
    let Some(service) = observed.services.get(name) else { return Ok(deletion) };
    if !work.stack.owns(&read_tags(service.tags())) {
        return Ok(deletion);
    }
    let arn = service.service_arn().unwrap_or(name);
    if !is_active(service) {
        deletion.leaving(logical_id(name), arn, draining(service));
        return Ok(deletion);
    }
    // `force`: otherwise ECS requires that all tasks have stopped, which would be one more wait.
    match work.aws.ecs().delete_service().cluster(cluster_name(work)).service(name).force(true).send().await {
        Ok(_) => {
            tracing::info!(arn, "Service is being deleted.");
            deletion.leaving(logical_id(name), arn, draining(service));
        }
        Err(failure) => {
            let error = failure.aws();
            let absent =
                ["ServiceNotFoundException", "ServiceNotActiveException", "ClusterNotFoundException"];
            // `InvalidParameterException`: "The service cannot be stopped while deployments are active."
            if error.code == "InvalidParameterException" {
                deletion.leaving(logical_id(name), arn, error.to_string());
            } else if !absent.contains(&error.code.as_str()) {
                return Err(failure).doing(format!("deleting ECS service {name}"));
            }
        }
    }
    Ok(deletion)
}

fn draining(service: &Service) -> String {
    let tasks = service.running_count() + service.pending_count();
    match tasks {
        0 => "draining: its last tasks are stopping".into(),
        1 => "draining: 1 task is still running".into(),
        tasks => format!("draining: {tasks} tasks are still running"),
    }
}
