//! The desired state of an ECS service, and how the actual one differs from it.

use std::collections::BTreeSet;

use aws_sdk_ecs::types::{
    AssignPublicIp, AvailabilityZoneRebalancing, AwsVpcConfiguration, Deployment, DeploymentCircuitBreaker,
    DeploymentConfiguration, DeploymentRolloutState, LoadBalancer, NetworkConfiguration, PropagateTags,
    Service,
};
use stackdrop_specs::{Managed, Service as Spec};

use super::definition::revision;
use super::dependencies::Placement;
use super::fargate::primary;
use crate::aws::error::StepError;
use crate::deployment::plan::FieldChange;

/// The minimum and maximum percentage of running tasks during a rollout.
const HEALTHY_PERCENT: (i32, i32) = (100, 200);

/// The parts of a service that a call of `UpdateService` changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    Definition,
    Count,
    Network,
    LoadBalancers,
    Grace,
    Exec,
    Rolling,
    Tagging,
    Spread,
    RetryRollout,
    /// A restart, to follow a moved image tag or a changed secret.
    Restart,
}

impl Part {
    /// Whether ECS starts new tasks for it (ECS API reference, `UpdateService`).
    fn starts_new_tasks(self) -> bool {
        match self {
            Self::Definition | Self::Network | Self::LoadBalancers | Self::RetryRollout | Self::Restart => {
                true
            }
            Self::Count | Self::Grace | Self::Exec | Self::Rolling | Self::Tagging | Self::Spread => false,
        }
    }
}

/// A field that differs, and the part that contains it.
#[derive(Debug)]
pub(super) struct Difference {
    pub(super) part: Part,
    pub(super) change: FieldChange,
}

/// Whether Stackdrop manages the number of tasks: not if auto scaling, or another tool, does.
pub(super) fn keeps_count(spec: &Spec) -> bool {
    spec.scaling.is_none() && !spec.managed_elsewhere.contains(&Managed::Count)
}

/// The desired state of a service.
#[derive(Debug)]
pub(super) struct Desired<'a> {
    pub(super) name: &'a str,
    pub(super) spec: &'a Spec,
    /// The revision's ARN; unknown in a plan if a new one will be registered.
    pub(super) definition: Option<&'a str>,
    /// Where the tasks run; unknown in a plan without a baseline.
    pub(super) placement: Option<&'a Placement>,
    /// When this deployment was admitted (seconds since 1970).
    pub(super) since: i64,
    /// Whether to replace tasks that were started before this deployment.
    pub(super) refresh: bool,
    /// What changed after running tasks had read it.
    pub(super) outdated: Option<&'a str>,
}

impl Desired<'_> {
    pub(super) fn count(&self) -> i32 {
        i32::try_from(self.spec.count).unwrap_or(i32::MAX)
    }

    pub(super) fn port(&self) -> i32 {
        self.spec.port.map_or(0, i32::from)
    }

    pub(super) fn target_group(&self) -> Result<&str, StepError> {
        let group = self.placement.and_then(|placement| placement.target_groups.get(self.name));
        group.map(String::as_str).ok_or_else(|| {
            StepError::Defect(format!("the load balancer has no target group for service {}", self.name))
        })
    }

    pub(super) fn load_balancers(&self) -> Result<Vec<LoadBalancer>, StepError> {
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
    pub(super) fn grace(&self) -> Option<i32> {
        (!self.spec.is_worker()).then(|| i32::try_from(self.spec.health_check.grace).unwrap_or(i32::MAX))
    }

    pub(super) fn network(&self) -> Result<NetworkConfiguration, StepError> {
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

    pub(super) fn rolling() -> DeploymentConfiguration {
        // Otherwise one healthy task resets the number of failed ones, and the rollout goes on for ever.
        let breaker = DeploymentCircuitBreaker::builder()
            .enable(true)
            .rollback(true)
            .reset_on_healthy_task(false)
            .build();
        DeploymentConfiguration::builder()
            .minimum_healthy_percent(HEALTHY_PERCENT.0)
            .maximum_percent(HEALTHY_PERCENT.1)
            .deployment_circuit_breaker(breaker)
            .build()
    }
}

/// All known differences between a service and its desired state.
pub(super) fn differences(observed: &Service, desired: &Desired<'_>) -> Vec<Difference> {
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
    // What changes a service without new tasks neither pulls an image again nor starts a failed rollout again.
    let starts_new_tasks =
        |list: &[Difference]| list.iter().any(|difference| difference.part.starts_new_tasks());
    if !starts_new_tasks(&list) && is_stale(observed, desired) {
        let change = FieldChange::new("image", "pulled earlier", "the tag's newest");
        list.push(Difference { part: Part::Restart, change });
    }
    if !starts_new_tasks(&list) && has_failed_before(observed, desired) {
        let change = FieldChange::new("rollout", "failed", "restarted");
        list.push(Difference { part: Part::RetryRollout, change });
    }
    if let Some(changed) = desired.outdated
        && !starts_new_tasks(&list)
    {
        let change = FieldChange::new("tasks", format!("started before {changed} was changed"), "new ones");
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
    // Where ECS does not return this field yet, it cannot be compared.
    let resets = breaker.and_then(DeploymentCircuitBreaker::reset_on_healthy_task) == Some(true);
    format!(
        "{}-{} %, circuit breaker {}, rollback {}{}",
        configuration.minimum_healthy_percent().unwrap_or(100),
        configuration.maximum_percent().unwrap_or(200),
        breaker.is_some_and(DeploymentCircuitBreaker::enable),
        breaker.is_some_and(DeploymentCircuitBreaker::rollback),
        if resets { ", reset by healthy tasks" } else { "" },
    )
}

/// Whether tasks are still running that started before a deployment which must pull the image's tag again.
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
pub(super) fn rollout_started(observed: &Service) -> Option<i64> {
    primary(observed).and_then(Deployment::created_at).map(aws_sdk_ecs::primitives::DateTime::secs)
}
