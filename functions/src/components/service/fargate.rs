//! The ECS services on Fargate themselves.

use std::collections::BTreeSet;

use aws_sdk_ecs::types::{
    AssignPublicIp, AvailabilityZoneRebalancing, AwsVpcConfiguration, Deployment, DeploymentCircuitBreaker,
    DeploymentConfiguration, DeploymentRolloutState, LaunchType, LoadBalancer, NetworkConfiguration,
    PropagateTags, Service,
};
use stackdrop_specs::{Managed, Service as Spec};

use super::definition::revision;
use super::dependencies::{Dependencies, Place};
use super::observed::Observed;
use super::{
    NAME, cluster_name, ecs_tags, keep_tags, not_owned, pending_if_passing, plan_not_owned, read_tags,
    scaling,
};
use crate::aws::error::{Answer, Refusal, StepError};
use crate::contract::component::Work;
use crate::deployment::deletion::Deletion;
use crate::deployment::outputs::Running;
use crate::deployment::plan::{Plan, Verb};

/// No task less than wanted, and as many again, while new ones take over.
const HEALTHY_PERCENT: (i32, i32) = (100, 200);

/// The logical ID of a service.
pub(super) fn logical_id(name: &str) -> String {
    format!("service/{name}")
}

/// Whether a service is neither being deleted nor gone.
pub(super) fn is_active(service: &Service) -> bool {
    service.status() == Some("ACTIVE")
}

/// The ECS deployment that is, or was, bringing the service to what it shall be.
pub(super) fn primary(service: &Service) -> Option<&Deployment> {
    service.deployments().iter().find(|deployment| deployment.status() == Some("PRIMARY"))
}

/// Whether the newest rollout is through and every task wanted runs.
pub(super) fn is_steady(service: &Service) -> bool {
    let completed = primary(service).and_then(Deployment::rollout_state);
    completed == Some(&DeploymentRolloutState::Completed)
        && service.running_count() == service.desired_count()
        && service.pending_count() == 0
}

/// What a call to `UpdateService` has to carry.
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

/// One way in which a service is not as the spec says.
#[derive(Debug)]
struct Difference {
    part: Part,
    field: &'static str,
    from: String,
    to: String,
}

/// Whether the number of tasks is the spec's: not where scaling, or something else, looks after it.
pub(super) fn keeps_count(spec: &Spec) -> bool {
    spec.scaling.is_none() && !spec.managed_elsewhere.contains(&Managed::Count)
}

/// The service as it shall be.
#[derive(Debug)]
struct Wanted<'a> {
    name: &'a str,
    spec: &'a Spec,
    /// The revision's ARN; a plan does not know that of one that is still to be registered.
    definition: Option<&'a str>,
    /// Unknown to a plan.
    place: Option<&'a Place>,
    /// When this deployment was admitted (seconds since 1970).
    since: i64,
    /// Whether tasks from before shall make room for fresh ones.
    refresh: bool,
}

impl Wanted<'_> {
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
        let group = self.place.and_then(|place| place.target_groups.get(self.name));
        group.map(String::as_str).ok_or_else(|| {
            StepError::Defect(format!(
                "the load balancer was reported without a target group for {}",
                self.name
            ))
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

    /// Only a service behind a load balancer may have one.
    fn grace(&self) -> Option<i32> {
        (!self.spec.is_worker()).then(|| i32::try_from(self.spec.health_check.grace).unwrap_or(i32::MAX))
    }

    fn network(&self) -> Result<NetworkConfiguration, StepError> {
        let place = self.place.ok_or_else(|| StepError::Defect("a service's network is not known".into()))?;
        let network = AwsVpcConfiguration::builder()
            .set_subnets(Some(place.subnets.clone()))
            .security_groups(&place.group)
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

/// Everything in which a service differs from what is wanted, as far as that is known.
fn differences(observed: &Service, desired: &Wanted<'_>) -> Vec<Difference> {
    let mut list = Vec::new();
    let mut note = |part: Part, field: &'static str, from: String, to: String| {
        if from != to {
            list.push(Difference { part, field, from, to });
        }
    };
    let used = observed.task_definition().unwrap_or_default();
    let shall = desired.definition.map_or("a new revision", revision);
    note(Part::Definition, "taskDefinition", revision(used).to_owned(), shall.to_owned());
    if keeps_count(desired.spec) {
        note(Part::Count, "count", observed.desired_count().to_string(), desired.count().to_string());
    }
    let routed = !desired.spec.is_worker();
    let behind = observed.load_balancers().iter().map(behind).collect::<Vec<_>>().join(", ");
    let shall = routed.then(|| {
        let known = desired.place.and_then(|place| place.target_groups.get(desired.name));
        let first = observed.load_balancers().first().and_then(LoadBalancer::target_group_arn);
        let group = known.map(String::as_str).or(first).unwrap_or("the service's target group");
        format!("{}:{} of {group}", desired.name, desired.port())
    });
    note(Part::LoadBalancers, "routes", behind, shall.unwrap_or_default());
    if let Some(grace) = desired.grace() {
        let now = observed.health_check_grace_period_seconds().unwrap_or(0);
        note(Part::Grace, "healthCheck.grace", now.to_string(), grace.to_string());
    }
    note(Part::Exec, "exec", observed.enable_execute_command().to_string(), desired.spec.exec.to_string());
    note(
        Part::Rolling,
        "rolling",
        rolling_of(observed.deployment_configuration()),
        rolling_of(Some(&Wanted::rolling())),
    );
    let propagates = observed.propagate_tags().map_or("NONE", PropagateTags::as_str);
    note(Part::Tagging, "propagateTags", propagates.to_owned(), PropagateTags::Service.as_str().to_owned());
    note(Part::Tagging, "managedTags", observed.enable_ecs_managed_tags().to_string(), true.to_string());
    let spread =
        observed.availability_zone_rebalancing().map_or("DISABLED", AvailabilityZoneRebalancing::as_str);
    note(Part::Spread, "zoneRebalancing", spread.to_owned(), "ENABLED".to_owned());
    network_differences(observed, desired, &mut list);
    if list.is_empty() && is_stale(observed, desired) {
        list.push(Difference {
            part: Part::Refresh,
            field: "image",
            from: "as it was pulled before".into(),
            to: "the newest of its tag".into(),
        });
    }
    if list.is_empty() && has_failed_before(observed, desired) {
        list.push(Difference {
            part: Part::Restart,
            field: "rollout",
            from: "failed".into(),
            to: "started again".into(),
        });
    }
    list
}

fn network_differences(observed: &Service, desired: &Wanted<'_>, list: &mut Vec<Difference>) {
    let network = observed.network_configuration().and_then(NetworkConfiguration::awsvpc_configuration);
    let is_public = network.and_then(AwsVpcConfiguration::assign_public_ip) == Some(&AssignPublicIp::Enabled);
    let mut note = |field: &'static str, from: String, to: String| {
        if from != to {
            list.push(Difference { part: Part::Network, field, from, to });
        }
    };
    note("publicAddress", is_public.to_string(), false.to_string());
    if let Some(place) = desired.place {
        let joined = |ids: &[String]| {
            let sorted: BTreeSet<&str> = ids.iter().map(String::as_str).collect();
            sorted.into_iter().collect::<Vec<_>>().join(", ")
        };
        let subnets = network.map(AwsVpcConfiguration::subnets).unwrap_or_default();
        let groups = network.map(AwsVpcConfiguration::security_groups).unwrap_or_default();
        note("subnets", joined(subnets), joined(&place.subnets));
        note("securityGroups", joined(groups), place.group.clone());
    }
}

fn behind(entry: &LoadBalancer) -> String {
    let (name, port) =
        (entry.container_name().unwrap_or_default(), entry.container_port().unwrap_or_default());
    format!("{name}:{port} of {}", entry.target_group_arn().unwrap_or_default())
}

fn rolling_of(configuration: Option<&DeploymentConfiguration>) -> String {
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

/// Whether tasks from before a redeploy that is to follow the image's tag still run. Any other change starts fresh ones.
fn is_stale(observed: &Service, desired: &Wanted<'_>) -> bool {
    desired.refresh && begun(observed).is_some_and(|begun| begun < desired.since)
}

/// Whether ECS has given a rollout up that an earlier deployment began: it does not try again by itself. One of this
/// very deployment is reported by `wait_until_stable`, not started again.
fn has_failed_before(observed: &Service, desired: &Wanted<'_>) -> bool {
    let state = primary(observed).and_then(Deployment::rollout_state);
    state == Some(&DeploymentRolloutState::Failed)
        && begun(observed).is_some_and(|begun| begun < desired.since)
}

/// When the newest rollout began (seconds since 1970).
fn begun(observed: &Service) -> Option<i64> {
    primary(observed).and_then(Deployment::created_at).map(aws_sdk_ecs::primitives::DateTime::secs)
}

pub(super) fn plan(
    work: &Work<'_>,
    observed: &Observed,
    name: &str,
    spec: &Spec,
    around: &Dependencies,
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
        return plan_not_owned(&logical_id, "service", service.service_arn().unwrap_or(name), plan);
    }
    let definition = observed.definitions.get(name).map(|definition| definition.arn.as_str());
    let desired = Wanted {
        name,
        spec,
        definition: definition.filter(|_| !registers),
        place: around.place.as_ref(),
        since: work.deployment.admitted_at(),
        refresh: work.deployment.refresh_image,
    };
    let differences = differences(service, &desired);
    for difference in &differences {
        let verb = if difference.part == Part::Refresh { Verb::Restart } else { Verb::Update };
        plan.field(verb, &logical_id, difference.field, &difference.from, &difference.to);
    }
    if differences.is_empty() && !is_steady(service) {
        plan.change(Verb::Wait, &logical_id);
    }
    plan.tags(&work.stack, NAME, &logical_id, &tags);
}

/// Creates the service or changes what differs.
pub(super) async fn apply(
    work: &Work<'_>,
    observed: &Observed,
    name: &str,
    spec: &Spec,
    around: &Dependencies,
    definition: &str,
) -> Result<Running, StepError> {
    let desired = Wanted {
        name,
        spec,
        definition: Some(definition),
        place: around.place.as_ref(),
        since: work.deployment.admitted_at(),
        refresh: work.deployment.refresh_image,
    };
    let Some(service) = observed.services.get(name) else {
        return create(work, observed, &desired, definition).await;
    };
    let arn = service.service_arn().unwrap_or(name);
    let tags = read_tags(service.tags());
    if !work.stack.owns(&tags) {
        return Err(not_owned("service", arn));
    }
    if !is_active(service) {
        return Err(StepError::pending(format!(
            "the old service {name}, which is being deleted, to be gone"
        )));
    }
    // The service's tags come last: they tell that those of what hangs on it are right.
    scaling::keep_tags(work, observed, name).await?;
    let parts: BTreeSet<Part> =
        differences(service, &desired).iter().map(|difference| difference.part).collect();
    let running = if parts.is_empty() {
        running(service, definition)
    } else {
        update(work, &desired, definition, &parts).await?
    };
    keep_tags(work, &logical_id(name), arn, &tags).await?;
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
    desired: &Wanted<'_>,
    definition: &str,
) -> Result<Running, StepError> {
    let name = desired.name;
    let dead = observed.dead.get(name).map(String::as_str);
    let token = work.stack.token(&logical_id(name), &dead.into_iter().collect::<Vec<_>>());
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
        .deployment_configuration(Wanted::rolling())
        .availability_zone_rebalancing(AvailabilityZoneRebalancing::Enabled)
        .enable_execute_command(desired.spec.exec)
        .enable_ecs_managed_tags(true)
        .propagate_tags(PropagateTags::Service)
        .set_tags(Some(ecs_tags(work.stack.tags(NAME, &logical_id(name)))));
    let answer = call.send().await;
    if let Err(error) = &answer {
        pending_if_passing(work, &error.aws()).await?;
    }
    let answer = answer.doing(format!("creating the service {name}"))?;
    let service = answer.service.ok_or_else(|| StepError::lacking("the service"))?;
    tracing::info!(arn = service.service_arn(), "Service created.");
    Ok(running(&service, definition))
}

/// Sends what differs and nothing else: some fields start a new rollout when they are sent.
async fn update(
    work: &Work<'_>,
    desired: &Wanted<'_>,
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
            // An empty list takes the load balancer away.
            Part::LoadBalancers => call.set_load_balancers(Some(desired.load_balancers()?)),
            Part::Grace => call.set_health_check_grace_period_seconds(desired.grace()),
            Part::Exec => call.enable_execute_command(desired.spec.exec),
            Part::Rolling => call.deployment_configuration(Wanted::rolling()),
            Part::Tagging => call.propagate_tags(PropagateTags::Service).enable_ecs_managed_tags(true),
            Part::Spread => call.availability_zone_rebalancing(AvailabilityZoneRebalancing::Enabled),
            Part::Restart | Part::Refresh => call.force_new_deployment(true),
        };
    }
    let answer = call.send().await;
    if let Err(error) = &answer {
        pending_if_passing(work, &error.aws()).await?;
    }
    let answer = answer.doing(format!("changing the service {name}"))?;
    let service = answer.service.ok_or_else(|| StepError::lacking("the service"))?;
    tracing::info!(arn = service.service_arn(), ?parts, "Service changed.");
    Ok(running(&service, definition))
}

/// Deletes a service of ours, tasks and all, and tells how far that is.
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
    // By force: without it ECS wants the tasks gone first, which would be one more wait.
    match work.aws.ecs().delete_service().cluster(cluster_name(work)).service(name).force(true).send().await {
        Ok(_) => {
            tracing::info!(arn, "Service is being deleted.");
            deletion.remains(logical_id(name), arn, draining(service));
        }
        Err(error) => {
            let said = error.aws();
            let absent =
                ["ServiceNotFoundException", "ServiceNotActiveException", "ClusterNotFoundException"];
            // `InvalidParameterException`: "The service cannot be stopped while deployments are active."
            if said.code == "InvalidParameterException" {
                deletion.remains(logical_id(name), arn, said.to_string());
            } else if !absent.contains(&said.code.as_str()) {
                return Err(error).doing(format!("deleting the service {name}"));
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
