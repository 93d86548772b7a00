//! The ECS services themselves.

use std::collections::BTreeSet;

use aws_sdk_ecs::types::{
    AssignPublicIp, AvailabilityZoneRebalancing, AwsVpcConfiguration, Deployment, DeploymentCircuitBreaker,
    DeploymentConfiguration, DeploymentRolloutState, LaunchType, LoadBalancer, NetworkConfiguration,
    PropagateTags, Service,
};
use stackdrop_specs::{Managed, Service as Spec};

use super::definition::revision;
use super::dependencies::{Dependencies, Placement};
use super::observed::Observed;
use super::{
    NAME, cluster_name, ecs_tags, not_owned, pending_if_transient, plan_not_owned, read_tags, repair_tags,
    scaling,
};
use crate::aws::error::{AwsResult, Refusal, StepError};
use crate::contract::component::Work;
use crate::deployment::deletion::Deletion;
use crate::deployment::outputs::Running;
use crate::deployment::plan::{FieldChange, Plan, Verb};

/// The minimum and maximum percentage of running tasks during a rollout.
const HEALTHY_PERCENT: (i32, i32) = (100, 200);

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

/// The parts of a service that a call of `UpdateService` changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Definition,
    Count,
    Network,
    LoadBalancers,
    Grace,
    Exec,
    Rolling,
    Tagging,
    Spread,
    Restart,
    /// A restart on request, to follow a moved image tag.
    Refresh,
}

/// A field that differs, and the part that contains it.
#[derive(Debug)]
struct Difference {
    part: Part,
    change: FieldChange,
}

/// Whether Stackdrop manages the number of tasks: not if auto scaling, or another tool, does.
pub(super) fn keeps_count(spec: &Spec) -> bool {
    spec.scaling.is_none() && !spec.managed_elsewhere.contains(&Managed::Count)
}

/// The desired state of a service.
#[derive(Debug)]
struct Desired<'a> {
    name: &'a str,
    spec: &'a Spec,
    /// The revision's ARN; unknown in a plan if a new one will be registered.
    definition: Option<&'a str>,
    /// Where the tasks run; unknown in a plan.
    placement: Option<&'a Placement>,
    /// When this deployment was admitted (seconds since 1970).
    since: i64,
    /// Whether to replace tasks that were started before this deployment.
    refresh: bool,
}

impl Desired<'_> {
    fn count(&self) -> i32 {
        let count = match &self.spec.scaling {
            Some(scaling) => self.spec.count.clamp(scaling.min, scaling.max.max(scaling.min)),
            None => self.spec.count,
        };
        i32::try_from(count).unwrap_or(i32::MAX)
    }

    fn port(&self) -> i32 {
        self.spec.port.map_or(0, i32::from)
    }

    fn target_group(&self) -> Result<&str, StepError> {
        let group = self.placement.and_then(|placement| placement.target_groups.get(self.name));
        group.map(String::as_str).ok_or_else(|| {
            StepError::Defect(format!("the load balancer has no target group for service {}", self.name))
        })
    }

    fn load_balancers(&self) -> Result<Vec<LoadBalancer>, StepError> {
        if self.spec.is_worker() {
            return Ok(Vec::new());
        }
        let entry = LoadBalancer::builder()
            .target_group_arn(self.target_group()?)
            .container_name(self.name)
            .container_port(self.port());
        Ok(vec![entry.build()])
    }

    /// The health check's grace period, which only services with a load balancer have.
    fn grace(&self) -> Option<i32> {
        (!self.spec.is_worker()).then(|| i32::try_from(self.spec.health_check.grace).unwrap_or(i32::MAX))
    }

    fn network(&self) -> Result<NetworkConfiguration, StepError> {
        let placement =
            self.placement.ok_or_else(|| StepError::Defect("the network of a service is unknown".into()))?;
        let network = AwsVpcConfiguration::builder()
            .set_subnets(Some(placement.subnets.clone()))
            .security_groups(&placement.group)
            .assign_public_ip(AssignPublicIp::Disabled)
            .build()
            .map_err(|error| StepError::Defect(format!("writing a service's network: {error}")))?;
        Ok(NetworkConfiguration::builder().awsvpc_configuration(network).build())
    }

    fn rolling() -> DeploymentConfiguration {
        let breaker = DeploymentCircuitBreaker::builder().enable(true).rollback(true).build();
        DeploymentConfiguration::builder()
            .minimum_healthy_percent(HEALTHY_PERCENT.0)
            .maximum_percent(HEALTHY_PERCENT.1)
            .deployment_circuit_breaker(breaker)
            .build()
    }
}

/// All known differences between a service and its desired state.
fn differences(observed: &Service, desired: &Desired<'_>) -> Vec<Difference> {
    let mut list = Vec::new();
    let mut compare = |part: Part, field: &str, from: String, to: String| {
        if from != to {
            list.push(Difference { part, change: FieldChange::new(field, from, to) });
        }
    };
    let used = observed.task_definition().unwrap_or_default();
    let desired_text = desired.definition.map_or("a new revision", revision);
    compare(Part::Definition, "taskDefinition", revision(used).to_owned(), desired_text.to_owned());
    if keeps_count(desired.spec) {
        compare(Part::Count, "count", observed.desired_count().to_string(), desired.count().to_string());
    }
    let routed = !desired.spec.is_worker();
    let entry_text = observed.load_balancers().iter().map(entry_text).collect::<Vec<_>>().join(", ");
    let desired_text = routed.then(|| {
        let known = desired.placement.and_then(|placement| placement.target_groups.get(desired.name));
        let first = observed.load_balancers().first().and_then(LoadBalancer::target_group_arn);
        let group = known.map(String::as_str).or(first).unwrap_or("the service's target group");
        format!("{}:{} of {group}", desired.name, desired.port())
    });
    compare(Part::LoadBalancers, "routes", entry_text, desired_text.unwrap_or_default());
    if let Some(grace) = desired.grace() {
        let actual = observed.health_check_grace_period_seconds().unwrap_or(0);
        compare(Part::Grace, "healthCheck.grace", actual.to_string(), grace.to_string());
    }
    compare(Part::Exec, "exec", observed.enable_execute_command().to_string(), desired.spec.exec.to_string());
    compare(
        Part::Rolling,
        "rolling",
        rolling_text(observed.deployment_configuration()),
        rolling_text(Some(&Desired::rolling())),
    );
    let propagates = observed.propagate_tags().map_or("NONE", PropagateTags::as_str);
    compare(
        Part::Tagging,
        "propagateTags",
        propagates.to_owned(),
        PropagateTags::Service.as_str().to_owned(),
    );
    compare(Part::Tagging, "managedTags", observed.enable_ecs_managed_tags().to_string(), true.to_string());
    let spread =
        observed.availability_zone_rebalancing().map_or("DISABLED", AvailabilityZoneRebalancing::as_str);
    compare(Part::Spread, "zoneRebalancing", spread.to_owned(), "ENABLED".to_owned());
    network_differences(observed, desired, &mut list);
    if list.is_empty() && is_stale(observed, desired) {
        let change = FieldChange::new("image", "pulled earlier", "the tag's newest");
        list.push(Difference { part: Part::Refresh, change });
    }
    if list.is_empty() && has_failed_before(observed, desired) {
        let change = FieldChange::new("rollout", "failed", "restarted");
        list.push(Difference { part: Part::Restart, change });
    }
    list
}

fn network_differences(observed: &Service, desired: &Desired<'_>, list: &mut Vec<Difference>) {
    let network = observed.network_configuration().and_then(NetworkConfiguration::awsvpc_configuration);
    let is_public = network.and_then(AwsVpcConfiguration::assign_public_ip) == Some(&AssignPublicIp::Enabled);
    let mut compare = |field: &str, from: String, to: String| {
        if from != to {
            list.push(Difference { part: Part::Network, change: FieldChange::new(field, from, to) });
        }
    };
    compare("publicAddress", is_public.to_string(), false.to_string());
    if let Some(placement) = desired.placement {
        let joined = |ids: &[String]| {
            let sorted: BTreeSet<&str> = ids.iter().map(String::as_str).collect();
            sorted.into_iter().collect::<Vec<_>>().join(", ")
        };
        let subnets = network.map(AwsVpcConfiguration::subnets).unwrap_or_default();
        let groups = network.map(AwsVpcConfiguration::security_groups).unwrap_or_default();
        compare("subnets", joined(subnets), joined(&placement.subnets));
        compare("securityGroups", joined(groups), placement.group.clone());
    }
}

fn entry_text(entry: &LoadBalancer) -> String {
    let (name, port) =
        (entry.container_name().unwrap_or_default(), entry.container_port().unwrap_or_default());
    format!("{name}:{port} of {}", entry.target_group_arn().unwrap_or_default())
}

fn rolling_text(configuration: Option<&DeploymentConfiguration>) -> String {
    let Some(configuration) = configuration else { return "(none)".into() };
    let breaker = configuration.deployment_circuit_breaker();
    format!(
        "{}-{} %, circuit breaker {}, rollback {}",
        configuration.minimum_healthy_percent().unwrap_or(100),
        configuration.maximum_percent().unwrap_or(200),
        breaker.is_some_and(DeploymentCircuitBreaker::enable),
        breaker.is_some_and(DeploymentCircuitBreaker::rollback),
    )
}

/// Whether tasks are still running that started before a deployment which must pull the image's tag again. Any other change
/// starts new tasks anyway.
fn is_stale(observed: &Service, desired: &Desired<'_>) -> bool {
    desired.refresh && rollout_started(observed).is_some_and(|started| started < desired.since)
}

/// Whether a rollout of an earlier deployment has failed: ECS does not restart it. A failed rollout of this deployment is
/// reported by `wait_until_stable`, not restarted.
fn has_failed_before(observed: &Service, desired: &Desired<'_>) -> bool {
    let state = primary(observed).and_then(Deployment::rollout_state);
    state == Some(&DeploymentRolloutState::Failed)
        && rollout_started(observed).is_some_and(|started| started < desired.since)
}

/// When the newest rollout started (seconds since 1970).
fn rollout_started(observed: &Service) -> Option<i64> {
    primary(observed).and_then(Deployment::created_at).map(aws_sdk_ecs::primitives::DateTime::secs)
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
        return plan_not_owned(&logical_id, "ECS service", service.service_arn().unwrap_or(name), plan);
    }
    let definition = observed.definitions.get(name).map(|definition| definition.arn.as_str());
    let desired = Desired {
        name,
        spec,
        definition: definition.filter(|_| !registers),
        placement: dependencies.placement.as_ref(),
        since: work.deployment.admitted_at(),
        refresh: work.deployment.refresh_image,
    };
    let differences = differences(service, &desired);
    for difference in &differences {
        let verb = if difference.part == Part::Refresh { Verb::Restart } else { Verb::Update };
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
    let desired = Desired {
        name,
        spec,
        definition: Some(definition),
        placement: dependencies.placement.as_ref(),
        since: work.deployment.admitted_at(),
        refresh: work.deployment.refresh_image,
    };
    let Some(service) = observed.services.get(name) else {
        return create(work, observed, &desired, definition).await;
    };
    let arn = service.service_arn().unwrap_or(name);
    let tags = read_tags(service.tags());
    if !work.stack.owns(&tags) {
        return Err(not_owned("ECS service", arn));
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
    } else {
        update(work, &desired, definition, &parts).await?
    };
    repair_tags(work, &logical_id(name), arn, &tags).await?;
    Ok(running)
}

fn running(service: &Service, definition: &str) -> Running {
    Running {
        arn: service.service_arn().unwrap_or_default().to_owned(),
        task_definition: definition.to_owned(),
        rollout: primary(service).and_then(Deployment::id).unwrap_or_default().to_owned(),
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
        pending_if_transient(work, &error.aws()).await?;
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
            Part::Restart | Part::Refresh => call.force_new_deployment(true),
        };
    }
    let response = call.send().await;
    if let Err(error) = &response {
        pending_if_transient(work, &error.aws()).await?;
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
        deletion.remains(logical_id(name), arn, draining(service));
        return Ok(deletion);
    }
    // `force`: otherwise ECS requires that all tasks have stopped, which would be one more wait.
    match work.aws.ecs().delete_service().cluster(cluster_name(work)).service(name).force(true).send().await {
        Ok(_) => {
            tracing::info!(arn, "Service is being deleted.");
            deletion.remains(logical_id(name), arn, draining(service));
        }
        Err(failure) => {
            let error = failure.aws();
            let absent =
                ["ServiceNotFoundException", "ServiceNotActiveException", "ClusterNotFoundException"];
            // `InvalidParameterException`: "The service cannot be stopped while deployments are active."
            if error.code == "InvalidParameterException" {
                deletion.remains(logical_id(name), arn, error.to_string());
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
